# The schema, for psql -f; README.md says how.
sqldir = $(datadir)/corscache/sql
dist_sql_DATA = sql/0001_schema.sql sql/README.md

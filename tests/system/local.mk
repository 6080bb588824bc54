# tests/system: real servers, started and stopped by tests/stack
AM_TESTS_ENVIRONMENT = CORSCACHE_BUILD='$(abs_top_builddir)'; export CORSCACHE_BUILD;
system_tests = \
	tests/system/cachectl_test.py \
	tests/system/cachectl_url_test.py \
	tests/system/cachectl_syncd_test.py \
	tests/system/vectors_test.py \
	tests/system/web_test.py \
	tests/system/lighttpd_test.py \
	tests/system/browser_test.py \
	tests/system/lifecycle_test.py \
	tests/system/responder_test.py
TESTS += $(system_tests)
EXTRA_DIST += $(system_tests) tests/stack tests/system/app.py tests/system/fcgi.py \
	tests/system/bounds.py tests/system/harness.py tests/system/latency.py scripts/install-packages

# The halves of make check, and a make distcheck in which nothing but the build and the units is checked.
.PHONY: check-system check-unit distcheck-unit
check-system:
	$(MAKE) $(AM_MAKEFLAGS) check TESTS='$(filter tests/system/%,$(TESTS))'
check-unit:
	$(MAKE) $(AM_MAKEFLAGS) check TESTS='$(filter-out tests/system/%,$(TESTS))'
distcheck-unit:
	$(MAKE) $(AM_MAKEFLAGS) distcheck TESTS='$(filter-out tests/system/%,$(TESTS))'

# The schema; rules lets it compare SQL's verdicts with lib/origin's.
check_PROGRAMS += tests/system/rules
tests_system_rules_SOURCES = tests/system/rules.c
tests_system_rules_LDADD = lib/libcorscache.a
TESTS += tests/system/sql_test.py
EXTRA_DIST += tests/system/sql_test.py tests/system/postgres.py tests/system/origins.py
check_PROGRAMS += tests/system/table_tool
tests_system_table_tool_LDADD = lib/libcorscache.a

# corscache-syncd; table_tool shows it the shared table
TESTS += tests/system/syncd_test.py
EXTRA_DIST += tests/system/syncd_test.py tests/system/stranger.py

# Subscriptions and standbys, on Debian's PostgreSQL and on those of scripts/install-postgres
TESTS += tests/system/replication_test.py
EXTRA_DIST += tests/system/replication_test.py scripts/install-postgres

# systemd's view of packaging/, and ours of what systemd says to daemons
TESTS += tests/system/units_test.py tests/system/manners_test.py
EXTRA_DIST += tests/system/units_test.py tests/system/manners_test.py

# cachectl's words, in the shells themselves
TESTS += tests/system/cachectl_shell_test.py
EXTRA_DIST += tests/system/cachectl_shell_test.py

# The page for people; its pictures stay in the build tree
TESTS += tests/system/page_test.py
EXTRA_DIST += tests/system/page_test.py tests/system/chromium.py
MOSTLYCLEANFILES += tests/system/page-*.png

# cachectl lint; LINT_ROWS=1000000 for a long look
TESTS += tests/system/cachectl_lint_test.py
EXTRA_DIST += tests/system/cachectl_lint_test.py
# What watches: figures that agree, refusals, alerts, the dashboard, the live screen
TESTS += tests/system/watch_test.py
EXTRA_DIST += tests/system/watch_test.py tests/system/alerts_test.yml

# nginx under everything a site may have set
TESTS += tests/system/hostile_test.py
EXTRA_DIST += tests/system/hostile_test.py tests/system/hostile.py

# cachectl check --from-headers, with nginx
TESTS += tests/system/cachectl_paste_test.py
EXTRA_DIST += tests/system/cachectl_paste_test.py

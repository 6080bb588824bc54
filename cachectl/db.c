/* SPDX-License-Identifier: BSD-2-Clause */
#include "db.h"

#include <libpq-fe.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sql.h"

#define NCOLUMNS_MAX	8

/* What no name has: between those of a list, and in place of a list with a NULL, an empty name or that byte. */
#define SEPARATOR	'\1'
#define DB_LIST(list) \
	"CASE WHEN pg_catalog.array_ndims(" list ")" SQL_IS(">") "1 OR ''" SQL_EQ "ANY (" list ")" \
	" OR pg_catalog.array_position(" list ", NULL) IS NOT NULL" \
	" OR pg_catalog.strpos(pg_catalog.array_to_string(" list ", ''), pg_catalog.chr(1))" SQL_IS(">") "0 THEN pg_catalog.chr(1)" \
	" ELSE pg_catalog.array_to_string(" list ", pg_catalog.chr(1)) END"
#define SELECT_POLICIES	"SELECT name, " DB_LIST("methods") ", " DB_LIST("headers") ", " DB_LIST("expose_headers") ", " \
	"credentials, insecure, max_age FROM cors.policies"

struct db {
	PGconn	*conn;
	char	 error[512];
};

/* One line of printable ASCII. */
static void
copy_message(char *to, size_t cap, const char *message)
{
	size_t len = 0;

	for (; *message != '\0' && len + 1 < cap; message++) {
		if (*message > 0x20 && *message < 0x7f)
			to[len++] = *message;
		else if (len > 0 && to[len - 1] != ' ')
			to[len++] = ' ';
	}
	while (len > 0 && to[len - 1] == ' ')
		len--;
	to[len] = '\0';
}

static int
fail(struct db *db)
{
	copy_message(db->error, sizeof db->error, PQerrorMessage(db->conn));
	return -1;
}

/* What an operator forgets in words of ours, all else in the server's. */
static int
fail_statement(struct db *db, const PGresult *res)
{
	const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	if (sqlstate != NULL && (strcmp(sqlstate, "42P01") == 0 || strcmp(sqlstate, "3F000") == 0))
		copy_message(db->error, sizeof db->error, "the schema cors is missing: run sql/0001_schema.sql in this database");
	else if (sqlstate != NULL && strcmp(sqlstate, "42501") == 0)
		copy_message(db->error, sizeof db->error, "this role may not read the schema cors: GRANT cors_reader to it");
	else
		return fail(db);
	return -1;
}

const char *
db_strerror(const struct db *db)
{
	return db->error;
}

static int
execute(struct db *db, const char *sql)
{
	PGresult *res = PQexec(db->conn, sql);
	bool is_done = PQresultStatus(res) == PGRES_TUPLES_OK || PQresultStatus(res) == PGRES_COMMAND_OK;
	int rc = is_done ? 0 : fail_statement(db, res);

	PQclear(res);
	return rc;
}

/* Whose sessions corscache-syncd's are, by the table it writes; NULL: ours, or nobody can tell. */
static const char *
other_user(const struct config *config)
{
	const struct passwd *owner = NULL;
	char table[PATH_MAX];
	struct stat st;

	snprintf(table, sizeof table, "%s/v1", config->table_path);
	if (stat(table, &st) == 0 && st.st_uid != geteuid())
		owner = getpwuid(st.st_uid);
	return owner != NULL ? owner->pw_name : NULL;
}

/* Peer authentication, .pgpass and certificates are a user's: the next step is to be that one. */
static void
add_next_step(struct db *db, const struct config *config)
{
	const char *user = other_user(config);
	size_t len = strlen(db->error);

	if (user != NULL)
		snprintf(db->error + len, sizeof db->error - len, "; corscache-syncd connects as %s: sudo -u %s cachectl ...", user, user);
	else
		snprintf(db->error + len, sizeof db->error - len, "; sync.conninfo says where and as whom: see cachectl config");
}

/* libpq quotes what it stumbled over, which may be a piece of a password. */
static bool
is_conninfo(const char *conninfo)
{
	PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
	bool is_one = options != NULL;

	PQconninfoFree(options);
	return is_one;
}

static int
connect_by(struct db *db, const struct config *config)
{
	const char *conninfo = config->sync_conninfo;
	const char *const names[] = { "connect_timeout", "dbname", "fallback_application_name", "client_encoding", NULL };
	const char *const values[] = { "10", conninfo, "cachectl", "UTF8", NULL };

	if (!is_conninfo(conninfo)) {
		snprintf(db->error, sizeof db->error, "sync.conninfo is no connection string of libpq");
		return -1;
	}
	db->conn = PQconnectdbParams(names, values, 1);
	if (PQstatus(db->conn) != CONNECTION_OK) {
		fail(db);
		add_next_step(db, config);
		return -1;
	}
	return execute(db, SQL_BEGIN);
}

int
db_open(struct db **out, const struct config *config, char *err, size_t errlen)
{
	struct db *db = calloc(1, sizeof *db);

	if (db == NULL) {
		snprintf(err, errlen, "out of memory");
		return -1;
	}
	if (connect_by(db, config) != 0) {
		snprintf(err, errlen, "%s", db->error);
		db_close(&db);
		return -1;
	}
	*out = db;
	return 0;
}

void
db_close(struct db **db)
{
	if (*db == NULL)
		return;
	PQfinish((*db)->conn);
	free(*db);
	*db = NULL;
}

int
db_refresh(struct db *db)
{
	return execute(db, "COMMIT") != 0 ? -1 : execute(db, SQL_BEGIN);
}

static void
take_columns(const PGresult *res, struct span columns[NCOLUMNS_MAX])
{
	int i, n = PQnfields(res) < NCOLUMNS_MAX ? PQnfields(res) : NCOLUMNS_MAX;

	for (i = 0; i < n; i++) {
		columns[i] = (struct span){ PQgetvalue(res, 0, i), (size_t)PQgetlength(res, 0, i) };
		if (PQgetisnull(res, 0, i))
			columns[i].at = NULL;
	}
}

int
db_each(struct db *db, const char *sql, const char *const *params, void (*each)(const struct span *columns, void *arg),
    void *arg)
{
	struct span columns[NCOLUMNS_MAX] = { { NULL, 0 } };
	PGresult *res;
	int n = 0, rc = 0;

	while (params != NULL && params[n] != NULL)
		n++;
	if (!PQsendQueryParams(db->conn, sql, n, NULL, params, NULL, NULL, 0) || !PQsetSingleRowMode(db->conn))
		return fail(db);
	while ((res = PQgetResult(db->conn)) != NULL) {
		if (PQresultStatus(res) == PGRES_SINGLE_TUPLE) {
			take_columns(res, columns);
			each(columns, arg);
		} else if (PQresultStatus(res) != PGRES_TUPLES_OK) {
			rc = fail_statement(db, res);
		}
		PQclear(res);
	}
	return rc;
}

/* ---- rows and policies ---- */

struct row
db_row(const struct span *columns)
{
	int64_t expires_at = columns[4].at != NULL ? strtoll(columns[4].at, NULL, 10) : ROW_NEVER;

	return (struct row){ .realm = columns[0], .origin = columns[1], .policy = columns[2],
		.allow = columns[3].at != NULL && columns[3].at[0] == 't',
		.expires_at = expires_at > UINT32_MAX ? ROW_NEVER : expires_at };
}

/* Returns more than POLICY_MAX_TOKENS where there are more. */
static size_t
split(struct span names, struct span list[POLICY_MAX_TOKENS])
{
	const char *end;
	size_t n = 0, len;

	if (names.len == 0)
		return 0;
	for (;; names.at += len + 1, names.len -= len + 1) {
		end = memchr(names.at, SEPARATOR, names.len);
		len = end != NULL ? (size_t)(end - names.at) : names.len;
		if (n < POLICY_MAX_TOKENS)
			list[n] = (struct span){ names.at, len };
		n++;
		if (end == NULL)
			return n;
	}
}

/* Where there are too many elements, or a max_age that stands for none here, policy_compile() must not be asked. */
static int
compile(struct known *k, const struct span *columns)
{
	struct span methods[POLICY_MAX_TOKENS], headers[POLICY_MAX_TOKENS], expose[POLICY_MAX_TOKENS];
	struct policy_row row = { .name = columns[0], .methods = methods, .headers = headers, .expose = expose,
		.credentials = columns[4].at != NULL && columns[4].at[0] == 't',
		.insecure = columns[5].at != NULL && columns[5].at[0] == 't', .max_age = POLICY_NO_MAX_AGE };

	row.nmethods = split(columns[1], methods);
	row.nheaders = split(columns[2], headers);
	row.nexpose = split(columns[3], expose);
	if (columns[6].at != NULL)
		row.max_age = (int32_t)strtol(columns[6].at, NULL, 10);
	if (row.nmethods > POLICY_MAX_TOKENS || row.nheaders > POLICY_MAX_TOKENS || row.nexpose > POLICY_MAX_TOKENS)
		k->status = POLICY_TOO_MANY;
	else if (columns[6].at != NULL && row.max_age < 0)
		k->status = POLICY_BAD_MAX_AGE;
	else
		return known_compile(k, &row);
	return 0;
}

struct filling {
	struct policies	*set;
	bool		 failed;
};

static void
add_policy(const struct span *columns, void *arg)
{
	struct filling *f = arg;
	struct known *k = policies_put(f->set, columns[0]);

	if (k == NULL || compile(k, columns) != 0)
		f->failed = true;
	else
		k->culprit = (struct span){ NULL, 0 };
}

int
db_policies(struct db *db, struct policies *set)
{
	struct filling f = { set, false };

	if (db_each(db, SELECT_POLICIES, NULL, add_policy, &f) != 0)
		return -1;
	if (f.failed)
		snprintf(db->error, sizeof db->error, "out of memory");
	return f.failed ? -1 : 0;
}

/* ---- a connection string, shown ---- */

/* libpq marks what is secret by a star. */
static void
show_option(FILE *out, const PQconninfoOption *o, bool is_first)
{
	const char *value = o->dispchar[0] == '*' ? "****" : o->val;

	fprintf(out, "%s%s=", is_first ? "" : " ", o->keyword);
	if (value[0] != '\0' && strpbrk(value, " '\\") == NULL) {
		fputs(value, out);
		return;
	}
	fputc('\'', out);
	for (; *value != '\0'; value++)
		fprintf(out, "%s%c", *value == '\'' || *value == '\\' ? "\\" : "", *value);
	fputc('\'', out);
}

char *
db_conninfo_shown(const char *conninfo)
{
	PQconninfoOption *options = PQconninfoParse(conninfo, NULL), *o;
	bool is_first = true;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (out == NULL) {
		PQconninfoFree(options);
		return NULL;
	}
	for (o = options; o != NULL && o->keyword != NULL; o++) {
		if (o->val == NULL)
			continue;
		show_option(out, o, is_first);
		is_first = false;
	}
	if (options == NULL)
		fputs("(no connection string of libpq: not shown)", out);
	PQconninfoFree(options);
	return fclose(out) == 0 ? text : NULL;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* A prepared SELECT by primary key over a unix socket: a database in every request. */
#include "subject.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

static PGconn *connection;

static PGresult *
check(PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_COPY_IN) {
		fprintf(stderr, "bench: postgres: %s", PQresultErrorMessage(result));
		die("postgres", 0);
	}
	return result;
}

static uint64_t
ask_number(const char *sql)
{
	PGresult *result = check(PQexec(connection, sql));
	uint64_t n = PQntuples(result) == 1 ? strtoull(PQgetvalue(result, 0, 0), NULL, 10) : 0;

	PQclear(result);
	return n;
}

static void
copy_rows(const struct workload *w)
{
	char line[256];
	struct query q;

	PQclear(check(PQexec(connection, "COPY bench_origins FROM STDIN")));
	for (uint64_t i = 0; i < w->origins; i++) {
		workload_row(w, i, &q);
		int n = snprintf(line, sizeof line, "%.*s\t%s\t%u\n", (int)q.realm_len, q.key, query_origin(&q).at,
		    (unsigned)(1 + i % w->policies));
		if (PQputCopyData(connection, line, n) != 1)
			die(PQerrorMessage(connection), 0);
	}
	PQputCopyEnd(connection, NULL);
	PQclear(check(PQgetResult(connection)));
	while (PQgetResult(connection) != NULL)
		;
}

static uint64_t
build(const struct workload *w, const struct subject_options *opt)
{
	connection = PQconnectdb(opt->postgres);
	if (PQstatus(connection) != CONNECTION_OK)
		die(PQerrorMessage(connection), 0);
	ask_number("SET client_min_messages = warning");
	ask_number("DROP TABLE IF EXISTS bench_origins");
	ask_number("CREATE TABLE bench_origins (realm text COLLATE \"C\", origin text COLLATE \"C\", policy int, "
	    "PRIMARY KEY (realm, origin))");
	copy_rows(w);
	ask_number("VACUUM ANALYZE bench_origins");
	PQclear(check(PQprepare(connection, "find", "SELECT policy FROM bench_origins WHERE realm = $1 AND origin = $2",
	    0, NULL)));
	return ask_number("SELECT pg_total_relation_size('bench_origins')");
}

static uint64_t
find(const struct query *q)
{
	char realm[sizeof q->key];
	const char *values[] = { realm, query_origin(q).at };
	PGresult *result;
	uint64_t policy;

	snprintf(realm, sizeof realm, "%.*s", (int)q->realm_len, q->key);
	result = check(PQexecPrepared(connection, "find", 2, values, NULL, NULL, 0));
	policy = PQntuples(result) == 1 ? strtoull(PQgetvalue(result, 0, 0), NULL, 10) : 0;
	PQclear(result);
	return policy;
}

static void
close_connection(void)
{
	PQfinish(connection);
}

const struct subject subject_postgres = { "postgres", build, find, close_connection, 0, 200, true, false };

/* SPDX-License-Identifier: BSD-2-Clause */
#include "feed_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "sql.h"

#define SCHEMA_VERSION		2	/* the newest that is known here */
#define PRUNE_ROWS		2000	/* at a time, so that polls go on in between */
#define LISTEN_RETRY_MS		30000

int64_t
feed_clock_ms(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- what is wrong, said once ---- */

void
feed_say(struct feed *f, enum problem which, const char *text)
{
	char *said = f->problems[which];

	if (strncmp(said, text, sizeof f->problems[which] - 1) == 0)
		return;
	if (which != PROBLEM_SESSION && text[0] != '\0')
		log_err("sync: %s", text);
	else if (which != PROBLEM_SESSION)
		log_notice("sync: over: %s", said);
	snprintf(said, sizeof f->problems[which], "%s", text);
	writer_say_problem(f->w, feed_problem(f));
}

/* A delta refuses what it cannot write. A load that fails has changed nothing: the old table answers. */
static const char *
after_write_error(const struct feed *f, enum problem which)
{
	if (which != PROBLEM_LOAD)
		return "what could not be written is refused";
	return writer_table(f->w) == NULL ? "every origin is refused" : "what was removed may still be allowed";
}

/* The table could not be written: the position stays as it is. */
void
feed_say_write_error(struct feed *f, enum problem which, int error)
{
	char text[256];

	snprintf(text, sizeof text, "cannot write the table in %.150s: %s; %s", f->config->table_path,
	    strerror(-error), after_write_error(f, which));
	writer_add(f->w, STATUS_write_errors, 1);
	feed_say(f, which, text);
}

/* ---- positions ---- */

void
position_fini(struct position *p)
{
	free(p->snapshot);
	free(p->token);
	*p = (struct position){ 0 };
}

char *
span_dup(struct span s)
{
	return s.at != NULL ? strndup(s.at, s.len) : NULL;
}

/* A pg_snapshot is "xmin:xmax:xip,xip...". False: these are none. */
bool
position_init(struct position *p, struct span snapshot, struct span token, bool in_recovery)
{
	*p = (struct position){ .snapshot = span_dup(snapshot), .token = span_dup(token), .in_recovery = in_recovery };
	if (p->snapshot != NULL && p->token != NULL &&
	    sscanf(p->snapshot, "%" SCNu64 ":%" SCNu64 ":", &p->xmin, &p->xmax) == 2)
		return true;
	position_fini(p);
	return false;
}

/* ---- results ---- */

struct span
feed_column(const PGresult *r, int row, int col)
{
	if (PQgetisnull(r, row, col))
		return (struct span){ NULL, 0 };
	return (struct span){ PQgetvalue(r, row, col), (size_t)PQgetlength(r, row, col) };
}

void
feed_columns(struct span *to, int n, const PGresult *r, int row, int first)
{
	for (int i = 0; i < n; i++)
		to[i] = feed_column(r, row, first + i);
}

static bool
expect(struct feed *f, const PGresult *r, bool is_good, const char *doing)
{
	const char *sqlstate = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
	char why[512];

	if (is_good)
		return true;
	snprintf(why, sizeof why, "%s: %s", doing, message != NULL ? message : "an answer that makes no sense");
	pg_drop(f->pg, sqlstate != NULL ? sqlstate : "", why);
	return false;
}

bool
feed_expect_done(struct feed *f, const PGresult *r, const char *doing)
{
	return expect(f, r, PQresultStatus(r) == PGRES_COMMAND_OK, doing);
}

/* What stands in front of a statement, such as a pooler, may answer it with anything. */
bool
feed_expect_rows(struct feed *f, const PGresult *r, int rows, int columns, const char *doing)
{
	return expect(f, r, PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) >= rows && PQnfields(r) >= columns, doing);
}

void
feed_senseless(struct feed *f, const char *doing)
{
	char why[128];

	snprintf(why, sizeof why, "%s: an answer that makes no sense", doing);
	pg_drop(f->pg, "", why);
}

/* ---- the session ---- */

static void	 hello_done(void *arg, const PGresult *r);
static void	 settings_done(void *arg, const PGresult *r);
static void	 version_done(void *arg, const PGresult *r);
static void	 first_check_done(void *arg, const PGresult *r);

#define CHECK	"SELECT cors.home(), cors.problem()"

/*
 * What a session needs, whatever somebody set for the role or the database; where the server knows the
 * setting and lets us set it. A backend that waits for somebody's lock must not outlive our patience: they
 * would pile up. Nor may one outlive us: a role may have few connections. Bitmap scans are for many rows;
 * a poll has few, and waits for each step of its plan. A pruning that a crash undoes is done again, so it
 * waits for no standby. Without row_security what a policy would hide is an error.
 */
static const char settings_sql[] =
    "SELECT pg_catalog.set_config(name, value, false) FROM (VALUES ('statement_timeout', '0'), ('lock_timeout', '%d'),"
    " ('transaction_timeout', '0'), ('idle_session_timeout', '0'), ('idle_in_transaction_session_timeout', '60s'),"
    " ('client_connection_check_interval', '5s'), ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '5'),"
    " ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '15s'),"
    " ('row_security', 'off'), ('restrict_nonsystem_relation_kind', ''), ('search_path', 'pg_catalog'),"
    " ('default_transaction_read_only', 'on'), ('default_transaction_isolation', 'read committed'),"
    " ('default_transaction_deferrable', 'off'), ('synchronous_commit', 'off'),"
    " ('DateStyle', 'ISO'), ('IntervalStyle', 'postgres'), ('TimeZone', 'UTC'), ('bytea_output', 'hex'),"
    " ('extra_float_digits', '1'), ('standard_conforming_strings', 'on'), ('array_nulls', 'on'),"
    " ('transform_null_equals', 'off'), ('client_min_messages', 'notice'),"
    " ('jit', 'off'), ('enable_bitmapscan', 'off'), ('enable_indexscan', 'on'), ('enable_nestloop', 'on'),"
    " ('plan_cache_mode', 'force_generic_plan')) wanted (key, value)"
    " JOIN pg_catalog.pg_settings ON key" SQL_EQ "name WHERE context" SQL_EQ "'user'";

void
feed_forget_ground(struct feed *f)
{
	free(f->ground);
	f->ground = NULL;
}

void
feed_session_over(struct feed *f)
{
	sink_load_abort(f->sink);
	wire_copy_fini(&f->copy);
	position_fini(&f->next);
	feed_forget_ground(f);
	f->is_ready = f->is_listening = false;
	f->in_load = f->in_audit = f->in_poll = f->is_outdated = false;
	writer_set(f->w, STATUS_connected, 0);
	writer_set(f->w, STATUS_listening, 0);
}

void
feed_opened(void *arg)
{
	struct feed *f = arg;

	writer_set(f->w, STATUS_connected, 1);
	writer_add(f->w, STATUS_connects, 1);
	f->cannot_prune = false;
	f->poll_due = 0;
	pg_ask(f->pg, hello_done, "SELECT pg_catalog.pg_backend_pid(), pg_catalog.pg_is_in_recovery()");
}

void
feed_lost(void *arg)
{
	struct feed *f = arg;
	const char *sqlstate = pg_sqlstate(f->pg);
	const char *what = pg_needs_repair(f->pg) ? "no usable database" : "no database";
	const char *hint = strcmp(sqlstate, "28P01") == 0 ? ": the password belongs in ~/.pgpass of the daemon's user" : "";
	char text[256];

	feed_session_over(f);
	writer_add(f->w, STATUS_failures, 1);
	if (!f->is_lost)
		f->lost_at = feed_clock_ms(CLOCK_MONOTONIC);
	if (!f->is_lost || strcmp(f->lost_sqlstate, sqlstate) != 0)
		log_warn("sync: %s, the table stays as it is sqlstate=%s: %s%s", what,
		    sqlstate[0] != '\0' ? sqlstate : "none", pg_why(f->pg), hint);
	f->is_lost = true;
	snprintf(f->lost_sqlstate, sizeof f->lost_sqlstate, "%s", sqlstate);
	snprintf(text, sizeof text, "%s: %.150s%s", what, pg_why(f->pg), hint);
	feed_say(f, PROBLEM_SESSION, text);
}

/* Only now it is known that the session is good for something. */
void
feed_settle(struct feed *f)
{
	char peer[256], source[280];

	pg_settle(f->pg);
	feed_say(f, PROBLEM_SESSION, "");
	if (!f->is_lost)
		return;
	pg_peer(f->pg, peer, sizeof peer);
	log_notice("sync: connected %s mode=%s after_s=%.1f", peer, f->is_listening ? "listen" : "poll",
	    (double)(f->now - f->lost_at) / 1000);
	snprintf(source, sizeof source, "postgres %s", peer);
	writer_say_source(f->w, source);
	f->is_lost = false;
}

void
feed_set_pooled(struct feed *f, bool is_pooled)
{
	if (is_pooled && !f->is_pooled)
		log_notice("sync: a connection pooler is in between: polling, since it swallows LISTEN");
	f->is_pooled = is_pooled;
	writer_set(f->w, STATUS_pooled, is_pooled);
}

/*
 * A pooler made up the process id that it told us; what it cannot keep apart
 * from others (SET, PREPARE, LISTEN) is not used then.
 */
static void
hello_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;
	char sql[sizeof settings_sql + 16];

	if (!feed_expect_rows(f, r, 1, 2, "greet"))
		return;
	feed_set_pooled(f, atoi(PQgetvalue(r, 0, 0)) != pg_backend(f->pg));
	f->in_recovery = PQgetvalue(r, 0, 1)[0] == 't';
	writer_set(f->w, STATUS_in_recovery, f->in_recovery);
	snprintf(sql, sizeof sql, settings_sql, f->config->sync_deadline_ms * 3 / 4);
	pg_ask(f->pg, settings_done, f->is_pooled ? "SELECT 1" : sql);
}

static void
settings_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;

	if (feed_expect_rows(f, r, 0, 0, "prepare the session"))
		pg_ask(f->pg, version_done, "SELECT schema_version FROM cors.meta");
}

bool
feed_knows_version(struct feed *f, int version)
{
	char why[160];

	if (version >= 1 && version <= SCHEMA_VERSION)
		return true;
	snprintf(why, sizeof why, "the schema cors has version %d, and %d is the newest known here: upgrade corscache",
	    version, SCHEMA_VERSION);
	pg_drop(f->pg, "42000", why);	/* class 42: somebody has to do something, so retry slowly */
	return false;
}

static void
version_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;
	const char *sqlstate = PQresultErrorField(r, PG_DIAG_SQLSTATE);

	if (sqlstate != NULL && (strcmp(sqlstate, "42P01") == 0 || strcmp(sqlstate, "3F000") == 0))
		pg_drop(f->pg, sqlstate, "the schema cors is missing in this database: run sql/0001_schema.sql");
	else if (sqlstate != NULL && strcmp(sqlstate, "42501") == 0)
		pg_drop(f->pg, sqlstate, "this role may not read the schema cors: GRANT cors_reader to it");
	else if (feed_expect_rows(f, r, 1, 1, "read the schema's version") &&
	    feed_knows_version(f, atoi(PQgetvalue(r, 0, 0))))
		pg_ask(f->pg, first_check_done, CHECK);
}

void
feed_want_load(struct feed *f, const char *why)
{
	if (!f->wants_load)
		log_info("sync: loading the whole table: %s", why);
	f->wants_load = true;
}

/* Does the database itself say that its log cannot be trusted? Then load now and then. */
static bool
check(struct feed *f, const PGresult *r)
{
	char text[256] = "";
	bool was_wrong = f->problems[PROBLEM_DATABASE][0] != '\0';

	f->checked_at = f->now;
	if (!feed_expect_rows(f, r, 1, 2, "check the schema"))
		return false;
	snprintf(f->home, sizeof f->home, "%s", PQgetvalue(r, 0, 0));
	if (!PQgetisnull(r, 0, 1))
		snprintf(text, sizeof text, "cors.problem(): %.230s", PQgetvalue(r, 0, 1));
	feed_say(f, PROBLEM_DATABASE, text);
	if (was_wrong && text[0] == '\0')	/* what came or went meanwhile is in no log */
		feed_want_load(f, "the change log can be trusted again");
	return true;
}

static void
first_check_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;

	if (!check(f, r))
		return;
	if (f->is_pooled)
		f->is_ready = true;
	else
		feed_prepare(f);
}

static void
check_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;

	if (check(f, r) && f->problems[PROBLEM_DATABASE][0] != '\0')
		feed_want_load(f, "the change log cannot be trusted");
}

void
feed_start_check(struct feed *f)
{
	pg_ask(f->pg, check_done, CHECK);
}

/*
 * ---- LISTEN ----
 *
 * Polls do without it. Whatever becomes of it, in this session or with it, the next try is later, and
 * the first poll of a session comes before.
 */

static void
listen_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;
	const char *sqlstate = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);

	if (sqlstate != NULL && strcmp(sqlstate, "25006") == 0) {
		f->listen_due = 0;
		f->in_recovery = true;
		return;
	}
	if (PQresultStatus(r) != PGRES_COMMAND_OK) {
		if (!f->said_listen)
			log_warn("sync: LISTEN fails, so changes come by polling alone sqlstate=%s: %s",
			    sqlstate != NULL ? sqlstate : "none", message != NULL ? message : "an answer that makes no sense");
		f->said_listen = true;
		return;
	}
	f->said_listen = false;
	f->listen_due = 0;		/* at once in the next session */
	f->is_listening = true;
	f->poll_due = 0;		/* what was committed before LISTEN woke nobody */
	writer_set(f->w, STATUS_listening, 1);
}

void
feed_start_listen(struct feed *f)
{
	f->listen_due = f->now + LISTEN_RETRY_MS;
	pg_ask(f->pg, listen_done, "LISTEN " CHANNEL);
}

void
feed_notified(void *arg)
{
	struct feed *f = arg;

	writer_add(f->w, STATUS_notifications, 1);
	f->is_woken = true;
	f->trail = 0;
	f->poll_due = f->polled_at + 1;	/* a flood of wake-ups is one poll a millisecond */
}

/* ---- pruning ---- */

static void
prune_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;

	const char *message = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);

	if (PQresultStatus(r) != PGRES_TUPLES_OK || PQntuples(r) < 1 || PQnfields(r) < 1) {
		log_notice("sync: the change log is not pruned from here: %s",
		    message != NULL ? message : "an answer that makes no sense");
		f->cannot_prune = true;
	} else if (atoll(PQgetvalue(r, 0, 0)) >= PRUNE_ROWS) {
		f->pruned_at = INT64_MIN / 2;	/* there may be more */
	}
}

void
feed_start_prune(struct feed *f)
{
	char sql[160];

	f->pruned_at = f->now;
	snprintf(sql, sizeof sql, "SET TRANSACTION READ WRITE; SELECT cors.prune(interval '%d s', %d)",
	    f->config->sync_keep_s, PRUNE_ROWS);
	pg_ask(f->pg, prune_done, sql);
}

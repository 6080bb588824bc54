/* SPDX-License-Identifier: BSD-2-Clause */
#include "feed.h"

#include <errno.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "pg.h"
#include "sink.h"
#include "wire.h"

#define SCHEMA_VERSION		1	/* the newest that is known here */
#define CHANNEL			"cors_changes"
#define DELTA			"corscache_delta"	/* the prepared statements */
#define GLANCE			"corscache_glance"
#define MOST_CHANGES		100000	/* in one delta; more is a whole load */
#define PRUNE_ROWS		2000	/* at a time, so that polls go on in between */
#define LOAD_GAP_MS		1000	/* at least, and five times the last load */
#define RETRY_WRITE_MS		5000	/* table.path is full */
#define PROGRESS_MS		2000	/* between two lines about a load */
#define TROUBLED_MS		60000	/* while cors.problem() distrusts the log: load this often */

/* After a wake-up: whoever lost the race for the advisory lock did not wake us. */
static const int	 trail_ms[] = { 3, 10, 40, 150, 600 };
#define TRAILS		(sizeof trail_ms / sizeof trail_ms[0])

/* Where the table in force stands. */
struct position {
	char		*snapshot;	/* pg_snapshot as text; NULL: nowhere */
	char		*token;
	uint64_t	 xmin, xmax;
	bool		 in_recovery;	/* taken on a standby, whose snapshots list nothing in progress */
};

enum problem { PROBLEM_SESSION, PROBLEM_LOAD, PROBLEM_DELTA, PROBLEM_DATABASE, PROBLEM_COUNT };

struct feed {
	struct writer		*w;
	const struct config	*config;
	struct pg		*pg;
	struct sink		*sink;
	struct position		 at;
	struct position		 next;		/* of the load under way */
	uint64_t		 asked;		/* statements sent that read rows: their numbers */
	int64_t			 now;		/* of this turn */

	/* the session */
	bool			 is_ready;	/* greeted, checked, prepared */
	bool			 is_pooled;
	bool			 in_recovery;
	bool			 is_listening;
	bool			 cannot_prune;
	char			 home[128];
	char			*ground;	/* on which the last delta stood; NULL: no glance before the next */

	/* what is being done in it */
	struct wire_copy	 copy;
	bool			 in_load;
	bool			 in_audit;
	bool			 in_poll;
	bool			 is_outdated;	/* the poll under way was sent before a realm was held */
	bool			 asks_for_held;	/* the poll under way finds rows that nobody changed */
	int64_t			 began;		/* the load or audit */
	int64_t			 progress_at;
	uint64_t		 progress_rows;

	/* when to do what next */
	bool			 wants_load;
	bool			 wants_audit;
	bool			 is_woken;
	size_t			 trail;
	int64_t			 polled_at;
	int64_t			 delta_at;	/* the last poll that was not a glance */
	int64_t			 asked_at;	/* the same by the clock on the wall */
	int64_t			 poll_due;
	int64_t			 load_due;
	int64_t			 audited_at;
	int64_t			 pruned_at;
	int64_t			 checked_at;

	/* said */
	bool			 is_lost;
	int64_t			 lost_at;
	char			 lost_sqlstate[6];
	char			 problems[PROBLEM_COUNT][256];
};

static int64_t
clock_ms(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- what is wrong, said once ---- */

static void
say(struct feed *f, enum problem which, const char *text)
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

/* The table could not be written: it and the position stay as they are. */
static void
say_write_error(struct feed *f, enum problem which, int error)
{
	char text[256];

	snprintf(text, sizeof text, "cannot write the table in %.150s: %s", f->config->table_path, strerror(-error));
	writer_add(f->w, STATUS_write_errors, 1);
	say(f, which, text);
}

/* ---- positions ---- */

static void
position_fini(struct position *p)
{
	free(p->snapshot);
	free(p->token);
	*p = (struct position){ 0 };
}

static char *
span_dup(struct span s)
{
	return s.at != NULL ? strndup(s.at, s.len) : NULL;
}

/* A pg_snapshot is "xmin:xmax:xip,xip...". False: these are none. */
static bool
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

static struct span
column(const PGresult *r, int row, int col)
{
	if (PQgetisnull(r, row, col))
		return (struct span){ NULL, 0 };
	return (struct span){ PQgetvalue(r, row, col), (size_t)PQgetlength(r, row, col) };
}

static void
columns(struct span *to, int n, const PGresult *r, int row, int first)
{
	for (int i = 0; i < n; i++)
		to[i] = column(r, row, first + i);
}

/* True: it went well. Otherwise the session is given up. */
static bool
expect(struct feed *f, const PGresult *r, ExecStatusType wanted, const char *doing)
{
	const char *sqlstate = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
	char why[512];

	if (PQresultStatus(r) == wanted)
		return true;
	snprintf(why, sizeof why, "%s: %s", doing, message != NULL ? message : "an answer that makes no sense");
	pg_drop(f->pg, sqlstate != NULL ? sqlstate : "", why);
	return false;
}

static void
senseless(struct feed *f, const char *doing)
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
static void	 delta_prepared(void *arg, const PGresult *r);
static void	 glance_prepared(void *arg, const PGresult *r);

#define CHECK	"SELECT cors.home(), cors.problem()"

/*
 * What a session needs, where the server knows the setting. A backend that waits
 * for somebody's lock must not outlive our patience: they would pile up.
 */
static const char settings_sql[] =
    "SELECT set_config(name, value, false) FROM (VALUES ('statement_timeout', '0'), ('lock_timeout', '%d'),"
    " ('client_connection_check_interval', '5s'), ('idle_session_timeout', '0'), ('idle_in_transaction_session_timeout', '60s'), ('jit', 'off'),"
    " ('plan_cache_mode', 'force_generic_plan'), ('default_transaction_read_only', 'on'),"
    " ('search_path', 'pg_catalog')) wanted (name, value) JOIN pg_catalog.pg_settings USING (name)";

/*
 * Of what the position stands on, the part that may change under a session and change back: how far
 * the log was pruned, and which files the names mean. The token says when triggers were bypassed, too.
 */
#define GROUND \
	"(SELECT concat_ws(' ', pruned_xid, pg_relation_filepath(to_regclass('cors.origins'))," \
	"  pg_relation_filepath(to_regclass('cors.policies')), pg_relation_filepath(to_regclass('cors.changes')))" \
	" FROM cors.meta)"

/*
 * One head row (kind NULL), which also says where the log now stands, and one
 * for every key changed since $2, with its current state, all of one snapshot.
 * $1: xmin of $2. $3: $2 was taken in recovery, where it hides transactions in
 * progress. $4, $5: keys that are held. Log rows restored from another cluster
 * lie in the future. LATERAL with LIMIT 1: index probes, whatever the planner
 * thinks of the table.
 */
static const char delta_sql[] =
    "WITH c AS MATERIALIZED ("
    "  SELECT NULL AS kind, NULL AS realm, NULL AS origin"
    "  UNION ALL ("
    "    SELECT kind::text, realm, origin FROM cors.changes"
    "     WHERE xid >= $1::xid8 AND xid < pg_snapshot_xmax(pg_current_snapshot())"
    "       AND ($3::bool OR NOT pg_visible_in_snapshot(xid, $2::pg_snapshot))"
    "    UNION SELECT 'o', h.realm COLLATE \"C\", h.origin COLLATE \"C\""
    "      FROM unnest($4::text[], $5::text[]) h (realm, origin)"
    "    LIMIT 100001))"
    " SELECT h.snapshot, h.in_recovery, h.token, h.ground, h.pruned, h.home, h.schema_version, h.listening, c.kind,"
    "   c.realm, c.origin, o.policy, o.allow, o.expires_at,"
    "   c.realm, p.methods, p.headers, p.expose_headers, p.credentials, p.insecure, p.max_age"
    " FROM c"
    " LEFT JOIN LATERAL (SELECT pg_current_snapshot()::text AS snapshot, pg_is_in_recovery() AS in_recovery,"
    "     (SELECT token FROM cors.token) AS token, " GROUND " AS ground,"
    "     pruned_xid::text AS pruned, home, schema_version,"
    "     EXISTS (SELECT FROM pg_listening_channels() l WHERE l = '" CHANNEL "') AS listening"
    "   FROM cors.meta LIMIT 1) h ON c.kind IS NULL"
    " LEFT JOIN LATERAL (SELECT * FROM cors.origins o WHERE o.realm = c.realm AND o.origin = c.origin LIMIT 1) o"
    "   ON c.kind = 'o'"
    " LEFT JOIN LATERAL (SELECT * FROM cors.policies p WHERE p.name = c.realm LIMIT 1) p ON c.kind = 'p'";
enum { DELTA_SNAPSHOT, DELTA_IN_RECOVERY, DELTA_TOKEN, DELTA_GROUND, DELTA_PRUNED, DELTA_HOME, DELTA_VERSION,
	DELTA_LISTENING, DELTA_KIND, DELTA_ROW, DELTA_POLICY = DELTA_ROW + SINK_ROW_COLUMNS,
	DELTA_COLUMNS = DELTA_POLICY + SINK_POLICY_COLUMNS };

/*
 * What a wake-up waits for: the origins changed since $2, without the rest of
 * the delta, which costs the server twice as much as all of this.
 */
static const char glance_sql[] =
    "SELECT (SELECT pg_current_snapshot()::text), " GROUND ", c.kind::text,"
    "   c.realm, c.origin, o.policy, o.allow, o.expires_at"
    " FROM cors.changes c"
    " LEFT JOIN LATERAL (SELECT * FROM cors.origins o WHERE o.realm = c.realm AND o.origin = c.origin LIMIT 1) o ON true"
    " WHERE xid >= $1::xid8 AND xid < pg_snapshot_xmax(pg_current_snapshot())"
    "   AND NOT pg_visible_in_snapshot(xid, $2::pg_snapshot)"
    " LIMIT 100001";
enum { GLANCE_SNAPSHOT, GLANCE_GROUND, GLANCE_KIND, GLANCE_ROW, GLANCE_COLUMNS = GLANCE_ROW + SINK_ROW_COLUMNS };

static void
forget_ground(struct feed *f)
{
	free(f->ground);
	f->ground = NULL;
}

static void
session_over(struct feed *f)
{
	sink_load_abort(f->sink);
	wire_copy_fini(&f->copy);
	position_fini(&f->next);
	forget_ground(f);
	f->is_ready = f->is_listening = false;
	f->in_load = f->in_audit = f->in_poll = f->is_outdated = false;
	writer_set(f->w, STATUS_connected, 0);
	writer_set(f->w, STATUS_listening, 0);
}

static void
on_opened(void *arg)
{
	struct feed *f = arg;

	writer_set(f->w, STATUS_connected, 1);
	writer_add(f->w, STATUS_connects, 1);
	f->cannot_prune = false;
	pg_ask(f->pg, hello_done, "SELECT pg_backend_pid(), pg_is_in_recovery()");
}

static void
on_lost(void *arg)
{
	struct feed *f = arg;
	const char *sqlstate = pg_sqlstate(f->pg);
	const char *what = pg_needs_repair(f->pg) ? "no usable database" : "no database";
	const char *hint = strcmp(sqlstate, "28P01") == 0 ? ": the password belongs into ~/.pgpass of the daemon's user" : "";
	char text[256];

	session_over(f);
	writer_add(f->w, STATUS_failures, 1);
	if (!f->is_lost)
		f->lost_at = clock_ms(CLOCK_MONOTONIC);
	if (!f->is_lost || strcmp(f->lost_sqlstate, sqlstate) != 0)
		log_warn("sync: %s, the table stays as it is sqlstate=%s: %s%s", what,
		    sqlstate[0] != '\0' ? sqlstate : "none", pg_why(f->pg), hint);
	f->is_lost = true;
	snprintf(f->lost_sqlstate, sizeof f->lost_sqlstate, "%s", sqlstate);
	snprintf(text, sizeof text, "%s: %.150s%s", what, pg_why(f->pg), hint);
	say(f, PROBLEM_SESSION, text);
}

/* Only now it is known that the session is good for something. */
static void
settle(struct feed *f)
{
	char peer[256], source[280];

	pg_settle(f->pg);
	say(f, PROBLEM_SESSION, "");
	if (!f->is_lost)
		return;
	pg_peer(f->pg, peer, sizeof peer);
	log_notice("sync: connected %s mode=%s after_s=%.1f", peer, f->is_listening ? "listen" : "poll",
	    (double)(f->now - f->lost_at) / 1000);
	snprintf(source, sizeof source, "postgres %s", peer);
	writer_say_source(f->w, source);
	f->is_lost = false;
}

static void
set_pooled(struct feed *f, bool is_pooled)
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
	char sql[1024];

	if (!expect(f, r, PGRES_TUPLES_OK, "greet"))
		return;
	set_pooled(f, atoi(PQgetvalue(r, 0, 0)) != pg_backend(f->pg));
	f->in_recovery = PQgetvalue(r, 0, 1)[0] == 't';
	writer_set(f->w, STATUS_in_recovery, f->in_recovery);
	snprintf(sql, sizeof sql, settings_sql, f->config->sync_deadline_ms * 3 / 4);
	pg_ask(f->pg, settings_done, f->is_pooled ? "SELECT 1" : sql);
}

static void
settings_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;

	if (expect(f, r, PGRES_TUPLES_OK, "prepare the session"))
		pg_ask(f->pg, version_done, "SELECT schema_version FROM cors.meta");
}

static bool
is_version_known(struct feed *f, int version)
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
	else if (expect(f, r, PGRES_TUPLES_OK, "read the schema's version") &&
	    is_version_known(f, PQntuples(r) > 0 ? atoi(PQgetvalue(r, 0, 0)) : 0))
		pg_ask(f->pg, first_check_done, CHECK);
}

static void
want_load(struct feed *f, const char *why)
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

	f->checked_at = f->now;
	if (!expect(f, r, PGRES_TUPLES_OK, "check the schema"))
		return false;
	snprintf(f->home, sizeof f->home, "%s", PQgetvalue(r, 0, 0));
	if (!PQgetisnull(r, 0, 1))
		snprintf(text, sizeof text, "cors.problem(): %.230s", PQgetvalue(r, 0, 1));
	say(f, PROBLEM_DATABASE, text);
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
		pg_prepare(f->pg, delta_prepared, DELTA, delta_sql);
}

static void
delta_prepared(void *arg, const PGresult *r)
{
	struct feed *f = arg;

	if (expect(f, r, PGRES_COMMAND_OK, "prepare the delta"))
		pg_prepare(f->pg, glance_prepared, GLANCE, glance_sql);
}

static void
glance_prepared(void *arg, const PGresult *r)
{
	struct feed *f = arg;

	if (expect(f, r, PGRES_COMMAND_OK, "prepare the glance"))
		f->is_ready = true;
}

static void
check_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;

	if (check(f, r) && f->problems[PROBLEM_DATABASE][0] != '\0')
		want_load(f, "the change log cannot be trusted");
}

static void
start_check(struct feed *f)
{
	pg_ask(f->pg, check_done, CHECK);
}

/* ---- LISTEN ---- */

static void
listen_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;
	const char *sqlstate = PQresultErrorField(r, PG_DIAG_SQLSTATE);

	if (sqlstate != NULL && strcmp(sqlstate, "25006") == 0) {
		f->in_recovery = true;
		return;
	}
	if (!expect(f, r, PGRES_COMMAND_OK, "listen"))
		return;
	f->is_listening = true;
	f->poll_due = 0;		/* what was committed before LISTEN woke nobody */
	writer_set(f->w, STATUS_listening, 1);
}

static void
start_listen(struct feed *f)
{
	pg_ask(f->pg, listen_done, "LISTEN " CHANNEL);
}

static void
on_notified(void *arg)
{
	struct feed *f = arg;

	writer_add(f->w, STATUS_notifications, 1);
	f->is_woken = true;
	f->trail = 0;
	f->poll_due = f->polled_at + 1;	/* a flood of wake-ups is one poll a millisecond */
}

/* ---- deltas ---- */

/* One element of a text array literal. */
static void
put_element(FILE *out, struct span s)
{
	fputc('"', out);
	for (size_t i = 0; i < s.len; i++) {
		if (s.at[i] == '"' || s.at[i] == '\\')
			fputc('\\', out);
		fputc(s.at[i], out);
	}
	fputc('"', out);
}

/* The keys that are held, as two array literals; NULL: no memory. */
static char *
held_array(const struct feed *f, bool origins)
{
	const struct keyset *holds = sink_holds(f->sink);
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	const char *sep = "{";

	if (out == NULL)
		return NULL;
	for (const struct key *k = keyset_next(holds, NULL); k != NULL; k = keyset_next(holds, k), sep = ",") {
		fputs(sep, out);
		put_element(out, origins ? k->origin : k->realm);
	}
	fputs(keyset_count(holds) > 0 ? "}" : "{}", out);
	fclose(out);
	return text;
}

static void
begin_poll(struct feed *f, char *xmin, size_t cap)
{
	snprintf(xmin, cap, "%" PRIu64, f->at.xmin);
	f->asked++;
	f->in_poll = true;
	f->is_outdated = false;
	f->polled_at = f->now;
}

static void
ask_delta(struct feed *f, pg_done *done)
{
	char xmin[24], *realms = held_array(f, false), *origins = held_array(f, true);
	const char *values[] = { xmin, f->at.snapshot, f->at.in_recovery ? "t" : "f", realms, origins };

	begin_poll(f, xmin, sizeof xmin);
	f->asks_for_held = keyset_count(sink_holds(f->sink)) > 0;
	f->delta_at = f->now;
	f->asked_at = clock_ms(CLOCK_REALTIME);
	if (f->is_pooled)
		pg_ask_params(f->pg, done, delta_sql, 5, values);
	else
		pg_ask_prepared(f->pg, done, DELTA, 5, values);
	free(realms);
	free(origins);
}

enum outcome {
	DELTA_APPLIED,
	DELTA_NOT_ENOUGH,	/* a load is wanted; the position stays */
	DELTA_UNUSED,		/* outdated, or the table could not be written; the position stays */
	DELTA_FAILED,		/* the session is gone */
};

static int
head_of(const PGresult *r)
{
	for (int i = 0; i < PQntuples(r); i++)
		if (PQgetisnull(r, i, DELTA_KIND))
			return PQgetisnull(r, i, DELTA_SNAPSHOT) ? -1 : i;
	return -1;
}

/* Why the position is worth nothing to this server; NULL: it is good. */
static const char *
void_because(const struct feed *f, const PGresult *r, int head, const struct position *next)
{
	uint64_t pruned = strtoull(PQgetvalue(r, head, DELTA_PRUNED), NULL, 10);
	struct span home = column(r, head, DELTA_HOME);
	bool is_at_home = home.len == strlen(f->home) && memcmp(home.at, f->home, home.len) == 0;

	if (strcmp(next->token, f->at.token) != 0)
		return "another server, or its tables or triggers were changed";
	if (is_at_home && pruned >= f->at.xmin)
		return "the change log was pruned";
	if (next->xmin < f->at.xmin || next->xmax < f->at.xmax)
		return "the server has gone back: commits were lost";
	if (PQntuples(r) > MOST_CHANGES)
		return "too many changes";
	return NULL;
}

static bool
has_star(const PGresult *r)
{
	for (int i = 0; i < PQntuples(r); i++)
		if (!PQgetisnull(r, i, DELTA_KIND) && PQgetvalue(r, i, DELTA_KIND)[0] == '*')
			return true;
	return false;
}

static int
apply_delta(struct feed *f, const PGresult *r, bool is_partial)
{
	struct span c[DELTA_COLUMNS];
	int error = sink_delta_begin(f->sink, (size_t)PQntuples(r), f->asked);

	for (int i = 0; error == 0 && i < PQntuples(r); i++) {
		columns(c, DELTA_COLUMNS, r, i, 0);
		if (c[DELTA_KIND].len == 1 && *c[DELTA_KIND].at == 'o')
			error = sink_delta_row(f->sink, &c[DELTA_ROW]);
		else if (c[DELTA_KIND].len == 1 && *c[DELTA_KIND].at == 'p')
			error = sink_delta_policy(f->sink, &c[DELTA_POLICY]);
	}
	return error != 0 ? error : sink_delta_apply(f->sink, is_partial);
}

/* Takes over next where all of it is in the table. */
static enum outcome
use_delta(struct feed *f, const PGresult *r, int head, struct position *next)
{
	const char *why = void_because(f, r, head, next);
	bool is_partial = has_star(r);
	int error;

	if (why != NULL) {
		want_load(f, why);
		return DELTA_NOT_ENOUGH;
	}
	error = apply_delta(f, r, is_partial);
	if (error == -EBADMSG) {
		senseless(f, "read the delta");
		return DELTA_FAILED;
	}
	if (error != 0) {
		say_write_error(f, PROBLEM_DELTA, error);
		return DELTA_UNUSED;
	}
	say(f, PROBLEM_DELTA, "");
	if (sink_wants_load(f->sink) || is_partial) {
		want_load(f, is_partial ? "a bulk change" : "a policy is good again");
		return DELTA_NOT_ENOUGH;
	}
	position_fini(&f->at);
	f->at = *next;
	*next = (struct position){ 0 };
	forget_ground(f);
	f->ground = span_dup(column(r, head, DELTA_GROUND));
	writer_set(f->w, STATUS_fresh_at, f->asked_at);
	return DELTA_APPLIED;
}

static enum outcome
take_delta(struct feed *f, const PGresult *r)
{
	struct position next;
	enum outcome outcome;
	bool in_recovery = false;
	int32_t version = 0;
	int head;

	f->in_poll = false;
	if (!expect(f, r, PGRES_TUPLES_OK, "read the change log"))
		return DELTA_FAILED;
	head = head_of(r);
	if (head < 0 || PQnfields(r) != DELTA_COLUMNS || !wire_bool(column(r, head, DELTA_IN_RECOVERY), &in_recovery) ||
	    !wire_int4(column(r, head, DELTA_VERSION), &version) ||
	    !position_init(&next, column(r, head, DELTA_SNAPSHOT), column(r, head, DELTA_TOKEN), in_recovery)) {
		senseless(f, "read the change log");
		return DELTA_FAILED;
	}
	if (!is_version_known(f, version)) {
		position_fini(&next);
		return DELTA_FAILED;
	}
	writer_add(f->w, STATUS_polls, 1);
	writer_set(f->w, STATUS_in_recovery, f->in_recovery = in_recovery);
	outcome = f->is_outdated ? DELTA_UNUSED : use_delta(f, r, head, &next);
	position_fini(&next);
	return outcome;
}

/* A LISTEN that succeeded and is not there: it went to another backend. */
static void
check_listening(struct feed *f, const PGresult *r)
{
	bool is_there = false;

	wire_bool(column(r, head_of(r), DELTA_LISTENING), &is_there);
	if (!f->is_listening || is_there)
		return;
	f->is_listening = false;
	writer_set(f->w, STATUS_listening, 0);
	set_pooled(f, true);
}

static void
schedule_poll(struct feed *f, bool found)
{
	if (found && !f->is_woken && !f->asks_for_held && f->trail >= TRAILS && f->is_listening)
		writer_add(f->w, STATUS_late_finds, 1);
	if (found || f->is_woken)
		f->trail = 0;
	f->is_woken = false;
	f->poll_due = f->trail < TRAILS ? f->now + trail_ms[f->trail] : f->polled_at + f->config->sync_poll_ms;
	if (f->trail < TRAILS)
		f->trail++;
}

static void
poll_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;
	enum outcome outcome = take_delta(f, r);

	if (outcome == DELTA_FAILED)
		return;
	settle(f);
	check_listening(f, r);
	schedule_poll(f, outcome == DELTA_APPLIED && PQntuples(r) > 1);
	if (f->is_outdated)
		f->poll_due = 0;
	else if (outcome != DELTA_APPLIED)
		f->poll_due = f->now + f->config->sync_poll_ms;
}

/* ---- glances ---- */

/*
 * A wake-up is answered by less than a delta, so that a change is visible
 * sooner. What it finds is used only where it is true whatever else a delta
 * would say: on unchanged ground, single origins under policies that the table
 * has. It proves nothing more: whether the table is equal to the database is
 * for the delta that follows within milliseconds.
 */
static bool
can_glance(const struct feed *f)
{
	return f->is_woken && f->is_listening && !f->is_pooled && f->ground != NULL && !f->at.in_recovery &&
	    keyset_count(sink_holds(f->sink)) == 0 && f->now - f->delta_at < f->config->sync_poll_ms;
}

/* 0: all of it is collected. */
static int
collect_glance(struct feed *f, const PGresult *r)
{
	struct span c[GLANCE_COLUMNS];
	int error = sink_delta_begin(f->sink, (size_t)PQntuples(r), f->asked);

	for (int i = 0; error == 0 && i < PQntuples(r); i++) {
		columns(c, GLANCE_COLUMNS, r, i, 0);
		if (c[GLANCE_GROUND].at == NULL || c[GLANCE_GROUND].len != strlen(f->ground) ||
		    memcmp(c[GLANCE_GROUND].at, f->ground, c[GLANCE_GROUND].len) != 0 ||
		    c[GLANCE_KIND].len != 1 || *c[GLANCE_KIND].at != 'o')
			return -EAGAIN;
		error = sink_delta_row(f->sink, &c[GLANCE_ROW]);
	}
	return error;
}

/* False: it takes a delta. */
static bool
use_glance(struct feed *f, const PGresult *r)
{
	struct span token = { f->at.token, strlen(f->at.token) };
	struct position next;

	if (f->is_outdated || f->ground == NULL || PQnfields(r) != GLANCE_COLUMNS || PQntuples(r) > MOST_CHANGES)
		return false;
	if (PQntuples(r) == 0)
		return true;
	if (collect_glance(f, r) != 0 || !sink_delta_stands_alone(f->sink) ||
	    !position_init(&next, column(r, 0, GLANCE_SNAPSHOT), token, false))
		return false;
	if (sink_delta_apply(f->sink, false) != 0) {
		position_fini(&next);
		return false;
	}
	position_fini(&f->at);
	f->at = next;
	return true;
}

static void
glance_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;

	f->in_poll = false;
	if (!expect(f, r, PGRES_TUPLES_OK, "look at the change log"))
		return;
	writer_add(f->w, STATUS_polls, 1);
	if (use_glance(f, r)) {
		schedule_poll(f, PQntuples(r) > 0);
	} else {
		forget_ground(f);
		f->poll_due = 0;
	}
}

static void
ask_glance(struct feed *f)
{
	char xmin[24];
	const char *values[] = { xmin, f->at.snapshot };

	begin_poll(f, xmin, sizeof xmin);
	pg_ask_prepared(f->pg, glance_done, GLANCE, 2, values);
}

static void
start_poll(struct feed *f)
{
	if (can_glance(f))
		ask_glance(f);
	else
		ask_delta(f, poll_done);
}

/* ---- COPY, for loads and audits ---- */

static void	 end_done(void *arg, const PGresult *r);

static void
log_progress(struct feed *f)
{
	uint64_t rows = sink_loaded(f->sink);
	int64_t ms = f->now - f->progress_at;

	writer_set(f->w, STATUS_loading_rows, (int64_t)rows);
	if (ms < PROGRESS_MS)
		return;
	log_info("sync: loading rows=%" PRIu64 " rate=%" PRId64, rows, (int64_t)(rows - f->progress_rows) * 1000 / ms);
	f->progress_at = f->now;
	f->progress_rows = rows;
}

static int
on_row(void *arg, const struct span *fields)
{
	struct feed *f = arg;

	return f->in_load ? sink_load_row(f->sink, fields) : sink_audit_row(f->sink, fields);
}

/* The rest of the stream is of no use. */
static void
give_up_load(struct feed *f, int error)
{
	if (error == -EBADMSG) {
		senseless(f, "load");
		return;
	}
	say_write_error(f, PROBLEM_LOAD, error);
	session_over(f);
	pg_restart(f->pg);
	f->load_due = f->now + RETRY_WRITE_MS;
}

static int
on_data(void *arg, const char *data, size_t len)
{
	struct feed *f = arg;
	int error = wire_copy_feed(&f->copy, data, len, on_row, f);

	if (error != 0)
		give_up_load(f, error);
	else if (f->in_load && sink_loaded(f->sink) % 1024 == 0)
		log_progress(f);
	return error;
}

static void
copy_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;

	if (!expect(f, r, PGRES_COMMAND_OK, "copy the rows"))
		return;
	if (!f->copy.is_ended) {
		senseless(f, "copy the rows");
		return;
	}
	wire_copy_fini(&f->copy);
	pg_ask(f->pg, end_done, "COMMIT");
}

static void
policies_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;
	struct span c[SINK_POLICY_COLUMNS];
	int error = 0;

	if (!expect(f, r, PGRES_TUPLES_OK, "read the policies"))
		return;
	for (int i = 0; error == 0 && i < PQntuples(r); i++) {
		columns(c, SINK_POLICY_COLUMNS, r, i, 0);
		error = f->in_load ? sink_load_policy(f->sink, c) : sink_audit_policy(f->sink, c);
	}
	if (error != 0) {
		give_up_load(f, error);
		return;
	}
	wire_copy_init(&f->copy, SINK_ROW_COLUMNS);
	pg_ask(f->pg, copy_done, "COPY (SELECT " SINK_ROW " FROM cors.origins) TO STDOUT (FORMAT binary)");
}

static void
ask_policies(struct feed *f)
{
	pg_ask_params(f->pg, policies_done, "SELECT " SINK_POLICY " FROM cors.policies", 0, NULL);
}

#define BEGIN	"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

/* ---- a whole load ---- */

/* The planner's own estimate, which knows the size of the table as of now; exact counts take a scan. */
static const char load_head_sql[] =
    "SELECT pg_current_snapshot()::text, pg_is_in_recovery(), token, least(2000000000, pg_relation_size(c.oid)"
    " / current_setting('block_size')::int"
    " * CASE WHEN c.relpages > 0 AND c.reltuples > 0 THEN c.reltuples / c.relpages ELSE 80 END)::int"
    " FROM cors.token, pg_class c WHERE c.oid = to_regclass('cors.origins')";

static void
load_head_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;
	bool in_recovery = false;
	int32_t rows = 0;
	int error;

	if (!expect(f, r, PGRES_TUPLES_OK, "begin to load"))
		return;
	if (PQntuples(r) != 1 || !wire_bool(column(r, 0, 1), &in_recovery) || !wire_int4(column(r, 0, 3), &rows) ||
	    !position_init(&f->next, column(r, 0, 0), column(r, 0, 2), in_recovery)) {
		senseless(f, "begin to load");
		return;
	}
	error = sink_load_begin(f->sink, (uint64_t)rows, f->asked);
	if (error != 0)
		give_up_load(f, error);
	else
		ask_policies(f);
}

static void
begin_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;

	if (!expect(f, r, PGRES_COMMAND_OK, "begin"))
		return;
	f->asked_at = clock_ms(CLOCK_REALTIME);
	pg_ask_params(f->pg, load_head_done, load_head_sql, 0, NULL);
}

static void
start_load(struct feed *f)
{
	f->asked++;
	f->in_load = true;
	f->began = f->progress_at = f->now;
	f->progress_rows = 0;
	pg_ask(f->pg, begin_done, BEGIN);
}

static void
finish_load(struct feed *f)
{
	int64_t ms = f->now - f->began, gap = 5 * ms;
	uint64_t rows = sink_loaded(f->sink);
	int error = sink_load_commit(f->sink);

	if (error != 0) {
		give_up_load(f, error);
		return;
	}
	f->in_load = false;
	f->wants_load = false;
	f->load_due = f->now + (gap > LOAD_GAP_MS ? gap : LOAD_GAP_MS);
	f->audited_at = f->now;
	position_fini(&f->at);
	f->at = f->next;
	f->next = (struct position){ 0 };
	forget_ground(f);
	f->poll_due = 0;
	writer_set(f->w, STATUS_fresh_at, f->asked_at);
	writer_add(f->w, STATUS_snapshots, 1);
	writer_set(f->w, STATUS_snapshot_at, clock_ms(CLOCK_REALTIME));
	writer_set(f->w, STATUS_snapshot_ms, ms);
	writer_set(f->w, STATUS_snapshot_rows, (int64_t)rows);
	say(f, PROBLEM_LOAD, "");
	say(f, PROBLEM_DELTA, "");
	log_notice("sync: loaded rows=%" PRIu64 " ms=%" PRId64 " left_out=%" PRId64, rows, ms,
	    writer_get(f->w, STATUS_left_out));
}

/* ---- an audit ---- */

static void
rollback_done(void *arg, const PGresult *r)
{
	expect(arg, r, PGRES_COMMAND_OK, "end the audit");
}

/*
 * The delta is read in the audit's own snapshot, so that the table is to be
 * exactly what COPY sends next. Without it there is nothing to compare.
 */
static void
audit_delta_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;
	enum outcome outcome = take_delta(f, r);
	int error;

	if (outcome == DELTA_FAILED)
		return;
	if (outcome != DELTA_APPLIED || f->wants_load) {
		f->in_audit = f->wants_audit = false;
		pg_ask(f->pg, rollback_done, "ROLLBACK");
		return;
	}
	error = sink_audit_begin(f->sink);
	if (error != 0)
		give_up_load(f, error);
	else
		ask_policies(f);
}

static void
audit_begin_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;

	if (expect(f, r, PGRES_COMMAND_OK, "begin"))
		ask_delta(f, audit_delta_done);
}

static void
start_audit(struct feed *f)
{
	f->in_audit = true;
	f->audited_at = f->began = f->now;
	pg_ask(f->pg, audit_begin_done, BEGIN);
}

static void
finish_audit(struct feed *f)
{
	int64_t drift = sink_audit_end(f->sink);

	f->in_audit = f->wants_audit = false;
	f->poll_due = 0;
	if (drift < 0) {
		log_err("sync: audit: cannot read the table: %s", strerror((int)-drift));
		return;
	}
	writer_add(f->w, STATUS_audits, 1);
	writer_set(f->w, STATUS_audit_at, clock_ms(CLOCK_REALTIME));
	writer_add(f->w, STATUS_audit_drift, drift);
	if (drift > 0) {
		log_err("sync: audit: differences=%" PRId64 " between table and database: repairing", drift);
		f->load_due = 0;
		want_load(f, "the audit found differences");
	} else {
		log_info("sync: audit: equal ms=%" PRId64, f->now - f->began);
	}
}

static void
end_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;

	if (!expect(f, r, PGRES_COMMAND_OK, "commit"))
		return;
	if (f->in_load)
		finish_load(f);
	else
		finish_audit(f);
}

/* ---- pruning ---- */

static void
prune_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;

	if (PQresultStatus(r) != PGRES_TUPLES_OK) {
		log_notice("sync: the change log is not pruned from here: %s",
		    PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY));
		f->cannot_prune = true;
	} else if (atoll(PQgetvalue(r, 0, 0)) >= PRUNE_ROWS) {
		f->pruned_at = INT64_MIN / 2;	/* there may be more */
	}
}

static void
start_prune(struct feed *f)
{
	char sql[160];

	f->pruned_at = f->now;
	snprintf(sql, sizeof sql, "SET TRANSACTION READ WRITE; SELECT cors.prune(interval '%d s', %d)",
	    f->config->sync_keep_s, PRUNE_ROWS);
	pg_ask(f->pg, prune_done, sql);
}

/* ---- what is next ---- */

static int64_t
load_due(const struct feed *f)
{
	return f->wants_load || f->at.snapshot == NULL ? f->load_due : INT64_MAX;
}

static int64_t
listen_due(const struct feed *f)
{
	return f->at.snapshot != NULL && !f->is_listening && !f->is_pooled && !f->in_recovery ? 0 : INT64_MAX;
}

static int64_t
poll_due(const struct feed *f)
{
	return f->at.snapshot != NULL ? f->poll_due : INT64_MAX;
}

static int64_t
after(int64_t then, int seconds)
{
	return seconds > 0 ? then + (int64_t)seconds * 1000 : INT64_MAX;
}

static int64_t
audit_due(const struct feed *f)
{
	if (f->at.snapshot == NULL || f->wants_load)
		return INT64_MAX;
	return f->wants_audit ? 0 : after(f->audited_at, f->config->sync_audit_s);
}

static int64_t
prune_due(const struct feed *f)
{
	return f->in_recovery || f->cannot_prune ? INT64_MAX : after(f->pruned_at, f->config->sync_prune_s);
}

static int64_t
check_due(const struct feed *f)
{
	return f->checked_at + TROUBLED_MS;
}

/* In the order of their urgency. */
static const struct {
	int64_t	(*due)(const struct feed *f);
	void	(*start)(struct feed *f);
} jobs[] = {
	{ load_due,	start_load },
	{ listen_due,	start_listen },
	{ poll_due,	start_poll },
	{ audit_due,	start_audit },
	{ prune_due,	start_prune },
	{ check_due,	start_check },
};
#define JOBS	(sizeof jobs / sizeof jobs[0])

int64_t
feed_due(const struct feed *f)
{
	int64_t due = pg_due(f->pg), job;

	if (!f->is_ready || !pg_is_idle(f->pg))
		return due;
	for (size_t i = 0; i < JOBS; i++)
		if ((job = jobs[i].due(f)) < due)
			due = job;
	return due;
}

void
feed_turn(struct feed *f, short revents, int64_t now)
{
	f->now = now;
	pg_turn(f->pg, revents, now);
	for (size_t i = 0; i < JOBS && f->is_ready && pg_is_idle(f->pg); i++)
		if (jobs[i].due(f) <= now)
			jobs[i].start(f);
}

bool
feed_poll(const struct feed *f, struct pollfd *p)
{
	return pg_poll(f->pg, p);
}

/* ---- orders ---- */

int64_t
feed_invalidate(struct feed *f, struct span realm, struct span origin)
{
	int64_t n = sink_hold(f->sink, realm, origin, f->asked);

	f->poll_due = 0;
	if (n > 0)
		writer_add(f->w, STATUS_invalidations, n);
	return n;
}

/* Answers to what was asked before are of no use, and a load under way is one. */
static int64_t
held_at_large(struct feed *f, int64_t n)
{
	if (n < 0)
		return n;
	f->is_outdated = f->in_poll;
	if (f->in_load || f->in_audit) {
		session_over(f);
		pg_restart(f->pg);
	}
	f->load_due = 0;
	want_load(f, "invalidated by cachectl");
	writer_add(f->w, STATUS_invalidations, n);
	return n;
}

int64_t
feed_invalidate_realm(struct feed *f, struct span realm)
{
	return held_at_large(f, sink_hold_realm(f->sink, realm));
}

int64_t
feed_invalidate_all(struct feed *f)
{
	return held_at_large(f, sink_hold_all(f->sink));
}

void
feed_resync(struct feed *f)
{
	f->load_due = 0;
	want_load(f, "asked for by cachectl");
}

void
feed_audit(struct feed *f)
{
	f->wants_audit = true;
}

/* ---- the feed ---- */

const char *
feed_check_config(const struct config *config, char *buf, size_t cap)
{
	char why[256], where[512];

	if (pg_check_conninfo(config->sync_conninfo, why, sizeof why) == NULL)
		return NULL;
	snprintf(buf, cap, "%s: %s", config_where(config, OPTION_sync_conninfo, where, sizeof where), why);
	return buf;
}

const char *
feed_problem(const struct feed *f)
{
	size_t i;

	for (i = 0; i < PROBLEM_COUNT - 1 && f->problems[i][0] == '\0'; i++)
		;
	return f->problems[i];
}

bool
feed_is_loading(const struct feed *f)
{
	return f->in_load;
}

int
feed_open(struct feed **out, struct writer *w, const struct config *config)
{
	struct feed *f = calloc(1, sizeof *f);
	struct pg_owner owner = { .opened = on_opened, .lost = on_lost, .notified = on_notified, .data = on_data, .arg = f };
	int error;

	if (f == NULL)
		return -ENOMEM;
	f->w = w;
	f->config = config;
	f->now = clock_ms(CLOCK_MONOTONIC);
	f->lost_at = f->pruned_at = f->now;
	f->is_lost = true;		/* the first session is news */
	snprintf(f->lost_sqlstate, sizeof f->lost_sqlstate, "-");
	error = sink_open(&f->sink, w, config->table_path);
	if (error == 0)
		error = pg_open(&f->pg, config->sync_conninfo, config->sync_deadline_ms, &owner);
	if (error != 0) {
		sink_close(&f->sink);
		free(f);
		return error;
	}
	session_over(f);
	*out = f;
	return 0;
}

void
feed_close(struct feed **fp)
{
	struct feed *f = *fp;

	if (f == NULL)
		return;
	session_over(f);
	pg_close(&f->pg);
	position_fini(&f->at);
	sink_close(&f->sink);
	free(f);
	*fp = NULL;
}

int
feed_configure(struct feed *f, const struct config *config)
{
	if (strcmp(config->sync_conninfo, f->config->sync_conninfo) != 0) {
		session_over(f);
		f->is_lost = true;
		f->lost_at = f->now;
	}
	f->config = config;
	return pg_configure(f->pg, config->sync_conninfo, config->sync_deadline_ms);
}

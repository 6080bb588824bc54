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

#define DELTA			"corscache_delta"	/* the prepared statements */
#define GLANCE			"corscache_glance"
#define MOST_CHANGES		100000	/* in one delta; more is a whole load */

/* After a wake-up: whoever lost the race for the advisory lock did not wake us. */
static const int	 trail_ms[] = { 3, 10, 40, 150, 600 };
#define TRAILS		(sizeof trail_ms / sizeof trail_ms[0])

/* ---- deltas ---- */

/*
 * Of what the position stands on, the part that may change under a session and change back: how far
 * the log was pruned, and which files the names mean. The token says when triggers were bypassed, too.
 * (A regclass constant is resolved with the statement, and anew where that is planned anew: as the names in FROM.)
 */
#define FILE_OF(table)	"pg_catalog.pg_relation_filenode('" table "'::pg_catalog.regclass)"
#define GROUND \
	"(SELECT pg_catalog.concat_ws(' ', pruned_xid, " FILE_OF("cors.origins") ", " FILE_OF("cors.policies") ", " \
	FILE_OF("cors.changes") ")" \
	" FROM cors.meta)"

/*
 * How long ago, in milliseconds, what is seen here was known to be all there is; NULL: nobody knows. A standby
 * proves it by what it replayed: all that a receiver which is there has received, or else the last commit.
 */
#define AGE \
	"(CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN 0" \
	"  WHEN NOT pg_catalog.pg_is_wal_replay_paused() AND EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver)" \
	"   AND pg_catalog.pg_last_wal_replay_lsn() OPERATOR(pg_catalog.>=) pg_catalog.pg_last_wal_receive_lsn() THEN 0" \
	"  ELSE GREATEST(0, LEAST(2000000000, pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()" \
	"   OPERATOR(pg_catalog.-) pg_catalog.pg_last_xact_replay_timestamp()) OPERATOR(pg_catalog.*) 1000)) END)::pg_catalog.int4"

/*
 * One head row (kind NULL), which also says where the log now stands, and one
 * for every key changed since $2, with its current state, all of one snapshot.
 * $1: xmin of $2. $3: $2 was taken in recovery, where it hides transactions in
 * progress. $4, $5: keys that are held. Log rows restored from another cluster
 * lie in the future. LATERAL with LIMIT 1: index probes, whatever the planner
 * thinks of the table.
 */
#define SINCE \
	"xid" SQL_IS(">=") "$1::pg_catalog.xid8 AND xid" SQL_IS("<") \
	"pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())"
#define SEEN	"pg_catalog.pg_visible_in_snapshot(xid, $2::pg_catalog.pg_snapshot)"
#define ROW_OF_C \
	"(SELECT * FROM cors.origins o WHERE o.realm" SQL_EQ "c.realm AND o.origin" SQL_EQ "c.origin LIMIT 1)"
static const char delta_sql[] =
    "WITH c AS MATERIALIZED ("
    "  SELECT NULL AS kind, NULL AS realm, NULL AS origin"
    "  UNION ALL ("
    "    SELECT kind::pg_catalog.text, realm, origin FROM cors.changes"
    "     WHERE " SINCE
    "       AND ($3::boolean OR NOT " SEEN ")"
    "    UNION SELECT 'o', h.realm" SQL_BYTES ", h.origin" SQL_BYTES
    "      FROM ROWS FROM (pg_catalog.unnest($4::pg_catalog.text[]), pg_catalog.unnest($5::pg_catalog.text[])) h (realm, origin)"
    "    LIMIT 100001))"
    " SELECT h.snapshot, h.in_recovery, h.token, h.ground, h.pruned, h.home, h.schema_version, h.listening, h.age, c.kind,"
    "   c.realm, c.origin, o.policy, o.allow, o.expires_at,"
    "   c.realm, p.methods, p.headers, p.expose_headers, p.credentials, p.insecure, p.max_age"
    " FROM c"
    " LEFT JOIN LATERAL (SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text AS snapshot,"
    "     pg_catalog.pg_is_in_recovery() AS in_recovery, (SELECT token FROM cors.token) AS token, " GROUND " AS ground,"
    "     pruned_xid::pg_catalog.text AS pruned, home, schema_version,"
    "     EXISTS (SELECT FROM pg_catalog.pg_listening_channels() l WHERE l" SQL_EQ "'" CHANNEL "') AS listening, " AGE " AS age"
    "   FROM cors.meta LIMIT 1) h ON c.kind IS NULL"
    " LEFT JOIN LATERAL " ROW_OF_C " o ON c.kind" SQL_EQ "'o'"
    " LEFT JOIN LATERAL (SELECT * FROM cors.policies p WHERE p.name" SQL_EQ "c.realm LIMIT 1) p ON c.kind" SQL_EQ "'p'";
enum { DELTA_SNAPSHOT, DELTA_IN_RECOVERY, DELTA_TOKEN, DELTA_GROUND, DELTA_PRUNED, DELTA_HOME, DELTA_VERSION,
	DELTA_LISTENING, DELTA_AGE, DELTA_KIND, DELTA_ROW, DELTA_POLICY = DELTA_ROW + SINK_ROW_COLUMNS,
	DELTA_COLUMNS = DELTA_POLICY + SINK_POLICY_COLUMNS };

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
	f->was_woken = f->is_woken;
	f->is_woken = false;
	f->polled_at = f->now;
}

void
feed_ask_delta(struct feed *f, pg_done *done)
{
	char xmin[24], *realms = held_array(f, false), *origins = held_array(f, true);
	const char *values[] = { xmin, f->at.snapshot, f->at.in_recovery ? "t" : "f", realms, origins };

	begin_poll(f, xmin, sizeof xmin);
	f->asks_for_held = keyset_count(sink_holds(f->sink)) > 0;
	f->delta_at = f->now;
	f->asked_at = feed_clock_ms(CLOCK_REALTIME);
	if (f->is_pooled)
		pg_ask_params(f->pg, done, delta_sql, 5, values);
	else
		pg_ask_prepared(f->pg, done, DELTA, 5, values);
	free(realms);
	free(origins);
}

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
	struct span home = feed_column(r, head, DELTA_HOME);
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
		feed_columns(c, DELTA_COLUMNS, r, i, 0);
		if (c[DELTA_KIND].len == 1 && *c[DELTA_KIND].at == 'o')
			error = sink_delta_row(f->sink, &c[DELTA_ROW]);
		else if (c[DELTA_KIND].len == 1 && *c[DELTA_KIND].at == 'p')
			error = sink_delta_policy(f->sink, &c[DELTA_POLICY]);
	}
	return error != 0 ? error : sink_delta_apply(f->sink, is_partial);
}

/* What is in the table was known to be all there is at that time; a standby's words may be older than others'. */
static void
set_fresh(struct feed *f, const PGresult *r, int head)
{
	int32_t age;

	if (wire_int4(feed_column(r, head, DELTA_AGE), &age) && f->asked_at - age > writer_get(f->w, STATUS_fresh_at))
		writer_set(f->w, STATUS_fresh_at, f->asked_at - age);
}

/* Takes over next where all of it is in the table. */
static enum outcome
use_delta(struct feed *f, const PGresult *r, int head, struct position *next)
{
	const char *why = void_because(f, r, head, next);
	bool is_partial = has_star(r);
	int error;

	if (why != NULL) {
		feed_want_load(f, why);
		return DELTA_NOT_ENOUGH;
	}
	error = apply_delta(f, r, is_partial);
	if (error == -EBADMSG) {
		feed_senseless(f, "read the delta");
		return DELTA_FAILED;
	}
	if (error != 0) {
		if (sink_wants_load(f->sink))
			feed_want_load(f, "a change could not be applied");
		feed_say_write_error(f, PROBLEM_DELTA, error);
		return DELTA_UNUSED;
	}
	feed_say(f, PROBLEM_DELTA, "");
	if (sink_wants_load(f->sink) || is_partial) {
		feed_want_load(f, is_partial ? "a bulk change" : "a policy is good again");
		return DELTA_NOT_ENOUGH;
	}
	position_fini(&f->at);
	f->at = *next;
	*next = (struct position){ 0 };
	feed_forget_ground(f);
	f->ground = span_dup(feed_column(r, head, DELTA_GROUND));
	set_fresh(f, r, head);
	return DELTA_APPLIED;
}

enum outcome
feed_take_delta(struct feed *f, const PGresult *r)
{
	struct position next;
	enum outcome outcome;
	bool in_recovery = false;
	int32_t version = 0;
	int head;

	f->in_poll = false;
	if (!feed_expect_rows(f, r, 1, DELTA_COLUMNS, "read the change log"))
		return DELTA_FAILED;
	head = head_of(r);
	if (head < 0 || PQnfields(r) != DELTA_COLUMNS || !wire_bool(feed_column(r, head, DELTA_IN_RECOVERY), &in_recovery) ||
	    !wire_int4(feed_column(r, head, DELTA_VERSION), &version) ||
	    !position_init(&next, feed_column(r, head, DELTA_SNAPSHOT), feed_column(r, head, DELTA_TOKEN), in_recovery)) {
		feed_senseless(f, "read the change log");
		return DELTA_FAILED;
	}
	if (!feed_knows_version(f, version)) {
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

	wire_bool(feed_column(r, head_of(r), DELTA_LISTENING), &is_there);
	if (!f->is_listening || is_there)
		return;
	f->is_listening = false;
	writer_set(f->w, STATUS_listening, 0);
	feed_set_pooled(f, true);
}

static void
schedule_poll(struct feed *f, bool found)
{
	if (f->is_woken)		/* while it ran, perhaps for what it did not see: at once */
		return;
	if (found && !f->was_woken && !f->asks_for_held && f->trail >= TRAILS && f->is_listening)
		writer_add(f->w, STATUS_late_finds, 1);
	if (found || f->was_woken)
		f->trail = 0;
	f->poll_due = f->trail < TRAILS ? f->now + trail_ms[f->trail] : f->polled_at + f->config->sync_poll_ms;
	if (f->trail < TRAILS)
		f->trail++;
}

static void
poll_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;
	enum outcome outcome = feed_take_delta(f, r);

	if (outcome == DELTA_FAILED)
		return;
	feed_settle(f);
	check_listening(f, r);
	schedule_poll(f, outcome == DELTA_APPLIED && PQntuples(r) > 1);
	if (f->is_outdated)
		f->poll_due = 0;
	else if (outcome != DELTA_APPLIED)
		f->poll_due = f->now + f->config->sync_poll_ms;
}

/* ---- glances ---- */

/*
 * What a wake-up waits for: the origins changed since $2, without the rest of
 * the delta, which costs the server twice as much as all of this.
 */
static const char glance_sql[] =
    "SELECT (SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text), " GROUND ", c.kind::pg_catalog.text,"
    "   c.realm, c.origin, o.policy, o.allow, o.expires_at"
    " FROM cors.changes c"
    " LEFT JOIN LATERAL " ROW_OF_C " o ON true"
    " WHERE " SINCE " AND NOT " SEEN
    " LIMIT 100001";
enum { GLANCE_SNAPSHOT, GLANCE_GROUND, GLANCE_KIND, GLANCE_ROW, GLANCE_COLUMNS = GLANCE_ROW + SINK_ROW_COLUMNS };

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
		feed_columns(c, GLANCE_COLUMNS, r, i, 0);
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
	    !position_init(&next, feed_column(r, 0, GLANCE_SNAPSHOT), token, false))
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
	if (!feed_expect_rows(f, r, 0, GLANCE_COLUMNS, "look at the change log"))
		return;
	writer_add(f->w, STATUS_polls, 1);
	if (use_glance(f, r)) {
		schedule_poll(f, PQntuples(r) > 0);
	} else {
		feed_forget_ground(f);
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

void
feed_start_poll(struct feed *f)
{
	if (can_glance(f))
		ask_glance(f);
	else
		feed_ask_delta(f, poll_done);
}

/* ---- before the first of them in a session ---- */

static void
glance_prepared(void *arg, const PGresult *r)
{
	struct feed *f = arg;

	if (feed_expect_done(f, r, "prepare the glance"))
		f->is_ready = true;
}

static void
delta_prepared(void *arg, const PGresult *r)
{
	struct feed *f = arg;

	if (feed_expect_done(f, r, "prepare the delta"))
		pg_prepare(f->pg, glance_prepared, GLANCE, glance_sql);
}

void
feed_prepare(struct feed *f)
{
	pg_prepare(f->pg, delta_prepared, DELTA, delta_sql);
}

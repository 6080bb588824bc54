/* SPDX-License-Identifier: BSD-2-Clause */
#include "feed_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "sql.h"

#define LOAD_GAP_MS		1000	/* at least, and five times the last load */
#define RETRY_WRITE_MS		5000	/* table.path is full */
#define PROGRESS_MS		2000	/* between two lines about a load */

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
		feed_senseless(f, "load");
		return;
	}
	feed_say_write_error(f, PROBLEM_LOAD, error);
	feed_session_over(f);
	pg_restart(f->pg);
	f->load_due = f->now + RETRY_WRITE_MS;
}

int
feed_data(void *arg, const char *data, size_t len)
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

	if (!feed_expect_done(f, r, "copy the rows"))
		return;
	if (!f->copy.is_ended) {
		feed_senseless(f, "copy the rows");
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

	if (!feed_expect_rows(f, r, 0, SINK_POLICY_COLUMNS, "read the policies"))
		return;
	for (int i = 0; error == 0 && i < PQntuples(r); i++) {
		feed_columns(c, SINK_POLICY_COLUMNS, r, i, 0);
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

/* ---- a whole load ---- */

/* The planner's own estimate, which knows the size of the table as of now; exact counts take a scan. */
static const char load_head_sql[] =
    "SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text, pg_catalog.pg_is_in_recovery(), token,"
    " least(2000000000, (pg_catalog.pg_relation_size(c.oid)" SQL_IS("/")
    "pg_catalog.current_setting('block_size')::integer)" SQL_IS("*")
    "(CASE WHEN c.relpages" SQL_IS(">") "0 AND c.reltuples" SQL_IS(">") "0 THEN c.reltuples" SQL_IS("/")
    "c.relpages ELSE 80 END))::integer"
    " FROM cors.token, pg_catalog.pg_class c WHERE c.oid" SQL_EQ "pg_catalog.to_regclass('cors.origins')";

static void
load_head_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;
	bool in_recovery = false;
	int32_t rows = 0;
	int error;

	if (!feed_expect_rows(f, r, 1, 4, "begin to load"))
		return;
	if (PQntuples(r) != 1 || !wire_bool(feed_column(r, 0, 1), &in_recovery) || !wire_int4(feed_column(r, 0, 3), &rows) ||
	    !position_init(&f->next, feed_column(r, 0, 0), feed_column(r, 0, 2), in_recovery)) {
		feed_senseless(f, "begin to load");
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

	if (!feed_expect_done(f, r, "begin"))
		return;
	f->asked_at = feed_clock_ms(CLOCK_REALTIME);
	pg_ask_params(f->pg, load_head_done, load_head_sql, 0, NULL);
}

void
feed_start_load(struct feed *f)
{
	f->asked++;
	f->in_load = true;
	f->began = f->progress_at = f->now;
	f->progress_rows = 0;
	pg_ask(f->pg, begin_done, SQL_BEGIN);
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
	feed_forget_ground(f);
	f->poll_due = 0;
	if (!f->at.in_recovery)		/* otherwise the delta that follows says how fresh */
		writer_set(f->w, STATUS_fresh_at, f->asked_at);
	writer_add(f->w, STATUS_snapshots, 1);
	writer_set(f->w, STATUS_snapshot_at, feed_clock_ms(CLOCK_REALTIME));
	writer_set(f->w, STATUS_snapshot_ms, ms);
	writer_set(f->w, STATUS_snapshot_rows, (int64_t)rows);
	feed_say(f, PROBLEM_LOAD, "");
	feed_say(f, PROBLEM_DELTA, "");
	log_notice("sync: loaded rows=%" PRIu64 " ms=%" PRId64 " left_out=%" PRId64, rows, ms,
	    writer_get(f->w, STATUS_left_out));
}

/* ---- an audit ---- */

static void
rollback_done(void *arg, const PGresult *r)
{
	feed_expect_done(arg, r, "end the audit");
}

/*
 * The delta is read in the audit's own snapshot, so that the table is to be
 * exactly what COPY sends next. Without it there is nothing to compare.
 */
static void
audit_delta_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;
	enum outcome outcome = feed_take_delta(f, r);
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

	if (feed_expect_done(f, r, "begin"))
		feed_ask_delta(f, audit_delta_done);
}

void
feed_start_audit(struct feed *f)
{
	f->in_audit = true;
	f->audited_at = f->began = f->now;
	pg_ask(f->pg, audit_begin_done, SQL_BEGIN);
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
	writer_set(f->w, STATUS_audit_at, feed_clock_ms(CLOCK_REALTIME));
	writer_add(f->w, STATUS_audit_drift, drift);
	if (drift > 0) {
		log_err("sync: audit: differences=%" PRId64 " between table and database: repairing", drift);
		f->load_due = 0;
		feed_want_load(f, "the audit found differences");
	} else {
		log_info("sync: audit: equal ms=%" PRId64, f->now - f->began);
	}
}

static void
end_done(void *arg, const PGresult *r)
{
	struct feed *f = arg;

	if (!feed_expect_done(f, r, "commit"))
		return;
	if (f->in_load)
		finish_load(f);
	else
		finish_audit(f);
}

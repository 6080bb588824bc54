/* SPDX-License-Identifier: BSD-2-Clause */
#include "feed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "feed_parts.h"

#define TROUBLED_MS		60000	/* while cors.problem() distrusts the log: load this often */

/* ---- what is next ---- */

static int64_t
load_due(const struct feed *f)
{
	return f->wants_load || f->at.snapshot == NULL ? f->load_due : INT64_MAX;
}

static int64_t
listen_due(const struct feed *f)
{
	if (f->at.snapshot == NULL || f->is_listening || f->is_pooled || f->in_recovery)
		return INT64_MAX;
	return f->listen_due;
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
	{ load_due,	feed_start_load },
	{ poll_due,	feed_start_poll },
	{ listen_due,	feed_start_listen },
	{ audit_due,	feed_start_audit },
	{ prune_due,	feed_start_prune },
	{ check_due,	feed_start_check },
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
	if (sink_wants_load(f->sink))
		feed_want_load(f, "more was invalidated than a delta can ask for");
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
		feed_session_over(f);
		pg_restart(f->pg);
	}
	f->load_due = 0;
	feed_want_load(f, "invalidated by cachectl");
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
	feed_want_load(f, "asked for by cachectl");
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
	struct pg_owner owner = { .opened = feed_opened, .lost = feed_lost, .notified = feed_notified, .data = feed_data, .arg = f };
	int error;

	if (f == NULL)
		return -ENOMEM;
	f->w = w;
	f->config = config;
	f->now = feed_clock_ms(CLOCK_MONOTONIC);
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
	feed_session_over(f);
	*out = f;
	return 0;
}

void
feed_close(struct feed **fp)
{
	struct feed *f = *fp;

	if (f == NULL)
		return;
	feed_session_over(f);
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
		feed_session_over(f);
		f->is_lost = true;
		f->lost_at = f->now;
	}
	f->config = config;
	return pg_configure(f->pg, config->sync_conninfo, config->sync_deadline_ms);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A look is what was read at one moment; a page shows one look, and what has
 * grown since the one before. Reading needs no daemon: where responders come
 * and go, the numbers go on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "health.h"
#include "refusals.h"
#include "rows.h"
#include "screen.h"
#include "watch.h"

#define SIDE_ROWS_LEAST	5	/* of reasons and realms, side by side */
#define CLEAN_MAX	(4 * FREQUENT_ORIGIN_KEPT + 1)

struct look {
	struct health		 health;
	struct refusals_report	 report;
	int			 error;		/* 0, or -errno: what responders count could not be read */
	double			 at_s;		/* CLOCK_MONOTONIC; 0: not looked yet */
};

struct top {
	const struct call	*call;
	struct reader		*reader;
	double			 interval_s;
	struct look		 now, before;
};

static void
look(struct top *t)
{
	const struct config *config = t->call->config;
	struct timespec clock;

	clock_gettime(CLOCK_REALTIME, &clock);
	reader_refresh(t->reader);
	t->now.error = refusals_read(config->table_path, clock.tv_sec, &t->now.report);
	health_read(&t->now.health, t->reader, config->table_path, config->responder_max_stale_s,
	    (int64_t)clock.tv_sec * 1000 + clock.tv_nsec / 1000000);
	if (t->now.error == 0)
		t->now.error = t->now.health.counters_error;
	t->now.at_s = screen_now();
}

static double
seconds(const struct top *t)
{
	return t->before.at_s > 0 ? t->now.at_s - t->before.at_s : 0;
}

static const char *
rate(const struct top *t, char buf[32], uint64_t now, uint64_t before)
{
	return seconds(t) > 0 ? watch_rate(buf, now, before, seconds(t)) : "-";
}

/* ---- the upper part: health, rates, latency ---- */

static void
show_health(const struct top *t)
{
	const struct health *h = &t->now.health;
	char when[HUMAN_MAX], what[ESCAPED_MAX];

	screen_line(COLOUR_BOLD, "corscache " PACKAGE_VERSION "   %s   every %g s   q quits",
	    human_time(when, h->now_ms / 1000), t->interval_s);
	if (t->now.error != 0)
		screen_line(COLOUR_BAD, "what responders count cannot be read: %s", strerror(-t->now.error));
	else if (h->nproblems == 0)
		screen_line(COLOUR_GOOD, "healthy");
	else
		screen_line(COLOUR_BAD, "unhealthy: %s%s", escaped(what, sizeof what, span_of(h->problems[0].what)),
		    h->nproblems > 1 ? " (more: cachectl status)" : "");
}

static void
show_table(const struct top *t)
{
	const struct table_info *ti = &t->now.health.table;
	char rows[COUNTED_MAX], shards[COUNTED_MAX], bytes[HUMAN_MAX], policies[HUMAN_MAX];

	screen_line(COLOUR_NONE, "table      %s, policies: %s, %s, %s, generation %llu", human_counted(rows, ti->rows, "row"),
	    human_count(policies, ti->policies), human_counted(shards, ti->shards, "shard"),
	    human_bytes(bytes, ti->bytes), (unsigned long long)ti->table);
}

static void
show_sync(const struct top *t)
{
	const struct health *h = &t->now.health;
	const struct status *s = &h->sync;
	char fresh[HUMAN_MAX], changes[32];

	if (h->is_static)
		screen_line(COLOUR_NONE, "sync       none: the table was filled by cachectl load");
	else
		screen_line(COLOUR_NONE, "sync       %s, %s, fresh %s%s, changes %s/s",
		    !h->table.writer_alive ? "no corscache-syncd" : s->connected ? "connected" : "not connected",
		    s->listening ? "listening" : "polling only",
		    s->fresh_at == 0 ? "never" : human_duration(fresh, h->now_ms - s->fresh_at), s->fresh_at == 0 ? "" : " ago",
		    rate(t, changes, (uint64_t)s->changes, (uint64_t)t->before.health.sync.changes));
}

static void
show_requests(const struct top *t)
{
	const struct counters_sum *now = &t->now.health.counters, *before = &t->before.health.counters;
	struct verdicts n = counters_verdicts(now), b = counters_verdicts(before);
	char all[32], allowed[32], refused[32], not_cors[32], error[32], total[HUMAN_MAX];
	uint64_t sum = n.allowed + n.refused + n.not_cors + n.error;

	screen_line(COLOUR_NONE, "requests   %s/s   total %s   threads %u",
	    rate(t, all, sum, b.allowed + b.refused + b.not_cors + b.error), human_count(total, sum), now->owners);
	screen_line(COLOUR_NONE, "answers    allowed %s/s   refused %s/s   not CORS %s/s   errors %s/s",
	    rate(t, allowed, n.allowed, b.allowed), rate(t, refused, n.refused, b.refused),
	    rate(t, not_cors, n.not_cors, b.not_cors), rate(t, error, n.error, b.error));
}

static const char *
quantile(char buf[32], const struct top *t, double share)
{
	double us = counters_quantile_us(&t->now.health.counters, &t->before.health.counters, share);

	if (us < 0 || seconds(t) <= 0)
		return "-";
	snprintf(buf, 32, us < 1000 ? "%.0f us" : us < (double)COUNTERS_LAST_US ? "%.1f ms" : "over %.1f ms",
	    us < 1000 ? us : us / 1000);
	return buf;
}

static void
show_latency(const struct top *t)
{
	char p50[32], p99[32], p999[32];

	screen_line(COLOUR_NONE, "latency    p50 %s   p99 %s   p99.9 %s", quantile(p50, t, 0.5), quantile(p99, t, 0.99),
	    quantile(p999, t, 0.999));
}

/* ---- the lower part: lists, the busiest first ---- */

struct entry {
	uint64_t			 count, grown;
	enum reason			 reason;
	const struct frequent_item	*item;
};

static int
compare_entries(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->grown != y->grown)
		return x->grown > y->grown ? -1 : 1;
	return x->count != y->count ? (x->count > y->count ? -1 : 1) : 0;
}

static size_t
list_reasons(const struct top *t, struct entry entries[REASON_COUNT])
{
	const uint64_t *now = &t->now.health.counters.cell[offsetof(struct counters, reason) / sizeof(uint64_t)];
	const uint64_t *before = &t->before.health.counters.cell[offsetof(struct counters, reason) / sizeof(uint64_t)];
	size_t i, n = 0;

	for (i = 0; i < REASON_COUNT; i++)
		if (now[i] > 0 && i != REASON_ALLOWED && i != REASON_NOT_CORS)
			entries[n++] = (struct entry){ now[i], watch_grown(now[i], before[i]), (enum reason)i, NULL };
	qsort(entries, n, sizeof *entries, compare_entries);
	return n;
}

/* An item that was away in between began anew: then all of it is new. The entries are the caller's to free(). */
static struct entry *
list_items(const struct refusals_list *now, const struct refusals_list *before)
{
	struct entry *entries = malloc((now->nitems + 1) * sizeof *entries);
	const struct frequent_item *was;
	size_t i;

	if (entries == NULL) {
		complain("out of memory");
		exit(EXIT_FAILED);
	}
	for (i = 0; i < now->nitems; i++) {
		was = refusals_find(before, &now->items[i]);
		entries[i] = (struct entry){ now->items[i].count, watch_grown(now->items[i].count, was == NULL ? 0 : was->count),
		    (enum reason)now->items[i].reason, &now->items[i] };
	}
	qsort(entries, now->nitems, sizeof *entries, compare_entries);
	return entries;
}

static const char *
clean_realm(char buf[CLEAN_MAX], const struct frequent_item *item)
{
	if (item->realm_len == 0)
		return "''";
	return escaped(buf, CLEAN_MAX, frequent_realm(item));
}

static void
side(char *buf, size_t cap, const struct top *t, const char *name, const struct entry *e)
{
	char total[HUMAN_MAX], grown[32];

	snprintf(buf, cap, "%-17.17s %8s %11s", name, rate(t, grown, e->grown, 0), human_count(total, e->count));
}

static void
show_reasons_and_realms(const struct top *t, unsigned most)
{
	struct entry reasons[REASON_COUNT], *realms = list_items(&t->now.report.realms, &t->before.report.realms);
	size_t nreasons = list_reasons(t, reasons), nrealms = t->now.report.realms.nitems, i;
	char left[64], right[64], clean[CLEAN_MAX];

	screen_line(COLOUR_BOLD, "%-17s %8s %11s   %-17s %8s %11s", "REFUSED FOR", "/s", "total", "REALM ASKED FOR", "/s",
	    "total");
	for (i = 0; i < most; i++) {
		left[0] = right[0] = '\0';
		if (i < nreasons)
			side(left, sizeof left, t, reason_token(reasons[i].reason), &reasons[i]);
		if (i < nrealms)
			side(right, sizeof right, t, clean_realm(clean, realms[i].item), &realms[i]);
		screen_line(COLOUR_NONE, "%-38s   %s", left, right);
	}
	free(realms);
}

static void
show_origin(const struct top *t, const struct entry *e)
{
	char grown[32], least[HUMAN_MAX], realm[CLEAN_MAX], origin[CLEAN_MAX];

	screen_line(COLOUR_NONE, "%8s %11s  %-16.16s %-10.10s %s", rate(t, grown, e->grown, 0),
	    human_count(least, e->count), reason_token(e->reason), clean_realm(realm, e->item),
	    escaped(origin, sizeof origin, frequent_origin(e->item)));
}

static void
show_origins(const struct top *t)
{
	struct entry *entries = list_items(&t->now.report.refused, &t->before.report.refused);
	size_t i;

	screen_line(COLOUR_BOLD, "%8s %11s  %-16s %-10s %s", "/s", "at least", "REFUSED FOR", "REALM", "ORIGIN");
	for (i = 0; i < t->now.report.refused.nitems && screen_left() > 0; i++)
		show_origin(t, &entries[i]);
	free(entries);
}

static void
draw(const struct top *t)
{
	unsigned left;

	show_health(t);
	show_table(t);
	show_sync(t);
	show_requests(t);
	show_latency(t);
	screen_line(COLOUR_NONE, "%s", "");
	left = screen_left();
	show_reasons_and_realms(t, left / 3 > SIDE_ROWS_LEAST ? left / 3 : SIDE_ROWS_LEAST);
	screen_line(COLOUR_NONE, "%s", "");
	show_origins(t);
	screen_draw();
}

static void
run(struct top *t)
{
	double next = screen_now();
	enum screen_event event;

	do {
		refusals_free(&t->before.report);
		t->before = t->now;
		memset(&t->now, 0, sizeof t->now);
		look(t);
		draw(t);
		next += t->interval_s;
		while ((event = screen_wait(next)) == SCREEN_RESIZED)
			draw(t);
	} while (event != SCREEN_QUIT);
}

int
cmd_top(const struct call *call)
{
	struct top t = { .call = call, .interval_s = 1 };
	int error;

	if (call->noperands > 0 && watch_interval(call->operands[0], &t.interval_s) != EXIT_YES)
		return EXIT_MISUSED;
	error = reader_open(&t.reader, call->config->table_path);
	if (error != 0) {
		complain("%s: %s", call->config->table_path, strerror(-error));
		return EXIT_FAILED;
	}
	if (call->json || screen_open() != 0) {
		complain("top needs a terminal; cachectl stats --watch prints the same figures anywhere, "
		    "cachectl refusals the lists");
		reader_close(&t.reader);
		return EXIT_MISUSED;
	}
	run(&t);
	screen_close();
	refusals_free(&t.now.report);
	refusals_free(&t.before.report);
	reader_close(&t.reader);
	return EXIT_YES;
}

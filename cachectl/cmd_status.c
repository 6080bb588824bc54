/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "health.h"
#include "rows.h"

#define FEW_ROWS		1000	/* too few for bytes a row to mean something */

/* ---- text ---- */

static const char *
ago(char buf[HUMAN_MAX], const struct health *h, int64_t at_ms)
{
	char duration[HUMAN_MAX - 4];
	char whole[HUMAN_MAX];

	if (at_ms == 0)
		return "never";
	snprintf(duration, sizeof duration, "%s", human_duration(whole, h->now_ms - at_ms));
	snprintf(buf, HUMAN_MAX, "%s ago", duration);
	return buf;
}

static void
print_verdict(const struct health *h)
{
	size_t i;

	if (h->nproblems == 0)
		paint(COLOUR_GOOD, "healthy");
	else
		paint(COLOUR_BAD, "unhealthy");
	putchar('\n');
	for (i = 0; i < h->nproblems; i++) {
		printf("problem     ");
		print_bytes(span_of(h->problems[i].what));
		printf("\nnext        %s\n", h->problems[i].next);
	}
}

static void
print_table(const struct health *h, const char *path)
{
	const struct table_info *t = &h->table;
	char rows[COUNTED_MAX], policies[HUMAN_MAX], bytes[HUMAN_MAX], capacity[HUMAN_MAX];

	printf("table       %s, generation %" PRIu64 ", epoch %" PRIu64 "\n", path, t->table, t->epoch);
	printf("            %s, %s polic%s, %" PRIu32 " shard%s\n", human_counted(rows, t->rows, "row"),
	    human_count(policies, t->policies), t->policies == 1 ? "y" : "ies", t->shards, t->shards == 1 ? "" : "s");
	printf("            %s in all", human_bytes(bytes, t->bytes));
	if (t->rows >= FEW_ROWS)
		printf(", %.1f bytes a row", (double)t->bytes / (double)t->rows);
	printf("; room for %s rows before it grows\n", human_count(capacity, t->capacity));
	printf("source      ");
	print_bytes(span_of(t->source[0] != '\0' ? t->source : "unknown"));
	putchar('\n');
}

static void
print_sync(const struct health *h)
{
	const struct status *s = &h->sync;
	char at[HUMAN_MAX], count[COUNTED_MAX], took[HUMAN_MAX];

	if (h->table.writer_alive) {
		printf("writer      process %" PRId64 ", heartbeat %s\n", s->writer_pid, ago(at, h, s->heartbeat_at));
		printf("sync        %s, %s%s%s\n", s->connected ? "connected" : "not connected",
		    s->listening ? "listening" : "polling only", s->in_recovery ? ", a hot standby" : "",
		    s->pooled ? ", behind a transaction pooler" : "");
	} else {
		printf("writer      none\n");
	}
	printf("fresh       %s\n", ago(at, h, s->fresh_at));
	printf("snapshot    %s", ago(at, h, s->snapshot_at));
	if (s->snapshot_at != 0)
		printf(": %s in %s", human_counted(count, (uint64_t)s->snapshot_rows, "row"),
		    human_duration(took, s->snapshot_ms));
	if (s->loading_rows > 0)
		printf("; loading: %s so far", human_counted(count, (uint64_t)s->loading_rows, "row"));
	putchar('\n');
	printf("changes     %s applied", human_count(count, (uint64_t)s->changes));
	printf("; %s left out%s", human_counted(count, (uint64_t)s->left_out, "row"),
	    s->left_out > 0 ? " (cachectl lint says why)" : "");
	printf(", %s held\n", human_count(count, (uint64_t)s->held));
	if (s->revoked > 0)
		printf("revoked     %s %s on this machine (cachectl revoke --list says which)\n",
		    human_count(count, (uint64_t)s->revoked), s->revoked == 1 ? "entry" : "entries");
}

static void
print_responders(const struct health *h)
{
	char threads[COUNTED_MAX], count[HUMAN_MAX];
	uint64_t n;
	size_t i;

	printf("responders  ");
	if (h->counters_error != 0)
		printf("unknown\n");		/* cmd_status() tells why */
	else if (h->counters.owners == 0)
		paint(COLOUR_BAD, "none\n");
	else
		printf("%s\n", human_counted(threads, h->counters.owners, "thread"));
	for (i = 0; i < counter_ndescs; i++) {
		n = h->counters.cell[counter_descs[i].offset / sizeof(uint64_t)];
		if (n > 0)
			printf("            %s %s\n", human_count(count, n), counter_descs[i].help);
	}
}

/* ---- JSON ---- */

static void
fill_table(struct object *o, const struct health *h, const char *path)
{
	const struct table_info *t = &h->table;
	char instance[17];

	object_text(o, "path", path);
	object_bool(o, "ready", t->ready);
	object_bool(o, "held_all", t->held_all);
	object_bool(o, "revocations_lost", t->revocations_lost);
	object_number(o, "generation", (int64_t)t->table);
	object_number(o, "epoch", (int64_t)t->epoch);
	object_number(o, "rows", (int64_t)t->rows);
	object_number(o, "policies", (int64_t)t->policies);
	object_number(o, "capacity", (int64_t)t->capacity);
	object_number(o, "bytes", (int64_t)t->bytes);
	object_number(o, "dead_bytes", (int64_t)t->dead_bytes);
	object_number(o, "shards", t->shards);
	object_number(o, "layout", t->layout);
	snprintf(instance, sizeof instance, "%016" PRIx64, t->instance);
	object_text(o, "instance", instance);
	object_bool(o, "writer_alive", t->writer_alive);
	object_text(o, "problem", t->problem);
	object_text(o, "source", t->source);
}

static void
fill_sync(struct object *o, const struct status *s)
{
	const int64_t *cells = (const int64_t *)s;
	size_t i;

	for (i = 0; i < STATUS_COUNT; i++)
		object_number(o, status_descs[i].name, cells[i]);
}

static void
fill_counters(struct object *o, const struct counters_sum *sum)
{
	struct object *reasons;
	size_t i;

	object_number(o, "owners", sum->owners);
	for (i = 0; i < counter_ndescs; i++)
		object_number(o, counter_descs[i].name, (int64_t)sum->cell[counter_descs[i].offset / sizeof(uint64_t)]);
	reasons = object_in(o, "reasons");
	for (i = 0; i < REASON_COUNT; i++)
		object_number(reasons, reason_token((enum reason)i),
		    (int64_t)sum->cell[offsetof(struct counters, reason) / sizeof(uint64_t) + i]);
}

static void
print_json(const struct health *h, const char *path)
{
	struct object *o = object_new();
	size_t i;

	object_bool(o, "healthy", h->nproblems == 0);
	object_array(o, "problems");
	for (i = 0; i < h->nproblems; i++)
		object_append(o, "problems", span_of(h->problems[i].what));
	object_number(o, "now_ms", h->now_ms);
	fill_table(object_in(o, "table"), h, path);
	fill_sync(object_in(o, "sync"), &h->sync);
	if (h->counters_error == 0)
		fill_counters(object_in(o, "counters"), &h->counters);
	object_print(o);
}

int
cmd_status(const struct call *call)
{
	const char *path = call->config->table_path;
	struct health h;
	struct timespec now;
	struct reader *r;
	int status;

	if ((status = rows_attach(call, &r)) != EXIT_YES)
		return status;
	clock_gettime(CLOCK_REALTIME, &now);
	health_read(&h, r, path, call->config->responder_max_stale_s,
	    (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
	reader_close(&r);
	if (h.counters_error != 0)
		remark("the counters in %s cannot be read: %s", path, counters_strerror(h.counters_error));
	if (call->json) {
		print_json(&h, path);
	} else {
		print_verdict(&h);
		print_table(&h, path);
		print_sync(&h);
		print_responders(&h);
	}
	return h.nproblems == 0 ? EXIT_YES : EXIT_NO;
}

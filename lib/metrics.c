/* SPDX-License-Identifier: BSD-2-Clause */
#include "metrics.h"

#include <inttypes.h>
#include <string.h>

#define CELL(sum, name)	((sum)->cell[offsetof(struct counters, name) / sizeof(uint64_t)])

static void
family(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP corscache_%s %s\n# TYPE corscache_%s %s\n", name, help, name, type);
}

/* What was read in the middle of a change may be below zero; 18446744073709551615 would be believed. */
static uint64_t
clamped(uint64_t value)
{
	return value > INT64_MAX ? 0 : value;
}

static void
gauge(FILE *out, const char *name, const char *help, uint64_t value)
{
	family(out, name, "gauge", help);
	fprintf(out, "corscache_%s %" PRIu64 "\n", name, clamped(value));
}

static void
counter(FILE *out, const char *name, const char *help, uint64_t value)
{
	char total[128];

	snprintf(total, sizeof total, "%s_total", name);
	family(out, total, "counter", help);
	fprintf(out, "corscache_%s %" PRIu64 "\n", total, clamped(value));
}

static bool
is_verdict(const char *name)
{
	return strncmp(name, "preflights_", 11) == 0 || strncmp(name, "actuals_", 8) == 0 ||
	    strcmp(name, "not_cors") == 0;
}

static uint64_t
reason_count(const struct counters_sum *sum, enum reason reason)
{
	return sum->cell[offsetof(struct counters, reason) / sizeof(uint64_t) + reason];
}

static void
write_checks(FILE *out, const struct counters_sum *sum)
{
	struct verdicts v = counters_verdicts(sum);

	family(out, "checks_total", "counter", "requests answered, by verdict");
	fprintf(out, "corscache_checks_total{verdict=\"allowed\"} %" PRIu64 "\n", v.allowed);
	fprintf(out, "corscache_checks_total{verdict=\"refused\"} %" PRIu64 "\n", v.refused);
	fprintf(out, "corscache_checks_total{verdict=\"not_cors\"} %" PRIu64 "\n", v.not_cors);
	fprintf(out, "corscache_checks_total{verdict=\"error\"} %" PRIu64 "\n", v.error);
	family(out, "preflights_total", "counter", "preflights answered, by verdict");
	fprintf(out, "corscache_preflights_total{verdict=\"allowed\"} %" PRIu64 "\n",
	    CELL(sum, preflights_allowed));
	fprintf(out, "corscache_preflights_total{verdict=\"refused\"} %" PRIu64 "\n",
	    CELL(sum, preflights_refused));
}

static void
write_refusals(FILE *out, const struct counters_sum *sum)
{
	family(out, "refusals_total", "counter", "requests refused, by reason");
#define VERDICT_refuse(reason)	fprintf(out, "corscache_refusals_total{reason=\"%s\"} %" PRIu64 "\n", \
				    reason_token(reason), reason_count(sum, reason));
#define VERDICT_allow(reason)
#define VERDICT_none(reason)
#define REASON(name, token, verdict, sentence)	VERDICT_##verdict(REASON_##name)
#include "reasons.def"
#undef REASON
}

static void
write_durations(FILE *out, const struct counters_sum *sum)
{
	size_t first = offsetof(struct counters, duration) / sizeof(uint64_t);
	uint64_t seen = 0;
	unsigned i;

	family(out, "check_duration_seconds", "histogram", "from a readable request to its answer written");
	for (i = 0; i < COUNTERS_BUCKETS; i++) {
		seen += sum->cell[first + i];
		if (i < COUNTERS_BUCKETS - 1)
			fprintf(out, "corscache_check_duration_seconds_bucket{le=\"%.9g\"} %" PRIu64 "\n",
			    (double)(UINT64_C(1) << i) / 1e6, seen);
	}
	fprintf(out, "corscache_check_duration_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\n", seen);
	fprintf(out, "corscache_check_duration_seconds_sum %.9f\n", (double)CELL(sum, duration_ns) / 1e9);
	fprintf(out, "corscache_check_duration_seconds_count %" PRIu64 "\n", seen);
}

static void
write_counters(FILE *out, const struct counters_sum *sum)
{
	size_t i;

	write_checks(out, sum);
	write_refusals(out, sum);
	write_durations(out, sum);
	for (i = 0; i < counter_ndescs; i++)
		if (!is_verdict(counter_descs[i].name))
			counter(out, counter_descs[i].name, counter_descs[i].help,
			    sum->cell[counter_descs[i].offset / sizeof(uint64_t)]);
	gauge(out, "responder_threads", "serving threads alive", sum->owners);
}

static void
write_table(FILE *out, const struct table_info *ti)
{
	gauge(out, "table_ready", "a table is in force", ti->ready);
	gauge(out, "table_held_all", "every origin is refused by cachectl invalidate --all", ti->held_all);
	gauge(out, "table_entries", "rows of cors.origins in the table", ti->rows);
	gauge(out, "table_policies", "policies in the table", ti->policies);
	gauge(out, "table_capacity", "rows that fit before a shard grows", ti->capacity);
	gauge(out, "table_bytes", "bytes that the table reserves in the file system", ti->bytes);
	gauge(out, "table_dead_bytes", "bytes of removed and replaced entries", ti->dead_bytes);
	gauge(out, "table_shards", "shards of the table", ti->shards);
	gauge(out, "table_generation", "generation of the whole table", ti->table);
	gauge(out, "table_writer_alive", "a process holds the writer's lock", ti->writer_alive);
}

/* A cell of status.def under Prometheus' rules: base units, the unit in the name. */
static void
write_sync_cell(FILE *out, const char *name, const char *kind, const char *unit, const char *help,
    int64_t value)
{
	char full[64];

	if (strcmp(kind, "counter") == 0) {
		snprintf(full, sizeof full, "sync_%s", name);
		counter(out, full, help, (uint64_t)value);
		return;
	}
	if (strcmp(unit, "ms") != 0) {
		snprintf(full, sizeof full, "sync_%s", name);
		family(out, full, "gauge", help);
		fprintf(out, "corscache_%s %" PRId64 "\n", full, value);
		return;
	}
	/* started_at -> started_timestamp_seconds, snapshot_ms -> snapshot_seconds */
	snprintf(full, sizeof full, "sync_%.*s_%sseconds", (int)strlen(name) - 3, name,
	    strcmp(kind, "time") == 0 ? "timestamp_" : "");
	family(out, full, "gauge", help);
	fprintf(out, "corscache_%s %.3f\n", full, (double)value / 1000);
}

/* These have names that say more than the cell's, in write_sync(). */
static bool
is_named_otherwise(const char *name)
{
	static const char *const cells[] = { "fresh_at", "connects", "notifications", "snapshots" };
	size_t i;

	for (i = 0; i < sizeof cells / sizeof cells[0]; i++)
		if (strcmp(name, cells[i]) == 0)
			return true;
	return false;
}

static void
write_sync(FILE *out, const struct table_info *ti, const struct status *st)
{
	gauge(out, "sync_up", "the daemon runs and has a session to the database",
	    ti->writer_alive && st->connected != 0);
	family(out, "sync_last_success_timestamp_seconds", "gauge",
	    "when the table was last known equal to the database");
	fprintf(out, "corscache_sync_last_success_timestamp_seconds %.3f\n", (double)st->fresh_at / 1000);
	counter(out, "sync_reconnects", "sessions opened after the first", (uint64_t)(st->connects > 0 ? st->connects - 1 : 0));
	counter(out, "notifications", "wake-ups received from the database", (uint64_t)st->notifications);
	counter(out, "snapshots", "whole tables loaded and published", (uint64_t)st->snapshots);
#define STATUS(name, kind, unit, help) \
	if (!is_named_otherwise(#name)) \
		write_sync_cell(out, #name, #kind, unit, help, st->name);
#include "status.def"
#undef STATUS
}

int
metrics_write(FILE *out, const struct counters_sum *sum, const struct table_info *ti,
    const struct status *st)
{
	family(out, "build_info", "gauge", "the version that answers");
	fprintf(out, "corscache_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
	write_counters(out, sum);
	write_table(out, ti);
	write_sync(out, ti, st);
	return ferror(out) ? -1 : 0;
}

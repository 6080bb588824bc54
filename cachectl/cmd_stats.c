/* SPDX-License-Identifier: BSD-2-Clause */
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "counters.h"
#include "rows.h"

struct stats {
	const char	*glob;		/* NULL: everything */
	struct object	*json;		/* NULL: text */
	unsigned	 shown;
};

/* Zeros too: a counter that is not there and one that is zero are not the same. */
static void
show(struct stats *s, const char *name, uint64_t value, const char *help)
{
	char number[HUMAN_MAX];

	if (s->glob != NULL && fnmatch(s->glob, name, 0) != 0)
		return;
	s->shown++;
	if (s->json != NULL) {
		object_number(s->json, name, value > INT64_MAX ? INT64_MAX : (int64_t)value);
		return;
	}
	snprintf(number, sizeof number, "%" PRIu64, value);
	print_cell(COLOUR_NONE, span_of(name), 28);
	print_cell(COLOUR_NONE, span_of(number), -16);
	paint(COLOUR_DIM, "%s", help);
	putchar('\n');
}

static uint64_t
cell(const struct counters_sum *sum, size_t offset)
{
	return sum->cell[offset / sizeof(uint64_t)];
}

static void
show_durations(struct stats *s, const struct counters_sum *sum)
{
	char name[64], help[64];
	uint64_t total = 0;
	size_t i;

	show(s, "duration_ns", cell(sum, offsetof(struct counters, duration_ns)), "time spent answering, added up");
	for (i = 0; i < COUNTERS_BUCKETS; i++) {
		total += cell(sum, offsetof(struct counters, duration) + i * sizeof(uint64_t));
		if (i + 1 < COUNTERS_BUCKETS) {
			snprintf(name, sizeof name, "duration_le_us.%lu", 1ul << i);
			snprintf(help, sizeof help, "answers within %lu us", 1ul << i);
		} else {
			snprintf(name, sizeof name, "duration_count");
			snprintf(help, sizeof help, "answers timed");
		}
		show(s, name, total, help);
	}
}

static void
show_all(struct stats *s, const struct counters_sum *sum)
{
	char name[64];
	size_t i;

	for (i = 0; i < counter_ndescs; i++)
		show(s, counter_descs[i].name, cell(sum, counter_descs[i].offset), counter_descs[i].help);
	for (i = 0; i < REASON_COUNT; i++) {
		snprintf(name, sizeof name, "reason.%s", reason_token((enum reason)i));
		show(s, name, cell(sum, offsetof(struct counters, reason) + i * sizeof(uint64_t)),
		    reason_sentence((enum reason)i));
	}
	show_durations(s, sum);
	show(s, "owners", sum->owners, "responder threads alive");
}

int
cmd_stats(const struct call *call)
{
	struct stats s = { .glob = call->noperands > 0 ? call->operands[0] : NULL };
	struct counters_sum sum;
	struct object *o = NULL;
	int error = counters_sum(call->config->table_path, &sum);

	if (error != 0) {
		complain("the counters in %s cannot be read: %s", call->config->table_path, strerror(-error));
		return EXIT_FAILED;
	}
	if (call->json) {
		o = object_new();
		s.json = object_in(o, "counters");
	}
	show_all(&s, &sum);
	if (o != NULL)
		object_print(o);
	if (s.shown == 0)
		remark("no counter is called %s", s.glob);
	return s.shown > 0 ? EXIT_YES : EXIT_NO;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rows.h"
#include "screen.h"
#include "watch.h"

#define FIGURES_WIDTH	59	/* columns in front of the help, with rates */

/* One look at the counters, and the one before. */
struct stats {
	const char		*glob;		/* NULL: everything */
	const struct counters_sum *now;
	const struct counters_sum *before;	/* NULL: totals only */
	double			 seconds;	/* between the two */
	struct object		*json, *rates;	/* NULL: text */
	unsigned		 shown;
	unsigned		 room;		/* lines that the terminal has */
	unsigned		 columns;	/* that it has; a line that wraps would push the first ones out */
};

static void
print_rate(const struct stats *s, uint64_t value, uint64_t before)
{
	char rate[32];

	watch_rate(rate, value, before, s->seconds);
	snprintf(rate + strlen(rate), sizeof rate - strlen(rate), "/s");
	print_cell(COLOUR_NONE, span_of(rate), -12);
}

static void
print_text(const struct stats *s, const char *name, uint64_t value, uint64_t before, const char *help)
{
	int width = s->columns > FIGURES_WIDTH ? (int)(s->columns - FIGURES_WIDTH) : 0;
	char number[HUMAN_MAX];

	snprintf(number, sizeof number, "%" PRIu64, value);
	print_cell(COLOUR_NONE, span_of(name), 28);
	print_cell(COLOUR_NONE, span_of(number), -16);
	if (s->before != NULL)
		print_rate(s, value, before);
	paint(COLOUR_DIM, "%.*s", width, help);
	putchar('\n');
}

/* Zeros too: a counter that is not there and one that is zero are not the same. */
static void
show(struct stats *s, const char *name, uint64_t value, uint64_t before, const char *help)
{
	if (s->glob != NULL && fnmatch(s->glob, name, 0) != 0)
		return;
	s->shown++;
	if (s->json == NULL && s->shown <= s->room)
		print_text(s, name, value, before, help);
	if (s->json != NULL)
		object_number(s->json, name, value > INT64_MAX ? INT64_MAX : (int64_t)value);
	if (s->rates != NULL)
		object_real(s->rates, name, (double)watch_grown(value, before) / s->seconds);
}

static uint64_t
cell(const struct counters_sum *sum, size_t offset)
{
	return sum == NULL ? 0 : sum->cell[offset / sizeof(uint64_t)];
}

static void
show_cell(struct stats *s, const char *name, size_t offset, const char *help)
{
	show(s, name, cell(s->now, offset), cell(s->before, offset), help);
}

static void
show_durations(struct stats *s)
{
	char name[64], help[64];
	uint64_t total = 0, before = 0;
	size_t i, at;

	show_cell(s, "duration_ns", offsetof(struct counters, duration_ns), "time spent answering, added up");
	for (i = 0; i < COUNTERS_BUCKETS; i++) {
		at = offsetof(struct counters, duration) + i * sizeof(uint64_t);
		total += cell(s->now, at);
		before += cell(s->before, at);
		if (i + 1 < COUNTERS_BUCKETS) {
			snprintf(name, sizeof name, "duration_le_us.%lu", 1ul << i);
			snprintf(help, sizeof help, "answers within %lu us", 1ul << i);
		} else {
			snprintf(name, sizeof name, "duration_count");
			snprintf(help, sizeof help, "answers timed");
		}
		show(s, name, total, before, help);
	}
}

static void
show_all(struct stats *s)
{
	char name[64];
	size_t i;

	for (i = 0; i < counter_ndescs; i++)
		show_cell(s, counter_descs[i].name, counter_descs[i].offset, counter_descs[i].help);
	for (i = 0; i < REASON_COUNT; i++) {
		snprintf(name, sizeof name, "reason.%s", reason_token((enum reason)i));
		show_cell(s, name, offsetof(struct counters, reason) + i * sizeof(uint64_t), reason_sentence((enum reason)i));
	}
	show_durations(s);
	/* No counter: its rate is none. */
	show(s, "owners", s->now->owners, s->now->owners, "responder threads alive");
}

static void
fill_tick(struct object *o, const struct stats *s)
{
	char when[HUMAN_MAX];

	object_text(o, "at", human_time(when, (int64_t)time(NULL)));
	object_real(o, "seconds", s->seconds);
}

static void
print_json(struct stats *s)
{
	struct object *o = object_new();

	if (s->before != NULL)
		fill_tick(o, s);
	s->json = object_in(o, "counters");
	s->rates = s->before != NULL ? object_in(o, "rates") : NULL;
	show_all(s);
	object_print(o);
}

static int
complain_of_nothing(const struct stats *s)
{
	char clean[ESCAPED_MAX];

	if (s->shown > 0)
		return EXIT_YES;
	remark("no counter is called %s; cachectl stats lists them", escaped(clean, sizeof clean, span_of(s->glob)));
	return EXIT_NO;
}

static void
print_tick(struct stats *s, const struct call *call)
{
	char when[HUMAN_MAX], more[96];
	unsigned rows;
	bool is_terminal = !call->json && screen_size(&rows, &s->columns);

	if (call->json) {
		print_json(s);
	} else {
		if (is_terminal) {
			s->room = rows - (rows > 2 ? 2 : 1);
			screen_clear();
		}
		paint(COLOUR_BOLD, "%s", human_time(when, (int64_t)time(NULL)));
		putchar('\n');
		show_all(s);
		snprintf(more, sizeof more, "%u more: name what to see, as in cachectl stats --watch 'reason.*'",
		    s->shown - s->room);
		if (s->shown > s->room)
			paint(COLOUR_DIM, "%.*s", (int)s->columns, more);
		else if (!is_terminal)
			putchar('\n');
	}
	fflush(stdout);
}

static void
sleep_until(double when_s)
{
	struct timespec at = { (time_t)when_s, (long)((when_s - (double)(time_t)when_s) * 1e9) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
		continue;
}

/* Until Ctrl-C, or count times; 0 is no end. */
static int
watch(const struct call *call, const char *glob, double interval_s, unsigned long count)
{
	struct counters_sum sums[2];
	double start = screen_now(), last = start, now;
	unsigned long tick;
	int status;

	if ((status = watch_look(call, &sums[0])) != EXIT_YES)
		return status;
	for (tick = 1; status == EXIT_YES && (count == 0 || tick <= count) && !ferror(stdout); tick++) {
		struct stats s = { .glob = glob, .now = &sums[tick % 2], .before = &sums[(tick + 1) % 2],
			.room = UINT32_MAX, .columns = INT32_MAX };

		sleep_until(start + interval_s * (double)tick);
		if ((status = watch_look(call, &sums[tick % 2])) != EXIT_YES)
			break;
		now = screen_now();
		s.seconds = now - last;
		last = now;
		print_tick(&s, call);
		status = complain_of_nothing(&s);
	}
	return status;
}

static int
show_once(const struct call *call, const char *glob)
{
	struct counters_sum sum;
	struct stats s = { .glob = glob, .now = &sum, .room = UINT32_MAX, .columns = INT32_MAX };
	int status = watch_look(call, &sum);

	if (status != EXIT_YES)
		return status;
	if (call->json)
		print_json(&s);
	else
		show_all(&s);
	return complain_of_nothing(&s);
}

static bool
read_count(const char *text, unsigned long *count)
{
	char *end;

	*count = 0;
	if (text == NULL)
		return true;
	errno = 0;
	*count = strtoul(text, &end, 10);
	if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *count > 0)
		return true;
	complain("--count takes a number, 1 or more");
	return false;
}

/* --watch takes its SECONDS in the next word as well, where that is a number: no counter is called by one. */
int
cmd_stats(const struct call *call)
{
	bool is_watched = flag_is_given(call, "watch") || flag_is_given(call, "count");
	const char *seconds = flag_value(call, "watch"), *glob;
	int at = 0;
	unsigned long count;
	double interval_s = 1;

	if (is_watched && seconds == NULL && call->noperands > 0 && strspn(call->operands[0], "0123456789.") ==
	    strlen(call->operands[0]))
		seconds = call->operands[at++];
	if (call->noperands - at > 1) {
		complain("stats takes one GLOB; see cachectl stats --help");
		return EXIT_MISUSED;
	}
	glob = call->noperands > at ? call->operands[at] : NULL;
	if (!read_count(flag_value(call, "count"), &count) ||
	    (seconds != NULL && watch_interval(seconds, &interval_s) != EXIT_YES))
		return EXIT_MISUSED;
	watch_place(call);
	return is_watched ? watch(call, glob, interval_s, count) : show_once(call, glob);
}

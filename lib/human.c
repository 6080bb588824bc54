/* SPDX-License-Identifier: BSD-2-Clause */
#include "human.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

static bool is_plain;

void
human_plain(void)
{
	is_plain = true;
}

const char *
human_count(char buf[HUMAN_MAX], uint64_t n)
{
	char digits[HUMAN_MAX];
	int len = snprintf(digits, sizeof digits, "%" PRIu64, n), i, at = 0;

	for (i = 0; i < len; i++) {
		if (!is_plain && i > 0 && (len - i) % 3 == 0)
			buf[at++] = ',';
		buf[at++] = digits[i];
	}
	buf[at] = '\0';
	return buf;
}

const char *
human_counted(char buf[COUNTED_MAX], uint64_t n, const char *noun)
{
	char digits[HUMAN_MAX];

	snprintf(buf, COUNTED_MAX, "%s %s%s", human_count(digits, n), noun, n == 1 ? "" : "s");
	return buf;
}

const char *
human_bytes(char buf[HUMAN_MAX], uint64_t n)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	double value = (double)n;
	size_t unit = 0;

	while (value >= 1024 && unit < sizeof units / sizeof units[0] - 1) {
		value /= 1024;
		unit++;
	}
	snprintf(buf, HUMAN_MAX, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
	return buf;
}

const char *
human_duration(char buf[HUMAN_MAX], int64_t ms)
{
	if (ms < 0)
		ms = 0;		/* two clocks, or one that was set */
	if (ms < 1000)
		snprintf(buf, HUMAN_MAX, "%d ms", (int)ms);
	else if (ms < 120 * 1000)
		snprintf(buf, HUMAN_MAX, "%.1f s", (double)ms / 1000);
	else if (ms < 120 * 60 * 1000)
		snprintf(buf, HUMAN_MAX, "%" PRId64 " min", ms / (60 * 1000));
	else if (ms < 48LL * 3600 * 1000)
		snprintf(buf, HUMAN_MAX, "%" PRId64 " hours", ms / (3600 * 1000));
	else
		snprintf(buf, HUMAN_MAX, "%" PRId64 " days", ms / ((int64_t)24 * 3600 * 1000));
	return buf;
}

const char *
human_time(char buf[HUMAN_MAX], int64_t seconds)
{
	time_t at = (time_t)seconds;
	struct tm tm;

	if (seconds == 0 || gmtime_r(&at, &tm) == NULL ||
	    strftime(buf, HUMAN_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		snprintf(buf, HUMAN_MAX, seconds == 0 ? "never" : "%" PRId64, seconds);
	return buf;
}

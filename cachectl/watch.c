/* SPDX-License-Identifier: BSD-2-Clause */
#include "watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "output.h"

void
watch_place(const struct call *call)
{
	const char *path = call->config->table_path;

	if (access(path, F_OK) != 0)
		remark("there is no table in %s, so nothing was counted: see table.path, or --table DIR", path);
}

int
watch_look(const struct call *call, struct counters_sum *sum)
{
	int error = counters_sum(call->config->table_path, sum);

	if (error == 0)
		return EXIT_YES;
	complain("the counters in %s cannot be read: %s%s", call->config->table_path, counters_strerror(error),
	    error == -EACCES ? "; they are for root and the group of its directory counters" : "");
	return EXIT_FAILED;
}

int
watch_interval(const char *text, double *seconds)
{
	char clean[ESCAPED_MAX], *end;
	double value = strtod(text, &end);

	if (end == text || *end != '\0' || !(value >= 0.1 && value <= 86400)) {
		complain("'%s' is no interval: it is a number of seconds, 0.1 to 86400",
		    escaped(clean, sizeof clean, span_of(text)));
		return EXIT_MISUSED;
	}
	*seconds = value;
	return EXIT_YES;
}

uint64_t
watch_grown(uint64_t now, uint64_t before)
{
	return now >= before ? now - before : now;
}

const char *
watch_rate(char buf[32], uint64_t now, uint64_t before, double seconds)
{
	double rate = seconds > 0 ? (double)watch_grown(now, before) / seconds : 0;
	char count[HUMAN_MAX];

	if (rate >= 0.05 && rate < 99.95)
		snprintf(buf, 32, "%.1f", rate);
	else
		snprintf(buf, 32, "%.31s", human_count(count, rate < 1e18 ? (uint64_t)(rate + 0.5) : (uint64_t)1e18));
	return buf;
}

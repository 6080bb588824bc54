/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * watch -- what commands that look at the counters, perhaps again and again,
 * share: the look, the interval, and rates between two looks.
 */
#ifndef WATCH_H
#define WATCH_H

#include "cachectl.h"
#include "counters.h"

/* Remarks that the table's directory is not there, where it is not: zeros say nothing then. */
void	 watch_place(const struct call *call);

/* The sum, zeros where there are no counters (yet, or any more). EXIT_FAILED, complained about, otherwise. */
int	 watch_look(const struct call *call, struct counters_sum *sum);

/* "0.5", "10": 0.1 to 86400 seconds. EXIT_MISUSED, complained about, otherwise. */
int	 watch_interval(const char *text, double *seconds);

/* Counters start again at zero when their file was replaced: then all there is came since. */
uint64_t watch_grown(uint64_t now, uint64_t before);
/* "12.3", "1,234"; a second. */
const char *watch_rate(char buf[32], uint64_t now, uint64_t before, double seconds);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * watch -- what commands that look again and again share: the interval, and
 * rates between two looks.
 */
#ifndef WATCH_H
#define WATCH_H

#include "cachectl.h"

/* "0.5", "10": 0.1 to 86400 seconds. EXIT_MISUSED, complained about, otherwise. */
int	 watch_interval(const char *text, double *seconds);

/* Counters start again at zero when their file was replaced: then all there is came since. */
uint64_t watch_grown(uint64_t now, uint64_t before);
/* "12.3", "1,234"; a second. */
const char *watch_rate(char buf[32], uint64_t now, uint64_t before, double seconds);

#endif

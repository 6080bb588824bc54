/* SPDX-License-Identifier: BSD-2-Clause */
/* human -- numbers as people read them, into a buffer of the caller's, which is returned. */
#ifndef HUMAN_H
#define HUMAN_H

#include <stdint.h>

#define HUMAN_MAX	32

/* "1,234,567"; "61.2 MiB"; "0.4 s", "3 min", "2 days". */
const char	*human_count(char buf[HUMAN_MAX], uint64_t n);
/* "1 row", "1,234 rows"; noun: at most 16 bytes. */
#define COUNTED_MAX	48
const char	*human_counted(char buf[COUNTED_MAX], uint64_t n, const char *noun);
const char	*human_bytes(char buf[HUMAN_MAX], uint64_t n);
const char	*human_duration(char buf[HUMAN_MAX], int64_t ms);
/* UTC, "2026-12-31T00:00:00Z"; "never" for 0. */
const char	*human_time(char buf[HUMAN_MAX], int64_t seconds);

/* Counts without commas from now on, all over the program. */
void		 human_plain(void);

#endif

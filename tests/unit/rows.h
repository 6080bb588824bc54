/* SPDX-License-Identifier: BSD-2-Clause */
/* rows -- the rows of a .def file, as another build might have them. */
#ifndef ROWS_H
#define ROWS_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define ROWS_MAX	8192

/* The rows, but the one at `at` (from 0) and the next have changed places. False: there is no next. */
static inline bool
swap_rows(const char *rows, unsigned at, char swapped[ROWS_MAX])
{
	const char *first = rows, *second, *end;

	for (; at > 0 && first != NULL; at--)
		first = strchr(first, '\n') != NULL ? strchr(first, '\n') + 1 : NULL;
	if (first == NULL || (second = strchr(first, '\n')) == NULL || (end = strchr(++second, '\n')) == NULL)
		return false;
	end++;
	return snprintf(swapped, ROWS_MAX, "%.*s%.*s%.*s%s", (int)(first - rows), rows, (int)(end - second), second,
	    (int)(second - first), first, end) < ROWS_MAX;
}

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* A list of allowed origins, compared one after the other: Starlette's algorithm. */
#include "subject.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static char **list;
static uint64_t nlist;

static uint64_t
build(const struct workload *w, const struct subject_options *opt)
{
	uint64_t bytes = w->origins * sizeof *list;
	struct query q;

	(void)opt;
	if ((list = calloc(w->origins, sizeof *list)) == NULL)
		die("list", errno);
	nlist = w->origins;
	for (uint64_t i = 0; i < nlist; i++) {
		workload_row(w, i, &q);
		if ((list[i] = strdup(q.key)) == NULL)
			die("list", errno);
		bytes += q.key_len + 1u;
	}
	return bytes;
}

static uint64_t
find(const struct query *q)
{
	for (uint64_t i = 0; i < nlist; i++)
		if (strcmp(list[i], q->key) == 0)
			return 1 + i;
	return 0;
}

static void
close_list(void)
{
	for (uint64_t i = 0; i < nlist; i++)
		free(list[i]);
	free(list);
}

const struct subject subject_list = { "list", build, find, close_list, 10000, 500, true, false };

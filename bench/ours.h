/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ours -- the shared table filled with the benchmark's workload. die()s on
 * trouble.
 */
#ifndef OURS_H
#define OURS_H

#include "workload.h"
#include "writer.h"

struct writer	*ours_open_writer(const char *dir);
/* A next table with all of the workload, published. */
void		 ours_fill(struct writer *w, const struct workload *load);
int		 ours_put(struct table *t, const struct query *q, uint64_t policy);

#endif

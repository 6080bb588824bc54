/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * counters -- what responders count, in a file of slabs: one slab a thread,
 * written by its owner alone with plain relaxed stores, added up by readers.
 *
 * A slab belongs to whoever holds the OFD lock on its byte; death frees it and
 * the next owner continues the numbers, so sums never go back. The file is
 * <table.path>/counters/v1, 0660; the directory is the responder's to write.
 */
#ifndef COUNTERS_H
#define COUNTERS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "count.h"
#include "decide.h"

#define COUNTERS_BUCKETS	20	/* le 1 us, 2 us, 4 us ... 2^18 us, +Inf */
#define COUNTERS_LAST_US	(UINT64_C(1) << (COUNTERS_BUCKETS - 2))	/* the last bucket begins here and has no end */

struct counters {
#define COUNTER(name, help)	_Atomic uint64_t name;
#include "counters.def"
#undef COUNTER
	_Atomic uint64_t reason[REASON_COUNT];
	_Atomic uint64_t duration_ns;			/* sum */
	_Atomic uint64_t duration[COUNTERS_BUCKETS];	/* not cumulative */
};

struct counter_desc {
	const char	*name;
	const char	*help;
	size_t		 offset;
};
extern const struct counter_desc	 counter_descs[];
extern const size_t			 counter_ndescs;

/* The file's word for all that its cells are: counters.def and reasons.def, a row a line, and sizes. */
extern const char	 counters_rows[];
uint64_t		 counters_layout(const char *rows);

struct counters_file;

/* The slab of the calling thread, claimed until counters_release(); count_add() counts in it. 0 or -errno. */
int	 counters_claim(struct counters_file **f, const char *dir, struct counters **c);
void	 counters_release(struct counters_file **f);

/* A duration into its bucket. Owner only. */
static inline void
counters_observe(struct counters *c, uint64_t ns)
{
	uint64_t above_us = ns == 0 ? 0 : (ns - 1) / 1000;	/* 0: up to 1 us */
	unsigned bucket = above_us == 0 ? 0 : 64 - (unsigned)__builtin_clzll(above_us);

	if (bucket > COUNTERS_BUCKETS - 1)
		bucket = COUNTERS_BUCKETS - 1;
	count_add(&c->duration[bucket], 1);
	count_add(&c->duration_ns, ns);
}

/*
 * The sum over all slabs, and how many are owned by a living thread. No daemon
 * needed; an absent file is all zeros and 0 owners. 0 or -errno.
 */
struct counters_sum {
	uint64_t	 cell[sizeof(struct counters) / sizeof(uint64_t)];	/* as struct counters */
	unsigned	 owners;
};
int	 counters_sum(const char *dir, struct counters_sum *sum);
/* Why the counters cannot be read, and what to do where that is known. */
const char *counters_strerror(int error);

/* Every request is exactly one of these. */
struct verdicts {
	uint64_t	 allowed;
	uint64_t	 refused;	/* but for the following */
	uint64_t	 error;		/* refused because there was nothing to decide by: no table, a stale or broken one */
	uint64_t	 not_cors;
};
struct verdicts	 counters_verdicts(const struct counters_sum *sum);

/*
 * How long answers took that were counted between two sums (before NULL: ever):
 * the share of them, 0 to 1, was answered within so many microseconds. Linear
 * inside a bucket, as Prometheus' histogram_quantile(); COUNTERS_LAST_US where
 * it took longer than can be told; -1 where nothing was answered.
 */
double	 counters_quantile_us(const struct counters_sum *sum, const struct counters_sum *before, double share);

#endif

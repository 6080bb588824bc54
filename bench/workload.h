/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * workload -- the origins that the benchmark stores and asks for: of the shape
 * of real ones (31 bytes on average; https, some http and ports; several
 * realms), made from their number alone, so that nothing need be kept.
 */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "origin.h"

#define WORKLOAD_NOW_S	1700000000	/* the look-ups' clock */
#define KEY_SEPARATOR	'\x1f'		/* between realm and origin in the peers' keys */

struct workload {
	uint64_t	 origins;	/* exact rows */
	uint64_t	 patterns;	/* suffix rows, in realms of their own */
	uint64_t	 realms;	/* the first is '' */
	uint64_t	 policies;
};

/* What is asked: a row that is there, one that is not, a host below a suffix ... */
enum question {
	QUESTION_HIT,
	QUESTION_MISS,		/* in a realm without patterns */
	QUESTION_WILD_1,	/* one label below a suffix of two labels or three */
	QUESTION_WILD_4,
	QUESTION_WILD_20,
	QUESTION_DEEP_20,	/* one label below a suffix of 20 labels */
	QUESTION_WILD_MISS,	/* in a realm with patterns */
	QUESTION_COUNT
};
extern const char *const question_names[QUESTION_COUNT];

/* One request's facts, complete in four cache lines, as if it had just arrived. */
struct query {
	struct origin	 parsed;	/* of the text below */
	uint16_t	 realm_len;
	uint16_t	 key_len;	/* realm, separator, origin */
	char		 key[196];	/* ends in NUL */
};
_Static_assert(sizeof(struct query) == 256, "four cache lines");

static inline struct span
query_realm(const struct query *q)
{
	return (struct span){ q->key, q->realm_len };
}

static inline struct span
query_origin(const struct query *q)
{
	return (struct span){ q->key + q->realm_len + 1, q->key_len - q->realm_len - 1u };
}

/* Exact row i, or pattern i; its policy is policy_name(i % policies). */
void	 workload_row(const struct workload *w, uint64_t i, struct query *q);
void	 workload_pattern(const struct workload *w, uint64_t i, struct query *q);
void	 workload_policy_name(uint64_t i, char name[32]);

/* A stream of questions: the same seed gives the same stream. */
struct stream {
	const struct workload *w;
	enum question	 question;
	bool		 is_zipf;	/* 0.99, ranks spread over the rows; else uniform */
	uint64_t	 state;
	double		 zeta, eta;
};
void	 stream_init(struct stream *s, const struct workload *w, enum question question, bool is_zipf, uint64_t seed);
void	 stream_next(struct stream *s, struct query *q);

uint64_t random_next(uint64_t *state);
/* Nanoseconds of CLOCK_MONOTONIC, and of this thread's own CPU time. */
int64_t	 wall_ns(void);
int64_t	 cpu_ns(void);
/* Exits 1 with a message. */
_Noreturn void	 die(const char *what, int error);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * count -- a number in shared memory that one process alone changes, and others
 * read, who believe it only within bounds: arithmetic with it never overflows.
 */
#ifndef COUNT_H
#define COUNT_H

#include <stdatomic.h>
#include <stdint.h>

/* No count, no size in bytes and no time in milliseconds comes near it. */
#define COUNT_END	(UINT64_C(1) << 48)

/* What a reader may calculate with: a number from memory that others write is damaged where it is out of reason. */
static inline uint64_t
count_believed(uint64_t n)
{
	return n < COUNT_END ? n : 0;
}

/* Owner only. No locked instruction, which would wait until all that was stored before it is in the cache. */
static inline void
count_add(_Atomic uint64_t *count, uint64_t n)
{
	atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + n, memory_order_relaxed);
}

#endif

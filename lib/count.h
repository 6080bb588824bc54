/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * count -- a number in shared memory that one process alone changes, and others
 * read.
 */
#ifndef COUNT_H
#define COUNT_H

#include <stdatomic.h>
#include <stdint.h>

/* Owner only. No locked instruction, which would wait until all that was stored before it is in the cache. */
static inline void
count_add(_Atomic uint64_t *count, uint64_t n)
{
	atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + n, memory_order_relaxed);
}

#endif

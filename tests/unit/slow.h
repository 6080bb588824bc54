/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * slow -- included in front of the library's sources where torture is built
 * of them: every load and store that processes share may take its time, so
 * that what must not be seen between two of them has time to be seen.
 */
#ifndef SLOW_H
#define SLOW_H

#include <stdatomic.h>

void	 slow(void);	/* never inlined: knows its caller */

#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub_explicit
#undef atomic_fetch_and_explicit
#ifdef __clang__
#define atomic_load_explicit(p, order)		(slow(), __c11_atomic_load(p, order))
#define atomic_store_explicit(p, v, order)	(slow(), __c11_atomic_store(p, v, order), slow())
#define atomic_fetch_add_explicit(p, v, order)	(slow(), __c11_atomic_fetch_add(p, v, order))
#define atomic_fetch_sub_explicit(p, v, order)	(slow(), __c11_atomic_fetch_sub(p, v, order))
#define atomic_fetch_and_explicit(p, v, order)	(slow(), __c11_atomic_fetch_and(p, v, order))
#else
#define atomic_load_explicit(p, order)		(slow(), __atomic_load_n(p, order))
#define atomic_store_explicit(p, v, order)	(slow(), __atomic_store_n(p, v, order), slow())
#define atomic_fetch_add_explicit(p, v, order)	(slow(), __atomic_fetch_add(p, v, order))
#define atomic_fetch_sub_explicit(p, v, order)	(slow(), __atomic_fetch_sub(p, v, order))
#define atomic_fetch_and_explicit(p, v, order)	(slow(), __atomic_fetch_and(p, v, order))
#endif

#endif

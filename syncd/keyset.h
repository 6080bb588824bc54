/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyset -- a set of (realm, origin) keys with a number each: what is held,
 * what was left out, and (with an empty realm) which policies there are.
 * It copies the keys it is given.
 */
#ifndef KEYSET_H
#define KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "origin.h"

struct keyset;

struct key {
	struct key	*next;		/* the set's own */
	uint64_t	 value;		/* the caller's */
	struct span	 realm;
	struct span	 origin;
};

struct keyset	*keyset_new(void);	/* NULL: no memory */
void		 keyset_free(struct keyset **set);
size_t		 keyset_count(const struct keyset *set);
struct key	*keyset_get(const struct keyset *set, struct span realm, struct span origin);
/* The key that is there, or a new one with value 0. NULL: no memory. */
struct key	*keyset_put(struct keyset *set, struct span realm, struct span origin);
bool		 keyset_remove(struct keyset *set, struct span realm, struct span origin);
/* All of them: NULL starts, NULL ends. Fetch the next before removing one. */
struct key	*keyset_next(const struct keyset *set, const struct key *key);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * frequent -- the keys that come most often, in a bounded list that strangers
 * who choose the keys cannot flush.
 *
 * One writer, in memory that it shares with any number of readers; no lock, no
 * allocation, no I/O, no clock of its own. A reader never sees half an entry.
 *
 * A key on the list is counted exactly. A key that is not replaces the
 * weakest entry, of weight w, with a probability of 1/(w+1) only: a million keys
 * that come once each raise the weakest entry to a few hundred, and no key that
 * came more often than that is lost to them. Chance is what limits the rate of
 * replacements, too. An entry's weight is its count and what it inherited from
 * the one that it replaced, and it halves with every FREQUENT_HALF_LIFE_S in
 * which the key did not come, so that yesterday's crowd gives way.
 *
 * What is not on the list is added up in `others`: the counts of the list and
 * others are all that ever came. Every entry knows what others was when it was
 * made: that much of its key may have been missed, and no more.
 *
 * Source of the admission by chance: Ben Basat, Einziger, Friedman and Kassner,
 * "Randomized Admission Policy for Efficient Top-k and Frequency Estimation", 2017.
 */
#ifndef FREQUENT_H
#define FREQUENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "origin.h"

#define FREQUENT_ENTRIES	64
#define FREQUENT_HALF_LIFE_S	900
#define FREQUENT_REALM_KEPT	64	/* bytes; longer ones are cut */
#define FREQUENT_ORIGIN_KEPT	256

/* Bytes that strangers chose: whoever prints them escapes them. */
struct frequent_key {
	struct span	 realm;
	struct span	 origin;
	unsigned	 reason;	/* 0 .. 255 */
};

/* One writer's entry. Everything but count, last_s and weight changes only while version is odd. */
struct frequent_entry {
	_Atomic uint64_t	 version;
	_Atomic uint64_t	 hash;		/* 0: nobody is here */
	_Atomic uint64_t	 count;
	_Atomic uint64_t	 weight;
	_Atomic uint64_t	 missed;
	_Atomic uint64_t	 first_s, last_s;	/* seconds since 1970 */
	_Atomic uint64_t	 shape;		/* reason and whole lengths */
	_Atomic uint64_t	 text[(FREQUENT_REALM_KEPT + FREQUENT_ORIGIN_KEPT) / 8];
};

/* Shared; all zeros is a list of nothing. */
struct frequent_list {
	_Atomic uint64_t	 others;
	uint64_t		 key[2];	/* of the hash; the writer's, set once */
	uint64_t		 reserved[5];
	struct frequent_entry	 entry[FREQUENT_ENTRIES];
};

/* The writer's side of a list. */
struct frequent {
	struct frequent_list	*list;
	unsigned		 used;		/* entries that somebody is in: the first ones */
	uint64_t		 random;
	uint64_t		 least;		/* no entry weighed less at least_at_s */
	int64_t			 least_at_s;
	uint64_t		 hash[FREQUENT_ENTRIES];
};

/* Goes on with what the list holds, after another writer's death as well. random: any bits nobody can guess. */
void	 frequent_open(struct frequent *f, struct frequent_list *list, uint64_t random);
void	 frequent_count(struct frequent *f, const struct frequent_key *key, int64_t now_s);

struct frequent_item {
	uint64_t	 count;		/* exact since first_s */
	uint64_t	 missed;	/* at most so many more came before */
	int64_t		 first_s, last_s;
	unsigned	 reason;
	size_t		 realm_len, origin_len;	/* whole; more than is kept: cut */
	char		 realm[FREQUENT_REALM_KEPT];
	char		 origin[FREQUENT_ORIGIN_KEPT];
};

/* What was kept of them. */
static inline struct span
frequent_realm(const struct frequent_item *item)
{
	return (struct span){ item->realm, item->realm_len < FREQUENT_REALM_KEPT ? item->realm_len : FREQUENT_REALM_KEPT };
}

static inline struct span
frequent_origin(const struct frequent_item *item)
{
	return (struct span){ item->origin,
	    item->origin_len < FREQUENT_ORIGIN_KEPT ? item->origin_len : FREQUENT_ORIGIN_KEPT };
}

/* Any thread, any process, any bytes in the list. False: nobody is there. */
bool	 frequent_read(const struct frequent_list *list, unsigned at, struct frequent_item *item);
uint64_t frequent_others(const struct frequent_list *list);

#endif

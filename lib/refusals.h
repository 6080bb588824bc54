/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * refusals -- whom responders refused, and which realms they were asked about:
 * the most frequent ones of each thread (lib/frequent), in a file a thread.
 *
 * <table.path>/counters/refusals.N, 0660: origins tell who visits a site, so
 * they are for the group that runs corscache and nobody else. N is the first
 * that nobody holds; death lets go of it, and the next holder goes on. Nothing
 * here is ever part of the table. A key that has not come for REFUSALS_KEEP_S
 * is shown no more; its bytes stay until another key takes their place.
 */
#ifndef REFUSALS_H
#define REFUSALS_H

#include "frequent.h"

#define REFUSALS_KEEP_S	86400

struct refusals;

/* The lists of the calling thread, claimed until refusals_release(). dir is table.path. 0 or -errno. */
int	 refusals_claim(struct refusals **r, const char *dir);
void	 refusals_release(struct refusals **r);

/* Owner only. r may be NULL: then nobody counts. */
void	 refusals_count(struct refusals *r, const struct frequent_key *key, int64_t now_s);
void	 refusals_count_realm(struct refusals *r, struct span realm, int64_t now_s);

/* The lists of all threads, added up; the most frequent first. */
struct refusals_list {
	struct frequent_item	*items;		/* realm, origin and reason make an item unique */
	size_t			 nitems;
	uint64_t		 others;	/* came, but are in no item */
};

struct refusals_report {
	struct refusals_list	 refused;
	struct refusals_list	 realms;	/* realm and count alone */
};

/* A file's word for all that its entries are: reasons.def, a row a line, and sizes. */
extern const char	 refusals_rows[];
uint64_t		 refusals_layout(const char *rows);

/* No daemon needed; where nothing was counted the report is empty. 0 or -errno: then there is nothing to free. */
int	 refusals_read(const char *dir, int64_t now_s, struct refusals_report *report);
/* The item with the same key; NULL: there is none. */
const struct frequent_item	*refusals_find(const struct refusals_list *list, const struct frequent_item *item);
void	 refusals_free(struct refusals_report *report);

#endif

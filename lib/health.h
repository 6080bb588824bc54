/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * health -- the table, its synchronisation and the counters at one moment, and
 * what is wrong with them, in words that tell the next step. One diagnosis for
 * cachectl status and the responder's page for people.
 */
#ifndef HEALTH_H
#define HEALTH_H

#include "counters.h"
#include "reader.h"

#define HEALTH_PROBLEMS_MAX	13

struct problem {
	const char	*what;		/* syncd's own words may be untrusted bytes: escape them */
	const char	*next;		/* what to do about it */
};

struct health {
	struct table_info	 table;
	struct status		 sync;
	struct counters_sum	 counters;
	int			 counters_error;	/* 0, or -errno: they could not be read */
	int64_t			 now_ms;		/* since 1970 */
	bool			 refuses_all;		/* whatever is asked: no table, held or stale */
	bool			 is_static;		/* filled by cachectl load: no daemon belongs to it */
	size_t			 nproblems;		/* 0: healthy */
	struct problem		 problems[HEALTH_PROBLEMS_MAX];	/* point into *h at most */
};

/* Fills in all of *h. path is table.path; max_stale_s is responder.max_stale_s. */
void	 health_read(struct health *h, struct reader *r, const char *path, int64_t max_stale_s, int64_t now_ms);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * policies -- a set of policies by their name: those of a database, a file or
 * the table, while rows are held against them.
 */
#ifndef POLICIES_H
#define POLICIES_H

#include "policy.h"

struct known {
	struct span		 name;
	enum policy_status	 status;	/* POLICY_OK: policy says what it permits */
	struct policy		 policy;
	struct span		 culprit;	/* the element that status is about; lives as long as the row */
	uint64_t		 uses;		/* the caller's */
	bool			 is_marked;	/* likewise */
	void			*block;		/* what the spans of policy point into */
};

/* All zero: empty. */
struct policies {
	void	*tree;
};

void		 policies_fini(struct policies *set);
struct known	*policies_find(const struct policies *set, struct span name);
/* The one of that name, made where there is none; NULL: no memory. */
struct known	*policies_put(struct policies *set, struct span name);
/* In the order of their names. */
void		 policies_each(const struct policies *set, void (*each)(struct known *k, void *arg), void *arg);

/* What the row permits, or status and culprit. -ENOMEM: nothing was changed. */
int		 known_compile(struct known *k, const struct policy_row *row);
/* The same as p. -ENOMEM. */
int		 known_copy(struct known *k, const struct policy *p);

/* Credentials may go neither to plain http nor to a public suffix. */
bool		 known_needs_safe(const struct known *k);

#endif

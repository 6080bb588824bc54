/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * wide -- the rows that answer more than one origin, by realm and pattern: for
 * any row, which wider one would answer in its stead if it were gone.
 *
 * Only rows that answer belong in it: no expired ones, none that may not carry
 * the credentials of their policy.
 */
#ifndef WIDE_H
#define WIDE_H

#include "policies.h"
#include "row.h"

struct wide_row {
	struct span		 realm;
	struct span		 origin;	/* the pattern */
	int64_t			 expires_at;
	bool			 allow;
	bool			 is_dangerous;	/* better gone: no reason to do without a narrower one */
	const struct known	*policy;
	uint64_t		 shadowed;	/* the caller's */
};

struct wide;

/* NULL: no memory. */
struct wide	*wide_new(void);
void		 wide_free(struct wide **w);
/* A row that is no exact origin, copied; policy lives as long as the index. 0 or -ENOMEM. */
int		 wide_add(struct wide *w, const struct row *row, const struct rule *rule, const struct known *policy,
		    bool is_dangerous);

/*
 * The row that answers all that this one answers, if it were gone; NULL: none.
 * *is_mixed: no single row does, because others answer a part of it.
 */
struct wide_row	*wide_next(const struct wide *w, const struct row *row, const struct rule *rule, bool *is_mixed);
/* The realm has one wide row and that is the rule *. */
bool		 wide_is_only_any(const struct wide *w, struct span realm);
void		 wide_each(struct wide *w, void (*each)(struct wide_row *row, void *arg), void *arg);

#endif

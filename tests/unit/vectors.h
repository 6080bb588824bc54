/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vectors -- tests/vectors/public.jsonl, evaluated: each line's rules are
 * loaded, its request is answered, and the response is held against `expect`
 * by the algorithm a browser runs (Fetch standard) and the README's invariants.
 *
 * How a row is found is the caller's: a plain loop, or the shared table.
 */
#ifndef VECTORS_H
#define VECTORS_H

#include "decide.h"
#include "row.h"

#define VECTORS_MAX_RULES	64	/* of one line */

/* One row of a vector, with a policy of its own named "p0", "p1" ... */
struct vector_rule {
	struct row		 row;
	struct policy_row	 columns;
	bool			 active;	/* every check a loader makes accepts it; only then the rest */
	struct rule		 rule;
	struct policy		 policy;
	char			 name[8];
	char			 block[POLICY_MAX];
};

struct vector_rules {
	size_t			 n;
	struct vector_rule	 at[VECTORS_MAX_RULES];
};

struct vector_backend {
	/* Called before each line's request; 0 or -errno. The rules live until the next load. */
	int	 (*load)(void *arg, const struct vector_rules *rules);
	/* As reader_find(). What m->policy points to lives until the next find. */
	void	 (*find)(void *arg, struct span realm, const struct origin *o, struct match *m);
	void	*arg;
};

/* Returns how many lines there are; exits with a message when there are none. suffix_open() comes first. */
size_t		 vectors_open(const char *path);
void		 vectors_close(void);
const char	*vectors_id(size_t line);
/* NULL, or what is wrong (valid until the next call). */
const char	*vectors_check(size_t line, const struct vector_backend *b);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* response -- what came back, held against what the table says. */
#ifndef RESPONSE_H
#define RESPONSE_H

#include "explain.h"
#include "paste.h"

#define RESPONSE_VALUE_MAX	2048	/* bytes; longer ones are cut */

/* Either value may be absent: at is NULL. */
struct response_difference {
	const char	*name;
	struct span	 came_back;	/* several lines are joined, as browsers do */
	struct span	 expected;
	char		 joined[RESPONSE_VALUE_MAX];
};

#define RESPONSE_DIFFERENCES_MAX	7

/*
 * How many, in differences[], which stays where it is. Lists are compared as
 * sets; Vary may name more than is needed.
 */
size_t	 response_compare(const struct paste *p, const struct explanation *e,
	    struct response_difference differences[RESPONSE_DIFFERENCES_MAX]);

#endif

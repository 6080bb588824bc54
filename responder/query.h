/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * query -- the fields of a form that a browser sends with GET, taken apart.
 *
 * Pure: no allocation, no I/O. Strict: what no form sends is refused, not
 * repaired. Source: URL standard, application/x-www-form-urlencoded.
 */
#ifndef QUERY_H
#define QUERY_H

#include <stddef.h>

#include "origin.h"

#define QUERY_MAX	16384	/* bytes, before decoding */

struct query_field {
	const char	*name;
	struct span	 value;		/* any bytes, NUL included; of length 0 where it is absent */
};

enum query_status {
	QUERY_OK,
	QUERY_TOO_LONG,			/* over QUERY_MAX */
	QUERY_BAD_ESCAPE,		/* a % without two hex digits behind it */
	QUERY_REPEATED,			/* a field came twice */
};

/* A clause that completes "the form cannot be read: ". */
const char		*query_strstatus(enum query_status);

/*
 * Fills in the values of the fields, which point into buf; other names are
 * passed over. Not QUERY_OK: every value is empty.
 */
enum query_status	 query_read(struct span query, struct query_field *fields, size_t nfields, char buf[QUERY_MAX]);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * row -- one row of cors.origins as the shared table takes and gives it.
 * Plain data; the spans belong to whoever filled it in.
 */
#ifndef ROW_H
#define ROW_H

#include <stdbool.h>
#include <stdint.h>

#include "origin.h"

#define ROW_NEVER	0	/* expires_at: NULL or infinity in the database */

struct row {
	struct span	 realm;
	struct span	 origin;	/* an origin or a pattern, as rule_parse() takes it */
	struct span	 policy;	/* its name */
	int64_t		 expires_at;	/* seconds since 1970, ROW_NEVER */
	bool		 allow;
	bool		 public_suffix;	/* a suffix pattern over a public suffix (lib/suffix) */
	bool		 held;		/* read only: invalidated, not yet confirmed */
	bool		 revoked;	/* read only: refused by cachectl revoke, whatever the rest says */
};

#endif

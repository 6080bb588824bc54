/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * input -- one line of a file for cachectl load: a JSON object that is a
 * policy or a row. Only the form is checked here (names, types, times); what
 * an origin or a method may be is checked by rule_parse() and policy_compile().
 */
#ifndef INPUT_H
#define INPUT_H

#include <stddef.h>

#include "policy.h"
#include "row.h"

struct line {
	bool			 is_policy;
	struct row		 row;
	struct policy_row	 policy;
	struct span		 lists[3][POLICY_MAX_TOKENS];	/* methods, headers, expose_headers */
	void			*json;		/* what the spans point into */
};

/* 0 and line_free(), or -1 and err: what is wrong, bytes of the file escaped. */
int	 line_read(struct line *l, const char *text, size_t len, char *err, size_t errlen);
void	 line_free(struct line *l);

#endif

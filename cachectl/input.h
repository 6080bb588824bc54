/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * input -- one line of a file for cachectl load: a policy or a row, as a JSON
 * object or as cachectl dump writes it in text. Only the form is checked here (names, types, times); what
 * an origin or a method may be is checked by rule_parse() and policy_compile().
 */
#ifndef INPUT_H
#define INPUT_H

#include <stddef.h>

#include "policy.h"
#include "row.h"

struct line {
	bool			 is_policy;
	bool			 is_unsafe;	/* readers are to treat the row as absent: it was so where it was dumped */
	struct row		 row;		/* held too */
	struct policy_row	 policy;
	struct span		 lists[3][POLICY_MAX_TOKENS];	/* methods, headers, expose_headers */
	void			*json;		/* what the spans point into; NULL: the text */
};

/* 0 and line_free(), or -1 and err: what is wrong, bytes of the file escaped. The text is undone in place. */
int	 line_read(struct line *l, char *text, size_t len, char *err, size_t errlen);
int	 line_read_text(struct line *l, char *text, size_t len, char *err, size_t errlen);
void	 line_free(struct line *l);

/* RFC 3339 with whole seconds, within what the table holds: "2026-12-31T00:00:00Z", "...+02:00". */
bool	 line_read_time(struct span text, int64_t *at);

#endif

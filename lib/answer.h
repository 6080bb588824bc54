/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * answer -- a request in, response headers out: the one path that the
 * responder, cachectl check and in-process readers share.
 *
 * reader_find -> decide -> headers_write, repeated (at most 64 times) while
 * the table changes underneath; then REASON_TABLE_ERROR, which refuses.
 */
#ifndef ANSWER_H
#define ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "decide.h"
#include "headers.h"
#include "reader.h"

#define ANSWER_MAX	(HEADERS_MAX + HEADERS_DEBUG_MAX)	/* bytes */

struct answer_options {
	int64_t			 now_s;		/* seconds since 1970 */
	int64_t			 max_stale_s;	/* 0 = never stale */
	enum headers_form	 form;
	enum headers_form	 refusal_form;	/* where a CORS request is refused */
	bool			 debug;		/* append headers_write_debug() */
};

struct answer {
	struct decision	 decision;	/* .policy is NULL here: it does not outlive the look-up */
	struct match	 match;		/* likewise */
	size_t		 len;		/* of the headers in buf */
	char		 row[RULE_MAX + 1];		/* the row that decided, "" if none */
	char		 policy[POLICY_MAX_NAME + 1];	/* its policy, "" if none */
};

/* buf: at least ANSWER_MAX bytes (asserted). explain: fill in row and policy too. */
void	 answer(struct reader *r, const struct request *q, const struct answer_options *opt,
	    bool explain, struct answer *a, char *buf, size_t cap);

#endif

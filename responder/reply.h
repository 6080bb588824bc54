/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reply -- the facts of a request -> the bytes of its FastCGI answer, as
 * corscache-responder(8) describes them. No allocation, no lock, no log,
 * except on the pages (CORS_PAGE).
 */
#ifndef REPLY_H
#define REPLY_H

#include <stddef.h>

#include "answer.h"
#include "counters.h"
#include "refusals.h"
#include "request.h"

#define REPLY_STATUS_MAX	128	/* bytes of the lines in front of the headers */
#define REPLY_TAIL_MAX		64	/* bytes of the lines behind them */

enum role {			/* as FastCGI numbers them, and frames.h */
	ROLE_RESPONDER = 1,
	ROLE_AUTHORIZER = 2,
	ROLE_FILTER = 3,
};

struct reply_settings {
	int	 preflight_status;	/* 200 or 204 */
	int	 max_stale_s;		/* 0 = never stale */
};

/* What a serving thread answers with; all of it its own. */
struct replier {
	struct reader		*reader;
	struct counters		*counters;
	struct refusals		*refusals;	/* NULL: nobody counts them one by one */
	const char		*table_path;
	struct reply_settings	 settings;
	char			*page;		/* the last page, kept until the next */
	char			 buf[REPLY_STATUS_MAX + ANSWER_MAX + REPLY_TAIL_MAX];
};

/* The whole answer; it lives in *rp until the next call. */
struct span	 reply_build(struct replier *rp, const struct facts *f, enum role role);

#endif

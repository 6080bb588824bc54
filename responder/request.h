/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * request -- the parameters of a FastCGI request -> the facts of a decision.
 *
 * Pure: one pass, no allocation. The spans point into the parameters. An empty
 * value is an absent one; the counts are of non-empty values, because which
 * repetition is a fault is decided in lib/decide and not here.
 */
#ifndef REQUEST_H
#define REQUEST_H

#include <stdbool.h>

#include "decide.h"

struct facts {
	struct span	 page;		/* CORS_PAGE */
	struct span	 query;		/* QUERY_STRING, of interest to pages only */
	struct span	 host;		/* HTTP_HOST */
	struct span	 scheme;	/* REQUEST_SCHEME */
	struct span	 https;		/* HTTPS */
	unsigned	 npage, nquery, nhost, nscheme, nhttps;
	bool		 enforce;	/* CORS_ENFORCE=1 */
	bool		 debug;		/* CORS_DEBUG=1 */
	struct request	 cors;		/* last, as its lines of headers are: facts_read() leaves the unused alone */
};

/* envp: "NAME=VALUE" strings, NULL behind the last one. */
void	 facts_read(struct facts *f, char *const *envp);

/* The Origin is the server's own: scheme and Host as the web server saw them. */
bool	 facts_origin_is_own(const struct facts *f);

#endif

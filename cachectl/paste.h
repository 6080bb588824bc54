/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * paste -- request headers as people copy them, and the response where it is
 * in the same text: curl -v, raw headers, the lists of Chromium's and Firefox's
 * developer tools, curl command lines. The first exchange that has an Origin.
 */
#ifndef PASTE_H
#define PASTE_H

#include <stdbool.h>
#include <stdio.h>

#include "origin.h"

#define PASTE_HEADERS_MAX	64

struct paste_header {
	struct span	 name;		/* as it was written */
	struct span	 value;
};

/* The spans point into text. */
struct paste {
	struct span		 method;	/* empty: not said */
	struct span		 origin;
	unsigned		 norigin;
	struct span		 acrm;
	unsigned		 nacrm;
	struct span		 acrh[PASTE_HEADERS_MAX];
	unsigned		 nacrh;
	bool			 has_response;
	struct span		 status;	/* "204", may be empty */
	struct paste_header	 response[PASTE_HEADERS_MAX];	/* Access-Control-* and Vary */
	size_t			 nresponse;
	char			*text;
};

/* 0 and paste_free(), or -1 and err: what was looked for. */
int	 paste_read(struct paste *p, FILE *in, char *err, size_t errlen);
void	 paste_free(struct paste *p);

/* ASCII case does not matter. */
bool	 span_is_name(struct span s, const char *name);

#endif

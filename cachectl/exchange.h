/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * exchange -- one request to a web server and the head of its response, by
 * libcurl. Redirects are not followed, bodies are not read, and every wait
 * ends with the timeout.
 */
#ifndef EXCHANGE_H
#define EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>

#include "paste.h"

#define EXCHANGE_HEAD_MAX	65536	/* bytes of a response's head; more is a failure */
#define EXCHANGE_ERROR_MAX	512

struct exchange_options {
	const char	*url;
	const char	*ca_file;	/* NULL: the system's */
	bool		 is_insecure;	/* any certificate will do */
	long		 timeout_ms;	/* of the whole exchange */
};

struct exchange {
	long		 status;
	struct paste	 paste;		/* the response's CORS headers and Vary */
	struct span	 server;	/* the header of that name, as it came; may be empty */
	struct span	 location;
	char		 head[EXCHANGE_HEAD_MAX];
	size_t		 len;
	char		 error[EXCHANGE_ERROR_MAX];
};

/*
 * headers: lines "Name: value", up to a NULL. 0, or -1 and error, whose bytes
 * may be a stranger's. The spans point into head.
 */
int	 exchange(struct exchange *x, const struct exchange_options *options, const char *method, const char *const headers[]);

#endif

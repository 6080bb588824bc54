/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * serve -- threads that take FastCGI requests from a listening socket and
 * answer them. No thread ever waits for a peer: an idle or slow one costs a
 * descriptor.
 */
#ifndef SERVE_H
#define SERVE_H

#include <stdbool.h>

#include "reply.h"

struct serve_settings {		/* what SIGHUP may change */
	int			 io_timeout_ms;
	struct reply_settings	 reply;
};

struct serve_options {
	int			 listener;	/* non-blocking; the caller's to close, after serve_stop() */
	bool			 drain;		/* at the end accept what still waits: nobody else will */
	int			 threads;
	const char		*table_path;
	struct serve_settings	 settings;
};

struct server;

/* Block every signal but the synchronous ones before: threads inherit that. 0 or -errno. */
int	 serve_start(struct server **s, const struct serve_options *opt);

/* The next request of every thread sees the new settings whole. */
void	 serve_reload(struct server *s, const struct serve_settings *settings);

/* Some thread's loop has turned since the last call. */
bool	 serve_has_turned(struct server *s);

/*
 * Requests that were sent are answered, idle connections closed. False when some
 * were still under way after wait_ms: then nothing is freed, and all that is left
 * is to exit.
 */
bool	 serve_stop(struct server **s, int wait_ms);

#endif

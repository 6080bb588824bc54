/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * control -- orders from cachectl: the serving side of lib/control.h.
 *
 * One order a connection; revoke and restore are followed by many lines. Clients are few, lines are short, and nobody is
 * waited for: whoever does not send a line in time, or sends too long a one,
 * is closed. Times are milliseconds of CLOCK_MONOTONIC.
 */
#ifndef SYNCD_CONTROL_H
#define SYNCD_CONTROL_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "feed.h"
#include "writer.h"

#define CONTROL_MAX_CLIENTS	16
#define CONTROL_MAX_POLL	(1 + CONTROL_MAX_CLIENTS)	/* descriptors to wait for */

struct control_server;

/*
 * Binds path, 0660, in a directory that is made if need be; a socket that nobody serves is replaced. -EADDRINUSE:
 * somebody does.
 */
int	 control_open(struct control_server **c, const char *path, struct feed *feed, struct writer *w);
void	 control_close(struct control_server **c);	/* removes the socket */

/* Fills p[], returns how many. */
size_t	 control_poll(const struct control_server *c, struct pollfd p[CONTROL_MAX_POLL]);
int64_t	 control_due(const struct control_server *c);
/* p[]: what control_poll() filled, after poll(2). */
void	 control_turn(struct control_server *c, const struct pollfd *p, size_t n, int64_t now);

#endif

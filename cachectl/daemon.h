/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * daemon -- who writes the table: corscache-syncd, asked over its control
 * socket, or where none lives this program, holding the writer's lock.
 * Functions return an exit status and complain themselves, but for
 * EXIT_ABSENT of daemon_ask().
 */
#ifndef DAEMON_H
#define DAEMON_H

#include "cachectl.h"
#include "control.h"
#include "writer.h"

#include <sys/types.h>

/*
 * One order. entries (may be NULL): how many it refused; text: what else the
 * daemon said. EXIT_ABSENT: no daemon listens, nothing was complained about.
 */
int	 daemon_ask(const struct call *call, const char *line, int64_t *entries, char text[CONTROL_MAX_LINE]);

/* An order with lines behind it (control.h). unsaved: why it is not on disk, "": it is. */
int	 daemon_ask_lines(const struct call *call, const char *line, const char *lines, size_t len, int timeout_ms,
	    int64_t *entries, char unsaved[CONTROL_MAX_LINE]);

/*
 * Who is there to give orders to: *w NULL: a daemon listens, else this program holds the writer's lock. Waits a
 * while for another cachectl that holds it. Complains.
 */
int	 daemon_or_writer(const struct call *call, struct writer **w);

/* Who called this program, also after it became somebody else. */
uid_t	 daemon_caller(void);

/*
 * The writer's lock, as the owner of the directory: root's files would be
 * closed to the daemon that comes later, so root becomes that user for good.
 * EXIT_ABSENT: another writer lives, nothing was complained about.
 */
int	 daemon_replace(const struct call *call, struct writer **w);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * control -- how cachectl asks corscache-syncd for something: a line each way
 * over a unix stream socket, words separated by one tab.
 *
 *	invalidate \t REALM \t ORIGIN	refuse this row now, then re-read it
 *	invalidate-realm \t REALM	all rows of a realm
 *	invalidate-all			everything, until a whole table is loaded
 *	resync				load the whole table now
 *	audit				compare table and database now
 *	ping
 *	revoke \t SECONDS \t NOTE	then a line "REALM \t ORIGIN" for each, then an empty one: refuse them for so
 *				long, 0: until they are restored, whatever the database says
 *	restore			then lines as above
 *	restore-all
 *
 * Answers "ok \t N \t text" or "error \t text". N: entries refused (invalidate) or 0.
 * invalidate answers when the entry is refused, not when it was re-read; revoke and restore when that is on disk.
 * "unsaved \t N \t text": it was done, and will be forgotten by the next start.
 */
#ifndef CONTROL_H
#define CONTROL_H

#include <stddef.h>

#define CONTROL_MAX_LINE	1024	/* bytes, newline included */

/*
 * One request on a fresh connection. 0: answered, reply holds the line without
 * its newline. -errno: -ENOENT and -ECONNREFUSED mean that no daemon listens.
 */
int	 control_ask(const char *path, const char *line, int timeout_ms, char reply[CONTROL_MAX_LINE]);
/* The same with lines behind it, each with its newline, and the empty one. */
int	 control_ask_lines(const char *path, const char *line, const char *lines, size_t len, int timeout_ms,
	    char reply[CONTROL_MAX_LINE]);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cachectl -- the table of commands, and what a command is called with.
 *
 * Usage, help and shell completion come from the table in main.c; a command is
 * one row there and one file cmd_*.c.
 */
#ifndef CACHECTL_H
#define CACHECTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "reader.h"

enum {
	EXIT_YES = 0,
	EXIT_NO = 1,		/* the negative answer: refused, unhealthy, different, not there */
	EXIT_FAILED = 2,	/* failed, or cannot tell */
	EXIT_MISUSED = 64,	/* EX_USAGE */
	EXIT_ABSENT = 69,	/* EX_UNAVAILABLE: a daemon is needed and absent, or in the way */
};

/* An option of one command: --name, or --name VALUE where value is not NULL; "[VALUE]": it may be left out. */
struct flag {
	const char	*name;
	const char	*value;
	const char	*help;
};

struct given {
	const struct flag	*flag;
	const char		*value;
};

struct call {
	const struct config	*config;	/* NULL where the command is bare */
	bool			 json;
	int			 noperands;
	char			**operands;
	size_t			 ngiven;
	struct given		*given;		/* in the order of the command line */
};

/* The last value of --name; NULL: not given. */
const char	*flag_value(const struct call *call, const char *name);
bool		 flag_is_given(const struct call *call, const char *name);

int	 cmd_status(const struct call *);
int	 cmd_check(const struct call *);
int	 cmd_list(const struct call *);
int	 cmd_dump(const struct call *);
int	 cmd_show(const struct call *);
int	 cmd_stats(const struct call *);
int	 cmd_refusals(const struct call *);
int	 cmd_top(const struct call *);
int	 cmd_metrics(const struct call *);
int	 cmd_invalidate(const struct call *);
int	 cmd_revoke(const struct call *);
int	 cmd_restore(const struct call *);
int	 cmd_resync(const struct call *);
int	 cmd_verify(const struct call *);
int	 cmd_lint(const struct call *);
int	 cmd_load(const struct call *);
int	 cmd_config(const struct call *);
int	 cmd_completion(const struct call *);
int	 cmd_help(const struct call *);

#endif

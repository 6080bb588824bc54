/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * command -- the table of commands (main.c), for those who tell of it: usage,
 * suggestions, shell completion.
 */
#ifndef COMMAND_H
#define COMMAND_H

#include "cachectl.h"

#define NFLAGS_MAX	12
#define NEXAMPLES_MAX	5

struct command {
	const char	*name;
	int		 (*run)(const struct call *);
	const char	*operands;		/* "FILE", "[COMMAND]", "bash|zsh|fish", ... */
	int		 least, most;		/* of them; most -1: any number */
	bool		 is_bare;		/* needs no settings: config is NULL */
	const char	*help;
	const char	*examples[NEXAMPLES_MAX + 1];
	struct flag	 flags[NFLAGS_MAX + 1];
};

extern const struct command	 commands[];
extern const size_t		 ncommands;

/* An option of every command. letter is its short option where is_short. */
struct global {
	char		 letter;
	bool		 is_short;
	struct flag	 flag;
};

extern const struct global	 globals[];
extern const size_t		 nglobals;

/* NULL: there is none, and it was complained about, with the nearest. */
const struct command	*find_command(const char *name);

/* What --help prints; c NULL: the overview. */
void	 usage_print(const struct command *c);
/* "no option ...": of all commands, and of c unless that is NULL. word: "--nope" or "--nope=x". */
void	 usage_complain(const struct command *c, const char *word);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* What the table of commands says about itself. */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "nearest.h"
#include "output.h"

#define FLAG_WIDTH	27	/* "severity error|warning|note" */

const struct command *
find_command(const char *name)
{
	char clean[ESCAPED_MAX];
	struct nearest near;
	size_t i;

	nearest_begin(&near, span_of(name));
	for (i = 0; i < ncommands; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
		nearest_try(&near, commands[i].name);
	}
	escaped(clean, sizeof clean, span_of(name));
	if (near.best != NULL)
		complain("no command '%s'; did you mean %s?", clean, near.best);
	else
		complain("no command '%s'; cachectl help lists them", clean);
	return NULL;
}

void
usage_complain(const struct command *c, const char *word)
{
	struct span name = { word, strcspn(word, "=") };
	char clean[ESCAPED_MAX];
	struct nearest near;
	size_t i;

	escaped(clean, sizeof clean, name);
	while (name.len > 0 && name.at[0] == '-') {
		name.at++;
		name.len--;
	}
	nearest_begin(&near, name);
	for (i = 0; i < nglobals; i++)
		nearest_try(&near, globals[i].flag.name);
	for (i = 0; c != NULL && c->flags[i].name != NULL; i++)
		nearest_try(&near, c->flags[i].name);
	if (near.best != NULL)
		complain("no option '%s'; did you mean --%s?", clean, near.best);
	else
		complain("no option '%s'; see cachectl %s%s--help", clean, c != NULL ? c->name : "", c != NULL ? " " : "");
}

static void
print_flag(const struct global *g, const struct flag *f)
{
	char left[64];

	snprintf(left, sizeof left, "%s%s%s", f->name, f->value != NULL ? " " : "", f->value != NULL ? f->value : "");
	if (g != NULL && g->is_short)
		printf("  -%c, --%-*s %s\n", g->letter, FLAG_WIDTH, left, f->help);
	else
		printf("      --%-*s %s\n", FLAG_WIDTH, left, f->help);
}

static void
print_globals(void)
{
	size_t i;

	for (i = 0; i < nglobals; i++)
		print_flag(&globals[i], &globals[i].flag);
}

static void
print_overview(void)
{
	size_t i;

	printf("usage: cachectl [options] [command] [operands]\n\nInspects and steers the CORS decision cache.\n\n");
	for (i = 0; i < ncommands; i++)
		printf("  %-11s %-13s %s\n", commands[i].name, commands[i].operands, commands[i].help);
	printf("\noptions:\n");
	print_globals();
	printf("\nWithout a command: status. Exit status: 0 yes, 1 no, 2 failed or cannot tell, 64 misused,\n"
	    "69 a daemon is needed and absent. See cachectl(1).\n");
}

void
usage_print(const struct command *c)
{
	size_t i;

	if (c == NULL) {
		print_overview();
		return;
	}
	printf("%s\n\nexamples:\n", c->help);
	for (i = 0; c->examples[i] != NULL; i++)
		printf("  %s\n", c->examples[i]);
	printf("\nusage: cachectl %s [options]%s%s\n\noptions:\n", c->name, c->operands[0] != '\0' ? " " : "",
	    c->operands);
	for (i = 0; c->flags[i].name != NULL; i++)
		print_flag(NULL, &c->flags[i]);
	print_globals();
}

int
cmd_help(const struct call *call)
{
	const struct command *c = call->noperands > 0 ? find_command(call->operands[0]) : NULL;

	if (call->noperands > 0 && c == NULL)
		return EXIT_MISUSED;
	usage_print(c);
	return EXIT_YES;
}

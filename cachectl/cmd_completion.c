/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Completion for three shells, from the table of commands and that of the
 * settings. What may follow an option or stand as an operand is told by the
 * word that the usage has for it.
 */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "output.h"

enum kind { KIND_OTHER, KIND_FILE, KIND_DIR, KIND_SETTING, KIND_COMMAND, KIND_WORDS };

/* word: "FILE", "[COMMAND]", "bash|zsh|fish" ...; NULL: nothing follows. */
static enum kind
kind_of(const char *word)
{
	if (word == NULL)
		return KIND_OTHER;
	word += word[0] == '[';
	if (strncmp(word, "FILE", 4) == 0)
		return KIND_FILE;
	if (strncmp(word, "DIR", 3) == 0)
		return KIND_DIR;
	if (strncmp(word, "SECTION.NAME", 12) == 0)
		return KIND_SETTING;
	if (strncmp(word, "COMMAND", 7) == 0)
		return KIND_COMMAND;
	return strchr(word, '|') != NULL ? KIND_WORDS : KIND_OTHER;
}

/* The value that must follow an option; NULL: none, or one that may be glued to it (--watch=2). */
static const char *
needed_value(const struct flag *f)
{
	return f->value != NULL && f->value[0] != '[' ? f->value : NULL;
}

/* "a|b|c" with blanks; "[a|b]" too. */
static void
print_words(const char *word)
{
	for (; *word != '\0'; word++)
		if (*word != '[' && *word != ']')
			putchar(*word == '|' ? ' ' : *word);
}

static void
print_commands(void)
{
	size_t i;

	for (i = 0; i < ncommands; i++)
		printf("%s%s", i > 0 ? " " : "", commands[i].name);
}

static void
print_settings(void)
{
	size_t i;

	for (i = 0; i < OPTION_COUNT; i++)
		printf("%s%s.%s=", i > 0 ? " " : "", option_descs[i].section, option_descs[i].name);
}

/* What a shell chooses from. */
static void
print_choices(enum kind kind, const char *word)
{
	if (kind == KIND_SETTING)
		print_settings();
	else if (kind == KIND_COMMAND)
		print_commands();
	else if (kind == KIND_WORDS)
		print_words(word);
}

/* Inside '...' of a shell; before the bytes in special stands a backslash. */
static void
print_quoted(const char *text, const char *quote, const char *special)
{
	for (; *text != '\0'; text++) {
		if (*text == '\'')
			fputs(quote, stdout);
		else
			printf("%s%c", strchr(special, *text) != NULL ? "\\" : "", *text);
	}
}

/* ---- bash ---- */

static void
bash_value(char letter, const struct flag *f)
{
	static const char *const complete[] = {
		[KIND_OTHER] = "", [KIND_FILE] = " _cachectl_files -f;", [KIND_DIR] = " _cachectl_files -d;",
	};
	enum kind kind = kind_of(f->value);

	if (needed_value(f) == NULL)
		return;
	printf(letter != '\0' ? "\t" : "\t\t");
	if (letter != '\0')
		printf("-%c|", letter);
	printf("--%s)", f->name);
	if (kind == KIND_OTHER || kind == KIND_FILE || kind == KIND_DIR) {
		fputs(complete[kind], stdout);
	} else {
		printf("%s COMPREPLY=($(compgen -W '", kind == KIND_SETTING ? " compopt -o nospace;" : "");
		print_choices(kind, f->value);
		printf("' -- \"$cur\"));");
	}
	printf(" return ;;\n");
}

static void
bash_values(const struct command *c)
{
	size_t i;

	for (i = 0; c == NULL && i < nglobals; i++)
		bash_value(globals[i].is_short ? globals[i].letter : '\0', &globals[i].flag);
	for (i = 0; c != NULL && c->flags[i].name != NULL; i++)
		bash_value('\0', &c->flags[i]);
}

static void
bash_command(const struct command *c)
{
	enum kind kind = kind_of(c->operands);
	size_t i;

	printf("\t%s)\n\t\tcase $prev in\n", c->name);
	bash_values(c);
	printf("\t\tesac\n\t\toptions='");
	for (i = 0; c->flags[i].name != NULL; i++)
		printf("%s--%s", i > 0 ? " " : "", c->flags[i].name);
	printf("'\n");
	if (kind == KIND_FILE) {
		printf("\t\t[[ $cur == -?* ]] || { _cachectl_files -f; return; }\n");
	} else if (kind == KIND_COMMAND || kind == KIND_WORDS) {
		printf("\t\toperands='");
		print_choices(kind, c->operands);
		printf("'\n");
	}
	printf("\t\t;;\n");
}

/*
 * The words in front of the cursor say which command it is; options with a value take two. bash makes three words of
 * --option=value, and of SECTION.NAME=VALUE.
 */
static void
bash(void)
{
	size_t i;

	printf("# bash completion for cachectl; made by: cachectl completion bash\n"
	    "_cachectl_files()\n{\n\tcompopt -o filenames\n"
	    "\tmapfile -t COMPREPLY < <(compgen \"$1\" -- \"$cur\")\n}\n\n"
	    "_cachectl()\n{\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} "
	    "word= options= operands= i\n"
	    "\tCOMPREPLY=()\n\tfor ((i = 1; i < COMP_CWORD; i++)); do\n\t\tcase ${COMP_WORDS[i]} in\n\t\t");
	for (i = 0; i < nglobals; i++)
		if (globals[i].flag.value != NULL && globals[i].is_short)
			printf("-%c|--%s|", globals[i].letter, globals[i].flag.name);
		else if (globals[i].flag.value != NULL)
			printf("--%s|", globals[i].flag.name);
	printf("=) [[ ${COMP_WORDS[i+1]} == = ]] || ((i++)) ;;\n\t\t-*) ;;\n"
	    "\t\t*) word=${COMP_WORDS[i]}; break ;;\n\t\tesac\n\tdone\n"
	    "\tif [[ $cur == = || $prev == = ]]; then\n"
	    "\t\t[[ $cur == = ]] && cur= || prev=${COMP_WORDS[COMP_CWORD-2]}\n"
	    "\t\t[[ $prev == --* ]] || return\n\tfi\n\tcase $prev in\n");
	bash_values(NULL);
	printf("\tesac\n\tcase $word in\n\t'') operands='");
	print_commands();
	printf("' ;;\n");
	for (i = 0; i < ncommands; i++)
		bash_command(&commands[i]);
	printf("\tesac\n\t[[ $cur == -* ]] && operands=\"$options");
	for (i = 0; i < nglobals; i++)
		printf(" --%s", globals[i].flag.name);
	printf("\"\n\tCOMPREPLY=($(compgen -W \"$operands\" -- \"$cur\"))\n}\ncomplete -F _cachectl cachectl\n");
}

/* ---- zsh ---- */

static void
zsh_action(const char *word)
{
	enum kind kind = kind_of(word);

	if (kind == KIND_FILE) {
		printf("_files");
	} else if (kind == KIND_DIR) {
		printf("_files -/");
	} else if (kind == KIND_SETTING) {
		printf("compadd -S \"\" - ");		/* the value follows at once */
		print_settings();
	} else if (kind != KIND_OTHER) {
		printf("(");
		print_choices(kind, word);
		printf(")");
	}
}

static void
zsh_flag(const struct global *g, const struct flag *f)
{
	const char *glued = needed_value(f) != NULL ? "=" : "";	/* or the next word */

	printf("\t\t");
	if (g != NULL && g->is_short)
		printf("'*'{-%c,--%s%s}'[", g->letter, f->name, glued);
	else
		printf("'*--%s%s[", f->name, glued);
	print_quoted(f->help, "'\\''", "[]\\");
	printf("]");
	if (needed_value(f) != NULL) {
		printf(":%s:", f->value);
		zsh_action(f->value);
	}
	printf("'\n");
}

static void
zsh_command(const struct command *c)
{
	size_t i;

	printf("\t%s) own=(\n", c->name);
	for (i = 0; c->flags[i].name != NULL; i++)
		zsh_flag(NULL, &c->flags[i]);
	if (c->most != 0) {
		printf("\t\t'%s:", c->most < 0 ? "*" : "1");
		print_words(c->operands);
		printf(":");
		zsh_action(c->operands);
		printf("'\n");
	}
	printf("\t) ;;\n");
}

static void
zsh(void)
{
	size_t i;

	printf("#compdef cachectl\n# zsh completion for cachectl; made by: cachectl completion zsh\n"
	    "_cachectl()\n{\n\tlocal curcontext=$curcontext state line\n\tlocal -a every own names\n"
	    "\ttypeset -A opt_args\n\tevery=(\n");
	for (i = 0; i < nglobals; i++)
		zsh_flag(&globals[i], &globals[i].flag);
	printf("\t)\n\tnames=(\n");
	for (i = 0; i < ncommands; i++) {
		printf("\t\t'%s:", commands[i].name);
		print_quoted(commands[i].help, "'\\''", ":\\");
		printf("'\n");
	}
	printf("\t)\n\t_arguments -C $every '1: :->command' '*:: :->rest' && return\n"
	    "\tif [[ $state == command ]]; then\n\t\t_describe -t commands command names\n\t\treturn\n\tfi\n"
	    "\tcase $words[1] in\n");
	for (i = 0; i < ncommands; i++)
		zsh_command(&commands[i]);
	printf("\tesac\n\t_arguments $every $own\n}\n_cachectl \"$@\"\n");
}

/* ---- fish ---- */

static void
fish_flag(const struct global *g, const struct flag *f, const char *command)
{
	enum kind kind = kind_of(f->value);

	printf("complete -c cachectl");
	if (command != NULL)
		printf(" -n '__fish_seen_subcommand_from %s'", command);
	if (g != NULL && g->is_short)
		printf(" -s %c", g->letter);
	printf(" -l %s", f->name);
	if (kind == KIND_FILE) {
		printf(" -rF");
	} else if (kind == KIND_DIR) {
		printf(" -xa '(__fish_complete_directories)'");
	} else if (needed_value(f) != NULL) {
		printf(" -xa '");
		print_choices(kind, f->value);
		printf("'");
	}
	printf(" -d '");
	print_quoted(f->help, "\\'", "\\");
	printf("'\n");
}

static void
fish_command(const struct command *c)
{
	enum kind kind = kind_of(c->operands);
	size_t i;

	printf("complete -c cachectl -n __cachectl_has_no_command -a %s -d '", c->name);
	print_quoted(c->help, "\\'", "\\");
	printf("'\n");
	for (i = 0; c->flags[i].name != NULL; i++)
		fish_flag(NULL, &c->flags[i], c->name);
	if (kind == KIND_FILE) {
		printf("complete -c cachectl -n '__fish_seen_subcommand_from %s' -F\n", c->name);
	} else if (kind == KIND_COMMAND || kind == KIND_WORDS) {
		printf("complete -c cachectl -n '__fish_seen_subcommand_from %s' -a '", c->name);
		print_choices(kind, c->operands);
		printf("'\n");
	}
}

static void
fish(void)
{
	size_t i;

	printf("# fish completion for cachectl; made by: cachectl completion fish\n"
	    "function __cachectl_has_no_command\n\tnot __fish_seen_subcommand_from ");
	print_commands();
	printf("\nend\ncomplete -c cachectl -f\n");
	for (i = 0; i < nglobals; i++)
		fish_flag(&globals[i], &globals[i].flag, NULL);
	for (i = 0; i < ncommands; i++)
		fish_command(&commands[i]);
}

int
cmd_completion(const struct call *call)
{
	static const struct {
		const char	*name;
		void		 (*print)(void);
	} shells[] = { { "bash", bash }, { "zsh", zsh }, { "fish", fish } };
	char clean[ESCAPED_MAX];
	size_t i;

	for (i = 0; i < sizeof shells / sizeof shells[0]; i++) {
		if (strcmp(shells[i].name, call->operands[0]) == 0) {
			shells[i].print();
			return EXIT_YES;
		}
	}
	complain("no completion for '%s': bash, zsh or fish", escaped(clean, sizeof clean, span_of(call->operands[0])));
	return EXIT_MISUSED;
}

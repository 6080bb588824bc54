/* SPDX-License-Identifier: BSD-2-Clause */
#include "cachectl.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"

#define NFLAGS_MAX	8
#define NGLOBALS	8
#define NEXAMPLES_MAX	4

struct command {
	const char	*name;
	int		 (*run)(const struct call *);
	const char	*operands;
	int		 least, most;		/* operands; most -1: any number */
	bool		 hidden;		/* not in the overview */
	const char	*help;
	const char	*examples[NEXAMPLES_MAX + 1];
	struct flag	 flags[NFLAGS_MAX + 1];
};

#define REALM_FLAG	{ "realm", "REALM", "the tenant or API that the web server names (default: the realm '')" }

static const struct command commands[] = {
	{ "status", cmd_status, "", 0, 0, false, "Show the table, its synchronisation and the responders.",
	  { "cachectl", "cachectl status --json | jq .sync.fresh_at" }, { { NULL, NULL, NULL } } },
	{ "check", cmd_check, "ORIGIN", 1, 1, false,
	  "Explain how a request from ORIGIN is answered, by the code that answers it.",
	  { "cachectl check https://app.example.com", "cachectl check https://app.example.com --method PUT --header Content-Type",
	    "cachectl check https://app.example.com --realm shop -q && echo allowed" },
	  { REALM_FLAG,
	    { "method", "METHOD", "the method: of the request, or asked for by the preflight" },
	    { "header", "NAME", "a request header that the preflight asks for; may repeat" },
	    { "preflight", NULL, "a preflight (default with --method or --header)" },
	    { "actual", NULL, "an actual request (default otherwise)" } } },
	{ "list", cmd_list, "[GLOB]", 0, 1, false, "List the rows of the table, or its policies.",
	  { "cachectl list", "cachectl list 'https://*.example.com*' --realm shop", "cachectl list --json | jq -r .origin" },
	  { { "realm", "REALM", "only this realm (default: all)" },
	    { "policies", NULL, "the policies instead of the rows" } } },
	{ "show", cmd_show, "ORIGIN", 1, 1, false, "Show one row, by its origin or pattern as written, and its policy.",
	  { "cachectl show https://app.example.com", "cachectl show 'https://*.example.com'" }, { REALM_FLAG } },
	{ "stats", cmd_stats, "[GLOB]", 0, 1, false, "Show what the responders have counted, all added up.",
	  { "cachectl stats", "cachectl stats 'reason.*'", "cachectl stats --json" }, { { NULL, NULL, NULL } } },
	{ "invalidate", cmd_invalidate, "[ORIGIN...]", 0, -1, false,
	  "Refuse entries at once, until the database confirms them again.",
	  { "cachectl invalidate https://stolen.example", "cachectl invalidate --realm shop", "cachectl invalidate --all --yes" },
	  { { "realm", "REALM", "of the origins; without an origin: every row of it" },
	    { "all", NULL, "everything, until a whole table is loaded" },
	    { "yes", NULL, "do not ask before --all" },
	    { "dry-run", NULL, "only say what would be refused" } } },
	{ "resync", cmd_resync, "", 0, 0, false, "Have corscache-syncd load the whole table from the database.",
	  { "cachectl resync" }, { { NULL, NULL, NULL } } },
	{ "verify", cmd_verify, "", 0, 0, false, "Compare the table with the database, row by row.",
	  { "cachectl verify", "cachectl verify -o sync.conninfo='service=corscache' --json" }, { { NULL, NULL, NULL } } },
	{ "load", cmd_load, "FILE", 1, 1, false, "Fill the table from a file of JSON lines instead of a database.",
	  { "cachectl load origins.jsonl", "generate-origins | cachectl load -" },
	  { { NULL, NULL, NULL } } },
	{ "config", cmd_config, "", 0, 0, true, "Print the sample configuration file.",
	  { "cachectl config --sample" }, { { "sample", NULL, "every setting, commented out, with its default" } } },
};
#define NCOMMANDS	(sizeof commands / sizeof commands[0])

static const struct global {
	char		 letter;
	struct flag	 flag;
} globals[NGLOBALS] = {
	{ 'c', { "config", "FILE", "configuration file (default: " CONFIG_DEFAULT_FILE ")" } },
	{ 'o', { "option", "SECTION.NAME=VALUE", "a setting over that of the file; may repeat" } },
	{ 't', { "table", "DIR", "directory of the table, over table.path" } },
	{ 'j', { "json", NULL, "JSON instead of text" } },
	{ 'n', { "no-color", NULL, "no colours (they need a terminal anyway)" } },
	{ 'q', { "quiet", NULL, "print nothing but errors; the exit status tells" } },
	{ 'h', { "help", NULL, "explain the command" } },
	{ 'V', { "version", NULL, "print the version" } },
};
#define SHORT_OPTIONS	"c:o:qhV"	/* the other letters only name their long options */

static struct {
	const char	*config_file;
	const char	**overrides;
	size_t		 noverrides;
	char		*table;		/* "table.path=DIR", the last override */
	bool		 json, quiet, no_color, help, version;
} settings;

const char *
flag_value(const struct call *call, const char *name)
{
	size_t i;

	for (i = call->ngiven; i > 0; i--)
		if (strcmp(call->given[i - 1].flag->name, name) == 0)
			return call->given[i - 1].value;
	return NULL;
}

bool
flag_is_given(const struct call *call, const char *name)
{
	size_t i;

	for (i = 0; i < call->ngiven; i++)
		if (strcmp(call->given[i].flag->name, name) == 0)
			return true;
	return false;
}

static void
print_flag(char letter, const struct flag *f)
{
	char left[64];

	snprintf(left, sizeof left, "%s%s%s", f->name, f->value != NULL ? " " : "", f->value != NULL ? f->value : "");
	if (letter != '\0' && strchr(SHORT_OPTIONS, letter) != NULL)
		printf("  -%c, --%-26s %s\n", letter, left, f->help);
	else
		printf("      --%-26s %s\n", left, f->help);
}

static void
print_globals(void)
{
	size_t i;

	for (i = 0; i < NGLOBALS; i++)
		print_flag(globals[i].letter, &globals[i].flag);
}

static void
help_overview(void)
{
	size_t i;

	printf("usage: cachectl [options] [command] [operands]\n\nInspects and steers the CORS decision cache.\n\n");
	for (i = 0; i < NCOMMANDS; i++)
		if (!commands[i].hidden)
			printf("  %-11s %-12s %s\n", commands[i].name, commands[i].operands, commands[i].help);
	printf("  %-11s %-12s %s\n\noptions:\n", "help", "[COMMAND]", "Explain a command.");
	print_globals();
	printf("\nWithout a command: status. Exit status: 0 yes, 1 no, 2 failed or cannot tell, 64 misused,\n"
	    "69 a daemon is needed and absent. See cachectl(1).\n");
}

static void
help_command(const struct command *c)
{
	size_t i;

	printf("%s\n\nexamples:\n", c->help);
	for (i = 0; c->examples[i] != NULL; i++)
		printf("  %s\n", c->examples[i]);
	printf("\nusage: cachectl %s [options]%s%s\n\noptions:\n", c->name, c->operands[0] != '\0' ? " " : "",
	    c->operands);
	for (i = 0; c->flags[i].name != NULL; i++)
		print_flag('\0', &c->flags[i]);
	print_globals();
}

static size_t
smallest(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;

	return least < c ? least : c;
}

/* Levenshtein's distance, of words shorter than 32. */
static size_t
distance(const char *a, const char *b)
{
	size_t row[32], i, j, diagonal, above;

	for (j = 0; j <= strlen(b); j++)
		row[j] = j;
	for (i = 1; i <= strlen(a); i++) {
		diagonal = row[0];
		row[0] = i;
		for (j = 1; j <= strlen(b); j++) {
			above = row[j];
			row[j] = smallest(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[strlen(b)];
}

static const struct command *
nearest_command(const char *name)
{
	const struct command *nearest = NULL;
	size_t i, d, least = 4;

	if (strlen(name) >= 32)
		return NULL;
	for (i = 0; i < NCOMMANDS; i++) {
		d = strncmp(commands[i].name, name, strlen(name)) == 0 ? 1 : distance(name, commands[i].name);
		if (d < least && d < strlen(name)) {
			least = d;
			nearest = &commands[i];
		}
	}
	return nearest;
}

static const struct command *
find_command(const char *name)
{
	const struct command *near;
	char clean[ESCAPED_MAX];
	size_t i;

	for (i = 0; i < NCOMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	near = nearest_command(name);
	escaped(clean, sizeof clean, span_of(name));
	if (near != NULL)
		complain("no command \"%s\"; did you mean %s?", clean, near->name);
	else
		complain("no command \"%s\"; cachectl help lists them", clean);
	return NULL;
}

static void *
allocate(size_t n, size_t size)
{
	void *p = calloc(n > 0 ? n : 1, size);

	if (p == NULL) {
		complain("out of memory");
		exit(EXIT_FAILED);
	}
	return p;
}

static void
take_table(const char *dir)
{
	size_t len = strlen(dir) + sizeof "table.path=";

	free(settings.table);
	settings.table = allocate(len, 1);
	snprintf(settings.table, len, "table.path=%s", dir);
}

static void
take_global(char letter, const char *value)
{
	switch (letter) {
	case 'c':
		settings.config_file = value;
		break;
	case 'o':
		settings.overrides[settings.noverrides++] = value;
		break;
	case 't':
		take_table(value);
		break;
	case 'j':
		settings.json = true;
		break;
	case 'n':
		settings.no_color = true;
		break;
	case 'q':
		settings.quiet = true;
		break;
	case 'h':
		settings.help = true;
		break;
	case 'V':
		settings.version = true;
		break;
	}
}

/*
 * The options of all commands, and those of c unless it is NULL. Before the
 * command (c NULL) it stops at the first operand, behind it operands and
 * options mix. Sets optind. false: an unknown option, already complained about.
 */
static bool
parse_options(int argc, char **argv, const struct command *c, struct call *call)
{
	struct option options[NGLOBALS + NFLAGS_MAX + 1] = { 0 };
	size_t i, n = 0;
	static char program[] = "cachectl";
	int letter;

	argv[0] = program;	/* what getopt_long() calls itself */
	for (i = 0; i < NGLOBALS; i++)
		options[n++] = (struct option){ globals[i].flag.name,
		    globals[i].flag.value != NULL ? required_argument : no_argument, NULL, globals[i].letter };
	for (i = 0; c != NULL && c->flags[i].name != NULL; i++)
		options[n++] = (struct option){ c->flags[i].name,
		    c->flags[i].value != NULL ? required_argument : no_argument, NULL, 256 + (int)i };
	optind = 0;
	while ((letter = getopt_long(argc, argv, c == NULL ? "+" SHORT_OPTIONS : SHORT_OPTIONS, options, NULL)) != -1) {
		if (letter == '?') {
			complain("see cachectl %s%s--help", c != NULL ? c->name : "", c != NULL ? " " : "");
			return false;
		}
		if (letter >= 256)
			call->given[call->ngiven++] = (struct given){ &c->flags[letter - 256], optarg };
		else
			take_global((char)letter, optarg);
	}
	return true;
}

static bool
operands_fit(const struct command *c, const struct call *call)
{
	if (call->noperands >= c->least && (c->most < 0 || call->noperands <= c->most))
		return true;
	complain("%s takes %s; see cachectl %s --help", c->name, c->most == 0 ? "no operands" : c->operands, c->name);
	return false;
}

static int
run_command(const struct command *c, struct call *call)
{
	struct config *config = NULL;
	char err[1024];
	int status, error;

	if (settings.table != NULL)
		settings.overrides[settings.noverrides++] = settings.table;
	if (config_load(&config, settings.config_file, settings.overrides, settings.noverrides, err, sizeof err) != 0) {
		complain("%s", err);
		return strncmp(err, "-o ", 3) == 0 ? EXIT_MISUSED : EXIT_FAILED;
	}
	call->config = config;
	call->json = settings.json;
	status = c->run(call);
	config_free(&config);
	if ((error = output_close()) != 0) {
		complain("cannot write the output: %s", strerror(-error));
		return EXIT_FAILED;
	}
	return status;
}

/* cachectl help [COMMAND] */
static int
help(int argc, char **argv)
{
	const struct command *c = argc > 1 ? find_command(argv[1]) : NULL;

	if (argc > 1 && c == NULL)
		return EXIT_MISUSED;
	if (c != NULL)
		help_command(c);
	else
		help_overview();
	return output_close() == 0 ? EXIT_YES : EXIT_FAILED;
}

/* argv[0] is the command's name. */
static int
dispatch(int argc, char **argv)
{
	const struct command *c = find_command(argv[0]);
	struct call call = { .given = allocate((size_t)argc, sizeof(struct given)) };
	int status = EXIT_MISUSED;

	if (c == NULL || !parse_options(argc, argv, c, &call))
		goto out;
	call.noperands = argc - optind;
	call.operands = argv + optind;
	output_open(settings.quiet, !settings.no_color);
	if (settings.help) {
		help_command(c);
		status = EXIT_YES;
	} else if (operands_fit(c, &call)) {
		status = run_command(c, &call);
	}
out:
	free(call.given);
	return status;
}

int
main(int argc, char **argv)
{
	char *bare[] = { "status", NULL };
	int status = EXIT_YES;

	settings.overrides = allocate((size_t)argc + 1, sizeof *settings.overrides);
	if (!parse_options(argc, argv, NULL, NULL))
		status = EXIT_MISUSED;
	else if (settings.version)
		printf("cachectl %s\n", PACKAGE_VERSION);
	else if (optind < argc && strcmp(argv[optind], "help") == 0)
		status = help(argc - optind, argv + optind);
	else if (optind < argc)
		status = dispatch(argc - optind, argv + optind);
	else if (settings.help)
		help_overview();
	else
		status = dispatch(1, bare);
	free(settings.overrides);
	free(settings.table);
	return status;
}

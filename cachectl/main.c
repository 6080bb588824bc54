/* SPDX-License-Identifier: BSD-2-Clause */
#include "cachectl.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "output.h"

#define REALM_FLAG	{ "realm", "REALM", "the tenant or API that the web server names (default: the realm '')" }

const struct command commands[] = {
	{ "status", cmd_status, "", 0, 0, false, "Show the table, its synchronisation and the responders.",
	  { "cachectl", "cachectl status --json | jq .sync.fresh_at" }, { { NULL, NULL, NULL } } },
	{ "check", cmd_check, "[ORIGIN]", 0, 1, false,
	  "Explain how a request from ORIGIN is answered, by the code that answers it.",
	  { "cachectl check https://app.example.com",
	    "cachectl check https://app.example.com --method PUT --header Content-Type",
	    "cachectl check https://app.example.com --realm shop -q && echo allowed",
	    "curl -v -H 'Origin: https://app.example.com' https://api.example.com/ 2>&1 | cachectl check --from-headers -",
	    "cachectl check --url https://api.example.com/path --origin https://app.example.com" },
	  { REALM_FLAG,
	    { "method", "METHOD", "the method: of the request, or asked for by the preflight" },
	    { "header", "NAME", "a request header that the preflight asks for; may repeat" },
	    { "preflight", NULL, "a preflight (default with --method or --header)" },
	    { "actual", NULL, "an actual request (default otherwise)" },
	    { "from-headers", "FILE", "the request as curl -v or a browser's developer tools show it; - is stdin" },
	    { "url", "URL", "ask the real web server as a browser would, and say what differs from the table" },
	    { "origin", "ORIGIN", "with --url: of the page" },
	    { "timeout", "SECONDS", "with --url: the longest wait for each answer (default: 10)" },
	    { "cacert", "FILE", "with --url: certificates to trust instead of the system's" },
	    { "insecure", NULL, "with --url: take any certificate" } } },
	{ "list", cmd_list, "[GLOB]", 0, 1, false, "List the rows of the table, or its policies.",
	  { "cachectl list", "cachectl list 'https://*.example.com*' --realm shop", "cachectl list --json | jq -r .origin" },
	  { { "realm", "REALM", "only this realm (default: all)" },
	    { "policies", NULL, "the policies instead of the rows" } } },
	{ "dump", cmd_dump, "", 0, 0, false, "Write all policies and rows, for programs and for cachectl load.",
	  { "cachectl dump | sort >backup", "cachectl dump | sort | diff backup -",
	    "cachectl dump --json | jq -c 'select(.held)'", "cachectl load backup" }, { { NULL, NULL, NULL } } },
	{ "show", cmd_show, "ORIGIN", 1, 1, false, "Show one row, by its origin or pattern as written, and its policy.",
	  { "cachectl show https://app.example.com", "cachectl show 'https://*.example.com'" }, { REALM_FLAG } },
	{ "stats", cmd_stats, "[GLOB]", 0, 2, false, "Show what the responders have counted, all added up.",
	  { "cachectl stats", "cachectl stats 'reason.*'", "cachectl stats --watch",
	    "cachectl stats --watch 10 'reason.*' --json" },
	  { { "watch", "[SECONDS]", "again and again, with rates, every SECONDS (default: 1), until Ctrl-C" },
	    { "count", "N", "watch, and end after N times" } } },
	{ "refusals", cmd_refusals, "", 0, 0, false, "Show whom the responders refused most, and why.",
	  { "cachectl refusals", "cachectl refusals --realm shop --reason origin-unknown", "cachectl refusals --sort time",
	    "cachectl refusals --json | jq '.refusals[].origin'" },
	  { { "realm", "REALM", "only of this realm (default: all)" },
	    { "reason", "REASON", "only for this reason, as cachectl check names it" },
	    { "sort", "count|time", "the most frequent first (default), or the latest" } } },
	{ "top", cmd_top, "[SECONDS]", 0, 1, false, "Watch the whole system live, on a screen of its own; q ends it.",
	  { "cachectl top", "cachectl top 5" }, { { NULL, NULL, NULL } } },
	{ "metrics", cmd_metrics, "", 0, 0, false, "Print what CORS_PAGE=metrics answers: Prometheus text.",
	  { "cachectl metrics", "cachectl metrics >corscache.prom.new && mv corscache.prom.new corscache.prom" },
	  { { NULL, NULL, NULL } } },
	{ "invalidate", cmd_invalidate, "[ORIGIN...]", 0, -1, false,
	  "Refuse entries at once, until the database was asked again; cachectl revoke lasts.",
	  { "cachectl invalidate https://stolen.example", "cachectl invalidate --realm shop",
	    "cachectl invalidate --all --yes" },
	  { { "realm", "REALM", "of the origins; without an origin: every row of it" },
	    { "all", NULL, "everything, until a whole table is loaded" },
	    { "yes", NULL, "do not ask before --all" },
	    { "dry-run", NULL, "only say what would be refused" } } },
	{ "revoke", cmd_revoke, "[ORIGIN...]", 0, -1, false,
	  "Refuse origins on this machine, whatever the database says, until cachectl restore.",
	  { "cachectl revoke https://stolen.example --note 'key leaked, ticket 4711'",
	    "cachectl revoke 'https://*.stolen.example' --realm shop --for 8h", "cachectl revoke --list" },
	  { REALM_FLAG,
	    { "for", "DURATION", "end it then: 90s, 30m, 8h, 7d, 2w (default: never)" },
	    { "note", "TEXT", "why, for whoever asks" },
	    { "list", NULL, "show what is revoked, since when and by whom" } } },
	{ "restore", cmd_restore, "[ORIGIN...]", 0, -1, false, "End what cachectl revoke began: the database decides again.",
	  { "cachectl restore https://stolen.example", "cachectl restore --all" },
	  { REALM_FLAG,
	    { "all", NULL, "everything, also where the file of revocations is damaged" } } },
	{ "resync", cmd_resync, "", 0, 0, false, "Have corscache-syncd load the whole table from the database.",
	  { "cachectl resync" }, { { NULL, NULL, NULL } } },
	{ "verify", cmd_verify, "", 0, 0, false, "Compare the table with the database, row by row.",
	  { "cachectl verify", "cachectl verify -o sync.conninfo='service=corscache' --json" }, { { NULL, NULL, NULL } } },
	{ "lint", cmd_lint, "", 0, 0, false, "Find rows and policies that are dangerous, dead or without effect.",
	  { "cachectl lint", "cachectl lint --severity warning", "cachectl lint --sql >mend.sql",
	    "cachectl lint --json | jq -r 'select(.finding == \"expired\") | .origin'" },
	  { { "severity", "error|warning|note", "only what is at least that bad (default: note)" },
	    { "limit", "N", "told of each kind of finding, in text (default: 10); 0: all" },
	    { "sql", NULL, "print only the SQL that mends it all" } } },
	{ "load", cmd_load, "FILE", 1, 1, false, "Fill the table from a file or a dump instead of a database.",
	  { "cachectl load origins.jsonl", "generate-origins | cachectl load -" },
	  { { NULL, NULL, NULL } } },
	{ "config", cmd_config, "[GLOB]", 0, 1, false, "Show the settings: value, default, source, what a change needs.",
	  { "cachectl config", "cachectl config 'sync.*'",
	    "cachectl config --json | jq '.settings[] | select(.source != \"default\")'",
	    "cachectl config --sample >corscache.conf" },
	  { { "sample", NULL, "a file with every setting, commented out, with its default" } } },
	{ "completion", cmd_completion, "bash|zsh|fish", 1, 1, true, "Print what completes commands and options in a shell.",
	  { "eval \"$(cachectl completion bash)\"", "mkdir -p ~/.zfunc && cachectl completion zsh >~/.zfunc/_cachectl",
	    "cachectl completion fish | source" },
	  { { NULL, NULL, NULL } } },
	{ "help", cmd_help, "[COMMAND]", 0, 1, true, "Explain a command.",
	  { "cachectl help", "cachectl help check" }, { { NULL, NULL, NULL } } },
};
const size_t ncommands = sizeof commands / sizeof commands[0];

const struct global globals[] = {
	{ 'c', true, { "config", "FILE", "configuration file (default: " CONFIG_DEFAULT_FILE ")" } },
	{ 'o', true, { "option", "SECTION.NAME=VALUE", "a setting over that of the file; may repeat" } },
	{ 't', false, { "table", "DIR", "directory of the table, over table.path" } },
	{ 'j', false, { "json", NULL, "JSON instead of text" } },
	{ 'p', false, { "plain", NULL, "text for programs: no colours, a tab between columns" } },
	{ 'n', false, { "no-color", NULL, "no colours (they need a terminal anyway)" } },
	{ 'q', true, { "quiet", NULL, "print nothing but errors; the exit status tells" } },
	{ 'h', true, { "help", NULL, "explain the command" } },
	{ 'V', true, { "version", NULL, "print the version" } },
};
#define NGLOBALS	(sizeof globals / sizeof globals[0])
const size_t nglobals = NGLOBALS;
#define SHORT_OPTIONS	":c:o:qhV"	/* of globals[]; the : in front: we complain ourselves */

static struct {
	const char	*config_file;
	const char	**overrides;
	size_t		 noverrides;
	char		*table;		/* "table.path=DIR", the last override */
	bool		 json, plain, quiet, no_color, help, version;
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
	case 'p':
		settings.plain = true;
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

/* What getopt_long() stumbled over: ':' an option without its value, '?' anything else. word: where, or just before. */
static void
complain_of(const struct command *c, int letter, const char *word)
{
	char clean[ESCAPED_MAX], one[] = { '-', (char)optopt, '\0' };	/* perhaps in the middle of a word */
	bool is_long = strncmp(word, "--", 2) == 0;

	escaped(clean, sizeof clean, (struct span){ word, strcspn(word, "=") });
	if (letter == ':')
		complain("%s needs a value; see cachectl %s%s--help", is_long ? clean : one, c != NULL ? c->name : "",
		    c != NULL ? " " : "");
	else if (optopt != 0 && is_long && strchr(word, '=') != NULL)
		complain("%s takes no value", clean);
	else
		usage_complain(c, optopt != 0 ? one : word);
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
	int letter;

	for (i = 0; i < NGLOBALS; i++)
		options[n++] = (struct option){ globals[i].flag.name,
		    globals[i].flag.value != NULL ? required_argument : no_argument, NULL, globals[i].letter };
	for (i = 0; c != NULL && c->flags[i].name != NULL; i++)
		options[n++] = (struct option){ c->flags[i].name, c->flags[i].value == NULL ? no_argument :
		    c->flags[i].value[0] == '[' ? optional_argument : required_argument, NULL, 256 + (int)i };
	optind = 0;
	while ((letter = getopt_long(argc, argv, c == NULL ? "+" SHORT_OPTIONS : SHORT_OPTIONS, options, NULL)) != -1) {
		if (letter == '?' || letter == ':') {
			complain_of(c, letter, argv[optind - 1]);
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

/* What must work when little else does: also with a broken file of settings, where the table is named. */
static bool
revokes(const struct command *c)
{
	return c->run == cmd_invalidate || c->run == cmd_revoke || c->run == cmd_restore;
}

static int
load_settings(const struct command *c, struct config **config)
{
	char err[1024], again[1024];

	if (settings.table != NULL)
		settings.overrides[settings.noverrides++] = settings.table;
	if (config_load(config, settings.config_file, settings.overrides, settings.noverrides, err, sizeof err) == 0)
		return EXIT_YES;
	if (settings.table != NULL && revokes(c) &&
	    config_load(config, "/dev/null", settings.overrides, settings.noverrides, again, sizeof again) == 0) {
		remark("%s: so --table, -o and the built-in settings count", err);
		return EXIT_YES;
	}
	complain("%s", err);
	return strncmp(err, "-o ", 3) == 0 ? EXIT_MISUSED : EXIT_FAILED;
}

static int
run_command(const struct command *c, struct call *call)
{
	struct config *config = NULL;
	int status = c->is_bare ? EXIT_YES : load_settings(c, &config), error;

	if (status != EXIT_YES)
		return status;
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
	output_open(settings.quiet, !settings.no_color, settings.plain);
	if (settings.help) {
		usage_print(c);
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
	else if (optind < argc)
		status = dispatch(argc - optind, argv + optind);
	else if (settings.help)
		usage_print(NULL);
	else
		status = dispatch(1, bare);
	free(settings.overrides);
	free(settings.table);
	return status;
}

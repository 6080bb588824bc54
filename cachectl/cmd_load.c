/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A table without a database: a file of lines (input.h), held to the rules of the
 * SQL schema, published whole or not at all.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "daemon.h"
#include "input.h"
#include "policies.h"
#include "rows.h"
#include "suffix.h"

#define LINE_BYTES	80	/* of a usual line: guesses the rows of a file */

struct load {
	const char	*file;		/* its name, for messages */
	unsigned long	 number;	/* of the line */
	struct table	*table;
	struct policies	 policies;	/* uses: rows that name it; is_marked: a line has said it */
	uint64_t	 rows, held;
	bool		 has_content;	/* a line that is not blank */
};

static int __attribute__((format(printf, 2, 3)))
refuse(const struct load *l, const char *fmt, ...)
{
	char what[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	complain("%s:%lu: %s", l->file, l->number, what);
	return EXIT_FAILED;
}

/* ---- policies ---- */

static int
compile(const struct load *l, struct known *k, const struct policy_row *p)
{
	char name[ESCAPED_MAX], element[ESCAPED_MAX];

	if (known_compile(k, p) != 0)
		return refuse(l, "out of memory");
	if (k->status == POLICY_OK)
		return EXIT_YES;
	return refuse(l, "policy '%s': %s%s%s%s", escaped(name, sizeof name, p->name), policy_strstatus(k->status),
	    k->culprit.len > 0 ? ": '" : "", k->culprit.len > 0 ? escaped(element, sizeof element, k->culprit) : "",
	    k->culprit.len > 0 ? "'" : "");
}

static int
put_policy(struct load *l, const struct policy_row *p, bool is_builtin)
{
	struct known *k = policies_put(&l->policies, p->name);
	enum policy_status why;
	char name[ESCAPED_MAX];
	int status, error;

	escaped(name, sizeof name, p->name);
	if (k == NULL)
		return refuse(l, "out of memory");
	if (k->is_marked || k->uses > 0)
		return refuse(l, "policy '%s' %s", name, "appears twice, or behind a row that uses it");
	if ((status = compile(l, k, p)) != EXIT_YES)
		return status;
	k->is_marked = !is_builtin;
	error = table_policy_put(l->table, p, &why);
	return error == 0 ? EXIT_YES : refuse(l, "policy '%s': %s", name, strerror(-error));
}

/* As the SQL schema has it; a line of the file may say otherwise. */
static int
put_default_policy(struct load *l)
{
	static const struct span methods[] = { { "GET", 3 }, { "HEAD", 4 }, { "POST", 4 } };
	const struct policy_row p = { .name = span_of("default"), .methods = methods, .nmethods = 3,
		.max_age = POLICY_NO_MAX_AGE };

	return put_policy(l, &p, true);
}

/* ---- rows ---- */

static const char *
why_unsafe(enum rule_form form, bool is_public)
{
	if (form == RULE_ANY)
		return "* may not carry credentials: give it a policy without them";
	if (form == RULE_SCHEME)
		return "it covers a whole scheme, and its policy allows credentials without insecure";
	return is_public ? "it covers a public suffix, and its policy allows credentials without insecure" :
	    "it is plain http, and its policy allows credentials without insecure";
}

/* A row that refuses may name no policy: it was gone where the row was dumped. */
static int
check_policy(const struct load *l, const struct rule *rule, const struct line *line)
{
	const struct row *row = &line->row;
	struct known *k = policies_find(&l->policies, row->policy);
	char origin[ESCAPED_MAX], policy[ESCAPED_MAX];

	if (k == NULL)
		return refuse(l, "'%s': no line above has the policy '%s'", escaped(origin, sizeof origin, row->origin),
		    escaped(policy, sizeof policy, row->policy));
	k->uses++;
	if (row->allow && !line->is_unsafe && row_is_unsafe(rule->form, &rule->origin, row->public_suffix, &k->policy))
		return refuse(l, "'%s': %s", escaped(origin, sizeof origin, row->origin),
		    why_unsafe(rule->form, row->public_suffix));
	return EXIT_YES;
}

static int
check_row(const struct load *l, struct line *line)
{
	struct row *row = &line->row, old;
	char origin[ESCAPED_MAX];
	enum origin_status status;
	struct rule rule;

	escaped(origin, sizeof origin, row->origin);
	if (!realm_is_valid(row->realm.at, row->realm.len))
		return refuse(l, "the realm has over %d bytes or control characters", REALM_MAX);
	status = rule_parse(&rule, row->origin.at, row->origin.len);
	if (status != ORIGIN_OK)
		return refuse(l, "'%s' is not an origin: %s", origin, origin_strstatus(status));
	if (table_get(l->table, row->realm, row->origin, &old) == 0)
		return refuse(l, "'%s' appears twice in its realm", origin);
	row->public_suffix = (rule.form == RULE_SUFFIX || rule.form == RULE_SUFFIX_ANY_PORT) &&
	    suffix_is_public(rule.origin.host);
	if (!row->allow && row->policy.len == 0)
		row->policy = span_of("default");
	return check_policy(l, &rule, line);
}

/* An origin that is held and has no policy was revoked where no row was its own. */
static int
put_row(struct load *l, struct line *line)
{
	const struct row *row = &line->row;
	char origin[ESCAPED_MAX];
	int status, error = 0;
	bool is_stub;

	line->row.held |= row->revoked;		/* on another machine, perhaps */
	is_stub = row->held && row->policy.len == 0;
	if ((status = check_row(l, line)) != EXIT_YES)
		return status;
	if (!is_stub)
		error = table_put(l->table, row);
	if (error == 0 && row->held)
		error = (int)table_hold(l->table, row->realm, row->origin);
	if (error < 0)
		return refuse(l, "'%s': %s", escaped(origin, sizeof origin, row->origin), strerror(-error));
	l->rows += !is_stub;
	l->held += row->held;
	return EXIT_YES;
}

/* ---- the file ---- */

static bool
is_blank(const char *text, size_t len)
{
	return strspn(text, " \t\r\n") == len;
}

static int
put_line(struct load *l, char *text, size_t len)
{
	bool is_text = strncmp(text, "policy\t", 7) == 0 || strncmp(text, "row\t", 4) == 0;
	struct line line;
	char err[ESCAPED_MAX + 256];
	int status;

	if (is_blank(text, len))
		return EXIT_YES;
	l->has_content = true;
	if ((is_text ? line_read_text : line_read)(&line, text, len, err, sizeof err) != 0)
		return refuse(l, "%s", err);
	status = line.is_policy ? put_policy(l, &line.policy, false) : put_row(l, &line);
	line_free(&line);
	return status;
}

static int
put_file(struct load *l, FILE *in)
{
	char *text = NULL;
	size_t cap = 0;
	ssize_t len;
	int status = put_default_policy(l), error;

	while (status == EXIT_YES && (len = getline(&text, &cap, in)) >= 0) {
		l->number++;
		status = put_line(l, text, (size_t)len);
	}
	error = errno;
	if (status == EXIT_YES && !feof(in))	/* a read that failed, or no memory for the line: not the end */
		status = refuse(l, "%s", strerror(error));
	else if (status == EXIT_YES && !l->has_content)
		status = refuse(l, "there is nothing in it, so the table stays as it is; {\"policy\": \"default\"} alone empties it");
	free(text);
	return status;
}

static void
describe(struct writer *w, const struct load *l, int64_t started_ms, int64_t now_ms)
{
	char source[256];

	snprintf(source, sizeof source, "file %s", l->file);
	writer_say_source(w, source);
	writer_say_problem(w, "");
	writer_set(w, STATUS_fresh_at, now_ms);
	writer_set(w, STATUS_snapshot_at, now_ms);
	writer_set(w, STATUS_snapshot_ms, now_ms - started_ms);
	writer_set(w, STATUS_snapshot_rows, (int64_t)l->rows);
	writer_set(w, STATUS_held, (int64_t)l->held);
	writer_add(w, STATUS_snapshots, 1);
}

static int64_t
now_in_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int
load(struct load *l, struct writer *w, FILE *in)
{
	int64_t started_ms = now_in_ms();
	struct stat st;
	int status, error;

	if (fstat(fileno(in), &st) != 0)
		st.st_size = 0;
	error = writer_begin(w, (uint64_t)st.st_size / LINE_BYTES, &l->table);
	if (error != 0) {
		complain("%s", writer_strerror(w));
		return EXIT_FAILED;
	}
	status = put_file(l, in);
	if (status != EXIT_YES) {
		writer_abort(w, &l->table);
		return status;
	}
	if ((error = writer_commit(w, &l->table)) != 0) {
		complain("%s", writer_strerror(w));
		return EXIT_FAILED;
	}
	describe(w, l, started_ms, now_in_ms());
	return EXIT_YES;
}

static void
tell(const struct call *call, const struct load *l)
{
	char n[COUNTED_MAX];
	struct object *o;

	if (!call->json) {
		printf("loaded %s\n", human_counted(n, l->rows, "row"));
		return;
	}
	o = object_new();
	object_number(o, "rows", (int64_t)l->rows);
	object_print(o);
}

static int
load_from(const struct call *call, FILE *in)
{
	struct load l = { .file = in == stdin ? "stdin" : call->operands[0] };
	struct writer *w = NULL;
	int status = daemon_replace(call, &w);

	if (status == EXIT_ABSENT)
		complain("another process writes the table in %s: stop corscache-syncd first", call->config->table_path);
	if (status == EXIT_YES)
		status = load(&l, w, in);
	if (status == EXIT_YES)
		tell(call, &l);
	policies_fini(&l.policies);
	writer_close(&w);
	return status;
}

int
cmd_load(const struct call *call)
{
	FILE *in = strcmp(call->operands[0], "-") == 0 ? stdin : fopen(call->operands[0], "re");
	int status;

	if (in == NULL) {
		complain("%s: %s", call->operands[0], strerror(errno));
		return EXIT_FAILED;
	}
	if (suffix_open() != 0) {
		complain("the list of public suffixes cannot be loaded");
		status = EXIT_FAILED;
	} else {
		status = load_from(call, in);
	}
	suffix_close();
	if (in != stdin)
		fclose(in);
	return status;
}

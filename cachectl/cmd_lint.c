/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rows and policies that are dangerous, dead or without effect. The rows are
 * read twice: the wide ones, which are kept; then all of them, each held
 * against its policy and the wide ones, and forgotten. The database is asked,
 * which has also what corscache-syncd leaves out; without one, the table.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "db.h"
#include "finding.h"
#include "rows.h"
#include "suffix.h"
#include "wide.h"

#define LIMIT_TEXT	10	/* told of each finding */
#define MISSING_MAX	10000	/* rows that the table does not have: looked at twice */
#define SETTLE_MS	500	/* beyond sync.poll_ms */
#define MAX_AGE_CAP	7200	/* seconds; Chromium's */

#define SELECT_ROWS	"SELECT " DB_ROW " FROM cors.origins "
#define WIDE		"WHERE pg_catalog.strpos(origin, '*')" SQL_IS(">") "0"
#define IN_ORDER	"ORDER BY realm" SQL_BYTES ", origin" SQL_BYTES

/* A row that the table did not have. */
struct missing {
	char		 realm[REALM_MAX + 1];
	char		 origin[RULE_MAX + 1];
};

struct lint {
	const struct call	*call;
	struct report		 report;
	struct db		*db;		/* NULL: the table is all there is */
	struct reader		*r;		/* NULL: there is no table */
	bool			 looks_for_missing;
	bool			 failed;	/* no memory */
	int64_t			 now_s;
	struct policies		 policies;	/* uses: rows; is_marked: one needs insecure */
	struct known		*harmless;
	struct wide		*wide;
	uint64_t		 rows, npolicies;
	struct missing		*missing;
	size_t			 nmissing;
};

static bool
has_expired(const struct lint *l, const struct row *row)
{
	return row->expires_at != ROW_NEVER && row->expires_at <= l->now_s;
}

static bool
is_over_public_suffix(const struct rule *rule)
{
	return (rule->form == RULE_SUFFIX || rule->form == RULE_SUFFIX_ANY_PORT) && suffix_is_public(rule->origin.host);
}

static bool
is_http(const struct rule *rule)
{
	return rule->form != RULE_ANY && origin_is_insecure(&rule->origin);
}

/* Credentials go through it to whoever likes; only insecure policies let them. */
static bool
is_open(const struct rule *rule)
{
	return rule->form == RULE_SCHEME || is_http(rule);
}

/* Lower-case hexadecimal digits in groups of 8, 4, 4, 4 and 12. */
static bool
is_uuid(struct span s)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	size_t i;

	if (s.len != sizeof form - 1)
		return false;
	for (i = 0; i < s.len; i++)
		if (form[i] == 'x' ? strchr("0123456789abcdef", s.at[i]) == NULL : s.at[i] != form[i])
			return false;
	return true;
}

/* 32 letters from a to p. */
static bool
is_chrome_id(struct span s)
{
	size_t i;

	for (i = 0; i < s.len; i++)
		if (s.at[i] < 'a' || s.at[i] > 'p')
			return false;
	return s.len == 32;
}

/* NULL: for all that is known some browser has such an origin. */
static const char *
why_never_sent(const struct rule *rule)
{
	static const char *const opaque[] = { "about", "blob", "data", "javascript" };
	const struct origin *o = &rule->origin;
	bool is_host = rule->form == RULE_EXACT || rule->form == RULE_HOST_ANY_PORT;
	size_t i;

	if (rule->form == RULE_ANY)
		return NULL;
	if (span_is(o->scheme, "ws") || span_is(o->scheme, "wss"))
		return "a WebSocket is opened with the origin of its page, http or https";
	if (span_is(o->scheme, "ftp"))
		return "they open no ftp pages any more";
	for (i = 0; i < sizeof opaque / sizeof opaque[0]; i++)
		if (span_is(o->scheme, opaque[i]))
			return "such pages have the origin of their maker, or null";
	if (rule->form == RULE_SCHEME)
		return NULL;
	if (span_is(o->scheme, "chrome-extension") && (!is_host || o->port != 0 || !is_chrome_id(o->host)))
		return "an extension of Chromium has 32 letters from a to p, and no port";
	if (span_is(o->scheme, "moz-extension") && (!is_host || o->port != 0 || !is_uuid(o->host)))
		return "an extension of Firefox has a UUID in lower case, and no port";
	return NULL;
}

/* NULL: the C code takes the row. */
static const char *
why_refused(const struct row *row, struct rule *rule)
{
	enum origin_status status;

	if (!realm_is_valid(row->realm.at, row->realm.len))
		return "its realm is too long or has control characters";
	status = rule_parse(rule, row->origin.at, row->origin.len);
	return status != ORIGIN_OK ? origin_strstatus(status) : NULL;
}

/* ---- the wide rows ---- */

static void
keep_wide(struct lint *l, const struct row *row)
{
	const struct known *k = policies_find(&l->policies, row->policy);
	struct rule rule;
	bool is_public;

	if (row->held || has_expired(l, row) || why_refused(row, &rule) != NULL || rule.form == RULE_EXACT || k == NULL ||
	    k->status != POLICY_OK)
		return;
	is_public = is_over_public_suffix(&rule);
	if (row->allow && row_is_unsafe(rule.form, &rule.origin, is_public, &k->policy))
		return;
	if (wide_add(l->wide, row, &rule, k, row->allow && (is_public || (is_open(&rule) && k->policy.credentials))) != 0)
		l->failed = true;
}

/* ---- a row by itself ---- */

/* Which of four; the row answers nothing. */
static enum finding
unsafe_finding(const struct rule *rule, bool is_public)
{
	return rule->form == RULE_ANY ? FINDING_ANY_CREDENTIALS :
	    rule->form == RULE_SCHEME ? FINDING_SCHEME_CREDENTIALS :
	    is_public ? FINDING_SUFFIX_CREDENTIALS : FINDING_HTTP_CREDENTIALS;
}

/* false: it answers nothing, so there is no more to say. */
static bool
judge_alone(struct lint *l, const struct row *row, const struct rule *rule, struct known *k)
{
	bool is_public = is_over_public_suffix(rule), is_armed;
	const char *why = why_never_sent(rule);

	if (has_expired(l, row) || why != NULL) {
		report_row(&l->report, why != NULL ? FINDING_NEVER_SENT : FINDING_EXPIRED, row, why);
		return false;
	}
	if (!row->allow)
		return true;
	if (row_is_unsafe(rule->form, &rule->origin, is_public, &k->policy)) {
		report_row(&l->report, unsafe_finding(rule, is_public), row, NULL);
		return false;
	}
	is_armed = k->policy.credentials && (is_public || is_open(rule));
	k->is_marked |= is_armed;
	if (is_armed && l->harmless != NULL)
		l->harmless->uses++;		/* by the SQL that mends it */
	if (is_armed)
		report_row(&l->report, rule->form == RULE_SCHEME ? FINDING_SCHEME_INSECURE :
		    is_public ? FINDING_SUFFIX_INSECURE : FINDING_HTTP_INSECURE, row, NULL);
	else if (is_public)
		report_row(&l->report, FINDING_PUBLIC_SUFFIX, row, NULL);
	return true;
}

/* ---- a row beside the wider ones ---- */

static bool
outlives(const struct wide_row *next, const struct row *row)
{
	return next->expires_at == ROW_NEVER || (row->expires_at != ROW_NEVER && next->expires_at >= row->expires_at);
}

static void
judge_beside(struct lint *l, const struct row *row, const struct rule *rule, const struct known *k)
{
	char by[RULE_MAX + 1];
	bool is_mixed;
	struct wide_row *next = wide_next(l->wide, row, rule, &is_mixed);

	if (is_mixed)
		return;
	if (next == NULL) {
		if (!row->allow)
			report_row(&l->report, FINDING_REFUSES_NOTHING, row, NULL);
		return;
	}
	if (next->is_dangerous || next->allow != row->allow || (row->allow && next->policy != k) || !outlives(next, row))
		return;
	if (row->allow && span_is(next->origin, "*") && wide_is_only_any(l->wide, row->realm)) {
		next->shadowed++;		/* told once, of the * */
		return;
	}
	snprintf(by, sizeof by, "%.*s", (int)next->origin.len, next->origin.at);
	report_row(&l->report, FINDING_SHADOWED, row, by);
}

static void
tell_shadows(struct wide_row *next, void *arg)
{
	struct lint *l = arg;
	struct row row = { .realm = next->realm, .origin = next->origin, .policy = next->policy->name,
		.expires_at = next->expires_at, .allow = next->allow };
	char detail[COUNTED_MAX];

	if (next->shadowed > 0)
		report_row(&l->report, FINDING_ANY_SHADOWS, &row, human_counted(detail, next->shadowed, "row"));
}

/* ---- rows ---- */

static void
look_for(struct lint *l, const struct row *row, const struct rule *rule)
{
	char buf[REALM_MAX + RULE_MAX + POLICY_MAX_NAME + 3];
	struct missing *m;
	struct row in_table;

	if (l->nmissing == MISSING_MAX || reader_get(l->r, row->realm, rule, buf, &in_table) != -ENOENT)
		return;
	m = &l->missing[l->nmissing++];
	snprintf(m->realm, sizeof m->realm, "%.*s", (int)row->realm.len, row->realm.at);
	snprintf(m->origin, sizeof m->origin, "%.*s", (int)row->origin.len, row->origin.at);
}

static void
judge(struct lint *l, const struct row *row)
{
	struct known *k = policies_find(&l->policies, row->policy);
	struct rule rule;
	const char *why = why_refused(row, &rule);

	if ((row->held || row->revoked) && row->policy.len == 0)
		return;		/* cachectl invalidated or revoked an origin without a row */
	l->rows++;
	if (k != NULL)
		k->uses++;
	if (why != NULL) {
		report_row(&l->report, FINDING_ROW_REFUSED, row, why);
		return;
	}
	if (row->held)
		return;		/* only the table has these: nobody knows what the database says */
	if (k == NULL) {
		report_row(&l->report, FINDING_POLICY_MISSING, row, NULL);
		return;
	}
	if (k->status != POLICY_OK)
		return;		/* told once, of the policy */
	if (l->looks_for_missing)
		look_for(l, row, &rule);
	if (judge_alone(l, row, &rule, k))
		judge_beside(l, row, &rule, k);
}

/* ---- policies ---- */

static void
judge_policy(struct known *k, void *arg)
{
	struct lint *l = arg;
	const struct policy *p = &k->policy;
	char detail[COUNTED_MAX];

	l->npolicies++;
	if (k->status != POLICY_OK) {
		report_policy(&l->report, FINDING_POLICY_REFUSED, k, policy_strstatus(k->status));
		return;
	}
	if (p->credentials && (p->any_method || p->any_header))
		report_policy(&l->report, FINDING_ANY_NAMES, k, !p->any_header ? "methods" : !p->any_method ? "headers" :
		    "methods and headers");
	if (p->insecure && !k->is_marked)
		report_policy(&l->report, FINDING_INSECURE_UNNEEDED, k, NULL);
	if (p->max_age > MAX_AGE_CAP)
		report_policy(&l->report, FINDING_MAX_AGE, k, human_counted(detail, (uint64_t)p->max_age, "second"));
	if (k->uses == 0 && !span_is(k->name, "default"))
		report_policy(&l->report, FINDING_POLICY_UNUSED, k, NULL);
}

/* The first one without credentials; best is the default. */
static void
choose_harmless(struct known *k, void *arg)
{
	struct lint *l = arg;

	if (k->status == POLICY_OK && !k->policy.credentials && (l->harmless == NULL || span_is(k->name, "default"))) {
		l->harmless = k;
		l->report.harmless = k->name;
	}
}

/* ---- the database ---- */

static void
keep_wide_columns(const struct span *columns, void *arg)
{
	struct row row = db_row(columns);

	keep_wide(arg, &row);
}

static void
judge_columns(const struct span *columns, void *arg)
{
	struct row row = db_row(columns);

	judge(arg, &row);
}

static void
take_problem(const struct span *columns, void *arg)
{
	struct lint *l = arg;

	if (columns[0].at != NULL)
		report_database(&l->report, FINDING_LOG_UNTRUSTED, columns[0].at);
}

static int
db_failed(const struct lint *l)
{
	complain("database: %s", db_strerror(l->db));
	return EXIT_FAILED;
}

static int
lint_database(struct lint *l)
{
	if (db_each(l->db, "SELECT cors.problem()", NULL, take_problem, l) != 0 || db_policies(l->db, &l->policies) != 0)
		return db_failed(l);
	policies_each(&l->policies, choose_harmless, l);
	if (db_each(l->db, SELECT_ROWS WIDE, NULL, keep_wide_columns, l) != 0 ||
	    db_each(l->db, SELECT_ROWS IN_ORDER, NULL, judge_columns, l) != 0)
		return db_failed(l);
	return EXIT_YES;
}

struct second_look {
	struct lint	*l;
	struct rule	 rule;
};

static void
look_again(const struct span *columns, void *arg)
{
	struct second_look *s = arg;
	char buf[REALM_MAX + RULE_MAX + POLICY_MAX_NAME + 3];
	struct row row = db_row(columns), in_table;

	if (reader_get(s->l->r, row.realm, &s->rule, buf, &in_table) == -ENOENT)
		report_row(&s->l->report, FINDING_NOT_IN_TABLE, &row, NULL);
}

static int64_t
fresh_at(struct reader *r)
{
	struct status status;

	reader_status(r, &status);
	return status.fresh_at;
}

/* What corscache-syncd had time to find counts no more, nor does what is gone meanwhile, nor anything where it hangs. */
static int
look_at_missing_again(struct lint *l)
{
	int ms = l->call->config->sync_poll_ms + SETTLE_MS;
	const struct timespec wait = { ms / 1000, ms % 1000 * 1000000L };
	struct second_look s = { .l = l };
	int64_t before;
	size_t i;

	if (l->nmissing == 0)
		return EXIT_YES;
	before = fresh_at(l->r);
	nanosleep(&wait, NULL);
	if (db_refresh(l->db) != 0)
		return db_failed(l);
	if (reader_refresh(l->r) != 0)
		return EXIT_YES;
	if (fresh_at(l->r) == before) {
		remark("the table lacks rows, but corscache-syncd did not look for any meanwhile: see cachectl status");
		return EXIT_YES;
	}
	for (i = 0; i < l->nmissing; i++) {
		const char *const key[] = { l->missing[i].realm, l->missing[i].origin, NULL };

		if (rule_parse(&s.rule, l->missing[i].origin, strlen(l->missing[i].origin)) == ORIGIN_OK &&
		    db_each(l->db, SELECT_ROWS "WHERE realm" SQL_EQ "$1 AND origin" SQL_EQ "$2", key, look_again, &s) != 0)
			return db_failed(l);
	}
	return EXIT_YES;
}

/* ---- the table ---- */

static int
keep_policy(const struct policy *p, void *arg)
{
	struct lint *l = arg;
	struct known *k = policies_put(&l->policies, p->name);

	return k == NULL || known_copy(k, p) != 0 ? -ENOMEM : 0;
}

static int
keep_wide_row(const struct row *row, void *arg)
{
	keep_wide(arg, row);
	return 0;
}

static int
judge_row(const struct row *row, void *arg)
{
	judge(arg, row);
	return ferror(stdout) ? 1 : 0;
}

static int
lint_table(struct lint *l)
{
	int error = reader_each_policy(l->r, keep_policy, l);

	policies_each(&l->policies, choose_harmless, l);
	if (error == 0)
		error = reader_each(l->r, NULL, keep_wide_row, l);
	if (error == 0)
		error = reader_each(l->r, NULL, judge_row, l);
	if (error < 0)
		complain("the table could not be read: %s", strerror(-error));
	return error < 0 ? EXIT_FAILED : EXIT_YES;
}

/* ---- which of them ---- */

/* A daemon that follows the database should have given the table all rows. */
static bool
is_followed(struct reader *r)
{
	struct table_info info;
	struct status status;

	reader_info(r, &info);
	reader_status(r, &status);
	return info.ready && info.writer_alive && status.connected && strncmp(info.source, "postgres", 8) == 0;
}

static bool
is_from_file(struct reader *r)
{
	struct table_info info;

	reader_info(r, &info);
	return !info.writer_alive && strncmp(info.source, "file ", 5) == 0;
}

static int
open_sources(struct lint *l, bool *is_whole)
{
	char err[512];
	int status = EXIT_YES;

	*is_whole = true;
	if (rows_try(l->call, &l->r) && is_from_file(l->r))
		return EXIT_YES;
	l->report.has_database = true;
	if (db_open(&l->db, l->call->config, err, sizeof err) == 0) {
		l->looks_for_missing = l->r != NULL && is_followed(l->r);
		if (!l->looks_for_missing)
			remark("%s: whether the table has all rows was not looked at", l->r == NULL ?
			    "no table can be read, as cachectl status explains" : "no corscache-syncd follows the database");
		return EXIT_YES;
	}
	*is_whole = false;
	complain("THE DATABASE WAS NOT READ: %s", err);
	if (l->r == NULL)
		status = rows_open(l->call, &l->r);
	if (status == EXIT_YES)
		complain("only the table was: rows and policies that corscache-syncd leaves out are not in it");
	return status;
}

static const char *
source_name(const struct lint *l)
{
	return l->db != NULL ? "database" : "table";
}

static void
sum_up(const struct lint *l, bool is_whole)
{
	uint64_t errors = report_count(&l->report, SEVERITY_ERROR), warnings = report_count(&l->report, SEVERITY_WARNING),
	    notes = report_count(&l->report, SEVERITY_NOTE);
	char a[COUNTED_MAX], b[COUNTED_MAX], c[COUNTED_MAX], rows[COUNTED_MAX];
	struct object *o;

	report_rest(&l->report);
	if (!l->call->json) {
		remark("%s, %s, %s in %s of the %s", human_counted(a, errors, "error"), human_counted(b, warnings, "warning"),
		    human_counted(c, notes, "note"), human_counted(rows, l->rows, "row"), source_name(l));
		return;
	}
	o = object_new();
	object_text(o, "summary", source_name(l));
	object_bool(o, "whole", is_whole);
	object_number(o, "rows", (int64_t)l->rows);
	object_number(o, "policies", (int64_t)l->npolicies);
	object_number(o, "errors", (int64_t)errors);
	object_number(o, "warnings", (int64_t)warnings);
	object_number(o, "notes", (int64_t)notes);
	object_print(o);
}

static int
lint(struct lint *l)
{
	bool is_whole;
	int status = open_sources(l, &is_whole);

	if (status == EXIT_YES)
		status = l->db != NULL ? lint_database(l) : lint_table(l);
	if (status == EXIT_YES && l->failed) {
		complain("out of memory");
		status = EXIT_FAILED;
	}
	if (status != EXIT_YES)
		return status;
	wide_each(l->wide, tell_shadows, l);
	policies_each(&l->policies, judge_policy, l);
	if (l->db != NULL && (status = look_at_missing_again(l)) != EXIT_YES)
		return status;
	sum_up(l, is_whole);
	if (report_count(&l->report, SEVERITY_ERROR) + report_count(&l->report, SEVERITY_WARNING) +
	    report_count(&l->report, SEVERITY_NOTE) > 0)
		return EXIT_NO;
	return is_whole ? EXIT_YES : EXIT_FAILED;
}

static int
read_flags(const struct call *call, struct report *r)
{
	const char *severity = flag_value(call, "severity"), *limit = flag_value(call, "limit");
	char *end = "";

	*r = (struct report){ .json = call->json, .only_sql = flag_is_given(call, "sql"), .least = SEVERITY_NOTE };
	if (severity != NULL)
		for (r->least = 0; r->least < SEVERITY_COUNT && strcmp(severity, severity_name(r->least)) != 0;)
			r->least++;
	if (r->least == SEVERITY_COUNT) {
		complain("--severity is error, warning or note");
		return EXIT_MISUSED;
	}
	if (call->json && r->only_sql) {
		complain("--sql is no JSON; with --json each finding has its sql");
		return EXIT_MISUSED;
	}
	r->limit = call->json || r->only_sql || output_is_plain() ? 0 : LIMIT_TEXT;
	if (limit != NULL)
		r->limit = strtoull(limit, &end, 10);
	if (limit != NULL && (limit[0] < '0' || limit[0] > '9' || *end != '\0')) {
		complain("--limit is a number; 0 tells all");
		return EXIT_MISUSED;
	}
	return EXIT_YES;
}

int
cmd_lint(const struct call *call)
{
	struct lint l = { .call = call, .now_s = (int64_t)time(NULL), .wide = wide_new(),
		.missing = calloc(MISSING_MAX, sizeof *l.missing) };
	int status = read_flags(call, &l.report);

	if (status == EXIT_YES && (l.wide == NULL || l.missing == NULL || suffix_open() != 0)) {
		complain("out of memory, or the list of public suffixes cannot be loaded");
		status = EXIT_FAILED;
	}
	if (status == EXIT_YES)
		status = lint(&l);
	suffix_close();
	free(l.missing);
	wide_free(&l.wide);
	policies_fini(&l.policies);
	db_close(&l.db);
	reader_close(&l.r);
	return status;
}

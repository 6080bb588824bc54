/* SPDX-License-Identifier: BSD-2-Clause */
#include "finding.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "sql.h"

static const struct description {
	const char	*token;
	enum severity	 severity;
	const char	*sentence;
} descriptions[FINDING_COUNT] = {
#define FINDING(NAME, token, severity, sentence)	{ token, SEVERITY_##severity, sentence },
#include "lint.def"
#undef FINDING
};

const char *
severity_name(enum severity severity)
{
	static const char *const names[SEVERITY_COUNT] = { "error", "warning", "note" };

	return names[severity];
}

/* ---- SQL; each mends its finding and nothing else ---- */

static void
print_key(FILE *out, const struct row *row)
{
	fputs(" WHERE realm = ", out);
	sql_literal(out, row->realm);
	fputs(" AND origin = ", out);
	sql_literal(out, row->origin);
}

static void
print_delete(FILE *out, const struct row *row, const char *and)
{
	fputs("DELETE FROM cors.origins", out);
	print_key(out, row);
	fprintf(out, "%s;", and);
}

/* No credentials any more; where no policy is without them, no row. */
static void
print_disarm(FILE *out, const struct report *r, const struct row *row)
{
	if (r->harmless.len == 0) {
		print_delete(out, row, "");
		return;
	}
	fputs("UPDATE cors.origins SET policy = ", out);
	sql_literal(out, r->harmless);
	print_key(out, row);
	fputc(';', out);
}

/* All rows of the realm that * makes superfluous: row is the *. */
static void
print_delete_narrower(FILE *out, const struct row *row)
{
	fputs("DELETE FROM cors.origins WHERE realm = ", out);
	sql_literal(out, row->realm);
	fputs(" AND origin <> '*' AND allow AND policy = ", out);
	sql_literal(out, row->policy);
	if (row->expires_at != ROW_NEVER)
		fprintf(out, " AND expires_at <= to_timestamp(%" PRId64 ")", row->expires_at);
	fputc(';', out);
}

/* What the trigger would have logged; the schema's owner may. */
static void
print_log(FILE *out, const struct row *row)
{
	fputs("INSERT INTO cors.changes (kind, realm, origin, wake) VALUES ('o', ", out);
	sql_literal(out, row->realm);
	fputs(", ", out);
	sql_literal(out, row->origin);
	fputs(", true);", out);
}

static void
print_row_sql(FILE *out, const struct report *r, enum finding f, const struct row *row)
{
	if (f == FINDING_NOT_IN_TABLE)
		print_log(out, row);
	else if (f == FINDING_ANY_SHADOWS)
		print_delete_narrower(out, row);
	else if (f == FINDING_HTTP_INSECURE || f == FINDING_SUFFIX_INSECURE || f == FINDING_SCHEME_INSECURE)
		print_disarm(out, r, row);
	else
		print_delete(out, row, f == FINDING_EXPIRED ? " AND expires_at <= now()" : "");
}

/* The elements that the schema would take, as many as fit in any case. */
static void
print_valid(FILE *out, const char *list)
{
	fprintf(out, "%s = ARRAY(SELECT name FROM unnest(%s) AS name WHERE cors.check_name('%s', name) IS NULL LIMIT 16)",
	    list, list, list);
}

static void
print_refused_sql(FILE *out, enum policy_status status)
{
	switch (status) {
	case POLICY_BAD_NAME:
		fputs("name = 'policy-' || left(md5(name), 8)", out);
		break;
	case POLICY_BAD_METHOD:
	case POLICY_FORBIDDEN_METHOD:
		print_valid(out, "methods");
		break;
	case POLICY_BAD_HEADER:
	case POLICY_FORBIDDEN_HEADER:
		print_valid(out, "headers");
		break;
	case POLICY_BAD_EXPOSE:
	case POLICY_FORBIDDEN_EXPOSE:
		print_valid(out, "expose_headers");
		break;
	case POLICY_EXPOSE_ANY_WITH_CREDENTIALS:
		fputs("expose_headers = array_remove(expose_headers, '*')", out);
		break;
	case POLICY_BAD_MAX_AGE:
		fputs("max_age = greatest(0, least(max_age, 86400))", out);
		break;
	default:
		print_valid(out, "methods");
		fputs(", ", out);
		print_valid(out, "headers");
		fputs(", ", out);
		print_valid(out, "expose_headers");
		break;
	}
}

static void
print_spelled_out(FILE *out, const struct policy *p)
{
	if (p->any_method)
		fputs("methods = '{GET,HEAD,POST,PUT,PATCH,DELETE}'", out);
	if (p->any_header)
		fprintf(out, "%sheaders = array_remove(headers, '*') || '{Content-Type}'", p->any_method ? ", " : "");
}

static void
print_policy_sql(FILE *out, enum finding f, const struct known *k)
{
	fputs(f == FINDING_POLICY_UNUSED ? "DELETE FROM cors.policies" : "UPDATE cors.policies SET ", out);
	if (f == FINDING_POLICY_REFUSED)
		print_refused_sql(out, k->status);
	else if (f == FINDING_ANY_NAMES)
		print_spelled_out(out, &k->policy);
	else if (f == FINDING_INSECURE_UNNEEDED)
		fputs("insecure = false", out);
	else if (f == FINDING_MAX_AGE)
		fputs("max_age = 7200", out);
	fputs(" WHERE name = ", out);
	sql_literal(out, k->name);
	fputc(';', out);
}

/* ---- telling ---- */

/* What a finding is about; the spans are empty where it is not. */
struct subject {
	const struct row	*row;
	const struct known	*policy;
};

static void
print_reason(const struct description *d, const char *detail)
{
	printf("%s", d->sentence);
	if (detail != NULL) {
		printf(": ");
		print_bytes(span_of(detail));
	}
}

static void
print_text(const struct description *d, const struct subject *s, const char *detail, const char *sql)
{
	static const enum colour colours[] = { COLOUR_BAD, COLOUR_WARN, COLOUR_DIM };

	print_cell(colours[d->severity], span_of(severity_name(d->severity)), 8);
	print_cell(COLOUR_NONE, span_of(d->token), 26);
	if (s->policy != NULL) {
		printf("policy ");
		print_bytes(s->policy->name);
	} else if (s->row != NULL) {
		print_bytes(s->row->origin);
		if (s->row->realm.len > 0) {
			printf(" realm=");
			print_bytes(s->row->realm);
		}
	}
	printf("\n         ");
	print_reason(d, detail);
	printf("\n");
	if (sql[0] != '\0')
		printf("         %s\n", sql);
}

static void
print_plain(const struct description *d, const struct subject *s, const char *detail, const char *sql)
{
	const struct span none = { "", 0 };

	print_cell(COLOUR_NONE, span_of(severity_name(d->severity)), 0);
	print_cell(COLOUR_NONE, span_of(d->token), 0);
	print_cell(COLOUR_NONE, s->row != NULL ? s->row->realm : none, 0);
	print_cell(COLOUR_NONE, s->row != NULL ? s->row->origin : none, 0);
	print_cell(COLOUR_NONE, s->policy != NULL ? s->policy->name : s->row != NULL ? s->row->policy : none, 0);
	print_reason(d, detail);
	printf("\t%s\n", sql);
}

static void
print_json(const struct description *d, const struct subject *s, const char *detail, const char *sql)
{
	struct object *o = object_new();

	object_text(o, "finding", d->token);
	object_text(o, "severity", severity_name(d->severity));
	if (s->row != NULL) {
		object_bytes(o, "realm", s->row->realm);
		object_bytes(o, "origin", s->row->origin);
	}
	if (s->row != NULL || s->policy != NULL)
		object_bytes(o, "policy", s->row != NULL ? s->row->policy : s->policy->name);
	object_text(o, "sentence", d->sentence);
	if (detail != NULL)
		object_text(o, "detail", detail);
	else
		object_null(o, "detail");
	if (sql[0] != '\0')
		object_text(o, "sql", sql);
	else
		object_null(o, "sql");
	object_print(o);
}

static void
tell(const struct report *r, enum finding f, const struct subject *s, const char *detail, const char *sql)
{
	const struct description *d = &descriptions[f];

	if (r->only_sql) {
		if (sql[0] != '\0')
			puts(sql);
	} else if (r->json) {
		print_json(d, s, detail, sql);
	} else if (output_is_plain()) {
		print_plain(d, s, detail, sql);
	} else {
		print_text(d, s, detail, sql);
	}
}

static void
report(struct report *r, enum finding f, const struct subject *s, const char *detail)
{
	char *sql = NULL;
	size_t len = 0;
	FILE *out;

	if (descriptions[f].severity > r->least || (r->found[f]++ >= r->limit && r->limit > 0))
		return;
	if ((out = open_memstream(&sql, &len)) == NULL) {
		complain("out of memory");
		exit(EXIT_FAILED);
	}
	if (r->has_database && s->row != NULL)
		print_row_sql(out, r, f, s->row);
	else if (r->has_database && s->policy != NULL)
		print_policy_sql(out, f, s->policy);
	fclose(out);
	tell(r, f, s, detail, sql);
	free(sql);
}

void
report_row(struct report *r, enum finding f, const struct row *row, const char *detail)
{
	const struct subject s = { row, NULL };

	report(r, f, &s, detail);
}

void
report_policy(struct report *r, enum finding f, const struct known *k, const char *detail)
{
	const struct subject s = { NULL, k };

	report(r, f, &s, detail);
}

void
report_database(struct report *r, enum finding f, const char *detail)
{
	const struct subject s = { NULL, NULL };

	report(r, f, &s, detail);
}

uint64_t
report_count(const struct report *r, enum severity severity)
{
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < FINDING_COUNT; i++)
		if (descriptions[i].severity == severity)
			n += r->found[i];
	return n;
}

void
report_rest(const struct report *r)
{
	char n[HUMAN_MAX];
	size_t i;

	if (r->limit == 0 || r->only_sql || r->json)
		return;
	for (i = 0; i < FINDING_COUNT; i++)
		if (r->found[i] > r->limit)
			remark("... and %s more of %s; --limit 0 tells all", human_count(n, r->found[i] - r->limit),
			    descriptions[i].token);
}

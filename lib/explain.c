/* SPDX-License-Identifier: BSD-2-Clause */
#include "explain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql.h"

void
explain_request(struct explanation *e, struct span realm, struct span origin, bool is_preflight, struct span method,
    struct span headers)
{
	struct request *q = &e->request;

	if (method.len == 0)
		method = span_of("GET");
	*q = (struct request){ .realm = realm, .nrealm = realm.len > 0, .origin = origin, .norigin = origin.len > 0,
		.method = is_preflight ? span_of("OPTIONS") : method, .nmethod = 1 };
	if (!is_preflight)
		return;
	q->acrm = method;
	q->nacrm = 1;
	q->acrh[0] = headers;
	q->nacrh = headers.len > 0;
}

/* ---- rows that nearly match ---- */

static bool
is_www_of(struct span longer, struct span shorter)
{
	return longer.len == shorter.len + 4 && memcmp(longer.at, "www.", 4) == 0 &&
	    memcmp(longer.at + 4, shorter.at, shorter.len) == 0;
}

struct search {
	struct explanation	*e;
	uint64_t		 rows;		/* seen so far */
	uint64_t		 most;
	int64_t			 now_s;
};

/* NULL: nothing that a person would take for the same. */
static const char *
why_near(const struct search *s, const struct row *row, const struct rule *rule)
{
	const struct origin *o = &s->e->origin, *r = &rule->origin;
	bool is_suffix = rule->form == RULE_SUFFIX || rule->form == RULE_SUFFIX_ANY_PORT;
	bool same_realm = spans_equal(row->realm, s->e->request.realm);

	if (rule->form == RULE_ANY)
		return NULL;
	if (rule_matches(rule, o)) {
		if (!same_realm)
			return "it is a row of another realm";
		return row->expires_at != ROW_NEVER && row->expires_at <= s->now_s ? "it has expired" : NULL;
	}
	if (!same_realm)
		return NULL;
	if (is_suffix && spans_equal(r->host, o->host))
		return "a *. pattern covers the hosts below its own, not that host";
	if (spans_equal(r->host, o->host))
		return spans_equal(r->scheme, o->scheme) ? "the port differs" : "the scheme differs";
	if (!is_suffix && (is_www_of(r->host, o->host) || is_www_of(o->host, r->host)))
		return "the hosts differ by www.";
	return NULL;
}

static void
copy_text(char *to, struct span from)
{
	memcpy(to, from.at, from.len);
	to[from.len] = '\0';
}

static int
collect_near(const struct row *row, void *arg)
{
	struct search *s = arg;
	const char *why;
	struct rule rule;
	struct near *n;

	if (s->most > 0 && s->rows++ == s->most) {
		s->e->near_is_cut = true;
		return 1;
	}
	if (rule_parse(&rule, row->origin.at, row->origin.len) != ORIGIN_OK ||
	    (why = why_near(s, row, &rule)) == NULL)
		return 0;
	n = &s->e->near[s->e->nnear++];
	copy_text(n->row, row->origin);
	copy_text(n->realm, row->realm);
	n->why = why;
	return s->e->nnear == EXPLAIN_NEAR_MAX;
}

static bool
nothing_matched(enum reason reason)
{
	return reason == REASON_ORIGIN_UNKNOWN || reason == REASON_REALM_UNKNOWN || reason == REASON_ROW_EXPIRED;
}

void
explain(struct reader *r, const struct explain_options *options, struct explanation *e)
{
	struct search s = { .e = e, .most = options->near_rows, .now_s = options->answer.now_s };

	e->nnear = 0;
	e->near_is_cut = false;
	e->status = request_origin(&e->request, &e->origin);
	answer(r, &e->request, &options->answer, true, &e->answer, e->headers, sizeof e->headers);
	if (nothing_matched(e->answer.decision.reason) && e->status == ORIGIN_OK)
		reader_each(r, NULL, collect_near, &s);
}

/* ---- what would allow it ---- */

/* UPDATE cors.policies SET list = list || 'x' WHERE name = 'policy' */
static void
print_append(FILE *out, const struct explanation *e, const char *list, struct span element)
{
	fprintf(out, "UPDATE cors.policies SET %s = %s || ", list, list);
	sql_literal(out, element);
	fputs("::text WHERE name = ", out);
	sql_literal(out, span_of(e->answer.policy));
}

static void
print_next(FILE *out, const struct explanation *e)
{
	switch (e->answer.decision.reason) {
	case REASON_ORIGIN_UNKNOWN:
	case REASON_REALM_UNKNOWN:
	case REASON_ROW_EXPIRED:
	case REASON_ROW_REFUSES:
		fputs("SELECT cors.allow(", out);
		sql_literal(out, e->request.origin);
		fputs(", ", out);
		sql_literal(out, e->request.realm);
		fputs(")", out);
		break;
	case REASON_METHOD_NOT_ALLOWED:
		print_append(out, e, "methods", e->request.acrm);
		break;
	case REASON_HEADER_NOT_ALLOWED:
		print_append(out, e, "headers", e->answer.decision.culprit);
		break;
	case REASON_ROW_UNSAFE:
		fputs("give the row a policy without credentials, or, for http and public suffixes, one with insecure = true", out);
		break;
	case REASON_INVALIDATED:
		fputs("the database confirms it when corscache-syncd reaches it: see cachectl status, or cachectl resync", out);
		break;
	case REASON_NOT_READY:
	case REASON_STALE:
	case REASON_TABLE_ERROR:
		fputs("see cachectl status", out);
		break;
	case REASON_ORIGIN_MALFORMED:
		fprintf(out, "browsers never send this: %s", origin_strstatus(e->status));
		break;
	default:
		break;
	}
}

char *
explain_next(const struct explanation *e)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (out == NULL)
		return NULL;
	print_next(out, e);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

/* ---- the answer ---- */

void
explain_each_header(const struct explanation *e, void (*each)(struct span line, void *arg), void *arg)
{
	const char *at = e->headers, *end = e->headers + e->answer.len, *stop;

	for (; at < end && (stop = memchr(at, '\r', (size_t)(end - at))) != NULL; at = stop + 2)
		each((struct span){ at, (size_t)(stop - at) }, arg);
}

const char *
explain_class(const struct explanation *e)
{
	switch (e->answer.decision.class) {
	case REQUEST_PREFLIGHT:	return "preflight";
	case REQUEST_ACTUAL:	return "actual request";
	default:		return "no CORS request";
	}
}

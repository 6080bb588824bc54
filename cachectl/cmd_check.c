/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One question, put to the code that answers requests (answer.h), and its
 * answer explained: the reason, the row, the headers, and for a refusal the
 * rows that nearly match and what would allow it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "answer.h"
#include "rows.h"

#define NEAR_MAX	5

struct near {
	char		 row[RULE_MAX + 1];
	char		 realm[REALM_MAX + 1];
	const char	*why;
};

struct check {
	struct request	 request;
	struct answer	 answer;
	char		 headers[ANSWER_MAX];
	char		 asked[2 * ACRH_MAX];	/* Access-Control-Request-Headers, also one too long */
	struct origin	 origin;		/* valid if is_origin */
	enum origin_status status;
	size_t		 nnear;
	struct near	 near[NEAR_MAX];
};

/* The names as a browser sends them: one line. Too long is for decide() to say. */
static void
join_headers(const struct call *call, struct check *c)
{
	size_t i, len, at = 0;

	for (i = 0; i < call->ngiven; i++) {
		if (strcmp(call->given[i].flag->name, "header") != 0)
			continue;
		len = strlen(call->given[i].value);
		if (at + 1 + len >= sizeof c->asked)
			len = sizeof c->asked - 1 - at - 1;
		if (at > 0)
			c->asked[at++] = ',';
		memcpy(c->asked + at, call->given[i].value, len);
		at += len;
	}
	c->asked[at] = '\0';
}

static int
make_request(const struct call *call, struct check *c)
{
	const char *method = flag_value(call, "method");
	bool has_headers = flag_is_given(call, "header"), is_actual = flag_is_given(call, "actual");
	bool is_preflight = flag_is_given(call, "preflight") || (!is_actual && (method != NULL || has_headers));

	if (is_actual && (flag_is_given(call, "preflight") || has_headers)) {
		complain("--actual goes with neither --preflight nor --header: only preflights ask for headers");
		return EXIT_MISUSED;
	}
	if (method == NULL)
		method = "GET";
	join_headers(call, c);
	c->request = (struct request){ .origin = span_of(call->operands[0]), .norigin = 1, .nmethod = 1,
		.method = span_of(is_preflight ? "OPTIONS" : method) };
	if (is_preflight) {
		c->request.acrm = span_of(method);
		c->request.nacrm = 1;
		c->request.acrh[0] = span_of(c->asked);
		c->request.nacrh = has_headers;
	}
	c->status = request_origin(&c->request, &c->origin);
	return rows_realm(flag_value(call, "realm"), &c->request.realm);
}

/* ---- rows that nearly match ---- */

static bool
is_www_of(struct span longer, struct span shorter)
{
	return longer.len == shorter.len + 4 && memcmp(longer.at, "www.", 4) == 0 &&
	    memcmp(longer.at + 4, shorter.at, shorter.len) == 0;
}

/* NULL: nothing that a person would take for the same. */
static const char *
why_near(const struct check *c, const struct row *row, const struct rule *rule)
{
	const struct origin *o = &c->origin, *r = &rule->origin;
	bool is_suffix = rule->form == RULE_SUFFIX || rule->form == RULE_SUFFIX_ANY_PORT;

	if (rule->form == RULE_ANY)
		return NULL;
	if (rule_matches(rule, o)) {
		if (!spans_equal(row->realm, c->request.realm))
			return "it is a row of another realm";
		return row_is_expired(row) ? "it has expired" : NULL;
	}
	if (!spans_equal(row->realm, c->request.realm))
		return NULL;
	if (is_suffix && spans_equal(r->host, o->host))
		return "a *. pattern covers the hosts below its own, not that host";
	if (spans_equal(r->host, o->host))
		return spans_equal(r->scheme, o->scheme) ? "the port differs" : "the scheme differs";
	if (!is_suffix && (is_www_of(r->host, o->host) || is_www_of(o->host, r->host)))
		return "the hosts differ by www.";
	return NULL;
}

static int
collect_near(const struct row *row, void *arg)
{
	struct check *c = arg;
	const char *why;
	struct rule rule;
	struct near *n;

	if (rule_parse(&rule, row->origin.at, row->origin.len) != ORIGIN_OK ||
	    (why = why_near(c, row, &rule)) == NULL)
		return 0;
	n = &c->near[c->nnear++];
	memcpy(n->row, row->origin.at, row->origin.len);
	memcpy(n->realm, row->realm.at, row->realm.len);
	n->why = why;
	return c->nnear == NEAR_MAX;
}

static bool
nothing_matched(enum reason reason)
{
	return reason == REASON_ORIGIN_UNKNOWN || reason == REASON_REALM_UNKNOWN || reason == REASON_ROW_EXPIRED;
}

/* ---- what would allow it ---- */

/* A literal of SQL. */
static void
print_literal(FILE *out, struct span s)
{
	size_t i;

	fputc('\'', out);
	for (i = 0; i < s.len; i++) {
		if (s.at[i] == '\'')
			fputc('\'', out);
		fputc(s.at[i], out);
	}
	fputc('\'', out);
}

/* UPDATE cors.policies SET list = list || 'x' WHERE name = 'policy' */
static void
print_append(FILE *out, const struct check *c, const char *list, struct span element)
{
	fprintf(out, "UPDATE cors.policies SET %s = %s || ", list, list);
	print_literal(out, element);
	fputs("::text WHERE name = ", out);
	print_literal(out, span_of(c->answer.policy));
}

static void
print_advice(FILE *out, const struct check *c)
{
	switch (c->answer.decision.reason) {
	case REASON_ORIGIN_UNKNOWN:
	case REASON_REALM_UNKNOWN:
	case REASON_ROW_EXPIRED:
	case REASON_ROW_REFUSES:
		fputs("SELECT cors.allow(", out);
		print_literal(out, c->request.origin);
		fputs(", ", out);
		print_literal(out, c->request.realm);
		fputs(")", out);
		break;
	case REASON_METHOD_NOT_ALLOWED:
		print_append(out, c, "methods", c->request.acrm);
		break;
	case REASON_HEADER_NOT_ALLOWED:
		print_append(out, c, "headers", c->answer.decision.culprit);
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
		fprintf(out, "browsers never send this: %s", origin_strstatus(c->status));
		break;
	default:
		break;
	}
}

/* Allocated; "" if there is none. */
static char *
advice(const struct check *c)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (out == NULL)
		return NULL;
	print_advice(out, c);
	return fclose(out) == 0 ? text : NULL;
}

/* ---- the answer, told ---- */

static const char *
class_name(enum request_class class)
{
	return class == REQUEST_PREFLIGHT ? "preflight" : class == REQUEST_ACTUAL ? "actual request" : "no CORS request";
}

/* The header lines one by one; each() gets them without CRLF. */
static void
each_header(const struct check *c, void (*each)(struct span line, void *arg), void *arg)
{
	const char *at = c->headers, *end = c->headers + c->answer.len, *stop;

	for (; at < end && (stop = memchr(at, '\r', (size_t)(end - at))) != NULL; at = stop + 2)
		each((struct span){ at, (size_t)(stop - at) }, arg);
}

static void
print_header(struct span line, void *arg)
{
	(void)arg;
	printf("  ");
	print_bytes(line);
	putchar('\n');
}

static void
append_header(struct span line, void *arg)
{
	object_append(arg, "headers", line);
}

static void
print_row(const struct check *c)
{
	const struct match *m = &c->answer.match;
	char when[HUMAN_MAX];

	if (c->answer.row[0] == '\0') {
		printf("row      none\n");
		return;
	}
	printf("row      ");
	print_bytes(span_of(c->answer.row));
	if (m->expires_at != ROW_NEVER)
		printf(" until %s", human_time(when, m->expires_at));
	putchar('\n');
	if (c->answer.policy[0] == '\0')
		return;
	printf("policy   ");
	print_bytes(span_of(c->answer.policy));
	putchar('\n');
}

static void
print_near(const struct check *c)
{
	size_t i;

	for (i = 0; i < c->nnear; i++) {
		printf("near     ");
		print_bytes(span_of(c->near[i].row));
		if (!spans_equal(span_of(c->near[i].realm), c->request.realm)) {
			printf(" in realm '");
			print_bytes(span_of(c->near[i].realm));
			putchar('\'');
		}
		printf(": %s\n", c->near[i].why);
	}
}

static void
print_text(const struct check *c, const char *next)
{
	const struct decision *d = &c->answer.decision;

	paint(d->allow ? COLOUR_GOOD : COLOUR_BAD, "%s", d->allow ? "allowed" : "refused");
	printf("  %s from ", class_name(d->class));
	print_bytes(c->request.origin);
	if (c->request.realm.len > 0) {
		printf(" in realm ");
		print_bytes(c->request.realm);
	}
	printf("\nreason   %s: %s\n", reason_token(d->reason), reason_sentence(d->reason));
	if (d->culprit.len > 0 && !d->allow) {
		printf("culprit  ");
		print_bytes(d->culprit);
		putchar('\n');
	}
	print_row(c);
	print_near(c);
	if (next[0] != '\0') {
		printf("next     ");
		print_bytes(span_of(next));
		putchar('\n');
	}
	printf("headers%s\n", c->answer.len == 0 ? "  none" : "");
	each_header(c, print_header, NULL);
}

static void
fill_near(struct object *o, const struct check *c)
{
	struct object *one;
	size_t i;

	object_array(o, "near");
	for (i = 0; i < c->nnear; i++) {
		one = object_append_object(o, "near");
		object_text(one, "row", c->near[i].row);
		object_text(one, "realm", c->near[i].realm);
		object_text(one, "why", c->near[i].why);
	}
}

static void
text_or_null(struct object *o, const char *name, const char *text)
{
	if (text[0] != '\0')
		object_text(o, name, text);
	else
		object_null(o, name);
}

static void
print_json(const struct check *c, const char *next)
{
	const struct decision *d = &c->answer.decision;
	struct object *o = object_new();

	object_bytes(o, "origin", c->request.origin);
	object_bytes(o, "realm", c->request.realm);
	object_text(o, "class", d->class == REQUEST_PREFLIGHT ? "preflight" :
	    d->class == REQUEST_ACTUAL ? "actual" : "non-cors");
	object_bool(o, "allowed", d->allow);
	object_text(o, "reason", reason_token(d->reason));
	object_text(o, "sentence", reason_sentence(d->reason));
	if (d->culprit.len > 0 && !d->allow)
		object_bytes(o, "culprit", d->culprit);
	else
		object_null(o, "culprit");
	text_or_null(o, "row", c->answer.row);
	text_or_null(o, "policy", c->answer.policy);
	if (c->answer.match.expires_at != ROW_NEVER)
		object_number(o, "expires_at", c->answer.match.expires_at);
	object_array(o, "headers");
	each_header(c, append_header, o);
	fill_near(o, c);
	text_or_null(o, "next", next);
	object_print(o);
}

static int
ask(const struct call *call, struct reader *r, struct check *c)
{
	const struct answer_options options = { .now_s = (int64_t)time(NULL),
		.max_stale_s = call->config->responder_max_stale_s, .form = HEADERS_RESPONSE };
	enum reason reason;
	char *next;

	answer(r, &c->request, &options, true, &c->answer, c->headers, sizeof c->headers);
	reason = c->answer.decision.reason;
	if (nothing_matched(reason) && c->status == ORIGIN_OK)
		reader_each(r, NULL, collect_near, c);
	if ((next = advice(c)) == NULL)
		return EXIT_FAILED;
	if (call->json)
		print_json(c, next);
	else
		print_text(c, next);
	free(next);
	if (reason == REASON_NOT_READY || reason == REASON_TABLE_ERROR)
		return EXIT_FAILED;
	return c->answer.decision.allow ? EXIT_YES : EXIT_NO;
}

int
cmd_check(const struct call *call)
{
	struct check *c = calloc(1, sizeof *c);
	struct reader *r;
	int status = EXIT_FAILED;

	if (c == NULL) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	if ((status = make_request(call, c)) == EXIT_YES && (status = rows_attach(call, &r)) == EXIT_YES) {
		status = ask(call, r, c);
		reader_close(&r);
	}
	free(c);
	return status;
}

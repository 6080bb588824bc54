/* SPDX-License-Identifier: BSD-2-Clause */
/* A question from the command line, explained (lib/explain) in text or JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "explain.h"
#include "rows.h"

struct check {
	struct explanation	 e;
	char			 asked[2 * ACRH_MAX];	/* Access-Control-Request-Headers, also one too long */
};

/* The names as a browser sends them: one line. Too long is for decide() to say. */
static void
join_headers(const struct call *call, struct check *c)
{
	const size_t most = sizeof c->asked - 1;
	size_t i, len, at = 0;

	for (i = 0; i < call->ngiven; i++) {
		if (strcmp(call->given[i].flag->name, "header") != 0)
			continue;
		if (at > 0 && at < most)
			c->asked[at++] = ',';
		len = strnlen(call->given[i].value, most - at);
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
	struct span realm;
	int status;

	if (is_actual && (flag_is_given(call, "preflight") || has_headers)) {
		complain("--actual goes with neither --preflight nor --header: only preflights ask for headers");
		return EXIT_MISUSED;
	}
	status = rows_realm(flag_value(call, "realm"), &realm);
	join_headers(call, c);
	explain_request(&c->e, realm, span_of(call->operands[0]), is_preflight, span_of(method != NULL ? method : ""),
	    span_of(c->asked));
	return status;
}

/* ---- the answer, told ---- */

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
print_row(const struct explanation *e)
{
	const struct match *m = &e->answer.match;
	char when[HUMAN_MAX];

	if (e->answer.row[0] == '\0') {
		printf("row      none\n");
		return;
	}
	printf("row      ");
	print_bytes(span_of(e->answer.row));
	if (m->expires_at != ROW_NEVER)
		printf(" until %s", human_time(when, m->expires_at));
	putchar('\n');
	if (e->answer.policy[0] == '\0')
		return;
	printf("policy   ");
	print_bytes(span_of(e->answer.policy));
	putchar('\n');
}

static void
print_near(const struct explanation *e)
{
	size_t i;

	for (i = 0; i < e->nnear; i++) {
		printf("near     ");
		print_bytes(span_of(e->near[i].row));
		if (!spans_equal(span_of(e->near[i].realm), e->request.realm)) {
			printf(" in realm '");
			print_bytes(span_of(e->near[i].realm));
			putchar('\'');
		}
		printf(": %s\n", e->near[i].why);
	}
}

static void
print_text(const struct explanation *e, const char *next)
{
	const struct decision *d = &e->answer.decision;

	paint(d->allow ? COLOUR_GOOD : COLOUR_BAD, "%s", d->allow ? "allowed" : "refused");
	printf("  %s from ", explain_class(e));
	print_bytes(e->request.origin);
	if (e->request.realm.len > 0) {
		printf(" in realm ");
		print_bytes(e->request.realm);
	}
	printf("\nreason   %s: %s\n", reason_token(d->reason), reason_sentence(d->reason));
	if (d->culprit.len > 0 && !d->allow) {
		printf("culprit  ");
		print_bytes(d->culprit);
		putchar('\n');
	}
	print_row(e);
	print_near(e);
	if (next[0] != '\0')
		printf("next     %s\n", next);
	printf("headers%s\n", e->answer.len == 0 ? "  none" : "");
	explain_each_header(e, print_header, NULL);
}

static void
fill_near(struct object *o, const struct explanation *e)
{
	struct object *one;
	size_t i;

	object_array(o, "near");
	for (i = 0; i < e->nnear; i++) {
		one = object_append_object(o, "near");
		object_text(one, "row", e->near[i].row);
		object_text(one, "realm", e->near[i].realm);
		object_text(one, "why", e->near[i].why);
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
print_json(const struct explanation *e, const char *next)
{
	const struct decision *d = &e->answer.decision;
	struct object *o = object_new();

	object_bytes(o, "origin", e->request.origin);
	object_bytes(o, "realm", e->request.realm);
	object_text(o, "class", d->class == REQUEST_PREFLIGHT ? "preflight" :
	    d->class == REQUEST_ACTUAL ? "actual" : "non-cors");
	object_bool(o, "allowed", d->allow);
	object_text(o, "reason", reason_token(d->reason));
	object_text(o, "sentence", reason_sentence(d->reason));
	if (d->culprit.len > 0 && !d->allow)
		object_bytes(o, "culprit", d->culprit);
	else
		object_null(o, "culprit");
	text_or_null(o, "row", e->answer.row);
	text_or_null(o, "policy", e->answer.policy);
	if (e->answer.match.expires_at != ROW_NEVER)
		object_number(o, "expires_at", e->answer.match.expires_at);
	object_array(o, "headers");
	explain_each_header(e, append_header, o);
	fill_near(o, e);
	text_or_null(o, "next", next);
	object_print(o);
}

static int
ask(const struct call *call, struct reader *r, struct explanation *e)
{
	const struct explain_options options = { .answer = { .now_s = (int64_t)time(NULL),
		.max_stale_s = call->config->responder_max_stale_s, .form = HEADERS_RESPONSE } };
	enum reason reason;
	char *next;

	explain(r, &options, e);
	reason = e->answer.decision.reason;
	if ((next = explain_next(e)) == NULL) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	if (call->json)
		print_json(e, next);
	else
		print_text(e, next);
	free(next);
	if (reason == REASON_NOT_READY || reason == REASON_TABLE_ERROR)
		return EXIT_FAILED;
	return e->answer.decision.allow ? EXIT_YES : EXIT_NO;
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
		status = ask(call, r, &c->e);
		reader_close(&r);
	}
	free(c);
	return status;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* A question from the command line, explained (lib/explain) in text or JSON. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check_url.h"
#include "explain.h"
#include "paste.h"
#include "response.h"
#include "revocation.h"
#include "rows.h"

struct check {
	struct explanation	 e;
	char			 asked[2 * ACRH_MAX];	/* Access-Control-Request-Headers, also one too long */
	struct paste		 paste;		/* with --from-headers */
	struct response_difference differences[RESPONSE_DIFFERENCES_MAX];
	size_t			 ndifferences;
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

	if (flag_is_given(call, "origin") || flag_is_given(call, "timeout") || flag_is_given(call, "cacert") ||
	    flag_is_given(call, "insecure")) {
		complain("--origin, --timeout, --cacert and --insecure go with --url");
		return EXIT_MISUSED;
	}
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

/* ---- --from-headers ---- */

static void
take_paste(struct check *c, struct span realm)
{
	const struct paste *p = &c->paste;
	struct request *q = &c->e.request;
	bool is_preflight = p->nacrm > 0 && (p->method.len == 0 || span_is(p->method, "OPTIONS"));
	unsigned i;

	explain_request(&c->e, realm, p->origin, is_preflight, is_preflight ? p->acrm : p->method, span_of(""));
	q->norigin = p->norigin;
	if (!is_preflight)
		return;
	q->nacrm = p->nacrm;
	q->nacrh = p->nacrh;
	for (i = 0; i < p->nacrh; i++)
		q->acrh[i] = p->acrh[i];
}

static int
read_paste(const struct call *call, struct check *c, const char *name)
{
	FILE *in = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
	char err[512];
	struct span realm;
	int status;

	if (in == NULL) {
		complain("%s: %s", name, strerror(errno));
		return EXIT_FAILED;
	}
	status = paste_read(&c->paste, in, err, sizeof err) == 0 ? EXIT_YES : EXIT_FAILED;
	if (status != EXIT_YES)
		complain("%s: %s", in == stdin ? "stdin" : name, err);
	if (in != stdin)
		fclose(in);
	if (status == EXIT_YES && (status = rows_realm(flag_value(call, "realm"), &realm)) == EXIT_YES)
		take_paste(c, realm);
	return status;
}

static int
read_question(const struct call *call, struct check *c)
{
	const char *file = flag_value(call, "from-headers");
	size_t i;

	if (file == NULL && call->noperands == 1)
		return make_request(call, c);
	for (i = 0; i < call->ngiven; i++)
		if (strcmp(call->given[i].flag->name, "from-headers") != 0 && strcmp(call->given[i].flag->name, "realm") != 0)
			break;
	if (file != NULL && call->noperands == 0 && i == call->ngiven)
		return read_paste(call, c, file);
	complain(file != NULL ? "--from-headers has it all: only --realm goes with it" :
	    "check takes an ORIGIN, --url URL --origin ORIGIN or --from-headers FILE; see cachectl check --help");
	return EXIT_MISUSED;
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
print_value(struct span value)
{
	if (value.at == NULL)
		printf("none");
	else
		print_bytes(value);
}

static void
print_response(const struct check *c)
{
	const struct response_difference *d;

	if (!c->paste.has_response)
		return;
	printf("response ");
	paint(c->ndifferences == 0 ? COLOUR_GOOD : COLOUR_BAD, c->ndifferences == 0 ? "agrees" : "differs");
	printf(c->ndifferences == 0 ? " with what the table says\n" :
	    " from what the table says: another realm (see --realm), another table, an older answer from a cache, or an "
	    "application that adds headers itself\n");
	for (d = c->differences; d < c->differences + c->ndifferences; d++) {
		printf("  %s: got ", d->name);
		print_value(d->came_back);
		printf(", the table says ");
		print_value(d->expected);
		putchar('\n');
	}
}

/* NULL: the file does not say, or not to us. */
static const struct revocation *
find_revocation(const struct call *call, const struct explanation *e, struct revoked **set)
{
	*set = NULL;
	if (e->answer.decision.reason != REASON_REVOKED || revocations_read(call, set) != EXIT_YES)
		return NULL;
	return revoked_get(*set, e->request.realm, span_of(e->answer.row));
}

static void
print_revocation(const struct call *call, const struct explanation *e)
{
	struct revoked *set;
	const struct revocation *r = find_revocation(call, e, &set);

	if (r != NULL) {
		printf("revoked  ");
		revocation_print(r);
		putchar('\n');
	}
	revoked_free(&set);
}

static void
fill_revocation(const struct call *call, struct object *o, const struct explanation *e)
{
	struct revoked *set;
	const struct revocation *r = find_revocation(call, e, &set);

	if (r != NULL)
		revocation_fill(object_in(o, "revoked"), r);
	else
		object_null(o, "revoked");
	revoked_free(&set);
}

static void
print_text(const struct call *call, const struct explanation *e, const char *next)
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
	if (d->reason == REASON_REVOKED)
		print_revocation(call, e);
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
fill_span(struct object *o, const char *name, struct span value)
{
	if (value.at == NULL)
		object_null(o, name);
	else
		object_bytes(o, name, value);
}

static void
fill_response(struct object *o, const struct check *c)
{
	struct object *response, *one;
	size_t i;

	if (!c->paste.has_response) {
		object_null(o, "response");
		return;
	}
	response = object_in(o, "response");
	object_bytes(response, "status", c->paste.status);
	object_bool(response, "agrees", c->ndifferences == 0);
	object_array(response, "differences");
	for (i = 0; i < c->ndifferences; i++) {
		one = object_append_object(response, "differences");
		object_text(one, "header", c->differences[i].name);
		fill_span(one, "came_back", c->differences[i].came_back);
		fill_span(one, "expected", c->differences[i].expected);
	}
}

static void
print_json(const struct call *call, const struct check *c, const char *next)
{
	const struct explanation *e = &c->e;
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
	row_fill_expiry(o, e->answer.row[0] != '\0' ? e->answer.match.expires_at : ROW_NEVER);
	object_array(o, "headers");
	explain_each_header(e, append_header, o);
	fill_near(o, e);
	fill_revocation(call, o, e);
	text_or_null(o, "next", next);
	fill_response(o, c);
	object_print(o);
}

static int
ask(const struct call *call, struct reader *r, struct check *c)
{
	struct explanation *e = &c->e;
	const struct explain_options options = { .answer = { .now_s = (int64_t)time(NULL),
		.max_stale_s = call->config->responder_max_stale_s, .form = HEADERS_RESPONSE } };
	enum reason reason;
	char *next;

	explain(r, &options, e);
	if (c->paste.has_response)
		c->ndifferences = response_compare(&c->paste, e, c->differences);
	reason = e->answer.decision.reason;
	if ((next = explain_next(e)) == NULL) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	if (call->json) {
		print_json(call, c, next);
	} else {
		print_text(call, e, next);
		print_response(c);
	}
	free(next);
	if (reason == REASON_NOT_READY || reason == REASON_TABLE_ERROR)
		return EXIT_FAILED;
	return e->answer.decision.allow ? EXIT_YES : EXIT_NO;
}

static int
ask_url(const struct call *call, struct check *c)
{
	struct reader *r;
	struct span realm;
	int status = check_url_options(call);

	join_headers(call, c);
	if (status == EXIT_YES && (status = rows_realm(flag_value(call, "realm"), &realm)) == EXIT_YES &&
	    (status = rows_attach(call, &r)) == EXIT_YES) {
		status = check_url(call, r, realm, c->asked);
		reader_close(&r);
	}
	return status;
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
	if (flag_is_given(call, "url"))
		status = ask_url(call, c);
	else if ((status = read_question(call, c)) == EXIT_YES && (status = rows_attach(call, &r)) == EXIT_YES) {
		status = ask(call, r, c);
		reader_close(&r);
	}
	paste_free(&c->paste);
	free(c);
	return status;
}

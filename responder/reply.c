/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The headers are written first, behind a gap; the status, which depends on
 * them, is then put right in front. So nothing is ever moved.
 */
#include "reply.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "pages.h"

static int64_t
now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return now.tv_sec;
}

/* status: whole lines; tail: what ends the header block. Inline: their lengths are constants then. */
static inline struct span
reply_finish(struct replier *rp, const char *status, size_t headers_len, const char *tail)
{
	size_t status_len = strlen(status), tail_len = strlen(tail);
	char *at = rp->buf + REPLY_STATUS_MAX - status_len;

	memcpy(at, status, status_len);
	memcpy(rp->buf + REPLY_STATUS_MAX + headers_len, tail, tail_len);
	return (struct span){ at, status_len + headers_len + tail_len };
}

static void
count_answer(struct counters *c, const struct decision *d)
{
	if (d->class == REQUEST_PREFLIGHT)
		count_add(d->allow ? &c->preflights_allowed : &c->preflights_refused, 1);
	else if (d->class == REQUEST_ACTUAL)
		count_add(d->allow ? &c->actuals_allowed : &c->actuals_refused, 1);
	else
		count_add(&c->not_cors, 1);
	count_add(&c->reason[d->reason], 1);
	if (d->reason == REASON_TABLE_ERROR)
		count_add(&c->table_errors, 1);
}

/* Who asked: the realm always, the origin only where it was refused. */
static void
count_asker(struct refusals *r, const struct request *q, const struct decision *d, int64_t now)
{
	const struct frequent_key key = { .realm = q->realm, .origin = q->origin, .reason = d->reason };

	refusals_count_realm(r, q->realm, now);
	if (decision_is_refusal(d))
		refusals_count(r, &key, now);
}

static void
ask(struct replier *rp, const struct facts *f, enum headers_form form, enum headers_form refusal_form, struct answer *a)
{
	const struct answer_options options = {
		.now_s = now_s(),
		.max_stale_s = rp->settings.max_stale_s,
		.form = form,
		.refusal_form = refusal_form,
		.debug = f->debug,
	};

	answer(rp->reader, &f->cors, &options, false, a, rp->buf + REPLY_STATUS_MAX, ANSWER_MAX);
	count_answer(rp->counters, &a->decision);
	count_asker(rp->refusals, &f->cors, &a->decision, options.now_s);
}

/* Fetch leaves blocking to browsers; CORS_ENFORCE=1 is the site's wish to do it here as well. */
static bool
blocks_refused(const struct facts *f)
{
	return f->enforce && !facts_origin_is_own(f);
}

static struct span
reply_respond(struct replier *rp, const struct facts *f)
{
	struct answer a;

	ask(rp, f, HEADERS_RESPONSE, HEADERS_RESPONSE, &a);
	if (decision_is_refusal(&a.decision) && (a.decision.class == REQUEST_PREFLIGHT || blocks_refused(f)))
		return reply_finish(rp, "Status: 403 Forbidden\r\n", a.len, "Content-Length: 0\r\n\r\n");
	/* 200 with a length keeps nginx's connection over HTTP/2; a 204 has no length. */
	if (a.decision.class == REQUEST_PREFLIGHT && rp->settings.preflight_status == 200)
		return reply_finish(rp, "Status: 200 OK\r\n", a.len, "Content-Length: 0\r\n\r\n");
	return reply_finish(rp, "Status: 204 No Content\r\n", a.len, "\r\n");
}

/*
 * An approval is exactly 200, and its Variable-* lines become the request's
 * environment. A denial is the client's answer, so it takes real header names.
 */
static struct span
reply_authorize(struct replier *rp, const struct facts *f)
{
	bool blocks = blocks_refused(f);
	struct answer a;

	ask(rp, f, HEADERS_VARIABLES, blocks ? HEADERS_RESPONSE : HEADERS_VARIABLES, &a);
	if (blocks && decision_is_refusal(&a.decision))
		return reply_finish(rp, "Status: 403 Forbidden\r\n", a.len, "Content-Length: 0\r\n\r\n");
	return reply_finish(rp, "Status: 200 OK\r\n", a.len, "\r\n");
}

struct span
reply_build(struct replier *rp, const struct facts *f, enum role role)
{
	/* A page is never an authorizer's answer: its 200 would let the request through. */
	if (role == ROLE_AUTHORIZER)
		return reply_authorize(rp, f);
	if (role != ROLE_RESPONDER)
		return reply_finish(rp, "Status: 500 Internal Server Error\r\nContent-Type: text/plain\r\n", 0,
		    "\r\nno such FastCGI role here\n");
	if (f->npage > 0)
		return page_build(rp, f, now_s());
	return reply_respond(rp, f);
}

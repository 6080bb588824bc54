/* SPDX-License-Identifier: BSD-2-Clause */
#include "decide.h"

#include <string.h>

const char *
reason_token(enum reason reason)
{
	switch (reason) {
#define REASON(name, token, verdict, sentence)	case REASON_##name: return token;
#include "reasons.def"
#undef REASON
	case REASON_COUNT:
		break;
	}
	return "unknown";
}

const char *
reason_sentence(enum reason reason)
{
	switch (reason) {
#define REASON(name, token, verdict, sentence)	case REASON_##name: return sentence;
#include "reasons.def"
#undef REASON
	case REASON_COUNT:
		break;
	}
	return "no reason is known";
}

/*
 * Methods are case-sensitive, and OPTIONS is a method like any other (WebDAV):
 * only Access-Control-Request-Method makes it a preflight.
 */
enum request_class
request_classify(const struct request *q)
{
	if (q->origin.len == 0)
		return REQUEST_NON_CORS;
	if (q->acrm.len > 0 && q->method.len == 7 && memcmp(q->method.at, "OPTIONS", 7) == 0)
		return REQUEST_PREFLIGHT;
	return REQUEST_ACTUAL;
}

enum origin_status
request_origin(const struct request *q, struct origin *o)
{
	if (q->norigin > 1)
		return ORIGIN_BAD_BYTE;
	return origin_parse(o, q->origin.at, q->origin.len);
}

bool
row_is_unsafe(enum rule_form form, const struct origin *o, bool public_suffix, const struct policy *p)
{
	if (p == NULL || !p->credentials)
		return false;
	if (form == RULE_ANY)
		return true;
	return !p->insecure && (form == RULE_SCHEME || public_suffix || origin_is_insecure(o));
}

/* What is wrong before any row is asked for; REASON_ALLOWED: nothing. */
static enum reason
request_trouble(const struct request *q, const struct match *m, bool is_stale)
{
	if (q->nmethod > 1)
		return REASON_REQUEST_MALFORMED;
	if (q->nrealm > 1 || !realm_is_valid(q->realm.at, q->realm.len))
		return REASON_REALM_MALFORMED;
	if (m->state == MATCH_NOT_READY)
		return REASON_NOT_READY;
	if (m->state != MATCH_NONE && m->state != MATCH_ROW)
		return REASON_TABLE_ERROR;
	return is_stale ? REASON_STALE : REASON_ALLOWED;
}

/* Why no row but * may answer this origin; REASON_ALLOWED: any may. */
static enum reason
origin_trouble(const struct request *q, enum origin_status status)
{
	if (q->norigin > 1)
		return REASON_ORIGIN_REPEATED;
	if (status == ORIGIN_NULL)
		return REASON_ORIGIN_NULL;
	/* the length by itself: headers_write() has room for no more, whatever the caller says of it */
	return status == ORIGIN_OK && q->origin.len <= ORIGIN_MAX ? REASON_ALLOWED : REASON_ORIGIN_MALFORMED;
}

static enum reason
no_row(const struct request *q, enum origin_status status, const struct match *m)
{
	enum reason trouble = origin_trouble(q, status);

	if (trouble != REASON_ALLOWED)
		return trouble;
	if (m->saw_unsafe)
		return REASON_ROW_UNSAFE;
	if (m->saw_expired)
		return REASON_ROW_EXPIRED;
	return m->realm_known ? REASON_ORIGIN_UNKNOWN : REASON_REALM_UNKNOWN;
}

/*
 * Whether the row that matched answers this origin. The table finds no row but
 * * for an origin that does not parse, and none that is unsafe; neither is
 * left to it alone, for both would hand credentials to strangers.
 */
static enum reason
row_verdict(const struct request *q, enum origin_status status, const struct match *m)
{
	if (m->form != RULE_ANY && origin_trouble(q, status) != REASON_ALLOWED)
		return origin_trouble(q, status);
	if (m->revoked)
		return REASON_REVOKED;
	if (m->held)
		return REASON_INVALIDATED;
	if (m->refuses)
		return REASON_ROW_REFUSES;
	if (m->policy == NULL)
		return REASON_TABLE_ERROR;
	if (m->form == RULE_ANY && m->policy->credentials)
		return REASON_ROW_UNSAFE;
	return REASON_ALLOWED;
}

static enum reason
find_verdict(const struct request *q, enum origin_status status, const struct match *m, bool is_stale)
{
	enum reason trouble = request_trouble(q, m, is_stale);

	if (trouble != REASON_ALLOWED)
		return trouble;
	return m->state == MATCH_ROW ? row_verdict(q, status, m) : no_row(q, status, m);
}

static enum reason
check_method(const struct request *q, const struct policy *p)
{
	if (q->nacrm > 1 || q->acrm.len > ACRM_MAX || !token_is_valid(q->acrm))
		return REASON_METHOD_MALFORMED;
	if (method_is_forbidden(q->acrm))
		return REASON_METHOD_FORBIDDEN;
	return policy_allows_method(p, q->acrm) ? REASON_ALLOWED : REASON_METHOD_NOT_ALLOWED;
}

static bool
header_is_allowed(struct span name, void *arg)
{
	struct decision *d = arg;

	d->asks_for_headers = true;
	return policy_allows_header(d->policy, name);
}

static enum reason
check_preflight(const struct request *q, struct decision *d)
{
	enum reason reason = check_method(q, d->policy);

	if (reason != REASON_ALLOWED) {
		d->culprit = q->acrm;
		return reason;
	}
	return acrh_each(q, header_is_allowed, d, &d->culprit);
}

/*
 * Without an Origin nothing is decided, but where the answer is the constant *
 * for everybody it is sent to everybody: one cached copy serves them all
 * (Fetch standard, "CORS protocol and HTTP caches").
 */
static void
answer_non_cors(const struct match *m, enum reason verdict, struct decision *d)
{
	d->reason = REASON_NOT_CORS;
	if (verdict != REASON_ALLOWED || m->form != RULE_ANY || !m->realm_only_any)
		return;
	d->policy = m->policy;
	d->echo = ECHO_ANY;
	d->vary = VARY_NONE;
}

void
decide(const struct request *q, enum origin_status status, const struct match *m, bool is_stale,
    struct decision *d)
{
	enum reason verdict = find_verdict(q, status, m, is_stale);

	*d = (struct decision){ .class = request_classify(q), .reason = verdict };
	d->vary = d->class == REQUEST_PREFLIGHT ? VARY_PREFLIGHT : VARY_ORIGIN;
	if (d->class == REQUEST_NON_CORS) {
		answer_non_cors(m, verdict, d);
		return;
	}
	if (verdict != REASON_ALLOWED)
		return;
	d->policy = m->policy;
	if (d->class == REQUEST_PREFLIGHT && (d->reason = check_preflight(q, d)) != REASON_ALLOWED)
		return;
	d->allow = true;
	d->echo = m->form == RULE_ANY ? ECHO_ANY : ECHO_ORIGIN;
	if (d->echo == ECHO_ANY && m->realm_only_any)
		d->vary = VARY_NONE;
}

/* The counts of a list header so far, over all its lines. */
struct acrh {
	unsigned	 names;
	unsigned	 empty;
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool
is_name(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!token_has_byte((unsigned char)s.at[i]))
			return false;
	return s.len > 0;
}

/* One element between commas, blanks taken off. */
static enum reason
acrh_element(struct acrh *seen, struct span s, bool (*each)(struct span, void *), void *arg,
    struct span *culprit)
{
	for (; s.len > 0 && is_blank(s.at[0]); s.at++)
		s.len--;
	while (s.len > 0 && is_blank(s.at[s.len - 1]))
		s.len--;
	*culprit = s;
	if (s.len == 0)
		return ++seen->empty > ACRH_MAX_EMPTY ? REASON_HEADERS_TOO_LONG : REASON_ALLOWED;
	if (!is_name(s))
		return REASON_HEADERS_MALFORMED;
	if (++seen->names > ACRH_MAX_NAMES)
		return REASON_HEADERS_TOO_LONG;
	return each(s, arg) ? REASON_ALLOWED : REASON_HEADER_NOT_ALLOWED;
}

static enum reason
acrh_line(struct acrh *seen, struct span line, bool (*each)(struct span, void *), void *arg,
    struct span *culprit)
{
	const char *p = line.at, *end = line.at + line.len;
	enum reason reason;

	for (;;) {
		const char *comma = p == end ? NULL : memchr(p, ',', (size_t)(end - p));
		struct span element = { p, (size_t)((comma != NULL ? comma : end) - p) };

		reason = acrh_element(seen, element, each, arg, culprit);
		if (reason != REASON_ALLOWED || comma == NULL)
			return reason;
		p = comma + 1;
	}
}

enum reason
acrh_each(const struct request *q, bool (*each)(struct span name, void *arg), void *arg,
    struct span *culprit)
{
	struct acrh seen = { 0, 0 };
	size_t total = 0;

	*culprit = (struct span){ NULL, 0 };
	if (q->nacrh > ACRH_MAX_LINES)
		return REASON_HEADERS_TOO_LONG;
	for (unsigned i = 0; i < q->nacrh; i++)
		if ((total += q->acrh[i].len) > ACRH_MAX)
			return REASON_HEADERS_TOO_LONG;
	for (unsigned i = 0; i < q->nacrh; i++) {
		enum reason reason = REASON_ALLOWED;

		if (q->acrh[i].len > 0)
			reason = acrh_line(&seen, q->acrh[i], each, arg, culprit);
		if (reason != REASON_ALLOWED)
			return reason;
	}
	*culprit = (struct span){ NULL, 0 };
	return REASON_ALLOWED;
}

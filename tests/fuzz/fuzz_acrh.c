/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "F\nORIGIN\nMETHOD\nHEADERS\nHEADERS...": a whole preflight against one
 * policy, F its flags: bit 0 credentials, 1 any method, 2 any header, 3 the
 * rule is *, 4 the realm has nothing else.
 */
#include "response.h"

static struct span
next_line(struct span *rest)
{
	struct span line = *rest;
	const char *newline = rest->len > 0 ? memchr(rest->at, '\n', rest->len) : NULL;

	if (newline == NULL) {
		rest->len = 0;
		return line;
	}
	line.len = (size_t)(newline - line.at);
	rest->at = newline + 1;
	rest->len -= line.len + 1;
	return line;
}

struct seen {
	unsigned	 names;
	size_t		 bytes;
};

static bool
count(struct span name, void *arg)
{
	struct seen *seen = arg;

	MUST(name.len > 0);
	for (size_t i = 0; i < name.len; i++)
		MUST(token_has_byte((unsigned char)name.at[i]));
	seen->bytes += name.len;
	return ++seen->names > 0;
}

static void
list_is_bounded(const struct request *q)
{
	struct seen seen = { 0, 0 };
	struct span culprit;
	enum reason reason = acrh_each(q, count, &seen, &culprit);

	MUST(reason == REASON_ALLOWED || reason == REASON_HEADERS_MALFORMED ||
	    reason == REASON_HEADERS_TOO_LONG);
	MUST(seen.names <= ACRH_MAX_NAMES && seen.bytes <= ACRH_MAX);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const struct span methods = { "DELETE,PUT", 10 }, headers = { "authorization,x-a,x-b", 21 };
	struct span rest = { (const char *)bytes, len }, flags = next_line(&rest);
	unsigned f = flags.len > 0 ? (unsigned char)flags.at[0] : 0;
	struct policy p = { .methods = methods, .headers = headers, .max_age = 600, .credentials = f & 1,
		.any_method = f & 2, .any_header = f & 4 };
	struct match m = { .state = MATCH_ROW, .form = f & 8 ? RULE_ANY : RULE_EXACT, .realm_known = true,
		.realm_only_any = f & 16, .policy = &p };
	struct request q = { .method = { "OPTIONS", 7 }, .nmethod = 1 };
	enum origin_status status;
	struct decision d;
	struct origin o;

	q.origin = next_line(&rest);
	q.norigin = q.origin.len > 0;
	q.acrm = next_line(&rest);
	q.nacrm = q.acrm.len > 0;
	for (; rest.len > 0 && q.nacrh <= ACRH_MAX_LINES; q.nacrh++) {
		struct span line = next_line(&rest);

		if (q.nacrh < ACRH_MAX_LINES)
			q.acrh[q.nacrh] = line;
	}
	list_is_bounded(&q);
	status = request_origin(&q, &o);
	decide(&q, status, &m, false, &d);
	MUST(d.reason < REASON_COUNT && d.allow == (d.reason == REASON_ALLOWED));
	MUST(!d.allow || status == ORIGIN_OK || m.form == RULE_ANY);
	MUST(!d.allow || !(m.form == RULE_ANY && p.credentials));
	response_must_be_sound(&q, &d);
	return 0;
}

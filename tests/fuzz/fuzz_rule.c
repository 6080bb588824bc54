/* SPDX-License-Identifier: BSD-2-Clause */
/* "RULE\nORIGIN": a rule goes back together, and what it matches is told from the bytes alone. */
#include "fuzz.h"

#include <string.h>

#include "origin.h"

static bool
is_same(struct span a, struct span b)
{
	return a.len == b.len && memcmp(a.at, b.at, a.len) == 0;
}

static void
goes_back_together(const struct rule *r, const char *s, size_t len)
{
	bool labels = r->form == RULE_SUFFIX || r->form == RULE_SUFFIX_ANY_PORT;
	bool any_port = r->form == RULE_HOST_ANY_PORT || r->form == RULE_SUFFIX_ANY_PORT;
	const struct origin *o = &r->origin;
	char text[FUZZ_TEXT_MAX];
	int n;

	if (r->form == RULE_ANY) {
		MUST(len == 1 && s[0] == '*');
		return;
	}
	n = snprintf(text, sizeof(text), "%.*s://%s%.*s%s", (int)o->scheme.len, o->scheme.at,
	    labels ? "*." : r->form == RULE_SCHEME ? "*" : "",
	    (int)o->host.len, o->host.at, any_port ? ":*" : "");
	if (o->port != 0)
		n += snprintf(text + n, sizeof(text) - (size_t)n, ":%u", o->port);
	MUST((size_t)n == len && memcmp(text, s, len) == 0);
	MUST(!(any_port && o->port != 0));
	MUST(r->form != RULE_SCHEME || (!o->is_special && o->host.len == 0 && o->port == 0));
	MUST(!labels || (o->kind == HOST_NAME && r->depth >= 1 && r->depth <= RULE_MAX_DEPTH));
}

/* The origin's host ends in "." and the rule's, and something is in front. */
static bool
ends_below(const struct origin *o, const struct origin *suffix)
{
	char host[FUZZ_TEXT_MAX], tail[FUZZ_TEXT_MAX];
	size_t n, m;

	n = (size_t)snprintf(host, sizeof(host), "%.*s", (int)o->host.len, o->host.at);
	m = (size_t)snprintf(tail, sizeof(tail), ".%.*s", (int)suffix->host.len, suffix->host.at);
	return n > m && strcmp(host + n - m, tail) == 0;
}

static void
matches_what_it_says(const struct rule *r, const struct origin *o)
{

	if (r->form == RULE_ANY) {
		MUST(rule_matches(r, o));
		return;
	}
	if (r->form == RULE_EXACT)
		MUST(rule_matches(r, o) == is_same(r->origin.text, o->text));
	if (r->form == RULE_SCHEME)
		MUST(rule_matches(r, o) == (is_same(r->origin.scheme, o->scheme) && o->port == 0));
	if (!rule_matches(r, o))
		return;
	MUST(is_same(r->origin.scheme, o->scheme));
	if (r->form == RULE_EXACT || r->form == RULE_SUFFIX)
		MUST(r->origin.port == o->port);
	if (r->form == RULE_SUFFIX || r->form == RULE_SUFFIX_ANY_PORT)
		MUST(o->kind == HOST_NAME && ends_below(o, &r->origin));
	else if (r->form != RULE_SCHEME)
		MUST(is_same(r->origin.host, o->host));
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	const char *s = (const char *)bytes, *end = s + len, *newline = len > 0 ? memchr(s, '\n', len) : NULL;
	size_t n = newline != NULL ? (size_t)(newline - s) : len;
	struct rule r, before;
	enum origin_status status;
	struct origin o;

	memset(&r, 0x5a, sizeof(r));
	before = r;
	status = rule_parse(&r, s, n);
	MUST(status >= ORIGIN_OK && status < ORIGIN_STATUS_COUNT);
	if (status != ORIGIN_OK) {
		MUST(memcmp(&r, &before, sizeof(r)) == 0);
		return 0;
	}
	MUST(n <= RULE_MAX);
	goes_back_together(&r, s, n);
	if (newline != NULL && origin_parse(&o, newline + 1, (size_t)(end - newline - 1)) == ORIGIN_OK)
		matches_what_it_says(&r, &o);
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Any bytes as an Origin: what is accepted is what a browser serialises, and goes back together. */
#include "fuzz.h"

#include <string.h>

#include "origin.h"

static void
goes_back_together(const struct origin *o, const char *s, size_t len)
{
	char text[FUZZ_TEXT_MAX];
	int n;

	n = snprintf(text, sizeof(text), "%.*s://%.*s", (int)o->scheme.len, o->scheme.at, (int)o->host.len,
	    o->host.at);
	if (o->port != 0)
		n += snprintf(text + n, sizeof(text) - (size_t)n, ":%u", o->port);
	MUST((size_t)n == len && memcmp(text, s, len) == 0);
	MUST(o->text.at == s && o->text.len == len);
}

/* URL standard: the forbidden host code points, and what percent-encoding leaves of the rest. */
static void
has_bytes_of_a_serialisation(const struct origin *o)
{
	static const char *const special[] = { "http", "https", "ws", "wss", "ftp" };
	bool is_special = false, is_ipv6 = o->kind == HOST_IPV6;

	for (size_t i = 0; i < 5; i++)
		is_special |= o->scheme.len == strlen(special[i]) && memcmp(o->scheme.at, special[i], o->scheme.len) == 0;
	MUST(o->is_special == is_special);
	MUST(!is_special || (o->host.len > 0 && o->kind != HOST_OPAQUE));
	for (size_t i = 0; i < o->scheme.len; i++)
		MUST(strchr("abcdefghijklmnopqrstuvwxyz0123456789+-.", o->scheme.at[i]) != NULL);
	for (size_t i = 0; i < o->host.len; i++) {
		char c = o->host.at[i];

		MUST(c > ' ' && c < 0x7f && strchr(is_ipv6 ? "#/<>?@\\^|*" : "#/<>?@\\^|*:[]", c) == NULL);
		if (is_special || o->kind != HOST_OPAQUE)
			MUST(strchr("abcdefghijklmnopqrstuvwxyz0123456789-._:[]", c) != NULL);
	}
}

static void
is_its_own_rule(const struct origin *o)
{
	struct rule r;
	enum origin_status status = rule_parse(&r, o->text.at, o->text.len);

	if (status == RULE_BAD_PUNYCODE && o->is_special)
		return;		/* asked of rules alone */
	MUST(status == ORIGIN_OK);
	MUST(r.form == RULE_EXACT && rule_matches(&r, o));
}

/* Below the host behind every dot, below nothing else. */
static void
is_below_its_suffixes(const struct origin *o)
{
	char text[FUZZ_TEXT_MAX];
	struct rule r;

	for (size_t i = 0; o->kind == HOST_NAME && i < o->host.len; i++) {
		int n = snprintf(text, sizeof(text), "%.*s://*.%.*s:*", (int)o->scheme.len, o->scheme.at,
		    (int)(o->host.len - i), o->host.at + i);
		bool label = i > 0 && o->host.at[i - 1] == '.';

		if (rule_parse(&r, text, (size_t)n) == ORIGIN_OK)
			MUST(rule_matches(&r, o) == label);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	const char *s = (const char *)bytes;
	struct origin o, before;
	enum origin_status status;

	memset(&o, 0x5a, sizeof(o));
	before = o;
	status = origin_parse(&o, s, len);
	MUST(status >= ORIGIN_OK && status < ORIGIN_STATUS_COUNT);
	if (status != ORIGIN_OK) {
		MUST(memcmp(&o, &before, sizeof(o)) == 0);
		return 0;
	}
	MUST(len <= ORIGIN_MAX);
	has_bytes_of_a_serialisation(&o);
	goes_back_together(&o, s, len);
	is_its_own_rule(&o);
	is_below_its_suffixes(&o);
	(void)origin_is_insecure(&o);
	return 0;
}

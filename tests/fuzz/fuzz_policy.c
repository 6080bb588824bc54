/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * First byte 'T': "T\nNAME\nLIST\nLIST\nLIST", words by spaces, compiled and
 * opened again. Anything else: the rest is a compiled block, used as it is.
 */
#include "response.h"

#define MAX_WORDS	(POLICY_MAX_TOKENS + 2)

static size_t
words(struct span *out, const char **p, const char *end)
{
	size_t n = 0;

	while (*p < end && **p != '\n') {
		const char *start = *p;

		while (*p < end && **p != ' ' && **p != '\n')
			++*p;
		if (n < MAX_WORDS)
			out[n++] = (struct span){ start, (size_t)(*p - start) };
		if (*p < end && **p == ' ')
			++*p;
	}
	if (*p < end)
		++*p;
	return n;
}

static void
use(const struct policy *p)
{
	static const struct span methods[] = { { "GET", 3 }, { "PUT", 3 }, { "TRACE", 5 }, { "", 0 } };
	struct request q = { .method = { "OPTIONS", 7 }, .nmethod = 1, .origin = { "https://a.com", 13 },
	    .norigin = 1,
		.acrm = { "PUT", 3 }, .nacrm = 1, .acrh = { { "x-a", 3 } }, .nacrh = 1 };
	struct match m = { .state = MATCH_ROW, .realm_known = true, .policy = p };
	struct decision d;

	for (int i = 0; i < 4; i++)
		MUST(!policy_allows_method(p, methods[i]) || i < 2);
	(void)policy_allows_header(p, (struct span){ "X-A", 3 });
	for (int i = 0; i < 4; i++) {
		decide(&q, ORIGIN_OK, &m, false, &d);
		response_must_be_sound(&q, &d);
		q.nacrh = i % 2;
		if (i == 1)
			q.acrm.len = q.nacrm = 0;	/* an actual request */
		if (i == 2)
			m.form = RULE_ANY;
	}
}

static void
compile(const char *p, const char *end)
{
	static struct span name[MAX_WORDS], methods[MAX_WORDS], headers[MAX_WORDS], expose[MAX_WORDS];
	static char block[POLICY_MAX], again[POLICY_MAX];
	struct policy_row row = { .methods = methods, .headers = headers, .expose = expose };
	struct span culprit;
	struct policy policy;
	size_t len, len_again;

	if (words(name, &p, end) > 0)
		row.name = name[0];
	row.nmethods = words(methods, &p, end);
	row.nheaders = words(headers, &p, end);
	row.nexpose = words(expose, &p, end);
	row.credentials = row.name.len % 2;
	row.max_age = (int32_t)row.nmethods;
	if (policy_compile(&row, block, &len, &culprit) != POLICY_OK)
		return;
	MUST(len <= POLICY_MAX && len % 8 == 0);
	MUST(policy_read(&policy, block, len) == POLICY_OK);
	for (size_t i = 0; i < row.nheaders; i++)
		MUST(policy_allows_header(&policy, row.headers[i]));
	use(&policy);
	/* the order of a list says nothing */
	for (size_t i = 0; i < row.nheaders / 2; i++) {
		struct span swap = headers[i];

		headers[i] = headers[row.nheaders - 1 - i];
		headers[row.nheaders - 1 - i] = swap;
	}
	MUST(policy_compile(&row, again, &len_again, NULL) == POLICY_OK);
	MUST(len == len_again && memcmp(block, again, len) == 0);
}

static void
open_block(const uint8_t *bytes, size_t len)
{
	char *block = malloc(len);
	struct policy p;

	MUST(block != NULL);
	memcpy(block, bytes, len);
	if (policy_read(&p, block, len) == POLICY_OK) {
		MUST(p.expose.at + p.expose.len <= block + len);
		use(&p);
	}
	free(block);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	const char *s = (const char *)bytes;

	if (len >= 2 && s[0] == 'T' && s[1] == '\n')
		compile(s + 2, s + len);
	else if (len > 1)
		open_block(bytes + 1, len - 1);
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "decide.h"

#include <string.h>

#include "run.h"

#define LITERAL(s)	{ s, sizeof(s) - 1 }
#define LONG65		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static struct span
text(const char *s)
{
	return (struct span){ s, s == NULL ? 0 : strlen(s) };
}

static const struct policy plain = {
	.name = LITERAL("plain"), .methods = LITERAL("DELETE,PUT"), .headers = LITERAL("x-a,x-b"),
	.max_age = POLICY_NO_MAX_AGE,
};
static const struct policy credentialed = {
	.name = LITERAL("credentialed"), .methods = LITERAL("DELETE,PUT"), .headers = LITERAL("x-a,x-b"),
	.max_age = POLICY_NO_MAX_AGE, .credentials = true,
};
static const struct policy anything = {
	.name = LITERAL("anything"), .any_method = true, .any_header = true, .max_age = POLICY_NO_MAX_AGE,
};

static const struct {
	const char		*method, *origin, *acrm;
	enum request_class	 want;
} classes[] = {
	{ "GET", NULL, NULL, REQUEST_NON_CORS },
	{ "GET", "", NULL, REQUEST_NON_CORS },
	{ "OPTIONS", "", "PUT", REQUEST_NON_CORS },
	{ "GET", "https://a", NULL, REQUEST_ACTUAL },
	{ "GET", "junk", NULL, REQUEST_ACTUAL },
	{ "GET", "https://a", "PUT", REQUEST_ACTUAL },
	{ "POST", "https://a", "PUT", REQUEST_ACTUAL },
	{ "OPTIONS", "https://a", NULL, REQUEST_ACTUAL },
	{ "OPTIONS", "https://a", "", REQUEST_ACTUAL },
	{ "options", "https://a", "PUT", REQUEST_ACTUAL },
	{ "OPTIONSX", "https://a", "PUT", REQUEST_ACTUAL },
	{ "OPTION", "https://a", "PUT", REQUEST_ACTUAL },
	{ "", "https://a", "PUT", REQUEST_ACTUAL },
	{ "OPTIONS", "https://a", "PUT", REQUEST_PREFLIGHT },
	{ "OPTIONS", "junk", "(", REQUEST_PREFLIGHT },
};

START_TEST(classifies_before_anything_else)
{
	struct request q = { .method = text(classes[_i].method), .origin = text(classes[_i].origin),
		.acrm = text(classes[_i].acrm) };

	ck_assert_int_eq(request_classify(&q), classes[_i].want);
}
END_TEST

START_TEST(an_origin_counts_once)
{
	struct request q = { .origin = text("https://a.com"), .norigin = 1 };
	struct origin o;

	ck_assert_int_eq(request_origin(&q, &o), ORIGIN_OK);
	ck_assert_ptr_eq(o.host.at, q.origin.at + 8);
	q.norigin = 2;
	ck_assert_int_eq(request_origin(&q, &o), ORIGIN_BAD_BYTE);
	q = (struct request){ .norigin = 0 };
	ck_assert_int_eq(request_origin(&q, &o), ORIGIN_EMPTY);
}
END_TEST

#define ROW(p, ...)	{ .state = MATCH_ROW, .realm_known = true, .policy = p, __VA_ARGS__ }
#define STAR(p, ...)	ROW(p, .form = RULE_ANY, __VA_ARGS__)
#define NONE(...)	{ .state = MATCH_NONE, __VA_ARGS__ }
#define ACTUAL		.method = LITERAL("GET"), .nmethod = 1
#define FROM(o)		.origin = LITERAL(o), .norigin = 1
#define GOOD		FROM("https://a.com")
#define ASKS(m)		.method = LITERAL("OPTIONS"), .nmethod = 1, .acrm = LITERAL(m), .nacrm = 1
#define NAMES(n)	.acrh = { LITERAL(n) }, .nacrh = 1

static const struct {
	struct request	 q;
	struct match	 m;
	bool		 is_stale;
	enum reason	 want;
	enum echo	 echo;
	enum vary	 vary;
	const char	*culprit;
} cases[] = {
	/* who is allowed, and what is said to whom */
	{ { ACTUAL, GOOD }, ROW(&plain),
	    false, REASON_ALLOWED, ECHO_ORIGIN, VARY_ORIGIN, NULL },
	{ { ACTUAL, GOOD }, ROW(&credentialed),
	    false, REASON_ALLOWED, ECHO_ORIGIN, VARY_ORIGIN, NULL },
	{ { ACTUAL, GOOD }, ROW(&plain, .form = RULE_SUFFIX),
	    false, REASON_ALLOWED, ECHO_ORIGIN, VARY_ORIGIN, NULL },
	{ { ACTUAL, GOOD }, STAR(&plain),
	    false, REASON_ALLOWED, ECHO_ANY, VARY_ORIGIN, NULL },
	{ { ACTUAL, GOOD }, STAR(&plain, .realm_only_any = true),
	    false, REASON_ALLOWED, ECHO_ANY, VARY_NONE, NULL },
	{ { ACTUAL, FROM("null") }, STAR(&plain),
	    false, REASON_ALLOWED, ECHO_ANY, VARY_ORIGIN, NULL },
	{ { ACTUAL, FROM("junk junk") }, STAR(&plain, .realm_only_any = true),
	    false, REASON_ALLOWED, ECHO_ANY, VARY_NONE, NULL },
	{ { ACTUAL, .origin = LITERAL("https://a.com"), .norigin = 2 }, STAR(&plain),
	    false, REASON_ALLOWED, ECHO_ANY, VARY_ORIGIN, NULL },
	{ { ASKS("PUT"), GOOD }, ROW(&plain),
	    false, REASON_ALLOWED, ECHO_ORIGIN, VARY_PREFLIGHT, NULL },
	{ { ASKS("PUT"), GOOD }, STAR(&plain),
	    false, REASON_ALLOWED, ECHO_ANY, VARY_PREFLIGHT, NULL },
	{ { ASKS("PUT"), GOOD }, STAR(&plain, .realm_only_any = true),
	    false, REASON_ALLOWED, ECHO_ANY, VARY_NONE, NULL },
	/* no Origin: the constant * or nothing */
	{ { ACTUAL }, NONE(),
	    false, REASON_NOT_CORS, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL }, STAR(&plain),
	    false, REASON_NOT_CORS, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL }, STAR(&plain, .realm_only_any = true),
	    false, REASON_NOT_CORS, ECHO_ANY, VARY_NONE, NULL },
	{ { ACTUAL }, STAR(&plain, .realm_only_any = true),
	    true, REASON_NOT_CORS, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL }, STAR(&plain, .realm_only_any = true, .held = true),
	    false, REASON_NOT_CORS, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL }, STAR(&plain, .realm_only_any = true, .revoked = true),
	    false, REASON_NOT_CORS, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL }, STAR(&plain, .realm_only_any = true, .refuses = true),
	    false, REASON_NOT_CORS, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL }, STAR(&credentialed, .realm_only_any = true),
	    false, REASON_NOT_CORS, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL, .nrealm = 2 }, STAR(&plain, .realm_only_any = true),
	    false, REASON_NOT_CORS, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL }, ROW(&plain, .realm_only_any = true),
	    false, REASON_NOT_CORS, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL }, { .state = MATCH_NOT_READY },
	    false, REASON_NOT_CORS, ECHO_NONE, VARY_ORIGIN, NULL },
	/* the request itself */
	{ { .method = LITERAL("GET"), .nmethod = 2, GOOD }, ROW(&plain),
	    false, REASON_REQUEST_MALFORMED, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL, GOOD, .nrealm = 2 }, ROW(&plain),
	    false, REASON_REALM_MALFORMED, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL, GOOD, .realm = LITERAL("a\nb"), .nrealm = 1 }, ROW(&plain),
	    false, REASON_REALM_MALFORMED, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { .method = LITERAL("GET"), .nmethod = 2, .nrealm = 2, GOOD }, { .state = MATCH_ERROR },
	    true, REASON_REQUEST_MALFORMED, ECHO_NONE, VARY_ORIGIN, NULL },
	/* the table */
	{ { ACTUAL, GOOD }, { .state = MATCH_NOT_READY },
	    true, REASON_NOT_READY, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ASKS("PUT"), GOOD }, { .state = MATCH_NOT_READY },
	    false, REASON_NOT_READY, ECHO_NONE, VARY_PREFLIGHT, NULL },
	{ { ACTUAL, GOOD }, { .state = MATCH_ERROR },
	    false, REASON_TABLE_ERROR, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL, GOOD }, { .state = (enum match_state)77 },
	    false, REASON_TABLE_ERROR, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL, GOOD }, { .state = MATCH_ROW },
	    false, REASON_TABLE_ERROR, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL, GOOD }, ROW(&plain),
	    true, REASON_STALE, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ASKS("PUT"), GOOD }, STAR(&plain, .realm_only_any = true),
	    true, REASON_STALE, ECHO_NONE, VARY_PREFLIGHT, NULL },
	/* no row */
	{ { ACTUAL, GOOD }, NONE(),
	    false, REASON_REALM_UNKNOWN, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL, GOOD }, NONE(.realm_known = true),
	    false, REASON_ORIGIN_UNKNOWN, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ASKS("("), GOOD }, NONE(.realm_known = true),
	    false, REASON_ORIGIN_UNKNOWN, ECHO_NONE, VARY_PREFLIGHT, NULL },
	{ { ACTUAL, GOOD }, NONE(.realm_known = true, .saw_expired = true),
	    false, REASON_ROW_EXPIRED, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL, GOOD }, NONE(.saw_expired = true, .saw_unsafe = true),
	    false, REASON_ROW_UNSAFE, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL, FROM("null") }, NONE(.saw_unsafe = true),
	    false, REASON_ORIGIN_NULL, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL, FROM("https://a.com/") }, NONE(.saw_expired = true),
	    false, REASON_ORIGIN_MALFORMED, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL, .origin = LITERAL("null"), .norigin = 2 }, NONE(),
	    false, REASON_ORIGIN_REPEATED, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL, .origin = LITERAL("null"), .norigin = 2 }, NONE(),
	    true, REASON_STALE, ECHO_NONE, VARY_ORIGIN, NULL },
	/* a row that does not answer */
	{ { ACTUAL, GOOD }, ROW(&plain, .held = true, .refuses = true),
	    false, REASON_INVALIDATED, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL, GOOD }, ROW(&plain, .revoked = true, .held = true, .refuses = true),
	    false, REASON_REVOKED, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL, GOOD }, ROW(&plain, .revoked = true),
	    false, REASON_REVOKED, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL, GOOD }, ROW(&plain, .refuses = true),
	    false, REASON_ROW_REFUSES, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL, GOOD }, ROW(NULL, .refuses = true),
	    false, REASON_ROW_REFUSES, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL, GOOD }, STAR(&credentialed),
	    false, REASON_ROW_UNSAFE, ECHO_NONE, VARY_ORIGIN, NULL },
	/* a table that answers what it must not */
	{ { ACTUAL, FROM("null") }, ROW(&plain),
	    false, REASON_ORIGIN_NULL, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL, FROM("https://a b") }, ROW(&plain, .form = RULE_SUFFIX_ANY_PORT),
	    false, REASON_ORIGIN_MALFORMED, ECHO_NONE, VARY_ORIGIN, NULL },
	{ { ACTUAL, .origin = LITERAL("https://a.com"), .norigin = 2 }, ROW(&plain),
	    false, REASON_ORIGIN_REPEATED, ECHO_NONE, VARY_ORIGIN, NULL },
	/* the method asked for */
	{ { .method = LITERAL("OPTIONS"), .nmethod = 1, .acrm = LITERAL("PUT"), .nacrm = 2, GOOD }, ROW(&plain),
	    false, REASON_METHOD_MALFORMED, ECHO_NONE, VARY_PREFLIGHT, "PUT" },
	{ { ASKS("P(T"), GOOD }, ROW(&plain),
	    false, REASON_METHOD_MALFORMED, ECHO_NONE, VARY_PREFLIGHT, "P(T" },
	{ { ASKS("PUT "), GOOD }, ROW(&plain),
	    false, REASON_METHOD_MALFORMED, ECHO_NONE, VARY_PREFLIGHT, "PUT " },
	{ { ASKS(LONG65), GOOD }, ROW(&anything),
	    false, REASON_METHOD_MALFORMED, ECHO_NONE, VARY_PREFLIGHT, LONG65 },
	{ { ASKS("Trace"), GOOD }, ROW(&anything),
	    false, REASON_METHOD_FORBIDDEN, ECHO_NONE, VARY_PREFLIGHT, "Trace" },
	{ { ASKS("PATCH"), GOOD }, ROW(&plain),
	    false, REASON_METHOD_NOT_ALLOWED, ECHO_NONE, VARY_PREFLIGHT, "PATCH" },
	{ { ASKS("put"), GOOD }, ROW(&plain),
	    false, REASON_METHOD_NOT_ALLOWED, ECHO_NONE, VARY_PREFLIGHT, "put" },
	{ { ASKS("POST"), GOOD }, ROW(&plain),
	    false, REASON_ALLOWED, ECHO_ORIGIN, VARY_PREFLIGHT, NULL },
	{ { ASKS("PURGE"), GOOD }, ROW(&anything),
	    false, REASON_ALLOWED, ECHO_ORIGIN, VARY_PREFLIGHT, NULL },
	{ { .method = LITERAL("GET"), .nmethod = 1, .acrm = LITERAL("("), .nacrm = 3, GOOD }, ROW(&plain),
	    false, REASON_ALLOWED, ECHO_ORIGIN, VARY_ORIGIN, NULL },
	/* the headers asked for */
	{ { ASKS("PUT"), GOOD, NAMES("x-a,X-B") }, ROW(&plain),
	    false, REASON_ALLOWED, ECHO_ORIGIN, VARY_PREFLIGHT, NULL },
	{ { ASKS("PUT"), GOOD, NAMES("x-a,x-c,x-d") }, ROW(&plain),
	    false, REASON_HEADER_NOT_ALLOWED, ECHO_NONE, VARY_PREFLIGHT, "x-c" },
	{ { ASKS("PUT"), GOOD, NAMES("x-a,x;b") }, ROW(&plain),
	    false, REASON_HEADERS_MALFORMED, ECHO_NONE, VARY_PREFLIGHT, "x;b" },
	{ { ASKS("PUT"), GOOD, .nacrh = ACRH_MAX_LINES + 1 }, ROW(&plain),
	    false, REASON_HEADERS_TOO_LONG, ECHO_NONE, VARY_PREFLIGHT, NULL },
	{ { ASKS("PATCH"), GOOD, NAMES("(") }, ROW(&plain),
	    false, REASON_METHOD_NOT_ALLOWED, ECHO_NONE, VARY_PREFLIGHT, "PATCH" },
	{ { ASKS("PUT"), GOOD, NAMES("authorization") }, ROW(&anything),
	    false, REASON_HEADER_NOT_ALLOWED, ECHO_NONE, VARY_PREFLIGHT, "authorization" },
	{ { ACTUAL, GOOD, NAMES("(") }, ROW(&plain),
	    false, REASON_ALLOWED, ECHO_ORIGIN, VARY_ORIGIN, NULL },
};

START_TEST(decides)
{
	struct origin o;
	struct decision d;
	enum origin_status status = request_origin(&cases[_i].q, &o);

	memset(&d, 0x5a, sizeof(d));
	decide(&cases[_i].q, status, &cases[_i].m, cases[_i].is_stale, &d);
	ck_assert_str_eq(reason_token(d.reason), reason_token(cases[_i].want));
	ck_assert_int_eq(d.class, request_classify(&cases[_i].q));
	ck_assert_int_eq(d.allow, cases[_i].want == REASON_ALLOWED);
	ck_assert_int_eq(d.echo, cases[_i].echo);
	ck_assert_int_eq(d.vary, cases[_i].vary);
	ck_assert_uint_eq(d.culprit.len, text(cases[_i].culprit).len);
	if (d.culprit.len > 0)
		ck_assert_mem_eq(d.culprit.at, cases[_i].culprit, d.culprit.len);
	if (d.echo != ECHO_NONE || (cases[_i].want >= REASON_METHOD_MALFORMED &&
	    cases[_i].want <= REASON_HEADER_NOT_ALLOWED))
		ck_assert_ptr_eq(d.policy, cases[_i].m.policy);
	else
		ck_assert_ptr_null(d.policy);
}
END_TEST

/* Whatever is said of it: no response has room for more. */
START_TEST(a_long_origin_is_never_echoed)
{
	static char origin[ORIGIN_MAX + 1];
	struct request q = { .method = LITERAL("GET"), .nmethod = 1, .norigin = 1 };
	struct match m = ROW(&plain), star = STAR(&plain);
	struct decision d;

	memset(origin, 'a', sizeof origin);
	q.origin = (struct span){ origin, sizeof origin };
	decide(&q, ORIGIN_OK, &m, false, &d);
	ck_assert_int_eq(d.reason, REASON_ORIGIN_MALFORMED);
	ck_assert_int_eq(d.echo, ECHO_NONE);
	decide(&q, ORIGIN_OK, &star, false, &d);
	ck_assert_int_eq(d.echo, ECHO_ANY);
	q.origin.len = ORIGIN_MAX;
	decide(&q, ORIGIN_OK, &m, false, &d);
	ck_assert_int_eq(d.echo, ECHO_ORIGIN);
}
END_TEST

START_TEST(every_reason_is_seen_and_has_words)
{
	bool seen[REASON_COUNT] = { false };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		seen[cases[i].want] = true;
	for (int i = 0; i < REASON_COUNT; i++) {
		ck_assert_msg(seen[i], "no case for %s", reason_token((enum reason)i));
		ck_assert_str_ne(reason_token((enum reason)i), reason_token(REASON_COUNT));
		ck_assert_str_ne(reason_sentence((enum reason)i), reason_sentence(REASON_COUNT));
		for (int j = 0; j < i; j++)
			ck_assert_str_ne(reason_token((enum reason)i), reason_token((enum reason)j));
	}
}
END_TEST

static const struct {
	enum rule_form	 form;
	const char	*origin;
	bool		 public_suffix, credentials, insecure, want;
} unsafe[] = {
	{ RULE_EXACT, "https://a.com", false, true, false, false },
	{ RULE_EXACT, "http://a.com", false, true, false, true },
	{ RULE_EXACT, "http://a.com", false, true, true, false },
	{ RULE_EXACT, "http://a.com", false, false, false, false },
	{ RULE_EXACT, "http://localhost:3000", false, true, false, false },
	{ RULE_HOST_ANY_PORT, "http://a.com:1", false, true, false, true },
	{ RULE_SUFFIX, "http://b.a.com", false, true, false, true },
	{ RULE_SUFFIX, "https://b.github.io", true, true, false, true },
	{ RULE_SUFFIX, "https://b.github.io", true, true, true, false },
	{ RULE_SUFFIX_ANY_PORT, "https://b.github.io", true, false, false, false },
	{ RULE_SCHEME, "app://a", false, true, false, true },
	{ RULE_SCHEME, "app://a", false, true, true, false },
	{ RULE_SCHEME, "app://a", false, false, false, false },
	{ RULE_EXACT, "app://a", false, true, false, false },
	{ RULE_ANY, "https://a.com", false, true, false, true },
	{ RULE_ANY, "https://a.com", false, true, true, true },
	{ RULE_ANY, NULL, false, true, true, true },
	{ RULE_ANY, NULL, false, false, false, false },
};

START_TEST(unsafe_rows_need_consent_and_any_has_none)
{
	struct policy p = { .credentials = unsafe[_i].credentials, .insecure = unsafe[_i].insecure };
	struct span s = text(unsafe[_i].origin);
	struct origin o;

	if (s.len > 0)
		ck_assert_int_eq(origin_parse(&o, s.at, s.len), ORIGIN_OK);
	ck_assert(row_is_unsafe(unsafe[_i].form, s.len > 0 ? &o : NULL, unsafe[_i].public_suffix,
	    &p) == unsafe[_i].want);
	ck_assert(!row_is_unsafe(unsafe[_i].form, s.len > 0 ? &o : NULL, unsafe[_i].public_suffix, NULL));
}
END_TEST

/* What acrh_each() said: the names joined by "|". */
struct seen {
	char		 names[8192];
	size_t		 n;
	const char	*stop;
};

static bool
collect(struct span name, void *arg)
{
	struct seen *seen = arg;

	strncat(strcat(seen->names, seen->n++ > 0 ? "|" : ""), name.at, name.len);
	return seen->stop == NULL || strlen(seen->stop) != name.len || memcmp(seen->stop, name.at,
	    name.len) != 0;
}

static const struct {
	const char	*lines[3];
	enum reason	 want;
	const char	*names;
	const char	*culprit;
} lists[] = {
	{ { NULL }, REASON_ALLOWED, "", NULL },
	{ { "" }, REASON_ALLOWED, "", NULL },
	{ { "a" }, REASON_ALLOWED, "a", NULL },
	{ { "a,b" }, REASON_ALLOWED, "a|b", NULL },
	{ { " a\t , \tb " }, REASON_ALLOWED, "a|b", NULL },
	{ { "a,,b, ,\t," }, REASON_ALLOWED, "a|b", NULL },
	{ { "a,A,a" }, REASON_ALLOWED, "a|A|a", NULL },
	{ { "a,b", "c", " d" }, REASON_ALLOWED, "a|b|c|d", NULL },
	{ { " " }, REASON_ALLOWED, "", NULL },
	{ { "a b" }, REASON_HEADERS_MALFORMED, "", "a b" },
	{ { "a,b\x01,c" }, REASON_HEADERS_MALFORMED, "a", "b\x01" },
	{ { "a,b\xc3\xa9" }, REASON_HEADERS_MALFORMED, "a", "b\xc3\xa9" },
	{ { "a\r\nb" }, REASON_HEADERS_MALFORMED, "", "a\r\nb" },
	{ { "a;b" }, REASON_HEADERS_MALFORMED, "", "a;b" },
	{ { "a,stop,b" }, REASON_HEADER_NOT_ALLOWED, "a|stop", "stop" },
	{ { "a", "stop", "(" }, REASON_HEADER_NOT_ALLOWED, "a|stop", "stop" },
	{ { ",,,,,,,,,,,,,,," }, REASON_ALLOWED, "", NULL },			/* 15 commas, 16 empty elements */
	{ { ",,,,,,,,,,,,,,,," }, REASON_HEADERS_TOO_LONG, "", NULL },
	{ { ",,,,,,,", ",,,,,,,," }, REASON_HEADERS_TOO_LONG, "", NULL },	/* over all lines */
};

START_TEST(lists_are_read_as_browsers_and_proxies_write_them)
{
	struct seen seen = { .stop = "stop" };
	struct request q = { .nacrh = 0 };
	struct span culprit = text("left");

	for (int i = 0; i < 3 && lists[_i].lines[i] != NULL; i++)
		q.acrh[q.nacrh++] = text(lists[_i].lines[i]);
	ck_assert_str_eq(reason_token(acrh_each(&q, collect, &seen, &culprit)), reason_token(lists[_i].want));
	ck_assert_str_eq(seen.names, lists[_i].names);
	ck_assert_uint_eq(culprit.len, text(lists[_i].culprit).len);
	if (culprit.len > 0)
		ck_assert_mem_eq(culprit.at, lists[_i].culprit, culprit.len);
}
END_TEST

START_TEST(lists_have_bounds)
{
	static char bytes[ACRH_MAX + 1];
	struct seen seen = { .stop = NULL };
	struct request q = { .nacrh = 1 };
	struct span culprit;

	memset(bytes, 'a', sizeof(bytes));
	q.acrh[0] = (struct span){ bytes, ACRH_MAX };
	ck_assert_int_eq(acrh_each(&q, collect, &seen, &culprit), REASON_ALLOWED);
	ck_assert_uint_eq(seen.n, 1);
	q.acrh[0].len++;
	ck_assert_int_eq(acrh_each(&q, collect, &seen, &culprit), REASON_HEADERS_TOO_LONG);
	ck_assert_uint_eq(seen.n, 1);	/* bounded before any work */
	q.acrh[0].len--;
	q.acrh[q.nacrh++] = text("b");
	ck_assert_int_eq(acrh_each(&q, collect, &seen, &culprit), REASON_HEADERS_TOO_LONG);

	for (q.nacrh = 0; q.nacrh < ACRH_MAX_LINES; q.nacrh++)
		q.acrh[q.nacrh] = text("a");
	ck_assert_int_eq(acrh_each(&q, collect, &seen, &culprit), REASON_ALLOWED);
	q.acrh[0] = text("a,b");
	ck_assert_int_eq(acrh_each(&q, collect, &seen, &culprit), REASON_HEADERS_TOO_LONG);
	q.acrh[0] = text("a");
	q.nacrh = UINT32_MAX;
	ck_assert_int_eq(acrh_each(&q, collect, &seen, &culprit), REASON_HEADERS_TOO_LONG);
}
END_TEST

#define LOOP(tc, test, table)	tcase_add_loop_test(tc, test, 0, sizeof(table) / sizeof((table)[0]))

int
main(void)
{
	Suite *suite = suite_create("decide");
	TCase *tc = tcase_create("decide");

	LOOP(tc, classifies_before_anything_else, classes);
	LOOP(tc, decides, cases);
	tcase_add_test(tc, a_long_origin_is_never_echoed);
	LOOP(tc, unsafe_rows_need_consent_and_any_has_none, unsafe);
	LOOP(tc, lists_are_read_as_browsers_and_proxies_write_them, lists);
	tcase_add_test(tc, an_origin_counts_once);
	tcase_add_test(tc, every_reason_is_seen_and_has_words);
	tcase_add_test(tc, lists_have_bounds);
	suite_add_tcase(suite, tc);
	return run(suite);
}

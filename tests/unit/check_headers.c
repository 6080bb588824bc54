/* SPDX-License-Identifier: BSD-2-Clause */
#include "headers.h"

#include <stdio.h>
#include <string.h>

#include "run.h"

#define LITERAL(s)	{ s, sizeof(s) - 1 }
#define VARY_THREE	"Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n"

static const struct policy plain = {
	.methods = LITERAL("DELETE,PUT"), .headers = LITERAL("x-a,x-b"), .expose = LITERAL("x-c"),
	    .max_age = 600,
};
static const struct policy credentialed = {
	.methods = LITERAL("DELETE,PUT"), .headers = LITERAL("x-a,x-b"), .expose = LITERAL("x-c"), .max_age = 0,
	.credentials = true,
};
static const struct policy anything = {
	.headers = LITERAL("authorization"), .expose = LITERAL("*"), .max_age = POLICY_MAX_AGE,
	.any_method = true, .any_header = true,
};
static const struct policy nothing = { .max_age = POLICY_NO_MAX_AGE };

/* A credentialed policy with a * in its lists still sends no * to a browser. */
static const struct policy credentialed_anything = {
	.max_age = POLICY_NO_MAX_AGE, .credentials = true, .any_method = true, .any_header = true,
};

#define ORIGIN		.origin = LITERAL("https://a.com"), .norigin = 1
#define ACTUAL		{ .method = LITERAL("GET"), .nmethod = 1, ORIGIN }
#define NON_CORS	{ .method = LITERAL("GET"), .nmethod = 1 }
#define ASKS(m, n)	{ .method = LITERAL("OPTIONS"), .nmethod = 1, ORIGIN, .acrm = LITERAL(m), .nacrm = 1, \
	.acrh = { LITERAL(n) }, .nacrh = 1 }

static const struct {
	struct request		 q;
	struct match		 m;
	enum headers_form	 form;
	const char		*want;
} cases[] = {
	{ ACTUAL, { MATCH_ROW, .policy = &plain }, HEADERS_RESPONSE,
	    "Access-Control-Allow-Origin: https://a.com\r\nAccess-Control-Expose-Headers: x-c\r\nVary: Origin\r\n" },
	{ ACTUAL, { MATCH_ROW, .policy = &credentialed }, HEADERS_RESPONSE,
	    "Access-Control-Allow-Origin: https://a.com\r\nAccess-Control-Allow-Credentials: true\r\n"
	    "Access-Control-Expose-Headers: x-c\r\nVary: Origin\r\n" },
	{ ACTUAL, { MATCH_ROW, .policy = &nothing }, HEADERS_RESPONSE,
	    "Access-Control-Allow-Origin: https://a.com\r\nVary: Origin\r\n" },
	{ ACTUAL, { MATCH_ROW, .form = RULE_ANY, .policy = &anything }, HEADERS_RESPONSE,
	    "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: *\r\nVary: Origin\r\n" },
	{ ACTUAL, { MATCH_ROW, .form = RULE_ANY, .realm_only_any = true, .policy = &plain }, HEADERS_RESPONSE,
	    "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: x-c\r\n" },
	{ ACTUAL, { MATCH_NONE, .realm_known = true }, HEADERS_RESPONSE, "Vary: Origin\r\n" },
	{ ACTUAL, { MATCH_ROW, .form = RULE_ANY, .policy = &credentialed }, HEADERS_RESPONSE,
	    "Vary: Origin\r\n" },
	{ NON_CORS, { MATCH_NONE }, HEADERS_RESPONSE, "Vary: Origin\r\n" },
	{ NON_CORS, { MATCH_ROW, .form = RULE_ANY, .realm_only_any = true, .policy = &plain }, HEADERS_RESPONSE,
	    "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: x-c\r\n" },
	{ ASKS("PUT", ""), { MATCH_ROW, .policy = &plain }, HEADERS_RESPONSE,
	    "Access-Control-Allow-Origin: https://a.com\r\nAccess-Control-Allow-Methods: DELETE,PUT\r\n"
	    "Access-Control-Max-Age: 600\r\n" VARY_THREE },
	{ ASKS("PUT", " , "), { MATCH_ROW, .policy = &plain }, HEADERS_RESPONSE,
	    "Access-Control-Allow-Origin: https://a.com\r\nAccess-Control-Allow-Methods: DELETE,PUT\r\n"
	    "Access-Control-Max-Age: 600\r\n" VARY_THREE },
	{ ASKS("PUT", "X-A"), { MATCH_ROW, .policy = &credentialed }, HEADERS_RESPONSE,
	    "Access-Control-Allow-Origin: https://a.com\r\nAccess-Control-Allow-Credentials: true\r\n"
	    "Access-Control-Allow-Methods: DELETE,PUT\r\nAccess-Control-Allow-Headers: x-a,x-b\r\n"
	    "Access-Control-Max-Age: 0\r\n" VARY_THREE },
	{ ASKS("GET", ""), { MATCH_ROW, .policy = &nothing }, HEADERS_RESPONSE,
	    "Access-Control-Allow-Origin: https://a.com\r\n" VARY_THREE },
	{ ASKS("PURGE", "X-Foo,, authorization\t,x-foo"), { MATCH_ROW, .policy = &anything }, HEADERS_RESPONSE,
	    "Access-Control-Allow-Origin: https://a.com\r\nAccess-Control-Allow-Methods: PURGE\r\n"
	    "Access-Control-Allow-Headers: x-foo,authorization,x-foo\r\nAccess-Control-Max-Age: 86400\r\n" VARY_THREE },
	{ ASKS("PURGE", "X-Foo"), { MATCH_ROW, .policy = &credentialed_anything }, HEADERS_RESPONSE,
	    "Access-Control-Allow-Origin: https://a.com\r\nAccess-Control-Allow-Credentials: true\r\n"
	    "Access-Control-Allow-Methods: PURGE\r\nAccess-Control-Allow-Headers: x-foo\r\n" VARY_THREE },
	{ ASKS("PURGE", " "), { MATCH_ROW, .policy = &anything }, HEADERS_RESPONSE,
	    "Access-Control-Allow-Origin: https://a.com\r\nAccess-Control-Allow-Methods: PURGE\r\n"
	    "Access-Control-Max-Age: 86400\r\n" VARY_THREE },
	{ ASKS("PUT", ""), { MATCH_ROW, .form = RULE_ANY, .realm_only_any = true, .policy = &plain },
	    HEADERS_RESPONSE,
	    "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: DELETE,PUT\r\n"
	    "Access-Control-Max-Age: 600\r\n" },
	{ ASKS("PATCH", ""), { MATCH_ROW, .policy = &plain }, HEADERS_RESPONSE, VARY_THREE },
	{ ASKS("PUT", "x-no"), { MATCH_ROW, .policy = &credentialed }, HEADERS_RESPONSE, VARY_THREE },
	{ ACTUAL, { MATCH_ROW, .policy = &credentialed }, HEADERS_VARIABLES,
	    "Variable-CORS_ALLOW_ORIGIN: https://a.com\r\nVariable-CORS_ALLOW_CREDENTIALS: true\r\n"
	    "Variable-CORS_EXPOSE_HEADERS: x-c\r\nVariable-CORS_VARY: Origin\r\n" },
	{ ACTUAL, { MATCH_NONE }, HEADERS_VARIABLES, "Variable-CORS_VARY: Origin\r\n" },
	{ ASKS("PUT", "x-a"), { MATCH_ROW, .policy = &plain }, HEADERS_VARIABLES,
	    "Variable-CORS_ALLOW_ORIGIN: https://a.com\r\nVariable-CORS_ALLOW_METHODS: DELETE,PUT\r\n"
	    "Variable-CORS_ALLOW_HEADERS: x-a,x-b\r\nVariable-CORS_MAX_AGE: 600\r\n"
	    "Variable-CORS_VARY: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n" },
};

static void
decide_it(const struct request *q, const struct match *m, struct decision *d)
{
	struct origin o;

	decide(q, request_origin(q, &o), m, false, d);
}

START_TEST(writes_these_lines_in_this_order)
{
	static char buf[HEADERS_MAX + 1];
	struct decision d;
	size_t len;

	decide_it(&cases[_i].q, &cases[_i].m, &d);
	len = headers_write(buf, HEADERS_MAX, cases[_i].form, &cases[_i].q, &d);
	buf[len] = '\0';
	ck_assert_str_eq(buf, cases[_i].want);
}
END_TEST

static const struct {
	struct request	 q;
	struct match	 m;
	const char	*want;
} debug[] = {
	{ ACTUAL, { MATCH_ROW, .policy = &plain }, "Corscache-Decision: allow\r\n" },
	{ ASKS("PUT", "x-a"), { MATCH_ROW, .policy = &plain }, "Corscache-Decision: allow\r\n" },
	{ NON_CORS, { MATCH_NONE }, "Corscache-Decision: none; reason=not-cors\r\n" },
	{ NON_CORS, { MATCH_ROW, .form = RULE_ANY, .realm_only_any = true, .policy = &plain },
	    "Corscache-Decision: none; reason=not-cors\r\n" },
	{ ACTUAL, { MATCH_NONE }, "Corscache-Decision: refuse; reason=realm-unknown\r\n" },
	{ ASKS("PATCH", ""), { MATCH_ROW, .policy = &plain },
	    "Corscache-Decision: refuse; reason=method; name=PATCH\r\n"
	    "Corscache-Allow-Methods: DELETE,PUT\r\nCorscache-Allow-Headers: x-a,x-b\r\n" },
	{ ASKS("PUT", "x-a,x-no"), { MATCH_ROW, .policy = &plain },
	    "Corscache-Decision: refuse; reason=header; name=x-no\r\n"
	    "Corscache-Allow-Methods: DELETE,PUT\r\nCorscache-Allow-Headers: x-a,x-b\r\n" },
	{ ASKS("TRACE", ""), { MATCH_ROW, .policy = &anything },
	    "Corscache-Decision: refuse; reason=method-forbidden; name=TRACE\r\n"
	    "Corscache-Allow-Methods: *\r\nCorscache-Allow-Headers: *\r\nCorscache-Allow-Headers: authorization\r\n" },
	{ ASKS("PUT", "x\r\nSet-Cookie: a"), { MATCH_ROW, .policy = &nothing },
	    "Corscache-Decision: refuse; reason=method; name=PUT\r\n" },
	{ ASKS("GET", "x\r\nSet-Cookie: a"), { MATCH_ROW, .policy = &nothing },
	    "Corscache-Decision: refuse; reason=headers-malformed\r\n" },
	{ ASKS("PUT", ""), { MATCH_NONE, .realm_known = true },
	    "Corscache-Decision: refuse; reason=origin-unknown\r\n" },
};

START_TEST(debug_says_why_and_what_would_be_allowed)
{
	static char buf[HEADERS_MAX + 1];
	struct decision d;
	size_t len;

	decide_it(&debug[_i].q, &debug[_i].m, &d);
	len = headers_write_debug(buf, HEADERS_DEBUG_MAX, &debug[_i].q, &d);
	buf[len] = '\0';
	ck_assert_str_eq(buf, debug[_i].want);
}
END_TEST

/* decide() never asks for both; browsers refuse such a response. */
START_TEST(credentials_never_stand_beside_a_star)
{
	struct request q = ACTUAL;
	struct decision d = { .class = REQUEST_ACTUAL, .allow = true, .echo = ECHO_ANY, .vary = VARY_ORIGIN,
		.policy = &credentialed };
	char buf[HEADERS_MAX + 1];

	buf[headers_write(buf, HEADERS_MAX, HEADERS_RESPONSE, &q, &d)] = '\0';
	ck_assert_str_eq(buf,
	    "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: x-c\r\nVary: Origin\r\n");
}
END_TEST

/* Everything as long as it may be; the buffer is exactly HEADERS_MAX and watched behind. */
START_TEST(the_longest_response_fits)
{
	static char buf[HEADERS_MAX + 64], list[POLICY_MAX_HEADERS], name[ACRH_MAX / ACRH_MAX_LINES],
	    origin[ORIGIN_MAX];
	struct policy p = { .headers = { list, sizeof(list) }, .methods = { list, POLICY_MAX_METHODS },
		.expose = { list, sizeof(list) }, .max_age = POLICY_MAX_AGE, .credentials = true,
		    .any_header = true };
	struct request q = ASKS("GET", "");
	struct decision d = { .class = REQUEST_PREFLIGHT, .allow = true, .echo = ECHO_ORIGIN,
	    .vary = VARY_PREFLIGHT,
		.policy = &p };
	size_t len, debugged;

	memset(list, 'x', sizeof(list));
	memset(name, 'N', sizeof(name));
	memset(origin, 'o', sizeof(origin));
	q.origin = (struct span){ origin, sizeof(origin) };
	for (q.nacrh = 0; q.nacrh < ACRH_MAX_LINES; q.nacrh++)
		q.acrh[q.nacrh] = (struct span){ name, sizeof(name) };
	memset(buf, 0x5a, sizeof(buf));
	len = headers_write(buf, HEADERS_MAX, HEADERS_RESPONSE, &q, &d);
	ck_assert_uint_gt(len, ORIGIN_MAX + POLICY_MAX_METHODS + ACRH_MAX);
	ck_assert_uint_le(len, HEADERS_MAX);
	d.allow = false;
	d.reason = REASON_HEADER_NOT_ALLOWED;
	debugged = headers_write_debug(buf, HEADERS_DEBUG_MAX, &q, &d);
	ck_assert_uint_le(debugged, HEADERS_DEBUG_MAX);
	for (size_t i = HEADERS_MAX; i < sizeof(buf); i++)
		ck_assert_int_eq(buf[i], 0x5a);
}
END_TEST

#define LOOP(tc, test, table)	tcase_add_loop_test(tc, test, 0, sizeof(table) / sizeof((table)[0]))

int
main(void)
{
	Suite *suite = suite_create("headers");
	TCase *tc = tcase_create("headers");

	LOOP(tc, writes_these_lines_in_this_order, cases);
	LOOP(tc, debug_says_why_and_what_would_be_allowed, debug);
	tcase_add_test(tc, credentials_never_stand_beside_a_star);
	tcase_add_test(tc, the_longest_response_fits);
	suite_add_tcase(suite, tc);
	return run(suite);
}

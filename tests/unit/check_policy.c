/* SPDX-License-Identifier: BSD-2-Clause */
#include "policy.h"

#include <stdio.h>
#include <string.h>

#include "run.h"

#define MAX	(POLICY_MAX_TOKENS + 2)
#define A10	"aaaaaaaaaa"
#define A64	A10 A10 A10 A10 A10 A10 "aaaa"

static struct span
text(const char *s)
{
	return (struct span){ s, strlen(s) };
}

static const char *
show(struct span s)
{
	static char out[2][4096];
	static int turn;

	turn = !turn;
	snprintf(out[turn], sizeof(out[turn]), "%.*s", (int)s.len, s.at);
	return out[turn];
}

/* "a b c" -> spans; "" is no element, "-" the empty one. */
static size_t
words(struct span *spans, const char *s)
{
	size_t n = 0;

	for (s += strspn(s, " "); *s != '\0'; s += strspn(s, " ")) {
		spans[n] = (struct span){ s, strcspn(s, " ") };
		s += spans[n].len;
		if (spans[n].len == 1 && spans[n].at[0] == '-')
			spans[n].len = 0;
		n++;
	}
	return n;
}

struct fixture {
	struct span		 lists[3][MAX];
	struct policy_row	 row;
	char			 block[POLICY_MAX];
	size_t			 len;
	struct policy		 policy;
};
static struct fixture f;

static enum policy_status
compile(const char *methods, const char *headers, const char *expose, struct span *culprit)
{
	enum policy_status status;

	f.row.methods = f.lists[0];
	f.row.nmethods = words(f.lists[0], methods);
	f.row.headers = f.lists[1];
	f.row.nheaders = words(f.lists[1], headers);
	f.row.expose = f.lists[2];
	f.row.nexpose = words(f.lists[2], expose);
	status = policy_compile(&f.row, f.block, &f.len, culprit);
	if (status == POLICY_OK)
		ck_assert_int_eq(policy_read(&f.policy, f.block, f.len), POLICY_OK);
	return status;
}

static void
setup(void)
{
	memset(&f, 0, sizeof(f));
	f.row.name = text("default");
	f.row.max_age = POLICY_NO_MAX_AGE;
}

static const struct {
	const char	*methods, *headers, *expose;
	const char	*want_methods, *want_headers, *want_expose;
	bool		 any_method, any_header;
} good[] = {
	{ "", "", "", "", "", "", false, false },
	{ "GET", "X-A", "X-B", "GET", "x-a", "x-b", false, false },
	{ "put get Delete hEAD options Post", "", "", "DELETE,GET,HEAD,OPTIONS,POST,PUT", "", "", false,
	    false },
	{ "patch PATCH Patch", "", "", "PATCH,Patch,patch", "", "", false, false },
	{ "PUT GET put", "b a B c A", "B b a", "GET,PUT", "a,b,c", "a,b", false, false },
	{ "aa a aaa", "aa a aaa", "", "a,aa,aaa", "a,aa,aaa", "", false, false },
	{ "*", "*", "*", "", "", "*", true, true },
	{ "GET *", "* Authorization", "", "", "authorization", "", true, true },
	{ "", "", "Cache-Control Content-Language Content-Length Content-Type Expires Last-Modified Pragma X-A",
	    "", "", "x-a", false, false },
	{ "!#$%&'*+-.^_`|~0", "!#$%&'*+-.^_`|~0aZ", "", "!#$%&'*+-.^_`|~0", "!#$%&'*+-.^_`|~0az", "", false,
	    false },
	{ A64, A64, A64, A64, A64, A64, false, false },
	{ "CONNECTS TRAC", "cookies x-sec- proxy access-control", "set-cookie3", "CONNECTS,TRAC",
	    "access-control,cookies,proxy,x-sec-", "set-cookie3", false, false },
};

START_TEST(renders_lists_sorted_and_once)
{
	enum policy_status got = compile(good[_i].methods, good[_i].headers, good[_i].expose, NULL);

	ck_assert_msg(got == POLICY_OK, "%s", policy_strstatus(got));
	ck_assert_str_eq(show(f.policy.name), "default");
	ck_assert_str_eq(show(f.policy.methods), good[_i].want_methods);
	ck_assert_str_eq(show(f.policy.headers), good[_i].want_headers);
	ck_assert_str_eq(show(f.policy.expose), good[_i].want_expose);
	ck_assert_int_eq(f.policy.any_method, good[_i].any_method);
	ck_assert_int_eq(f.policy.any_header, good[_i].any_header);
	ck_assert_uint_eq(f.len % 8, 0);
	ck_assert_uint_le(f.len, POLICY_MAX);
}
END_TEST

static const struct {
	const char		*methods, *headers, *expose;
	enum policy_status	 want;
	const char		*culprit;
} bad[] = {
	{ "GET G(T", "", "", POLICY_BAD_METHOD, "G(T" },
	{ "-", "", "", POLICY_BAD_METHOD, "" },
	{ "a,b", "", "", POLICY_BAD_METHOD, "a,b" },
	{ A64 "a", "", "", POLICY_BAD_METHOD, A64 "a" },
	{ "GET CONNECT PUT", "", "", POLICY_FORBIDDEN_METHOD, "CONNECT" },
	{ "trace", "", "", POLICY_FORBIDDEN_METHOD, "trace" },
	{ "* Track", "", "", POLICY_FORBIDDEN_METHOD, "Track" },
	{ "", "x:y", "", POLICY_BAD_HEADER, "x:y" },
	{ "", "x\x80", "", POLICY_BAD_HEADER, "x\x80" },
	{ "", "-", "", POLICY_BAD_HEADER, "" },
	{ "", A64 "a", "", POLICY_BAD_HEADER, A64 "a" },
	{ "", "x-a Cookie x-b", "", POLICY_FORBIDDEN_HEADER, "Cookie" },
	{ "", "* Host", "", POLICY_FORBIDDEN_HEADER, "Host" },
	{ "", "ORIGIN", "", POLICY_FORBIDDEN_HEADER, "ORIGIN" },
	{ "", "Sec-Fetch-Site", "", POLICY_FORBIDDEN_HEADER, "Sec-Fetch-Site" },
	{ "", "sec-", "", POLICY_FORBIDDEN_HEADER, "sec-" },
	{ "", "Proxy-Authorization", "", POLICY_FORBIDDEN_HEADER, "Proxy-Authorization" },
	{ "", "Access-Control-Request-Method", "", POLICY_FORBIDDEN_HEADER, "Access-Control-Request-Method" },
	{ "", "Access-Control-Allow-Origin", "", POLICY_FORBIDDEN_HEADER, "Access-Control-Allow-Origin" },
	{ "", "Access-Control-Max-Age", "", POLICY_FORBIDDEN_HEADER, "Access-Control-Max-Age" },
	{ "", "via", "", POLICY_FORBIDDEN_HEADER, "via" },
	{ "", "", "x y=", POLICY_BAD_EXPOSE, "y=" },
	{ "", "", "-", POLICY_BAD_EXPOSE, "" },
	{ "", "", "x Set-Cookie", POLICY_FORBIDDEN_EXPOSE, "Set-Cookie" },
	{ "", "", "SET-COOKIE2", POLICY_FORBIDDEN_EXPOSE, "SET-COOKIE2" },
	{ "", "", "Origin", POLICY_FORBIDDEN_EXPOSE, "Origin" },
	{ "", "", "Access-Control-Request-Headers", POLICY_FORBIDDEN_EXPOSE, "Access-Control-Request-Headers" },
};

START_TEST(refuses_and_names_the_element)
{
	struct span culprit = { NULL, 0 };
	enum policy_status got = compile(bad[_i].methods, bad[_i].headers, bad[_i].expose, &culprit);

	ck_assert_msg(got == bad[_i].want, "%s; want %s", policy_strstatus(got),
	    policy_strstatus(bad[_i].want));
	ck_assert_str_eq(show(culprit), bad[_i].culprit);
}
END_TEST

START_TEST(an_exposed_any_is_refused_with_credentials_only)
{
	struct span culprit;

	ck_assert_int_eq(compile("", "", "x *", NULL), POLICY_OK);
	f.row.credentials = true;
	ck_assert_int_eq(compile("", "", "x *", &culprit), POLICY_EXPOSE_ANY_WITH_CREDENTIALS);
	ck_assert_str_eq(show(culprit), "*");
	ck_assert_int_eq(compile("*", "*", "x", NULL), POLICY_OK);
}
END_TEST

START_TEST(scalars_survive)
{
	f.row.credentials = _i & 1;
	f.row.insecure = _i & 2;
	f.row.max_age = _i & 4 ? POLICY_MAX_AGE : _i & 8 ? 0 : POLICY_NO_MAX_AGE;
	ck_assert_int_eq(compile("PUT", "", "", NULL), POLICY_OK);
	ck_assert_int_eq(f.policy.credentials, f.row.credentials);
	ck_assert_int_eq(f.policy.insecure, f.row.insecure);
	ck_assert_int_eq(f.policy.max_age, f.row.max_age);
}
END_TEST

START_TEST(max_age_has_bounds)
{
	f.row.max_age = POLICY_MAX_AGE + 1;
	ck_assert_int_eq(compile("", "", "", NULL), POLICY_BAD_MAX_AGE);
	f.row.max_age = -2;
	ck_assert_int_eq(compile("", "", "", NULL), POLICY_BAD_MAX_AGE);
	f.row.max_age = INT32_MIN;
	ck_assert_int_eq(compile("", "", "", NULL), POLICY_BAD_MAX_AGE);
}
END_TEST

START_TEST(a_name_has_bounds)
{
	char name[POLICY_MAX_NAME + 1];

	memset(name, 'n', sizeof(name));
	f.row.name = (struct span){ name, POLICY_MAX_NAME };
	ck_assert_int_eq(compile("", "", "", NULL), POLICY_OK);
	f.row.name.len++;
	ck_assert_int_eq(compile("", "", "", NULL), POLICY_BAD_NAME);
	f.row.name.len = 0;
	ck_assert_int_eq(compile("", "", "", NULL), POLICY_BAD_NAME);
	f.row.name = text("a\nb");
	ck_assert_int_eq(compile("", "", "", NULL), POLICY_BAD_NAME);
}
END_TEST

/* n tokens of len bytes each, all different; their rendered list has n * (len + 1) - 1 bytes. */
static enum policy_status
compile_many(size_t n, size_t len, int list)
{
	static char tokens[MAX][POLICY_MAX_TOKEN + 1];
	struct span *spans = f.lists[list];

	for (size_t i = 0; i < n; i++) {
		memset(tokens[i], 'x', len);
		tokens[i][0] = (char)('a' + i % 26);
		tokens[i][1] = (char)('0' + i / 26);
		spans[i] = (struct span){ tokens[i], len };
	}
	f.row.methods = f.lists[0];
	f.row.headers = f.lists[1];
	f.row.expose = f.lists[2];
	f.row.nmethods = list == 0 ? n : 0;
	f.row.nheaders = list == 1 ? n : 0;
	f.row.nexpose = list == 2 ? n : 0;
	return policy_compile(&f.row, f.block, &f.len, NULL);
}

START_TEST(lists_have_bounds)
{
	static const size_t max[] = { POLICY_MAX_METHODS, POLICY_MAX_HEADERS, POLICY_MAX_HEADERS };
	size_t fits = (max[_i] + 1) / 16;

	ck_assert_int_eq(compile_many(POLICY_MAX_TOKENS, 2, _i), POLICY_OK);
	ck_assert_int_eq(compile_many(POLICY_MAX_TOKENS + 1, 2, _i), POLICY_TOO_MANY);
	ck_assert_int_eq(compile_many(fits, 15, _i), POLICY_OK);
	f.lists[_i][0].len += 2;	/* "xx" more: one byte over, for 16 * fits - 1 == max - 1 */
	memset((char *)f.lists[_i][0].at + 15, 'x', 2);
	ck_assert_int_eq(policy_compile(&f.row, f.block, &f.len, NULL), POLICY_TOO_LONG);
	f.lists[_i][0].len -= 1;
	ck_assert_int_eq(policy_compile(&f.row, f.block, &f.len, NULL), POLICY_OK);
	ck_assert_uint_le(f.len, POLICY_MAX);
}
END_TEST

START_TEST(the_largest_policy_fits_its_block)
{
	char name[POLICY_MAX_NAME], guarded[POLICY_MAX + 8];
	size_t len;

	memset(name, 'n', sizeof(name));
	compile_many(POLICY_MAX_METHODS / 16, 15, 0);
	f.row.name = (struct span){ name, sizeof(name) };
	for (int list = 1; list < 3; list++)
		for (size_t i = 0; i < POLICY_MAX_HEADERS / 32; i++) {
			static char tokens[2][64][31];

			memset(tokens[list - 1][i], 'y', 31);
			tokens[list - 1][i][0] = (char)('a' + i % 26);
			tokens[list - 1][i][1] = (char)('a' + i / 26);
			f.lists[list][i] = (struct span){ tokens[list - 1][i], 31 };
		}
	f.row.nheaders = f.row.nexpose = POLICY_MAX_HEADERS / 32;
	memset(guarded, 0x5a, sizeof(guarded));
	ck_assert_int_eq(policy_compile(&f.row, guarded, &len, NULL), POLICY_OK);
	ck_assert_uint_le(len, POLICY_MAX);
	for (size_t i = len; i < sizeof(guarded); i++)
		ck_assert_int_eq(guarded[i], 0x5a);
}
END_TEST

static const struct {
	const char	*methods;
	const char	*method;
	bool		 want;
} methods[] = {
	{ "PUT PATCH", "PUT", true },
	{ "PUT PATCH", "PATCH", true },
	{ "PUT PATCH", "patch", false },
	{ "PUT PATCH", "PU", false },
	{ "PUT PATCH", "PUTT", false },
	{ "PUT PATCH", "PATCH,PUT", false },
	{ "PUT PATCH", "", false },
	{ "PUT PATCH", "DELETE", false },
	{ "PUT", "GET", true },
	{ "PUT", "HEAD", true },
	{ "PUT", "POST", true },
	{ "PUT", "get", false },
	{ "", "GET", true },
	{ "", "PUT", false },
	{ "*", "PROPFIND", true },
	{ "*", "patch", true },
	{ "*", "*", true },
	{ "PUT", "*", false },
	{ "*", "CONNECT", false },
	{ "*", "trace", false },
	{ "*", "TrAcK", false },
	{ "*", "P T", false },
};

START_TEST(methods_are_compared_byte_for_byte)
{
	ck_assert_int_eq(compile(methods[_i].methods, "", "", NULL), POLICY_OK);
	ck_assert_msg(policy_allows_method(&f.policy, text(methods[_i].method)) == methods[_i].want,
	    "{%s} %s", methods[_i].methods, methods[_i].method);
}
END_TEST

static const struct {
	const char	*headers;
	const char	*name;
	bool		 want;
} headers[] = {
	{ "X-A X-Bc", "x-a", true },
	{ "X-A X-Bc", "X-BC", true },
	{ "X-A X-Bc", "x-b", false },
	{ "X-A X-Bc", "x-a,x-bc", false },
	{ "X-A X-Bc", "", false },
	{ "X-A", "content-type", false },
	{ "", "x-a", false },
	{ "*", "x-a", true },
	{ "*", "authorization", false },
	{ "*", "AUTHORIZATION", false },
	{ "* Authorization", "Authorization", true },
	{ "Authorization", "authorization", true },
	{ "*", A64 "a", true },
	{ "x-a", A64 "a", false },
};

START_TEST(header_names_are_compared_in_any_case)
{
	ck_assert_int_eq(compile("", headers[_i].headers, "", NULL), POLICY_OK);
	ck_assert_msg(policy_allows_header(&f.policy, text(headers[_i].name)) == headers[_i].want,
	    "{%s} %s", headers[_i].headers, headers[_i].name);
}
END_TEST

START_TEST(tokens_are_those_of_http)
{
	static const char legal[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

	for (int c = 0; c < 256; c++) {
		char byte = (char)c;

		ck_assert_msg(token_is_valid((struct span){ &byte, 1 }) == (c != 0 && strchr(legal, c) != NULL),
		    "byte %#x", c);
	}
	ck_assert(!token_is_valid(text("")));
	ck_assert(token_is_valid(text(A64)));
	ck_assert(!token_is_valid(text(A64 "a")));
}
END_TEST

/* Any change of a block's head, and any other length, is refused or harmless. */
START_TEST(a_damaged_block_is_refused)
{
	char block[POLICY_MAX + 8];
	struct policy p;

	f.row.max_age = 600;
	ck_assert_int_eq(compile("PUT", "x-a", "x-b", NULL), POLICY_OK);
	memcpy(block, f.block, f.len);
	for (size_t len = 0; len < sizeof(block); len++)
		ck_assert_int_eq(policy_read(&p, block, len), len == f.len ? POLICY_OK : POLICY_BAD_BLOCK);
	for (size_t i = 0; i < 24 * 8; i++) {
		memcpy(block, f.block, f.len);
		block[i / 8] ^= (char)(1 << i % 8);
		if (policy_read(&p, block, f.len) != POLICY_OK)
			continue;
		ck_assert(p.expose.at + p.expose.len <= block + f.len);
		ck_assert(p.name.at >= block);
		ck_assert_int_ge(p.max_age, POLICY_NO_MAX_AGE);
		ck_assert_int_le(p.max_age, POLICY_MAX_AGE);
	}
	memset(block, 0, sizeof(block));
	ck_assert_int_eq(policy_read(&p, block, f.len), POLICY_BAD_BLOCK);
}
END_TEST

/* The lists are copied into responses: a byte that could end a line is in none of them. */
START_TEST(a_list_has_no_other_bytes_than_tokens_and_commas)
{
	struct span lists[3];
	struct policy p;

	ck_assert_int_eq(compile("PUT", "x-a", "x-b", NULL), POLICY_OK);
	lists[0] = f.policy.methods;
	lists[1] = f.policy.headers;
	lists[2] = f.policy.expose;
	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; k < lists[i].len; k++) {
			char *at = f.block + (lists[i].at - f.block) + k, kept = *at;

			for (unsigned byte = 0; byte < 256; byte++) {
				*at = (char)byte;
				ck_assert_int_eq(policy_read(&p, f.block, f.len),
				    byte == ',' || token_has_byte((unsigned char)byte) ? POLICY_OK : POLICY_BAD_BLOCK);
			}
			*at = kept;
		}
	ck_assert_int_eq(policy_read(&p, f.block, f.len), POLICY_OK);
}
END_TEST

START_TEST(every_status_has_words_of_its_own)
{
	for (int i = 0; i < POLICY_STATUS_COUNT; i++) {
		ck_assert_str_ne(policy_strstatus((enum policy_status)i),
		    policy_strstatus(POLICY_STATUS_COUNT));
		for (int j = 0; j < i; j++)
			ck_assert_str_ne(policy_strstatus((enum policy_status)i),
			    policy_strstatus((enum policy_status)j));
	}
}
END_TEST

#define LOOP(tc, test, table)	tcase_add_loop_test(tc, test, 0, sizeof(table) / sizeof((table)[0]))

int
main(void)
{
	Suite *suite = suite_create("policy");
	TCase *tc = tcase_create("policy");

	tcase_add_checked_fixture(tc, setup, NULL);
	LOOP(tc, renders_lists_sorted_and_once, good);
	LOOP(tc, refuses_and_names_the_element, bad);
	tcase_add_test(tc, an_exposed_any_is_refused_with_credentials_only);
	tcase_add_loop_test(tc, scalars_survive, 0, 16);
	tcase_add_test(tc, max_age_has_bounds);
	tcase_add_test(tc, a_name_has_bounds);
	tcase_add_loop_test(tc, lists_have_bounds, 0, 3);
	tcase_add_test(tc, the_largest_policy_fits_its_block);
	LOOP(tc, methods_are_compared_byte_for_byte, methods);
	LOOP(tc, header_names_are_compared_in_any_case, headers);
	tcase_add_test(tc, tokens_are_those_of_http);
	tcase_add_test(tc, a_damaged_block_is_refused);
	tcase_add_test(tc, a_list_has_no_other_bytes_than_tokens_and_commas);
	tcase_add_test(tc, every_status_has_words_of_its_own);
	suite_add_tcase(suite, tc);
	return run(suite);
}

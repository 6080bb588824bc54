/* SPDX-License-Identifier: BSD-2-Clause */
#include "../../responder/query.h"

#include <stdio.h>

#include "run.h"

#define ORIGIN	0
#define REALM	1

static struct query_field fields[2];
static char buf[QUERY_MAX];

static enum query_status
read_query(const char *query, size_t len)
{
	fields[ORIGIN].name = "origin";
	fields[REALM].name = "realm";
	return query_read((struct span){ query, len }, fields, 2, buf);
}

struct accepted {
	const char	*query;
	const char	*origin;
	const char	*realm;
};

static const struct accepted accepted[] = {
	{ "", "", "" },
	{ "origin=a", "a", "" },
	{ "realm=b&origin=a", "a", "b" },
	{ "origin=https%3A%2F%2Fa.example&realm=", "https://a.example", "" },
	{ "origin=a+b%2B%20", "a b+ ", "" },
	{ "origin=a=b==", "a=b==", "" },
	{ "o%72igin=a", "a", "" },
	{ "Origin=a&origins=b&origi=c&=d&&other", "", "" },
	{ "origin", "", "" },
	{ "&origin=%e2%82%AC&", "\xe2\x82\xac", "" },
	{ "origin=\xff\x01", "\xff\x01", "" },
	{ "x=1&x=2&origin=a", "a", "" },
};

START_TEST(forms_are_read)
{
	const struct accepted *c = &accepted[_i];
	enum query_status got = read_query(c->query, strlen(c->query));

	ck_assert_msg(got == QUERY_OK, "%s: %s", c->query, query_strstatus(got));
	ck_assert_msg(span_is(fields[ORIGIN].value, c->origin), "%s: \"%.*s\"", c->query, (int)fields[ORIGIN].value.len,
	    fields[ORIGIN].value.at);
	ck_assert_msg(span_is(fields[REALM].value, c->realm), "%s", c->query);
}
END_TEST

struct refused {
	const char		*query;
	enum query_status	 want;
};

static const struct refused refused[] = {
	{ "origin=%", QUERY_BAD_ESCAPE },
	{ "origin=%4", QUERY_BAD_ESCAPE },
	{ "origin=%4&1", QUERY_BAD_ESCAPE },
	{ "origin=%g0", QUERY_BAD_ESCAPE },
	{ "origin=%0g", QUERY_BAD_ESCAPE },
	{ "origin=%@@", QUERY_BAD_ESCAPE },
	{ "origin=%``", QUERY_BAD_ESCAPE },
	{ "origin=%u0041", QUERY_BAD_ESCAPE },
	{ "%=a", QUERY_BAD_ESCAPE },
	{ "other=%", QUERY_BAD_ESCAPE },
	{ "origin=a&origin=a", QUERY_REPEATED },
	{ "origin=a&o%72igin=", QUERY_REPEATED },
	{ "realm&realm", QUERY_REPEATED },
};

START_TEST(what_no_form_sends_is_refused_whole)
{
	const struct refused *c = &refused[_i];
	enum query_status got = read_query(c->query, strlen(c->query));

	ck_assert_msg(got == c->want, "%s: %s", c->query, query_strstatus(got));
	ck_assert_uint_eq(fields[ORIGIN].value.len, 0);
	ck_assert_uint_eq(fields[REALM].value.len, 0);
}
END_TEST

START_TEST(a_nul_is_a_byte)
{
	ck_assert_int_eq(read_query("origin=a%00b", 12), QUERY_OK);
	ck_assert_uint_eq(fields[ORIGIN].value.len, 3);
	ck_assert_mem_eq(fields[ORIGIN].value.at, "a\0b", 3);
}
END_TEST

START_TEST(length_is_bounded)
{
	static char query[QUERY_MAX + 1];

	memset(query, 'a', sizeof query);
	memcpy(query, "origin=", 7);
	ck_assert_int_eq(read_query(query, QUERY_MAX), QUERY_OK);
	ck_assert_uint_eq(fields[ORIGIN].value.len, QUERY_MAX - 7);
	ck_assert_int_eq(read_query(query, QUERY_MAX + 1), QUERY_TOO_LONG);
	ck_assert_uint_eq(fields[ORIGIN].value.len, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("query");
	TCase *tcase = tcase_create("query");

	tcase_add_loop_test(tcase, forms_are_read, 0, sizeof accepted / sizeof accepted[0]);
	tcase_add_loop_test(tcase, what_no_form_sends_is_refused_whole, 0, sizeof refused / sizeof refused[0]);
	tcase_add_test(tcase, a_nul_is_a_byte);
	tcase_add_test(tcase, length_is_bounded);
	suite_add_tcase(suite, tcase);
	return run(suite);
}

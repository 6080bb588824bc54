/* SPDX-License-Identifier: BSD-2-Clause */
#include "suffix.h"

#include <string.h>

#include "run.h"

static const struct {
	const char	*host;
	bool		 want;
} cases[] = {
	{ "com", true },
	{ "co.uk", true },
	{ "example.co.uk", false },
	{ "example.com", false },
	{ "github.io", true },
	{ "me.github.io", false },
	{ "ck", true },
	{ "www.ck", false },
	{ "no-such-top-level", true },
	{ "localhost", false },
	{ "dev.localhost", false },
	{ "xn--p1ai", true },
};

START_TEST(knows_public_suffixes)
{
	struct span host = { cases[_i].host, strlen(cases[_i].host) };

	ck_assert_msg(suffix_is_public(host) == cases[_i].want, "%s", cases[_i].host);
}
END_TEST

START_TEST(looks_at_the_span_only)
{
	ck_assert(suffix_is_public((struct span){ "co.uk.example.com", 5 }));
	ck_assert(!suffix_is_public((struct span){ "xexample.com" + 1, 11 }));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("suffix");
	TCase *tc = tcase_create("suffix");
	int status;

	if (suffix_open() != 0)
		return EXIT_FAILURE;
	tcase_add_loop_test(tc, knows_public_suffixes, 0, sizeof(cases) / sizeof(cases[0]));
	tcase_add_test(tc, looks_at_the_span_only);
	suite_add_tcase(suite, tc);
	status = run(suite);
	suffix_close();
	return status;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* What a person is told: the rows that nearly match, and how far was looked for them. */
#include "explain.h"

#include "run.h"
#include "tables.h"

#define ASKED	"https://app.example"

static char dir[PATH_MAX];
static struct explanation e;

static void
ask(struct reader *r, const char *realm, const char *origin, uint64_t near_rows)
{
	const struct explain_options options = { .answer = { .now_s = NOW }, .near_rows = near_rows };

	explain_request(&e, span(realm), span(origin), false, span(""), span(""));
	explain(r, &options, &e);
}

struct nearly {
	const char	*realm;
	const char	*row;
	int64_t		 expires_at;
	const char	*why;		/* NULL: not near */
};

static const struct nearly nearly[] = {
	{ "", "https://app.example:8443", 0, "the port differs" },
	{ "", "http://app.example", 0, "the scheme differs" },
	{ "", "https://www.app.example", 0, "the hosts differ by www." },
	{ "", "https://*.app.example", 0, "a *. pattern covers the hosts below its own, not that host" },
	{ "shop", ASKED, 0, "it is a row of another realm" },
	{ "shop", "https://*.example", 0, "it is a row of another realm" },
	{ "", ASKED, NOW - 1, "it has expired" },
	{ "shop", "https://app.example:8443", 0, NULL },
	{ "", "https://app.example.org", 0, NULL },
	{ "shop", "*", 0, NULL },
};

START_TEST(near_rows_say_what_differs)
{
	const struct nearly *c = &nearly[_i];
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 0);
	struct row row = row_of(c->realm, c->row, "default");
	struct reader *r;

	row.expires_at = c->expires_at;
	ck_assert_int_eq(table_put(t, &row), 0);
	r = open_reader(dir);
	ask(r, "", ASKED, 0);
	ck_assert(!e.answer.decision.allow);
	ck_assert_uint_eq(e.nnear, c->why != NULL);
	if (c->why != NULL) {
		ck_assert_str_eq(e.near[0].row, c->row);
		ck_assert_str_eq(e.near[0].realm, c->realm);
		ck_assert_str_eq(e.near[0].why, c->why);
	}
	reader_close(&r);
	writer_close(&w);
}
END_TEST

START_TEST(the_search_is_bounded_and_says_so)
{
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 0);
	struct reader *r;
	char origin[64];
	int i;

	for (i = 0; i < 50; i++) {
		snprintf(origin, sizeof origin, "https://app.example:%d", 9000 + i);
		ck_assert_int_eq(put(t, "", origin, "default"), 0);
	}
	r = open_reader(dir);
	ask(r, "", ASKED, 0);
	ck_assert_uint_eq(e.nnear, EXPLAIN_NEAR_MAX);
	ck_assert(!e.near_is_cut);
	ask(r, "", ASKED, 3);
	ck_assert_uint_eq(e.nnear, 3);
	ck_assert(e.near_is_cut);
	ask(r, "", "https://nothing.like.it", 50);
	ck_assert_uint_eq(e.nnear, 0);
	ck_assert_msg(!e.near_is_cut, "all 50 were looked at");
	ask(r, "", "https://app.example:9001", 3);
	ck_assert_msg(e.answer.decision.allow && e.nnear == 0 && !e.near_is_cut, "a row decides: nothing is searched");
	reader_close(&r);
	writer_close(&w);
}
END_TEST

static void
setup(void)
{
	make_directory(dir);
}

static void
teardown(void)
{
	remove_directory(dir);
}

int
main(void)
{
	Suite *suite = suite_create("explain");
	TCase *tcase = tcase_create("explain");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, near_rows_say_what_differs, 0, sizeof nearly / sizeof nearly[0]);
	tcase_add_test(tcase, the_search_is_bounded_and_says_so);
	suite_add_tcase(suite, tcase);
	return run(suite);
}

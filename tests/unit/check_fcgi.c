/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What responder/feed.c takes for granted about libfcgi and its header does not
 * promise: it reads from us and from no descriptor, closes none, and nothing
 * outlives the request.
 */
#include "../../responder/feed.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../responder/frames.h"
#include "run.h"

static FCGX_Request r;

static void
setup(void)
{
	ck_assert_int_eq(feed_init(), 0);
	FCGX_InitRequest(&r, -1, 0);
}

START_TEST(parameters_are_read_again_and_again)
{
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(feed_parameters(&r, (const uint8_t *)"\1\1AB\2\0CD", 8), 0);
		ck_assert_str_eq(FCGX_GetParam("A", r.envp), "B");
		ck_assert_str_eq(FCGX_GetParam("CD", r.envp), "");
		feed_release(&r);
	}
}
END_TEST

START_TEST(a_request_without_parameters_has_none)
{
	ck_assert_int_eq(feed_parameters(&r, NULL, 0), 0);
	ck_assert_ptr_null(FCGX_GetParam("A", r.envp));
	feed_release(&r);
}
END_TEST

/* Around the ends of records and of libfcgi's own buffer; up to the most that is let through. */
static const size_t sizes[] = { 1, 127, 128, 8170, 8192, 65525, 65526, 65527, 65535, 65536, 131072, FRAMES_MAX_PARAMETERS - 6 };

START_TEST(a_value_of_any_size_is_read_whole)
{
	size_t len = sizes[_i], skip = len < 128 ? 3 : 6;
	uint8_t *bytes = malloc(skip + len);
	const uint8_t large[] = { 1, (uint8_t)(0x80 | len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, 'A' };
	const uint8_t small[] = { 1, (uint8_t)len, 'A' };

	memcpy(bytes, len < 128 ? small : large, skip);
	memset(bytes + skip, 'x', len);
	ck_assert(frames_parameters_are_sane(bytes, skip + len));
	ck_assert_int_eq(feed_parameters(&r, bytes, skip + len), 0);
	ck_assert_uint_eq(strlen(FCGX_GetParam("A", r.envp)), len);
	feed_release(&r);
	free(bytes);
}
END_TEST

/* frames.c lets none through; libfcgi says so, too, where they are cut off. */
START_TEST(what_is_cut_off_fails_and_closes_nothing)
{
	int before = open("/dev/null", O_RDONLY), after;

	close(before);
	ck_assert_int_lt(feed_parameters(&r, (const uint8_t *)"\1\5AB", 4), 0);
	ck_assert_int_lt(r.ipcFd, 0);
	after = open("/dev/null", O_RDONLY);
	ck_assert_int_eq(after, before);
	close(after);
	ck_assert_int_eq(feed_parameters(&r, (const uint8_t *)"\1\1AB", 4), 0);
	feed_release(&r);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("fcgi");
	TCase *tc = tcase_create("fed from memory");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, parameters_are_read_again_and_again);
	tcase_add_test(tc, a_request_without_parameters_has_none);
	tcase_add_loop_test(tc, a_value_of_any_size_is_read_whole, 0, (int)(sizeof sizes / sizeof sizes[0]));
	tcase_add_test(tc, what_is_cut_off_fails_and_closes_nothing);
	suite_add_tcase(suite, tc);
	return run(suite);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "refusals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "decide.h"
#include "rows.h"
#include "run.h"

#define NOW	INT64_C(1700000000)

static char dir[64], counters[80];
static struct refusals_report report;

static void
setup(void)
{
	strcpy(dir, "/tmp/check_refusals.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(counters, sizeof counters, "%s/counters", dir);
	ck_assert_int_eq(mkdir(counters, 0770), 0);
}

static void
path_of(char path[128], int n)
{
	snprintf(path, 128, "%s/refusals.%d", counters, n);
}

static void
teardown(void)
{
	char path[128];
	int i;

	for (i = 0; i < 8; i++) {
		path_of(path, i);
		unlink(path);
	}
	rmdir(counters);
	ck_assert_int_eq(rmdir(dir), 0);	/* nothing else was left behind */
}

static struct refusals *
claim(void)
{
	struct refusals *r = NULL;

	ck_assert_int_eq(refusals_claim(&r, dir), 0);
	return r;
}

static void
refuse(struct refusals *r, const char *realm, const char *origin, unsigned reason, int64_t now_s)
{
	refusals_count(r, &(struct frequent_key){ { realm, strlen(realm) }, { origin, strlen(origin) }, reason }, now_s);
}

static const struct frequent_item *
read_one(const char *origin, int64_t now_s)
{
	size_t i;

	refusals_free(&report);
	ck_assert_int_eq(refusals_read(dir, now_s, &report), 0);
	for (i = 0; i < report.refused.nitems; i++)
		if (report.refused.items[i].origin_len == strlen(origin) &&
		    memcmp(report.refused.items[i].origin, origin, frequent_origin(&report.refused.items[i]).len) == 0)
			return &report.refused.items[i];
	return NULL;
}

START_TEST(of_nobody_there_is_nothing)
{
	ck_assert_int_eq(refusals_read(dir, NOW, &report), 0);
	ck_assert_uint_eq(report.refused.nitems + report.realms.nitems, 0);
	ck_assert_int_eq(refusals_read("/nonexistent", NOW, &report), 0);
	refusals_count(NULL, &(struct frequent_key){ 0 }, NOW);
	refusals_count_realm(NULL, (struct span){ "", 0 }, NOW);
}
END_TEST

START_TEST(threads_are_added_up)
{
	struct refusals *a = claim(), *b = claim();
	const struct frequent_item *item;
	int i;

	for (i = 0; i < 10; i++)
		refuse(a, "shop", "https://x.example", 3, NOW + i);
	for (i = 0; i < 5; i++)
		refuse(b, "shop", "https://x.example", 3, NOW - 4 + i);
	refuse(b, "shop", "https://y.example", 3, NOW);
	refusals_count_realm(a, (struct span){ "shop", 4 }, NOW);
	refusals_count_realm(b, (struct span){ "shop", 4 }, NOW);
	item = read_one("https://x.example", NOW);
	ck_assert_ptr_nonnull(item);
	ck_assert_uint_eq(item->count, 15);
	ck_assert_uint_eq(item->missed, 0);
	ck_assert_int_eq(item->first_s, NOW - 4);
	ck_assert_int_eq(item->last_s, NOW + 9);
	ck_assert_ptr_eq(item, &report.refused.items[0]);	/* the most frequent first */
	ck_assert_uint_eq(report.refused.nitems, 2);
	ck_assert_uint_eq(report.realms.nitems, 1);
	ck_assert_uint_eq(report.realms.items[0].count, 2);
	refusals_release(&a);
	refusals_release(&b);
}
END_TEST

/* What one thread has counted exactly, another may have missed. */
START_TEST(the_bound_covers_all_threads)
{
	struct refusals *a = claim(), *b = claim();
	const struct frequent_item *item;
	char origin[64];
	int i;

	refuse(a, "", "https://x.example", 3, NOW);
	for (i = 0; i < 1000; i++) {
		snprintf(origin, sizeof origin, "https://o%d.example", i);
		refuse(b, "", origin, 3, NOW);
	}
	item = read_one("https://x.example", NOW);
	ck_assert_ptr_nonnull(item);
	ck_assert_uint_eq(item->count, 1);
	ck_assert_uint_gt(report.refused.others, 0);
	ck_assert_uint_eq(item->missed, report.refused.others);
	refusals_release(&a);
	refusals_release(&b);
}
END_TEST

/* Origins that differ behind the bytes that are kept are one on the list, and no more was missed of them than came. */
START_TEST(the_bound_of_cut_ones_is_no_less_than_their_count)
{
	struct refusals *r = claim();
	char x[300], y[300], origin[64];
	const struct frequent_item *item;
	int i;

	memset(x, 'a', sizeof x);
	x[sizeof x - 1] = '\0';
	strcpy(y, x);
	y[sizeof y - 2] = 'b';
	for (i = 0; i < 1000; i++) {
		refuse(r, "", x, 3, NOW);
		refuse(r, "", y, 3, NOW);
	}
	for (i = 0; i < 1000; i++) {
		snprintf(origin, sizeof origin, "https://o%d.example", i);
		refuse(r, "", origin, 3, NOW);
	}
	item = read_one(x, NOW);
	ck_assert_ptr_nonnull(item);
	ck_assert_uint_eq(item->count, 2000);
	ck_assert_uint_gt(report.refused.others, 0);
	ck_assert_uint_eq(item->missed, 0);
	refusals_release(&r);
}
END_TEST

START_TEST(old_ones_are_shown_no_more)
{
	struct refusals *r = claim();

	refuse(r, "", "https://x.example", 3, NOW);
	refuse(r, "", "https://x.example", 3, NOW);
	ck_assert_ptr_nonnull(read_one("https://x.example", NOW + REFUSALS_KEEP_S));
	ck_assert_ptr_null(read_one("https://x.example", NOW + REFUSALS_KEEP_S + 1));
	ck_assert_uint_eq(report.refused.others, 2);
	refusals_release(&r);
}
END_TEST

START_TEST(the_next_holder_goes_on)
{
	struct refusals *r;
	int i;

	for (i = 0; i < 5; i++) {
		r = claim();
		refuse(r, "", "https://x.example", 3, NOW);
		refusals_release(&r);
		ck_assert_ptr_null(r);
	}
	ck_assert_uint_eq(read_one("https://x.example", NOW)->count, 5);
	ck_assert_uint_eq(report.refused.nitems, 1);
}
END_TEST

START_TEST(death_lets_go)
{
	struct refusals *r;
	char byte, path[128];
	int i, ready[2];
	pid_t pid;

	for (i = 0; i < 5; i++) {
		ck_assert_int_eq(pipe(ready), 0);
		pid = fork();
		if (pid == 0) {
			r = claim();
			refuse(r, "", "https://x.example", 3, NOW);
			if (write(ready[1], "", 1) != 1)
				_exit(1);
			pause();
		}
		ck_assert_int_eq(read(ready[0], &byte, 1), 1);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close(ready[0]);
		close(ready[1]);
	}
	ck_assert_uint_eq(read_one("https://x.example", NOW)->count, 5);
	path_of(path, 1);
	ck_assert_int_eq(access(path, F_OK), -1);	/* one file served them all */
}
END_TEST

START_TEST(a_foreign_file_is_replaced)
{
	struct refusals *r = claim();
	uint64_t other = 1;
	char path[128];
	int fd;

	refuse(r, "", "https://x.example", 3, NOW);
	refusals_release(&r);
	path_of(path, 0);
	fd = open(path, O_RDWR);
	ck_assert_int_eq(pwrite(fd, &other, sizeof other, 8), sizeof other);
	close(fd);
	ck_assert_ptr_null(read_one("https://x.example", NOW));
	r = claim();
	refuse(r, "", "https://y.example", 3, NOW);
	ck_assert_uint_eq(read_one("https://y.example", NOW)->count, 1);
	refusals_release(&r);
}
END_TEST

/* A reason is its number: of another build's order it would be another reason. */
START_TEST(a_file_of_other_reasons_is_not_read)
{
	struct refusals *r = claim();
	char path[128], swapped[ROWS_MAX];
	uint64_t word;
	unsigned at;
	int fd;

	refuse(r, "", "https://x.example", 3, NOW);
	refusals_release(&r);
	path_of(path, 0);
	ck_assert_int_ge(fd = open(path, O_RDWR), 0);
	for (at = 0; swap_rows(refusals_rows, at, swapped); at++) {
		word = refusals_layout(swapped);
		ck_assert_int_eq(pwrite(fd, &word, sizeof word, 8), sizeof word);
		ck_assert_ptr_null(read_one("https://x.example", NOW));
	}
	ck_assert_uint_eq(at, REASON_COUNT - 1);
	word = refusals_layout(refusals_rows);
	ck_assert_int_eq(pwrite(fd, &word, sizeof word, 8), sizeof word);
	close(fd);
	ck_assert_uint_eq(read_one("https://x.example", NOW)->count, 1);
}
END_TEST

START_TEST(the_file_is_for_its_group)
{
	struct refusals *r;
	struct stat st;
	char path[128];

	umask(0);
	r = claim();
	path_of(path, 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0660);
	ck_assert_int_ge(st.st_blocks * 512, st.st_size);	/* reserved, not sparse */
	refusals_release(&r);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("refusals");
	TCase *tc = tcase_create("file");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, of_nobody_there_is_nothing);
	tcase_add_test(tc, threads_are_added_up);
	tcase_add_test(tc, the_bound_covers_all_threads);
	tcase_add_test(tc, the_bound_of_cut_ones_is_no_less_than_their_count);
	tcase_add_test(tc, old_ones_are_shown_no_more);
	tcase_add_test(tc, the_next_holder_goes_on);
	tcase_add_test(tc, death_lets_go);
	tcase_add_test(tc, a_foreign_file_is_replaced);
	tcase_add_test(tc, a_file_of_other_reasons_is_not_read);
	tcase_add_test(tc, the_file_is_for_its_group);
	suite_add_tcase(suite, tc);
	return run(suite);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "counters.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rows.h"
#include "run.h"

static char dir[64];
static char file[128];

static void
setup(void)
{
	strcpy(dir, "/tmp/check_counters.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(file, sizeof file, "%s/counters/v1", dir);
}

static void
teardown(void)
{
	char path[128];

	unlink(file);
	snprintf(path, sizeof path, "%s/counters", dir);
	rmdir(path);
	ck_assert_int_eq(rmdir(dir), 0);	/* nothing else was left behind */
}

static uint64_t
connections(void)
{
	struct counters_sum sum;

	ck_assert_int_eq(counters_sum(dir, &sum), 0);
	return sum.cell[offsetof(struct counters, connections) / sizeof(uint64_t)];
}

static unsigned
owners(void)
{
	struct counters_sum sum;

	ck_assert_int_eq(counters_sum(dir, &sum), 0);
	return sum.owners;
}

START_TEST(an_absent_file_is_all_zeros)
{
	ck_assert_uint_eq(connections(), 0);
	ck_assert_uint_eq(owners(), 0);
	ck_assert_int_eq(access(file, F_OK), -1);
}
END_TEST

START_TEST(owners_have_slabs_of_their_own)
{
	struct counters_file *f[3];
	struct counters *c[3];
	int i;

	for (i = 0; i < 3; i++)
		ck_assert_int_eq(counters_claim(&f[i], dir, &c[i]), 0);
	for (i = 0; i < 3; i++) {
		ck_assert_uint_eq((uintptr_t)c[i] % 128, 0);
		count_add(&c[i]->connections, (uint64_t)i + 1);
	}
	ck_assert_uint_eq(connections(), 6);
	ck_assert_uint_eq(owners(), 3);
	counters_release(&f[1]);
	ck_assert_ptr_null(f[1]);
	ck_assert_uint_eq(owners(), 2);
	ck_assert_uint_eq(connections(), 6);
	counters_release(&f[0]);
	counters_release(&f[2]);
}
END_TEST

START_TEST(the_next_owner_goes_on_counting)
{
	struct counters_file *f;
	struct counters *c;
	int i;

	for (i = 0; i < 5; i++) {
		ck_assert_int_eq(counters_claim(&f, dir, &c), 0);
		count_add(&c->connections, 1);
		ck_assert_uint_eq(atomic_load(&c->connections), (uint64_t)i + 1);
		counters_release(&f);
	}
}
END_TEST

/* Death is a release: nothing is lost, no slab stays taken. */
START_TEST(killed_owners_lose_nothing)
{
	struct counters_file *f;
	struct counters *c;
	pid_t pid;
	int i, ready[2];
	char byte;

	for (i = 0; i < 20; i++) {
		ck_assert_int_eq(pipe(ready), 0);
		pid = fork();
		if (pid == 0) {
			if (counters_claim(&f, dir, &c) != 0)
				_exit(1);
			count_add(&c->connections, 1);
			if (write(ready[1], "", 1) != 1)
				_exit(1);
			pause();
		}
		close(ready[1]);
		ck_assert_int_eq(read(ready[0], &byte, 1), 1);
		ck_assert_uint_eq(owners(), 1);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close(ready[0]);
		ck_assert_uint_eq(owners(), 0);
	}
	ck_assert_uint_eq(connections(), 20);
}
END_TEST

static void *
count(void *arg)
{
	struct counters_file *f;
	struct counters *c;
	int i;

	(void)arg;
	ck_assert_int_eq(counters_claim(&f, dir, &c), 0);
	for (i = 0; i < 100000; i++)
		count_add(&c->connections, 1);
	counters_release(&f);
	return NULL;
}

/* The plain stores lose nothing only because no two owners share a slab. */
START_TEST(threads_that_start_at_once_all_count)
{
	pthread_t threads[16];
	size_t i;

	for (i = 0; i < 16; i++)
		pthread_create(&threads[i], NULL, count, NULL);
	for (i = 0; i < 16; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(connections(), 1600000);
}
END_TEST

START_TEST(a_file_of_another_layout_is_replaced)
{
	struct counters_file *f;
	struct counters *c;
	uint64_t other = 12345;
	int fd;

	ck_assert_int_eq(counters_claim(&f, dir, &c), 0);
	count_add(&c->connections, 7);
	counters_release(&f);
	fd = open(file, O_RDWR);
	ck_assert_int_eq(pwrite(fd, &other, sizeof other, 8), sizeof other);
	close(fd);
	ck_assert_int_eq(counters_sum(dir, &(struct counters_sum){ 0 }), -EPROTO);
	ck_assert_int_eq(counters_claim(&f, dir, &c), 0);
	count_add(&c->connections, 1);
	ck_assert_uint_eq(connections(), 1);
	counters_release(&f);
}
END_TEST

/* Counters and reasons are cells by their place: what another build counted in them is something else. */
START_TEST(a_file_of_other_rows_is_replaced)
{
	char rows[ROWS_MAX], swapped[ROWS_MAX];
	struct counters_file *f;
	struct counters *c;
	size_t len = 0;
	uint64_t word;
	unsigned at;
	int fd;

	for (size_t i = 0; i < counter_ndescs; i++)
		len += (size_t)snprintf(rows + len, sizeof rows - len, "%s\n", counter_descs[i].name);
	ck_assert_int_eq(strncmp(counters_rows, rows, len), 0);
	ck_assert_int_eq(counters_claim(&f, dir, &c), 0);
	counters_release(&f);
	ck_assert_int_ge(fd = open(file, O_RDWR), 0);
	for (at = 0; swap_rows(counters_rows, at, swapped); at++) {
		word = counters_layout(swapped);
		ck_assert_int_eq(pwrite(fd, &word, sizeof word, 8), sizeof word);
		ck_assert_int_eq(counters_sum(dir, &(struct counters_sum){ 0 }), -EPROTO);
	}
	close(fd);
	ck_assert_uint_eq(at, counter_ndescs + REASON_COUNT - 1);
	ck_assert_ptr_nonnull(strstr(counters_strerror(-EPROTO), "made by another build"));
	ck_assert_ptr_nonnull(strstr(counters_strerror(-EPROTO), "restart corscache-responder"));
	ck_assert_int_eq(counters_claim(&f, dir, &c), 0);
	ck_assert_int_eq(counters_sum(dir, &(struct counters_sum){ 0 }), 0);
	counters_release(&f);
}
END_TEST

START_TEST(a_short_file_is_replaced)
{
	struct counters_file *f;
	struct counters *c;

	ck_assert_int_eq(counters_claim(&f, dir, &c), 0);
	counters_release(&f);
	ck_assert_int_eq(truncate(file, 100), 0);
	ck_assert_int_eq(counters_claim(&f, dir, &c), 0);
	count_add(&c->connections, 1);
	counters_release(&f);
	ck_assert_uint_eq(connections(), 1);
}
END_TEST

START_TEST(the_file_is_for_its_group)
{
	struct counters_file *f;
	struct counters *c;
	struct stat st;

	umask(077);
	ck_assert_int_eq(counters_claim(&f, dir, &c), 0);
	counters_release(&f);
	ck_assert_int_eq(stat(file, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0660);
	ck_assert_int_ge(st.st_blocks * 512, st.st_size);	/* reserved, not sparse */
}
END_TEST

START_TEST(no_more_owners_than_slabs)
{
	static struct counters_file *f[1025];
	struct counters *c;
	struct rlimit files;
	int i;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
	files.rlim_cur = files.rlim_max;	/* a session's usual 1024 is not enough */
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
	for (i = 0; i < 1024; i++)
		ck_assert_int_eq(counters_claim(&f[i], dir, &c), 0);
	ck_assert_int_eq(counters_claim(&f[1024], dir, &c), -EUSERS);
	ck_assert_uint_eq(owners(), 1024);
	for (i = 0; i < 1024; i++)
		counters_release(&f[i]);
}
END_TEST

static const struct {
	uint64_t	 ns;
	unsigned	 bucket;
} durations[] = {
	{ 0, 0 }, { 1, 0 }, { 1000, 0 }, { 1001, 1 }, { 2000, 1 }, { 2001, 2 }, { 4000, 2 }, { 4001, 3 },
	{ 262144000, 18 }, { 262144001, 19 }, { 1ULL << 62, 19 },
};

START_TEST(durations_fall_into_their_buckets)
{
	struct counters c;
	unsigned i;

	memset(&c, 0, sizeof c);
	counters_observe(&c, durations[_i].ns);
	for (i = 0; i < COUNTERS_BUCKETS; i++)
		ck_assert_uint_eq(atomic_load(&c.duration[i]), i == durations[_i].bucket);
	ck_assert_uint_eq(atomic_load(&c.duration_ns), durations[_i].ns);
}
END_TEST

static struct counters_sum sums[2];

static void
answered(struct counters_sum *sum, unsigned bucket, uint64_t n)
{
	sum->cell[offsetof(struct counters, duration) / sizeof(uint64_t) + bucket] += n;
}

static const struct {
	double		 share;
	double		 us;
} quantiles[] = {
	/* 50 up to 1 us, 40 in 4 .. 8 us, 9 in 64 .. 128 us, 1 beyond the last bucket */
	{ 0, 0 }, { 0.25, 0.5 }, { 0.5, 1 }, { 0.7, 6 }, { 0.9, 8 }, { 0.99, 128 }, { 0.999, 262144 }, { 1, 262144 },
};

START_TEST(quantiles_are_linear_inside_a_bucket)
{
	memset(sums, 0, sizeof sums);
	answered(&sums[0], 0, 50);
	answered(&sums[0], 3, 40);
	answered(&sums[0], 7, 9);
	answered(&sums[0], COUNTERS_BUCKETS - 1, 1);
	ck_assert_double_eq_tol(counters_quantile_us(&sums[0], NULL, quantiles[_i].share), quantiles[_i].us, 1e-9);
}
END_TEST

START_TEST(quantiles_are_of_what_came_between)
{
	memset(sums, 0, sizeof sums);
	ck_assert_double_eq(counters_quantile_us(&sums[1], &sums[0], 0.5), -1);
	answered(&sums[0], 10, 1000);
	answered(&sums[1], 10, 1000);
	ck_assert_double_eq(counters_quantile_us(&sums[1], &sums[0], 0.5), -1);
	answered(&sums[1], 1, 4);
	ck_assert_double_eq(counters_quantile_us(&sums[1], &sums[0], 0.5), 1.5);
	/* The file was replaced: what is there came since. */
	memset(&sums[1], 0, sizeof sums[1]);
	answered(&sums[1], 2, 4);
	ck_assert_double_eq(counters_quantile_us(&sums[1], &sums[0], 0.5), 3);
}
END_TEST

START_TEST(every_request_has_one_verdict)
{
	uint64_t *cell = sums[0].cell;
	struct verdicts v;

	memset(sums, 0, sizeof sums);
	cell[offsetof(struct counters, preflights_allowed) / sizeof *cell] = 1;
	cell[offsetof(struct counters, actuals_allowed) / sizeof *cell] = 2;
	cell[offsetof(struct counters, preflights_refused) / sizeof *cell] = 40;
	cell[offsetof(struct counters, actuals_refused) / sizeof *cell] = 80;
	cell[offsetof(struct counters, not_cors) / sizeof *cell] = 16;
	cell[offsetof(struct counters, reason) / sizeof *cell + REASON_STALE] = 7;
	v = counters_verdicts(&sums[0]);
	ck_assert_uint_eq(v.allowed, 3);
	ck_assert_uint_eq(v.refused, 113);
	ck_assert_uint_eq(v.error, 7);
	ck_assert_uint_eq(v.not_cors, 16);
	/* Read while it was counted up: the reason already, the refusal not yet. */
	cell[offsetof(struct counters, reason) / sizeof *cell + REASON_STALE] = 121;
	ck_assert_uint_eq(counters_verdicts(&sums[0]).refused, 0);
}
END_TEST

START_TEST(an_impossible_count_is_none)
{
	struct counters_file *f;
	struct counters *c;

	ck_assert_int_eq(counters_claim(&f, dir, &c), 0);
	count_add(&c->connections, 5);
	count_add(&c->connections, (uint64_t)-6);
	ck_assert_uint_eq(connections(), 0);
	counters_release(&f);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("counters");
	TCase *tc = tcase_create("file");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, an_absent_file_is_all_zeros);
	tcase_add_test(tc, owners_have_slabs_of_their_own);
	tcase_add_test(tc, the_next_owner_goes_on_counting);
	tcase_add_test(tc, killed_owners_lose_nothing);
	tcase_add_test(tc, threads_that_start_at_once_all_count);
	tcase_add_test(tc, a_file_of_another_layout_is_replaced);
	tcase_add_test(tc, a_file_of_other_rows_is_replaced);
	tcase_add_test(tc, a_short_file_is_replaced);
	tcase_add_test(tc, the_file_is_for_its_group);
	tcase_add_test(tc, no_more_owners_than_slabs);
	tcase_add_test(tc, an_impossible_count_is_none);
	tcase_add_loop_test(tc, durations_fall_into_their_buckets, 0, sizeof durations / sizeof durations[0]);
	tcase_add_loop_test(tc, quantiles_are_linear_inside_a_bucket, 0, sizeof quantiles / sizeof quantiles[0]);
	tcase_add_test(tc, quantiles_are_of_what_came_between);
	tcase_add_test(tc, every_request_has_one_verdict);
	suite_add_tcase(suite, tc);
	return run(suite);
}

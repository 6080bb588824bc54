/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What cachectl revoke refuses: in the table, in each that is published, and
 * in the file. Nothing is ever forgotten in silence.
 */
#include <fcntl.h>
#include <sys/wait.h>

#include "run.h"
#include "tables.h"

#define MANY	100000

static char base[PATH_MAX];

struct stage {
	char	 dir[PATH_MAX + 16];
	char	 file[PATH_MAX + 32];
};

static void
set_stage(struct stage *s)
{
	snprintf(s->dir, sizeof(s->dir), "%s/XXXXXX", base);
	ck_assert_ptr_nonnull(mkdtemp(s->dir));
	snprintf(s->file, sizeof(s->file), "%s/revoked", s->dir);
}

static struct writer *
open_revoking(const struct stage *s)
{
	struct writer_options opt = { .dir = s->dir, .group = (gid_t)-1, .revoked = s->file };
	struct writer *w = NULL;

	ck_assert_int_eq(writer_open(&w, &opt), 0);
	return w;
}

static int
revoke_one(struct writer *w, const char *realm, const char *origin, int64_t seconds)
{
	struct revocation r = { .realm = span(realm), .origin = span(origin), .uid = 7, .note = span("why") };
	int error;

	revocation_begin(&r, seconds);
	if ((error = writer_revoke(w, &r)) != 0)
		return error;
	return writer_save_revoked(w);
}

/* A table like the database's: rows, and a pattern. */
static void
load(struct writer *w)
{
	struct table *t = NULL;

	ck_assert_int_eq(writer_begin(w, 0, &t), 0);
	ck_assert_int_eq(put_policy(t, "default", "GET", false), 0);
	ck_assert_int_eq(put(t, "", "https://a.example", "default"), 0);
	ck_assert_int_eq(put(t, "", "https://*.x.example", "default"), 0);
	ck_assert_int_eq(put(t, "", "https://own.x.example", "default"), 0);
	ck_assert_int_eq(writer_commit(w, &t), 0);
}

static bool
is_revoked(struct reader *r, const char *origin)
{
	return find(r, "", origin).match.revoked;
}

static bool
is_allowed(struct reader *r, const char *origin)
{
	struct found f = find(r, "", origin);

	return f.match.state == MATCH_ROW && !f.match.held && !f.match.revoked && !f.match.refuses;
}

/* ---- the table ---- */

START_TEST(a_revocation_outlives_what_the_database_says)
{
	struct stage s;
	struct row row;
	set_stage(&s);
	struct writer *w = open_revoking(&s);
	load(w);
	struct reader *r = open_reader(s.dir);
	struct table *t = writer_table(w);

	ck_assert_int_eq(revoke_one(w, "", "https://a.example", 0), 0);
	ck_assert_int_eq(revoke_one(w, "", "https://*.x.example", 0), 0);
	ck_assert_int_eq(revoke_one(w, "", "https://stub.x.example", 0), 0);
	ck_assert_int_eq(revoke_one(w, "", "https://*.later.example", 0), 0);
	ck_assert_int_eq(revoke_one(w, "", "https://A.example", 0), -EINVAL);
	ck_assert(is_revoked(r, "https://a.example") && is_revoked(r, "https://q.x.example"));
	ck_assert(is_revoked(r, "https://stub.x.example") && is_revoked(r, "https://q.later.example"));
	ck_assert(is_allowed(r, "https://own.x.example"));
	ck_assert_uint_eq(table_rows(t), 3);
	/* put, changed, put again with another time, removed, put */
	ck_assert_int_eq(put(t, "", "https://a.example", "default"), 0);
	ck_assert(is_revoked(r, "https://a.example"));
	row = row_of("", "https://a.example", "default");
	row.expires_at = NOW + 1000;
	ck_assert_int_eq(table_put(t, &row), 0);
	ck_assert(is_revoked(r, "https://a.example"));
	ck_assert(find_at(r, "", "https://a.example", NOW + 2000, &(struct found){ 0 }) && is_revoked(r, "https://a.example"));
	ck_assert_int_eq(table_remove(t, span(""), span("https://a.example")), 0);
	ck_assert_uint_eq(table_rows(t), 2);
	ck_assert(is_revoked(r, "https://a.example"));
	ck_assert_int_eq(put(t, "", "https://*.later.example", "default"), 0);
	ck_assert(is_revoked(r, "https://q.later.example"));
	ck_assert_uint_eq(table_rows(t), 3);
	/* invalidated as well, and confirmed */
	ck_assert_int_eq(table_hold(t, span(""), span("https://*.x.example")), 1);
	ck_assert_int_eq(put(t, "", "https://*.x.example", "default"), 0);
	ck_assert(is_revoked(r, "https://q.x.example") && !find(r, "", "https://q.x.example").match.held);
	/* a whole table, and another writer */
	load(w);
	ck_assert(is_revoked(r, "https://a.example") && is_revoked(r, "https://q.later.example"));
	writer_close(&w);
	w = open_revoking(&s);
	ck_assert_uint_eq(revoked_count(writer_revoked(w)), 4);
	ck_assert_int_eq(writer_get(w, STATUS_revoked), 4);
	load(w);
	ck_assert(is_revoked(r, "https://a.example") && is_revoked(r, "https://stub.x.example"));
	/* restored: the row answers as it is now, and the stub is gone */
	ck_assert_int_eq(writer_restore(w, span(""), span("https://a.example")), 0);
	ck_assert_int_eq(writer_restore(w, span(""), span("https://stub.x.example")), 0);
	ck_assert_int_eq(writer_restore(w, span(""), span("https://stub.x.example")), -ENOENT);
	ck_assert(is_allowed(r, "https://a.example"));
	writer_restore_all(w);
	ck_assert_int_eq(writer_save_revoked(w), 0);
	ck_assert(is_allowed(r, "https://stub.x.example") && is_allowed(r, "https://q.x.example"));
	ck_assert_int_eq(find(r, "", "https://q.later.example").match.state, MATCH_NONE);
	reader_close(&r);
	writer_close(&w);
}
END_TEST

/* After a reboot there is the file alone. */
START_TEST(the_file_alone_is_enough)
{
	struct stage s;
	char v1[PATH_MAX + 64];
	set_stage(&s);
	struct writer *w = open_revoking(&s);

	ck_assert_int_eq(revoke_one(w, "", "https://a.example", 0), 0);	/* no table yet */
	writer_close(&w);
	snprintf(v1, sizeof(v1), "%s/v1", s.dir);
	remove_directory(v1);
	w = open_revoking(&s);
	load(w);
	struct reader *r = open_reader(s.dir);
	ck_assert(is_revoked(r, "https://a.example"));
	const struct revocation *found = revoked_get(writer_revoked(w), span(""), span("https://a.example"));
	ck_assert_ptr_nonnull(found);
	ck_assert(found->uid == 7 && span_is_text(found->note, "why") && found->since_s > 0 && found->until_s == 0);
	reader_close(&r);
	writer_close(&w);
}
END_TEST

/* Killed after the table, before the file: whoever comes next finds it. Killed the other way round: likewise. */
START_TEST(a_kill_between_two_steps_forgets_nothing)
{
	struct stage s;
	set_stage(&s);
	struct writer *w = open_revoking(&s);
	struct revocation r = { .realm = span(""), .origin = span("https://a.example") };
	load(w);
	struct reader *reader = open_reader(s.dir);

	revocation_begin(&r, 0);
	ck_assert_int_eq(writer_revoke(w, &r), 0);
	writer_close(&w);
	w = open_revoking(&s);		/* the file was not written */
	ck_assert(is_revoked(reader, "https://a.example"));
	ck_assert_uint_eq(revoked_count(writer_revoked(w)), 1);
	ck_assert_int_eq(writer_save_revoked(w), 0);
	ck_assert_int_eq(table_restore(writer_table(w), span(""), span("https://a.example")), 0);
	ck_assert(is_allowed(reader, "https://a.example"));
	writer_close(&w);
	w = open_revoking(&s);		/* the file was, or a restore did not get as far as that */
	ck_assert(is_revoked(reader, "https://a.example"));
	reader_close(&reader);
	writer_close(&w);
}
END_TEST

/* Nobody but restore --all may forget what a damaged file said, and until then nothing is allowed. */
START_TEST(a_damaged_file_refuses_everything)
{
	struct stage s;
	set_stage(&s);
	struct writer *w = open_revoking(&s);
	struct table_info ti;
	char byte;
	off_t size;
	int fd;

	ck_assert_int_eq(revoke_one(w, "", "https://none.example", 0), 0);
	load(w);
	writer_close(&w);
	fd = open(s.file, O_RDWR);
	ck_assert_int_ge(fd, 0);
	size = lseek(fd, 0, SEEK_END);
	for (off_t i = 0; i < size; i++) {
		ck_assert_int_eq(pread(fd, &byte, 1, i), 1);
		byte ^= (char)(1 << i % 7);
		ck_assert_int_eq(pwrite(fd, &byte, 1, i), 1);
		struct revoked *set = revoked_new();
		ck_assert_msg(revoked_read(set, s.file) == -EBADMSG, "byte %lld", (long long)i);
		revoked_free(&set);
		byte ^= (char)(1 << i % 7);
		ck_assert_int_eq(pwrite(fd, &byte, 1, i), 1);
	}
	ck_assert_int_eq(ftruncate(fd, size - (off_t)(size / 3 * (_i % 3)) - 1), 0);
	w = open_revoking(&s);
	struct reader *r = open_reader(s.dir);
	ck_assert_int_eq(writer_revoked_error(w), -EBADMSG);
	load(w);
	ck_assert(!is_allowed(r, "https://a.example") && is_revoked(r, "https://a.example"));
	reader_info(r, &ti);
	ck_assert(ti.revocations_lost && ti.held_all);
	ck_assert_int_eq(revoke_one(w, "", "https://a.example", 0), -EBADMSG);	/* refused, and the file is as it was */
	ck_assert_int_eq(lseek(fd, 0, SEEK_END), size - (off_t)(size / 3 * (_i % 3)) - 1);
	writer_restore_all(w);
	ck_assert_int_eq(writer_save_revoked(w), 0);
	ck_assert(is_allowed(r, "https://a.example"));
	writer_close(&w);
	w = open_revoking(&s);
	ck_assert_int_eq(writer_revoked_error(w), 0);
	ck_assert(is_allowed(r, "https://a.example"));
	close(fd);
	reader_close(&r);
	writer_close(&w);
}
END_TEST

/* A full disk: refused now, said, and written when it can be. */
START_TEST(what_cannot_be_saved_is_saved_later)
{
	struct stage s;
	char blocker[PATH_MAX + 64];
	set_stage(&s);
	snprintf(blocker, sizeof(blocker), "%s.new", s.file);
	ck_assert_int_eq(mkdir(blocker, 0700), 0);
	struct writer *w = open_revoking(&s);
	load(w);
	struct reader *r = open_reader(s.dir);

	ck_assert_int_ne(revoke_one(w, "", "https://a.example", 0), 0);
	ck_assert(is_revoked(r, "https://a.example"));
	ck_assert_int_ne(access(s.file, F_OK), 0);
	ck_assert_int_eq(rmdir(blocker), 0);
	for (int i = 0; i < 3000 && access(s.file, F_OK) != 0; i++, usleep(10000))
		ck_assert_int_eq(writer_tick(w), 0);
	ck_assert_int_eq(access(s.file, F_OK), 0);
	reader_close(&r);
	writer_close(&w);
}
END_TEST

START_TEST(a_duration_ends)
{
	struct stage s;
	set_stage(&s);
	struct writer *w = open_revoking(&s);
	load(w);
	struct reader *r = open_reader(s.dir);

	ck_assert_int_eq(revoke_one(w, "", "https://a.example", 1), 0);
	ck_assert_int_eq(revoke_one(w, "", "https://own.x.example", 3600), 0);
	writer_close(&w);
	w = open_revoking(&s);		/* what is left goes on counting */
	for (int i = 0; i < 3000 && is_revoked(r, "https://a.example"); i++, usleep(10000))
		ck_assert_int_eq(writer_tick(w), 0);
	ck_assert(is_allowed(r, "https://a.example"));
	ck_assert(is_revoked(r, "https://own.x.example"));
	writer_close(&w);
	w = open_revoking(&s);
	ck_assert_uint_eq(revoked_count(writer_revoked(w)), 1);
	reader_close(&r);
	writer_close(&w);
}
END_TEST

/* The clock on the wall was set while the machine was up: what was promised counts. */
START_TEST(the_clock_on_the_wall_ends_nothing)
{
	struct revoked *set = revoked_new();
	struct revocation r = { .realm = span(""), .origin = span("https://a.example") };

	revocation_begin(&r, 3600);
	r.until_s = r.since_s = 1;	/* long over by that clock */
	ck_assert_int_eq(revoked_put(set, &r), 0);
	ck_assert_ptr_null(revoked_over(set));
	r.ends_ms = 1;			/* over since the boot */
	r.until_s = INT32_MAX;
	ck_assert_int_eq(revoked_put(set, &r), 0);
	ck_assert_ptr_nonnull(revoked_over(set));
	revoked_free(&set);
}
END_TEST

/* Killed at random while it revokes and saves, one by one: what was saved is there, and the file is always whole. */
START_TEST(a_writer_killed_at_any_time_leaves_a_whole_file)
{
	struct stage s;
	uint64_t rng = random_seed();
	int known = 0;

	set_stage(&s);
	fprintf(stderr, "CORSCACHE_SEED=%llu makes this run again\n", (unsigned long long)rng);
	for (int round = 0; round < 30; round++) {
		int fds[2], done = known;
		ck_assert_int_eq(pipe(fds), 0);
		pid_t pid = fork();
		if (pid == 0) {
			struct writer *w = open_revoking(&s);
			char origin[64];
			for (int i = known; ; i++) {
				snprintf(origin, sizeof(origin), "https://h%d.example", i);
				if (revoke_one(w, "", origin, 0) != 0 || write(fds[1], &i, sizeof(i)) != sizeof(i))
					_exit(1);
			}
		}
		close(fds[1]);
		for (unsigned n = 1 + below(&rng, 20); n > 0 && read(fds[0], &done, sizeof(done)) == sizeof(done); n--)
			;
		kill(pid, SIGKILL);
		while (read(fds[0], &done, sizeof(done)) == sizeof(done))
			;
		waitpid(pid, NULL, 0);
		close(fds[0]);
		struct revoked *set = revoked_new();
		ck_assert_int_eq(revoked_read(set, s.file), 0);
		for (int i = 0; i <= done; i++) {
			char origin[64];
			snprintf(origin, sizeof(origin), "https://h%d.example", i);
			ck_assert_msg(revoked_get(set, span(""), span(origin)) != NULL, "%s of %d", origin, done);
		}
		known = done + 1;
		revoked_free(&set);
	}
}
END_TEST

START_TEST(many_are_no_trouble)
{
	struct stage s;
	char origin[64];
	double start = seconds();
	set_stage(&s);
	struct writer *w = open_revoking(&s);
	struct revocation r = { .realm = span("many"), .note = span("all of them") };
	load(w);

	for (int i = 0; i < MANY; i++) {
		snprintf(origin, sizeof(origin), "https://host-%d.customer.example", i);
		r.origin = span(origin);
		revocation_begin(&r, i % 2 * 3600);
		ck_assert_int_eq(writer_revoke(w, &r), 0);
	}
	ck_assert_int_eq(writer_save_revoked(w), 0);
	writer_close(&w);
	double revoked = seconds();
	w = open_revoking(&s);
	ck_assert_uint_eq(revoked_count(writer_revoked(w)), MANY);
	load(w);
	struct reader *reader = open_reader(s.dir);
	ck_assert(find(reader, "many", origin).match.revoked);
	printf("%d revocations: revoked and saved in %.2f s, read and in force again in %.2f s\n", MANY, revoked - start,
	    seconds() - revoked);
	reader_close(&reader);
	writer_close(&w);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("revoked");
	TCase *all = tcase_create("revoked");
	int failed;

	tcase_add_test(all, a_revocation_outlives_what_the_database_says);
	tcase_add_test(all, the_file_alone_is_enough);
	tcase_add_test(all, a_kill_between_two_steps_forgets_nothing);
	tcase_add_loop_test(all, a_damaged_file_refuses_everything, 0, 3);
	tcase_add_test(all, what_cannot_be_saved_is_saved_later);
	tcase_add_test(all, a_duration_ends);
	tcase_add_test(all, the_clock_on_the_wall_ends_nothing);
	tcase_add_test(all, a_writer_killed_at_any_time_leaves_a_whole_file);
	tcase_add_test(all, many_are_no_trouble);
	tcase_set_timeout(all, 120);
	suite_add_tcase(suite, all);
	make_directory(base);
	failed = run(suite);
	remove_directory(base);
	return failed;
}

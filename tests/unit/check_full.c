/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A table that can no longer grow: whatever the database takes away is away,
 * and whatever cannot be written is refused, not answered by what was there
 * before. The kernel is asked for room by posix_fallocate(3), which says here
 * what a test wants it to.
 */
#include <fcntl.h>
#include <sys/resource.h>

#include "run.h"
#include "tables.h"

#define MANY	5000	/* more than wait in the spare room of a shard */

static char base[PATH_MAX];
static int refusal;		/* what posix_fallocate() says; 0: the truth */

int	 __real_posix_fallocate(int fd, off_t from, off_t len);
int	 __wrap_posix_fallocate(int fd, off_t from, off_t len);

int
__wrap_posix_fallocate(int fd, off_t from, off_t len)
{
	return refusal != 0 ? refusal : __real_posix_fallocate(fd, from, len);
}

/* How a table cannot grow. */
static const int refusals[] = { ENOSPC, EIO, ENOMEM, EDQUOT, EMFILE };

static struct rlimit files;

static void
stop_growth(int how)
{
	struct rlimit none = { .rlim_cur = 3, .rlim_max = 0 };

	if (how == EMFILE) {		/* no file for a next generation, and no memory in the one there is */
		getrlimit(RLIMIT_NOFILE, &files);
		none.rlim_max = files.rlim_max;
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
		refusal = ENOSPC;
	} else {
		refusal = how;
	}
}

static void
allow_growth(int how)
{
	refusal = 0;
	if (how == EMFILE)
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
}

struct stage {
	char		 dir[PATH_MAX + 16];
	struct writer	*w;
	struct reader	*r;
	struct table	*t;
	unsigned	 rows;	/* of the realm "busy" */
};

static bool
is_allowed(struct stage *s, const char *realm, const char *origin)
{
	struct found f = find(s->r, realm, origin);

	ck_assert_int_ne(f.match.state, MATCH_ERROR);
	return f.match.state == MATCH_ROW && !f.match.held && !f.match.revoked && !f.match.refuses;
}

static void
numbered(char origin[64], unsigned i)
{
	snprintf(origin, 64, "https://host-%u.customer%u.example", i, i);
}

/* "busy" has taken all the room; "wide" has a wildcard, "plain" has none. */
static void
set_stage(struct stage *s, int how)
{
	char origin[64];

	snprintf(s->dir, sizeof(s->dir), "%s/XXXXXX", base);
	ck_assert_ptr_nonnull(mkdtemp(s->dir));
	s->w = open_writer(s->dir, 0);
	s->t = publish_empty(s->w, 0);
	s->r = open_reader(s->dir);
	s->rows = 0;
	ck_assert_int_eq(put_policy(s->t, "other", "PUT", false), 0);
	ck_assert_int_eq(put(s->t, "plain", "https://gone.example", "default"), 0);
	ck_assert_int_eq(put(s->t, "plain", "https://soon.example", "default"), 0);
	ck_assert_int_eq(put(s->t, "wide", "*", "default"), 0);
	ck_assert_int_eq(put(s->t, "wide", "https://*.example", "default"), 0);
	ck_assert_int_eq(put(s->t, "else", "https://*.example", "default"), 0);
	ck_assert_int_eq(put(s->t, "else", "https://other.test", "other"), 0);
	ck_assert(is_allowed(s, "else", "https://other.test"));	/* the reader has mapped what it needs */
	stop_growth(how);
	do
		numbered(origin, s->rows);
	while (put(s->t, "busy", origin, "default") == 0 && ++s->rows < 1000000);
	ck_assert_uint_lt(s->rows, 1000000);
}

static void
end_stage(struct stage *s)
{
	reader_close(&s->r);
	writer_close(&s->w);
}

static struct change
change_to(const char *realm, const char *origin, const char *policy, bool allow)
{
	struct change c = { .row = row_of(realm, origin, policy) };

	c.row.allow = allow;
	return c;
}

static struct change
removal(const char *realm, const char *origin)
{
	return (struct change){ .row = row_of(realm, origin, ""), .gone = true };
}

/* What one delta of the database may bring, behind rows that do not fit. */
START_TEST(what_is_taken_away_is_away)
{
	struct stage s;
	char fits[64][64];
	struct change c[72];
	size_t n = 0;

	set_stage(&s, refusals[_i]);
	for (unsigned i = 0; i < 64; i++) {
		numbered(fits[i], 2000000 + i);
		c[n++] = change_to("busy", fits[i], "default", true);
	}
	c[n++] = removal("plain", "https://gone.example");
	c[n++] = change_to("plain", "https://soon.example", "default", true);
	c[n - 1].row.expires_at = NOW - 1;
	c[n++] = change_to("wide", "https://stolen.example", "default", false);
	c[n++] = change_to("wide", "https://*.x.example", "default", false);
	c[n++] = removal("busy", "https://host-7.customer7.example");
	c[n++] = change_to("busy", "https://host-8.customer8.example", "default", false);
	ck_assert_int_ne(table_batch(s.t, c, n, NULL, 0, NULL, 0), 0);
	ck_assert(!is_allowed(&s, "plain", "https://gone.example"));
	ck_assert(!is_allowed(&s, "plain", "https://soon.example"));
	ck_assert(!is_allowed(&s, "wide", "https://stolen.example"));
	ck_assert(!is_allowed(&s, "wide", "https://a.x.example"));
	ck_assert(!is_allowed(&s, "busy", "https://host-7.customer7.example"));
	ck_assert(!is_allowed(&s, "busy", "https://host-8.customer8.example"));
	/* nobody else pays */
	ck_assert(is_allowed(&s, "wide", "https://a.y.example"));
	ck_assert(is_allowed(&s, "else", "https://a.example"));
	ck_assert(is_allowed(&s, "busy", "https://host-9.customer9.example"));
	ck_assert(!is_allowed(&s, "busy", fits[63]));
	/* there is room again */
	allow_growth(refusals[_i]);
	ck_assert_int_eq(table_batch(s.t, c, n, NULL, 0, NULL, 0), 0);
	writer_lift_wide_holds(s.w);
	ck_assert(is_allowed(&s, "busy", fits[63]));
	ck_assert(!is_allowed(&s, "wide", "https://a.x.example"));
	ck_assert(is_allowed(&s, "wide", "https://a.y.example"));
	ck_assert_uint_eq(table_rows(s.t), s.rows + 6 + 64 + 2 - 2);
	end_stage(&s);
}
END_TEST

/* Each refusal is heeded at once, and whoever has a row of its own goes on; when room comes back, so does the rest. */
START_TEST(refusals_without_end_are_heeded)
{
	struct stage s;
	struct change c;
	char origin[64], under[80];
	bool stopped_all = false;

	set_stage(&s, refusals[_i]);
	for (unsigned i = 10; i < MANY; i++) {
		numbered(origin, i);
		c = change_to("wide", origin, "default", false);
		(void)table_batch(s.t, &c, 1, NULL, 0, NULL, 0);
		ck_assert_msg(!is_allowed(&s, "wide", origin), "%s", origin);
		snprintf(origin, sizeof(origin), "https://*.sub-%u.example", i);
		snprintf(under, sizeof(under), "https://a.sub-%u.example", i);
		c = change_to("wide", origin, "default", false);
		(void)table_batch(s.t, &c, 1, NULL, 0, NULL, 0);
		ck_assert_msg(!is_allowed(&s, "wide", under), "%s", under);
		stopped_all |= !is_allowed(&s, "wide", "https://innocent.test");
	}
	ck_assert(stopped_all);		/* the spare room was spent, or the test tries nothing */
	ck_assert(is_allowed(&s, "else", "https://a.example"));
	ck_assert(is_allowed(&s, "busy", "https://host-9.customer9.example"));
	ck_assert_int_eq(table_hold(s.t, span("else"), span("https://a.example")), 1);
	ck_assert(!is_allowed(&s, "else", "https://a.example"));
	ck_assert(is_allowed(&s, "else", "https://other.test"));
	ck_assert_int_ne(table_revoke(s.t, span("else"), span("https://b.example")), 0);
	ck_assert(!is_allowed(&s, "else", "https://b.example"));
	ck_assert_int_eq(table_revoke(s.t, span("busy"), span("https://host-9.customer9.example")), 0);
	ck_assert(!is_allowed(&s, "busy", "https://host-9.customer9.example"));
	allow_growth(refusals[_i]);
	writer_lift_wide_holds(s.w);
	ck_assert(is_allowed(&s, "wide", "https://innocent.test"));
	end_stage(&s);
}
END_TEST

/* A row of its own would mean another policy than the wildcard's: until it can be written, neither answers. */
START_TEST(no_wildcard_answers_for_what_could_not_be_written)
{
	struct stage s;
	struct change c;
	char origin[64];

	set_stage(&s, refusals[_i]);
	for (unsigned i = 0; i < MANY; i++) {
		numbered(origin, i);
		c = change_to("wide", origin, "other", true);
		if (table_batch(s.t, &c, 1, NULL, 0, NULL, 0) == 0)
			ck_assert_str_eq(find(s.r, "wide", origin).policy, "other");
		else
			ck_assert_msg(!is_allowed(&s, "wide", origin), "%s", origin);
	}
	allow_growth(refusals[_i]);
	ck_assert_int_eq(table_batch(s.t, &c, 1, NULL, 0, NULL, 0), 0);
	ck_assert_str_eq(find(s.r, "wide", origin).policy, "other");
	end_stage(&s);
}
END_TEST

/* A policy that became narrower never answers as it was; with rows that change beside it, neither do they. */
START_TEST(a_policy_that_cannot_be_written_refuses)
{
	struct stage s;
	struct change c[2];
	struct policy_row policy;
	char method[16];
	struct span m;
	bool has_refused = false;

	set_stage(&s, refusals[_i]);
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(method, sizeof(method), "M%u", i);
		m = span(method);
		policy = policy_row("other", &m, false);
		c[0] = change_to("else", "https://other.test", "other", true);
		c[1] = removal("else", "https://nobody.example");
		if (table_batch(s.t, c, 2, &policy, 1, NULL, 0) == 0) {
			ck_assert_str_eq(find(s.r, "else", "https://other.test").methods, method);
		} else {
			ck_assert(!is_allowed(&s, "else", "https://other.test"));
			has_refused = true;
		}
	}
	ck_assert(has_refused);
	ck_assert(is_allowed(&s, "busy", "https://host-9.customer9.example"));
	allow_growth(refusals[_i]);
	ck_assert_int_eq(table_batch(s.t, c, 2, &policy, 1, NULL, 0), 0);
	ck_assert_str_eq(find(s.r, "else", "https://other.test").methods, method);
	end_stage(&s);
}
END_TEST

/* A realm that is refused but for its exact rows stays so for the next writer, too. */
START_TEST(the_next_writer_knows)
{
	struct stage s;
	struct change c;
	char origin[64];

	set_stage(&s, ENOSPC);
	for (unsigned i = 0; is_allowed(&s, "wide", "https://innocent.test"); i++) {
		numbered(origin, i);
		c = change_to("wide", origin, "default", false);
		(void)table_batch(s.t, &c, 1, NULL, 0, NULL, 0);
	}
	allow_growth(ENOSPC);
	writer_close(&s.w);
	s.w = open_writer(s.dir, 0);
	ck_assert_int_eq(writer_tick(s.w), 0);
	ck_assert(!is_allowed(&s, "wide", "https://innocent.test"));
	writer_lift_wide_holds(s.w);
	ck_assert(is_allowed(&s, "wide", "https://innocent.test"));
	end_stage(&s);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("full");
	TCase *full = tcase_create("full");
	const int n = sizeof(refusals) / sizeof(refusals[0]);
	int failed;

	tcase_add_loop_test(full, what_is_taken_away_is_away, 0, n);
	tcase_add_loop_test(full, refusals_without_end_are_heeded, 0, n);
	tcase_add_loop_test(full, no_wildcard_answers_for_what_could_not_be_written, 0, n);
	tcase_add_loop_test(full, a_policy_that_cannot_be_written_refuses, 0, n);
	tcase_add_test(full, the_next_writer_knows);
	tcase_set_timeout(full, 120);
	suite_add_tcase(suite, full);
	make_directory(base);
	failed = run(suite);
	remove_directory(base);
	return failed;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The shared table, call by call: what the writer does is what readers see,
 * at once, through growth, compaction, restarts, full disks and foreign files.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "rows.h"
#include "run.h"
#include "segment.h"
#include "shard.h"
#include "tables.h"

static char base[PATH_MAX];	/* removed by main(), whatever happened */

/* A directory of this test's own. */
static const char *
new_dir(void)
{
	static char dir[PATH_MAX + 16];

	snprintf(dir, sizeof(dir), "%s/XXXXXX", base);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	return dir;
}

#define assert_ok(call) do {								\
	int assert_error = (call);							\
	ck_assert_msg(assert_error == 0, "%s: %s", #call, strerror(-assert_error));	\
} while (0)

/* Which row answers; "" = none. */
static void
assert_row(struct reader *r, const char *realm, const char *origin, const char *want)
{
	struct found f = find(r, realm, origin);

	ck_assert_msg(f.match.state == (*want != '\0' ? MATCH_ROW : MATCH_NONE),
	    "\"%s\" in \"%s\": state %d, want the row \"%s\"", origin, realm, f.match.state, want);
	ck_assert_str_eq(f.row, want);
}

/* ---- rows ---- */

START_TEST(a_row_is_put_replaced_and_removed)
{
	struct writer *w = open_writer(new_dir(), 0);
	struct table *t = publish_empty(w, 0);
	struct row row = row_of("", "https://a.example", "default"), got;

	ck_assert_int_eq(table_get(t, row.realm, row.origin, &got), -ENOENT);
	assert_ok(table_put(t, &row));
	assert_ok(table_get(t, row.realm, row.origin, &got));
	ck_assert(span_is_text(got.origin, "https://a.example") && span_is_text(got.policy, "default"));
	ck_assert(got.allow && !got.held && got.expires_at == ROW_NEVER);
	assert_ok(put_policy(t, "other", "PUT", false));
	row = row_of("", "https://a.example", "other");
	row.allow = false;
	row.expires_at = NOW + 5;
	assert_ok(table_put(t, &row));
	assert_ok(table_get(t, row.realm, row.origin, &got));
	ck_assert(span_is_text(got.policy, "other") && !got.allow && got.expires_at == NOW + 5);
	ck_assert_uint_eq(table_rows(t), 1);
	assert_ok(table_remove(t, row.realm, row.origin));
	ck_assert_int_eq(table_remove(t, row.realm, row.origin), -ENOENT);
	ck_assert_uint_eq(table_rows(t), 0);
	writer_close(&w);
}
END_TEST

#define PARSED	40	/* not a multiple of what the writer fetches ahead */

static void
parse_rows(struct table *t, struct parsed_row rows[PARSED], char texts[PARSED][64])
{
	for (int i = 0; i < PARSED; i++) {
		snprintf(texts[i], sizeof texts[i], "https://%s%d.example", i % 3 == 0 ? "*." : "h", i);
		rows[i].row = row_of(i % 2 == 0 ? "" : "shop", texts[i], i % 5 == 0 ? "default" : "other");
		rows[i].handle = (uint32_t)table_policy_handle(t, rows[i].row.policy);
		ck_assert_int_eq(rule_parse(&rows[i].rule, texts[i], strlen(texts[i])), ORIGIN_OK);
	}
}

START_TEST(parsed_rows_are_put_in_their_order)
{
	struct writer *w = open_writer(new_dir(), 0);
	struct table *t = publish_empty(w, 0);
	struct parsed_row rows[PARSED];
	char texts[PARSED][64];
	struct row got;

	assert_ok(put_policy(t, "other", "PUT", false));
	ck_assert_int_eq(table_policy_handle(t, span("no such policy")), -ENOENT);
	parse_rows(t, rows, texts);
	rows[PARSED - 1] = rows[0];		/* the last of a key counts */
	rows[PARSED - 1].row.allow = false;
	assert_ok(table_put_parsed(t, rows, PARSED));
	ck_assert_uint_eq(table_rows(t), PARSED - 1);
	for (int i = 0; i < PARSED - 1; i++) {
		assert_ok(table_get(t, rows[i].row.realm, rows[i].row.origin, &got));
		ck_assert(span_is_text(got.origin, texts[i]) && span_is_text(got.policy, i % 5 == 0 ? "default" : "other"));
		ck_assert_int_eq(got.allow, i != 0);
	}
	writer_close(&w);
}
END_TEST

static int
count_row(const struct row *row, void *arg)
{
	(void)row;
	++*(unsigned *)arg;
	return 0;
}

static void
assert_walk_sees(struct table *t, unsigned rows)
{
	unsigned seen = 0;

	ck_assert_int_eq(table_each(t, count_row, &seen), 0);
	ck_assert_uint_eq(seen, rows);
	ck_assert_uint_eq(table_rows(t), rows);
}

/* Sooner or later it is the realm's record that has the shard built anew, and so moves the stub. */
START_TEST(a_stub_becomes_a_row_of_a_new_realm)
{
	const unsigned realms = 20000;
	struct writer *w = open_writer(new_dir(), 0);
	struct table *t = publish_empty(w, 0);
	struct row row, got;
	char realm[32];

	for (unsigned i = 0; i < realms; i++) {
		snprintf(realm, sizeof realm, "r%u", i);
		row = row_of(realm, "https://x.example", "default");
		ck_assert_int_eq(table_hold(t, row.realm, row.origin), 1);
		assert_ok(table_put(t, &row));
		assert_ok(table_get(t, row.realm, row.origin, &got));
		ck_assert(!got.held && span_is_text(got.policy, "default"));
	}
	assert_walk_sees(t, realms);
	writer_close(&w);
}
END_TEST

/* Long origins in a table made for short ones: a row that is replaced finds the arena full, not the slots. */
START_TEST(a_row_is_replaced_where_the_arena_is_full)
{
	const unsigned rows = 9000;
	char origin[RULE_MAX + 1];
	struct row row, got;

	for (unsigned size = 8000; size < 10200; size += 37) {
		struct writer *w = open_writer(new_dir(), 0);
		struct table *t = publish_empty(w, size);

		for (unsigned i = 0; i < rows + rows / 4; i++) {
			bool is_old = i % 5 == 4;
			unsigned number = i / 5 * 4 + i % 5;

			if (is_old)
				number /= 2;
			snprintf(origin, sizeof origin, "https://h%u.%060d.%060d.%060d.example", number, 1, 2, 3);
			row = row_of("", origin, "default");
			row.expires_at = is_old ? NOW + i : ROW_NEVER;
			assert_ok(table_put(t, &row));
			assert_ok(table_get(t, row.realm, row.origin, &got));
			ck_assert_int_eq(got.expires_at, row.expires_at);
		}
		assert_walk_sees(t, rows);
		writer_close(&w);
	}
}
END_TEST

START_TEST(what_is_no_row_is_refused)
{
	struct writer *w = open_writer(new_dir(), 0);
	struct table *t = publish_empty(w, 0);

	ck_assert_int_eq(put(t, "", "https://a.example/", "default"), -EINVAL);
	ck_assert_int_eq(put(t, "", "null", "default"), -EINVAL);
	ck_assert_int_eq(put(t, "", "https://*.*.example", "default"), -EINVAL);
	ck_assert_int_eq(put(t, "a\nb", "https://a.example", "default"), -EINVAL);
	ck_assert_int_eq(put(t, "", "https://a.example", "no such policy"), -ENOENT);
	ck_assert_int_eq(put_policy(t, "bad", "no method", false), -EINVAL);
	ck_assert_int_eq(table_policy_remove(t, span("bad")), -ENOENT);
	ck_assert_uint_eq(table_rows(t), 0);
	writer_close(&w);
}
END_TEST

/* From the most to the least specific; all of them match the first, which is an origin. */
#define RUNGS		8
static const char *const ladders[][RUNGS] = {
	{ "https://a.b.c.example:8443", "https://a.b.c.example:*", "https://*.b.c.example:8443",
	    "https://*.c.example:8443", "https://*.example:8443", "https://*.b.c.example:*",
	    "https://*.c.example:*", "*" },
	{ "app://a.b.example", "app://a.b.example:*", "app://*.b.example", "app://*.example", "app://*.b.example:*",
	    "app://*.example:*", "app://*", "*" },
};

/* Every subset of the ladder, one row changing between two looks (a Gray code). */
START_TEST(the_most_specific_row_answers)
{
	const char *const *ladder = ladders[_i], *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 0);
	struct reader *r = open_reader(dir);
	unsigned present = 0;

	for (unsigned i = 1; i < 1u << RUNGS; i++) {
		unsigned rung = (unsigned)__builtin_ctz(i);
		present ^= 1u << rung;
		if (present >> rung & 1)
			assert_ok(put(t, "shop", ladder[rung], "default"));
		else
			assert_ok(table_remove(t, span("shop"), span(ladder[rung])));
		unsigned first = present == 0 ? RUNGS : (unsigned)__builtin_ctz(present);
		assert_row(r, "shop", ladder[0], first < RUNGS ? ladder[first] : "");
		struct found f = find(r, "shop", ladder[0]);
		ck_assert_int_eq(f.match.realm_known, present != 0);
		ck_assert_int_eq(f.match.realm_only_any, present == 1u << (RUNGS - 1));
		/* no origin at all: only * may answer */
		assert_row(r, "shop", NULL, present >> (RUNGS - 1) & 1 ? "*" : "");
	}
	reader_close(&r);
	writer_close(&w);
}
END_TEST

static const struct near_miss {
	const char	*realm, *rule, *origin;
	bool		 matches;
} near_misses[] = {
	{ "", "https://a.example", "https://a.example", true },
	{ "", "https://a.example", "http://a.example", false },
	{ "", "https://a.example", "https://a.example:8443", false },
	{ "", "https://a.example:8443", "https://a.example", false },
	{ "", "https://a.example", "https://b.a.example", false },
	{ "", "https://a.example", "https://a.example.evil", false },
	{ "", "https://a.example:*", "https://a.example:1", true },
	{ "", "https://a.example:*", "https://a.example", true },
	{ "", "https://a.example:*", "https://b.a.example:1", false },
	{ "", "https://*.a.example", "https://b.a.example", true },
	{ "", "https://*.a.example", "https://c.b.a.example", true },
	{ "", "https://*.a.example", "https://a.example", false },
	{ "", "https://*.a.example", "https://xa.example", false },
	{ "", "https://*.a.example", "https://b.a.example:1", false },
	{ "", "https://*.a.example", "http://b.a.example", false },
	{ "", "https://*.a.example:1", "https://b.a.example:1", true },
	{ "", "https://*.a.example:*", "https://b.a.example:1", true },
	{ "", "https://*.a.example:*", "https://a.example:1", false },
	{ "", "http://127.0.0.1:*", "http://127.0.0.1:3000", true },
	{ "", "http://127.0.0.1:*", "http://127.0.0.2:3000", false },
	{ "", "https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443", true },
	{ "", "https://*.1.example", "https://[2001:db8::1]", false },
	{ "", "app://*.0.1", "app://127.0.0.1", false },
	{ "", "app://*.0.1:*", "app://127.0.0.1:3000", false },
	{ "", "app://*.0.1", "app://x.0.1", true },
	{ "", "chrome-extension://abcdefghij", "chrome-extension://abcdefghij", true },
	{ "", "chrome-extension://abcdefghij", "moz-extension://abcdefghij", false },
	{ "", "chrome-extension://abcdefghij", "https://abcdefghij", false },
	{ "", "https://abcdefghij", "chrome-extension://abcdefghij", false },
	{ "", "app://*.example", "app://a.example", true },
	{ "", "app://*.example", "app2://a.example", false },
	{ "", "app://*.example:*", "app://a.example:1", true },
	{ "", "app://.", "app://.", true },
	{ "", "app://.", "app://..", false },
	{ "", "app://.:*", "app://.:1", true },
	{ "", "app://", "app://", true },
	{ "", "app://", "app2://", false },
	{ "", "app://Host", "app://Host", true },
	{ "", "app://Host", "app://host", false },
	{ "", "app://*.example", "app://A.example", false },
	{ "", "app://*.example", "app://a..example", false },
	{ "", "app://*", "app://a.example", true },
	{ "", "app://*", "app://.", true },
	{ "", "app://*", "app://", true },
	{ "", "app://*", "app://A'b", true },
	{ "", "app://*", "app://[::1]", true },
	{ "", "app://*", "app://a.example:1", false },
	{ "", "app://*", "app2://a.example", false },
	{ "", "app://*", "https://app", false },
	{ "ab", "app://*", "app://c", true },
	{ "ab", "https://c.example", "https://c.example", true },
	{ "", "*", "app://anything", true },
};

START_TEST(near_misses_do_not_match)
{
	const struct near_miss *c = &near_misses[_i];
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 0);
	struct reader *r = open_reader(dir);

	assert_ok(put(t, c->realm, c->rule, "default"));
	assert_row(r, c->realm, c->origin, c->matches ? c->rule : "");
	assert_row(r, "another", c->origin, "");
	reader_close(&r);
	writer_close(&w);
}
END_TEST

/* Realm and origin are two things, however they are cut. */
START_TEST(realms_are_never_mixed)
{
	static const char *const realms[] = { "", "a", "ab", "abc", "https", "h", "https://c.example" };
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 0);
	struct reader *r = open_reader(dir);

	for (size_t i = 0; i < sizeof(realms) / sizeof(realms[0]); i++) {
		assert_ok(put(t, realms[i], "app://bc.example", "default"));
		assert_ok(put(t, realms[i], "https://*.wide.example", "default"));
		for (size_t k = 0; k < sizeof(realms) / sizeof(realms[0]); k++) {
			assert_row(r, realms[k], "app://bc.example", k == i ? "app://bc.example" : "");
			assert_row(r, realms[k], "app://c.example", "");
			assert_row(r, realms[k], "https://x.wide.example", k == i ? "https://*.wide.example" : "");
			ck_assert_int_eq(find(r, realms[k], "https://x.example").match.realm_known, k == i);
		}
		assert_ok(table_remove(t, span(realms[i]), span("app://bc.example")));
		assert_ok(table_remove(t, span(realms[i]), span("https://*.wide.example")));
	}
	reader_close(&r);
	writer_close(&w);
}
END_TEST

START_TEST(the_longest_keys_fit)
{
	char realm[REALM_MAX + 1], label[64], origin[ORIGIN_MAX + 1];
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 0);
	struct reader *r = open_reader(dir);

	memset(realm, 'r', REALM_MAX);
	realm[REALM_MAX] = '\0';
	memset(label, 'l', 63);
	label[63] = '\0';
	snprintf(origin, sizeof(origin), "s%.63s://%s.%s.%s.%.61s:65535", label, label, label, label, label);
	ck_assert_uint_eq(strlen(origin), ORIGIN_MAX);
	assert_ok(put(t, realm, origin, "default"));
	assert_row(r, realm, origin, origin);
	realm[REALM_MAX - 1] = '\0';
	assert_row(r, realm, origin, "");
	reader_close(&r);
	writer_close(&w);
}
END_TEST

START_TEST(a_row_expires_at_its_second)
{
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 0);
	struct reader *r = open_reader(dir);
	struct row row = row_of("", "https://a.example", "default");
	struct found f;

	row.expires_at = NOW;
	assert_ok(table_put(t, &row));
	ck_assert(find_at(r, "", "https://a.example", NOW - 1, &f));
	ck_assert_int_eq(f.match.state, MATCH_ROW);
	ck_assert_int_eq(f.match.expires_at, NOW);
	ck_assert(find_at(r, "", "https://a.example", NOW, &f));
	ck_assert_int_eq(f.match.state, MATCH_NONE);
	ck_assert(f.match.saw_expired);
	/* and a wider row answers instead */
	assert_ok(put(t, "", "https://*.example", "default"));
	ck_assert(find_at(r, "", "https://a.example", NOW - 1, &f));
	ck_assert_str_eq(f.row, "https://a.example");
	ck_assert(find_at(r, "", "https://a.example", NOW, &f));
	ck_assert_str_eq(f.row, "https://*.example");
	/* a refusal that expires refuses no more */
	row.allow = false;
	assert_ok(table_put(t, &row));
	ck_assert(find_at(r, "", "https://a.example", NOW - 1, &f));
	ck_assert(f.match.refuses);
	ck_assert(find_at(r, "", "https://a.example", NOW, &f));
	ck_assert(!f.match.refuses);
	row.expires_at = ROW_NEVER;
	assert_ok(table_put(t, &row));
	ck_assert(find_at(r, "", "https://a.example", INT64_MAX, &f));
	ck_assert(f.match.state == MATCH_ROW && f.match.refuses);
	row.expires_at = -5;	/* before 1970 is over */
	assert_ok(table_put(t, &row));
	ck_assert(find_at(r, "", "https://a.example", 2, &f));
	ck_assert(!f.match.refuses);
	reader_close(&r);
	writer_close(&w);
}
END_TEST

/* More than one exact row changes: who looked before must look again. */
START_TEST(a_look_knows_when_it_is_old)
{
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 0);
	struct reader *r = open_reader(dir);

	for (int i = 0; i < 4; i++) {
		assert_ok(put(t, "", i % 2 == 0 ? "https://a.example" : "https://b.example", "default"));
		find(r, "", "https://a.example");
		ck_assert(reader_is_current(r));
		assert_ok(put(t, "", "https://c.example", "default"));
		ck_assert(reader_is_current(r));
		assert_ok(i == 0 ? put(t, "", "https://*.example", "default") :
		    i == 1 ? put_policy(t, "default", "PUT", false) :
		    i == 2 ? table_remove(t, span(""), span("https://*.example")) : writer_hold_all(w));
		ck_assert(!reader_is_current(r));
	}
	reader_close(&r);
	writer_close(&w);
}
END_TEST

/* Part by part: what does not fit is left out, and nothing is written behind the end. */
START_TEST(the_text_of_a_row_stays_in_its_buffer)
{
	static const char rule[] = "https://*.a.example:*", origin[] = "https://b.a.example:81";
	char buf[sizeof(rule) + 1];
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct reader *r = open_reader(dir);
	struct origin o;
	struct match m;

	assert_ok(put(publish_empty(w, 0), "", rule, "default"));
	ck_assert_int_eq(origin_parse(&o, origin, strlen(origin)), ORIGIN_OK);
	reader_find(r, span(""), &o, NOW, &m);
	for (size_t cap = 1; cap <= sizeof(rule); cap++) {
		memset(buf, 0x5a, sizeof(buf));
		ck_assert_uint_lt(match_row_text(&m, &o, buf, cap), cap);
		ck_assert_uint_lt(strlen(buf), cap);
		ck_assert_int_eq(buf[cap], 0x5a);
	}
	ck_assert_str_eq(buf, rule);
	reader_close(&r);
	writer_close(&w);
}
END_TEST

START_TEST(what_is_unsafe_counts_as_absent)
{
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 0);
	struct reader *r = open_reader(dir);
	struct row suffix = row_of("", "https://*.co.example", "secret");

	assert_ok(put_policy(t, "secret", "GET", true));
	suffix.public_suffix = true;
	assert_ok(table_put(t, &suffix));
	assert_ok(put(t, "", "*", "secret"));
	assert_ok(put(t, "", "http://plain.example", "secret"));
	ck_assert(find(r, "", "https://x.co.example").match.saw_unsafe);
	assert_row(r, "", "https://x.co.example", "");
	assert_row(r, "", "http://plain.example", "");
	assert_row(r, "", "https://y.example", "");
	assert_ok(put_policy(t, "secret", "GET", false));
	assert_row(r, "", "https://x.co.example", "https://*.co.example");
	ck_assert(find(r, "", "https://x.co.example").match.public_suffix);
	assert_row(r, "", "http://plain.example", "http://plain.example");
	assert_row(r, "", "https://y.example", "*");
	reader_close(&r);
	writer_close(&w);
}
END_TEST

/* ---- policies ---- */

START_TEST(a_policy_changes_all_its_origins)
{
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 0);
	struct reader *r = open_reader(dir);
	char origin[64];

	for (int i = 0; i < 1000; i++) {
		snprintf(origin, sizeof(origin), "https://h%d.example", i);
		assert_ok(put(t, "", origin, "default"));
	}
	for (int version = 0; version < 3; version++) {
		const char *method = (const char *[]){ "PUT", "DELETE", "PATCH" }[version];
		assert_ok(put_policy(t, "default", method, false));
		for (int i = 0; i < 1000; i += 7) {
			snprintf(origin, sizeof(origin), "https://h%d.example", i);
			ck_assert_str_eq(find(r, "", origin).methods, method);
		}
	}
	assert_ok(table_policy_remove(t, span("default")));
	struct found f = find(r, "", "https://h7.example");
	ck_assert(f.match.state == MATCH_ROW && f.match.refuses && f.policy[0] == '\0');
	/* the name again is another policy: rows must be put again to have it */
	assert_ok(put_policy(t, "default", "GET", false));
	ck_assert(find(r, "", "https://h7.example").match.refuses);
	assert_ok(put(t, "", "https://h7.example", "default"));
	ck_assert_str_eq(find(r, "", "https://h7.example").methods, "GET");
	reader_close(&r);
	writer_close(&w);
}
END_TEST

/* A policy for each row that comes and goes: handles are counted from 0 again before they run out. */
START_TEST(spent_handles_are_won_back)
{
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct reader *r = open_reader(dir);
	struct table_info ti;
	char name[32];

	publish_empty(w, 0);
	assert_ok(put_policy(writer_table(w), "stays", "PUT", false));
	assert_ok(put(writer_table(w), "", "https://a.example", "stays"));
	assert_ok(put_policy(writer_table(w), "goes", "PUT", false));
	assert_ok(put(writer_table(w), "", "https://b.example", "goes"));
	assert_ok(table_policy_remove(writer_table(w), (struct span){ "goes", 4 }));
	for (int i = 0; i < 70000; i++) {
		int n = snprintf(name, sizeof(name), "p%d", i);
		assert_ok(put_policy(writer_table(w), name, "PUT", false));
		assert_ok(table_policy_remove(writer_table(w), (struct span){ name, (size_t)n }));
		if (i % 1000 == 0)
			assert_ok(writer_tick(w));
	}
	reader_info(r, &ti);
	ck_assert_uint_eq(ti.table, 2);
	ck_assert_str_eq(find(r, "", "https://a.example").policy, "stays");
	ck_assert(find(r, "", "https://b.example").match.refuses);	/* its policy is gone */
	reader_close(&r);
	writer_close(&w);
}
END_TEST

static int
count_policy(const struct policy *p, void *arg)
{
	++*(unsigned *)arg;
	return p->name.len == 0;
}

#define MANY_POLICIES	5000

START_TEST(policies_grow_past_their_first_file)
{
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 0);
	struct reader *r = open_reader(dir);
	char name[32], origin[64];
	unsigned count;

	for (int i = 0; i < MANY_POLICIES; i++) {
		snprintf(name, sizeof(name), "p%d", i);
		snprintf(origin, sizeof(origin), "https://h%d.example", i);
		assert_ok(put_policy(t, name, "PUT", false));
		assert_ok(put(t, "", origin, name));
		if (i % 500 == 0)
			assert_ok(writer_tick(w));
		if (i < 1000) {		/* the last of a full file is told as well */
			count = 0;
			assert_ok(reader_each_policy(r, count_policy, &count));
			ck_assert_uint_eq(count, (unsigned)i + 2);
		}
		snprintf(origin, sizeof(origin), "https://h%d.example", i / 2);
		snprintf(name, sizeof(name), "p%d", i / 2);
		ck_assert_str_eq(find(r, "", origin).policy, name);
	}
	for (int i = 0; i < MANY_POLICIES; i++) {
		snprintf(origin, sizeof(origin), "https://h%d.example", i);
		snprintf(name, sizeof(name), "p%d", i);
		ck_assert_str_eq(find(r, "", origin).policy, name);
	}
	count = 0;
	assert_ok(reader_each_policy(r, count_policy, &count));
	ck_assert_uint_eq(count, MANY_POLICIES + 1);
	reader_close(&r);
	writer_close(&w);
}
END_TEST

/* One policy changed for ever neither grows without bound nor runs out of room. */
START_TEST(a_policy_may_change_for_ever)
{
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 0);
	struct reader *r = open_reader(dir);
	struct table_info ti;
	char method[32];

	assert_ok(put(t, "", "https://a.example", "default"));
	for (int i = 0; i < 50000; i++) {
		snprintf(method, sizeof(method), "M%d", i);
		assert_ok(put_policy(t, "default", method, false));
		if (i % 1000 == 0)
			ck_assert_str_eq(find(r, "", "https://a.example").methods, method);
	}
	reader_info(r, &ti);
	ck_assert_uint_eq(ti.policies, 1);
	ck_assert_uint_lt(ti.bytes, 4 << 20);
	reader_close(&r);
	writer_close(&w);
}
END_TEST

/* ---- holds ---- */

static bool
is_held(struct reader *r, const char *realm, const char *origin)
{
	return find(r, realm, origin).match.held;
}

START_TEST(a_hold_refuses_until_the_row_is_put_or_removed)
{
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 0);
	struct reader *r = open_reader(dir);
	char buf[REALM_MAX + RULE_MAX + POLICY_MAX_NAME + 3];
	struct rule rule;
	struct row got;

	assert_ok(put(t, "", "https://a.example", "default"));
	assert_ok(put(t, "", "https://*.wide.example", "default"));
	ck_assert_int_eq(table_hold(t, span(""), span("https://a.example")), 1);
	ck_assert(is_held(r, "", "https://a.example"));
	ck_assert(!is_held(r, "", "https://b.wide.example"));
	assert_ok(put(t, "", "https://a.example", "default"));
	ck_assert(!is_held(r, "", "https://a.example"));
	/* the same with a row that changes its shape */
	struct row row = row_of("", "https://a.example", "default");
	row.expires_at = NOW + 1;
	ck_assert_int_eq(table_hold(t, span(""), span("https://a.example")), 1);
	assert_ok(table_put(t, &row));
	ck_assert(!is_held(r, "", "https://a.example"));
	ck_assert_int_eq(table_hold(t, span(""), span("https://*.wide.example")), 1);
	ck_assert(is_held(r, "", "https://b.wide.example"));
	assert_ok(put(t, "", "https://*.wide.example", "default"));
	ck_assert(!is_held(r, "", "https://b.wide.example"));
	/* an origin without a row of its own: a stub keeps the wider one from answering */
	ck_assert_int_eq(table_hold(t, span(""), span("https://b.wide.example")), 1);
	ck_assert_uint_eq(table_rows(t), 2);
	ck_assert(is_held(r, "", "https://b.wide.example"));
	ck_assert(!is_held(r, "", "https://c.wide.example"));
	assert_ok(table_get(t, span(""), span("https://b.wide.example"), &got));
	ck_assert(got.held && got.policy.len == 0);
	ck_assert_int_eq(rule_parse(&rule, "https://b.wide.example", strlen("https://b.wide.example")), ORIGIN_OK);
	assert_ok(reader_get(r, span(""), &rule, buf, &got));
	ck_assert(got.held && got.policy.len == 0);
	assert_ok(table_remove(t, span(""), span("https://b.wide.example")));
	assert_row(r, "", "https://b.wide.example", "https://*.wide.example");
	ck_assert_uint_eq(table_rows(t), 2);
	ck_assert_int_eq(table_hold(t, span(""), span("https://b.wide.example")), 1);
	assert_ok(put(t, "", "https://b.wide.example", "default"));
	assert_row(r, "", "https://b.wide.example", "https://b.wide.example");
	ck_assert_uint_eq(table_rows(t), 3);
	ck_assert_int_eq(table_hold(t, span(""), span("https://*.nobody.example")), 0);
	reader_close(&r);
	writer_close(&w);
}
END_TEST

START_TEST(a_realm_is_held_alone)
{
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 0);
	struct reader *r = open_reader(dir);

	for (int i = 0; i < 3; i++) {
		const char *realm = (const char *[]){ "", "a", "ab" }[i];
		assert_ok(put(t, realm, "https://a.example", "default"));
		assert_ok(put(t, realm, "https://*.wide.example", "default"));
		assert_ok(put(t, realm, "*", "default"));
	}
	ck_assert_int_eq(table_hold_realm(t, span("a")), 3);
	ck_assert(is_held(r, "a", "https://a.example"));
	ck_assert(is_held(r, "a", "https://b.wide.example"));
	ck_assert(is_held(r, "a", "https://other.example"));
	ck_assert(!is_held(r, "", "https://a.example"));
	ck_assert(!is_held(r, "ab", "https://other.example"));
	assert_ok(put(t, "a", "https://a.example", "default"));
	ck_assert(!is_held(r, "a", "https://a.example"));
	ck_assert(is_held(r, "a", "https://other.example"));
	reader_close(&r);
	writer_close(&w);
}
END_TEST

START_TEST(everything_is_held_until_the_next_whole_table)
{
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct reader *r;
	struct table_info ti;
	struct table *t;

	assert_ok(writer_hold_all(w));		/* works without a table */
	t = publish_empty(w, 0);
	assert_ok(put(t, "", "https://a.example", "default"));
	r = open_reader(dir);
	assert_row(r, "", "https://a.example", "https://a.example");
	assert_ok(writer_hold_all(w));
	ck_assert(is_held(r, "", "https://a.example"));
	ck_assert(is_held(r, "x", "https://unknown.example"));
	assert_ok(put(t, "", "https://a.example", "default"));	/* one row does not lift it */
	ck_assert(is_held(r, "", "https://a.example"));
	reader_info(r, &ti);
	ck_assert(ti.held_all);
	writer_close(&w);			/* nor does a restart */
	w = open_writer(dir, 0);
	ck_assert(is_held(r, "", "https://a.example"));
	t = publish_empty(w, 0);
	ck_assert(!is_held(r, "", "https://a.example"));
	assert_row(r, "", "https://a.example", "");
	reader_close(&r);
	writer_close(&w);
}
END_TEST

/* ---- whole tables ---- */

START_TEST(a_whole_table_is_switched_or_thrown_away)
{
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct reader *r = open_reader(dir);
	struct table *t, *second = NULL;

	ck_assert_ptr_null(writer_table(w));
	ck_assert_int_eq(find(r, "", "https://a.example").match.state, MATCH_NOT_READY);
	t = publish_empty(w, 0);
	ck_assert_int_eq(find(r, "", "https://a.example").match.state, MATCH_NONE);
	assert_ok(put(t, "", "https://old.example", "default"));
	assert_ok(writer_begin(w, 100, &t));
	ck_assert_int_eq(writer_begin(w, 100, &second), -EBUSY);
	assert_ok(put_policy(t, "next", "PUT", false));
	assert_ok(put(t, "", "https://new.example", "next"));
	assert_row(r, "", "https://new.example", "");
	assert_row(r, "", "https://old.example", "https://old.example");
	writer_abort(w, &t);
	ck_assert_ptr_null(t);
	assert_row(r, "", "https://new.example", "");
	assert_row(r, "", "https://old.example", "https://old.example");
	assert_ok(writer_begin(w, 100, &t));
	assert_ok(put_policy(t, "next", "PUT", false));
	assert_ok(put(t, "", "https://new.example", "next"));
	assert_ok(writer_commit(w, &t));
	ck_assert_ptr_null(t);
	assert_row(r, "", "https://new.example", "https://new.example");
	assert_row(r, "", "https://old.example", "");
	reader_close(&r);
	writer_close(&w);
}
END_TEST

static void
numbered(char *buf, size_t cap, unsigned i)
{
	snprintf(buf, cap, "https://host-%u.customer%u.example", i, i % 977);
}

static const struct growth {
	unsigned	 max_shards;
	unsigned	 shards;	/* at the end */
} growths[] = { { 1, 1 }, { 2, 2 }, { 0, 4 } };

START_TEST(a_live_table_grows_under_its_readers)
{
	const unsigned rows = 400000;
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, growths[_i].max_shards);
	struct reader *r = open_reader(dir), *idle = open_reader(dir), *fresh;
	struct table_info ti;
	char origin[64];
	uint64_t random = 1;

	publish_empty(w, 0);
	assert_ok(put(writer_table(w), "", "https://*.wide.example", "default"));
	for (unsigned i = 0; i < rows; i++) {
		numbered(origin, sizeof(origin), i);
		assert_ok(put(writer_table(w), "", origin, "default"));
		if (i % 97 == 0) {
			assert_row(r, "", origin, origin);
			numbered(origin, sizeof(origin), below(&random, i + 1));
			assert_row(r, "", origin, origin);
			numbered(origin, sizeof(origin), i + 1 + below(&random, rows));
			assert_row(r, "", origin, "");
		}
		if (i % 1000 == 0)
			assert_ok(writer_tick(w));
	}
	reader_info(r, &ti);
	ck_assert_uint_eq(ti.rows, rows + 1);
	ck_assert_uint_eq(ti.shards, growths[_i].shards);
	ck_assert_uint_ge(ti.capacity, ti.rows);
	fresh = open_reader(dir);
	for (unsigned i = 0; i < rows; i += 11) {
		numbered(origin, sizeof(origin), i);
		assert_row(idle, "", origin, origin);
		assert_row(fresh, "", origin, origin);
	}
	assert_row(idle, "", "https://x.wide.example", "https://*.wide.example");
	reader_close(&r);
	reader_close(&idle);
	reader_close(&fresh);
	writer_close(&w);
}
END_TEST

START_TEST(removed_rows_give_their_memory_back)
{
	const unsigned rows = 60000;
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, rows);
	struct reader *r = open_reader(dir);
	struct table_info full, less;
	char origin[64];

	for (unsigned i = 0; i < rows; i++) {
		numbered(origin, sizeof(origin), i);
		assert_ok(put(t, "", origin, "default"));
	}
	reader_info(r, &full);
	for (unsigned i = 0; i < rows; i++) {
		numbered(origin, sizeof(origin), i);
		if (i % 20 != 0)
			assert_ok(table_remove(t, span(""), span(origin)));
	}
	reader_info(r, &less);
	ck_assert_uint_eq(less.rows, rows / 20);
	ck_assert_uint_lt(less.bytes, full.bytes / 4);
	ck_assert_uint_lt(less.dead_bytes, less.bytes / 2);
	for (unsigned i = 0; i < rows; i++) {
		numbered(origin, sizeof(origin), i);
		assert_row(r, "", origin, i % 20 == 0 ? origin : "");
	}
	reader_close(&r);
	writer_close(&w);
}
END_TEST

/* One row replaced for ever: its dead bytes come back too. */
START_TEST(replaced_rows_give_their_memory_back)
{
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 0);
	struct reader *r = open_reader(dir);
	struct row row = row_of("", "https://a.example", "default");
	struct table_info ti;

	for (int i = 0; i < 100000; i++) {
		row.expires_at = NOW + 1 + i;
		assert_ok(table_put(t, &row));
		if (i % 1000 == 0)
			ck_assert_int_eq(find(r, "", "https://a.example").match.expires_at, row.expires_at);
	}
	reader_info(r, &ti);
	ck_assert_uint_lt(ti.bytes, 1 << 20);
	reader_close(&r);
	writer_close(&w);
}
END_TEST

/* ---- files ---- */

static unsigned
count_files(const char *dir)
{
	char path[PATH_MAX];
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/" LAYOUT_DIR, dir);
	ck_assert_ptr_nonnull(d = opendir(path));
	for (struct dirent *e; (e = readdir(d)) != NULL;)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

/* Maps of files in dir that have lost their name. */
static unsigned
count_removed_maps(const char *dir)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[PATH_MAX + 128];
	unsigned n = 0;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f) != NULL)
		n += strstr(line, dir) != NULL && strstr(line, "(deleted)") != NULL;
	fclose(f);
	return n;
}

START_TEST(superseded_files_vanish_with_their_last_reader)
{
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 0);
	struct reader *r = open_reader(dir);
	char origin[64], leftover[PATH_MAX];

	put(t, "", "https://first.example", "default");
	assert_row(r, "", "https://first.example", "https://first.example");	/* now it maps the shard */
	for (unsigned i = 0; i < 20000; i++) {
		numbered(origin, sizeof(origin), i);
		assert_ok(put(t, "", origin, "default"));
	}
	ck_assert_uint_eq(count_files(dir), 5);		/* lock, ctl, root, policies, one shard */
	ck_assert_uint_eq(count_removed_maps(dir), 1);
	assert_ok(reader_refresh(r));
	ck_assert_uint_eq(count_removed_maps(dir), 0);
	assert_row(r, "", "https://first.example", "https://first.example");
	for (unsigned i = 0; i < MANY_POLICIES; i++) {
		snprintf(origin, sizeof(origin), "p%u", i);
		assert_ok(put_policy(t, origin, "PUT", false));
	}
	ck_assert_uint_eq(count_files(dir), 5);
	ck_assert_uint_eq(count_removed_maps(dir), 1);		/* that of the policies */
	assert_ok(reader_refresh(r));
	ck_assert_uint_eq(count_removed_maps(dir), 0);
	writer_close(&w);
	/* what a killed writer may leave behind */
	snprintf(leftover, sizeof(leftover), "%s/" LAYOUT_DIR "/t1.s0.999999", dir);
	ck_assert_int_eq(close(open(leftover, O_CREAT | O_WRONLY, 0640)), 0);
	w = open_writer(dir, 0);
	ck_assert_uint_eq(count_files(dir), 5);
	for (unsigned i = 0; i < 20000; i += 7) {
		numbered(origin, sizeof(origin), i);
		assert_row(r, "", origin, origin);
	}
	reader_close(&r);
	writer_close(&w);
}
END_TEST

/* A shard that the next table does not have is never mapped anew. */
START_TEST(a_smaller_table_lets_all_shards_of_a_larger_one_go)
{
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct reader *r = open_reader(dir);
	char origin[64];

	publish_empty(w, 1000000);
	for (unsigned i = 0; i < 200; i++) {
		numbered(origin, sizeof(origin), i);
		assert_row(r, "", origin, "");
	}
	publish_empty(w, 0);
	ck_assert_uint_gt(count_removed_maps(dir), 4);
	assert_row(r, "", "https://a.example", "");
	for (int i = 0; i < LAYOUT_MAX_SHARDS && count_removed_maps(dir) > 0; i++)
		assert_ok(reader_refresh(r));
	ck_assert_uint_eq(count_removed_maps(dir), 0);
	reader_close(&r);
	writer_close(&w);
}
END_TEST

/* Opens a writer in a process of its own that puts rows, says so, and waits to be killed. */
static pid_t
writer_process(const char *dir, unsigned rows)
{
	int fds[2];
	char byte;
	pid_t pid;

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_ge(pid = fork(), 0);
	if (pid == 0) {
		struct writer *w = open_writer(dir, 0);
		struct table *t = publish_empty(w, 0);
		char origin[64];
		for (unsigned i = 0; i < rows; i++) {
			numbered(origin, sizeof(origin), i);
			if (put(t, i % 3 == 0 ? "three" : "", origin, "default") != 0)
				_exit(1);
		}
		if (put(t, "", "https://*.wide.example", "default") != 0 ||
		    table_hold(t, span(""), span("https://host-1.customer1.example")) != 1 ||
		    table_hold(t, span(""), span("https://stub.wide.example")) != 1 || write(fds[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	ck_assert_int_eq(read(fds[0], &byte, 1), 1);
	close(fds[0]);
	close(fds[1]);
	return pid;
}

START_TEST(there_is_one_writer_and_its_death_is_noticed)
{
	char err[512] = "";
	const char *dir = new_dir();
	struct writer_options opt = { .dir = dir, .group = (gid_t)-1, .err = err, .errlen = sizeof(err) };
	struct writer *w = NULL;
	struct table_info ti;
	pid_t pid = writer_process(dir, 3000);
	struct reader *r = open_reader(dir);
	char origin[64];
	struct row got;

	ck_assert_int_eq(writer_open(&w, &opt), -EWOULDBLOCK);
	ck_assert_ptr_null(w);
	ck_assert_str_ne(err, "");
	reader_info(r, &ti);
	ck_assert(ti.writer_alive);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	reader_info(r, &ti);
	ck_assert(!ti.writer_alive);
	assert_ok(writer_open(&w, &opt));
	reader_info(r, &ti);
	ck_assert(ti.writer_alive);
	/* rows, holds and counts are as they were */
	struct table *t = writer_table(w);
	ck_assert_ptr_nonnull(t);
	ck_assert_uint_eq(table_rows(t), 3001);
	ck_assert(is_held(r, "", "https://host-1.customer1.example"));
	ck_assert(is_held(r, "", "https://stub.wide.example"));
	assert_ok(put(t, "", "https://later.example", "default"));	/* counts again */
	ck_assert_uint_eq(table_rows(t), 3002);
	assert_ok(table_get(t, span(""), span("https://host-1.customer1.example"), &got));
	ck_assert(got.held && span_is_text(got.policy, "default"));
	for (unsigned i = 0; i < 3000; i++) {
		numbered(origin, sizeof(origin), i);
		assert_ok(table_remove(t, span(i % 3 == 0 ? "three" : ""), span(origin)));
	}
	ck_assert(!find(r, "three", "https://x.example").match.realm_known);
	ck_assert(find(r, "", "https://x.example").match.realm_known);
	assert_ok(table_remove(t, span(""), span("https://later.example")));
	assert_ok(table_remove(t, span(""), span("https://*.wide.example")));
	assert_ok(table_remove(t, span(""), span("https://stub.wide.example")));
	ck_assert(!find(r, "", "https://x.example").match.realm_known);
	ck_assert_uint_eq(table_rows(t), 0);
	reader_close(&r);
	writer_close(&w);
}
END_TEST

static void
path_of(char path[PATH_MAX], const char *dir, const char *file)
{
	ck_assert_int_lt(snprintf(path, PATH_MAX, "%s/" LAYOUT_DIR "/%s", dir, file), PATH_MAX);
}

static void
overwrite(const char *dir, const char *file, off_t at, const void *bytes, size_t len)
{
	char path[PATH_MAX];
	int fd;

	path_of(path, dir, file);
	ck_assert_int_ge(fd = open(path, O_WRONLY), 0);
	ck_assert_int_eq(pwrite(fd, bytes, len, at), (ssize_t)len);
	close(fd);
}

static void
copy_file(const char *dir, const char *file, char bytes[LAYOUT_PAGE])
{
	char path[PATH_MAX];
	int fd;

	path_of(path, dir, file);
	ck_assert_int_ge(fd = open(path, O_RDONLY), 0);
	ck_assert_int_eq(pread(fd, bytes, LAYOUT_PAGE, 0), LAYOUT_PAGE);
	close(fd);
}

START_TEST(a_foreign_table_is_refused_with_words)
{
	const off_t where[] = { offsetof(struct ctl, magic), offsetof(struct ctl, layout), offsetof(struct ctl, size) };
	static char before[LAYOUT_PAGE], after[LAYOUT_PAGE];
	char err[512] = "";
	const char *dir = new_dir();
	struct writer_options opt = { .dir = dir, .group = (gid_t)-1, .err = err, .errlen = sizeof(err) };
	struct writer *w = open_writer(dir, 0);
	struct reader *r;

	publish_empty(w, 0);
	writer_close(&w);
	if (_i < 3)
		overwrite(dir, "ctl", where[_i], "\x5a", 1);
	else {
		char path[PATH_MAX];
		path_of(path, dir, "ctl");
		ck_assert_int_eq(truncate(path, 100), 0);
	}
	if (_i < 3)
		copy_file(dir, "ctl", before);
	ck_assert_int_eq(writer_open(&w, &opt), -EPROTO);
	ck_assert_ptr_nonnull(strstr(err, "remove"));
	if (_i < 3) {
		copy_file(dir, "ctl", after);
		ck_assert_mem_eq(before, after, LAYOUT_PAGE);	/* nothing was written to it */
	}
	r = open_reader(dir);
	ck_assert_int_ne(reader_refresh(r), 0);
	ck_assert_ptr_nonnull(strstr(reader_strerror(r), "another build"));
	ck_assert_int_eq(find(r, "", "https://a.example").match.state, MATCH_NOT_READY);
	reader_close(&r);
}
END_TEST

/* Every row of status.def is in the word, with what its numbers mean. */
START_TEST(the_word_is_of_all_rows_of_the_status)
{
	char rows[ROWS_MAX];
	size_t len = 0;

	for (size_t i = 0; i < STATUS_COUNT; i++)
		len += (size_t)snprintf(rows + len, sizeof(rows) - len, "%s %s %s\n", status_descs[i].name,
		    status_descs[i].kind, status_descs[i].unit);
	ck_assert_str_eq(layout_rows, rows);
}
END_TEST

/* What another build, whose status.def has two rows in another order, would leave in ctl. */
START_TEST(a_table_of_other_rows_is_refused)
{
	char err[512] = "", swapped[ROWS_MAX];
	const char *dir = new_dir();
	struct writer_options opt = { .dir = dir, .group = (gid_t)-1, .err = err, .errlen = sizeof(err) };
	struct writer *w = open_writer(dir, 0);
	struct reader *r;
	uint32_t word;
	unsigned at;

	publish_empty(w, 0);
	writer_close(&w);
	for (at = 0; swap_rows(layout_rows, at, swapped); at++) {
		word = layout_word(swapped);
		ck_assert_uint_ne(word, LAYOUT_WORD);
		overwrite(dir, "ctl", offsetof(struct ctl, layout), &word, sizeof(word));
		ck_assert_int_eq(writer_open(&w, &opt), -EPROTO);
		ck_assert_ptr_nonnull(strstr(err, "made by another build, or is damaged: remove all in "));
		r = open_reader(dir);
		ck_assert_int_eq(reader_refresh(r), -EPROTO);
		ck_assert_ptr_nonnull(strstr(reader_strerror(r), "made by another build, or is damaged: restart "));
		reader_close(&r);
	}
	ck_assert_uint_eq(at, STATUS_COUNT - 1);
	word = layout_word(layout_rows);
	overwrite(dir, "ctl", offsetof(struct ctl, layout), &word, sizeof(word));
	r = open_reader(dir);
	ck_assert_int_eq(reader_refresh(r), 0);
	reader_close(&r);
}
END_TEST

START_TEST(a_foreign_root_is_refused_with_words)
{
	const size_t where[] = { offsetof(struct root, magic), offsetof(struct root, layout), offsetof(struct root, instance),
	    offsetof(struct root, table) };
	const uint32_t shards[] = { 0, 3, 2 * LAYOUT_MAX_SHARDS };
	char page[LAYOUT_PAGE];
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct reader *r;

	assert_ok(put(publish_empty(w, 0), "", "https://a.example", "default"));
	writer_close(&w);
	copy_file(dir, "t1", page);
	if (_i < 4) {
		page[where[_i]] ^= 1;
		overwrite(dir, "t1", (off_t)where[_i], &page[where[_i]], 1);
	} else
		overwrite(dir, "t1", offsetof(struct root, shards), &shards[_i - 4], sizeof(shards[0]));
	r = open_reader(dir);
	ck_assert_int_eq(reader_refresh(r), -EPROTO);
	ck_assert_ptr_nonnull(strstr(reader_strerror(r), "root is damaged or foreign"));
	ck_assert_int_eq(find(r, "", "https://a.example").match.state, MATCH_ERROR);
	reader_close(&r);
}
END_TEST

/* XORs into the word of the record in the first shard whose key begins so. */
static void
change_word(const char *dir, const char *part, uint32_t bits)
{
	char path[PATH_MAX], *bytes, *at;
	struct stat st;
	int fd;

	path_of(path, dir, "t1.s0.1");
	ck_assert_int_ge(fd = open(path, O_RDWR), 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	bytes = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(bytes, MAP_FAILED);
	ck_assert_ptr_nonnull(at = memmem(bytes, (size_t)st.st_size, part, strlen(part)));
	atomic_fetch_xor(&((struct record *)(void *)(at - sizeof(struct record)))->word, bits);
	munmap(bytes, (size_t)st.st_size);
	close(fd);
}

static const struct near_miss narrow[] = {
	{ "", "https://a.example", "https://a.example", true },
	{ "", "https://a.example:*", "https://a.example:1", true },
	{ "", "https://*.a.example", "https://b.a.example", true },
	{ "", "https://*.a.example:*", "https://b.a.example:1", true },
};

/* What cannot be read may have refused. */
START_TEST(no_wider_row_answers_for_a_damaged_one)
{
	const struct near_miss *c = &narrow[_i];
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 0);
	struct reader *r = open_reader(dir);
	struct row row = row_of(c->realm, c->rule, "default");

	row.allow = false;
	assert_ok(table_put(t, &row));
	assert_ok(put(t, c->realm, "*", "default"));
	ck_assert(find(r, c->realm, c->origin).match.refuses);
	change_word(dir, "a.example", 1u << WORD_CHECK_SHIFT);
	ck_assert_int_eq(find(r, c->realm, c->origin).match.state, MATCH_ERROR);
	assert_row(r, c->realm, "https://b.example", "*");
	reader_close(&r);
	writer_close(&w);
}
END_TEST

/* The slot of one handle gets the policy of another. */
static void
copy_slot(const char *dir, unsigned to, unsigned from)
{
	char path[PATH_MAX], file[SEGMENT_NAME], page[LAYOUT_PAGE];
	uint64_t generation, slot;
	int fd;

	copy_file(dir, "t1", page);
	memcpy(&generation, page + offsetof(struct root, policies_generation), sizeof(generation));
	segment_name_policies(file, 1, generation);
	path_of(path, dir, file);
	ck_assert_int_ge(fd = open(path, O_RDONLY), 0);
	ck_assert_int_eq(pread(fd, &slot, sizeof(slot), LAYOUT_PAGE + from * (off_t)sizeof(slot)), sizeof(slot));
	close(fd);
	overwrite(dir, file, LAYOUT_PAGE + to * (off_t)sizeof(slot), &slot, sizeof(slot));
}

/* A word that is in order but for the policy that it names, and a policy that is in order but for its place. */
START_TEST(a_policy_that_is_not_there_is_an_error)
{
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 0);
	struct reader *r = open_reader(dir);
	char name[32];

	for (int i = 1; i <= 256; i++) {
		snprintf(name, sizeof(name), "p%d", i);
		assert_ok(put_policy(t, name, "PUT", false));
	}
	assert_ok(put(t, "", "https://a.example", "default"));
	assert_ok(put(t, "", "https://b.example", "p256"));
	ck_assert_str_eq(find(r, "", "https://b.example").policy, "p256");
	ck_assert_str_eq(find(r, "", "https://a.example").policy, "default");
	change_word(dir, "a.example", word_seal(WORD_HANDLE, 0, 0, 0));
	ck_assert_int_eq(find(r, "", "https://a.example").match.state, MATCH_ERROR);
	change_word(dir, "a.example", word_seal(WORD_HANDLE, 0, 0, 0));
	ck_assert_str_eq(find(r, "", "https://a.example").policy, "default");
	copy_slot(dir, 256, 0);
	ck_assert_int_eq(find(r, "", "https://b.example").match.state, MATCH_ERROR);
	reader_close(&r);
	writer_close(&w);
}
END_TEST

/* A table that the next writer cannot attach: its readers keep it until a whole one stands beside it. */
START_TEST(a_table_that_cannot_be_attached_is_left_alone)
{
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 0);
	struct reader *r = open_reader(dir);

	assert_ok(put(t, "", "https://a.example", "default"));
	assert_row(r, "", "https://a.example", "https://a.example");
	writer_close(&w);
	overwrite(dir, "t1.p1", offsetof(struct segment_head, generation), "\x5a", 1);
	w = open_writer(dir, 0);
	ck_assert_ptr_null(writer_table(w));
	unsigned files = count_files(dir);
	for (double end = seconds() + 0.2; seconds() < end;)
		assert_ok(writer_tick(w));
	ck_assert_uint_eq(count_files(dir), files);
	t = publish_empty(w, 0);
	assert_ok(put(t, "", "https://b.example", "default"));
	assert_row(r, "", "https://a.example", "");
	assert_row(r, "", "https://b.example", "https://b.example");
	for (double end = seconds() + 10; count_files(dir) != 5 && seconds() < end;)
		assert_ok(writer_tick(w));
	ck_assert_uint_eq(count_files(dir), 5);
	reader_close(&r);
	writer_close(&w);
}
END_TEST

/* Who asks for it may be the first to see that the table has gone, or that there is one. */
START_TEST(a_root_damaged_under_its_writer_is_replaced)
{
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 0);
	struct reader *r;

	assert_ok(put(t, "", "https://a.example", "default"));
	overwrite(dir, "t1", offsetof(struct root, k0), "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
	    "\xff\xff\xff\xff", 2 * sizeof(uint64_t) + sizeof(uint32_t));
	assert_ok(put(t, "", "https://b.example", "default"));
	assert_ok(writer_tick(w));
	t = publish_empty(w, 0);
	assert_ok(put(t, "", "https://c.example", "default"));
	r = open_reader(dir);
	assert_row(r, "", "https://a.example", "");
	assert_row(r, "", "https://c.example", "https://c.example");
	reader_close(&r);
	writer_close(&w);
}
END_TEST

START_TEST(what_is_told_of_a_table_is_of_now)
{
	char v1[PATH_MAX];
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct reader *r = open_reader(dir);
	struct table_info ti;

	publish_empty(w, 0);
	reader_info(r, &ti);
	ck_assert(ti.ready && ti.writer_alive);
	snprintf(v1, sizeof(v1), "%s/" LAYOUT_DIR, dir);
	remove_directory(v1);
	reader_info(r, &ti);
	ck_assert(!ti.ready && !ti.writer_alive);
	writer_close(&w);
	w = open_writer(dir, 0);
	publish_empty(w, 0);
	reader_info(r, &ti);
	ck_assert(ti.ready && ti.writer_alive);
	reader_close(&r);
	writer_close(&w);
}
END_TEST

START_TEST(a_reader_follows_a_directory_that_was_made_anew)
{
	char v1[PATH_MAX];
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct reader *r = open_reader(dir);

	assert_ok(put(publish_empty(w, 0), "", "https://a.example", "default"));
	assert_row(r, "", "https://a.example", "https://a.example");
	snprintf(v1, sizeof(v1), "%s/" LAYOUT_DIR, dir);
	remove_directory(v1);
	ck_assert_int_eq(writer_tick(w), -ESTALE);
	ck_assert_int_ne(reader_refresh(r), 0);
	ck_assert_int_eq(find(r, "", "https://a.example").match.state, MATCH_NOT_READY);
	writer_close(&w);
	w = open_writer(dir, 0);
	assert_ok(put(publish_empty(w, 0), "", "https://b.example", "default"));
	assert_ok(reader_refresh(r));
	assert_row(r, "", "https://a.example", "");
	assert_row(r, "", "https://b.example", "https://b.example");
	/* also where the new one stands there before the reader looks */
	remove_directory(v1);
	writer_close(&w);
	w = open_writer(dir, 0);
	assert_ok(put(publish_empty(w, 0), "", "https://c.example", "default"));
	assert_ok(reader_refresh(r));
	assert_row(r, "", "https://b.example", "");
	assert_row(r, "", "https://c.example", "https://c.example");
	reader_close(&r);
	writer_close(&w);
}
END_TEST

static const char *const files[] = { "", "ctl", "t1", "t1.p1", "t1.s0.1" };

/* Expect a reader that attaches now not to answer from this table. */
static void
assert_distrust(const char *dir, const char *what)
{
	struct reader *r = open_reader(dir);
	enum match_state state = find(r, "", "https://a.example").match.state;

	ck_assert_msg(state == MATCH_NOT_READY || state == MATCH_ERROR, "%s: state %d", what, state);
	reader_close(&r);
}

START_TEST(a_reader_trusts_no_stranger_in_a_public_place)
{
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	char path[PATH_MAX];
	struct reader *r;

	if (geteuid() != 0) {
		fprintf(stderr, "SKIP: only root can give files away: their owner is not tested\n");
		writer_close(&w);
		return;
	}
	assert_ok(put(publish_empty(w, 0), "", "https://a.example", "default"));
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		path_of(path, dir, files[i]);
		ck_assert_int_eq(chown(path, 65534, (gid_t)-1), 0);
	}
	ck_assert_int_eq(chmod(dir, 0755), 0);
	r = open_reader(dir);		/* the writer's user need not be the reader's */
	assert_row(r, "", "https://a.example", "https://a.example");
	reader_close(&r);
	ck_assert_int_eq(chmod(dir, 01777), 0);
	assert_distrust(dir, "anybody may have made it");
	writer_close(&w);
}
END_TEST

/* A table that allows the origin, in <outer>/<name>. */
static void
make_table(char dir[PATH_MAX], const char *outer, const char *name, const char *origin)
{
	struct writer *w;

	ck_assert_int_lt(snprintf(dir, PATH_MAX, "%s/%s", outer, name), PATH_MAX);
	ck_assert_int_eq(mkdir(dir, 0755), 0);
	w = open_writer(dir, 0);
	assert_ok(put(publish_empty(w, 0), "", origin, "default"));
	writer_close(&w);
}

static int
give_to_nobody(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return chown(path, 65534, (gid_t)-1);
}

static void
assert_trust(const char *dir)
{
	struct reader *r = open_reader(dir);

	assert_row(r, "", "https://a.example", "https://a.example");
	reader_close(&r);
}

START_TEST(a_reader_trusts_no_place_of_a_stranger)
{
	char dir[PATH_MAX], other[PATH_MAX], aside[PATH_MAX], err[512] = "";
	const char *outer = new_dir();
	struct writer_options opt = { .dir = dir, .group = (gid_t)-1, .err = err, .errlen = sizeof(err) };
	struct writer *w = NULL;
	struct reader *r;

	make_table(dir, outer, "table", "https://a.example");
	assert_trust(dir);
	ck_assert_int_eq(chmod(outer, 0775), 0);
	assert_distrust(dir, "its group may put another table there");
	ck_assert_int_eq(chmod(outer, 0757), 0);
	assert_distrust(dir, "anybody may put another table there");
	ck_assert_int_eq(writer_open(&w, &opt), -EPERM);
	ck_assert_ptr_nonnull(strstr(err, "chmod go-w"));
	ck_assert_int_eq(chmod(outer, 01777), 0);
	assert_trust(dir);		/* nobody else may rename it */
	if (geteuid() != 0) {
		fprintf(stderr, "SKIP: only root can give files away: their owner is not tested\n");
		return;
	}
	ck_assert_int_eq(chown(dir, 65534, (gid_t)-1), 0);
	assert_distrust(dir, "the one who made it in a public place");
	ck_assert_int_eq(chmod(outer, 0755), 0);
	assert_trust(dir);		/* root gave it to the writer's user */

	/* a reader that is attached already when the owner of the place swaps the table */
	r = open_reader(dir);
	assert_row(r, "", "https://a.example", "https://a.example");
	make_table(other, outer, "other", "https://evil.example");
	ck_assert_int_eq(nftw(other, give_to_nobody, 8, FTW_PHYS), 0);
	ck_assert_int_eq(chown(outer, 65534, (gid_t)-1), 0);
	assert_distrust(dir, "in a directory of somebody else");
	snprintf(aside, sizeof(aside), "%s/aside", outer);
	ck_assert_int_eq(rename(dir, aside), 0);
	ck_assert_int_eq(rename(other, dir), 0);
	ck_assert_int_eq(reader_refresh(r), -EPERM);
	ck_assert_ptr_nonnull(strstr(reader_strerror(r), "others than root and this user may change"));
	ck_assert_int_eq(find(r, "", "https://evil.example").match.state, MATCH_NOT_READY);
	reader_close(&r);
}
END_TEST

START_TEST(a_reader_trusts_nobody_elses_files)
{
	char path[PATH_MAX], aside[PATH_MAX];
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct reader *r = open_reader(dir);

	assert_ok(put(publish_empty(w, 0), "", "https://a.example", "default"));
	assert_row(r, "", "https://a.example", "https://a.example");
	path_of(path, dir, files[_i]);
	ck_assert_int_eq(chmod(path, 0770), 0);
	assert_distrust(dir, "group-writable");
	ck_assert_int_eq(chmod(path, 0752), 0);
	assert_distrust(dir, "world-writable");
	ck_assert_int_eq(chmod(path, 0750), 0);
	if (_i > 0 && geteuid() == 0) {
		ck_assert_int_eq(chown(path, 65534, (gid_t)-1), 0);
		assert_distrust(dir, "owned by another user");
		ck_assert_int_eq(chown(path, 0, (gid_t)-1), 0);
	} else if (geteuid() != 0) {
		fprintf(stderr, "SKIP: only root can give files away: their owner is not tested\n");
	}
	if (_i > 0) {
		snprintf(aside, sizeof(aside), "%s/aside", dir);
		ck_assert_int_eq(rename(path, aside), 0);
		assert_distrust(dir, "missing");
		ck_assert_int_eq(symlink(aside, path), 0);
		assert_distrust(dir, "a symbolic link");
		ck_assert_int_eq(unlink(path), 0);
		ck_assert_int_eq(mkfifo(path, 0640), 0);
		assert_distrust(dir, "a fifo");
		ck_assert_int_eq(unlink(path), 0);
		ck_assert_int_eq(rename(aside, path), 0);
	}
	reader_close(&r);
	r = open_reader(dir);
	assert_row(r, "", "https://a.example", "https://a.example");
	reader_close(&r);
	writer_close(&w);
}
END_TEST

/* ---- a full disk ---- */

static bool
mount_small(const char *dir, const char *size)
{
	if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("corscache", dir, "tmpfs", 0, size) != 0) {
		fprintf(stderr, "SKIP: a full disk is not tested: no private tmpfs: %s\n", strerror(errno));
		return false;
	}
	return true;
}

static void
assert_rows_upto(struct reader *r, unsigned n, unsigned step)
{
	char origin[64];

	for (unsigned i = 0; i < n; i += step) {
		numbered(origin, sizeof(origin), i);
		assert_row(r, "", origin, origin);
	}
	numbered(origin, sizeof(origin), n);
	assert_row(r, "", origin, "");
}

START_TEST(a_full_disk_is_an_error_and_nothing_else)
{
	const char *dir = new_dir();
	struct writer *w;
	struct reader *r;
	struct table *t, *next;
	char origin[64], method[16];
	unsigned n = 0;
	int error;

	if (!mount_small(dir, "size=4m"))
		return;
	w = open_writer(dir, 0);
	t = publish_empty(w, 0);
	r = open_reader(dir);
	do
		numbered(origin, sizeof(origin), n);
	while ((error = put(t, "", origin, "default")) == 0 && ++n < 1000000);
	ck_assert_int_eq(error, -ENOSPC);
	ck_assert_uint_gt(n, 5000);
	ck_assert_uint_eq(table_rows(t), n);
	assert_rows_upto(r, n, 1);
	/* in place, removal and hold need no room; a whole table does */
	ck_assert_int_eq(table_hold(t, span(""), span("https://host-0.customer0.example")), 1);
	ck_assert(is_held(r, "", "https://host-0.customer0.example"));
	assert_ok(put(t, "", "https://host-0.customer0.example", "default"));
	error = writer_begin(w, 1000000, &next);
	ck_assert_int_eq(error, -ENOSPC);
	ck_assert_str_ne(writer_strerror(w), "");
	for (int i = 0; i < 10000; i++) {
		snprintf(method, sizeof(method), "M%d", i);
		if ((error = put_policy(t, "default", method, false)) != 0)
			break;
	}
	ck_assert_msg(error == 0 || error == -ENOSPC, "%s", strerror(-error));
	assert_rows_upto(r, n, 13);
	assert_ok(mount("corscache", dir, "tmpfs", MS_REMOUNT, "size=64m"));
	for (unsigned end = n + 20000; n < end; n++) {
		numbered(origin, sizeof(origin), n);
		assert_ok(put(t, "", origin, "default"));
	}
	assert_rows_upto(r, n, 1);
	assert_ok(put_policy(t, "default", "LAST", false));
	ck_assert_str_eq(find(r, "", origin).methods, "LAST");
	reader_close(&r);
	writer_close(&w);
}
END_TEST

/* Half a huge page more than is needed would be too much. */
START_TEST(what_fits_without_a_huge_page_is_made)
{
	const char *dir = new_dir();
	struct writer *w;
	struct table *t;

	if (!mount_small(dir, "size=2m"))
		return;
	w = open_writer(dir, 0);
	assert_ok(writer_begin(w, 22000, &t));
	assert_ok(writer_commit(w, &t));
	writer_close(&w);
}
END_TEST

/* ---- walks ---- */

struct listing {
	char	 (*lines)[512];
	size_t	 n, cap;
};

static int
list_row(const struct row *row, void *arg)
{
	struct listing *l = arg;

	ck_assert_uint_lt(l->n, l->cap);
	snprintf(l->lines[l->n++], sizeof(l->lines[0]), "%.*s|%.*s|%.*s|%d%d%d|%ld", (int)row->realm.len, row->realm.at,
	    (int)row->origin.len, row->origin.at, (int)row->policy.len, row->policy.at, row->allow, row->held,
	    row->public_suffix, (long)row->expires_at);
	return 0;
}

static int
compare_lines(const void *a, const void *b)
{
	return strcmp(a, b);
}

static struct listing
new_listing(size_t cap)
{
	return (struct listing){ .lines = calloc(cap, 512), .cap = cap };
}

START_TEST(all_walks_tell_the_same_rows)
{
	const size_t cap = 2000;
	struct listing want = new_listing(cap), by_writer = new_listing(cap), by_reader = new_listing(cap);
	char buf[REALM_MAX + RULE_MAX + POLICY_MAX_NAME + 3], origin[64];
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 10000000);	/* many shards */
	struct reader *r = open_reader(dir);
	struct row got;

	assert_ok(put_policy(t, "other", "PUT", true));
	for (unsigned i = 0; i < 1000; i++) {
		struct row row = row_of(i % 3 == 0 ? "realm" : i % 3 == 1 ? "other" : "", origin, i % 5 ? "default" : "other");
		unsigned form = i % 7;
		snprintf(origin, sizeof(origin), form == 0 ? "https://*.h%u.example" : form == 1 ? "http://h%u.example:*" :
		    form == 2 ? "app://*.h%u.example:*" : form == 3 ? "app://h%u.example:77" : "https://h%u.example", i);
		row.origin = span(origin);
		row.allow = i % 11 != 0;
		row.expires_at = i % 13 ? ROW_NEVER : NOW + i;
		row.public_suffix = form == 0 && i % 2;
		assert_ok(table_put(t, &row));
		if (i % 17 == 0) {
			ck_assert_int_eq(table_hold(t, row.realm, row.origin), 1);
			row.held = true;
		}
		list_row(&row, &want);
		struct rule rule;
		ck_assert_int_eq(rule_parse(&rule, origin, strlen(origin)), ORIGIN_OK);
		struct listing one = new_listing(2);
		list_row(&row, &one);
		assert_ok(reader_get(r, row.realm, &rule, buf, &got));
		list_row(&got, &one);
		ck_assert(got.realm.at >= buf && got.realm.at + got.realm.len <= buf + sizeof(buf));	/* it outlives the map */
		ck_assert_str_eq(one.lines[0], one.lines[1]);
		free(one.lines);
	}
	assert_ok(table_each(t, list_row, &by_writer));
	assert_ok(reader_each(r, NULL, list_row, &by_reader));
	ck_assert_uint_eq(by_writer.n, want.n);
	ck_assert_uint_eq(by_reader.n, want.n);
	qsort(want.lines, want.n, sizeof(want.lines[0]), compare_lines);
	qsort(by_writer.lines, want.n, sizeof(want.lines[0]), compare_lines);
	qsort(by_reader.lines, want.n, sizeof(want.lines[0]), compare_lines);
	for (size_t i = 0; i < want.n; i++) {
		ck_assert_str_eq(by_writer.lines[i], want.lines[i]);
		ck_assert_str_eq(by_reader.lines[i], want.lines[i]);
	}
	struct span realm = span("realm");
	by_reader.n = 0;
	assert_ok(reader_each(r, &realm, list_row, &by_reader));
	ck_assert_uint_eq(by_reader.n, 334);
	free(want.lines);
	free(by_writer.lines);
	free(by_reader.lines);
	reader_close(&r);
	writer_close(&w);
}
END_TEST

struct slow_walk {
	struct writer	*w;
	struct listing	 list;
};

/* Whoever takes a listing takes his time: meanwhile rows are replaced, and old files removed. */
static int
list_slowly(const struct row *row, void *arg)
{
	struct slow_walk *s = arg;

	if (s->list.n % 100 == 0) {
		struct table *t = writer_table(s->w);
		char method[16];
		for (int i = 0; i < 3000; i++) {
			snprintf(method, sizeof(method), "M%d", i);
			assert_ok(put_policy(t, "default", method, false));
		}
		assert_ok(writer_tick(s->w));
	}
	ck_assert_msg(span_is_text(row->policy, "default"), "row %zu: the policy's name is \"%.*s\"", s->list.n,
	    (int)row->policy.len, row->policy.at);
	s->list.n++;
	return 0;
}

static int
replace_table(const struct row *row, void *arg)
{
	(void)row;
	assert_ok(put(publish_empty(arg, 0), "", "https://new.example", "default"));
	return 0;
}

START_TEST(a_listing_of_two_tables_is_none)
{
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 0);
	struct reader *r = open_reader(dir);

	assert_ok(put(t, "", "https://a.example", "default"));
	assert_ok(put(t, "", "https://b.example", "default"));
	ck_assert_int_eq(reader_each(r, NULL, replace_table, w), -ESTALE);
	reader_close(&r);
	writer_close(&w);
}
END_TEST

START_TEST(a_slow_listing_is_whole)
{
	const char *dir = new_dir();
	struct slow_walk walk = { .w = open_writer(dir, 0) };
	struct table *t = publish_empty(walk.w, 0);
	struct reader *r = open_reader(dir);
	char origin[64];

	for (unsigned i = 0; i < 1000; i++) {
		numbered(origin, sizeof(origin), i);
		assert_ok(put(t, "", origin, "default"));
	}
	assert_ok(reader_each(r, NULL, list_slowly, &walk));
	ck_assert_uint_eq(walk.list.n, 1000);
	reader_close(&r);
	writer_close(&walk.w);
}
END_TEST

/* ---- what the daemon says ---- */

START_TEST(words_and_numbers_reach_the_reader)
{
	char longer[400];
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct reader *r = open_reader(dir);
	struct table_info ti;
	struct status st;

	writer_set(w, STATUS_fresh_at, 42);
	writer_add(w, STATUS_changes, 40);
	writer_add(w, STATUS_changes, 2);
	ck_assert_int_eq(writer_get(w, STATUS_changes), 42);
	writer_say_problem(w, "the database is away");
	writer_say_source(w, "postgres dbname=shop");
	reader_status(r, &st);
	ck_assert_int_eq(st.fresh_at, 42);
	ck_assert_int_eq(st.changes, 42);
	ck_assert_int_eq(st.writer_pid, getpid());
	reader_info(r, &ti);
	ck_assert(!ti.ready && ti.writer_alive);
	ck_assert_str_eq(ti.problem, "the database is away");
	ck_assert_str_eq(ti.source, "postgres dbname=shop");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	writer_say_problem(w, longer);
	reader_info(r, &ti);
	ck_assert_uint_eq(strlen(ti.problem), 255);
	writer_say_problem(w, "");
	publish_empty(w, 0);
	writer_tick(w);
	reader_info(r, &ti);
	ck_assert_str_eq(ti.problem, "");
	ck_assert(ti.ready && ti.table == 1 && ti.policies == 1 && ti.rows == 0 && ti.shards == 1);
	ck_assert_uint_eq(ti.dead_bytes, 0);
	assert_ok(put(writer_table(w), "", "https://a.example", "default"));
	assert_ok(table_remove(writer_table(w), span(""), span("https://a.example")));
	reader_info(r, &ti);
	ck_assert_uint_gt(ti.dead_bytes, 0);
	reader_status(r, &st);
	ck_assert_int_gt(st.heartbeat_at, 0);
	writer_close(&w);
	reader_status(r, &st);
	ck_assert_int_eq(st.writer_pid, 0);
	reader_info(r, &ti);
	ck_assert(ti.ready && !ti.writer_alive);
	reader_close(&r);
}
END_TEST

/* ---- a transaction ---- */

START_TEST(a_batch_is_all_of_it)
{
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = publish_empty(w, 0);
	struct reader *r = open_reader(dir);
	struct span put_method = span("PUT"), gone = span("old");
	struct policy_row policies[] = { policy_row("default", &put_method, false), policy_row("new", &put_method, true) };
	struct change changes[] = {
		{ .row = row_of("", "*", "default") },
		{ .row = row_of("", "https://gone.example", ""), .gone = true },
		{ .row = row_of("", "https://never.example", ""), .gone = true },
		{ .row = row_of("", "https://a.example", "new") },
		{ .row = row_of("", "https://*.example", "new") },
		{ .row = row_of("", "https://b.example", "default") },
	};

	assert_ok(put_policy(t, "old", "GET", false));
	assert_ok(put(t, "", "https://gone.example", "old"));
	assert_ok(put(t, "", "https://a.example", "old"));
	changes[5].row.expires_at = NOW + 9;
	assert_ok(table_batch(t, changes, 6, policies, 2, &gone, 1));
	assert_row(r, "", "https://gone.example", "https://*.example");
	assert_row(r, "", "https://a.example", "https://a.example");
	struct found f = find(r, "", "https://a.example");
	ck_assert(!f.match.refuses && !f.match.held);
	ck_assert_str_eq(f.policy, "new");
	f = find(r, "", "https://b.example");
	ck_assert(!f.match.refuses && f.match.expires_at == NOW + 9);
	ck_assert_str_eq(f.methods, "PUT");
	assert_row(r, "", "app://x", "*");
	ck_assert_uint_eq(table_rows(t), 4);
	ck_assert_int_eq(table_policy_remove(t, span("old")), -ENOENT);
	reader_close(&r);
	writer_close(&w);
}
END_TEST

/* ---- figures ---- */

/* Whether the kernel collapses pages of a file on this file system: not before Linux 6.1, not on a disk. */
static bool
has_huge_pages(const char *dir)
{
	uint8_t *all = mmap(NULL, 2 * SEGMENT_HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *at = all + -(uintptr_t)all % SEGMENT_HUGE;
	int fd = open(dir, O_TMPFILE | O_RDWR, 0600);
	bool has;

	ck_assert(all != MAP_FAILED && fd >= 0 && ftruncate(fd, SEGMENT_HUGE) == 0);
	ck_assert_ptr_eq(mmap(at, SEGMENT_HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0), at);
	memset(at, 1, SEGMENT_HUGE);
	has = madvise(at, SEGMENT_HUGE, MADV_COLLAPSE) == 0;
	munmap(all, 2 * SEGMENT_HUGE);
	close(fd);
	return has;
}

/* Bytes of shards that this process maps in huge pages. */
static uint64_t
huge_bytes_of_shards(void)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long long kb, sum = 0;
	bool is_shard = false;
	char line[PATH_MAX + 100];

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof line, f) != NULL) {
		if (strstr(line, base) != NULL)
			is_shard = strstr(line, ".s") != NULL;
		else if (is_shard && sscanf(line, "ShmemPmdMapped: %llu", &kb) == 1)
			sum += kb * 1024;
	}
	fclose(f);
	return sum;
}

START_TEST(readers_map_a_large_table_in_huge_pages)
{
	const unsigned rows = 100000;		/* a shard of some 4.5 MB */
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t;
	struct reader *r;
	char origin[64];

	if (!has_huge_pages(dir)) {
		fprintf(stderr, "NOT TESTED: this kernel makes no huge pages of files in %s\n", dir);
		writer_close(&w);
		return;
	}
	assert_ok(writer_begin(w, rows, &t));
	assert_ok(put_policy(t, "default", "GET", false));
	for (unsigned i = 0; i < rows; i++) {
		numbered(origin, sizeof origin, i);
		assert_ok(put(t, "", origin, "default"));
	}
	assert_ok(writer_commit(w, &t));
	writer_close(&w);
	r = open_reader(dir);
	assert_rows_upto(r, rows, 1);
	ck_assert_uint_ge(huge_bytes_of_shards(), 2 * SEGMENT_HUGE);
	reader_close(&r);
}
END_TEST

static unsigned
count_mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned n = 0;

	ck_assert_ptr_nonnull(f);
	for (int c; (c = getc(f)) != EOF;)
		n += c == '\n';
	fclose(f);
	return n;
}

START_TEST(a_file_of_any_size_is_unmapped_whole)
{
	int dirfd = open(new_dir(), O_RDONLY | O_DIRECTORY);
	struct mapping made, m;
	unsigned before;

	assert_ok(segment_create(&made, dirfd, "odd", SEGMENT_HUGE + 100, 100, (gid_t)-1));
	before = count_mappings();
	for (int i = 0; i < 10; i++) {
		assert_ok(segment_map(&m, dirfd, geteuid(), "odd", 100));
		segment_unmap(&m);
	}
	ck_assert_uint_eq(count_mappings(), before);
	segment_unmap(&made);
	close(dirfd);
}
END_TEST

START_TEST(an_origin_costs_less_than_64_bytes)
{
	const unsigned rows = (unsigned)setting("CORSCACHE_ROWS", 1000000);
	const char *dir = new_dir();
	struct writer *w = open_writer(dir, 0);
	struct table *t = NULL;
	struct reader *r;
	struct table_info ti;
	char origin[64];

	assert_ok(writer_begin(w, rows, &t));
	assert_ok(put_policy(t, "default", "GET", false));
	double start = seconds();
	for (unsigned i = 0; i < rows; i++) {
		numbered(origin, sizeof(origin), i);
		assert_ok(put(t, "", origin, "default"));
	}
	assert_ok(writer_commit(w, &t));
	double took = seconds() - start;
	r = open_reader(dir);
	reader_info(r, &ti);
	ck_assert_uint_eq(ti.rows, rows);
	printf("%u rows in %.2f s, %.0f a second, %.1f bytes each, %u shards\n", rows, took, rows / took,
	    (double)ti.bytes / rows, ti.shards);
	fflush(stdout);
	ck_assert_uint_lt(ti.bytes / rows, 64);
	assert_rows_upto(r, rows, 101);
	reader_close(&r);
	writer_close(&w);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("table");
	TCase *rows = tcase_create("rows"), *whole = tcase_create("whole tables"), *disk = tcase_create("files");
	int failed;

	tcase_add_test(rows, a_row_is_put_replaced_and_removed);
	tcase_add_test(rows, parsed_rows_are_put_in_their_order);
	tcase_add_test(rows, a_stub_becomes_a_row_of_a_new_realm);
	tcase_add_test(rows, a_row_is_replaced_where_the_arena_is_full);
	tcase_add_test(rows, what_is_no_row_is_refused);
	tcase_add_loop_test(rows, the_most_specific_row_answers, 0, sizeof(ladders) / sizeof(ladders[0]));
	tcase_add_loop_test(rows, near_misses_do_not_match, 0, sizeof(near_misses) / sizeof(near_misses[0]));
	tcase_add_test(rows, realms_are_never_mixed);
	tcase_add_test(rows, the_longest_keys_fit);
	tcase_add_test(rows, a_row_expires_at_its_second);
	tcase_add_test(rows, a_look_knows_when_it_is_old);
	tcase_add_test(rows, the_text_of_a_row_stays_in_its_buffer);
	tcase_add_test(rows, what_is_unsafe_counts_as_absent);
	tcase_add_test(rows, a_policy_changes_all_its_origins);
	tcase_add_test(rows, spent_handles_are_won_back);
	tcase_add_test(rows, policies_grow_past_their_first_file);
	tcase_add_test(rows, a_policy_may_change_for_ever);
	tcase_add_test(rows, a_hold_refuses_until_the_row_is_put_or_removed);
	tcase_add_test(rows, a_realm_is_held_alone);
	tcase_add_test(rows, everything_is_held_until_the_next_whole_table);
	tcase_add_test(rows, a_batch_is_all_of_it);
	tcase_add_test(whole, a_whole_table_is_switched_or_thrown_away);
	tcase_add_loop_test(whole, a_live_table_grows_under_its_readers, 0, sizeof(growths) / sizeof(growths[0]));
	tcase_add_test(whole, removed_rows_give_their_memory_back);
	tcase_add_test(whole, replaced_rows_give_their_memory_back);
	tcase_add_test(whole, all_walks_tell_the_same_rows);
	tcase_add_test(whole, a_slow_listing_is_whole);
	tcase_add_test(whole, a_listing_of_two_tables_is_none);
	tcase_add_test(whole, words_and_numbers_reach_the_reader);
	tcase_add_test(whole, readers_map_a_large_table_in_huge_pages);
	tcase_add_test(whole, a_file_of_any_size_is_unmapped_whole);
	tcase_add_test(whole, an_origin_costs_less_than_64_bytes);
	tcase_add_test(disk, superseded_files_vanish_with_their_last_reader);
	tcase_add_test(disk, a_smaller_table_lets_all_shards_of_a_larger_one_go);
	tcase_add_test(disk, there_is_one_writer_and_its_death_is_noticed);
	tcase_add_test(disk, the_word_is_of_all_rows_of_the_status);
	tcase_add_test(disk, a_table_of_other_rows_is_refused);
	tcase_add_loop_test(disk, a_foreign_table_is_refused_with_words, 0, 4);
	tcase_add_loop_test(disk, a_foreign_root_is_refused_with_words, 0, 7);
	tcase_add_loop_test(disk, no_wider_row_answers_for_a_damaged_one, 0, sizeof(narrow) / sizeof(narrow[0]));
	tcase_add_test(disk, a_policy_that_is_not_there_is_an_error);
	tcase_add_test(disk, a_table_that_cannot_be_attached_is_left_alone);
	tcase_add_test(disk, a_root_damaged_under_its_writer_is_replaced);
	tcase_add_test(disk, what_is_told_of_a_table_is_of_now);
	tcase_add_test(disk, a_reader_follows_a_directory_that_was_made_anew);
	tcase_add_test(disk, a_reader_trusts_no_stranger_in_a_public_place);
	tcase_add_test(disk, a_reader_trusts_no_place_of_a_stranger);
	tcase_add_loop_test(disk, a_reader_trusts_nobody_elses_files, 0, sizeof(files) / sizeof(files[0]));
	tcase_add_test(disk, a_full_disk_is_an_error_and_nothing_else);
	tcase_add_test(disk, what_fits_without_a_huge_page_is_made);
	tcase_set_timeout(rows, 120);
	tcase_set_timeout(whole, 120);
	tcase_set_timeout(disk, 120);
	suite_add_tcase(suite, rows);
	suite_add_tcase(suite, whole);
	suite_add_tcase(suite, disk);
	make_directory(base);
	failed = run(suite);
	remove_directory(base);
	return failed;
}

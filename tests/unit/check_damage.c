/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes at all in the files of a table: no crash, no endless loop, and no
 * origin is allowed but by a row that matches it, with that row's own policy.
 *
 * Linked with --wrap=mmap: every file is mapped in front of a page that
 * cannot be touched, so a read past its end is a crash.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "answer.h"
#include "health.h"
#include "metrics.h"
#include "run.h"
#include "tables.h"

#define MAX_FILES	16
#define NORIGINS	(sizeof(origins) / sizeof(origins[0]))
#define NROWS		(sizeof(rows) / sizeof(rows[0]))

static const struct test_row {
	const char	*realm, *rule, *policy;
	bool		 allow;
	int64_t		 expires_at;
} rows[] = {
	{ "", "https://a.test", "one", true, ROW_NEVER },
	{ "", "https://b.test", "two", true, NOW + 10 },
	{ "", "https://late.test", "one", true, NOW - 10 },
	{ "", "https://deny.wide.test", "one", false, ROW_NEVER },
	{ "", "https://*.wide.test", "two", true, ROW_NEVER },
	{ "", "https://any.test:*", "one", true, ROW_NEVER },
	{ "shop", "https://a.test", "two", true, ROW_NEVER },
	{ "shop", "https://*.sub.a.test:*", "one", true, NOW + 10 },
	{ "open", "*", "three", true, ROW_NEVER },
	{ "open", "https://deny.test", "three", false, ROW_NEVER },
};

static const struct test_policy {
	const char	*name, *method;
	bool		 credentials;
} policies[] = { { "one", "PUT", true }, { "two", "DELETE", true }, { "three", "PATCH", false } };

static const char *const test_realms[] = { "", "shop", "open", "nobody" };
static const char *const origins[] = {
	"https://a.test", "https://b.test", "https://late.test", "https://deny.wide.test", "https://x.wide.test",
	"https://y.x.wide.test", "https://any.test:81", "https://x.sub.a.test:81", "https://deny.test",
	"https://stranger.test", "https://wide.test", "app://stranger",
};

struct file {
	char		 name[64];
	char		*bytes;
	size_t		 len;
};

static struct file files[MAX_FILES];
static unsigned nfiles;
static char base[PATH_MAX], dir[PATH_MAX + 16];
static uint64_t seed, random_state, round_number;

#define FAIL(...) do {										\
	fprintf(stderr, "CORSCACHE_SEED=%llu, round %llu: ", (unsigned long long)seed,		\
	    (unsigned long long)round_number);							\
	ck_abort_msg(__VA_ARGS__);								\
} while (0)

void	*__real_mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset);
void	*__wrap_mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset);

void *
__wrap_mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
	size_t pages = (len + LAYOUT_PAGE - 1) / LAYOUT_PAGE * LAYOUT_PAGE;
	char *room = __real_mmap(at, pages + LAYOUT_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (room == MAP_FAILED || len == 0)
		return MAP_FAILED;
	return __real_mmap(room, len, protection, flags | MAP_FIXED, fd, offset);
}

/* ---- a whole table, kept in memory ---- */

static void
write_file(const struct file *f)
{
	char path[PATH_MAX + 128];
	int fd;

	snprintf(path, sizeof(path), "%s/" LAYOUT_DIR "/%.63s", dir, f->name);
	fd = open(path, O_RDWR | O_CREAT, 0640);
	if (fd < 0 || ftruncate(fd, 0) != 0 || ftruncate(fd, (off_t)f->len) != 0)
		FAIL("%s: %s", path, strerror(errno));
	for (size_t at = 0; at < f->len; at += LAYOUT_PAGE) {
		static const char zeros[LAYOUT_PAGE];
		size_t len = f->len - at < LAYOUT_PAGE ? f->len - at : LAYOUT_PAGE;
		if (memcmp(f->bytes + at, zeros, len) != 0 && pwrite(fd, f->bytes + at, len, (off_t)at) != (ssize_t)len)
			FAIL("%s: %s", path, strerror(errno));
	}
	close(fd);
}

static void
read_file(const char *name)
{
	char path[PATH_MAX + 128];
	struct file *f = &files[nfiles++];
	struct stat st;
	int fd;

	ck_assert_uint_le(nfiles, MAX_FILES);
	snprintf(f->name, sizeof(f->name), "%.63s", name);
	snprintf(path, sizeof(path), "%s/" LAYOUT_DIR "/%.63s", dir, f->name);
	ck_assert_int_ge(fd = open(path, O_RDONLY), 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	f->len = (size_t)st.st_size;
	f->bytes = malloc(f->len + 1);
	ck_assert_int_eq(read(fd, f->bytes, f->len), (ssize_t)f->len);
	close(fd);
}

static void
restore_all(void)
{
	char path[PATH_MAX + 128];

	remove_directory(dir);
	snprintf(path, sizeof(path), "%s/" LAYOUT_DIR, dir);
	if (mkdir(dir, 0755) != 0 || mkdir(path, 0750) != 0)
		FAIL("mkdir %s: %s", path, strerror(errno));
	for (unsigned i = 0; i < nfiles; i++)
		write_file(&files[i]);
}

static void
make_table(void)
{
	char path[PATH_MAX + 128];
	struct writer *w;
	struct table *t;
	DIR *d;

	snprintf(dir, sizeof(dir), "%s/table", base);
	remove_directory(dir);
	w = open_writer(dir, 2);
	ck_assert_int_eq(writer_begin(w, 132000, &t), 0);	/* two shards */
	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
		ck_assert_int_eq(put_policy(t, policies[i].name, policies[i].method, policies[i].credentials), 0);
	for (size_t i = 0; i < NROWS; i++) {
		struct row row = row_of(rows[i].realm, rows[i].rule, rows[i].policy);
		row.allow = rows[i].allow;
		row.expires_at = rows[i].expires_at;
		ck_assert_int_eq(table_put(t, &row), 0);
	}
	ck_assert_int_eq(writer_commit(w, &t), 0);
	writer_set(w, STATUS_fresh_at, NOW * 1000);
	writer_close(&w);
	nfiles = 0;
	snprintf(path, sizeof(path), "%s/" LAYOUT_DIR, dir);
	ck_assert_ptr_nonnull(d = opendir(path));
	for (struct dirent *e; (e = readdir(d)) != NULL;)
		if (e->d_name[0] != '.')
			read_file(e->d_name);
	closedir(d);
}

/* ---- what must hold of a reader, whatever it reads ---- */

/* Is it what one of our rows would say? */
static bool
is_ours(const char *realm, const char *origin, const struct found *f, bool credentials)
{
	struct origin o;
	struct rule rule;

	origin_parse(&o, origin, strlen(origin));
	for (size_t i = 0; i < NROWS; i++) {
		if (strcmp(rows[i].realm, realm) != 0 || strcmp(rows[i].rule, f->row) != 0 || !rows[i].allow ||
		    strcmp(rows[i].policy, f->policy) != 0 || rows[i].expires_at != f->match.expires_at ||
		    (rows[i].expires_at != ROW_NEVER && rows[i].expires_at <= NOW))
			continue;
		rule_parse(&rule, rows[i].rule, strlen(rows[i].rule));
		for (size_t p = 0; p < sizeof(policies) / sizeof(policies[0]); p++)
			if (strcmp(policies[p].name, f->policy) == 0 && policies[p].credentials == credentials &&
			    strcmp(policies[p].method, f->methods) == 0)
				return rule_matches(&rule, &o);
	}
	return false;
}

static bool
matches_any(const char *realm, const char *origin)
{
	struct origin o;
	struct rule rule;

	origin_parse(&o, origin, strlen(origin));
	for (size_t i = 0; i < NROWS; i++)
		if (strcmp(rows[i].realm, realm) == 0 && rule_parse(&rule, rows[i].rule, strlen(rows[i].rule)) == ORIGIN_OK &&
		    rule_matches(&rule, &o))
			return true;
	return false;
}

/* strict: the damage is one byte, which is always noticed. */
static void
check_find(struct reader *r, const char *realm, const char *origin, bool strict)
{
	bool credentials = false;
	struct origin o;
	struct found f = { 0 };

	origin_parse(&o, origin, strlen(origin));
	reader_find(r, span(realm), &o, NOW, &f.match);
	match_row_text(&f.match, &o, f.row, sizeof(f.row));
	if (f.match.state != MATCH_ROW || f.match.refuses || f.match.held || f.match.policy == NULL)
		return;
	copy_text(f.policy, sizeof(f.policy), f.match.policy->name);
	copy_text(f.methods, sizeof(f.methods), f.match.policy->methods);
	credentials = f.match.policy->credentials;
	if (!matches_any(realm, origin))
		FAIL("\"%s\" in \"%s\" is allowed by \"%s\", policy \"%s\"", origin, realm, f.row, f.policy);
	if (strict && !is_ours(realm, origin, &f, credentials))
		FAIL("\"%s\" in \"%s\": \"%s\" says policy \"%s\" %s %d until %lld", origin, realm, f.row, f.policy,
		    f.methods, credentials, (long long)f.match.expires_at);
}

static void
check_answer(struct reader *r, const char *realm, const char *origin)
{
	static char buf[ANSWER_MAX + 1];
	struct request q = { .realm = span(realm), .nrealm = 1, .method = span("OPTIONS"), .nmethod = 1,
		.origin = span(origin), .norigin = 1, .acrm = span("PUT"), .nacrm = 1 };
	struct answer_options opt = { .now_s = NOW, .max_stale_s = (int64_t)below(&random_state, 2), .debug = true };
	struct answer a;

	answer(r, &q, &opt, true, &a, buf, sizeof(buf) - 1);
	buf[a.len] = '\0';
	if (!matches_any(realm, origin) &&
	    (a.decision.allow || strstr(buf, "Allow-Origin") != NULL || strstr(buf, "Allow-Credentials") != NULL))
		FAIL("\"%s\" in \"%s\" is answered: %s", origin, realm, buf);
}

static int
count_row(const struct row *row, void *arg)
{
	struct rule rule;

	if (row->realm.len > REALM_MAX || row->origin.len > RULE_MAX || row->policy.len > POLICY_MAX_NAME)
		FAIL("a row of %zu, %zu and %zu bytes", row->realm.len, row->origin.len, row->policy.len);
	(void)rule_parse(&rule, row->origin.at, row->origin.len);
	return ++*(unsigned *)arg > 1000000;
}

static int
count_policy(const struct policy *p, void *arg)
{
	return p->name.len > POLICY_MAX_NAME || ++*(unsigned *)arg > 1000000;
}

static void
check_reader(struct reader *r, bool strict)
{
	char buf[REALM_MAX + RULE_MAX + POLICY_MAX_NAME + 3];
	struct table_info ti;
	struct status st;
	struct rule rule;
	struct row row;
	unsigned n = 0;

	for (size_t i = 0; i < sizeof(test_realms) / sizeof(test_realms[0]); i++)
		for (size_t k = 0; k < NORIGINS; k++) {
			check_find(r, test_realms[i], origins[k], strict);
			if (below(&random_state, 8) == 0)
				check_answer(r, test_realms[i], origins[k]);
		}
	if (below(&random_state, 4) != 0)
		return;
	reader_info(r, &ti);
	reader_status(r, &st);
	(void)reader_strerror(r);
	(void)reader_each(r, NULL, count_row, &n);
	(void)reader_each_policy(r, count_policy, &n);
	for (size_t i = 0; i < NROWS; i++)
		if (rule_parse(&rule, rows[i].rule, strlen(rows[i].rule)) == ORIGIN_OK &&
		    reader_get(r, span(rows[i].realm), &rule, buf, &row) == 0)
			count_row(&row, &n);
}

static void
check_fresh(bool strict)
{
	struct reader *r = open_reader(dir);

	check_reader(r, strict);
	reader_close(&r);
}

/* ---- damage ---- */

static size_t
any_offset(const struct file *f)
{
	size_t at = 0;

	switch (below(&random_state, 3)) {
	case 0:
		return below(&random_state, f->len < 512 ? (unsigned)f->len : 512);
	case 1:
		return below(&random_state, (unsigned)f->len);
	default:		/* where something is written */
		for (int i = 0; i < 100000; i++) {
			at = below(&random_state, (unsigned)f->len);
			for (size_t k = at; k < f->len && k < at + 4096; k++)
				if (f->bytes[k] != 0)
					return k;
		}
		return at;
	}
}

static const struct file *
any_file(void)
{
	const struct file *f;

	do
		f = &files[below(&random_state, nfiles)];
	while (f->len == 0);
	return f;
}

static void
damage_with(const struct file *f, size_t at, const char *bytes, size_t len)
{
	char path[PATH_MAX + 128];
	int fd;

	snprintf(path, sizeof(path), "%s/" LAYOUT_DIR "/%.63s", dir, f->name);
	if ((fd = open(path, O_WRONLY)) < 0 || pwrite(fd, bytes, len, (off_t)at) != (ssize_t)len)
		FAIL("%s: %s", path, strerror(errno));
	close(fd);
}

static void
flip(const struct file *f, size_t at)
{
	unsigned bit = below(&random_state, 9);
	char byte = (char)(f->bytes[at] ^ (bit < 8 ? 1 << bit : (int)(1 + below(&random_state, 255))));

	damage_with(f, at, &byte, 1);
}

/* A stretch of random, zero, or other bytes of the table. */
static void
scribble(const struct file *f, size_t at)
{
	char bytes[256];
	size_t len = 2 + below(&random_state, sizeof(bytes) - 2);
	const struct file *other = any_file();

	if (len > f->len - at)
		len = f->len - at;
	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)next_random(&random_state);
	if (below(&random_state, 3) == 0)
		memset(bytes, 0, len);
	else if (below(&random_state, 3) == 0 && other->len > len) {
		size_t from = any_offset(other);
		memcpy(bytes, other->bytes + (from < other->len - len ? from : 0), len);
	}
	damage_with(f, at, bytes, len);
}

START_TEST(the_undamaged_table_answers)
{
	struct found f;
	struct reader *r;

	make_table();
	restore_all();
	r = open_reader(dir);
	f = find(r, "", "https://a.test");
	ck_assert_str_eq(f.row, "https://a.test");
	ck_assert(is_ours("", "https://a.test", &f, true));
	ck_assert_str_eq(find(r, "", "https://y.x.wide.test").row, "https://*.wide.test");
	ck_assert(!matches_any("", "https://stranger.test"));
	check_reader(r, true);
	reader_close(&r);
}
END_TEST

/* Every single byte of what is in use in the arenas, each bit of it. */
START_TEST(every_byte_of_records_and_policies_may_flip)
{
	struct reader *attached;

	make_table();
	attached = open_reader(dir);
	check_reader(attached, true);
	for (unsigned i = 0; i < nfiles; i++) {
		const struct file *f = &files[i];
		const struct segment_head *h = (const void *)f->bytes;
		if (f->len < LAYOUT_PAGE || h->magic != SEGMENT_MAGIC)
			continue;
		alarm(120);
		size_t end = h->arena + atomic_load(&h->tail), step = 1 + (h->kind == SEGMENT_POLICIES);
		for (size_t at = h->arena; at < end; at += step) {
			round_number = at;
			char byte = (char)(f->bytes[at] ^ 1 << at % 8);
			damage_with(f, at, &byte, 1);
			check_fresh(true);
			check_reader(attached, true);
			damage_with(f, at, &f->bytes[at], 1);
		}
	}
	reader_close(&attached);
}
END_TEST

static unsigned
policies_of(struct reader *r)
{
	unsigned n = 0;

	ck_assert_int_eq(reader_each_policy(r, count_policy, &n), 0);
	return n;
}

/* What answers comes from a copy; who walks over the policies, as an audit does, is told what the table holds now. */
START_TEST(a_walk_sees_damage_behind_the_copies)
{
	struct reader *r;

	make_table();
	restore_all();
	r = open_reader(dir);
	unsigned all = policies_of(r);
	for (unsigned i = 0; i < nfiles; i++) {
		const char *at = memmem(files[i].bytes, files[i].len, "DELETE", 6);
		if (strstr(files[i].name, ".p") == NULL || at == NULL)
			continue;
		damage_with(&files[i], (size_t)(at - files[i].bytes), "d", 1);
		ck_assert_uint_eq(policies_of(r), all - 1);
		damage_with(&files[i], (size_t)(at - files[i].bytes), "D", 1);
		ck_assert_uint_eq(policies_of(r), all);
		all = 0;
	}
	ck_assert_uint_eq(all, 0);		/* it was there to be damaged */
	reader_close(&r);
}
END_TEST

/* A table that was in force is not asked for want of another. */
START_TEST(no_table_answers_nothing)
{
	struct reader *r;
	struct ctl ctl;

	make_table();
	restore_all();
	r = open_reader(dir);
	ck_assert_str_eq(find(r, "", "https://a.test").row, "https://a.test");
	for (unsigned i = 0; i < nfiles; i++)
		if (strcmp(files[i].name, "ctl") == 0) {
			memcpy(&ctl, files[i].bytes, sizeof ctl);
			ctl.table = 0;
			ctl.epoch++;
			damage_with(&files[i], 0, (const char *)&ctl, sizeof ctl);
		}
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(find(r, "", "https://a.test").match.state, MATCH_NOT_READY);
	reader_close(&r);
}
END_TEST

START_TEST(one_damaged_byte_is_noticed)
{
	uint64_t rounds = setting("CORSCACHE_OPS", 2000);
	struct reader *attached;

	make_table();
	attached = open_reader(dir);
	check_reader(attached, true);
	for (round_number = 0; round_number < rounds; round_number++) {
		const struct file *f = any_file();
		size_t at = any_offset(f);
		alarm(30);
		flip(f, at);
		check_reader(attached, true);
		check_fresh(true);
		damage_with(f, at, &f->bytes[at], 1);
	}
	reader_close(&attached);
}
END_TEST

START_TEST(any_bytes_are_safe_to_read)
{
	uint64_t rounds = setting("CORSCACHE_OPS", 2000);
	struct reader *attached;

	make_table();
	attached = open_reader(dir);
	for (round_number = 0; round_number < rounds; round_number++) {
		alarm(30);
		for (unsigned i = below(&random_state, 4) + 1; i > 0; i--) {
			const struct file *f = any_file();
			scribble(f, any_offset(f));
		}
		check_reader(attached, false);
		check_fresh(false);
		if (round_number % 4 == 3) {
			for (unsigned i = 0; i < nfiles; i++)
				damage_with(&files[i], 0, files[i].bytes, files[i].len);
			check_fresh(true);
		}
	}
	reader_close(&attached);
}
END_TEST

/* ---- numbers: what is out of reason is none, and nothing overflows ---- */

static const int64_t extremes[] = { INT64_MIN, INT64_MIN + 1, -COUNT_END, -1, 0, 1, NOW, COUNT_END - 1, COUNT_END,
	INT64_MAX / 1000, INT64_MAX / 1000 + 1, INT64_MAX - 1, INT64_MAX };

static struct answer
ask(struct reader *r, int64_t max_stale_s)
{
	static char buf[ANSWER_MAX];
	struct request q = { .nrealm = 1, .method = span("GET"), .nmethod = 1, .origin = span("https://a.test"),
		.norigin = 1 };
	struct answer_options opt = { .now_s = NOW, .max_stale_s = max_stale_s };
	struct answer a;

	answer(r, &q, &opt, true, &a, buf, sizeof(buf));
	return a;
}

/* Everything that shows numbers, as far as it is no program. */
static void
look_at_numbers(struct reader *r)
{
	struct health h;
	FILE *out = fopen("/dev/null", "w");

	ck_assert_ptr_nonnull(out);
	for (int stale = 0; stale < 2; stale++) {
		health_read(&h, r, dir, stale ? INT32_MAX : 0, NOW * 1000);
		for (int i = 0; i < STATUS_COUNT; i++)
			ck_assert(((int64_t *)&h.sync)[i] >= 0 && ((int64_t *)&h.sync)[i] < (int64_t)COUNT_END);
		for (size_t i = 0; i < sizeof(h.counters.cell) / sizeof(h.counters.cell[0]); i++)
			ck_assert_uint_le(h.counters.cell[i], INT64_MAX / COUNTERS_BUCKETS);
		ck_assert(h.table.rows < COUNT_END && h.table.policies < COUNT_END && h.table.epoch < COUNT_END &&
		    h.table.dead_bytes < COUNT_END * 4 && h.table.bytes < COUNT_END * 4);
	}
	ck_assert_int_eq(metrics_write(out, &h.counters, &h.table, &h.sync), 0);
	fclose(out);
	(void)counters_quantile_us(&h.counters, NULL, 0.99);
	(void)counters_verdicts(&h.counters);
}

static const struct file *
file_with(const char *part)
{
	for (unsigned i = 0; i < nfiles; i++)
		if (strstr(files[i].name, part) != NULL)
			return &files[i];
	FAIL("no file is called %s", part);
}

START_TEST(any_number_of_the_writer_is_safe_to_read)
{
	const struct file *ctl;
	struct reader *r;

	make_table();
	ctl = file_with("ctl");
	r = open_reader(dir);
	ck_assert_int_eq(ask(r, 100).decision.reason, REASON_ALLOWED);
	/* an hour back: the clock says nothing of the table's age */
	for (int64_t ahead_ms = 0; ahead_ms <= 3600000; ahead_ms += 3600000) {
		int64_t fresh_at = NOW * 1000 + ahead_ms;
		damage_with(ctl, offsetof(struct ctl, status) + STATUS_fresh_at * sizeof(int64_t), (const char *)&fresh_at,
		    sizeof(fresh_at));
		ck_assert_int_eq(ask(r, 100000).decision.reason, ahead_ms == 0 ? REASON_ALLOWED : REASON_STALE);
	}
	damage_with(ctl, 0, ctl->bytes, ctl->len);
	for (size_t cell = 0; cell < STATUS_COUNT; cell++)
		for (size_t i = 0; i < sizeof(extremes) / sizeof(extremes[0]); i++) {
			size_t at = offsetof(struct ctl, status) + cell * sizeof(int64_t);
			round_number = cell * 100 + i;
			damage_with(ctl, at, (const char *)&extremes[i], sizeof(extremes[i]));
			look_at_numbers(r);
			ck_assert_int_eq(ask(r, 0).decision.reason, REASON_ALLOWED);
			ck_assert_int_eq(ask(r, 100).decision.reason,
			    cell == STATUS_fresh_at ? REASON_STALE : REASON_ALLOWED);
			damage_with(ctl, at, ctl->bytes + at, sizeof(int64_t));
		}
	reader_close(&r);
}
END_TEST

/* Behind a row that refuses stands a pattern that allows: whatever befalls the row's bytes, the pattern does not answer. */
START_TEST(a_damaged_refusal_is_no_miss)
{
	static const char part[] = "deny.wide.test";
	struct reader *r;
	unsigned seen = 0;

	make_table();
	r = open_reader(dir);
	for (unsigned i = 0; i < nfiles; i++) {
		const struct file *f = &files[i];
		const char *key = strstr(f->name, ".s") == NULL ? NULL :
		    memmem(f->bytes, f->len, part, sizeof(part) - 1);
		if (key == NULL)
			continue;
		size_t from = (size_t)(key - f->bytes) - sizeof(struct record);
		for (size_t at = from; at < from + sizeof(struct record) + sizeof(part) - 1; at++)
			for (unsigned change = 1; change < 256; change++) {
				char byte = (char)(f->bytes[at] ^ (int)change);
				round_number = at * 256 + change;
				damage_with(f, at, &byte, 1);
				struct match m = find(r, "", "https://deny.wide.test").match;
				if (m.state == MATCH_ROW ? !m.held && !m.refuses : m.state != MATCH_ERROR)
					FAIL("byte %zu ^ %u: state %d", at - from, change, (int)m.state);
				damage_with(f, at, f->bytes + at, 1);
				seen++;
			}
	}
	ck_assert_uint_gt(seen, 0);
	reader_close(&r);
}
END_TEST

START_TEST(any_number_of_the_table_is_safe_to_read)
{
	static const size_t root[] = { offsetof(struct root, rows), offsetof(struct root, policies) };
	static const size_t head[] = { offsetof(struct segment_head, tail), offsetof(struct segment_head, reserved),
		offsetof(struct segment_head, used), offsetof(struct segment_head, dead),
		offsetof(struct segment_head, size) };
	struct reader *r;

	make_table();
	r = open_reader(dir);
	for (unsigned f = 0; f < nfiles; f++) {
		bool is_head = strchr(files[f].name, '.') != NULL;
		const size_t *at = is_head ? head : root;
		if (files[f].name[0] != 't')
			continue;
		for (size_t k = 0; k < (is_head ? sizeof(head) : sizeof(root)) / sizeof(size_t); k++)
			for (size_t i = 0; i < sizeof(extremes) / sizeof(extremes[0]); i++) {
				damage_with(&files[f], at[k], (const char *)&extremes[i], sizeof(extremes[i]));
				look_at_numbers(r);
				check_reader(r, true);
				damage_with(&files[f], at[k], files[f].bytes + at[k], sizeof(int64_t));
			}
	}
	reader_close(&r);
}
END_TEST

START_TEST(any_number_of_a_responder_is_safe_to_read)
{
	struct counters_file *f;
	struct counters *c, *c2;
	struct counters_file *f2;
	struct reader *r;

	make_table();
	r = open_reader(dir);
	ck_assert_int_eq(counters_claim(&f, dir, &c), 0);
	ck_assert_int_eq(counters_claim(&f2, dir, &c2), 0);
	for (size_t i = 0; i < sizeof(extremes) / sizeof(extremes[0]); i++)
		for (size_t cell = 0; cell < sizeof(*c) / sizeof(uint64_t); cell++) {
			/* those before stay as they are: sums of all of them do not overflow either */
			atomic_store((_Atomic uint64_t *)c + cell, (uint64_t)extremes[i]);
			atomic_store((_Atomic uint64_t *)c2 + cell, (uint64_t)extremes[i]);
			look_at_numbers(r);
		}
	memset(c, 0, sizeof *c);
	memset(c2, 0, sizeof *c2);
	counters_release(&f);
	counters_release(&f2);
	reader_close(&r);
}
END_TEST

/* Shorter than they were, longer, or in one another's place. */
START_TEST(files_of_any_size_and_place_are_safe_to_attach)
{
	static const size_t sizes[] = { 0, 1, 100, 4095, 4096, 4097, 8192, 12345 };
	char path[PATH_MAX + 128];

	make_table();
	for (unsigned i = 0; i < nfiles; i++) {
		alarm(60);
		snprintf(path, sizeof(path), "%s/" LAYOUT_DIR "/%s", dir, files[i].name);
		for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]) + 20; k++) {
			size_t size = k < sizeof(sizes) / sizeof(sizes[0]) ? sizes[k] :
			    below(&random_state, (unsigned)files[i].len + 2 * LAYOUT_PAGE);
			ck_assert_int_eq(truncate(path, (off_t)size), 0);
			check_fresh(true);
			write_file(&files[i]);
		}
		for (unsigned k = 0; k < nfiles; k++) {
			struct file wrong = files[k];
			memcpy(wrong.name, files[i].name, sizeof(wrong.name));
			write_file(&wrong);
			check_fresh(true);
			write_file(&files[i]);
		}
		ck_assert_int_eq(unlink(path), 0);
		check_fresh(true);
		write_file(&files[i]);
	}
}
END_TEST

static int
ignore_row(const struct row *row, void *arg)
{
	return count_row(row, arg);
}

static void
tick(struct writer *w)
{
	if (writer_tick(w) == -EFBIG)
		FAIL("a damaged number asks for a huge file");
}

/* Whatever it finds, the next writer lives, and a whole table sets all right. */
static void
check_writer(void)
{
	char err[512] = "", origin[64];
	struct writer_options opt = { .dir = dir, .group = (gid_t)-1, .err = err, .errlen = sizeof(err) };
	struct writer *w = NULL;
	struct table *t;
	struct row got;
	unsigned n = 0;

	if (writer_open(&w, &opt) != 0) {
		if (err[0] == '\0')
			FAIL("writer_open fails without a word");
		return;
	}
	tick(w);
	if ((t = writer_table(w)) != NULL) {
		(void)table_each(t, ignore_row, &n);
		for (unsigned i = 0; i < 40; i++) {
			snprintf(origin, sizeof(origin), "https://%snew%u.test", i % 3 ? "" : "*.", i);
			(void)put(t, test_realms[i % 4], origin, policies[i % 3].name);
		}
		for (size_t i = 0; i < NROWS; i++) {
			(void)table_get(t, span(rows[i].realm), span(rows[i].rule), &got);
			(void)table_hold(t, span(rows[i].realm), span(rows[i].rule));
			if (i % 2)
				(void)table_remove(t, span(rows[i].realm), span(rows[i].rule));
		}
		(void)table_hold_realm(t, span("shop"));
		(void)put_policy(t, "one", "HEAD", true);
		(void)put_policy(t, "four", "HEAD", true);
		(void)table_policy_remove(t, span("two"));
	}
	tick(w);
	writer_say_problem(w, "damage");
	check_fresh(false);
	t = publish_empty(w, 10);
	ck_assert_int_eq(put(t, "", "https://after.test", "default"), 0);
	struct reader *r = open_reader(dir);
	ck_assert_str_eq(find(r, "", "https://after.test").row, "https://after.test");
	reader_close(&r);
	writer_close(&w);
}

START_TEST(a_writer_takes_over_any_bytes)
{
	uint64_t rounds = setting("CORSCACHE_OPS", 2000) / 6;

	make_table();
	for (round_number = 0; round_number < rounds; round_number++) {
		alarm(30);
		restore_all();
		if (round_number % 3 == 0) {
			for (unsigned i = below(&random_state, 4) + 1; i > 0; i--) {
				const struct file *f = any_file();
				scribble(f, any_offset(f));
			}
		} else {
			const struct file *f = any_file();
			flip(f, any_offset(f));
		}
		check_writer();
	}
}
END_TEST

/* Every word of every head, at its extremes. */
START_TEST(a_writer_takes_over_any_head)
{
	static const uint64_t values[] = { 0, 9, 65537, 1ull << 33, ~0ull - 15, ~0ull };
	const struct file *f;
	unsigned first = (unsigned)_i * 8;

	make_table();
	for (unsigned i = 0; i < nfiles; i++)
		for (size_t k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
			f = &files[i];
			if (f->len == 0)
				continue;
			round_number = i * 100 + k;
			alarm(30);
			restore_all();
			damage_with(f, first, (const char *)&values[k], sizeof(values[k]));
			check_fresh(true);
			check_writer();
		}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("damage");
	TCase *tc = tcase_create("damage");
	int failed;

	random_state = seed = random_seed();
	/* said beforehand: what a sanitizer or a signal ends tells nothing afterwards */
	fprintf(stderr, "CORSCACHE_SEED=%llu makes this run again\n", (unsigned long long)seed);
	/* whatever a damaged number asks for, the machine lives */
	if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR || setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 16 << 20, 16 << 20 }) != 0)
		die("setrlimit: %s", strerror(errno));
	tcase_add_test(tc, the_undamaged_table_answers);
	tcase_add_test(tc, every_byte_of_records_and_policies_may_flip);
	tcase_add_test(tc, a_walk_sees_damage_behind_the_copies);
	tcase_add_test(tc, no_table_answers_nothing);
	tcase_add_test(tc, one_damaged_byte_is_noticed);
	tcase_add_test(tc, any_bytes_are_safe_to_read);
	tcase_add_test(tc, any_number_of_the_writer_is_safe_to_read);
	tcase_add_test(tc, a_damaged_refusal_is_no_miss);
	tcase_add_test(tc, any_number_of_the_table_is_safe_to_read);
	tcase_add_test(tc, any_number_of_a_responder_is_safe_to_read);
	tcase_add_test(tc, files_of_any_size_and_place_are_safe_to_attach);
	tcase_add_test(tc, a_writer_takes_over_any_bytes);
	tcase_add_loop_test(tc, a_writer_takes_over_any_head, 0, 24);
	tcase_set_timeout(tc, 600);
	suite_add_tcase(suite, tc);
	make_directory(base);
	failed = run(suite);
	remove_directory(base);
	return failed;
}

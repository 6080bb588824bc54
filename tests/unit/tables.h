/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tables -- what the tests of the shared table have in common: a private
 * directory, random numbers from a seed that can be given again, and calls in
 * one line each.
 */
#ifndef TABLES_H
#define TABLES_H

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "layout.h"
#include "reader.h"
#include "writer.h"

#define NOW	((int64_t)1700000000)	/* what the readers of these tests call now */

static inline void __attribute__((noreturn, format(printf, 1, 2)))
die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}

/* CORSCACHE_OPS and the like: how much, how long, which seed. */
static inline uint64_t
setting(const char *name, uint64_t fallback)
{
	const char *value = getenv(name);

	return value != NULL && *value != '\0' ? strtoull(value, NULL, 0) : fallback;
}

static inline uint64_t
random_seed(void)
{
	uint64_t seed = 0;

	if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		die("getrandom: %s", strerror(errno));
	return setting("CORSCACHE_SEED", seed);
}

/* splitmix64 */
static inline uint64_t
next_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* 0 .. n - 1 */
static inline unsigned
below(uint64_t *state, unsigned n)
{
	return (unsigned)((next_random(state) >> 32) * n >> 32);
}

static inline double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* In memory where that can be had: a table lives on a tmpfs. */
static inline void
make_directory(char dir[PATH_MAX])
{
	const char *tmp = getenv("TMPDIR");

	if (tmp == NULL || *tmp == '\0')
		tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	snprintf(dir, PATH_MAX, "%s/corscache-table.XXXXXX", tmp);
	if (mkdtemp(dir) == NULL)
		die("mkdtemp %s: %s", dir, strerror(errno));
	chmod(dir, 0755);
}

static inline int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

static inline void
remove_directory(const char *dir)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline struct span
span(const char *s)
{
	return (struct span){ s, strlen(s) };
}

static inline bool
span_is_text(struct span s, const char *text)
{
	return s.len == strlen(text) && memcmp(s.at, text, s.len) == 0;
}

/* ---- the writer, in one line a call ---- */

static inline struct writer *
open_writer(const char *dir, unsigned max_shards)
{
	char err[512] = "";
	struct writer_options opt = { .dir = dir, .group = (gid_t)-1, .max_shards = max_shards,
		.err = err, .errlen = sizeof(err) };
	struct writer *w = NULL;
	int error = writer_open(&w, &opt);

	if (error != 0)
		die("writer_open %s: %s (%s)", dir, strerror(-error), err);
	return w;
}

static inline struct policy_row
policy_row(const char *name, const struct span *method, bool credentials)
{
	return (struct policy_row){ .name = span(name), .methods = method, .nmethods = 1,
		.credentials = credentials, .max_age = POLICY_NO_MAX_AGE };
}

/* A policy whose one method tells which version of it this is. */
static inline int
put_policy(struct table *t, const char *name, const char *method, bool credentials)
{
	struct span m = span(method);
	struct policy_row row = policy_row(name, &m, credentials);
	enum policy_status why;

	return table_policy_put(t, &row, &why);
}

static inline struct row
row_of(const char *realm, const char *origin, const char *policy)
{
	return (struct row){ .realm = span(realm), .origin = span(origin), .policy = span(policy), .allow = true };
}

static inline int
put(struct table *t, const char *realm, const char *origin, const char *policy)
{
	struct row row = row_of(realm, origin, policy);

	return table_put(t, &row);
}

/* A table in force with the policy "default" and nothing else. */
static inline struct table *
publish_empty(struct writer *w, uint64_t rows)
{
	struct table *t = NULL;
	int error = writer_begin(w, rows, &t);

	if (error != 0)
		die("writer_begin: %s", writer_strerror(w));
	if ((error = put_policy(t, "default", "GET", false)) != 0 || (error = writer_commit(w, &t)) != 0)
		die("cannot publish a table: %s", strerror(-error));
	return writer_table(w);
}

/* ---- the reader ---- */

static inline struct reader *
open_reader(const char *dir)
{
	struct reader *r = NULL;
	int error = reader_open(&r, dir);

	if (error != 0)
		die("reader_open %s: %s", dir, strerror(-error));
	return r;
}

/* What one look-up said, in memory of its own. */
struct found {
	struct match	 match;
	char		 row[RULE_MAX + 1];
	char		 policy[POLICY_MAX_NAME + 1];
	char		 methods[POLICY_MAX_METHODS + 1];
};

static inline void
copy_text(char *to, size_t cap, struct span s)
{
	size_t n = s.len < cap ? s.len : cap - 1;

	memcpy(to, s.at, n);
	to[n] = '\0';
}

/* False: the table changed at each of 64 tries. */
static inline bool
find_at(struct reader *r, const char *realm, const char *origin, int64_t now_s, struct found *f)
{
	struct origin o;

	if (origin != NULL && origin_parse(&o, origin, strlen(origin)) != ORIGIN_OK)
		die("\"%s\" is not an origin", origin);
	for (int i = 0; i < LAYOUT_MAX_TRIES; i++) {
		reader_find(r, span(realm), origin != NULL ? &o : NULL, now_s, &f->match);
		match_row_text(&f->match, origin != NULL ? &o : NULL, f->row, sizeof(f->row));
		f->policy[0] = f->methods[0] = '\0';
		if (f->match.state == MATCH_ROW && f->match.policy != NULL) {
			copy_text(f->policy, sizeof(f->policy), f->match.policy->name);
			copy_text(f->methods, sizeof(f->methods), f->match.policy->methods);
		}
		f->match.policy = NULL;
		if (reader_is_current(r))
			return true;
	}
	return false;
}

static inline struct found
find(struct reader *r, const char *realm, const char *origin)
{
	struct found f;

	if (!find_at(r, realm, origin, NOW, &f))
		die("\"%s\" \"%s\": the table never stood still", realm, origin != NULL ? origin : "");
	return f;
}

#endif

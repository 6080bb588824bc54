/* SPDX-License-Identifier: BSD-2-Clause */
#include "subject.h"

#include <stdio.h>

#include "ours.h"

static struct reader *reader;

static uint64_t
build(const struct workload *load, const struct subject_options *opt)
{
	struct table_info info;
	struct writer *w;
	char dir[256];
	int error;

	snprintf(dir, sizeof dir, "%s/ours", opt->dir);
	w = ours_open_writer(dir);
	ours_fill(w, load);
	writer_close(&w);
	if ((error = reader_open(&reader, dir)) != 0)
		die(dir, error);
	reader_info(reader, &info);
	return info.bytes;
}

static uint64_t
build_nothing(const struct workload *load, const struct subject_options *opt)
{
	(void)load;
	(void)opt;
	return 0;	/* it reads the table of `ours` */
}

static inline uint64_t
found(const struct match *m)
{
	return m->state == MATCH_ROW && m->policy != NULL ? 1 + (uint64_t)m->policy->max_age - 600 : 0;
}

static uint64_t
find_parsed(const struct query *q)
{
	struct match m;
	uint64_t policy;

	reader_find(reader, query_realm(q), &q->parsed, WORKLOAD_NOW_S, &m);
	policy = found(&m);
	return reader_is_current(reader) ? policy : 0;
}

static uint64_t
find(const struct query *q)
{
	struct match m;
	struct origin o;
	uint64_t policy;

	if (origin_parse(&o, query_origin(q).at, query_origin(q).len) != ORIGIN_OK)
		return 0;
	reader_find(reader, query_realm(q), &o, WORKLOAD_NOW_S, &m);
	policy = found(&m);
	return reader_is_current(reader) ? policy : 0;
}

static void
close_reader(void)
{
	reader_close(&reader);
}

static void
close_nothing(void)
{
}

const struct subject subject_ours = { "ours", build, find, close_reader, 0, 1, false, false };
const struct subject subject_ours_find = { "ours_find", build_nothing, find_parsed, close_nothing, 0, 1, false, false };

/* SPDX-License-Identifier: BSD-2-Clause */
#include "ours.h"

#include <string.h>

static void
put_policies(struct table *t, uint64_t n)
{
	static const struct span methods[] = { { "GET", 3 }, { "PUT", 3 }, { "DELETE", 6 } };
	static const struct span headers[] = { { "authorization", 13 }, { "content-type", 12 } };
	enum policy_status why;
	char name[32];
	int error;

	for (uint64_t i = 0; i < n; i++) {
		workload_policy_name(i, name);
		struct policy_row row = { .name = { name, strlen(name) }, .methods = methods, .nmethods = 3,
			.headers = headers, .nheaders = 2, .max_age = 600 + (int32_t)(i % 60000) };
		if ((error = table_policy_put(t, &row, &why)) != 0)
			die(policy_strstatus(why), error);
	}
}

int
ours_put(struct table *t, const struct query *q, uint64_t policy)
{
	char name[32];

	workload_policy_name(policy, name);
	return table_put(t, &(struct row){ .realm = query_realm(q), .origin = query_origin(q),
	    .policy = { name, strlen(name) }, .allow = true });
}

void
ours_fill(struct writer *w, const struct workload *load)
{
	struct table *t;
	struct query q;
	int error;

	if ((error = writer_begin(w, load->origins + load->patterns, &t)) != 0)
		die(writer_strerror(w), error);
	put_policies(t, load->policies);
	for (uint64_t i = 0; error == 0 && i < load->origins; i++) {
		workload_row(load, i, &q);
		error = ours_put(t, &q, i % load->policies);
	}
	for (uint64_t i = 0; error == 0 && i < load->patterns; i++) {
		workload_pattern(load, i, &q);
		error = ours_put(t, &q, i % load->policies);
	}
	if (error != 0 || (error = writer_commit(w, &t)) != 0)
		die("fill a table", error);
}

struct writer *
ours_open_writer(const char *dir)
{
	struct writer *w;
	char why[256] = "";
	int error = writer_open(&w, &(struct writer_options){ .dir = dir, .group = (gid_t)-1, .err = why,
	    .errlen = sizeof why });

	if (error != 0)
		die(why, error);
	return w;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table_make -- a shared table for tests that need no database.
 *
 *	table_make DIR < rows
 *
 * A line: REALM \t ORIGIN \t POLICY [\t refuse]. Policies are made up from
 * their names: "cred" and "plain" list GET PUT, the headers x-a x-b, expose
 * x-c, max age 600; "cred" carries credentials.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "writer.h"

static struct span
span(const char *s)
{
	return (struct span){ s, strlen(s) };
}

static void
check(struct writer *w, int error)
{
	if (error == 0)
		return;
	fprintf(stderr, "table_make: %s: %s\n", strerror(-error), w != NULL ? writer_strerror(w) : "");
	exit(1);
}

static void
put_policy(struct writer *w, struct table *t, const char *name, bool credentials)
{
	const struct span methods[] = { span("GET"), span("PUT") }, headers[] = { span("x-a"), span("x-b") };
	const struct span expose[] = { span("x-c") };
	const struct policy_row row = {
		.name = span(name), .methods = methods, .nmethods = 2, .headers = headers, .nheaders = 2,
		.expose = expose, .nexpose = 1, .credentials = credentials, .max_age = 600,
	};
	enum policy_status why;

	check(w, table_policy_put(t, &row, &why));
}

static void
put_row(struct writer *w, struct table *t, char *line)
{
	char *realm = strsep(&line, "\t"), *origin = strsep(&line, "\t"), *policy = strsep(&line, "\t");
	struct row row = { .allow = line == NULL };

	if (policy == NULL)
		exit(64);
	row.realm = span(realm);
	row.origin = span(origin);
	row.policy = span(policy);
	check(w, table_put(t, &row));
}

int
main(int argc, char **argv)
{
	const struct writer_options options = { .dir = argv[1], .group = (gid_t)-1 };
	struct writer *w = NULL;
	struct table *t = NULL;
	char line[1024];

	if (argc != 2)
		return 64;
	check(w, writer_open(&w, &options));
	check(w, writer_begin(w, 16, &t));
	put_policy(w, t, "cred", true);
	put_policy(w, t, "plain", false);
	while (fgets(line, sizeof line, stdin) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		put_row(w, t, line);
	}
	check(w, writer_commit(w, &t));
	writer_set(w, STATUS_fresh_at, (int64_t)time(NULL) * 1000);
	writer_close(&w);
	return 0;
}

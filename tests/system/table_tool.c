/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table_tool -- the shared table for tests, through the reader's API only.
 *
 *	table_tool rows DIR		realm, origin, policy, allow, expires_at, held, public suffix; tabs
 *	table_tool policies DIR		name, methods, headers, expose, credentials, insecure, max_age
 *	table_tool status DIR		name=value, and problem=, source=, rows=, held_all=, table=
 *	table_tool wait DIR		for every line "REALM \t ORIGIN \t there|gone|held" on stdin,
 *					the CLOCK_MONOTONIC nanoseconds at which that became true
 *
 * Exit 75: the table was replaced while it was listed, so ask again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "reader.h"

#define WAIT_S		60
#define REPLACED	75

static int
print_row(const struct row *row, void *arg)
{
	(void)arg;
	printf("%.*s\t%.*s\t%.*s\t%d\t%" PRId64 "\t%d\t%d\n", (int)row->realm.len, row->realm.at,
	    (int)row->origin.len, row->origin.at, (int)row->policy.len, row->policy.at, row->allow, row->expires_at,
	    row->held, row->public_suffix);
	return 0;
}

static int
print_policy(const struct policy *p, void *arg)
{
	(void)arg;
	printf("%.*s\t%s%.*s\t%s%.*s\t%.*s\t%d\t%d\t%d\n", (int)p->name.len, p->name.at,
	    p->any_method ? "*," : "", (int)p->methods.len, p->methods.at, p->any_header ? "*," : "",
	    (int)p->headers.len, p->headers.at, (int)p->expose.len, p->expose.at, p->credentials, p->insecure, p->max_age);
	return 0;
}

static int
listing_status(int error)
{
	return error == -ESTALE ? REPLACED : error != 0;
}

static void
print_status(struct reader *r)
{
	struct table_info info;
	union {
		struct status	 status;
		int64_t		 cells[STATUS_COUNT];
	} u;

	reader_status(r, &u.status);
	reader_info(r, &info);
	for (size_t i = 0; i < STATUS_COUNT; i++)
		printf("%s=%" PRId64 "\n", status_descs[i].name, u.cells[i]);
	printf("problem=%s\nsource=%s\nrows=%" PRIu64 "\nheld_all=%d\ntable=%" PRIu64 "\nready=%d\nbytes=%" PRIu64 "\n",
	    info.problem, info.source, info.rows, info.held_all, info.table, info.ready, info.bytes);
}

static int64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool
is_so(struct reader *r, struct span realm, const struct rule *rule, const char *wanted)
{
	char buf[REALM_MAX + RULE_MAX + POLICY_MAX_NAME + 3];
	struct row row;
	int error = reader_get(r, realm, rule, buf, &row);

	if (strcmp(wanted, "gone") == 0)
		return error == -ENOENT;
	return error == 0 && row.held == (strcmp(wanted, "held") == 0);
}

static int
wait_for(struct reader *r, char *line)
{
	char *realm = line, *origin = strchr(line, '\t'), *wanted;
	int64_t end = now_ns() + (int64_t)WAIT_S * 1000000000;
	struct rule rule;

	if (origin == NULL || (wanted = strchr(origin + 1, '\t')) == NULL)
		return 64;
	*origin++ = *wanted++ = '\0';
	wanted[strcspn(wanted, "\n")] = '\0';
	if (rule_parse(&rule, origin, strlen(origin)) != ORIGIN_OK)
		return 64;
	while (!is_so(r, (struct span){ realm, strlen(realm) }, &rule, wanted)) {
		if (now_ns() > end)
			return 1;
		reader_refresh(r);
		nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
	}
	printf("%" PRId64 "\n", now_ns());
	fflush(stdout);
	return 0;
}

int
main(int argc, char **argv)
{
	struct reader *r;
	char *line = NULL;
	size_t cap = 0;
	int status = 0;

	if (argc != 3 || reader_open(&r, argv[2]) != 0)
		return 64;
	reader_refresh(r);
	if (strcmp(argv[1], "rows") == 0)
		status = listing_status(reader_each(r, NULL, print_row, NULL));
	else if (strcmp(argv[1], "policies") == 0)
		status = listing_status(reader_each_policy(r, print_policy, NULL));
	else if (strcmp(argv[1], "status") == 0)
		print_status(r);
	else
		while (status == 0 && getline(&line, &cap, stdin) > 0)
			status = wait_for(r, line);
	free(line);
	reader_close(&r);
	return status;
}

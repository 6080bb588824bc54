/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All that the table says, for programs and for cachectl load: first the
 * policies, then the rows, a line each, as they come.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "policies.h"
#include "rows.h"

struct dump {
	bool		 json;
	struct policies	 policies;
};

static void
field(struct span bytes)
{
	putchar('\t');
	print_bytes(bytes);
}

static void
flag(bool is_set)
{
	fputs(is_set ? "\tyes" : "\tno", stdout);
}

/* Joined by commas; the * stands behind the names that it does not cover. */
static void
list(struct span names, bool any)
{
	field(names);
	if (any)
		fputs(names.len > 0 ? ",*" : "*", stdout);
}

static void
print_policy(const struct policy *p)
{
	fputs("policy", stdout);
	field(p->name);
	list(p->methods, p->any_method);
	list(p->headers, p->any_header);
	list(p->expose, false);
	flag(p->credentials);
	if (p->max_age == POLICY_NO_MAX_AGE)
		putchar('\t');
	else
		printf("\t%d", p->max_age);
	flag(p->insecure);
	putchar('\n');
}

static int
dump_policy(const struct policy *p, void *arg)
{
	struct dump *d = arg;
	struct known *k = policies_put(&d->policies, p->name);
	struct object *o;

	if (k == NULL || known_copy(k, p) != 0)
		return -ENOMEM;
	if (d->json) {
		o = object_new();
		policy_fill(o, p);
		object_print(o);
	} else {
		print_policy(p);
	}
	return ferror(stdout) ? 1 : 0;
}

/* Readers treat it as absent. */
static bool
is_unsafe(const struct row *row, const struct known *k)
{
	struct rule rule;

	return k != NULL && row->allow && rule_parse(&rule, row->origin.at, row->origin.len) == ORIGIN_OK &&
	    row_is_unsafe(rule.form, &rule.origin, row->public_suffix, &k->policy);
}

static void
print_row(const struct row *row, bool is_allowed, bool unsafe)
{
	char when[HUMAN_MAX];

	fputs("row", stdout);
	field(row->realm);
	field(row->origin);
	field(row->policy);
	flag(is_allowed);
	printf("\t%s", row->expires_at != ROW_NEVER ? human_time(when, row->expires_at) : "");
	flag(row->held);
	flag(unsafe);
	flag(row->revoked);
	putchar('\n');
}

static void
print_json_row(const struct row *row, bool is_allowed, bool unsafe)
{
	struct object *o = object_new();

	object_bytes(o, "realm", row->realm);
	object_bytes(o, "origin", row->origin);
	if (row->policy.len > 0)
		object_bytes(o, "policy", row->policy);
	else
		object_null(o, "policy");
	object_bool(o, "allow", is_allowed);
	row_fill_expiry(o, row->expires_at);
	object_bool(o, "held", row->held);
	object_bool(o, "revoked", row->revoked);
	object_bool(o, "unsafe", unsafe);
	object_print(o);
}

/* A row whose policy is gone refuses. */
static int
dump_row(const struct row *row, void *arg)
{
	const struct dump *d = arg;
	const struct known *k = policies_find(&d->policies, row->policy);
	bool is_allowed = row->allow && k != NULL;

	if (d->json)
		print_json_row(row, is_allowed, is_unsafe(row, k));
	else
		print_row(row, is_allowed, is_unsafe(row, k));
	return ferror(stdout) ? 1 : 0;
}

int
cmd_dump(const struct call *call)
{
	struct dump d = { .json = call->json };
	struct table_info info;
	struct reader *r;
	int status = rows_open(call, &r), error;

	if (status != EXIT_YES)
		return status;
	reader_info(r, &info);
	if (info.held_all)
		remark("cachectl invalidate --all is in force, which the dump does not hold");
	error = reader_each_policy(r, dump_policy, &d);
	if (error == 0)
		error = reader_each(r, NULL, dump_row, &d);
	if (error < 0)
		complain("the table could not be read to its end: %s", strerror(-error));
	policies_fini(&d.policies);
	reader_close(&r);
	return error < 0 ? EXIT_FAILED : EXIT_YES;
}

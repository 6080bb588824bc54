/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "rows.h"

static void
print_policy(const struct policy *p, void *arg)
{
	(void)arg;
	policy_print(p);
}

static void
fill_policy(const struct policy *p, void *arg)
{
	policy_fill(object_in(arg, "policy_contents"), p);
}

static void
show(struct reader *r, const struct row *row, bool json)
{
	struct object *o;

	if (json) {
		o = object_new();
		row_fill(o, row);
		if (!policy_find(r, row->policy, fill_policy, o))
			object_null(o, "policy_contents");
		object_print(o);
		return;
	}
	row_print(row);
	if (!policy_find(r, row->policy, print_policy, NULL) && row->allow && !row->held)
		paint(COLOUR_BAD, "the policy is not in the table: the row refuses\n");
}

int
cmd_show(const struct call *call)
{
	char buf[REALM_MAX + RULE_MAX + POLICY_MAX_NAME + 3];
	struct reader *r;
	struct rule rule;
	struct span realm;
	struct row row;
	int status, error;

	if ((status = rows_realm(flag_value(call, "realm"), &realm)) != EXIT_YES ||
	    (status = rows_rule(call->operands[0], &rule)) != EXIT_YES || (status = rows_open(call, &r)) != EXIT_YES)
		return status;
	error = reader_get(r, realm, &rule, buf, &row);
	if (error == 0)
		show(r, &row, call->json);
	else if (error == -ENOENT)
		complain("no such row in %s; cachectl list looks in every realm, cachectl check tells which row answers",
		    realm.len > 0 ? "that realm" : "the realm ''");
	else
		complain("the table could not be read: %s", strerror(-error));
	reader_close(&r);
	return error == 0 ? EXIT_YES : error == -ENOENT ? EXIT_NO : EXIT_FAILED;
}

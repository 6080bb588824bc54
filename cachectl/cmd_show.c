/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "rows.h"

struct show {
	const struct row	*row;
	const struct rule	*rule;
	struct object		*json;		/* NULL: text */
	bool			 is_unsafe;	/* readers treat it as absent */
};

static void
show_policy(const struct policy *p, void *arg)
{
	struct show *s = arg;

	s->is_unsafe = s->row->allow && row_is_unsafe(s->rule->form, &s->rule->origin, s->row->public_suffix, p);
	if (s->json != NULL)
		policy_fill(object_in(s->json, "policy_contents"), p);
	else
		policy_print(p);
}

static void
show(struct reader *r, struct show *s)
{
	bool has_policy;

	if (s->json != NULL)
		row_fill(s->json, s->row);
	else
		row_print(s->row);
	has_policy = policy_find(r, s->row->policy, show_policy, s);
	if (s->json != NULL) {
		if (!has_policy)
			object_null(s->json, "policy_contents");
		object_bool(s->json, "unsafe", s->is_unsafe);
		object_print(s->json);
	} else if (s->is_unsafe) {
		paint(COLOUR_BAD, "the row may not carry these credentials: it answers nothing; cachectl lint says what mends it\n");
	} else if (!has_policy && s->row->allow && !s->row->held) {
		paint(COLOUR_BAD, "the policy is not in the table: the row refuses\n");
	}
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
		show(r, &(struct show){ .row = &row, .rule = &rule, .json = call->json ? object_new() : NULL });
	else if (error == -ENOENT)
		complain("no such row in %s; cachectl list looks in every realm, cachectl check tells which row answers",
		    realm.len > 0 ? "that realm" : "the realm ''");
	else
		complain("the table could not be read: %s", strerror(-error));
	reader_close(&r);
	return error == 0 ? EXIT_YES : error == -ENOENT ? EXIT_NO : EXIT_FAILED;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "rows.h"

struct listing {
	const char	*glob;		/* NULL: everything */
	bool		 json;
	uint64_t	 shown;
};

static bool
is_wanted(const struct listing *l, struct span text)
{
	char copy[RULE_MAX + 1];

	if (l->glob == NULL)
		return true;
	if (text.len >= sizeof copy)
		return false;
	memcpy(copy, text.at, text.len);
	copy[text.len] = '\0';
	return fnmatch(l->glob, copy, 0) == 0;
}

/* A full disk or a closed pipe ends the listing; main says so. */
static int
show_row(const struct row *row, void *arg)
{
	struct listing *l = arg;
	struct object *o;

	if (!is_wanted(l, row->origin))
		return 0;
	l->shown++;
	if (l->json) {
		o = object_new();
		row_fill(o, row);
		object_print(o);
	} else {
		row_print(row);
	}
	return ferror(stdout) ? 1 : 0;
}

static int
show_policy(const struct policy *p, void *arg)
{
	struct listing *l = arg;
	struct object *o;

	if (!is_wanted(l, p->name))
		return 0;
	l->shown++;
	if (l->json) {
		o = object_new();
		policy_fill(o, p);
		object_print(o);
	} else {
		policy_print(p);
	}
	return 0;
}

int
cmd_list(const struct call *call)
{
	struct listing l = { .glob = call->noperands > 0 ? call->operands[0] : NULL, .json = call->json };
	const char *realm_name = flag_value(call, "realm");
	struct reader *r;
	struct span realm;
	int status, error;

	if ((status = rows_realm(realm_name, &realm)) != EXIT_YES || (status = rows_open(call, &r)) != EXIT_YES)
		return status;
	if (flag_is_given(call, "policies"))
		error = reader_each_policy(r, show_policy, &l);
	else
		error = reader_each(r, realm_name != NULL ? &realm : NULL, show_row, &l);
	if (error < 0)
		complain("the table could not be read to its end: %s", strerror(-error));
	else if (l.shown == 0)
		remark("%s", flag_is_given(call, "policies") ? "no policy is called so" : l.glob == NULL && realm_name == NULL ?
		    "the table has no rows" : "no row matches; cachectl check tells how an origin is answered, and what is near");
	reader_close(&r);
	return error < 0 ? EXIT_FAILED : l.shown > 0 ? EXIT_YES : EXIT_NO;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rules -- what lib/origin says of each NUL-terminated string on stdin, for
 * comparison with what sql/ says: one line each, "refused", "fine", or
 * "insecure" for plain http.
 */
#include "origin.h"

#include <stdio.h>
#include <stdlib.h>

static const char *
verdict(const char *s, size_t len)
{
	struct rule rule;

	if (rule_parse(&rule, s, len) != ORIGIN_OK)
		return "refused";
	return rule.form != RULE_ANY && origin_is_insecure(&rule.origin) ? "insecure" : "fine";
}

int
main(void)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;

	while ((len = getdelim(&line, &size, '\0', stdin)) > 0)
		puts(verdict(line, (size_t)len - 1));
	free(line);
	return 0;
}

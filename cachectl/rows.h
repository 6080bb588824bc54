/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rows -- the shared table as the commands see it: opened or complained about,
 * its rows and policies in text and JSON. Functions that return an exit status
 * have complained already when it is not EXIT_YES.
 */
#ifndef ROWS_H
#define ROWS_H

#include "cachectl.h"
#include "output.h"

/* EXIT_FAILED where no table can be read; attach is content with one not published yet. */
int	 rows_attach(const struct call *call, struct reader **r);
int	 rows_open(const struct call *call, struct reader **r);

/* Like rows_open(), without a complaint: false, and *r is NULL. */
bool	 rows_try(const struct call *call, struct reader **r);

/* EXIT_MISUSED where the bytes are no origin or pattern, no realm. */
int	 rows_rule(const char *text, struct rule *rule);
int	 rows_realm(const char *text, struct span *realm);

/* A line, or the members of an object. */
void	 row_print(const struct row *row);
void	 row_fill(struct object *o, const struct row *row);
/* "expires_at", null where it is ROW_NEVER. */
void	 row_fill_expiry(struct object *o, int64_t expires_at);
void	 policy_print(const struct policy *p);
void	 policy_fill(struct object *o, const struct policy *p);

/* reader_each_policy() until that name; false: there is none. found() sees it. */
bool	 policy_find(struct reader *r, struct span name, void (*found)(const struct policy *p, void *arg), void *arg);

bool	 row_is_expired(const struct row *row);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * wire -- PostgreSQL's binary forms: values as results and COPY carry them.
 *
 * Pure but for one buffer. Every length is checked against the bytes that are
 * there. A field is a span; SQL NULL is a span whose .at is NULL.
 *
 * Source: PostgreSQL manual, COPY, "Binary Format"; array_send(),
 * timestamptz_send().
 */
#ifndef WIRE_H
#define WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "origin.h"

#define WIRE_MAX_FIELDS	8

/* False: NULL, or not of that type's length. */
bool	 wire_bool(struct span field, bool *value);
bool	 wire_int4(struct span field, int32_t *value);

/*
 * A timestamptz as struct row's expires_at: seconds since 1970, rounded down,
 * never below 1; NULL and infinity are ROW_NEVER.
 */
bool	 wire_expiry(struct span field, int64_t *seconds);

/*
 * The elements of a text[]. -EBADMSG: no such thing. -E2BIG: more than cap.
 * -EINVAL: NULL, a NULL among them, or more than one dimension.
 */
int	 wire_texts(struct span field, struct span *texts, size_t cap, size_t *count);

/* A COPY stream, cut anywhere, put together to rows of nfields. */
struct wire_copy {
	unsigned	 nfields;
	bool		 is_begun;	/* the header was seen */
	bool		 is_ended;	/* the trailer was seen */
	char		*rest;		/* bytes of a row that is not whole yet */
	size_t		 len, cap;
};

typedef int	 wire_row(void *arg, const struct span *fields);

void	 wire_copy_init(struct wire_copy *copy, unsigned nfields);
void	 wire_copy_fini(struct wire_copy *copy);
/*
 * Calls row() with every row completed by these bytes; stops and returns what
 * row() says where that is not 0. -EBADMSG: no COPY stream of ours. -ENOMEM.
 */
int	 wire_copy_feed(struct wire_copy *copy, const char *data, size_t len, wire_row *row, void *arg);

#endif

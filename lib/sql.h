/* SPDX-License-Identifier: BSD-2-Clause */
/* sql -- what several programs say to PostgreSQL, and bytes as a literal, to be copied into psql. */
#ifndef SQL_H
#define SQL_H

#include <stdio.h>

#include "origin.h"

/*
 * A stranger may put functions, operators and types of the same names where our search_path leads, if not through a
 * setting then behind a pooler. Hence each statement says which ones it means, even of =.
 */
#define SQL_IS(op)	" OPERATOR(pg_catalog." op ") "
#define SQL_EQ		SQL_IS("=")
#define SQL_BYTES	" COLLATE pg_catalog.\"C\""

/*
 * A transaction that reads all rows and policies as of one moment. The locks come before the snapshot: to one
 * that is older than a TRUNCATE the table is empty, and never was. In the order in which TRUNCATE ... CASCADE
 * takes them.
 */
#define SQL_BEGIN	"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;" \
	" LOCK TABLE cors.policies, cors.origins IN ACCESS SHARE MODE"

/*
 * Printable ASCII whatever the bytes are, so that it survives every terminal:
 * 'it''s', and E'\xc3\xbc' where that does not do.
 */
void	 sql_literal(FILE *out, struct span bytes);

#endif

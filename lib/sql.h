/* SPDX-License-Identifier: BSD-2-Clause */
/* sql -- bytes as a literal of PostgreSQL, to be copied into psql. */
#ifndef SQL_H
#define SQL_H

#include <stdio.h>

#include "origin.h"

/*
 * Printable ASCII whatever the bytes are, so that it survives every terminal:
 * 'it''s', and E'\xc3\xbc' where that does not do.
 */
void	 sql_literal(FILE *out, struct span bytes);

#endif

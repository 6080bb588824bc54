/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fingerprint -- a number for what two builds must agree on before they share
 * memory: which rows of a .def file its cells are, in which order, and how
 * large its structures are.
 *
 * rows: the rows as text, one a line. Not secret, so the key is none.
 */
#ifndef FINGERPRINT_H
#define FINGERPRINT_H

#include "siphash.h"

static inline uint64_t
fingerprint(const char *rows, const uint64_t sizes[], size_t nsizes)
{
	uint64_t sum = siphash13(0, 0, 0, rows, strlen(rows));

	for (size_t i = 0; i < nsizes; i++)
		sum = siphash13(sum, i, sizes[i], "", 0);
	return sum;
}

#endif

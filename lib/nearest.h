/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nearest -- "did you mean": which of some names a person meant who typed a
 * word that is none of them.
 *
 * Pure: no allocation, no I/O. Show it every name, then best is the answer.
 */
#ifndef NEAREST_H
#define NEAREST_H

#include <stddef.h>

#include "origin.h"

struct nearest {
	struct span	 word;
	const char	*best;		/* one of the names, NULL: none is near */
	size_t		 distance;
};

void	 nearest_begin(struct nearest *n, struct span word);
void	 nearest_try(struct nearest *n, const char *name);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* revocation -- what the file of revocations says, told to people and programs. */
#ifndef REVOCATION_H
#define REVOCATION_H

#include "cachectl.h"
#include "output.h"
#include "revoked.h"

/* EXIT_FAILED: it cannot be read, which was complained about. */
int	 revocations_read(const struct call *call, struct revoked **set);

/* "since ..., until ..., by root (uid 0), note: ..." */
void	 revocation_print(const struct revocation *r);
void	 revocation_fill(struct object *o, const struct revocation *r);

#endif

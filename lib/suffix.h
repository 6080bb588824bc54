/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * suffix -- is a pattern's host a public suffix (co.uk, github.io)? The only
 * place that knows libpsl. For syncd and cachectl; never on the request path.
 */
#ifndef SUFFIX_H
#define SUFFIX_H

#include <stdbool.h>

#include "origin.h"

/* Loads the list: the system's file where it is newer than libpsl's own. 0 or -ENOMEM. */
int	 suffix_open(void);
void	 suffix_close(void);
/* The host of a suffix rule; "localhost" and hosts below it are not public. */
bool	 suffix_is_public(struct span host);

#endif

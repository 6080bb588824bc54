/* SPDX-License-Identifier: BSD-2-Clause */
/* utf8 -- where one character ends (RFC 3629). Pure. */
#ifndef UTF8_H
#define UTF8_H

#include <stddef.h>

/* How many of the len (at least 1) bytes of s form one character; 0: none do. */
size_t	 utf8_length(const unsigned char *s, size_t len);

#endif

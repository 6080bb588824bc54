/* SPDX-License-Identifier: BSD-2-Clause */
/* utf8 -- where one character ends (RFC 3629), and bytes of which not all are in one. */
#ifndef UTF8_H
#define UTF8_H

#include <stddef.h>

/* How many of the len (at least 1) bytes of s form one character; 0: none do. */
size_t	 utf8_length(const unsigned char *s, size_t len);

/* A copy of *out_len bytes with U+FFFD for each byte that is in none. The caller's to free(); NULL: no memory. */
char	*utf8_repaired(const char *s, size_t len, size_t *out_len);

#endif

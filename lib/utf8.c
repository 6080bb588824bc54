/* SPDX-License-Identifier: BSD-2-Clause */
#include "utf8.h"

#include <stdlib.h>
#include <string.h>

size_t
utf8_length(const unsigned char *s, size_t len)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t i, n;

	if (s[0] < 0x80)
		return 1;
	n = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 0;
	if (n == 0 || n > len)
		return 0;
	if (s[0] == 0xe0)
		low = 0xa0;		/* overlong */
	else if (s[0] == 0xed)
		high = 0x9f;		/* surrogates */
	else if (s[0] == 0xf0)
		low = 0x90;		/* overlong */
	else if (s[0] == 0xf4)
		high = 0x8f;		/* beyond U+10FFFF */
	if (s[1] < low || s[1] > high)
		return 0;
	for (i = 2; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

char *
utf8_repaired(const char *s, size_t len, size_t *out_len)
{
	static const char replacement[] = "\xef\xbf\xbd";
	char *out = malloc(3 * len + 1);
	size_t i, n, at = 0;

	for (i = 0; out != NULL && i < len; i += n > 0 ? n : 1) {
		n = utf8_length((const unsigned char *)s + i, len - i);
		memcpy(out + at, n > 0 ? s + i : replacement, n > 0 ? n : 3);
		at += n > 0 ? n : 3;
	}
	*out_len = at;
	return out;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "sql.h"

#include <stdbool.h>

static bool
is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '\\';
}

void
sql_literal(FILE *out, struct span bytes)
{
	bool escapes = false;
	size_t i;

	for (i = 0; i < bytes.len; i++)
		escapes |= !is_plain((unsigned char)bytes.at[i]);
	fputs(escapes ? "E'" : "'", out);
	for (i = 0; i < bytes.len; i++) {
		unsigned char c = (unsigned char)bytes.at[i];

		if (c == '\'')
			fputs("''", out);
		else if (c == '\\')
			fputs("\\\\", out);
		else if (!is_plain(c))
			fprintf(out, "\\x%02x", c);
		else
			fputc(c, out);
	}
	fputc('\'', out);
}

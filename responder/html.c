/* SPDX-License-Identifier: BSD-2-Clause */
#include "html.h"

#include "utf8.h"

/* c is printable ASCII. */
static void
put_ascii(FILE *out, char c)
{
	switch (c) {
	case '&':	fputs("&amp;", out); break;
	case '<':	fputs("&lt;", out); break;
	case '>':	fputs("&gt;", out); break;
	case '"':	fputs("&quot;", out); break;
	case '\'':	fputs("&#39;", out); break;
	default:	fputc(c, out); break;
	}
}

static bool
is_printable(char c)
{
	return c >= 0x20 && c <= 0x7e;
}

void
html_text(FILE *out, struct span text)
{
	size_t i;

	for (i = 0; i < text.len; i++) {
		if (!is_printable(text.at[i]))
			fprintf(out, "\\x%02x", (unsigned char)text.at[i]);
		else if (text.at[i] == '\\')
			fputs("\\\\", out);
		else
			put_ascii(out, text.at[i]);
	}
}

/* U+0080 to U+009F, which HTML does not want either. */
static bool
is_c1_control(const char *s, size_t n)
{
	return n == 2 && s[0] == '\xc2' && (unsigned char)s[1] < 0xa0;
}

void
html_value(FILE *out, struct span text)
{
	size_t i, n;

	for (i = 0; i < text.len; i += n > 0 ? n : 1) {
		n = utf8_length((const unsigned char *)text.at + i, text.len - i);
		if (is_printable(text.at[i]))
			put_ascii(out, text.at[i]);
		else if (n < 2 || is_c1_control(text.at + i, n))
			fputs("\xef\xbf\xbd", out);
		else
			fwrite(text.at + i, 1, n, out);
	}
}

static bool
is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	    c == '-' || c == '.' || c == '_' || c == '~';
}

void
html_query(FILE *out, struct span text)
{
	size_t i;

	for (i = 0; i < text.len; i++)
		if (is_unreserved(text.at[i]))
			fputc(text.at[i], out);
		else
			fprintf(out, "%%%02X", (unsigned char)text.at[i]);
}

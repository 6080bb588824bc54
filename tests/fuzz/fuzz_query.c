/* SPDX-License-Identifier: BSD-2-Clause */
/* A query string: its fields lie in the buffer, and what is written of them into a page is inert. */
#include "fuzz.h"

#include <string.h>

#include "../../responder/html.h"
#include "../../responder/query.h"
#include "utf8.h"

static void
must_be_inert(const char *html, size_t len)
{
	static const char *const entities[] = { "&amp;", "&lt;", "&gt;", "&quot;", "&#39;" };
	size_t i, n;

	for (i = 0; i < len; i += n) {
		n = utf8_length((const unsigned char *)html + i, len - i);
		MUST(n > 0);
		MUST((unsigned char)html[i] >= 0x20 && html[i] != 0x7f && strchr("<>\"'", html[i]) == NULL);
		if (html[i] == '&') {
			size_t e = 0;

			while (e < 5 && strncmp(html + i, entities[e], strlen(entities[e])) != 0)
				e++;
			MUST(e < 5);
		}
	}
}

static void
write_field(struct span value, void (*write)(FILE *, struct span))
{
	char *html = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&html, &len);

	MUST(out != NULL);
	write(out, value);
	MUST(fclose(out) == 0);
	must_be_inert(html, len);
	free(html);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct query_field fields[] = { { .name = "origin" }, { .name = "realm" }, { .name = "" } };
	static char buf[QUERY_MAX];
	enum query_status status = query_read((struct span){ (const char *)bytes, len }, fields, 3, buf);
	size_t i, total = 0;

	for (i = 0; i < 3; i++) {
		struct span v = fields[i].value;

		MUST(v.len == 0 || (status == QUERY_OK && v.at >= buf && v.at + v.len <= buf + QUERY_MAX));
		total += v.len;
		write_field(v, html_text);
		write_field(v, html_value);
	}
	MUST(total <= len);
	return 0;
}

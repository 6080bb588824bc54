/* SPDX-License-Identifier: BSD-2-Clause */
/* response -- what must hold of the header bytes of every response, whoever asked. */
#ifndef RESPONSE_H
#define RESPONSE_H

#include <string.h>

#include "fuzz.h"
#include "headers.h"

/* No token has a ": ", so that nothing echoed is taken for a line's name. */
static inline bool
response_has(const char *text, const char *line)
{
	return strstr(text, line) != NULL;
}

/* Whole lines of printable ASCII; never * with credentials; nothing for the refused. */
static inline void
response_must_be_sound(const struct request *q, const struct decision *d)
{
	static char text[HEADERS_MAX + HEADERS_DEBUG_MAX + 1];
	size_t len = headers_write(text, HEADERS_MAX, HEADERS_RESPONSE, q, d);
	bool any, origin;

	MUST(len <= HEADERS_MAX);
	text[len] = '\0';
	any = response_has(text, "Access-Control-Allow-Origin: *\r\n");
	origin = response_has(text, "Access-Control-Allow-Origin: ");
	MUST(!any || !response_has(text, "Access-Control-Allow-Credentials: "));
	MUST(origin == (d->echo != ECHO_NONE));
	MUST(origin || !response_has(text, "Access-Control-Allow-Credentials: "));
	MUST(d->allow || origin == (d->class == REQUEST_NON_CORS && any));
	len += headers_write_debug(text + len, HEADERS_DEBUG_MAX, q, d);
	MUST(len <= HEADERS_MAX + HEADERS_DEBUG_MAX);
	MUST(len >= 2 && text[len - 2] == '\r' && text[len - 1] == '\n');
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\r')
			MUST(text[++i] == '\n');
		else
			MUST(text[i] >= 0x20 && text[i] < 0x7f);
	}
}

#endif

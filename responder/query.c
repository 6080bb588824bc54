/* SPDX-License-Identifier: BSD-2-Clause */
#include "query.h"

#include <stdint.h>
#include <string.h>

const char *
query_strstatus(enum query_status status)
{
	switch (status) {
	case QUERY_TOO_LONG:	return "it is longer than 16384 bytes";
	case QUERY_BAD_ESCAPE:	return "a % has no two hexadecimal digits behind it";
	case QUERY_REPEATED:	return "a field came twice";
	default:		return "it is well formed";
	}
}

/* -1: none. */
static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 'a' - 'A';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Behind *to, which moves on. False: a bad escape. */
static bool
decode(struct span text, char **to)
{
	const char *at = text.at, *end = text.at + text.len;
	int high, low;

	for (; at < end; at++) {
		if (*at != '%') {
			*(*to)++ = *at == '+' ? ' ' : *at;
			continue;
		}
		if (end - at < 3 || (high = hex_digit(at[1])) < 0 || (low = hex_digit(at[2])) < 0)
			return false;
		*(*to)++ = (char)(high << 4 | low);
		at += 2;
	}
	return true;
}

/* The first part of *rest, which loses it and the separator. */
static struct span
cut(struct span *rest, char separator)
{
	const char *stop = rest->len > 0 ? memchr(rest->at, separator, rest->len) : NULL;
	struct span part = *rest;

	if (stop == NULL) {
		*rest = (struct span){ part.at + part.len, 0 };
		return part;
	}
	part.len = (size_t)(stop - part.at);
	*rest = (struct span){ stop + 1, rest->len - part.len - 1 };
	return part;
}

/* One name=value; *seen has a bit for each field that came. */
static enum query_status
read_pair(struct span pair, struct query_field *fields, size_t nfields, char **to, uint64_t *seen)
{
	struct span value = pair, name = cut(&value, '=');
	char *start = *to, *middle;
	size_t i;

	if (!decode(name, to))
		return QUERY_BAD_ESCAPE;
	middle = *to;
	if (!decode(value, to))
		return QUERY_BAD_ESCAPE;
	for (i = 0; i < nfields; i++) {
		if (!span_is((struct span){ start, (size_t)(middle - start) }, fields[i].name))
			continue;
		if ((*seen & UINT64_C(1) << i) != 0)
			return QUERY_REPEATED;
		*seen |= UINT64_C(1) << i;
		fields[i].value = (struct span){ middle, (size_t)(*to - middle) };
	}
	return QUERY_OK;
}

static void
empty(struct query_field *fields, size_t nfields)
{
	size_t i;

	for (i = 0; i < nfields; i++)
		fields[i].value = span_of("");
}

enum query_status
query_read(struct span query, struct query_field *fields, size_t nfields, char buf[QUERY_MAX])
{
	enum query_status status = query.len > QUERY_MAX ? QUERY_TOO_LONG : QUERY_OK;
	uint64_t seen = 0;
	char *to = buf;

	empty(fields, nfields);
	while (status == QUERY_OK && query.len > 0)
		status = read_pair(cut(&query, '&'), fields, nfields, &to, &seen);
	if (status != QUERY_OK)
		empty(fields, nfields);
	return status;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* A line as cachectl dump writes it without --json: fields, a tab between them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "input.h"
#include "output.h"

#define NFIELDS_MAX	9	/* the last of a row may be missing: older dumps */

static int
refuse(char *err, size_t errlen, const char *what, struct span field)
{
	char clean[ESCAPED_MAX];

	snprintf(err, errlen, "%s: '%s'", what, escaped(clean, sizeof clean, field));
	return -1;
}

static int
hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* \\ and \xHH, in place. false: some other backslash. */
static bool
unescape(char *text, size_t *len)
{
	size_t from, to = 0;

	for (from = 0; from < *len; from++) {
		if (text[from] != '\\') {
			text[to++] = text[from];
		} else if (from + 1 < *len && text[from + 1] == '\\') {
			text[to++] = text[++from];
		} else if (from + 3 < *len && text[from + 1] == 'x' && hex(text[from + 2]) >= 0 && hex(text[from + 3]) >= 0) {
			text[to++] = (char)(hex(text[from + 2]) << 4 | hex(text[from + 3]));
			from += 3;
		} else {
			return false;
		}
	}
	*len = to;
	return true;
}

static bool
read_flag(struct span field, bool *to)
{
	*to = span_is(field, "yes");
	return *to || span_is(field, "no");
}

/* "a,b"; empty: none. false: too many. */
static bool
read_names(struct span names, struct span *list, size_t *n)
{
	const char *comma;
	size_t len;

	for (*n = 0; names.len > 0; names.at += len + 1, names.len -= len + 1) {
		if (*n == POLICY_MAX_TOKENS)
			return false;
		comma = memchr(names.at, ',', names.len);
		len = comma != NULL ? (size_t)(comma - names.at) : names.len;
		list[(*n)++] = (struct span){ names.at, len };
		if (comma == NULL)
			break;
	}
	return true;
}

static bool
read_max_age(struct span field, int32_t *to)
{
	char text[16], *end;
	long n;

	*to = POLICY_NO_MAX_AGE;
	if (field.len == 0)
		return true;
	if (field.len >= sizeof text)
		return false;
	memcpy(text, field.at, field.len);
	text[field.len] = '\0';
	n = strtol(text, &end, 10);
	*to = (int32_t)n;
	return *end == '\0' && n >= 0 && n <= POLICY_MAX_AGE;
}

static int
read_policy(struct line *l, const struct span *f, char *err, size_t errlen)
{
	struct policy_row *p = &l->policy;

	l->is_policy = true;
	*p = (struct policy_row){ .name = f[1], .methods = l->lists[0], .headers = l->lists[1], .expose = l->lists[2] };
	if (!read_names(f[2], l->lists[0], &p->nmethods) || !read_names(f[3], l->lists[1], &p->nheaders) ||
	    !read_names(f[4], l->lists[2], &p->nexpose))
		return refuse(err, errlen, "a list of this policy is too long", f[1]);
	if (!read_flag(f[5], &p->credentials))
		return refuse(err, errlen, "credentials is neither yes nor no", f[5]);
	if (!read_max_age(f[6], &p->max_age))
		return refuse(err, errlen, "max_age is neither empty nor 0 to 86400 seconds", f[6]);
	if (!read_flag(f[7], &p->insecure))
		return refuse(err, errlen, "insecure is neither yes nor no", f[7]);
	return 0;
}

static int
read_row(struct line *l, const struct span *f, size_t n, char *err, size_t errlen)
{
	struct row *row = &l->row;

	*row = (struct row){ .realm = f[1], .origin = f[2], .policy = f[3] };
	if (!read_flag(f[4], &row->allow))
		return refuse(err, errlen, "allow is neither yes nor no", f[4]);
	if (f[5].len > 0 && !line_read_time(f[5], &row->expires_at))
		return refuse(err, errlen, "expires_at is neither empty nor a time such as 2026-12-31T00:00:00Z", f[5]);
	if (!read_flag(f[6], &row->held))
		return refuse(err, errlen, "held is neither yes nor no", f[6]);
	if (!read_flag(f[7], &l->is_unsafe))
		return refuse(err, errlen, "unsafe is neither yes nor no", f[7]);
	if (n > 8 && !read_flag(f[8], &row->revoked))
		return refuse(err, errlen, "revoked is neither yes nor no", f[8]);
	return 0;
}

int
line_read_text(struct line *l, char *text, size_t len, char *err, size_t errlen)
{
	struct span fields[NFIELDS_MAX];
	char *end;
	size_t n, field_len;

	*l = (struct line){ 0 };
	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		len--;
	for (n = 0; n < NFIELDS_MAX; n++, text += field_len + 1, len -= field_len + 1) {
		end = memchr(text, '\t', len);
		field_len = end != NULL ? (size_t)(end - text) : len;
		fields[n] = (struct span){ text, field_len };
		if (!unescape(text, &fields[n].len))
			return refuse(err, errlen, "a backslash is written as \\\\, other bytes as \\xHH", fields[n]);
		if (end == NULL)
			break;
	}
	if (n == 7 && span_is(fields[0], "policy"))
		return read_policy(l, fields, err, errlen);
	if ((n == 7 || n == 8) && span_is(fields[0], "row"))
		return read_row(l, fields, n + 1, err, errlen);
	return refuse(err, errlen, "neither a JSON object nor 8 or 9 fields that begin with policy or row", fields[0]);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "wire.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "row.h"

#define COPY_SIGNATURE	"PGCOPY\n\377\r\n\0"	/* 11 bytes with its NUL */
#define COPY_HEADER	19			/* signature, flags, length of the extension */
#define EPOCH_2000	946684800		/* seconds from 1970 to PostgreSQL's epoch */

/* What is left to read; a read past the end makes it bad and yields 0. */
struct cursor {
	const char	*at;
	const char	*end;
	bool		 is_bad;
};

static const char *
take(struct cursor *c, size_t len)
{
	const char *at = c->at;

	if (c->is_bad || (size_t)(c->end - c->at) < len) {
		c->is_bad = true;
		return NULL;
	}
	c->at += len;
	return at;
}

static int32_t
take_int4(struct cursor *c)
{
	const char *at = take(c, 4);
	uint32_t v;

	if (at == NULL)
		return 0;
	memcpy(&v, at, sizeof v);
	return (int32_t)be32toh(v);
}

static int16_t
take_int2(struct cursor *c)
{
	const char *at = take(c, 2);
	uint16_t v;

	if (at == NULL)
		return 0;
	memcpy(&v, at, sizeof v);
	return (int16_t)be16toh(v);
}

/* A length and as many bytes into *field; -1 is NULL, anything below is nonsense: false. */
static bool
take_field(struct cursor *c, struct span *field)
{
	int32_t len = take_int4(c);

	*field = (struct span){ NULL, 0 };
	if (len < 0)
		return len == -1;
	field->at = take(c, (size_t)len);
	field->len = field->at != NULL ? (size_t)len : 0;
	return true;
}

bool
wire_bool(struct span field, bool *value)
{
	if (field.at == NULL || field.len != 1)
		return false;
	*value = *field.at != 0;
	return true;
}

bool
wire_int4(struct span field, int32_t *value)
{
	struct cursor c = { field.at, field.at + field.len, field.at == NULL };

	if (field.at == NULL || field.len != 4)
		return false;
	*value = take_int4(&c);
	return true;
}

bool
wire_expiry(struct span field, int64_t *seconds)
{
	uint64_t bits;
	int64_t us, s;

	if (field.at == NULL) {
		*seconds = ROW_NEVER;
		return true;
	}
	if (field.len != 8)
		return false;
	memcpy(&bits, field.at, sizeof bits);
	us = (int64_t)be64toh(bits);
	if (us == INT64_MAX) {			/* infinity */
		*seconds = ROW_NEVER;
		return true;
	}
	s = us / 1000000 - (us % 1000000 < 0) + EPOCH_2000;
	*seconds = s > 0 ? s : 1;		/* 0 would be never; -infinity lands here too */
	return true;
}

int
wire_texts(struct span field, struct span *texts, size_t cap, size_t *count)
{
	struct cursor c;
	int32_t dimensions, n;

	if (field.at == NULL)
		return -EINVAL;
	c = (struct cursor){ field.at, field.at + field.len, false };
	dimensions = take_int4(&c);
	take(&c, 8);				/* "has NULLs", the element's type */
	*count = 0;
	if (dimensions == 0)
		return c.is_bad ? -EBADMSG : 0;
	n = take_int4(&c);
	take(&c, 4);				/* lower bound */
	if (c.is_bad || dimensions < 0 || n < 0)
		return -EBADMSG;
	if (dimensions > 1)
		return -EINVAL;
	if ((size_t)n > cap)
		return -E2BIG;
	for (size_t i = 0; i < (size_t)n; i++) {
		if (!take_field(&c, &texts[i]) || c.is_bad)
			return -EBADMSG;
		if (texts[i].at == NULL)
			return -EINVAL;
	}
	*count = (size_t)n;
	return 0;
}

void
wire_copy_init(struct wire_copy *copy, unsigned nfields)
{
	*copy = (struct wire_copy){ .nfields = nfields };
}

void
wire_copy_fini(struct wire_copy *copy)
{
	free(copy->rest);
	wire_copy_init(copy, copy->nfields);
}

/* Appends to what was kept, so that a row is in one piece. */
static int
keep(struct wire_copy *copy, const char *data, size_t len)
{
	size_t need = copy->len + len;
	char *grown;

	if (need > copy->cap) {
		grown = realloc(copy->rest, need * 2);
		if (grown == NULL)
			return -ENOMEM;
		copy->rest = grown;
		copy->cap = need * 2;
	}
	memcpy(copy->rest + copy->len, data, len);
	copy->len = need;
	return 0;
}

/* 1: whole and skipped. 0: not all there yet. -EBADMSG: something else. */
static int
read_header(struct cursor *c)
{
	struct cursor try = *c;
	const char *signature = take(&try, COPY_HEADER - 4);
	int32_t extension = take_int4(&try);

	if (signature != NULL && memcmp(signature, COPY_SIGNATURE, 11) != 0)
		return -EBADMSG;
	if (try.is_bad)
		return 0;
	if (extension < 0)
		return -EBADMSG;
	take(&try, (size_t)extension);
	if (try.is_bad)
		return 0;
	*c = try;
	return 1;
}

/* 1: a row, handed on. 0: not all there yet, or the trailer. Else an error. */
static int
read_row(struct wire_copy *copy, struct cursor *c, wire_row *row, void *arg)
{
	struct span fields[WIRE_MAX_FIELDS];
	struct cursor try = *c;
	int16_t n = take_int2(&try);
	int rc;

	if (try.is_bad)
		return 0;
	if (n == -1) {
		copy->is_ended = true;
		*c = try;
		return 0;
	}
	if (n != (int16_t)copy->nfields)
		return -EBADMSG;
	for (int16_t i = 0; i < n; i++)
		if (!take_field(&try, &fields[i]))
			return -EBADMSG;
	if (try.is_bad)
		return 0;
	*c = try;
	rc = row(arg, fields);
	return rc != 0 ? rc : 1;
}

static int
read_all(struct wire_copy *copy, struct cursor *c, wire_row *row, void *arg)
{
	int rc;

	if (!copy->is_begun) {
		rc = read_header(c);
		if (rc <= 0)
			return rc;
		copy->is_begun = true;
	}
	do {
		if (copy->is_ended)
			return c->at == c->end ? 0 : -EBADMSG;
		rc = read_row(copy, c, row, arg);
	} while (rc == 1 || copy->is_ended);
	return rc;
}

int
wire_copy_feed(struct wire_copy *copy, const char *data, size_t len, wire_row *row, void *arg)
{
	bool is_kept = copy->len > 0;
	struct cursor c;
	size_t left;
	int rc;

	if (is_kept) {
		rc = keep(copy, data, len);
		if (rc < 0)
			return rc;
		data = copy->rest;
		len = copy->len;
	}
	c = (struct cursor){ data, data + len, false };
	rc = read_all(copy, &c, row, arg);
	if (rc != 0)
		return rc;
	left = (size_t)(c.end - c.at);
	if (!is_kept)
		return left > 0 ? keep(copy, c.at, left) : 0;
	memmove(copy->rest, c.at, left);
	copy->len = left;
	return 0;
}

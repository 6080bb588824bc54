/* SPDX-License-Identifier: BSD-2-Clause */
#include "input.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "output.h"

#define NFIELDS	9

struct reading {
	struct line	*line;
	char		*err;
	size_t		 errlen;
};

/* A member of an object: read() gets its value, false when it has complained. */
struct field {
	const char	*name;
	bool		 (*read)(struct reading *r, const char *name, json_t *value);
};

static bool __attribute__((format(printf, 2, 3)))
refuse(struct reading *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->err, r->errlen, fmt, ap);
	va_end(ap);
	return false;
}

static bool
read_string(struct reading *r, const char *name, json_t *value, struct span *to)
{
	if (!json_is_string(value))
		return refuse(r, "\"%s\" is no string", name);
	*to = (struct span){ json_string_value(value), json_string_length(value) };
	return true;
}

static bool
read_bool(struct reading *r, const char *name, json_t *value, bool *to)
{
	if (!json_is_boolean(value))
		return refuse(r, "\"%s\" is neither true nor false", name);
	*to = json_is_true(value);
	return true;
}

static bool
read_list(struct reading *r, const char *name, json_t *value, size_t which, size_t *count)
{
	size_t i;

	if (!json_is_array(value))
		return refuse(r, "\"%s\" is no array of strings", name);
	if (json_array_size(value) > POLICY_MAX_TOKENS)
		return refuse(r, "\"%s\" has more than %d elements", name, POLICY_MAX_TOKENS);
	*count = json_array_size(value);
	for (i = 0; i < *count; i++)
		if (!read_string(r, name, json_array_get(value, i), &r->line->lists[which][i]))
			return false;
	return true;
}

static bool
read_realm(struct reading *r, const char *name, json_t *value)
{
	return read_string(r, name, value, &r->line->row.realm);
}

static bool
read_origin(struct reading *r, const char *name, json_t *value)
{
	return read_string(r, name, value, &r->line->row.origin);
}

static bool
read_policy(struct reading *r, const char *name, json_t *value)
{
	if (json_is_null(value) && !r->line->is_policy) {
		r->line->row.policy = span_of("");
		return true;
	}
	return read_string(r, name, value, r->line->is_policy ? &r->line->policy.name : &r->line->row.policy);
}

static bool
read_allow(struct reading *r, const char *name, json_t *value)
{
	return read_bool(r, name, value, &r->line->row.allow);
}

bool
line_read_time(struct span text, int64_t *at)
{
	struct tm tm = { 0 };
	char copy[64];
	const char *rest;
	int64_t offset;

	if (text.len >= sizeof copy)
		return false;
	memcpy(copy, text.at, text.len);
	copy[text.len] = '\0';
	rest = strptime(copy, "%Y-%m-%dT%H:%M:%S%z", &tm);
	if (rest == NULL || *rest != '\0')
		return false;
	offset = tm.tm_gmtoff;
	*at = (int64_t)timegm(&tm) - offset;
	return *at > 0 && *at <= UINT32_MAX;
}

static bool
read_expires_at(struct reading *r, const char *name, json_t *value)
{
	char clean[ESCAPED_MAX];
	struct span text;

	if (json_is_null(value))
		return true;
	if (!json_is_string(value))
		return refuse(r, "\"%s\" is neither a time nor null", name);
	text = span_of(json_string_value(value));
	if (line_read_time(text, &r->line->row.expires_at))
		return true;
	return refuse(r, "\"%s\": '%s' is no time from 1970 to 2106; write it as 2026-12-31T00:00:00Z", name,
	    escaped(clean, sizeof clean, text));
}

/* What cachectl dump says of itself and of a row, beyond what a person would write. */
static bool
read_version(struct reading *r, const char *name, json_t *value)
{
	if (json_is_integer(value) && json_integer_value(value) == 1)
		return true;
	return refuse(r, "\"%s\" is not 1: a newer cachectl wrote it", name);
}

static bool
read_held(struct reading *r, const char *name, json_t *value)
{
	return read_bool(r, name, value, &r->line->row.held);
}

static bool
read_revoked(struct reading *r, const char *name, json_t *value)
{
	return read_bool(r, name, value, &r->line->row.revoked);
}

static bool
read_unsafe(struct reading *r, const char *name, json_t *value)
{
	return read_bool(r, name, value, &r->line->is_unsafe);
}

static bool
read_methods(struct reading *r, const char *name, json_t *value)
{
	return read_list(r, name, value, 0, &r->line->policy.nmethods);
}

static bool
read_headers(struct reading *r, const char *name, json_t *value)
{
	return read_list(r, name, value, 1, &r->line->policy.nheaders);
}

static bool
read_expose(struct reading *r, const char *name, json_t *value)
{
	return read_list(r, name, value, 2, &r->line->policy.nexpose);
}

static bool
read_credentials(struct reading *r, const char *name, json_t *value)
{
	return read_bool(r, name, value, &r->line->policy.credentials);
}

static bool
read_max_age(struct reading *r, const char *name, json_t *value)
{
	if (json_is_null(value))
		return true;
	if (!json_is_integer(value))
		return refuse(r, "\"%s\" is neither a whole number nor null", name);
	if (json_integer_value(value) < 0 || json_integer_value(value) > POLICY_MAX_AGE)
		return refuse(r, "\"%s\" is not between 0 and %d seconds", name, POLICY_MAX_AGE);
	r->line->policy.max_age = (int32_t)json_integer_value(value);
	return true;
}

static bool
read_insecure(struct reading *r, const char *name, json_t *value)
{
	return read_bool(r, name, value, &r->line->policy.insecure);
}

static const struct field row_fields[NFIELDS + 1] = {
	{ "realm", read_realm }, { "origin", read_origin }, { "policy", read_policy }, { "allow", read_allow },
	{ "expires_at", read_expires_at }, { "version", read_version }, { "held", read_held }, { "unsafe", read_unsafe },
	{ "revoked", read_revoked },
};

static const struct field policy_fields[NFIELDS + 1] = {
	{ "policy", read_policy }, { "methods", read_methods }, { "headers", read_headers },
	{ "expose_headers", read_expose }, { "credentials", read_credentials }, { "max_age", read_max_age },
	{ "insecure", read_insecure }, { "version", read_version },
};

/* The defaults of the SQL schema. */
static void
set_defaults(struct line *l)
{
	static const struct span methods[] = { { "GET", 3 }, { "HEAD", 4 }, { "POST", 4 } };

	memcpy(l->lists[0], methods, sizeof methods);
	l->is_unsafe = false;
	l->row = (struct row){ .realm = span_of(""), .policy = span_of("default"), .allow = true };
	l->policy = (struct policy_row){ .methods = l->lists[0], .nmethods = 3, .headers = l->lists[1],
		.expose = l->lists[2], .max_age = POLICY_NO_MAX_AGE };
}

static bool
read_field(struct reading *r, const char *name, json_t *value)
{
	const struct field *f = r->line->is_policy ? policy_fields : row_fields;
	char clean[ESCAPED_MAX];

	for (; f->name != NULL; f++)
		if (strcmp(f->name, name) == 0)
			return f->read(r, name, value);
	return refuse(r, "%s has no \"%s\"", r->line->is_policy ? "a policy" : "an origin",
	    escaped(clean, sizeof clean, span_of(name)));
}

static bool
read_object(struct reading *r, json_t *json)
{
	const char *name;
	json_t *value;

	if (!json_is_object(json))
		return refuse(r, "it is no JSON object");
	r->line->is_policy = json_object_get(json, "origin") == NULL;
	if (r->line->is_policy && json_object_get(json, "policy") == NULL)
		return refuse(r, "it has neither \"origin\" nor \"policy\"");
	set_defaults(r->line);
	json_object_foreach(json, name, value)
		if (!read_field(r, name, value))
			return false;
	return true;
}

int
line_read(struct line *l, char *text, size_t len, char *err, size_t errlen)
{
	struct reading r = { l, err, errlen };
	char clean[ESCAPED_MAX];
	json_error_t why;

	l->json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	if (l->json == NULL) {
		refuse(&r, "%s", escaped(clean, sizeof clean, span_of(why.text)));
		return -1;
	}
	if (read_object(&r, l->json))
		return 0;
	line_free(l);
	return -1;
}

void
line_free(struct line *l)
{
	json_decref(l->json);
	l->json = NULL;
}

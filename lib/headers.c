/* SPDX-License-Identifier: BSD-2-Clause */
#include "headers.h"

#include <assert.h>
#include <string.h>

/* Names, line ends and short values; then what may be long in one response. */
#define OVERHEAD	1024
_Static_assert(HEADERS_MAX >= OVERHEAD + ORIGIN_MAX + POLICY_MAX_METHODS + ACRH_MAX + ACRH_MAX_LINES, "a preflight");
_Static_assert(HEADERS_MAX >= OVERHEAD + ORIGIN_MAX + POLICY_MAX_HEADERS, "an actual response");
_Static_assert(HEADERS_DEBUG_MAX >= OVERHEAD + POLICY_MAX_METHODS + POLICY_MAX_HEADERS, "what a refusal would have allowed");

/* Lines, or what they begin with. */
enum field {
	FIELD_ALLOW_ORIGIN,
	FIELD_ALLOW_METHODS,
	FIELD_ALLOW_HEADERS,
	FIELD_EXPOSE_HEADERS,
	FIELD_MAX_AGE,
	LINE_ALLOW_CREDENTIALS,
	LINE_VARY_ORIGIN,
	LINE_VARY_PREFLIGHT,
	FIELD_COUNT
};

#define LITERAL(text)	{ text, sizeof(text) - 1 }
#define PREFLIGHT_NAMES	"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"

static const struct span forms[][FIELD_COUNT] = {
	[HEADERS_RESPONSE] = {
		[FIELD_ALLOW_ORIGIN] = LITERAL("Access-Control-Allow-Origin: "),
		[FIELD_ALLOW_METHODS] = LITERAL("Access-Control-Allow-Methods: "),
		[FIELD_ALLOW_HEADERS] = LITERAL("Access-Control-Allow-Headers: "),
		[FIELD_EXPOSE_HEADERS] = LITERAL("Access-Control-Expose-Headers: "),
		[FIELD_MAX_AGE] = LITERAL("Access-Control-Max-Age: "),
		[LINE_ALLOW_CREDENTIALS] = LITERAL("Access-Control-Allow-Credentials: true\r\n"),
		[LINE_VARY_ORIGIN] = LITERAL("Vary: Origin\r\n"),
		[LINE_VARY_PREFLIGHT] = LITERAL("Vary: " PREFLIGHT_NAMES "\r\n"),
	},
	[HEADERS_VARIABLES] = {
		[FIELD_ALLOW_ORIGIN] = LITERAL("Variable-CORS_ALLOW_ORIGIN: "),
		[FIELD_ALLOW_METHODS] = LITERAL("Variable-CORS_ALLOW_METHODS: "),
		[FIELD_ALLOW_HEADERS] = LITERAL("Variable-CORS_ALLOW_HEADERS: "),
		[FIELD_EXPOSE_HEADERS] = LITERAL("Variable-CORS_EXPOSE_HEADERS: "),
		[FIELD_MAX_AGE] = LITERAL("Variable-CORS_MAX_AGE: "),
		[LINE_ALLOW_CREDENTIALS] = LITERAL("Variable-CORS_ALLOW_CREDENTIALS: true\r\n"),
		[LINE_VARY_ORIGIN] = LITERAL("Variable-CORS_VARY: Origin\r\n"),
		[LINE_VARY_PREFLIGHT] = LITERAL("Variable-CORS_VARY: " PREFLIGHT_NAMES "\r\n"),
	},
};
static const struct span any = LITERAL("*");

static char *
put(char *p, struct span s)
{
	return mempcpy(p, s.at, s.len);
}

static char *
put_line(char *p, struct span name, struct span value)
{
	p = put(p, name);
	p = put(p, value);
	*p++ = '\r';
	*p++ = '\n';
	return p;
}

/* Of a policy: policy_read() has seen that every byte of it may stand in a line. */
static char *
put_list_line(char *p, struct span name, struct span list)
{
	return list.len > 0 ? put_line(p, name, list) : p;
}

static char *
put_max_age_line(char *p, struct span name, int32_t max_age)
{
	char digits[10], *first = digits + sizeof(digits);

	if (max_age < 0)
		return p;
	do
		*--first = (char)('0' + max_age % 10);
	while ((max_age /= 10) > 0);
	return put_line(p, name, (struct span){ first, (size_t)(digits + sizeof(digits) - first) });
}

/* acrh_each() calls this with names that are tokens and fit, all together. */
static bool
put_name(struct span name, void *arg)
{
	char **p = arg;

	for (size_t i = 0; i < name.len; i++)
		*(*p)++ = token_lower(name.at[i]);
	*(*p)++ = ',';
	return true;
}

/*
 * What was asked for, in our own words. Not the constant *: browsers take it
 * for a name when credentials are sent, and it never covers authorization.
 */
static char *
put_echo_line(char *start, struct span name, const struct request *q)
{
	char *p = put(start, name), *value = p;
	struct span culprit;

	if (acrh_each(q, put_name, &p, &culprit) != REASON_ALLOWED || p == value)
		return start;
	p[-1] = '\r';
	*p++ = '\n';
	return p;
}

static char *
put_preflight(char *p, const struct span fields[FIELD_COUNT], const struct request *q, const struct decision *d)
{
	const struct policy *policy = d->policy;

	if (policy->any_method)
		p = put_line(p, fields[FIELD_ALLOW_METHODS], q->acrm);
	else
		p = put_list_line(p, fields[FIELD_ALLOW_METHODS], policy->methods);
	if (policy->any_header)
		p = put_echo_line(p, fields[FIELD_ALLOW_HEADERS], q);
	else if (d->asks_for_headers)
		p = put_list_line(p, fields[FIELD_ALLOW_HEADERS], policy->headers);
	return put_max_age_line(p, fields[FIELD_MAX_AGE], policy->max_age);
}

size_t
headers_write(char *buf, size_t cap, enum headers_form form, const struct request *q, const struct decision *d)
{
	const struct span *fields = forms[form];
	char *p = buf;

	assert(cap >= HEADERS_MAX);
	if (d->echo != ECHO_NONE) {
		p = put_line(p, fields[FIELD_ALLOW_ORIGIN], d->echo == ECHO_ANY ? any : q->origin);
		/* never beside a *, whatever the policy says */
		if (d->echo == ECHO_ORIGIN && d->policy->credentials)
			p = put(p, fields[LINE_ALLOW_CREDENTIALS]);
		if (d->class == REQUEST_PREFLIGHT)
			p = put_preflight(p, fields, q, d);
		else
			p = put_list_line(p, fields[FIELD_EXPOSE_HEADERS], d->policy->expose);
	}
	if (d->vary != VARY_NONE)
		p = put(p, fields[d->vary == VARY_ORIGIN ? LINE_VARY_ORIGIN : LINE_VARY_PREFLIGHT]);
	return (size_t)(p - buf);
}

static struct span
text(const char *s)
{
	return (struct span){ s, strlen(s) };
}

static const char *
verdict(enum reason reason)
{
	switch (reason) {
#define REASON(name, token, verdict, sentence)	case REASON_##name: return #verdict;
#include "reasons.def"
#undef REASON
	case REASON_COUNT:
		break;
	}
	return "refuse";
}

/* What the policy that refused a method or a header does allow. */
static char *
put_allowed(char *p, const struct policy *policy)
{
	static const struct span methods = LITERAL("Corscache-Allow-Methods: "),
	    headers = LITERAL("Corscache-Allow-Headers: ");

	p = put_list_line(p, methods, policy->any_method ? any : policy->methods);
	if (policy->any_header)
		p = put_line(p, headers, any);
	return put_list_line(p, headers, policy->headers);
}

size_t
headers_write_debug(char *buf, size_t cap, const struct request *q, const struct decision *d)
{
	char *p = buf;

	(void)q;
	assert(cap >= HEADERS_DEBUG_MAX);
	p = put(p, text("Corscache-Decision: "));
	p = put(p, text(verdict(d->reason)));
	if (d->reason != REASON_ALLOWED) {
		p = put(p, text("; reason="));
		p = put(p, text(reason_token(d->reason)));
		/* a stranger's bytes: only where they are a token */
		if (token_is_valid(d->culprit)) {
			p = put(p, text("; name="));
			p = put(p, d->culprit);
		}
	}
	p = put(p, text("\r\n"));
	if (d->class == REQUEST_PREFLIGHT && !d->allow && d->policy != NULL)
		p = put_allowed(p, d->policy);
	return (size_t)(p - buf);
}

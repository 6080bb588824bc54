/* SPDX-License-Identifier: BSD-2-Clause */
#include "policy.h"

#include <string.h>

#define NELEMENTS(a)	(sizeof(a) / sizeof((a)[0]))

#define BLOCK_MAGIC	0x31504343u	/* "CCP1" where bytes are little-endian */

enum block_flag {
	BLOCK_CREDENTIALS = 1 << 0,
	BLOCK_INSECURE = 1 << 1,
	BLOCK_ANY_METHOD = 1 << 2,
	BLOCK_ANY_HEADER = 1 << 3,
	BLOCK_FLAGS = (1 << 4) - 1,
};

/* The compiled form: this, then the bytes of the four texts, then zeros up to a multiple of 8. */
struct block {
	uint32_t	 magic;
	int32_t		 max_age;
	uint16_t	 name_len;
	uint16_t	 methods_len;
	uint16_t	 headers_len;
	uint16_t	 expose_len;
	uint16_t	 flags;
	uint16_t	 zero[3];
};
_Static_assert(sizeof(struct block) == 24, "three whole words, no hole");
_Static_assert(sizeof(struct block) + POLICY_MAX_NAME + POLICY_MAX_METHODS + 2 * POLICY_MAX_HEADERS + 7 <=
    POLICY_MAX, "POLICY_MAX is enough");

/* A list on its way to its rendered form: sorted, unique. 9 kB of stack. */
struct list {
	bool		 any;		/* a * was among them */
	size_t		 ntokens;
	struct token {
		size_t	 len;
		char	 at[POLICY_MAX_TOKEN];
	}		 tokens[POLICY_MAX_TOKENS];
};

/* Fetch standard, "normalize a method": these and no others. */
static const char *const normalised_methods[] = { "DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT" };
/* Fetch standard, "CORS-safelisted method". */
static const char *const safelisted_methods[] = { "GET", "HEAD", "POST" };
static const char *const forbidden_methods[] = { "CONNECT", "TRACE", "TRACK" };

/* Fetch standard, "forbidden request-header": no script can send them. */
static const char *const forbidden_headers[] = {
	"accept-charset", "accept-encoding", "access-control-request-headers",
	"access-control-request-method", "access-control-request-private-network", "connection",
	"content-length", "cookie", "cookie2", "date", "dnt", "expect", "host", "keep-alive", "origin",
	"referer", "set-cookie", "te", "trailer", "transfer-encoding", "upgrade", "via",
	/* these belong to responses: a row that lists them meant something else */
	"access-control-allow-credentials", "access-control-allow-headers", "access-control-allow-methods",
	"access-control-allow-origin", "access-control-allow-private-network",
	"access-control-expose-headers", "access-control-max-age",
};
static const char *const forbidden_header_prefixes[] = { "proxy-", "sec-" };

/* Names that no script can read, or that belong to requests. */
static const char *const forbidden_expose[] = {
	"access-control-request-headers", "access-control-request-method",
	"access-control-request-private-network", "origin", "set-cookie", "set-cookie2",
};
/* Fetch standard, "CORS-safelisted response-header name": readable without being listed. */
static const char *const safelisted_expose[] = {
	"cache-control", "content-language", "content-length", "content-type", "expires", "last-modified",
	"pragma",
};

const bool token_bytes[256] = {
	['!'] = true, ['#' ... '\''] = true, ['*' ... '+'] = true, ['-' ... '.'] = true,
	['0' ... '9'] = true, ['A' ... 'Z'] = true, ['^' ... 'z'] = true, ['|'] = true, ['~'] = true,
};

bool
token_is_valid(struct span s)
{
	if (s.len == 0 || s.len > POLICY_MAX_TOKEN)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!token_has_byte((unsigned char)s.at[i]))
			return false;
	return true;
}

static bool
is_one_of(struct span s, const char *const names[], size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (span_is(s, names[i]))
			return true;
	return false;
}

/* The one of names that s is but for case, or NULL. */
static const char *
same_but_case(struct span s, const char *const names[], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t at = 0;

		while (at < s.len && names[i][at] != '\0' && token_lower(s.at[at]) == token_lower(names[i][at]))
			at++;
		if (at == s.len && names[i][at] == '\0')
			return names[i];
	}
	return NULL;
}

bool
method_is_forbidden(struct span method)
{
	return same_but_case(method, forbidden_methods, NELEMENTS(forbidden_methods)) != NULL;
}

static bool
header_is_forbidden(struct span name)
{
	for (size_t i = 0; i < NELEMENTS(forbidden_header_prefixes); i++) {
		size_t len = strlen(forbidden_header_prefixes[i]);

		if (name.len >= len && memcmp(name.at, forbidden_header_prefixes[i], len) == 0)
			return true;
	}
	return is_one_of(name, forbidden_headers, NELEMENTS(forbidden_headers));
}

/* lower: POLICY_MAX_TOKEN bytes, which s must fit. */
static struct span
lower_case(char *lower, struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		lower[i] = token_lower(s.at[i]);
	return (struct span){ lower, s.len };
}

/* As memcmp, a prefix before what it begins. */
static int
compare(struct span a, struct span b)
{
	int order = memcmp(a.at, b.at, a.len < b.len ? a.len : b.len);

	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static enum policy_status
list_add(struct list *list, struct span s)
{
	struct token *t = list->tokens;
	size_t i;
	int order = 1;

	for (i = list->ntokens; i > 0; i--) {
		order = compare(s, (struct span){ t[i - 1].at, t[i - 1].len });
		if (order >= 0)
			break;
	}
	if (i > 0 && order == 0)
		return POLICY_OK;
	if (list->ntokens == POLICY_MAX_TOKENS)
		return POLICY_TOO_MANY;
	memmove(&t[i + 1], &t[i], (list->ntokens - i) * sizeof(t[0]));
	t[i].len = s.len;
	memcpy(t[i].at, s.at, s.len);
	list->ntokens++;
	return POLICY_OK;
}

/* Appends the list, joined by ",", to the bytes at *end. */
static enum policy_status
list_render(const struct list *list, char **end, uint16_t *len, size_t max)
{
	char *p = *end;

	for (size_t i = 0; i < list->ntokens; i++) {
		if ((size_t)(p - *end) + list->tokens[i].len + (i > 0) > max)
			return POLICY_TOO_LONG;
		if (i > 0)
			*p++ = ',';
		memcpy(p, list->tokens[i].at, list->tokens[i].len);
		p += list->tokens[i].len;
	}
	*len = (uint16_t)(p - *end);
	*end = p;
	return POLICY_OK;
}

/* One element of each list: checked, in the form it is compared in, added. */
static enum policy_status
add_method(struct list *list, struct span s)
{
	const char *normalised;

	if (!token_is_valid(s))
		return POLICY_BAD_METHOD;
	if (span_is(s, "*")) {
		list->any = true;
		return POLICY_OK;
	}
	if (method_is_forbidden(s))
		return POLICY_FORBIDDEN_METHOD;
	normalised = same_but_case(s, normalised_methods, NELEMENTS(normalised_methods));
	if (normalised != NULL)
		s.at = normalised;
	return list_add(list, s);
}

/* The * stands beside names: it never covers authorization, listing it does. */
static enum policy_status
add_header(struct list *list, struct span s)
{
	char lower[POLICY_MAX_TOKEN];

	if (!token_is_valid(s))
		return POLICY_BAD_HEADER;
	if (span_is(s, "*")) {
		list->any = true;
		return POLICY_OK;
	}
	s = lower_case(lower, s);
	return header_is_forbidden(s) ? POLICY_FORBIDDEN_HEADER : list_add(list, s);
}

static enum policy_status
add_expose(struct list *list, struct span s)
{
	char lower[POLICY_MAX_TOKEN];

	if (!token_is_valid(s))
		return POLICY_BAD_EXPOSE;
	s = lower_case(lower, s);
	if (is_one_of(s, forbidden_expose, NELEMENTS(forbidden_expose)))
		return POLICY_FORBIDDEN_EXPOSE;
	if (is_one_of(s, safelisted_expose, NELEMENTS(safelisted_expose)))
		return POLICY_OK;
	return list_add(list, s);
}

/* With credentials browsers take a * here for the name of a header: it would do nothing. */
static enum policy_status
add_credentialed_expose(struct list *list, struct span s)
{
	return span_is(s, "*") ? POLICY_EXPOSE_ANY_WITH_CREDENTIALS : add_expose(list, s);
}

static enum policy_status
list_fill(struct list *list, const struct span *elements, size_t n,
    enum policy_status (*add)(struct list *, struct span), struct span *culprit)
{
	enum policy_status status = POLICY_OK;

	list->ntokens = 0;
	list->any = false;
	for (size_t i = 0; i < n && status == POLICY_OK; i++) {
		*culprit = elements[i];
		status = add(list, elements[i]);
	}
	return status;
}

/* The three lists, rendered one behind the other at *end. */
static enum policy_status
compile_lists(const struct policy_row *row, struct block *b, char **end, struct span *culprit)
{
	enum policy_status status;
	struct list list;

	status = list_fill(&list, row->methods, row->nmethods, add_method, culprit);
	if (status != POLICY_OK)
		return status;
	if (list.any) {
		b->flags |= BLOCK_ANY_METHOD;
		list.ntokens = 0;
	}
	if ((status = list_render(&list, end, &b->methods_len, POLICY_MAX_METHODS)) != POLICY_OK)
		return status;

	status = list_fill(&list, row->headers, row->nheaders, add_header, culprit);
	if (status != POLICY_OK)
		return status;
	if (list.any)
		b->flags |= BLOCK_ANY_HEADER;
	if ((status = list_render(&list, end, &b->headers_len, POLICY_MAX_HEADERS)) != POLICY_OK)
		return status;

	status = list_fill(&list, row->expose, row->nexpose,
	    row->credentials ? add_credentialed_expose : add_expose, culprit);
	if (status != POLICY_OK)
		return status;
	return list_render(&list, end, &b->expose_len, POLICY_MAX_HEADERS);
}

static enum policy_status
check_scalars(const struct policy_row *row)
{
	struct span name = row->name;

	if (name.len == 0 || name.len > POLICY_MAX_NAME || !realm_is_valid(name.at, name.len))
		return POLICY_BAD_NAME;
	if (row->max_age < POLICY_NO_MAX_AGE || row->max_age > POLICY_MAX_AGE)
		return POLICY_BAD_MAX_AGE;
	return POLICY_OK;
}

enum policy_status
policy_compile(const struct policy_row *row, void *block, size_t *len, struct span *culprit)
{
	struct block b = { .magic = BLOCK_MAGIC, .max_age = row->max_age };
	char *start = block, *end = start + sizeof(b);
	struct span ignored;
	enum policy_status status;

	if (culprit == NULL)
		culprit = &ignored;
	*culprit = row->name;
	if ((status = check_scalars(row)) != POLICY_OK)
		return status;
	b.flags = (row->credentials ? BLOCK_CREDENTIALS : 0) | (row->insecure ? BLOCK_INSECURE : 0);
	b.name_len = (uint16_t)row->name.len;
	memcpy(end, row->name.at, row->name.len);
	end += row->name.len;
	if ((status = compile_lists(row, &b, &end, culprit)) != POLICY_OK)
		return status;
	memcpy(start, &b, sizeof(b));
	while ((end - start) % 8 != 0)
		*end++ = '\0';
	*len = (size_t)(end - start);
	return POLICY_OK;
}

static bool
block_is_consistent(const struct block *b, size_t len)
{
	size_t used = sizeof(*b) + b->name_len + b->methods_len + b->headers_len + b->expose_len;

	return b->magic == BLOCK_MAGIC && (b->flags & ~BLOCK_FLAGS) == 0 &&
	    b->zero[0] == 0 && b->zero[1] == 0 && b->zero[2] == 0 &&
	    b->max_age >= POLICY_NO_MAX_AGE && b->max_age <= POLICY_MAX_AGE &&
	    b->name_len > 0 && b->name_len <= POLICY_MAX_NAME && b->methods_len <= POLICY_MAX_METHODS &&
	    b->headers_len <= POLICY_MAX_HEADERS && b->expose_len <= POLICY_MAX_HEADERS &&
	    (b->methods_len == 0 || (b->flags & BLOCK_ANY_METHOD) == 0) && len == (used + 7) / 8 * 8;
}

/* What is copied out as a header's value: whatever else a block holds, it ends no line. */
static bool
is_list(struct span list)
{
	for (size_t i = 0; i < list.len; i++)
		if (list.at[i] != ',' && !token_has_byte((unsigned char)list.at[i]))
			return false;
	return true;
}

enum policy_status
policy_read(struct policy *p, const void *block, size_t len)
{
	const char *at = (const char *)block + sizeof(struct block);
	struct block b;

	if (len < sizeof(b) || len > POLICY_MAX)
		return POLICY_BAD_BLOCK;
	memcpy(&b, block, sizeof(b));
	if (!block_is_consistent(&b, len))
		return POLICY_BAD_BLOCK;
	p->name = (struct span){ at, b.name_len };
	p->methods = (struct span){ p->name.at + b.name_len, b.methods_len };
	p->headers = (struct span){ p->methods.at + b.methods_len, b.headers_len };
	p->expose = (struct span){ p->headers.at + b.headers_len, b.expose_len };
	p->max_age = b.max_age;
	p->credentials = b.flags & BLOCK_CREDENTIALS;
	p->insecure = b.flags & BLOCK_INSECURE;
	p->any_method = b.flags & BLOCK_ANY_METHOD;
	p->any_header = b.flags & BLOCK_ANY_HEADER;
	return is_list(p->methods) && is_list(p->headers) && is_list(p->expose) ? POLICY_OK : POLICY_BAD_BLOCK;
}

static bool
list_has(struct span list, struct span name)
{
	const char *p = list.at, *end = list.at + list.len;

	while (p < end) {
		const char *comma = memchr(p, ',', (size_t)(end - p));
		size_t len = (size_t)((comma != NULL ? comma : end) - p);

		if (len == name.len && memcmp(p, name.at, len) == 0)
			return true;
		p += len + 1;
	}
	return false;
}

bool
policy_allows_method(const struct policy *p, struct span method)
{
	if (!token_is_valid(method) || method_is_forbidden(method))
		return false;
	return p->any_method || is_one_of(method, safelisted_methods, NELEMENTS(safelisted_methods)) ||
	    list_has(p->methods, method);
}

bool
policy_allows_header(const struct policy *p, struct span name)
{
	char lower[POLICY_MAX_TOKEN];

	if (name.len == 0)
		return false;
	if (name.len > sizeof(lower))
		return p->any_header;
	name = lower_case(lower, name);
	return (p->any_header && !span_is(name, "authorization")) || list_has(p->headers, name);
}

const char *
policy_strstatus(enum policy_status status)
{
	switch (status) {
	case POLICY_OK:				return "it is fine";
	case POLICY_BAD_NAME:			return "its name is empty, over 63 bytes or has control characters";
	case POLICY_BAD_METHOD:			return "a method is no HTTP token of 1 to 64 bytes";
	case POLICY_FORBIDDEN_METHOD:		return "no browser lets a script send CONNECT, TRACE or TRACK";
	case POLICY_BAD_HEADER:			return "a header is no HTTP token of 1 to 64 bytes";
	case POLICY_FORBIDDEN_HEADER:		return "no browser lets a script set that request header";
	case POLICY_BAD_EXPOSE:			return "an exposed header is no HTTP token of 1 to 64 bytes";
	case POLICY_FORBIDDEN_EXPOSE:		return "no browser lets a script read that response header";
	case POLICY_EXPOSE_ANY_WITH_CREDENTIALS:
		return "with credentials browsers take an exposed * for the name of a header";
	case POLICY_TOO_MANY:			return "a list has more than 128 elements";
	case POLICY_TOO_LONG:			return "a list is over 1024 bytes of methods or 2048 of headers";
	case POLICY_BAD_MAX_AGE:		return "max_age is not NULL or 0 to 86400 seconds";
	case POLICY_BAD_BLOCK:			return "these bytes are no policy";
	case POLICY_STATUS_COUNT:		break;
	}
	return "it is malformed";
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "origin.h"

#include <string.h>

#define GROUPS	8	/* of an IPv6 address */

/*
 * What a byte behind "scheme://" says about the whole: the first one whose
 * STATUS is not ORIGIN_OK names the fault. Of the others, those that are in no
 * label are OUTSIDE; where they may be is for the parsers of hosts and ports.
 */
#define STATUS		0x1f
#define OUTSIDE		0x20
#define DOT		0x40
#define EMPTY_LABEL	0x80	/* of a survey only */
static const unsigned char byte_class[256] = {
	[0x00 ... ' '] = ORIGIN_BAD_BYTE,
	['!'] = OUTSIDE,
	['"'] = ORIGIN_BAD_BYTE,
	['#'] = ORIGIN_PATH,
	['$' ... '&'] = OUTSIDE,
	['\''] = ORIGIN_BAD_BYTE,
	['(' ... ')'] = OUTSIDE,
	['*'] = RULE_BAD_WILDCARD,
	['+'] = OUTSIDE,
	[','] = ORIGIN_BAD_BYTE,
	['.'] = DOT,
	['/'] = ORIGIN_PATH,
	[':'] = OUTSIDE,
	[';'] = ORIGIN_BAD_BYTE,
	['<'] = ORIGIN_BAD_BYTE,
	['='] = OUTSIDE,
	['>'] = ORIGIN_BAD_BYTE,
	['?'] = ORIGIN_PATH,
	['@'] = ORIGIN_USERINFO,
	['A' ... 'Z'] = ORIGIN_UPPER_CASE,
	['['] = OUTSIDE,
	['\\'] = ORIGIN_PATH,
	[']' ... '^'] = OUTSIDE,
	['`'] = ORIGIN_BAD_BYTE,
	['{' ... '~'] = OUTSIDE,
	[0x7f ... 0xff] = ORIGIN_BAD_BYTE,
};
_Static_assert(ORIGIN_STATUS_COUNT <= STATUS + 1, "a status fits a class");

/* Which of the wildcards a rule has; an origin has none. */
struct wildcards {
	bool	 labels;		/* "*." in front of the host */
	bool	 port;			/* ":*" behind it */
	bool	 host;			/* "*" in its place */
};

static bool
span_ends_with(struct span s, struct span tail)
{
	return s.len >= tail.len && memcmp(s.at + s.len - tail.len, tail.at, tail.len) == 0;
}

static bool
is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_scheme_byte(char c)
{
	return is_lower(c) || is_digit(c) || c == '+' || c == '.' || c == '-';
}

/* -1: no lower-case hexadecimal digit. */
static int
hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum origin_status
byte_status(char c)
{
	return (enum origin_status)(byte_class[(unsigned char)c] & STATUS);
}

typedef uint8_t sixteen __attribute__((vector_size(16)));

static sixteen
load_sixteen(const char *from)
{
	sixteen bytes;

	memcpy(&bytes, from, sizeof bytes);
	return bytes;
}

/*
 * Labels and single dots between them, as nearly every authority is: then no
 * byte has a class but DOT. Sixteen at a time, each beside its successor, the
 * last ones again rather than fewer of them; so s has 17 bytes at least.
 */
static bool
is_ordinary(struct span s)
{
	sixteen bad = { 0 };
	uint64_t halves[2];

	for (size_t i = 0; i + 1 < s.len; i += 16) {
		const char *at = s.at + (i + 17 <= s.len ? i : s.len - 17);
		sixteen c = load_sixteen(at), next = load_sixteen(at + 1);
		sixteen label = (sixteen)(c - 'a' < 26) | (sixteen)(c - '0' < 10) | (sixteen)(c == '-') |
		    (sixteen)(c == '_');

		bad |= ~label & ~((sixteen)(c == '.') & (sixteen)(next != '.'));
	}
	memcpy(halves, &bad, sizeof halves);
	return (halves[0] | halves[1]) == 0 && s.at[0] != '.' && byte_class[(unsigned char)s.at[s.len - 1]] == 0;
}

/* The classes of all bytes in one, and whether a dot ends no label. No branch a byte: none could be predicted. */
static unsigned
survey(struct span s)
{
	unsigned seen = 0, empty = 0, before = DOT;

	if (s.len > 16 && is_ordinary(s))
		return 0;		/* a DOT by itself is of no interest */
	for (size_t i = 0; i < s.len; i++) {
		unsigned class = byte_class[(unsigned char)s.at[i]];

		seen |= class;
		empty |= class & before;
		before = class;
	}
	return seen | ((empty | before) & DOT ? EMPTY_LABEL : 0);
}

static enum origin_status
first_fault(struct span s)
{
	while (byte_status(*s.at) == ORIGIN_OK)
		s.at++;
	return byte_status(*s.at);
}

static enum origin_status
parse_scheme(struct span *scheme, const char *s, size_t len)
{
	enum origin_status stop;
	size_t n;

	if (len > 8 && memcmp(s, "https://", 8) == 0) {		/* nearly always */
		*scheme = (struct span){ s, 5 };
		return ORIGIN_OK;
	}
	for (n = 0; n < len && is_scheme_byte(s[n]); n++)
		;
	stop = n < len ? byte_status(s[n]) : ORIGIN_OK;
	if (stop == ORIGIN_UPPER_CASE || stop == ORIGIN_BAD_BYTE)
		return stop;
	if (n == 0 || !is_lower(s[0]) || len - n < 3 || memcmp(s + n, "://", 3) != 0)
		return ORIGIN_NO_SCHEME;
	if (n > ORIGIN_MAX_SCHEME)
		return ORIGIN_TOO_LONG;
	*scheme = (struct span){ s, n };
	return span_is(*scheme, "file") ? ORIGIN_FILE : ORIGIN_OK;
}

/* Splits at the colon in front of a port; port->at is NULL where there is none. */
static inline enum origin_status
split_port(struct span authority, struct span *host, struct span *port)
{
	const char *end = authority.at + authority.len, *from = authority.at, *colon;

	if (*from == '[') {
		from = memchr(from, ']', authority.len);
		if (from == NULL || (++from < end && *from != ':'))
			return ORIGIN_BAD_IPV6;
	}
	colon = from == end ? NULL : memchr(from, ':', (size_t)(end - from));
	*port = (struct span){ NULL, 0 };
	if (colon != NULL)
		*port = (struct span){ colon + 1, (size_t)(end - colon - 1) };
	*host = (struct span){ authority.at, (size_t)((colon != NULL ? colon : end) - authority.at) };
	return host->len == 0 ? ORIGIN_NO_HOST : ORIGIN_OK;
}

/* s.at NULL: none is written. */
static inline enum origin_status
parse_port(uint16_t *port, struct span s, const struct wildcards *wild)
{
	unsigned value = 0;

	if (s.at == NULL)
		return ORIGIN_OK;
	if ((wild != NULL && wild->port) || s.len == 0 || s.len > 5 || s.at[0] == '0')
		return ORIGIN_BAD_PORT;
	for (size_t i = 0; i < s.len; i++) {
		if (!is_digit(s.at[i]))
			return ORIGIN_BAD_PORT;
		value = value * 10 + (unsigned)(s.at[i] - '0');
	}
	if (value > UINT16_MAX)
		return ORIGIN_BAD_PORT;
	*port = (uint16_t)value;
	return ORIGIN_OK;
}

/* From label to label, the farthest that begins within reach of the one before. */
static inline bool
has_long_label(struct span host)
{
	const char *label = host.at, *end = host.at + host.len;

	while (end - label > ORIGIN_MAX_LABEL) {
		const char *dot = memrchr(label, '.', ORIGIN_MAX_LABEL + 1);

		if (dot == NULL)
			return true;
		label = dot + 1;
	}
	return false;
}

/* Every label 1 to 63 legal bytes. */
static inline enum origin_status
check_labels(struct span host, unsigned seen)
{
	if (host.len > ORIGIN_MAX_HOST)
		return ORIGIN_HOST_TOO_LONG;
	if (seen & OUTSIDE)
		return ORIGIN_BAD_HOST;
	if (seen & EMPTY_LABEL || has_long_label(host))
		return ORIGIN_BAD_LABEL;
	return ORIGIN_OK;
}

static unsigned
count_labels(struct span host)
{
	unsigned n = 1;

	for (size_t i = 0; i < host.len; i++)
		n += host.at[i] == '.';
	return n;
}

/* URL standard, "ends in a number": the last label is decimal digits, or 0x and hexadecimal ones. */
static bool
ends_in_number(struct span host)
{
	const char *end = host.at + host.len, *label = end - 1;

	if (hex_value(*label) < 0 && *label != 'x')
		return false;		/* nearly always */
	while (label > host.at && label[-1] != '.')
		label--;
	bool hex = end - label >= 2 && label[0] == '0' && label[1] == 'x';
	for (const char *p = hex ? label + 2 : label; p < end; p++)
		if (hex ? hex_value(*p) < 0 : !is_digit(*p))
			return false;
	return true;
}

static bool
is_dotted_quad(struct span host)
{
	const char *p = host.at, *end = host.at + host.len;

	for (int octet = 0; octet < 4; octet++) {
		const char *start = p;
		unsigned value = 0;

		for (; p < end && is_digit(*p) && p - start < 3; p++)
			value = value * 10 + (unsigned)(*p - '0');
		if (p == start || value > 255 || (*start == '0' && p - start > 1))
			return false;
		if (octet < 3 && (p == end || *p++ != '.'))
			return false;
	}
	return p == end;
}

/* One to four hexadecimal digits without a leading zero; the digits read, 0 if it is no group. */
static size_t
parse_group(uint16_t *group, const char *p, const char *end)
{
	const char *start = p;
	unsigned value = 0;

	for (; p < end && p - start < 4 && hex_value(*p) >= 0; p++)
		value = value << 4 | (unsigned)hex_value(*p);
	if (p > start + 1 && *start == '0')
		return 0;
	*group = (uint16_t)value;
	return (size_t)(p - start);
}

/* The longest run of zeros, the first of equals, as "::" stands for it: two groups at least. */
static void
longest_zeros(const uint16_t group[GROUPS], int *at, int *len)
{
	int run = 0;

	*at = -1;
	*len = 1;
	for (int i = 0; i < GROUPS; i++) {
		run = group[i] == 0 ? run + 1 : 0;
		if (run > *len) {
			*len = run;
			*at = i + 1 - run;
		}
	}
}

/* Puts the zeros that "::" at index gap stands for among the n groups read. */
static void
expand(uint16_t group[GROUPS], int n, int gap)
{
	int tail = n - gap;

	memmove(group + GROUPS - tail, group + gap, (size_t)tail * sizeof(group[0]));
	memset(group + gap, 0, (size_t)(GROUPS - n) * sizeof(group[0]));
}

/* Between the brackets: the one text that RFC 5952 gives an address. */
static bool
is_canonical_ipv6(const char *p, const char *end)
{
	uint16_t group[GROUPS] = { 0 };
	int n = 0, gap = -1, zeros_at, zeros_len;

	while (p < end) {
		size_t digits;

		if (end - p >= 2 && p[0] == ':' && p[1] == ':') {
			if (gap >= 0)
				return false;
			gap = n;
			p += 2;
			if (p == end)
				break;
		} else if (n > 0 && *p++ != ':') {
			return false;
		}
		if (n == GROUPS || (digits = parse_group(&group[n++], p, end)) == 0)
			return false;
		p += digits;
	}
	if (gap < 0 ? n != GROUPS : n > GROUPS - 2)
		return false;
	if (gap >= 0)
		expand(group, n, gap);
	longest_zeros(group, &zeros_at, &zeros_len);
	if (zeros_at != gap || (gap >= 0 && zeros_len != GROUPS - n))
		return false;
	/* ::ffff:0:0/96 holds an IPv4 address, which has a form of its own */
	return !(zeros_at == 0 && zeros_len == 5 && group[5] == 0xffff);
}

/* seen: the survey of host. */
static enum origin_status
parse_host(enum host_kind *kind, struct span host, unsigned seen, bool is_special)
{
	enum origin_status status;

	*kind = HOST_NAME;
	if (host.at[0] == '[') {
		*kind = HOST_IPV6;
		return is_canonical_ipv6(host.at + 1, host.at + host.len - 1) ? ORIGIN_OK : ORIGIN_BAD_IPV6;
	}
	status = check_labels(host, seen);
	if (status != ORIGIN_OK || !ends_in_number(host))
		return status;
	if (is_dotted_quad(host))
		*kind = HOST_IPV4;
	else if (is_special)
		return ORIGIN_BAD_IPV4;
	return ORIGIN_OK;
}

/* The default port of a scheme that the URL standard calls special (whose hosts may be addresses), else 0. */
static uint16_t
default_port(struct span scheme)
{
	if (span_is(scheme, "https") || span_is(scheme, "wss"))
		return 443;
	if (span_is(scheme, "http") || span_is(scheme, "ws"))
		return 80;
	return span_is(scheme, "ftp") ? 21 : 0;
}

/* Takes a "*." and a ":*" off the authority. */
static void
take_wildcards(struct span *authority, struct wildcards *wild)
{
	if (authority->len >= 2 && memcmp(authority->at, "*.", 2) == 0) {
		wild->labels = true;
		authority->at += 2;
		authority->len -= 2;
	}
	if (span_ends_with(*authority, (struct span){ ":*", 2 })) {
		wild->port = true;
		authority->len -= 2;
	}
}

/*
 * A byte behind an application's scheme. The URL standard keeps such a host as
 * it was written, capitals and quotes too, escapes what is no ASCII and refuses
 * these. A * it would keep as well, but no row could tell that from a pattern.
 */
static enum origin_status
opaque_byte_status(char c)
{
	switch (c) {
	case 'A' ... 'Z':
	case '"':
	case '\'':
	case ',':
	case ';':
	case '`':
		return ORIGIN_OK;
	case '<':
	case '>':
	case '^':
	case '|':
		return ORIGIN_BAD_HOST;
	default:
		return byte_status(c);
	}
}

static enum origin_status
parse_opaque_host(enum host_kind *kind, struct span host)
{
	unsigned seen = survey(host);

	*kind = HOST_OPAQUE;
	if (host.len > 0 && host.at[0] == '[') {
		*kind = HOST_IPV6;
		return is_canonical_ipv6(host.at + 1, host.at + host.len - 1) ? ORIGIN_OK : ORIGIN_BAD_IPV6;
	}
	if (host.len > ORIGIN_MAX_HOST)
		return ORIGIN_HOST_TOO_LONG;
	for (size_t i = 0; i < host.len; i++)
		if (host.at[i] == '[' || host.at[i] == ']')
			return ORIGIN_BAD_HOST;
	if ((seen & STATUS) == ORIGIN_OK && check_labels(host, seen) == ORIGIN_OK)
		*kind = is_dotted_quad(host) ? HOST_IPV4 : HOST_NAME;
	return ORIGIN_OK;
}

/*
 * Behind a scheme that is not special: applications and extensions, each with a scheme of its engine's or its own.
 * Out of line, so that the way of all others stays as short as it is.
 */
static __attribute__((noinline)) enum origin_status
parse_opaque(struct origin *out, struct wildcards *wild, struct span scheme, struct span authority, const char *s,
    size_t len)
{
	struct span host = authority, digits = { NULL, 0 };
	enum origin_status status;
	enum host_kind kind;
	uint16_t port = 0;

	if (wild != NULL && span_is(authority, "*") && !wild->port) {
		wild->host = true;
		host.at++;
		host.len = authority.len = 0;
	}
	for (size_t i = 0; i < authority.len; i++)
		if ((status = opaque_byte_status(authority.at[i])) != ORIGIN_OK)
			return status;
	if (authority.len > 0 && (status = split_port(authority, &host, &digits)) != ORIGIN_OK)
		return status;
	if (host.len == 0 && wild != NULL && wild->port)
		return ORIGIN_NO_HOST;
	if ((status = parse_opaque_host(&kind, host)) != ORIGIN_OK)
		return status;
	if ((status = parse_port(&port, digits, wild)) != ORIGIN_OK)
		return status;
	*out = (struct origin){ { s, len }, scheme, host, kind, port, false };
	return ORIGIN_OK;
}

/* Origins (wild NULL) and rules alike; fills *out on ORIGIN_OK only. */
static enum origin_status
parse(struct origin *out, struct wildcards *wild, const char *s, size_t len)
{
	struct span scheme, authority, host, digits = { NULL, 0 };
	uint16_t port = 0, usual_port;
	enum origin_status status;
	enum host_kind kind;
	unsigned seen;

	if ((status = parse_scheme(&scheme, s, len)) != ORIGIN_OK)
		return status;
	authority = (struct span){ s + scheme.len + 3, len - scheme.len - 3 };
	if (wild != NULL)
		take_wildcards(&authority, wild);
	usual_port = default_port(scheme);
	if (usual_port == 0 && (wild == NULL || !wild->labels))
		return parse_opaque(out, wild, scheme, authority, s, len);
	if (authority.len == 0 || byte_status(authority.at[0]) == ORIGIN_PATH)
		return ORIGIN_NO_HOST;
	seen = survey(authority);
	if ((seen & STATUS) != ORIGIN_OK)
		return first_fault(authority);
	host = authority;
	if (seen & OUTSIDE) {		/* a port, brackets, or a fault */
		if ((status = split_port(authority, &host, &digits)) != ORIGIN_OK)
			return status;
		seen = survey(host);
	}
	if ((status = parse_host(&kind, host, seen, usual_port != 0)) != ORIGIN_OK)
		return status;
	if ((status = parse_port(&port, digits, wild)) != ORIGIN_OK)
		return status;
	if (port != 0 && port == usual_port)
		return ORIGIN_DEFAULT_PORT;
	*out = (struct origin){ { s, len }, scheme, host, kind, port, usual_port != 0 };
	return ORIGIN_OK;
}

static bool
is_null(const char *s, size_t len)
{
	return len == 4 && memcmp(s, "null", 4) == 0;
}

enum origin_status
origin_parse(struct origin *o, const char *s, size_t len)
{
	if (len == 0)
		return ORIGIN_EMPTY;
	if (len > ORIGIN_MAX)
		return ORIGIN_TOO_LONG;
	if (is_null(s, len))
		return ORIGIN_NULL;
	return parse(o, NULL, s, len);
}

/* RFC 3492 section 6.1. */
static uint32_t
punycode_bias(uint64_t delta, uint32_t characters, bool is_first)
{
	uint32_t k = 0;

	delta = is_first ? delta / 700 : delta / 2;
	delta += delta / characters;
	for (; delta > 455; k += 36)
		delta /= 35;
	return k + (uint32_t)(36 * delta / (delta + 38));
}

/* Section 6.2: a number, its least digit first; what p then points to is NULL where it has no end. */
static uint64_t
punycode_number(const char **p, const char *end, uint32_t bias)
{
	uint64_t number = 0, weight = 1;

	for (uint32_t k = 36; *p < end && number + weight < UINT32_MAX; k += 36) {
		char c = *(*p)++;
		uint32_t least = k <= bias ? 1 : k >= bias + 26 ? 26 : k - bias;
		uint32_t digit = is_lower(c) ? (uint32_t)(c - 'a') : is_digit(c) ? (uint32_t)(c - '0') + 26 : 36;

		if (digit == 36)
			break;
		number += digit * weight;
		if (digit < least)
			return number;
		weight *= 36 - least;
	}
	*p = NULL;
	return 0;
}

/* Behind "xn--": ASCII characters, a hyphen, and where in between others stand, of which there is one at least. */
static bool
is_punycode(struct span s)
{
	const char *end = s.at + s.len, *hyphen = memrchr(s.at, '-', s.len);
	const char *p = hyphen != NULL && hyphen > s.at ? hyphen + 1 : s.at;
	uint32_t n = p > s.at ? (uint32_t)(hyphen - s.at) : 0, bias = 72;
	uint64_t at = 0, character = 0x80;
	bool is_first = true;

	if (p == end)
		return false;
	for (; p < end; at++, is_first = false) {
		uint64_t delta = punycode_number(&p, end, bias);

		if (p == NULL)
			return false;
		bias = punycode_bias(delta, ++n, is_first);
		character += (at + delta) / n;
		at = (at + delta) % n;
		/* none that is a control, half a pair of UTF-16, or none at all */
		if (character < 0xa0 || (character >= 0xd800 && character <= 0xdfff) || character > 0x10ffff)
			return false;
	}
	return true;
}

/* What a browser does with such a label: it decodes it, and has no origin where that fails. */
static bool
has_bad_punycode(struct span host)
{
	const char *label = host.at, *end = host.at + host.len, *dot;

	if (memchr(host.at, '-', host.len) == NULL)
		return false;		/* nearly always */
	for (;; label = dot + 1) {
		dot = memchr(label, '.', (size_t)(end - label));
		struct span s = { label, (size_t)((dot != NULL ? dot : end) - label) };

		if (s.len >= 4 && memcmp(s.at, "xn--", 4) == 0 && !is_punycode((struct span){ s.at + 4, s.len - 4 }))
			return true;
		if (dot == NULL)
			return false;
	}
}

static enum rule_form
rule_form(struct wildcards wild)
{
	if (wild.host)
		return RULE_SCHEME;
	if (wild.labels)
		return wild.port ? RULE_SUFFIX_ANY_PORT : RULE_SUFFIX;
	return wild.port ? RULE_HOST_ANY_PORT : RULE_EXACT;
}

enum origin_status
rule_parse(struct rule *r, const char *s, size_t len)
{
	struct wildcards wild = { false, false, false };
	enum origin_status status;
	struct origin o;
	unsigned depth;

	if (len == 0)
		return ORIGIN_EMPTY;
	if (len > RULE_MAX)
		return ORIGIN_TOO_LONG;
	if (is_null(s, len))
		return ORIGIN_NULL;
	if (len == 1 && *s == '*') {
		*r = (struct rule){ .form = RULE_ANY, .origin.text = { s, len } };
		return ORIGIN_OK;
	}
	if ((status = parse(&o, &wild, s, len)) != ORIGIN_OK)
		return status;
	if (wild.labels && o.kind != HOST_NAME)
		return RULE_WILDCARD_IP;
	if (wild.labels && o.host.len + strlen("*.") > ORIGIN_MAX_HOST)
		return ORIGIN_HOST_TOO_LONG;
	depth = wild.labels ? count_labels(o.host) : 0;
	if (depth > RULE_MAX_DEPTH)
		return RULE_TOO_DEEP;
	if (o.is_special && has_bad_punycode(o.host))
		return RULE_BAD_PUNYCODE;
	*r = (struct rule){ rule_form(wild), o, depth };
	return ORIGIN_OK;
}

/* One or more whole labels in front of suffix. An address has no labels. */
static bool
is_below(const struct origin *o, struct span suffix)
{
	return o->kind == HOST_NAME && o->host.len > suffix.len + 1 && span_ends_with(o->host, suffix) &&
	    o->host.at[o->host.len - suffix.len - 1] == '.';
}

bool
rule_matches(const struct rule *r, const struct origin *o)
{
	if (r->form == RULE_ANY)
		return true;
	if (!spans_equal(r->origin.scheme, o->scheme))
		return false;
	switch (r->form) {
	case RULE_EXACT:
		return spans_equal(r->origin.host, o->host) && r->origin.port == o->port;
	case RULE_HOST_ANY_PORT:
		return spans_equal(r->origin.host, o->host);
	case RULE_SUFFIX:
		return is_below(o, r->origin.host) && r->origin.port == o->port;
	case RULE_SUFFIX_ANY_PORT:
		return is_below(o, r->origin.host);
	case RULE_SCHEME:
		return o->port == 0;
	default:
		return false;
	}
}

bool
origin_is_insecure(const struct origin *o)
{
	if (!span_is(o->scheme, "http"))
		return false;
	switch (o->kind) {
	case HOST_IPV4:
		return memcmp(o->host.at, "127.", 4) != 0;
	case HOST_IPV6:
		return !span_is(o->host, "[::1]");
	default:
		break;
	}
	return !span_is(o->host, "localhost") && !is_below(o, (struct span){ "localhost", 9 });
}

bool
realm_is_valid(const char *s, size_t len)
{
	if (len > REALM_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			return false;
	return true;
}

const char *
origin_strstatus(enum origin_status status)
{
	switch (status) {
	case ORIGIN_OK:			return "it is fine";
	case ORIGIN_NULL:		return "null is what any sandboxed page sends";
	case ORIGIN_EMPTY:		return "it is empty";
	case ORIGIN_TOO_LONG:		return "it is too long";
	case ORIGIN_BAD_BYTE:		return "it has a space, quote, comma, control or non-ASCII character";
	case ORIGIN_UPPER_CASE:		return "it has an upper-case letter";
	case ORIGIN_NO_SCHEME:		return "it does not begin with a scheme and ://";
	case ORIGIN_FILE:		return "the origin of a file: page is null";
	case ORIGIN_USERINFO:		return "it has a user name or password";
	case ORIGIN_PATH:		return "it has a trailing slash, a path, a query or a fragment";
	case ORIGIN_NO_HOST:		return "it has no host";
	case ORIGIN_BAD_HOST:		return "its host has a character that no host has";
	case ORIGIN_BAD_LABEL:		return "its host has a label that is empty or over 63 bytes, or a trailing dot";
	case ORIGIN_HOST_TOO_LONG:	return "its host is over 253 bytes";
	case ORIGIN_BAD_IPV4:		return "its host ends in a number but is no IPv4 address like 192.0.2.1";
	case ORIGIN_BAD_IPV6:		return "its host is no IPv6 address as RFC 5952 writes it, like [2001:db8::1]";
	case ORIGIN_BAD_PORT:		return "its port is not one of 1 to 65535";
	case ORIGIN_DEFAULT_PORT:	return "it names the default port of its scheme, which browsers leave out";
	case RULE_BAD_WILDCARD:		return "it has a * where none may be";
	case RULE_WILDCARD_IP:		return "it has *. in front of an address";
	case RULE_TOO_DEEP:		return "it has more than 63 labels behind *.";
	case RULE_BAD_PUNYCODE:		return "its host has a label that begins with xn-- and is no Punycode";
	case ORIGIN_STATUS_COUNT:	break;
	}
	return "it is malformed";
}

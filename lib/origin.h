/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * origin -- an Origin header as browsers serialise it, taken apart; and a
 * rule: an origin or one of the six patterns a row of cors.origins may hold.
 *
 * Pure: no allocation, no I/O, no clock, no globals. The spans point into the
 * caller's bytes and live exactly as long as they do.
 *
 * Source: Fetch standard, ABNF `serialized-origin`; RFC 6454 section 7;
 * URL standard (host serialising, special schemes, opaque hosts); RFC 5952
 * (IPv6 text).
 */
#ifndef ORIGIN_H
#define ORIGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ORIGIN_MAX_SCHEME	64	/* bytes */
#define ORIGIN_MAX_HOST		253	/* bytes */
#define ORIGIN_MAX_LABEL	63	/* bytes */
/* scheme "://" host ":" port -- checked before anything else is looked at */
#define ORIGIN_MAX		(ORIGIN_MAX_SCHEME + 3 + ORIGIN_MAX_HOST + 6)
#define RULE_MAX		(ORIGIN_MAX + 2)	/* "*." in front */
#define RULE_MAX_DEPTH		63	/* labels behind "*." */
#define REALM_MAX		255	/* bytes */

struct span {
	const char	*at;
	size_t		 len;
};

static inline struct span
span_of(const char *text)
{
	return (struct span){ text, strlen(text) };
}

static inline bool
spans_equal(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static inline bool
span_is(struct span s, const char *text)
{
	return s.len == strlen(text) && memcmp(s.at, text, strlen(text)) == 0;	/* a constant: no call */
}

enum host_kind {
	HOST_NAME,		/* labels: the only kind a suffix may match */
	HOST_IPV4,
	HOST_IPV6,		/* with its brackets */
	HOST_OPAQUE,		/* of an application's scheme, not made of labels; may be empty */
};

struct origin {
	struct span	 text;		/* all of it */
	struct span	 scheme;
	struct span	 host;
	enum host_kind	 kind;
	uint16_t	 port;		/* 0: none written, the scheme's default */
	bool		 is_special;	/* http, https, ws, wss or ftp: no scheme of an application */
};

enum origin_status {
	ORIGIN_OK,
	ORIGIN_NULL,			/* the opaque origin, exactly "null" */
	ORIGIN_EMPTY,
	ORIGIN_TOO_LONG,
	ORIGIN_BAD_BYTE,		/* space, control, >= 0x80, "'<>... */
	ORIGIN_UPPER_CASE,
	ORIGIN_NO_SCHEME,		/* no "scheme://" in front */
	ORIGIN_FILE,			/* file: serialises to null */
	ORIGIN_USERINFO,
	ORIGIN_PATH,			/* / ? # or \ behind the host */
	ORIGIN_NO_HOST,
	ORIGIN_BAD_HOST,		/* a byte no host has */
	ORIGIN_BAD_LABEL,		/* empty, over 63 bytes, trailing dot */
	ORIGIN_HOST_TOO_LONG,
	ORIGIN_BAD_IPV4,		/* ends in a number, is no dotted quad */
	ORIGIN_BAD_IPV6,		/* not RFC 5952, zone, embedded IPv4 */
	ORIGIN_BAD_PORT,
	ORIGIN_DEFAULT_PORT,		/* browsers leave it out */
	RULE_BAD_WILDCARD,		/* a * where no pattern has one */
	RULE_WILDCARD_IP,		/* *. in front of an address */
	RULE_TOO_DEEP,			/* more than RULE_MAX_DEPTH labels */
	RULE_BAD_PUNYCODE,		/* xn-- in front of what no browser writes behind it */
	ORIGIN_STATUS_COUNT
};

/*
 * Fills *o on ORIGIN_OK; otherwise leaves it alone and says why. ORIGIN_NULL
 * is a status of its own: well-formed, and no (scheme, host, port).
 */
enum origin_status	 origin_parse(struct origin *o, const char *s, size_t len);

/* A clause that completes "'X' is not an origin: ", e.g. "it has a trailing slash or a path". */
const char		*origin_strstatus(enum origin_status);

/* http to a host that is neither loopback (127/8, [::1]) nor localhost nor *.localhost. */
bool			 origin_is_insecure(const struct origin *o);

/* Most specific first: the lower value answers when several rows match. */
enum rule_form {
	RULE_EXACT,			// scheme://host[:port]
	RULE_HOST_ANY_PORT,		// scheme://host:*
	RULE_SUFFIX,			// scheme://*.host[:port], longest first
	RULE_SUFFIX_ANY_PORT,		// scheme://*.host:*, longest first
	RULE_SCHEME,			// scheme://*, of no special scheme
	RULE_ANY,			// *
	RULE_FORM_COUNT
};

/*
 * For the suffix forms origin.host is the part behind "*."; for the any-port
 * forms origin.port is 0 and means nothing; for RULE_SCHEME origin.host is
 * empty, and it covers origins without a port; for RULE_ANY *origin is empty.
 * origin.text is the rule as written.
 */
struct rule {
	enum rule_form	 form;
	struct origin	 origin;
	unsigned	 depth;		/* labels in host, suffix forms only */
};

/* Fills *r on ORIGIN_OK. ORIGIN_NULL is returned for "null": no rule may be that. */
enum origin_status	 rule_parse(struct rule *r, const char *s, size_t len);

/* The definition of a match, one rule at a time: what every index must agree with. */
bool			 rule_matches(const struct rule *r, const struct origin *o);

/* A realm: at most REALM_MAX bytes, none below 0x20, none 0x7f. */
bool			 realm_is_valid(const char *s, size_t len);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * policy -- what one row of cors.policies permits: checked, and compiled into
 * one block of bytes that lives in the shared table.
 *
 * Pure: no allocation, no I/O, no clock. The compiled form is position
 * independent, at most POLICY_MAX bytes, and holds the header values ready to
 * be copied out: names lower case, sorted, unique, joined by ",".
 *
 * Source: Fetch standard (CORS protocol, forbidden methods, forbidden
 * request-headers), RFC 9110 section 5.6.2 (token).
 */
#ifndef POLICY_H
#define POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "origin.h"

#define POLICY_MAX_NAME		63	/* bytes */
#define POLICY_MAX_METHODS	1024	/* bytes of the rendered list */
#define POLICY_MAX_HEADERS	2048	/* bytes of each rendered list */
#define POLICY_MAX_TOKENS	128	/* elements of one list */
#define POLICY_MAX_TOKEN	64	/* bytes of one element */
#define POLICY_MAX		(64 + POLICY_MAX_NAME + POLICY_MAX_METHODS + 2 * POLICY_MAX_HEADERS)
#define POLICY_MAX_AGE		86400	/* seconds */
#define POLICY_NO_MAX_AGE	(-1)	/* NULL in the row: the header is left out */

/* A row as the database holds it. The spans belong to the caller. */
struct policy_row {
	struct span		 name;
	const struct span	*methods;
	size_t			 nmethods;
	const struct span	*headers;
	size_t			 nheaders;
	const struct span	*expose;
	size_t			 nexpose;
	bool			 credentials;
	bool			 insecure;	/* the operator's opt-in: row_is_unsafe() */
	int32_t			 max_age;	/* seconds, or POLICY_NO_MAX_AGE */
};

enum policy_status {
	POLICY_OK,
	POLICY_BAD_NAME,
	POLICY_BAD_METHOD,		/* no token, or too long */
	POLICY_FORBIDDEN_METHOD,	/* CONNECT TRACE TRACK */
	POLICY_BAD_HEADER,
	POLICY_FORBIDDEN_HEADER,	/* Cookie, Host, Origin, Sec-*, Proxy-*, response-only CORS names ... */
	POLICY_BAD_EXPOSE,
	POLICY_FORBIDDEN_EXPOSE,	/* Set-Cookie, Set-Cookie2 ... */
	POLICY_EXPOSE_ANY_WITH_CREDENTIALS,
	POLICY_TOO_MANY,
	POLICY_TOO_LONG,
	POLICY_BAD_MAX_AGE,
	POLICY_BAD_BLOCK,		/* policy_read: these bytes are no policy */
	POLICY_STATUS_COUNT
};

/*
 * Writes the compiled form to block (POLICY_MAX bytes) and its length, a
 * multiple of 8, to *len. On failure *culprit (may be NULL) is the element at
 * fault and nothing else is said about block.
 */
enum policy_status	 policy_compile(const struct policy_row *row, void *block, size_t *len,
			    struct span *culprit);
const char		*policy_strstatus(enum policy_status);

/* A compiled policy, opened. The spans point into the block. The lists hold tokens and commas, nothing else. */
struct policy {
	struct span	 name;
	struct span	 methods;	/* value of Access-Control-Allow-Methods; "" if any_method */
	struct span	 headers;	/* value of Access-Control-Allow-Headers without the * */
	struct span	 expose;	/* value of Access-Control-Expose-Headers, "*" included */
	int32_t		 max_age;	/* seconds, or POLICY_NO_MAX_AGE */
	bool		 credentials;
	bool		 insecure;
	bool		 any_method;
	bool		 any_header;	/* never covers authorization */
};

/*
 * Opens a block of len bytes, which must not change meanwhile: whoever is not
 * the shared table's writer hands over a copy. Any bytes at all are safe:
 * POLICY_OK or POLICY_BAD_BLOCK.
 */
enum policy_status	 policy_read(struct policy *p, const void *block, size_t len);

/* CONNECT, TRACE and TRACK, in any case: browsers never let a script send them. */
bool	 method_is_forbidden(struct span method);
/*
 * False for forbidden methods, true for GET, HEAD and POST: those a browser
 * sends without asking, so refusing them in a preflight protects nothing.
 */
bool	 policy_allows_method(const struct policy *p, struct span method);
/* name: any case. */
bool	 policy_allows_header(const struct policy *p, struct span name);

/* RFC 9110 token, 1 .. POLICY_MAX_TOKEN bytes. */
bool	 token_is_valid(struct span s);

extern const bool token_bytes[256];

/* One byte of one. */
static inline bool
token_has_byte(unsigned char c)
{
	return token_bytes[c];
}

/* ASCII: A to Z become a to z, whatever the locale. */
static inline char
token_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

#endif

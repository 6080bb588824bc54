/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * headers -- a decision -> the bytes of its response headers.
 *
 * Pure; writes to the caller's buffer and nowhere else. Reflects nothing of
 * the request but an origin that origin_parse() accepted, a method and header
 * names that passed the token check, the names in our own canonical form.
 */
#ifndef HEADERS_H
#define HEADERS_H

#include <stddef.h>

#include "decide.h"

/* Enough for every decision: lists of a policy, an echoed header list, names. */
#define HEADERS_MAX	12288

/* Enough for headers_write_debug() alone. */
#define HEADERS_DEBUG_MAX	4096

enum headers_form {
	HEADERS_RESPONSE,	/* "Access-Control-Allow-Origin: ...\r\n", role RESPONDER */
	HEADERS_VARIABLES,	/* "Variable-CORS_ALLOW_ORIGIN: ...\r\n", role AUTHORIZER */
};

/*
 * Writes complete lines, CRLF each, no Status line and no empty line behind.
 * Returns the bytes written; 0 is a decision without headers. The decision is
 * what decide() made of that request; cap must be at least HEADERS_MAX
 * (asserted).
 */
size_t	 headers_write(char *buf, size_t cap, enum headers_form, const struct request *,
	    const struct decision *);

/*
 * With CORS_DEBUG: "Corscache-Decision: allow" or "refuse; reason=header; name=x-foo"
 * (the name only if it is a token), and behind a preflight refused for its
 * method or headers Corscache-Allow-Methods and Corscache-Allow-Headers: what
 * the policy would allow. Complete lines, as headers_write(); cap must be at
 * least HEADERS_DEBUG_MAX (asserted).
 */
size_t	 headers_write_debug(char *buf, size_t cap, const struct request *, const struct decision *);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * decide -- the facts of a request and the row that answers it -> a decision.
 *
 * Pure: no allocation, no I/O, no clock, no globals. This is the product;
 * everything else carries facts to it and its verdict away.
 *
 * Source: Fetch standard, "CORS protocol". Precedence of rows: enum rule_form.
 */
#ifndef DECIDE_H
#define DECIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "origin.h"
#include "policy.h"

#define ACRM_MAX	64	/* bytes */
#define ACRH_MAX	4096	/* bytes, all lines together */
#define ACRH_MAX_LINES	64
#define ACRH_MAX_NAMES	64
#define ACRH_MAX_EMPTY	16	/* empty elements */

enum reason {
#define REASON(name, token, verdict, sentence)	REASON_##name,
#include "reasons.def"
#undef REASON
	REASON_COUNT
};

const char	*reason_token(enum reason);
const char	*reason_sentence(enum reason);

/*
 * What the web server said, as bytes. An absent header and an empty one are
 * the same: len 0. The counts are of non-empty values; more than one origin,
 * method or acrm is malformed, which is decided here and not by the caller.
 */
struct request {
	struct span	 realm;
	struct span	 method;
	struct span	 origin;
	struct span	 acrm;			/* Access-Control-Request-Method */
	unsigned	 nrealm;
	unsigned	 nmethod;
	unsigned	 norigin;
	unsigned	 nacrm;
	unsigned	 nacrh;			/* may exceed ACRH_MAX_LINES: then too long */
	struct span	 acrh[ACRH_MAX_LINES];	/* Access-Control-Request-Headers, a line each; nacrh of them */
};

enum request_class {
	REQUEST_NON_CORS,
	REQUEST_PREFLIGHT,
	REQUEST_ACTUAL,
};

enum request_class	 request_classify(const struct request *);

/*
 * Takes the origin of the request apart: ORIGIN_OK and *o, or why nothing but
 * the rule * may match. Repeated origins are ORIGIN_BAD_BYTE.
 */
enum origin_status	 request_origin(const struct request *, struct origin *o);

/* What the table knows about (realm, origin): the one row that answers, if any. */
enum match_state {
	MATCH_NONE,		/* no row matches */
	MATCH_ROW,
	MATCH_NOT_READY,	/* no table yet */
	MATCH_ERROR,		/* the table could not be read */
};

struct match {
	enum match_state	 state;
	bool			 realm_known;	/* the realm has at least one row */
	bool			 realm_only_any;/* ... and it is the rule * alone */
	bool			 saw_expired;	/* a row matched but its time is over: treated as absent */
	bool			 saw_unsafe;	/* a row matched that row_is_unsafe(): treated as absent */
	/* the rest only with MATCH_ROW */
	enum rule_form		 form;
	unsigned		 depth;		/* labels of the suffix, suffix forms only */
	bool			 refuses;	/* allow = false */
	bool			 held;		/* invalidated, not yet confirmed by the database */
	bool			 revoked;	/* by cachectl revoke, whatever the database says */
	bool			 public_suffix;	/* the pattern covers a public suffix */
	int64_t			 expires_at;	/* seconds since 1970, 0 = never */
	const struct policy	*policy;	/* NULL where no policy matters: refuses, held or revoked */
};

/*
 * A row that must never answer with credentials: * always; plain http, a
 * whole scheme and patterns over a public suffix unless the policy says
 * insecure. The table's readers treat such a row as absent, whatever else let
 * it in.
 */
bool	 row_is_unsafe(enum rule_form form, const struct origin *o, bool public_suffix,
	    const struct policy *p);

enum echo {
	ECHO_NONE,		/* no Access-Control-Allow-Origin */
	ECHO_ANY,		/* the constant * */
	ECHO_ORIGIN,		/* the caller's origin, byte for byte */
};

enum vary {
	VARY_NONE,
	VARY_ORIGIN,
	VARY_PREFLIGHT,		/* Origin, Access-Control-Request-Method, Access-Control-Request-Headers */
};

struct decision {
	enum request_class	 class;
	enum reason		 reason;
	bool			 allow;		/* false for non-CORS requests too */
	bool			 asks_for_headers;	/* an allowed preflight names at least one */
	enum echo		 echo;
	enum vary		 vary;
	const struct policy	*policy;	/* of the row that matched, also when it refused method or header */
	struct span		 culprit;	/* the header name, method ... that was refused; untrusted bytes */
};

static inline bool
decision_is_refusal(const struct decision *d)
{
	return d->class != REQUEST_NON_CORS && !d->allow;
}

/* Total: every input gives a decision. is_stale: refuse everything with REASON_STALE. */
void	 decide(const struct request *, enum origin_status, const struct match *, bool is_stale,
	    struct decision *);

/*
 * One pass over Access-Control-Request-Headers: SP and HTAB around elements,
 * several lines, the ACRH_MAX bounds. Calls each() with every non-empty
 * element until it returns false (then *culprit is that element).
 * Returns REASON_ALLOWED, HEADERS_MALFORMED, HEADERS_TOO_LONG or, when each()
 * said no, HEADER_NOT_ALLOWED.
 */
enum reason	 acrh_each(const struct request *, bool (*each)(struct span name, void *arg), void *arg,
		    struct span *culprit);

#endif

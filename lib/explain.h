/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * explain -- one question, put to the code that answers requests (answer.h),
 * and its answer told to a person: the reason, the row, the headers, and for a
 * refusal the rows that nearly match and what would allow it. What cachectl
 * check and the responder's page for people share.
 *
 * Every text may hold bytes that strangers chose: escape it for where it goes.
 */
#ifndef EXPLAIN_H
#define EXPLAIN_H

#include "answer.h"

#define EXPLAIN_NEAR_MAX	5

/* A row that a person would take for the same. */
struct near {
	char		 row[RULE_MAX + 1];
	char		 realm[REALM_MAX + 1];
	char		 policy[POLICY_MAX_NAME + 1];
	bool		 allow;
	bool		 expires;	/* or did */
	enum rule_form	 form;
	const char	*why;		/* a clause: "the port differs" */
};

struct explanation {
	struct request	 request;
	struct answer	 answer;
	char		 headers[ANSWER_MAX];	/* answer.len bytes, lines that end in CRLF */
	struct origin	 origin;		/* with status ORIGIN_OK */
	enum origin_status status;
	struct near	 near[EXPLAIN_NEAR_MAX];
	size_t		 nnear;
	struct near	 neighbour;	/* the allowing row of the realm that is most like what is asked for, row "" if none is */
	bool		 neighbour_fits;	/* its policy permits what is asked */
	char		 fitting[POLICY_MAX_NAME + 1];	/* a policy without credentials that permits that, "" if none does */
	char		 harmless[POLICY_MAX_NAME + 1];	/* one without credentials, "" if there is none */
	bool		 near_is_cut;		/* more rows than near_rows: some were not looked at */
};

struct explain_options {
	struct answer_options	 answer;
	uint64_t		 near_rows;	/* rows looked at for those that nearly match; 0 = all */
};

/*
 * Fills in the request. method: of the request, or asked for by the preflight;
 * empty: GET. headers: the list that a preflight asks for, empty: none. The
 * spans stay the caller's and are needed as long as *e.
 */
void	 explain_request(struct explanation *e, struct span realm, struct span origin, bool is_preflight,
	    struct span method, struct span headers);

/*
 * Answers e->request. Where no row matches, the whole table is read for rows
 * that nearly do, which allocates a shard's size meanwhile.
 */
void	 explain(struct reader *r, const struct explain_options *options, struct explanation *e);

/* What to do about it: SQL or a sentence in printable ASCII, "" if nothing. The caller's to free(); NULL: no memory. */
char	*explain_next(const struct explanation *e);

/* The header lines one by one; each() gets them without CRLF. */
void	 explain_each_header(const struct explanation *e, void (*each)(struct span line, void *arg), void *arg);

/* "preflight", "actual request", "no CORS request". */
const char	*explain_class(const struct explanation *e);

#endif

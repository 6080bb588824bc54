/* SPDX-License-Identifier: BSD-2-Clause */
#include "answer.h"

#include <assert.h>
#include <string.h>

#include "layout.h"

static bool
is_stale(struct reader *r, const struct answer_options *opt)
{
	struct status st;

	if (opt->max_stale_s == 0)
		return false;
	reader_status(r, &st);
	return status_is_stale(&st, opt->max_stale_s, opt->now_s * 1000);
}

static void
explain_row(struct answer *a, const struct origin *o)
{
	size_t n = 0;

	match_row_text(&a->match, o, a->row, sizeof a->row);
	if (a->decision.policy != NULL && a->decision.policy->name.len <= POLICY_MAX_NAME) {
		n = a->decision.policy->name.len;
		memcpy(a->policy, a->decision.policy->name.at, n);
	}
	a->policy[n] = '\0';
}

static void
write_headers(const struct request *q, const struct answer_options *opt, struct answer *a, char *buf, size_t cap)
{
	enum headers_form form = decision_is_refusal(&a->decision) ? opt->refusal_form : opt->form;

	a->len = headers_write(buf, cap, form, q, &a->decision);
	if (opt->debug)
		a->len += headers_write_debug(buf + a->len, cap - a->len, q, &a->decision);
}

void
answer(struct reader *r, const struct request *q, const struct answer_options *opt, bool explain, struct answer *a,
    char *buf, size_t cap)
{
	enum origin_status status;
	struct origin o;

	assert(cap >= ANSWER_MAX);
	status = request_origin(q, &o);
	for (int i = 0; i < LAYOUT_MAX_TRIES; i++) {
		reader_find(r, q->realm, status == ORIGIN_OK ? &o : NULL, opt->now_s, &a->match);
		decide(q, status, &a->match, is_stale(r, opt), &a->decision);
		write_headers(q, opt, a, buf, cap);
		if (explain)
			explain_row(a, status == ORIGIN_OK ? &o : NULL);
		if (reader_is_current(r))
			goto done;
	}
	a->match = (struct match){ .state = MATCH_ERROR };
	decide(q, status, &a->match, false, &a->decision);
	write_headers(q, opt, a, buf, cap);
	a->row[0] = a->policy[0] = '\0';
done:
	a->match.policy = NULL;
	a->decision.policy = NULL;
}

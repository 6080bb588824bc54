/* SPDX-License-Identifier: BSD-2-Clause */
#include "explain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql.h"

void
explain_request(struct explanation *e, struct span realm, struct span origin, bool is_preflight, struct span method,
    struct span headers)
{
	struct request *q = &e->request;

	if (method.len == 0)
		method = span_of("GET");
	*q = (struct request){ .realm = realm, .nrealm = realm.len > 0, .origin = origin, .norigin = origin.len > 0,
		.method = is_preflight ? span_of("OPTIONS") : method, .nmethod = 1 };
	if (!is_preflight)
		return;
	q->acrm = method;
	q->nacrm = 1;
	q->acrh[0] = headers;
	q->nacrh = headers.len > 0;
}

/* ---- rows that nearly match ---- */

static bool
is_www_of(struct span longer, struct span shorter)
{
	return longer.len == shorter.len + 4 && memcmp(longer.at, "www.", 4) == 0 &&
	    memcmp(longer.at + 4, shorter.at, shorter.len) == 0;
}

struct search {
	struct explanation	*e;
	uint64_t		 rows;		/* seen so far */
	uint64_t		 most;
	int64_t			 now_s;
	bool			 wants_unsafe;	/* the rows that row_is_unsafe() */
	int			 likeness;	/* of e->neighbour */
};

static const char expired[] = "it has expired";
static const char other_realm[] = "it is a row of another realm";
static const char unsafe[] = "it may not carry the credentials of its policy";

/* NULL: nothing that a person would take for the same. */
static const char *
why_near(const struct search *s, const struct row *row, const struct rule *rule)
{
	const struct origin *o = &s->e->origin, *r = &rule->origin;
	bool is_suffix = rule->form == RULE_SUFFIX || rule->form == RULE_SUFFIX_ANY_PORT;
	bool same_realm = spans_equal(row->realm, s->e->request.realm);

	if (s->wants_unsafe)
		return same_realm && row->allow && rule_matches(rule, o) && (rule->form >= RULE_SCHEME || row->public_suffix ||
		    origin_is_insecure(r)) ? unsafe : NULL;
	if (rule->form == RULE_ANY)
		return NULL;
	if (rule_matches(rule, o)) {
		if (!same_realm)
			return other_realm;
		return row->expires_at != ROW_NEVER && row->expires_at <= s->now_s ? expired : NULL;
	}
	if (!same_realm)
		return NULL;
	if (rule->form == RULE_SCHEME)
		return spans_equal(r->scheme, o->scheme) ? "a scheme://* pattern covers origins without a port" : NULL;
	if (is_suffix && spans_equal(r->host, o->host))
		return "a *. pattern covers the hosts below its own, not that host";
	if (spans_equal(r->host, o->host))
		return spans_equal(r->scheme, o->scheme) ? "the port differs" : "the scheme differs";
	if (!is_suffix && (is_www_of(r->host, o->host) || is_www_of(o->host, r->host)))
		return "the hosts differ by www.";
	return NULL;
}

static void
copy_text(char *to, struct span from)
{
	memcpy(to, from.at, from.len);
	to[from.len] = '\0';
}

static void
fill_near(struct near *n, const struct row *row, const struct rule *rule, const char *why)
{
	copy_text(n->row, row->origin);
	copy_text(n->realm, row->realm);
	copy_text(n->policy, row->policy);
	n->allow = row->allow;
	n->expires = row->expires_at != ROW_NEVER;
	n->form = rule->form;
	n->why = why;
}

/* The host behind its first label; all of it where that would be a single label. */
static struct span
parent_of(const struct origin *o)
{
	const char *dot = o->kind == HOST_NAME ? memchr(o->host.at, '.', o->host.len) : NULL;
	const char *end = o->host.at + o->host.len;

	if (dot == NULL || memchr(dot + 1, '.', (size_t)(end - dot - 1)) == NULL)
		return o->host;
	return (struct span){ dot + 1, (size_t)(end - dot - 1) };
}

enum { SIBLING = 1, WWW, SAME_HOST };

/* How much a row tells of what an origin beside it should be allowed; 0: nothing. */
static int
likeness(const struct search *s, const struct row *row, const struct rule *rule)
{
	const struct origin *o = &s->e->origin, *r = &rule->origin;

	if (!row->allow || rule->form >= RULE_SCHEME || !spans_equal(row->realm, s->e->request.realm) ||
	    !spans_equal(r->scheme, o->scheme))
		return 0;
	if (spans_equal(r->host, o->host))
		return SAME_HOST;
	if (is_www_of(r->host, o->host) || is_www_of(o->host, r->host))
		return WWW;
	return spans_equal(parent_of(r), parent_of(o)) ? SIBLING : 0;
}

/* Of equals the first by name, whatever the order of the rows. */
static void
keep_neighbour(struct search *s, const struct row *row, const struct rule *rule)
{
	int like = likeness(s, row, rule);
	struct near n;

	if (like == 0 || like < s->likeness)
		return;
	fill_near(&n, row, rule, NULL);
	if (like > s->likeness || strcmp(n.row, s->e->neighbour.row) < 0)
		s->e->neighbour = n;
	s->likeness = like;
}

static int
collect_near(const struct row *row, void *arg)
{
	struct search *s = arg;
	const char *why;
	struct rule rule;

	if (s->most > 0 && s->rows++ == s->most) {
		s->e->near_is_cut = true;
		return 1;
	}
	if (rule_parse(&rule, row->origin.at, row->origin.len) != ORIGIN_OK)
		return 0;
	keep_neighbour(s, row, &rule);
	if ((why = why_near(s, row, &rule)) == NULL)
		return 0;
	fill_near(&s->e->near[s->e->nnear++], row, &rule, why);
	return s->e->nnear == EXPLAIN_NEAR_MAX;
}

static bool
nothing_matched(enum reason reason)
{
	return reason == REASON_ORIGIN_UNKNOWN || reason == REASON_REALM_UNKNOWN || reason == REASON_ROW_EXPIRED;
}

/* ---- policies that would do ---- */

struct choice {
	struct explanation	*e;
	const struct policy	*policy;	/* the one that is looked at */
	int			 likeness;	/* of the neighbour */
};

static bool
permits_header(struct span name, void *arg)
{
	const struct choice *c = arg;

	return policy_allows_header(c->policy, name);
}

static bool
permits(struct choice *c)
{
	const struct request *q = &c->e->request;
	struct span culprit;

	if (row_is_unsafe(RULE_EXACT, &c->e->origin, false, c->policy))
		return false;
	return c->e->answer.decision.class != REQUEST_PREFLIGHT || (policy_allows_method(c->policy, q->acrm) &&
	    acrh_each(q, permits_header, c, &culprit) == REASON_ALLOWED);
}

/* The default is best, then the first by name. */
static void
choose(char best[POLICY_MAX_NAME + 1], struct span name)
{
	char text[POLICY_MAX_NAME + 1];

	copy_text(text, name);
	if (best[0] == '\0' || strcmp(text, "default") == 0 || (strcmp(best, "default") != 0 && strcmp(text, best) < 0))
		strcpy(best, text);
}

static int
look_at_policy(const struct policy *p, void *arg)
{
	struct choice *c = arg;

	c->policy = p;
	/* siblings may belong to different people, as below github.io */
	if (permits(c) && (!p->credentials || c->likeness > SIBLING) && spans_equal(p->name, span_of(c->e->neighbour.policy)))
		c->e->neighbour_fits = true;
	if (permits(c) && !p->credentials)
		choose(c->e->fitting, p->name);
	if (!p->credentials)
		choose(c->e->harmless, p->name);
	return 0;
}

void
explain(struct reader *r, const struct explain_options *options, struct explanation *e)
{
	struct search s = { .e = e, .most = options->near_rows, .now_s = options->answer.now_s };
	struct choice c = { .e = e };
	enum reason reason;

	e->nnear = 0;
	e->near_is_cut = e->neighbour_fits = false;
	e->neighbour = (struct near){ .row = "" };
	e->fitting[0] = e->harmless[0] = '\0';
	e->status = request_origin(&e->request, &e->origin);
	answer(r, &e->request, &options->answer, true, &e->answer, e->headers, sizeof e->headers);
	reason = e->answer.decision.reason;
	s.wants_unsafe = reason == REASON_ROW_UNSAFE;
	if (e->status != ORIGIN_OK)
		return;
	if (nothing_matched(reason) || s.wants_unsafe)
		reader_each(r, NULL, collect_near, &s);
	c.likeness = s.likeness;
	if (nothing_matched(reason) || s.wants_unsafe || reason == REASON_ROW_REFUSES)
		reader_each_policy(r, look_at_policy, &c);
}

/* ---- what would allow it ---- */

/* UPDATE cors.policies SET list = list || 'x' WHERE name = 'policy' */
static void
print_append(FILE *out, const struct explanation *e, const char *list, struct span element)
{
	fprintf(out, "UPDATE cors.policies SET %s = %s || ", list, list);
	sql_literal(out, element);
	fputs("::text WHERE name = ", out);
	sql_literal(out, span_of(e->answer.policy));
	fputs("; -- for all rows of that policy", out);
}

/* UPDATE cors.origins SET change WHERE realm = '' AND origin = 'row' */
static void
print_update(FILE *out, const struct explanation *e, const char *change, const char *policy, const char *row)
{
	fprintf(out, "UPDATE cors.origins SET %s", change);
	if (policy != NULL)
		sql_literal(out, span_of(policy));
	fputs(" WHERE realm = ", out);
	sql_literal(out, e->request.realm);
	fputs(" AND origin = ", out);
	sql_literal(out, span_of(row));
	fputc(';', out);
}

/*
 * None of this may give more than was asked for when it is run without a thought: one origin, in the realm
 * that was asked for, credentials and eternity only where the rows beside it have them.
 */
#define A_DAY	"now() + interval '1 day'"

/* SELECT cors.allow('origin', 'realm', policy, expires); policy "": no matter. */
static void
print_allow_under(FILE *out, const struct explanation *e, const char *policy, bool expires)
{
	fputs("SELECT cors.allow(", out);
	sql_literal(out, e->request.origin);
	fputs(", ", out);
	sql_literal(out, e->request.realm);
	if (policy[0] != '\0' && strcmp(policy, "default") != 0) {
		fputs(", ", out);
		sql_literal(out, span_of(policy));
	}
	fputs(expires ? ", expires => " A_DAY ");" : ");", out);
}

/* As its neighbours are; where none is, or theirs does not do, under a policy without credentials. */
static void
print_allow(FILE *out, const struct explanation *e)
{
	bool fits = e->neighbour_fits || e->fitting[0] != '\0';

	print_allow_under(out, e, e->neighbour_fits ? e->neighbour.policy : e->fitting, e->neighbour.expires);
	if (!fits)
		fputs(" -- no policy without credentials permits all that is asked: ask again then", out);
}

/* The narrowest row of its realm that nearly matches for that reason; NULL: none. */
static const struct near *
find_near(const struct explanation *e, const char *why)
{
	const struct near *found = NULL;

	for (size_t i = 0; i < e->nnear; i++)
		if (e->near[i].why == why && spans_equal(span_of(e->near[i].realm), e->request.realm) &&
		    (found == NULL || e->near[i].form < found->form))
			found = &e->near[i];
	return found;
}

static const struct near *
find_elsewhere(const struct explanation *e)
{
	for (size_t i = 0; i < e->nnear; i++)
		if (e->near[i].why == other_realm && e->near[i].allow)
			return &e->near[i];
	return NULL;
}

/* What one realm allows says nothing of another: mostly the realm is not the one that was meant. */
static void
print_next_unknown(FILE *out, const struct explanation *e)
{
	const struct near *row = find_elsewhere(e);

	if (row != NULL) {
		fputs("the realm ", out);
		sql_literal(out, span_of(row->realm));
		fputs(" allows it: ask with that realm, or have the web server name it in CORS_REALM", out);
		return;
	}
	print_allow(out, e);
	if (e->answer.decision.reason == REASON_REALM_UNKNOWN)
		fputs(" -- the first row of that realm: is it what the web server names in CORS_REALM?", out);
}

/* Once more for a day: whoever wrote the row did not want it for ever. Of a pattern only the one origin. */
static void
print_next_expired(FILE *out, const struct explanation *e)
{
	const struct near *row = find_near(e, expired);

	if (row == NULL)
		print_allow_under(out, e, e->fitting, true);
	else if (row->form == RULE_EXACT)
		print_update(out, e, "expires_at = " A_DAY, NULL, row->row);
	else
		print_allow_under(out, e, row->policy, true);
}

/* Somebody meant it. */
static void
print_next_refused(FILE *out, const struct explanation *e)
{
	if (spans_equal(span_of(e->answer.row), e->request.origin))
		print_update(out, e, "allow = true, expires_at = " A_DAY, NULL, e->answer.row);
	else
		print_allow_under(out, e, e->fitting, true);
	fputs(" -- it is refused on purpose: read the row's note first", out);
}

/* A wide row is left as it is: without credentials it would answer everybody. */
static void
print_next_unsafe(FILE *out, const struct explanation *e)
{
	const struct near *row = find_near(e, unsafe);
	const char *policy = e->fitting[0] != '\0' ? e->fitting : e->harmless;

	if (row == NULL || policy[0] == '\0')
		fputs("give the row a policy without credentials, or, for http, scheme://* and public suffixes, one with insecure = true", out);
	else if (row->form == RULE_EXACT)
		print_update(out, e, "policy = ", policy, row->row);
	else
		print_allow_under(out, e, policy, row->expires);
}

static void
print_next_revoked(FILE *out, const struct explanation *e)
{
	fputs("it lasts, and on every machine, with SELECT cors.refuse(", out);
	sql_literal(out, span_of(e->answer.row));
	fputs(", ", out);
	sql_literal(out, e->request.realm);
	fputs("); here, cachectl restore ends it, and cachectl revoke --list shows all", out);
}

/* A policy has get, put and the like in capitals only, as browsers send them whatever the page wrote. */
static void
print_next_method(FILE *out, const struct explanation *e)
{
	char block[POLICY_MAX];
	const struct policy_row row = { .name = span_of("x"), .methods = &e->request.acrm, .nmethods = 1,
		.max_age = POLICY_NO_MAX_AGE };
	struct policy p;
	size_t len;

	if (policy_compile(&row, block, &len, NULL) == POLICY_OK && policy_read(&p, block, len) == POLICY_OK &&
	    !policy_allows_method(&p, e->request.acrm))
		fputs("browsers never send this: they write the method in capitals", out);
	else
		print_append(out, e, "methods", e->request.acrm);
}

/* Some names no policy can have. */
static void
print_next_header(FILE *out, const struct explanation *e)
{
	char block[POLICY_MAX];
	const struct policy_row row = { .name = span_of("x"), .headers = &e->answer.decision.culprit, .nheaders = 1,
		.max_age = POLICY_NO_MAX_AGE };
	enum policy_status status;
	size_t len;

	status = policy_compile(&row, block, &len, NULL);
	if (status == POLICY_OK)
		print_append(out, e, "headers", e->answer.decision.culprit);
	else
		fputs(policy_strstatus(status), out);
}

static void
print_next(FILE *out, const struct explanation *e)
{
	switch (e->answer.decision.reason) {
	case REASON_ORIGIN_UNKNOWN:
	case REASON_REALM_UNKNOWN:
		print_next_unknown(out, e);
		break;
	case REASON_ROW_EXPIRED:
		print_next_expired(out, e);
		break;
	case REASON_ROW_REFUSES:
		print_next_refused(out, e);
		break;
	case REASON_METHOD_NOT_ALLOWED:
		print_next_method(out, e);
		break;
	case REASON_HEADER_NOT_ALLOWED:
		print_next_header(out, e);
		break;
	case REASON_ROW_UNSAFE:
		print_next_unsafe(out, e);
		break;
	case REASON_REVOKED:
		print_next_revoked(out, e);
		break;
	case REASON_INVALIDATED:
		fputs("the database confirms it when corscache-syncd reaches it: see cachectl status, or cachectl resync", out);
		break;
	case REASON_NOT_READY:
	case REASON_STALE:
	case REASON_TABLE_ERROR:
		fputs("see cachectl status", out);
		break;
	case REASON_ORIGIN_MALFORMED:
		fprintf(out, "browsers never send this: %s", origin_strstatus(e->status));
		break;
	default:
		break;
	}
}

char *
explain_next(const struct explanation *e)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (out == NULL)
		return NULL;
	print_next(out, e);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

/* ---- the answer ---- */

void
explain_each_header(const struct explanation *e, void (*each)(struct span line, void *arg), void *arg)
{
	const char *at = e->headers, *end = e->headers + e->answer.len, *stop;

	for (; at < end && (stop = memchr(at, '\r', (size_t)(end - at))) != NULL; at = stop + 2)
		each((struct span){ at, (size_t)(stop - at) }, arg);
}

const char *
explain_class(const struct explanation *e)
{
	switch (e->answer.decision.class) {
	case REQUEST_PREFLIGHT:	return "preflight";
	case REQUEST_ACTUAL:	return "actual request";
	default:		return "no CORS request";
	}
}

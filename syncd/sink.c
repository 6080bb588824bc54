/* SPDX-License-Identifier: BSD-2-Clause */
#include "sink.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "suffix.h"
#include "wire.h"

#define MOST_LINES	5	/* of the log, for one load, delta or audit */
#define MOST_HOLDS	10000	/* remembered one by one, for deltas to ask about; more wait for a load */
#define BATCH		64	/* rows of a load that are put together */

/* What is remembered of a policy, in the values of a keyset with an empty realm. */
enum {
	POLICY_IS_REFUSED	= 1 << 0,	/* policy_compile() does not accept it: not in the table */
	POLICY_NEEDS_SAFE	= 1 << 1,	/* credentials and not insecure */
	POLICY_HANDLE_SHIFT	= 8,		/* above: its handle in the table that is loaded */
};

#define WAITS_FOR_POLICY	1	/* the value of a key that is left out: its policy may yet come */

/* A policy taken apart; row's lists point to the arrays. */
struct lists {
	struct policy_row	 row;
	struct span		 methods[POLICY_MAX_TOKENS];
	struct span		 headers[POLICY_MAX_TOKENS];
	struct span		 expose[POLICY_MAX_TOKENS];
};

/* A delta being collected: at most so many of each. */
struct delta {
	struct change		 *changes;
	struct lists		**lists;
	struct span		 *refused;	/* policies to be refused or forgotten */
	size_t			  nchanges, nlists, nrefused;
	uint64_t		  number;
};

/* Rows of a load, copied out of the stream: those of one message are gone with the next. */
struct batch {
	struct parsed_row	 rows[BATCH];
	char			 bytes[BATCH][REALM_MAX + RULE_MAX + POLICY_MAX_NAME];
	size_t			 n;
};

struct audit {
	struct reader		*reader;	/* the table as the others see it */
	struct keyset		*policies;	/* of the database, by fingerprint */
	uint64_t		 found;		/* rows of the database that are in the table */
	uint64_t		 drift;
};

struct sink {
	struct writer	*w;
	char		*dir;		/* table.path */
	struct table	*next;		/* the load under way */
	uint64_t	 number;	/* its first statement */
	uint64_t	 rows;		/* it has seen so far */
	struct keyset	*policies;	/* those in force */
	struct keyset	*left_out;	/* keys whose rows the validator refuses */
	struct keyset	*next_policies;
	struct keyset	*next_left_out;
	struct keyset	*holds;		/* value: the last statement sent before the hold */
	int64_t		 held_at_large;	/* by realm, or all, or beyond MOST_HOLDS; or by a former process */
	uint64_t	 held_until;	/* a load that began later lifts those beyond MOST_HOLDS */
	struct batch	 batch;		/* of the load under way */
	struct delta	 delta;
	struct audit	 audit;
	unsigned	 lines;		/* logged about this load, delta or audit */
	bool		 wants_load;
};

static const struct span	 no_realm = { "", 0 };

int
sink_open(struct sink **out, struct writer *w, const char *dir)
{
	struct sink *s = calloc(1, sizeof *s);

	if (s == NULL)
		return -ENOMEM;
	s->w = w;
	s->dir = strdup(dir);
	s->policies = keyset_new();
	s->left_out = keyset_new();
	s->holds = keyset_new();
	if (s->dir == NULL || s->policies == NULL || s->left_out == NULL || s->holds == NULL) {
		sink_close(&s);
		return -ENOMEM;
	}
	s->held_at_large = writer_get(w, STATUS_held);
	*out = s;
	return 0;
}

static void
delta_fini(struct delta *d)
{
	for (size_t i = 0; i < d->nlists; i++)
		free(d->lists[i]);
	free(d->changes);
	free(d->lists);
	free(d->refused);
	*d = (struct delta){ 0 };
}

void
sink_close(struct sink **sp)
{
	struct sink *s = *sp;

	if (s == NULL)
		return;
	sink_load_abort(s);
	delta_fini(&s->delta);
	reader_close(&s->audit.reader);
	keyset_free(&s->audit.policies);
	keyset_free(&s->policies);
	keyset_free(&s->left_out);
	keyset_free(&s->holds);
	free(s->dir);
	free(s);
	*sp = NULL;
}

static void
count_held(struct sink *s)
{
	writer_set(s->w, STATUS_held, (int64_t)keyset_count(s->holds) + s->held_at_large);
}

/* ---- rows and policies as the database gives them ---- */

static int
read_row(const struct span *columns, struct row *row)
{
	*row = (struct row){ .realm = columns[0], .origin = columns[1], .policy = columns[2] };
	if (row->realm.at == NULL || row->origin.at == NULL || row->policy.at == NULL ||
	    !wire_bool(columns[3], &row->allow) || !wire_expiry(columns[4], &row->expires_at))
		return -EBADMSG;
	if (row->expires_at > UINT32_MAX)
		row->expires_at = ROW_NEVER;	/* the table's seconds end in 2106 */
	return 0;
}

static const char why_no_policy[] = "its policy is not usable: until it is, the row refuses";
static const char why_dead[] = "it covers a public suffix, and its policy allows credentials without insecure";

/* These are in the table all the same: as a refusal, or such that readers treat it as absent. */
static bool
is_stored(const char *why)
{
	return why == NULL || why == why_no_policy || why == why_dead;
}

/*
 * NULL: the row is in force as it is. Otherwise why not. Sets all but what the database says. A row that
 * refuses needs no policy. One that allows refuses without it: no pattern behind it may answer instead.
 */
static const char *
parse_row(const struct keyset *policies, struct parsed_row *p)
{
	struct row *row = &p->row;
	enum origin_status status;
	const struct key *policy;

	if (!realm_is_valid(row->realm.at, row->realm.len))
		return "its realm is too long or has control characters";
	status = rule_parse(&p->rule, row->origin.at, row->origin.len);
	if (status != ORIGIN_OK)
		return origin_strstatus(status);
	if (p->rule.form == RULE_SUFFIX || p->rule.form == RULE_SUFFIX_ANY_PORT)
		row->public_suffix = suffix_is_public(p->rule.origin.host);
	policy = keyset_get(policies, no_realm, row->policy);
	p->handle = ROW_NO_POLICY;
	if (policy != NULL && !(policy->value & POLICY_IS_REFUSED))
		p->handle = (uint32_t)(policy->value >> POLICY_HANDLE_SHIFT);
	if (!row->allow)
		return NULL;
	row->allow = p->handle != ROW_NO_POLICY;
	if (!row->allow)
		return why_no_policy;
	/* nobody can sign in from a whole public suffix */
	return row->public_suffix && policy->value & POLICY_NEEDS_SAFE ? why_dead : NULL;
}

static const char *
check_row(const struct keyset *policies, struct row *row)
{
	struct parsed_row p = { .row = *row };
	const char *why = parse_row(policies, &p);

	*row = p.row;
	return why;
}

static int
read_list(struct span column, struct span *list, const struct span **at, size_t *count)
{
	*at = list;
	return wire_texts(column, list, POLICY_MAX_TOKENS, count);
}

/* 0, -EBADMSG, or why the policy is of no use: -E2BIG, -EINVAL. */
static int
read_policy(const struct span *columns, struct lists *l)
{
	struct policy_row *p = &l->row;
	int error;

	*p = (struct policy_row){ .name = columns[0], .max_age = POLICY_NO_MAX_AGE };
	if (p->name.at == NULL || !wire_bool(columns[4], &p->credentials) || !wire_bool(columns[5], &p->insecure) ||
	    (columns[6].at != NULL && !wire_int4(columns[6], &p->max_age)))
		return -EBADMSG;
	if (columns[6].at != NULL && p->max_age < 0)
		return -EINVAL;		/* POLICY_NO_MAX_AGE is what NULL is called here */
	if ((error = read_list(columns[1], l->methods, &p->methods, &p->nmethods)) != 0 ||
	    (error = read_list(columns[2], l->headers, &p->headers, &p->nheaders)) != 0)
		return error;
	return read_list(columns[3], l->expose, &p->expose, &p->nexpose);
}

/* Reads and compiles; what cannot be used is logged and *is_refused. */
static int
check_policy(const struct span *columns, struct lists *l, bool *is_refused)
{
	char block[POLICY_MAX];
	char name[4 * POLICY_MAX_NAME + 8];
	enum policy_status status = POLICY_TOO_MANY;
	size_t len;
	int error = read_policy(columns, l);

	if (error == -EBADMSG)
		return error;
	if (error == -EINVAL)
		status = POLICY_BAD_MAX_AGE;
	else if (error == 0)
		status = policy_compile(&l->row, block, &len, NULL);
	*is_refused = status != POLICY_OK;
	if (*is_refused)
		log_warn("sync: left out policy=%s: %s", log_value(name, sizeof name, columns[0].at, columns[0].len),
		    error == -EINVAL ? "a NULL or a list in its lists, or its max_age is negative" : policy_strstatus(status));
	return 0;
}

static uint64_t
policy_flags(const struct policy_row *p, bool is_refused)
{
	return (is_refused ? POLICY_IS_REFUSED : 0) | (p->credentials && !p->insecure ? POLICY_NEEDS_SAFE : 0);
}

/* handle: of a policy that a load put into its table. */
static int
remember_policy(struct keyset *policies, const struct policy_row *p, bool is_refused, int64_t handle)
{
	struct key *key = keyset_put(policies, no_realm, p->name);

	if (key == NULL)
		return -ENOMEM;
	key->value = policy_flags(p, is_refused) | (uint64_t)handle << POLICY_HANDLE_SHIFT;
	return 0;
}

static void
log_row(struct sink *s, const char *what, const struct row *row, const char *why)
{
	char realm[64], origin[256];

	if (s->lines++ < MOST_LINES)
		log_warn("sync: %s realm=%s origin=%s: %s", what, log_value(realm, sizeof realm, row->realm.at, row->realm.len),
		    log_value(origin, sizeof origin, row->origin.at, row->origin.len), why);
	else if (s->lines == MOST_LINES + 1)
		log_warn("sync: more rows like that are counted, not logged");
}

/* Counts the row among those left out; logs it unless it was there before. */
static int
leave_out(struct sink *s, struct keyset *set, const struct row *row, const char *why)
{
	struct key *key;

	if (keyset_get(s->left_out, row->realm, row->origin) == NULL)
		log_row(s, "left out", row, why);
	key = keyset_put(set, row->realm, row->origin);
	if (key == NULL)
		return -ENOMEM;
	key->value = why == why_no_policy ? WAITS_FOR_POLICY : 0;
	return 0;
}

/* ---- a whole load ---- */

int
sink_load_begin(struct sink *s, uint64_t rows, uint64_t number)
{
	int error;

	s->next_policies = keyset_new();
	s->next_left_out = keyset_new();
	if (s->next_policies == NULL || s->next_left_out == NULL)
		error = -ENOMEM;
	else
		error = writer_begin(s->w, rows, &s->next);
	if (error != 0) {
		sink_load_abort(s);
		return error;
	}
	s->number = number;
	s->rows = 0;
	s->batch.n = 0;
	s->lines = 0;
	return 0;
}

void
sink_load_abort(struct sink *s)
{
	if (s->next != NULL)
		writer_abort(s->w, &s->next);
	keyset_free(&s->next_policies);
	keyset_free(&s->next_left_out);
	writer_set(s->w, STATUS_loading_rows, 0);
}

uint64_t
sink_loaded(const struct sink *s)
{
	return s->rows;
}

int
sink_load_policy(struct sink *s, const struct span *columns)
{
	enum policy_status status;
	struct lists l;
	bool is_refused;
	int error = check_policy(columns, &l, &is_refused);

	if (error == 0 && !is_refused)
		error = table_policy_put(s->next, &l.row, &status);
	if (error == 0)
		error = remember_policy(s->next_policies, &l.row, is_refused,
		    is_refused ? 0 : table_policy_handle(s->next, l.row.name));
	return error;
}

static int
flush(struct sink *s)
{
	int error = table_put_parsed(s->next, s->batch.rows, s->batch.n);

	s->batch.n = 0;
	return error;
}

static char *
copy_span(char *to, struct span *from)
{
	memcpy(to, from->at, from->len);
	from->at = to;
	return to + from->len;
}

/* True: the batch has room for its bytes, and they are there. A row that is too long for that is too long for all. */
static bool
copy_row(struct batch *b, struct row *row)
{
	char *p = b->bytes[b->n];

	if (row->realm.len > REALM_MAX || row->origin.len > RULE_MAX || row->policy.len > POLICY_MAX_NAME)
		return false;
	copy_span(copy_span(copy_span(p, &row->realm), &row->origin), &row->policy);
	return true;
}

int
sink_load_row(struct sink *s, const struct span *columns)
{
	struct parsed_row *p = &s->batch.rows[s->batch.n];
	bool is_whole;
	const char *why;
	int error = read_row(columns, &p->row);

	if (error != 0)
		return error;
	s->rows++;
	is_whole = copy_row(&s->batch, &p->row);
	why = parse_row(s->next_policies, p);
	if (why != NULL && ((error = leave_out(s, s->next_left_out, &p->row, why)) != 0 || !is_stored(why)))
		return error;
	assert(is_whole);
	return ++s->batch.n < BATCH ? 0 : flush(s);
}

static int
carry_hold(const struct row *row, void *arg)
{
	struct sink *s = arg;

	return row->held && table_hold(s->next, row->realm, row->origin) < 0 ? -EINVAL : 0;
}

/* Holds that this load knows nothing of go on in its table. */
static int
carry_holds(struct sink *s)
{
	int64_t n;

	if (s->held_until >= s->number && writer_table(s->w) != NULL)
		return table_each(writer_table(s->w), carry_hold, s);
	for (struct key *k = keyset_next(s->holds, NULL); k != NULL; k = keyset_next(s->holds, k)) {
		if (k->value < s->number)
			continue;
		n = table_hold(s->next, k->realm, k->origin);
		if (n < 0)
			return (int)n;
	}
	return 0;
}

static void
lift_holds(struct sink *s)
{
	struct key *next;

	for (struct key *k = keyset_next(s->holds, NULL); k != NULL; k = next) {
		next = keyset_next(s->holds, k);
		if (k->value < s->number)
			keyset_remove(s->holds, k->realm, k->origin);
	}
	if (s->held_until < s->number) {
		s->held_at_large = 0;
		s->held_until = 0;
	}
	count_held(s);
}

int
sink_load_commit(struct sink *s)
{
	int error = flush(s);

	if (error == 0)
		error = carry_holds(s);
	if (error == 0)
		error = writer_commit(s->w, &s->next);
	if (error != 0)
		return error;
	lift_holds(s);
	keyset_free(&s->policies);
	keyset_free(&s->left_out);
	s->policies = s->next_policies;
	s->left_out = s->next_left_out;
	s->next_policies = s->next_left_out = NULL;
	s->wants_load = s->held_until != 0;
	writer_set(s->w, STATUS_left_out, (int64_t)keyset_count(s->left_out));
	writer_set(s->w, STATUS_loading_rows, 0);
	return 0;
}

/* ---- a delta ---- */

int
sink_delta_begin(struct sink *s, size_t most, uint64_t number)
{
	struct delta *d = &s->delta;

	delta_fini(d);
	d->number = number;
	d->changes = calloc(most + 1, sizeof *d->changes);
	d->lists = calloc(most + 1, sizeof *d->lists);
	d->refused = calloc(most + 1, sizeof *d->refused);
	s->lines = 0;
	return d->changes != NULL && d->lists != NULL && d->refused != NULL ? 0 : -ENOMEM;
}

static bool
is_held_beyond(const struct sink *s, const struct row *row, uint64_t number)
{
	const struct key *hold = keyset_get(s->holds, row->realm, row->origin);

	return hold != NULL && hold->value >= number;
}

/* Rows are checked by apply, when the policies of this delta are known. */
int
sink_delta_row(struct sink *s, const struct span *columns)
{
	struct delta *d = &s->delta;
	struct change *c = &d->changes[d->nchanges];

	if (columns[2].at != NULL) {
		if (read_row(columns, &c->row) != 0)
			return -EBADMSG;
	} else {
		if (columns[0].at == NULL || columns[1].at == NULL)
			return -EBADMSG;
		c->row = (struct row){ .realm = columns[0], .origin = columns[1] };
		c->gone = true;
	}
	if (!is_held_beyond(s, &c->row, d->number))
		d->nchanges++;
	return 0;
}

int
sink_delta_policy(struct sink *s, const struct span *columns)
{
	struct delta *d = &s->delta;
	struct lists *l;
	bool is_refused = false;
	int error;

	if (columns[1].at == NULL) {
		d->refused[d->nrefused++] = columns[0];
		return columns[0].at != NULL ? 0 : -EBADMSG;
	}
	l = malloc(sizeof *l);
	if (l == NULL)
		return -ENOMEM;
	error = check_policy(columns, l, &is_refused);
	if (error != 0 || is_refused) {
		if (error == 0) {
			d->refused[d->nrefused++] = columns[0];
			error = remember_policy(s->policies, &l->row, true, 0);
		}
		free(l);
		return error;
	}
	d->lists[d->nlists++] = l;
	return 0;
}

static bool
waits_for_policy(const struct keyset *left_out)
{
	for (const struct key *k = keyset_next(left_out, NULL); k != NULL; k = keyset_next(left_out, k))
		if (k->value == WAITS_FOR_POLICY)
			return true;
	return false;
}

/*
 * What the policies of this delta are now, before its rows are checked against them. Where one is usable
 * that was not, as in a replica where rows came before it, the rows that wait for it are read again.
 */
static int
learn_policies(struct sink *s)
{
	const struct key *known;
	const struct delta *d = &s->delta;
	int error = 0;

	for (size_t i = 0; error == 0 && i < d->nlists; i++) {
		known = keyset_get(s->policies, no_realm, d->lists[i]->row.name);
		if (known != NULL ? (known->value & POLICY_IS_REFUSED) != 0 : waits_for_policy(s->left_out))
			s->wants_load = true;
		error = remember_policy(s->policies, &d->lists[i]->row, false, 0);
	}
	return error;
}

/* Rows that may not be there become removals. A key that the table cannot even have is dropped. */
static int
check_changes(struct sink *s)
{
	struct delta *d = &s->delta;
	struct change *c;
	struct rule rule;
	const char *why;
	size_t kept = 0;
	int error = 0;

	for (size_t i = 0; error == 0 && i < d->nchanges; i++) {
		c = &d->changes[i];
		why = c->gone ? NULL : check_row(s->policies, &c->row);
		if (why != NULL)
			error = leave_out(s, s->left_out, &c->row, why);
		else
			keyset_remove(s->left_out, c->row.realm, c->row.origin);
		c->gone |= !is_stored(why);
		if (realm_is_valid(c->row.realm.at, c->row.realm.len) &&
		    rule_parse(&rule, c->row.origin.at, c->row.origin.len) == ORIGIN_OK)
			d->changes[kept++] = *c;
	}
	d->nchanges = kept;
	writer_set(s->w, STATUS_left_out, (int64_t)keyset_count(s->left_out));
	return error;
}

static int
apply_all(struct sink *s)
{
	struct delta *d = &s->delta;
	struct policy_row *policies = calloc(d->nlists + 1, sizeof *policies);
	int error;

	if (policies == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < d->nlists; i++)
		policies[i] = d->lists[i]->row;
	error = table_batch(writer_table(s->w), d->changes, d->nchanges, policies, d->nlists,
	    d->refused, d->nrefused);
	free(policies);
	return error;
}

/* The policies that this delta is about; NULL: no memory. */
static struct keyset *
changed_policies(const struct delta *d)
{
	struct keyset *set = keyset_new();
	bool is_ok = set != NULL;

	for (size_t i = 0; is_ok && i < d->nlists; i++)
		is_ok = keyset_put(set, no_realm, d->lists[i]->row.name) != NULL;
	for (size_t i = 0; is_ok && i < d->nrefused; i++)
		is_ok = keyset_put(set, no_realm, d->refused[i]) != NULL;
	if (!is_ok)
		keyset_free(&set);
	return set;
}

/* One origin alone, under a policy that stays as it is: true whatever else changed. */
static bool
stands_alone(const struct change *c, const struct keyset *policies)
{
	struct rule rule;

	return !c->gone && rule_parse(&rule, c->row.origin.at, c->row.origin.len) == ORIGIN_OK &&
	    rule.form == RULE_EXACT && keyset_get(policies, no_realm, c->row.policy) == NULL;
}

bool
sink_delta_stands_alone(const struct sink *s)
{
	const struct delta *d = &s->delta;
	struct parsed_row p;

	for (size_t i = 0; i < d->nchanges; i++) {
		p.row = d->changes[i].row;
		if (d->changes[i].gone || parse_row(s->policies, &p) != NULL || p.rule.form != RULE_EXACT)
			return false;
	}
	return d->nlists == 0 && d->nrefused == 0;
}

/*
 * A part of what some transactions changed: no row may meet a policy that it never had, and no
 * wide row an origin that another one refused or will refuse. So what stands alone is put, all else
 * that changed refuses, and the policies stay, until the load brings the whole.
 */
static int
apply_part(struct sink *s)
{
	struct delta *d = &s->delta;
	struct table *t = writer_table(s->w);
	struct keyset *policies = changed_policies(d);
	size_t kept = 0;

	for (size_t i = 0; i < d->nchanges; i++) {
		const struct change *c = &d->changes[i];

		if (policies != NULL && stands_alone(c, policies))
			d->changes[kept++] = *c;
		else
			table_refuse(t, &c->row);
	}
	keyset_free(&policies);
	d->nchanges = kept;
	return table_batch(t, d->changes, d->nchanges, NULL, 0, NULL, 0);
}

/* Remembered until the next load: should they come back, rows may wait for them. */
static void
retire_policies(struct sink *s)
{
	struct key *known;

	for (size_t i = 0; i < s->delta.nrefused; i++)
		if ((known = keyset_get(s->policies, no_realm, s->delta.refused[i])) != NULL)
			known->value |= POLICY_IS_REFUSED;
}

/* All that the database says is in the table: what was refused because something could not be written is over. */
static void
settle(struct sink *s)
{
	if (keyset_count(s->holds) == 0 && s->held_until == 0)
		writer_lift_wide_holds(s->w);
}

int
sink_delta_apply(struct sink *s, bool is_partial)
{
	struct delta *d = &s->delta;
	int error = learn_policies(s);

	if (error == 0)
		error = check_changes(s);
	if (error != 0) {		/* out of memory, so nobody knows what has to be refused */
		writer_hold_all(s->w);
		s->wants_load = true;
	} else {
		error = is_partial ? apply_part(s) : apply_all(s);
	}
	if (error == 0) {
		for (size_t i = 0; i < d->nchanges; i++)
			keyset_remove(s->holds, d->changes[i].row.realm, d->changes[i].row.origin);
		if (!is_partial) {
			retire_policies(s);
			settle(s);
		}
		writer_add(s->w, STATUS_changes, (int64_t)(d->nchanges + d->nlists + d->nrefused));
		count_held(s);
	}
	delta_fini(d);
	return error;
}

bool
sink_wants_load(const struct sink *s)
{
	return s->wants_load;
}

/* ---- an audit ---- */

/* Equal policies have equal fingerprints; one policy against itself, so FNV-1a is enough. */
static uint64_t
fingerprint(const struct policy *p)
{
	const struct span parts[] = { p->methods, p->headers, p->expose };
	uint64_t h = 0xcbf29ce484222325 ^ (uint32_t)p->max_age;

	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		h = (h ^ parts[i].len) * 0x100000001b3;
		for (size_t j = 0; j < parts[i].len; j++)
			h = (h ^ (unsigned char)parts[i].at[j]) * 0x100000001b3;
	}
	return h * 16 + p->credentials + 2U * p->insecure + 4U * p->any_method + 8U * p->any_header;
}

int
sink_audit_begin(struct sink *s)
{
	struct audit *a = &s->audit;
	int error = 0;

	keyset_free(&a->policies);
	keyset_free(&s->next_left_out);
	a->found = a->drift = 0;
	a->policies = keyset_new();
	s->next_left_out = keyset_new();
	s->lines = 0;
	if (a->policies == NULL || s->next_left_out == NULL)
		return -ENOMEM;
	if (a->reader == NULL)
		error = reader_open(&a->reader, s->dir);
	return error != 0 ? error : reader_refresh(a->reader);
}

int
sink_audit_policy(struct sink *s, const struct span *columns)
{
	char block[POLICY_MAX];
	struct policy p;
	struct lists l;
	struct key *key;
	size_t len;
	int error = read_policy(columns, &l);

	if (error == -EBADMSG)
		return error;
	if (error != 0 || policy_compile(&l.row, block, &len, NULL) != POLICY_OK ||
	    policy_read(&p, block, len) != POLICY_OK)
		return 0;		/* refused: must not be in the table */
	key = keyset_put(s->audit.policies, no_realm, p.name);
	if (key == NULL)
		return -ENOMEM;
	key->value = fingerprint(&p);
	return 0;
}

static bool
is_same(struct span a, struct span b)
{
	return a.len == b.len && memcmp(a.at, b.at, a.len) == 0;
}

static void
differs(struct sink *s, const struct row *row, const char *how)
{
	s->audit.drift++;
	log_row(s, "audit:", row, how);
}

int
sink_audit_row(struct sink *s, const struct span *columns)
{
	struct row want, have;
	const char *why;
	int error = read_row(columns, &want);

	if (error != 0)
		return error;
	why = check_row(s->policies, &want);
	if (why != NULL && ((error = leave_out(s, s->next_left_out, &want, why)) != 0 || !is_stored(why)))
		return error;
	error = table_get(writer_table(s->w), want.realm, want.origin, &have);
	if (error != 0 || (have.held && have.policy.len == 0)) {	/* a hold without a row behind it */
		differs(s, &want, "it is not in the table");
		return 0;
	}
	s->audit.found++;
	if ((want.allow && !is_same(have.policy, want.policy)) || have.allow != want.allow || have.expires_at != want.expires_at || have.public_suffix != want.public_suffix)
		differs(s, &want, "the table says something else");
	return 0;
}

static int
audit_policy_in_table(const struct policy *p, void *arg)
{
	struct sink *s = arg;
	const struct key *key = keyset_get(s->audit.policies, no_realm, p->name);
	char name[4 * POLICY_MAX_NAME + 8];

	if (key == NULL || key->value != fingerprint(p)) {
		s->audit.drift++;
		log_warn("sync: audit: policy=%s differs", log_value(name, sizeof name, p->name.at, p->name.len));
	}
	keyset_remove(s->audit.policies, no_realm, p->name);
	return 0;
}

int64_t
sink_audit_end(struct sink *s)
{
	struct audit *a = &s->audit;
	uint64_t rows = table_rows(writer_table(s->w));
	int error = reader_each_policy(a->reader, audit_policy_in_table, s);

	if (error < 0)
		return error;
	if (rows != a->found) {
		log_warn("sync: audit: rows=%llu of the table are not in the database",
		    (unsigned long long)(rows - a->found));
		a->drift += rows > a->found ? rows - a->found : a->found - rows;
	}
	a->drift += keyset_count(a->policies);		/* those the table does not have */
	keyset_free(&s->left_out);
	s->left_out = s->next_left_out;
	s->next_left_out = NULL;
	keyset_free(&a->policies);
	writer_set(s->w, STATUS_left_out, (int64_t)keyset_count(s->left_out));
	return (int64_t)a->drift;
}

/* ---- holds ---- */

int64_t
sink_hold(struct sink *s, struct span realm, struct span origin, uint64_t last)
{
	struct table *t = writer_table(s->w);
	int64_t n = t != NULL ? table_hold(t, realm, origin) : 0;	/* first: whatever follows, it is refused */
	struct key *hold = keyset_get(s->holds, realm, origin);

	if (n < 0)
		return n;
	if (hold == NULL && keyset_count(s->holds) < MOST_HOLDS)
		hold = keyset_put(s->holds, realm, origin);
	if (hold != NULL) {
		hold->value = last;
	} else {			/* only the table knows */
		s->held_until = last;
		s->held_at_large += n;
		s->wants_load = true;
	}
	count_held(s);
	return n;
}

int64_t
sink_hold_realm(struct sink *s, struct span realm)
{
	struct table *t = writer_table(s->w);
	int64_t n = t != NULL ? table_hold_realm(t, realm) : 0;

	if (n > 0)
		s->held_at_large += n;
	count_held(s);
	return n;
}

int64_t
sink_hold_all(struct sink *s)
{
	struct table *t = writer_table(s->w);
	int error = writer_hold_all(s->w);

	if (error != 0)
		return error;
	s->held_at_large = t != NULL ? (int64_t)table_rows(t) : 0;
	count_held(s);
	return s->held_at_large;
}

const struct keyset *
sink_holds(const struct sink *s)
{
	return s->holds;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WORD_STUB	(STUB_HANDLE | WORD_REFUSE)	/* of a stub, with what it was made for */

/* ---- one row ---- */

static uint32_t
seconds_word(int64_t expires_at)
{
	if (expires_at == ROW_NEVER || expires_at > UINT32_MAX)
		return 0;
	return expires_at < 1 ? 1 : (uint32_t)expires_at;
}

/* The word of a record alone, where nothing else of it changes. */
static void
store_word(struct table *t, struct record *r, const struct key *k, uint32_t word)
{
	if (record_is_wide(r))
		table_bump_epoch(t);
	atomic_store_explicit(&r->word, word_seal(word, r->flags, record_expires(r), k->hash), memory_order_release);
}

static int
parse_key(const struct table *t, struct key *k, struct rule *rule, struct span realm, struct span origin)
{
	if (!realm_is_valid(realm.at, realm.len) || rule_parse(rule, origin.at, origin.len) != ORIGIN_OK)
		return -EINVAL;
	key_rule(k, &t->geometry, realm, rule);
	return 0;
}

/* A record of a key that has none, or in place of the one at slot. */
static int
place(struct table *t, const struct key *k, const struct rule *rule, struct span realm, _Atomic uint64_t *slot,
    uint32_t word, uint8_t flags, uint32_t expires, bool may_use_spare)
{
	bool is_new = slot == NULL;
	int error = is_new ? table_realm_add(t, realm, rule, may_use_spare) : 0;

	if (error != 0)
		return error;
	if (rule->form != RULE_EXACT)
		table_bump_epoch(t);
	error = table_place_record(t, k, slot, word_seal(word, flags, expires, k->hash), flags, expires, may_use_spare);
	if (error != 0 && is_new)
		table_realm_drop(t, realm, rule);
	return error;
}

/* k, rule: of the row's key. What cachectl revoked stays so, whatever the row says. */
static int
put_keyed(struct table *t, const struct key *k, const struct rule *rule, const struct row *row, uint32_t handle,
    bool may_use_spare)
{
	uint32_t expires = seconds_word(row->expires_at), word = handle | (row->allow ? 0 : WORD_REFUSE);
	uint8_t flags = (uint8_t)((expires != 0 ? RECORD_EXPIRES : 0) | (row->public_suffix ? RECORD_PUBLIC_SUFFIX : 0));
	_Atomic uint64_t *slot = NULL;
	struct record *r;
	int error = table_recount(t);

	if (error != 0)
		return error;
	r = shard_find(&t->shards[k->shard].shard, k, &slot);
	bool was_row = r != NULL && record_is_row(r);
	if (r != NULL)
		word |= record_word(r) & WORD_REVOKED;
	if (r != NULL && r->flags == flags && record_expires(r) == expires) {
		store_word(t, r, k, word);
	} else {
		error = place(t, k, rule, row->realm, slot, word, flags, expires, may_use_spare || r != NULL);
		if (error != 0)
			return error;
		table_compact_if_worth_it(t, k->shard);
	}
	if (!was_row)
		count_add(&t->root->rows, 1);
	return 0;
}

static int
put_row(struct table *t, const struct row *row, uint32_t handle, bool may_use_spare)
{
	struct rule rule;
	struct key k;
	int error = parse_key(t, &k, &rule, row->realm, row->origin);

	return error != 0 ? error : put_keyed(t, &k, &rule, row, handle, may_use_spare);
}

int
table_put(struct table *t, const struct row *row)
{
	struct policy_name *name = table_find_policy(t, row->policy);

	if (name == NULL && row->allow)
		return -ENOENT;
	return put_row(t, row, name != NULL ? name->handle : NO_HANDLE, !row->allow);
}

#define AHEAD	16	/* rows whose slots are fetched before the first of them is put */

static int
put_some(struct table *t, const struct parsed_row *rows, size_t n)
{
	struct key keys[AHEAD];
	int error = 0;

	for (size_t i = 0; i < n; i++) {
		key_rule(&keys[i], &t->geometry, rows[i].row.realm, &rows[i].rule);
		shard_prefetch(&t->shards[keys[i].shard].shard, &keys[i]);
	}
	for (size_t i = 0; error == 0 && i < n; i++)
		error = put_keyed(t, &keys[i], &rows[i].rule, &rows[i].row,
		    rows[i].handle != ROW_NO_POLICY ? rows[i].handle : NO_HANDLE, !rows[i].row.allow);
	return error;
}

int
table_put_parsed(struct table *t, const struct parsed_row *rows, size_t n)
{
	int error = 0;

	for (size_t i = 0; error == 0 && i < n; i += AHEAD)
		error = put_some(t, rows + i, n - i < AHEAD ? n - i : AHEAD);
	return error;
}

static void
remove_record(struct table *t, const struct key *k, const struct rule *rule, struct span realm, _Atomic uint64_t *slot)
{
	if (rule->form != RULE_EXACT)
		table_bump_epoch(t);
	shard_remove(&t->shards[k->shard].shard, slot);
	table_realm_drop(t, realm, rule);
	table_compact_if_worth_it(t, k->shard);
}

int
table_remove(struct table *t, struct span realm, struct span origin)
{
	_Atomic uint64_t *slot;
	struct record *r;
	struct rule rule;
	struct key k;
	int error = parse_key(t, &k, &rule, realm, origin);

	if (error != 0 || (error = table_recount(t)) != 0)
		return error;
	if ((r = shard_find(&t->shards[k.shard].shard, &k, &slot)) == NULL)
		return -ENOENT;
	if (record_is_row(r))
		count_add(&t->root->rows, (uint64_t)-1);
	if (record_word(r) & WORD_REVOKED)	/* what cachectl revoked stays so */
		store_word(t, r, &k, WORD_STUB | WORD_REVOKED);
	else
		remove_record(t, &k, &rule, realm, slot);
	return 0;
}

/* ---- holds ---- */

static void
hold_record(struct table *t, struct record *r)
{
	struct key k;

	record_key(&k, &t->geometry, r);
	store_word(t, r, &k, atomic_load_explicit(&r->word, memory_order_relaxed) | WORD_HELD);
}

int64_t
table_hold(struct table *t, struct span realm, struct span origin)
{
	struct record *r;
	struct rule rule;
	struct key k;
	int error = parse_key(t, &k, &rule, realm, origin);

	if (error != 0)
		return error;
	if ((r = shard_find(&t->shards[k.shard].shard, &k, NULL)) != NULL) {
		hold_record(t, r);
		return 1;
	}
	if (rule.form != RULE_EXACT)
		return 0;
	if (place(t, &k, &rule, realm, NULL, WORD_STUB | WORD_HELD, 0, 0, true) != 0)
		table_realm_hold_wide(t, realm);
	return 1;
}

int
table_revoke(struct table *t, struct span realm, struct span origin)
{
	struct record *r;
	struct rule rule;
	struct key k;
	int error = parse_key(t, &k, &rule, realm, origin);

	if (error != 0)
		return error;
	if ((r = shard_find(&t->shards[k.shard].shard, &k, NULL)) != NULL)
		store_word(t, r, &k, record_word(r) | WORD_REVOKED);
	else if ((error = place(t, &k, &rule, realm, NULL, WORD_STUB | WORD_REVOKED, 0, 0, true)) != 0)
		table_realm_hold_wide(t, realm);
	return error;
}

int
table_restore(struct table *t, struct span realm, struct span origin)
{
	_Atomic uint64_t *slot;
	struct record *r;
	struct rule rule;
	struct key k;
	uint32_t word;
	int error = parse_key(t, &k, &rule, realm, origin);

	if (error != 0)
		return error;
	if ((r = shard_find(&t->shards[k.shard].shard, &k, &slot)) == NULL)
		return 0;
	word = record_word(r) & ~WORD_REVOKED;
	if (record_is_row(r) || word & WORD_HELD)
		store_word(t, r, &k, word);
	else
		remove_record(t, &k, &rule, realm, slot);
	return 0;
}

int64_t
table_hold_realm(struct table *t, struct span realm)
{
	struct record *r;
	int64_t held = 0;

	for (unsigned i = 0; i < t->geometry.shards; i++)
		for (uint64_t at = 0; (r = shard_next(&t->shards[i].shard, &at)) != NULL;)
			if (!(r->flags & RECORD_REALM) && r->realm == realm.len &&
			    memcmp(r->bytes + record_skip(r->flags), realm.at, realm.len) == 0) {
				hold_record(t, r);
				held++;
			}
	return held;
}

/* ---- a transaction ---- */

/* Narrowest first: what decides before what. */
static int
compare_changes(const void *a, const void *b)
{
	const struct change *x = a, *y = b;
	struct rule rx = { .form = RULE_FORM_COUNT }, ry = rx;
	int order;

	if (x->gone != y->gone)
		return x->gone ? 1 : -1;
	rule_parse(&rx, x->row.origin.at, x->row.origin.len);
	rule_parse(&ry, y->row.origin.at, y->row.origin.len);
	order = rx.form != ry.form ? (rx.form < ry.form ? -1 : 1) :
	    rx.depth != ry.depth ? (rx.depth > ry.depth ? -1 : 1) : 0;
	return x->gone ? -order : order;	/* removals from the widest */
}

/*
 * Refuses what a change is about until the change itself is made: where rows and policies change
 * together, a row with its old policy's new content, or the next wider row with its policy's old one,
 * would be an answer that never was.
 */
static int
refuse_meanwhile(struct table *t, const struct change *c)
{
	struct row row = c->row;
	struct record *r;
	struct rule rule;
	struct key k;
	int error;

	if (!c->gone) {
		row.allow = false;
		row.expires_at = ROW_NEVER;
		return put_row(t, &row, NO_HANDLE, !c->row.allow);
	}
	if ((error = parse_key(t, &k, &rule, row.realm, row.origin)) == 0 &&
	    (r = shard_find(&t->shards[k.shard].shard, &k, NULL)) != NULL)
		store_word(t, r, &k, atomic_load_explicit(&r->word, memory_order_relaxed) | WORD_REFUSE);
	return error;
}

/* A policy that is new has no rows yet. */
static bool
changes_rows(struct table *t, const struct policy_row *policies, size_t npolicies)
{
	for (size_t i = 0; i < npolicies; i++)
		if (table_find_policy(t, policies[i].name) != NULL)
			return true;
	return false;
}

static int
apply_change(struct table *t, const struct change *c)
{
	int error = c->gone ? table_remove(t, c->row.realm, c->row.origin) : table_put(t, &c->row);

	return c->gone && error == -ENOENT ? 0 : error;
}

/* None of this needs memory or a file, except a stub; where that does not fit either, all wide rows of the realm refuse. */
void
table_refuse(struct table *t, const struct row *row)
{
	struct record *r;
	struct rule rule;
	struct key k;

	if (parse_key(t, &k, &rule, row->realm, row->origin) != 0)
		return;
	if ((r = shard_find(&t->shards[k.shard].shard, &k, NULL)) != NULL)
		hold_record(t, r);
	else if (table_realm_is_wide(t, row->realm) &&
	    place(t, &k, &rule, row->realm, NULL, WORD_STUB | WORD_HELD, 0, 0, true) != 0)
		table_realm_hold_wide(t, row->realm);
}

static void
do_or_refuse(struct table *t, int (*make)(struct table *t, const struct change *c), const struct change *changes,
    size_t n, int *first)
{
	int error;

	for (size_t i = 0; i < n; i++) {
		if ((error = make(t, &changes[i])) == 0)
			continue;
		table_refuse(t, &changes[i].row);
		*first = *first != 0 ? *first : error;
	}
}

static void
put_policies(struct table *t, const struct policy_row *policies, size_t n, int *first)
{
	enum policy_status why;
	int error;

	for (size_t i = 0; i < n; i++) {
		if ((error = table_policy_put(t, &policies[i], &why)) == 0)
			continue;
		table_policy_refuse(t, policies[i].name);
		*first = *first != 0 ? *first : error;
	}
}

int
table_batch(struct table *t, struct change *rows, size_t nrows, const struct policy_row *policies, size_t npolicies,
    const struct span *gone_policies, size_t ngone)
{
	int error = 0;

	qsort(rows, nrows, sizeof *rows, compare_changes);
	if (changes_rows(t, policies, npolicies))
		do_or_refuse(t, refuse_meanwhile, rows, nrows, &error);
	put_policies(t, policies, npolicies, &error);
	do_or_refuse(t, apply_change, rows, nrows, &error);
	for (size_t i = 0; i < ngone; i++)
		table_policy_remove(t, gone_policies[i]);
	return error;
}

/* ---- walks ---- */

/* text holds RULE_MAX + 1 bytes and must live as long as the row. */
static bool
row_of(const struct table *t, const struct record *r, char *text, struct row *row)
{
	uint32_t word = atomic_load_explicit(&r->word, memory_order_relaxed);
	struct policy_block *b = table_policy_block(t, word & WORD_HANDLE);
	struct policy p;
	size_t len = record_text(r, text);

	if (len == 0)
		return false;
	*row = (struct row){
		.realm = { (const char *)r->bytes + record_skip(r->flags), r->realm },
		.origin = { text, len },
		.expires_at = record_expires(r),
		.allow = !(word & WORD_REFUSE),
		.held = word & WORD_HELD,
		.revoked = word & WORD_REVOKED,
		.public_suffix = r->flags & RECORD_PUBLIC_SUFFIX,
	};
	if (record_is_row(r) && b != NULL && policy_read(&p, b->bytes, b->len) == POLICY_OK)
		row->policy = p.name;
	else
		row->policy = (struct span){ "", 0 };
	return true;
}

int
table_each(struct table *t, int (*each)(const struct row *row, void *arg), void *arg)
{
	char text[RULE_MAX + 1];
	struct record *r;
	struct row row;
	int stop;

	for (unsigned i = 0; i < t->geometry.shards; i++)
		for (uint64_t at = 0; (r = shard_next(&t->shards[i].shard, &at)) != NULL;)
			if (row_of(t, r, text, &row) && (stop = each(&row, arg)) != 0)
				return stop;
	return 0;
}

int
table_get(struct table *t, struct span realm, struct span origin, struct row *row)
{
	static char text[RULE_MAX + 1];		/* one writer, one thread */
	struct record *r;
	struct rule rule;
	struct key k;

	if (parse_key(t, &k, &rule, realm, origin) != 0)
		return -EINVAL;
	r = shard_find(&t->shards[k.shard].shard, &k, NULL);
	return r != NULL && row_of(t, r, text, row) ? 0 : -ENOENT;
}

uint64_t
table_rows(const struct table *t)
{
	return atomic_load_explicit(&t->root->rows, memory_order_relaxed);
}

/* What was done to a row that is there already, or else to an origin that has none. */
static int
copy_stub(struct table *to, const struct row *row)
{
	if (row->held)
		table_hold(to, row->realm, row->origin);
	return row->revoked ? table_revoke(to, row->realm, row->origin) : 0;
}

int
table_copy_row(struct table *to, const struct table *from, const struct record *r, const uint32_t *handles)
{
	uint32_t word = atomic_load_explicit(&r->word, memory_order_relaxed), handle = word & WORD_HANDLE;
	char text[RULE_MAX + 1];
	struct row row;
	struct key k;
	int error;

	if (!row_of(from, r, text, &row))
		return 0;
	if (!record_is_row(r))
		return copy_stub(to, &row);
	record_key(&k, &from->geometry, r);
	if (handle >= from->next_handle || handles[handle] == UINT32_MAX || !word_is_sealed(word, r, k.hash)) {
		row.allow = false;	/* its policy is gone, or it is damaged: refused before, refused after */
		handle = NO_HANDLE;
	} else
		handle = handles[handle];
	error = put_row(to, &row, handle, false);
	return error != 0 ? error : copy_stub(to, &row);
}

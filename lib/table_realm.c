/* SPDX-License-Identifier: BSD-2-Clause */
#include "table.h"

#include <errno.h>
#include <stdlib.h>

static _Atomic uint64_t *
marks_word(struct realm_marks *m, enum rule_form form)
{
	return form == RULE_HOST_ANY_PORT || form == RULE_SUFFIX_ANY_PORT ? &m->any_port : &m->fixed;
}

/* None for a whole scheme, which is looked for wherever the origin's scheme may have a row. */
static uint64_t
mark_bit(const struct rule *r)
{
	if (r->form == RULE_SCHEME)
		return 0;
	return r->form == RULE_SUFFIX || r->form == RULE_SUFFIX_ANY_PORT ? 1ull << r->depth : 1;
}

static void
add_u32(_Atomic uint32_t *cell, uint32_t n)
{
	atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + n, memory_order_release);
}

/* Before a row or stub of the realm is published: readers must know to look for it. */
int
table_realm_add(struct table *t, struct span realm, const struct rule *rule, bool may_use_spare)
{
	struct record *r;
	struct key k;
	int error;

	key_realm(&k, &t->geometry, realm);
	if ((r = shard_find(&t->shards[k.shard].shard, &k, NULL)) == NULL) {
		if ((error = table_place_record(t, &k, NULL, 0, RECORD_REALM, 0, may_use_spare)) != 0)
			return error;
		r = shard_find(&t->shards[k.shard].shard, &k, NULL);
	}
	struct realm_marks *m = record_marks(r);
	add_u32(&m->rows, 1);
	if (rule->form != RULE_EXACT) {
		_Atomic uint64_t *word = marks_word(m, rule->form);
		add_u32(&m->wide, 1);
		atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) | mark_bit(rule),
		    memory_order_release);
	}
	return 0;
}

/* After one of them is gone. */
void
table_realm_drop(struct table *t, struct span realm, const struct rule *rule)
{
	struct record *r;
	struct key k;

	key_realm(&k, &t->geometry, realm);
	if ((r = shard_find(&t->shards[k.shard].shard, &k, NULL)) == NULL)
		return;
	struct realm_marks *m = record_marks(r);
	add_u32(&m->rows, (uint32_t)-1);
	if (rule->form == RULE_EXACT)
		return;
	add_u32(&m->wide, (uint32_t)-1);
	if (rule->form == RULE_ANY)	/* the only row of its form, so the mark is exact */
		atomic_fetch_and_explicit(&m->fixed, ~1ull, memory_order_release);
	if (atomic_load_explicit(&m->wide, memory_order_relaxed) == 0) {
		atomic_store_explicit(&m->fixed, 0, memory_order_release);
		atomic_store_explicit(&m->any_port, 0, memory_order_release);
	}
}

static struct record *
find_realm(const struct table *t, struct span realm)
{
	struct key k;

	key_realm(&k, &t->geometry, realm);
	return shard_find(&t->shards[k.shard].shard, &k, NULL);
}

bool
table_realm_is_wide(const struct table *t, struct span realm)
{
	struct record *r = find_realm(t, realm);

	return r != NULL && atomic_load_explicit(&record_marks(r)->wide, memory_order_relaxed) > 0;
}

void
table_realm_hold_wide(struct table *t, struct span realm)
{
	struct record *r = find_realm(t, realm);

	if (r == NULL)		/* without it nobody looks for more than the exact row */
		return;
	t->may_hold_wide = true;
	table_bump_epoch(t);
	atomic_store_explicit(&r->word, WORD_HELD, memory_order_release);
}

void
table_lift_wide_holds(struct table *t)
{
	struct record *r;

	if (!t->may_hold_wide)
		return;
	table_bump_epoch(t);
	for (unsigned i = 0; i < t->geometry.shards; i++)
		for (uint64_t at = 0; (r = shard_next(&t->shards[i].shard, &at)) != NULL;)
			if (r->flags & RECORD_REALM)
				atomic_store_explicit(&r->word, 0, memory_order_release);
	t->may_hold_wide = false;
}

struct realm_count {
	struct record	*record;
	uint32_t	 rows, wide;
};

static int
compare_records(const void *a, const void *b)
{
	const struct realm_count *x = a, *y = b;

	return x->record < y->record ? -1 : x->record > y->record;
}

static uint64_t
count_rows(struct table *t, struct realm_count *counts, size_t n)
{
	uint64_t rows = 0;

	for (unsigned i = 0; i < t->geometry.shards; i++) {
		struct record *r;
		struct key k;

		for (uint64_t at = 0; (r = shard_next(&t->shards[i].shard, &at)) != NULL;) {
			if (r->flags & RECORD_REALM)
				continue;
			rows += record_is_row(r);
			key_realm(&k, &t->geometry, (struct span){ (char *)r->bytes + record_skip(r->flags), r->realm });
			struct realm_count want = { .record = shard_find(&t->shards[k.shard].shard, &k, NULL) };
			struct realm_count *c = bsearch(&want, counts, n, sizeof *c, compare_records);
			if (c != NULL) {
				c->rows++;
				c->wide += record_is_wide(r);
			}
		}
	}
	return rows;
}

/* A writer killed between a row and its realm's counts leaves them one off: mend that after attach. */
int
table_recount(struct table *t)
{
	struct realm_count *counts;
	size_t n = 0, used = 0;

	if (t->counted)
		return 0;
	for (unsigned i = 0; i < t->geometry.shards; i++)
		used += atomic_load_explicit(&shard_head(&t->shards[i].shard)->used, memory_order_relaxed) + 8;
	if ((counts = calloc(used, sizeof *counts)) == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < t->geometry.shards; i++) {
		struct record *r;

		for (uint64_t at = 0; (r = shard_next(&t->shards[i].shard, &at)) != NULL && n < used;)
			if (r->flags & RECORD_REALM)
				counts[n++].record = r;
	}
	qsort(counts, n, sizeof *counts, compare_records);
	atomic_store_explicit(&t->root->rows, count_rows(t, counts, n), memory_order_relaxed);
	for (size_t i = 0; i < n; i++) {
		struct realm_marks *m = record_marks(counts[i].record);
		atomic_store_explicit(&m->rows, counts[i].rows, memory_order_release);
		atomic_store_explicit(&m->wide, counts[i].wide, memory_order_release);
	}
	free(counts);
	t->counted = true;
	return 0;
}

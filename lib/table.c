/* SPDX-License-Identifier: BSD-2-Clause */
#include "table.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FULL_NUMERATOR		4	/* a new generation is built 4/5 full ... */
#define FULL_DENOMINATOR	5
#define ROWS_PER_SHARD		32768	/* at most, when a table is built */
#define CROWDED_ROWS_PER_SHARD	131072	/* then it is built anew with more shards */
#define ARENA_STEP		65536	/* bytes reserved at a time */
#define PUT_TRIES		8	/* generations built for one row before giving up */

struct policy_name {
	uint32_t	 handle;
	uint32_t	 len;
	char		 at[POLICY_MAX_NAME];
};

static uint64_t
round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* Before a change that is more than one exact row (I11). */
static void
bump_epoch(struct table *t)
{
	if (t->live)
		atomic_fetch_add_explicit(&t->place->ctl->epoch, 1, memory_order_release);
}

/* ---- files ---- */

static bool
is_prime(uint64_t n)
{
	if (n % 2 == 0)
		return n == 2;
	for (uint64_t d = 3; d * d <= n; d += 2)
		if (n % d == 0)
			return false;
	return n > 1;
}

/* Double hashing visits every group only if their number is a prime. */
static uint64_t
next_prime(uint64_t n)
{
	while (!is_prime(n))
		n++;
	return n;
}

/* groups and arena_len: how large; reserve: bytes of the arena that will be written soon. */
static int
create_part(struct table *t, struct table_part *p, enum segment_kind kind, unsigned number, uint64_t generation,
    uint64_t groups, uint64_t arena_len, uint64_t reserve)
{
	uint64_t arena = round_up(LAYOUT_PAGE + groups * 64, LAYOUT_PAGE);
	char name[SEGMENT_NAME];
	int error;

	reserve = round_up(reserve + ARENA_STEP, ARENA_STEP);
	arena_len = round_up(arena_len > reserve ? arena_len : reserve, ARENA_STEP);
	if (kind == SEGMENT_SHARD)
		segment_name_shard(name, t->id, number, generation);
	else
		segment_name_policies(name, t->id, generation);
	error = segment_create(&p->map, t->place->dirfd, name, arena + arena_len, arena + reserve, t->place->group);
	if (error != 0)
		return error;
	struct segment_head *h = p->map.base;
	h->layout = LAYOUT_WORD;
	h->kind = kind;
	h->instance = t->place->ctl->instance;
	h->table = t->id;
	h->generation = generation;
	h->groups = groups;
	h->arena = arena;
	h->size = p->map.len;
	h->shard = number;
	atomic_store_explicit(&h->tail, 8, memory_order_relaxed);	/* offset 0 means empty */
	atomic_store_explicit(&h->reserved, reserve, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	h->magic = SEGMENT_MAGIC;
	p->generation = generation;
	return shard_open(&p->shard, p->map.base, p->map.len, kind, h->instance, t->id, number, generation);
}

static int
reserve_more(struct table_part *p)
{
	struct segment_head *h = shard_head(&p->shard);
	uint64_t reserved = atomic_load_explicit(&h->reserved, memory_order_relaxed);
	uint64_t step = p->shard.arena_len - reserved < ARENA_STEP ? p->shard.arena_len - reserved : ARENA_STEP;
	int error = segment_reserve(&p->map, h->arena + reserved, step);

	if (error == 0)
		atomic_store_explicit(&h->reserved, reserved + step, memory_order_release);
	return error;
}

/* Makes next the part in force; the old one's memory goes after the grace. */
static void
supersede(struct table *t, struct table_part *p, const struct table_part *next, _Atomic uint64_t *word,
    const char *old)
{
	atomic_store_explicit(word, next->generation, memory_order_release);
	bump_epoch(t);
	segment_unmap(&p->map);
	*p = *next;
	if (t->live)
		t->place->retire(t->place->writer, old);
	else
		segment_empty(t->place->dirfd, old);
}

static void
discard_part(struct table *t, struct table_part *p, const char *name)
{
	segment_unmap(&p->map);
	segment_empty(t->place->dirfd, name);
}

/* ---- shards ---- */

static uint64_t
groups_for(uint64_t rows)
{
	return next_prime((rows * FULL_DENOMINATOR / FULL_NUMERATOR) / 8 + 3);
}

static int
copy_records(struct table *t, struct table_part *to, struct table_part *from)
{
	struct record *r;
	struct key k;
	int error;

	for (uint64_t at = 0; (r = shard_next(&from->shard, &at)) != NULL;) {
		if (r->flags & RECORD_REALM && atomic_load_explicit(&record_marks(r)->rows, memory_order_relaxed) == 0)
			continue;	/* nobody lives there any more */
		record_key(&k, t->root, r);
		while ((error = shard_copy(&to->shard, &k, r)) == -ENOMEM)
			if ((error = reserve_more(to)) != 0)
				return error;
		if (error != 0)
			return error;
	}
	return 0;
}

/* The next generation of one shard, with room for more: growth and compaction alike. */
static int
rebuild_shard(struct table *t, unsigned number)
{
	struct table_part *p = &t->shards[number], next;
	struct segment_head *h = shard_head(&p->shard);
	uint64_t used = atomic_load_explicit(&h->used, memory_order_relaxed);
	uint64_t bytes = shard_live_bytes(&p->shard), room = used + used / 4 + 64;
	char name[SEGMENT_NAME], old[SEGMENT_NAME];
	int error = -EOVERFLOW;

	segment_name_shard(old, t->id, number, p->generation);
	segment_name_shard(name, t->id, number, p->generation + 1);
	for (int i = 0; i < PUT_TRIES && error == -EOVERFLOW; i++, room += room / 4) {
		error = create_part(t, &next, SEGMENT_SHARD, number, p->generation + 1, groups_for(room),
		    bytes * 2 + (1 << 20), bytes);
		if (error != 0)
			return error;
		if ((error = copy_records(t, &next, p)) != 0)
			discard_part(t, &next, name);
	}
	if (error == 0)
		supersede(t, p, &next, &t->root->generation[number], old);
	return error;
}

/* Puts a record under k, over the one that is there, making room as needed. */
static int
place_record(struct table *t, const struct key *k, uint32_t word, uint8_t flags, uint32_t expires)
{
	struct table_part *p = &t->shards[k->shard];
	int error = -EOVERFLOW;

	for (int i = 0; i < PUT_TRIES; i++) {
		_Atomic uint64_t *slot = NULL;

		shard_find(&p->shard, k, &slot);
		error = shard_put(&p->shard, k, word, flags, expires, slot);
		if (error == -ENOMEM)
			error = reserve_more(p);
		else if (error == -EOVERFLOW)
			error = rebuild_shard(t, k->shard);
		else
			return error;
		if (error != 0)
			return error;
	}
	return -EOVERFLOW;
}

/* Dead bytes are a quarter of the arena: worth a new generation? A full disk is no reason to fail. */
static void
compact_if_worth_it(struct table *t, unsigned number)
{
	struct segment_head *h = shard_head(&t->shards[number].shard);

	if (atomic_load_explicit(&h->dead, memory_order_relaxed) >
	    atomic_load_explicit(&h->tail, memory_order_relaxed) / 4 + ARENA_STEP)
		rebuild_shard(t, number);
}

/* ---- realms ---- */

static _Atomic uint64_t *
marks_word(struct realm_marks *m, enum rule_form form)
{
	return form == RULE_HOST_ANY_PORT || form == RULE_SUFFIX_ANY_PORT ? &m->any_port : &m->fixed;
}

static uint64_t
mark_bit(const struct rule *r)
{
	return r->form == RULE_SUFFIX || r->form == RULE_SUFFIX_ANY_PORT ? 1ull << r->depth : 1;
}

static void
add_u32(_Atomic uint32_t *cell, uint32_t n)
{
	atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + n, memory_order_release);
}

/* Before a row of the realm is published: readers must know to look for it. */
static int
realm_add(struct table *t, struct span realm, const struct rule *rule)
{
	struct record *r;
	struct key k;
	int error;

	key_realm(&k, t->root, realm);
	if ((r = shard_find(&t->shards[k.shard].shard, &k, NULL)) == NULL) {
		if ((error = place_record(t, &k, 0, RECORD_REALM, 0)) != 0)
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

/* After a row of the realm is gone. */
static void
realm_drop(struct table *t, struct span realm, const struct rule *rule)
{
	struct record *r;
	struct key k;

	key_realm(&k, t->root, realm);
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

static bool
is_row(const struct record *r)
{
	return !(r->flags & (RECORD_REALM | RECORD_STUB));
}

static bool
is_wide(const struct record *r)
{
	return r->part >> 12 & (CODE_SUFFIX | CODE_ANY_PORT) || (r->part >> 12 & 3) == CODE_SPECIAL;
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

	for (unsigned i = 0; i < t->root->shards; i++) {
		struct record *r;
		struct key k;

		for (uint64_t at = 0; (r = shard_next(&t->shards[i].shard, &at)) != NULL;) {
			if (!is_row(r))
				continue;
			rows++;
			key_realm(&k, t->root, (struct span){ (char *)r->bytes + record_skip(r->flags), r->realm });
			struct realm_count want = { .record = shard_find(&t->shards[k.shard].shard, &k, NULL) };
			struct realm_count *c = bsearch(&want, counts, n, sizeof *c, compare_records);
			if (c != NULL) {
				c->rows++;
				c->wide += is_wide(r);
			}
		}
	}
	return rows;
}

/* A writer killed between a row and its realm's counts leaves them one off: mend that after attach. */
static int
recount(struct table *t)
{
	struct realm_count *counts;
	size_t n = 0, used = 0;

	if (t->counted)
		return 0;
	for (unsigned i = 0; i < t->root->shards; i++)
		used += atomic_load_explicit(&shard_head(&t->shards[i].shard)->used, memory_order_relaxed) + 8;
	if ((counts = calloc(used, sizeof *counts)) == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < t->root->shards; i++) {
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

/* ---- policies ---- */

static int
compare_names(const void *a, const void *b)
{
	const struct policy_name *x = a, *y = b;
	int order = memcmp(x->at, y->at, x->len < y->len ? x->len : y->len);

	return order != 0 ? order : x->len < y->len ? -1 : x->len > y->len;
}

static struct policy_name *
find_name(struct table *t, struct span name)
{
	struct policy_name want = { .len = (uint32_t)name.len }, **found;

	if (name.len > sizeof want.at)
		return NULL;
	memcpy(want.at, name.at, name.len);
	found = tfind(&want, &t->names, compare_names);
	return found == NULL ? NULL : *found;
}

static struct policy_name *
add_name(struct table *t, struct span name, uint32_t handle)
{
	struct policy_name *n = calloc(1, sizeof *n), **found;

	if (n == NULL)
		return NULL;
	n->handle = handle;
	n->len = (uint32_t)name.len;
	memcpy(n->at, name.at, name.len);
	found = tsearch(n, &t->names, compare_names);
	if (found == NULL || *found != n) {
		free(n);
		return NULL;
	}
	return n;
}

static uint64_t
block_sum(const struct root *root, const struct policy_block *b)
{
	return siphash13(root->k0, root->k1, (uint64_t)b->handle << 32 | b->len, b->bytes, b->len);
}

/* Writes a block to the policies' arena: the caller publishes its offset. */
static int
append_block(struct table *t, struct table_part *p, uint32_t handle, const void *bytes, size_t len, uint64_t *off)
{
	struct segment_head *h = shard_head(&p->shard);
	uint64_t tail, need = round_up(sizeof(struct policy_block) + len, 8);

	*off = round_up(atomic_load_explicit(&h->tail, memory_order_relaxed), 8);
	tail = *off + need;
	if (tail > p->shard.arena_len)
		return -EOVERFLOW;
	while (tail > atomic_load_explicit(&h->reserved, memory_order_relaxed)) {
		int error = reserve_more(p);
		if (error != 0)
			return error;
	}
	struct policy_block *b = (struct policy_block *)(void *)(p->shard.arena + *off);
	b->handle = handle;
	b->len = (uint32_t)len;
	memcpy(b->bytes, bytes, len);
	b->sum = block_sum(t->root, b);
	atomic_store_explicit(&h->tail, tail, memory_order_release);
	return 0;
}

static struct policy_block *
block_of(const struct table_part *p, uint32_t handle)
{
	uint64_t off = handle < p->shard.groups * 8 ?
	    atomic_load_explicit(&p->shard.slots[handle], memory_order_relaxed) : 0;
	struct policy_block *b = (struct policy_block *)(void *)(p->shard.arena + off);

	if (off == 0 || off % 8 != 0 || off + sizeof *b > p->shard.arena_len || b->len > POLICY_MAX ||
	    off + sizeof *b + b->len > p->shard.arena_len)
		return NULL;
	return b;
}

/* The next generation of the policies: room for twice the handles and bytes. */
static int
rebuild_policies(struct table *t)
{
	struct table_part *p = &t->policies, next;
	uint64_t live = 0, off;
	char name[SEGMENT_NAME], old[SEGMENT_NAME];
	int error;

	for (uint32_t i = 0; i < t->next_handle; i++) {
		struct policy_block *b = block_of(p, i);
		live += b == NULL ? 0 : round_up(sizeof *b + b->len, 8);
	}
	segment_name_policies(old, t->id, p->generation);
	segment_name_policies(name, t->id, p->generation + 1);
	error = create_part(t, &next, SEGMENT_POLICIES, 0, p->generation + 1, t->next_handle / 4 + 8,
	    live * 2 + (1 << 20), live);
	for (uint32_t i = 0; error == 0 && i < t->next_handle; i++) {
		struct policy_block *b = block_of(p, i);
		if (b == NULL)
			continue;
		if ((error = append_block(t, &next, i, b->bytes, b->len, &off)) == 0)
			atomic_store_explicit(&next.shard.slots[i], off, memory_order_relaxed);
		else
			discard_part(t, &next, name);
	}
	if (error == 0) {
		atomic_store_explicit(&shard_head(&next.shard)->used, t->next_handle, memory_order_relaxed);
		supersede(t, p, &next, &t->root->policies_generation, old);
	}
	return error;
}

/* Publishes a compiled policy under a handle: all its origins change by this one store. */
static int
put_block(struct table *t, uint32_t handle, const void *bytes, size_t len)
{
	uint64_t off;
	int error = -EOVERFLOW;

	for (int i = 0; i < 2 && error == -EOVERFLOW; i++) {
		if (handle < t->policies.shard.groups * 8)
			error = append_block(t, &t->policies, handle, bytes, len, &off);
		if (error == -EOVERFLOW && i == 0 && (error = rebuild_policies(t)) == 0)
			error = -EOVERFLOW;	/* once more, in the new generation */
	}
	if (error != 0)
		return error;
	bump_epoch(t);
	atomic_store_explicit(&t->policies.shard.slots[handle], off, memory_order_release);
	return 0;
}

int
table_policy_put(struct table *t, const struct policy_row *row, enum policy_status *why)
{
	_Alignas(8) char block[POLICY_MAX];
	struct policy_name *name;
	size_t len;
	int error;

	if ((*why = policy_compile(row, block, &len, NULL)) != POLICY_OK)
		return -EINVAL;
	if ((name = find_name(t, row->name)) != NULL)
		return put_block(t, name->handle, block, len);
	if (t->next_handle >= LAYOUT_MAX_HANDLES)
		return -ENOSPC;
	t->next_handle++;
	atomic_store_explicit(&shard_head(&t->policies.shard)->used, t->next_handle, memory_order_release);
	if ((error = put_block(t, t->next_handle - 1, block, len)) != 0)
		return error;
	if (add_name(t, row->name, t->next_handle - 1) == NULL)
		return -ENOMEM;
	atomic_fetch_add_explicit(&t->root->policies, 1, memory_order_relaxed);
	return 0;
}

int
table_policy_remove(struct table *t, struct span name)
{
	struct policy_name *n = find_name(t, name);

	if (n == NULL)
		return -ENOENT;
	bump_epoch(t);
	atomic_store_explicit(&t->policies.shard.slots[n->handle], 0, memory_order_release);
	atomic_fetch_sub_explicit(&t->root->policies, 1, memory_order_relaxed);
	tdelete(n, &t->names, compare_names);
	free(n);
	return 0;
}

/* ---- rows ---- */

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
	if (is_wide(r))
		bump_epoch(t);
	atomic_store_explicit(&r->word, word_seal(word, r->flags, record_expires(r), k->hash), memory_order_release);
}

static int
parse_key(const struct table *t, struct key *k, struct rule *rule, struct span realm, struct span origin)
{
	if (!realm_is_valid(realm.at, realm.len) || rule_parse(rule, origin.at, origin.len) != ORIGIN_OK)
		return -EINVAL;
	key_rule(k, t->root, realm, rule);
	return 0;
}

static int
put_row(struct table *t, const struct row *row, uint32_t handle)
{
	uint32_t expires = seconds_word(row->expires_at), word = handle | (row->allow ? 0 : WORD_REFUSE);
	uint8_t flags = (uint8_t)((expires != 0 ? RECORD_EXPIRES : 0) | (row->public_suffix ? RECORD_PUBLIC_SUFFIX : 0));
	struct record *r;
	struct rule rule;
	struct key k;
	int error = parse_key(t, &k, &rule, row->realm, row->origin);

	if (error != 0 || (error = recount(t)) != 0)
		return error;
	r = shard_find(&t->shards[k.shard].shard, &k, NULL);
	bool is_new = r == NULL || !is_row(r);
	if (r != NULL && r->flags == flags && record_expires(r) == expires) {
		store_word(t, r, &k, word);
		return 0;
	}
	if (is_new && (error = realm_add(t, row->realm, &rule)) != 0)
		return error;
	if (rule.form != RULE_EXACT)
		bump_epoch(t);
	if ((error = place_record(t, &k, word_seal(word, flags, expires, k.hash), flags, expires)) != 0) {
		if (is_new)
			realm_drop(t, row->realm, &rule);
		return error;
	}
	if (is_new)
		atomic_fetch_add_explicit(&t->root->rows, 1, memory_order_relaxed);
	compact_if_worth_it(t, k.shard);
	return 0;
}

int
table_put(struct table *t, const struct row *row)
{
	struct policy_name *name = find_name(t, row->policy);

	return name == NULL ? -ENOENT : put_row(t, row, name->handle);
}

int
table_remove(struct table *t, struct span realm, struct span origin)
{
	_Atomic uint64_t *slot;
	struct record *r;
	struct rule rule;
	struct key k;
	int error = parse_key(t, &k, &rule, realm, origin);

	if (error != 0 || (error = recount(t)) != 0)
		return error;
	if ((r = shard_find(&t->shards[k.shard].shard, &k, &slot)) == NULL)
		return -ENOENT;
	if (rule.form != RULE_EXACT)
		bump_epoch(t);
	shard_remove(&t->shards[k.shard].shard, slot);
	if (is_row(r)) {
		realm_drop(t, realm, &rule);
		atomic_fetch_sub_explicit(&t->root->rows, 1, memory_order_relaxed);
	}
	compact_if_worth_it(t, k.shard);
	return 0;
}

/* ---- holds ---- */

static void
hold_record(struct table *t, struct record *r)
{
	struct key k;

	record_key(&k, t->root, r);
	store_word(t, r, &k, atomic_load_explicit(&r->word, memory_order_relaxed) | WORD_HELD);
}

int64_t
table_hold(struct table *t, struct span realm, struct span origin)
{
	struct record *r;
	struct rule rule;
	struct key k;
	uint32_t word = WORD_HELD | WORD_REFUSE;
	int error = parse_key(t, &k, &rule, realm, origin);

	if (error != 0)
		return error;
	if ((r = shard_find(&t->shards[k.shard].shard, &k, NULL)) != NULL) {
		hold_record(t, r);
		return 1;
	}
	if (rule.form != RULE_EXACT)
		return 0;
	error = place_record(t, &k, word_seal(word, RECORD_STUB, 0, k.hash), RECORD_STUB, 0);
	return error != 0 ? error : 1;
}

int64_t
table_hold_realm(struct table *t, struct span realm)
{
	struct record *r;
	int64_t held = 0;

	for (unsigned i = 0; i < t->root->shards; i++)
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
 * A row that moves to another policy while policies change too would, for a
 * moment, be answered by a pair that never was: refuse it meanwhile.
 */
static void
refuse_if_it_moves(struct table *t, const struct row *row)
{
	struct policy_name *name = find_name(t, row->policy);
	struct record *r;
	struct rule rule;
	struct key k;

	if (parse_key(t, &k, &rule, row->realm, row->origin) != 0 ||
	    (r = shard_find(&t->shards[k.shard].shard, &k, NULL)) == NULL)
		return;
	uint32_t word = atomic_load_explicit(&r->word, memory_order_relaxed);
	if (name == NULL || name->handle != (word & WORD_HANDLE))
		store_word(t, r, &k, word | WORD_REFUSE);
}

static int
apply_change(struct table *t, const struct change *c)
{
	int error = c->gone ? table_remove(t, c->row.realm, c->row.origin) : table_put(t, &c->row);

	return c->gone && error == -ENOENT ? 0 : error;
}

int
table_batch(struct table *t, struct change *rows, size_t nrows, const struct policy_row *policies, size_t npolicies,
    const struct span *gone_policies, size_t ngone)
{
	enum policy_status why;
	int error = 0;

	qsort(rows, nrows, sizeof *rows, compare_changes);
	for (size_t i = 0; npolicies > 0 && i < nrows && !rows[i].gone; i++)
		refuse_if_it_moves(t, &rows[i].row);
	for (size_t i = 0; error == 0 && i < npolicies; i++)
		error = table_policy_put(t, &policies[i], &why);
	for (size_t i = 0; error == 0 && i < nrows; i++)
		error = apply_change(t, &rows[i]);
	for (size_t i = 0; error == 0 && i < ngone; i++)
		if ((error = table_policy_remove(t, gone_policies[i])) == -ENOENT)
			error = 0;
	return error;
}

/* ---- walks ---- */

/* text holds RULE_MAX + 1 bytes and must live as long as the row. */
static bool
row_of(const struct table *t, const struct record *r, char *text, struct row *row)
{
	uint32_t word = atomic_load_explicit(&r->word, memory_order_relaxed);
	struct policy_block *b = block_of(&t->policies, word & WORD_HANDLE);
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
		.public_suffix = r->flags & RECORD_PUBLIC_SUFFIX,
	};
	if (is_row(r) && b != NULL && policy_read(&p, b->bytes, b->len) == POLICY_OK)
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

	for (unsigned i = 0; i < t->root->shards; i++)
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

/* ---- whole tables ---- */

static unsigned
shards_for(uint64_t rows, unsigned most)
{
	unsigned n = 1;

	while (n < most && n < LAYOUT_MAX_SHARDS && rows / n > ROWS_PER_SHARD)
		n *= 2;
	return n;
}

bool
table_is_crowded(const struct table *t)
{
	uint64_t rows = table_rows(t);

	return rows / t->root->shards > CROWDED_ROWS_PER_SHARD &&
	    shards_for(rows, t->place->max_shards) > t->root->shards;
}

static struct table *
new_table(const struct table_place *place, uint64_t id)
{
	struct table *t = calloc(1, sizeof *t);

	if (t == NULL)
		return NULL;
	t->place = place;
	t->id = id;
	t->root_map.fd = t->policies.map.fd = -1;
	for (unsigned i = 0; i < LAYOUT_MAX_SHARDS; i++)
		t->shards[i].map.fd = -1;
	return t;
}

static int
create_root(struct table *t, unsigned shards)
{
	char name[SEGMENT_NAME];
	uint64_t key[2];
	int error;

	if (getrandom(key, sizeof key, 0) != (ssize_t)sizeof key)
		return -EIO;
	segment_name_root(name, t->id);
	error = segment_create(&t->root_map, t->place->dirfd, name, LAYOUT_PAGE, LAYOUT_PAGE, t->place->group);
	if (error != 0)
		return error;
	t->root = t->root_map.base;
	t->root->layout = LAYOUT_WORD;
	t->root->size = sizeof *t->root;
	t->root->instance = t->place->ctl->instance;
	t->root->table = t->id;
	t->root->k0 = key[0];
	t->root->k1 = key[1];
	t->root->shards = shards;
	return 0;
}

int
table_create(struct table **out, const struct table_place *place, uint64_t id, uint64_t rows)
{
	unsigned shards = shards_for(rows, place->max_shards);
	uint64_t each = rows / shards + rows / shards / 32 + 16;
	struct table *t = new_table(place, id);
	int error = t == NULL ? -ENOMEM : create_root(t, shards);

	if (error == 0)
		error = create_part(t, &t->policies, SEGMENT_POLICIES, 0, 1, 8, 1 << 20, 0);
	for (unsigned i = 0; error == 0 && i < shards; i++) {
		error = create_part(t, &t->shards[i], SEGMENT_SHARD, i, 1, groups_for(each), each * 128 + (1 << 20), 0);
		if (error == 0)
			atomic_store_explicit(&t->root->generation[i], 1, memory_order_relaxed);
	}
	if (error != 0) {
		if (t != NULL)
			table_free(&t);		/* its files go with the writer's next sweep */
		return error;
	}
	atomic_store_explicit(&t->root->policies_generation, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	t->root->magic = ROOT_MAGIC;
	t->counted = true;
	*out = t;
	return 0;
}

static int
attach_part(struct table *t, struct table_part *p, enum segment_kind kind, unsigned number, uint64_t generation)
{
	char name[SEGMENT_NAME];
	int error;

	if (kind == SEGMENT_SHARD)
		segment_name_shard(name, t->id, number, generation);
	else
		segment_name_policies(name, t->id, generation);
	error = segment_map_writable(&p->map, t->place->dirfd, name, LAYOUT_PAGE);
	if (error == 0)
		error = shard_open(&p->shard, p->map.base, p->map.len, kind, t->place->ctl->instance, t->id, number,
		    generation);
	p->generation = generation;
	return error;
}

static int
attach_names(struct table *t)
{
	uint64_t handles = atomic_load_explicit(&shard_head(&t->policies.shard)->used, memory_order_relaxed), count = 0;
	struct policy p;

	if (handles > LAYOUT_MAX_HANDLES)
		return -EPROTO;
	t->next_handle = (uint32_t)handles;
	for (uint32_t i = 0; i < t->next_handle; i++) {
		struct policy_block *b = block_of(&t->policies, i);
		if (b == NULL)
			continue;
		if (policy_read(&p, b->bytes, b->len) != POLICY_OK || p.name.len > POLICY_MAX_NAME)
			return -EPROTO;
		if (find_name(t, p.name) == NULL && add_name(t, p.name, i) == NULL)
			return -ENOMEM;
		count++;
	}
	atomic_store_explicit(&t->root->policies, count, memory_order_relaxed);
	return 0;
}

int
table_attach(struct table **out, const struct table_place *place, uint64_t id)
{
	struct table *t = new_table(place, id);
	char name[SEGMENT_NAME];
	int error;

	if (t == NULL)
		return -ENOMEM;
	segment_name_root(name, id);
	if ((error = segment_map_writable(&t->root_map, place->dirfd, name, LAYOUT_PAGE)) != 0)
		goto out;
	t->root = t->root_map.base;
	error = -EPROTO;
	if (t->root->magic != ROOT_MAGIC || t->root->layout != LAYOUT_WORD || t->root->table != id ||
	    t->root->instance != place->ctl->instance || t->root->shards == 0 ||
	    t->root->shards > LAYOUT_MAX_SHARDS || (t->root->shards & (t->root->shards - 1)) != 0)
		goto out;
	error = attach_part(t, &t->policies, SEGMENT_POLICIES, 0,
	    atomic_load_explicit(&t->root->policies_generation, memory_order_relaxed));
	for (unsigned i = 0; error == 0 && i < t->root->shards; i++)
		error = attach_part(t, &t->shards[i], SEGMENT_SHARD, i,
		    atomic_load_explicit(&t->root->generation[i], memory_order_relaxed));
	if (error == 0)
		error = attach_names(t);
out:
	if (error != 0) {
		table_free(&t);
		return error;
	}
	t->live = true;
	*out = t;
	return 0;
}

static int
copy_policies(struct table *to, struct table *from, uint32_t *handles)
{
	struct policy p;
	int error = 0;

	for (uint32_t i = 0; error == 0 && i < from->next_handle; i++) {
		struct policy_block *b = block_of(&from->policies, i);
		if (b == NULL || policy_read(&p, b->bytes, b->len) != POLICY_OK)
			continue;
		handles[i] = to->next_handle++;
		atomic_store_explicit(&shard_head(&to->policies.shard)->used, to->next_handle, memory_order_relaxed);
		error = put_block(to, handles[i], b->bytes, b->len);
		if (error == 0 && add_name(to, p.name, handles[i]) == NULL)
			error = -ENOMEM;
		atomic_fetch_add_explicit(&to->root->policies, 1, memory_order_relaxed);
	}
	return error;
}

static int
copy_row(struct table *to, const struct table *from, const struct record *r, const uint32_t *handles)
{
	uint32_t word = atomic_load_explicit(&r->word, memory_order_relaxed), handle = word & WORD_HANDLE;
	char text[RULE_MAX + 1];
	struct row row;
	int error;

	if (!row_of(from, r, text, &row))
		return 0;
	if (r->flags & RECORD_STUB)
		return (int)(table_hold(to, row.realm, row.origin) < 0 ? -ENOSPC : 0);
	if (handle >= from->next_handle || handles[handle] == UINT32_MAX) {
		row.allow = false;	/* its policy is gone: refused before, refused after */
		handle = 0;
	} else
		handle = handles[handle];
	error = put_row(to, &row, handle);
	if (error == 0 && row.held)
		table_hold(to, row.realm, row.origin);
	return error;
}

int
table_copy(struct table *to, struct table *from)
{
	uint32_t *handles = malloc(((size_t)from->next_handle + 1) * sizeof *handles);
	struct record *r;
	int error;

	if (handles == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i <= from->next_handle; i++)
		handles[i] = UINT32_MAX;
	error = copy_policies(to, from, handles);
	for (unsigned i = 0; error == 0 && i < from->root->shards; i++)
		for (uint64_t at = 0; error == 0 && (r = shard_next(&from->shards[i].shard, &at)) != NULL;)
			error = copy_row(to, from, r, handles);
	free(handles);
	return error;
}

void
table_free(struct table **tp)
{
	struct table *t = *tp;

	if (t == NULL)
		return;
	for (unsigned i = 0; i < LAYOUT_MAX_SHARDS; i++)
		segment_unmap(&t->shards[i].map);
	segment_unmap(&t->policies.map);
	segment_unmap(&t->root_map);
	tdestroy(t->names, free);
	free(t);
	*tp = NULL;
}

void
table_each_file(const struct table *t, void (*name)(void *arg, const char *file), void *arg)
{
	char file[SEGMENT_NAME];

	segment_name_root(file, t->id);
	name(arg, file);
	segment_name_policies(file, t->id, t->policies.generation);
	name(arg, file);
	for (unsigned i = 0; i < t->root->shards; i++) {
		segment_name_shard(file, t->id, i, t->shards[i].generation);
		name(arg, file);
	}
}

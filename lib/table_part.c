/* SPDX-License-Identifier: BSD-2-Clause */
#include "table.h"

#include <errno.h>

#define FULL_NUMERATOR		2	/* a new generation is built 2/3 full ... */
#define FULL_DENOMINATOR	3
#define ARENA_START		8	/* offset 0 means empty */
#define ARENA_STEP		65536	/* bytes reserved at a time */
#define WORTH_A_PAGE		(SEGMENT_HUGE / 2)
#define PUT_TRIES		8	/* generations built for one row before giving up */

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

/* How much of an arena to reserve where `reserve` bytes are needed: the last huge page whole, if it is worth it. */
static uint64_t
whole_pages(uint64_t arena, uint64_t reserve, uint64_t arena_len)
{
	uint64_t rest = (arena + reserve) % SEGMENT_HUGE, more = SEGMENT_HUGE - rest;

	return rest >= WORTH_A_PAGE && more <= arena_len - reserve ? reserve + more : reserve;
}

/*
 * Before readers know it: what was reserved bit by bit goes into huge pages. Look-ups among a million rows, and
 * those who put them there, spend a third of their time on TLB misses else.
 */
void
part_settle(struct table_part *p)
{
	struct segment_head *h = shard_head(&p->shard);
	uint64_t reserved = atomic_load_explicit(&h->reserved, memory_order_relaxed);
	uint64_t whole = whole_pages(h->arena, reserved, p->shard.arena_len);

	if (whole > reserved && segment_reserve(&p->map, h->arena + reserved, whole - reserved) == 0) {
		atomic_store_explicit(&h->reserved, whole, memory_order_release);
		reserved = whole;
	}
	segment_collapse(&p->map, 0, (h->arena + reserved) / SEGMENT_HUGE * SEGMENT_HUGE);
}

/* groups and arena_len: how large; reserve: bytes of the arena that will be written soon. */
int
part_create(struct table *t, struct table_part *p, enum segment_kind kind, unsigned number, uint64_t generation,
    uint64_t groups, uint64_t arena_len, uint64_t reserve)
{
	uint64_t arena = round_up(LAYOUT_PAGE + groups * 64, LAYOUT_PAGE), room;
	char name[SEGMENT_NAME];
	int error;

	reserve = round_up(reserve + ARENA_STEP, ARENA_STEP);
	arena_len = round_up(arena_len > reserve ? arena_len : reserve, ARENA_STEP);
	room = whole_pages(arena, reserve, arena_len);
	if (kind == SEGMENT_SHARD)
		segment_name_shard(name, t->id, number, generation);
	else
		segment_name_policies(name, t->id, generation);
	error = segment_create(&p->map, t->place->dirfd, name, arena + arena_len, arena + room, t->place->group);
	if (error == -ENOSPC && room > reserve) {	/* the rest of a huge page is no need */
		room = reserve;
		error = segment_create(&p->map, t->place->dirfd, name, arena + arena_len, arena + room, t->place->group);
	}
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
	atomic_store_explicit(&h->tail, ARENA_START, memory_order_relaxed);
	atomic_store_explicit(&h->reserved, room, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	h->magic = SEGMENT_MAGIC;
	p->generation = generation;
	return shard_open(&p->shard, p->map.base, p->map.len, kind, h->instance, t->id, number, generation);
}

int
part_reserve_more(struct table_part *p)
{
	struct segment_head *h = shard_head(&p->shard);
	uint64_t reserved = atomic_load_explicit(&h->reserved, memory_order_relaxed);
	uint64_t step = p->shard.arena_len - reserved < ARENA_STEP ? p->shard.arena_len - reserved : ARENA_STEP;
	int error = segment_reserve(&p->map, h->arena + reserved, step);

	if (error == 0)
		atomic_store_explicit(&h->reserved, reserved + step, memory_order_release);
	return error;
}

/* Makes next the part in force; the old one's memory goes with its last reader (I7). */
void
part_supersede(struct table *t, struct table_part *p, struct table_part *next, _Atomic uint64_t *word,
    const char *old)
{
	part_settle(next);
	atomic_store_explicit(word, next->generation, memory_order_release);
	table_bump_epoch(t);
	segment_unmap(&p->map);
	*p = *next;
	segment_remove(t->place->dirfd, old);
}

void
part_discard(struct table *t, struct table_part *p, const char *name)
{
	segment_unmap(&p->map);
	segment_remove(t->place->dirfd, name);
}

/* What the writer counts on: no reader looks at it. */
static bool
is_sane(const struct shard *s)
{
	const struct segment_head *h = shard_head(s);
	uint64_t reserved = atomic_load_explicit(&h->reserved, memory_order_relaxed);
	uint64_t tail = atomic_load_explicit(&h->tail, memory_order_relaxed);

	return reserved <= s->arena_len && tail >= ARENA_START && tail <= reserved &&
	    atomic_load_explicit(&h->used, memory_order_relaxed) <= s->groups * 8;
}

int
part_attach(struct table *t, struct table_part *p, enum segment_kind kind, unsigned number, uint64_t generation)
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
	if (error == 0 && !is_sane(&p->shard))
		error = -EPROTO;
	p->generation = generation;
	return error;
}

uint64_t
part_groups_for(uint64_t rows)
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
		record_key(&k, &t->geometry, r);
		while ((error = shard_copy(&to->shard, &k, r)) == -ENOMEM)
			if ((error = part_reserve_more(to)) != 0)
				return error;
		if (error != 0)
			return error;
	}
	return 0;
}

/* The next generation of one shard, with room for more: growth and compaction alike. */
static int
table_rebuild_shard(struct table *t, unsigned number)
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
		error = part_create(t, &next, SEGMENT_SHARD, number, p->generation + 1, part_groups_for(room),
		    bytes * 2 + (1 << 20), bytes);
		if (error != 0)
			return error;
		if ((error = copy_records(t, &next, p)) != 0)
			part_discard(t, &next, name);
	}
	if (error == 0)
		part_supersede(t, p, &next, &t->root->generation[number], old);
	return error;
}

static int
make_room_and_place(struct table *t, const struct key *k, _Atomic uint64_t *slot, uint32_t word, uint8_t flags,
    uint32_t expires)
{
	struct table_part *p = &t->shards[k->shard];
	int error = -EOVERFLOW;

	for (int i = 0; i < PUT_TRIES; i++) {
		error = shard_put(&p->shard, k, word, flags, expires, slot, false);
		if (error == -ENOMEM) {
			error = part_reserve_more(p);
		} else if (error == -EOVERFLOW) {
			error = table_rebuild_shard(t, k->shard);
			slot = NULL;
			shard_find(&p->shard, k, &slot);
		} else {
			return error;
		}
		if (error != 0)
			return error;
	}
	return -EOVERFLOW;
}

int
table_place_record(struct table *t, const struct key *k, _Atomic uint64_t *slot, uint32_t word, uint8_t flags,
    uint32_t expires, bool may_use_spare)
{
	struct shard *s = &t->shards[k->shard].shard;
	int error = make_room_and_place(t, k, slot, word, flags, expires);

	if (error == 0 || !may_use_spare)
		return error;
	slot = NULL;		/* a generation may have been built meanwhile */
	shard_find(s, k, &slot);
	return shard_put(s, k, word, flags, expires, slot, true) == 0 ? 0 : error;
}

/* Dead bytes are a quarter of the arena: worth a new generation? A full disk is no reason to fail. */
void
table_compact_if_worth_it(struct table *t, unsigned number)
{
	struct segment_head *h = shard_head(&t->shards[number].shard);

	if (atomic_load_explicit(&h->dead, memory_order_relaxed) >
	    atomic_load_explicit(&h->tail, memory_order_relaxed) / 4 + ARENA_STEP)
		table_rebuild_shard(t, number);
}

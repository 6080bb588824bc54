/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An entry is a sequence lock of its own: odd while it is rewritten, and whoever
 * finds it odd, or different after copying, copies again.
 */
#include "frequent.h"

#include <string.h>

#include "count.h"
#include "siphash.h"

#define HASHED_MAX	512	/* bytes of an origin: one of 64 KiB must not cost more than a look at it */
#define MAX_TRIES	1000

_Static_assert(sizeof(struct frequent_entry) == 384, "entries are whole cache lines");
_Static_assert(offsetof(struct frequent_list, entry) == 64, "and begin with one");

static uint64_t
load(const _Atomic uint64_t *cell)
{
	return atomic_load_explicit(cell, memory_order_relaxed);
}

static void
store(_Atomic uint64_t *cell, uint64_t value)
{
	atomic_store_explicit(cell, value, memory_order_relaxed);
}

static size_t
smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static uint64_t
key_hash(const uint64_t k[2], const struct frequent_key *key)
{
	uint64_t hash = key->reason + UINT64_C(1);

	if (key->realm.len > 0)
		hash ^= siphash13(k[0], k[1], key->realm.len, key->realm.at, smaller(key->realm.len, HASHED_MAX));
	if (key->origin.len > 0)
		hash = siphash13(k[0], k[1], hash ^ (uint64_t)key->origin.len << 8, key->origin.at,
		    smaller(key->origin.len, HASHED_MAX));
	return hash != 0 ? hash : 1;
}

/* xorshift64*: nothing but dice. */
static uint64_t
throw_dice(struct frequent *f)
{
	f->random ^= f->random >> 12;
	f->random ^= f->random << 25;
	f->random ^= f->random >> 27;
	return f->random * UINT64_C(0x2545f4914f6cdd1d) >> 32;
}

/* Whatever scribbled over the file: arithmetic with what is left of it stays defined. */
static bool
is_believable(const struct frequent_entry *e)
{
	return load(&e->count) < COUNT_END && load(&e->weight) < COUNT_END && load(&e->missed) < COUNT_END &&
	    load(&e->first_s) < COUNT_END && load(&e->last_s) < COUNT_END;
}

static uint64_t
weight_now(const struct frequent_entry *e, int64_t now_s)
{
	int64_t halvings = (now_s - (int64_t)count_believed(load(&e->last_s))) / FREQUENT_HALF_LIFE_S;
	uint64_t weight = count_believed(load(&e->weight));

	return halvings <= 0 ? weight : halvings < 64 ? weight >> halvings : 0;
}

static void
hit(struct frequent_entry *e, int64_t now_s)
{
	if (load(&e->last_s) != (uint64_t)now_s) {
		store(&e->weight, weight_now(e, now_s));
		store(&e->last_s, (uint64_t)now_s);
	}
	store(&e->weight, load(&e->weight) + 1);
	store(&e->count, load(&e->count) + 1);
}

static void
store_text(_Atomic uint64_t *to, struct span text, size_t room)
{
	size_t len = smaller(text.len, room), i;
	uint64_t word;

	for (i = 0; i < len; i += sizeof word) {
		word = 0;
		memcpy(&word, text.at + i, smaller(len - i, sizeof word));
		store(&to[i / sizeof word], word);
	}
}

static void
replace(struct frequent *f, unsigned at, const struct frequent_key *key, uint64_t hash, uint64_t weight, int64_t now_s)
{
	struct frequent_entry *e = &f->list->entry[at];
	uint64_t version = load(&e->version), others = frequent_others(f->list) + count_believed(load(&e->count));

	store(&e->version, version + 1);
	/* release: with the acquire fence of frequent_read(); who sees what follows sees the odd version */
	atomic_thread_fence(memory_order_release);
	store(&f->list->others, others);
	store(&e->hash, hash);
	store(&e->count, 1);
	store(&e->weight, weight);
	store(&e->missed, others);
	store(&e->first_s, (uint64_t)now_s);
	store(&e->last_s, (uint64_t)now_s);
	store(&e->shape, key->reason | (uint64_t)smaller(key->realm.len, UINT16_MAX) << 8 |
	    (uint64_t)smaller(key->origin.len, UINT32_MAX) << 24);
	store_text(e->text, key->realm, FREQUENT_REALM_KEPT);
	store_text(e->text + FREQUENT_REALM_KEPT / 8, key->origin, FREQUENT_ORIGIN_KEPT);
	/* release: with the acquire of frequent_read() */
	atomic_store_explicit(&e->version, version + 2, memory_order_release);
	f->hash[at] = hash;
}

/* Of equals the one that did not come for longest. */
static unsigned
find_weakest(const struct frequent *f, int64_t now_s, uint64_t *weight)
{
	uint64_t w, last_s, oldest_s = UINT64_MAX;
	unsigned i, weakest = 0;

	*weight = UINT64_MAX;
	for (i = 0; i < FREQUENT_ENTRIES; i++) {
		w = weight_now(&f->list->entry[i], now_s);
		last_s = load(&f->list->entry[i].last_s);
		if (w < *weight || (w == *weight && last_s < oldest_s)) {
			*weight = w;
			oldest_s = last_s;
			weakest = i;
		}
	}
	return weakest;
}

/*
 * Within a second weights only grow, so the weakest of a moment ago is a lower
 * bound: whom the dice turn away costs no search.
 */
static void
admit(struct frequent *f, const struct frequent_key *key, uint64_t hash, int64_t now_s)
{
	unsigned weakest;

	if (f->least_at_s != now_s) {
		find_weakest(f, now_s, &f->least);
		f->least_at_s = now_s;
	}
	if (throw_dice(f) % (f->least + 1) != 0) {
		store(&f->list->others, frequent_others(f->list) + 1);
		return;
	}
	weakest = find_weakest(f, now_s, &f->least);
	replace(f, weakest, key, hash, f->least + 1, now_s);
}

void
frequent_count(struct frequent *f, const struct frequent_key *key, int64_t now_s)
{
	uint64_t hash = key_hash(f->list->key, key);
	unsigned i;

	for (i = 0; i < f->used; i++)
		if (f->hash[i] == hash) {
			hit(&f->list->entry[i], now_s);
			return;
		}
	if (f->used < FREQUENT_ENTRIES)
		replace(f, f->used++, key, hash, 1, now_s);
	else
		admit(f, key, hash, now_s);
}

/* Whoever died in the middle of an entry left it odd: what it held is not known. */
static void
take_over(struct frequent_entry *e)
{
	uint64_t odd = load(&e->version) | 1;

	if (load(&e->version) != odd && is_believable(e))
		return;
	store(&e->version, odd);
	atomic_thread_fence(memory_order_release);	/* as in replace() */
	store(&e->hash, 0);
	store(&e->count, 0);
	store(&e->weight, 0);
	store(&e->last_s, 0);
	atomic_store_explicit(&e->version, odd + 1, memory_order_release);
}

void
frequent_open(struct frequent *f, struct frequent_list *list, uint64_t random)
{
	unsigned i;

	*f = (struct frequent){ .list = list, .random = random | 1, .least_at_s = INT64_MIN };
	for (i = 0; i < FREQUENT_ENTRIES; i++) {
		take_over(&list->entry[i]);
		f->hash[i] = load(&list->entry[i].hash);
		if (f->hash[i] != 0)
			f->used = i + 1;	/* one cleared among them is the weakest there is */
	}
}

/* False: it changed meanwhile. */
static bool
copy(const struct frequent_entry *e, struct frequent_entry *out)
{
	const _Atomic uint64_t *from = &e->version;
	_Atomic uint64_t *to = &out->version;
	uint64_t version;
	size_t i;

	version = atomic_load_explicit(&e->version, memory_order_acquire);	/* with the end of replace() */
	if (version % 2 != 0)
		return false;
	for (i = 0; i < sizeof *e / sizeof *from; i++)
		store(&to[i], load(&from[i]));
	atomic_thread_fence(memory_order_acquire);	/* with the release fence of replace() */
	return load(&e->version) == version;
}

bool
frequent_read(const struct frequent_list *list, unsigned at, struct frequent_item *item)
{
	struct frequent_entry e;
	uint64_t shape;
	int tries = MAX_TRIES;

	while (!copy(&list->entry[at], &e))
		if (--tries == 0)
			return false;	/* its writer died in the middle of it */
	if (load(&e.hash) == 0 || !is_believable(&e))
		return false;
	shape = load(&e.shape);
	*item = (struct frequent_item){
		.count = load(&e.count),
		.missed = load(&e.missed),
		.first_s = (int64_t)load(&e.first_s),
		.last_s = (int64_t)load(&e.last_s),
		.reason = shape & 0xff,
		.realm_len = shape >> 8 & 0xffff,
		.origin_len = shape >> 24,
	};
	memcpy(item->realm, (const char *)e.text, smaller(item->realm_len, FREQUENT_REALM_KEPT));
	memcpy(item->origin, (const char *)e.text + FREQUENT_REALM_KEPT, smaller(item->origin_len, FREQUENT_ORIGIN_KEPT));
	return true;
}

uint64_t
frequent_others(const struct frequent_list *list)
{
	return count_believed(load(&list->others));
}

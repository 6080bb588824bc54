/* SPDX-License-Identifier: BSD-2-Clause */
#include "shard.h"

#include <errno.h>

int
shard_open(struct shard *s, void *base, uint64_t size, enum segment_kind kind, uint64_t instance, uint64_t table,
    uint32_t number, uint64_t generation)
{
	const struct segment_head *h = base;
	uint64_t groups, arena;

	if (size < LAYOUT_PAGE || h->magic != SEGMENT_MAGIC || h->layout != LAYOUT_WORD || h->kind != kind ||
	    h->instance != instance || h->table != table || h->shard != number || h->generation != generation)
		return -EPROTO;
	groups = h->groups;
	arena = h->arena;
	if (groups < 2 || groups > (size - LAYOUT_PAGE) / 64 || arena > size || arena % 64 != 0 ||
	    arena < LAYOUT_PAGE + groups * 64)
		return -EPROTO;
	*s = (struct shard){
		.base = base,
		.size = size,
		.groups = groups,
		.slots = (_Atomic uint64_t *)(void *)((uint8_t *)base + LAYOUT_PAGE),
		.arena = (uint8_t *)base + arena,
		.arena_len = size - arena,
	};
	return 0;
}

/* Is it the record of some key that belongs under this slot's tag? */
static bool
is_of_slot(const struct shard *s, const struct root *root, uint64_t slot)
{
	const struct record *r = shard_record(s, slot);
	struct key k;

	if (r == NULL)
		return false;
	record_key(&k, root, r);
	return (k.hash << SLOT_TAG_SHIFT ^ slot) >> SLOT_TAG_SHIFT == 0;
}

bool
shard_is_sound(const struct shard *s, const struct root *root, const struct key *k)
{
	uint64_t group = shard_scale(k->hash, s->groups), tag = k->hash << SLOT_TAG_SHIFT, w = 0;

	for (int probe = 0; probe < LAYOUT_MAX_PROBES; probe++, group = shard_step(s, group, k->hash)) {
		for (int i = 0; i < 8; i++) {
			/* acquire: pairs with the release store that published the slot (I1) */
			w = atomic_load_explicit(&s->slots[group * 8 + (uint64_t)i], memory_order_acquire);
			if ((w ^ tag) >> SLOT_TAG_SHIFT == 0 && (w & SLOT_OFFSET_MASK) != 0 && !is_of_slot(s, root, w))
				return false;
		}
		if (!(w & SLOT_OVERFLOW))
			break;
	}
	return true;
}

/* An empty slot on the probe path of h; path[] gets the full groups before it. */
static _Atomic uint64_t *
find_empty(const struct shard *s, uint64_t h, uint64_t path[LAYOUT_MAX_PROBES], int *npath)
{
	uint64_t group = shard_scale(h, s->groups);

	for (*npath = 0; *npath < LAYOUT_MAX_PROBES; group = shard_step(s, group, h)) {
		_Atomic uint64_t *line = s->slots + group * 8;

		for (int i = 0; i < 8; i++)
			if ((atomic_load_explicit(&line[i], memory_order_relaxed) & SLOT_OFFSET_MASK) == 0)
				return &line[i];
		path[(*npath)++] = group;
	}
	return NULL;
}

/* I4: before the slot is published, every full group on the way says "go on". */
static void
mark_overflow(const struct shard *s, const uint64_t *path, int npath)
{
	for (int i = 0; i < npath; i++) {
		_Atomic uint64_t *last = s->slots + path[i] * 8 + 7;
		uint64_t w = atomic_load_explicit(last, memory_order_relaxed);

		if (!(w & SLOT_OVERFLOW))
			atomic_store_explicit(last, w | SLOT_OVERFLOW, memory_order_release);
	}
}

/* Room for size bytes at an offset of the given alignment, and `spare` behind them; *tail is the new tail. */
static int
arena_room(const struct shard *s, uint64_t size, unsigned align, uint64_t spare, uint64_t *off, uint64_t *tail)
{
	struct segment_head *h = shard_head(s);

	*off = (atomic_load_explicit(&h->tail, memory_order_relaxed) + align - 1) & ~(uint64_t)(align - 1);
	*tail = *off + size;
	if (*tail + spare > s->arena_len)
		return -EOVERFLOW;
	if (*tail + spare > atomic_load_explicit(&h->reserved, memory_order_relaxed))
		return -ENOMEM;
	return 0;
}

/* I3 then I4 then the one visible step. The record's bytes are complete. */
static void
publish(struct shard *s, const struct key *k, uint64_t off, uint64_t tail, _Atomic uint64_t *slot,
    const uint64_t *path, int npath)
{
	atomic_store_explicit(&shard_head(s)->tail, tail, memory_order_release);
	mark_overflow(s, path, npath);
	uint64_t overflow = atomic_load_explicit(slot, memory_order_relaxed) & SLOT_OVERFLOW;
	atomic_store_explicit(slot, k->hash << SLOT_TAG_SHIFT | off >> 1 | overflow, memory_order_release);
}

static void
add_dead(struct shard *s, const struct record *r)
{
	if (r != NULL)
		count_add(&shard_head(s)->dead, record_size(r));
}

/* Fuller, and a miss would have to look at more and more groups. */
static bool
is_full(const struct shard *s)
{
	return atomic_load_explicit(&shard_head(s)->used, memory_order_relaxed) >= shard_capacity(s);
}

static int
put(struct shard *s, const struct key *k, uint32_t word, uint8_t flags, const void *extra, _Atomic uint64_t *replace,
    uint64_t spare)
{
	uint64_t path[LAYOUT_MAX_PROBES], off, tail;
	unsigned skip = record_skip(flags);
	_Atomic uint64_t *slot = replace;
	int npath = 0, error;

	if (slot == NULL && ((spare > 0 && is_full(s)) || (slot = find_empty(s, k->hash, path, &npath)) == NULL))
		return -EOVERFLOW;
	error = arena_room(s, (sizeof(struct record) + skip + k->len + 3) & ~3ull, flags & RECORD_REALM ? 8 : 4, spare,
	    &off, &tail);
	if (error != 0)
		return error;
	struct record *r = (struct record *)(void *)(s->arena + off);
	r->part = (uint16_t)k->shape;
	r->realm = (uint8_t)(k->shape >> 16);
	r->flags = flags;
	if (skip != 0)
		memcpy(r->bytes, extra, skip);
	memcpy(r->bytes + skip, k->bytes, k->len);
	atomic_store_explicit(&r->word, word, memory_order_relaxed);
	if (replace != NULL)
		add_dead(s, shard_record(s, atomic_load_explicit(replace, memory_order_relaxed)));
	else
		count_add(&shard_head(s)->used, 1);
	publish(s, k, off, tail, slot, path, npath);
	return 0;
}

int
shard_put(struct shard *s, const struct key *k, uint32_t word, uint8_t flags, uint32_t expires,
    _Atomic uint64_t *replace, bool may_use_spare)
{
	static const struct realm_marks none;

	return put(s, k, word, flags, flags & RECORD_REALM ? (const void *)&none : &expires, replace,
	    may_use_spare ? 0 : SHARD_SPARE);
}

int
shard_copy(struct shard *s, const struct key *k, const struct record *from)
{
	return put(s, k, atomic_load_explicit(&from->word, memory_order_relaxed), from->flags, from->bytes, NULL,
	    SHARD_SPARE);
}

void
shard_remove(struct shard *s, _Atomic uint64_t *slot)
{
	uint64_t w = atomic_load_explicit(slot, memory_order_relaxed);

	atomic_store_explicit(slot, w & SLOT_OVERFLOW, memory_order_release);
	add_dead(s, shard_record(s, w));
	count_add(&shard_head(s)->used, (uint64_t)-1);
}

struct record *
shard_next(const struct shard *s, uint64_t *at)
{
	for (; *at < s->groups * 8; ++*at) {
		uint64_t w = atomic_load_explicit(&s->slots[*at], memory_order_acquire);
		struct record *r = (w & SLOT_OFFSET_MASK) != 0 ? shard_record(s, w) : NULL;

		if (r != NULL) {
			++*at;
			return r;
		}
	}
	return NULL;
}

uint64_t
shard_live_bytes(const struct shard *s)
{
	uint64_t at = 0, sum = 0;

	for (struct record *r; (r = shard_next(s, &at)) != NULL;)
		sum += record_size(r);
	return sum;
}

void
record_key(struct key *k, const struct root *root, const struct record *r)
{
	k->shape = record_shape(r);
	k->len = (k->shape & 0xfff) + (k->shape >> 16);
	k->bytes = (const char *)r->bytes + record_skip(r->flags);
	key_hash(k, root);
}

static char *
append(char *p, const void *bytes, size_t len)
{
	memcpy(p, bytes, len);
	return p + len;
}

/* "://" in the part of a scheme that is not cut off, or NULL. */
static const char *
find_separator(const char *part, size_t len)
{
	for (size_t i = 0; i + 3 <= len; i++)
		if (memcmp(part + i, "://", 3) == 0)
			return part + i;
	return NULL;
}

/* Bytes of a text that are not in the part. */
static size_t
text_extra(unsigned code)
{
	size_t n = (code & 3) == CODE_HTTPS ? 8 : (code & 3) == CODE_OTHER ? 0 : 7;

	return n + (code & CODE_SUFFIX ? 2 : 0) + (code & CODE_ANY_PORT ? 2 : 0);
}

size_t
record_text(const struct record *r, char *buf)
{
	unsigned code = r->part >> 12, scheme = code & 3;
	size_t len = r->part & 0xfff;
	const char *part = (const char *)r->bytes + record_skip(r->flags) + r->realm, *host = part;
	char *p = buf;

	if (r->flags & RECORD_REALM || len + text_extra(code) > RULE_MAX)
		return 0;
	if (scheme == CODE_SPECIAL) {
		p = append(p, part, len);
		p = append(p, "*", 1);
	} else {
		if (scheme == CODE_HTTPS)
			p = append(p, "https://", 8);
		else if (scheme == CODE_HTTP)
			p = append(p, "http://", 7);
		else if ((host = find_separator(part, len)) == NULL)
			return 0;
		else {
			host += 3;
			p = append(p, part, (size_t)(host - part));
		}
		if (code & CODE_SUFFIX)
			p = append(p, "*.", 2);
		p = append(p, host, len - (size_t)(host - part));
		if (code & CODE_ANY_PORT)
			p = append(p, ":*", 2);
	}
	*p = '\0';
	return (size_t)(p - buf);
}

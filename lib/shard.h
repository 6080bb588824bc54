/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * shard -- the hash table over a byte range it is handed: no mmap, no I/O.
 *
 * Groups of eight 64-bit slots, a cache line each; double hashing over a prime
 * number of groups; at most LAYOUT_MAX_PROBES groups; a group without its
 * overflow mark ends the search. The reading half is inline: it is the hot
 * path, shared by readers and the writer.
 */
#ifndef SHARD_H
#define SHARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "count.h"
#include "key.h"
#include "layout.h"

/* Geometry, copied from the head and checked once (I9). */
struct shard {
	uint8_t			*base;		/* of the mapping; PROT_READ for readers */
	uint64_t		 size;
	uint64_t		 groups;
	_Atomic uint64_t	*slots;
	uint8_t			*arena;
	uint64_t		 arena_len;
};

/* 0 or -EPROTO: the bytes [base, base+size) are no such segment. Fills *s. */
int	 shard_open(struct shard *s, void *base, uint64_t size, enum segment_kind kind, uint64_t instance,
	    uint64_t table, uint32_t number, uint64_t generation);

static inline uint64_t
shard_scale(uint64_t h, uint64_t n)
{
	return (uint64_t)(((unsigned __int128)h * n) >> 64);
}

static inline uint64_t
shard_step(const struct shard *s, uint64_t group, uint64_t h)
{
	group += 1 + shard_scale(h << 32, s->groups - 1);
	return group >= s->groups ? group - s->groups : group;
}

static inline uint32_t
record_shape(const struct record *r)
{
	return r->part | (uint32_t)r->realm << 16;
}

/* Slots that may be in use before a next generation is built. */
static inline uint64_t
shard_capacity(const struct shard *s)
{
	return s->groups * 8 * 88 / 100;
}

/* Where realm and part begin in bytes[]. */
static inline unsigned
record_skip(unsigned flags)
{
	return flags & RECORD_REALM ? sizeof(struct realm_marks) : flags & RECORD_EXPIRES ? 4 : 0;
}

static inline uint64_t
record_size(const struct record *r)
{
	uint64_t n = sizeof *r + record_skip(r->flags) + r->realm + (r->part & 0xfff);

	return (n + 3) & ~3ull;
}

static inline uint32_t
record_expires(const struct record *r)
{
	uint32_t at = 0;

	if (r->flags & RECORD_EXPIRES)
		memcpy(&at, r->bytes, sizeof at);
	return at;
}

static inline struct realm_marks *
record_marks(struct record *r)
{
	return (struct realm_marks *)(void *)r->bytes;
}

/*
 * The eight check bits of a word: one changed byte in the word, the flags or
 * the time is always noticed, and a record of another key nearly always.
 */
static inline uint32_t
word_seal(uint32_t word, uint8_t flags, uint32_t expires, uint64_t hash)
{
	uint32_t x = (word & 0xffffff) ^ flags ^ expires ^ (uint32_t)(hash >> 40);

	word &= 0xffffff;
	x ^= x >> 16;
	x ^= x >> 8;
	return word | (x & 0xff) << WORD_CHECK_SHIFT;
}

static inline bool
word_is_sealed(uint32_t word, const struct record *r, uint64_t hash)
{
	return word_seal(word, r->flags, record_expires(r), hash) == word;
}

/* The record a slot refers to if it lies whole inside the arena, else NULL. */
static inline struct record *
shard_record(const struct shard *s, uint64_t slot)
{
	uint64_t off = (slot & SLOT_OFFSET_MASK) << 1;
	struct record *r = (struct record *)(void *)(s->arena + off);

	if (off + sizeof *r > s->arena_len)
		return NULL;
	if (r->flags & RECORD_REALM && off % 8 != 0)
		return NULL;
	return off + record_size(r) <= s->arena_len ? r : NULL;
}

static inline bool
record_is(const struct record *r, const struct key *k)
{
	return record_shape(r) == k->shape && memcmp(r->bytes + record_skip(r->flags), k->bytes, k->len) == 0;
}

/*
 * The record of a key, or NULL. *slot (may be NULL) is where it stands. *strange becomes true where a slot
 * bears the key's tag and its record is not the key's: shard_is_sound() tells chance from damage.
 */
static inline struct record *
shard_search(const struct shard *s, const struct key *k, _Atomic uint64_t **slot, bool *strange)
{
	uint64_t group = shard_scale(k->hash, s->groups), tag = k->hash << SLOT_TAG_SHIFT, w = 0;

	for (int probe = 0; probe < LAYOUT_MAX_PROBES; probe++) {
		_Atomic uint64_t *line = s->slots + group * 8;

		for (int i = 0; i < 8; i++) {
			w = atomic_load_explicit(&line[i], memory_order_relaxed);
			if ((w ^ tag) >> SLOT_TAG_SHIFT != 0 || (w & SLOT_OFFSET_MASK) == 0)
				continue;
			/* pairs with the release store that published the slot (I1) */
			atomic_thread_fence(memory_order_acquire);
			struct record *r = shard_record(s, w);
			if (r != NULL && record_is(r, k)) {
				if (slot != NULL)
					*slot = &line[i];
				return r;
			}
			*strange = true;
		}
		if (!(w & SLOT_OVERFLOW))
			break;
		group = shard_step(s, group, k->hash);
	}
	return NULL;
}

/* What bears the tag of k on its way is whole, each the record of a key with that tag. Once in a million misses. */
bool	 shard_is_sound(const struct shard *s, const struct root *root, const struct key *k);

static inline struct record *
shard_find(const struct shard *s, const struct key *k, _Atomic uint64_t **slot)
{
	bool strange = false;

	return shard_search(s, k, slot, &strange);
}

/* ---- the writing half; s is mapped read-write and no other process writes it ---- */

/* Says that shard_find() and shard_put() of that key come soon. */
static inline void
shard_prefetch(const struct shard *s, const struct key *k)
{
	__builtin_prefetch((const void *)(s->slots + shard_scale(k->hash, s->groups) * 8), 1);
}

#define SHARD_SPARE	32768u	/* bytes of the arena that wait for what must be refused when nothing else fits */

/*
 * Appends a record for k and publishes it: into an empty slot, or over
 * *replace when the key is there already. may_use_spare: the last slots and bytes, too.
 * 0; -EOVERFLOW: full, or no slot within the probe bound (build a next
 * generation); -ENOMEM: more of the arena must be reserved first.
 */
int	 shard_put(struct shard *s, const struct key *k, uint32_t word, uint8_t flags, uint32_t expires,
	    _Atomic uint64_t *replace, bool may_use_spare);
/* Empties a slot; its record becomes dead bytes. */
void	 shard_remove(struct shard *s, _Atomic uint64_t *slot);
/* Copies a record of another generation as it is. Same results as shard_put. */
int	 shard_copy(struct shard *s, const struct key *k, const struct record *from);
/* Bytes of the arena that records in use occupy. */
uint64_t shard_live_bytes(const struct shard *s);

/* Slot by slot: next record at or after *at (a slot number), NULL at the end. */
struct record	*shard_next(const struct shard *s, uint64_t *at);
/* The key a record was stored under. */
void	 record_key(struct key *k, const struct root *root, const struct record *r);
/*
 * The row's origin as the database writes it, into buf (RULE_MAX + 1 bytes).
 * Returns its length; 0: not a row (a realm record, or nonsense).
 */
size_t	 record_text(const struct record *r, char *buf);

static inline struct segment_head *
shard_head(const struct shard *s)
{
	return (struct segment_head *)(void *)s->base;
}

#endif

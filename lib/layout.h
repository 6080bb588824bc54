/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * layout -- the bytes of the shared table, as files in <table.path>/v1:
 *
 *	lock		OFD write lock: held by the one writer for its life
 *	ctl		struct ctl: which table is in force, what syncd says
 *	t<T>		struct root of table generation T: hash key, shard generations
 *	t<T>.s<S>.<G>	shard S of table T, generation G: slots and records
 *	t<T>.p<G>	policies of table T, generation G: handles and blocks
 *
 * Who writes: the lock holder alone. Readers map everything PROT_READ.
 *
 * Invariants (the proofs are in doc/architecture.md):
 *  I1  A record's bytes are complete before its slot is published and never
 *      change, except `word`, and the counts and masks of a realm record.
 *  I2  A slot goes 0 -> record -> other record of the same key -> 0. Bit 0 of
 *      slot 7 (overflow) only goes 0 -> 1.
 *  I3  `tail` has passed a record before a slot refers to it.
 *  I4  Overflow marks along the probe path are set before the slot.
 *  I5  A key sits in one slot and never moves inside a generation.
 *  I6  A file is complete, its magic last, before a word names it.
 *  I7  A superseded file loses its name only after `epoch` went up, and its
 *      memory with its last map: nothing is freed or changed under a reader.
 *  I8  No file changes size; no page is touched before it is reserved.
 *  I9  Readers copy geometry once and check every offset against it.
 *  I10 A policy handle is never reused in a table; a policy's block never
 *      changes, the handle's word is swapped to a new block.
 *  I11 One writer. `epoch` goes up *before* any change that is more than one
 *      exact row: each wide row, each policy; and *after* a word names a new
 *      generation, which holds the same, before anything in it changes. A
 *      look-up that began and ended at one epoch therefore saw one state of
 *      the table.
 */
#ifndef LAYOUT_H
#define LAYOUT_H

#include <stdatomic.h>
#include <stdint.h>

#include "count.h"
#include "reader.h"

#define LAYOUT_DIR		"v1"
#define LAYOUT_MAX_SHARDS	256
#define LAYOUT_MAX_PROBES	16		/* groups a look-up may read */
#define LAYOUT_MAX_HANDLES	(1u << 21)	/* policies of one table, ever */
#define LAYOUT_MAX_TRIES	64		/* repeats while the table changes */

/*
 * What a build takes these files for, in one word: builds that differ refuse each other. The version is for
 * what neither a size nor a row of status.def tells: raise it where the meaning of bytes changes.
 */
#define LAYOUT_VERSION		2u
#define LAYOUT_WORD		layout_word(layout_rows)
extern const char	 layout_rows[];		/* status.def: a row a line */
uint32_t		 layout_word(const char *rows);
#define CTL_MAGIC		0x6c746373726f63ffull	/* bytes ff "corsctl" */
#define ROOT_MAGIC		0x746f72737263ff01ull
#define SEGMENT_MAGIC		0x676573737263ff02ull

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2, "lock-free atomics are shared between processes");

struct ctl {
	uint64_t		 magic;		/* written last */
	uint32_t		 layout;
	uint32_t		 size;
	uint64_t		 instance;	/* random: which directory this is */

	/* what every look-up reads */
	_Alignas(64) _Atomic uint64_t epoch;
	_Atomic uint64_t	 table;		/* in force; 0 = none yet */
	_Atomic uint64_t	 held_all;	/* HELD_* : every origin is refused */

	/* the writer's scribbling, away from that line */
	_Alignas(64) _Atomic int64_t status[STATUS_COUNT];
	_Alignas(64) _Atomic uint64_t words_seq;	/* odd while the words change */
	char			 problem[256];
	char			 source[128];
};

#define HELD_INVALIDATED	1u	/* until the next whole table */
#define HELD_REVOCATIONS	2u	/* nobody knows what cachectl revoke refused: until that is mended */

/* A cell of what the writer says about itself, as far as it can be true: what is damaged is 0, "none" or "never". */
static inline int64_t
ctl_status(const struct ctl *ctl, int cell)
{
	const _Atomic int64_t *at = &ctl->status[cell];

	return (int64_t)count_believed((uint64_t)atomic_load_explicit(at, memory_order_relaxed));
}

struct root {
	uint64_t		 magic;
	uint32_t		 layout;
	uint32_t		 size;
	uint64_t		 instance;
	uint64_t		 table;
	uint64_t		 k0, k1;	/* SipHash key of this table */
	uint32_t		 shards;	/* a power of two */
	uint32_t		 pad;
	_Alignas(64) _Atomic uint64_t policies_generation;
	_Atomic uint64_t	 rows;
	_Atomic uint64_t	 policies;
	_Alignas(64) _Atomic uint64_t generation[LAYOUT_MAX_SHARDS];
};

enum segment_kind { SEGMENT_SHARD = 1, SEGMENT_POLICIES = 2 };

/* Head of a shard or policies file: this page, the slots, the arena. */
struct segment_head {
	uint64_t		 magic;
	uint32_t		 layout;
	uint32_t		 kind;
	uint64_t		 instance;
	uint64_t		 table;
	uint64_t		 generation;
	uint64_t		 groups;	/* of eight slots; a prime for shards */
	uint64_t		 arena;		/* offset of the arena; slots begin at LAYOUT_PAGE */
	uint64_t		 size;		/* of the file, sparse */
	uint32_t		 shard;
	uint32_t		 pad;
	/* writer only */
	_Alignas(64) _Atomic uint64_t tail;	/* in the arena: bytes handed out */
	_Atomic uint64_t	 reserved;	/* in the arena: bytes backed by memory */
	_Atomic uint64_t	 used;		/* slots in use */
	_Atomic uint64_t	 dead;		/* arena bytes nothing refers to */
};
#define LAYOUT_PAGE		4096u
_Static_assert(sizeof(struct segment_head) <= LAYOUT_PAGE && sizeof(struct ctl) <= LAYOUT_PAGE &&
    sizeof(struct root) <= LAYOUT_PAGE, "a head is a page");

/*
 * Slot of a shard: tag:24 | record offset in 4-byte units:39 | overflow:1
 * (meaningful in slot 7 of a group only). Offset 0 = empty.
 */
#define SLOT_OVERFLOW		1ull
#define SLOT_OFFSET_MASK	0xfffffffffeull
#define SLOT_TAG_SHIFT		40
/* Slot of policies, indexed by handle: block offset in the arena, 8-aligned; 0 = none. */

/*
 * A record, 4-aligned: word, shape, flags, [expires_at u32], realm, part.
 * A realm record, 8-aligned, has struct realm_marks where expires_at would be.
 */
struct record {
	_Atomic uint32_t	 word;		/* handle:21 | revoked | refuse | held | check:8 */
	uint16_t		 part;		/* length:12 | code:4 */
	uint8_t			 realm;		/* length */
	uint8_t			 flags;
	uint8_t			 bytes[];
};
_Static_assert(sizeof(struct record) == 8, "layout");

#define WORD_HANDLE		(LAYOUT_MAX_HANDLES - 1)
#define WORD_REVOKED		(1u << 21)
#define WORD_REFUSE		(1u << 22)
#define WORD_HELD		(1u << 23)
#define WORD_CHECK_SHIFT	24

#define RECORD_EXPIRES		1u	/* a u32 of seconds since 1970 stands first in bytes[] */
#define RECORD_PUBLIC_SUFFIX	2u
#define RECORD_REALM		8u

/* Handles that no policy has. In the word and not among the flags, so that a row becomes a stub by one store. */
#define NO_HANDLE		(LAYOUT_MAX_HANDLES - 1)	/* of rows that refuse */
#define STUB_HANDLE		(LAYOUT_MAX_HANDLES - 2)	/* no row of the database: made by invalidate or revoke */

/* Code: how the part is written. http and https are cut off, other schemes stay in front. */
#define CODE_OTHER		0u
#define CODE_HTTPS		1u
#define CODE_HTTP		2u
#define CODE_SPECIAL		3u	/* alone: the rule *; with CODE_SUFFIX: a realm record; with CODE_ANY_PORT: RULE_SCHEME */
#define CODE_SUFFIX		4u
#define CODE_ANY_PORT		8u

/*
 * What look-ups beyond the exact row must know of a realm. Bit d: suffixes of d labels exist.
 * WORD_HELD in the realm record's word: all that is not an exact row of its own is refused.
 */
struct realm_marks {
	_Atomic uint64_t	 fixed;		/* RULE_SUFFIX; bit 0: the rule * */
	_Atomic uint64_t	 any_port;	/* RULE_SUFFIX_ANY_PORT; bit 0: RULE_HOST_ANY_PORT */
	_Atomic uint32_t	 rows;		/* all rows and stubs, * included */
	_Atomic uint32_t	 wide;		/* those of patterns and *; marks are cleared when it is 0 */
};
_Static_assert(sizeof(struct realm_marks) == 24 && RULE_MAX_DEPTH < 64, "layout");

/* A compiled policy in the arena of the policies file, 8-aligned. */
struct policy_block {
	uint64_t		 sum;		/* keyed: SipHash of handle, length and bytes */
	uint32_t		 handle;
	uint32_t		 len;
	uint8_t			 bytes[];
};

#endif

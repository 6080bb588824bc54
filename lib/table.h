/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table -- one whole generation of the shared table as its writer holds it:
 * the root, the shards, the policies. The calls that change it are in
 * writer.h; this is what writer.c and table.c share.
 */
#ifndef TABLE_H
#define TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "layout.h"
#include "segment.h"
#include "shard.h"
#include "writer.h"

/* Where a table's files live, and the word that readers watch. */
struct table_place {
	struct ctl	*ctl;
	int		 dirfd;
	gid_t		 group;
	unsigned	 max_shards;
};

struct table_part {
	struct mapping	 map;
	struct shard	 shard;
	uint64_t	 generation;
};

struct table {
	const struct table_place *place;
	uint64_t	 id;
	bool		 live;		/* readers see it */
	bool		 counted;	/* the realms' counts were checked since attach */
	bool		 may_hold_wide;	/* some realms may be held by table_realm_hold_wide() */
	struct mapping	 root_map;
	struct root	*root;
	struct root	 geometry;	/* shards and hash key, copied and checked once (I9) */
	struct table_part policies;	/* slots indexed by handle */
	struct table_part shards[LAYOUT_MAX_SHARDS];
	void		*names;		/* tsearch(3) of struct policy_name */
	uint32_t	 next_handle;	/* never goes back (I10) */
};

/* What a policy's name stands for in rows. */
struct policy_name {
	struct span	 name;		/* bytes[] */
	uint32_t	 handle;
	char		 bytes[];
};

static inline uint32_t
record_word(const struct record *r)
{
	return atomic_load_explicit((_Atomic uint32_t *)&r->word, memory_order_relaxed);
}

/* A row of the database, and not a realm record or a stub. */
static inline bool
record_is_row(const struct record *r)
{
	return !(r->flags & RECORD_REALM) && (record_word(r) & WORD_HANDLE) != STUB_HANDLE;
}

/* More than one origin may be answered by it. */
static inline bool
record_is_wide(const struct record *r)
{
	return r->part >> 12 & (CODE_SUFFIX | CODE_ANY_PORT) || (r->part >> 12 & 3) == CODE_SPECIAL;
}

/* ---- table.c: whole tables ---- */

int	 table_create(struct table **t, const struct table_place *place, uint64_t id, uint64_t rows);
/* The table of that id as it lies in the directory, live. */
int	 table_attach(struct table **t, const struct table_place *place, uint64_t id);
/* Copies policies and rows, holds included, into an empty table. */
int	 table_copy(struct table *to, struct table *from);
/* part_settle() of all its shards, before it is published. */
void	 table_settle(struct table *t);
/* Forgets it. */
void	 table_free(struct table **t);
/* Calls name() with every file it is made of. */
void	 table_each_file(const struct table *t, void (*name)(void *arg, const char *file), void *arg);
/* It should be copied: it needs more shards than it has, or spent its policy handles. */
bool	 table_is_crowded(const struct table *t);
/* Before a change that is more than one exact row (I11). */
void	 table_bump_epoch(struct table *t);

/* ---- table_part.c: one file, and the records in it ---- */

uint64_t part_groups_for(uint64_t rows);
/* groups and arena_len: how large; reserve: bytes of the arena that will be written soon. */
int	 part_create(struct table *t, struct table_part *p, enum segment_kind kind, unsigned number,
	    uint64_t generation, uint64_t groups, uint64_t arena_len, uint64_t reserve);
int	 part_attach(struct table *t, struct table_part *p, enum segment_kind kind, unsigned number,
	    uint64_t generation);
int	 part_reserve_more(struct table_part *p);
/* Before readers know it: into huge pages, where that is worth it. Nothing depends on it. */
void	 part_settle(struct table_part *p);
/* Makes next the part in force; the old one's memory goes with its last reader (I7). */
void	 part_supersede(struct table *t, struct table_part *p, struct table_part *next,
	    _Atomic uint64_t *word, const char *old);
void	 part_discard(struct table *t, struct table_part *p, const char *name);
/*
 * Puts a record under k, making room as needed. slot: where shard_find() found the one that is there; NULL: none is.
 * may_use_spare: where there is no room, in what each shard keeps for that: only what refuses, or takes the place
 * of another record.
 */
int	 table_place_record(struct table *t, const struct key *k, _Atomic uint64_t *slot, uint32_t word, uint8_t flags,
	    uint32_t expires, bool may_use_spare);
/* Dead bytes are a quarter of the arena: a new generation. A full disk is no reason to fail. */
void	 table_compact_if_worth_it(struct table *t, unsigned number);

/* ---- table_realm.c: what look-ups must know of a realm ---- */

/* Before a row or stub of the realm is published, and after one is gone. */
int	 table_realm_add(struct table *t, struct span realm, const struct rule *rule, bool may_use_spare);
void	 table_realm_drop(struct table *t, struct span realm, const struct rule *rule);
/* A row that is no exact one exists: somebody else would answer for an origin without a row. */
bool	 table_realm_is_wide(const struct table *t, struct span realm);
/* What is no exact row of its own is refused: one store, and no room is needed. */
void	 table_realm_hold_wide(struct table *t, struct span realm);
void	 table_lift_wide_holds(struct table *t);
/* A writer killed between a row and its realm's counts leaves them one off: mends that once after attach. */
int	 table_recount(struct table *t);

/* ---- table_policy.c ---- */

struct policy_name	*table_find_policy(struct table *t, struct span name);
/* The block in force; NULL: none, or damaged, which no copy may hide. */
struct policy_block	*table_policy_block(const struct table *t, uint32_t handle);
/* Whatever rows say so refuses, until the policy is put again; needs no room. */
void	 table_policy_refuse(struct table *t, struct span name);
int	 table_attach_policies(struct table *t);
/* handles[old] becomes the handle in `to`; entries without a policy are left alone. */
int	 table_copy_policies(struct table *to, struct table *from, uint32_t *handles);
void	 table_forget_policies(struct table *t);

/* ---- table_row.c ---- */

/* A row, hold or stub of another table, its policy translated by handles[]. */
int	 table_copy_row(struct table *to, const struct table *from, const struct record *r,
	    const uint32_t *handles);

#endif

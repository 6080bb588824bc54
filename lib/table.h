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
	/* A superseded file that readers may still map. */
	void		(*retire)(struct writer *w, const char *name);
	struct writer	*writer;
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
	struct mapping	 root_map;
	struct root	*root;
	struct table_part policies;	/* slots indexed by handle */
	struct table_part shards[LAYOUT_MAX_SHARDS];
	void		*names;		/* tsearch(3) of struct policy_name */
	uint32_t	 next_handle;	/* never goes back (I10) */
};

int	 table_create(struct table **t, const struct table_place *place, uint64_t id, uint64_t rows);
/* The table of that id as it lies in the directory, live. */
int	 table_attach(struct table **t, const struct table_place *place, uint64_t id);
/* Copies policies and rows, holds included, into an empty table. */
int	 table_copy(struct table *to, struct table *from);
/* Forgets it. */
void	 table_free(struct table **t);
/* Calls name() with every file it is made of. */
void	 table_each_file(const struct table *t, void (*name)(void *arg, const char *file), void *arg);
/* The table should have more shards than it has. */
bool	 table_is_crowded(const struct table *t);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#include "table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define ROWS_PER_SHARD		131072	/* at most, when a table is built */
#define CROWDED_ROWS_PER_SHARD	163840	/* then it is built anew with more shards */
#define USUAL_RECORD		32	/* bytes: memory for them is there at once */
#define WORTH_HANDLES		65536	/* of policies: then the dead ones are worth a table anew */

/* Before a change that is more than one exact row (I11). */
void
table_bump_epoch(struct table *t)
{
	if (t->live)
		atomic_fetch_add_explicit(&t->place->ctl->epoch, 1, memory_order_release);
}

static unsigned
shards_for(uint64_t rows, unsigned most)
{
	unsigned n = 1;

	while (n < most && n < LAYOUT_MAX_SHARDS && rows / n > ROWS_PER_SHARD)
		n *= 2;
	return n;
}

/* Handles are never used again (I10), and run out: a copy of the table begins at 0. */
static bool
has_spent_handles(const struct table *t)
{
	return t->next_handle > WORTH_HANDLES &&
	    t->next_handle / 2 > atomic_load_explicit(&t->root->policies, memory_order_relaxed);
}

bool
table_is_crowded(const struct table *t)
{
	uint64_t rows = table_rows(t);

	if (t->may_hold_wide)	/* a copy would not know of that */
		return false;
	if (has_spent_handles(t))
		return true;
	return rows / t->geometry.shards > CROWDED_ROWS_PER_SHARD &&
	    shards_for(rows, t->place->max_shards) > t->geometry.shards;
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
	t->root->k0 = t->geometry.k0 = key[0];
	t->root->k1 = t->geometry.k1 = key[1];
	t->root->shards = t->geometry.shards = shards;
	return 0;
}

static int
create_shards(struct table *t, uint64_t each, uint64_t record)
{
	int error = 0;

	for (unsigned i = 0; error == 0 && i < t->geometry.shards; i++) {
		error = part_create(t, &t->shards[i], SEGMENT_SHARD, i, 1, part_groups_for(each), each * 128 + (1 << 20),
		    each * record);
		if (error == 0)
			atomic_store_explicit(&t->root->generation[i], 1, memory_order_relaxed);
	}
	return error;
}

static void
discard_shards(struct table *t)
{
	char name[SEGMENT_NAME];

	for (unsigned i = 0; i < t->geometry.shards; i++) {
		segment_name_shard(name, t->id, i, 1);
		part_discard(t, &t->shards[i], name);
	}
}

int
table_create(struct table **out, const struct table_place *place, uint64_t id, uint64_t rows)
{
	unsigned shards = shards_for(rows, place->max_shards);
	uint64_t each = rows / shards + rows / shards / 32 + 16;
	struct table *t = new_table(place, id);
	int error = t == NULL ? -ENOMEM : create_root(t, shards);

	if (error == 0)
		error = part_create(t, &t->policies, SEGMENT_POLICIES, 0, 1, 8, 1 << 20, 0);
	/* rows is a guess, and may be too high: those that come will tell */
	if (error == 0 && (error = create_shards(t, each, USUAL_RECORD)) == -ENOSPC) {
		discard_shards(t);
		error = create_shards(t, each, 0);
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

/* The size of a next table follows from it: never more than there can be. */
static void
bound_rows(struct table *t)
{
	uint64_t most = 0;

	for (unsigned i = 0; i < t->geometry.shards; i++)
		most += atomic_load_explicit(&shard_head(&t->shards[i].shard)->used, memory_order_relaxed);
	if (table_rows(t) > most)
		atomic_store_explicit(&t->root->rows, most, memory_order_relaxed);
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
	t->geometry.shards = t->root->shards;
	t->geometry.k0 = t->root->k0;
	t->geometry.k1 = t->root->k1;
	error = -EPROTO;
	if (t->root->magic != ROOT_MAGIC || t->root->layout != LAYOUT_WORD || t->root->table != id ||
	    t->root->instance != place->ctl->instance || t->geometry.shards == 0 ||
	    t->geometry.shards > LAYOUT_MAX_SHARDS || (t->geometry.shards & (t->geometry.shards - 1)) != 0)
		goto out;
	error = part_attach(t, &t->policies, SEGMENT_POLICIES, 0,
	    atomic_load_explicit(&t->root->policies_generation, memory_order_relaxed));
	for (unsigned i = 0; error == 0 && i < t->geometry.shards; i++)
		error = part_attach(t, &t->shards[i], SEGMENT_SHARD, i,
		    atomic_load_explicit(&t->root->generation[i], memory_order_relaxed));
	if (error == 0)
		error = table_attach_policies(t);
	if (error == 0)
		bound_rows(t);
out:
	if (error != 0) {
		table_free(&t);
		return error;
	}
	t->live = t->may_hold_wide = true;
	*out = t;
	return 0;
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
	error = table_copy_policies(to, from, handles);
	for (unsigned i = 0; error == 0 && i < from->geometry.shards; i++)
		for (uint64_t at = 0; error == 0 && (r = shard_next(&from->shards[i].shard, &at)) != NULL;)
			error = table_copy_row(to, from, r, handles);
	free(handles);
	return error;
}

void
table_settle(struct table *t)
{
	for (unsigned i = 0; i < t->geometry.shards; i++)
		part_settle(&t->shards[i]);
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
	table_forget_policies(t);
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
	for (unsigned i = 0; i < t->geometry.shards; i++) {
		segment_name_shard(file, t->id, i, t->shards[i].generation);
		name(arg, file);
	}
}

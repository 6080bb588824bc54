/* SPDX-License-Identifier: BSD-2-Clause */
#include "table.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

static int
compare_names(const void *a, const void *b)
{
	const struct span x = ((const struct policy_name *)a)->name, y = ((const struct policy_name *)b)->name;

	if (x.len != y.len)
		return x.len < y.len ? -1 : 1;
	return memcmp(x.at, y.at, x.len);
}

struct policy_name *
table_find_policy(struct table *t, struct span name)
{
	const struct policy_name want = { .name = name };
	struct policy_name **found = tfind(&want, &t->names, compare_names);

	return found == NULL ? NULL : *found;
}

static struct policy_name *
add_name(struct table *t, struct span name, uint32_t handle)
{
	struct policy_name *n = malloc(sizeof *n + name.len), **found;

	if (n == NULL)
		return NULL;
	memcpy(n->bytes, name.at, name.len);
	n->name = (struct span){ n->bytes, name.len };
	n->handle = handle;
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

/* Writes a block to the policies' arena, and leaves `spare` bytes behind it: the caller publishes its offset. */
static int
append_block(struct table *t, struct table_part *p, uint32_t handle, const void *bytes, size_t len, uint64_t spare,
    uint64_t *off)
{
	struct segment_head *h = shard_head(&p->shard);
	uint64_t tail, need = round_up(sizeof(struct policy_block) + len, 8);

	*off = round_up(atomic_load_explicit(&h->tail, memory_order_relaxed), 8);
	tail = *off + need;
	if (tail + spare > p->shard.arena_len)
		return -EOVERFLOW;
	while (tail + spare > atomic_load_explicit(&h->reserved, memory_order_relaxed)) {
		int error = part_reserve_more(p);
		if (error != 0)
			return error;
	}
	struct policy_block *b = (struct policy_block *)(void *)(p->shard.arena + *off);
	b->handle = handle;
	b->len = (uint32_t)len;
	memcpy(b->bytes, bytes, len);
	b->sum = block_sum(&t->geometry, b);
	atomic_store_explicit(&h->tail, tail, memory_order_release);
	return 0;
}

struct policy_block *
table_policy_block(const struct table *t, uint32_t handle)
{
	const struct table_part *p = &t->policies;
	uint64_t off = handle < p->shard.groups * 8 ?
	    atomic_load_explicit(&p->shard.slots[handle], memory_order_relaxed) : 0;
	struct policy_block *b;

	if (off == 0 || off % 8 != 0 || off > p->shard.arena_len || p->shard.arena_len - off < sizeof *b)
		return NULL;
	b = (struct policy_block *)(void *)(p->shard.arena + off);
	if (b->len > POLICY_MAX || b->len > p->shard.arena_len - off - sizeof *b || b->handle != handle ||
	    b->sum != block_sum(&t->geometry, b))
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
		struct policy_block *b = table_policy_block(t, i);
		live += b == NULL ? 0 : round_up(sizeof *b + b->len, 8);
	}
	segment_name_policies(old, t->id, p->generation);
	segment_name_policies(name, t->id, p->generation + 1);
	error = part_create(t, &next, SEGMENT_POLICIES, 0, p->generation + 1, t->next_handle / 4 + 8,
	    live * 2 + (1 << 20), live);
	for (uint32_t i = 0; error == 0 && i < t->next_handle; i++) {
		struct policy_block *b = table_policy_block(t, i);
		if (b == NULL)
			continue;
		if ((error = append_block(t, &next, i, b->bytes, b->len, SHARD_SPARE, &off)) == 0)
			atomic_store_explicit(&next.shard.slots[i], off, memory_order_relaxed);
		else
			part_discard(t, &next, name);
	}
	if (error == 0) {
		atomic_store_explicit(&shard_head(&next.shard)->used, t->next_handle, memory_order_relaxed);
		part_supersede(t, p, &next, &t->root->policies_generation, old);
	}
	return error;
}

static int
make_room_and_append(struct table *t, uint32_t handle, const void *bytes, size_t len, uint64_t *off)
{
	int error = -EOVERFLOW;

	for (int i = 0; i < 2 && error == -EOVERFLOW; i++) {
		if (handle < t->policies.shard.groups * 8)
			error = append_block(t, &t->policies, handle, bytes, len, SHARD_SPARE, off);
		if (error == -EOVERFLOW && i == 0 && (error = rebuild_policies(t)) == 0)
			error = -EOVERFLOW;	/* once more, in the new generation */
	}
	return error;
}

/* Publishes a compiled policy under a handle: all its origins change by this one store. */
static int
put_block(struct table *t, uint32_t handle, const void *bytes, size_t len, bool may_use_spare)
{
	uint64_t off;
	int error = make_room_and_append(t, handle, bytes, len, &off);

	if (error != 0 && may_use_spare && handle < t->policies.shard.groups * 8 &&
	    append_block(t, &t->policies, handle, bytes, len, 0, &off) == 0)
		error = 0;
	if (error != 0)
		return error;
	table_bump_epoch(t);
	atomic_store_explicit(&t->policies.shard.slots[handle], off, memory_order_release);
	return 0;
}

int
table_policy_put(struct table *t, const struct policy_row *row, enum policy_status *why)
{
	char block[POLICY_MAX];
	struct policy_name *name;
	size_t len;
	int error;

	if ((*why = policy_compile(row, block, &len, NULL)) != POLICY_OK)
		return -EINVAL;
	if ((name = table_find_policy(t, row->name)) != NULL)
		return put_block(t, name->handle, block, len, true);
	if (t->next_handle >= STUB_HANDLE)
		return -ENOSPC;
	t->next_handle++;
	atomic_store_explicit(&shard_head(&t->policies.shard)->used, t->next_handle, memory_order_release);
	if ((error = put_block(t, t->next_handle - 1, block, len, false)) != 0) {
		t->next_handle--;	/* never published: free for the next */
		return error;
	}
	if (add_name(t, row->name, t->next_handle - 1) == NULL)
		return -ENOMEM;
	count_add(&t->root->policies, 1);
	return 0;
}

int64_t
table_policy_handle(struct table *t, struct span name)
{
	const struct policy_name *n = table_find_policy(t, name);

	return n == NULL ? -ENOENT : (int64_t)n->handle;
}

void
table_policy_refuse(struct table *t, struct span name)
{
	struct policy_name *n = table_find_policy(t, name);

	if (n == NULL)
		return;
	table_bump_epoch(t);
	atomic_store_explicit(&t->policies.shard.slots[n->handle], 0, memory_order_release);
}

int
table_policy_remove(struct table *t, struct span name)
{
	struct policy_name *n = table_find_policy(t, name);

	if (n == NULL)
		return -ENOENT;
	table_bump_epoch(t);
	atomic_store_explicit(&t->policies.shard.slots[n->handle], 0, memory_order_release);
	count_add(&t->root->policies, (uint64_t)-1);
	tdelete(n, &t->names, compare_names);
	free(n);
	return 0;
}

int
table_attach_policies(struct table *t)
{
	uint64_t handles = atomic_load_explicit(&shard_head(&t->policies.shard)->used, memory_order_relaxed), count = 0;
	struct policy p;

	if (handles > LAYOUT_MAX_HANDLES)
		return -EPROTO;
	t->next_handle = (uint32_t)handles;
	for (uint32_t i = 0; i < t->next_handle; i++) {
		struct policy_block *b = table_policy_block(t, i);
		if (b == NULL)
			continue;
		if (policy_read(&p, b->bytes, b->len) != POLICY_OK || p.name.len > POLICY_MAX_NAME)
			return -EPROTO;
		if (table_find_policy(t, p.name) == NULL && add_name(t, p.name, i) == NULL)
			return -ENOMEM;
		count++;
	}
	atomic_store_explicit(&t->root->policies, count, memory_order_relaxed);
	return 0;
}

int
table_copy_policies(struct table *to, struct table *from, uint32_t *handles)
{
	struct policy p;
	int error = 0;

	for (uint32_t i = 0; error == 0 && i < from->next_handle; i++) {
		struct policy_block *b = table_policy_block(from, i);
		if (b == NULL || policy_read(&p, b->bytes, b->len) != POLICY_OK)
			continue;
		handles[i] = to->next_handle++;
		atomic_store_explicit(&shard_head(&to->policies.shard)->used, to->next_handle, memory_order_relaxed);
		error = put_block(to, handles[i], b->bytes, b->len, false);
		if (error == 0 && add_name(to, p.name, handles[i]) == NULL)
			error = -ENOMEM;
		count_add(&to->root->policies, 1);
	}
	return error;
}

void
table_forget_policies(struct table *t)
{
	tdestroy(t->names, free);
	t->names = NULL;
}

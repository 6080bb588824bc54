/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * writer -- the shared table, written: by one process at a time, which holds
 * a lock that the kernel takes back when the process dies.
 *
 * Every call is safe to be killed in: readers see the state before or after,
 * never between. Calls return 0 or -errno and leave the table as it was on
 * failure (-ENOSPC: table.path is full).
 *
 * Order within a transaction is the caller's: upserts from the narrowest form
 * to the widest, then removals from the widest to the narrowest, so that no
 * origin is ever answered by a row that was its answer neither before nor
 * after. table_batch() does that.
 */
#ifndef WRITER_H
#define WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "policy.h"
#include "reader.h"
#include "revoked.h"
#include "row.h"

struct writer;
struct table;		/* one whole generation: all shards and the policies */

struct writer_options {
	const char	*dir;		/* table.path; created if absent, 0750 */
	gid_t		 group;		/* readers' group, (gid_t)-1 = leave */
	unsigned	 max_shards;	/* 0 = 256; tests force small ones */
	const char	*revoked;	/* the file of revocations; NULL: they are not kept */
	char		*err;		/* why writer_open() failed, in words; may be NULL */
	size_t		 errlen;
};

/* -EWOULDBLOCK: another writer lives. -EPROTO: a layout that is not ours. */
int	 writer_open(struct writer **w, const struct writer_options *opt);
void	 writer_close(struct writer **w);
const char *writer_strerror(const struct writer *w);	/* of the last failure, with the file's name */

/* The table in force, NULL before the first writer_commit(). */
struct table *writer_table(struct writer *w);

/*
 * A next table beside the one in force: filled with the same calls, then
 * published whole by one store, or thrown away. rows: an estimate, sizes it.
 * At most one at a time.
 */
int	 writer_begin(struct writer *w, uint64_t rows, struct table **t);
int	 writer_commit(struct writer *w, struct table **t);
void	 writer_abort(struct writer *w, struct table **t);

/* Insert or replace. row->policy must exist in t (-ENOENT) if the row allows. -EINVAL: rule_parse() refuses it. */
int	 table_put(struct table *t, const struct row *row);
/*
 * The same for n rows, parsed already: rule is that of row.origin, row.realm is
 * valid, handle is that of row.policy, or ROW_NO_POLICY where it refuses. Fetches memory ahead, so that a load does
 * not wait for it row by row. Stops at the first failure.
 */
struct parsed_row {
	struct row	 row;
	struct rule	 rule;
	uint32_t	 handle;
};
#define ROW_NO_POLICY	UINT32_MAX
int	 table_put_parsed(struct table *t, const struct parsed_row *rows, size_t n);
/* -ENOENT: it was not there. */
int	 table_remove(struct table *t, struct span realm, struct span origin);
/* Insert or replace by name: changes all its origins by one store. */
int	 table_policy_put(struct table *t, const struct policy_row *p, enum policy_status *why);
/* What rows have instead of its name, until it is removed; -ENOENT. */
int64_t	 table_policy_handle(struct table *t, struct span name);
/* -EBUSY is never said: rows that still name it are refused by readers. -ENOENT. */
int	 table_policy_remove(struct table *t, struct span name);

/*
 * One transaction's worth of changes, in an order in which no moment is wrong;
 * where policies change with rows, these rows refuse until all is done.
 * Reorders rows[]. After a failure all that needs no room has been made, what could not be written is refused,
 * and so is whatever would answer in its place: do it again, then writer_lift_wide_holds().
 */
struct change {
	struct row	 row;		/* key; the rest only if !gone */
	bool		 gone;		/* no such row any more */
};
int	 table_batch(struct table *t, struct change *rows, size_t nrows,
	    const struct policy_row *policies, size_t npolicies,
	    const struct span *gone_policies, size_t ngone);

/*
 * Refuse at once, whatever the database says, until the row is put or removed
 * again. hold on a plain origin without a row of its own makes one that
 * refuses (row->policy empty), so that no wider row answers; where there is no room for it, all wide rows of the
 * realm refuse. Returns rows held.
 */
int64_t	 table_hold(struct table *t, struct span realm, struct span origin);
/* Of a change that is not made: neither what stood there before nor a wider row answers, until it is. Never fails. */
void	 table_refuse(struct table *t, const struct row *row);
int64_t	 table_hold_realm(struct table *t, struct span realm);
/* All of them, by one store; until writer_commit(). Works without a table. */
int	 writer_hold_all(struct writer *w);

/*
 * Refuse whatever the database says: rows may come, change and go underneath. A stub where there is no row, for
 * patterns too. -ENOSPC and the like: all wide rows of the realm refuse instead; try again. See writer_revoke().
 */
int	 table_revoke(struct table *t, struct span realm, struct span origin);
int	 table_restore(struct table *t, struct span realm, struct span origin);
/* All that could not be written has been: what table_batch() and table_hold() refused beside it answers again. */
void	 writer_lift_wide_holds(struct writer *w);

/*
 * What cachectl revoke refuses, in the table in force and in each that is published, until it is restored or its
 * time is over (writer_tick). The table first, and the file when writer_save_revoked() is called: what that did
 * not write is tried again by writer_tick(). Where the file could not be read, every origin is refused, and only
 * writer_restore_all() ends that: nobody knows what it said. -ENOMEM: refused, but it will be forgotten.
 */
int	 writer_revoke(struct writer *w, const struct revocation *r);
int	 writer_restore(struct writer *w, struct span realm, struct span origin);	/* -ENOENT: it is not revoked */
void	 writer_restore_all(struct writer *w);
int	 writer_save_revoked(struct writer *w);
const struct revoked *writer_revoked(const struct writer *w);
/* 0, or why the file could not be read. */
int	 writer_revoked_error(const struct writer *w);

/* Same as reader_each, of t, for audits; no copy. */
int	 table_each(struct table *t, int (*each)(const struct row *row, void *arg), void *arg);
/* -ENOENT, or the row (the spans live until the next change). */
int	 table_get(struct table *t, struct span realm, struct span origin, struct row *row);
uint64_t table_rows(const struct table *t);

/* Call about ten times a second: heartbeat, more shards when the table has outgrown them. */
int	 writer_tick(struct writer *w);

/* The daemon's own numbers and words; see status.def. */
enum status_name {
#define STATUS(name, kind, unit, help)	STATUS_##name,
#include "status.def"
#undef STATUS
};
void	 writer_set(struct writer *w, enum status_name, int64_t value);
void	 writer_add(struct writer *w, enum status_name, int64_t value);
int64_t	 writer_get(const struct writer *w, enum status_name);
void	 writer_say_problem(struct writer *w, const char *text);	/* "" = none; cut at 255 bytes */
void	 writer_say_source(struct writer *w, const char *text);

#endif

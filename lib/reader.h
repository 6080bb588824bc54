/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reader -- the shared table, read only.
 *
 * One reader per thread. It maps the writer's files PROT_READ, writes nothing
 * shared, takes no lock, never waits, and allocates nothing after
 * reader_open() (reader_each() excepted). Any bytes in the files are safe:
 * geometry is checked at attach, every offset before use, and every loop has a
 * constant bound. Trouble is MATCH_ERROR or MATCH_NOT_READY, never a guess.
 *
 * Links with nothing but libc: in-process readers (an nginx module, Lua) use
 * this header, answer.h, decide.h, headers.h, policy.h, origin.h and row.h.
 */
#ifndef READER_H
#define READER_H

#include <stdbool.h>
#include <stdint.h>

#include "decide.h"
#include "row.h"

struct reader;

/*
 * dir is table.path. Succeeds (0) also where no table exists yet: look-ups
 * then say MATCH_NOT_READY until reader_refresh() finds one. -errno: no memory.
 */
int	 reader_open(struct reader **r, const char *dir);
void	 reader_close(struct reader **r);

/*
 * Call about once a second, between look-ups: attaches where that failed so
 * far, lets go of superseded files, and notices a directory that was replaced. Returns 0 when a table is
 * mapped, else -errno and reader_strerror() says why.
 */
int	 reader_refresh(struct reader *r);
const char *reader_strerror(const struct reader *r);

/*
 * The row that answers (realm, origin) at now_s (seconds since 1970), most
 * specific first. o == NULL: only the rule * may match (no origin, null, or a
 * malformed one). m->policy points into r: it lives until the next call with
 * this reader, and what it says counts only if reader_is_current() is still
 * true after it was used.
 */
void	 reader_find(struct reader *r, struct span realm, const struct origin *o, int64_t now_s,
	    struct match *m);

/* Nothing that reader_find() relied on has changed since it was called. */
bool	 reader_is_current(const struct reader *r);

// The row that a match stands for, as the database writes it: "https://*.example.com:*".
size_t	 match_row_text(const struct match *m, const struct origin *o, char *buf, size_t cap);

/* What syncd says about itself. All zero without a table; a cell that cannot be true (count.h) is zero, too. */
struct status {
#define STATUS(name, kind, unit, help)	int64_t name;
#include "status.def"
#undef STATUS
};

struct status_desc {
	const char	*name;
	const char	*kind;		/* gauge counter time flag */
	const char	*unit;
	const char	*help;
};
#define STATUS(name, kind, unit, help)	+ 1
enum { STATUS_COUNT = 0
#include "status.def"
};
#undef STATUS
/*
 * Whether a table of that status is too old to answer by: responder.max_stale_s, 0 = never. Freshness in the
 * future is no freshness: the clock was set back, and how old the table is cannot be told.
 */
bool	 status_is_stale(const struct status *st, int64_t max_stale_s, int64_t now_ms);
extern const struct status_desc	 status_descs[STATUS_COUNT];	/* struct status as an array of int64_t, in order */

/* The table itself, for people. */
struct table_info {
	bool		 ready;		/* a table is published */
	bool		 held_all;	/* cachectl invalidate --all is in force; or: */
	bool		 revocations_lost;	/* what cachectl revoke refused cannot be read: every origin is refused */
	uint64_t	 table;		/* generation of the whole table, 1 .. */
	uint64_t	 epoch;		/* changes whenever more than one entry does */
	uint64_t	 rows;		/* rows of cors.origins held */
	uint64_t	 policies;
	uint64_t	 capacity;	/* rows before a shard grows */
	uint64_t	 bytes;		/* reserved in the file system, all files */
	uint64_t	 dead_bytes;	/* of removed and replaced entries */
	uint32_t	 shards;
	uint32_t	 layout;
	uint64_t	 instance;
	bool		 writer_alive;	/* somebody holds the writer's lock */
	char		 problem[256];	/* syncd's own words: what is wrong now, "" = nothing */
	char		 source[128];	/* where the rows come from: "postgres host=... dbname=...", "file x" */
};

void	 reader_status(struct reader *r, struct status *st);
void	 reader_info(struct reader *r, struct table_info *ti);

/*
 * Every row, in no order, each exactly once as of the moment its shard was
 * copied (allocates a shard's size). Stops when each() returns non-zero and
 * returns that; -errno on trouble. With realm != NULL only that realm.
 */
int	 reader_each(struct reader *r, const struct span *realm,
	    int (*each)(const struct row *row, void *arg), void *arg);
/* Every policy, likewise, but damaged ones; it lives as long as its call of each(). */
int	 reader_each_policy(struct reader *r, int (*each)(const struct policy *p, void *arg), void *arg);

/* One row by its key as written. 0, -ENOENT, -errno. The spans point into buf. */
int	 reader_get(struct reader *r, struct span realm, const struct rule *rule,
	    char buf[REALM_MAX + RULE_MAX + POLICY_MAX_NAME + 3], struct row *row);

#endif

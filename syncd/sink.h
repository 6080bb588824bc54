/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sink -- where the database's rows end: checked once more, then put into the
 * shared table; and what cachectl invalidated, refused until the database was
 * asked again.
 *
 * Statements are numbered by the caller, 1, 2, 3 ... in the order in which
 * they are sent. A hold remembers the number of the last statement sent before
 * it: only the answer to a later one lifts it. Answers to earlier ones leave
 * the held row alone.
 *
 * Rows and policies come as the columns of a binary result (wire.h), in the
 * order of SINK_ROW and SINK_POLICY; the bytes are the caller's and need to live
 * only until the call returns, for a delta until sink_delta_apply() does.
 *
 * Calls return 0 or -errno. -EBADMSG: not the columns that were asked for.
 * Other failures are the table's and leave it in a state from which the same
 * delta can be applied again.
 */
#ifndef SINK_H
#define SINK_H

#include <stdbool.h>
#include <stdint.h>

#include "keyset.h"
#include "writer.h"

#define SINK_ROW	"realm, origin, policy, allow, expires_at"
#define SINK_ROW_COLUMNS	5
#define SINK_POLICY	"name, methods, headers, expose_headers, credentials, insecure, max_age"
#define SINK_POLICY_COLUMNS	7

struct sink;

/* dir: table.path, for the audit's reader. */
int	 sink_open(struct sink **s, struct writer *w, const char *dir);
void	 sink_close(struct sink **s);

/*
 * A whole table: begin, all policies, all rows, commit (or abort). rows: an
 * estimate. number: of its first statement.
 */
int	 sink_load_begin(struct sink *s, uint64_t rows, uint64_t number);
int	 sink_load_policy(struct sink *s, const struct span *columns);
int	 sink_load_row(struct sink *s, const struct span *columns);
int	 sink_load_commit(struct sink *s);
void	 sink_load_abort(struct sink *s);
uint64_t sink_loaded(const struct sink *s);	/* rows seen by that load so far */

/*
 * The current state of what changed. A row with the policy NULL, or a policy
 * with methods NULL, is gone. apply does all of it or fails; then begin again.
 * is_partial: other changes are missing, and a load will bring them: until
 * then what cannot stand alone refuses, and policies stay as they are.
 */
int	 sink_delta_begin(struct sink *s, size_t most, uint64_t number);
int	 sink_delta_row(struct sink *s, const struct span *columns);
int	 sink_delta_policy(struct sink *s, const struct span *columns);
int	 sink_delta_apply(struct sink *s, bool is_partial);
/* A policy is good that was not, and rows may wait for it: they need a whole load. */
bool	 sink_wants_load(const struct sink *s);

/* So far, each row puts one origin alone under a policy that is in the table: true whatever else changed. */
bool	 sink_delta_stands_alone(const struct sink *s);

/*
 * Compares the table in force with all policies and rows of one snapshot, to
 * which the table was brought before. end returns how many differ.
 */
int	 sink_audit_begin(struct sink *s);
int	 sink_audit_policy(struct sink *s, const struct span *columns);
int	 sink_audit_row(struct sink *s, const struct span *columns);
int64_t	 sink_audit_end(struct sink *s);

/* Refuse now. last: number of the last statement sent. How many are refused, or -errno. */
int64_t	 sink_hold(struct sink *s, struct span realm, struct span origin, uint64_t last);
int64_t	 sink_hold_realm(struct sink *s, struct span realm);	/* until the next load is committed */
int64_t	 sink_hold_all(struct sink *s);				/* likewise */
const struct keyset *sink_holds(const struct sink *s);		/* those of sink_hold() */

#endif

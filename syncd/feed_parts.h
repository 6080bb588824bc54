/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * feed_parts -- what the files of the feed share: the session with the
 * database (feed_session.c), what changed since the position (feed_delta.c), and
 * whole tables (feed_load.c). feed.c decides which of them is due.
 *
 * One statement at a time: feed_start_*() asks the first of a job, its answer
 * asks the next, and the session is idle again when the job is done.
 */
#ifndef FEED_PARTS_H
#define FEED_PARTS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "config.h"
#include "feed.h"
#include "pg.h"
#include "sink.h"
#include "wire.h"

#define CHANNEL	"cors_changes"

/* Where the table in force stands. */
struct position {
	char		*snapshot;	/* pg_snapshot as text; NULL: nowhere */
	char		*token;
	uint64_t	 xmin, xmax;
	bool		 in_recovery;	/* taken on a standby, whose snapshots list nothing in progress */
};

/* What is said to be wrong, in the order of what matters most. */
enum problem { PROBLEM_SESSION, PROBLEM_LOAD, PROBLEM_DELTA, PROBLEM_DATABASE, PROBLEM_COUNT };

struct feed {
	struct writer		*w;
	const struct config	*config;
	struct pg		*pg;
	struct sink		*sink;
	struct position		 at;
	struct position		 next;		/* of the load under way */
	uint64_t		 asked;		/* statements sent that read rows: their numbers */
	int64_t			 now;		/* of this turn */

	/* the session */
	bool			 is_ready;	/* greeted, checked, prepared */
	bool			 is_pooled;
	bool			 in_recovery;
	bool			 is_listening;
	bool			 cannot_prune;
	bool			 said_listen;	/* that it failed */
	char			 home[128];
	char			*ground;	/* on which the last delta stood; NULL: no glance before the next */

	/* what is being done in it */
	struct wire_copy	 copy;
	bool			 in_load;
	bool			 in_audit;
	bool			 in_poll;
	bool			 is_outdated;	/* the poll under way was sent before a realm was held */
	bool			 asks_for_held;	/* the poll under way finds rows that nobody changed */
	int64_t			 began;		/* the load or audit */
	int64_t			 progress_at;
	uint64_t		 progress_rows;

	/* when to do what next */
	bool			 wants_load;
	bool			 wants_audit;
	bool			 is_woken;	/* since the last poll was sent */
	bool			 was_woken;	/* that poll answers a wake-up */
	size_t			 trail;
	int64_t			 polled_at;
	int64_t			 delta_at;	/* the last poll that was not a glance */
	int64_t			 asked_at;	/* the same by the clock on the wall */
	int64_t			 poll_due;
	int64_t			 listen_due;
	int64_t			 load_due;
	int64_t			 audited_at;
	int64_t			 pruned_at;
	int64_t			 checked_at;

	/* said */
	bool			 is_lost;
	int64_t			 lost_at;
	char			 lost_sqlstate[6];
	char			 problems[PROBLEM_COUNT][256];
};

/* ---- feed_session.c ---- */

int64_t	 feed_clock_ms(clockid_t clock);
/* Logged once a change, and shown to the readers; "": over. */
void	 feed_say(struct feed *f, enum problem which, const char *text);
void	 feed_say_write_error(struct feed *f, enum problem which, int error);

/* False: these are none. */
bool	 position_init(struct position *p, struct span snapshot, struct span token, bool in_recovery);
void	 position_fini(struct position *p);
char	*span_dup(struct span s);	/* NULL: SQL's, or no memory */

struct span feed_column(const struct pg_result *r, int row, int col);
void	 feed_columns(struct span *to, int n, const struct pg_result *r, int row, int first);
/* It went well, with rows and columns of at least these. False: it did not, and the session was given up. */
bool	 feed_expect_done(struct feed *f, const struct pg_result *r, const char *doing);
bool	 feed_expect_rows(struct feed *f, const struct pg_result *r, int rows, int columns, const char *doing);
void	 feed_senseless(struct feed *f, const char *doing);
bool	 feed_knows_version(struct feed *f, int version);

/* What pg tells. */
void	 feed_opened(void *arg);
void	 feed_lost(void *arg);
void	 feed_notified(void *arg);
/* Forgets what was being done in it. */
void	 feed_session_over(struct feed *f);
void	 feed_forget_ground(struct feed *f);	/* the next poll is no glance */
/* It is good for something. */
void	 feed_settle(struct feed *f);
void	 feed_set_pooled(struct feed *f, bool is_pooled);
void	 feed_want_load(struct feed *f, const char *why);

void	 feed_start_listen(struct feed *f);
void	 feed_start_check(struct feed *f);
void	 feed_start_prune(struct feed *f);

/* ---- feed_delta.c ---- */

enum outcome {
	DELTA_APPLIED,
	DELTA_NOT_ENOUGH,	/* a load is wanted; the position stays */
	DELTA_UNUSED,		/* outdated, or the table could not be written; the position stays */
	DELTA_FAILED,		/* the session is gone */
};

void	 feed_prepare(struct feed *f);	/* the last step of a new session */
void	 feed_start_poll(struct feed *f);
/* A delta as a part of something else. */
void	 feed_ask_delta(struct feed *f, pg_done *done);
enum outcome feed_take_delta(struct feed *f, const struct pg_result *r);

/* ---- feed_load.c ---- */

void	 feed_start_load(struct feed *f);
void	 feed_start_audit(struct feed *f);
int	 feed_data(void *arg, const char *data, size_t len);	/* of COPY, from pg */

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * feed -- keeps the shared table equal to the database.
 *
 * The change log is the truth; a notification is only a reason to look. The
 * position is a snapshot: one statement returns the next snapshot and the
 * current state of every key that changed since the last, so that applying it
 * turns a table equal to the database then into one equal to it now. Where the
 * position is worth nothing (another server, a rewritten table, a pruned log,
 * a bulk change), a whole table is loaded beside the one in force.
 *
 * The table in force stays in force whatever happens to the database.
 * Times are milliseconds of CLOCK_MONOTONIC.
 */
#ifndef FEED_H
#define FEED_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "writer.h"

struct feed;

/* config is the caller's and outlives the feed, or is replaced by feed_configure(). */
int	 feed_open(struct feed **f, struct writer *w, const struct config *config);
void	 feed_close(struct feed **f);
int	 feed_configure(struct feed *f, const struct config *config);

/* For the loop: what to wait for, until when, and what to do then. */
bool	 feed_poll(const struct feed *f, struct pollfd *p);
int64_t	 feed_due(const struct feed *f);
void	 feed_turn(struct feed *f, short revents, int64_t now);

/* Orders. Refused when they return; entries refused, or -errno (writer_strerror()). */
int64_t	 feed_invalidate(struct feed *f, struct span realm, struct span origin);
int64_t	 feed_invalidate_realm(struct feed *f, struct span realm);
int64_t	 feed_invalidate_all(struct feed *f);
void	 feed_resync(struct feed *f);
void	 feed_audit(struct feed *f);

/* What is wrong now, in words; "" = nothing. */
const char *feed_problem(const struct feed *f);
/* A whole table is on its way from the database. */
bool	 feed_is_loading(const struct feed *f);

/* NULL: fine. Otherwise what is wrong with the settings, without secrets. */
const char *feed_check_config(const struct config *config, char *buf, size_t cap);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pg -- a session to PostgreSQL, for ever: connected host by host, opened
 * anew with back-off when it is lost, never waited for.
 *
 * One statement at a time. Whatever the server does or does not do, a call
 * returns at once; the one exception is name resolution. No answer for
 * deadline_ms loses the session; every byte received starts that time anew.
 * Times are milliseconds of CLOCK_MONOTONIC.
 */
#ifndef PG_H
#define PG_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pg;
struct pg_result;	/* libpq's PGresult */

/* What a session tells its owner. Callbacks may ask the next statement or drop the session. */
struct pg_owner {
	void	(*opened)(void *arg);
	/* It was lost or could not be opened, and will be tried again: pg_why(). */
	void	(*lost)(void *arg);
	void	(*notified)(void *arg);
	/* A piece of COPY data; not 0: the owner has dropped the session. */
	int	(*data)(void *arg, const char *data, size_t len);
	void	*arg;
};

/* The last result of a statement, its error included; pg frees it. */
typedef void	 pg_done(void *arg, const struct pg_result *r);

/* NULL: fine. Otherwise what is wrong with a connection string, without secrets in it. */
const char	*pg_check_conninfo(const char *conninfo, char *buf, size_t cap);

/* conninfo is copied. The first attempt is due at once. */
int	 pg_open(struct pg **pg, const char *conninfo, int deadline_ms, const struct pg_owner *owner);
void	 pg_close(struct pg **pg);
/* New settings: the session is opened anew where conninfo differs. 0 or -ENOMEM. */
int	 pg_configure(struct pg *pg, const char *conninfo, int deadline_ms);

/* For poll(2), afresh every time; false: no descriptor at the moment. */
bool	 pg_poll(const struct pg *pg, struct pollfd *p);
/* When pg_turn() is due even if nothing happens on the descriptor. */
int64_t	 pg_due(const struct pg *pg);
void	 pg_turn(struct pg *pg, short revents, int64_t now);

bool	 pg_is_idle(const struct pg *pg);	/* open, and no statement under way */

/*
 * A simple query (several statements, text results), or with parameters
 * (binary results), or a prepared one. done is called unless the session is
 * lost before. Only when pg_is_idle().
 */
void	 pg_ask(struct pg *pg, pg_done *done, const char *sql);
void	 pg_ask_params(struct pg *pg, pg_done *done, const char *sql, int n, const char *const *values);
void	 pg_prepare(struct pg *pg, pg_done *done, const char *name, const char *sql);
void	 pg_ask_prepared(struct pg *pg, pg_done *done, const char *name, int n, const char *const *values);

/* The session works: the next loss starts with a short wait again. */
void	 pg_settle(struct pg *pg);
/* Give it up and try again later, as after a loss of that SQLSTATE. lost() is called. */
void	 pg_drop(struct pg *pg, const char *sqlstate, const char *why);
/* Give it up and open another at once; no lost(). */
void	 pg_restart(struct pg *pg);

/* Of the last loss: a sentence, and five characters or "". */
const char *pg_why(const struct pg *pg);
const char *pg_sqlstate(const struct pg *pg);
/* It was lost for good, until somebody repairs a password, a right, a name or the schema. */
bool	 pg_needs_repair(const struct pg *pg);
/* "host=... port=... dbname=..." of the open session. */
const char *pg_peer(const struct pg *pg, char *buf, size_t cap);
int	 pg_backend(const struct pg *pg);	/* the process id that the server said at the start */

#endif

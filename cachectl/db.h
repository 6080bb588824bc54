/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * db -- the database as cachectl reads it: one read-only session, waited for,
 * by sync.conninfo. The only file that knows libpq.
 */
#ifndef DB_H
#define DB_H

#include "config.h"
#include "policies.h"
#include "row.h"
#include "sql.h"

struct db;

/* One snapshot for all that is read. 0, or -1 and err: a line without passwords. */
int	 db_open(struct db **db, const struct config *config, char *err, size_t errlen);
void	 db_close(struct db **db);
/* From here on: the database as it is now. 0 or -1. */
int	 db_refresh(struct db *db);
/* Of the last call that failed. */
const char *db_strerror(const struct db *db);

/*
 * Calls each() with every row of the answer, its columns as text; at is NULL
 * where the column is. params: NULL-terminated, or NULL. 0, or -1.
 */
int	 db_each(struct db *db, const char *sql, const char *const *params,
	    void (*each)(const struct span *columns, void *arg), void *arg);

/* A row of cors.origins, selected as DB_ROW. */
#define DB_ROW	"realm, origin, policy, allow, " \
	"CASE WHEN expires_at IS NULL OR expires_at" SQL_EQ "'infinity' THEN 0 WHEN expires_at" SQL_EQ "'-infinity' THEN 1" \
	" ELSE greatest(1, pg_catalog.floor(extract(epoch FROM expires_at))) END::bigint"
struct row	 db_row(const struct span *columns);

/* All policies, compiled; those that the C code refuses with their status. 0 or -1. */
int	 db_policies(struct db *db, struct policies *set);

/*
 * A connection string to be shown: passwords are stars. Allocated, the
 * caller's to free(); NULL: no memory.
 */
char	*db_conninfo_shown(const char *conninfo);

#endif

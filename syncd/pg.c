/* SPDX-License-Identifier: BSD-2-Clause */
#include "pg.h"

#include <ctype.h>
#include <errno.h>
#include <libpq-fe.h>
#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define BACKOFF_FIRST_MS	50
#define BACKOFF_MOST_MS		3200
#define BACKOFF_SLOW_MS		30000	/* where somebody has to do something first */
#define MOST_TARGETS		64
#define MOST_PIECES		2000	/* of COPY data in one turn */

enum pg_state {
	PG_AWAY,		/* until retry_at */
	PG_CONNECTING,
	PG_IDLE,
	PG_BUSY,
};

/* One address to try. Strings are owned; NULL: libpq's default. */
struct target {
	char	*host;
	char	*address;	/* so that libpq resolves nothing and tries nothing else */
	char	*port;
};

struct pg {
	char			*conninfo;
	int			 deadline_ms;
	struct pg_owner		 owner;

	enum pg_state		 state;
	PGconn			*conn;
	struct target		 targets[MOST_TARGETS];
	size_t			 ntargets;
	size_t			 target;	/* the one being tried; beyond ntargets: second pass */
	const char		*attributes[2];	/* target_session_attrs of the passes; NULL: as in conninfo */
	size_t			 npasses;
	PostgresPollingStatusType polling;

	pg_done			*done;
	PGresult		*last;		/* result so far of the statement under way */
	bool			 is_copying;
	bool			 is_unsent;	/* PQflush() has more to do */
	bool			 has_more;	/* stopped reading to let others have a turn */

	int64_t			 now;		/* of the last turn */
	int64_t			 deadline;
	int64_t			 retry_at;
	unsigned		 attempts;	/* since the last settled session */
	char			 sqlstate[6];
	char			 why[512];
	char			 fatal[6];	/* a FATAL that came as a notice */
};

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- words ---- */

/* One line, without libpq's "LOCATION:" and the final newline. */
static void
copy_words(char *to, size_t cap, const char *from)
{
	const char *end = strstr(from, "\nLOCATION");
	size_t len = end != NULL ? (size_t)(end - from) : strlen(from);

	if (len >= cap)
		len = cap - 1;
	memcpy(to, from, len);
	while (len > 0 && isspace((unsigned char)to[len - 1]))
		len--;
	to[len] = '\0';
	for (char *p = to; *p != '\0'; p++)
		if (*p == '\n' || *p == '\t')
			*p = ' ';
}

/* "FATAL:  28P01: password ..." is the only place where a failed connect says its SQLSTATE. */
static void
find_sqlstate(char sqlstate[6], const char *message)
{
	const char *p = strstr(message, "FATAL:  ");

	sqlstate[0] = '\0';
	if (p == NULL)
		return;
	p += strlen("FATAL:  ");
	if (strspn(p, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && p[5] == ':')
		snprintf(sqlstate, 6, "%.5s", p);
}

/* Retrying soon cannot help: somebody has to repair a password, a right or the schema. */
static bool
is_slow(const char *sqlstate)
{
	static const char *const slow[] = { "28", "3D", "3F", "42", "22" };

	for (size_t i = 0; i < sizeof slow / sizeof slow[0]; i++)
		if (strncmp(sqlstate, slow[i], 2) == 0)
			return true;
	return false;
}

const char *
pg_check_conninfo(const char *conninfo, char *buf, size_t cap)
{
	char *message = NULL;
	PQconninfoOption *options = PQconninfoParse(conninfo, &message);

	if (options != NULL) {
		PQconninfoFree(options);
		return NULL;
	}
	/* libpq quotes what it stumbled over, which may be a piece of a password */
	if (strstr(conninfo, "password") != NULL || strchr(conninfo, '@') != NULL || message == NULL)
		snprintf(buf, cap, "not a connection string of libpq (a space or a quote in the password?)");
	else
		copy_words(buf, cap, message);
	PQfreemem(message);
	return buf;
}

/* ---- whom to connect to ---- */

static void
forget_targets(struct pg *pg)
{
	for (size_t i = 0; i < pg->ntargets; i++) {
		free(pg->targets[i].host);
		free(pg->targets[i].address);
		free(pg->targets[i].port);
	}
	pg->ntargets = 0;
}

/* The i-th of a list with commas, or the only one; NULL where that is empty. */
static char *
element(const char *list, size_t i)
{
	size_t len;

	if (list == NULL)
		return NULL;
	if (strchr(list, ',') == NULL)
		i = 0;
	for (; i > 0; i--) {
		list += strcspn(list, ",");
		if (*list == '\0')
			return NULL;
		list++;
	}
	len = strcspn(list, ",");
	return len > 0 ? strndup(list, len) : NULL;
}

static size_t
elements(const char *list)
{
	size_t n = 1;

	if (list == NULL)
		return 1;
	for (; *list != '\0'; list++)
		n += *list == ',';
	return n;
}

static void
add_target(struct pg *pg, const char *host, const char *address, const char *port)
{
	if (pg->ntargets == MOST_TARGETS)
		return;
	pg->targets[pg->ntargets++] = (struct target){
		.host = host != NULL ? strdup(host) : NULL,
		.address = address != NULL ? strdup(address) : NULL,
		.port = port != NULL ? strdup(port) : NULL,
	};
}

/*
 * A name may have several addresses, and libpq would wait for a mute first one
 * for ever. Blocks as long as the resolver does.
 */
static void
add_addresses(struct pg *pg, const char *host, const char *port)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *all, *a;
	char text[NI_MAXHOST];

	if (getaddrinfo(host, NULL, &hints, &all) != 0) {
		add_target(pg, host, NULL, port);	/* let libpq say what is wrong */
		return;
	}
	for (a = all; a != NULL; a = a->ai_next)
		if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0)
			add_target(pg, host, text, port);
	freeaddrinfo(all);
}

/* What a connection string says, and what libpq takes where it says nothing. */
struct settings {
	PQconninfoOption	*said;
	PQconninfoOption	*defaults;
};

static const char *
value_of(const PQconninfoOption *options, const char *keyword)
{
	for (; options != NULL && options->keyword != NULL; options++)
		if (strcmp(options->keyword, keyword) == 0)
			return options->val != NULL && options->val[0] != '\0' ? options->val : NULL;
	return NULL;
}

static const char *
setting(const struct settings *s, const char *keyword)
{
	const char *value = value_of(s->said, keyword);

	return value != NULL ? value : value_of(s->defaults, keyword);
}

/* PQconndefaults() reads a service file only where $PGSERVICE names the service. */
static void
settings_open(struct settings *s, const char *conninfo)
{
	const char *service, *variable = getenv("PGSERVICE");
	char *saved = variable != NULL ? strdup(variable) : NULL;

	s->said = PQconninfoParse(conninfo, NULL);
	service = value_of(s->said, "service");
	if (service != NULL)
		setenv("PGSERVICE", service, 1);
	s->defaults = PQconndefaults();
	if (service != NULL && saved != NULL)
		setenv("PGSERVICE", saved, 1);
	else if (service != NULL)
		unsetenv("PGSERVICE");
	free(saved);
}

static void
settings_close(struct settings *s)
{
	PQconninfoFree(s->said);
	PQconninfoFree(s->defaults);
}

static void
list_targets(struct pg *pg, const struct settings *s)
{
	const char *hosts = setting(s, "host"), *addresses = setting(s, "hostaddr"), *ports = setting(s, "port");
	size_t n = elements(hosts != NULL ? hosts : addresses);

	forget_targets(pg);
	for (size_t i = 0; i < n; i++) {
		char *host = element(hosts, i), *address = element(addresses, i), *port = element(ports, i);

		if (host != NULL && address == NULL && host[0] != '/' && host[0] != '@')
			add_addresses(pg, host, port);
		else
			add_target(pg, host, address, port);
		free(host);
		free(address);
		free(port);
	}
}

/* libpq's own two passes, since it sees only one host at a time here. */
static void
list_passes(struct pg *pg, const struct settings *s)
{
	const char *attributes = setting(s, "target_session_attrs");
	bool is_preference = attributes != NULL && strcmp(attributes, "prefer-standby") == 0;

	pg->attributes[0] = is_preference ? "standby" : NULL;
	pg->attributes[1] = "any";
	pg->npasses = is_preference ? 2 : 1;
}

/* ---- connecting ---- */

/* Ours to begin with, the user's over them, the target over all. */
static PGconn *
start(const struct pg *pg, const struct target *t, const char *attributes)
{
	const char *keywords[16], *values[16];
	char name[64];
	size_t n = 0;

#define SET(keyword, value)	(keywords[n] = (keyword), values[n++] = (value))
	snprintf(name, sizeof name, "corscache-syncd %d", (int)getpid());
	SET("fallback_application_name", name);
	SET("keepalives_idle", "30");
	SET("keepalives_interval", "5");
	SET("keepalives_count", "3");
	SET("tcp_user_timeout", "15000");
	SET("dbname", pg->conninfo);
	SET("client_encoding", "UTF8");
	SET("host", t->host);
	SET("hostaddr", t->address);
	SET("port", t->port);
	SET("target_session_attrs", attributes);
	SET(NULL, NULL);
#undef SET
	return PQconnectStartParams(keywords, values, 1);
}

static void
on_notice(void *arg, const PGresult *r)
{
	struct pg *pg = arg;
	const char *sqlstate = PQresultErrorField(r, PG_DIAG_SQLSTATE);

	/* The server's farewell to an idle session comes as a notice. */
	if (sqlstate != NULL && strncmp(sqlstate, "57P", 3) == 0) {
		snprintf(pg->fatal, sizeof pg->fatal, "%s", sqlstate);
		copy_words(pg->why, sizeof pg->why, PQresultErrorMessage(r));
	}
}

static void
hang_up(struct pg *pg)
{
	PQclear(pg->last);
	pg->last = NULL;
	PQfinish(pg->conn);
	pg->conn = NULL;
	pg->done = NULL;
	pg->is_copying = pg->is_unsent = pg->has_more = false;
	pg->fatal[0] = '\0';
	pg->state = PG_AWAY;
}

/* Full jitter: between half the cap and all of it. */
static int64_t
backoff_ms(struct pg *pg)
{
	int64_t most = is_slow(pg->sqlstate) ? BACKOFF_SLOW_MS : BACKOFF_MOST_MS, cap = BACKOFF_FIRST_MS;

	for (unsigned i = 0; i < pg->attempts && cap < most; i++)
		cap *= 2;
	pg->attempts++;
	if (cap > most)
		cap = most;
	return cap / 2 + (int64_t)((double)random() / RAND_MAX * (double)(cap / 2));
}

void
pg_drop(struct pg *pg, const char *sqlstate, const char *why)
{
	char words[sizeof pg->why];

	copy_words(words, sizeof words, why);
	snprintf(pg->why, sizeof pg->why, "%s", words);
	snprintf(pg->sqlstate, sizeof pg->sqlstate, "%s", sqlstate);
	hang_up(pg);
	pg->retry_at = now_ms() + backoff_ms(pg);
	pg->owner.lost(pg->owner.arg);
}

void
pg_restart(struct pg *pg)
{
	hang_up(pg);
	pg->retry_at = 0;
}

/* A session ended by itself: the farewell says more than "connection lost". */
static void
lose(struct pg *pg)
{
	char sqlstate[6], words[sizeof pg->why];

	if (pg->fatal[0] != '\0') {
		snprintf(sqlstate, sizeof sqlstate, "%s", pg->fatal);
		snprintf(words, sizeof words, "%s", pg->why);
	} else {
		copy_words(words, sizeof words, PQerrorMessage(pg->conn));
		find_sqlstate(sqlstate, words);
	}
	pg_drop(pg, sqlstate, words[0] != '\0' ? words : "the connection was closed");
}

static void	 start_target(struct pg *pg);

static void
next_target(struct pg *pg, const char *why)
{
	char sqlstate[6];

	find_sqlstate(sqlstate, why);
	if (sqlstate[0] == '\0' && PQconnectionNeedsPassword(pg->conn))
		snprintf(sqlstate, sizeof sqlstate, "28P01");
	pg->target++;
	if (pg->target < pg->ntargets * pg->npasses) {
		copy_words(pg->why, sizeof pg->why, why);
		start_target(pg);
	} else {
		pg_drop(pg, sqlstate, why);
	}
}

static void
start_target(struct pg *pg)
{
	char why[sizeof pg->why];

	PQfinish(pg->conn);
	pg->conn = start(pg, &pg->targets[pg->target % pg->ntargets], pg->attributes[pg->target / pg->ntargets]);
	pg->state = PG_CONNECTING;
	pg->polling = PGRES_POLLING_WRITING;
	pg->deadline = now_ms() + pg->deadline_ms;
	if (PQstatus(pg->conn) == CONNECTION_BAD) {
		copy_words(why, sizeof why, PQerrorMessage(pg->conn));
		next_target(pg, why);
		return;
	}
	PQsetErrorVerbosity(pg->conn, PQERRORS_VERBOSE);	/* SQLSTATE of a failed connect */
	PQsetNoticeReceiver(pg->conn, on_notice, pg);
}

/*
 * A round over all hosts. The environment and the service file count where
 * conninfo says nothing, and both may have changed since the last round.
 */
static void
start_round(struct pg *pg)
{
	struct settings s;

	settings_open(&s, pg->conninfo);
	list_targets(pg, &s);
	list_passes(pg, &s);
	settings_close(&s);
	pg->target = 0;
	start_target(pg);
}

static void
turn_connecting(struct pg *pg, short revents)
{
	char why[sizeof pg->why];

	if (revents != 0) {
		pg->polling = PQconnectPoll(pg->conn);
		if (pg->polling == PGRES_POLLING_OK) {
			pg->state = PG_IDLE;
			PQsetErrorVerbosity(pg->conn, PQERRORS_DEFAULT);
			PQsetnonblocking(pg->conn, 1);
			pg->owner.opened(pg->owner.arg);
		} else if (pg->polling == PGRES_POLLING_FAILED) {
			copy_words(why, sizeof why, PQerrorMessage(pg->conn));
			next_target(pg, why);
		}
	} else if (pg->now >= pg->deadline) {
		snprintf(why, sizeof why, "no answer from %s within %d ms", PQhost(pg->conn), pg->deadline_ms);
		next_target(pg, why);
	}
}

/* ---- statements ---- */

static void
sent(struct pg *pg, pg_done *done, int ok)
{
	pg->done = done;
	pg->state = PG_BUSY;
	pg->deadline = now_ms() + pg->deadline_ms;
	pg->is_unsent = ok && PQflush(pg->conn) == 1;
	/* a send that failed shows as a lost connection in the next turn */
	pg->has_more = !ok;
}

void
pg_ask(struct pg *pg, pg_done *done, const char *sql)
{
	sent(pg, done, PQsendQuery(pg->conn, sql));
}

void
pg_ask_params(struct pg *pg, pg_done *done, const char *sql, int n, const char *const *values)
{
	sent(pg, done, PQsendQueryParams(pg->conn, sql, n, NULL, values, NULL, NULL, 1));
}

void
pg_prepare(struct pg *pg, pg_done *done, const char *name, const char *sql)
{
	sent(pg, done, PQsendPrepare(pg->conn, name, sql, 0, NULL));
}

void
pg_ask_prepared(struct pg *pg, pg_done *done, const char *name, int n, const char *const *values)
{
	sent(pg, done, PQsendQueryPrepared(pg->conn, name, n, values, NULL, NULL, 1));
}

static void
finish_statement(struct pg *pg)
{
	PGresult *r = pg->last;
	pg_done *done = pg->done;

	pg->last = NULL;
	pg->done = NULL;
	pg->state = PG_IDLE;
	done(pg->owner.arg, r);
	PQclear(r);
}

/* False: the session is gone, or there is no more to do in this turn. */
static bool
read_copy(struct pg *pg)
{
	char *piece;
	int len, rc;

	for (unsigned i = 0; i < MOST_PIECES; i++) {
		len = PQgetCopyData(pg->conn, &piece, 1);
		if (len == 0)
			return false;
		if (len < 0) {
			pg->is_copying = false;		/* -2 too: the result says why */
			return true;
		}
		rc = pg->owner.data(pg->owner.arg, piece, (size_t)len);
		PQfreemem(piece);
		if (rc != 0)
			return false;
	}
	pg->has_more = true;
	return false;
}

static void
read_results(struct pg *pg)
{
	PGresult *r;

	pg->has_more = false;
	for (;;) {
		if (pg->is_copying && !read_copy(pg))
			return;
		if (PQisBusy(pg->conn))
			return;
		r = PQgetResult(pg->conn);
		if (r == NULL) {
			if (pg->last == NULL || PQstatus(pg->conn) == CONNECTION_BAD)
				lose(pg);
			else
				finish_statement(pg);
			return;
		}
		PQclear(pg->last);
		pg->last = r;
		pg->is_copying = PQresultStatus(r) == PGRES_COPY_OUT;
	}
}

static bool
take_notifications(struct pg *pg)
{
	PGnotify *n;
	bool any = false;

	while ((n = PQnotifies(pg->conn)) != NULL) {
		PQfreemem(n);
		any = true;
	}
	return any;
}

static void
turn_open(struct pg *pg, short revents)
{
	char why[64];

	if (revents & (POLLIN | POLLERR | POLLHUP)) {
		if (!PQconsumeInput(pg->conn)) {
			lose(pg);
			return;
		}
		pg->deadline = pg->now + pg->deadline_ms;
	}
	if (pg->is_unsent)
		pg->is_unsent = PQflush(pg->conn) == 1;
	/* before any sleep: what was read along with a result wakes no poll(2) */
	if (take_notifications(pg))
		pg->owner.notified(pg->owner.arg);
	if (pg->state == PG_BUSY)
		read_results(pg);
	if (pg->conn != NULL && take_notifications(pg))
		pg->owner.notified(pg->owner.arg);
	if (pg->state == PG_BUSY && pg->now >= pg->deadline && !pg->has_more) {
		snprintf(why, sizeof why, "no answer within %d ms", pg->deadline_ms);
		pg_drop(pg, "", why);
	}
}

/* ---- the session ---- */

int
pg_open(struct pg **out, const char *conninfo, int deadline_ms, const struct pg_owner *owner)
{
	struct pg *pg = calloc(1, sizeof *pg);

	if (pg == NULL)
		return -ENOMEM;
	pg->conninfo = strdup(conninfo);
	if (pg->conninfo == NULL) {
		free(pg);
		return -ENOMEM;
	}
	pg->deadline_ms = deadline_ms;
	pg->owner = *owner;
	srandom((unsigned)now_ms() ^ (unsigned)getpid());
	*out = pg;
	return 0;
}

void
pg_close(struct pg **pg)
{
	if (*pg == NULL)
		return;
	hang_up(*pg);
	forget_targets(*pg);
	free((*pg)->conninfo);
	free(*pg);
	*pg = NULL;
}

int
pg_configure(struct pg *pg, const char *conninfo, int deadline_ms)
{
	char *copy;

	pg->deadline_ms = deadline_ms;
	if (strcmp(conninfo, pg->conninfo) == 0)
		return 0;
	copy = strdup(conninfo);
	if (copy == NULL)
		return -ENOMEM;
	free(pg->conninfo);
	pg->conninfo = copy;
	pg->attempts = 0;
	pg_restart(pg);
	return 0;
}

bool
pg_poll(const struct pg *pg, struct pollfd *p)
{
	if (pg->conn == NULL)
		return false;
	p->fd = PQsocket(pg->conn);
	p->revents = 0;
	if (pg->state == PG_CONNECTING)
		p->events = pg->polling == PGRES_POLLING_READING ? POLLIN : POLLOUT;
	else
		p->events = (short)(POLLIN | (pg->is_unsent ? POLLOUT : 0));
	return true;
}

int64_t
pg_due(const struct pg *pg)
{
	switch (pg->state) {
	case PG_AWAY:
		return pg->retry_at;
	case PG_CONNECTING:
		return pg->deadline;
	case PG_BUSY:
		return pg->has_more ? 0 : pg->deadline;
	case PG_IDLE:
		break;
	}
	return INT64_MAX;
}

void
pg_turn(struct pg *pg, short revents, int64_t now)
{
	pg->now = now;
	if (pg->state == PG_AWAY) {
		if (now >= pg->retry_at)
			start_round(pg);
	} else if (pg->state == PG_CONNECTING) {
		turn_connecting(pg, revents);
	} else {
		turn_open(pg, revents);
	}
}

bool
pg_is_idle(const struct pg *pg)
{
	return pg->state == PG_IDLE;
}

void
pg_settle(struct pg *pg)
{
	pg->attempts = 0;
}

const char *
pg_why(const struct pg *pg)
{
	return pg->why;
}

const char *
pg_sqlstate(const struct pg *pg)
{
	return pg->sqlstate;
}

bool
pg_needs_repair(const struct pg *pg)
{
	return is_slow(pg->sqlstate);
}

const char *
pg_peer(const struct pg *pg, char *buf, size_t cap)
{
	const char *host = PQhost(pg->conn), *dbname = PQdb(pg->conn);
	char quoted_host[128], quoted_dbname[128];

	snprintf(buf, cap, "host=%s port=%s dbname=%s", log_value(quoted_host, sizeof quoted_host, host, strlen(host)),
	    PQport(pg->conn), log_value(quoted_dbname, sizeof quoted_dbname, dbname, strlen(dbname)));
	return buf;
}

int
pg_backend(const struct pg *pg)
{
	return PQbackendPID(pg->conn);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "control.h"

#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../lib/control.h"
#include "log.h"
#include "origin.h"

#define PAUSE_MS	100	/* without descriptors */
#define CLIENT_MS	5000	/* to send its line */
#define MOST_WORDS	3

enum order_kind { ORDER_ONE, ORDER_REVOKE, ORDER_RESTORE };

struct client {
	int		 fd;		/* -1: free */
	int64_t		 due;
	enum order_kind	 kind;		/* more lines belong to it */
	int64_t		 done;		/* of them */
	int		 error;		/* the first of them that failed */
	int64_t		 seconds;
	char		 note[REVOKED_NOTE_MAX];
	size_t		 note_len;
	size_t		 len;
	char		 line[CONTROL_MAX_LINE];
};

struct control_server {
	struct writer	*w;
	struct feed	*feed;
	int		 fd;
	int64_t		 accept_due;	/* end of a pause; 0: none */
	struct sockaddr_un name;
	struct client	 clients[CONTROL_MAX_CLIENTS];
};

/* ---- the orders ---- */

struct order {
	struct control_server *server;
	struct client	*client;
	struct span	 words[MOST_WORDS];
	char		*reply;		/* CONTROL_MAX_LINE bytes; empty: not yet */
};

static void
reply_held(struct order *o, int64_t n)
{
	if (n < 0)
		snprintf(o->reply, CONTROL_MAX_LINE, "error\tcannot refuse it: %s\n", strerror((int)-n));
	else
		snprintf(o->reply, CONTROL_MAX_LINE, "ok\t%" PRId64 "\trefused until the database has been asked\n", n);
}

static bool
is_realm(struct order *o, struct span realm)
{
	if (realm_is_valid(realm.at, realm.len))
		return true;
	snprintf(o->reply, CONTROL_MAX_LINE, "error\tno realm has that name: over %d bytes, or control characters\n", REALM_MAX);
	return false;
}

static void
invalidate(struct feed *feed, struct order *o)
{
	struct rule rule;
	enum origin_status status = rule_parse(&rule, o->words[2].at, o->words[2].len);
	char realm[4 * REALM_MAX + 3];

	if (!is_realm(o, o->words[1]))
		return;
	if (status != ORIGIN_OK) {
		snprintf(o->reply, CONTROL_MAX_LINE, "error\tthat is not an origin: %s\n", origin_strstatus(status));
		return;
	}
	reply_held(o, feed_invalidate(feed, o->words[1], o->words[2]));
	log_notice("control: invalidate realm=%s origin=%.*s",
	    log_value(realm, sizeof realm, o->words[1].at, o->words[1].len), (int)o->words[2].len, o->words[2].at);
}

static void
invalidate_realm(struct feed *feed, struct order *o)
{
	char realm[4 * REALM_MAX + 3];

	if (!is_realm(o, o->words[1]))
		return;
	reply_held(o, feed_invalidate_realm(feed, o->words[1]));
	log_notice("control: invalidate-realm realm=%s", log_value(realm, sizeof realm, o->words[1].at, o->words[1].len));
}

static void
invalidate_all(struct feed *feed, struct order *o)
{
	reply_held(o, feed_invalidate_all(feed));
	log_notice("control: invalidate-all");
}

static void
resync(struct feed *feed, struct order *o)
{
	feed_resync(feed);
	snprintf(o->reply, CONTROL_MAX_LINE, "ok\t0\tthe whole table will be loaded\n");
}

static void
audit(struct feed *feed, struct order *o)
{
	feed_audit(feed);
	snprintf(o->reply, CONTROL_MAX_LINE, "ok\t0\ttable and database will be compared\n");
}

static void
ping(struct feed *feed, struct order *o)
{
	(void)feed;
	snprintf(o->reply, CONTROL_MAX_LINE, "ok\t0\there\n");
}

/* ---- revoking ---- */

static uint32_t
peer_of(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof peer;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 ? peer.uid : REVOKED_NOBODY;
}

/* A few bytes more than the number could have end it. */
static bool
read_seconds(struct span word, int64_t *seconds)
{
	*seconds = 0;
	for (size_t i = 0; i < word.len; i++) {
		if (word.at[i] < '0' || word.at[i] > '9' || *seconds > REVOKED_FOR_MAX)
			return false;
		*seconds = *seconds * 10 + (word.at[i] - '0');
	}
	return word.len > 0 && *seconds <= REVOKED_FOR_MAX;
}

static void
begin_revoke(struct feed *feed, struct order *o)
{
	struct client *c = o->client;

	(void)feed;
	if (!read_seconds(o->words[1], &c->seconds) || !revoked_note_is_valid(o->words[2])) {
		snprintf(o->reply, CONTROL_MAX_LINE, "error\tthat is no duration, or no note\n");
		return;
	}
	c->kind = ORDER_REVOKE;
	c->note_len = o->words[2].len;
	memcpy(c->note, o->words[2].at, c->note_len);
}

static void
begin_restore(struct feed *feed, struct order *o)
{
	(void)feed;
	o->client->kind = ORDER_RESTORE;
}

/* What was done is on disk, or who asked is told that it is not. */
static void
reply_saved(struct control_server *s, int64_t n, const char *what, char *reply)
{
	int error = writer_save_revoked(s->w);

	log_notice("control: %s entries=%" PRId64 "%s%s", what, n, error != 0 ? " not saved: " : "",
	    error != 0 ? strerror(-error) : "");
	if (error == 0)
		snprintf(reply, CONTROL_MAX_LINE, "ok\t%" PRId64 "\t%s\n", n, what);
	else
		snprintf(reply, CONTROL_MAX_LINE, "unsaved\t%" PRId64 "\t%s\n", n, strerror(-error));
}

static void
restore_all(struct feed *feed, struct order *o)
{
	int64_t n = (int64_t)revoked_count(writer_revoked(o->server->w));

	(void)feed;
	writer_restore_all(o->server->w);
	reply_saved(o->server, n, "restore-all", o->reply);
}

/* One line of many; 0 or -errno. */
static int
take_entry(struct control_server *s, struct client *c, struct span realm, struct span origin)
{
	struct revocation r = { .realm = realm, .origin = origin, .note = { c->note, c->note_len }, .uid = peer_of(c->fd) };

	if (c->kind == ORDER_RESTORE)
		return writer_restore(s->w, realm, origin);
	revocation_begin(&r, c->seconds);
	return writer_revoke(s->w, &r);
}

static void
end_lines(struct control_server *s, struct client *c, char *reply)
{
	const char *what = c->kind == ORDER_RESTORE ? "restore" : "revoke";

	if (c->error == 0) {
		reply_saved(s, c->done, what, reply);
		return;
	}
	writer_save_revoked(s->w);
	snprintf(reply, CONTROL_MAX_LINE, "error\t%" PRId64 " were done, but then: %s\n", c->done, strerror(-c->error));
}

static const struct {
	const char	*name;
	size_t		 nwords;
	void		(*run)(struct feed *feed, struct order *o);
} orders[] = {
	{ "invalidate",		3, invalidate },
	{ "invalidate-realm",	2, invalidate_realm },
	{ "invalidate-all",	1, invalidate_all },
	{ "resync",		1, resync },
	{ "audit",		1, audit },
	{ "ping",		1, ping },
	{ "revoke",		3, begin_revoke },
	{ "restore",		1, begin_restore },
	{ "restore-all",	1, restore_all },
};

/* Words are separated by one tab; more than MOST_WORDS are counted, not kept. */
static size_t
split(const char *line, size_t len, struct span words[MOST_WORDS])
{
	const char *at = line, *end = line + len, *tab;
	size_t n = 0;

	for (;;) {
		tab = memchr(at, '\t', (size_t)(end - at));
		if (n < MOST_WORDS)
			words[n] = (struct span){ at, (size_t)((tab != NULL ? tab : end) - at) };
		n++;
		if (tab == NULL)
			return n;
		at = tab + 1;
	}
}

static void
obey(struct control_server *s, struct client *c, const char *line, size_t len, char reply[CONTROL_MAX_LINE])
{
	struct order o = { .server = s, .client = c, .reply = reply };
	size_t n = split(line, len, o.words);

	for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++)
		if (n == orders[i].nwords && strlen(orders[i].name) == o.words[0].len &&
		    memcmp(orders[i].name, o.words[0].at, o.words[0].len) == 0) {
			orders[i].run(s->feed, &o);
			return;
		}
	snprintf(reply, CONTROL_MAX_LINE, "error\tno such order\n");
}

static void
take_line(struct control_server *s, struct client *c, const char *line, size_t len, char reply[CONTROL_MAX_LINE])
{
	struct span words[MOST_WORDS];
	int error;

	if (c->kind == ORDER_ONE) {
		obey(s, c, line, len, reply);
	} else if (len == 0) {
		end_lines(s, c, reply);
	} else {
		error = split(line, len, words) == 2 ? take_entry(s, c, words[0], words[1]) : -EINVAL;
		c->done += error == 0;
		if (error != 0 && error != -ENOENT && c->error == 0)
			c->error = error;
	}
}

/* ---- the clients ---- */

/* Lines that came are obeyed, also when the rest of them does not. */
static void
drop(struct control_server *s, struct client *c)
{
	if (c->kind != ORDER_ONE)
		writer_save_revoked(s->w);
	close(c->fd);
	c->fd = -1;
}

/*
 * Replies fit the socket's buffer; a client that does not take its own is not
 * waited for. Bytes left unread would make close(2) a reset and lose the reply.
 */
static void
answer(struct control_server *s, struct client *c, const char *reply)
{
	(void)!send(c->fd, reply, strlen(reply), MSG_NOSIGNAL | MSG_DONTWAIT);
	for (unsigned i = 0; i < 4 && recv(c->fd, c->line, sizeof c->line, MSG_DONTWAIT) > 0; i++)
		;
	drop(s, c);
}

static void
read_client(struct control_server *s, struct client *c, int64_t now)
{
	char reply[CONTROL_MAX_LINE] = "", *newline, *at = c->line, *end;
	ssize_t n = recv(c->fd, c->line + c->len, sizeof c->line - c->len, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop(s, c);
		return;
	}
	end = c->line + c->len + n;
	for (; reply[0] == '\0' && (newline = memchr(at, '\n', (size_t)(end - at))) != NULL; at = newline + 1)
		take_line(s, c, at, (size_t)(newline - at), reply);
	c->len = (size_t)(end - at);
	memmove(c->line, at, c->len);
	if (at > c->line && c->kind != ORDER_ONE)
		c->due = now + CLIENT_MS;
	if (reply[0] != '\0')
		answer(s, c, reply);
	else if (c->len == sizeof c->line)
		answer(s, c, "error\tthe line is too long\n");
}

static struct client *
free_client(struct control_server *s)
{
	for (size_t i = 0; i < CONTROL_MAX_CLIENTS; i++)
		if (s->clients[i].fd < 0)
			return &s->clients[i];
	return NULL;
}

static void
accept_client(struct control_server *s, int64_t now)
{
	struct client *c = free_client(s);

	if (c == NULL)
		return;
	c->fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	/* Out of descriptors or memory, the socket stays readable: without a pause this would spin. */
	if (c->fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
		s->accept_due = now + PAUSE_MS;
	c->len = 0;
	c->kind = ORDER_ONE;
	c->done = c->error = 0;
	c->due = now + CLIENT_MS;
}

/* ---- the socket ---- */

/* True: somebody listens there. */
static bool
is_served(const struct sockaddr_un *name)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool served;

	if (fd < 0)
		return true;
	served = connect(fd, (const struct sockaddr *)name, sizeof *name) == 0 || errno == EAGAIN;
	close(fd);
	return served;
}

/* Only a dead socket is removed: anything else at that path is not ours. */
static int
clear_path(const struct sockaddr_un *name)
{
	struct stat st;

	if (lstat(name->sun_path, &st) != 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	if (is_served(name))
		return -EADDRINUSE;
	return unlink(name->sun_path) == 0 ? 0 : -errno;
}

/* Not its parents: a mistyped path is an error. */
static void
make_directory(const char *path)
{
	char copy[sizeof ((struct sockaddr_un *)0)->sun_path];

	snprintf(copy, sizeof copy, "%s", path);
	(void)mkdir(dirname(copy), 0750);	/* where it matters, bind(2) says so */
}

static int
bind_to(struct control_server *s)
{
	mode_t mask;
	int error;

	make_directory(s->name.sun_path);
	if ((error = clear_path(&s->name)) != 0)
		return error;
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		return -errno;
	mask = umask(0117);		/* never wider than 0660, not even for an instant */
	error = bind(s->fd, (const struct sockaddr *)&s->name, sizeof s->name) == 0 ? 0 : -errno;
	umask(mask);
	if (error == 0 && (chmod(s->name.sun_path, 0660) != 0 || listen(s->fd, CONTROL_MAX_CLIENTS) != 0))
		error = -errno;
	return error;
}

int
control_open(struct control_server **out, const char *path, struct feed *feed, struct writer *w)
{
	struct control_server *s = calloc(1, sizeof *s);
	int error;

	if (s == NULL)
		return -ENOMEM;
	s->feed = feed;
	s->w = w;
	s->fd = -1;
	s->name.sun_family = AF_UNIX;
	for (size_t i = 0; i < CONTROL_MAX_CLIENTS; i++)
		s->clients[i].fd = -1;
	if (strlen(path) >= sizeof s->name.sun_path) {
		error = -ENAMETOOLONG;
	} else {
		strcpy(s->name.sun_path, path);
		error = bind_to(s);
	}
	if (error != 0) {
		if (s->fd >= 0)
			close(s->fd);
		free(s);
		return error;
	}
	*out = s;
	return 0;
}

void
control_close(struct control_server **sp)
{
	struct control_server *s = *sp;

	if (s == NULL)
		return;
	for (size_t i = 0; i < CONTROL_MAX_CLIENTS; i++)
		if (s->clients[i].fd >= 0)
			drop(s, &s->clients[i]);
	close(s->fd);
	unlink(s->name.sun_path);
	free(s);
	*sp = NULL;
}

size_t
control_poll(const struct control_server *s, struct pollfd p[CONTROL_MAX_POLL])
{
	size_t n = 0;
	bool is_full = true;

	for (size_t i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		if (s->clients[i].fd >= 0)
			p[n++] = (struct pollfd){ .fd = s->clients[i].fd, .events = POLLIN };
		else
			is_full = false;
	}
	if (!is_full && s->accept_due == 0)
		p[n++] = (struct pollfd){ .fd = s->fd, .events = POLLIN };
	return n;
}

int64_t
control_due(const struct control_server *s)
{
	int64_t due = s->accept_due != 0 ? s->accept_due : INT64_MAX;

	for (size_t i = 0; i < CONTROL_MAX_CLIENTS; i++)
		if (s->clients[i].fd >= 0 && s->clients[i].due < due)
			due = s->clients[i].due;
	return due;
}

static bool
is_readable(const struct pollfd *p, size_t n, int fd)
{
	for (size_t i = 0; i < n; i++)
		if (p[i].fd == fd)
			return p[i].revents != 0;
	return false;
}

void
control_turn(struct control_server *s, const struct pollfd *p, size_t n, int64_t now)
{
	if (now >= s->accept_due)
		s->accept_due = 0;
	for (size_t i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		struct client *c = &s->clients[i];

		if (c->fd >= 0 && is_readable(p, n, c->fd))
			read_client(s, c, now);
		else if (c->fd >= 0 && now >= c->due)
			drop(s, c);
	}
	if (is_readable(p, n, s->fd))
		accept_client(s, now);
}

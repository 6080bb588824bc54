/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A thread has an epoll of its own with a wake-up, the shared listener and the
 * connections it accepted. It never waits for a peer: what arrived is taken
 * (frames.h), what cannot be sent yet is kept, and the next one has its turn.
 */
#include "serve.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "feed.h"
#include "frames.h"
#include "log.h"

#define EVENTS_PER_TURN	64
#define REFRESH_MS	1000
#define PAUSE_MS	100		/* without descriptors; accept(2) would fail at once again */
#define STOP_GRACE_MS	1000		/* for the first request of a connection just accepted */
#define READ_SIZE	(64 << 10)	/* bytes of a connection in one turn */
#define HELD_MAX	(64u << 20)	/* bytes of unfinished requests and unsent answers, of all threads */
#define UNSENT_MAX	(1 << 20)	/* bytes of unsent answers with which a connection may ask again */
#define YIELD_AT_ONCE	16		/* idle connections that go when descriptors run out */

/* The longest in it first. */
struct queue {
	struct connection	*first, **last;	/* *last is NULL */
};

struct connection {
	int			 fd;
	bool			 is_fresh;	/* has not had its first request */
	bool			 is_ending;	/* to be closed when its answer is sent */
	bool			 wants_out;	/* epoll waits for room, not for bytes */
	int64_t			 deadline_ms;	/* of the request under way and its answer; 0: there is none */
	struct queue		*queue;		/* NULL: not in epoll either */
	struct connection	*next, **link;	/* *link is this connection */
	struct frames		 frames;
	size_t			 room;		/* bytes at frames.parameters, where they are its own */
	uint8_t			*unsent;
	size_t			 nunsent, sent;	/* bytes there, and how many of them went meanwhile */
};

struct worker {
	pthread_t		 thread;
	struct server		*server;
	FCGX_Request		 fcgi;
	struct replier		 replier;
	struct facts		 facts;
	struct counters_file	*counters_file;
	struct counters		 private_counters;	/* where the shared ones cannot be had */
	struct queue		 idle, busy;		/* busy: by deadline, as all have the same time */
	struct connection	*spare;
	size_t			 held;			/* bytes of its connections, room and unsent */
	int			 epoll;
	int			 wake;			/* eventfd */
	int			 io_timeout_ms;
	bool			 is_listening;		/* the listener is in epoll */
	bool			 lacks_descriptors;	/* accept(2) failed since the last turn */
	bool			 is_stopping;
	int64_t			 refresh_at_ms;		/* CLOCK_MONOTONIC, as all below */
	int64_t			 listen_at_ms;		/* end of a pause */
	int64_t			 stop_at_ms;
	_Atomic bool		 has_turned;
	uint8_t			 in[READ_SIZE];
	uint8_t			 parameters[FRAMES_MAX_PARAMETERS + READ_SIZE];	/* of requests that are whole in one turn */
};

struct server {
	struct serve_options	 options;
	pthread_mutex_t		 lock;		/* settings; taken after a wake-up only */
	struct serve_settings	 settings;
	_Atomic bool		 is_stopping;	/* set before the wake-up that tells */
	bool			 lacks_counters;	/* said so; serve_start() only */
	int			 first_reserved;	/* descriptors from here on are for look-ups */
	int			 nworkers;
	struct worker		 workers[];
};

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static uint64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- connections: their queues and memory ---- */

static void
queue_leave(struct connection *c)
{
	if (c->queue == NULL)
		return;
	*c->link = c->next;
	if (c->next != NULL)
		c->next->link = c->link;
	else
		c->queue->last = c->link;
	c->queue = NULL;
}

static void
queue_join(struct queue *q, struct connection *c)
{
	queue_leave(c);
	c->queue = q;
	c->next = NULL;
	c->link = q->last;
	*q->last = c;
	q->last = &c->next;
}

/* Spares are kept: memory is asked for only when there are more connections than ever before. */
static struct connection *
connection_new(struct worker *w, int fd)
{
	struct connection *c = w->spare;

	if (c != NULL)
		w->spare = c->next;
	else
		c = malloc(sizeof *c);
	if (c != NULL)
		*c = (struct connection){ .fd = fd, .is_fresh = true };
	return c;
}

/* How many bytes a connection holds, whose memory changes from old to new. False: there are too many of all. */
static bool
may_hold(struct worker *w, size_t old, size_t new)
{
	size_t held = w->held - old + new;

	if (new > old && held > HELD_MAX / (size_t)w->server->options.threads)
		return false;
	w->held = held;
	return true;
}

static void
forget_parameters(struct worker *w, struct connection *c)
{
	if (c->room == 0)
		return;
	free(c->frames.parameters);
	may_hold(w, c->room, 0);
	c->room = 0;
}

static void
forget_unsent(struct worker *w, struct connection *c)
{
	free(c->unsent);
	may_hold(w, c->nunsent, 0);
	c->unsent = NULL;
	c->nunsent = c->sent = 0;
}

static void
connection_close(struct worker *w, struct connection *c)
{
	queue_leave(c);
	close(c->fd);
	forget_parameters(w, c);
	forget_unsent(w, c);
	c->next = w->spare;
	w->spare = c;
}

/* The connection is dropped for what its peer did. */
static bool
is_broken(struct worker *w)
{
	count_add(&w->replier.counters->protocol_errors, 1);
	return false;
}

/* Room for n more bytes of parameters: the worker's, or more of the connection's own. */
static bool
parameters_reserve(struct worker *w, struct connection *c, size_t n)
{
	size_t need = c->frames.nparameters + n, room = c->room;
	uint8_t *more;

	if (room == 0)
		c->frames.parameters = w->parameters;
	if (room == 0 || need <= room)
		return true;
	while (room < need)
		room *= 2;
	if (!may_hold(w, c->room, room))
		return false;
	more = realloc(c->frames.parameters, room);
	if (more == NULL) {
		may_hold(w, room, c->room);
		return false;
	}
	c->frames.parameters = more;
	c->room = room;
	return true;
}

/* A turn ends in the middle of the parameters: they get memory of their own. */
static bool
parameters_keep(struct worker *w, struct connection *c)
{
	size_t n = c->frames.nparameters;
	uint8_t *own;

	if (c->room > 0 || n == 0 || c->frames.state != FRAMES_IN_PARAMETERS)
		return true;
	if (!may_hold(w, 0, n))
		return false;
	own = malloc(n);
	if (own == NULL) {
		may_hold(w, n, 0);
		return false;
	}
	memcpy(own, c->frames.parameters, n);
	c->frames.parameters = own;
	c->room = n;
	return true;
}

/* ---- sending ---- */

/* Keeps what was not sent of some pieces. */
static bool
unsent_add(struct worker *w, struct connection *c, const struct iovec *piece, int n, size_t sent)
{
	size_t len = 0;
	uint8_t *more;
	int i;

	for (i = 0; i < n; i++)
		len += piece[i].iov_len;
	len -= sent;
	if (len == 0)
		return true;
	if (!may_hold(w, c->nunsent, c->nunsent + len))
		return false;
	more = realloc(c->unsent, c->nunsent + len);
	if (more == NULL) {
		may_hold(w, c->nunsent + len, c->nunsent);
		return false;
	}
	c->unsent = more;
	for (i = 0; i < n; i++) {
		size_t skip = sent < piece[i].iov_len ? sent : piece[i].iov_len, rest = piece[i].iov_len - skip;

		memcpy(c->unsent + c->nunsent, (const uint8_t *)piece[i].iov_base + skip, rest);
		c->nunsent += rest;
		sent -= skip;
	}
	return true;
}

/* At once, or as much as there is room for. False: the peer is gone, or too slow for all that it wants. */
static bool
send_pieces(struct worker *w, struct connection *c, struct iovec *piece, int n)
{
	const struct msghdr message = { .msg_iov = piece, .msg_iovlen = (size_t)n };
	ssize_t sent = 0;

	if (c->nunsent == 0) {
		do
			sent = sendmsg(c->fd, &message, MSG_NOSIGNAL);
		while (sent < 0 && errno == EINTR);
		if (sent < 0 && errno != EAGAIN)
			return false;
	}
	return unsent_add(w, c, piece, n, sent < 0 ? 0 : (size_t)sent);
}

/* What could not be sent before. */
static bool
send_unsent(struct worker *w, struct connection *c)
{
	ssize_t sent;

	if (c->nunsent == 0)
		return true;
	do
		sent = send(c->fd, c->unsent + c->sent, c->nunsent - c->sent, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return errno == EAGAIN;
	c->sent += (size_t)sent;
	if (c->sent == c->nunsent)
		forget_unsent(w, c);
	return true;
}

/* An answer as records: STDOUT, its end, END_REQUEST. */
static bool
send_answer(struct worker *w, struct connection *c, struct span answer)
{
	uint8_t head[FRAMES_HEAD], tail[3 * FRAMES_HEAD] = { 0 };
	struct iovec piece[3] = { { head, sizeof head }, { NULL, 0 }, { tail, sizeof tail } };
	size_t n;

	frames_head(tail, FRAMES_STDOUT, c->frames.id, 0);
	frames_head(tail + FRAMES_HEAD, FRAMES_END_REQUEST, c->frames.id, FRAMES_HEAD);
	do {
		n = answer.len < FRAMES_MAX_CONTENT ? answer.len : FRAMES_MAX_CONTENT;
		frames_head(head, FRAMES_STDOUT, c->frames.id, n);
		piece[1] = (struct iovec){ (void *)(uintptr_t)answer.at, n };
		answer.at += n;
		answer.len -= n;
		if (!send_pieces(w, c, piece, answer.len == 0 ? 3 : 2))
			return false;
	} while (answer.len > 0);
	return true;
}

/* ---- requests ---- */

/* All parameters are there. */
static bool
answer_request(struct worker *w, struct connection *c)
{
	uint64_t start = now_ns();
	struct span answer;
	bool ok;

	c->is_fresh = false;
	if (c->nunsent > UNSENT_MAX || feed_parameters(&w->fcgi, c->frames.parameters, c->frames.nparameters) != 0)
		return is_broken(w);
	facts_read(&w->facts, w->fcgi.envp);
	answer = reply_build(&w->replier, &w->facts, (enum role)c->frames.role);
	ok = send_answer(w, c, answer);
	feed_release(&w->fcgi);
	forget_parameters(w, c);
	counters_observe(w->replier.counters, now_ns() - start);
	return ok;
}

static bool
answer_management(struct worker *w, struct connection *c)
{
	uint8_t result[FRAMES_MAX_RESULT];
	struct iovec piece = { result, frames_management(&c->frames, result) };

	return c->nunsent > UNSENT_MAX ? is_broken(w) : send_pieces(w, c, &piece, 1);
}

/* One request at a time, on one connection: FCGI_CANT_MPX_CONN. */
static bool
refuse_multiplexed(struct worker *w, struct connection *c)
{
	uint8_t end[2 * FRAMES_HEAD] = { [FRAMES_HEAD + 4] = 1 };
	struct iovec piece = { end, sizeof end };

	frames_head(end, FRAMES_END_REQUEST, c->frames.other_id, FRAMES_HEAD);
	return c->nunsent > UNSENT_MAX ? is_broken(w) : send_pieces(w, c, &piece, 1);
}

/* Bytes that arrived, request by request. False: the connection is to be closed at once. */
static bool
connection_take(struct worker *w, struct connection *c, const uint8_t *in, size_t len)
{
	enum frames_event event;
	size_t used;
	bool ok = true;

	if (!parameters_reserve(w, c, len))
		return is_broken(w);
	do {
		event = frames_take(&c->frames, in, len, &used);
		in += used;
		len -= used;
		switch (event) {
		case FRAMES_MORE:	return parameters_keep(w, c) || is_broken(w);
		case FRAMES_REQUEST:
			ok = answer_request(w, c) && parameters_reserve(w, c, len);
			break;
		case FRAMES_END:
			c->deadline_ms = 0;	/* what follows is another request */
			c->is_ending = !c->frames.keep || c->frames.role == FRAMES_FILTER;
			break;
		case FRAMES_MANAGEMENT:	ok = answer_management(w, c); break;
		case FRAMES_MULTIPLEXED: ok = refuse_multiplexed(w, c); break;
		case FRAMES_ABORTED:	return false;
		case FRAMES_BAD:
		case FRAMES_TOO_MUCH:	return is_broken(w);
		}
	} while (ok && !c->is_ending);
	return ok;
}

/* Into epoll, and into the queue where its time runs, or none does. False: it cannot wait. */
static bool
connection_wait(struct worker *w, struct connection *c)
{
	bool is_idle = frames_is_idle(&c->frames) && c->nunsent == 0, wants_out = c->nunsent > 0;
	struct epoll_event event = { .events = wants_out ? EPOLLOUT : EPOLLIN | EPOLLRDHUP, .data.ptr = c };

	if (c->queue == NULL || c->wants_out != wants_out) {
		if (epoll_ctl(w->epoll, c->queue == NULL ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, c->fd, &event) != 0) {
			count_add(&w->replier.counters->accept_failures, 1);
			return false;
		}
		c->wants_out = wants_out;
	}
	if (is_idle) {
		c->deadline_ms = 0;
		queue_join(&w->idle, c);
	} else if (c->deadline_ms == 0) {
		c->deadline_ms = now_ms() + w->io_timeout_ms;
		queue_join(&w->busy, c);
	}
	return true;
}

static bool
is_readable(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK) > 0;
}

/* What arrived, once. False: the connection is over. */
static bool
connection_read(struct worker *w, struct connection *c)
{
	ssize_t got;

	do
		got = recv(c->fd, w->in, sizeof w->in, 0);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN;
	if (got == 0)	/* the peer's wish, but in the middle of a request */
		return frames_is_idle(&c->frames) ? false : is_broken(w);
	return connection_take(w, c, w->in, (size_t)got) && !(c->is_ending && c->nunsent == 0);
}

/*
 * The end of a kept connection, at our wish. shutdown(SHUT_RD) before close(2):
 * what the web server writes from then on fails on its side, so that it knows
 * that the request never arrived; what it wrote before is there to be read, and
 * is answered. Every connection that is kept ends here, never by an answer that
 * the next request could cross. False: it is over.
 */
static bool
connection_finish(struct worker *w, struct connection *c)
{
	while (frames_is_idle(&c->frames) && c->nunsent == 0) {
		if (!is_readable(c->fd))
			shutdown(c->fd, SHUT_RD);
		if (!connection_read(w, c))
			return false;
	}
	return true;	/* in the middle of a request, which has its time */
}

/* Its turn is over: it waits for the next, or is closed. */
static void
connection_settle(struct worker *w, struct connection *c, bool is_alive)
{
	if (is_alive && w->is_stopping && !c->is_fresh)
		is_alive = connection_finish(w, c);
	if (!is_alive || !connection_wait(w, c))
		connection_close(w, c);
}

static void
connection_ready(struct worker *w, struct connection *c)
{
	bool is_alive = c->nunsent > 0 ? send_unsent(w, c) : connection_read(w, c);

	connection_settle(w, c, is_alive && !(c->is_ending && c->nunsent == 0));
}

/* Those whose request or answer took too long. */
static void
close_overdue(struct worker *w, int64_t now)
{
	struct connection *c;

	while ((c = w->busy.first) != NULL && now >= c->deadline_ms) {
		is_broken(w);
		connection_close(w, c);
	}
}

/* Out of descriptors, those that wait for nothing give theirs back, the longest idle first. */
static void
idle_yield(struct worker *w)
{
	struct connection *c;
	int i;

	for (i = 0; i < YIELD_AT_ONCE && (c = w->idle.first) != NULL; i++)
		if (!connection_finish(w, c) || !connection_wait(w, c))
			connection_close(w, c);
	w->lacks_descriptors = false;
}

/* ---- the listener ---- */

static void
listen_again(struct worker *w)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLEXCLUSIVE };

	event.data.ptr = w->server;
	w->is_listening = epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->server->options.listener, &event) == 0;
}

static void
listen_no_more(struct worker *w)
{
	if (w->is_listening)
		epoll_ctl(w->epoll, EPOLL_CTL_DEL, w->server->options.listener, NULL);
	w->is_listening = false;
}

/* The listener stays readable: without a pause this would spin. */
static void
accept_pause(struct worker *w)
{
	count_add(&w->replier.counters->accept_failures, 1);
	w->lacks_descriptors = true;
	listen_no_more(w);
	w->listen_at_ms = now_ms() + PAUSE_MS;
}

/* False when nothing waits, or nobody can be taken. */
static bool
accept_one(struct worker *w)
{
	struct connection *c;
	bool is_alive;
	int fd;

	fd = accept4(w->server->options.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
		return errno != EAGAIN;
	if (fd < 0) {
		accept_pause(w);
		return false;
	}
	count_add(&w->replier.counters->connections, 1);
	c = connection_new(w, fd);
	if (c == NULL) {
		count_add(&w->replier.counters->accept_failures, 1);
		close(fd);
		return true;
	}
	/* The request mostly is there already: epoll is for those that wait. */
	is_alive = connection_read(w, c);
	/* Look-ups need descriptors, too, for what they map: the last ones are for nobody who waits. */
	if (is_alive && fd >= w->server->first_reserved) {
		accept_pause(w);
		connection_finish(w, c);
		is_alive = false;
	}
	connection_settle(w, c, is_alive);
	return !w->lacks_descriptors;
}

/* Those that had a request; one that has just been accepted may still send its first. */
static void
finish_idle(struct worker *w)
{
	struct connection *c, *next;

	for (c = w->idle.first; c != NULL; c = next) {
		next = c->next;
		if (!c->is_fresh)
			connection_settle(w, c, true);
	}
}

static void
worker_stop(struct worker *w)
{
	w->is_stopping = true;
	w->stop_at_ms = now_ms() + STOP_GRACE_MS;
	listen_no_more(w);
	finish_idle(w);
	while (w->server->options.drain && accept_one(w))
		continue;
}

static void
read_settings(struct worker *w)
{
	struct server *s = w->server;

	pthread_mutex_lock(&s->lock);
	w->io_timeout_ms = s->settings.io_timeout_ms;
	w->replier.settings = s->settings.reply;
	pthread_mutex_unlock(&s->lock);
}

static void
worker_woken(struct worker *w)
{
	struct server *s = w->server;
	eventfd_t count;

	eventfd_read(w->wake, &count);
	read_settings(w);
	/* acquire: with serve_stop(), which took the path away before it said so */
	if (!w->is_stopping && atomic_load_explicit(&s->is_stopping, memory_order_acquire))
		worker_stop(w);
}

/*
 * The wake-up comes last: it may close connections that others of these events
 * still speak of.
 */
static void
worker_turn(struct worker *w, const struct epoll_event *events, int n)
{
	bool is_woken = false;
	int i;

	for (i = 0; i < n; i++) {
		if (events[i].data.ptr == w)
			is_woken = true;
		else if (events[i].data.ptr == w->server)
			accept_one(w);
		else
			connection_ready(w, events[i].data.ptr);
	}
	if (is_woken)
		worker_woken(w);
}

/* What is due by the clock; returns the milliseconds until something is again. */
static int
worker_tick(struct worker *w)
{
	int64_t now = now_ms(), next;

	if (now >= w->refresh_at_ms) {
		reader_refresh(w->replier.reader);
		w->refresh_at_ms = now + REFRESH_MS;
	}
	next = w->refresh_at_ms;
	close_overdue(w, now);
	if (w->lacks_descriptors)
		idle_yield(w);
	if (w->busy.first != NULL && w->busy.first->deadline_ms < next)
		next = w->busy.first->deadline_ms;
	if (!w->is_listening && !w->is_stopping) {
		if (now >= w->listen_at_ms)
			listen_again(w);
		if (!w->is_listening && w->listen_at_ms < next)
			next = w->listen_at_ms > now ? w->listen_at_ms : now + PAUSE_MS;
	}
	if (w->is_stopping && w->stop_at_ms < next)
		next = w->stop_at_ms;
	return next > now ? (int)(next - now) : 0;
}

/* What is under way has its time; what never began a request, the grace. */
static bool
worker_is_done(const struct worker *w)
{
	return w->is_stopping && w->busy.first == NULL && (w->idle.first == NULL || now_ms() >= w->stop_at_ms);
}

static void *
worker_main(void *arg)
{
	struct worker *w = arg;
	struct epoll_event events[EVENTS_PER_TURN];

	while (!worker_is_done(w)) {
		worker_turn(w, events, epoll_wait(w->epoll, events, EVENTS_PER_TURN, worker_tick(w)));
		atomic_store_explicit(&w->has_turned, true, memory_order_relaxed);
	}
	return NULL;
}

/* An own slab, or a private one: counting never stops serving. */
static void
worker_count(struct worker *w)
{
	const char *lacking = "counters: not shared, nobody will see them";
	struct server *s = w->server;
	char table[512];
	int error;

	w->replier.counters = &w->private_counters;
	error = counters_claim(&w->counters_file, s->options.table_path, &w->replier.counters);
	if (error == 0) {
		lacking = "refusals: counted, but not listed";
		error = refusals_claim(&w->replier.refusals, s->options.table_path);
	}
	if (error != 0 && !s->lacks_counters) {
		log_warn("%s table=%s error=\"%s\"", lacking,
		    log_value(table, sizeof table, s->options.table_path, strlen(s->options.table_path)), strerror(-error));
		s->lacks_counters = true;
	}
}

static int
worker_open(struct worker *w)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = w };
	int error;

	FCGX_InitRequest(&w->fcgi, -1, 0);
	w->idle.last = &w->idle.first;
	w->busy.last = &w->busy.first;
	w->replier.table_path = w->server->options.table_path;
	worker_count(w);
	error = reader_open(&w->replier.reader, w->server->options.table_path);
	if (error != 0)
		return error;
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (w->epoll < 0)
		return -errno;
	read_settings(w);	/* now: a request may be there before the first wake-up */
	w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->wake < 0 || epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->wake, &event) != 0)
		return -errno;
	return 0;
}

static void
worker_close(struct worker *w)
{
	struct connection *c;

	while ((c = w->idle.first) != NULL || (c = w->busy.first) != NULL)
		connection_close(w, c);
	while ((c = w->spare) != NULL) {
		w->spare = c->next;
		free(c);
	}
	free(w->replier.page);
	reader_close(&w->replier.reader);
	refusals_release(&w->replier.refusals);
	counters_release(&w->counters_file);
	close(w->epoll);
	close(w->wake);
}

static int
worker_start(struct server *s)
{
	struct worker *w = &s->workers[s->nworkers];
	int error;

	w->server = s;
	w->epoll = w->wake = -1;
	error = worker_open(w);
	if (error == 0)
		error = -pthread_create(&w->thread, NULL, worker_main, w);
	if (error != 0) {
		worker_close(w);
		return error;
	}
	s->nworkers++;
	return 0;
}

/* A thread opens up to three at a time, and takes one connection too many. Half are for peers in any case. */
static int
first_reserved(int threads)
{
	struct rlimit most;
	int reserve = 4 * threads;

	if (getrlimit(RLIMIT_NOFILE, &most) != 0 || most.rlim_cur > INT_MAX)
		return INT_MAX;
	if (reserve > (int)most.rlim_cur / 2)
		reserve = (int)most.rlim_cur / 2;
	return (int)most.rlim_cur - reserve;
}

int
serve_start(struct server **out, const struct serve_options *opt)
{
	struct server *s;
	int error;

	s = calloc(1, sizeof *s + (size_t)opt->threads * sizeof s->workers[0]);
	if (s == NULL)
		return -ENOMEM;
	s->options = *opt;
	s->settings = opt->settings;
	s->first_reserved = first_reserved(opt->threads);
	pthread_mutex_init(&s->lock, NULL);
	error = feed_init();
	while (error == 0 && s->nworkers < opt->threads)
		error = worker_start(s);
	*out = s;
	if (error != 0)
		serve_stop(out, -1);
	return error;
}

static void
wake_all(struct server *s)
{
	int i;

	for (i = 0; i < s->nworkers; i++)
		eventfd_write(s->workers[i].wake, 1);
}

void
serve_reload(struct server *s, const struct serve_settings *settings)
{
	pthread_mutex_lock(&s->lock);
	s->settings = *settings;
	pthread_mutex_unlock(&s->lock);
	wake_all(s);
}

bool
serve_has_turned(struct server *s)
{
	bool any = false;
	int i;

	for (i = 0; i < s->nworkers; i++)
		any |= atomic_exchange_explicit(&s->workers[i].has_turned, false, memory_order_relaxed);
	return any;
}

/* wait_ms < 0: as long as it takes. */
static bool
join_all(struct server *s, int wait_ms)
{
	struct timespec until;
	int i, error;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += wait_ms / 1000;
	for (i = 0; i < s->nworkers; i++) {
		if (wait_ms < 0)
			error = pthread_join(s->workers[i].thread, NULL);
		else
			error = pthread_timedjoin_np(s->workers[i].thread, NULL, &until);
		if (error != 0)
			return false;
	}
	return true;
}

bool
serve_stop(struct server **out, int wait_ms)
{
	struct server *s = *out;
	int i;

	atomic_store_explicit(&s->is_stopping, true, memory_order_release);
	wake_all(s);
	if (!join_all(s, wait_ms))
		return false;
	for (i = 0; i < s->nworkers; i++)
		worker_close(&s->workers[i]);
	pthread_mutex_destroy(&s->lock);
	free(s);
	*out = NULL;
	return true;
}

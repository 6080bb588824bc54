/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A thread has an epoll of its own with a wake-up, the shared listener and the
 * connections it accepted. A connection whose request is readable is handed to
 * libfcgi, which reads that one request with blocking reads (bounded by
 * SO_RCVTIMEO) and never accepts: FCGX_Request.ipcFd is set beforehand, and its
 * listening socket is -1.
 *
 * That a preset ipcFd is used is libfcgi's habit, not its promise: configure
 * looks for the members, tests/unit/check_fcgi.c for the behaviour.
 */
#include "serve.h"

#include <errno.h>
#include <fcgiapp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define EVENTS_PER_TURN	64
#define REFRESH_MS	1000
#define PAUSE_MS	100		/* without descriptors; accept(2) would fail at once again */
#define STOP_GRACE_MS	1000		/* for the first request of a connection just accepted */
#define MAX_BODY	(1 << 20)	/* bytes read away to keep a connection; more closes it */

struct connection {
	int			 fd;
	bool			 is_fresh;	/* has not had its first request */
	struct connection	*next, **link;	/* *link is this connection */
};

struct worker {
	pthread_t		 thread;
	struct server		*server;
	FCGX_Request		 fcgi;
	struct replier		 replier;
	struct facts		 facts;
	struct counters_file	*counters_file;
	struct counters		 private_counters;	/* where the shared ones cannot be had */
	struct connection	*connections;		/* those that wait in epoll */
	struct connection	*spare;
	int			 epoll;
	int			 wake;			/* eventfd */
	int			 io_timeout_ms;
	bool			 is_listening;		/* the listener is in epoll */
	bool			 is_stopping;
	int64_t			 refresh_at_ms;		/* CLOCK_MONOTONIC, as all below */
	int64_t			 listen_at_ms;		/* end of a pause */
	int64_t			 stop_at_ms;
	_Atomic bool		 has_turned;
};

struct server {
	struct serve_options	 options;
	pthread_mutex_t		 lock;		/* settings; taken after a wake-up only */
	struct serve_settings	 settings;
	_Atomic bool		 is_stopping;	/* set before the wake-up that tells */
	bool			 lacks_counters;	/* said so; serve_start() only */
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

/* Reads what is left of STDIN away. False: it is truncated, or more than we care to read. */
static bool
drain_body(FCGX_Request *r)
{
	char buf[4096];
	int got, left;

	for (left = MAX_BODY; left > 0; left -= got) {
		got = FCGX_GetStr(buf, sizeof buf, r->in);
		if (got < (int)sizeof buf)
			return FCGX_GetError(r->in) == 0;
	}
	return false;
}

/* A request has been read and is answered. Returns false to have the connection closed. */
static bool
answer_request(struct worker *w)
{
	FCGX_Request *r = &w->fcgi;
	struct span reply;
	bool keep = true;

	facts_read(&w->facts, r->envp);
	reply = reply_build(&w->replier, &w->facts, (enum role)r->role);
	/*
	 * A responder gets the body to its end, or the next request on this
	 * connection would begin in the middle of it. An authorizer must not look:
	 * lighttpd announces a body to it and sends neither body nor its end.
	 */
	if (r->role == ROLE_RESPONDER)
		keep = drain_body(r);
	FCGX_PutStr(reply.at, (int)reply.len, r->out);
	return keep && r->role != ROLE_FILTER;
}

/*
 * One request from fd, which is readable. Whether the connection is to be kept;
 * if not, it is closed.
 */
static bool
serve_request(struct worker *w, int fd)
{
	FCGX_Request *r = &w->fcgi;
	uint64_t start = now_ns();

	r->ipcFd = fd;
	r->keepConnection = 1;		/* or FCGX_Accept_r() closes ipcFd to begin with */
	FCGX_Detach(r);			/* close(2) at the end, no shutdown and 2 s of waiting for the peer */
	if (FCGX_Accept_r(r) != 0) {
		count_add(&w->replier.counters->protocol_errors, 1);
		r->ipcFd = -1;
		return false;
	}
	/* It is 0 for a request that broke off in its parameters, too. */
	if (FCGX_GetError(r->in) != 0) {
		count_add(&w->replier.counters->protocol_errors, 1);
		FCGX_Free(r, 1);
		return false;
	}
	if (!answer_request(w))
		r->keepConnection = 0;
	FCGX_Finish_r(r);
	counters_observe(w->replier.counters, now_ns() - start);
	if (r->ipcFd < 0)
		return false;
	r->ipcFd = -1;
	return true;
}

static void
connection_forget(struct worker *w, struct connection *c)
{
	*c->link = c->next;
	if (c->next != NULL)
		c->next->link = c->link;
	c->next = w->spare;
	w->spare = c;
}

/* Spares are kept: memory is asked for only when more connections idle than ever before. */
static struct connection *
connection_remember(struct worker *w, int fd)
{
	struct connection *c = w->spare;

	if (c != NULL)
		w->spare = c->next;
	else
		c = malloc(sizeof *c);
	if (c == NULL)
		return NULL;
	*c = (struct connection){ .fd = fd, .next = w->connections, .link = &w->connections };
	if (c->next != NULL)
		c->next->link = &c->next;
	w->connections = c;
	return c;
}

static void
connection_wait(struct worker *w, int fd, bool is_fresh)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP };
	struct connection *c;

	c = connection_remember(w, fd);
	event.data.ptr = c;
	if (c != NULL && epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &event) == 0) {
		c->is_fresh = is_fresh;
		return;
	}
	if (c != NULL)
		connection_forget(w, c);
	close(fd);
	count_add(&w->replier.counters->accept_failures, 1);
}

static bool
is_readable(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/*
 * The end of a kept connection, at our wish. shutdown(SHUT_RD) before close(2):
 * what the web server writes from then on fails on its side, so that it knows
 * that the request never arrived; what it wrote before is there to be read, and
 * is answered. Every connection that is kept ends here, never by keepConnection
 * = 0: between that answer and its close the next request could arrive and die.
 */
static void
connection_finish(struct worker *w, int fd)
{
	do {
		if (!is_readable(fd))
			shutdown(fd, SHUT_RD);
		if (!is_readable(fd)) {
			close(fd);
			return;
		}
	} while (serve_request(w, fd));
}

static void
connection_ready(struct worker *w, struct connection *c, uint32_t events)
{
	/* At its end a connection is readable as well; libfcgi would make a failed accept of that. */
	if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0 && !is_readable(c->fd)) {
		close(c->fd);
		connection_forget(w, c);
		return;
	}
	c->is_fresh = false;
	if (!serve_request(w, c->fd)) {
		connection_forget(w, c);
	} else if (w->is_stopping) {
		connection_finish(w, c->fd);
		connection_forget(w, c);
	}
}

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

static void
set_timeouts(int fd, int timeout_ms)
{
	struct timeval t = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
}

static void
connection_keep(struct worker *w, int fd)
{
	if (w->is_stopping)
		connection_finish(w, fd);
	else
		connection_wait(w, fd, false);
}

/* False when nothing waits. */
static bool
accept_one(struct worker *w)
{
	int fd;

	fd = accept4(w->server->options.listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
		return errno != EAGAIN;
	if (fd < 0) {
		/* The listener stays readable: without a pause this would spin. */
		count_add(&w->replier.counters->accept_failures, 1);
		listen_no_more(w);
		w->listen_at_ms = now_ms() + PAUSE_MS;
		return false;
	}
	count_add(&w->replier.counters->connections, 1);
	set_timeouts(fd, w->io_timeout_ms);
	/* The request mostly is there already: epoll is for those that wait. */
	if (!is_readable(fd))
		connection_wait(w, fd, true);
	else if (serve_request(w, fd))
		connection_keep(w, fd);
	return true;
}

static void
close_idle(struct worker *w)
{
	struct connection *c, *next;

	for (c = w->connections; c != NULL; c = next) {
		next = c->next;
		if (!c->is_fresh) {
			connection_finish(w, c->fd);
			connection_forget(w, c);
		}
	}
}

static void
worker_stop(struct worker *w)
{
	w->is_stopping = true;
	w->stop_at_ms = now_ms() + STOP_GRACE_MS;
	listen_no_more(w);
	close_idle(w);
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
			connection_ready(w, events[i].data.ptr, events[i].events);
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

static bool
worker_is_done(const struct worker *w)
{
	return w->is_stopping && (w->connections == NULL || now_ms() >= w->stop_at_ms);
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

	while ((c = w->connections) != NULL) {
		close(c->fd);
		connection_forget(w, c);
	}
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

int
serve_start(struct server **out, const struct serve_options *opt)
{
	struct server *s;
	int error = 0;

	s = calloc(1, sizeof *s + (size_t)opt->threads * sizeof s->workers[0]);
	if (s == NULL)
		return -ENOMEM;
	s->options = *opt;
	s->settings = opt->settings;
	pthread_mutex_init(&s->lock, NULL);
	if (FCGX_Init() != 0)
		error = -EIO;
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

/* SPDX-License-Identifier: BSD-2-Clause */
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "sdnotify.h"

#define LOCK_WAIT_MS	5000
#define FIRST_PASSED_FD	3	/* sd_listen_fds(3) */

static bool
is_listening(int fd)
{
	int yes = 0;
	socklen_t len = sizeof yes;

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &len) == 0 && yes != 0;
}

/*
 * O_NONBLOCK belongs to the open file description, so it changes the socket for
 * every process that has it. That is wanted: several of our processes wake up
 * for one connection, and all but one find nothing to accept. Whoever merely
 * holds the socket (systemd, lighttpd) never accepts.
 */
static int
inherit(struct listener *l, int fd, char *err, size_t errlen)
{
	int flags = fcntl(fd, F_GETFL);

	if (!is_listening(fd)) {
		snprintf(err, errlen, "socket: inherited descriptor %d does not listen", fd);
		return EX_CONFIG;
	}
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
		snprintf(err, errlen, "socket: inherited descriptor %d: %s", fd, strerror(errno));
		return EX_OSERR;
	}
	*l = (struct listener){ .fd = fd };
	return 0;
}

/* Who listens there, or 0 when nobody answers; -errno when that cannot be told. */
static int
probe(const struct sockaddr_un *address, pid_t *pid)
{
	struct ucred peer = { 0 };
	socklen_t len = sizeof peer;
	int fd, error = 0;

	*pid = 0;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)address, sizeof *address) != 0)
		error = -errno;
	else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
		*pid = peer.pid;
	close(fd);
	return error == -EAGAIN ? 0 : error;	/* its queue is full: somebody listens */
}

/* Only what was a socket and has no listener any more may be replaced. */
static int
refuse_occupied(const struct sockaddr_un *address, char *err, size_t errlen)
{
	const char *path = address->sun_path;
	struct stat st;
	pid_t pid;
	int error;

	if (lstat(path, &st) != 0) {
		if (errno == ENOENT)
			return 0;
		snprintf(err, errlen, "socket %s: %s", path, strerror(errno));
		return EX_CANTCREAT;
	}
	if (!S_ISSOCK(st.st_mode)) {
		snprintf(err, errlen, "socket %s: something that is no socket is in its place", path);
		return EX_CANTCREAT;
	}
	error = probe(address, &pid);
	if (error == -ECONNREFUSED || error == -ENOENT)
		return 0;
	if (error != 0)
		snprintf(err, errlen, "socket %s: cannot tell whether it is in use: %s", path, strerror(-error));
	else
		snprintf(err, errlen, "socket %s: in use by process %ld", path, (long)pid);
	return EX_CANTCREAT;
}

static int
set_group(const char *path, const char *group, char *err, size_t errlen)
{
	const struct group *g;

	if (*group == '\0')
		return 0;
	g = getgrnam(group);
	if (g == NULL) {
		snprintf(err, errlen, "responder.socket_group: no group %s", group);
		return EX_CONFIG;
	}
	if (chown(path, (uid_t)-1, g->gr_gid) != 0) {
		snprintf(err, errlen, "responder.socket_group: cannot give the socket to %s: %s", group,
		    strerror(errno));
		return EX_CANTCREAT;
	}
	return 0;
}

/* Binds beside the path, 0660 from its first moment, and moves it there when it listens. */
static int
bind_beside(struct listener *l, const struct listener_options *opt, struct sockaddr_un beside, char *err,
    size_t errlen)
{
	struct stat st;
	mode_t mask;
	int error, status;

	unlink(beside.sun_path);
	mask = umask(0117);
	error = bind(l->fd, (struct sockaddr *)&beside, sizeof beside) != 0 ? errno : 0;
	umask(mask);
	if (error != 0) {
		snprintf(err, errlen, "socket %s: cannot be made: %s", opt->path, strerror(error));
		return EX_CANTCREAT;
	}
	status = set_group(beside.sun_path, opt->group, err, errlen);
	if (status == 0 && (listen(l->fd, opt->backlog) != 0 || lstat(beside.sun_path, &st) != 0 ||
	    rename(beside.sun_path, opt->path) != 0)) {
		snprintf(err, errlen, "socket %s: %s", opt->path, strerror(errno));
		status = EX_CANTCREAT;
	}
	if (status != 0) {
		unlink(beside.sun_path);
		return status;
	}
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	return 0;
}

/*
 * From the look at the path to the rename: of two that start at once, one is refused. A file of its own, that
 * strangers cannot open: whoever can open a file can lock it. It stays, for a name that went could be locked twice.
 */
static int
lock_path(const char *path)
{
	static const struct timespec pause = { .tv_nsec = 10000000 };
	char name[sizeof ((struct sockaddr_un *)0)->sun_path + sizeof ".lock"];
	int fd, wait_ms = LOCK_WAIT_MS, error;

	snprintf(name, sizeof name, "%s.lock", path);
	fd = open(name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	for (; flock(fd, LOCK_EX | LOCK_NB) != 0; wait_ms -= 10) {
		if (errno == EWOULDBLOCK && wait_ms > 0) {
			nanosleep(&pause, NULL);
			continue;
		}
		error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

static int
bind_own(struct listener *l, const struct listener_options *opt, char *err, size_t errlen)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX }, beside = { .sun_family = AF_UNIX };
	int lock, status;

	if (snprintf(beside.sun_path, sizeof beside.sun_path, "%s.new", opt->path) >= (int)sizeof beside.sun_path) {
		snprintf(err, errlen, "responder.socket: %s is longer than %zu bytes", opt->path,
		    sizeof address.sun_path - sizeof ".new");
		return EX_CONFIG;
	}
	memcpy(address.sun_path, opt->path, strlen(opt->path) + 1);
	*l = (struct listener){ .is_ours = true, .path = opt->path };
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	lock = l->fd < 0 ? -errno : lock_path(opt->path);
	if (lock < 0) {
		snprintf(err, errlen, "socket %s: %s.lock beside it cannot be made or locked: %s", opt->path,
		    opt->path, strerror(-lock));
		listener_close(l);
		return EX_CANTCREAT;
	}
	status = refuse_occupied(&address, err, errlen);
	if (status == 0)
		status = bind_beside(l, opt, beside, err, errlen);
	close(lock);
	if (status != 0)
		listener_close(l);
	return status;
}

int
listener_open(struct listener *l, const struct listener_options *opt, char *err, size_t errlen)
{
	int passed = sdnotify_listen_fds();

	if (passed > 1) {
		snprintf(err, errlen, "socket: %d were passed, one is expected", passed);
		return EX_CONFIG;
	}
	if (passed == 1)
		return inherit(l, FIRST_PASSED_FD, err, errlen);
	if (is_listening(STDIN_FILENO))
		return inherit(l, STDIN_FILENO, err, errlen);
	return bind_own(l, opt, err, errlen);
}

void
listener_unlink(struct listener *l)
{
	struct stat st;
	int lock;

	if (!l->is_ours)
		return;
	lock = lock_path(l->path);
	if (lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
		unlink(l->path);
	if (lock >= 0)
		close(lock);
}

void
listener_close(struct listener *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

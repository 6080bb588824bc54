/* SPDX-License-Identifier: BSD-2-Clause */
#include "control.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define RETRY_MS	10

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A full backlog is a queue to wait in; no descriptor tells when it moves. */
static int
connect_to(const char *path, int64_t until)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd, error;

	if (strlen(path) >= sizeof name.sun_path)
		return -ENAMETOOLONG;
	strcpy(name.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	while (connect(fd, (struct sockaddr *)&name, sizeof name) != 0) {
		error = errno != EAGAIN ? -errno : now_ms() >= until ? -ETIMEDOUT : 0;
		if (error != 0) {
			close(fd);
			return error;
		}
		poll(NULL, 0, RETRY_MS);
	}
	return fd;
}

static int
send_line(int fd, const char *line)
{
	struct iovec parts[] = { { (char *)line, strlen(line) }, { "\n", 1 } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	size_t len = parts[0].iov_len + 1;
	ssize_t n;

	if (len > CONTROL_MAX_LINE || strchr(line, '\n') != NULL)
		return -EINVAL;
	n = sendmsg(fd, &message, MSG_NOSIGNAL);	/* a fresh socket takes a line whole */
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EMSGSIZE;
}

static int
read_line(int fd, int64_t until, char reply[CONTROL_MAX_LINE])
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t len = 0;
	int64_t left;
	char *newline;
	ssize_t n;

	while (len < CONTROL_MAX_LINE) {
		left = until - now_ms();
		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
			return -errno;
		n = recv(fd, reply + len, CONTROL_MAX_LINE - len, 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ECONNRESET;
		newline = memchr(reply + len, '\n', (size_t)n);
		if (newline != NULL) {
			*newline = '\0';
			return 0;
		}
		len += (size_t)n;
	}
	return -EMSGSIZE;
}

static int
send_all(int fd, const char *bytes, size_t len, int64_t until)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int64_t left;
	ssize_t n;

	for (size_t done = 0; done < len;) {
		if ((left = until - now_ms()) <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
			return -errno;
		n = send(fd, bytes + done, len - done, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int
control_ask_lines(const char *path, const char *line, const char *lines, size_t len, int timeout_ms,
    char reply[CONTROL_MAX_LINE])
{
	int64_t until = now_ms() + timeout_ms;
	int fd = connect_to(path, until), error;

	if (fd < 0)
		return fd;
	error = send_line(fd, line);
	if (error == 0)
		error = send_all(fd, lines, len, until);
	if (error == 0 || error == -EPIPE || error == -ECONNRESET) {	/* why it was refused may be there */
		int answered = read_line(fd, until, reply);
		error = answered == 0 || error == 0 ? answered : error;
	}
	close(fd);
	return error;
}

int
control_ask(const char *path, const char *line, int timeout_ms, char reply[CONTROL_MAX_LINE])
{
	return control_ask_lines(path, line, "", 0, timeout_ms, reply);
}

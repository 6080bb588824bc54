/* SPDX-License-Identifier: BSD-2-Clause */
#include "sdnotify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LISTEN_FDS_START	3

int
sdnotify(const char *state)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len;
	ssize_t sent;
	int fd, error;

	if (path == NULL)
		return 0;
	len = strlen(path);
	if ((path[0] != '/' && path[0] != '@') || len < 2 || len >= sizeof to.sun_path)
		return -EINVAL;
	memcpy(to.sun_path, path, len);
	if (path[0] == '@')
		to.sun_path[0] = '\0';		/* the abstract name space */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	error = sent < 0 ? -errno : 0;
	close(fd);
	return error;
}

int
sdnotify_status(const char *text)
{
	char state[512];
	char *c;

	snprintf(state, sizeof state, "STATUS=%s", text);
	for (c = state; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)	/* a line of its own would be a state of its own */
			*c = ' ';
	return sdnotify(state);
}

int
sdnotify_reloading(void)
{
	struct timespec now;
	char state[64];

	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
	    (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
	return sdnotify(state);
}

/* A variable that is a decimal number, else 0. */
static uint64_t
number(const char *variable)
{
	const char *text = getenv(variable);
	char *end;
	unsigned long long n;

	if (text == NULL || text[0] < '0' || text[0] > '9')
		return 0;
	errno = 0;
	n = strtoull(text, &end, 10);
	return *end != '\0' || errno != 0 ? 0 : n;
}

uint64_t
sdnotify_watchdog_us(void)
{
	if (getenv("WATCHDOG_PID") != NULL && number("WATCHDOG_PID") != (uint64_t)getpid())
		return 0;
	return number("WATCHDOG_USEC");
}

int
sdnotify_listen_fds(void)
{
	uint64_t count = number("LISTEN_FDS");
	int fd;

	if (number("LISTEN_PID") != (uint64_t)getpid() || count > (uint64_t)sysconf(_SC_OPEN_MAX))
		count = 0;
	for (fd = LISTEN_FDS_START; fd < LISTEN_FDS_START + (int)count; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	/* Children of ours must not take them for theirs. */
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return (int)count;
}

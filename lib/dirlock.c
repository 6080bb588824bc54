/* SPDX-License-Identifier: BSD-2-Clause */
#include "dirlock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

int
dirlock_take(const char *dir, int wait_ms)
{
	static const struct timespec pause = { .tv_nsec = 10000000 };
	int fd, error;

	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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

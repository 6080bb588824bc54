/* SPDX-License-Identifier: BSD-2-Clause */
#include "wholefile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define ASIDE	"new"	/* under the lock of the directory, so one name for what is being made will do */

/* 0: fd is a complete file of this layout. */
static int
examine(int fd, const struct wholefile *want, size_t size)
{
	struct wholefile h;
	struct stat st;

	if (fstat(fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size != (off_t)size)
		return -EPROTO;
	if (pread(fd, &h, sizeof h, 0) != (ssize_t)sizeof h)
		return -EPROTO;
	return h.magic == want->magic && h.layout == want->layout ? 0 : -EPROTO;
}

int
wholefile_open(int dirfd, const char *name, int flags, const struct wholefile *want, size_t size)
{
	int fd, error;

	fd = openat(dirfd, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	error = examine(fd, want, size);
	if (error == 0)
		return fd;
	close(fd);
	return error;
}

bool
wholefile_is_unusable(int error)
{
	return error == -ENOENT || error == -EPROTO || error == -ELOOP || error == -ENXIO;
}

static int
fill_in(int fd, const struct wholefile *header, size_t size)
{
	int error;

	/* Space first: a full tmpfs is an error here, not a SIGBUS at the first store. */
	error = posix_fallocate(fd, 0, (off_t)size);
	if (error != 0)
		return -error;
	if (fchmod(fd, 0660) != 0)
		return -errno;
	return pwrite(fd, header, sizeof *header, 0) == (ssize_t)sizeof *header ? 0 : -EIO;
}

int
wholefile_create(int dirfd, const char *name, const struct wholefile *header, size_t size)
{
	int fd, error;

	unlinkat(dirfd, ASIDE, 0);
	fd = openat(dirfd, ASIDE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0660);
	if (fd < 0)
		return -errno;
	error = fill_in(fd, header, size);
	if (error == 0 && renameat(dirfd, ASIDE, dirfd, name) != 0)
		error = -errno;
	if (error == 0)
		return fd;
	unlinkat(dirfd, ASIDE, 0);
	close(fd);
	return error;
}

int
wholefile_open_or_create(int dirfd, const char *name, const struct wholefile *header, size_t size)
{
	int fd = wholefile_open(dirfd, name, O_RDWR, header, size);

	return wholefile_is_unusable(fd) ? wholefile_create(dirfd, name, header, size) : fd;
}

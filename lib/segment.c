/* SPDX-License-Identifier: BSD-2-Clause */
#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "layout.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25	/* Linux 6.1; the C library is older */
#endif

void
segment_name_root(char name[SEGMENT_NAME], uint64_t table)
{
	snprintf(name, SEGMENT_NAME, "t%" PRIu64, table);
}

void
segment_name_shard(char name[SEGMENT_NAME], uint64_t table, unsigned shard, uint64_t generation)
{
	snprintf(name, SEGMENT_NAME, "t%" PRIu64 ".s%u.%" PRIu64, table, shard, generation);
}

void
segment_name_policies(char name[SEGMENT_NAME], uint64_t table, uint64_t generation)
{
	snprintf(name, SEGMENT_NAME, "t%" PRIu64 ".p%" PRIu64, table, generation);
}

static bool
is_ours(const struct stat *st)
{
	return st->st_uid == 0 || st->st_uid == geteuid();
}

static bool
strangers_may_write(const struct stat *st)
{
	return (st->st_mode & 022) != 0;
}

/*
 * Whoever owns the directory that table.path stands in can put another one there: that must be root or we. Where
 * others may make names too (/tmp), its sticky bit keeps them off what is root's or our own, and nothing else.
 */
static bool
place_may_be_trusted(int path, const struct stat *st)
{
	struct stat above;

	if (fstatat(path, "..", &above, 0) != 0 || !is_ours(&above))
		return false;
	return !strangers_may_write(&above) || ((above.st_mode & S_ISVTX) != 0 && is_ours(st));
}

/* In a directory where strangers may make names, only root's and our own are worth anything. */
static bool
may_be_trusted(int path, const struct stat *table)
{
	struct stat st;

	if (strangers_may_write(table) || fstat(path, &st) != 0 || !place_may_be_trusted(path, &st))
		return false;
	return !strangers_may_write(&st) || is_ours(table);
}

int
segment_directory(const char *path, int *dirfd, uid_t *uid)
{
	int parent = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd, error = 0;
	struct stat st;

	if (parent < 0)
		return -errno;
	fd = openat(parent, LAYOUT_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0)
		error = -errno;
	else if (!may_be_trusted(parent, &st))
		error = -EPERM;
	close(parent);
	if (error != 0 && fd >= 0)
		close(fd);
	if (error != 0)
		return error;
	*dirfd = fd;
	*uid = st.st_uid;
	return 0;
}

/* Opens and checks; the size goes to *len. */
static int
open_checked(int dirfd, const char *name, int flags, const uid_t *uid, uint64_t min, uint64_t *len)
{
	struct stat st;
	int fd = openat(dirfd, name, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK), error = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0)
		error = -errno;
	else if (!S_ISREG(st.st_mode) || (st.st_mode & 022) != 0 || (uid != NULL && st.st_uid != *uid))
		error = -EPERM;
	else if (st.st_size < 0 || (uint64_t)st.st_size < min)
		error = -EPROTO;
	if (error != 0) {
		close(fd);
		return error;
	}
	*len = (uint64_t)st.st_size;
	return fd;
}

/* Address space only, at a multiple of SEGMENT_HUGE: there alone a huge page of a file is one of ours. */
static uint8_t *
reserve_addresses(uint64_t len)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), before;
	uint8_t *all;

	len = round_up(len, page);		/* a damaged file may be of any size */
	all = mmap(NULL, len + SEGMENT_HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (all == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)all % SEGMENT_HUGE;
	if (before > 0)
		munmap(all, before);
	munmap(all + before + len, SEGMENT_HUGE - before);
	return all + before;
}

static int
map(struct mapping *m, int fd, uint64_t len, int protection)
{
	uint8_t *at = len >= SEGMENT_HUGE ? reserve_addresses(len) : NULL;
	void *base = mmap(at, len, protection, MAP_SHARED | (at != NULL ? MAP_FIXED : 0), fd, 0);
	int error = -errno;

	if (base == MAP_FAILED && at != NULL)
		munmap(at, len);
	if (base == MAP_FAILED)
		return error;
	*m = (struct mapping){ .base = base, .len = len, .fd = fd };
	return 0;
}

int
segment_map(struct mapping *m, int dirfd, uid_t uid, const char *name, uint64_t min)
{
	uint64_t len;
	int fd = open_checked(dirfd, name, O_RDONLY, &uid, min, &len), error;

	if (fd < 0)
		return fd;
	error = map(m, fd, len, PROT_READ);
	close(fd);
	if (error == 0)
		m->fd = -1;
	return error;
}

int
segment_map_writable(struct mapping *m, int dirfd, const char *name, uint64_t min)
{
	uint64_t len;
	int fd = open_checked(dirfd, name, O_RDWR, NULL, min, &len), error;

	if (fd < 0)
		return fd;
	if ((error = map(m, fd, len, PROT_READ | PROT_WRITE)) != 0)
		close(fd);
	return error;
}

int
segment_create(struct mapping *m, int dirfd, const char *name, uint64_t size, uint64_t reserve, gid_t group)
{
	struct mapping made;
	int fd, error;

	unlinkat(dirfd, name, 0);
	if ((fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640)) < 0)
		return -errno;
	if (fchmod(fd, 0640) != 0 || (group != (gid_t)-1 && fchown(fd, (uid_t)-1, group) != 0) ||
	    ftruncate(fd, (off_t)size) != 0)
		error = -errno;
	else
		error = map(&made, fd, size, PROT_READ | PROT_WRITE);
	if (error == 0 && (error = segment_reserve(&made, 0, reserve)) != 0)
		munmap(made.base, made.len);
	if (error != 0) {
		unlinkat(dirfd, name, 0);
		close(fd);
		return error;
	}
	*m = made;
	return 0;
}

/*
 * Huge pages come first, each from one small page and holes: the kernel clears the rest. From small pages
 * alone it would have to copy them all, which takes five times as long.
 */
int
segment_reserve(struct mapping *m, uint64_t from, uint64_t len)
{
	uint64_t end = from + len, huge = round_up(from, SEGMENT_HUGE), at;

	for (at = huge; at + SEGMENT_HUGE <= end && posix_fallocate(m->fd, (off_t)at, 1) == 0; at += SEGMENT_HUGE)
		;
	if (at > huge)
		segment_collapse(m, huge, at - huge);
	return -posix_fallocate(m->fd, (off_t)from, (off_t)len);
}

void
segment_collapse(struct mapping *m, uint64_t from, uint64_t len)
{
	madvise((uint8_t *)m->base + from, len, MADV_COLLAPSE);
}

void
segment_unmap(struct mapping *m)
{
	if (m->base == NULL)
		return;
	munmap(m->base, m->len);
	if (m->fd >= 0)
		close(m->fd);
	*m = (struct mapping){ .fd = -1 };
}

void
segment_remove(int dirfd, const char *name)
{
	unlinkat(dirfd, name, 0);
}

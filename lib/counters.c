/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file: a header, then a fixed number of slabs. It appears under its name
 * only when it is complete (written aside, then renamed, under the lock of its
 * directory), and never changes its size. A file of another layout, left by
 * another version, is replaced: its owners go on counting where nobody looks,
 * and the numbers start again at zero, which every reader of counters expects.
 */
#include "counters.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dirlock.h"

#define MAGIC		UINT64_C(0x31727463736f7263)	/* "corsctr1", little endian */
#define SLOTS		1024
#define FIRST_SLAB	4096
#define LOCK_WAIT_MS	2000
#define MAX_PATH	4096

struct slab {
	_Alignas(128) struct counters	 c;	/* no two owners in one pair of cache lines */
};

struct header {
	uint64_t	 magic;
	uint64_t	 layout;
};

#define FILE_SIZE	(FIRST_SLAB + SLOTS * sizeof(struct slab))
/* Anything that moves a cell changes it, so foreign builds never mix their numbers. */
#define LAYOUT		((uint64_t)sizeof(struct counters) << 32 | (uint64_t)offsetof(struct counters, reason) << 16 | \
			    COUNTERS_BUCKETS << 11 | SLOTS)

_Static_assert(sizeof(struct counters) % sizeof(uint64_t) == 0, "an array of words");
_Static_assert(sizeof(_Atomic uint64_t) == sizeof(uint64_t), "words are words");
_Static_assert(SLOTS < 1 << 11 && COUNTERS_BUCKETS < 1 << 5, "layout word");
_Static_assert(__atomic_always_lock_free(sizeof(uint64_t), 0), "counting takes no lock");

struct counters_file {
	int	 fd;		/* its lock on byte `slot` is the ownership */
	void	*map;
};

const struct counter_desc counter_descs[] = {
#define COUNTER(name, help)	{ #name, help, offsetof(struct counters, name) },
#include "counters.def"
#undef COUNTER
};
const size_t counter_ndescs = sizeof counter_descs / sizeof counter_descs[0];

/* 0: fd is a complete file of this layout. */
static int
examine(int fd)
{
	struct header h;
	struct stat st;

	if (fstat(fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size != (off_t)FILE_SIZE)
		return -EPROTO;
	if (pread(fd, &h, sizeof h, 0) != (ssize_t)sizeof h)
		return -EPROTO;
	return h.magic == MAGIC && h.layout == LAYOUT ? 0 : -EPROTO;
}

static int
open_existing(int dirfd, int flags)
{
	int fd, error;

	fd = openat(dirfd, "v1", flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	error = examine(fd);
	if (error == 0)
		return fd;
	close(fd);
	return error;
}

static int
fill_in(int fd)
{
	const struct header h = { .magic = MAGIC, .layout = LAYOUT };
	int error;

	/* Space first: a full tmpfs is an error here, not a SIGBUS at the first count. */
	error = posix_fallocate(fd, 0, FILE_SIZE);
	if (error != 0)
		return -error;
	if (fchmod(fd, 0660) != 0)
		return -errno;
	return pwrite(fd, &h, sizeof h, 0) == (ssize_t)sizeof h ? 0 : -EIO;
}

/* Under the lock of the directory, so one name for what is being made will do. */
static int
create(int dirfd)
{
	int fd, error;

	unlinkat(dirfd, "v1.new", 0);
	fd = openat(dirfd, "v1.new", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0660);
	if (fd < 0)
		return -errno;
	error = fill_in(fd);
	if (error == 0 && renameat(dirfd, "v1.new", dirfd, "v1") != 0)
		error = -errno;
	if (error == 0)
		return fd;
	unlinkat(dirfd, "v1.new", 0);
	close(fd);
	return error;
}

/*
 * Takes the first slab that nobody owns. A lock of the open file description:
 * every caller has its own, so threads exclude each other as processes do, and
 * the kernel lets go of it however its owner ends.
 */
static int
claim_slot(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
	int slot;

	for (slot = 0; slot < SLOTS; slot++) {
		lock.l_start = slot;
		lock.l_pid = 0;
		if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
			return slot;
		if (errno != EAGAIN && errno != EACCES)
			return -errno;
	}
	return -EUSERS;
}

static int
open_directory(const char *dir, char path[MAX_PATH])
{
	if (snprintf(path, MAX_PATH, "%s/counters", dir) >= MAX_PATH)
		return -ENAMETOOLONG;
	if (mkdir(path, 0770) != 0 && errno != EEXIST)
		return -errno;
	return dirlock_take(path, LOCK_WAIT_MS);
}

/* The claim is made under the lock too: a file that is about to be replaced is never claimed. */
static int
open_and_claim(const char *dir, int *slot)
{
	char path[MAX_PATH];
	int dirfd, fd;

	dirfd = open_directory(dir, path);
	if (dirfd < 0)
		return dirfd;
	fd = open_existing(dirfd, O_RDWR);
	if (fd == -ENOENT || fd == -EPROTO || fd == -ELOOP || fd == -ENXIO)
		fd = create(dirfd);
	if (fd >= 0) {
		*slot = claim_slot(fd);
		if (*slot < 0) {
			close(fd);
			fd = *slot;
		}
	}
	close(dirfd);
	return fd;
}

int
counters_claim(struct counters_file **f, const char *dir, struct counters **c)
{
	struct counters_file *file;
	int fd, slot, error;
	void *map;

	fd = open_and_claim(dir, &slot);
	if (fd < 0)
		return fd;
	map = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		error = -errno;
		close(fd);
		return error;
	}
	file = malloc(sizeof *file);
	if (file == NULL) {
		munmap(map, FILE_SIZE);
		close(fd);
		return -ENOMEM;
	}
	*file = (struct counters_file){ .fd = fd, .map = map };
	*f = file;
	*c = &((struct slab *)((char *)map + FIRST_SLAB))[slot].c;
	return 0;
}

void
counters_release(struct counters_file **f)
{
	if (*f == NULL)
		return;
	munmap((*f)->map, FILE_SIZE);
	close((*f)->fd);
	free(*f);
	*f = NULL;
}

/* How many locks the file carries: each query finds the first one at or behind start. */
static unsigned
count_owners(int fd)
{
	struct flock lock = { .l_whence = SEEK_SET };
	unsigned owners = 0;
	off_t start = 0;

	while (start < SLOTS) {
		lock.l_type = F_WRLCK;
		lock.l_start = start;
		lock.l_len = SLOTS - start;
		lock.l_pid = 0;
		if (fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type == F_UNLCK)
			break;
		owners++;
		start = lock.l_start + 1;
	}
	return owners;
}

static void
add_slabs(const void *map, struct counters_sum *sum)
{
	const struct slab *slabs = (const struct slab *)((const char *)map + FIRST_SLAB);
	const _Atomic uint64_t *cell;
	size_t slot, i;

	for (slot = 0; slot < SLOTS; slot++) {
		cell = (const _Atomic uint64_t *)&slabs[slot].c;
		for (i = 0; i < sizeof sum->cell / sizeof sum->cell[0]; i++)
			sum->cell[i] += atomic_load_explicit(&cell[i], memory_order_relaxed);
	}
}

static int
sum_file(int fd, struct counters_sum *sum)
{
	void *map;

	map = mmap(NULL, FILE_SIZE, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	add_slabs(map, sum);
	munmap(map, FILE_SIZE);
	sum->owners = count_owners(fd);
	return 0;
}

int
counters_sum(const char *dir, struct counters_sum *sum)
{
	char path[MAX_PATH];
	int dirfd, fd, error;

	memset(sum, 0, sizeof *sum);
	if (snprintf(path, sizeof path, "%s/counters", dir) >= MAX_PATH)
		return -ENAMETOOLONG;
	dirfd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return errno == ENOENT ? 0 : -errno;
	fd = open_existing(dirfd, O_RDONLY);
	close(dirfd);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	error = sum_file(fd, sum);
	close(fd);
	return error;
}

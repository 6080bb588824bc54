/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file (lib/wholefile): a header, then a fixed number of slabs. Where a
 * file of another layout is replaced, the numbers start again at zero, which
 * every reader of counters expects.
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
#include "fingerprint.h"
#include "wholefile.h"

#define MAGIC		UINT64_C(0x31727463736f7263)	/* "corsctr1", little endian */
#define SLOTS		1024
#define FIRST_SLAB	4096
#define LOCK_WAIT_MS	2000
#define MAX_PATH	4096

struct slab {
	_Alignas(128) struct counters	 c;	/* no two owners in one pair of cache lines */
};

#define FILE_SIZE	(FIRST_SLAB + SLOTS * sizeof(struct slab))

_Static_assert(sizeof(struct counters) % sizeof(uint64_t) == 0, "an array of words");
_Static_assert(sizeof(_Atomic uint64_t) == sizeof(uint64_t), "words are words");
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
const char counters_rows[] =
#define COUNTER(name, help)	#name "\n"
#include "counters.def"
#undef COUNTER
#define REASON(name, token, verdict, sentence)	token " " #verdict "\n"
#include "reasons.def"
#undef REASON
;
const size_t counter_ndescs = sizeof counter_descs / sizeof counter_descs[0];

uint64_t
counters_layout(const char *rows)
{
	static const uint64_t sizes[] = { sizeof(struct counters), offsetof(struct counters, reason),
		COUNTERS_BUCKETS, sizeof(struct slab), SLOTS };

	return fingerprint(rows, sizes, sizeof sizes / sizeof sizes[0]);
}

static struct wholefile
header(void)
{
	return (struct wholefile){ MAGIC, counters_layout(counters_rows) };
}

const char *
counters_strerror(int error)
{
	return error == -EPROTO ? "they were made by another build, or are damaged: restart corscache-responder, "
	    "of the same build as this program" : strerror(-error);
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
	const struct wholefile ours = header();
	char path[MAX_PATH];
	int dirfd, fd;

	dirfd = open_directory(dir, path);
	if (dirfd < 0)
		return dirfd;
	fd = wholefile_open_or_create(dirfd, "v1", &ours, FILE_SIZE);
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

/* Nine years in nanoseconds; who adds up all buckets stays below 2^63. */
#define CELL_END	(UINT64_C(1) << 58)
_Static_assert(COUNTERS_BUCKETS <= 32, "sums of cells do not overflow");

/* No thread counts that far: such a cell was scribbled over, or set below zero, and must not be believed. */
static uint64_t
cell_sum(uint64_t sum, uint64_t value)
{
	value = value < CELL_END ? value : 0;
	return sum + value < CELL_END ? sum + value : CELL_END;
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
			sum->cell[i] = cell_sum(sum->cell[i], atomic_load_explicit(&cell[i], memory_order_relaxed));
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
	const struct wholefile ours = header();
	char path[MAX_PATH];
	int dirfd, fd, error;

	memset(sum, 0, sizeof *sum);
	if (snprintf(path, sizeof path, "%s/counters", dir) >= MAX_PATH)
		return -ENAMETOOLONG;
	dirfd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return errno == ENOENT ? 0 : -errno;
	fd = wholefile_open(dirfd, "v1", O_RDONLY, &ours, FILE_SIZE);
	close(dirfd);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	error = sum_file(fd, sum);
	close(fd);
	return error;
}

#define CELL(sum, name)	((sum)->cell[offsetof(struct counters, name) / sizeof(uint64_t)])

struct verdicts
counters_verdicts(const struct counters_sum *sum)
{
	const uint64_t *reason = &CELL(sum, reason);
	struct verdicts v = {
		.allowed = CELL(sum, preflights_allowed) + CELL(sum, actuals_allowed),
		.refused = CELL(sum, preflights_refused) + CELL(sum, actuals_refused),
		.error = reason[REASON_TABLE_ERROR] + reason[REASON_NOT_READY] + reason[REASON_STALE],
		.not_cors = CELL(sum, not_cors),
	};

	/* Cells are read one by one while they are counted up: never below zero. */
	v.refused = v.refused > v.error ? v.refused - v.error : 0;
	return v;
}

static uint64_t
bucket_grown(const struct counters_sum *sum, const struct counters_sum *before, size_t bucket)
{
	size_t at = offsetof(struct counters, duration) / sizeof(uint64_t) + bucket;
	uint64_t was = before != NULL ? before->cell[at] : 0;

	return sum->cell[at] >= was ? sum->cell[at] - was : sum->cell[at];
}

double
counters_quantile_us(const struct counters_sum *sum, const struct counters_sum *before, double share)
{
	double total = 0, below = 0, inside, rank;
	size_t i;

	for (i = 0; i < COUNTERS_BUCKETS; i++)
		total += (double)bucket_grown(sum, before, i);
	if (total == 0)
		return -1;
	rank = share * total;
	for (i = 0; i < COUNTERS_BUCKETS - 1; i++, below += inside) {
		double from = i == 0 ? 0 : (double)(UINT64_C(1) << (i - 1)), to = (double)(UINT64_C(1) << i);

		inside = (double)bucket_grown(sum, before, i);
		if (inside > 0 && below + inside >= rank)
			return from + (to - from) * (rank > below ? (rank - below) / inside : 0);
	}
	return (double)COUNTERS_LAST_US;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * allocations.so -- preloaded, counts a program's allocations into the 8 bytes
 * of the file that BENCH_ALLOCATIONS names, for others to read while it runs.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* glibc's own, below the names that we take. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);

static _Atomic uint64_t early;
static _Atomic uint64_t *count = &early;

static void
count_one(void)
{
	atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
}

__attribute__((constructor)) static void
share(void)
{
	const char *path = getenv("BENCH_ALLOCATIONS");
	int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *at = MAP_FAILED;

	if (fd >= 0) {
		at = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
	}
	if (at != MAP_FAILED)
		count = at;
}

void *
malloc(size_t size)
{
	count_one();
	return __libc_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
	count_one();
	return __libc_calloc(n, size);
}

void *
realloc(void *p, size_t size)
{
	count_one();
	return __libc_realloc(p, size);
}

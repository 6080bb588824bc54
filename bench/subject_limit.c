/* SPDX-License-Identifier: BSD-2-Clause */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "siphash.h"

/* Slots 2/3 full and a 64-bit word each; a record is 8 bytes, realm and host, rounded up to 4. */
static const uint64_t *slots;
static const char *records;
static uint64_t nslots, nrecord_bytes;

/* Memory of the same kind as the table's: a file's, mapped shared and read-only. */
static void *
map_file(const char *dir, const char *name, uint64_t len, void **writable)
{
	char path[256];
	void *readable;
	int fd, error;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	if ((fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0)
		die(path, errno);
	if ((error = ftruncate(fd, (off_t)len) != 0 ? errno : posix_fallocate(fd, 0, (off_t)len)) != 0)
		die(path, error);
	*writable = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	readable = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	if (*writable == MAP_FAILED || readable == MAP_FAILED)
		die(path, errno);
	close(fd);
	return readable;
}

static size_t
hashed_len(const struct query *q)
{
	return q->key_len - 1u - (q->parsed.scheme.len + 3);
}

static uint64_t
build(const struct workload *w, const struct subject_options *opt)
{
	uint64_t state = 1, *fill;
	struct query q;
	void *writable;

	nrecord_bytes = 64;
	for (uint64_t i = 0; i < w->origins; i++) {
		workload_row(w, i, &q);
		nrecord_bytes += (8 + hashed_len(&q) + 3) & ~3ull;
	}
	nslots = (w->origins * 3 / 2 + 7) & ~7ull;
	records = map_file(opt->dir, "limit.records", nrecord_bytes, &writable);
	for (uint64_t i = 0; i < nrecord_bytes; i += 64)
		((char *)writable)[i] = (char)i;
	munmap(writable, nrecord_bytes);
	slots = map_file(opt->dir, "limit.slots", nslots * 8, &writable);
	fill = writable;
	for (uint64_t i = 0; i < nslots; i++)
		fill[i] = random_next(&state) % nrecord_bytes;
	munmap(writable, nslots * 8);
	return nslots * 8 + nrecord_bytes;
}

static uint64_t
build_nothing(const struct workload *w, const struct subject_options *opt)
{
	(void)w;
	(void)opt;
	return 0;	/* the memory of `two_reads` */
}

/* Of as many bytes as our key has; the others' separator and a scheme cost nothing here. */
static inline uint64_t
hash(const struct query *q)
{
	size_t len = hashed_len(q);

	return siphash13(0x0706050403020100u, 0x0f0e0d0c0b0a0908u, len, q->key + q->key_len - len, len);
}

static inline uint64_t
slot(const struct query *q)
{
	return slots[(uint64_t)(((unsigned __int128)hash(q) * nslots) >> 64)];
}

static uint64_t
find_two_reads(const struct query *q)
{
	return 1 + (uint64_t)(unsigned char)records[slot(q)];
}

static uint64_t
find_one_read(const struct query *q)
{
	return 1 + slot(q);
}

static uint64_t
find_hash(const struct query *q)
{
	return 1 + (hash(q) >> 1);
}

static void
close_nothing(void)
{
}

const struct subject subject_hash = { "hash", build_nothing, find_hash, close_nothing, 0, 1, false, true };
const struct subject subject_one_read = { "one_read", build_nothing, find_one_read, close_nothing, 0, 1, false, true };
const struct subject subject_two_reads = { "two_reads", build, find_two_reads, close_nothing, 0, 1, false, true };

/* SPDX-License-Identifier: BSD-2-Clause */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "segment.h"
#include "siphash.h"

/* Slots 2/3 full and a 64-bit word each; a record is 8 bytes, realm and host, rounded up to 4. */
static struct memory {
	const uint64_t	*slots;
	const char	*records;
} huge, small;
static uint64_t nslots, nrecord_bytes;
#define LONGEST	1024	/* no record is longer */

/* Memory of the same kind as the table's: a file's, mapped shared and read-only; in huge pages where those can be had. */
static void *
map_file(const char *dir, const char *name, uint64_t len, bool is_huge, void **writable)
{
	struct mapping to_write, to_read;
	int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), error;

	if (dirfd < 0)
		die(dir, errno);
	len = round_up(len, SEGMENT_HUGE);
	/* what is reserved is in huge pages, what is written without that is not */
	if ((error = segment_create(&to_write, dirfd, name, len, is_huge ? len : 1, (gid_t)-1)) != 0)
		die(name, error);
	if ((error = segment_map(&to_read, dirfd, geteuid(), name, len)) != 0)
		die(name, error);
	close(to_write.fd);
	close(dirfd);
	*writable = to_write.base;
	return to_read.base;
}

static size_t
hashed_len(const struct query *q)
{
	return q->key_len - 1u - (q->parsed.scheme.len + 3);
}

static void
fill(struct memory *m, const char *dir, bool is_huge)
{
	uint64_t state = 1, *slots;
	char *records;

	m->records = map_file(dir, is_huge ? "limit.records" : "limit.small.records", nrecord_bytes, is_huge, (void **)&records);
	for (uint64_t i = 0; i < nrecord_bytes; i += 64)
		records[i] = (char)i;
	munmap(records, nrecord_bytes);
	m->slots = map_file(dir, is_huge ? "limit.slots" : "limit.small.slots", nslots * 8, is_huge, (void **)&slots);
	for (uint64_t i = 0; i < nslots; i++)
		slots[i] = (random_next(&state) % (nrecord_bytes - LONGEST)) & ~3ull;
	munmap(slots, nslots * 8);
}

static void
measure_table(const struct workload *w)
{
	struct query q;

	nrecord_bytes = LONGEST;
	for (uint64_t i = 0; i < w->origins; i++) {
		workload_row(w, i, &q);
		nrecord_bytes += (8 + hashed_len(&q) + 3) & ~3ull;
	}
	nslots = (w->origins * 3 / 2 + 7) & ~7ull;
}

static uint64_t
build_huge(const struct workload *w, const struct subject_options *opt)
{
	measure_table(w);
	fill(&huge, opt->dir, true);
	return nslots * 8 + nrecord_bytes;
}

static uint64_t
build_small(const struct workload *w, const struct subject_options *opt)
{
	measure_table(w);
	fill(&small, opt->dir, false);
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
slot(const struct memory *m, const struct query *q)
{
	return m->slots[(uint64_t)(((unsigned __int128)hash(q) * nslots) >> 64)];
}

/* Its first and its last byte: a record may lie in two cache lines, and all of it is compared. */
static inline uint64_t
read_record(const struct memory *m, const struct query *q)
{
	const char *record = m->records + slot(m, q);

	return 1 + (uint64_t)(unsigned char)(record[0] + record[7 + hashed_len(q)]);
}

static uint64_t
find_two_reads(const struct query *q)
{
	return read_record(&huge, q);
}

static uint64_t
find_two_small_reads(const struct query *q)
{
	return read_record(&small, q);
}

static uint64_t
find_one_read(const struct query *q)
{
	return 1 + slot(&huge, q);
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
const struct subject subject_two_reads = { "two_reads", build_huge, find_two_reads, close_nothing, 0, 1, false, true };
const struct subject subject_two_small_reads = { "two_small_reads", build_small, find_two_small_reads, close_nothing, 0, 1, false, true };

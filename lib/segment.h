/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * segment -- the files of the shared table: created, mapped, reserved,
 * removed. The only place in the table that knows mmap(2).
 *
 * Files are relative to a directory descriptor. Readers trust a file only if
 * it is a regular file, reached without a symbolic link, owned by the same
 * user as the directory, and writable by nobody else; and the directory only
 * if it is root's, our own, or in a place where strangers make no names, and
 * if root or we own the directory around that place.
 * Calls return 0 or -errno and leave their results alone on failure.
 */
#ifndef SEGMENT_H
#define SEGMENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SEGMENT_NAME	80	/* bytes of a file name, NUL included */
#define SEGMENT_HUGE	(2u << 20)	/* a huge page of most machines; where it is not, none is gained */

static inline uint64_t
round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

struct mapping {
	void	*base;		/* NULL: nothing mapped */
	uint64_t len;
	int	 fd;		/* -1 for readers: the map is all they keep */
};

/* Names: of a table's root, of a shard's and of the policies' generation. */
void	 segment_name_root(char name[SEGMENT_NAME], uint64_t table);
void	 segment_name_shard(char name[SEGMENT_NAME], uint64_t table, unsigned shard, uint64_t generation);
void	 segment_name_policies(char name[SEGMENT_NAME], uint64_t table, uint64_t generation);

/* A descriptor for <path>/v1, checked; *uid is its owner. -EPERM: strangers could have made it. */
int	 segment_directory(const char *path, int *dirfd, uid_t *uid);
#define SEGMENT_DISTRUST	"the table is not trusted: others than root and this user may change v1, table.path or " \
				"the directory around it (chown, chmod go-w)"
/* Maps an existing file read-only. min: refuse a shorter one. */
int	 segment_map(struct mapping *m, int dirfd, uid_t uid, const char *name, uint64_t min);
/* Maps it read-write and keeps the descriptor. */
int	 segment_map_writable(struct mapping *m, int dirfd, const char *name, uint64_t min);
/*
 * A new sparse file of a size that never changes; the first `reserve` bytes
 * are backed by memory (-ENOSPC when there is none: nothing is left behind).
 * A leftover of the same name is removed. Mode 0640, group if not -1.
 */
int	 segment_create(struct mapping *m, int dirfd, const char *name, uint64_t size, uint64_t reserve, gid_t group);
/* Backs [from, from+len) with memory before anybody touches it; whole huge pages in it are such, as below. */
int	 segment_reserve(struct mapping *m, uint64_t from, uint64_t len);
/*
 * Puts [from, from+len), both multiples of SEGMENT_HUGE, into huge pages where the kernel has some; nothing
 * depends on it. Before anybody else maps them: whoever reads meanwhile waits.
 */
void	 segment_collapse(struct mapping *m, uint64_t from, uint64_t len);
void	 segment_unmap(struct mapping *m);
/*
 * Takes the name away. The memory goes with the last map: never from under a
 * reader, for whom a page that was taken away is SIGBUS where the tmpfs is full.
 */
void	 segment_remove(int dirfd, const char *name);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * wholefile -- a file to be mapped, of a fixed size and layout, that appears
 * under its name only when it is complete, and never changes its size.
 *
 * It begins with its header. A file with another header, left by another
 * version, is -EPROTO to whoever opens it, and is replaced by wholefile_create():
 * those who still have it mapped go on where nobody looks.
 */
#ifndef WHOLEFILE_H
#define WHOLEFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wholefile {
	uint64_t	 magic;
	uint64_t	 layout;	/* anything that moves a byte changes it */
};

/* The descriptor, or -errno. */
int	 wholefile_open(int dirfd, const char *name, int flags, const struct wholefile *want, size_t size);

/* What it failed with says that nothing which could be used is there. */
bool	 wholefile_is_unusable(int error);

/*
 * Likewise; makes it, all zeros behind the header, 0660 whatever the umask.
 * The caller holds the directory's lock (dirlock.h).
 */
int	 wholefile_create(int dirfd, const char *name, const struct wholefile *header, size_t size);

/* Opens it to read and write, and makes it where there is none to use. The caller holds the directory's lock. */
int	 wholefile_open_or_create(int dirfd, const char *name, const struct wholefile *header, size_t size);

#endif

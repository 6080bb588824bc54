/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * revoked -- what cachectl revoke refuses, and the file in which that survives
 * restarts: the truth, of which the table is a copy.
 *
 * The file is text, a line each, and ends with a sum; it is written whole
 * beside the old one, synced, and renamed. Damage is an error and never a
 * shorter list.
 *
 * A duration counts by CLOCK_BOOTTIME as long as the machine is up, whatever
 * the clock on the wall does; after a boot, what is left by that clock.
 */
#ifndef REVOKED_H
#define REVOKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "origin.h"

#define REVOKED_NOTE_MAX	200		/* bytes, none of them a control character */
#define REVOKED_FOR_MAX		315360000	/* seconds: ten years */
#define REVOKED_NOBODY		UINT32_MAX	/* uid: it is not known who */

struct revocation {
	struct span	 realm;
	struct span	 origin;	/* an origin or a pattern, as rows have it */
	struct span	 note;
	int64_t		 since_s;	/* since 1970 */
	int64_t		 until_s;	/* 0: until it is restored */
	int64_t		 ends_ms;	/* of CLOCK_BOOTTIME; 0: never */
	uint32_t	 uid;		/* of whoever did it */
};

struct revoked;

struct revoked	*revoked_new(void);		/* NULL: no memory */
void		 revoked_free(struct revoked **set);
size_t		 revoked_count(const struct revoked *set);
const struct revocation	*revoked_get(const struct revoked *set, struct span realm, struct span origin);
/* Copies; replaces the one of that key. -ENOMEM, -EINVAL: no row could be called so. */
int		 revoked_put(struct revoked *set, const struct revocation *r);
bool		 revoked_remove(struct revoked *set, struct span realm, struct span origin);
/* In no order; the set must not change meanwhile. */
void		 revoked_each(const struct revoked *set, void (*each)(const struct revocation *r, void *arg), void *arg);
/* One whose time is over; NULL: none. */
const struct revocation	*revoked_over(const struct revoked *set);

/* Begins now, for that many seconds; 0: until it is restored. */
void		 revocation_begin(struct revocation *r, int64_t seconds);
bool		 revoked_note_is_valid(struct span note);

/* An absent file is an empty set. -errno; -EBADMSG: it is damaged. */
int		 revoked_read(struct revoked *set, const char *path);
int		 revoked_write(const struct revoked *set, const char *path, gid_t group);

#endif

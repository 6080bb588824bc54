/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * subject -- one way to find the policy of (realm, origin): ours, a limit that
 * the hardware sets, or what somebody else would use. All answer the same
 * questions about the same workload, one at a time.
 */
#ifndef SUBJECT_H
#define SUBJECT_H

#include <stdint.h>

#include "workload.h"

struct subject_options {
	const char	*dir;		/* private, on the file system the table would be on */
	const char	*postgres;	/* conninfo of a private server, or NULL */
};

struct subject {
	const char	*name;
	/* Fills itself; die()s on trouble. Returns the bytes it occupies. */
	uint64_t	 (*build)(const struct workload *w, const struct subject_options *opt);
	/* A policy's number + 1, or 0: nothing found. */
	uint64_t	 (*find)(const struct query *q);
	void		 (*close)(void);
	uint64_t	 most_origins;	/* it is hopeless beyond; 0 = no bound */
	unsigned	 slowness;	/* does one look-up in so many */
	bool		 is_exact;	/* knows nothing of patterns */
	bool		 is_limit;	/* finds nothing in fact */
};

/* Ours: origin_parse + reader_find + reader_is_current, as answer() does; and the last two alone. */
extern const struct subject	 subject_ours, subject_ours_find;
/*
 * What the layout cannot beat: hash the key, then one or two dependent reads
 * at random over as many bytes as the slots and the records occupy, in the
 * kind of memory that the table has. Small: in pages of 4 KiB, as a program has
 * that does not care.
 */
extern const struct subject	 subject_hash, subject_one_read, subject_two_reads, subject_two_small_reads;
extern const struct subject	 subject_lmdb, subject_glib, subject_list, subject_postgres;

#endif

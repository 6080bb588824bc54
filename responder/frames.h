/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * frames -- the records of FastCGI requests, taken apart as their bytes arrive.
 *
 * Pure: no I/O, no allocation; bytes may come in any pieces. What it lets
 * through is short and sane: the parameters of one request as one stream, in
 * which every length lies within the stream. All else is skipped, answered by
 * the caller, or the end of the connection.
 */
#ifndef FRAMES_H
#define FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAMES_HEAD		8		/* bytes of a record's head */
#define FRAMES_MAX_CONTENT	65535		/* bytes of a record's content */
#define FRAMES_MAX_PARAMETERS	(512 << 10)	/* bytes of a request's parameters */
#define FRAMES_MAX_SKIPPED	(1 << 20)	/* bytes of its body and of all that is not for us */
#define FRAMES_MAX_VALUES	128		/* bytes of a management record */

enum frames_type {
	FRAMES_BEGIN_REQUEST = 1, FRAMES_ABORT_REQUEST, FRAMES_END_REQUEST, FRAMES_PARAMS, FRAMES_STDIN,
	FRAMES_STDOUT, FRAMES_STDERR, FRAMES_DATA, FRAMES_GET_VALUES, FRAMES_GET_VALUES_RESULT, FRAMES_UNKNOWN_TYPE
};

enum frames_role { FRAMES_RESPONDER = 1, FRAMES_AUTHORIZER, FRAMES_FILTER };

enum frames_event {
	FRAMES_MORE,		/* all was taken, more is needed */
	FRAMES_REQUEST,		/* its parameters are whole; of a responder the body may still come */
	FRAMES_END,		/* the request is over, with its body */
	FRAMES_MANAGEMENT,	/* a management record: type, small, content */
	FRAMES_MULTIPLEXED,	/* another request, other_id, began before this one was over */
	FRAMES_ABORTED,		/* nobody wants the answer any more */
	FRAMES_BAD,		/* no FastCGI, or lengths that lie */
	FRAMES_TOO_MUCH		/* more bytes than a request may have */
};

struct frames {
	enum { FRAMES_IDLE, FRAMES_IN_PARAMETERS, FRAMES_ASKED, FRAMES_IN_BODY } state;
	uint16_t	 id;			/* of the request */
	uint8_t		 role;			/* enum frames_role */
	bool		 keep;			/* the connection, when the request is over */
	uint16_t	 other_id;
	uint8_t		 type;			/* of the record at hand */
	bool		 is_ours;		/* it is one of the request's, or management */
	unsigned	 nhead;			/* bytes of its head that are here */
	uint8_t		 head[FRAMES_HEAD];
	uint32_t	 content, padding;	/* bytes of it that are still to come */
	uint32_t	 nsmall;
	uint8_t		 small[FRAMES_MAX_VALUES];	/* content of BEGIN_REQUEST and of management */
	uint8_t		*parameters;		/* the caller's: room for as many bytes as are handed over */
	size_t		 nparameters;
	size_t		 nskipped;
};

/* Takes bytes up to the next event; *used says how many. Not to be called again behind the last three. */
enum frames_event	 frames_take(struct frames *f, const uint8_t *in, size_t len, size_t *used);

/* No request has begun, nor any record. */
static inline bool
frames_is_idle(const struct frames *f)
{
	return f->state == FRAMES_IDLE && f->nhead == 0;
}

/* Every name and value lies within the stream. */
bool	 frames_parameters_are_sane(const uint8_t *at, size_t len);

/* Into head: a record's head. */
void	 frames_head(uint8_t head[FRAMES_HEAD], enum frames_type type, uint16_t id, size_t len);

#define FRAMES_MAX_RESULT	(FRAMES_HEAD + 3 * (2 + 15 + 1))

/* The answer to the management record at hand, and its length. */
size_t	 frames_management(const struct frames *f, uint8_t out[FRAMES_MAX_RESULT]);

#endif

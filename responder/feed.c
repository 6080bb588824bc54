/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libfcgi reads with OS_Read(), one of its own symbols. Where a program defines
 * a symbol, the dynamic linker takes the program's, so that ours is called. A
 * request is read from a descriptor that was set beforehand (FCGX_Request.ipcFd).
 * Both are habits, not promises: configure looks for the member,
 * tests/unit/check_fcgi.c and feed_init() for the behaviour.
 */
#include "feed.h"

#include <errno.h>
#include <fcgios.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/uio.h>

#include "frames.h"

#define NO_DESCRIPTOR	INT_MAX		/* is never open; below 0 libfcgi would accept a connection */

/* What this thread's libfcgi reads next. */
static _Thread_local struct {
	struct iovec	 piece;
	uint8_t		 head[FRAMES_HEAD];
	const uint8_t	*at;		/* parameters behind the piece */
	size_t		 left;
	size_t		 content;	/* of them, in the record whose head was the piece */
	bool		 is_done;	/* the record that ends them was the piece */
} feed;

static void
next_piece(void)
{
	if (feed.content > 0) {
		feed.piece = (struct iovec){ (void *)(uintptr_t)feed.at, feed.content };
		feed.at += feed.content;
		feed.content = 0;
	} else if (!feed.is_done) {
		feed.content = feed.left < FRAMES_MAX_CONTENT ? feed.left : FRAMES_MAX_CONTENT;
		feed.left -= feed.content;
		feed.is_done = feed.content == 0;
		frames_head(feed.head, FRAMES_PARAMS, 1, feed.content);
		feed.piece = (struct iovec){ feed.head, FRAMES_HEAD };
	}
}

/* In place of libfcgi's. 0 is the end: it asks for no more than there is. */
int
OS_Read(int fd, char *buf, size_t len)
{
	(void)fd;
	if (feed.piece.iov_len == 0)
		next_piece();
	if (len > feed.piece.iov_len)
		len = feed.piece.iov_len;
	memcpy(buf, feed.piece.iov_base, len);
	feed.piece.iov_base = (uint8_t *)feed.piece.iov_base + len;
	feed.piece.iov_len -= len;
	return (int)len;
}

int
feed_parameters(FCGX_Request *r, const uint8_t *at, size_t len)
{
	static const uint8_t begin[] = { 1, FRAMES_BEGIN_REQUEST, 0, 1, 0, 8, 0, 0, 0, FRAMES_RESPONDER, 0, 0, 0, 0, 0, 0 };
	int error;

	feed.piece = (struct iovec){ (void *)(uintptr_t)begin, sizeof begin };
	feed.at = at;
	feed.left = len;
	feed.content = 0;
	feed.is_done = false;
	r->ipcFd = NO_DESCRIPTOR;
	r->keepConnection = 1;	/* or FCGX_Accept_r() closes ipcFd to begin with */
	FCGX_Detach(r);		/* no shutdown(2), and no 2 s of waiting for the peer */
	error = FCGX_Accept_r(r);
	/* It is 0 for a request that broke off in its parameters, too. */
	if (error == 0 && FCGX_GetError(r->in) == 0)
		return 0;
	if (error == 0)
		feed_release(r);
	r->ipcFd = -1;
	return -EPROTO;
}

void
feed_release(FCGX_Request *r)
{
	FCGX_Free(r, 0);
	r->ipcFd = -1;
}

int
feed_init(void)
{
	static const uint8_t probe[] = { 1, 1, 'A', 'B' };
	FCGX_Request r;
	const char *value;
	bool is_read;

	if (FCGX_Init() != 0 || FCGX_InitRequest(&r, -1, 0) != 0)
		return -EIO;
	if (feed_parameters(&r, probe, sizeof probe) != 0)
		return -ENOTSUP;
	value = FCGX_GetParam("A", r.envp);
	is_read = value != NULL && strcmp(value, "B") == 0;
	feed_release(&r);
	return is_read ? 0 : -ENOTSUP;
}

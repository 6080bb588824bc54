/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listener -- the socket that web servers connect to: inherited (fd 0 from
 * spawn-fcgi, lighttpd or systemd; systemd's LISTEN_FDS), or bound by ourselves.
 *
 * Whoever can write to it speaks for every realm, so it is a unix socket, 0660.
 */
#ifndef LISTENER_H
#define LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct listener {
	int		 fd;		/* O_NONBLOCK, FD_CLOEXEC */
	bool		 is_ours;	/* bound here: nobody else accepts from it */
	const char	*path;		/* the caller's; only if is_ours, likewise dev and ino */
	dev_t		 dev;
	ino_t		 ino;
};

struct listener_options {
	const char	*path;		/* where to bind if nothing was inherited */
	const char	*group;		/* "" = the group of the process */
	int		 backlog;
};

/* 0, or an exit status of sysexits.h and what to say in err. */
int	 listener_open(struct listener *l, const struct listener_options *opt, char *err, size_t errlen);

/* Takes the path away, if the socket is ours and still there. Waiting connections stay. */
void	 listener_unlink(struct listener *l);
void	 listener_close(struct listener *l);

#endif

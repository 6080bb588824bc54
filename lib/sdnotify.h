/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sdnotify -- the readiness protocol of sd_notify(3), always compiled, no
 * library: a datagram to $NOTIFY_SOCKET. Every call is a no-op (0) without it.
 */
#ifndef SDNOTIFY_H
#define SDNOTIFY_H

#include <stdint.h>

int	 sdnotify(const char *state);		/* "READY=1\nSTATUS=..."; 0 or -errno */
int	 sdnotify_status(const char *text);		/* STATUS=text; control characters become spaces */
int	 sdnotify_reloading(void);		/* RELOADING=1 with MONOTONIC_USEC */
uint64_t sdnotify_watchdog_us(void);		/* $WATCHDOG_USEC if it is for this pid, else 0 */
/* $LISTEN_FDS for this pid: how many descriptors start at 3; unsets the variables. */
int	 sdnotify_listen_fds(void);

#endif

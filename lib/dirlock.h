/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dirlock -- a lock for the moment in which a name in a directory is examined
 * and replaced. It is the directory itself that is locked: nothing is left behind.
 */
#ifndef DIRLOCK_H
#define DIRLOCK_H

/*
 * The descriptor that holds the lock, until close(2), or -errno. Waits at most
 * wait_ms for another holder: -EWOULDBLOCK after that.
 */
int	 dirlock_take(const char *dir, int wait_ms);

#endif

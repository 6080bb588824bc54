/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * feed -- libfcgi reads the parameters of a request from memory.
 *
 * It gets them when all are there and their lengths are sane (frames.h), in the
 * shortest form that a request has. It has no descriptor: what a peer sends, and
 * how slowly, never reaches it.
 */
#ifndef FEED_H
#define FEED_H

#include <fcgiapp.h>
#include <stddef.h>
#include <stdint.h>

/* Once, before threads: 0, or -ENOTSUP where this libfcgi reads elsewhere. */
int	 feed_init(void);

/* r->envp is the parameters until feed_release(). 0 or -EPROTO: then there is nothing to release. */
int	 feed_parameters(FCGX_Request *r, const uint8_t *at, size_t len);
void	 feed_release(FCGX_Request *r);

#endif

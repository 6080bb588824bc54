/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pages -- what the responder says about itself where the web server asks for
 * it with CORS_PAGE: `ready`, `status` (JSON), `metrics` (Prometheus text), `html`.
 * For operators and scrapers, not for every request: pages allocate.
 */
#ifndef PAGES_H
#define PAGES_H

#include "reply.h"

/* The whole answer, status line and all; rp->page owns the bytes. */
struct span	 page_build(struct replier *rp, const struct facts *f, int64_t now_s);

/*
 * NULL when requests are answered from a table in force and fresh enough, else
 * why not; the words live until the next call with r.
 */
const char	*page_not_ready(struct reader *r, int64_t max_stale_s, int64_t now_s);

#endif

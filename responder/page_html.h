/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * page_html -- the page for people (CORS_PAGE=html): health, figures, charts,
 * and a form that explains an origin. One document without scripts and without
 * anything from elsewhere; its Content-Security-Policy holds it to that.
 */
#ifndef PAGE_HTML_H
#define PAGE_HTML_H

#include <stdio.h>

#include "reply.h"

/* Header and body. 0, or -1: out of memory. */
int	 page_html_write(FILE *out, struct replier *rp, const struct facts *f);

#endif

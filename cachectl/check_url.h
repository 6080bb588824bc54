/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check_url -- cachectl check --url: the requests of a browser, put to the real
 * web server, and its answers held against what the table says.
 */
#ifndef CHECK_URL_H
#define CHECK_URL_H

#include "explain.h"

struct call;

/*
 * asked: what --header names, one line. EXIT_YES: all as the table says,
 * EXIT_NO: something differs, EXIT_FAILED: no answer, or no table.
 */
int	 check_url(const struct call *call, struct reader *r, struct span realm, const char *asked);

/* Before the table is opened: are the options right? EXIT_YES or EXIT_MISUSED, complained about. */
int	 check_url_options(const struct call *call);

#endif

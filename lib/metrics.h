/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * metrics -- everything that corscache counts, as Prometheus text (format
 * 0.0.4). One writer for the responder's page and for cachectl. Nothing that a
 * request carried is ever a label.
 */
#ifndef METRICS_H
#define METRICS_H

#include <stdio.h>

#include "counters.h"
#include "reader.h"

/* 0, or -1 when out has failed. */
int	 metrics_write(FILE *out, const struct counters_sum *sum, const struct table_info *ti,
	    const struct status *st);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>

#include "cachectl.h"
#include "metrics.h"
#include "output.h"
#include "watch.h"

/* As CORS_PAGE=metrics: what is not there is zero, so that a scraper sees it from the start. */
int
cmd_metrics(const struct call *call)
{
	const char *path = call->config->table_path;
	struct counters_sum sum;
	struct table_info info;
	struct status status;
	struct reader *r;
	int error;

	if (call->json) {
		complain("metrics are Prometheus text; cachectl stats --json and status --json have the figures");
		return EXIT_MISUSED;
	}
	if (watch_look(call, &sum) != EXIT_YES)
		return EXIT_FAILED;
	error = reader_open(&r, path);
	if (error != 0) {
		complain("%s: %s", path, strerror(-error));
		return EXIT_FAILED;
	}
	reader_info(r, &info);
	reader_status(r, &status);
	reader_close(&r);
	metrics_write(stdout, &sum, &info, &status);
	return EXIT_YES;
}

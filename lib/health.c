/* SPDX-License-Identifier: BSD-2-Clause */
#include "health.h"

#include <stddef.h>
#include <string.h>

/* A loop that has not turned for this long hangs. */
#define HEARTBEAT_LATE_MS	10000

static bool
look(struct health *h, bool is_wrong, const char *what, const char *next)
{
	if (is_wrong)
		h->problems[h->nproblems++] = (struct problem){ what, next };
	return is_wrong;
}

/* A responder was here once; a table without any is nobody's fault. */
static bool
has_counted(const struct counters_sum *sum)
{
	return sum->cell[offsetof(struct counters, connections) / sizeof(uint64_t)] > 0;
}

static void
diagnose(struct health *h, int64_t max_stale_s)
{
	const struct status *s = &h->sync;
	bool is_alive = h->table.writer_alive;

	h->is_static = strncmp(h->table.source, "file ", 5) == 0 && !is_alive;
	h->refuses_all |= look(h, !h->table.ready, "there is no table yet: every origin is refused",
	    "corscache-syncd publishes it after its first snapshot: start it, or read its log");
	h->refuses_all |= look(h, h->table.revocations_lost,
	    "the file of what cachectl revoke refused cannot be read: every origin is refused",
	    "cachectl revoke --list says why; mend it and start corscache-syncd anew, or begin with none: cachectl restore --all");
	h->refuses_all |= look(h, h->table.held_all && !h->table.revocations_lost,
	    "cachectl invalidate --all is in force: every origin is refused",
	    "it ends when corscache-syncd has loaded the whole table again; cachectl resync asks for that");
	h->refuses_all |= look(h, status_is_stale(s, max_stale_s, h->now_ms),
	    "the table is older than responder.max_stale_s: every origin is refused",
	    "get corscache-syncd to its database again, or raise responder.max_stale_s and send SIGHUP to the responder");
	look(h, !h->is_static && !is_alive, "corscache-syncd does not run: the table stays as it is",
	    "start corscache-syncd; cachectl revoke refuses origins meanwhile");
	look(h, is_alive && h->now_ms - s->heartbeat_at > HEARTBEAT_LATE_MS, "corscache-syncd hangs: no heartbeat",
	    "restart corscache-syncd; the table stays in force meanwhile");
	look(h, is_alive && !s->connected, "the database is not connected: the table stays as it is",
	    "corscache-syncd tries again for ever, and its log says what failed");
	look(h, s->left_out > 0, "rows of the database are not in force: they were left out",
	    "cachectl lint says which and why, and has the SQL that mends them");
	look(h, h->counters.owners == 0 && has_counted(&h->counters), "corscache-responder does not run: nobody answers",
	    "start corscache-responder; where systemd holds its socket, requests wait in its queue");
	look(h, h->table.problem[0] != '\0', h->table.problem, "the log of corscache-syncd has the details");
}

void
health_read(struct health *h, struct reader *r, const char *path, int64_t max_stale_s, int64_t now_ms)
{
	*h = (struct health){ .now_ms = now_ms };
	reader_info(r, &h->table);
	reader_status(r, &h->sync);
	h->counters_error = counters_sum(path, &h->counters);
	diagnose(h, max_stale_s);
}

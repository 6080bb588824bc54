/* SPDX-License-Identifier: BSD-2-Clause */
#include "page_html.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "page_parts.h"
#include "page_style.h"

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void
page_put_count(const struct page *p, const char *before, uint64_t n, const char *after)
{
	char count[HUMAN_MAX];

	fprintf(p->out, "%s%s%s", before, human_count(count, n), after);
}

static void
put_ago(const struct page *p, const char *before, int64_t at_ms, const char *after)
{
	char duration[HUMAN_MAX];

	if (at_ms == 0)
		fprintf(p->out, "%snever%s", before, after);
	else
		fprintf(p->out, "%s%s ago%s", before, human_duration(duration, p->health.now_ms - at_ms), after);
}

void
page_put_code(const struct page *p, struct span text)
{
	fputs("<code>", p->out);
	html_text(p->out, text);
	fputs("</code>", p->out);
}

/* ---- health ---- */

static void
write_verdict(const struct page *p)
{
	const struct health *h = &p->health;
	const char *class = h->refuses_all ? "refusing" : h->nproblems > 0 ? "ailing" : "well", *title, *sentence;

	if (h->refuses_all) {
		title = h->table.ready ? h->table.held_all ? "Held" : "Stale" : "Not ready";
		sentence = "Every origin is refused.";
	} else if (h->nproblems > 0) {
		title = "Needs attention";
		sentence = "Requests are answered from the last good table.";
	} else {
		title = "Ready";
		sentence = h->is_static ? "Requests are answered from a table that was loaded from a file." :
		    "Requests are answered from a table that equals the database.";
	}
	fprintf(p->out, "<section class=\"health %s\" aria-labelledby=health><h2 id=health>%s</h2><p>%s</p>", class,
	    title, sentence);
}

static void
write_health(const struct page *p)
{
	const struct health *h = &p->health;
	size_t i;

	write_verdict(p);
	if (h->nproblems > 0)
		fputs("<ul>", p->out);
	for (i = 0; i < h->nproblems; i++) {
		fputs("<li>", p->out);
		html_text(p->out, span_of(h->problems[i].what));
		fprintf(p->out, ".<br><span class=soft>Next: %s.</span></li>", h->problems[i].next);
	}
	if (h->nproblems > 0)
		fputs("</ul>", p->out);
	if (h->counters_error != 0)
		fprintf(p->out, "<p class=bad>The counters cannot be read: %s.</p>", counters_strerror(h->counters_error));
	fputs("</section>\n", p->out);
}

/* ---- a row of figures ---- */

static void
write_fresh_tile(const struct page *p)
{
	const struct health *h = &p->health;

	put_ago(p, "<section class=tile><h2>Last equal to the database</h2><p class=big>", h->sync.fresh_at, "</p><p>");
	fprintf(p->out, "%s</p></section>\n", h->is_static ? "when a file was loaded" : !h->table.writer_alive ?
	    "nobody keeps it equal now" : !h->sync.connected ? "not connected now" : h->sync.listening ?
	    "connected, told of each change" : "connected, asking for changes");
}

static void
write_rows_tile(const struct page *p)
{
	const struct table_info *t = &p->health.table;
	char bytes[HUMAN_MAX];

	page_put_count(p, "<section class=tile><h2>Rows in the table</h2><p class=big>", t->rows, "</p><p>");
	page_put_count(p, "", t->policies, t->policies == 1 ? " policy, " : " policies, ");
	fprintf(p->out, "%s</p></section>\n", human_bytes(bytes, t->bytes));
}

/* ---- synchronisation, table, responders ---- */

static void
put_fact(const struct page *p, const char *name, uint64_t n)
{
	fprintf(p->out, "<dt>%s</dt>", name);
	page_put_count(p, "<dd>", n, "</dd>");
}

static void
write_session(const struct page *p)
{
	const struct status *s = &p->health.sync;

	fputs("<dt>Source</dt><dd>", p->out);
	page_put_code(p, span_of(p->health.table.source[0] != '\0' ? p->health.table.source : "unknown"));
	fputs("</dd>", p->out);
	if (p->health.is_static)
		return;
	fprintf(p->out, "<dt>Database</dt><dd>%s%s%s%s</dd>", s->connected ? "connected" : "not connected",
	    s->listening ? ", listening" : ", polling only", s->in_recovery ? ", a hot standby" : "",
	    s->pooled ? ", behind a transaction pooler" : "");
}

static void
write_sync(const struct page *p)
{
	const struct health *h = &p->health;
	const struct status *s = &h->sync;
	char took[HUMAN_MAX];

	fputs("<section class=half aria-labelledby=sync><h2 id=sync>Synchronisation</h2><dl>", p->out);
	write_session(p);
	if (h->table.writer_alive)
		fprintf(p->out, "<dt>Writer</dt><dd>process %" PRId64, s->writer_pid);
	else
		fputs("<dt>Writer</dt><dd>none", p->out);
	put_ago(p, ", heartbeat ", s->heartbeat_at, "</dd>");
	put_ago(p, "<dt>Whole table</dt><dd>loaded ", s->snapshot_at, "");
	if (s->snapshot_at != 0) {
		page_put_count(p, ": ", (uint64_t)s->snapshot_rows, " rows in ");
		fputs(human_duration(took, s->snapshot_ms), p->out);
	}
	if (s->loading_rows > 0)
		page_put_count(p, "; loading: ", (uint64_t)s->loading_rows, " rows so far");
	put_ago(p, "</dd><dt>Audit</dt><dd>", s->audit_at, "");
	page_put_count(p, "; ", (uint64_t)s->audit_drift, " differences repaired</dd>");
	put_fact(p, "Changes applied", (uint64_t)s->changes);
	put_fact(p, "Sessions lost", (uint64_t)s->failures);
	put_fact(p, "Rows left out", (uint64_t)s->left_out);
	put_fact(p, "Rows held", (uint64_t)s->held);
	put_fact(p, "Revoked on this machine", (uint64_t)s->revoked);
	fputs("</dl></section>\n", p->out);
}

static void
put_counted(const struct page *p)
{
	put_fact(p, "Serving threads", p->health.counters.owners);
	put_fact(p, "Connections", COUNT(p, connections));
	put_fact(p, "Broken off", COUNT(p, protocol_errors));
	put_fact(p, "Not accepted", COUNT(p, accept_failures));
	put_fact(p, "Table errors", COUNT(p, table_errors));
	put_fact(p, "Pages", COUNT(p, pages));
}

static void
write_table(const struct page *p)
{
	const struct table_info *t = &p->health.table;
	char bytes[HUMAN_MAX], dead[HUMAN_MAX];

	fputs("<section class=half aria-labelledby=table><h2 id=table>Table and responders</h2><dl>", p->out);
	page_put_count(p, "<dt>Rows</dt><dd>", t->rows, "; ");
	page_put_count(p, "room for ", t->capacity, " before it grows</dd>");
	put_fact(p, "Policies", t->policies);
	fprintf(p->out, "<dt>Memory</dt><dd>%s, %s of it of replaced rows</dd>", human_bytes(bytes, t->bytes),
	    human_bytes(dead, t->dead_bytes));
	fprintf(p->out, "<dt>Generation</dt><dd>%" PRIu64 ", epoch %" PRIu64 ", %" PRIu32 " shard%s</dd>", t->table,
	    t->epoch, t->shards, t->shards == 1 ? "" : "s");
	if (p->health.counters_error == 0)
		put_counted(p);
	fputs("</dl></section>\n", p->out);
}

/* ---- the document ---- */

static void
write_head(const struct page *p)
{
	char when[HUMAN_MAX];

	fprintf(p->out, "Status: %s\r\nContent-Type: text/html; charset=utf-8\r\n"
	    "Content-Security-Policy: default-src 'none'; style-src 'sha256-" PAGE_STYLE_SHA256 "'; form-action 'self'; "
	    "base-uri 'none'; frame-ancestors 'none'\r\nX-Content-Type-Options: nosniff\r\n"
	    "Referrer-Policy: no-referrer\r\nCache-Control: no-store\r\n\r\n",
	    p->query == QUERY_OK ? "200 OK" : "400 Bad Request");
	fprintf(p->out, "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
	    "<meta name=viewport content=\"width=device-width, initial-scale=1\"><title>corscache: %s</title>\n",
	    p->health.refuses_all ? "refuses everything" : p->health.nproblems > 0 ? "needs attention" : "ready");
	fputs("<style>" PAGE_STYLE "</style></head>\n", p->out);
	fprintf(p->out, "<body><header><h1>corscache</h1><p>%s, version " PACKAGE_VERSION "</p>"
	    "<a href=\"\">Refresh</a></header>\n<main>\n", human_time(when, p->health.now_ms / 1000));
}

/* Of counters that cannot be read, which write_health() tells, no zeros are shown. */
static int
write_document(struct page *p)
{
	bool is_counted = p->health.counters_error == 0;
	int error;

	write_head(p);
	write_health(p);
	write_fresh_tile(p);
	write_rows_tile(p);
	if (is_counted) {
		page_write_request_tile(p);
		page_write_duration_tile(p);
	}
	error = page_write_explain(p);
	if (is_counted) {
		page_write_requests(p);
		page_write_durations(p);
		page_write_refusals(p);
	}
	page_write_refused(p);
	write_sync(p);
	write_table(p);
	fputs("</main><footer>Served by corscache-responder. The same figures and words come from "
	    "cachectl status, cachectl stats, cachectl refusals and cachectl check.</footer></body></html>\n", p->out);
	return error;
}

int
page_html_write(FILE *out, struct replier *rp, const struct facts *f)
{
	struct page *p = calloc(1, sizeof *p);
	int error;

	if (p == NULL)
		return -1;
	p->out = out;
	p->rp = rp;
	page_read_form(p, f);
	health_read(&p->health, rp->reader, rp->table_path, rp->settings.max_stale_s, now_ms());
	error = write_document(p);
	free(p);
	return error;
}

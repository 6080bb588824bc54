/* SPDX-License-Identifier: BSD-2-Clause */
#include "pages.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "metrics.h"
#include "page_html.h"
#include "utf8.h"

const char *
page_not_ready(struct reader *r, int64_t max_stale_s, int64_t now_s)
{
	struct table_info info;
	struct status st;

	reader_info(r, &info);
	if (!info.ready)
		return reason_sentence(REASON_NOT_READY);
	reader_status(r, &st);
	if (status_is_stale(&st, max_stale_s, now_s * 1000))
		return reason_sentence(REASON_STALE);
	return NULL;
}

static int
write_ready(FILE *out, struct replier *rp, int64_t now_s)
{
	const char *why = page_not_ready(rp->reader, rp->settings.max_stale_s, now_s);

	fprintf(out, "Status: %s\r\nContent-Type: text/plain\r\nCache-Control: no-store\r\n\r\n",
	    why == NULL ? "200 OK" : "503 Service Unavailable");
	return fprintf(out, why == NULL ? "ready\n" : "not ready: %s\n", why);
}

static int
write_metrics(FILE *out, struct replier *rp)
{
	struct counters_sum sum;
	struct table_info info;
	struct status st;
	int error = counters_sum(rp->table_path, &sum);

	/* Never zeros instead, as with no descriptor left: they would be a restart of all counters to who adds them up. */
	if (error != 0)
		return fprintf(out, "Status: 503 Service Unavailable\r\nContent-Type: text/plain\r\n"
		    "Cache-Control: no-store\r\n\r\nthe counters cannot be read: %s\n", counters_strerror(error));
	reader_info(rp->reader, &info);
	reader_status(rp->reader, &st);
	fputs("Status: 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
	    "Cache-Control: no-store\r\n\r\n", out);
	return metrics_write(out, &sum, &info, &st);
}

/* A database's own words, a file's name: any bytes. NULL where there are none. */
static json_t *
json_of_text(const char *text)
{
	size_t len;
	char *clean = text[0] != '\0' ? utf8_repaired(text, strlen(text), &len) : NULL;
	json_t *json = clean != NULL ? json_stringn_nocheck(clean, len) : NULL;

	free(clean);
	return json;
}

static json_t *
json_table(const struct table_info *ti)
{
	return json_pack("{sb sb sI sI sI sI sI sI sI si si sI sb so* so*}",
	    "ready", ti->ready, "held_all", ti->held_all,
	    "generation", (json_int_t)ti->table, "epoch", (json_int_t)ti->epoch,
	    "rows", (json_int_t)ti->rows, "policies", (json_int_t)ti->policies,
	    "capacity", (json_int_t)ti->capacity, "bytes", (json_int_t)ti->bytes,
	    "dead_bytes", (json_int_t)ti->dead_bytes, "shards", (int)ti->shards,
	    "layout", (int)ti->layout, "instance", (json_int_t)ti->instance,
	    "writer_alive", ti->writer_alive,
	    "problem", json_of_text(ti->problem), "source", json_of_text(ti->source));
}

static json_t *
json_sync(const struct status *st)
{
	json_t *object = json_object();

#define STATUS(name, kind, unit, help)	json_object_set_new(object, #name, json_integer(st->name));
#include "status.def"
#undef STATUS
	return object;
}

static json_t *
json_counters(const struct counters_sum *sum)
{
	json_t *object = json_object(), *reasons = json_object();
	size_t i, first = offsetof(struct counters, reason) / sizeof(uint64_t);

	for (i = 0; i < counter_ndescs; i++)
		json_object_set_new(object, counter_descs[i].name,
		    json_integer((json_int_t)sum->cell[counter_descs[i].offset / sizeof(uint64_t)]));
	for (i = 0; i < REASON_COUNT; i++)
		json_object_set_new(reasons, reason_token((enum reason)i),
		    json_integer((json_int_t)sum->cell[first + i]));
	json_object_set_new(object, "reasons", reasons);
	return object;
}

static json_t *
json_status(struct replier *rp, int64_t now_s)
{
	const char *why = page_not_ready(rp->reader, rp->settings.max_stale_s, now_s);
	struct counters_sum sum;
	struct table_info info;
	struct status st;
	int error = counters_sum(rp->table_path, &sum);

	reader_info(rp->reader, &info);
	reader_status(rp->reader, &st);
	return json_pack("{si ss ss sI si sb ss* so so so*}", "version", 1, "program", "corscache-responder",
	    "package_version", PACKAGE_VERSION, "now", (json_int_t)now_s, "pid", (int)getpid(),
	    "ready", why == NULL, "reason", why, "table", json_table(&info), "sync", json_sync(&st),
	    "counters", error == 0 ? json_counters(&sum) : NULL);
}

static int
write_status(FILE *out, struct replier *rp, int64_t now_s)
{
	json_t *status = json_status(rp, now_s);

	fputs("Status: 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n\r\n", out);
	if (status == NULL || json_dumpf(status, out, JSON_INDENT(2) | JSON_PRESERVE_ORDER) != 0) {
		json_decref(status);
		return -1;
	}
	json_decref(status);
	return fputs("\n", out);
}

static int
write_page(FILE *out, struct replier *rp, const struct facts *f, int64_t now_s)
{
	if (!span_is(f->cors.method, "GET") && !span_is(f->cors.method, "HEAD"))
		return fputs("Status: 405 Method Not Allowed\r\nAllow: GET, HEAD\r\n"
		    "Content-Type: text/plain\r\n\r\nGET only\n", out);
	if (f->npage == 1 && span_is(f->page, "ready"))
		return write_ready(out, rp, now_s);
	if (f->npage == 1 && span_is(f->page, "status"))
		return write_status(out, rp, now_s);
	if (f->npage == 1 && span_is(f->page, "metrics"))
		return write_metrics(out, rp);
	if (f->npage == 1 && span_is(f->page, "html"))
		return page_html_write(out, rp, f);
	return fputs("Status: 404 Not Found\r\nContent-Type: text/plain\r\n\r\n"
	    "CORS_PAGE is none of: ready status metrics html\n", out);
}

struct span
page_build(struct replier *rp, const struct facts *f, int64_t now_s)
{
	static const char failed[] = "Status: 503 Service Unavailable\r\nContent-Type: text/plain\r\n\r\n"
	    "out of memory\n";
	size_t len = 0;
	FILE *out;
	int error;

	count_add(&rp->counters->pages, 1);
	free(rp->page);
	rp->page = NULL;
	out = open_memstream(&rp->page, &len);
	if (out == NULL)
		return (struct span){ failed, sizeof failed - 1 };
	error = write_page(out, rp, f, now_s) < 0;
	if (fclose(out) != 0 || error)
		return (struct span){ failed, sizeof failed - 1 };
	return (struct span){ rp->page, len };
}

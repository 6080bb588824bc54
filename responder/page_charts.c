/* SPDX-License-Identifier: BSD-2-Clause */
#include "page_parts.h"

#include <inttypes.h>

uint64_t
page_cell(const struct page *p, size_t offset)
{
	return p->health.counters.cell[offset / sizeof(uint64_t)];
}

static uint64_t
reason_count(const struct page *p, unsigned reason)
{
	return page_cell(p, offsetof(struct counters, reason) + reason * sizeof(uint64_t));
}

static uint64_t
bucket_count(const struct page *p, unsigned bucket)
{
	return page_cell(p, offsetof(struct counters, duration) + bucket * sizeof(uint64_t));
}

static uint64_t
allowed(const struct page *p)
{
	return COUNT(p, preflights_allowed) + COUNT(p, actuals_allowed);
}

static uint64_t
refused(const struct page *p)
{
	return COUNT(p, preflights_refused) + COUNT(p, actuals_refused);
}

static uint64_t
answered(const struct page *p)
{
	return allowed(p) + refused(p) + COUNT(p, not_cors);
}

/* n of total, cut and not rounded: 100 % is all of them. */
static void
put_share(const struct page *p, uint64_t n, uint64_t total)
{
	uint64_t tenths = total > 0 ? (uint64_t)((double)n / (double)total * 1000) : 0;

	if (total == 0)
		fputs("–", p->out);
	else if (n == total)
		fputs("100 %", p->out);
	else
		fprintf(p->out, "%" PRIu64 ".%" PRIu64 " %%", tenths / 10, tenths % 10);
}

static uint64_t
durations(const struct page *p)
{
	uint64_t total = 0;
	unsigned i;

	for (i = 0; i < COUNTERS_BUCKETS; i++)
		total += bucket_count(p, i);
	return total;
}

/* "12.3 µs", "4.1 ms"; "–" for none. */
static const char *
microseconds(char buf[HUMAN_MAX], double us)
{
	if (us < 0)
		snprintf(buf, HUMAN_MAX, "–");
	else if (us < 999.5)
		snprintf(buf, HUMAN_MAX, "%.3g µs", us);
	else
		snprintf(buf, HUMAN_MAX, "%.3g ms", us / 1000);
	return buf;
}

/* Where a bucket ends; the last one has no end. */
static const char *
bucket_end(char buf[HUMAN_MAX], unsigned bucket)
{
	if (bucket < COUNTERS_BUCKETS - 1)
		return microseconds(buf, (double)(UINT64_C(1) << bucket));
	snprintf(buf, HUMAN_MAX, "over %.0f ms", (double)COUNTERS_LAST_US / 1000);
	return buf;
}

static const char *
quantile(char buf[HUMAN_MAX], const struct page *p, double share)
{
	double us = counters_quantile_us(&p->health.counters, NULL, share);

	return us < (double)COUNTERS_LAST_US ? microseconds(buf, us) : bucket_end(buf, COUNTERS_BUCKETS - 1);
}

/* ---- requests ---- */

void
page_write_request_tile(const struct page *p)
{
	page_put_count(p, "<section class=tile><h2>Requests answered</h2><p class=big>", answered(p), "</p><p>");
	if (allowed(p) + refused(p) == 0)
		fputs("no CORS request yet", p->out);
	else
		put_share(p, refused(p), allowed(p) + refused(p));
	fputs(allowed(p) + refused(p) == 0 ? "</p></section>\n" : " of CORS requests refused</p></section>\n", p->out);
}

static void
write_strip(const struct page *p, const uint64_t *counts, const char *const *names, size_t n)
{
	static const char *const classes[] = { "fg", "fb", "fr" };
	double total = 0, x = 0, width;
	size_t i;

	for (i = 0; i < n; i++)
		total += (double)counts[i];
	fputs("<svg class=strip viewBox=\"0 0 1000 1\" preserveAspectRatio=none aria-hidden=true>"
	    "<rect class=track width=1000 height=1 />", p->out);
	for (i = 0; i < n && total > 0; i++, x += width) {
		width = (double)counts[i] / total * 1000;
		fprintf(p->out, "<rect class=%s x=%.2f width=%.2f height=1><title>%s</title></rect>", classes[i], x, width,
		    names[i]);
	}
	fputs("</svg>\n", p->out);
}

static void
write_verdict_row(const struct page *p, const char *key, const char *name, uint64_t preflights, uint64_t actuals)
{
	fprintf(p->out, "<tr><th scope=row><span class=\"key %s\"></span>%s</th>", key, name);
	page_put_count(p, "<td>", preflights, "</td>");
	page_put_count(p, "<td>", actuals, "</td>");
	page_put_count(p, "<td>", preflights + actuals, "</td><td>");
	put_share(p, preflights + actuals, answered(p));
	fputs("</td></tr>\n", p->out);
}

void
page_write_requests(const struct page *p)
{
	static const char *const names[] = { "allowed", "refused", "without an Origin" };
	const uint64_t counts[] = { allowed(p), refused(p), COUNT(p, not_cors) };

	fputs("<section class=half aria-labelledby=requests><h2 id=requests>Requests</h2>\n", p->out);
	write_strip(p, counts, names, 3);
	fputs("<table><caption>Answered so far, by all responders</caption><thead><tr><th scope=col>Verdict</th>"
	    "<th scope=col>Preflights</th><th scope=col>Actual</th><th scope=col>Total</th><th scope=col>Share</th></tr>"
	    "</thead><tbody>\n", p->out);
	write_verdict_row(p, "kg", names[0], COUNT(p, preflights_allowed), COUNT(p, actuals_allowed));
	write_verdict_row(p, "kb", names[1], COUNT(p, preflights_refused), COUNT(p, actuals_refused));
	write_verdict_row(p, "kr", names[2], 0, COUNT(p, not_cors));
	fputs("</tbody></table></section>\n", p->out);
}

/* ---- refusals ---- */

/* Most frequent first; returns how many there are. */
static size_t
sort_refusals(const struct page *p, unsigned order[REASON_COUNT])
{
#define VERDICT_refuse	true
#define VERDICT_allow	false
#define VERDICT_none	false
#define REASON(name, token, verdict, sentence)	VERDICT_##verdict,
	static const bool is_refusal[] = {
#include "reasons.def"
	};
#undef REASON
	size_t n = 0, at;
	unsigned i;

	for (i = 0; i < REASON_COUNT; i++) {
		if (!is_refusal[i] || reason_count(p, i) == 0)
			continue;
		for (at = n++; at > 0 && reason_count(p, order[at - 1]) < reason_count(p, i); at--)
			order[at] = order[at - 1];
		order[at] = i;
	}
	return n;
}

void
page_write_refusals(const struct page *p)
{
	unsigned order[REASON_COUNT];
	size_t i, n = sort_refusals(p, order);

	fputs("<section class=third aria-labelledby=refusals><h2 id=refusals>Refusals by reason</h2>\n", p->out);
	if (n == 0)
		fputs("<p class=soft>No request has been refused.</p>", p->out);
	else
		fputs("<table class=reasons><thead class=unseen><tr><th scope=col>Reason</th><th scope=col>Bar</th>"
		    "<th scope=col>Requests</th></tr></thead><tbody>\n", p->out);
	for (i = 0; i < n; i++) {
		fprintf(p->out, "<tr><th scope=row>%s<small>%s</small></th><td><svg class=bar viewBox=\"0 0 1000 1\""
		    " preserveAspectRatio=none aria-hidden=true><rect class=track width=1000 height=1 />"
		    "<rect class=fb width=%.2f height=1 /></svg></td>", reason_token(order[i]), reason_sentence(order[i]),
		    (double)reason_count(p, order[i]) / (double)reason_count(p, order[0]) * 1000);
		page_put_count(p, "<td>", reason_count(p, order[i]), "</td></tr>\n");
	}
	fputs(n == 0 ? "</section>\n" : "</tbody></table></section>\n", p->out);
}

/* ---- durations ---- */

void
page_write_duration_tile(const struct page *p)
{
	char half[HUMAN_MAX], most[HUMAN_MAX];

	fprintf(p->out, "<section class=tile><h2>Half of them within</h2><p class=big>%s</p>"
	    "<p>99 of 100 within %s</p></section>\n", quantile(half, p, 0.5), quantile(most, p, 0.99));
}

#define COLUMN		26	/* of the histogram: its width with the gap, */
#define COLUMN_HEIGHT	76	/* its height, and where its foot is */
#define COLUMN_FOOT	80

static void
write_column(const struct page *p, unsigned bucket, uint64_t most)
{
	uint64_t n = bucket_count(p, bucket);
	double height = most > 0 ? (double)n / (double)most * COLUMN_HEIGHT : 0;
	char end[HUMAN_MAX];

	if (n > 0 && height < 1)
		height = 1;		/* a few are to be seen, too */
	fprintf(p->out, "<rect class=fl x=%u y=%.2f width=%d height=%.2f><title>", bucket * COLUMN + 1,
	    COLUMN_FOOT - height, COLUMN - 2, height);
	page_put_count(p, "", n, bucket == COUNTERS_BUCKETS - 1 ? " " : " within ");
	fprintf(p->out, "%s</title></rect>", bucket_end(end, bucket));
	if (bucket % 4 == 0)
		fprintf(p->out, "<path class=axis d=\"M%u %dv6\" /><text x=%u y=%d text-anchor=middle>%s</text>\n",
		    (bucket + 1) * COLUMN, COLUMN_FOOT, (bucket + 1) * COLUMN, COLUMN_FOOT + 20, end);
}

static void
write_duration_rows(const struct page *p)
{
	char end[HUMAN_MAX];
	unsigned i;

	fputs("<details><summary>In figures</summary><table><caption>Answers by duration, the shorter ones not counted"
	    " again</caption><thead><tr><th scope=col>Within</th><th scope=col>Answers</th></tr></thead><tbody>\n", p->out);
	for (i = 0; i < COUNTERS_BUCKETS; i++) {
		if (bucket_count(p, i) == 0)
			continue;
		fprintf(p->out, "<tr><th scope=row>%s</th>", bucket_end(end, i));
		page_put_count(p, "<td>", bucket_count(p, i), "</td></tr>\n");
	}
	fputs("</tbody></table></details>", p->out);
}

void
page_write_durations(const struct page *p)
{
	uint64_t most = 0, total = durations(p);
	char half[HUMAN_MAX], ninety[HUMAN_MAX], last[HUMAN_MAX], mean[HUMAN_MAX];
	unsigned i;

	for (i = 0; i < COUNTERS_BUCKETS; i++)
		most = bucket_count(p, i) > most ? bucket_count(p, i) : most;
	fprintf(p->out, "<section class=half aria-labelledby=durations><h2 id=durations>Time to answer</h2>\n"
	    "<svg viewBox=\"0 0 %d %d\" role=img aria-label=\"Histogram of the time to answer\">",
	    COUNTERS_BUCKETS * COLUMN, COLUMN_FOOT + 26);
	fprintf(p->out, "<path class=axis d=\"M0 %dH%d\" />", COLUMN_FOOT, COUNTERS_BUCKETS * COLUMN);
	for (i = 0; i < COUNTERS_BUCKETS; i++)
		write_column(p, i, most);
	fprintf(p->out, "</svg>\n<p class=hint>50 %% within %s, 90 %% within %s, 99 %% within %s",
	    quantile(half, p, 0.5), quantile(ninety, p, 0.9), quantile(last, p, 0.99));
	if (total > 0)
		fprintf(p->out, ", %s on average; pages included",
		    microseconds(mean, (double)COUNT(p, duration_ns) / (double)total / 1000));
	fputs(".</p>", p->out);
	if (total > 0)
		write_duration_rows(p);
	fputs("</section>\n", p->out);
}

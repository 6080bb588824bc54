/* SPDX-License-Identifier: BSD-2-Clause */
#include "page_parts.h"

#include <stdlib.h>

/* Rows that a question without a match may look at: this thread has others to serve. */
#define NEAR_ROWS	50000

void
page_read_form(struct page *p, const struct facts *f)
{
	struct query_field fields[] = { { .name = "origin" }, { .name = "realm" }, { .name = "method" },
		{ .name = "headers" } };

	p->query = f->nquery > 1 ? QUERY_REPEATED : query_read(f->query, fields, 4, p->buf);
	if (p->query != QUERY_OK)
		return;
	p->origin = fields[0].value;
	p->realm = fields[1].value;
	p->method = fields[2].value;
	p->headers = fields[3].value;
}

static void
write_field(const struct page *p, const char *class, const char *label, const char *name, struct span value,
    const char *placeholder)
{
	fprintf(p->out, "<label class=\"%s\">%s<input name=%s autocomplete=off autocapitalize=none spellcheck=false"
	    " placeholder=\"%s\" value=\"", class, label, name, placeholder);
	html_value(p->out, value);
	fputs("\"></label>", p->out);
}

static void
write_form(const struct page *p)
{
	fputs("<form method=get action=\"#explain\">", p->out);
	write_field(p, "wide", "Origin", "origin", p->origin, "https://app.example.com");
	write_field(p, "narrow", "Realm", "realm", p->realm, "(none)");
	write_field(p, "narrow", "Method", "method", p->method, "GET");
	write_field(p, "wide", "Headers that the preflight asks for", "headers", p->headers, "content-type, authorization");
	fputs("<button>Explain</button></form>\n", p->out);
}

static void
write_header_line(struct span line, void *arg)
{
	const struct page *p = arg;

	html_text(p->out, line);
	fputc('\n', p->out);
}

static void
write_near(const struct page *p)
{
	const struct explanation *e = &p->explanation;
	size_t i;

	if (e->nnear > 0)
		fputs("<dt>Nearly</dt><dd><ul>", p->out);
	for (i = 0; i < e->nnear; i++) {
		fputs("<li>", p->out);
		page_put_code(p, span_of(e->near[i].row));
		if (!spans_equal(span_of(e->near[i].realm), p->realm)) {
			fputs(" in realm ", p->out);
			page_put_code(p, span_of(e->near[i].realm[0] != '\0' ? e->near[i].realm : "''"));
		}
		fprintf(p->out, ": %s</li>", e->near[i].why);
	}
	if (e->nnear > 0)
		fputs("</ul></dd>", p->out);
	if (e->near_is_cut)
		fprintf(p->out, "<dt>Nearly</dt><dd>only %d rows were searched: cachectl check searches all</dd>", NEAR_ROWS);
}

static void
write_row(const struct page *p)
{
	const struct answer *a = &p->explanation.answer;
	char when[HUMAN_MAX];

	fputs("<dt>Row</dt><dd>", p->out);
	if (a->row[0] == '\0')
		fputs("none", p->out);
	else
		page_put_code(p, span_of(a->row));
	if (a->row[0] != '\0' && a->match.expires_at != ROW_NEVER)
		fprintf(p->out, " until %s", human_time(when, a->match.expires_at));
	fputs("</dd>", p->out);
	if (a->policy[0] == '\0')
		return;
	fputs("<dt>Policy</dt><dd>", p->out);
	page_put_code(p, span_of(a->policy));
	fputs("</dd>", p->out);
}

static void
write_why(const struct page *p, const char *next)
{
	const struct decision *d = &p->explanation.answer.decision;

	fprintf(p->out, "<dl><dt>Reason</dt><dd>%s <span class=soft>(%s)</span></dd>", reason_sentence(d->reason),
	    reason_token(d->reason));
	if (d->culprit.len > 0 && !d->allow) {
		fputs("<dt>Culprit</dt><dd>", p->out);
		page_put_code(p, d->culprit);
		fputs("</dd>", p->out);
	}
	write_row(p);
	write_near(p);
	if (next[0] != '\0') {
		fputs("<dt>Next</dt><dd>", p->out);
		page_put_code(p, span_of(next));
		fputs("</dd>", p->out);
	}
	fputs("</dl>", p->out);
}

static void
write_answer(struct page *p, const char *next)
{
	const struct explanation *e = &p->explanation;
	bool allow = e->answer.decision.allow;

	fprintf(p->out, "<div class=answer><p><strong class=%s>%s</strong> %s from ", allow ? "good" : "bad",
	    allow ? "allowed" : "refused", explain_class(e));
	page_put_code(p, p->origin);
	if (p->realm.len > 0) {
		fputs(" in realm ", p->out);
		page_put_code(p, p->realm);
	}
	fputs("</p>", p->out);
	write_why(p, next);
	fputs("<h3>Headers that a browser gets</h3>", p->out);
	if (e->answer.len == 0)
		fputs("<p class=soft>none</p>", p->out);
	else
		fputs("<pre>", p->out);
	explain_each_header(e, write_header_line, p);
	fputs(e->answer.len == 0 ? "</div>" : "</pre></div>", p->out);
}

static int
write_explanation(struct page *p)
{
	const struct explain_options options = { .answer = { .now_s = p->health.now_ms / 1000,
		.max_stale_s = p->rp->settings.max_stale_s, .form = HEADERS_RESPONSE }, .near_rows = NEAR_ROWS };
	char *next;

	explain_request(&p->explanation, p->realm, p->origin, p->method.len > 0 || p->headers.len > 0, p->method,
	    p->headers);
	explain(p->rp->reader, &options, &p->explanation);
	next = explain_next(&p->explanation);
	if (next == NULL)
		return -1;
	write_answer(p, next);
	free(next);
	return 0;
}

int
page_write_explain(struct page *p)
{
	int error = 0;

	fputs("<section id=explain aria-labelledby=ask><h2 id=ask>Explain an origin</h2>\n", p->out);
	write_form(p);
	if (p->query != QUERY_OK)
		fprintf(p->out, "<div class=answer><p class=bad>The form cannot be read: %s.</p></div>",
		    query_strstatus(p->query));
	else if (p->origin.len > 0)
		error = write_explanation(p);
	else
		fputs("<p class=hint>With a method or headers the preflight is explained, else the actual request.</p>", p->out);
	fputs("</section>\n", p->out);
	return error;
}

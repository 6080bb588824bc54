/* SPDX-License-Identifier: BSD-2-Clause */
#include "page_parts.h"

#include <string.h>

#include "refusals.h"

#define ROWS	10

/* The origin, and the question about it; what was cut cannot be asked about. */
static void
write_origin(const struct page *p, const struct frequent_item *item)
{
	bool is_whole = item->origin_len <= FREQUENT_ORIGIN_KEPT && item->realm_len <= FREQUENT_REALM_KEPT &&
	    item->origin_len > 0;

	if (is_whole) {
		fputs("<a href=\"?origin=", p->out);
		html_query(p->out, frequent_origin(item));
		fputs("&amp;realm=", p->out);
		html_query(p->out, frequent_realm(item));
		fputs("#explain\">", p->out);
	}
	page_put_code(p, item->origin_len > 0 ? frequent_origin(item) : span_of("(several)"));
	fputs(is_whole ? "</a>" : item->origin_len > FREQUENT_ORIGIN_KEPT ? " &hellip;" : "", p->out);
}

static void
write_item(const struct page *p, const struct frequent_item *item)
{
	char duration[HUMAN_MAX];

	fputs("<tr><th scope=row>", p->out);
	write_origin(p, item);
	if (item->realm_len > 0) {
		fputs("<small>in realm ", p->out);
		page_put_code(p, frequent_realm(item));
		fputs(item->realm_len > FREQUENT_REALM_KEPT ? " &hellip;</small>" : "</small>", p->out);
	}
	fprintf(p->out, "</th><td>%s</td><td>%s ago</td>", item->reason < REASON_COUNT ?
	    reason_token((enum reason)item->reason) : "?",
	    human_duration(duration, p->health.now_ms - item->last_s * 1000));
	page_put_count(p, "<td>", item->count, "</td></tr>\n");
}

static void
write_items(const struct page *p, const struct refusals_list *list)
{
	size_t i;

	if (list->nitems == 0) {
		fputs("<p class=soft>Nobody was refused in the last day.</p>", p->out);
		return;
	}
	fputs("<table class=refused><thead><tr><th scope=col>Origin</th><th scope=col>Reason</th><th scope=col>Last</th>"
	    "<th scope=col>Times, at least</th></tr></thead><tbody>\n", p->out);
	for (i = 0; i < list->nitems && i < ROWS; i++)
		write_item(p, &list->items[i]);
	fputs("</tbody></table>", p->out);
	if (list->nitems > ROWS)
		fputs("<p class=hint>All of them: cachectl refusals.</p>", p->out);
}

void
page_write_refused(const struct page *p)
{
	struct refusals_report report;
	int error = refusals_read(p->rp->table_path, p->health.now_ms / 1000, &report);

	fputs("<section class=rest aria-labelledby=refused><h2 id=refused>Refused most</h2>\n", p->out);
	if (error != 0) {
		fprintf(p->out, "<p class=bad>The lists of refusals cannot be read: %s.</p></section>\n", strerror(-error));
		return;
	}
	write_items(p, &report.refused);
	refusals_free(&report);
	fputs("</section>\n", p->out);
}

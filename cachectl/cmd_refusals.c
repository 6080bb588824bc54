/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "decide.h"
#include "refusals.h"
#include "rows.h"
#include "watch.h"

struct filter {
	bool		 any_realm, any_reason;
	struct span	 realm;
	unsigned	 reason;
};

static bool
fits(const struct filter *f, const struct frequent_item *item)
{
	return (f->any_reason || f->reason == item->reason) &&
	    (f->any_realm || (item->realm_len == f->realm.len &&
	    memcmp(item->realm, f->realm.at, f->realm.len < FREQUENT_REALM_KEPT ? f->realm.len : FREQUENT_REALM_KEPT) == 0));
}

static void
print_realm(const struct frequent_item *item)
{
	char text[FREQUENT_REALM_KEPT + sizeof "..."];
	struct span realm = frequent_realm(item);
	int len = snprintf(text, sizeof text, "%.*s%s", (int)realm.len, realm.at, item->realm_len > realm.len ? "..." : "");

	print_cell(COLOUR_NONE, (struct span){ text, (size_t)len }, 12);
}

static void
print_item(const struct frequent_item *item)
{
	char when[HUMAN_MAX], least[HUMAN_MAX], most[HUMAN_MAX];

	print_cell(COLOUR_NONE, span_of(human_time(when, item->last_s)), 20);
	print_cell(COLOUR_NONE, span_of(human_count(least, item->count)), -10);
	print_cell(COLOUR_DIM, span_of(human_count(most, item->count + item->missed)), -10);
	print_cell(COLOUR_NONE, span_of(reason_token((enum reason)item->reason)), 17);
	print_realm(item);
	print_bytes(frequent_origin(item));
	if (item->origin_len > FREQUENT_ORIGIN_KEPT)
		printf("... (%zu bytes)", item->origin_len);
	putchar('\n');
}

static void
print_heading(void)
{
	print_cell(COLOUR_DIM, span_of("last"), 20);
	print_cell(COLOUR_DIM, span_of("at least"), -10);
	print_cell(COLOUR_DIM, span_of("at most"), -10);
	print_cell(COLOUR_DIM, span_of("reason"), 17);
	print_cell(COLOUR_DIM, span_of("realm"), 12);
	paint(COLOUR_DIM, "origin");
	putchar('\n');
}

static void
fill_item(struct object *o, const struct frequent_item *item)
{
	char when[HUMAN_MAX];

	object_bytes(o, "realm", frequent_realm(item));
	object_bool(o, "realm_cut", item->realm_len > FREQUENT_REALM_KEPT);
	object_bytes(o, "origin", frequent_origin(item));
	object_bool(o, "origin_cut", item->origin_len > FREQUENT_ORIGIN_KEPT);
	object_number(o, "origin_bytes", (int64_t)item->origin_len);
	object_text(o, "reason", reason_token((enum reason)item->reason));
	object_number(o, "count", (int64_t)item->count);
	object_number(o, "at_most", (int64_t)(item->count + item->missed));
	object_text(o, "first_at", human_time(when, item->first_s));
	object_text(o, "last_at", human_time(when, item->last_s));
}

static int
by_time(const void *a, const void *b)
{
	const struct frequent_item *x = a, *y = b;

	if (x->last_s != y->last_s)
		return x->last_s > y->last_s ? -1 : 1;
	return (x->count < y->count) - (x->count > y->count);
}

static size_t
print_text(const struct refusals_list *list, const struct filter *f)
{
	char others[HUMAN_MAX];
	size_t i, shown = 0;

	for (i = 0; i < list->nitems; i++)
		if (fits(f, &list->items[i])) {
			if (shown++ == 0)
				print_heading();
			print_item(&list->items[i]);
		}
	if (list->others > 0)
		remark("%s more refusals were of others, one by one too rare for the list",
		    human_count(others, list->others));
	return shown;
}

static size_t
print_json(const struct refusals_list *list, const struct filter *f)
{
	struct object *o = object_new();
	size_t i, shown = 0;

	object_array(o, "refusals");
	for (i = 0; i < list->nitems; i++)
		if (fits(f, &list->items[i])) {
			fill_item(object_append_object(o, "refusals"), &list->items[i]);
			shown++;
		}
	object_number(o, "others", (int64_t)list->others);
	object_print(o);
	return shown;
}

static int
read_reason(const char *token, struct filter *f)
{
	char clean[ESCAPED_MAX];

	f->any_reason = token == NULL;
	for (f->reason = 0; token != NULL && f->reason < REASON_COUNT; f->reason++)
		if (strcmp(reason_token((enum reason)f->reason), token) == 0)
			return EXIT_YES;
	if (token == NULL)
		return EXIT_YES;
	complain("no reason is called '%s'; cachectl stats 'reason.*' lists them",
	    escaped(clean, sizeof clean, span_of(token)));
	return EXIT_MISUSED;
}

static int
read_order(const char *word, bool *is_by_time)
{
	*is_by_time = word != NULL && strcmp(word, "time") == 0;
	if (word == NULL || *is_by_time || strcmp(word, "count") == 0)
		return EXIT_YES;
	complain("--sort takes count or time");
	return EXIT_MISUSED;
}

int
cmd_refusals(const struct call *call)
{
	struct filter f = { .any_realm = flag_value(call, "realm") == NULL };
	struct refusals_report report;
	bool is_by_time;
	size_t shown;
	int error;

	if (rows_realm(flag_value(call, "realm"), &f.realm) != EXIT_YES ||
	    read_reason(flag_value(call, "reason"), &f) != EXIT_YES ||
	    read_order(flag_value(call, "sort"), &is_by_time) != EXIT_YES)
		return EXIT_MISUSED;
	watch_place(call);
	error = refusals_read(call->config->table_path, (int64_t)time(NULL), &report);
	if (error != 0) {
		complain("the refusals in %s/counters cannot be read: %s%s", call->config->table_path, strerror(-error),
		    error == -EACCES ? "; they are for root and the group of that directory" : "");
		return EXIT_FAILED;
	}
	if (is_by_time && report.refused.nitems > 0)
		qsort(report.refused.items, report.refused.nitems, sizeof *report.refused.items, by_time);
	shown = call->json ? print_json(&report.refused, &f) : print_text(&report.refused, &f);
	refusals_free(&report);
	if (shown == 0)
		remark("nobody was refused%s", f.any_realm && f.any_reason ? " in the last day" :
		    " so; cachectl refusals, without options, shows all who were");
	return shown > 0 ? EXIT_YES : EXIT_NO;
}

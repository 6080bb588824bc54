/* SPDX-License-Identifier: BSD-2-Clause */
/* GLib's GHashTable in private memory, keys as strings, with its own string hash. */
#include "subject.h"

#include <glib.h>
#include <malloc.h>

static GHashTable *table;

static uint64_t
allocated(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static uint64_t
build(const struct workload *w, const struct subject_options *opt)
{
	uint64_t before = allocated();
	struct query q;

	(void)opt;
	table = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	for (uint64_t i = 0; i < w->origins; i++) {
		workload_row(w, i, &q);
		g_hash_table_insert(table, g_strdup(q.key), GUINT_TO_POINTER(1 + i % w->policies));
	}
	return allocated() - before;
}

static uint64_t
find(const struct query *q)
{
	return GPOINTER_TO_UINT(g_hash_table_lookup(table, q->key));
}

static void
close_table(void)
{
	g_hash_table_destroy(table);
}

const struct subject subject_glib = { "glib", build, find, close_table, 0, 1, true, false };

/* SPDX-License-Identifier: BSD-2-Clause */
#include "vectors.h"

#include <string.h>

#include "run.h"
#include "suffix.h"

/* The definition of which row answers, as a loop over all of them. */
static const struct vector_rules *rules;

static int
load(void *arg, const struct vector_rules *loaded)
{
	(void)arg;
	rules = loaded;
	return 0;
}

static bool
is_more_specific(const struct rule *a, const struct rule *b)
{
	return a->form != b->form ? a->form < b->form : a->depth > b->depth;
}

static void
find(void *arg, struct span realm, const struct origin *o, struct match *m)
{
	const struct vector_rule *best = NULL;

	(void)arg;
	*m = (struct match){ .state = MATCH_NONE, .realm_only_any = true };
	for (size_t i = 0; i < rules->n; i++) {
		const struct vector_rule *v = &rules->at[i];

		if (!v->active || v->row.realm.len != realm.len || memcmp(v->row.realm.at, realm.at, realm.len) != 0)
			continue;
		m->realm_known = true;
		m->realm_only_any = m->realm_only_any && v->rule.form == RULE_ANY;
		if (o == NULL ? v->rule.form != RULE_ANY : !rule_matches(&v->rule, o))
			continue;
		if (best == NULL || is_more_specific(&v->rule, &best->rule))
			best = v;
	}
	m->realm_only_any = m->realm_known && m->realm_only_any;
	if (best == NULL)
		return;
	m->state = MATCH_ROW;
	m->form = best->rule.form;
	m->depth = best->rule.depth;
	m->public_suffix = best->row.public_suffix;
	m->policy = &best->policy;
}

START_TEST(vector_holds)
{
	static const struct vector_backend naive = { load, find, NULL };
	const char *wrong = vectors_check((size_t)_i, &naive);

	ck_assert_msg(wrong == NULL, "%s: %s", vectors_id((size_t)_i), wrong);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("vectors");
	TCase *tc = tcase_create("public.jsonl");
	int status;

	if (suffix_open() != 0)
		return EXIT_FAILURE;
	tcase_add_loop_test(tc, vector_holds, 0, (int)vectors_open(VECTORS));
	suite_add_tcase(suite, tc);
	status = run(suite);
	vectors_close();
	suffix_close();
	return status;
}

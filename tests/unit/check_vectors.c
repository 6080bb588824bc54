/* SPDX-License-Identifier: BSD-2-Clause */
#include "vectors.h"

#include <string.h>

#include "run.h"
#include "suffix.h"
#include "tables.h"

/* The definition of which row answers, as a loop over all of them. */
static const struct vector_rules *rules;

static int
naive_load(void *arg, const struct vector_rules *loaded)
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
naive_find(void *arg, struct span realm, const struct origin *o, struct match *m)
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

/* The shared table, written and read. What no loader lets in is put as well: it must not answer. */
struct shared {
	char		 base[PATH_MAX];	/* removed by main(), whatever happened */
	struct writer	*writer;
	struct reader	*reader;
};
static struct shared shared;

static int
shared_put(struct table *t, const struct vector_rule *v)
{
	enum policy_status why;
	int error = table_policy_put(t, &v->columns, &why);

	if (error == 0)
		error = table_put(t, &v->row);
	return v->active ? error : 0;
}

static int
shared_load(void *arg, const struct vector_rules *loaded)
{
	struct shared *s = arg;
	struct table *t;
	char dir[PATH_MAX + 16];
	int error;

	snprintf(dir, sizeof(dir), "%s/XXXXXX", s->base);
	if (mkdtemp(dir) == NULL)
		return -errno;
	s->writer = open_writer(dir, 0);
	if ((error = writer_begin(s->writer, loaded->n, &t)) != 0)
		return error;
	for (size_t i = 0; i < loaded->n; i++)
		if ((error = shared_put(t, &loaded->at[i])) != 0)
			return error;
	if ((error = writer_commit(s->writer, &t)) != 0)
		return error;
	if ((error = reader_open(&s->reader, dir)) != 0)
		return error;
	return reader_refresh(s->reader);
}

static void
shared_find(void *arg, struct span realm, const struct origin *o, struct match *m)
{
	struct shared *s = arg;

	reader_find(s->reader, realm, o, NOW, m);
}

static const struct vector_backend backends[] = {
	{ naive_load, naive_find, NULL },
	{ shared_load, shared_find, &shared },
};

START_TEST(vector_holds_for_a_plain_loop)
{
	const char *wrong = vectors_check((size_t)_i, &backends[0]);

	ck_assert_msg(wrong == NULL, "%s: %s", vectors_id((size_t)_i), wrong);
}
END_TEST

START_TEST(vector_holds_for_the_shared_table)
{
	const char *wrong = vectors_check((size_t)_i, &backends[1]);

	ck_assert_msg(wrong == NULL, "%s: %s", vectors_id((size_t)_i), wrong);
	reader_close(&shared.reader);
	writer_close(&shared.writer);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("vectors");
	TCase *tc = tcase_create("vectors");
	int status, n;

	if (suffix_open() != 0)
		return EXIT_FAILURE;
	make_directory(shared.base);
	vectors_open(VECTORS "/public.jsonl");
	n = (int)vectors_open(VECTORS "/applications.jsonl");
	tcase_add_loop_test(tc, vector_holds_for_a_plain_loop, 0, n);
	tcase_add_loop_test(tc, vector_holds_for_the_shared_table, 0, n);
	suite_add_tcase(suite, tc);
	status = run(suite);
	remove_directory(shared.base);
	vectors_close();
	suffix_close();
	return status;
}

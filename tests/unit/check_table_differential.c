/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The shared table against a plain list: random operations on both, and every
 * look-up must agree with rule_matches() and the order of rule forms applied
 * to the list. CORSCACHE_OPS operations from CORSCACHE_SEED.
 */
#include "run.h"
#include "tables.h"

#define MAX_ROWS	600
#define NREALMS		4
#define NPOLICIES	12
#define NMETHODS	4

static const char *const realms[NREALMS] = { "", "a", "ab", "tenant-0" };
static const char *const methods[NMETHODS] = { "PUT", "DELETE", "PATCH", "GET" };

/* A row of the model; its rule's spans point into text. */
struct entry {
	char		 text[RULE_MAX + 1];
	struct rule	 rule;
	unsigned	 realm;
	unsigned	 policy;
	unsigned	 policy_life;	/* which life of that name: a name again is another policy */
	bool		 allow, public_suffix, held, stub;
	int64_t		 expires_at;
};

struct policy_entry {
	unsigned	 life;		/* goes up with each removal */
	bool		 there;
	unsigned	 method;
	bool		 credentials, insecure;
};

struct model {
	struct entry	 rows[MAX_ROWS];
	unsigned	 nrows;
	struct policy_entry policies[NPOLICIES];
	bool		 held_all;
};

static struct model live, next;
static struct writer *writer;
static struct reader *reader;
static uint64_t seed, random_state, operation;
static char base[PATH_MAX];

#define FAIL(...) do {										\
	fprintf(stderr, "CORSCACHE_SEED=%llu, operation %llu: ", (unsigned long long)seed,	\
	    (unsigned long long)operation);							\
	ck_abort_msg(__VA_ARGS__);								\
} while (0)

static unsigned
any(unsigned n)
{
	return below(&random_state, n);
}

static void
require(int error, const char *what)
{
	if (error != 0)
		FAIL("%s: %s", what, strerror(-error));
}

/* ---- names from a small world, so that they meet ---- */

static size_t
make_host(char *buf, size_t cap)
{
	static const char *const tops[] = { "x.test", "y.test", "co.test", "localhost" };
	static const char *const labels[] = { "a", "b", "aa", "ab" };
	size_t n = 0;

	static const char *const odd[] = { "127.0.0.1", "[2001:db8::1]", ".", "", "A.x.test", "a..x.test" };

	if (any(20) == 0)
		return (size_t)snprintf(buf, cap, "%s", odd[any(6)]);
	for (unsigned depth = any(4); depth > 0; depth--)
		n += (size_t)snprintf(buf + n, cap - n, "%s.", labels[any(4)]);
	return n + (size_t)snprintf(buf + n, cap - n, "%s", tops[any(4)]);
}

static const char *
make_scheme(void)
{
	static const char *const schemes[] = { "https", "https", "https", "http", "app", "app", "https2" };

	return schemes[any(7)];
}

static const char *
make_port(void)
{
	static const char *const ports[] = { "", "", ":8443", ":81" };

	return ports[any(4)];
}

static void
make_origin(char *buf, size_t cap)
{
	char host[128];

	make_host(host, sizeof(host));
	snprintf(buf, cap, "%s://%s%s", make_scheme(), host, make_port());
}

static void
make_rule(struct entry *e)
{
	char host[128];

	do {
		unsigned form = any(16);
		make_host(host, sizeof(host));
		if (form == 0)
			snprintf(e->text, sizeof(e->text), "*");
		else if (form == 15)
			snprintf(e->text, sizeof(e->text), "%s://*", any(3) ? "app" : "https2");
		else
			snprintf(e->text, sizeof(e->text), "%s://%s%s%s", make_scheme(), form % 3 == 1 ? "*." : "", host,
			    form % 5 == 2 ? ":*" : make_port());
	} while (rule_parse(&e->rule, e->text, strlen(e->text)) != ORIGIN_OK);
}

/* ---- the model ---- */

static struct entry *
model_find(struct model *m, const struct entry *key)
{
	for (unsigned i = 0; i < m->nrows; i++)
		if (m->rows[i].realm == key->realm && strcmp(m->rows[i].text, key->text) == 0)
			return &m->rows[i];
	return NULL;
}

static void
model_put(struct model *m, const struct entry *e)
{
	struct entry *at = model_find(m, e);

	if (at == NULL)
		at = &m->rows[m->nrows++];
	*at = *e;
	rule_parse(&at->rule, at->text, strlen(at->text));	/* its spans point into itself */
}

static void
model_remove(struct model *m, struct entry *e)
{
	*e = m->rows[--m->nrows];
	rule_parse(&e->rule, e->text, strlen(e->text));
}

static void
model_copy(struct model *to, const struct model *from)
{
	*to = *from;
	for (unsigned i = 0; i < to->nrows; i++)
		rule_parse(&to->rows[i].rule, to->rows[i].text, strlen(to->rows[i].text));
}

static unsigned
model_rows(const struct model *m)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->nrows; i++)
		n += !m->rows[i].stub;
	return n;
}

static bool
is_narrower(const struct entry *a, const struct entry *b)
{
	return a->rule.form != b->rule.form ? a->rule.form < b->rule.form : a->rule.depth > b->rule.depth;
}

static bool
has_policy(const struct model *m, const struct entry *e)
{
	return !e->stub && m->policies[e->policy].there && m->policies[e->policy].life == e->policy_life;
}

static bool
is_safe(const struct model *m, const struct entry *e, const struct origin *o)
{
	const struct policy_entry *p = &m->policies[e->policy];

	if (!p->credentials)
		return true;
	if (e->rule.form == RULE_ANY)
		return false;
	return p->insecure || (e->rule.form != RULE_SCHEME && !e->public_suffix && !origin_is_insecure(o));
}

/* As doc/architecture.md says it: of all rows that match and count, the most specific. */
static const struct entry *
model_answer(const struct model *m, unsigned realm, const struct origin *o, int64_t now_s)
{
	const struct entry *best = NULL;

	for (unsigned i = 0; i < m->nrows; i++) {
		const struct entry *e = &m->rows[i];
		if (e->realm != realm || (o == NULL ? e->rule.form != RULE_ANY : !rule_matches(&e->rule, o)))
			continue;
		if (!e->held && e->expires_at != ROW_NEVER && now_s >= e->expires_at)
			continue;
		if (!e->held && e->allow && has_policy(m, e) && !is_safe(m, e, o))
			continue;
		if (best == NULL || is_narrower(e, best))
			best = e;
	}
	return best;
}

/* ---- one look-up, compared ---- */

static void
compare(struct reader *r, unsigned realm, const char *text, int64_t now_s)
{
	struct origin o;
	unsigned rows = 0, wide = 0;
	struct found f;

	if (text != NULL && origin_parse(&o, text, strlen(text)) != ORIGIN_OK)
		return;
	const struct entry *want = model_answer(&live, realm, text != NULL ? &o : NULL, now_s);
	if (!find_at(r, realms[realm], text, now_s, &f))
		FAIL("the table never stood still");
	if (live.held_all) {
		if (f.match.state != MATCH_ROW || !f.match.held)
			FAIL("\"%s\" is not held with everything", text != NULL ? text : "");
		return;
	}
	for (unsigned i = 0; i < live.nrows; i++)
		if (live.rows[i].realm == realm) {	/* a stub counts: its answer is another than that of * */
			rows++;
			wide += live.rows[i].rule.form == RULE_ANY;
		}
	if (f.match.state != (want != NULL ? MATCH_ROW : MATCH_NONE) || strcmp(f.row, want != NULL ? want->text : "") != 0)
		FAIL("\"%s\" in \"%s\": state %d, row \"%s\", want \"%s\"", text != NULL ? text : "", realms[realm],
		    f.match.state, f.row, want != NULL ? want->text : "");
	if ((rows > 0) != f.match.realm_known)
		FAIL("\"%s\": realm_known %d with %u rows", realms[realm], f.match.realm_known, rows);
	if (want == NULL)
		return;
	if (want->rule.form != RULE_EXACT && f.match.realm_only_any != (rows == 1 && wide == 1))
		FAIL("\"%s\": realm_only_any %d", realms[realm], f.match.realm_only_any);
	bool refuses = want->stub || !want->allow || (!want->held && !has_policy(&live, want));
	if (f.match.form != want->rule.form || f.match.depth != want->rule.depth || f.match.held != want->held ||
	    f.match.refuses != refuses || f.match.expires_at != want->expires_at ||
	    f.match.public_suffix != want->public_suffix)
		FAIL("\"%s\" by \"%s\": form %d depth %u held %d refuses %d expires %lld suffix %d", text != NULL ? text : "",
		    f.row, f.match.form, f.match.depth, f.match.held, f.match.refuses, (long long)f.match.expires_at,
		    f.match.public_suffix);
	char policy[8] = "";
	if (!refuses && !want->held)
		snprintf(policy, sizeof(policy), "p%u", want->policy);
	if (strcmp(f.policy, policy) != 0 ||
	    (*policy != '\0' && strcmp(f.methods, methods[live.policies[want->policy].method]) != 0))
		FAIL("\"%s\" by \"%s\": policy \"%s\" %s, want \"%s\"", text != NULL ? text : "", f.row, f.policy, f.methods,
		    policy);
}

/* An origin near one of the rows, or any. */
static void
compare_one(struct reader *r)
{
	char text[ORIGIN_MAX + 1];
	int64_t now_s = NOW + any(5) - 2;

	if (any(12) == 0) {
		compare(r, any(NREALMS), NULL, now_s);
		return;
	}
	if (live.nrows > 0 && any(2) == 0) {
		const struct rule *rule = &live.rows[any(live.nrows)].rule;
		if (rule->form != RULE_ANY) {
			static const char *const in_front[] = { "", "", "a.", "b.a.", "x" };
			snprintf(text, sizeof(text), "%.*s://%s%.*s%s", (int)rule->origin.scheme.len, rule->origin.scheme.at,
			    in_front[any(5)], (int)rule->origin.host.len, rule->origin.host.at, make_port());
			compare(r, any(NREALMS), text, now_s);
			return;
		}
	}
	make_origin(text, sizeof(text));
	compare(r, any(NREALMS), text, now_s);
}

/* ---- operations ---- */

static struct row
row_of_entry(const struct entry *e, char policy[8])
{
	snprintf(policy, 8, "p%u", e->policy);
	return (struct row){ .realm = span(realms[e->realm]), .origin = span(e->text), .policy = span(policy),
		.allow = e->allow, .public_suffix = e->public_suffix, .expires_at = e->expires_at };
}

static void
random_entry(const struct model *m, struct entry *e)
{
	*e = (struct entry){ .realm = any(NREALMS), .policy = any(NPOLICIES), .allow = any(4) != 0 };
	make_rule(e);
	if (m->nrows > 0 && any(2) == 0) {	/* one that is there */
		const struct entry *old = &m->rows[any(m->nrows)];
		e->realm = old->realm;
		memcpy(e->text, old->text, sizeof(e->text));
		rule_parse(&e->rule, e->text, strlen(e->text));
	}
	e->policy_life = m->policies[e->policy].life;
	if (any(3) == 0)
		e->expires_at = NOW + any(5) - 2;
	if (e->rule.form == RULE_SUFFIX || e->rule.form == RULE_SUFFIX_ANY_PORT)
		e->public_suffix = any(4) == 0;
}

static void
do_put(struct table *t, struct model *m)
{
	struct entry e;
	char policy[8];

	random_entry(m, &e);
	struct row row = row_of_entry(&e, policy);
	if (model_find(m, &e) == NULL && m->nrows == MAX_ROWS)
		return;
	if (!m->policies[e.policy].there && row.allow) {
		if (table_put(t, &row) != -ENOENT)
			FAIL("a row that allows under an unknown policy was taken");
		return;
	}
	if (!m->policies[e.policy].there)
		e.policy_life--;	/* of no use to it should the policy come */
	require(table_put(t, &row), "put");
	model_put(m, &e);
}

static void
do_remove(struct table *t, struct model *m)
{
	struct entry e, *there;

	random_entry(m, &e);
	there = model_find(m, &e);
	int error = table_remove(t, span(realms[e.realm]), span(e.text));
	if (error != (there != NULL ? 0 : -ENOENT))
		FAIL("remove: %s", strerror(-error));
	if (there != NULL)
		model_remove(m, there);
}

static struct policy_row
random_policy(struct policy_entry *p, unsigned i, char name[8], struct span *method)
{
	p->there = true;
	p->method = any(NMETHODS);
	p->credentials = any(2);
	p->insecure = any(2);
	snprintf(name, 8, "p%u", i);
	*method = span(methods[p->method]);
	struct policy_row row = policy_row(name, method, p->credentials);
	row.insecure = p->insecure;
	return row;
}

static void
do_policy(struct table *t, struct model *m)
{
	unsigned i = any(NPOLICIES);
	enum policy_status why;
	struct span method;
	char name[8];

	if (any(8) != 0) {
		struct policy_row row = random_policy(&m->policies[i], i, name, &method);
		require(table_policy_put(t, &row, &why), "policy put");
		return;
	}
	snprintf(name, sizeof(name), "p%u", i);
	int error = table_policy_remove(t, span(name));
	if (error != (m->policies[i].there ? 0 : -ENOENT))
		FAIL("policy remove: %s", strerror(-error));
	m->policies[i].life += m->policies[i].there;
	m->policies[i].there = false;
}

static void
do_hold(struct table *t, struct model *m)
{
	struct entry e, *there;

	random_entry(m, &e);
	there = model_find(m, &e);
	if (there == NULL && e.rule.form == RULE_EXACT)
		return;				/* do_stub() */
	int64_t held = table_hold(t, span(realms[e.realm]), span(e.text));
	if (held != (there != NULL))
		FAIL("hold of \"%s\": %lld", e.text, (long long)held);
	if (there != NULL)
		there->held = true;
}

static void
do_stub(struct table *t, struct model *m)
{
	struct entry e;

	random_entry(m, &e);
	if (e.rule.form != RULE_EXACT || model_find(m, &e) != NULL || m->nrows == MAX_ROWS)
		return;
	if (table_hold(t, span(realms[e.realm]), span(e.text)) != 1)
		FAIL("hold of \"%s\"", e.text);
	e.held = e.stub = true;
	e.allow = e.public_suffix = false;
	e.expires_at = ROW_NEVER;
	model_put(m, &e);
}

static void
do_hold_realm(struct table *t, struct model *m)
{
	unsigned realm = any(NREALMS);
	int64_t held = 0;

	for (unsigned i = 0; i < m->nrows; i++)
		if (m->rows[i].realm == realm) {
			m->rows[i].held = true;
			held++;
		}
	if (table_hold_realm(t, span(realms[realm])) != held)
		FAIL("hold of realm \"%s\"", realms[realm]);
}

#define BATCH_ROWS	6

static void
do_batch(struct table *t, struct model *m)
{
	struct policy_row policies[2];
	struct change changes[BATCH_ROWS];
	struct entry entries[BATCH_ROWS], *there;
	char names[BATCH_ROWS][8], policy_names[2][8];
	struct span policy_methods[2];
	unsigned n = 0, npolicies = any(3);

	if (m->nrows + BATCH_ROWS > MAX_ROWS)
		return;
	for (unsigned i = 0; i < npolicies; i++) {
		unsigned at = i * (NPOLICIES / 2) + any(NPOLICIES / 2);	/* each name once */
		policies[i] = random_policy(&m->policies[at], at, policy_names[i], &policy_methods[i]);
	}
	for (unsigned i = 0; i < BATCH_ROWS; i++) {
		bool twice = false;
		random_entry(m, &entries[n]);
		rule_parse(&entries[n].rule, entries[n].text, strlen(entries[n].text));
		for (unsigned k = 0; k < n; k++)
			twice |= entries[k].realm == entries[n].realm && strcmp(entries[k].text, entries[n].text) == 0;
		if (twice || !m->policies[entries[n].policy].there)
			continue;
		changes[n] = (struct change){ .row = row_of_entry(&entries[n], names[n]), .gone = any(3) == 0 };
		n++;
	}
	for (unsigned i = 0; i < n; i++) {
		if (!changes[i].gone)
			model_put(m, &entries[i]);
		else if ((there = model_find(m, &entries[i])) != NULL)
			model_remove(m, there);
	}
	require(table_batch(t, changes, n, policies, npolicies, NULL, 0), "batch");
}

static void
do_commit(void)
{
	struct table *t;

	require(writer_begin(writer, any(3) * 150000, &t), "begin");
	if (any(2))
		memset(&next, 0, sizeof(next));
	else
		model_copy(&next, &live);
	/* the next table gets the same rows by the same calls, or new ones */
	for (unsigned i = 0; i < NPOLICIES; i++) {
		struct span method;
		enum policy_status why;
		char name[8];
		struct policy_row row = random_policy(&next.policies[i], i, name, &method);
		require(table_policy_put(t, &row, &why), "policy put");
	}
	for (unsigned i = 0; i < next.nrows; i++) {
		struct entry *e = &next.rows[i];
		char name[8];
		e->held = e->stub = false;
		e->policy_life = next.policies[e->policy].life;
		struct row row = row_of_entry(e, name);
		require(table_put(t, &row), "put");
	}
	for (unsigned i = any(200); i > 0; i--)
		any(4) ? do_put(t, &next) : do_remove(t, &next);
	compare_one(reader);			/* nothing of it shows */
	if (any(4) == 0) {
		writer_abort(writer, &t);
		return;
	}
	require(writer_commit(writer, &t), "commit");
	model_copy(&live, &next);
	live.held_all = false;
}

static void
do_restart(void)
{
	if (any(2))
		require(writer_tick(writer), "tick");
	writer_close(&writer);
	writer = open_writer(base, 0);
	if (writer_table(writer) == NULL)
		FAIL("the table is gone: %s", writer_strerror(writer));
}

static void
compare_fresh(void)
{
	struct reader *fresh = open_reader(base);

	for (int i = 0; i < 20; i++)
		compare_one(fresh);
	reader_close(&fresh);
	if (table_rows(writer_table(writer)) > model_rows(&live))
		FAIL("%llu rows, want %u", (unsigned long long)table_rows(writer_table(writer)), model_rows(&live));
}

static int
check_walked(const struct row *row, void *arg)
{
	struct entry key = { 0 }, *e;
	unsigned *seen = arg;

	copy_text(key.text, sizeof(key.text), row->origin);
	while (key.realm < NREALMS && !span_is_text(row->realm, realms[key.realm]))
		key.realm++;
	if (key.realm == NREALMS || (e = model_find(&live, &key)) == NULL)
		FAIL("a walk found \"%s\", which is no row", key.text);
	if (row->held != e->held || row->expires_at != e->expires_at || row->allow != (e->allow && !e->stub))
		FAIL("a walk tells \"%s\" otherwise", key.text);
	++*seen;
	return 0;
}

static void
compare_walks(void)
{
	unsigned seen = 0;

	require(reader_each(reader, NULL, check_walked, &seen), "reader_each");
	if (seen != live.nrows)
		FAIL("reader_each: %u rows, want %u", seen, live.nrows);
	seen = 0;
	require(table_each(writer_table(writer), check_walked, &seen), "table_each");
	if (seen != live.nrows)
		FAIL("table_each: %u rows, want %u", seen, live.nrows);
}

static void
operate(void)
{
	struct table *t = writer_table(writer);
	unsigned what = any(1000);

	if (what < 400)
		do_put(t, &live);
	else if (what < 700)
		do_remove(t, &live);
	else if (what < 780)
		do_policy(t, &live);
	else if (what < 880)
		do_batch(t, &live);
	else if (what < 900)
		do_hold(t, &live);
	else if (what < 920)
		do_stub(t, &live);
	else if (what < 924)
		do_hold_realm(t, &live);
	else if (what < 926) {
		require(writer_hold_all(writer), "hold all");
		live.held_all = true;
	} else if (what < 930 || live.held_all)
		do_commit();
	else if (what < 932)
		do_restart();
	else if (what < 934)
		compare_fresh();
	else if (what < 935)
		compare_walks();
	else
		require(writer_tick(writer), "tick");
}

START_TEST(the_table_is_what_a_list_would_be)
{
	uint64_t operations = setting("CORSCACHE_OPS", 300000);

	random_state = seed = random_seed();
	writer = open_writer(base, any(2) ? 1 : 4);
	publish_empty(writer, 0);
	/* "default" is not of this world */
	require(table_policy_remove(writer_table(writer), span("default")), "policy remove");
	reader = open_reader(base);
	for (operation = 0; operation < operations; operation++) {
		operate();
		for (int i = 0; i < 3; i++)
			compare_one(reader);
	}
	reader_close(&reader);
	writer_close(&writer);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("table_differential");
	TCase *tc = tcase_create("table_differential");
	int failed;

	tcase_add_test(tc, the_table_is_what_a_list_would_be);
	tcase_set_timeout(tc, 3600);
	suite_add_tcase(suite, tc);
	make_directory(base);
	failed = run(suite);
	remove_directory(base);
	return failed;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table and the database, both sorted by their key, walked side by side.
 * A difference counts only if it is still there after corscache-syncd had
 * time to apply what was committed meanwhile.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "db.h"
#include "rows.h"

#define DIFFERENCES_MAX	10000	/* looked at twice and listed; more are counted */
#define SETTLE_MS	500	/* beyond sync.poll_ms */

#define LEFT_OUT_MAX	1000	/* listed; more are counted */

#define SELECT_ROWS	"SELECT " DB_ROW " FROM cors.origins ORDER BY realm" SQL_BYTES ", origin" SQL_BYTES
#define SELECT_ONE	"SELECT " DB_ROW " FROM cors.origins WHERE realm" SQL_EQ "$1 AND origin" SQL_EQ "$2"

/* A row of the table, copied; its spans point into bytes. */
struct item {
	struct row	 row;
	char		 bytes[];
};

enum kind {
	KIND_MISSING, KIND_EXTRA, KIND_POLICY, KIND_ALLOW, KIND_EXPIRES, KIND_POLICY_CONTENTS, KIND_POLICY_EXTRA,
};

static const char *const kind_names[] = {
	[KIND_MISSING] = "missing", [KIND_EXTRA] = "extra", [KIND_POLICY] = "policy", [KIND_ALLOW] = "allow",
	[KIND_EXPIRES] = "expires_at", [KIND_POLICY_CONTENTS] = "policy_contents",
	[KIND_POLICY_EXTRA] = "policy_extra",
};

static const char *const kind_sentences[] = {
	[KIND_MISSING] = "in the database, not in the table", [KIND_EXTRA] = "in the table, not in the database",
	[KIND_POLICY] = "names another policy", [KIND_ALLOW] = "allow differs",
	[KIND_EXPIRES] = "expires_at differs", [KIND_POLICY_CONTENTS] = "the policy permits something else",
	[KIND_POLICY_EXTRA] = "the policy is in the table, not in the database",
};

struct difference {
	enum kind	 kind;
	char		 realm[REALM_MAX + 1];	/* or, of a policy, its name */
	char		 origin[RULE_MAX + 1];
};

/* A row or a policy that corscache-syncd leaves out, or that the table's readers treat as absent. */
struct left_out {
	const char	*why;
	char		*realm;		/* NULL: a policy, whose name is origin */
	char		*origin;
};

struct verify {
	struct reader		*r;
	struct db		*db;
	struct policies		 policies;	/* of the database */
	struct item		**items;
	size_t			 nitems, cap;
	uint64_t		 rows, nleft_out, held, ndifferences;
	struct left_out		*left_out;	/* the first of them */
	bool			 is_again;	/* they have been listed */
	size_t			 at;		/* in items, while rows are walked */
	struct difference	*differences;	/* the first of them */
};

static int
db_failed(const struct verify *v)
{
	complain("database: %s", db_strerror(v->db));
	return EXIT_FAILED;
}

static char *
copy_text(struct span s)
{
	return strndup(s.at != NULL ? s.at : "", s.len);
}

/* realm NULL: a policy. */
static void
leave_out(struct verify *v, const struct span *realm, struct span origin, const char *why)
{
	if (v->is_again || v->nleft_out++ >= LEFT_OUT_MAX)
		return;
	v->left_out[v->nleft_out - 1] = (struct left_out){ why, realm != NULL ? copy_text(*realm) : NULL, copy_text(origin) };
}

static void
differ(struct verify *v, enum kind kind, struct span realm, struct span origin)
{
	struct difference *d;

	if (v->ndifferences++ >= DIFFERENCES_MAX || realm.len > REALM_MAX || origin.len > RULE_MAX)
		return;
	d = &v->differences[v->ndifferences - 1];
	*d = (struct difference){ .kind = kind };
	memcpy(d->realm, realm.at, realm.len);
	memcpy(d->origin, origin.at, origin.len);
}

/* ---- the table, copied and sorted ---- */

static int
compare_spans(struct span a, struct span b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int c = len > 0 ? memcmp(a.at, b.at, len) : 0;

	return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

static int
compare_keys(const struct row *a, const struct row *b)
{
	int c = compare_spans(a->realm, b->realm);

	return c != 0 ? c : compare_spans(a->origin, b->origin);
}

static int
compare_items(const void *a, const void *b)
{
	return compare_keys(&(*(struct item *const *)a)->row, &(*(struct item *const *)b)->row);
}

static struct span
copy_bytes(char **at, struct span s)
{
	struct span copy = { *at, s.len };

	if (s.len > 0)
		memcpy(*at, s.at, s.len);
	*at += s.len;
	return copy;
}

static int
collect(const struct row *row, void *arg)
{
	struct verify *v = arg;
	struct item *item, **more;
	char *at;

	if (v->nitems == v->cap) {
		v->cap = v->cap == 0 ? 1024 : v->cap * 2;
		if ((more = realloc(v->items, v->cap * sizeof *v->items)) == NULL)
			return -ENOMEM;
		v->items = more;
	}
	if ((item = malloc(sizeof *item + row->realm.len + row->origin.len + row->policy.len)) == NULL)
		return -ENOMEM;
	item->row = *row;
	at = item->bytes;
	item->row.realm = copy_bytes(&at, row->realm);
	item->row.origin = copy_bytes(&at, row->origin);
	item->row.policy = copy_bytes(&at, row->policy);
	v->items[v->nitems++] = item;
	return 0;
}

static int
collect_all(struct verify *v)
{
	int error = reader_each(v->r, NULL, collect, v);

	if (error != 0) {
		complain("the table could not be read: %s", strerror(-error));
		return EXIT_FAILED;
	}
	if (v->nitems > 0)
		qsort(v->items, v->nitems, sizeof *v->items, compare_items);
	return EXIT_YES;
}

/* ---- rows ---- */

/* corscache-syncd leaves out what the C code refuses, or makes a refusal of it. NULL: it does not. A refusal needs no policy. */
static const char *
why_left_out(const struct verify *v, const struct row *row)
{
	const struct known *k;
	struct rule rule;
	enum origin_status status;

	if (!realm_is_valid(row->realm.at, row->realm.len))
		return "its realm is too long or has control characters";
	status = rule_parse(&rule, row->origin.at, row->origin.len);
	if (status != ORIGIN_OK)
		return origin_strstatus(status);
	k = row->allow ? policies_find(&v->policies, row->policy) : NULL;
	return row->allow && (k == NULL || k->status != POLICY_OK) ? "its policy is not usable" : NULL;
}

/* In the table, and absent for every reader. */
static bool
is_dead(const struct verify *v, const struct row *row)
{
	const struct known *k = row->public_suffix && row->allow ? policies_find(&v->policies, row->policy) : NULL;

	return k != NULL && known_needs_safe(k);
}

/* Of one key: either may be NULL. */
static void
compare_rows(struct verify *v, const struct row *in_db, const struct row *in_table)
{
	const char *why;

	if (in_table != NULL && in_table->revoked && in_table->policy.len == 0)
		in_table = NULL;	/* cachectl revoked it where the database has no row */
	if (in_table == NULL && in_db == NULL)
		return;
	why = in_db != NULL && (in_table == NULL || !in_table->allow) ? why_left_out(v, in_db) : NULL;
	if (in_table != NULL && in_db != NULL && is_dead(v, in_table))
		leave_out(v, &in_db->realm, in_db->origin,
		    "it covers a public suffix, and its policy allows credentials without insecure");
	if (in_table != NULL && in_table->held)
		v->held++;
	else if (in_db == NULL)
		differ(v, KIND_EXTRA, in_table->realm, in_table->origin);
	else if (why != NULL)
		leave_out(v, &in_db->realm, in_db->origin, why);
	else if (in_table == NULL)
		differ(v, KIND_MISSING, in_db->realm, in_db->origin);
	else if (in_db->allow != in_table->allow)
		differ(v, KIND_ALLOW, in_db->realm, in_db->origin);
	else if (in_db->allow && !spans_equal(in_db->policy, in_table->policy))
		differ(v, KIND_POLICY, in_db->realm, in_db->origin);
	else if (in_db->expires_at != in_table->expires_at)
		differ(v, KIND_EXPIRES, in_db->realm, in_db->origin);
}

/* The next row of the database against the items from v->at on. */
static void
walk(const struct span *columns, void *arg)
{
	struct verify *v = arg;
	struct row in_db = db_row(columns);
	int c = -1;

	v->rows++;
	while (v->at < v->nitems && (c = compare_keys(&v->items[v->at]->row, &in_db)) < 0)
		compare_rows(v, NULL, &v->items[v->at++]->row);
	compare_rows(v, &in_db, v->at < v->nitems && c == 0 ? &v->items[v->at++]->row : NULL);
}

static int
walk_rows(struct verify *v)
{
	if (db_each(v->db, SELECT_ROWS, NULL, walk, v) != 0)
		return db_failed(v);
	while (v->at < v->nitems)
		compare_rows(v, NULL, &v->items[v->at++]->row);
	return EXIT_YES;
}

/* ---- policies ---- */

struct expected {
	const struct policy	*policy;
	bool			 is_same;
};

static void
compare_policy(const struct policy *p, void *arg)
{
	struct expected *e = arg;
	const struct policy *q = e->policy;

	e->is_same = spans_equal(p->methods, q->methods) && spans_equal(p->headers, q->headers) &&
	    spans_equal(p->expose, q->expose) && p->max_age == q->max_age && p->credentials == q->credentials &&
	    p->insecure == q->insecure && p->any_method == q->any_method && p->any_header == q->any_header;
}

static void
look_at_policy(struct known *k, void *arg)
{
	struct verify *v = arg;
	struct expected e = { &k->policy, false };
	bool is_there;

	is_there = policy_find(v->r, k->name, compare_policy, &e);
	if (k->status != POLICY_OK)
		leave_out(v, NULL, k->name, policy_strstatus(k->status));
	if (k->status == POLICY_OK ? !e.is_same : is_there)
		differ(v, KIND_POLICY_CONTENTS, k->name, span_of(""));
}

static int
look_for_policy(const struct policy *p, void *arg)
{
	struct verify *v = arg;

	if (policies_find(&v->policies, p->name) == NULL)
		differ(v, KIND_POLICY_EXTRA, p->name, span_of(""));
	return 0;
}

static int
compare_policies(struct verify *v)
{
	int error;

	policies_each(&v->policies, look_at_policy, v);
	error = reader_each_policy(v->r, look_for_policy, v);
	if (error != 0)
		complain("the table could not be read: %s", strerror(-error));
	return error != 0 ? EXIT_FAILED : EXIT_YES;
}

/* The database as it is now, its policies first: rows are judged by them. */
static int
read_policies(struct verify *v)
{
	policies_fini(&v->policies);
	return db_policies(v->db, &v->policies) == 0 ? EXIT_YES : db_failed(v);
}

/* ---- differences, looked at again ---- */

struct found {
	struct verify	*v;
	const struct row *in_table;
	bool		 is_there;
};

static void
compare_found(const struct span *columns, void *arg)
{
	struct found *f = arg;
	struct row in_db = db_row(columns);

	f->is_there = true;
	compare_rows(f->v, &in_db, f->in_table);
}

static int
look_again(struct verify *v, const struct difference *d)
{
	char buf[REALM_MAX + RULE_MAX + POLICY_MAX_NAME + 3];
	const char *const key[] = { d->realm, d->origin, NULL };
	struct row in_table;
	struct rule rule;
	bool has_table = rule_parse(&rule, d->origin, strlen(d->origin)) == ORIGIN_OK &&
	    reader_get(v->r, span_of(d->realm), &rule, buf, &in_table) == 0;
	struct found found = { v, has_table ? &in_table : NULL, false };

	if (db_each(v->db, SELECT_ONE, key, compare_found, &found) != 0)
		return db_failed(v);
	if (!found.is_there && has_table)
		compare_rows(v, NULL, &in_table);
	return EXIT_YES;
}

static bool
is_of_policy(enum kind kind)
{
	return kind == KIND_POLICY_CONTENTS || kind == KIND_POLICY_EXTRA;
}

static int
look_at_all_again(struct verify *v, int poll_ms)
{
	const struct timespec wait = { (poll_ms + SETTLE_MS) / 1000, (poll_ms + SETTLE_MS) % 1000 * 1000000L };
	struct difference *first = v->differences;
	uint64_t held = v->held;
	size_t i, n = v->ndifferences;
	int status;

	if (n == 0 || n > DIFFERENCES_MAX)
		return EXIT_YES;
	if ((v->differences = calloc(DIFFERENCES_MAX, sizeof *v->differences)) == NULL) {
		v->differences = first;
		complain("out of memory");
		return EXIT_FAILED;
	}
	nanosleep(&wait, NULL);
	v->ndifferences = 0;
	v->is_again = true;
	status = db_refresh(v->db) == 0 ? read_policies(v) : db_failed(v);
	for (i = 0; i < n && status == EXIT_YES; i++)
		if (!is_of_policy(first[i].kind))
			status = look_again(v, &first[i]);
	if (status == EXIT_YES && reader_refresh(v->r) == 0)
		status = compare_policies(v);
	v->held = held;		/* counted already */
	free(first);
	return status;
}

/* ---- telling ---- */

static size_t
listed(const struct verify *v)
{
	return v->ndifferences < DIFFERENCES_MAX ? (size_t)v->ndifferences : DIFFERENCES_MAX;
}

static void
print_difference(const struct difference *d)
{
	bool is_policy = is_of_policy(d->kind);

	paint(COLOUR_BAD, "%-16s", kind_names[d->kind]);
	print_bytes(span_of(is_policy ? d->realm : d->origin));
	if (!is_policy && d->realm[0] != '\0') {
		printf(" realm=");
		print_bytes(span_of(d->realm));
	}
	printf(": %s\n", kind_sentences[d->kind]);
}

static void
fill_difference(struct object *o, const struct difference *d)
{
	object_text(o, "kind", kind_names[d->kind]);
	if (is_of_policy(d->kind)) {
		object_text(o, "policy", d->realm);
	} else {
		object_text(o, "realm", d->realm);
		object_text(o, "origin", d->origin);
	}
}

static size_t
listed_left_out(const struct verify *v)
{
	return v->nleft_out < LEFT_OUT_MAX ? (size_t)v->nleft_out : LEFT_OUT_MAX;
}

static void
print_left_out(const struct left_out *l)
{
	paint(COLOUR_WARN, "%-16s", "left out");
	printf("%s", l->realm == NULL ? "policy " : "");
	print_bytes(span_of(l->origin));
	if (l->realm != NULL && l->realm[0] != '\0') {
		printf(" realm=");
		print_bytes(span_of(l->realm));
	}
	printf(": %s\n", l->why);
}

static void
fill_left_out(struct object *o, const struct left_out *l)
{
	if (l->realm != NULL)
		object_text(o, "realm", l->realm);
	object_text(o, l->realm != NULL ? "origin" : "policy", l->origin);
	object_text(o, "why", l->why);
}

static void
print_json(const struct verify *v)
{
	struct object *o = object_new();
	size_t i;

	object_number(o, "rows", (int64_t)v->rows);
	object_number(o, "table_rows", (int64_t)v->nitems);
	object_number(o, "left_out", (int64_t)v->nleft_out);
	object_number(o, "held", (int64_t)v->held);
	object_number(o, "ndifferences", (int64_t)v->ndifferences);
	object_array(o, "differences");
	for (i = 0; i < listed(v); i++)
		fill_difference(object_append_object(o, "differences"), &v->differences[i]);
	object_array(o, "left_out_rows");
	for (i = 0; i < listed_left_out(v); i++)
		fill_left_out(object_append_object(o, "left_out_rows"), &v->left_out[i]);
	object_print(o);
}

static void
print_text(const struct verify *v)
{
	char rows[COUNTED_MAX], n[COUNTED_MAX], held[HUMAN_MAX], left_out[HUMAN_MAX];
	size_t i;

	for (i = 0; i < listed(v); i++)
		print_difference(&v->differences[i]);
	if (v->ndifferences > listed(v))
		printf("... and more\n");
	for (i = 0; i < listed_left_out(v); i++)
		print_left_out(&v->left_out[i]);
	if (v->nleft_out > listed_left_out(v))
		printf("... and more; cachectl lint tells them all\n");
	paint(v->ndifferences == 0 ? COLOUR_GOOD : COLOUR_BAD, v->ndifferences == 0 ? "equal" : "different");
	printf(": %s in the database, %s, %s held, %s left out\n", human_counted(rows, v->rows, "row"),
	    human_counted(n, v->ndifferences, "difference"), human_count(held, v->held), human_count(left_out, v->nleft_out));
}

static int
connect_db(struct verify *v, const struct config *config)
{
	char err[512];

	if (db_open(&v->db, config, err, sizeof err) == 0)
		return EXIT_YES;
	complain("database: %s", err);
	return EXIT_FAILED;
}

static int
verify(struct verify *v, const struct config *config)
{
	int status;

	v->differences = calloc(DIFFERENCES_MAX, sizeof *v->differences);
	v->left_out = calloc(LEFT_OUT_MAX, sizeof *v->left_out);
	if (v->differences == NULL || v->left_out == NULL) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	if ((status = connect_db(v, config)) != EXIT_YES || (status = collect_all(v)) != EXIT_YES ||
	    (status = read_policies(v)) != EXIT_YES || (status = walk_rows(v)) != EXIT_YES ||
	    (status = compare_policies(v)) != EXIT_YES)
		return status;
	return look_at_all_again(v, config->sync_poll_ms);
}

static void
forget(struct verify *v)
{
	size_t i;

	for (i = 0; i < v->nitems; i++)
		free(v->items[i]);
	free(v->items);
	for (i = 0; v->left_out != NULL && i < listed_left_out(v); i++) {
		free(v->left_out[i].realm);
		free(v->left_out[i].origin);
	}
	free(v->left_out);
	free(v->differences);
	policies_fini(&v->policies);
	db_close(&v->db);
}

int
cmd_verify(const struct call *call)
{
	struct verify v = { 0 };
	int status = rows_open(call, &v.r);

	if (status == EXIT_YES)
		status = verify(&v, call->config);
	if (status == EXIT_YES) {
		if (call->json)
			print_json(&v);
		else
			print_text(&v);
		status = v.ndifferences == 0 ? EXIT_YES : EXIT_NO;
	}
	forget(&v);
	reader_close(&v.r);
	return status;
}

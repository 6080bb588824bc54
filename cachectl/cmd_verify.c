/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table and the database, both sorted by their key, walked side by side.
 * A difference counts only if it is still there after corscache-syncd had
 * time to apply what was committed meanwhile.
 */
#include <errno.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rows.h"

#define DIFFERENCES_MAX	10000	/* looked at twice and listed; more are counted */
#define SETTLE_MS	500	/* beyond sync.poll_ms */

#define ROW_COLUMNS	"realm, origin, policy, allow, " \
	"CASE WHEN expires_at IS NULL OR expires_at = 'infinity' THEN 0 WHEN expires_at = '-infinity' THEN 1 " \
	"ELSE greatest(1, floor(extract(epoch FROM expires_at))) END::bigint"
#define SELECT_ROWS	"SELECT " ROW_COLUMNS " FROM cors.origins ORDER BY realm COLLATE \"C\", origin COLLATE \"C\""
#define SELECT_ROW	"SELECT " ROW_COLUMNS " FROM cors.origins WHERE realm = $1 AND origin = $2"
#define SELECT_POLICIES	"SELECT name, array_to_string(methods, ','), array_to_string(headers, ','), " \
	"array_to_string(expose_headers, ','), credentials, insecure, max_age FROM cors.policies"

/* A row of the table, copied; its spans point into bytes. */
struct item {
	struct row	 row;
	char		 bytes[];
};

enum kind { KIND_MISSING, KIND_EXTRA, KIND_POLICY, KIND_ALLOW, KIND_EXPIRES, KIND_POLICY_CONTENTS };

static const char *const kind_names[] = {
	[KIND_MISSING] = "missing", [KIND_EXTRA] = "extra", [KIND_POLICY] = "policy", [KIND_ALLOW] = "allow",
	[KIND_EXPIRES] = "expires_at", [KIND_POLICY_CONTENTS] = "policy_contents",
};

static const char *const kind_sentences[] = {
	[KIND_MISSING] = "in the database, not in the table", [KIND_EXTRA] = "in the table, not in the database",
	[KIND_POLICY] = "names another policy", [KIND_ALLOW] = "allow differs",
	[KIND_EXPIRES] = "expires_at differs", [KIND_POLICY_CONTENTS] = "the policy permits something else",
};

struct difference {
	enum kind	 kind;
	char		 realm[REALM_MAX + 1];	/* or, of a policy, its name */
	char		 origin[RULE_MAX + 1];
};

struct verify {
	struct reader		*r;
	PGconn			*db;
	struct item		**items;
	size_t			 nitems, cap;
	uint64_t		 rows, left_out, held, ndifferences;
	struct difference	*differences;	/* the first of them */
};

static struct span
column(const PGresult *res, int row, int c)
{
	return (struct span){ PQgetvalue(res, row, c), (size_t)PQgetlength(res, row, c) };
}

static int
db_failed(const struct verify *v)
{
	char text[ESCAPED_MAX];
	struct span message = span_of(PQerrorMessage(v->db));

	while (message.len > 0 && message.at[message.len - 1] == '\n')
		message.len--;
	complain("database: %s", escaped(text, sizeof text, message));
	return EXIT_FAILED;
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

static struct row
row_of_result(const PGresult *res, int i)
{
	int64_t expires_at = strtoll(PQgetvalue(res, i, 4), NULL, 10);

	return (struct row){ .realm = column(res, i, 0), .origin = column(res, i, 1), .policy = column(res, i, 2),
		.allow = PQgetvalue(res, i, 3)[0] == 't',
		.expires_at = expires_at > UINT32_MAX ? ROW_NEVER : expires_at };
}

/* corscache-syncd leaves out what the C parser refuses. */
static bool
is_left_out(const struct row *row)
{
	struct rule rule;

	return !realm_is_valid(row->realm.at, row->realm.len) ||
	    rule_parse(&rule, row->origin.at, row->origin.len) != ORIGIN_OK;
}

/* Of one key: either may be NULL. */
static void
compare_rows(struct verify *v, const struct row *in_db, const struct row *in_table)
{
	if (in_table != NULL && in_table->held)
		v->held++;
	else if (in_db == NULL)
		differ(v, KIND_EXTRA, in_table->realm, in_table->origin);
	else if (in_table == NULL && is_left_out(in_db))
		v->left_out++;
	else if (in_table == NULL)
		differ(v, KIND_MISSING, in_db->realm, in_db->origin);
	else if (in_db->allow != in_table->allow)
		differ(v, KIND_ALLOW, in_db->realm, in_db->origin);
	else if (in_db->allow && !spans_equal(in_db->policy, in_table->policy))
		differ(v, KIND_POLICY, in_db->realm, in_db->origin);
	else if (in_db->expires_at != in_table->expires_at)
		differ(v, KIND_EXPIRES, in_db->realm, in_db->origin);
}

/* The next row of the database against the items from *at on. */
static void
walk(struct verify *v, const struct row *in_db, size_t *at)
{
	int c = -1;

	v->rows++;
	while (*at < v->nitems && (c = compare_keys(&v->items[*at]->row, in_db)) < 0)
		compare_rows(v, NULL, &v->items[(*at)++]->row);
	if (*at < v->nitems && c == 0)
		compare_rows(v, in_db, &v->items[(*at)++]->row);
	else
		compare_rows(v, in_db, NULL);
}

static int
walk_rows(struct verify *v)
{
	PGresult *res;
	size_t at = 0;
	bool failed = false;

	if (!PQsendQuery(v->db, SELECT_ROWS) || !PQsetSingleRowMode(v->db))
		return db_failed(v);
	while ((res = PQgetResult(v->db)) != NULL) {
		if (PQresultStatus(res) == PGRES_SINGLE_TUPLE) {
			struct row row = row_of_result(res, 0);

			walk(v, &row, &at);
		} else if (PQresultStatus(res) != PGRES_TUPLES_OK) {
			failed = true;
		}
		PQclear(res);
	}
	if (failed)
		return db_failed(v);
	while (at < v->nitems)
		compare_rows(v, NULL, &v->items[at++]->row);
	return EXIT_YES;
}

/* ---- policies ---- */

/* "a,b" into spans; SQL lets no name with a comma in. */
static size_t
split(struct span names, struct span *list)
{
	const char *comma;
	size_t n = 0, len;

	while (names.len > 0 && n < POLICY_MAX_TOKENS) {
		comma = memchr(names.at, ',', names.len);
		len = comma != NULL ? (size_t)(comma - names.at) : names.len;
		list[n++] = (struct span){ names.at, len };
		names.at += comma != NULL ? len + 1 : len;
		names.len -= comma != NULL ? len + 1 : len;
	}
	return n;
}

static bool
compile_result(const PGresult *res, int i, void *block, struct policy *p)
{
	struct span methods[POLICY_MAX_TOKENS], headers[POLICY_MAX_TOKENS], expose[POLICY_MAX_TOKENS];
	struct policy_row row = { .name = column(res, i, 0), .methods = methods, .headers = headers, .expose = expose,
		.credentials = PQgetvalue(res, i, 4)[0] == 't', .insecure = PQgetvalue(res, i, 5)[0] == 't',
		.max_age = PQgetisnull(res, i, 6) ? POLICY_NO_MAX_AGE : (int32_t)strtol(PQgetvalue(res, i, 6), NULL, 10) };
	size_t len;

	row.nmethods = split(column(res, i, 1), methods);
	row.nheaders = split(column(res, i, 2), headers);
	row.nexpose = split(column(res, i, 3), expose);
	return policy_compile(&row, block, &len, NULL) == POLICY_OK && policy_read(p, block, len) == POLICY_OK;
}

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

static int
compare_policies(struct verify *v)
{
	_Alignas(8) char block[POLICY_MAX];
	PGresult *res = PQexec(v->db, SELECT_POLICIES);
	struct policy p;
	int i;

	if (PQresultStatus(res) != PGRES_TUPLES_OK) {
		PQclear(res);
		return db_failed(v);
	}
	for (i = 0; i < PQntuples(res); i++) {
		struct expected e = { &p, false };

		if (!compile_result(res, i, block, &p)) {
			v->left_out++;
			continue;
		}
		policy_find(v->r, p.name, compare_policy, &e);
		if (!e.is_same)
			differ(v, KIND_POLICY_CONTENTS, p.name, span_of(""));
	}
	PQclear(res);
	return EXIT_YES;
}

/* ---- differences, looked at again ---- */

static int
look_again(struct verify *v, const struct difference *d)
{
	char buf[REALM_MAX + RULE_MAX + POLICY_MAX_NAME + 3];
	const char *const key[] = { d->realm, d->origin };
	PGresult *res = PQexecParams(v->db, SELECT_ROW, 2, NULL, key, NULL, NULL, 0);
	struct row in_db, in_table;
	struct rule rule;
	bool has_db, has_table;

	if (PQresultStatus(res) != PGRES_TUPLES_OK) {
		PQclear(res);
		return db_failed(v);
	}
	if ((has_db = PQntuples(res) == 1))
		in_db = row_of_result(res, 0);
	has_table = rule_parse(&rule, d->origin, strlen(d->origin)) == ORIGIN_OK &&
	    reader_get(v->r, span_of(d->realm), &rule, buf, &in_table) == 0;
	if (has_db || has_table)
		compare_rows(v, has_db ? &in_db : NULL, has_table ? &in_table : NULL);
	PQclear(res);
	return EXIT_YES;
}

static int
look_at_all_again(struct verify *v, int poll_ms)
{
	const struct timespec wait = { (poll_ms + SETTLE_MS) / 1000, (poll_ms + SETTLE_MS) % 1000 * 1000000L };
	struct difference *first = v->differences;
	uint64_t left_out = v->left_out, held = v->held;
	size_t i, n = v->ndifferences;
	int status = EXIT_YES;

	if (n == 0 || n > DIFFERENCES_MAX)
		return EXIT_YES;
	if ((v->differences = calloc(DIFFERENCES_MAX, sizeof *v->differences)) == NULL) {
		v->differences = first;
		complain("out of memory");
		return EXIT_FAILED;
	}
	nanosleep(&wait, NULL);
	v->ndifferences = 0;
	for (i = 0; i < n && status == EXIT_YES; i++)
		if (first[i].kind != KIND_POLICY_CONTENTS)
			status = look_again(v, &first[i]);
	if (status == EXIT_YES && reader_refresh(v->r) == 0)
		status = compare_policies(v);
	v->left_out = left_out;		/* counted already */
	v->held = held;
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
	bool is_policy = d->kind == KIND_POLICY_CONTENTS;

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
	if (d->kind == KIND_POLICY_CONTENTS) {
		object_text(o, "policy", d->realm);
	} else {
		object_text(o, "realm", d->realm);
		object_text(o, "origin", d->origin);
	}
}

static void
print_json(const struct verify *v)
{
	struct object *o = object_new();
	size_t i;

	object_number(o, "rows", (int64_t)v->rows);
	object_number(o, "table_rows", (int64_t)v->nitems);
	object_number(o, "left_out", (int64_t)v->left_out);
	object_number(o, "held", (int64_t)v->held);
	object_number(o, "ndifferences", (int64_t)v->ndifferences);
	object_array(o, "differences");
	for (i = 0; i < listed(v); i++)
		fill_difference(object_append_object(o, "differences"), &v->differences[i]);
	object_print(o);
}

static void
print_text(const struct verify *v)
{
	char rows[HUMAN_MAX], n[HUMAN_MAX], held[HUMAN_MAX], left_out[HUMAN_MAX];
	size_t i;

	for (i = 0; i < listed(v); i++)
		print_difference(&v->differences[i]);
	if (v->ndifferences > listed(v))
		printf("... and more\n");
	paint(v->ndifferences == 0 ? COLOUR_GOOD : COLOUR_BAD, v->ndifferences == 0 ? "equal" : "different");
	printf(": %s rows in the database, %s differences, %s held, %s left out\n", human_count(rows, v->rows),
	    human_count(n, v->ndifferences), human_count(held, v->held), human_count(left_out, v->left_out));
}

static int
connect_db(struct verify *v, const struct config *config)
{
	const char *const names[] = { "connect_timeout", "dbname", "fallback_application_name", "client_encoding", NULL };
	const char *const values[] = { "10", config->sync_conninfo, "cachectl", "UTF8", NULL };
	PGresult *res;
	bool is_set;

	v->db = PQconnectdbParams(names, values, 1);
	if (PQstatus(v->db) != CONNECTION_OK)
		return db_failed(v);
	res = PQexec(v->db, "SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false), "
	    "pg_catalog.set_config('default_transaction_read_only', 'on', false)");
	is_set = PQresultStatus(res) == PGRES_TUPLES_OK;
	PQclear(res);
	return is_set ? EXIT_YES : db_failed(v);
}

static int
verify(struct verify *v, const struct config *config)
{
	int status;

	if ((v->differences = calloc(DIFFERENCES_MAX, sizeof *v->differences)) == NULL) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	if ((status = connect_db(v, config)) != EXIT_YES || (status = collect_all(v)) != EXIT_YES ||
	    (status = walk_rows(v)) != EXIT_YES || (status = compare_policies(v)) != EXIT_YES)
		return status;
	return look_at_all_again(v, config->sync_poll_ms);
}

int
cmd_verify(const struct call *call)
{
	struct verify v = { 0 };
	size_t i;
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
	for (i = 0; i < v.nitems; i++)
		free(v.items[i]);
	free(v.items);
	free(v.differences);
	PQfinish(v.db);
	reader_close(&v.r);
	return status;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "rows.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* What to do next, by what is in the way. */
static void
complain_of_table(const struct call *call, int error, const char *why)
{
	const char *path = call->config->table_path, *file = config_file(call->config);

	if (error == -ENOENT)
		complain("there is no table in %s. corscache-syncd makes it: start that (systemctl start corscache-syncd), or fill "
		    "a table from a file with cachectl load. If it is elsewhere, say table.path in %s, or --table DIR", path,
		    file != NULL ? file : CONFIG_DEFAULT_FILE);
	else if (error == -EACCES)
		complain("no table can be read in %s: %s. The group table.group may read it: be a member of that group, or root",
		    path, why);
	else
		complain("no table can be read in %s: %s; corscache-syncd makes it, for the group table.group", path, why);
}

static int
open_table(const struct call *call, struct reader **r, int also_fine)
{
	int error = reader_open(r, call->config->table_path);

	if (error != 0) {
		complain("%s: %s", call->config->table_path, strerror(-error));
		return EXIT_FAILED;
	}
	if ((error = reader_refresh(*r)) == 0 || error == also_fine)
		return EXIT_YES;
	complain_of_table(call, error, reader_strerror(*r));
	reader_close(r);
	return EXIT_FAILED;
}

bool
rows_try(const struct call *call, struct reader **r)
{
	if (reader_open(r, call->config->table_path) != 0) {
		*r = NULL;
		return false;
	}
	if (reader_refresh(*r) != 0)
		reader_close(r);
	return *r != NULL;
}

int
rows_open(const struct call *call, struct reader **r)
{
	return open_table(call, r, 0);
}

int
rows_attach(const struct call *call, struct reader **r)
{
	return open_table(call, r, -ENODATA);
}

int
rows_rule(const char *text, struct rule *rule)
{
	enum origin_status status = rule_parse(rule, text, strlen(text));
	char clean[ESCAPED_MAX];

	if (status == ORIGIN_OK)
		return EXIT_YES;
	complain("'%s' is not an origin: %s", escaped(clean, sizeof clean, span_of(text)), origin_strstatus(status));
	return EXIT_MISUSED;
}

int
rows_realm(const char *text, struct span *realm)
{
	*realm = span_of(text != NULL ? text : "");
	if (realm_is_valid(realm->at, realm->len))
		return EXIT_YES;
	complain("a realm has at most %d bytes and no control characters", REALM_MAX);
	return EXIT_MISUSED;
}

bool
row_is_expired(const struct row *row)
{
	return row->expires_at != ROW_NEVER && row->expires_at <= (int64_t)time(NULL);
}

/* Behind the columns: what most rows do not have. */
static void
print_extra(const struct row *row)
{
	char when[HUMAN_MAX];

	if (row->realm.len > 0) {
		printf(" realm=");
		print_bytes(row->realm);
	}
	if (row->expires_at != ROW_NEVER)
		printf(" %s=%s", row_is_expired(row) ? "expired" : "expires", human_time(when, row->expires_at));
	if (row->public_suffix)
		paint(COLOUR_WARN, " public-suffix");
}

/* For programs every row has every column. */
static void
print_extra_columns(const struct row *row)
{
	char when[HUMAN_MAX];

	putchar('\t');
	print_bytes(row->realm);
	printf("\t%s\t%s", row->expires_at != ROW_NEVER ? human_time(when, row->expires_at) : "",
	    row->public_suffix ? "public-suffix" : "");
}

void
row_print(const struct row *row)
{
	print_cell(COLOUR_NONE, row->origin, 48);
	if (row->revoked)
		print_cell(COLOUR_BAD, span_of("revoked"), 7);
	else if (row->held)
		print_cell(COLOUR_WARN, span_of("held"), 7);
	else if (row->allow)
		print_cell(COLOUR_NONE, span_of("allow"), 7);
	else
		print_cell(COLOUR_BAD, span_of("refuse"), 7);
	print_bytes(row->policy.len > 0 ? row->policy : span_of("-"));
	if (output_is_plain())
		print_extra_columns(row);
	else
		print_extra(row);
	putchar('\n');
}

void
row_fill_expiry(struct object *o, int64_t expires_at)
{
	char when[HUMAN_MAX];

	if (expires_at != ROW_NEVER)
		object_text(o, "expires_at", human_time(when, expires_at));
	else
		object_null(o, "expires_at");
}

void
row_fill(struct object *o, const struct row *row)
{
	object_bytes(o, "realm", row->realm);
	object_bytes(o, "origin", row->origin);
	object_bytes(o, "policy", row->policy);
	object_bool(o, "allow", row->allow);
	row_fill_expiry(o, row->expires_at);
	object_bool(o, "expired", row_is_expired(row));
	object_bool(o, "held", row->held);
	object_bool(o, "revoked", row->revoked);
	object_bool(o, "public_suffix", row->public_suffix);
}

static void
print_names(const char *title, struct span names, bool any)
{
	printf("  %-14s ", title);
	print_bytes(names);
	printf("%s%s\n", any && names.len > 0 ? "," : "", any ? "*" : names.len == 0 ? "none" : "");
}

void
policy_print(const struct policy *p)
{
	paint(COLOUR_BOLD, "policy ");
	print_bytes(p->name);
	putchar('\n');
	print_names("methods", p->methods, p->any_method);
	print_names("headers", p->headers, p->any_header);
	print_names("expose headers", p->expose, false);
	printf("  %-14s %s\n", "credentials", p->credentials ? "yes" : "no");
	if (p->max_age == POLICY_NO_MAX_AGE)
		printf("  %-14s not sent\n", "max age");
	else
		printf("  %-14s %d s\n", "max age", p->max_age);
	if (p->insecure)
		paint(COLOUR_WARN, "  %-14s yes\n", "insecure");
}

/* names: joined by commas, as a response header has them. */
static void
fill_names(struct object *o, const char *name, struct span names, bool any)
{
	const char *comma;

	object_array(o, name);
	while (names.len > 0) {
		comma = memchr(names.at, ',', names.len);
		size_t len = comma != NULL ? (size_t)(comma - names.at) : names.len;

		object_append(o, name, (struct span){ names.at, len });
		names.at += comma != NULL ? len + 1 : len;
		names.len -= comma != NULL ? len + 1 : len;
	}
	if (any)
		object_append(o, name, span_of("*"));
}

void
policy_fill(struct object *o, const struct policy *p)
{
	object_bytes(o, "policy", p->name);
	fill_names(o, "methods", p->methods, p->any_method);
	fill_names(o, "headers", p->headers, p->any_header);
	fill_names(o, "expose_headers", p->expose, false);
	object_bool(o, "credentials", p->credentials);
	if (p->max_age == POLICY_NO_MAX_AGE)
		object_null(o, "max_age");
	else
		object_number(o, "max_age", p->max_age);
	object_bool(o, "insecure", p->insecure);
}

struct search {
	struct span	 name;
	void		 (*found)(const struct policy *, void *);
	void		*arg;
};

static int
compare_name(const struct policy *p, void *arg)
{
	const struct search *s = arg;

	if (!spans_equal(p->name, s->name))
		return 0;
	s->found(p, s->arg);
	return 1;
}

bool
policy_find(struct reader *r, struct span name, void (*found)(const struct policy *p, void *arg), void *arg)
{
	struct search s = { name, found, arg };

	return reader_each_policy(r, compare_name, &s) == 1;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Refused until the database was asked again: corscache-syncd is told, and where
 * none lives the writer's lock is free and the entries are held right here.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon.h"
#include "rows.h"

#define MOST_TOLD	10	/* origins whose answer is told */
#define ANSWER_MS	2000
#define LOOK_MS		5

enum what { INVALIDATE_ORIGINS, INVALIDATE_REALM, INVALIDATE_ALL };

struct order {
	const struct call	*call;
	enum what		 what;
	struct span		 realm;
	struct writer		*w;	/* NULL: the daemon is asked */
	int64_t			 entries;
};

static int
read_order(const struct call *call, struct order *o)
{
	struct rule rule;
	int i, status;

	o->call = call;
	o->what = flag_is_given(call, "all") ? INVALIDATE_ALL :
	    call->noperands == 0 ? INVALIDATE_REALM : INVALIDATE_ORIGINS;
	if (o->what == INVALIDATE_ALL && (call->noperands > 0 || flag_is_given(call, "realm"))) {
		complain("--all goes with neither origins nor --realm");
		return EXIT_MISUSED;
	}
	if (o->what == INVALIDATE_REALM && !flag_is_given(call, "realm")) {
		complain("invalidate takes origins, --realm REALM or --all; see cachectl invalidate --help");
		return EXIT_MISUSED;
	}
	for (i = 0; i < call->noperands; i++)
		if ((status = rows_rule(call->operands[i], &rule)) != EXIT_YES)
			return status;
	return rows_realm(flag_value(call, "realm"), &o->realm);
}

static bool
is_confirmed(const struct order *o)
{
	int c, first;

	if (o->what != INVALIDATE_ALL || flag_is_given(o->call, "yes") || !isatty(STDIN_FILENO))
		return true;
	fprintf(stderr, "Refuse every origin until the whole table is loaded again? [y/N] ");
	first = c = getchar();
	while (c != '\n' && c != EOF)
		c = getchar();
	return first == 'y' || first == 'Y';
}

/* ---- --dry-run ---- */

static int
count_row(const struct row *row, void *arg)
{
	(void)row;
	++*(int64_t *)arg;
	return 0;
}

static int
count_origins(struct order *o, struct reader *r)
{
	char buf[REALM_MAX + RULE_MAX + POLICY_MAX_NAME + 3];
	struct rule rule;
	struct row row;
	int i;

	for (i = 0; i < o->call->noperands; i++)
		if (rows_rule(o->call->operands[i], &rule) == EXIT_YES && reader_get(r, o->realm, &rule, buf, &row) == 0)
			o->entries++;
	return 0;
}

static int
count(struct order *o)
{
	struct table_info info;
	struct reader *r;
	int status = rows_open(o->call, &r), error = 0;

	if (status != EXIT_YES)
		return status;
	reader_info(r, &info);
	if (o->what == INVALIDATE_ALL)
		o->entries = (int64_t)info.rows;
	else if (o->what == INVALIDATE_REALM)
		error = reader_each(r, &o->realm, count_row, &o->entries);
	else
		error = count_origins(o, r);
	reader_close(&r);
	if (error != 0)
		complain("the table could not be read: %s", strerror(-error));
	return error != 0 ? EXIT_FAILED : EXIT_YES;
}

/* ---- held right here ---- */

/* origin: NULL for a realm or everything. */
static int
hold(struct order *o, const char *origin)
{
	struct table *t = writer_table(o->w);
	int64_t n = 0;

	if (o->what == INVALIDATE_ALL) {
		n = writer_hold_all(o->w);
		if (n == 0)
			n = t != NULL ? (int64_t)table_rows(t) : 0;
	} else if (t != NULL) {
		n = origin != NULL ? table_hold(t, o->realm, span_of(origin)) : table_hold_realm(t, o->realm);
	}
	if (n < 0) {
		complain("the entry could not be refused: %s", strerror((int)-n));
		return EXIT_FAILED;
	}
	o->entries += n;
	writer_add(o->w, STATUS_invalidations, n);
	return EXIT_YES;
}

static int
add_held(const struct row *row, void *arg)
{
	*(int64_t *)arg += row->held;
	return 0;
}

/* What the daemon would say of itself. It is no less than before: nothing but a new table ends what --all began. */
static void
tell_status(struct order *o)
{
	struct table *t = writer_table(o->w);
	int64_t held = 0;

	if (t != NULL && o->what == INVALIDATE_ALL)
		held = (int64_t)table_rows(t);
	else if (t != NULL)
		table_each(t, add_held, &held);
	if (held > writer_get(o->w, STATUS_held))
		writer_set(o->w, STATUS_held, held);
}

/* ---- asked for ---- */

static int
order_line(const struct order *o, const char *origin, char line[CONTROL_MAX_LINE])
{
	int len;

	if (o->what == INVALIDATE_ALL)
		len = snprintf(line, CONTROL_MAX_LINE, "invalidate-all");
	else if (o->what == INVALIDATE_REALM)
		len = snprintf(line, CONTROL_MAX_LINE, "invalidate-realm\t%s", o->realm.at);
	else
		len = snprintf(line, CONTROL_MAX_LINE, "invalidate\t%s\t%s", o->realm.at, origin);
	return len < CONTROL_MAX_LINE - 1 ? EXIT_YES : EXIT_FAILED;
}

static int
refuse(struct order *o, const char *origin)
{
	char line[CONTROL_MAX_LINE], text[CONTROL_MAX_LINE];
	int64_t entries = 0;
	int status;

	if (o->w != NULL)
		return hold(o, origin);
	if ((status = order_line(o, origin, line)) != EXIT_YES)
		return status;
	status = daemon_ask(o->call, line, &entries, text);
	o->entries += entries;
	if (status != EXIT_ABSENT)
		return status;
	if (access(o->call->config->table_path, F_OK) != 0) {
		complain("there is no table in %s: %s", o->call->config->table_path, strerror(errno));
		return EXIT_FAILED;
	}
	if ((status = daemon_or_writer(o->call, &o->w)) != EXIT_YES)
		return EXIT_FAILED;
	return o->w != NULL ? hold(o, origin) : refuse(o, origin);	/* a daemon may have come meanwhile */
}

static int
refuse_all(struct order *o)
{
	int i, status = EXIT_YES;

	if (o->what != INVALIDATE_ORIGINS)
		return refuse(o, NULL);
	for (i = 0; status == EXIT_YES && i < o->call->noperands; i++)
		status = refuse(o, o->call->operands[i]);
	return status;
}

/* ---- what the database said ---- */

static bool
is_held(struct reader *r, const struct order *o, const char *text)
{
	char buf[REALM_MAX + RULE_MAX + POLICY_MAX_NAME + 3];
	struct rule rule;
	struct row row;

	return rows_rule(text, &rule) == EXIT_YES && reader_get(r, o->realm, &rule, buf, &row) == 0 && row.held;
}

/* A database that is there answers within milliseconds: wait for that, not for an outage. */
static void
await_answers(const struct order *o, struct reader *r)
{
	struct status s;
	int waited = 0;

	for (int i = 0; i < o->call->noperands; i++)
		for (; waited < ANSWER_MS && is_held(r, o, o->call->operands[i]); waited += LOOK_MS) {
			reader_status(r, &s);
			if (!s.connected)
				return;
			poll(NULL, 0, LOOK_MS);
			reader_refresh(r);
		}
}

/* No row is called so: an origin is answered by a wider one, or by none. */
static void
tell_wider(const struct order *o, struct reader *r, const struct rule *rule)
{
	char text[RULE_MAX + 1];
	struct match m = { .state = MATCH_NONE };

	if (rule->form == RULE_EXACT) {
		reader_find(r, o->realm, &rule->origin, (int64_t)time(NULL), &m);
		match_row_text(&m, &rule->origin, text, sizeof text);
	}
	if (m.state == MATCH_ROW && !m.refuses && !m.held && !m.revoked) {
		printf("no row is called so; allowed by ");
		print_bytes(span_of(text));
		puts(": if it must go, cachectl revoke");
	} else {
		puts("no row is called so: nothing allows it");
	}
}

static void
tell_row(const struct row *row)
{
	if (row->revoked) {
		puts("stays refused: cachectl revoke");
	} else if (row->held) {
		puts("stays refused until corscache-syncd has asked the database");
	} else if (row->allow && !row_is_expired(row)) {
		printf("read again: allowed by its row, policy ");
		print_bytes(row->policy);
		puts("; if it must go, cachectl revoke");
	} else {
		printf("read again: its row %s\n", row->allow ? "has expired" : "refuses");
	}
}

static void
tell_answers(const struct order *o)
{
	char buf[REALM_MAX + RULE_MAX + POLICY_MAX_NAME + 3];
	struct reader *r;
	struct rule rule;
	struct row row;
	int i;

	if (o->what != INVALIDATE_ORIGINS || !rows_try(o->call, &r))
		return;
	if (o->w == NULL)
		await_answers(o, r);
	for (i = 0; i < o->call->noperands && i < MOST_TOLD; i++) {
		print_bytes(span_of(o->call->operands[i]));
		printf(": ");
		if (rows_rule(o->call->operands[i], &rule) != EXIT_YES || reader_get(r, o->realm, &rule, buf, &row) != 0)
			tell_wider(o, r, &rule);
		else
			tell_row(&row);
	}
	reader_close(&r);
}

static void
tell(const struct order *o, bool is_dry_run)
{
	const char *by = o->w != NULL ? "cachectl" : "corscache-syncd";
	char n[HUMAN_MAX];
	struct object *json;

	if (o->call->json) {
		json = object_new();
		object_number(json, "entries", o->entries);
		object_bool(json, "dry_run", is_dry_run);
		if (is_dry_run)
			object_null(json, "by");
		else
			object_text(json, "by", by);
		object_print(json);
	} else if (is_dry_run) {
		printf("would refuse %s %s\n", human_count(n, (uint64_t)o->entries), o->entries == 1 ? "entry" : "entries");
	} else {
		printf("refused %s %s, by %s%s\n", human_count(n, (uint64_t)o->entries),
		    o->entries == 1 ? "entry" : "entries", by,
		    o->w != NULL ? " itself: no daemon runs; the next one asks the database" :
		    o->what == INVALIDATE_ORIGINS ? " until the database was asked" : " until the whole table is loaded again");
		tell_answers(o);
	}
}

int
cmd_invalidate(const struct call *call)
{
	bool is_dry_run = flag_is_given(call, "dry-run");
	struct order o = { 0 };
	int status = read_order(call, &o);

	if (status != EXIT_YES)
		return status;
	if (!is_dry_run && !is_confirmed(&o)) {
		remark("nothing was refused");
		return EXIT_NO;
	}
	status = is_dry_run ? count(&o) : refuse_all(&o);
	if (status == EXIT_YES)
		tell(&o, is_dry_run);
	else if (o.entries > 0)
		complain("%" PRId64 " were refused before that", o.entries);
	if (o.w != NULL)
		tell_status(&o);
	writer_close(&o.w);
	if (status == EXIT_YES && o.entries == 0 && o.what != INVALIDATE_ALL) {
		remark("no row is called so: a typo? cachectl list shows all rows and their realms");
		return EXIT_NO;
	}
	return status;
}

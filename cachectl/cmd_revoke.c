/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Revoking that lasts: refused on this machine whatever the database says,
 * until it is restored. corscache-syncd does it, or where none lives this
 * program, holding the writer's lock.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon.h"
#include "revocation.h"
#include "rows.h"
#include "sql.h"

#define MOST_TOLD	10	/* of each kind, in text */
#define LINES_MS	60000	/* for the daemon to take and save them all */

struct work {
	const struct call	*call;
	bool			 restores, is_all;
	struct span		 realm;
	struct span		 note;
	int64_t			 seconds;
	int64_t			 done;
	const char		*by;
	char			 unsaved[CONTROL_MAX_LINE];	/* "": it is on disk */
};

/* ---- the question ---- */

/* "90s", "30m", "2h", "7d", "2w": -1: it is none. */
static int64_t
read_duration(const char *text)
{
	static const struct { char unit; int64_t seconds; } units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 },
		{ 'd', 86400 }, { 'w', 604800 } };
	int64_t n = 0;
	const char *p;

	for (p = text; *p >= '0' && *p <= '9' && n <= REVOKED_FOR_MAX; p++)
		n = n * 10 + (*p - '0');
	for (size_t i = 0; p > text && i < sizeof units / sizeof units[0]; i++)
		if (*p == units[i].unit && p[1] == '\0' && n > 0 && n <= REVOKED_FOR_MAX / units[i].seconds)
			return n * units[i].seconds;
	return -1;
}

static int
read_options(struct work *o)
{
	const char *duration = flag_value(o->call, "for"), *note = flag_value(o->call, "note");
	char clean[ESCAPED_MAX];

	if (duration != NULL && (o->seconds = read_duration(duration)) < 0) {
		complain("--for %s: a duration is a number and s, m, h, d or w, as 90m; at most 520w",
		    escaped(clean, sizeof clean, span_of(duration)));
		return EXIT_MISUSED;
	}
	o->note = span_of(note != NULL ? note : "");
	if (!revoked_note_is_valid(o->note)) {
		complain("--note: at most %d bytes, and no control characters", REVOKED_NOTE_MAX);
		return EXIT_MISUSED;
	}
	return EXIT_YES;
}

static int
read_work(struct work *o)
{
	const struct call *call = o->call;
	struct rule rule;
	int status;

	o->is_all = flag_is_given(call, "all");
	if (o->is_all && (call->noperands > 0 || flag_is_given(call, "realm"))) {
		complain("--all goes with neither origins nor --realm");
		return EXIT_MISUSED;
	}
	if (!o->is_all && call->noperands == 0) {
		complain(o->restores ? "restore takes origins or --all; cachectl revoke --list shows them" :
		    "revoke takes origins, as rows have them; see cachectl revoke --help");
		return EXIT_MISUSED;
	}
	for (int i = 0; i < call->noperands; i++)	/* all or none: the last may be misspelt */
		if ((status = rows_rule(call->operands[i], &rule)) != EXIT_YES)
			return status;
	if ((status = rows_realm(flag_value(call, "realm"), &o->realm)) != EXIT_YES)
		return status;
	return read_options(o);
}

/* ---- by corscache-syncd ---- */

static char *
lines_of(const struct work *o, size_t *len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, len);

	if (out == NULL)
		return NULL;
	for (int i = 0; i < o->call->noperands; i++)
		fprintf(out, "%.*s\t%s\n", (int)o->realm.len, o->realm.at, o->call->operands[i]);
	fputc('\n', out);
	return fclose(out) == 0 ? text : NULL;
}

static int
ask(struct work *o)
{
	char line[CONTROL_MAX_LINE], *lines;
	size_t len = 0;
	int status;

	if (o->is_all)
		return daemon_ask_lines(o->call, "restore-all", "", 0, LINES_MS, &o->done, o->unsaved);
	if (o->restores)
		snprintf(line, sizeof line, "restore");
	else
		snprintf(line, sizeof line, "revoke\t%" PRId64 "\t%.*s", o->seconds, (int)o->note.len, o->note.at);
	if ((lines = lines_of(o, &len)) == NULL) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	status = daemon_ask_lines(o->call, line, lines, len, LINES_MS, &o->done, o->unsaved);
	free(lines);
	return status;
}

/* ---- right here ---- */

static int
do_one(struct work *o, struct writer *w, const char *origin, uid_t uid)
{
	struct revocation r = { .realm = o->realm, .origin = span_of(origin), .note = o->note, .uid = uid };
	int error;

	revocation_begin(&r, o->seconds);
	error = o->restores ? writer_restore(w, r.realm, r.origin) : writer_revoke(w, &r);
	o->done += error == 0;
	return error == -ENOENT ? 0 : error;
}

static int
do_here(struct work *o, struct writer *w, uid_t uid)
{
	int error = 0, saved;

	if (o->is_all) {
		o->done = (int64_t)revoked_count(writer_revoked(w));
		writer_restore_all(w);
	}
	for (int i = 0; error == 0 && i < o->call->noperands; i++)
		error = do_one(o, w, o->call->operands[i], uid);
	if ((saved = writer_save_revoked(w)) != 0)
		snprintf(o->unsaved, sizeof o->unsaved, "%s", strerror(-saved));
	if (error != 0)
		complain("%" PRId64 " were done, but then: %s", o->done, strerror(-error));
	return error == 0 ? EXIT_YES : EXIT_FAILED;
}

static int
work(struct work *o)
{
	uid_t uid = daemon_caller();
	struct writer *w = NULL;
	int status = daemon_or_writer(o->call, &w);

	if (status == EXIT_YES && w == NULL) {
		o->by = "corscache-syncd";
		return ask(o);
	}
	if (status != EXIT_YES)
		return status;
	o->by = "cachectl";
	status = do_here(o, w, uid);
	writer_close(&w);
	return status;
}

/* ---- the answer ---- */

static void
print_sql(const struct work *o, const char *origin)
{
	printf("next      SELECT cors.refuse(");
	sql_literal(stdout, span_of(origin));
	if (o->realm.len > 0) {
		printf(", ");
		sql_literal(stdout, o->realm);
	}
	puts(");");
}

struct exception {
	struct rule	 pattern;
	uint64_t	 count;
};

/* A row that goes on answering beside a pattern that is revoked. */
static int
tell_exception(const struct row *row, void *arg)
{
	struct exception *x = arg;
	struct rule rule;

	if (!row->allow || row->held || row->revoked || row_is_expired(row) ||
	    rule_parse(&rule, row->origin.at, row->origin.len) != ORIGIN_OK || rule.form != RULE_EXACT ||
	    !rule_matches(&x->pattern, &rule.origin))
		return 0;
	if (++x->count <= MOST_TOLD) {
		printf("allowed   ");
		print_bytes(row->origin);
		puts(" has a row of its own, which still answers: revoke it, too, if it must go");
	}
	return 0;
}

static void
tell_exceptions(const struct work *o, struct reader *r, const char *origin)
{
	struct exception x = { 0 };

	if (r == NULL || rows_rule(origin, &x.pattern) != EXIT_YES || x.pattern.form == RULE_EXACT)
		return;
	reader_each(r, &o->realm, tell_exception, &x);
	if (x.count > MOST_TOLD)
		printf("          and %" PRIu64 " more: cachectl list --realm '%.*s'\n", x.count - MOST_TOLD, (int)o->realm.len,
		    o->realm.at);
}

static void
tell_revoked(const struct work *o)
{
	char n[HUMAN_MAX], when[HUMAN_MAX];
	struct reader *r;
	int i;

	printf("revoked   %s %s on this machine, by %s, until %s\n", human_count(n, (uint64_t)o->done),
	    o->done == 1 ? "entry" : "entries", o->by,
	    o->seconds > 0 ? human_time(when, (int64_t)time(NULL) + o->seconds) : "cachectl restore");
	if (o->seconds > 0 && strcmp(o->by, "cachectl") == 0)
		puts("          no daemon runs: the next corscache-syncd ends it then");
	rows_try(o->call, &r);
	for (i = 0; i < o->call->noperands && i < MOST_TOLD; i++)
		tell_exceptions(o, r, o->call->operands[i]);
	reader_close(&r);
	puts("          for good, and on every machine, it is the database that refuses:");
	for (i = 0; i < o->call->noperands && i < MOST_TOLD; i++)
		print_sql(o, o->call->operands[i]);
	if (i < o->call->noperands)
		printf("          and so on, for %d more\n", o->call->noperands - i);
}

static void
tell_restored(const struct work *o)
{
	char n[HUMAN_MAX];

	printf("restored  %s %s, by %s: the database decides again%s\n", human_count(n, (uint64_t)o->done),
	    o->done == 1 ? "entry" : "entries", o->by,
	    strcmp(o->by, "cachectl") == 0 ? ", as it was last read" : "");
}

static void
tell_json(const struct work *o)
{
	struct object *json = object_new();

	object_number(json, "entries", o->done);
	object_text(json, "by", o->by);
	object_bool(json, "saved", o->unsaved[0] == '\0');
	if (o->seconds > 0)
		object_number(json, "seconds", o->seconds);
	else
		object_null(json, "seconds");
	object_print(json);
}

static int
tell(const struct work *o)
{
	char path[PATH_MAX];

	if (o->call->json)
		tell_json(o);
	else if (o->restores)
		tell_restored(o);
	else
		tell_revoked(o);
	if (o->unsaved[0] != '\0') {
		complain("%s NOW, BUT THAT IS NOT ON DISK: cannot write %s: %s. It is lost when corscache-syncd starts anew, unless "
		    "that can be written until then", o->restores ? "restored" : "refused",
		    config_revoked_path(o->call->config, path, sizeof path), o->unsaved);
		return EXIT_FAILED;
	}
	if (o->restores && o->done < o->call->noperands) {
		remark("%d of them were not revoked: cachectl revoke --list shows what is", (int)(o->call->noperands - o->done));
		return EXIT_NO;
	}
	return EXIT_YES;
}

static int
run(const struct call *call, bool restores)
{
	struct work o = { .call = call, .restores = restores };
	int status = read_work(&o);

	if (status == EXIT_YES)
		status = work(&o);
	return status == EXIT_YES ? tell(&o) : status;
}

/* ---- --list ---- */

static void
list_one(const struct revocation *r, void *arg)
{
	const struct call *call = arg;
	const char *realm = flag_value(call, "realm");
	struct object *o;

	if (realm != NULL && !spans_equal(r->realm, span_of(realm)))
		return;
	if (call->json) {
		o = object_new();
		object_bytes(o, "realm", r->realm);
		object_bytes(o, "origin", r->origin);
		revocation_fill(o, r);
		object_print(o);
		return;
	}
	print_bytes(r->origin);
	if (r->realm.len > 0) {
		printf(" realm=");
		print_bytes(r->realm);
	}
	printf(": ");
	revocation_print(r);
	putchar('\n');
}

static int
list(const struct call *call)
{
	struct revoked *set;
	int status = revocations_read(call, &set);

	if (status != EXIT_YES)
		return status;
	revoked_each(set, list_one, (void *)call);
	if (revoked_count(set) == 0)
		remark("nothing is revoked on this machine");
	status = revoked_count(set) > 0 ? EXIT_YES : EXIT_NO;
	revoked_free(&set);
	return status;
}

int
cmd_revoke(const struct call *call)
{
	if (!flag_is_given(call, "list"))
		return run(call, false);
	if (call->noperands == 0 && !flag_is_given(call, "for") && !flag_is_given(call, "note"))
		return list(call);
	complain("--list goes with --realm only");
	return EXIT_MISUSED;
}

int
cmd_restore(const struct call *call)
{
	return run(call, true);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "run.h"

static char path[] = "/tmp/check_config.XXXXXX";
static char err[1024];

static void
write_file(const char *text, size_t len)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(text, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
}

static struct config *
load_text(const char *text)
{
	struct config *c = NULL;

	write_file(text, strlen(text));
	ck_assert_int_eq(config_load(&c, path, NULL, 0, err, sizeof err), c == NULL ? -1 : 0);
	return c;
}

static size_t
option(const char *name)
{
	char full[64];
	size_t i;

	for (i = 0; i < OPTION_COUNT; i++) {
		snprintf(full, sizeof full, "%s.%s", option_descs[i].section, option_descs[i].name);
		if (strcmp(full, name) == 0)
			return i;
	}
	ck_abort_msg("no option %s", name);
}

START_TEST(an_empty_file_is_all_defaults)
{
	static const char *const texts[] = { "", "\n", "# nothing\n", "table {}\nsync {}\nresponder {\n}\n" };
	struct config *c = load_text(texts[_i]);
	char buf[32];

	ck_assert_msg(c != NULL, "%s", err);
	ck_assert_str_eq(c->table_path, "/run/corscache");
	ck_assert_str_eq(c->table_group, "");
	ck_assert_int_eq(c->responder_threads, 2);
	ck_assert_int_eq(c->responder_preflight_status, 200);
	ck_assert_int_eq(c->sync_keep_s, 86400);
	ck_assert_int_eq(config_source(c, option("sync.keep_s")), CONFIG_FROM_DEFAULT);
	ck_assert_str_eq(config_text(c, option("sync.keep_s"), buf, sizeof buf), "86400");
	ck_assert_str_eq(config_text(c, option("table.path"), buf, sizeof buf), "/run/corscache");
	config_free(&c);
	ck_assert_ptr_null(c);
	config_free(&c);
}
END_TEST

START_TEST(a_file_sets_what_it_names)
{
	struct config *c = load_text("# comment\n"
	    "table { path = \"/a b/c\" }\n"
	    "sync {\n\tconninfo = \"host=db1 password='p w' options='-c x=1'\"\n\tpoll_ms = 10\n}\n"
	    "responder { preflight_status = 204 }\nresponder { threads = 3 threads = 4 }\n");

	ck_assert_msg(c != NULL, "%s", err);
	ck_assert_str_eq(c->table_path, "/a b/c");
	ck_assert_str_eq(c->sync_conninfo, "host=db1 password='p w' options='-c x=1'");
	ck_assert_int_eq(c->sync_poll_ms, 10);
	ck_assert_int_eq(c->responder_preflight_status, 204);
	ck_assert_int_eq(c->responder_threads, 4);
	ck_assert_int_eq(c->sync_deadline_ms, 5000);
	ck_assert_int_eq(config_source(c, option("sync.poll_ms")), CONFIG_FROM_FILE);
	ck_assert_int_eq(config_source(c, option("sync.deadline_ms")), CONFIG_FROM_DEFAULT);
	ck_assert_int_eq(config_line(c, option("sync.poll_ms")), 5);
	ck_assert_str_eq(config_file(c), path);
	config_free(&c);
}
END_TEST

START_TEST(the_environment_is_expanded)
{
	struct config *c;

	setenv("CHECK_CONFIG_DB", "host=db7", 1);
	c = load_text("sync { conninfo = \"${CHECK_CONFIG_DB} dbname=x\" }\n");
	ck_assert_msg(c != NULL, "%s", err);
	ck_assert_str_eq(c->sync_conninfo, "host=db7 dbname=x");
	config_free(&c);
}
END_TEST

START_TEST(long_values_are_whole)
{
	char text[8300] = "sync { conninfo = \"";
	size_t len = strlen(text);
	struct config *c;

	memset(text + len, 'x', 8000);
	strcpy(text + len + 8000, "\" }\n");
	c = load_text(text);
	ck_assert_msg(c != NULL, "%s", err);
	ck_assert_uint_eq(strlen(c->sync_conninfo), 8000);
	config_free(&c);
}
END_TEST

/* want: the message behind the file's name, whole or its beginning. */
static const struct refusal {
	const char	*text;
	const char	*want;
} refusals[] = {
	{ "sync { poll_ms = 5 }\n", ":1: sync.poll_ms: \"5\" is not allowed; 10 to 3600000 is" },
	{ "\n\nsync {\n poll_ms = 3600001\n}\n", ":4: sync.poll_ms: \"3600001\" is not allowed" },
	{ "sync { poll_ms = 5s }\n", ":1: sync.poll_ms: \"5s\" is not allowed" },
	{ "sync { poll_ms = \"\" }\n", ":1: sync.poll_ms: \"\" is not allowed" },
	{ "sync { poll_ms = 99999999999999999999 }\n", ":1: sync.poll_ms: \"99999999999999999999\" is not" },
	{ "responder { threads = -1 }\n", ":1: responder.threads: \"-1\" is not allowed; 1 to 256 is" },
	{ "responder { preflight_status = 201 }\n",
	  ":1: responder.preflight_status: \"201\" is not allowed; 200 or 204 is" },
	{ "table { path = \"relative\" }\n", ":1: table.path: \"relative\" is not allowed; an absolute path is" },
	{ "table { path = \"\" }\n", ":1: table.path: \"\" is not allowed" },
	{ "responder { socket = \"/0123456789012345678901234567890123456789012345678901234567890123456789"
	  "01234567890123456789012345678901234567\" }\n", ":1: responder.socket: " },
	{ "table { pth = \"/x\" }\n", ":1: table.pth: no such setting; did you mean path? There is path, group" },
	{ "tables { path = \"/x\" }\n", ":1: tables: no such section; did you mean table? There is table, responder, sync" },
	{ "nonsense { path = \"/x\" }\n", ":1: nonsense: no such section; there is table, responder, sync" },
	{ "\npath = \"/x\"\n", ":2: path: no such section" },
	{ "include(\"/etc/passwd\")\n", ":1: include: no such section" },
	{ "table { path = \"/x\"\n", ":2: table: } is missing" },
	{ "sync { poll_ms = 10", ":1: sync: } is missing" },
	/* What does not end is named where it begins, a quote even when the next string's first closes it. */
	{ "table { path = \"/x }\n", ":1: a quote is not closed" },
	{ "table {\n path = '/x\n}\nsync { poll_ms = 10 }\n", ":2: a quote is not closed" },
	{ "table {\n path = \"/x\n}\nsync {\n control_socket = \"/y\"\n}\n", ":2: a quote is not closed" },
	{ "\n/* table { path = 3 }\n", ":2: a comment is not closed" },
	{ "table { path }\n", ":1: table: " },
	{ "table = 3\n", ":1: " },
	{ "}\n", ":1: " },
	/* Lines are counted behind every kind of comment, and what only looks like one is none. */
	{ "# a\n// b\n/* c\n d */ # e\nsync { # f\n\tkeep_s = 700 // g\n poll_ms = 1\n}\n", ":7: sync.poll_ms: \"1\"" },
	{ "sync {\n\tconninfo = \"a\n#b\"\n poll_ms = 1\n}\n", ":4: sync.poll_ms: \"1\"" },
	{ "table {\n\tpath = /a//b\n group = \"\\\"#\" path = c }\n", ":3: table.path: \"c\"" },
	/* The first complaint is the one that is told. */
	{ "sync {\n poll_ms = 1\n pol_ms = 2\n}\n", ":2: sync.poll_ms: " },
};

START_TEST(what_is_wrong_is_named_with_its_line)
{
	const struct refusal *r = &refusals[_i];
	struct config *c = load_text(r->text);

	ck_assert_msg(c == NULL, "accepted: %s", r->text);
	ck_assert_msg(strncmp(err, path, strlen(path)) == 0, "%s", err);
	ck_assert_msg(strncmp(err + strlen(path), r->want, strlen(r->want)) == 0, "%s: \"%s\", want \"%s\"",
	    r->text, err, r->want);
}
END_TEST

START_TEST(files_that_are_none_are_errors)
{
	struct config *c = NULL;

	ck_assert_int_eq(config_load(&c, "/nonexistent/x.conf", NULL, 0, err, sizeof err), -1);
	ck_assert_str_eq(err, "/nonexistent/x.conf: No such file or directory");
	ck_assert_int_eq(config_load(&c, "/tmp", NULL, 0, err, sizeof err), -1);
	ck_assert_str_eq(err, "/tmp: Is a directory");
	write_file("a\0b", 3);
	ck_assert_int_eq(config_load(&c, path, NULL, 0, err, sizeof err), -1);
	ck_assert_ptr_nonnull(strstr(err, "NUL"));
	ck_assert_ptr_null(c);
}
END_TEST

START_TEST(flags_win_and_the_last_one_most)
{
	const char *flags[] = { "sync.poll_ms=20", "sync.poll_ms=30", "table.path=here", "sync.conninfo=a=b" };
	struct config *c = NULL;

	write_file("sync { poll_ms = 10 }", 21);
	ck_assert_msg(config_load(&c, path, flags, 4, err, sizeof err) == 0, "%s", err);
	ck_assert_int_eq(c->sync_poll_ms, 30);
	ck_assert_str_eq(c->table_path, "here");	/* a flag has a working directory */
	ck_assert_str_eq(c->sync_conninfo, "a=b");
	ck_assert_int_eq(config_source(c, option("sync.poll_ms")), CONFIG_FROM_FLAG);
	config_free(&c);
}
END_TEST

static const struct refusal bad_flags[] = {
	{ "sync.poll_ms", "-o sync.poll_ms: section.name=value is wanted" },
	{ "poll_ms=3", "-o poll_ms=3: section.name=value is wanted" },
	{ "a=b.c", "-o a=b.c: section.name=value is wanted" },
	{ "", "-o : section.name=value is wanted" },
	{ "sync.poll=3", "-o sync.poll: no such setting; did you mean poll_ms? There is conninfo, poll_ms" },
	{ "snc.poll_ms=3", "-o snc.poll_ms: no such section; did you mean sync? There is table, responder, sync" },
	{ "sync.poll_ms=x", "-o sync.poll_ms: \"x\" is not allowed; 10 to 3600000 is" },
};

START_TEST(bad_flags_are_refused)
{
	const struct refusal *r = &bad_flags[_i];
	struct config *c = NULL;

	write_file("", 0);
	ck_assert_int_eq(config_load(&c, path, &r->text, 1, err, sizeof err), -1);
	ck_assert_ptr_null(c);
	ck_assert_msg(strncmp(err, r->want, strlen(r->want)) == 0, "\"%s\", want \"%s\"", err, r->want);
}
END_TEST

START_TEST(a_short_error_buffer_is_never_overrun)
{
	struct config *c = NULL;
	const char *flag = "sync.no_such_setting=3";
	char small[8] = "1234567";

	write_file("", 0);
	ck_assert_int_eq(config_load(&c, path, &flag, 1, small, 4), -1);
	ck_assert_str_eq(small, "-o ");
	ck_assert_str_eq(small + 4, "567");
}
END_TEST

/* options.def itself: a default that a file could not hold would be a trap. */
START_TEST(every_default_may_be_written_in_a_file)
{
	const struct option_desc *d = &option_descs[_i];
	char text[512];
	struct config *c;

	snprintf(text, sizeof text, "%s { %s = %s }\n", d->section, d->name, d->def);
	c = load_text(text);
	ck_assert_msg(c != NULL, "%s", err);
	ck_assert_int_eq(config_source(c, (size_t)_i), CONFIG_FROM_FILE);
	config_free(&c);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("config");
	TCase *tc = tcase_create("load");
	int status;

	close(mkstemp(path));
	tcase_add_loop_test(tc, an_empty_file_is_all_defaults, 0, 4);
	tcase_add_test(tc, a_file_sets_what_it_names);
	tcase_add_test(tc, the_environment_is_expanded);
	tcase_add_test(tc, long_values_are_whole);
	tcase_add_loop_test(tc, what_is_wrong_is_named_with_its_line, 0, sizeof refusals / sizeof refusals[0]);
	tcase_add_test(tc, files_that_are_none_are_errors);
	tcase_add_test(tc, flags_win_and_the_last_one_most);
	tcase_add_loop_test(tc, bad_flags_are_refused, 0, sizeof bad_flags / sizeof bad_flags[0]);
	tcase_add_test(tc, a_short_error_buffer_is_never_overrun);
	tcase_add_loop_test(tc, every_default_may_be_written_in_a_file, 0, OPTION_COUNT);
	suite_add_tcase(s, tc);
	status = run(s);
	unlink(path);
	return status;
}

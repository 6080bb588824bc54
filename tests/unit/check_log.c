/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <regex.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "run.h"

static char text[8192];
static int reading, kept;

/* stderr becomes a pipe until told(), the journal's if JOURNAL_STREAM tells its place */
static void
listen_to_stderr(void)
{
	int ends[2];

	ck_assert_int_eq(pipe(ends), 0);
	kept = dup(STDERR_FILENO);
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	reading = ends[0];
	unsetenv("JOURNAL_STREAM");
}

static void
call_it_the_journal(ino_t more)
{
	char place[64];
	struct stat st;

	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	snprintf(place, sizeof place, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)(st.st_ino + more));
	setenv("JOURNAL_STREAM", place, 1);
}

static const char *
told(void)
{
	ssize_t n, len = 0;

	dup2(kept, STDERR_FILENO);
	close(kept);
	while ((n = read(reading, text + len, sizeof text - 1 - (size_t)len)) > 0)
		len += n;
	close(reading);
	text[len] = '\0';
	return text;
}

static void
check_is_for_people(const char *line)
{
	regex_t like;

	ck_assert_int_eq(regcomp(&like, "^[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]Z "
	    "prog warning: sync: lost host=db1\n$", REG_EXTENDED | REG_NOSUB), 0);
	ck_assert_msg(regexec(&like, line, 0, NULL, 0) == 0, "%s", line);
	regfree(&like);
}

START_TEST(outside_the_journal_a_line_has_time_program_and_level)
{
	listen_to_stderr();
	log_open("prog", LOG_LEVEL_INFO);
	log_warn("sync: lost host=%s", "db1");
	check_is_for_people(told());
}
END_TEST

/* started from a service's shell, with its stderr elsewhere */
START_TEST(an_inherited_journal_is_not_ours)
{
	listen_to_stderr();
	call_it_the_journal(1);
	log_open("prog", LOG_LEVEL_INFO);
	log_warn("sync: lost host=%s", "db1");
	check_is_for_people(told());
}
END_TEST

START_TEST(a_line_has_its_priority)
{
	listen_to_stderr();
	call_it_the_journal(0);
	log_open("prog", LOG_LEVEL_INFO);
	log_err("sync: lost host=%s", "db1");
	log_warn("w");
	log_notice("n");
	log_info("i");
	log_debug("never");
	ck_assert_str_eq(told(), "<3>sync: lost host=db1\n<4>w\n<5>n\n<6>i\n");
}
END_TEST

START_TEST(levels_above_the_most_are_dropped)
{
	listen_to_stderr();
	call_it_the_journal(0);
	log_open("prog", LOG_LEVEL_WARNING);
	log_notice("n");
	log_warn("w");
	ck_assert_str_eq(told(), "<4>w\n");
}
END_TEST

START_TEST(a_message_of_several_lines_is_one)
{
	listen_to_stderr();
	call_it_the_journal(0);
	log_open("prog", LOG_LEVEL_DEBUG);
	log_debug("FATAL: no\nDETAIL:\tthe \x1b[1m\x7f end\r\n\n");
	ck_assert_str_eq(told(), "<7>FATAL: no DETAIL: the  [1m  end\n");
}
END_TEST

START_TEST(a_long_line_is_cut_and_says_so)
{
	static char x[4000];
	const char *line;

	memset(x, 'x', sizeof x - 1);
	listen_to_stderr();
	log_open("prog", LOG_LEVEL_INFO);
	log_info("%s", x);
	line = told();
	ck_assert_uint_eq(strlen(line), 2049);
	ck_assert_str_eq(line + 2045, "...\n");
}
END_TEST

START_TEST(errno_survives)
{
	listen_to_stderr();
	log_open("prog", LOG_LEVEL_INFO);
	close(STDERR_FILENO);
	errno = EDOM;
	log_info("nobody listens");
	ck_assert_int_eq(errno, EDOM);
	ck_assert_str_eq(told(), "");
}
END_TEST

static const struct value {
	const char	*in;
	size_t		 len;
	const char	*want;
} values[] = {
	{ "https://a.example:8443", 22, "https://a.example:8443" },
	{ "", 0, "\"\"" },
	{ "a b", 3, "\"a b\"" },
	{ "a=b", 3, "\"a=b\"" },
	{ "a\"b\\c", 5, "\"a\\\"b\\\\c\"" },
	{ "a\\b", 3, "a\\b" },
	{ "\n\x1b[1m", 5, "\"\\x0a\\x1b[1m\"" },
	{ "\xc3\xa4", 2, "\"\\xc3\\xa4\"" },
	{ "a\0b", 3, "\"a\\x00b\"" },
	{ "\x7f", 1, "\"\\x7f\"" },
	/* cut to 31 bytes and a NUL, whole escapes only, the quote closed */
	{ "0123456789012345678901234567890123456789", 40, "0123456789012345678901234567890" },
	{ " 0123456789012345678901234567890123456789", 41, "\" 0123456789012345678901234567\"" },
	{ " 01234567890123456789012345\n9", 29, "\" 01234567890123456789012345\"" },
};

START_TEST(values_are_quoted_where_they_must_be)
{
	const struct value *v = &values[_i];
	char buf[32];

	ck_assert_str_eq(log_value(buf, sizeof buf, v->in, v->len), v->want);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("log");
	TCase *tc = tcase_create("log");

	tcase_add_test(tc, a_line_has_its_priority);
	tcase_add_test(tc, outside_the_journal_a_line_has_time_program_and_level);
	tcase_add_test(tc, an_inherited_journal_is_not_ours);
	tcase_add_test(tc, levels_above_the_most_are_dropped);
	tcase_add_test(tc, a_message_of_several_lines_is_one);
	tcase_add_test(tc, a_long_line_is_cut_and_says_so);
	tcase_add_test(tc, errno_survives);
	tcase_add_loop_test(tc, values_are_quoted_where_they_must_be, 0, sizeof values / sizeof values[0]);
	suite_add_tcase(s, tc);
	return run(s);
}

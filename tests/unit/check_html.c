/* SPDX-License-Identifier: BSD-2-Clause */
#include "../../responder/html.h"

#include "run.h"

struct escaped {
	const char	*in;
	size_t		 len;
	const char	*text;
	const char	*value;
};

#define IN(s)	s, sizeof s - 1

static const struct escaped cases[] = {
	{ IN(""), "", "" },
	{ IN("https://a.example:8443"), "https://a.example:8443", "https://a.example:8443" },
	{ IN("<b a=\"c\" d='e'>&amp;"), "&lt;b a=&quot;c&quot; d=&#39;e&#39;&gt;&amp;amp;",
	    "&lt;b a=&quot;c&quot; d=&#39;e&#39;&gt;&amp;amp;" },
	{ IN("a\\x3c"), "a\\\\x3c", "a\\x3c" },
	{ IN("\r\n\t\0\x7f"), "\\x0d\\x0a\\x09\\x00\\x7f", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
	{ IN("\xc3\xbc"), "\\xc3\\xbc", "\xc3\xbc" },
	{ IN("\xe2\x80\xae"), "\\xe2\\x80\\xae", "\xe2\x80\xae" },		/* right-to-left: read it, do not see it */
	{ IN("\xc2\x85"), "\\xc2\\x85", "\xef\xbf\xbd" },			/* a C1 control */
	{ IN("\xff\xc0\xaf"), "\\xff\\xc0\\xaf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
	{ IN("\xe2\x82"), "\\xe2\\x82", "\xef\xbf\xbd\xef\xbf\xbd" },		/* cut off */
	{ IN("\xc3<"), "\\xc3&lt;", "\xef\xbf\xbd&lt;" },			/* a lead byte swallows nothing */
	{ IN("\xed\xa0\x80"), "\\xed\\xa0\\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
	{ IN("\xf0\x9f\x98\x80"), "\\xf0\\x9f\\x98\\x80", "\xf0\x9f\x98\x80" },
};

static void
ck_written(void (*write)(FILE *, struct span), const struct escaped *c, const char *want)
{
	size_t len = 0;
	char *got = NULL;
	FILE *out = open_memstream(&got, &len);

	write(out, (struct span){ c->in, c->len });
	fclose(out);
	ck_assert_str_eq(got, want);
	ck_assert_uint_eq(len, strlen(want));
	free(got);
}

START_TEST(text_is_readable_and_inert)
{
	ck_written(html_text, &cases[_i], cases[_i].text);
}
END_TEST

START_TEST(values_survive_the_form)
{
	ck_written(html_value, &cases[_i], cases[_i].value);
}
END_TEST

START_TEST(questions_survive_the_link)
{
	static const struct escaped c = { IN("https://a-b_c.~1:80/?&=%+\"<'\0\xff \n"), NULL, NULL };

	ck_written(html_query, &c, "https%3A%2F%2Fa-b_c.~1%3A80%2F%3F%26%3D%25%2B%22%3C%27%00%FF%20%0A");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("html");
	TCase *tcase = tcase_create("html");

	tcase_add_loop_test(tcase, text_is_readable_and_inert, 0, sizeof cases / sizeof cases[0]);
	tcase_add_loop_test(tcase, values_survive_the_form, 0, sizeof cases / sizeof cases[0]);
	tcase_add_test(tcase, questions_survive_the_link);
	suite_add_tcase(suite, tcase);
	return run(suite);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "../../responder/request.h"

#include <stdio.h>
#include <string.h>

#include "run.h"

static void
ck_span(struct span s, const char *want)
{
	ck_assert_msg(s.len == strlen(want) && memcmp(s.at, want, s.len) == 0, "\"%.*s\", want \"%s\"",
	    (int)s.len, s.at, want);
}

START_TEST(every_parameter_finds_its_place)
{
	static const char *const envp[] = {
		"FCGI_ROLE=RESPONDER", "REQUEST_METHOD=OPTIONS", "HTTP_ORIGIN=https://a.example",
		"HTTP_ACCESS_CONTROL_REQUEST_METHOD=PUT", "HTTP_ACCESS_CONTROL_REQUEST_HEADERS=x-a,x-b",
		"CORS_REALM=shop", "CORS_ENFORCE=1", "CORS_DEBUG=1", "CORS_PAGE=ready", "HTTP_HOST=h:81",
		"REQUEST_SCHEME=https", "HTTPS=on", "QUERY_STRING=origin=a", NULL
	};
	struct facts f;

	facts_read(&f, (char *const *)envp);
	ck_span(f.cors.method, "OPTIONS");
	ck_span(f.cors.origin, "https://a.example");
	ck_span(f.cors.acrm, "PUT");
	ck_span(f.cors.acrh[0], "x-a,x-b");
	ck_span(f.cors.realm, "shop");
	ck_span(f.page, "ready");
	ck_span(f.host, "h:81");
	ck_span(f.scheme, "https");
	ck_span(f.https, "on");
	ck_span(f.query, "origin=a");
	ck_assert(f.enforce && f.debug);
	ck_assert_uint_eq(f.cors.nmethod, 1);
	ck_assert_uint_eq(f.cors.nrealm, 1);
}
END_TEST

START_TEST(empty_is_absent)
{
	static const char *const envp[] = {
		"HTTP_ORIGIN=", "HTTP_ORIGIN=https://a.example", "HTTP_ORIGIN=", "CORS_REALM=", "REQUEST_METHOD",
		"=x", "HTTP_ACCESS_CONTROL_REQUEST_HEADERS=", "HTTP_ORIGINS=x", "HTTP_ORIGI=x", NULL
	};
	struct facts f;

	facts_read(&f, (char *const *)envp);
	ck_assert_uint_eq(f.cors.norigin, 1);
	ck_span(f.cors.origin, "https://a.example");
	ck_assert_uint_eq(f.cors.nrealm, 0);
	ck_assert_uint_eq(f.cors.realm.len, 0);
	ck_assert_ptr_nonnull(f.cors.realm.at);		/* it is hashed and compared, all the same */
	ck_assert_uint_eq(f.cors.nmethod, 0);
	ck_assert_uint_eq(f.cors.nacrh, 0);
}
END_TEST

START_TEST(repetitions_are_counted_and_bounded)
{
	const char *envp[ACRH_MAX_LINES + 12];
	struct facts f;
	size_t n = 0;

	envp[n++] = "HTTP_ORIGIN=https://a.example";
	envp[n++] = "HTTP_ORIGIN=https://b.example";
	envp[n++] = "CORS_REALM=a";
	envp[n++] = "CORS_REALM=a";
	while (n < ACRH_MAX_LINES + 11)
		envp[n++] = "HTTP_ACCESS_CONTROL_REQUEST_HEADERS=x-a";
	envp[n] = NULL;
	facts_read(&f, (char *const *)envp);
	ck_assert_uint_eq(f.cors.norigin, 2);
	ck_span(f.cors.origin, "https://a.example");
	ck_assert_uint_eq(f.cors.nrealm, 2);
	ck_assert_uint_eq(f.cors.nacrh, ACRH_MAX_LINES + 7);
}
END_TEST

START_TEST(a_switch_is_on_where_it_is_1_anywhere)
{
	static const char *const on[] = { "CORS_ENFORCE=1", "CORS_ENFORCE=0", "CORS_DEBUG=1", "CORS_DEBUG=0", NULL };
	static const char *const off[] = { "CORS_ENFORCE=0", "CORS_ENFORCE=11", "CORS_DEBUG=0", "CORS_DEBUG=on", NULL };
	struct facts f;

	facts_read(&f, (char *const *)on);
	ck_assert(f.enforce && f.debug);
	facts_read(&f, (char *const *)off);
	ck_assert(!f.enforce && !f.debug);
}
END_TEST

static const struct {
	const char	*env[5];
	bool		 own;
} owns[] = {
	{ { "HTTP_ORIGIN=https://a.example", "HTTP_HOST=a.example", "REQUEST_SCHEME=https" }, true },
	{ { "HTTP_ORIGIN=https://a.example", "HTTP_HOST=A.Example:443", "REQUEST_SCHEME=https" }, true },
	{ { "HTTP_ORIGIN=https://z.example", "HTTP_HOST=Z.example", "REQUEST_SCHEME=https" }, true },
	{ { "HTTP_ORIGIN=https://a.example", "HTTP_HOST=a.example", "HTTPS=on" }, true },
	{ { "HTTP_ORIGIN=https://a.example", "HTTP_HOST=a.example", "HTTPS=1" }, true },
	{ { "HTTP_ORIGIN=http://a.example", "HTTP_HOST=a.example", "HTTPS=off" }, true },
	{ { "HTTP_ORIGIN=http://a.example", "HTTP_HOST=a.example", "REQUEST_SCHEME=http", "HTTPS=on" }, true },
	{ { "HTTP_ORIGIN=http://a.example", "HTTP_HOST=a.example:80" }, true },
	{ { "HTTP_ORIGIN=http://a.example:8080", "HTTP_HOST=a.example:8080", "REQUEST_SCHEME=http" }, true },
	{ { "HTTP_ORIGIN=http://[::1]:8080", "HTTP_HOST=[::1]:8080", "REQUEST_SCHEME=http" }, true },
	{ { "HTTP_ORIGIN=http://a.example", "HTTP_HOST=a.example", "REQUEST_SCHEME=https" }, false },
	{ { "HTTP_ORIGIN=http://a.example", "HTTP_HOST=a.example", "HTTPS=on" }, false },
	{ { "HTTP_ORIGIN=https://a.example", "HTTP_HOST=a.example:80", "REQUEST_SCHEME=https" }, false },
	{ { "HTTP_ORIGIN=https://a.example:8443", "HTTP_HOST=a.example", "REQUEST_SCHEME=https" }, false },
	{ { "HTTP_ORIGIN=https://a.example.evil", "HTTP_HOST=a.example", "REQUEST_SCHEME=https" }, false },
	{ { "HTTP_ORIGIN=https://b.example", "HTTP_HOST=a.example", "REQUEST_SCHEME=https" }, false },
	{ { "HTTP_ORIGIN=ionic://a.example", "HTTP_HOST=a.example", "REQUEST_SCHEME=https" }, false },
	{ { "HTTP_ORIGIN=https.//a.example", "HTTP_HOST=a.example", "REQUEST_SCHEME=https" }, false },
	{ { "HTTP_ORIGIN=https://a.exampl", "HTTP_HOST=a.example", "REQUEST_SCHEME=https" }, false },
	{ { "HTTP_ORIGIN=https://", "HTTP_HOST=:443", "REQUEST_SCHEME=https" }, false },
	{ { "HTTP_ORIGIN=null", "HTTP_HOST=null", "REQUEST_SCHEME=https" }, false },
	{ { "HTTP_ORIGIN=https://a.example", "REQUEST_SCHEME=https" }, false },
	{ { "HTTP_ORIGIN=https://", "REQUEST_SCHEME=https" }, false },
	{ { "HTTP_ORIGIN=ftp://a.example", "HTTP_HOST=a.example", "REQUEST_SCHEME=ftp" }, false },
	{ { "HTTP_ORIGIN=http://a.example", "HTTP_HOST=a.example", "REQUEST_SCHEME=ftp" }, false },
	{ { "HTTP_ORIGIN=https://a.example", "HTTP_ORIGIN=https://b.example", "HTTP_HOST=a.example",
	    "REQUEST_SCHEME=https" }, false },
	{ { "HTTP_ORIGIN=https://a.example", "HTTP_HOST=a.example", "HTTP_HOST=b.example",
	    "REQUEST_SCHEME=https" }, false },
	{ { "HTTP_ORIGIN=https://a.example", "HTTP_HOST=a.example", "REQUEST_SCHEME=https",
	    "REQUEST_SCHEME=http" }, false },
	{ { "HTTP_ORIGIN=http://a.example", "HTTP_HOST=a.example", "REQUEST_SCHEME=http",
	    "REQUEST_SCHEME=https" }, false },
	{ { "HTTP_ORIGIN=https://a.example", "HTTP_HOST=a.example", "HTTPS=on", "HTTPS=off" }, false },
};

START_TEST(the_servers_own_origin_is_known)
{
	struct facts f;

	facts_read(&f, (char *const *)owns[_i].env);
	ck_assert_msg(facts_origin_is_own(&f) == owns[_i].own, "%s %s: want %d", owns[_i].env[0],
	    owns[_i].env[1], owns[_i].own);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("request");
	TCase *tc = tcase_create("facts");

	tcase_add_test(tc, every_parameter_finds_its_place);
	tcase_add_test(tc, empty_is_absent);
	tcase_add_test(tc, repetitions_are_counted_and_bounded);
	tcase_add_test(tc, a_switch_is_on_where_it_is_1_anywhere);
	tcase_add_loop_test(tc, the_servers_own_origin_is_known, 0, sizeof owns / sizeof owns[0]);
	suite_add_tcase(suite, tc);
	return run(suite);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "origin.h"

#include <stdio.h>
#include <string.h>

#include "run.h"

#define A10	"aaaaaaaaaa"
#define A60	A10 A10 A10 A10 A10 A10
#define A63	A60 "aaa"
#define HOST251	A63 "." A63 "." A63 "." A10 A10 A10 A10 A10 "aaaaaaaaa"
#define HOST253	HOST251 "bb"
#define DEEP63	"a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a." \
		"a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a"

static const char *
show(struct span s)
{
	static char text[512];

	snprintf(text, sizeof(text), "%.*s", (int)s.len, s.at);
	return text;
}

static const struct {
	const char		*in;
	const char		*scheme;
	const char		*host;
	enum host_kind		 kind;
	uint16_t		 port;
} accepted[] = {
	{ "https://example.com", "https", "example.com", HOST_NAME, 0 },
	{ "https://example.com:8443", "https", "example.com", HOST_NAME, 8443 },
	{ "http://localhost:1", "http", "localhost", HOST_NAME, 1 },
	{ "http://localhost:65535", "http", "localhost", HOST_NAME, 65535 },
	{ "https://example.com:80", "https", "example.com", HOST_NAME, 80 },
	{ "http://example.com:443", "http", "example.com", HOST_NAME, 443 },
	{ "capacitor://localhost:443", "capacitor", "localhost", HOST_NAME, 443 },
	{ "a://b", "a", "b", HOST_NAME, 0 },
	{ "z9+.-://0_", "z9+.-", "0_", HOST_NAME, 0 },
	{ "https://-a-.-_-.xn--p1ai", "https", "-a-.-_-.xn--p1ai", HOST_NAME, 0 },
	{ "https://1.2.3.4.com", "https", "1.2.3.4.com", HOST_NAME, 0 },
	{ "https://a.0y1", "https", "a.0y1", HOST_NAME, 0 },
	{ "https://a.0xg", "https", "a.0xg", HOST_NAME, 0 },
	{ "https://a.1-", "https", "a.1-", HOST_NAME, 0 },
	{ "https://" A63 ".com", "https", A63 ".com", HOST_NAME, 0 },
	{ "https://a." A63 "." A63, "https", "a." A63 "." A63, HOST_NAME, 0 },
	{ "https://" HOST253, "https", HOST253, HOST_NAME, 0 },
	{ A60 "aaaa://x", A60 "aaaa", "x", HOST_NAME, 0 },
	{ A60 "aaaa://" HOST253 ":65535", A60 "aaaa", HOST253, HOST_NAME, 65535 },
	{ "chrome-extension://0f1d", "chrome-extension", "0f1d", HOST_NAME, 0 },
	{ "moz-extension://0x12", "moz-extension", "0x12", HOST_NAME, 0 },
	{ "moz-extension://12", "moz-extension", "12", HOST_NAME, 0 },
	{ "app://1.2.3.4", "app", "1.2.3.4", HOST_IPV4, 0 },
	{ "http://127.0.0.1", "http", "127.0.0.1", HOST_IPV4, 0 },
	{ "http://0.0.0.0:8080", "http", "0.0.0.0", HOST_IPV4, 8080 },
	{ "http://255.255.255.255", "http", "255.255.255.255", HOST_IPV4, 0 },
	{ "http://[::]", "http", "[::]", HOST_IPV6, 0 },
	{ "http://[::1]", "http", "[::1]", HOST_IPV6, 0 },
	{ "http://[1::]:8080", "http", "[1::]", HOST_IPV6, 8080 },
	{ "http://[2001:db8::1]", "http", "[2001:db8::1]", HOST_IPV6, 0 },
	{ "http://[1:2:3:4:5:6:7:8]", "http", "[1:2:3:4:5:6:7:8]", HOST_IPV6, 0 },
	{ "http://[1:0:3:4:5:6:7:8]", "http", "[1:0:3:4:5:6:7:8]", HOST_IPV6, 0 },
	{ "http://[1::4:0:0:7:8]", "http", "[1::4:0:0:7:8]", HOST_IPV6, 0 },
	{ "http://[1:0:0:4::8]", "http", "[1:0:0:4::8]", HOST_IPV6, 0 },
	{ "http://[1:0:0:4:5::]", "http", "[1:0:0:4:5::]", HOST_IPV6, 0 },
	{ "http://[::ffff:0:1:2]", "http", "[::ffff:0:1:2]", HOST_IPV6, 0 },
	{ "http://[fe80::ffff:ffff:ffff:ffff]", "http", "[fe80::ffff:ffff:ffff:ffff]", HOST_IPV6, 0 },
	/* applications and extensions */
	{ "app://.", "app", ".", HOST_OPAQUE, 0 },
	{ "app://..", "app", "..", HOST_OPAQUE, 0 },
	{ "app://.:3000", "app", ".", HOST_OPAQUE, 3000 },
	{ "app://", "app", "", HOST_OPAQUE, 0 },
	{ "app://a.", "app", "a.", HOST_OPAQUE, 0 },
	{ "app://a..b", "app", "a..b", HOST_OPAQUE, 0 },
	{ "app://" A63 "a", "app", A63 "a", HOST_OPAQUE, 0 },
	{ "capacitor://localhost", "capacitor", "localhost", HOST_NAME, 0 },
	{ "capacitor://LocalHost", "capacitor", "LocalHost", HOST_OPAQUE, 0 },
	{ "safari-web-extension://DCEA6524-AB56-4469-895F-D4F4E84F139E", "safari-web-extension",
	    "DCEA6524-AB56-4469-895F-D4F4E84F139E", HOST_OPAQUE, 0 },
	{ "safari-web-extension://dcea6524-ab56-4469-895f-d4f4e84f139e", "safari-web-extension",
	    "dcea6524-ab56-4469-895f-d4f4e84f139e", HOST_NAME, 0 },
	{ "vscode-webview://0a1b2c3d4e5f", "vscode-webview", "0a1b2c3d4e5f", HOST_NAME, 0 },
	{ "app://[::1]", "app", "[::1]", HOST_IPV6, 0 },
	{ "app://[::1]:1", "app", "[::1]", HOST_IPV6, 1 },
	{ "app://1.2.3.256", "app", "1.2.3.256", HOST_NAME, 0 },
	{ "app://!\"$%&'()+,-._~", "app", "!\"$%&'()+,-._~", HOST_OPAQUE, 0 },
	{ "app://;=`{}%zz%C3%a9", "app", ";=`{}%zz%C3%a9", HOST_OPAQUE, 0 },
	{ "app://" HOST253, "app", HOST253, HOST_NAME, 0 },
	{ "file-system://x", "file-system", "x", HOST_NAME, 0 },
};

START_TEST(takes_apart_what_browsers_send)
{
	struct origin o;
	enum origin_status got = origin_parse(&o, accepted[_i].in, strlen(accepted[_i].in));

	ck_assert_msg(got == ORIGIN_OK, "\"%s\": %s", accepted[_i].in, origin_strstatus(got));
	ck_assert_str_eq(show(o.text), accepted[_i].in);
	ck_assert_str_eq(show(o.scheme), accepted[_i].scheme);
	ck_assert_str_eq(show(o.host), accepted[_i].host);
	ck_assert_int_eq(o.kind, accepted[_i].kind);
	ck_assert_uint_eq(o.port, accepted[_i].port);
}
END_TEST

/* Every one of them is a rule as well, and that rule matches it. */
START_TEST(an_origin_is_a_rule_for_itself)
{
	struct origin o;
	struct rule r;

	ck_assert_int_eq(origin_parse(&o, accepted[_i].in, strlen(accepted[_i].in)), ORIGIN_OK);
	ck_assert_int_eq(rule_parse(&r, accepted[_i].in, strlen(accepted[_i].in)), ORIGIN_OK);
	ck_assert_int_eq(r.form, RULE_EXACT);
	ck_assert_uint_eq(r.depth, 0);
	ck_assert(rule_matches(&r, &o));
}
END_TEST

static const struct {
	const char		*in;
	enum origin_status	 want;
} refused[] = {
	{ "null", ORIGIN_NULL },
	{ "", ORIGIN_EMPTY },
	{ A60 "aaaa://" HOST253 ":655350", ORIGIN_TOO_LONG },
	{ A60 "aaaaa://x", ORIGIN_TOO_LONG },
	{ " https://example.com", ORIGIN_BAD_BYTE },
	{ "https://example.com ", ORIGIN_BAD_BYTE },
	{ "https://a.com, https://b.com", ORIGIN_BAD_BYTE },
	{ "https://a.com,b.com", ORIGIN_BAD_BYTE },
	{ "https://exa\tmple.com", ORIGIN_BAD_BYTE },
	{ "https://example.com\x01", ORIGIN_BAD_BYTE },
	{ "https://example.com\x7f", ORIGIN_BAD_BYTE },
	{ "https://ex\xc3\xa9mple.com", ORIGIN_BAD_BYTE },
	{ "https://example.com\xff", ORIGIN_BAD_BYTE },
	{ "https://a'b", ORIGIN_BAD_BYTE },
	{ "https://a\"b", ORIGIN_BAD_BYTE },
	{ "https://a<b", ORIGIN_BAD_BYTE },
	{ "https://a>b", ORIGIN_BAD_BYTE },
	{ "https://a;b", ORIGIN_BAD_BYTE },
	{ "https://a`b", ORIGIN_BAD_BYTE },
	{ "ht\xc3\xa9://a", ORIGIN_BAD_BYTE },
	{ "HTTPS://example.com", ORIGIN_UPPER_CASE },
	{ "https://Example.com", ORIGIN_UPPER_CASE },
	{ "http://[::A]", ORIGIN_UPPER_CASE },
	{ "NULL", ORIGIN_UPPER_CASE },
	{ "example.com", ORIGIN_NO_SCHEME },
	{ "//example.com", ORIGIN_NO_SCHEME },
	{ "://example.com", ORIGIN_NO_SCHEME },
	{ "https:example.com", ORIGIN_NO_SCHEME },
	{ "https:/example.com", ORIGIN_NO_SCHEME },
	{ "https", ORIGIN_NO_SCHEME },
	{ "https:", ORIGIN_NO_SCHEME },
	{ "https:/", ORIGIN_NO_SCHEME },
	{ "1http://a", ORIGIN_NO_SCHEME },
	{ "-://a", ORIGIN_NO_SCHEME },
	{ "ht_tp://a", ORIGIN_NO_SCHEME },
	{ "blob:https://example.com", ORIGIN_NO_SCHEME },
	{ "nullx", ORIGIN_NO_SCHEME },
	{ "*", ORIGIN_NO_SCHEME },
	{ "file://", ORIGIN_FILE },
	{ "file:///etc/passwd", ORIGIN_FILE },
	{ "https://user@example.com", ORIGIN_USERINFO },
	{ "https://user:pass@example.com", ORIGIN_USERINFO },
	{ "https://@example.com", ORIGIN_USERINFO },
	{ "https://example.com/", ORIGIN_PATH },
	{ "https://example.com/path@x", ORIGIN_PATH },
	{ "https://example.com?q", ORIGIN_PATH },
	{ "https://example.com#f", ORIGIN_PATH },
	{ "https://example.com\\", ORIGIN_PATH },
	{ "https://example.com:8080/", ORIGIN_PATH },
	{ "https://evil.com/.example.com", ORIGIN_PATH },
	{ "https://", ORIGIN_NO_HOST },
	{ "https:///x", ORIGIN_NO_HOST },
	{ "https://:80", ORIGIN_NO_HOST },
	{ "https://::1", ORIGIN_NO_HOST },
	{ "https://exa%6dple.com", ORIGIN_BAD_HOST },
	{ "https://a+b", ORIGIN_BAD_HOST },
	{ "https://a!b", ORIGIN_BAD_HOST },
	{ "https://a$b", ORIGIN_BAD_HOST },
	{ "https://a^b", ORIGIN_BAD_HOST },
	{ "https://a|b", ORIGIN_BAD_HOST },
	{ "https://a~b", ORIGIN_BAD_HOST },
	{ "https://a(b)", ORIGIN_BAD_HOST },
	{ "https://a=b", ORIGIN_BAD_HOST },
	{ "https://a[::1]", ORIGIN_BAD_HOST },
	{ "https://a]", ORIGIN_BAD_HOST },
	{ "https://example..com", ORIGIN_BAD_LABEL },
	{ "https://.example.com", ORIGIN_BAD_LABEL },
	{ "https://example.com.", ORIGIN_BAD_LABEL },
	{ "http://127.0.0.1.", ORIGIN_BAD_LABEL },
	{ "https://" A63 "a.com", ORIGIN_BAD_LABEL },
	{ "https://b." A63 "a", ORIGIN_BAD_LABEL },
	{ "https://" A63 ".b." A63 "a.com", ORIGIN_BAD_LABEL },
	{ "https://" HOST253 "c", ORIGIN_HOST_TOO_LONG },
	{ "http://127.0.0.256", ORIGIN_BAD_IPV4 },
	{ "http://127.0.0", ORIGIN_BAD_IPV4 },
	{ "http://127.0.0.0.1", ORIGIN_BAD_IPV4 },
	{ "http://127.0.0.01", ORIGIN_BAD_IPV4 },
	{ "http://00.0.0.0", ORIGIN_BAD_IPV4 },
	{ "http://127.0.0.1000", ORIGIN_BAD_IPV4 },
	{ "http://2130706433", ORIGIN_BAD_IPV4 },
	{ "http://0x7f.0.0.1", ORIGIN_BAD_IPV4 },
	{ "http://127.0.0.0x1", ORIGIN_BAD_IPV4 },
	{ "https://example.0x", ORIGIN_BAD_IPV4 },
	{ "https://example.1", ORIGIN_BAD_IPV4 },
	{ "ws://example.1", ORIGIN_BAD_IPV4 },
	{ "wss://example.08", ORIGIN_BAD_IPV4 },
	{ "ftp://example.0xa0", ORIGIN_BAD_IPV4 },
	{ "http://[]", ORIGIN_BAD_IPV6 },
	{ "http://[::1", ORIGIN_BAD_IPV6 },
	{ "http://[", ORIGIN_BAD_IPV6 },
	{ "http://[::1]x", ORIGIN_BAD_IPV6 },
	{ "http://[::1]]", ORIGIN_BAD_IPV6 },
	{ "http://[[::1]]", ORIGIN_BAD_IPV6 },
	{ "http://[:]", ORIGIN_BAD_IPV6 },
	{ "http://[:::]", ORIGIN_BAD_IPV6 },
	{ "http://[1]", ORIGIN_BAD_IPV6 },
	{ "http://[:1]", ORIGIN_BAD_IPV6 },
	{ "http://[1:]", ORIGIN_BAD_IPV6 },
	{ "http://[::1:]", ORIGIN_BAD_IPV6 },
	{ "http://[1::2::3]", ORIGIN_BAD_IPV6 },
	{ "http://[::01]", ORIGIN_BAD_IPV6 },
	{ "http://[::00]", ORIGIN_BAD_IPV6 },
	{ "http://[::10000]", ORIGIN_BAD_IPV6 },
	{ "http://[::g]", ORIGIN_BAD_IPV6 },
	{ "http://[0:0:0:0:0:0:0:1]", ORIGIN_BAD_IPV6 },
	{ "http://[1:2:3:4:5:6:7]", ORIGIN_BAD_IPV6 },
	{ "http://[1:2:3:4:5:6:7:8:9]", ORIGIN_BAD_IPV6 },
	{ "http://[::2:3:4:5:6:7:8]", ORIGIN_BAD_IPV6 },
	{ "http://[1:2:3:4:5:6:7::]", ORIGIN_BAD_IPV6 },
	{ "http://[1:2:3:4::5:6:7:8]", ORIGIN_BAD_IPV6 },
	{ "http://[1:0:0:4:0:0:7:8]", ORIGIN_BAD_IPV6 },
	{ "http://[1:0:0:4:5:6::]", ORIGIN_BAD_IPV6 },
	{ "http://[1:0:0:4::7:8]", ORIGIN_BAD_IPV6 },
	{ "http://[1:0:0:0::8]", ORIGIN_BAD_IPV6 },
	{ "http://[0::1]", ORIGIN_BAD_IPV6 },
	{ "http://[fe80::1%eth0]", ORIGIN_BAD_IPV6 },
	{ "http://[::ffff:1.2.3.4]", ORIGIN_BAD_IPV6 },
	{ "http://[::1.2.3.4]", ORIGIN_BAD_IPV6 },
	{ "http://[::ffff:102:304]", ORIGIN_BAD_IPV6 },
	{ "http://[::ffff:0:0]", ORIGIN_BAD_IPV6 },
	{ "https://example.com:", ORIGIN_BAD_PORT },
	{ "https://example.com:0", ORIGIN_BAD_PORT },
	{ "https://example.com:080", ORIGIN_BAD_PORT },
	{ "https://example.com:65536", ORIGIN_BAD_PORT },
	{ "https://example.com:99999", ORIGIN_BAD_PORT },
	{ "https://example.com:100000", ORIGIN_BAD_PORT },
	{ "https://example.com:8a", ORIGIN_BAD_PORT },
	{ "https://example.com:-1", ORIGIN_BAD_PORT },
	{ "https://example.com:8$", ORIGIN_BAD_PORT },
	{ "https://example.com:+1", ORIGIN_BAD_PORT },
	{ "https://example.com:80:80", ORIGIN_BAD_PORT },
	{ "http://[::1]:", ORIGIN_BAD_PORT },
	{ "https://example.com:443", ORIGIN_DEFAULT_PORT },
	{ "http://example.com:80", ORIGIN_DEFAULT_PORT },
	{ "http://[::1]:80", ORIGIN_DEFAULT_PORT },
	{ "ws://example.com:80", ORIGIN_DEFAULT_PORT },
	{ "wss://example.com:443", ORIGIN_DEFAULT_PORT },
	{ "ftp://example.com:21", ORIGIN_DEFAULT_PORT },
	{ "https://*.example.com", RULE_BAD_WILDCARD },
	{ "https://example.com:*", RULE_BAD_WILDCARD },
	/* no serialisation of an opaque host */
	{ "app://*", RULE_BAD_WILDCARD },
	{ "app://a*b", RULE_BAD_WILDCARD },
	{ "app://a b", ORIGIN_BAD_BYTE },
	{ "app://a\tb", ORIGIN_BAD_BYTE },
	{ "app://a\x01", ORIGIN_BAD_BYTE },
	{ "app://a\x7f", ORIGIN_BAD_BYTE },
	{ "app://\xc3\xa9", ORIGIN_BAD_BYTE },
	{ "app://a<b", ORIGIN_BAD_HOST },
	{ "app://a>b", ORIGIN_BAD_HOST },
	{ "app://a^b", ORIGIN_BAD_HOST },
	{ "app://a|b", ORIGIN_BAD_HOST },
	{ "app://a[b", ORIGIN_BAD_HOST },
	{ "app://a]b", ORIGIN_BAD_HOST },
	{ "app://a@b", ORIGIN_USERINFO },
	{ "app://a/", ORIGIN_PATH },
	{ "app:///", ORIGIN_PATH },
	{ "app:///index.html", ORIGIN_PATH },
	{ "app://./index.html", ORIGIN_PATH },
	{ "app://a?b", ORIGIN_PATH },
	{ "app://a#b", ORIGIN_PATH },
	{ "app://a\\b", ORIGIN_PATH },
	{ "app://:80", ORIGIN_NO_HOST },
	{ "app://a:", ORIGIN_BAD_PORT },
	{ "app://a:080", ORIGIN_BAD_PORT },
	{ "app://a:65536", ORIGIN_BAD_PORT },
	{ "app://a:b", ORIGIN_BAD_PORT },
	{ "app://a:1:2", ORIGIN_BAD_PORT },
	{ "app://[::A]", ORIGIN_BAD_IPV6 },
	{ "app://[::01]", ORIGIN_BAD_IPV6 },
	{ "app://[::1", ORIGIN_BAD_IPV6 },
	{ "app://[::1]x", ORIGIN_BAD_IPV6 },
	{ "app://" HOST253 "c", ORIGIN_HOST_TOO_LONG },
	{ "App://.", ORIGIN_UPPER_CASE },
	{ "app:.", ORIGIN_NO_SCHEME },
	/* of a special scheme no host is opaque */
	{ "https://.", ORIGIN_BAD_LABEL },
	{ "ws://A", ORIGIN_UPPER_CASE },
	{ "ftp://", ORIGIN_NO_HOST },
	{ "wss://a'b", ORIGIN_BAD_BYTE },
};

START_TEST(says_why_it_refuses_an_origin)
{
	struct origin o, before;
	enum origin_status got;

	memset(&o, 0x5a, sizeof(o));
	before = o;
	got = origin_parse(&o, refused[_i].in, strlen(refused[_i].in));
	ck_assert_msg(got == refused[_i].want, "\"%s\": %s; want %s", refused[_i].in,
	    origin_strstatus(got), origin_strstatus(refused[_i].want));
	ck_assert_mem_eq(&o, &before, sizeof(o));	/* left alone */
}
END_TEST

/* The status of "https://" and a host of len letters, but for one byte. */
static enum origin_status
status_with(size_t len, size_t at, char byte)
{
	char text[128] = "https://";
	struct origin o;

	memset(text + 8, 'a', len);
	text[8 + at] = byte;
	return origin_parse(&o, text, 8 + len);
}

/* Short hosts and long ones go different ways: what is said of a byte in the one holds in the other. */
START_TEST(a_byte_is_judged_alike_in_short_and_long_hosts)
{
	for (int byte = 0; byte < 256; byte++) {
		char c = (char)byte;

		for (size_t len = 3; len <= 60; len++)
			for (size_t at = 0; at < len; at++) {
				enum origin_status want = status_with(3, at == 0 ? 0 : at == len - 1 ? 2 : 1, c);
				enum origin_status got = status_with(len, at, c);

				ck_assert_msg(got == want, "byte %d at %zu of %zu: %s; want %s", byte, at, len,
				    origin_strstatus(got), origin_strstatus(want));
			}
	}
}
END_TEST

START_TEST(no_label_is_empty_wherever_two_dots_stand)
{
	char text[128] = "https://";
	struct origin o;

	for (size_t len = 3; len <= 60; len++)
		for (size_t i = 0; i < len; i++)
			for (size_t j = i + 1; j < len; j++) {
				bool is_empty = i == 0 || j == i + 1 || j == len - 1;

				memset(text + 8, 'a', len);
				text[8 + i] = text[8 + j] = '.';
				ck_assert_msg(origin_parse(&o, text, 8 + len) == (is_empty ? ORIGIN_BAD_LABEL : ORIGIN_OK),
				    "dots at %zu and %zu of %zu", i, j, len);
			}
}
END_TEST

START_TEST(a_nul_byte_is_no_end)
{
	static const char text[] = "https://a.com\0.b.com";
	struct origin o;

	ck_assert_int_eq(origin_parse(&o, text, sizeof(text) - 1), ORIGIN_BAD_BYTE);
	ck_assert_int_eq(origin_parse(&o, "null", 5), ORIGIN_BAD_BYTE);
}
END_TEST

static const struct {
	const char		*in;
	enum origin_status	 want;
	enum rule_form		 form;
	const char		*host;
	uint16_t		 port;
	unsigned		 depth;
} rules[] = {
	{ "*", ORIGIN_OK, RULE_ANY, "", 0, 0 },
	{ "https://example.com", ORIGIN_OK, RULE_EXACT, "example.com", 0, 0 },
	{ "https://example.com:*", ORIGIN_OK, RULE_HOST_ANY_PORT, "example.com", 0, 0 },
	{ "http://127.0.0.1:*", ORIGIN_OK, RULE_HOST_ANY_PORT, "127.0.0.1", 0, 0 },
	{ "http://[::1]:*", ORIGIN_OK, RULE_HOST_ANY_PORT, "[::1]", 0, 0 },
	{ "https://*.example.com", ORIGIN_OK, RULE_SUFFIX, "example.com", 0, 2 },
	{ "https://*.kin", ORIGIN_OK, RULE_SUFFIX, "kin", 0, 1 },
	{ "https://*.example.com:8443", ORIGIN_OK, RULE_SUFFIX, "example.com", 8443, 2 },
	{ "https://*.a.example.com:*", ORIGIN_OK, RULE_SUFFIX_ANY_PORT, "a.example.com", 0, 3 },
	{ "https://*." HOST251, ORIGIN_OK, RULE_SUFFIX, HOST251, 0, 4 },
	{ "https://*." DEEP63, ORIGIN_OK, RULE_SUFFIX, DEEP63, 0, 63 },
	{ "app://*.12", ORIGIN_OK, RULE_SUFFIX, "12", 0, 1 },
	{ "moz-extension://*", ORIGIN_OK, RULE_SCHEME, "", 0, 0 },
	{ "file-system://*", ORIGIN_OK, RULE_SCHEME, "", 0, 0 },
	{ "app://.:*", ORIGIN_OK, RULE_HOST_ANY_PORT, ".", 0, 0 },
	{ "app://Host:*", ORIGIN_OK, RULE_HOST_ANY_PORT, "Host", 0, 0 },
	{ "app://*:*", RULE_BAD_WILDCARD, 0, NULL, 0, 0 },
	{ "app://*:80", RULE_BAD_WILDCARD, 0, NULL, 0, 0 },
	{ "app://**", RULE_BAD_WILDCARD, 0, NULL, 0, 0 },
	{ "app://*a", RULE_BAD_WILDCARD, 0, NULL, 0, 0 },
	{ "app://a*b", RULE_BAD_WILDCARD, 0, NULL, 0, 0 },
	{ "app://*/", RULE_BAD_WILDCARD, 0, NULL, 0, 0 },
	{ "app://:*", ORIGIN_NO_HOST, 0, NULL, 0, 0 },
	{ "app://*.", ORIGIN_NO_HOST, 0, NULL, 0, 0 },
	{ "app://*..", ORIGIN_BAD_LABEL, 0, NULL, 0, 0 },
	{ "app://*.A", ORIGIN_UPPER_CASE, 0, NULL, 0, 0 },
	{ "app://*.a%b", ORIGIN_BAD_HOST, 0, NULL, 0, 0 },
	{ "app://*.[::1]", RULE_WILDCARD_IP, 0, NULL, 0, 0 },
	{ "app://a:1:*", ORIGIN_BAD_PORT, 0, NULL, 0, 0 },
	{ "file://*", ORIGIN_FILE, 0, NULL, 0, 0 },
	{ "https://*", RULE_BAD_WILDCARD, 0, NULL, 0, 0 },
	{ "ws://*", RULE_BAD_WILDCARD, 0, NULL, 0, 0 },
	{ "wss://*", RULE_BAD_WILDCARD, 0, NULL, 0, 0 },
	{ "ftp://*", RULE_BAD_WILDCARD, 0, NULL, 0, 0 },
	{ "", ORIGIN_EMPTY, 0, NULL, 0, 0 },
	{ "null", ORIGIN_NULL, 0, NULL, 0, 0 },
	{ "https://", ORIGIN_NO_HOST, 0, NULL, 0, 0 },
	{ "https://*.", ORIGIN_NO_HOST, 0, NULL, 0, 0 },
	{ "https://:*", ORIGIN_NO_HOST, 0, NULL, 0, 0 },
	{ "https://*.:*", ORIGIN_NO_HOST, 0, NULL, 0, 0 },
	{ "https://*.:80", ORIGIN_NO_HOST, 0, NULL, 0, 0 },
	{ "http://*", RULE_BAD_WILDCARD, 0, NULL, 0, 0 },
	{ "http://*:*", RULE_BAD_WILDCARD, 0, NULL, 0, 0 },
	{ "http://*:80", RULE_BAD_WILDCARD, 0, NULL, 0, 0 },
	{ "http://**.a.com", RULE_BAD_WILDCARD, 0, NULL, 0, 0 },
	{ "http://*.*.com", RULE_BAD_WILDCARD, 0, NULL, 0, 0 },
	{ "http://*a.com", RULE_BAD_WILDCARD, 0, NULL, 0, 0 },
	{ "http://a*.com", RULE_BAD_WILDCARD, 0, NULL, 0, 0 },
	{ "http://a.*.com", RULE_BAD_WILDCARD, 0, NULL, 0, 0 },
	{ "http://a.com:8*", RULE_BAD_WILDCARD, 0, NULL, 0, 0 },
	{ "http://a.com:*8", RULE_BAD_WILDCARD, 0, NULL, 0, 0 },
	{ "http://a.com:**", RULE_BAD_WILDCARD, 0, NULL, 0, 0 },
	{ "http://a.com:*:*", RULE_BAD_WILDCARD, 0, NULL, 0, 0 },
	{ "http://a.com:80:*", ORIGIN_BAD_PORT, 0, NULL, 0, 0 },
	{ "http://a.com::*", ORIGIN_BAD_PORT, 0, NULL, 0, 0 },
	{ "*://a.com", ORIGIN_NO_SCHEME, 0, NULL, 0, 0 },
	{ "**", ORIGIN_NO_SCHEME, 0, NULL, 0, 0 },
	{ "*.example.com", ORIGIN_NO_SCHEME, 0, NULL, 0, 0 },
	{ "http://a.com/*", ORIGIN_PATH, 0, NULL, 0, 0 },
	{ "http://*.a.com/", ORIGIN_PATH, 0, NULL, 0, 0 },
	{ "https://*.a.com:443", ORIGIN_DEFAULT_PORT, 0, NULL, 0, 0 },
	{ "https://*..a.com", ORIGIN_BAD_LABEL, 0, NULL, 0, 0 },
	{ "https://*.1.2.3.4", RULE_WILDCARD_IP, 0, NULL, 0, 0 },
	{ "app://*.1.2.3.4", RULE_WILDCARD_IP, 0, NULL, 0, 0 },
	{ "https://*.[::1]", RULE_WILDCARD_IP, 0, NULL, 0, 0 },
	{ "https://*.0.0.1", ORIGIN_BAD_IPV4, 0, NULL, 0, 0 },
	{ "https://*." HOST251 "b", ORIGIN_HOST_TOO_LONG, 0, NULL, 0, 0 },
	{ "https://*.a." DEEP63, RULE_TOO_DEEP, 0, NULL, 0, 0 },
	{ "https://xn--bcher-kva.example", ORIGIN_OK, RULE_EXACT, "xn--bcher-kva.example", 0, 0 },
	{ "https://*.a.xn--p1ai:8443", ORIGIN_OK, RULE_SUFFIX, "a.xn--p1ai", 8443, 2 },
	{ "https://axn--f", ORIGIN_OK, RULE_EXACT, "axn--f", 0, 0 },
	{ "https://xn-f", ORIGIN_OK, RULE_EXACT, "xn-f", 0, 0 },
	{ "app://xn--f", ORIGIN_OK, RULE_EXACT, "xn--f", 0, 0 },
	{ "http://xn--f", RULE_BAD_PUNYCODE, 0, NULL, 0, 0 },			/* ends inside a number */
	{ "https://a.xn--:*", RULE_BAD_PUNYCODE, 0, NULL, 0, 0 },
	{ "https://*.xn--abc-.example", RULE_BAD_PUNYCODE, 0, NULL, 0, 0 },	/* ASCII alone */
	{ "https://xn---a", RULE_BAD_PUNYCODE, 0, NULL, 0, 0 },
	{ "https://xn--a_b", RULE_BAD_PUNYCODE, 0, NULL, 0, 0 },
	{ "https://xn--a", RULE_BAD_PUNYCODE, 0, NULL, 0, 0 },			/* U+0080 */
	{ "https://xn--ib9b", RULE_BAD_PUNYCODE, 0, NULL, 0, 0 },		/* U+D800 */
	{ "https://xn--999999", RULE_BAD_PUNYCODE, 0, NULL, 0, 0 },		/* beyond Unicode */
	{ "https://xn--9999999999999999", RULE_BAD_PUNYCODE, 0, NULL, 0, 0 },
	{ A60 "aaaa://*." HOST253 ":655350", ORIGIN_TOO_LONG, 0, NULL, 0, 0 },
};

START_TEST(takes_rules_apart_or_says_why_not)
{
	struct rule r, before;
	enum origin_status got;

	memset(&r, 0x5a, sizeof(r));
	before = r;
	got = rule_parse(&r, rules[_i].in, strlen(rules[_i].in));
	ck_assert_msg(got == rules[_i].want, "\"%s\": %s; want %s", rules[_i].in,
	    origin_strstatus(got), origin_strstatus(rules[_i].want));
	if (got != ORIGIN_OK) {
		ck_assert_mem_eq(&r, &before, sizeof(r));
		return;
	}
	ck_assert_str_eq(show(r.origin.text), rules[_i].in);
	ck_assert_int_eq(r.form, rules[_i].form);
	ck_assert_str_eq(show(r.origin.host), rules[_i].host);
	ck_assert_uint_eq(r.origin.port, rules[_i].port);
	ck_assert_uint_eq(r.depth, rules[_i].depth);
}
END_TEST

static const struct {
	const char	*rule;
	const char	*origin;
	bool		 want;
} matches[] = {
	{ "https://a.com", "https://a.com", true },
	{ "https://a.com", "http://a.com", false },
	{ "https://a.com", "https://a.com:8443", false },
	{ "https://a.com:8443", "https://a.com", false },
	{ "https://a.com", "https://b.a.com", false },
	{ "https://a.com", "https://xa.com", false },
	{ "https://a.com", "https://a.co", false },
	{ "https://a.com", "https://a.comm", false },
	{ "https://a.com:*", "https://a.com", true },
	{ "https://a.com:*", "https://a.com:1", true },
	{ "https://a.com:*", "http://a.com:1", false },
	{ "https://a.com:*", "https://b.a.com:1", false },
	{ "http://[::1]:*", "http://[::1]:3000", true },
	{ "https://*.a.com", "https://b.a.com", true },
	{ "https://*.a.com", "https://c.b.a.com", true },
	{ "https://*.a.com", "https://a.com", false },
	{ "https://*.a.com", "https://ba.com", false },
	{ "https://*.a.com", "https://bba.com", false },
	{ "https://*.a.com", "https://c.ba.com", false },
	{ "https://*.a.com", "https://b.a.com:8443", false },
	{ "https://*.a.com", "http://b.a.com", false },
	{ "https://*.a.com", "https://b.a.com.evil", false },
	{ "https://*.a.com:8443", "https://b.a.com:8443", true },
	{ "https://*.a.com:8443", "https://b.a.com:8444", false },
	{ "https://*.a.com:8443", "https://b.a.com", false },
	{ "https://*.a.com:*", "https://b.a.com", true },
	{ "https://*.a.com:*", "https://b.a.com:9", true },
	{ "https://*.a.com:*", "https://a.com:9", false },
	{ "https://*.a.com:*", "https://xa.com:9", false },
	{ "app://*.0.0.1", "app://127.0.0.1", false },
	{ "app://*.0.0.1", "app://x.127.0.0.1", true },
	{ "app://.", "app://.", true },
	{ "app://.", "app://..", false },
	{ "app://.", "app://", false },
	{ "app://a", "app://A", false },
	{ "app://%41", "app://A", false },
	{ "app://.:*", "app://.:1", true },
	{ "app://*.b", "app://a.b", true },
	{ "app://*.b", "app://A.b", false },
	{ "app://*.b", "app://..b", false },
	{ "app://*.b", "app://a%.b", false },
	{ "app://*.b", "app://.b", false },
	{ "moz-extension://*", "moz-extension://0f1d0c1e-7d34-4a5e-8a5c-000000000000", true },
	{ "moz-extension://*", "moz-extension://a.b", true },
	{ "moz-extension://*", "moz-extension://A", true },
	{ "moz-extension://*", "moz-extension://", true },
	{ "moz-extension://*", "moz-extension://[::1]", true },
	{ "moz-extension://*", "moz-extension://a:1", false },
	{ "moz-extension://*", "moz-extensions://a", false },
	{ "moz-extension://*", "moz-extensio://a", false },
	{ "moz-extension://*", "https://moz-extension", false },
	{ "*", "https://a.com", true },
	{ "*", "app://x:1", true },
};

START_TEST(matches_whole_labels_only)
{
	struct rule r;
	struct origin o;

	ck_assert_int_eq(rule_parse(&r, matches[_i].rule, strlen(matches[_i].rule)), ORIGIN_OK);
	ck_assert_int_eq(origin_parse(&o, matches[_i].origin, strlen(matches[_i].origin)), ORIGIN_OK);
	ck_assert_msg(rule_matches(&r, &o) == matches[_i].want, "%s %s %s", matches[_i].rule,
	    matches[_i].want ? "does not match" : "matches", matches[_i].origin);
}
END_TEST

static const struct {
	const char	*origin;
	bool		 want;
} insecure[] = {
	{ "http://example.com", true },
	{ "https://example.com", false },
	{ "app://example.com", false },
	{ "http://localhost", false },
	{ "http://localhost:3000", false },
	{ "http://a.localhost", false },
	{ "http://alocalhost", true },
	{ "http://localhost.com", true },
	{ "http://127.0.0.1", false },
	{ "http://127.255.1.2:8080", false },
	{ "http://126.0.0.1", true },
	{ "http://127.0.0.1.nip.io", true },
	{ "http://[::1]", false },
	{ "http://[::2]", true },
	{ "http://[::1:1]", true },
};

START_TEST(http_is_insecure_but_for_loopback)
{
	struct origin o;

	ck_assert_int_eq(origin_parse(&o, insecure[_i].origin, strlen(insecure[_i].origin)), ORIGIN_OK);
	ck_assert_msg(origin_is_insecure(&o) == insecure[_i].want, "%s", insecure[_i].origin);
}
END_TEST

START_TEST(a_realm_has_no_controls)
{
	char realm[REALM_MAX + 2];

	memset(realm, 'r', sizeof(realm));
	ck_assert(realm_is_valid(NULL, 0));
	ck_assert(realm_is_valid(realm, REALM_MAX));
	ck_assert(!realm_is_valid(realm, REALM_MAX + 1));
	for (int c = 0; c < 256; c++) {
		realm[3] = (char)c;
		ck_assert_msg(realm_is_valid(realm, 5) == (c >= 0x20 && c != 0x7f), "byte %#x", c);
	}
}
END_TEST

START_TEST(every_status_has_words_of_its_own)
{
	for (int i = 0; i < ORIGIN_STATUS_COUNT; i++) {
		ck_assert_str_ne(origin_strstatus((enum origin_status)i),
		    origin_strstatus(ORIGIN_STATUS_COUNT));
		for (int j = 0; j < i; j++)
			ck_assert_str_ne(origin_strstatus((enum origin_status)i),
			    origin_strstatus((enum origin_status)j));
	}
}
END_TEST

/* The tables above name every status that a parser may give. */
START_TEST(every_status_is_seen_in_a_table)
{
	bool seen[ORIGIN_STATUS_COUNT] = { [ORIGIN_OK] = true };

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		seen[refused[i].want] = true;
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		seen[rules[i].want] = true;
	for (int i = 0; i < ORIGIN_STATUS_COUNT; i++)
		ck_assert_msg(seen[i], "no case for: %s", origin_strstatus((enum origin_status)i));
}
END_TEST

#define LOOP(tc, test, table)	tcase_add_loop_test(tc, test, 0, sizeof(table) / sizeof((table)[0]))

int
main(void)
{
	Suite *suite = suite_create("origin");
	TCase *tc = tcase_create("origin");

	tcase_set_timeout(tc, 120);
	LOOP(tc, takes_apart_what_browsers_send, accepted);
	LOOP(tc, an_origin_is_a_rule_for_itself, accepted);
	LOOP(tc, says_why_it_refuses_an_origin, refused);
	LOOP(tc, takes_rules_apart_or_says_why_not, rules);
	LOOP(tc, matches_whole_labels_only, matches);
	LOOP(tc, http_is_insecure_but_for_loopback, insecure);
	tcase_add_test(tc, a_byte_is_judged_alike_in_short_and_long_hosts);
	tcase_add_test(tc, no_label_is_empty_wherever_two_dots_stand);
	tcase_add_test(tc, a_nul_byte_is_no_end);
	tcase_add_test(tc, a_realm_has_no_controls);
	tcase_add_test(tc, every_status_has_words_of_its_own);
	tcase_add_test(tc, every_status_is_seen_in_a_table);
	suite_add_tcase(suite, tc);
	return run(suite);
}

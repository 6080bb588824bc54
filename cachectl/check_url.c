/* SPDX-License-Identifier: BSD-2-Clause */
#include "check_url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "cachectl.h"
#include "exchange.h"
#include "output.h"
#include "response.h"

#define TIMEOUT_S		10
#define TIMEOUT_S_MAX		3600
#define STRANGER		"https://corscache-check.invalid"	/* RFC 6761: nobody's */
#define FINDINGS_MAX		(RESPONSE_DIFFERENCES_MAX + 2)
#define HINT_MAX		512

enum kind {
	KIND_MISSING, KIND_DOUBLED, KIND_WRONG, KIND_LEAK, KIND_VARY, KIND_LOGIN, KIND_FORBIDDEN, KIND_PREFLIGHT_REDIRECT,
	KIND_RESPONDER, KIND_PREFLIGHT_STATUS, KIND_REDIRECT,
};

/* What it is, and where to look in the files of nginx, of lighttpd, of another server. */
static const struct {
	const char	*token, *sentence;
	const char	*nginx, *lighttpd, *other;
} kinds[] = {
	[KIND_MISSING] = { "missing", "did not come",
		"include corscache/corscache_server.conf and corscache_headers.conf in this server, and corscache_headers.conf "
		"again in a location that has an add_header of its own; return, and what answers before auth_request, has no headers",
		"include corscache.conf last; auth.require, url.access-deny and url.redirect answer before the check; a fastcgi.server "
		"in a condition is not checked",
		"the line that copies the responder's headers into the response" },
	[KIND_DOUBLED] = { "doubled", "came more than once, which browsers refuse",
		"an add_header of its own, or an application behind a way whose headers are not hidden: proxy_hide_header, "
		"fastcgi_hide_header, uwsgi_hide_header (corscache_headers.conf)",
		"setenv.add-response-header, or mod_setenv behind mod_magnet in server.modules",
		"an application, or a line of configuration, that adds the header itself" },
	[KIND_WRONG] = { "wrong", "has another value",
		"another realm (map of $cors_realm; here: --realm), or an add_header of its own, or corscache_cache.conf",
		"another realm (CORS_REALM in setenv.set-environment; here: --realm), or setenv.set-response-header",
		"another realm (see --realm), another table, or an older answer from a cache" },
	[KIND_LEAK] = { "leak", "came, and the table gives none",
		"the application's own: proxy_hide_header, fastcgi_hide_header, uwsgi_hide_header (corscache_headers.conf); or an "
		"add_header of its own; or another realm (here: --realm)",
		"the application's own: corscache.lua must be in magnet.attract-response-start-to; or setenv.add-response-header; or "
		"another realm (here: --realm)",
		"an application, or a line of configuration, that sets the header itself; or another realm (see --realm)" },
	[KIND_VARY] = { "vary", "is lost or incomplete: a cache hands one origin's answer to another",
		"add_header Vary $cors_vary always (corscache_headers.conf), lost in a location with an add_header of its own; or "
		"proxy_hide_header Vary",
		"corscache.lua in magnet.attract-response-start-to, or setenv.set-response-header with a Vary",
		"a cache or a line of configuration that rewrites Vary" },
	[KIND_LOGIN] = { "login", "asks for a login: browsers send none with a preflight",
		"auth_basic or auth_request before the preflight: auth_basic off in @corscache_preflight (corscache_server.conf)",
		"auth.require: include corscache.conf last",
		"a login in front: let OPTIONS with Access-Control-Request-Method pass" },
	[KIND_FORBIDDEN] = { "forbidden", "refuses the preflight that the table allows",
		"deny, satisfy or limit_except before the preflight; or another realm (map of $cors_realm; here: --realm)",
		"url.access-deny: include corscache.conf last; or another realm (CORS_REALM; here: --realm)",
		"an access rule before the preflight; or another realm (see --realm)" },
	[KIND_PREFLIGHT_REDIRECT] = { "preflight-redirect", "redirects the preflight, and browsers follow none",
		"return 301 or rewrite ... permanent in the server (often from http to https), or the slash of a directory: ask for the right URL",
		"url.redirect: include corscache.conf last; or ask for the right URL",
		"a redirect before the preflight: ask for the right URL" },
	[KIND_RESPONDER] = { "responder", "fails: nobody answers behind the web server",
		"the responder: systemctl status corscache-responder; fastcgi_pass corscache and the rights of its socket (error_log says)",
		"the responder: systemctl status corscache-responder; \"socket\" and its rights (server.errorlog says)",
		"the responder: systemctl status corscache-responder, and the rights of its socket" },
	[KIND_PREFLIGHT_STATUS] = { "preflight-status", "does not allow the preflight that the table allows",
		"no corscache_server.conf in this server: the preflight reached a file or the application; or limit_req",
		"no corscache.conf for this request, or a condition behind it with a handler of its own",
		"preflights are not passed to the responder" },
	[KIND_REDIRECT] = { "redirect", "redirects: browsers follow, and what is there must answer with CORS headers, too",
		"return 301, rewrite, or the slash of a directory: have pages ask for the URL it leads to",
		"url.redirect, or the slash of a directory: have pages ask for the URL it leads to",
		"have pages ask for the URL it leads to" },
};

struct finding {
	enum kind	 kind;
	const char	*header;	/* NULL: the status */
	struct span	 came_back, expected;
};

/* One request, what the table says of it, what came back. */
struct probe {
	const char	*name, *method;
	struct span	 origin;
	bool		 is_preflight;
	struct explanation e;
	struct exchange	 x;
	struct response_difference differences[RESPONSE_DIFFERENCES_MAX];
	struct finding	 findings[FINDINGS_MAX];
	size_t		 n;
};

/* ---- options ---- */

static bool
has_control(const char *text)
{
	for (; text != NULL && *text != '\0'; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return true;
	return false;
}

static long
timeout_s(const struct call *call)
{
	const char *text = flag_value(call, "timeout");
	char *end = NULL;
	long seconds = text != NULL ? strtol(text, &end, 10) : TIMEOUT_S;

	return text == NULL || (end != text && *end == '\0' && seconds <= TIMEOUT_S_MAX) ? seconds : 0;
}

static const char *
origin_of(const struct call *call)
{
	return call->noperands == 1 ? call->operands[0] : flag_value(call, "origin");
}

int
check_url_options(const struct call *call)
{
	const char *url = flag_value(call, "url");
	size_t i;

	for (i = 0; i < call->ngiven; i++)
		if (has_control(call->given[i].value)) {
			complain("--%s has a control character, which no header has", call->given[i].flag->name);
			return EXIT_MISUSED;
		}
	if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0)
		complain("--url takes a whole URL, such as https://api.example.com/path");
	else if (flag_is_given(call, "from-headers") || flag_is_given(call, "actual") || flag_is_given(call, "preflight"))
		complain("--url makes both requests itself: neither --from-headers nor --actual nor --preflight goes with it");
	else if ((call->noperands == 1) == flag_is_given(call, "origin") || has_control(origin_of(call)))
		complain("--url needs one origin: cachectl check --url URL --origin https://app.example.com");
	else if (timeout_s(call) < 1)
		complain("--timeout takes seconds, 1 to %d", TIMEOUT_S_MAX);
	else
		return EXIT_YES;
	return EXIT_MISUSED;
}

/* ---- findings ---- */

static void
find(struct probe *p, enum kind kind, const char *header, struct span came_back, struct span expected)
{
	if (p->n < FINDINGS_MAX)
		p->findings[p->n++] = (struct finding){ kind, header, came_back, expected };
}

static void
find_status(struct probe *p)
{
	static const struct span none = { NULL, 0 };
	long status = p->x.status;

	if (!p->is_preflight) {
		if (status >= 300 && status < 400 && status != 304)
			find(p, KIND_REDIRECT, NULL, p->x.location, none);
		return;
	}
	if (status >= 500)
		find(p, KIND_RESPONDER, NULL, none, none);
	else if (status == 401)
		find(p, KIND_LOGIN, NULL, none, none);
	else if (status >= 300 && status < 400)
		find(p, KIND_PREFLIGHT_REDIRECT, NULL, p->x.location, none);
	else if (p->e.answer.decision.allow && status == 403)
		find(p, KIND_FORBIDDEN, NULL, none, none);
	else if (p->e.answer.decision.allow && (status < 200 || status > 299))
		find(p, KIND_PREFLIGHT_STATUS, NULL, none, none);
}

static size_t
count_lines(const struct probe *p, const char *name)
{
	size_t i, n = 0;

	for (i = 0; i < p->x.paste.nresponse; i++)
		n += span_is_name(p->x.paste.response[i].name, name);
	return n;
}

static enum kind
kind_of(const struct probe *p, const struct response_difference *d)
{
	if (strcmp(d->name, "Vary") == 0)
		return KIND_VARY;
	if (d->expected.at == NULL)
		return KIND_LEAK;
	if (d->came_back.at == NULL)
		return p->x.status >= 500 ? KIND_RESPONDER : KIND_MISSING;
	return count_lines(p, d->name) > 1 ? KIND_DOUBLED : KIND_WRONG;
}

/* Without an Origin a server may ask nobody, if it says that the answer depends on it. */
static bool
is_excused(const struct probe *p, const struct response_difference *d)
{
	return p->e.answer.decision.class == REQUEST_NON_CORS && d->came_back.at == NULL && strcmp(d->name, "Vary") != 0 &&
	    count_lines(p, "Vary") > 0;
}

static void
find_all(struct probe *p)
{
	size_t i, n = response_compare(&p->x.paste, &p->e, p->differences);

	find_status(p);
	for (i = 0; i < n; i++)
		if (!is_excused(p, &p->differences[i]))
			find(p, kind_of(p, &p->differences[i]), p->differences[i].name, p->differences[i].came_back,
			    p->differences[i].expected);
}

static const char *
hint(const struct probe *p, enum kind kind)
{
	if (p->x.server.len >= 5 && strncasecmp(p->x.server.at, "nginx", 5) == 0)
		return kinds[kind].nginx;
	if (p->x.server.len >= 8 && strncasecmp(p->x.server.at, "lighttpd", 8) == 0)
		return kinds[kind].lighttpd;
	return kinds[kind].other;
}

/* ---- told ---- */

static void
print_finding(const struct probe *p, const struct finding *f)
{
	printf("  %s %s", f->header != NULL ? f->header : "the status", kinds[f->kind].sentence);
	if (f->header == NULL)
		printf(": %ld", p->x.status);
	if (f->came_back.at != NULL) {
		printf(f->header != NULL ? ": got " : " to ");
		print_bytes(f->came_back);
	}
	if (f->expected.at != NULL) {
		printf("; the table says ");
		print_bytes(f->expected);
	}
	printf("\n    look for %s\n", hint(p, f->kind));
}

static void
print_probe(const struct probe *p, int result)
{
	size_t i;

	printf("%-10s %s", p->name, p->method);
	if (p->origin.len > 0) {
		printf(" from ");
		print_bytes(p->origin);
	}
	printf(": ");
	if (result != 0) {
		paint(COLOUR_BAD, "no answer");
		printf(": ");
		print_bytes(span_of(p->x.error));
		putchar('\n');
		return;
	}
	paint(p->n == 0 ? COLOUR_GOOD : COLOUR_BAD, p->n == 0 ? "as the table says" : "differs");
	printf(" (%ld; the table says %s)\n", p->x.status, reason_token(p->e.answer.decision.reason));
	for (i = 0; i < p->n; i++)
		print_finding(p, &p->findings[i]);
}

static void
span_or_null(struct object *o, const char *name, struct span value)
{
	if (value.at != NULL)
		object_bytes(o, name, value);
	else
		object_null(o, name);
}

static void
fill_probe(struct object *o, const struct probe *p, int result)
{
	struct object *one = object_append_object(o, "requests"), *finding;
	size_t i;

	object_text(one, "request", p->name);
	object_text(one, "method", p->method);
	object_bytes(one, "origin", p->origin);
	object_text(one, "reason", reason_token(p->e.answer.decision.reason));
	if (result != 0) {
		object_text(one, "error", p->x.error);
		return;
	}
	object_number(one, "status", p->x.status);
	object_bytes(one, "server", p->x.server);
	object_array(one, "findings");
	for (i = 0; i < p->n; i++) {
		finding = object_append_object(one, "findings");
		object_text(finding, "kind", kinds[p->findings[i].kind].token);
		if (p->findings[i].header != NULL)
			object_text(finding, "header", p->findings[i].header);
		else
			object_null(finding, "header");
		span_or_null(finding, "came_back", p->findings[i].came_back);
		span_or_null(finding, "expected", p->findings[i].expected);
		object_text(finding, "look_for", hint(p, p->findings[i].kind));
	}
}

/* ---- asked ---- */

#define LINE_MAX	(2 * ACRH_MAX + 64)

static int
send_probe(struct probe *p, const struct exchange_options *options, const char *method, const char *asked)
{
	static char lines[3][LINE_MAX];
	const char *headers[4] = { NULL };
	size_t n = 0;

	if (p->origin.len > 0) {
		snprintf(lines[n], LINE_MAX, "Origin: %.*s", (int)p->origin.len, p->origin.at);
		headers[n] = lines[n];
		n++;
	}
	if (p->is_preflight) {
		snprintf(lines[n], LINE_MAX, "Access-Control-Request-Method: %s", method);
		headers[n] = lines[n];
		n++;
	}
	if (p->is_preflight && asked[0] != '\0') {
		snprintf(lines[n], LINE_MAX, "Access-Control-Request-Headers: %s", asked);
		headers[n] = lines[n];
	}
	return exchange(&p->x, options, p->method, headers);
}

struct asking {
	const struct call	*call;
	struct reader		*reader;
	struct span		 realm;
	const char		*asked;
	const char		*method;	/* that the preflight asks for */
	struct exchange_options	 options;
	struct object		*json;
};

static int
ask_one(const struct asking *a, const char *name, struct span origin, bool is_preflight)
{
	const struct explain_options how = { .answer = { .now_s = (int64_t)time(NULL),
		.max_stale_s = a->call->config->responder_max_stale_s, .form = HEADERS_RESPONSE }, .near_rows = 1 };
	struct probe *p = calloc(1, sizeof *p);
	int result, status;

	if (p == NULL) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	p->name = name;
	p->origin = origin;
	p->is_preflight = is_preflight;
	p->method = is_preflight ? "OPTIONS" : strcmp(a->method, "HEAD") == 0 ? "HEAD" : "GET";
	explain_request(&p->e, a->realm, origin, is_preflight, span_of(is_preflight ? a->method : p->method),
	    span_of(is_preflight ? a->asked : ""));
	explain(a->reader, &how, &p->e);
	result = send_probe(p, &a->options, a->method, a->asked);
	if (result == 0)
		find_all(p);
	if (a->json != NULL)
		fill_probe(a->json, p, result);
	else
		print_probe(p, result);
	status = result != 0 || p->e.answer.decision.reason == REASON_NOT_READY ||
	    p->e.answer.decision.reason == REASON_TABLE_ERROR ? EXIT_FAILED : p->n > 0 ? EXIT_NO : EXIT_YES;
	free(p);
	return status;
}

/* Not to know outweighs a difference, a difference outweighs none. */
static int
ask_all(const struct asking *a)
{
	struct span origin = span_of(origin_of(a->call)), stranger = span_of(STRANGER);
	const struct {
		const char	*name;
		struct span	 origin;
		bool		 is_preflight;
	} probes[] = {
		{ "preflight", origin, true }, { "actual", origin, false }, { "stranger", stranger, true },
		{ "stranger", stranger, false }, { "no origin", span_of(""), false },
	};
	int status = EXIT_YES, one;
	size_t i;

	for (i = 0; i < sizeof probes / sizeof probes[0]; i++)
		if ((one = ask_one(a, probes[i].name, probes[i].origin, probes[i].is_preflight)) > status)
			status = one;
	return status;
}

int
check_url(const struct call *call, struct reader *r, struct span realm, const char *asked)
{
	struct asking a = { .call = call, .reader = r, .realm = realm, .asked = asked, .method = "GET",
		.options = { flag_value(call, "url"), flag_value(call, "cacert"), flag_is_given(call, "insecure"),
			1000 * timeout_s(call) } };
	int status;

	if (flag_value(call, "method") != NULL)
		a.method = flag_value(call, "method");
	if (call->json) {
		a.json = object_new();
		object_text(a.json, "url", a.options.url);
		object_bytes(a.json, "realm", realm);
		object_array(a.json, "requests");
	} else {
		printf("realm      '");
		print_bytes(realm);
		printf("'%s\n", flag_is_given(call, "realm") ? "" : " is assumed: the web server decides it; --realm names another");
	}
	status = ask_all(&a);
	if (a.json != NULL) {
		object_bool(a.json, "agrees", status == EXIT_YES);
		object_print(a.json);
	}
	return status;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libfcgi hands parameters over as C strings, so a value ends for us at its
 * first NUL: a web server that forwarded "https://good.example\0.evil.example"
 * would be answered for https://good.example. It cannot be seen from here and
 * needs no defence: nginx and lighttpd refuse a request with a NUL in a header
 * (400), no browser sends one, and whoever writes records to the socket himself
 * only talks to himself.
 */
#include "request.h"

#include <string.h>

enum parameter {
	METHOD, ORIGIN, ACRM, ACRH, HOST, SCHEME, HTTPS, REALM, ENFORCE, DEBUG, PAGE, QUERY,
	FOREIGN
};

/* By length first: most of what a web server sends is not for us. */
static enum parameter
parameter_find(const char *name, size_t len)
{
#define LENGTH(s)	(sizeof s - 1)
#define IS(s)		(len == LENGTH(s) && memcmp(name, s, LENGTH(s)) == 0)
	switch (len) {
	case LENGTH("HTTPS"):
		return IS("HTTPS") ? HTTPS : FOREIGN;
	case LENGTH("HTTP_HOST"):
		return IS("HTTP_HOST") ? HOST : IS("CORS_PAGE") ? PAGE : FOREIGN;
	case LENGTH("CORS_REALM"):
		return IS("CORS_REALM") ? REALM : IS("CORS_DEBUG") ? DEBUG : FOREIGN;
	case LENGTH("HTTP_ORIGIN"):
		return IS("HTTP_ORIGIN") ? ORIGIN : FOREIGN;
	case LENGTH("CORS_ENFORCE"):
		return IS("CORS_ENFORCE") ? ENFORCE : IS("QUERY_STRING") ? QUERY : FOREIGN;
	case LENGTH("REQUEST_METHOD"):
		return IS("REQUEST_METHOD") ? METHOD : IS("REQUEST_SCHEME") ? SCHEME : FOREIGN;
	case LENGTH("HTTP_ACCESS_CONTROL_REQUEST_METHOD"):
		return IS("HTTP_ACCESS_CONTROL_REQUEST_METHOD") ? ACRM : FOREIGN;
	case LENGTH("HTTP_ACCESS_CONTROL_REQUEST_HEADERS"):
		return IS("HTTP_ACCESS_CONTROL_REQUEST_HEADERS") ? ACRH : FOREIGN;
	default:
		return FOREIGN;
	}
#undef IS
#undef LENGTH
}

/* The first value is kept, the number of values always. */
static void
keep(struct span *value, unsigned *count, struct span v)
{
	if ((*count)++ == 0)
		*value = v;
}

static void
keep_parameter(struct facts *f, enum parameter p, struct span v)
{
	struct request *q = &f->cors;

	switch (p) {
	case METHOD:	keep(&q->method, &q->nmethod, v); break;
	case ORIGIN:	keep(&q->origin, &q->norigin, v); break;
	case ACRM:	keep(&q->acrm, &q->nacrm, v); break;
	case REALM:	keep(&q->realm, &q->nrealm, v); break;
	case HOST:	keep(&f->host, &f->nhost, v); break;
	case SCHEME:	keep(&f->scheme, &f->nscheme, v); break;
	case HTTPS:	keep(&f->https, &f->nhttps, v); break;
	case PAGE:	keep(&f->page, &f->npage, v); break;
	case QUERY:	keep(&f->query, &f->nquery, v); break;
	/* A switch that is on anywhere is on. */
	case ENFORCE:	f->enforce |= span_is(v, "1"); break;
	case DEBUG:	f->debug |= span_is(v, "1"); break;
	case ACRH:
		if (q->nacrh < ACRH_MAX_LINES)
			q->acrh[q->nacrh] = v;
		q->nacrh++;
		break;
	case FOREIGN:
		break;
	}
}

void
facts_read(struct facts *f, char *const *envp)
{
	const char *equals;
	enum parameter p;

	memset(f, 0, offsetof(struct facts, cors.acrh));
	f->cors.realm.at = "";
	for (; *envp != NULL; envp++) {
		equals = strchr(*envp, '=');
		if (equals == NULL || equals[1] == '\0')
			continue;
		p = parameter_find(*envp, (size_t)(equals - *envp));
		if (p != FOREIGN)
			keep_parameter(f, p, (struct span){ equals + 1, strlen(equals + 1) });
	}
}

static bool
ends_with(struct span s, const char *end)
{
	size_t len = strlen(end);

	return s.len > len && memcmp(s.at + s.len - len, end, len) == 0;
}

static bool
equals_ignoring_case(const char *lower, const char *any, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (lower[i] != (any[i] >= 'A' && any[i] <= 'Z' ? any[i] + ('a' - 'A') : any[i]))
			return false;
	return true;
}

/* "" where it was repeated: then nothing is our own. */
static const char *
own_scheme(const struct facts *f)
{
	if (f->nscheme > 1 || f->nhttps > 1)
		return "";
	if (f->nscheme == 1)
		return span_is(f->scheme, "https") ? "https" : span_is(f->scheme, "http") ? "http" : "";
	return span_is(f->https, "on") || span_is(f->https, "1") ? "https" : "http";
}

/* Browsers leave the default port out of Origin; a Host may carry it. */
bool
facts_origin_is_own(const struct facts *f)
{
	const char *scheme = own_scheme(f);
	struct span origin = f->cors.origin, host = f->host;
	size_t skip = strlen(scheme) + 3;

	if (*scheme == '\0' || f->cors.norigin != 1 || f->nhost != 1)
		return false;
	if (ends_with(host, strcmp(scheme, "https") == 0 ? ":443" : ":80"))
		host.len -= strcmp(scheme, "https") == 0 ? 4 : 3;
	return origin.len == skip + host.len && memcmp(origin.at, scheme, skip - 3) == 0 &&
	    memcmp(origin.at + skip - 3, "://", 3) == 0 &&
	    equals_ignoring_case(origin.at + skip, host.at, host.len);
}

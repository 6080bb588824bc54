/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * model -- the contract written down a second time, slowly and plainly, and
 * compared with lib over random cases. The model (m_*) calls nothing of lib
 * and shares only its constants: where both agree, either both are right or
 * two people misread the same sentence in the same way.
 *
 * CORSCACHE_CASES (200000) and CORSCACHE_SEED (1) say how many and which.
 */
#include "headers.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "run.h"

#define MAX_RULES	6
#define MAX_WORDS	8	/* of one list of a policy */
#define TEXT		640	/* longest origin or rule made here, and slack */
#define LINE		5000	/* longest Access-Control-Request-Headers line made here */

/* ---- the model: strings, labels, origins ---- */

struct m_origin {
	char	 scheme[TEXT];
	char	 host[TEXT];
	char	*label[TEXT];		/* of a name, copies into labels[] */
	char	 labels[TEXT];
	int	 nlabels;		/* 0: an address, or an opaque host */
	int	 port;			/* 0: none */
};

enum m_status { M_OK, M_NULL, M_BAD };

static bool
m_only(const char *s, const char *legal)
{
	return strspn(s, legal) == strlen(s);
}

static bool
m_is_number(const char *label)
{
	if (label[0] == '0' && label[1] == 'x')
		return m_only(label + 2, "0123456789abcdef");
	return m_only(label, "0123456789");
}

static int
m_default_port(const char *scheme)
{
	if (strcmp(scheme, "https") == 0 || strcmp(scheme, "wss") == 0)
		return 443;
	if (strcmp(scheme, "http") == 0 || strcmp(scheme, "ws") == 0)
		return 80;
	return strcmp(scheme, "ftp") == 0 ? 21 : 0;
}

/* An address as its groups, compressed at `gap` for `len` groups (0: not at all). */
static void
m_render(char out[64], const unsigned char address[16], int gap, int len)
{
	out[0] = '\0';
	for (int i = 0; i < 8; i++) {
		if (len > 0 && i == gap) {
			strcat(out, "::");
			i += len - 1;
			continue;
		}
		if (out[0] != '\0' && out[strlen(out) - 1] != ':')
			strcat(out, ":");
		sprintf(out + strlen(out), "%x", address[2 * i] * 256 + address[2 * i + 1]);
	}
}

/* RFC 5952: of all ways to write it, the one with the longest gap, then the leftmost; no gap of one. */
static void
m_canonical(char out[64], const unsigned char address[16])
{
	for (int len = 8; len >= 2; len--)
		for (int gap = 0; gap + len <= 8; gap++) {
			bool zeros = true;

			for (int i = 2 * gap; i < 2 * (gap + len); i++)
				zeros = zeros && address[i] == 0;
			if (zeros) {
				m_render(out, address, gap, len);
				return;
			}
		}
	m_render(out, address, 0, 0);
}

static bool
m_is_ipv6(const char *host)
{
	static const unsigned char mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
	unsigned char address[16];
	char inside[TEXT], want[64];
	size_t n = strlen(host);

	if (n < 2 || host[n - 1] != ']')
		return false;
	sprintf(inside, "%.*s", (int)n - 2, host + 1);
	if (strchr(inside, '.') != NULL || inet_pton(AF_INET6, inside, address) != 1)
		return false;
	m_canonical(want, address);
	return strcmp(want, inside) == 0 && memcmp(address, mapped, 12) != 0;
}

static bool
m_is_ipv4(const char *host)
{
	struct in_addr address;
	char back[INET_ADDRSTRLEN];

	if (inet_pton(AF_INET, host, &address) != 1)
		return false;
	return inet_ntop(AF_INET, &address, back, sizeof(back)) != NULL && strcmp(back, host) == 0;
}

static bool
m_split_labels(struct m_origin *o)
{
	char *p = strcpy(o->labels, o->host);

	for (;;) {
		char *dot = strchr(p, '.');

		if (dot != NULL)
			*dot = '\0';
		if (strlen(p) < 1 || strlen(p) > 63 || !m_only(p, "abcdefghijklmnopqrstuvwxyz0123456789-_"))
			return false;
		o->label[o->nlabels++] = p;
		if (dot == NULL)
			return true;
		p = dot + 1;
	}
}

/* What the URL standard leaves of ASCII in the host of an application's scheme; not the *, which is ours. */
static bool
m_is_opaque_host(struct m_origin *o)
{
	o->nlabels = 0;
	return m_default_port(o->scheme) == 0 && m_only(o->host, "!\"$%&'()+,-.0123456789;="
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ_`abcdefghijklmnopqrstuvwxyz{}~");
}

static bool
m_host(struct m_origin *o)
{
	o->nlabels = 0;
	if (o->host[0] == '[')
		return m_is_ipv6(o->host);
	if (strlen(o->host) > 253)
		return false;
	if (!m_split_labels(o))
		return m_is_opaque_host(o);
	if (m_is_ipv4(o->host))
		o->nlabels = 0;
	else if (m_default_port(o->scheme) != 0 && m_is_number(o->label[o->nlabels - 1]))
		return false;
	return true;
}

static bool
m_port(struct m_origin *o, const char *text)
{
	long value;

	if (strlen(text) < 1 || strlen(text) > 5 || !m_only(text, "0123456789") || text[0] == '0')
		return false;
	value = atol(text);
	o->port = (int)value;
	return value <= 65535 && value != m_default_port(o->scheme);
}

static bool
m_parts(struct m_origin *o, const char *text)
{
	const char *colons = strstr(text, "://"), *host, *port;

	if (colons == NULL || colons == text || colons - text > 64)
		return false;
	sprintf(o->scheme, "%.*s", (int)(colons - text), text);
	if (!m_only(o->scheme, "abcdefghijklmnopqrstuvwxyz0123456789+.-") || strcmp(o->scheme, "file") == 0 ||
	    o->scheme[0] < 'a' || o->scheme[0] > 'z')
		return false;
	host = colons + 3;
	port = strrchr(host, ':');
	if (port != NULL && strchr(port, ']') != NULL)
		port = NULL;	/* a colon of an address */
	sprintf(o->host, "%.*s", port != NULL ? (int)(port - host) : (int)strlen(host), host);
	o->port = 0;
	return m_host(o) && (port == NULL || (port != host && m_port(o, port + 1)));
}

static enum m_status
m_parse(struct m_origin *o, const char *bytes, size_t len)
{
	char text[TEXT];

	if (len > 326 || memchr(bytes, '\0', len) != NULL)
		return M_BAD;
	sprintf(text, "%.*s", (int)len, bytes);
	if (strcmp(text, "null") == 0)
		return M_NULL;
	return m_parts(o, text) ? M_OK : M_BAD;
}

/* ---- the model: rules ---- */

struct m_rule {
	bool		 any, wild_labels, wild_port, wild_host;
	struct m_origin	 origin;
};

/* RFC 3492, appendix C, but for what is decoded: only whether it is something. */
static bool
m_punycode(const char *label)
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	const char *hyphen = strrchr(label, '-');
	long long n = 128, i = 0, bias = 72, out = hyphen == NULL ? 0 : hyphen - label;
	bool any = false;

	for (const char *p = label + (out > 0 ? out + 1 : 0); *p != '\0'; any = true, i++) {
		long long old = i, w = 1, t, k, delta;

		for (k = 36;; k += 36, w *= 36 - t) {
			const char *digit = *p == '\0' || i + w > 1ll << 40 ? NULL : strchr(digits, *p++);

			if (digit == NULL)
				return false;
			t = k - bias < 1 ? 1 : k - bias > 26 ? 26 : k - bias;
			i += (digit - digits) * w;
			if (digit - digits < t)
				break;
		}
		delta = (i - old) / (old == 0 ? 700 : 2);
		delta += delta / ++out;
		for (bias = 0; delta > 35 * 26 / 2; bias += 36)
			delta /= 35;
		bias += 36 * delta / (delta + 38);
		n += i / out;
		i %= out;
		if (n < 0xa0 || n > 0x10ffff || n / 0x800 == 0xd800 / 0x800)
			return false;
	}
	return any;
}

/* Only rules are asked: a browser that takes such a host is in nobody's way. */
static bool
m_is_decodable(const struct m_origin *o)
{
	for (int i = 0; m_default_port(o->scheme) != 0 && i < o->nlabels; i++)
		if (strncmp(o->label[i], "xn--", 4) == 0 && !m_punycode(o->label[i] + 4))
			return false;
	return true;
}

static bool
m_rule(struct m_rule *r, const char *text)
{
	char rest[TEXT];
	char *host;

	memset(r, 0, sizeof(*r));
	if (strcmp(text, "*") == 0)
		return r->any = true;
	strcpy(rest, text);
	host = strstr(rest, "://");
	if (host != NULL && strncmp(host + 3, "*.", 2) == 0) {
		r->wild_labels = true;
		memmove(host + 3, host + 5, strlen(host + 5) + 1);
	} else if (host != NULL && strcmp(host + 3, "*") == 0) {
		r->wild_host = true;
		host[3] = '\0';
	}
	if (strlen(rest) > 2 && strcmp(rest + strlen(rest) - 2, ":*") == 0) {
		r->wild_port = true;
		rest[strlen(rest) - 2] = '\0';
	}
	if (m_parse(&r->origin, rest, strlen(rest)) != M_OK || (r->wild_port && r->origin.port != 0) ||
	    !m_is_decodable(&r->origin) || (r->wild_port && r->origin.host[0] == '\0'))
		return false;
	if (!r->wild_labels)
		return true;
	return r->origin.nlabels > 0 && r->origin.nlabels <= 63 && strlen(r->origin.host) + 2 <= 253;
}

static bool
m_matches(const struct m_rule *r, const struct m_origin *o)
{
	int more = o->nlabels - r->origin.nlabels;

	if (r->any)
		return true;
	if (strcmp(r->origin.scheme, o->scheme) != 0 || (!r->wild_port && r->origin.port != o->port))
		return false;
	if (r->wild_host)
		return true;
	if (!r->wild_labels)
		return strcmp(r->origin.host, o->host) == 0;
	if (o->nlabels == 0 || more < 1)
		return false;
	for (int i = 0; i < r->origin.nlabels; i++)
		if (strcmp(r->origin.label[i], o->label[more + i]) != 0)
			return false;
	return true;
}

/* Lower answers first: exact, host with any port, suffixes with a port, suffixes with any, the scheme, the *. */
static int
m_rank(const struct m_rule *r)
{
	if (r->any)
		return 1000;
	if (r->wild_host)
		return 900;
	if (!r->wild_labels)
		return r->wild_port ? 1 : 0;
	return (r->wild_port ? 500 : 300) - r->origin.nlabels;
}

static bool
m_is_insecure(const struct m_origin *o)
{
	if (strcmp(o->scheme, "http") != 0 || strcmp(o->host, "[::1]") == 0)
		return false;
	if (o->nlabels == 0)
		return strncmp(o->host, "127.", 4) != 0;
	return strcmp(o->label[o->nlabels - 1], "localhost") != 0;
}

/* ---- a case: what both sides are given ---- */

struct words {
	int		 n;
	const char	*word[MAX_WORDS];
};

struct row_case {
	char		 text[TEXT];
	const char	*realm;
	struct words	 methods, headers, expose;
	bool		 credentials, insecure, refuses, held, revoked, expired, public_suffix;
	int		 max_age;
};

struct one_case {
	int		 nrows;
	struct row_case	 row[MAX_RULES];
	struct request	 q;
	enum match_state trouble;	/* MATCH_NOT_READY, MATCH_ERROR, else MATCH_NONE */
	bool		 is_stale;
	char		 origin[TEXT];
	char		 lines[4][LINE];
};

/* ---- the model: policies ---- */

#define TOKEN_BYTES	"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

static bool
m_is_token(const char *s)
{
	return s[0] != '\0' && strlen(s) <= 64 && m_only(s, TOKEN_BYTES);
}

static void
m_lower(char *out, const char *s)
{
	for (; *s != '\0'; s++) {
		const char *upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", *at = strchr(upper, *s);

		*out++ = at != NULL ? "abcdefghijklmnopqrstuvwxyz"[at - upper] : *s;
	}
	*out = '\0';
}

/* Whether s is a word of a list written with spaces around each. */
static bool
m_in(const char *s, const char *list)
{
	char padded[LINE + 3];

	sprintf(padded, " %s ", s);
	return strstr(list, padded) != NULL;
}

static bool
m_forbidden_method(const char *s)
{
	char lower[LINE];

	m_lower(lower, s);
	return m_in(lower, " connect trace track ");
}

static bool
m_policy_is_valid(const struct row_case *c)
{
	char lower[LINE];

	for (int i = 0; i < c->methods.n; i++)
		if (!m_is_token(c->methods.word[i]) || m_forbidden_method(c->methods.word[i]))
			return false;
	for (int i = 0; i < c->headers.n; i++) {
		m_lower(lower, c->headers.word[i]);
		if (!m_is_token(lower) || strncmp(lower, "sec-", 4) == 0 || strncmp(lower, "proxy-", 6) == 0 ||
		    m_in(lower, " cookie host origin access-control-allow-origin via "))
			return false;
	}
	for (int i = 0; i < c->expose.n; i++) {
		m_lower(lower, c->expose.word[i]);
		if (!m_is_token(lower) || m_in(lower, " set-cookie set-cookie2 origin ") ||
		    (c->credentials && strcmp(lower, "*") == 0))
			return false;
	}
	return c->max_age >= -1 && c->max_age <= 86400;
}

static bool
m_has_any(const struct words *w)
{
	for (int i = 0; i < w->n; i++)
		if (strcmp(w->word[i], "*") == 0)
			return true;
	return false;
}

static void
m_normalise_method(char *out, const char *s)
{
	static const char *const names[] = { "DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT" };
	char lower[LINE], name[16];

	m_lower(lower, s);
	strcpy(out, s);
	for (int i = 0; i < 6; i++) {
		m_lower(name, names[i]);
		if (strcmp(name, lower) == 0)
			strcpy(out, names[i]);
	}
}

/* The words of a list as they are sent: by "," and in order, each once, found by picking the least left. */
static void
m_render_words(char *out, const struct words *w, bool methods, const char *dropped)
{
	char word[MAX_WORDS][80], last[80] = "";

	for (int i = 0; i < w->n; i++)
		if (methods)
			m_normalise_method(word[i], w->word[i]);
		else
			m_lower(word[i], w->word[i]);
	out[0] = '\0';
	for (;;) {
		const char *least = NULL;

		for (int i = 0; i < w->n; i++)
			if (strcmp(word[i], last) > 0 && !m_in(word[i], dropped) &&
			    (least == NULL || strcmp(word[i], least) < 0))
				least = word[i];
		if (least == NULL)
			return;
		if (out[0] != '\0')
			strcat(out, ",");
		strcat(out, least);
		strcpy(last, least);
	}
}

static bool
m_allows_method(const struct row_case *c, const char *method)
{
	char normal[LINE];

	if (m_has_any(&c->methods) || m_in(method, " GET HEAD POST "))
		return true;
	for (int i = 0; i < c->methods.n; i++) {
		m_normalise_method(normal, c->methods.word[i]);
		if (strcmp(normal, method) == 0)
			return true;
	}
	return false;
}

static bool
m_allows_header(const struct row_case *c, const char *name)
{
	char want[LINE], listed[LINE];

	m_lower(want, name);
	if (strcmp(want, "authorization") != 0 && m_has_any(&c->headers))
		return true;
	for (int i = 0; i < c->headers.n; i++) {
		m_lower(listed, c->headers.word[i]);
		if (strcmp(listed, want) == 0 && strcmp(want, "*") != 0)
			return true;
	}
	return false;
}

/* ---- the model: the decision ---- */

struct m_answer {
	bool		 allow;
	const char	*reason;
	char		 headers[3 * LINE];
	int		 row;		/* the one that answers, -1 */
};

/* The headers asked for: their names, lower case and by ",", or why not. */
static const char *
m_headers_asked(const struct request *q, const struct row_case *c, char *names)
{
	char line[LINE], name[LINE], lower[LINE];
	int nnames = 0, nempty = 0;
	size_t total = 0;

	names[0] = '\0';
	for (unsigned i = 0; i < q->nacrh; i++)
		total += q->acrh[i].len;
	if (q->nacrh > 64 || total > 4096)
		return "headers-too-long";
	for (unsigned i = 0; i < q->nacrh; i++) {
		char *p = line, *comma;

		sprintf(line, "%.*s", (int)q->acrh[i].len, q->acrh[i].at);
		if (line[0] == '\0')
			continue;
		do {
			comma = strchr(p, ',');
			if (comma != NULL)
				*comma = '\0';
			strcpy(name, p + strspn(p, " \t"));
			while (name[0] != '\0' && strchr(" \t", name[strlen(name) - 1]) != NULL)
				name[strlen(name) - 1] = '\0';
			p = comma + 1;
			if (name[0] == '\0') {
				if (++nempty > 16)
					return "headers-too-long";
				continue;
			}
			if (!m_only(name, TOKEN_BYTES))
				return "headers-malformed";
			if (++nnames > 64)
				return "headers-too-long";
			if (!m_allows_header(c, name))
				return "header";
			m_lower(lower, name);
			strcat(strcat(names, names[0] != '\0' ? "," : ""), lower);
		} while (comma != NULL);
	}
	return NULL;
}

static void
m_add(struct m_answer *a, const char *name, const char *value)
{
	if (value[0] != '\0')
		sprintf(a->headers + strlen(a->headers), "%s: %s\r\n", name, value);
}

static const char *
m_preflight(const struct request *q, const struct row_case *c, struct m_answer *a)
{
	char method[LINE], names[LINE + 100], list[LINE], age[16] = "";
	const char *wrong;

	sprintf(method, "%.*s", (int)q->acrm.len, q->acrm.at);
	if (q->nacrm > 1 || !m_is_token(method))
		return "method-malformed";
	if (m_forbidden_method(method))
		return "method-forbidden";
	if (!m_allows_method(c, method))
		return "method";
	if ((wrong = m_headers_asked(q, c, names)) != NULL)
		return wrong;
	m_render_words(list, &c->methods, true, "");
	m_add(a, "Access-Control-Allow-Methods", m_has_any(&c->methods) ? method : list);
	m_render_words(list, &c->headers, false, " * ");
	if (names[0] != '\0')
		m_add(a, "Access-Control-Allow-Headers", m_has_any(&c->headers) ? names : list);
	if (c->max_age >= 0)
		sprintf(age, "%d", c->max_age);
	m_add(a, "Access-Control-Max-Age", age);
	return NULL;
}

/* The row that answers, and what was seen on the way. */
static int
m_find(const struct one_case *c, const struct m_rule *rules, const bool *active, const struct m_origin *o,
    bool *known, bool *only_any, bool *unsafe, bool *expired)
{
	int best = -1;

	*known = *unsafe = *expired = false;
	*only_any = true;
	for (int i = 0; i < c->nrows; i++) {
		const struct row_case *r = &c->row[i];

		if (!active[i] || strlen(r->realm) != c->q.realm.len ||
		    memcmp(r->realm, c->q.realm.at, c->q.realm.len) != 0)
			continue;
		*known = true;
		*only_any = *only_any && rules[i].any;
		if (o == NULL ? !rules[i].any : !m_matches(&rules[i], o))
			continue;
		if (r->expired) {
			*expired = true;
		} else if (!r->refuses && !r->held && !r->revoked && r->credentials && (rules[i].any || (!r->insecure &&
		    (rules[i].wild_host || r->public_suffix || m_is_insecure(o))))) {
			*unsafe = true;
		} else if (best < 0 || m_rank(&rules[i]) < m_rank(&rules[best])) {
			best = i;
		}
	}
	*only_any = *only_any && *known;
	return best;
}

static const char *
m_reason(const struct one_case *c, enum m_status status, const struct row_case *row, bool known, bool unsafe,
    bool expired)
{
	if (c->q.nmethod > 1)
		return "request-malformed";
	if (c->q.nrealm > 1 || (c->q.realm.len > 0 && memchr(c->q.realm.at, '\n', c->q.realm.len) != NULL))
		return "realm-malformed";
	if (c->trouble == MATCH_NOT_READY)
		return "not-ready";
	if (c->trouble == MATCH_ERROR)
		return "table-error";
	if (c->is_stale)
		return "stale";
	if (row != NULL)
		return row->revoked ? "revoked" : row->held ? "invalidated" : row->refuses ? "row-refuses" : NULL;
	if (c->q.norigin > 1)
		return "origin-repeated";
	if (status != M_OK)
		return status == M_NULL ? "origin-null" : "origin-malformed";
	if (unsafe)
		return "row-unsafe";
	if (expired)
		return "row-expired";
	return known ? "origin-unknown" : "realm-unknown";
}

static void
m_answer(const struct one_case *c, const struct m_rule *rules, const bool *active, struct m_answer *a)
{
	const struct request *q = &c->q;
	bool known, only_any, unsafe, expired, constant;
	bool preflight = q->origin.len > 0 && q->acrm.len > 0 && q->method.len == 7 &&
	    memcmp(q->method.at, "OPTIONS", 7) == 0;
	struct m_origin o;
	enum m_status status = q->norigin > 1 ? M_BAD : m_parse(&o, q->origin.at, q->origin.len);
	const struct row_case *row;
	char list[LINE];

	memset(a, 0, sizeof(*a));
	a->row = m_find(c, rules, active, status == M_OK ? &o : NULL, &known, &only_any, &unsafe, &expired);
	row = a->row >= 0 ? &c->row[a->row] : NULL;
	a->reason = m_reason(c, status, row, known, unsafe, expired);
	constant = a->reason == NULL && rules[a->row].any;
	if (q->origin.len == 0 && !(constant && only_any))
		a->reason = "not-cors";
	if (a->reason == NULL) {
		sprintf(list, "%.*s", (int)q->origin.len, q->origin.at);
		m_add(a, "Access-Control-Allow-Origin", constant ? "*" : list);
		m_add(a, "Access-Control-Allow-Credentials", row->credentials ? "true" : "");
		if (preflight) {
			a->reason = m_preflight(q, row, a);
		} else {
			m_render_words(list, &row->expose, false,
			    " cache-control content-language content-length content-type expires last-modified pragma ");
			m_add(a, "Access-Control-Expose-Headers", list);
		}
	}
	if (a->reason != NULL)
		a->headers[0] = '\0';
	if (a->reason != NULL || !constant || !only_any)
		m_add(a, "Vary", preflight ?
		    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers" : "Origin");
	a->allow = a->reason == NULL && q->origin.len > 0;
	if (q->origin.len == 0)
		a->reason = "not-cors";
	else if (a->reason == NULL)
		a->reason = "allowed";
}

/* ---- the other side: lib, with a loop in place of a table ---- */

struct lib_row {
	bool		 active;
	struct rule	 rule;
	struct policy	 policy;
	char block[POLICY_MAX];
};

static struct span
span(const char *s)
{
	return (struct span){ s, strlen(s) };
}

static size_t
spans(struct span *out, const struct words *w)
{
	for (int i = 0; i < w->n; i++)
		out[i] = span(w->word[i]);
	return (size_t)w->n;
}

static bool
lib_policy(const struct row_case *c, struct lib_row *r)
{
	struct span methods[MAX_WORDS], headers[MAX_WORDS], expose[MAX_WORDS];
	struct policy_row row = {
		.name = { "p", 1 }, .credentials = c->credentials, .insecure = c->insecure,
		    .max_age = c->max_age,
		.methods = methods, .nmethods = spans(methods, &c->methods),
		.headers = headers, .nheaders = spans(headers, &c->headers),
		.expose = expose, .nexpose = spans(expose, &c->expose),
	};
	size_t len;

	return policy_compile(&row, r->block, &len, NULL) == POLICY_OK &&
	    policy_read(&r->policy, r->block, len) == POLICY_OK;
}

static bool
is_before(const struct rule *a, const struct rule *b)
{
	return a->form != b->form ? a->form < b->form : a->depth > b->depth;
}

static void
lib_find(const struct one_case *c, const struct lib_row *rows, const struct origin *o, struct match *m)
{
	int best = -1;

	*m = (struct match){ .state = c->trouble, .realm_only_any = true };
	for (int i = 0; i < c->nrows; i++) {
		const struct row_case *r = &c->row[i];
		bool off = r->refuses || r->held || r->revoked;

		if (!rows[i].active || strlen(r->realm) != c->q.realm.len ||
		    memcmp(r->realm, c->q.realm.at, c->q.realm.len) != 0)
			continue;
		m->realm_known = true;
		m->realm_only_any = m->realm_only_any && rows[i].rule.form == RULE_ANY;
		if (o == NULL ? rows[i].rule.form != RULE_ANY : !rule_matches(&rows[i].rule, o))
			continue;
		if (r->expired)
			m->saw_expired = true;
		else if (row_is_unsafe(rows[i].rule.form, o, r->public_suffix, off ? NULL : &rows[i].policy))
			m->saw_unsafe = true;
		else if (best < 0 || is_before(&rows[i].rule, &rows[best].rule))
			best = i;
	}
	m->realm_only_any = m->realm_only_any && m->realm_known;
	if (best < 0 || c->trouble != MATCH_NONE)
		return;
	m->state = MATCH_ROW;
	m->form = rows[best].rule.form;
	m->depth = rows[best].rule.depth;
	m->refuses = c->row[best].refuses;
	m->held = c->row[best].held;
	m->revoked = c->row[best].revoked;
	m->policy = &rows[best].policy;
}

/* ---- random cases, near misses above all ---- */

static uint64_t rng;

static unsigned
upto(unsigned n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (unsigned)((rng >> 33) % n);
}

/* True once in n. */
static bool
rarely(unsigned n)
{
	return upto(n) == 0;
}

#define PICK(table)	(table[upto(sizeof(table) / sizeof((table)[0]))])

/* One of the usual, seldom one of the odd. */
#define MOSTLY(usual, odd)	(rarely(14) ? PICK(odd) : PICK(usual))

#define L21	"aaaaaaaaaaaaaaaaaaaaa"
static const char *const schemes[] = { "https", "https", "https", "http", "app", "app" };
static const char *const odd_schemes[] = { "ws", "wss", "ftp", "chrome-extension", "httpss", "file", "HTTP",
    "a+b.c-9",
	"9a", "" };
static const char *const labels[] = { "a", "b", "ab", "com", "example", "localhost" };
static const char *const odd_labels[] = { "xn--p1ai", "xn--f", "xn--bcher-kva", "-", "_", "a-", "1", "0x1", "0xg", "127", "08",
    L21 L21 L21,
	L21 L21 L21 "a", "", "", "A", "Host", "a%41", "a\"b'c", "!$&()+,;=`{}~", "a|b", "a^b", "a<b" };
static const char *const addresses[] = { "127.0.0.1", "127.0.0.1", "1.2.3.4", "126.9.9.9", "0.0.1", "[::1]",
    "[2001:db8::1]" };
static const char *const odd_addresses[] = { "1.2.3.256", "1.2.3", "01.2.3.4", "1.2.3.4.5", "255.255.255.255",
    "[::]",
	"[1:0:0:2::]", "[1::2:0:0:3]", "[::ffff:1:2]", "[::ffff:1.2.3.4]", "[::1", "[fe80::1%1]", "[::01]" };
static const char *const ports[] = { "", "", "", ":8080", ":1" };
static const char *const odd_ports[] = { ":80", ":443", ":0", ":65535", ":65536", ":080", ":", ":*", ":21" };

static void
random_ipv6(char *out)
{
	unsigned char address[16];
	char text[64];

	for (int i = 0; i < 16; i++)
		address[i] = (unsigned char)(upto(3) < 2 ? 0 : rarely(2) ? upto(256) : 0xff);
	if (rarely(2))
		m_canonical(text, address);
	else
		m_render(text, address, (int)upto(8), (int)upto(3));
	sprintf(out, "[%s]", text);
}

static void
random_host(char *out)
{
	int n = rarely(40) ? 60 + (int)upto(8) : 1 + (int)upto(4);

	out[0] = '\0';
	if (rarely(8)) {
		if (rarely(3))
			random_ipv6(out);
		else
			strcpy(out, MOSTLY(addresses, odd_addresses));
		return;
	}
	for (int i = 0; i < n; i++)
		sprintf(out + strlen(out), "%s%s", i > 0 ? "." : "",
		    n > 4 ? "abc" + upto(3) : MOSTLY(labels, odd_labels));
}

static void
random_origin(char *out, bool rule)
{
	char host[TEXT];

	if (rule && rarely(6)) {
		strcpy(out, "*");
		return;
	}
	if (rarely(100)) {
		strcpy(out, "null");
		return;
	}
	if (rule && rarely(12)) {
		sprintf(out, "%s://*", rarely(3) ? MOSTLY(schemes, odd_schemes) : "app");
		return;
	}
	random_host(host);
	if (rarely(30))
		host[0] = '\0';
	sprintf(out, "%s://%s%s%s", MOSTLY(schemes, odd_schemes), rule && rarely(2) ? "*." : "", host,
	    rule && rarely(3) ? ":*" : MOSTLY(ports, odd_ports));
}

/* An origin that a rule matches, or only just does not. */
static void
origin_of_rule(char *out, const char *rule)
{
	static const char *const fronts[] = { "a.", "a.", "b.a.", "a.b.c.d.e." };
	static const char *const odd_fronts[] = { "evil", "", ".", "a..", "evil.com/.", "-.", "1." };
	static const char *const behind[] = { "", "", ":8080", ":1" };
	static const char *const odd_behind[] = { ":80", ":443", ":0", ":" };
	static const char *const hosts[] = { "a", ".", "", "A-B", "[::1]", "1.2.3.4" };
	static const char *const odd_hosts[] = { "*", "a b", "a/", "a|b", "[::A]", "%zz", "a@b" };
	const char *star = strstr(rule, "*."), *scheme = strstr(rule, "://*");
	char text[TEXT];

	if (scheme != NULL && scheme[4] == '\0')
		sprintf(text, "%.*s://%s%s", (int)(scheme - rule), rule, MOSTLY(hosts, odd_hosts), MOSTLY(behind, odd_behind));
	else if (star != NULL)
		sprintf(text, "%.*s%s%s", (int)(star - rule), rule, MOSTLY(fronts, odd_fronts), star + 2);
	else
		strcpy(text, rule);
	if (strlen(text) > 2 && strcmp(text + strlen(text) - 2, ":*") == 0)
		strcpy(text + strlen(text) - 2, MOSTLY(behind, odd_behind));
	strcpy(out, text);
}

/* Returns the new length. */
static size_t
mutate(char *s, size_t len)
{
	static const char bytes[] = "aA01.:*/@[]-_ ,\t%?#\\\x7f\xe9";
	size_t at = len > 0 ? upto((unsigned)len) : 0;
	char byte = bytes[upto(sizeof(bytes))];	/* the NUL among them */

	switch (upto(6)) {
	case 0:		/* replace */
		if (len > 0)
			s[at] = byte;
		return len;
	case 1:		/* insert */
		memmove(s + at + 1, s + at, len - at);
		s[at] = byte;
		return len + 1;
	case 2:		/* delete */
		if (len == 0)
			return 0;
		memmove(s + at, s + at + 1, len - at - 1);
		return len - 1;
	case 3:		/* flip a bit */
		if (len > 0)
			s[at] ^= (char)(1 << upto(8));
		return len;
	case 4:		/* cut */
		return at;
	default:	/* the other way round of case 2: double */
		memmove(s + at + 1, s + at, len - at);
		return len + (len > 0);
	}
}

static void
random_words(struct words *w, const char *const *table, unsigned n, const char *const *bad, unsigned nbad)
{
	w->n = (int)upto(5);
	for (int i = 0; i < w->n; i++)
		w->word[i] = rarely(200) ? bad[upto(nbad)] : table[upto(n)];
}

#define WORDS(w, table, bad)	random_words(w, table, sizeof(table) / sizeof((table)[0]), bad, \
	sizeof(bad) / sizeof((bad)[0]))

static void
random_row(struct row_case *r)
{
	static const char *const methods[] = { "GET", "put", "PUT", "DELETE", "patch", "PATCH", "PURGE", "*",
	    "hEaD" };
	static const char *const bad_methods[] = { "CONNECT", "trace", "b@d", "", "a b" };
	static const char *const headers[] = { "X-A", "x-a", "x-b", "Authorization", "content-type", "*",
	    "x-long-name" };
	static const char *const bad_headers[] = { "Cookie", "sec-x", "Proxy-", "a b", "", "HOST",
	    "Access-Control-Allow-Origin" };
	static const char *const expose[] = { "x-e", "X-E", "X-f", "Content-Type", "pragma", "x-g", "*" };
	static const char *const bad_expose[] = { "Set-Cookie", "origin", "x\x80", "" };
	static const int ages[] = { -1, 0, 5, 600, 86400, 600, 600, -1, 10 };

	random_origin(r->text, true);
	r->realm = rarely(4) ? "r" : "";
	WORDS(&r->methods, methods, bad_methods);
	WORDS(&r->headers, headers, bad_headers);
	WORDS(&r->expose, expose, bad_expose);
	r->credentials = rarely(2);
	r->insecure = rarely(3);
	r->refuses = rarely(12);
	r->held = rarely(20);
	r->revoked = rarely(20);
	r->expired = rarely(12);
	r->public_suffix = rarely(12);
	r->max_age = rarely(100) ? rarely(2) ? 86401 : -2 : PICK(ages);
}

static void
random_line(char *out)
{
	static const char *const names[] = { "x-a", "X-A", "x-b", "authorization", "AUTHORIZATION",
	    "content-type", "x-c",
		"x-long-name", "x-long", "x-", "*" };
	static const char *const blanks[] = { "", "", "", " ", "\t", " \t " };
	unsigned n = rarely(25) ? 62 + upto(14) : upto(5);
	bool one = n > 20 || rarely(2);
	const char *name = PICK(names);

	out[0] = '\0';
	for (unsigned i = 0; i < n; i++)
		sprintf(out + strlen(out), "%s%s%s%s", i > 0 ? "," : "", PICK(blanks),
		    rarely(12) ? "" : n < 20 && rarely(30) ? "a b" : one ? name : PICK(names), PICK(blanks));
	if (rarely(100))
		for (unsigned i = upto(20); i > 0; i--)
			strcat(out, ",");
	if (rarely(200))
		for (unsigned i = 4090 + upto(8); strlen(out) < i;)
			strcat(out, "n");
}

static void
random_preflight(struct one_case *c)
{
	static const char *const asked[] = { "PUT", "PUT", "PUT", "put", "PATCH", "patch", "GET", "get",
	    "POST", "PURGE", "PUR", "PU", "TRACE",
		"track", "P T", "*", "", L21 L21 L21 "A", L21 L21 L21 "AA" };
	unsigned n = rarely(2) ? 1 : upto(4);

	c->q.acrm = span(PICK(asked));
	c->q.nacrm = c->q.acrm.len == 0 ? 0 : rarely(100) ? 2 : 1;
	for (unsigned i = 0; i < n; i++) {
		random_line(c->lines[i]);
		if (c->lines[i][0] != '\0')
			c->q.acrh[c->q.nacrh++] = span(c->lines[i]);
	}
}

static void
random_request(struct one_case *c)
{
	static const char *const verbs[] = { "OPTIONS", "OPTIONS", "OPTIONS", "GET", "POST", "options",
	    "OPTION" };
	size_t len;

	memset(&c->q, 0, sizeof(c->q));
	if (rarely(4))
		random_origin(c->origin, false);
	else
		origin_of_rule(c->origin, c->row[upto((unsigned)c->nrows)].text);
	len = strlen(c->origin);
	while (rarely(5))
		len = mutate(c->origin, len);
	if (rarely(20))
		len = 0;
	c->q.origin = (struct span){ c->origin, len };
	c->q.norigin = len == 0 ? 0 : rarely(50) ? 2 : 1;
	c->q.method = span(PICK(verbs));
	c->q.nmethod = rarely(200) ? 2 : 1;
	c->q.realm = span(rarely(4) ? "r" : rarely(100) ? "r\n" : rarely(50) ? "q" : "");
	c->q.nrealm = rarely(200) ? 2 : 1;
	c->trouble = rarely(200) ? MATCH_NOT_READY : rarely(200) ? MATCH_ERROR : MATCH_NONE;
	c->is_stale = rarely(100);
	random_preflight(c);
}

static void
random_case(struct one_case *c)
{
	c->nrows = 1 + (int)upto(MAX_RULES);
	for (int i = 0; i < c->nrows; i++) {
		random_row(&c->row[i]);
		/* often rows that differ in one thing from a row before */
		if (i > 0 && rarely(2)) {
			strcpy(c->row[i].text, c->row[upto((unsigned)i)].text);
			if (rarely(2))
				c->row[i].text[mutate(c->row[i].text, strlen(c->row[i].text))] = '\0';
		}
	}
	random_request(c);
}

/* ---- the comparison ---- */

static void
describe(const struct one_case *c, char out[8192])
{
	out[0] = '\0';
	for (int i = 0; i < c->nrows; i++)
		snprintf(out + strlen(out), 8192 - strlen(out), "\n  row %d: realm \"%s\" %s", i,
		    c->row[i].realm, c->row[i].text);
	snprintf(out + strlen(out), 8192 - strlen(out),
	    "\n  %.*s origin \"%.*s\" acrm \"%.*s\" acrh \"%.200s\"",
	    (int)c->q.method.len, c->q.method.at, (int)c->q.origin.len, c->q.origin.at, (int)c->q.acrm.len,
	    c->q.acrm.at, c->q.nacrh > 0 ? c->lines[0] : "");
}

/* What no pattern may ever do, whatever the model thinks: read off the bytes. */
static bool
is_below(const struct one_case *c, const char *rule)
{
	char origin[TEXT], suffix[TEXT];
	char *colon;

	sprintf(origin, "%.*s", (int)c->q.origin.len, c->q.origin.at);
	sprintf(suffix, ".%s", strstr(rule, "*.") + 2);
	if ((colon = strchr(suffix, ':')) != NULL)
		*colon = '\0';
	if ((colon = strchr(strstr(origin, "://") + 3, ':')) != NULL)
		*colon = '\0';
	return strlen(origin) > strlen(suffix) &&
	    strcmp(origin + strlen(origin) - strlen(suffix), suffix) == 0;
}

static bool
check_rows(const struct one_case *c, struct m_rule *models, struct lib_row *rows, bool *active, char *said)
{
	for (int i = 0; i < c->nrows; i++) {
		const char *text = c->row[i].text;
		bool model = m_rule(&models[i], text), policy = m_policy_is_valid(&c->row[i]);

		if (model != (rule_parse(&rows[i].rule, text, strlen(text)) == ORIGIN_OK)) {
			sprintf(said, "row %d: the model says it is %s rule", i, model ? "a" : "no");
			return false;
		}
		if (policy != lib_policy(&c->row[i], &rows[i])) {
			sprintf(said, "row %d: the model says its policy is %s", i, policy ? "valid" : "not");
			return false;
		}
		active[i] = rows[i].active = model && policy;
	}
	return true;
}

/* Two rows with the same key cannot both be in a table: the later one goes. */
static void
drop_twins(const struct one_case *c, struct lib_row *rows, bool *active)
{
	for (int i = 0; i < c->nrows; i++)
		for (int j = 0; j < i; j++)
			if (active[j] && strcmp(c->row[i].text, c->row[j].text) == 0 &&
			    strcmp(c->row[i].realm, c->row[j].realm) == 0)
				active[i] = rows[i].active = false;
}

static bool
check_case(const struct one_case *c, char *said, uint64_t reasons[REASON_COUNT])
{
	static struct m_rule models[MAX_RULES];
	static struct lib_row rows[MAX_RULES];
	static struct m_answer want;
	static char headers[HEADERS_MAX + 1];
	bool active[MAX_RULES];
	enum origin_status status;
	struct decision d;
	struct origin o;
	struct match m;

	if (!check_rows(c, models, rows, active, said))
		return false;
	drop_twins(c, rows, active);
	m_answer(c, models, active, &want);
	status = request_origin(&c->q, &o);
	lib_find(c, rows, status == ORIGIN_OK ? &o : NULL, &m);
	decide(&c->q, status, &m, c->is_stale, &d);
	headers[headers_write(headers, HEADERS_MAX, HEADERS_RESPONSE, &c->q, &d)] = '\0';
	reasons[d.reason]++;
	if (d.allow != want.allow || strcmp(reason_token(d.reason), want.reason) != 0 ||
	    strcmp(headers, want.headers) != 0) {
		snprintf(said, 16384, "lib: %s\n%.6000s\nmodel: %s\n%.6000s", reason_token(d.reason), headers,
		    want.reason,
		    want.headers);
		return false;
	}
	if (d.allow && models[want.row].wild_labels && !is_below(c, c->row[want.row].text)) {
		strcpy(said, "allowed, but not below the suffix");
		return false;
	}
	return true;
}

static uint64_t
setting(const char *name, uint64_t otherwise)
{
	const char *value = getenv(name);

	return value != NULL ? strtoull(value, NULL, 10) : otherwise;
}

START_TEST(lib_and_model_agree)
{
	static struct one_case c;
	static char said[16384], described[8192];
	uint64_t ncases = setting("CORSCACHE_CASES", 200000), seed = setting("CORSCACHE_SEED", 1);
	uint64_t reasons[REASON_COUNT] = { 0 };

	for (uint64_t i = 0; i < ncases; i++) {
		rng = (seed * 0x9e3779b97f4a7c15u + i) * 0xbf58476d1ce4e5b9u | 1;
		for (int warm = 0; warm < 4; warm++)
			upto(2);
		random_case(&c);
		if (check_case(&c, said, reasons))
			continue;
		describe(&c, described);
		ck_abort_msg("seed %llu case %llu: %s%s", (unsigned long long)seed, (unsigned long long)i,
		    said, described);
	}
	for (int i = 0; i < REASON_COUNT; i++) {
		if (getenv("CORSCACHE_VERBOSE") != NULL)
			printf("%-20s %llu\n", reason_token((enum reason)i), (unsigned long long)reasons[i]);
		ck_assert_msg(reasons[i] > 0 || ncases < 100000, "no case ended in %s",
		    reason_token((enum reason)i));
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("model");
	TCase *tc = tcase_create("model");

	tcase_set_timeout(tc, 3600);
	tcase_add_test(tc, lib_and_model_agree);
	suite_add_tcase(suite, tc);
	return run(suite);
}

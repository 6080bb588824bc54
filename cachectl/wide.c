/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hash table over (kind, realm, text). Besides rows it has marks: what else
 * of a realm overlaps a host. Where a mark says too much, a row is taken for
 * one that matters, never the other way round.
 */
#include "wide.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "siphash.h"

#define NBUCKETS_FIRST	1024

enum kind {
	KIND_ROW,		// text: the pattern
	KIND_FIXED_PORT,	// text: scheme://host; there are rows scheme://*.host, or with a port of their own
	KIND_DEEPER,		// text: scheme://host; there are rows scheme://*.below.host:*
	KIND_COUNT,		// text: empty; row.shadowed is the number of wide rows but *
};

struct entry {
	struct entry	*next;
	uint64_t	 hash;
	enum kind	 kind;
	struct wide_row	 row;		/* a mark has its realm and text as well */
	char		 bytes[];
};

struct wide {
	uint64_t	  key[2];
	struct entry	**buckets;
	size_t		  nbuckets, nentries;
};

struct wide *
wide_new(void)
{
	struct wide *w = calloc(1, sizeof *w);

	if (w == NULL)
		return NULL;
	w->nbuckets = NBUCKETS_FIRST;
	w->buckets = calloc(w->nbuckets, sizeof *w->buckets);
	if (w->buckets == NULL || getrandom(w->key, sizeof w->key, 0) != (ssize_t)sizeof w->key)
		wide_free(&w);
	return w;
}

void
wide_free(struct wide **w)
{
	struct entry *e, *next;
	size_t i;

	if (*w == NULL)
		return;
	for (i = 0; (*w)->buckets != NULL && i < (*w)->nbuckets; i++) {
		for (e = (*w)->buckets[i]; e != NULL; e = next) {
			next = e->next;
			free(e);
		}
	}
	free((*w)->buckets);
	free(*w);
	*w = NULL;
}

static uint64_t
hash(const struct wide *w, enum kind kind, struct span realm, struct span text)
{
	uint64_t inner = siphash13(w->key[0], w->key[1], kind, realm.at, realm.len);

	return siphash13(w->key[0], w->key[1], inner, text.at, text.len);
}

static struct entry *
find(const struct wide *w, enum kind kind, struct span realm, struct span text)
{
	uint64_t h = hash(w, kind, realm, text);
	struct entry *e = w->buckets[h % w->nbuckets];

	while (e != NULL && (e->hash != h || e->kind != kind || !spans_equal(e->row.realm, realm) ||
	    !spans_equal(e->row.origin, text)))
		e = e->next;
	return e;
}

/* Where there is no memory the chains get longer. */
static void
grow(struct wide *w)
{
	size_t n = 2 * w->nbuckets, i;
	struct entry **buckets = calloc(n, sizeof *buckets), *e, *next;

	if (buckets == NULL)
		return;
	for (i = 0; i < w->nbuckets; i++) {
		for (e = w->buckets[i]; e != NULL; e = next) {
			next = e->next;
			e->next = buckets[e->hash % n];
			buckets[e->hash % n] = e;
		}
	}
	free(w->buckets);
	w->buckets = buckets;
	w->nbuckets = n;
}

/* The one that is there, or a new one; NULL: no memory. */
static struct entry *
put(struct wide *w, enum kind kind, struct span realm, struct span text)
{
	struct entry *e = find(w, kind, realm, text);

	if (e != NULL)
		return e;
	if (w->nentries++ >= w->nbuckets)
		grow(w);
	if ((e = calloc(1, sizeof *e + realm.len + text.len + 1)) == NULL)
		return NULL;
	memcpy(e->bytes, realm.at, realm.len);
	memcpy(e->bytes + realm.len, text.at, text.len);
	e->kind = kind;
	e->hash = hash(w, kind, realm, text);
	e->row.realm = (struct span){ e->bytes, realm.len };
	e->row.origin = (struct span){ e->bytes + realm.len, text.len };
	e->next = w->buckets[e->hash % w->nbuckets];
	w->buckets[e->hash % w->nbuckets] = e;
	return e;
}

/* ---- texts ---- */

/* The host without its first label; empty: that was the last. */
static struct span
parent(struct span host)
{
	const char *dot = memchr(host.at, '.', host.len);

	if (dot == NULL)
		return (struct span){ host.at + host.len, 0 };
	return (struct span){ dot + 1, host.len - (size_t)(dot + 1 - host.at) };
}

/* scheme "://" prefix host port; port "" or ":8443" or ":*". */
static struct span
text_of(char buf[RULE_MAX + 8], struct span scheme, const char *prefix, struct span host, const char *port)
{
	int len = snprintf(buf, RULE_MAX + 8, "%.*s://%s%.*s%s", (int)scheme.len, scheme.at, prefix,
	    (int)host.len, host.at, port);

	return (struct span){ buf, (size_t)len };
}

static const char *
port_text(char buf[8], const struct origin *o)
{
	buf[0] = '\0';
	if (o->port != 0)
		snprintf(buf, 8, ":%u", (unsigned)o->port);
	return buf;
}

/* ---- rows ---- */

static int
mark(struct wide *w, enum kind kind, struct span realm, struct span scheme, struct span host)
{
	char buf[RULE_MAX + 8];

	return put(w, kind, realm, text_of(buf, scheme, "", host, "")) != NULL ? 0 : -ENOMEM;
}

static int
add_marks(struct wide *w, struct span realm, const struct rule *rule)
{
	const struct origin *o = &rule->origin;
	struct entry *count = put(w, KIND_COUNT, realm, (struct span){ "", 0 });
	struct span host;
	int error = count == NULL ? -ENOMEM : 0;

	if (error == 0)
		count->row.shadowed++;
	if (error == 0 && rule->form == RULE_SUFFIX)
		error = mark(w, KIND_FIXED_PORT, realm, o->scheme, o->host);
	if (rule->form == RULE_SUFFIX_ANY_PORT)
		for (host = parent(o->host); error == 0 && host.len > 0; host = parent(host))
			error = mark(w, KIND_DEEPER, realm, o->scheme, host);
	return error;
}

int
wide_add(struct wide *w, const struct row *row, const struct rule *rule, const struct known *policy, bool is_dangerous)
{
	struct entry *e = put(w, KIND_ROW, row->realm, row->origin);

	if (e == NULL)
		return -ENOMEM;
	e->row.expires_at = row->expires_at;
	e->row.allow = row->allow;
	e->row.policy = policy;
	e->row.is_dangerous = is_dangerous;
	return rule->form == RULE_ANY ? 0 : add_marks(w, row->realm, rule);
}

static struct wide_row *
get(const struct wide *w, struct span realm, struct span text)
{
	struct entry *e = find(w, KIND_ROW, realm, text);

	return e != NULL ? &e->row : NULL;
}

// scheme://*.host with that port, for the host and all above it, longest first.
static struct wide_row *
next_suffix(const struct wide *w, struct span realm, const struct origin *o, struct span host, const char *port)
{
	struct wide_row *found = NULL;
	char buf[RULE_MAX + 8];

	for (; found == NULL && host.len > 0; host = parent(host))
		found = get(w, realm, text_of(buf, o->scheme, "*.", host, port));
	return found;
}

/* The kind of mark on the host, or with all on one above it. */
static bool
is_marked(const struct wide *w, enum kind kind, struct span realm, const struct origin *o, struct span host, bool all)
{
	char buf[RULE_MAX + 8];
	bool found = false;

	do {
		found = host.len > 0 && find(w, kind, realm, text_of(buf, o->scheme, "", host, "")) != NULL;
		host = parent(host);
	} while (!found && all && host.len > 0);
	return found;
}

/* The order of enum rule_form, from behind the row's own place in it. */
struct wide_row *
wide_next(const struct wide *w, const struct row *row, const struct rule *rule, bool *is_mixed)
{
	const struct origin *o = &rule->origin;
	struct span above = { "", 0 };
	struct wide_row *found = NULL;
	char buf[RULE_MAX + 8], port[8];

	*is_mixed = false;
	if (rule->form == RULE_ANY)
		return NULL;
	if (o->kind == HOST_NAME)
		above = parent(o->host);
	if (rule->form == RULE_EXACT)
		found = get(w, row->realm, text_of(buf, o->scheme, "", o->host, ":*"));
	if (found == NULL && (rule->form == RULE_EXACT || rule->form == RULE_SUFFIX))
		found = next_suffix(w, row->realm, o, above, port_text(port, o));
	if (found == NULL && rule->form == RULE_HOST_ANY_PORT)
		*is_mixed = is_marked(w, KIND_FIXED_PORT, row->realm, o, above, true);
	if (found == NULL && rule->form == RULE_SUFFIX)
		*is_mixed = is_marked(w, KIND_DEEPER, row->realm, o, o->host, false);
	if (*is_mixed)
		return NULL;
	if (found == NULL)
		found = next_suffix(w, row->realm, o, rule->form == RULE_SUFFIX ? o->host : above, ":*");
	if (found == NULL && rule->form != RULE_SCHEME && o->port == 0 &&
	    (found = get(w, row->realm, text_of(buf, o->scheme, "*", (struct span){ "", 0 }, ""))) != NULL &&
	    rule->form != RULE_EXACT && rule->form != RULE_SUFFIX) {
		*is_mixed = true;	/* it answers those without a port */
		return NULL;
	}
	return found != NULL ? found : get(w, row->realm, (struct span){ "*", 1 });
}

bool
wide_is_only_any(const struct wide *w, struct span realm)
{
	return find(w, KIND_COUNT, realm, (struct span){ "", 0 }) == NULL;
}

void
wide_each(struct wide *w, void (*each)(struct wide_row *row, void *arg), void *arg)
{
	struct entry *e;
	size_t i;

	for (i = 0; i < w->nbuckets; i++)
		for (e = w->buckets[i]; e != NULL; e = e->next)
			if (e->kind == KIND_ROW)
				each(&e->row, arg);
}

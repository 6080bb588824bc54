/* SPDX-License-Identifier: BSD-2-Clause */
#include "response.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum how {
	HOW_EXACT,
	HOW_SET,		/* names in any order, case aside */
	HOW_AT_LEAST,		/* a set, and the response may have more */
};

static const struct compared {
	const char	*name;
	enum how	 how;
	bool		 only_preflight;
} headers[RESPONSE_DIFFERENCES_MAX] = {
	{ "Access-Control-Allow-Origin", HOW_EXACT, false },
	{ "Access-Control-Allow-Credentials", HOW_EXACT, false },
	{ "Access-Control-Expose-Headers", HOW_SET, false },
	{ "Access-Control-Allow-Methods", HOW_SET, true },
	{ "Access-Control-Allow-Headers", HOW_SET, true },
	{ "Access-Control-Max-Age", HOW_EXACT, true },
	{ "Vary", HOW_AT_LEAST, false },
};

/* The next element of a list, "" at its end. */
static struct span
next_element(struct span *list)
{
	struct span element;

	while (list->len > 0 && (list->at[0] == ',' || isspace((unsigned char)list->at[0]))) {
		list->at++;
		list->len--;
	}
	for (element = (struct span){ list->at, 0 }; element.len < list->len && list->at[element.len] != ','; element.len++)
		;
	list->at += element.len;
	list->len -= element.len;
	while (element.len > 0 && isspace((unsigned char)element.at[element.len - 1]))
		element.len--;
	return element;
}

static bool
covers(struct span list, struct span wanted)
{
	struct span w, e, rest;

	while ((w = next_element(&wanted)).len > 0) {
		rest = list;
		while ((e = next_element(&rest)).len > 0)
			if ((e.len == w.len && strncasecmp(e.at, w.at, e.len) == 0) || span_is(e, "*"))
				break;
		if (e.len == 0)
			return false;
	}
	return true;
}

static bool
is_same(enum how how, struct span came_back, struct span expected)
{
	switch (how) {
	case HOW_SET:
		return covers(came_back, expected) && covers(expected, came_back);
	case HOW_AT_LEAST:
		return covers(came_back, expected);
	default:
		return spans_equal(came_back, expected) && (came_back.at == NULL) == (expected.at == NULL);
	}
}

static void
append(struct response_difference *d, struct span s)
{
	size_t room = sizeof d->joined - d->came_back.len, len = s.len < room ? s.len : room;

	memcpy(d->joined + d->came_back.len, s.at, len);
	d->came_back.len += len;
}

static void
find_response(const struct paste *p, struct response_difference *d)
{
	size_t i;

	for (i = 0; i < p->nresponse; i++) {
		if (!span_is_name(p->response[i].name, d->name))
			continue;
		if (d->came_back.at != NULL)
			append(d, span_of(", "));
		d->came_back.at = d->joined;
		append(d, p->response[i].value);
	}
}

struct search {
	const char	*name;
	struct span	 found;
};

static void
compare_line(struct span line, void *arg)
{
	struct search *s = arg;
	size_t len = strlen(s->name);

	if (line.len > len + 2 && line.at[len] == ':' && strncasecmp(line.at, s->name, len) == 0)
		s->found = (struct span){ line.at + len + 2, line.len - len - 2 };
}

static struct span
find_expected(const struct explanation *e, const char *name)
{
	struct search s = { name, { NULL, 0 } };

	explain_each_header(e, compare_line, &s);
	return s.found;
}

size_t
response_compare(const struct paste *p, const struct explanation *e,
    struct response_difference differences[RESPONSE_DIFFERENCES_MAX])
{
	bool is_preflight = e->answer.decision.class == REQUEST_PREFLIGHT;
	size_t i, n = 0;

	for (i = 0; i < RESPONSE_DIFFERENCES_MAX; i++) {
		struct response_difference *d = &differences[n];

		if (headers[i].only_preflight && !is_preflight)
			continue;
		d->name = headers[i].name;
		d->came_back = (struct span){ NULL, 0 };
		find_response(p, d);
		d->expected = find_expected(e, d->name);
		n += !is_same(headers[i].how, d->came_back, d->expected);
	}
	return n;
}

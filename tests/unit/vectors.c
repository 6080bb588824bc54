/* SPDX-License-Identifier: BSD-2-Clause */
#include "vectors.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "headers.h"
#include "suffix.h"

#define MAX_LINES	1024
#define MAX_FIELDS	16
#define MAX_ELEMENTS	128
#define TEXT_MAX	16384	/* bytes of one request */

static json_t *lines[MAX_LINES];
static size_t nlines;
static char message[1024];

static const char *
fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	return message;
}

size_t
vectors_open(const char *path)
{
	FILE *f = fopen(path, "r");
	char *line = NULL;
	size_t cap = 0;

	if (f == NULL) {
		perror(path);
		exit(EXIT_FAILURE);
	}
	while (nlines < MAX_LINES && getline(&line, &cap, f) > 0) {
		json_error_t error;

		lines[nlines] = json_loads(line, JSON_ALLOW_NUL, &error);
		if (lines[nlines++] == NULL) {
			fprintf(stderr, "%s:%zu: %s\n", path, nlines, error.text);
			exit(EXIT_FAILURE);
		}
	}
	free(line);
	fclose(f);
	if (nlines == 0) {
		fprintf(stderr, "%s: no vectors\n", path);
		exit(EXIT_FAILURE);
	}
	return nlines;
}

void
vectors_close(void)
{
	while (nlines > 0)
		json_decref(lines[--nlines]);
}

const char *
vectors_id(size_t line)
{
	return json_string_value(json_object_get(lines[line], "id"));
}

static struct span
json_span(const json_t *s)
{
	return (struct span){ json_string_value(s), json_string_length(s) };
}

static size_t
json_spans(const json_t *array, struct span *spans)
{
	size_t n = json_array_size(array);

	for (size_t i = 0; i < n && i < MAX_ELEMENTS; i++)
		spans[i] = json_span(json_array_get(array, i));
	return n;
}

/* All that syncd asks of a row before it goes into the table. */
static bool
is_active(struct vector_rule *v)
{
	size_t len;

	if (rule_parse(&v->rule, v->row.origin.at, v->row.origin.len) != ORIGIN_OK ||
	    policy_compile(&v->columns, v->block, &len, NULL) != POLICY_OK ||
	    policy_read(&v->policy, v->block, len) != POLICY_OK)
		return false;
	v->row.public_suffix = (v->rule.form == RULE_SUFFIX || v->rule.form == RULE_SUFFIX_ANY_PORT) &&
	    suffix_is_public(v->rule.origin.host);
	return !row_is_unsafe(v->rule.form, &v->rule.origin, v->row.public_suffix, &v->policy);
}

static void
load_rule(struct vector_rule *v, const json_t *json, size_t i, struct span lists[3][MAX_ELEMENTS])
{
	const json_t *max_age = json_object_get(json, "max_age");
	int len = snprintf(v->name, sizeof(v->name), "p%zu", i);

	v->columns = (struct policy_row){
		.name = { v->name, (size_t)len },
		.methods = lists[0],
		.nmethods = json_spans(json_object_get(json, "methods"), lists[0]),
		.headers = lists[1],
		.nheaders = json_spans(json_object_get(json, "headers"), lists[1]),
		.expose = lists[2],
		.nexpose = json_spans(json_object_get(json, "expose"), lists[2]),
		.credentials = json_is_true(json_object_get(json, "credentials")),
		.max_age = json_is_null(max_age) ? POLICY_NO_MAX_AGE : (int32_t)json_integer_value(max_age),
	};
	v->row = (struct row){
		.realm = json_span(json_object_get(json, "realm")),
		.origin = json_span(json_object_get(json, "origin")),
		.policy = v->columns.name,
		.allow = true,
	};
	v->active = is_active(v);
}

static void
load_rules(struct vector_rules *rules, const json_t *json)
{
	static struct span lists[VECTORS_MAX_RULES][3][MAX_ELEMENTS];

	rules->n = json_array_size(json);
	if (rules->n > VECTORS_MAX_RULES)
		abort();
	for (size_t i = 0; i < rules->n; i++)
		load_rule(&rules->at[i], json_array_get(json, i), i, lists[i]);
}

/* The strings of a request are bytes written as the characters U+0000 to U+00FF. */
struct text {
	char	 bytes[TEXT_MAX];
	size_t	 len;
};

static struct span
latin1(struct text *text, const json_t *json)
{
	struct span utf8 = json_span(json), s = { text->bytes + text->len, 0 };

	for (size_t i = 0; i < utf8.len; i++) {
		unsigned char c = (unsigned char)utf8.at[i];

		if (text->len + s.len == sizeof(text->bytes))
			abort();
		if (c >= 0x80)
			c = (unsigned char)(c << 6 | (utf8.at[++i] & 0x3f));
		text->bytes[text->len + s.len++] = (char)c;
	}
	text->len += s.len;
	return s;
}

/* Absent, one line or a list of them; empty ones count as absent. */
static unsigned
header_lines(struct text *text, const json_t *json, struct span *values, unsigned max)
{
	size_t n = json_is_array(json) ? json_array_size(json) : !json_is_null(json);
	unsigned found = 0;

	for (size_t i = 0; i < n; i++) {
		struct span s = latin1(text, json_is_array(json) ? json_array_get(json, i) : json);

		if (s.len > 0 && found++ < max)
			values[found - 1] = s;
	}
	return found;
}

static void
load_request(struct request *q, struct text *text, const json_t *json)
{
	*q = (struct request){ .nmethod = 1, .nrealm = 1 };
	q->realm = latin1(text, json_object_get(json, "realm"));
	q->method = latin1(text, json_object_get(json, "method"));
	q->norigin = header_lines(text, json_object_get(json, "origin"), &q->origin, 1);
	q->nacrm = header_lines(text, json_object_get(json, "acrm"), &q->acrm, 1);
	q->nacrh = header_lines(text, json_object_get(json, "acrh"), q->acrh, ACRH_MAX_LINES);
}

/* A response as a client reads it. */
struct response {
	char	 text[HEADERS_MAX + 1];
	size_t	 n;
	struct {
		const char	*name;
		const char	*value;
	}	 field[MAX_FIELDS];
};

/* Splits text; NULL or what no response may have. */
static const char *
parse_response(struct response *r, size_t len)
{
	char *p = r->text, *end = r->text + len;

	*end = '\0';
	for (r->n = 0; p < end; r->n++) {
		char *eol = strstr(p, "\r\n"), *colon = strstr(p, ": ");

		if (eol == NULL || colon == NULL || colon > eol || r->n == MAX_FIELDS)
			return fail("not a header line: %s", p);
		*eol = *colon = '\0';
		for (const char *c = colon + 2; c < eol; c++)
			if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f)
				return fail("%s: byte %#x", p, (unsigned char)*c);
		r->field[r->n].name = p;
		r->field[r->n].value = colon + 2;
		p = eol + 2;
	}
	return NULL;
}

/* NULL where it is absent. */
static const char *
header(const struct response *r, const char *name)
{
	for (size_t i = 0; i < r->n; i++)
		if (strcasecmp(r->field[i].name, name) == 0)
			return r->field[i].value;
	return NULL;
}

/* Whether a comma-separated list has exactly this element. A * is an element like any other. */
static bool
list_has(const char *list, const char *element, bool any_case)
{
	size_t len = strlen(element);

	while (list != NULL && *list != '\0') {
		size_t n;

		list += strspn(list, ", ");
		n = strcspn(list, ", ");
		if (n == len && (any_case ? strncasecmp : strncmp)(list, element, len) == 0)
			return true;
		list += n;
	}
	return false;
}

static bool
is_token_list(const char *list)
{
	size_t n;

	for (;; list++) {
		n = strcspn(list, ",");
		for (size_t i = 0; i < n; i++)
			if (!token_has_byte((unsigned char)list[i]))
				return false;
		if (n == 0)
			return false;
		list += n;
		if (*list == '\0')
			return true;
	}
}

static const char *
check_invariants(const struct response *r, const struct decision *d)
{
	static const char *const lists[] = { "Access-Control-Allow-Methods", "Access-Control-Allow-Headers",
		"Access-Control-Expose-Headers" };
	const char *origin = header(r, "Access-Control-Allow-Origin");
	const char *credentials = header(r, "Access-Control-Allow-Credentials");

	for (size_t i = 0; i < r->n; i++)
		for (size_t j = 0; j < i; j++)
			if (strcasecmp(r->field[i].name, r->field[j].name) == 0)
				return fail("%s twice", r->field[i].name);
	if (origin != NULL && strcmp(origin, "*") == 0 && credentials != NULL)
		return fail("* with credentials");
	if (credentials != NULL && strcmp(credentials, "true") != 0)
		return fail("credentials: %s", credentials);
	for (size_t i = 0; i < 3; i++)
		if (header(r, lists[i]) != NULL && !is_token_list(header(r, lists[i])))
			return fail("%s: %s", lists[i], header(r, lists[i]));
	if (!d->allow && d->class != REQUEST_NON_CORS && origin != NULL)
		return fail("refused, but Access-Control-Allow-Origin: %s", origin);
	return NULL;
}

/* Fetch standard, "CORS check". */
static bool
cors_check(const struct response *r, struct span origin, bool include)
{
	const char *allowed = header(r, "Access-Control-Allow-Origin");
	const char *credentials = header(r, "Access-Control-Allow-Credentials");

	if (allowed == NULL)
		return false;
	if (!include && strcmp(allowed, "*") == 0)
		return true;
	if (strlen(allowed) != origin.len || memcmp(allowed, origin.at, origin.len) != 0)
		return false;
	return !include || (credentials != NULL && strcmp(credentials, "true") == 0);
}

static bool
is_safelisted_method(const char *method)
{
	return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 || strcmp(method, "POST") == 0;
}

/* Fetch standard, "CORS-preflight fetch" step 7. The names are all taken for CORS-unsafe ones. */
static bool
preflight_check(const struct response *r, const struct request *q, bool include)
{
	const char *methods = header(r, "Access-Control-Allow-Methods");
	const char *names = header(r, "Access-Control-Allow-Headers");
	char asked[ACRH_MAX + 1], method[ACRM_MAX + 1], *save, *name;

	snprintf(method, sizeof(method), "%.*s", (int)q->acrm.len, q->acrm.at);
	if (!list_has(methods, method, false) && !is_safelisted_method(method) &&
	    (include || !list_has(methods, "*", false)))
		return false;
	for (unsigned i = 0; i < q->nacrh; i++) {
		snprintf(asked, sizeof(asked), "%.*s", (int)q->acrh[i].len, q->acrh[i].at);
		name = strtok_r(asked, ", \t", &save);
		for (; name != NULL; name = strtok_r(NULL, ", \t", &save)) {
			bool wildcard = list_has(names, "*", false) && !include &&
			    strcasecmp(name, "authorization") != 0;

			if (!list_has(names, name, true) && !wildcard)
				return false;
		}
	}
	return true;
}

static const char *
check_browser(const struct response *r, const struct request *q, const struct decision *d, const json_t *expect)
{
	static const char *const modes[] = { "omit", "include" };
	const json_t *browser = json_object_get(expect, "browser");

	for (int i = 0; i < 2; i++) {
		const char *want = json_string_value(json_object_get(browser, modes[i]));
		bool pass = cors_check(r, q->origin, i);

		if (d->class == REQUEST_PREFLIGHT)
			pass = pass && d->allow && preflight_check(r, q, i);
		if (want != NULL && pass != (strcmp(want, "pass") == 0))
			return fail("browser, credentials mode %s: want %s", modes[i], want);
	}
	return NULL;
}

static const char *
check_headers(const struct response *r, const json_t *expect)
{
	json_t *want, *headers = json_object_get(expect, "headers");
	const char *name, *value;
	size_t i;

	json_object_foreach(headers, name, want)
		if ((value = header(r, name)) == NULL || strcmp(value, json_string_value(want)) != 0)
			return fail("%s: \"%s\", want \"%s\"", name, value ? value : "(absent)",
			    json_string_value(want));
	json_array_foreach(json_object_get(expect, "absent"), i, want)
		if ((value = header(r, json_string_value(want))) != NULL)
			return fail("%s: \"%s\", want none", json_string_value(want), value);
	json_array_foreach(json_object_get(expect, "vary_includes"), i, want)
		if (!list_has(header(r, "Vary"), json_string_value(want), true))
			return fail("Vary lacks %s", json_string_value(want));
	return NULL;
}

static const char *
check_covers(const struct response *r, const char *field, const json_t *names)
{
	json_t *want;
	size_t i;

	json_array_foreach(names, i, want) {
		const char *name = json_string_value(want);
		bool wildcard = list_has(header(r, field), "*", false) &&
		    strcasecmp(name, "authorization") != 0;

		if (!list_has(header(r, field), name, true) && !wildcard)
			return fail("%s does not cover %s", field, name);
	}
	return NULL;
}

static const char *
check_lists(const struct response *r, const json_t *expect)
{
	const char *method = json_string_value(json_object_get(expect, "acam_must_cover"));
	const char *methods = header(r, "Access-Control-Allow-Methods"), *wrong;

	if (method != NULL && !list_has(methods, method, false) && !list_has(methods, "*", false))
		return fail("Access-Control-Allow-Methods does not cover %s", method);
	wrong = check_covers(r, "Access-Control-Allow-Headers", json_object_get(expect, "acah_must_cover"));
	if (wrong != NULL)
		return wrong;
	return check_covers(r, "Access-Control-Expose-Headers", json_object_get(expect, "aceh_must_cover"));
}

static const char *
check_one_of(const struct response *r, const json_t *choices)
{
	const char *value = header(r, "Access-Control-Allow-Origin");
	json_t *choice;
	size_t i;

	if (choices == NULL)
		return NULL;
	json_array_foreach(choices, i, choice) {
		const char *want = json_string_value(choice);	/* NULL: absent */

		if (want == NULL ? value == NULL : value != NULL && strcmp(value, want) == 0)
			return NULL;
	}
	return fail("Access-Control-Allow-Origin: %s is none of the choices", value ? value : "(absent)");
}

static const char *
check_decision(const struct decision *d, const json_t *expect)
{
	static const char *const classes[] = { [REQUEST_NON_CORS] = "non_cors",
	    [REQUEST_PREFLIGHT] = "preflight",
		[REQUEST_ACTUAL] = "actual" };
	const json_t *allowed = json_object_get(expect, "allowed");

	if (strcmp(json_string_value(json_object_get(expect, "class")), classes[d->class]) != 0)
		return fail("class %s", classes[d->class]);
	if (d->allow != json_is_true(allowed))
		return fail("%s (%s)", d->allow ? "allowed" : "refused", reason_token(d->reason));
	if (json_is_true(json_object_get(expect, "status_2xx")) && !d->allow)
		return fail("no 2xx");
	return NULL;
}

static const char *
check_request(const struct vector_backend *b, const json_t *request, const json_t *expect)
{
	static struct response r;
	static struct text text;
	enum origin_status status;
	struct decision d;
	struct request q;
	struct origin o;
	struct match m;
	const char *wrong;

	text.len = 0;
	load_request(&q, &text, request);
	status = request_origin(&q, &o);
	b->find(b->arg, q.realm, status == ORIGIN_OK ? &o : NULL, &m);
	decide(&q, status, &m, false, &d);
	wrong = parse_response(&r, headers_write(r.text, HEADERS_MAX, HEADERS_RESPONSE, &q, &d));
	if (wrong == NULL)
		wrong = check_invariants(&r, &d);
	if (wrong == NULL)
		wrong = check_decision(&d, expect);
	if (wrong == NULL)
		wrong = check_browser(&r, &q, &d, expect);
	if (wrong == NULL)
		wrong = check_headers(&r, expect);
	if (wrong == NULL)
		wrong = check_lists(&r, expect);
	return wrong != NULL ? wrong : check_one_of(&r, json_object_get(expect, "acao_one_of"));
}

static const char *
check_config(const struct vector_rules *rules, const json_t *expect)
{
	bool active = true;

	for (size_t i = 0; i < rules->n; i++)
		active = active && rules->at[i].active;
	if (active != json_is_true(json_object_get(expect, "valid")))
		return fail("the rule is %s", active ? "accepted" : "left out");
	return NULL;
}

const char *
vectors_check(size_t line, const struct vector_backend *b)
{
	static struct vector_rules rules;
	const json_t *expect = json_object_get(lines[line], "expect");
	int error;

	load_rules(&rules, json_object_get(lines[line], "rules"));
	if ((error = b->load(b->arg, &rules)) != 0)
		return fail("load: %s", strerror(-error));
	if (strcmp(json_string_value(json_object_get(lines[line], "kind")), "config") == 0)
		return check_config(&rules, expect);
	return check_request(b, json_object_get(lines[line], "request"), expect);
}

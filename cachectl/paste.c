/* SPDX-License-Identifier: BSD-2-Clause */
#include "paste.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TEXT_MAX	(1024 * 1024)
#define WORDS_MAX	512

struct reading {
	struct paste	*p;
	bool		 is_marked;	/* > and < in front, as curl -v prints them: what has none is something else */
	struct span	 pending;	/* a name whose value is on the next line */
	bool		 is_over;	/* the next exchange begins */
};

bool
span_is_name(struct span s, const char *name)
{
	return s.len == strlen(name) && strncasecmp(s.at, name, s.len) == 0;
}

static bool
has_prefix(struct span s, const char *prefix)
{
	return s.len >= strlen(prefix) && strncasecmp(s.at, prefix, strlen(prefix)) == 0;
}

static struct span
trim(struct span s)
{
	while (s.len > 0 && isspace((unsigned char)s.at[0])) {
		s.at++;
		s.len--;
	}
	while (s.len > 0 && isspace((unsigned char)s.at[s.len - 1]))
		s.len--;
	return s;
}

static struct span
behind(struct span s, size_t n)
{
	return trim((struct span){ s.at + n, s.len - n });
}

/* ---- headers ---- */

static bool
is_of_response(struct span name)
{
	return has_prefix(name, "access-control-allow-") || span_is_name(name, "access-control-expose-headers") ||
	    span_is_name(name, "access-control-max-age") || span_is_name(name, "vary");
}

/* Those that are looked for; what a developer tool calls the method is one of them. */
static bool
is_of_request(struct span name)
{
	return span_is_name(name, "origin") || span_is_name(name, "access-control-request-method") ||
	    span_is_name(name, "access-control-request-headers") || span_is_name(name, ":method") ||
	    span_is_name(name, "request method");
}

static void
take_request_header(struct paste *p, struct span name, struct span value)
{
	if (span_is_name(name, "origin")) {
		p->origin = value;
		p->norigin++;
	} else if (span_is_name(name, "access-control-request-method")) {
		p->acrm = value;
		p->nacrm++;
	} else if (span_is_name(name, "access-control-request-headers")) {
		if (p->nacrh < PASTE_HEADERS_MAX)
			p->acrh[p->nacrh++] = value;
	} else if (span_is_name(name, ":method") || span_is_name(name, "request method")) {
		p->method = value;
	}
}

static void
take_header(struct paste *p, struct span name, struct span value)
{
	if (is_of_response(name)) {
		p->has_response = true;
		if (p->nresponse < PASTE_HEADERS_MAX)
			p->response[p->nresponse++] = (struct paste_header){ name, value };
	} else if (span_is_name(name, ":status") || span_is_name(name, "status code")) {
		p->has_response = true;
		p->status = (struct span){ value.at, strcspn(value.at, " \t\r\n") };
	} else {
		take_request_header(p, name, value);
	}
}

/* ---- lines ---- */

/* "OPTIONS /path HTTP/1.1" */
static bool
is_request_line(struct span line)
{
	const char *http = memmem(line.at, line.len, " HTTP/", 6);

	return http != NULL && line.len > 0 && isupper((unsigned char)line.at[0]) &&
	    memchr(line.at, ' ', line.len) < (const void *)http;
}

/* A request behind one that had what is looked for is another exchange. */
static void
begin_request(struct reading *r, struct span line)
{
	struct paste *p = r->p;

	if (p->norigin > 0) {
		r->is_over = true;
		return;
	}
	p->nacrm = p->nacrh = 0;
	p->nresponse = 0;
	p->has_response = false;
	p->method = (struct span){ line.at, (size_t)((const char *)memchr(line.at, ' ', line.len) - line.at) };
}

/* "HTTP/1.1 204 No Content"; what came before it was an interim response. */
static void
begin_response(struct paste *p, struct span line)
{
	size_t skip = strcspn(line.at, " \n");

	p->has_response = true;
	p->nresponse = 0;
	p->status = behind(line, skip < line.len ? skip : line.len);
	p->status.len = strcspn(p->status.at, " \r\n");
}

/* "name: value", ":name: value". false: no header. */
static bool
split_header(struct span line, struct span *name, struct span *value)
{
	const char *colon = line.len > 1 ? memchr(line.at + 1, ':', line.len - 1) : NULL;

	if (colon == NULL)
		return false;
	*name = trim((struct span){ line.at, (size_t)(colon - line.at) });
	*value = behind(line, (size_t)(colon + 1 - line.at));
	return true;
}

static void
take_line(struct reading *r, struct span line)
{
	struct span name, value;

	if (r->pending.len > 0) {
		take_header(r->p, r->pending, line);
		r->pending.len = 0;
	} else if (has_prefix(line, "HTTP/")) {
		begin_response(r->p, line);
	} else if (is_request_line(line)) {
		begin_request(r, line);
	} else if (split_header(line, &name, &value)) {
		if (value.len > 0)
			take_header(r->p, name, value);
		else if (!r->is_marked)
			r->pending = name;
	} else if (is_of_request(line) || is_of_response(line) || span_is_name(line, ":status") ||
	    span_is_name(line, "status code")) {
		r->pending = line;
	}
}

static bool
is_marked(const char *text)
{
	return text[0] == '>' || strstr(text, "\n> ") != NULL;
}

static void
read_lines(struct paste *p)
{
	struct reading r = { .p = p, .is_marked = is_marked(p->text) };
	struct span line;
	const char *at = p->text;
	size_t len;

	for (; *at != '\0' && !r.is_over; at += len + (at[len] == '\n')) {
		len = strcspn(at, "\n");
		line = trim((struct span){ at, len });
		if (line.len > 0 && r.is_marked && (line.at[0] == '>' || line.at[0] == '<'))
			line = behind(line, 1);
		else if (r.is_marked)
			continue;
		if (line.len > 0)
			take_line(&r, line);
	}
}

/* ---- curl command lines ---- */

/* Copied for cmd.exe: ^ takes the next byte as it is, at the end of a line it goes on. */
static void
undo_carets(char *text)
{
	char *from = text, *to = text;

	if (strstr(text, "^\n") == NULL && strstr(text, "^\r\n") == NULL && strstr(text, "^\"") == NULL)
		return;
	for (; *from != '\0'; from++) {
		if (*from != '^' || from[1] == '\0') {
			*to++ = *from;
		} else if (*++from == '\r' || *from == '\n') {
			from += from[0] == '\r' && from[1] == '\n';
			*to++ = ' ';
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
}

/* One of \n, \t, \xHH, \uHHHH (only what is ASCII matters here) behind a backslash in $'...'. */
static char
undo_escape(char **at)
{
	char *p = *at, *end;
	size_t digits = *p == 'u' ? 4 : *p == 'x' ? 2 : 0;
	char hex[5] = "";

	*at = p + 1;
	if (digits == 0)
		return *p == 'n' ? '\n' : *p == 't' ? '\t' : *p == 'r' ? '\r' : *p;
	strncpy(hex, p + 1, digits);
	*at = p + 1 + strnlen(p + 1, digits);
	digits = strtoul(hex, &end, 16);
	return digits > 0 && digits < 0x80 ? (char)digits : '?';
}

/* In place, as a shell would; returns behind the quotes. */
static char *
undo_quoted(char *p, char quote, bool has_escapes, char **to)
{
	while (*p != '\0' && *p != quote) {
		if (*p != '\\' || p[1] == '\0' || (quote == '\'' && !has_escapes)) {
			*(*to)++ = *p++;
		} else if (has_escapes) {
			p++;
			*(*to)++ = undo_escape(&p);
		} else {
			*(*to)++ = p[1];
			p += 2;
		}
	}
	return *p != '\0' ? p + 1 : p;
}

/* The next word, in place; NULL: the command ends. */
static char *
next_word(char **at)
{
	char *p = *at, *to, *word;

	while (*p == ' ' || *p == '\t' || (*p == '\\' && (p[1] == '\n' || (p[1] == '\r' && p[2] == '\n'))))
		p += *p != '\\' ? 1 : p[1] == '\n' ? 2 : 3;
	if (*p == '\0' || *p == '\n' || *p == '\r' || *p == ';' || *p == '|' || *p == '&')
		return NULL;
	for (word = to = p; *p != '\0' && strchr(" \t\r\n;|&", *p) == NULL;) {
		if (p[0] == '$' && p[1] == '\'')
			p = undo_quoted(p + 2, '\'', true, &to);
		else if (*p == '\'' || *p == '"')
			p = undo_quoted(p + 1, *p, false, &to);
		else if (*p == '\\' && p[1] != '\0' && p[1] != '\n' && p[1] != '\r')
			*to++ = p[1], p += 2;
		else if (*p == '\\')
			break;
		else
			*to++ = *p++;
	}
	*at = *p != '\0' && *p != '\\' ? p + 1 : p;
	*to = '\0';
	return word;
}

static char *
find_curl(char *text)
{
	text += strspn(text, " \t\r\n$");
	return strncmp(text, "curl", 4) == 0 && (text[4] == ' ' || text[4] == '.') ? text + strcspn(text, " ") : NULL;
}

#define CURL_VALUED	"AbcCdDeEFHKmoPQrtTuUwxXyYz"	/* its short options that take a value */

struct curl {
	struct paste	*p;
	char		*at;		/* the words to come */
	const char	*implied;	/* the method, unless -X names one */
};

/* value: NULL where the option takes none, or the command ends. */
static void
take_option(struct curl *c, char letter, const char *value)
{
	struct span name, header;

	if (letter == 'I')
		c->implied = "HEAD";
	else if (letter == 'd' || letter == 'F')
		c->implied = "POST";
	else if (letter == 'X' && value != NULL)
		c->p->method = span_of(value);
	else if (letter == 'H' && value != NULL && split_header(span_of(value), &name, &header))
		take_header(c->p, name, header);
}

/* -sIXPUT: what is behind a letter that takes a value is the value, or else the next word is. */
static void
take_short_options(struct curl *c, const char *letters)
{
	for (; *letters != '\0' && strchr(CURL_VALUED, *letters) == NULL; letters++)
		take_option(c, *letters, NULL);
	if (*letters != '\0')
		take_option(c, *letters, letters[1] != '\0' ? letters + 1 : next_word(&c->at));
}

static void
take_long_option(struct curl *c, const char *name)
{
	static const struct {
		const char	*name;
		char		 letter;
	} options[] = { { "header", 'H' }, { "request", 'X' }, { "head", 'I' }, { "json", 'd' }, { "form", 'F' } };
	size_t len = strcspn(name, "="), i;
	char letter = strncmp(name, "data", 4) == 0 ? 'd' : '\0';

	for (i = 0; i < sizeof options / sizeof options[0]; i++)
		if (len == strlen(options[i].name) && strncmp(name, options[i].name, len) == 0)
			letter = options[i].letter;
	if (letter != '\0')
		take_option(c, letter, name[len] == '=' ? name + len + 1 : letter != 'I' ? next_word(&c->at) : NULL);
}

static void
read_curl(struct paste *p, char *at)
{
	struct curl c = { p, at, "GET" };
	const char *word;

	while ((word = next_word(&c.at)) != NULL) {
		if (word[0] == '-' && word[1] == '-')
			take_long_option(&c, word + 2);
		else if (word[0] == '-')
			take_short_options(&c, word + 1);
	}
	if (p->method.len == 0)
		p->method = span_of(c.implied);
}

/* ---- all of it ---- */

static int
slurp(struct paste *p, FILE *in, char *err, size_t errlen)
{
	size_t len;

	if ((p->text = malloc(TEXT_MAX + 1)) == NULL) {
		snprintf(err, errlen, "out of memory");
		return -1;
	}
	len = fread(p->text, 1, TEXT_MAX, in);
	p->text[len] = '\0';
	if (ferror(in))
		snprintf(err, errlen, "%s", strerror(errno));
	else if (len == TEXT_MAX)
		snprintf(err, errlen, "this is over a megabyte, which no headers are");
	else if (strlen(p->text) < len)
		snprintf(err, errlen, "this has NUL bytes, which no headers have");
	else
		return 0;
	return -1;
}

int
paste_read(struct paste *p, FILE *in, char *err, size_t errlen)
{
	char *curl;

	*p = (struct paste){ .text = NULL };
	if (slurp(p, in, err, errlen) != 0) {
		paste_free(p);
		return -1;
	}
	undo_carets(p->text);
	curl = find_curl(p->text);
	if (curl == NULL || is_marked(p->text))		/* what curl says of itself has the response, too */
		read_lines(p);
	if (curl != NULL && p->norigin == 0)
		read_curl(p, curl);
	if (p->norigin > 0)
		return 0;
	snprintf(err, errlen, "no Origin was found. Looked for \"> Origin: ...\" as curl -v prints it, lines \"Origin: ...\", "
	    "\"origin\" and its value on two lines as developer tools copy them, and a curl command with -H 'Origin: ...'. "
	    "A request without Origin is no CORS request: browsers add it where it is one");
	paste_free(p);
	return -1;
}

void
paste_free(struct paste *p)
{
	free(p->text);
	p->text = NULL;
}

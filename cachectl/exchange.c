/* SPDX-License-Identifier: BSD-2-Clause */
#include "exchange.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct transfer {
	struct exchange	*x;
	bool		 is_too_long;
	bool		 has_body;	/* which is enough: the head is over */
};

static size_t
take_head(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	struct exchange *x = t->x;
	size_t len = size * n;

	if (len >= 5 && memcmp(data, "HTTP/", 5) == 0)
		x->len = 0;		/* what came before was an interim response */
	if (len > sizeof x->head - x->len) {
		t->is_too_long = true;
		return 0;
	}
	memcpy(x->head + x->len, data, len);
	x->len += len;
	return len;
}

/* Less than was offered: libcurl ends the transfer. */
static size_t
refuse_body(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;

	(void)data;
	t->has_body = true;
	return size * n == 0 ? 1 : 0;
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

static void
take_header(struct exchange *x, struct span name, struct span value)
{
	static const char prefix[] = "Access-Control-";
	struct paste *p = &x->paste;

	if (span_is_name(name, "Server"))
		x->server = value;
	else if (span_is_name(name, "Location"))
		x->location = value;
	else if (p->nresponse < PASTE_HEADERS_MAX && (span_is_name(name, "Vary") ||
	    (name.len > sizeof prefix - 1 && strncasecmp(name.at, prefix, sizeof prefix - 1) == 0)))
		p->response[p->nresponse++] = (struct paste_header){ name, value };
}

static void
parse_head(struct exchange *x)
{
	const char *at = x->head, *end = x->head + x->len, *eol, *colon;

	for (; at < end; at = eol + 1) {
		if ((eol = memchr(at, '\n', (size_t)(end - at))) == NULL)
			eol = end;
		if ((colon = memchr(at, ':', (size_t)(eol - at))) != NULL)
			take_header(x, trim((struct span){ at, (size_t)(colon - at) }),
			    trim((struct span){ colon + 1, (size_t)(eol - colon - 1) }));
		if (eol == end)
			break;
	}
}

static struct curl_slist *
make_list(const char *const headers[])
{
	struct curl_slist *list = NULL, *longer;

	for (; *headers != NULL; headers++, list = longer)
		if ((longer = curl_slist_append(list, *headers)) == NULL) {
			curl_slist_free_all(list);
			return NULL;
		}
	return list;
}

static void
set_options(CURL *curl, const struct exchange_options *o, const char *method, struct transfer *t)
{
	curl_easy_setopt(curl, CURLOPT_URL, o->url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, o->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, o->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "cachectl/" PACKAGE_VERSION);
	if (strcmp(method, "HEAD") == 0)
		curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
	else
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	if (o->ca_file != NULL)
		curl_easy_setopt(curl, CURLOPT_CAINFO, o->ca_file);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, o->is_insecure ? 0L : 1L);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, o->is_insecure ? 0L : 2L);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_head);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, refuse_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
}

int
exchange(struct exchange *x, const struct exchange_options *options, const char *method, const char *const headers[])
{
	struct transfer t = { .x = x };
	char said[CURL_ERROR_SIZE] = "";
	CURL *curl = curl_easy_init();
	struct curl_slist *list = make_list(headers);
	CURLcode code = CURLE_OUT_OF_MEMORY;

	memset(x, 0, sizeof *x);
	x->paste.has_response = true;
	if (curl != NULL && (list != NULL || headers[0] == NULL)) {
		set_options(curl, options, method, &t);
		curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, said);
		curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
		code = curl_easy_perform(curl);
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &x->status);
	}
	curl_slist_free_all(list);
	curl_easy_cleanup(curl);
	if (code == CURLE_OK || (code == CURLE_WRITE_ERROR && t.has_body)) {
		parse_head(x);
		return 0;
	}
	snprintf(x->error, sizeof x->error, "%s", t.is_too_long ? "its headers do not end" :
	    said[0] != '\0' ? said : curl_easy_strerror(code));
	return -1;
}

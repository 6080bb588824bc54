/* SPDX-License-Identifier: BSD-2-Clause */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cachectl.h"
#include "utf8.h"

#define JSON_VERSION	1

/* json_t under another name, so that nobody else needs jansson.h. */
struct object {
	json_t	 json;
};

static bool with_colours, is_quiet, is_plain;

void
output_open(bool quiet, bool colours, bool plain)
{
	const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");

	is_quiet = quiet;
	is_plain = plain;
	if (plain)
		human_plain();
	with_colours = colours && !plain && (no_color == NULL || no_color[0] == '\0') && term != NULL &&
	    strcmp(term, "dumb") != 0 && isatty(STDOUT_FILENO) == 1;
	if (quiet && freopen("/dev/null", "w", stdout) == NULL)
		exit(EXIT_FAILED);
}

bool
output_is_plain(void)
{
	return is_plain;
}

int
output_close(void)
{
	errno = 0;
	if (fflush(stdout) != 0 || ferror(stdout))
		return errno != 0 ? -errno : -EIO;
	return 0;
}

void
complain(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("cachectl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void
remark(const char *fmt, ...)
{
	va_list ap;

	if (is_quiet)
		return;
	fflush(stdout);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static void *
must(void *allocated)
{
	if (allocated != NULL)
		return allocated;
	complain("out of memory");
	exit(EXIT_FAILED);
}

static void
begin_colour(enum colour colour)
{
	static const char *const codes[] = {
		[COLOUR_GOOD] = "\033[32m", [COLOUR_BAD] = "\033[31m", [COLOUR_WARN] = "\033[33m",
		[COLOUR_DIM] = "\033[2m", [COLOUR_BOLD] = "\033[1m", [COLOUR_NONE] = "",
	};

	if (with_colours)
		fputs(codes[colour], stdout);
}

static void
end_colour(enum colour colour)
{
	if (with_colours && colour != COLOUR_NONE)
		fputs("\033[0m", stdout);
}

void
paint(enum colour colour, const char *fmt, ...)
{
	va_list ap;

	begin_colour(colour);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	end_colour(colour);
}

/* out: 5 bytes. Returns how many are used. */
static size_t
escape(char *out, unsigned char c)
{
	if (c == '\\')
		return (size_t)sprintf(out, "\\\\");
	if (c < 0x20 || c > 0x7e)
		return (size_t)sprintf(out, "\\x%02x", c);
	out[0] = (char)c;
	return 1;
}

/* Returns how many were printed. */
static size_t
put_escaped(struct span bytes)
{
	size_t i, n, printed = 0;
	char one[5];

	for (i = 0; i < bytes.len; i++, printed += n) {
		n = escape(one, (unsigned char)bytes.at[i]);
		if (n == 1)
			putc_unlocked(one[0], stdout);
		else
			fwrite(one, 1, n, stdout);
	}
	return printed;
}

void
print_bytes(struct span bytes)
{
	put_escaped(bytes);
}

void
print_cell(enum colour colour, struct span bytes, int width)
{
	size_t printed;

	if (width < 0 && !is_plain)
		printf("%*s", (size_t)-width > bytes.len ? -width - (int)bytes.len : 0, "");
	begin_colour(colour);
	printed = put_escaped(bytes);
	end_colour(colour);
	if (is_plain)
		putchar('\t');
	else
		printf("%*s", width > 0 && printed < (size_t)width ? width - (int)printed + 1 : 1, "");
}

const char *
escaped(char *buf, size_t cap, struct span bytes)
{
	size_t i, n, at = 0;
	char one[5];

	for (i = 0; i < bytes.len; i++, at += n) {
		n = escape(one, (unsigned char)bytes.at[i]);
		if (at + n + 1 > cap)
			break;
		memcpy(buf + at, one, n);
	}
	buf[at] = '\0';
	return buf;
}

static json_t *
json_of_bytes(struct span bytes)
{
	size_t len;
	char *clean = must(utf8_repaired(bytes.at, bytes.len, &len));
	json_t *json = must(json_stringn_nocheck(clean, len));

	free(clean);
	return json;
}

static void
set(struct object *o, const char *name, json_t *value)
{
	if (json_object_set_new_nocheck(&o->json, name, must(value)) != 0)
		must(NULL);
}

struct object *
object_new(void)
{
	struct object *o = must(json_object());

	object_number(o, "version", JSON_VERSION);
	return o;
}

struct object *
object_in(struct object *in, const char *name)
{
	struct object *o = must(json_object());

	set(in, name, &o->json);
	return o;
}

void
object_bytes(struct object *o, const char *name, struct span bytes)
{
	set(o, name, json_of_bytes(bytes));
}

void
object_text(struct object *o, const char *name, const char *text)
{
	object_bytes(o, name, span_of(text));
}

void
object_number(struct object *o, const char *name, int64_t n)
{
	set(o, name, json_integer(n));
}

void
object_real(struct object *o, const char *name, double x)
{
	set(o, name, json_real(x));
}

void
object_bool(struct object *o, const char *name, bool b)
{
	set(o, name, json_boolean(b));
}

void
object_null(struct object *o, const char *name)
{
	set(o, name, json_null());
}

static json_t *
array_of(struct object *o, const char *name)
{
	json_t *array = json_object_get(&o->json, name);

	if (array == NULL) {
		array = must(json_array());
		set(o, name, array);
	}
	return array;
}

static void
append(struct object *o, const char *name, json_t *value)
{
	if (json_array_append_new(array_of(o, name), must(value)) != 0)
		must(NULL);
}

void
object_array(struct object *o, const char *name)
{
	array_of(o, name);
}

void
object_append(struct object *o, const char *name, struct span bytes)
{
	append(o, name, json_of_bytes(bytes));
}

struct object *
object_append_object(struct object *o, const char *name)
{
	struct object *one = must(json_object());

	append(o, name, &one->json);
	return one;
}

/* JSON lets DEL stand as it is; a terminal is not given it. It occurs in strings only. */
static int
put_json(const char *text, size_t len, void *arg)
{
	size_t i;

	(void)arg;
	for (i = 0; i < len; i++)
		if (text[i] == 0x7f)
			fputs("\\u007f", stdout);
		else
			putc_unlocked(text[i], stdout);
	return 0;
}

void
object_print(struct object *o)
{
	if (json_dump_callback(&o->json, put_json, NULL, JSON_COMPACT | JSON_ENSURE_ASCII) != 0)
		must(NULL);
	putchar('\n');
	json_decref(&o->json);
}

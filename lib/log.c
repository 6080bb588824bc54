/* SPDX-License-Identifier: BSD-2-Clause */
#include "log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_LEN	2048	/* bytes; longer lines end in "..." */

/* Set before threads start, read by all of them. */
static const char *program = "corscache";
static enum log_level most = LOG_LEVEL_INFO;
static bool to_journal;

static void
fill_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* systemd.exec(5): the variable is inherited, so it counts only while stderr is the stream that it names. */
static bool
is_journal(int fd)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char ours[2 * 20 + 2];
	struct stat st;

	if (stream == NULL || fstat(fd, &st) != 0)
		return false;
	snprintf(ours, sizeof ours, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(stream, ours) == 0;
}

void
log_open(const char *name, enum log_level most_wanted)
{
	fill_standard_descriptors();
	program = name;
	most = most_wanted;
	to_journal = is_journal(STDERR_FILENO);
}

/* libpq's messages have several lines; a line of ours stays one. */
static size_t
flatten(char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = ' ';
	while (len > 0 && text[len - 1] == ' ')
		len--;
	return len;
}

/* The journal has time and program of its own; whoever else reads needs them in the line. */
static size_t
begin_line(char *line, size_t cap, enum log_level level)
{
	static const char *const words[] = { [LOG_LEVEL_ERR] = "error", [LOG_LEVEL_WARNING] = "warning",
		[LOG_LEVEL_NOTICE] = "notice", [LOG_LEVEL_INFO] = "info", [LOG_LEVEL_DEBUG] = "debug" };
	time_t now = time(NULL);
	struct tm utc;
	size_t len;

	if (to_journal)
		return (size_t)snprintf(line, cap, "<%d>", (int)level);
	gmtime_r(&now, &utc);
	len = strftime(line, cap, "%Y-%m-%dT%H:%M:%SZ ", &utc);
	return len + (size_t)snprintf(line + len, cap - len, "%s %s: ", program, words[level]);
}

static void
log_line(enum log_level level, const char *fmt, va_list ap)
{
	int saved = errno;
	char line[LINE_MAX_LEN + 1];
	size_t start, len;
	int n;

	if (level > most)
		return;
	start = begin_line(line, sizeof line, level);
	n = vsnprintf(line + start, sizeof line - start, fmt, ap);
	if (n < 0)
		n = 0;
	len = (size_t)n;
	if (len >= sizeof line - start) {
		len = sizeof line - start - 1;
		memcpy(line + start + len - 3, "...", 3);
	}
	len = start + flatten(line + start, len);
	line[len++] = '\n';
	while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR)
		;
	errno = saved;
}

#define LOG_FUNCTION(name, level)			\
void							\
name(const char *fmt, ...)				\
{							\
	va_list ap;					\
							\
	va_start(ap, fmt);				\
	log_line(level, fmt, ap);			\
	va_end(ap);					\
}
LOG_FUNCTION(log_err, LOG_LEVEL_ERR)
LOG_FUNCTION(log_warn, LOG_LEVEL_WARNING)
LOG_FUNCTION(log_notice, LOG_LEVEL_NOTICE)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)

static bool
is_plain(const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (s[i] < 0x21 || s[i] > 0x7e || s[i] == '"' || s[i] == '=')
			return false;
	return len > 0;
}

/* One byte inside quotes: itself, \" and \\, or \xHH. out: 5 bytes. */
static size_t
escape(char *out, unsigned char c)
{
	if (c == '"' || c == '\\')
		return (size_t)sprintf(out, "\\%c", c);
	if (c < 0x20 || c > 0x7e)
		return (size_t)sprintf(out, "\\x%02x", c);
	out[0] = (char)c;
	return 1;
}

const char *
log_value(char *buf, unsigned long cap, const char *s, unsigned long len)
{
	size_t i, at = 0, n;
	char one[5];

	assert(cap >= 3);
	if (is_plain(s, len)) {
		at = len < cap ? len : cap - 1;
		memcpy(buf, s, at);
		buf[at] = '\0';
		return buf;
	}
	buf[at++] = '"';
	for (i = 0; i < len; i++, at += n) {
		n = escape(one, (unsigned char)s[i]);
		if (at + n + 2 > cap)
			break;		/* cut, but never inside an escape */
		memcpy(buf + at, one, n);
	}
	buf[at++] = '"';
	buf[at] = '\0';
	return buf;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * log -- facts on stderr, a line each:
 * "2026-12-01T06:30:00Z corscache-syncd info: sync: reconnected host=db1 after_s=4.2";
 * "<6>sync: reconnected ..." (sd-daemon(3)) where stderr is the journal. One write(2) a
 * line; errno is preserved. Nothing is ever logged per request.
 */
#ifndef LOG_H
#define LOG_H

enum log_level { LOG_LEVEL_ERR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_NOTICE = 5, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

/*
 * Before anything else is opened: of descriptors 0 to 2 those that are closed become
 * /dev/null, or the next file or socket would be taken for stderr. Levels above most are dropped.
 */
void	 log_open(const char *program, enum log_level most);
void	 log_err(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void	 log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void	 log_notice(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void	 log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void	 log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * A value for logfmt: as it is, or quoted and escaped (\", \\, \xHH) when it has
 * a space, a quote, an = or a byte outside 0x21..0x7e. For strangers' bytes.
 */
const char *log_value(char *buf, unsigned long cap, const char *s, unsigned long len);

#endif

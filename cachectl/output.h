/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * output -- what cachectl prints: text for people, JSON for programs. Results
 * go to stdout, remarks and failures to stderr. The only file that knows the
 * terminal's colours and writes JSON.
 *
 * Bytes that strangers chose come out escaped: in text, what is not printable
 * ASCII is \xHH and a backslash is \\; in JSON, what is not ASCII is \u, and
 * what is not UTF-8 is U+FFFD.
 *
 * Running out of memory here ends the program with EXIT_FAILED.
 */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "human.h"
#include "origin.h"

enum colour { COLOUR_GOOD, COLOUR_BAD, COLOUR_WARN, COLOUR_DIM, COLOUR_BOLD, COLOUR_NONE };

/* quiet: stdout goes nowhere. plain: no colours, cells end with a tab, numbers have no commas. */
void	 output_open(bool quiet, bool colours, bool plain);
bool	 output_is_plain(void);
/* Everything is written: 0, or -errno (a full disk). */
int	 output_close(void);

/* "cachectl: ..." on stderr, in one line. */
void	 complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Likewise without a name; not with quiet. */
void	 remark(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* On stdout, in colour where the terminal wants it. */
void	 paint(enum colour colour, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void	 print_bytes(struct span bytes);
/* The same in a column of that width (negative: to the right of it), and what parts it from the next. */
void	 print_cell(enum colour colour, struct span bytes, int width);
/* The same into a buffer, cut where it must be. Returns buf. */
#define ESCAPED_MAX	(4 * 512 + 1)
const char	*escaped(char *buf, size_t cap, struct span bytes);

/*
 * A JSON object being filled. The outermost begins with "version": 1. Inner
 * ones belong to the outermost, which object_print() writes as one line and
 * frees.
 */
struct object;
struct object	*object_new(void);
struct object	*object_in(struct object *in, const char *name);
void		 object_bytes(struct object *o, const char *name, struct span bytes);
void		 object_text(struct object *o, const char *name, const char *text);
void		 object_number(struct object *o, const char *name, int64_t n);
void		 object_real(struct object *o, const char *name, double x);
void		 object_bool(struct object *o, const char *name, bool b);
void		 object_null(struct object *o, const char *name);
/* At the end of the array of that name. */
void		 object_append(struct object *o, const char *name, struct span bytes);
struct object	*object_append_object(struct object *o, const char *name);
/* An array of that name, empty so far. */
void		 object_array(struct object *o, const char *name);
void		 object_print(struct object *o);

#endif

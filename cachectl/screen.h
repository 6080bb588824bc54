/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * screen -- a terminal as a page that is drawn again and again. Plain ANSI
 * sequences: whatever shows colours understands them.
 */
#ifndef SCREEN_H
#define SCREEN_H

#include <stdbool.h>

#include "output.h"

/* Of standard output. False: it is no terminal. */
bool	 screen_size(unsigned *rows, unsigned *columns);

/* What is printed next begins in the upper left corner of an empty terminal. */
void	 screen_clear(void);

/*
 * Takes the whole terminal: what was on it comes back with screen_close(),
 * which every way out of the program passes. 0, or -errno.
 */
int	 screen_open(void);
void	 screen_close(void);

/* A line of the page; cut where the terminal ends. The bytes are printable ASCII. */
void	 screen_line(enum colour colour, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* How many lines there are, how many more fit, and how wide they are. */
unsigned screen_used(void);
unsigned screen_left(void);
unsigned screen_width(void);
/* Shows the lines; the next ones begin a new page. */
void	 screen_draw(void);

enum screen_event { SCREEN_TIME, SCREEN_RESIZED, SCREEN_QUIT };

/* Waits until the deadline (CLOCK_MONOTONIC), q, Ctrl-C or another size, whatever is first. */
enum screen_event	 screen_wait(double deadline_s);
double			 screen_now(void);

#endif

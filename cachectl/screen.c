/* SPDX-License-Identifier: BSD-2-Clause */
#include "screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define WIDTH_MAX	512
#define ROWS_MAX	200

struct line {
	enum colour	 colour;
	char		 text[WIDTH_MAX + 1];
};

static struct line lines[ROWS_MAX];
static unsigned used, rows = 24, columns = 80;
static bool is_open, has_keys;
static struct termios before;
static volatile sig_atomic_t was_resized, was_told_to_quit;

bool
screen_size(unsigned *out_rows, unsigned *out_columns)
{
	struct winsize size;

	if (isatty(STDOUT_FILENO) != 1)
		return false;
	/* A line to a terminal that will not say how wide it is gets the usual size. */
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0)
		size = (struct winsize){ .ws_row = 24, .ws_col = 80 };
	*out_rows = size.ws_row;
	*out_columns = size.ws_col;
	return true;
}

void
screen_clear(void)
{
	fputs("\033[H\033[J", stdout);
}

static void
note(int signo)
{
	if (signo == SIGWINCH)
		was_resized = 1;
	else
		was_told_to_quit = 1;
}

/* They arrive in screen_wait() alone: nothing else is ever interrupted. */
static void
catch_signals(void)
{
	static const int signals[] = { SIGWINCH, SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = note };
	sigset_t blocked;
	size_t i;

	sigemptyset(&blocked);
	for (i = 0; i < sizeof signals / sizeof signals[0]; i++) {
		sigaddset(&blocked, signals[i]);
		sigaction(signals[i], &action, NULL);
	}
	sigprocmask(SIG_BLOCK, &blocked, NULL);
}

/* Keys come one by one and unseen; Ctrl-Z, which would leave the page standing, does not stop us. */
static void
take_keys(void)
{
	struct termios raw;

	has_keys = tcgetattr(STDIN_FILENO, &before) == 0;
	if (!has_keys)
		return;
	raw = before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VSUSP] = _POSIX_VDISABLE;
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

int
screen_open(void)
{
	if (!screen_size(&rows, &columns))
		return -ENOTTY;
	catch_signals();
	take_keys();
	is_open = true;
	atexit(screen_close);
	fputs("\033[?1049h\033[?25l\033[?7l", stdout);	/* another page, no cursor, no wrapping */
	fflush(stdout);
	return 0;
}

void
screen_close(void)
{
	if (!is_open)
		return;
	is_open = false;
	fputs("\033[?7h\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	if (has_keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

unsigned
screen_used(void)
{
	return used;
}

unsigned
screen_left(void)
{
	unsigned most = rows < ROWS_MAX ? rows : ROWS_MAX;

	return used < most ? most - used : 0;
}

unsigned
screen_width(void)
{
	return columns < WIDTH_MAX ? columns : WIDTH_MAX;
}

void
screen_line(enum colour colour, const char *fmt, ...)
{
	struct line *l;
	va_list ap;

	if (screen_left() == 0)
		return;
	l = &lines[used++];
	l->colour = colour;
	va_start(ap, fmt);
	vsnprintf(l->text, screen_width() + 1, fmt, ap);
	va_end(ap);
}

/* Erased first: behind a line as wide as the terminal, the cursor stands on its last letter. */
void
screen_draw(void)
{
	bool is_full = screen_left() == 0;
	unsigned i;

	fputs("\033[H", stdout);
	for (i = 0; i < used; i++) {
		fputs(i > 0 ? "\r\n\033[K" : "\033[K", stdout);
		paint(lines[i].colour, "%s", lines[i].text);
	}
	fputs(is_full ? "" : "\r\n\033[J", stdout);
	fflush(stdout);
	used = 0;
}

double
screen_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* A q, or whoever typed has gone. */
static bool
key_ends_it(void)
{
	char key;
	ssize_t n = read(STDIN_FILENO, &key, 1);

	if (n < 0)
		return errno != EAGAIN && errno != EINTR;
	return n == 0 || key == 'q' || key == 'Q';
}

enum screen_event
screen_wait(double deadline_s)
{
	struct pollfd keys = { .fd = STDIN_FILENO, .events = POLLIN };
	sigset_t none;
	double left;

	if (ferror(stdout))
		return SCREEN_QUIT;	/* the terminal has gone, and not every one says so by a signal */
	sigemptyset(&none);
	while ((left = deadline_s - screen_now()) > 0) {
		struct timespec timeout = { (time_t)left, (long)((left - (double)(time_t)left) * 1e9) };

		if (ppoll(&keys, has_keys ? 1 : 0, &timeout, &none) > 0 && key_ends_it())
			return SCREEN_QUIT;
		if (was_told_to_quit)
			return SCREEN_QUIT;
		if (was_resized) {
			was_resized = 0;
			screen_size(&rows, &columns);
			return SCREEN_RESIZED;
		}
	}
	return SCREEN_TIME;
}

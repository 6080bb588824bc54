/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * corscache-syncd -- keeps the shared table equal to cors.origins.
 *
 * One thread and one poll(2): signals, orders from cachectl, the session to
 * the database. Nothing in the loop waits for anybody (name resolution
 * excepted), so that an order is obeyed within milliseconds whatever the
 * database does.
 */
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "control.h"
#include "feed.h"
#include "log.h"
#include "sdnotify.h"
#include "suffix.h"
#include "writer.h"

#define PROGRAM		"corscache-syncd"
#define VERSION_TEXT	PROGRAM " " PACKAGE_VERSION
#define TICK_MS		100	/* heartbeat, resharding */
#define MOST_OVERRIDES	64

static const char usage_text[] =
    "usage: " PROGRAM " [-c FILE] [-o SECTION.NAME=VALUE]... [-t]\n"
    "       " PROGRAM " -V | -h\n"
    "\n"
    "  -c, --config FILE       settings (default: " CONFIG_DEFAULT_FILE ")\n"
    "  -o, --option NAME=VALUE one setting, over the file\n"
    "  -t, --test              test the settings and exit\n"
    "  -V, --version           say the version and exit\n"
    "  -h, --help              say this and exit\n"
    "\n"
    "Runs in the foreground. SIGHUP reads the settings again, SIGTERM ends it; the\n"
    "table stays. Exit status: 0, 64 usage, 69 the control socket is in use,\n"
    "71 out of descriptors, 73 the table cannot be created, 74 its directory was removed,\n"
    "75 another process writes it, 78 settings.\n";

struct daemon {
	const char		*file;
	const char		*overrides[MOST_OVERRIDES];
	size_t			 noverrides;
	struct config		*config;
	struct writer		*w;
	struct feed		*feed;
	struct control_server	*control;
	int			 signals;
	int64_t			 tick_due;
	int64_t			 watchdog_ms;	/* 0: none */
	int64_t			 watchdog_due;
	bool			 is_ready;	/* systemd was told, likewise: */
	int64_t			 extend_due;
	char			 said[320];
	bool			 is_stopping;
	bool			 tick_failed;
	int			 status;	/* to exit with */
};

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- settings ---- */

/* A whole new set of settings, checked, or why not. */
static int
load_settings(const struct daemon *d, struct config **config, char *why, size_t cap)
{
	if (config_load(config, d->file, d->overrides, d->noverrides, why, cap) != 0)
		return EX_CONFIG;
	if (feed_check_config(*config, why, cap) != NULL ||
	    config_check_group(*config, OPTION_table_group, why, cap) != 0) {
		config_free(config);
		return EX_CONFIG;
	}
	return EX_OK;
}

/* A setting that only a restart can change keeps working as it was; say so. */
static void
warn_unreloadable(const struct config *old, const struct config *new)
{
	char a[32], b[32];

	for (size_t i = 0; i < OPTION_COUNT; i++)
		if (!option_descs[i].reload && strcmp(option_descs[i].section, "responder") != 0 &&
		    strcmp(config_text(old, i, a, sizeof a), config_text(new, i, b, sizeof b)) != 0)
			log_warn("config: changed, but needs a restart setting=%s.%s", option_descs[i].section,
			    option_descs[i].name);
}

/* All or nothing. */
static void
reload(struct daemon *d)
{
	struct config *fresh;
	char why[512];

	if (d->is_ready)
		sdnotify_reloading();
	if (load_settings(d, &fresh, why, sizeof why) != EX_OK) {
		log_err("config: not reloaded, the old settings stay: %s", why);
	} else if (feed_configure(d->feed, fresh) != 0) {
		log_err("config: out of memory");
		config_free(&d->config);
		d->config = fresh;
	} else {
		warn_unreloadable(d->config, fresh);
		config_free(&d->config);
		d->config = fresh;
		log_notice("config: reloaded");
	}
	if (d->is_ready)
		sdnotify("READY=1");
}

/* What -t can tell: as root, most of what the daemon's own user will meet. */
static int
test_settings(const struct daemon *d)
{
	char why[512];

	if (config_check_directory(d->config, OPTION_table_path, why, sizeof why) != 0)
		log_warn("config: %s", why);
	puts(PROGRAM ": the settings are good");
	return EX_OK;
}

/* ---- start ---- */

static void
say_revoked(const struct writer *w, const char *path)
{
	int error = writer_revoked_error(w);
	char value[512];

	log_value(value, sizeof value, path, strlen(path));
	if (error != 0)
		log_err("revoked: every origin is refused: cannot read file=%s: %s", value,
		    error == -EBADMSG ? "it is damaged" : strerror(-error));
	else if (revoked_count(writer_revoked(w)) > 0)
		log_notice("revoked: entries=%zu file=%s", revoked_count(writer_revoked(w)), value);
}

static int
open_writer(struct daemon *d)
{
	char why[512] = "", revoked[PATH_MAX];
	struct writer_options opt = { .dir = d->config->table_path, .group = (gid_t)-1, .err = why, .errlen = sizeof why,
		.revoked = config_revoked_path(d->config, revoked, sizeof revoked) };
	struct group *group;
	int error;

	if (d->config->table_group[0] != '\0' && (group = getgrnam(d->config->table_group)) != NULL)
		opt.group = group->gr_gid;
	error = writer_open(&d->w, &opt);
	if (error == 0) {
		say_revoked(d->w, revoked);
		return EX_OK;
	}
	if (error == -EWOULDBLOCK) {
		log_err("table: another process writes %s: is a " PROGRAM " running?", d->config->table_path);
		return EX_TEMPFAIL;
	}
	log_err("table: %s", why[0] != '\0' ? why : strerror(-error));
	return EX_CANTCREAT;
}

static int
open_control(struct daemon *d)
{
	int error = control_open(&d->control, d->config->sync_control_socket, d->feed, d->w);

	if (error == 0)
		return EX_OK;
	if (error == -EADDRINUSE) {
		log_err("control: another process listens on %s: is a " PROGRAM " running?", d->config->sync_control_socket);
		return EX_UNAVAILABLE;
	}
	log_err("control: cannot listen on %s: %s", d->config->sync_control_socket, strerror(-error));
	return EX_CANTCREAT;
}

static int
open_signals(struct daemon *d)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	d->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return d->signals >= 0 ? EX_OK : EX_OSERR;
}

static int
start(struct daemon *d)
{
	int status = open_signals(d), error;

	if (status == EX_OK)
		status = open_writer(d);
	if (status != EX_OK)
		return status;
	error = suffix_open();
	if (error == 0)
		error = feed_open(&d->feed, d->w, d->config);
	if (error != 0) {
		log_err("start: %s", strerror(-error));
		return EX_OSERR;
	}
	return open_control(d);
}

/* ---- the loop ---- */

static void
take_signals(struct daemon *d)
{
	struct signalfd_siginfo info;

	while (read(d->signals, &info, sizeof info) == (ssize_t)sizeof info) {
		if (info.ssi_signo == SIGHUP)
			reload(d);
		else
			d->is_stopping = true;
	}
}

static void
tick(struct daemon *d, int64_t now)
{
	int error;

	if (now >= d->tick_due) {
		error = writer_tick(d->w);
		if (error != 0 && !d->tick_failed)
			log_err("table: %s", writer_strerror(d->w));
		if (error == -ESTALE) {		/* nobody sees what is written here any more */
			d->status = EX_IOERR;
			d->is_stopping = true;
		}
		d->tick_failed = error != 0;
		d->tick_due = now + TICK_MS;
	}
	if (d->watchdog_ms > 0 && now >= d->watchdog_due) {
		sdnotify("WATCHDOG=1");
		d->watchdog_due = now + d->watchdog_ms;
	}
}

/*
 * Ready is whoever can answer: with a table in force, the database may be away.
 * A first load may take longer than the unit allows for a start.
 */
static void
say_ready(struct daemon *d, int64_t now)
{
	if (!d->is_ready && writer_table(d->w) != NULL) {
		sdnotify("READY=1");
		d->is_ready = true;
	} else if (!d->is_ready && feed_is_loading(d->feed) && now >= d->extend_due) {
		sdnotify("EXTEND_TIMEOUT_USEC=60000000");
		d->extend_due = now + 10000;
	}
}

/* For systemctl status, when it changes. */
static void
say_status(struct daemon *d)
{
	const char *problem = feed_problem(d->feed), *table = "every origin is refused: no table yet";
	char status[sizeof d->said];

	if (writer_table(d->w) != NULL)
		table = problem[0] == '\0' && writer_get(d->w, STATUS_connected) ? "following the database" :
		    "the last table stays in force";
	snprintf(status, sizeof status, "%s%s%s", table, problem[0] != '\0' ? "; " : "", problem);
	if (strcmp(status, d->said) == 0)
		return;
	strcpy(d->said, status);
	sdnotify_status(status);
}

static int
wait_ms(const struct daemon *d, int64_t now)
{
	int64_t due = d->tick_due, other = feed_due(d->feed);

	if (other < due)
		due = other;
	other = control_due(d->control);
	if (other < due)
		due = other;
	return due > now ? (int)(due - now) : 0;
}

static void
turn(struct daemon *d)
{
	struct pollfd p[1 + CONTROL_MAX_POLL + 1];
	size_t ncontrol, n = 1;
	bool has_feed;
	int64_t now;

	p[0] = (struct pollfd){ .fd = d->signals, .events = POLLIN };
	n += ncontrol = control_poll(d->control, p + 1);
	has_feed = feed_poll(d->feed, &p[n]);
	if (poll(p, n + has_feed, wait_ms(d, now_ms())) < 0 && errno != EINTR) {
		log_err("poll: %s", strerror(errno));
		d->is_stopping = true;
		return;
	}
	now = now_ms();
	/* orders first: what they refuse must not wait for rows */
	control_turn(d->control, p + 1, ncontrol, now);
	feed_turn(d->feed, has_feed ? p[n].revents : 0, now);
	tick(d, now);
	say_ready(d, now);
	say_status(d);
	take_signals(d);	/* last: it may replace the session that p[] is about */
}

static void
say_start(const struct config *c)
{
	char table[512], control[512];

	log_notice("start: version=" PACKAGE_VERSION " table=%s control=%s",
	    log_value(table, sizeof table, c->table_path, strlen(c->table_path)),
	    log_value(control, sizeof control, c->sync_control_socket, strlen(c->sync_control_socket)));
}

static int
run(struct daemon *d)
{
	d->status = start(d);
	if (d->status == EX_OK) {
		say_start(d->config);
		d->watchdog_ms = (int64_t)(sdnotify_watchdog_us() / 2000);
		while (!d->is_stopping)
			turn(d);
		sdnotify("STOPPING=1");
		log_notice("stop: done, the table stays");
	}
	control_close(&d->control);
	feed_close(&d->feed);
	suffix_close();
	writer_close(&d->w);
	return d->status;
}

/* ---- the command line ---- */

static int
usage_error(const char *why)
{
	if (why != NULL)
		fprintf(stderr, PROGRAM ": %s\n", why);
	fputs("Try '" PROGRAM " --help'.\n", stderr);
	return EX_USAGE;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config",	required_argument,	NULL, 'c' },
		{ "option",	required_argument,	NULL, 'o' },
		{ "test",	no_argument,		NULL, 't' },
		{ "version",	no_argument,		NULL, 'V' },
		{ "help",	no_argument,		NULL, 'h' },
		{ NULL, 0, NULL, 0 }
	};
	struct daemon d = { .signals = -1 };
	bool is_test = false;
	char why[512];
	int c, status;

	while ((c = getopt_long(argc, argv, "c:o:tVh", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			d.file = optarg;
			break;
		case 'o':
			if (d.noverrides == MOST_OVERRIDES)
				return usage_error("too many -o");
			d.overrides[d.noverrides++] = optarg;
			break;
		case 't':
			is_test = true;
			break;
		case 'V':
			puts(VERSION_TEXT);
			return EX_OK;
		case 'h':
			fputs(usage_text, stdout);
			return EX_OK;
		default:
			return usage_error(NULL);
		}
	}
	if (optind < argc)
		return usage_error("it takes no arguments");
	log_open(PROGRAM, LOG_LEVEL_INFO);
	status = load_settings(&d, &d.config, why, sizeof why);
	if (status != EX_OK)
		log_err("config: %s", why);
	else
		status = is_test ? test_settings(&d) : run(&d);
	config_free(&d.config);
	return status;
}

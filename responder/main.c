/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * corscache-responder: configuration, socket, threads; then the main thread
 * waits for signals and says what changed, until it is told to stop.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "listener.h"
#include "log.h"
#include "pages.h"
#include "sdnotify.h"
#include "serve.h"

#define MAX_OVERRIDES	64
#define TICK_MS		1000
#define STOP_WAIT_MS	8000	/* a request under way has io_timeout_ms at most */

struct arguments {
	const char	*file;
	const char	*overrides[MAX_OVERRIDES];
	size_t		 noverrides;
	char		*owned[2];	/* overrides made of --socket and --threads */
	bool		 only_test;
};

struct program {
	struct arguments	 arguments;
	struct config		*config;
	struct listener		 listener;
	struct server		*server;
	struct reader		*reader;	/* for what is said about readiness */
	const char		*not_ready;	/* NULL = ready; a constant, compared by address */
	bool			 is_attached;	/* a table was seen, and systemd told READY */
};

static void
usage(void)
{
	puts("usage: corscache-responder [-c FILE] [-o SECTION.NAME=VALUE]... [-t]\n"
	    "                           [--socket PATH] [--threads N]\n"
	    "Answers CORS questions of web servers over FastCGI, from the shared table.\n\n"
	    "  -c, --config FILE     settings (" CONFIG_DEFAULT_FILE ")\n"
	    "  -o, --option S.N=V    one setting, over the file; may repeat\n"
	    "      --socket PATH     same as -o responder.socket=PATH\n"
	    "      --threads N       same as -o responder.threads=N\n"
	    "  -t, --test            test the settings and exit: 0, or 78\n"
	    "  -V, --version         say the version and exit\n"
	    "  -h, --help            say this and exit\n\n"
	    "A listening socket on fd 0 or from systemd is used instead of responder.socket.\n"
	    "SIGHUP reads the settings again; SIGTERM answers what was asked and exits.\n"
	    "Exit status: 0, 64 usage, 71 out of memory, threads or descriptors, 73 the socket\n"
	    "cannot be made, 78 settings.");
}

/* why: NULL where getopt_long() said so itself. */
static _Noreturn void
usage_error(const char *why)
{
	if (why != NULL)
		fprintf(stderr, "corscache-responder: %s\n", why);
	fputs("Try 'corscache-responder --help'.\n", stderr);
	exit(EX_USAGE);
}

static void
add_override(struct arguments *a, const char *text)
{
	if (a->noverrides == MAX_OVERRIDES)
		usage_error("too many -o");
	a->overrides[a->noverrides++] = text;
}

static void
add_shorthand(struct arguments *a, int slot, const char *name, const char *value)
{
	free(a->owned[slot]);
	if (asprintf(&a->owned[slot], "%s=%s", name, value) < 0) {
		fputs("corscache-responder: out of memory\n", stderr);
		exit(EX_OSERR);
	}
}

static void
read_arguments(struct arguments *a, int argc, char **argv)
{
	enum { SOCKET = 256, THREADS };
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "option", required_argument, NULL, 'o' },
		{ "socket", required_argument, NULL, SOCKET },
		{ "threads", required_argument, NULL, THREADS },
		{ "test", no_argument, NULL, 't' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 }
	};
	int c, i;

	while ((c = getopt_long(argc, argv, "c:o:tVh", options, NULL)) != -1) {
		switch (c) {
		case 'c':	a->file = optarg; break;
		case 'o':	add_override(a, optarg); break;
		case SOCKET:	add_shorthand(a, 0, "responder.socket", optarg); break;
		case THREADS:	add_shorthand(a, 1, "responder.threads", optarg); break;
		case 't':	a->only_test = true; break;
		case 'V':	puts("corscache-responder " PACKAGE_VERSION); exit(EX_OK);
		case 'h':	usage(); exit(EX_OK);
		default:	usage_error(NULL);
		}
	}
	if (optind < argc)
		usage_error("it takes no arguments");
	for (i = 0; i < 2; i++)
		if (a->owned[i] != NULL)
			add_override(a, a->owned[i]);
}

static int
load_config(const struct arguments *a, struct config **c, char *err, size_t errlen)
{
	if (config_load(c, a->file, a->overrides, a->noverrides, err, errlen) != 0)
		return -1;
	if (config_check_group(*c, OPTION_responder_socket_group, err, errlen) == 0)
		return 0;
	config_free(c);
	return -1;
}

/* What -t can tell: as root, most of what the responder's own user will meet. */
static int
test_settings(const struct config *c)
{
	char why[512];

	if (config_check_directory(c, OPTION_table_path, why, sizeof why) != 0)
		log_warn("config: %s", why);
	puts("corscache-responder: the settings are good");
	return EX_OK;
}

static struct serve_settings
settings_of(const struct config *c)
{
	return (struct serve_settings){
		.io_timeout_ms = c->responder_io_timeout_ms,
		.reply = {
			.preflight_status = c->responder_preflight_status,
			.max_stale_s = c->responder_max_stale_s,
		},
	};
}

/* Says so once, whenever it changes. */
static void
watch_readiness(struct program *p)
{
	struct timespec now;
	struct table_info info;
	const char *why;
	char status[256];

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	reader_refresh(p->reader);
	reader_info(p->reader, &info);
	if (info.ready && !p->is_attached) {	/* from now on, what happens to the table is no matter of starting */
		sdnotify("READY=1");
		p->is_attached = true;
	}
	why = page_not_ready(p->reader, p->config->responder_max_stale_s, now.tv_sec);
	if (why == p->not_ready)
		return;
	p->not_ready = why;
	if (why != NULL) {
		log_warn("table: not ready, every origin is refused reason=\"%s\" reader=\"%s\"", why,
		    reader_strerror(p->reader));
		snprintf(status, sizeof status, "every origin is refused: %s", why);
		sdnotify_status(status);
		return;
	}
	log_notice("table: ready rows=%llu policies=%llu", (unsigned long long)info.rows,
	    (unsigned long long)info.policies);
	sdnotify_status("answering from the table");
}

static void
warn_of_restarts(const struct config *old, const struct config *new)
{
	char a[32], b[32];
	size_t i;

	for (i = 0; i < OPTION_COUNT; i++)
		if (!option_descs[i].reload && strcmp(option_descs[i].section, "sync") != 0 &&
		    strcmp(config_text(old, i, a, sizeof a), config_text(new, i, b, sizeof b)) != 0)
			log_warn("config: changed, but needs a restart setting=%s.%s", option_descs[i].section,
			    option_descs[i].name);
}

static void
reload(struct program *p)
{
	struct config *fresh = NULL;
	struct serve_settings settings;
	char err[512];

	if (p->is_attached)
		sdnotify_reloading();
	if (load_config(&p->arguments, &fresh, err, sizeof err) != 0) {
		log_err("config: not reloaded, the old settings stay: %s", err);
	} else {
		warn_of_restarts(p->config, fresh);
		settings = settings_of(fresh);
		serve_reload(p->server, &settings);
		/* Of the old one only what SIGHUP may change is taken over; paths stay alive. */
		p->config->responder_io_timeout_ms = fresh->responder_io_timeout_ms;
		p->config->responder_preflight_status = fresh->responder_preflight_status;
		p->config->responder_max_stale_s = fresh->responder_max_stale_s;
		config_free(&fresh);
		log_notice("config: reloaded");
	}
	if (p->is_attached)
		sdnotify("READY=1");
}

/* Until SIGTERM or SIGINT. */
static void
run(struct program *p, const sigset_t *signals)
{
	uint64_t watchdog_ms = sdnotify_watchdog_us() / 1000;
	uint64_t tick_ms = watchdog_ms > 0 && watchdog_ms / 3 < TICK_MS ? watchdog_ms / 3 + 1 : TICK_MS;
	struct timespec tick = { .tv_sec = (time_t)(tick_ms / 1000), .tv_nsec = (long)(tick_ms % 1000) * 1000000 };
	int signo;

	do {
		signo = sigtimedwait(signals, NULL, &tick);
		if (signo == SIGHUP)
			reload(p);
		watch_readiness(p);
		/* One slow peer must not get the process killed: a single turning thread will do. */
		if (watchdog_ms > 0 && serve_has_turned(p->server))
			sdnotify("WATCHDOG=1");
	} while (signo != SIGTERM && signo != SIGINT);
}

static void
say_start(const struct program *p)
{
	const char *path = p->listener.is_ours ? p->listener.path : "inherited", *dir = p->config->table_path;
	char socket[512], table[512];

	log_notice("start: version=" PACKAGE_VERSION " socket=%s threads=%d table=%s",
	    log_value(socket, sizeof socket, path, strlen(path)), p->config->responder_threads,
	    log_value(table, sizeof table, dir, strlen(dir)));
}

static void
start_serving(struct program *p)
{
	const struct serve_options options = {
		.listener = p->listener.fd,
		.drain = p->listener.is_ours,
		.threads = p->config->responder_threads,
		.table_path = p->config->table_path,
		.settings = settings_of(p->config),
	};
	int error;

	error = serve_start(&p->server, &options);
	if (error == 0)
		error = reader_open(&p->reader, p->config->table_path);
	if (error != 0) {
		log_err("start: %s", strerror(-error));
		listener_unlink(&p->listener);
		exit(EX_OSERR);
	}
	p->not_ready = "";	/* neither: the first look is always said */
	say_start(p);
}

static int
stop_serving(struct program *p)
{
	sdnotify("STOPPING=1");
	/* First the path, then the queue behind it: nobody new comes while it is emptied. */
	listener_unlink(&p->listener);
	if (!serve_stop(&p->server, STOP_WAIT_MS)) {
		log_warn("stop: slow peers were cut off in the middle of their requests");
		return EX_OK;
	}
	listener_close(&p->listener);
	reader_close(&p->reader);
	config_free(&p->config);
	free(p->arguments.owned[0]);
	free(p->arguments.owned[1]);
	log_notice("stop: done");
	return EX_OK;
}

/*
 * Before libfcgi is initialised: it takes over SIGTERM, SIGUSR1 and SIGPIPE
 * where they are not blocked or handled, and a threaded program would then
 * ignore SIGTERM.
 */
static void
block_signals(sigset_t *waited)
{
	sigset_t blocked;

	sigemptyset(waited);
	sigaddset(waited, SIGTERM);
	sigaddset(waited, SIGINT);
	sigaddset(waited, SIGHUP);
	blocked = *waited;
	sigaddset(&blocked, SIGPIPE);
	sigaddset(&blocked, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &blocked, NULL);
}

static void
open_listener(struct program *p)
{
	const struct listener_options options = {
		.path = p->config->responder_socket,
		.group = p->config->responder_socket_group,
		.backlog = p->config->responder_backlog,
	};
	char err[512];
	int status;

	status = listener_open(&p->listener, &options, err, sizeof err);
	if (status != 0) {
		log_err("%s", err);
		exit(status);
	}
}

int
main(int argc, char **argv)
{
	static struct program p;
	sigset_t signals;
	char err[512];

	read_arguments(&p.arguments, argc, argv);
	log_open("corscache-responder", LOG_LEVEL_INFO);
	if (load_config(&p.arguments, &p.config, err, sizeof err) != 0) {
		log_err("config: %s", err);
		return EX_CONFIG;
	}
	if (p.arguments.only_test)
		return test_settings(p.config);
	block_signals(&signals);
	open_listener(&p);
	start_serving(&p);
	watch_readiness(&p);
	run(&p, &signals);
	return stop_serving(&p);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fcgi_load -- bounded FastCGI load on a unix socket, from one thread: each
 * connection asks, waits for the whole answer, checks it, asks again; kept, or
 * a connection a request. Half are preflights; one in ten origins is unknown,
 * one in ten below a pattern. Prints a line of JSON.
 *
 * With --spin it never sleeps, so that the server has nobody to wake: what is
 * measured then is the server alone, not how idle its client was.
 *
 * With --fill it fills a table with that workload instead.
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "constant.h"
#include "ours.h"

#define MOST_CONNECTIONS	1024
#define MOST_TIMES		(1u << 22)	/* the run ends there */
#define POOL			2048		/* requests, made beforehand */
#define RECORD_HEADER		8

enum record { BEGIN = 1, END = 3, PARAMS = 4, STDIN = 5, STDOUT = 6 };

struct ask {
	char	 bytes[896];
	uint16_t len;
	bool	 is_preflight, is_allowed;
	char	 line[256];		/* of the answer, if allowed; never otherwise beyond its ':' */
	uint16_t line_len;
};

struct connection {
	int		 fd;
	const struct ask *ask;
	int64_t		 asked_at;
	bool		 was_served;
	unsigned	 filled;
	char		 buf[8192];
};

static struct {
	struct workload	 load;
	const char	*fill, *socket;
	unsigned	 connections;
	uint64_t	 requests;
	double		 seconds, warm_up;
	pid_t		 pid;
	bool		 is_kept, is_constant, is_spinning;
} options = { .load = { .origins = 100000, .patterns = 1000, .realms = 10, .policies = 10 },
	.connections = 1, .requests = MOST_TIMES, .seconds = 1, .warm_up = 0 };

static struct connection connections[MOST_CONNECTIONS];
static struct ask pool[POOL];
static uint32_t times_ns[MOST_TIMES];
static uint64_t next_ask, ntimes, nwrong;
static struct sockaddr_un address = { .sun_family = AF_UNIX };
static int epoll;

/* ---- requests ---- */

static char *
put_record(char *p, enum record type, const char *content, size_t len)
{
	const char header[RECORD_HEADER] = { 1, (char)type, 0, 1, (char)(len >> 8), (char)len };

	memcpy(p, header, sizeof header);
	if (len > 0)
		memcpy(p + sizeof header, content, len);
	return p + sizeof header + len;
}

static char *
put_parameter(char *p, const char *name, struct span value)
{
	size_t len = strlen(name);

	if (value.len > 127)
		die("an origin is too long", EINVAL);
	*p++ = (char)len;
	*p++ = (char)value.len;
	memcpy(p, name, len);
	memcpy(p + len, value.at, value.len);
	return p + len + value.len;
}

#define TEXT(s)	((struct span){ s, sizeof s - 1 })

static char *
put_parameters(char *p, const struct query *q, bool is_preflight)
{
	p = put_parameter(p, "REQUEST_METHOD", is_preflight ? TEXT("OPTIONS") : TEXT("GET"));
	p = put_parameter(p, "CONTENT_LENGTH", TEXT(""));
	p = put_parameter(p, "CORS_REALM", query_realm(q));
	p = put_parameter(p, "HTTP_HOST", TEXT("api.example.com"));
	p = put_parameter(p, "HTTP_USER_AGENT", TEXT("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"));
	p = put_parameter(p, "HTTP_ACCEPT", TEXT("*/*"));
	if (is_preflight) {
		p = put_parameter(p, "HTTP_ACCESS_CONTROL_REQUEST_METHOD", TEXT("PUT"));
		p = put_parameter(p, "HTTP_ACCESS_CONTROL_REQUEST_HEADERS", TEXT("authorization,content-type"));
	}
	return put_parameter(p, "HTTP_ORIGIN", query_origin(q));
}

static void
make_ask(struct ask *a, const struct query *q, bool is_preflight, bool is_allowed)
{
	const char begin[8] = { 0, 1, options.is_kept };
	struct span origin = query_origin(q);
	char parameters[sizeof a->bytes], *p = a->bytes;

	p = put_record(p, BEGIN, begin, sizeof begin);
	p = put_record(p, PARAMS, parameters, (size_t)(put_parameters(parameters, q, is_preflight) - parameters));
	p = put_record(p, PARAMS, NULL, 0);
	p = put_record(p, STDIN, NULL, 0);
	a->len = (uint16_t)(p - a->bytes);
	a->is_preflight = is_preflight;
	a->is_allowed = is_allowed;
	a->line_len = (uint16_t)snprintf(a->line, sizeof a->line, "Access-Control-Allow-Origin:%s%.*s%s",
	    is_allowed ? " " : "", is_allowed ? (int)origin.len : 0, origin.at, is_allowed ? "\r\n" : "");
}

static void
make_pool(void)
{
	struct stream streams[3];
	struct query q;

	stream_init(&streams[0], &options.load, QUESTION_HIT, false, 1);
	stream_init(&streams[1], &options.load, QUESTION_MISS, false, 2);
	stream_init(&streams[2], &options.load, QUESTION_WILD_1, false, 3);
	for (int i = 0; i < POOL; i++) {
		int kind = i / 2 % 10 < 8 ? 0 : i / 2 % 10 - 7;
		stream_next(&streams[kind], &q);
		make_ask(&pool[i], &q, i % 2 == 0, kind != 1);
	}
}

/* ---- answers ---- */

static bool
begins_with(struct span s, const char *text)
{
	return s.len >= strlen(text) && memcmp(s.at, text, strlen(text)) == 0;
}

static bool
is_right(const struct ask *a, struct span answer)
{
	bool has_line = memmem(answer.at, answer.len, a->line, a->line_len) != NULL;

	if (options.is_constant)
		return answer.len == sizeof CONSTANT_ANSWER - 1 && memcmp(answer.at, CONSTANT_ANSWER, answer.len) == 0;
	return has_line == a->is_allowed && begins_with(answer, !a->is_preflight ? "Status: 204" :
	    a->is_allowed ? "Status: 200" : "Status: 403");
}

/* True when all of it is there; then *answer is the first STDOUT record's content. */
static bool
read_records(const struct connection *c, struct span *answer)
{
	*answer = (struct span){ "", 0 };
	for (unsigned at = 0; at + RECORD_HEADER <= c->filled;) {
		const unsigned char *h = (const unsigned char *)c->buf + at;
		unsigned len = (unsigned)h[4] << 8 | h[5], whole = RECORD_HEADER + len + h[6];
		if (at + whole > c->filled)
			return false;
		if (h[1] == STDOUT && answer->len == 0)
			*answer = (struct span){ c->buf + at + RECORD_HEADER, len };
		if (h[1] == END) {
			if (at + whole != c->filled)
				die("bytes behind the end of an answer", EPROTO);
			return true;
		}
		at += whole;
	}
	return false;
}

/* ---- connections ---- */

static void
connect_one(struct connection *c)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };

	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) != 0)
		die(options.socket, errno);
}

static void
ask_next(struct connection *c)
{
	c->ask = &pool[next_ask++ % POOL];
	c->filled = 0;
	c->asked_at = wall_ns();
	if (send(c->fd, c->ask->bytes, c->ask->len, MSG_NOSIGNAL) != c->ask->len)
		die("send", errno);
}

static void
hear(struct connection *c)
{
	ssize_t got = recv(c->fd, c->buf + c->filled, sizeof c->buf - c->filled, 0);
	struct span answer;

	if (got <= 0)
		die("a connection ended within an answer", got == 0 ? EPROTO : errno);
	c->filled += (unsigned)got;
	if (!read_records(c, &answer))
		return;
	times_ns[ntimes++] = (uint32_t)(wall_ns() - c->asked_at);
	nwrong += !is_right(c->ask, answer);
	c->was_served = true;
	if (!options.is_kept) {
		close(c->fd);
		connect_one(c);
	}
	ask_next(c);
}

static void
run_for(double seconds, uint64_t requests)
{
	struct epoll_event events[64];
	int64_t now = wall_ns(), end = now + (int64_t)(seconds * 1e9);

	for (ntimes = 0; now < end && ntimes < requests; now = wall_ns()) {
		int n = epoll_wait(epoll, events, 64, options.is_spinning ? 0 : (int)((end - now) / 1000000) + 1);
		for (int i = 0; i < n && ntimes < requests; i++)
			hear(events[i].data.ptr);
	}
}

/* ---- the server's side, and figures ---- */

struct cost {
	double		 cpu_s;
	double		 own_cpu_s;			/* of this program */
	uint64_t	 voluntary, involuntary;	/* context switches */
};

static void
add_switches(struct cost *cost, const char *task)
{
	unsigned long long n;
	char path[64], line[128];
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/task/%.20s/status", (int)options.pid, task);
	if ((f = fopen(path, "re")) == NULL)
		die(path, errno);
	while (fgets(line, sizeof line, f) != NULL) {
		if (sscanf(line, "voluntary_ctxt_switches: %llu", &n) == 1)
			cost->voluntary += n;
		if (sscanf(line, "nonvoluntary_ctxt_switches: %llu", &n) == 1)
			cost->involuntary += n;
	}
	fclose(f);
}

/* To the nanosecond, over all threads; /proc tells ticks of 10 ms. */
static double
read_cpu_s(pid_t pid)
{
	struct timespec t;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
		die("CPU clock", ESRCH);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct cost
read_cost(void)
{
	struct cost cost = { 0 };
	struct dirent *entry;
	char path[64];
	DIR *d;

	if (options.pid == 0)
		return cost;
	cost.cpu_s = read_cpu_s(options.pid);
	cost.own_cpu_s = read_cpu_s(0);
	snprintf(path, sizeof path, "/proc/%d/task", (int)options.pid);
	if ((d = opendir(path)) == NULL)
		die(path, errno);
	while ((entry = readdir(d)) != NULL)
		if (entry->d_name[0] != '.')
			add_switches(&cost, entry->d_name);
	closedir(d);
	return cost;
}

static int
compare_times(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double
percentile_us(double fraction)
{
	return ntimes == 0 ? 0 : times_ns[(uint64_t)((double)(ntimes - 1) * fraction)] / 1e3;
}

static void
print_outcome(double seconds, struct cost a, struct cost b)
{
	unsigned served = 0;

	for (unsigned i = 0; i < options.connections; i++)
		served += connections[i].was_served;
	qsort(times_ns, ntimes, sizeof times_ns[0], compare_times);
	printf("{\"kept\":%s,\"connections\":%u,\"served\":%u,\"requests\":%llu,\"wrong\":%llu,\"seconds\":%.6f,"
	    "\"requests_per_s\":%.1f,\"p50_us\":%.2f,\"p99_us\":%.2f,\"cpu_s\":%.6f,\"own_cpu_s\":%.6f,"
	    "\"voluntary_switches\":%llu,\"involuntary_switches\":%llu}\n",
	    options.is_kept ? "true" : "false", options.connections, served, (unsigned long long)ntimes,
	    (unsigned long long)nwrong, seconds, (double)ntimes / seconds, percentile_us(0.5), percentile_us(0.99),
	    b.cpu_s - a.cpu_s, b.own_cpu_s - a.own_cpu_s, (unsigned long long)(b.voluntary - a.voluntary),
	    (unsigned long long)(b.involuntary - a.involuntary));
}

static void
load(void)
{
	struct cost before, after;
	int64_t start;

	make_pool();
	snprintf(address.sun_path, sizeof address.sun_path, "%s", options.socket);
	if ((epoll = epoll_create1(EPOLL_CLOEXEC)) < 0)
		die("epoll", errno);
	for (unsigned i = 0; i < options.connections; i++) {
		connect_one(&connections[i]);
		ask_next(&connections[i]);
	}
	run_for(options.warm_up, MOST_TIMES);
	before = read_cost();
	start = wall_ns();
	run_for(options.seconds, options.requests);
	start = wall_ns() - start;
	after = read_cost();
	print_outcome((double)start / 1e9, before, after);
}

static void
fill(void)
{
	struct writer *w = ours_open_writer(options.fill);

	ours_fill(w, &options.load);
	writer_close(&w);
}

static _Noreturn void
usage(void)
{
	fputs("usage: fcgi_load --socket=PATH [--kept] [--spin] [--constant] [--connections=N] [--requests=N] [--seconds=S]\n"
	    "    [--warm-up=S] [--pid=SERVER] [--origins=N]\n"
	    "       fcgi_load --fill=DIR [--origins=N]\n", stderr);
	exit(64);
}

static void
parse_options(int argc, char **argv)
{
	static const struct option names[] = {
		{ "fill", 1, NULL, 'f' }, { "socket", 1, NULL, 'S' }, { "kept", 0, NULL, 'k' }, { "spin", 0, NULL, 'P' },
		{ "constant", 0, NULL, 'C' }, { "connections", 1, NULL, 'c' }, { "requests", 1, NULL, 'r' },
		{ "seconds", 1, NULL, 's' }, { "warm-up", 1, NULL, 'w' }, { "pid", 1, NULL, 'p' },
		{ "origins", 1, NULL, 'n' }, { 0 },
	};

	for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;)
		switch (c) {
		case 'f': options.fill = optarg; break;
		case 'S': options.socket = optarg; break;
		case 'k': options.is_kept = true; break;
		case 'P': options.is_spinning = true; break;
		case 'C': options.is_constant = true; break;
		case 'c': options.connections = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'r': options.requests = strtoull(optarg, NULL, 10); break;
		case 's': options.seconds = strtod(optarg, NULL); break;
		case 'w': options.warm_up = strtod(optarg, NULL); break;
		case 'p': options.pid = (pid_t)strtol(optarg, NULL, 10); break;
		case 'n': options.load.origins = strtoull(optarg, NULL, 10); break;
		default: usage();
		}
	if (optind != argc || (options.fill == NULL) == (options.socket == NULL) || options.load.origins == 0 ||
	    options.connections == 0 || options.connections > MOST_CONNECTIONS || options.requests > MOST_TIMES)
		usage();
}

int
main(int argc, char **argv)
{
	parse_options(argc, argv);
	if (options.fill != NULL)
		fill();
	else
		load();
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sync -- from COMMIT in PostgreSQL to visible in the shared table, seen by a
 * reader of that table; beside it a bare client that LISTENs and SELECTs the
 * new row, as fast as libpq can. Prints lines of JSON.
 *
 *	fill		the workload into cors.origins
 *	plain		the same into bench_plain, which has no triggers
 *	load		start the command behind -- and wait until its table is ready
 *	reserve		as much memory as a table of --bytes takes, and nothing else
 *	latency		single commits, ours and the bare client's taking turns
 *	burst		commits of several clients at once, with our triggers and without
 *	policy		one UPDATE that all origins depend on
 *
 * Whoever waits looks every ten microseconds or so: spinning would take one of
 * few cores away from what is measured.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "reader.h"
#include "segment.h"
#include "workload.h"

#define MOST_COMMITS	100000
#define PATIENCE_NS	120000000000	/* then something is broken */
#define FILLERS		2
#define WARM		10	/* statements of each client before a burst */
#define PAUSE_US	20000		/* at most, between two single commits */

/* Between the process that commits, those that help it, and the bare client. */
static struct shared {
	_Atomic uint64_t seen;			/* the newest number the bare client has read */
	_Atomic int	 is_listening, ready, go;
	_Atomic int64_t	 committed[MOST_COMMITS];
} *shared;

static struct {
	struct workload	 load;
	const char	*dir, *database, *bare;
	unsigned	 rounds, commits, clients;
	uint64_t	 bytes;
} options = { .load = { .origins = 100000, .patterns = 100, .realms = 10, .policies = 10 },
	.rounds = 3, .commits = 100, .clients = 8 };

/* ---- the database ---- */

static PGconn *
connect_to(const char *conninfo)
{
	PGconn *c = PQconnectdb(conninfo);

	if (PQstatus(c) != CONNECTION_OK)
		die(PQerrorMessage(c), EIO);
	PQclear(PQexec(c, "SET client_min_messages = warning"));
	return c;
}

static void
run(PGconn *c, const char *sql)
{
	PGresult *r = PQexec(c, sql);
	ExecStatusType status = PQresultStatus(r);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_COPY_IN)
		die(PQresultErrorMessage(r), EIO);
	PQclear(r);
}

static void
end_copy(PGconn *c)
{
	PGresult *r;

	if (PQputCopyEnd(c, NULL) != 1 || (r = PQgetResult(c)) == NULL || PQresultStatus(r) != PGRES_COMMAND_OK)
		die(PQerrorMessage(c), EIO);
	do
		PQclear(r);
	while ((r = PQgetResult(c)) != NULL);
}

static void
fill_policies(PGconn *c)
{
	char line[256], name[32];

	for (uint64_t i = 0; i < options.load.policies; i++) {
		workload_policy_name(i, name);
		snprintf(line, sizeof line, "INSERT INTO cors.policies (name, max_age) VALUES ('%s', 600)", name);
		run(c, line);
	}
}

/* Every one of n rows, from first on. */
static void
fill_origins(uint64_t first, uint64_t n)
{
	PGconn *c = connect_to(options.database);
	char line[256], name[32];
	struct query q;

	run(c, "COPY cors.origins (realm, origin, policy) FROM STDIN");
	for (uint64_t i = first; i < options.load.origins; i += n) {
		workload_row(&options.load, i, &q);
		workload_policy_name(i % options.load.policies, name);
		int len = snprintf(line, sizeof line, "%.*s\t%s\t%s\n", (int)q.realm_len, q.key, query_origin(&q).at, name);
		if (PQputCopyData(c, line, len) != 1)
			die(PQerrorMessage(c), EIO);
	}
	end_copy(c);
	PQfinish(c);
	_exit(0);
}

/* Without triggers, which are slow for millions of rows (foreign keys) and nothing to be measured here. */
static void
fill(void)
{
	PGconn *c = connect_to(options.database);
	int status;

	fill_policies(c);
	run(c, "ALTER TABLE cors.origins DISABLE TRIGGER ALL");
	for (uint64_t i = 0; i < FILLERS; i++)
		if (fork() == 0)
			fill_origins(i, FILLERS);
	for (int i = 0; i < FILLERS; i++)
		if (wait(&status) < 0 || status != 0)
			die("a client failed", EIO);
	run(c, "ALTER TABLE cors.origins ENABLE TRIGGER ALL");
	run(c, "ALTER TABLE cors.origins ENABLE ALWAYS TRIGGER log_truncate");
	run(c, "ALTER TABLE cors.origins ENABLE REPLICA TRIGGER log_replicated");
	run(c, "VACUUM ANALYZE cors.origins");
	run(c, "CHECKPOINT");
	PQfinish(c);
}

/* The same rows, checks and indexes in a table without triggers of ours. */
static void
fill_plain(void)
{
	PGconn *c = connect_to(options.database);

	run(c, "CREATE TABLE bench_plain (LIKE cors.origins INCLUDING ALL)");
	run(c, "INSERT INTO bench_plain SELECT * FROM cors.origins");
	run(c, "ALTER TABLE bench_plain ADD FOREIGN KEY (policy) REFERENCES cors.policies ON UPDATE CASCADE");
	run(c, "VACUUM ANALYZE bench_plain");
	run(c, "CHECKPOINT");
	PQfinish(c);
}

/* ---- the table ---- */

static struct reader *
open_table(void)
{
	struct reader *r;
	int error = reader_open(&r, options.dir);

	if (error != 0)
		die(options.dir, error);
	for (int64_t end = wall_ns() + PATIENCE_NS; reader_refresh(r) != 0; usleep(1000))
		if (wall_ns() > end)
			die(options.dir, ETIMEDOUT);
	return r;
}

static bool
find(struct reader *r, struct span realm, struct span text, struct match *m)
{
	struct origin o;

	if (origin_parse(&o, text.at, text.len) != ORIGIN_OK)
		die(text.at, EINVAL);
	reader_find(r, realm, &o, WORKLOAD_NOW_S, m);
	return m->state == MATCH_ROW;
}

static bool
is_visible(struct reader *r, const char *origin)
{
	struct match m;

	return find(r, (struct span){ "", 0 }, (struct span){ origin, strlen(origin) }, &m) && reader_is_current(r);
}

/* ---- numbers ---- */

static int
compare_numbers(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

/* Sorts. */
static double
percentile_us(int64_t *ns, size_t n, double fraction)
{
	qsort(ns, n, sizeof *ns, compare_numbers);
	return (double)ns[(size_t)(fraction * (double)(n - 1) + 0.5)] / 1000;
}

static void
give_up_after(int64_t start, const char *what)
{
	if (wall_ns() > start + PATIENCE_NS)
		die(what, ETIMEDOUT);
}

/* ---- load ---- */

static int64_t
micros(struct timeval t)
{
	return (int64_t)t.tv_sec * 1000000 + t.tv_usec;
}

/* From exec to a table that answers. */
static void
load(char **argv)
{
	int64_t begin = wall_ns();
	struct table_info info;
	struct status status;
	struct rusage usage;
	pid_t pid = fork();

	if (pid == 0) {
		execv(argv[0], argv);
		die(argv[0], errno);
	}
	struct reader *r = open_table();
	double seconds = (double)(wall_ns() - begin) / 1e9;
	reader_info(r, &info);
	reader_status(r, &status);
	kill(pid, SIGTERM);
	if (pid < 0 || wait4(pid, NULL, 0, &usage) != pid)
		die("wait", errno);
	printf("{\"load\":%llu,\"seconds\":%.4f,\"user_s\":%.3f,\"system_s\":%.3f,\"said_ms\":%lld,\"bytes\":%llu}\n",
	    (unsigned long long)info.rows, seconds, (double)micros(usage.ru_utime) / 1e6, (double)micros(usage.ru_stime) / 1e6,
	    (long long)status.snapshot_ms, (unsigned long long)info.bytes);
	reader_close(&r);
}

/* What a load cannot do without: a hypervisor may give a machine its memory at the first touch only. */
static void
reserve(void)
{
	int dirfd = open(options.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), error;
	int64_t begin = wall_ns();
	struct mapping m;

	if (dirfd < 0)
		die(options.dir, errno);
	if ((error = segment_create(&m, dirfd, "memory", options.bytes, options.bytes, (gid_t)-1)) != 0)
		die(options.dir, error);
	printf("{\"reserve\":%llu,\"seconds\":%.4f}\n", (unsigned long long)options.bytes, (double)(wall_ns() - begin) / 1e9);
	segment_remove(dirfd, "memory");
	segment_unmap(&m);
	close(dirfd);
}

/* ---- latency ---- */

/* A client that does nothing but learn the newest row: what any sync over LISTEN must wait for. */
static void
be_bare(void)
{
	PGconn *c = connect_to(options.bare);
	struct pollfd p = { .fd = PQsocket(c), .events = POLLIN };

	run(c, "LISTEN bench");
	PQclear(PQprepare(c, "newest", "SELECT n, origin FROM bare WHERE n > $1 ORDER BY n", 0, NULL));
	shared->is_listening = 1;
	while (poll(&p, 1, -1) >= 0 && PQconsumeInput(c)) {
		PGnotify *n;
		bool any = false;
		char last[24];

		for (; (n = PQnotifies(c)) != NULL; any = true)
			PQfreemem(n);
		if (!any)
			continue;
		snprintf(last, sizeof last, "%llu", (unsigned long long)shared->seen);
		PGresult *r = PQexecPrepared(c, "newest", 1, (const char *[]){ last }, NULL, NULL, 0);
		if (PQntuples(r) > 0)
			shared->seen = strtoull(PQgetvalue(r, PQntuples(r) - 1, 0), NULL, 10);
		PQclear(r);
	}
	_exit(1);
}

struct times {
	int64_t		 sent, returned;	/* of COMMIT, to visible; ns */
};

static void
nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 5000 }, NULL);
}

/* COMMIT, then look. A row seen by the time that COMMIT returned counts as 0 after it. */
static struct times
time_commit(PGconn *c, const char *insert, struct reader *r, const char *origin, uint64_t number)
{
	struct times t;
	int64_t sent, returned, now;

	run(c, "BEGIN");
	run(c, insert);
	sent = wall_ns();
	run(c, "COMMIT");
	for (now = returned = wall_ns(); r != NULL ? !is_visible(r, origin) : shared->seen < number; now = wall_ns()) {
		give_up_after(sent, origin);
		nap();
	}
	t.sent = now - sent;
	t.returned = now - returned;
	return t;
}

static void
print_latency(const char *subject, unsigned round, int64_t *sent, int64_t *returned, unsigned n)
{
	printf("{\"latency\":\"%s\",\"round\":%u,\"commits\":%u,\"sent_p50_us\":%.1f,\"sent_p99_us\":%.1f,"
	    "\"returned_p50_us\":%.1f,\"returned_p99_us\":%.1f}\n", subject, round, n, percentile_us(sent, n, 0.5),
	    percentile_us(sent, n, 0.99), percentile_us(returned, n, 0.5), percentile_us(returned, n, 0.99));
	fflush(stdout);
}

static struct times
commit_ours(PGconn *c, struct reader *r, uint64_t number)
{
	char sql[192], origin[64];

	snprintf(origin, sizeof origin, "https://latency-%d-%llu.example", (int)getpid(), (unsigned long long)number);
	snprintf(sql, sizeof sql, "INSERT INTO cors.origins (origin) VALUES ('%s')", origin);
	return time_commit(c, sql, r, origin, 0);
}

static struct times
commit_bare(PGconn *c, uint64_t number)
{
	char sql[192];

	snprintf(sql, sizeof sql, "INSERT INTO bare VALUES (%llu, 'https://latency-%llu.example'); NOTIFY bench",
	    (unsigned long long)number, (unsigned long long)number);
	return time_commit(c, sql, NULL, "the bare client", number);
}

static void
latency_round(PGconn *ours, PGconn *bare, struct reader *r, unsigned round)
{
	static int64_t sent[2][MOST_COMMITS], returned[2][MOST_COMMITS];
	static uint64_t random = 42, number;

	for (unsigned i = 0; i < options.commits; i++) {
		number++;
		for (int who = 0; who < 2; who++) {
			usleep((unsigned)(random_next(&random) % PAUSE_US));
			struct times t = who == 0 ? commit_ours(ours, r, number) : commit_bare(bare, number);
			sent[who][i] = t.sent;
			returned[who][i] = t.returned;
		}
	}
	print_latency("ours", round, sent[0], returned[0], options.commits);
	print_latency("bare", round, sent[1], returned[1], options.commits);
}

static void
latency(void)
{
	PGconn *ours, *bare = connect_to(options.bare);
	struct reader *r = open_table();
	int64_t begin = wall_ns();

	run(bare, "DROP TABLE IF EXISTS bare; CREATE TABLE bare (n bigint PRIMARY KEY, origin text)");
	pid_t pid = fork();
	if (pid == 0)
		be_bare();
	while (!shared->is_listening)
		give_up_after(begin, "LISTEN");
	ours = connect_to(options.database);
	for (unsigned round = 0; round < options.rounds; round++)
		latency_round(ours, bare, r, round);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	PQfinish(ours);
	PQfinish(bare);
	reader_close(&r);
}

/* ---- burst ---- */

static void
name_of_burst(char *origin, size_t cap, unsigned round, unsigned client, unsigned i)
{
	snprintf(origin, cap, "https://burst-%u-%u-%u-%d.example", round, client, i, (int)getpgrp());
}

static void
write_burst(const char *table, unsigned round, unsigned client)
{
	PGconn *c = connect_to(options.database);
	unsigned each = options.commits / options.clients;
	char origin[96];

	snprintf(origin, sizeof origin, "INSERT INTO %s (origin) VALUES ($1)", table);
	PQclear(PQprepare(c, "put", origin, 0, NULL));
	/* what a session does once, such as planning its triggers' queries, is not a cost of each commit */
	run(c, "BEGIN");
	for (unsigned i = 0; i < WARM; i++) {
		name_of_burst(origin, sizeof origin, round, client, each + i);
		PQclear(PQexecPrepared(c, "put", 1, (const char *[]){ origin }, NULL, NULL, 0));
	}
	run(c, "ROLLBACK");
	shared->ready++;
	while (!shared->go)
		usleep(100);
	for (unsigned i = 0; i < each; i++) {
		name_of_burst(origin, sizeof origin, round, client, i);
		PGresult *r = PQexecPrepared(c, "put", 1, (const char *[]){ origin }, NULL, NULL, 0);
		if (PQresultStatus(r) != PGRES_COMMAND_OK)
			die(PQresultErrorMessage(r), EIO);
		PQclear(r);
		shared->committed[client * each + i] = wall_ns();
	}
	PQfinish(c);
	_exit(0);
}

/* Looks five thousand times a second at the next commit of every client; each client's become visible in order. */
static void
watch_burst(struct reader *r, unsigned round, int64_t *lag)
{
	unsigned each = options.commits / options.clients, next[64] = { 0 }, left = each * options.clients;
	int64_t begin = wall_ns();
	char origin[96];

	for (; left > 0; usleep(200))
		for (unsigned c = 0; c < options.clients; c++)
			for (; next[c] < each; next[c]++, left--) {
				int64_t committed = shared->committed[c * each + next[c]];
				name_of_burst(origin, sizeof origin, round, c, next[c]);
				give_up_after(begin, origin);
				if (committed == 0 || !is_visible(r, origin))
					break;
				lag[c * each + next[c]] = wall_ns() - committed;
			}
}

static void
burst_once(struct reader *r, unsigned round, const char *subject)
{
	bool is_plain = strcmp(subject, "plain") == 0, is_watched = strcmp(subject, "watched") == 0;
	static int64_t lag[MOST_COMMITS];
	unsigned n = options.commits / options.clients * options.clients;
	int64_t begin, end = 0;
	int status;

	memset(shared, 0, sizeof *shared);
	for (unsigned c = 0; c < options.clients; c++)
		if (fork() == 0)
			write_burst(is_plain ? "bench_plain" : "cors.origins", round, c);
	while (shared->ready < (int)options.clients)
		usleep(1000);
	begin = wall_ns();
	shared->go = 1;
	if (is_watched)
		watch_burst(r, round, lag);
	for (unsigned c = 0; c < options.clients; c++)
		if (wait(&status) < 0 || status != 0)
			die("a client failed", EIO);
	for (unsigned i = 0; i < n; i++)
		end = shared->committed[i] > end ? shared->committed[i] : end;
	printf("{\"burst\":\"%s\",\"round\":%u,\"commits\":%u,\"clients\":%u,\"commits_per_s\":%.0f", subject, round,
	    n, options.clients, n / ((double)(end - begin) / 1e9));
	if (is_watched)
		printf(",\"lag_p50_us\":%.0f,\"lag_p99_us\":%.0f,\"lag_max_us\":%.0f", percentile_us(lag, n, 0.5),
		    percentile_us(lag, n, 0.99), percentile_us(lag, n, 1));
	puts("}");
	fflush(stdout);
}

static void
burst(void)
{
	struct reader *r = open_table();

	/* whoever watches takes CPU time from those that commit: how fast they are is measured without */
	for (unsigned round = 0; round < 2 * options.rounds; round += 2) {
		burst_once(r, round, "ours");
		burst_once(r, round, "plain");
		burst_once(r, round + 1, "watched");
	}
	reader_close(&r);
}

/* ---- policy ---- */

/* One row of each policy stands for all of them. */
static bool
has_changed(struct reader *r, int32_t max_age)
{
	struct match m;
	struct query q;

	for (uint64_t i = 0; i < options.load.policies; i++) {
		workload_row(&options.load, i, &q);
		if (!find(r, query_realm(&q), query_origin(&q), &m) || m.policy == NULL || m.policy->max_age != max_age ||
		    !reader_is_current(r))
			return false;
	}
	return true;
}

static void
policy(void)
{
	PGconn *c = connect_to(options.database);
	struct reader *r = open_table();
	char sql[128];

	for (unsigned round = 0; round < options.rounds; round++) {
		int32_t max_age = 1000 + (int32_t)round;
		usleep(PAUSE_US);
		run(c, "BEGIN");
		snprintf(sql, sizeof sql, "UPDATE cors.policies SET max_age = %d WHERE name LIKE 'policy-%%'", (int)max_age);
		run(c, sql);
		int64_t sent = wall_ns();
		run(c, "COMMIT");
		for (; !has_changed(r, max_age); nap())
			give_up_after(sent, sql);
		printf("{\"policy\":%llu,\"round\":%u,\"ms\":%.3f}\n", (unsigned long long)options.load.origins, round,
		    (double)(wall_ns() - sent) / 1e6);
		fflush(stdout);
	}
	PQfinish(c);
	reader_close(&r);
}

/* ---- main ---- */

static _Noreturn void
usage(void)
{
	fputs("usage: sync fill|plain|load|reserve|latency|burst|policy [--dir=TABLE] [--database=CONNINFO] [--bare=CONNINFO] [--origins=N]\n"
	    "    [--policies=N] [--rounds=N] [--commits=N] [--clients=N] [--bytes=N] [-- COMMAND...]\n", stderr);
	exit(64);
}

static void
parse_options(int argc, char **argv)
{
	static const struct option names[] = {
		{ "dir", 1, NULL, 'd' }, { "database", 1, NULL, 'D' }, { "bare", 1, NULL, 'b' }, { "origins", 1, NULL, 'n' },
		{ "policies", 1, NULL, 'P' }, { "rounds", 1, NULL, 'R' }, { "commits", 1, NULL, 'c' },
		{ "clients", 1, NULL, 'C' }, { "bytes", 1, NULL, 'B' }, { 0 },
	};

	for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;)
		switch (c) {
		case 'd': options.dir = optarg; break;
		case 'D': options.database = optarg; break;
		case 'b': options.bare = optarg; break;
		case 'n': options.load.origins = strtoull(optarg, NULL, 10); break;
		case 'P': options.load.policies = strtoull(optarg, NULL, 10); break;
		case 'R': options.rounds = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'c': options.commits = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'C': options.clients = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'B': options.bytes = strtoull(optarg, NULL, 10); break;
		default: usage();
		}
	if (options.commits == 0 || options.commits > MOST_COMMITS || options.clients == 0 || options.clients > 64 ||
	    options.load.policies == 0 || options.load.origins < options.load.policies)
		usage();
}

int
main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (argc < 2)
		usage();
	parse_options(argc - 1, argv + 1);
	prctl(PR_SET_TIMERSLACK, 1);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("mmap", errno);
	if (strcmp(what, "fill") == 0 && options.database != NULL)
		fill();
	else if (strcmp(what, "plain") == 0 && options.database != NULL)
		fill_plain();
	else if (strcmp(what, "load") == 0 && options.dir != NULL && argv[1 + optind] != NULL)
		load(argv + 1 + optind);
	else if (strcmp(what, "reserve") == 0 && options.dir != NULL && options.bytes > 0)
		reserve();
	else if (strcmp(what, "latency") == 0 && options.dir != NULL && options.database != NULL && options.bare != NULL)
		latency();
	else if (strcmp(what, "burst") == 0 && options.dir != NULL && options.database != NULL && options.commits >= options.clients)
		burst();
	else if (strcmp(what, "policy") == 0 && options.dir != NULL && options.database != NULL)
		policy();
	else
		usage();
	return 0;
}

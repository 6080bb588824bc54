/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * storm -- readers while the writer writes: each look-up timed on its own, by
 * reader processes that do nothing else, in phases that take turns. Beside
 * them a control process reads the clock and memory of its own: what it sees,
 * the scheduler or the machine did. Prints a line of JSON per phase and round.
 *
 * A slow look-up's time is told apart by the reader's CPU clock: what is left
 * after its time off the CPU is ours to explain (`on_cpu`). A reader that never
 * left the CPU by itself (`voluntary`, 0) was off it by the scheduler's choice.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ours.h"

#define MOST_READERS	16
#define POOL		16384	/* queries, made beforehand */
#define AHEAD		4
#define SLOW_NS		20000	/* worth asking for the CPU clock */
#define STALL_NS	1000000
#define CHECK_EVERY	1024	/* look-ups between looks at that clock */
#define TICK_NS		1000000	/* the writer's pace */
#define SUBS		32	/* buckets of the histogram per power of two */
#define BUCKETS		(48 * SUBS)

/* Written by one child each, read by the parent when it has ended. */
struct record_of_times {
	uint64_t	 fast[BUCKETS], slow[BUCKETS], slow_on_cpu[BUCKETS];	/* the slow ones twice: by both clocks */
	uint64_t	 lookups, repeats, errors, stalls;			/* stalls: on the CPU */
	uint64_t	 voluntary, involuntary;				/* switches away from the CPU */
	int64_t		 wall_ns, cpu_ns, max_ns, max_on_cpu_ns;
};

static struct shared {
	_Atomic int	 ready, go, stop;
	struct record_of_times control, readers[MOST_READERS];
} *shared;

static struct {
	struct workload	 load;
	const char	*dir, *phases;
	unsigned	 readers, rounds, rate;
	double		 seconds;
	bool		 no_control;
} options = { .load = { .origins = 100000, .patterns = 10000, .realms = 10, .policies = 10 },
	.phases = "idle,exact,wide,compact,table", .readers = 1, .rounds = 3, .rate = 10000, .seconds = 2 };

/* ---- times ---- */

static unsigned
bucket_of(int64_t ns)
{
	uint64_t v = ns < SUBS ? SUBS : (uint64_t)ns;
	unsigned shift = 58 - (unsigned)__builtin_clzll(v);
	unsigned i = shift * SUBS + (unsigned)(v >> shift) - SUBS;

	return i < BUCKETS ? i : BUCKETS - 1;
}

static double
bucket_us(unsigned i)
{
	return (double)((uint64_t)(SUBS + i % SUBS + 1) << i / SUBS) / 1000;
}

static double
percentile_us(const struct record_of_times *t, const uint64_t slow[BUCKETS], double fraction)
{
	uint64_t total = 0, seen = 0;

	for (unsigned i = 0; i < BUCKETS; i++)
		total += t->fast[i] + slow[i];
	for (unsigned i = 0; i < BUCKETS; i++)
		if ((seen += t->fast[i] + slow[i]) >= fraction * (double)total && seen > 0)
			return bucket_us(i);
	return 0;
}

struct stopwatch {
	struct record_of_times *to;
	int64_t		 last, check_wall, check_cpu;
};

static void
stopwatch_check(struct stopwatch *s)
{
	s->check_cpu = cpu_ns();
	s->check_wall = s->last = wall_ns();
}

static void
note_slow(struct stopwatch *s, int64_t ns, int64_t now)
{
	int64_t away = now - s->check_wall - (cpu_ns() - s->check_cpu), on_cpu = away > ns ? 0 : away < 0 ? ns : ns - away;

	if (ns > s->to->max_ns)
		s->to->max_ns = ns;
	if (on_cpu > s->to->max_on_cpu_ns)
		s->to->max_on_cpu_ns = on_cpu;
	s->to->slow[bucket_of(ns)]++;
	s->to->slow_on_cpu[bucket_of(on_cpu)]++;
	s->to->stalls += on_cpu > STALL_NS;
	stopwatch_check(s);
}

static inline void
stopwatch_lap(struct stopwatch *s)
{
	int64_t now = wall_ns(), ns = now - s->last;

	s->last = now;
	if (ns > SLOW_NS)
		note_slow(s, ns, now);
	else
		s->to->fast[bucket_of(ns)]++;
}

/* ---- readers ---- */

/* As answer() does: again while the table changes. */
static void
find_settled(struct reader *r, const struct query *q, struct record_of_times *to)
{
	struct origin o;
	struct match m;

	if (origin_parse(&o, query_origin(q).at, query_origin(q).len) != ORIGIN_OK)
		abort();
	reader_find(r, query_realm(q), &o, WORKLOAD_NOW_S, &m);
	for (int i = 0; i < 64 && !reader_is_current(r); i++) {
		to->repeats++;
		reader_find(r, query_realm(q), &o, WORKLOAD_NOW_S, &m);
	}
	to->errors += m.state != MATCH_ROW && m.state != MATCH_NONE;
	to->lookups++;
}

static struct query *
make_pool(uint64_t seed)
{
	struct query *pool = aligned_alloc(64, (POOL + AHEAD) * sizeof *pool);
	struct stream exact, wild;

	if (pool == NULL)
		die("pool", errno);
	stream_init(&exact, &options.load, QUESTION_HIT, false, seed);
	stream_init(&wild, &options.load, QUESTION_WILD_1, false, seed);
	for (int i = 0; i < POOL + AHEAD; i++)
		stream_next(i % 10 != 0 ? &exact : &wild, &pool[i]);
	return pool;
}

static void
wait_for_start(void)
{
	shared->ready++;
	while (!shared->go)
		usleep(100);
}

static void
count_switches(struct record_of_times *to, int sign)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	to->voluntary += (uint64_t)(sign * u.ru_nvcsw);
	to->involuntary += (uint64_t)(sign * u.ru_nivcsw);
}

static void
read_until_told(struct record_of_times *to, uint64_t seed)
{
	struct query *pool = make_pool(seed);
	struct reader *r;
	int error = reader_open(&r, options.dir);

	if (error != 0)
		die(options.dir, error);
	for (int i = 0; i < POOL; i++)
		find_settled(r, &pool[i], to);
	to->lookups = to->repeats = 0;
	wait_for_start();
	struct stopwatch s = { .to = to };
	int64_t wall = wall_ns(), cpu = cpu_ns();
	count_switches(to, -1);
	stopwatch_check(&s);
	for (unsigned i = 0; ; i++) {
		const struct query *q = &pool[i % POOL];
		for (size_t line = 0; line < sizeof *q; line += 64)
			__builtin_prefetch((const char *)(q + AHEAD) + line);
		find_settled(r, q, to);
		stopwatch_lap(&s);
		if (i % CHECK_EVERY == 0) {
			if (shared->stop)
				break;
			stopwatch_check(&s);
		}
	}
	count_switches(to, 1);
	to->wall_ns = wall_ns() - wall;
	to->cpu_ns = cpu_ns() - cpu;
	reader_close(&r);
	free(pool);
}

/* As much as the table takes, or so: a hypervisor that moves memory stops who touches it. */
static uint64_t *
own_memory(size_t words)
{
	uint64_t *memory = mmap(NULL, words * sizeof *memory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		die("mmap", errno);
	madvise(memory, words * sizeof *memory, MADV_HUGEPAGE);
	for (size_t i = 0; i < words; i++)
		memory[i] = i;
	return memory;
}

static void
watch_the_machine(struct record_of_times *to, uint64_t seed)
{
	size_t words = options.load.origins * 8;
	const uint64_t *memory = own_memory(words);
	struct stopwatch s = { .to = to };
	volatile uint64_t sum = 0;

	wait_for_start();
	stopwatch_check(&s);
	for (unsigned i = 0; ; i++) {
		sum += memory[random_next(&seed) % words];
		stopwatch_lap(&s);
		if (i % CHECK_EVERY == 0) {
			if (shared->stop)
				break;
			stopwatch_check(&s);
		}
	}
}

static pid_t
start(void (*run)(struct record_of_times *, uint64_t), struct record_of_times *to, uint64_t seed)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork", errno);
	if (pid == 0) {
		run(to, seed);
		_exit(0);
	}
	return pid;
}

/* ---- the writer ---- */

struct storm {
	struct writer	*w;
	uint64_t	 random;
	uint64_t	 changes;
	int64_t		 next_tick, next_beat;
};

/* Seven policy changes, then a row goes and comes back. */
static void
change_row(struct storm *s, bool is_wide, bool is_churn)
{
	struct table *t = writer_table(s->w);
	struct query q;
	uint64_t i = random_next(&s->random) % (is_wide ? options.load.patterns : options.load.origins);
	int error;

	if (is_wide)
		workload_pattern(&options.load, i, &q);
	else
		workload_row(&options.load, i, &q);
	if (is_churn || s->changes % 9 >= 7) {
		error = table_remove(t, query_realm(&q), query_origin(&q));
		s->changes++;
		if (error != 0 && error != -ENOENT)
			die("remove", error);
	}
	if ((error = ours_put(t, &q, random_next(&s->random) % options.load.policies)) != 0)
		die("put", error);
	s->changes++;
}

static void
sleep_until(int64_t ns)
{
	struct timespec t = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static void
beat(struct storm *s, int64_t now)
{
	if (now < s->next_beat)
		return;
	s->next_beat = now + 100000000;
	writer_tick(s->w);
}

/* One step of a phase: a millisecond's worth of changes, or as much as there is time for. */
static void
step(struct storm *s, const char *phase)
{
	bool is_wide = strcmp(phase, "wide") == 0;

	if (strcmp(phase, "table") == 0) {
		ours_fill(s->w, &options.load);
		s->changes += options.load.origins;
		return;
	}
	if (strcmp(phase, "compact") == 0) {
		for (int i = 0; i < 100; i++)
			change_row(s, false, true);
		return;
	}
	if (strcmp(phase, "idle") != 0)
		for (uint64_t end = s->changes + options.rate / 1000; s->changes < end;)
			change_row(s, is_wide, false);
	sleep_until(s->next_tick += TICK_NS);
}

static void
add_up(struct record_of_times *sum, const struct record_of_times *t)
{
	for (unsigned b = 0; b < BUCKETS; b++) {
		sum->fast[b] += t->fast[b];
		sum->slow[b] += t->slow[b];
		sum->slow_on_cpu[b] += t->slow_on_cpu[b];
	}
	sum->lookups += t->lookups;
	sum->repeats += t->repeats;
	sum->errors += t->errors;
	sum->stalls += t->stalls;
	sum->voluntary += t->voluntary;
	sum->involuntary += t->involuntary;
	sum->max_ns = t->max_ns > sum->max_ns ? t->max_ns : sum->max_ns;
	sum->max_on_cpu_ns = t->max_on_cpu_ns > sum->max_on_cpu_ns ? t->max_on_cpu_ns : sum->max_on_cpu_ns;
}

static void
print_times(const char *prefix, const struct record_of_times *t)
{
	printf("\"%sp50_us\":%.3f,\"%sp99_us\":%.3f,\"%sp9999_us\":%.3f,\"%sp9999_on_cpu_us\":%.3f,\"%smax_us\":%.1f,"
	    "\"%smax_on_cpu_us\":%.1f,\"%sstalls\":%llu,", prefix, percentile_us(t, t->slow, 0.5), prefix,
	    percentile_us(t, t->slow, 0.99), prefix, percentile_us(t, t->slow, 0.9999), prefix,
	    percentile_us(t, t->slow_on_cpu, 0.9999), prefix, (double)t->max_ns / 1000, prefix,
	    (double)t->max_on_cpu_ns / 1000, prefix, (unsigned long long)t->stalls);
}

static void
print_outcome(const char *phase, unsigned round, const struct storm *s, double seconds, uint64_t epochs,
    const struct table_info *info)
{
	struct record_of_times sum = { 0 };
	double wall = 0, cpu = 0;

	for (unsigned i = 0; i < options.readers; i++) {
		const struct record_of_times *t = &shared->readers[i];

		add_up(&sum, t);
		wall += (double)t->lookups / ((double)t->wall_ns / 1e9);
		cpu += (double)t->lookups / ((double)t->cpu_ns / 1e9);
	}
	printf("{\"phase\":\"%s\",\"round\":%u,\"readers\":%u,\"origins\":%llu,\"shards\":%u,\"lookups_per_s\":%.0f,"
	    "\"lookups_per_cpu_s\":%.0f,\"repeats\":%llu,\"errors\":%llu,\"voluntary\":%llu,\"involuntary\":%llu,",
	    phase, round, options.readers, (unsigned long long)options.load.origins, info->shards, wall,
	    cpu / options.readers, (unsigned long long)sum.repeats, (unsigned long long)sum.errors,
	    (unsigned long long)sum.voluntary, (unsigned long long)sum.involuntary);
	print_times("", &sum);
	print_times("control_", &shared->control);
	printf("\"seconds\":%.3f,\"changes_per_s\":%.0f,\"epochs\":%llu}\n", seconds, (double)s->changes / seconds,
	    (unsigned long long)epochs);
	fflush(stdout);
}

static void
run_phase(struct storm *s, const char *phase, unsigned round)
{
	pid_t children[MOST_READERS + 1];
	struct table_info before, after;
	struct reader *r = NULL;
	int n = 0, status;

	if (reader_open(&r, options.dir) != 0)
		die(options.dir, ENOMEM);
	memset(shared, 0, sizeof *shared);
	for (unsigned i = 0; i < options.readers; i++)
		children[n++] = start(read_until_told, &shared->readers[i], 1000 * round + i);
	if (!options.no_control)
		children[n++] = start(watch_the_machine, &shared->control, 1000 * round + MOST_READERS);
	while (shared->ready < n)
		usleep(1000);
	reader_info(r, &before);
	shared->go = 1;
	int64_t begun = wall_ns(), now = begun;
	s->changes = 0;
	s->next_tick = begun;
	for (; now < begun + (int64_t)(options.seconds * 1e9); now = wall_ns()) {
		step(s, phase);
		beat(s, now);
	}
	shared->stop = 1;
	while (n > 0)
		if (waitpid(children[--n], &status, 0) < 0 || status != 0)
			die("a reader failed", EIO);
	reader_info(r, &after);
	print_outcome(phase, round, s, (double)(now - begun) / 1e9, after.epoch - before.epoch, &after);
	reader_close(&r);
}

static void
run_round(struct storm *s, unsigned round)
{
	char *words = strdup(options.phases), *save = NULL;

	for (char *phase = strtok_r(words, ",", &save); phase != NULL; phase = strtok_r(NULL, ",", &save))
		run_phase(s, phase, round);
	free(words);
}

static _Noreturn void
usage(void)
{
	fputs("usage: storm --dir=DIR [--origins=N] [--patterns=N] [--realms=N] [--policies=N] [--readers=N] [--rounds=N]\n"
	    "    [--seconds=S] [--rate=CHANGES] [--phases=idle,exact,wide,compact,table] [--no-control]\n", stderr);
	exit(64);
}

static void
parse_options(int argc, char **argv)
{
	static const struct option names[] = {
		{ "dir", 1, NULL, 'd' }, { "origins", 1, NULL, 'n' }, { "patterns", 1, NULL, 'p' },
		{ "realms", 1, NULL, 'r' }, { "policies", 1, NULL, 'P' }, { "readers", 1, NULL, 't' },
		{ "rounds", 1, NULL, 'R' }, { "seconds", 1, NULL, 's' }, { "rate", 1, NULL, 'a' },
		{ "phases", 1, NULL, 'f' }, { "no-control", 0, NULL, 'c' }, { 0 },
	};

	for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;)
		switch (c) {
		case 'd': options.dir = optarg; break;
		case 'n': options.load.origins = strtoull(optarg, NULL, 10); break;
		case 'p': options.load.patterns = strtoull(optarg, NULL, 10); break;
		case 'r': options.load.realms = strtoull(optarg, NULL, 10); break;
		case 'P': options.load.policies = strtoull(optarg, NULL, 10); break;
		case 't': options.readers = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'R': options.rounds = (unsigned)strtoul(optarg, NULL, 10); break;
		case 's': options.seconds = strtod(optarg, NULL); break;
		case 'a': options.rate = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'f': options.phases = optarg; break;
		case 'c': options.no_control = true; break;
		default: usage();
		}
	if (optind != argc || options.dir == NULL || options.load.origins == 0 || options.load.patterns < 100 ||
	    options.load.realms == 0 || options.load.policies == 0 || options.readers > MOST_READERS)
		usage();
}

int
main(int argc, char **argv)
{
	struct storm s = { .random = 42 };

	parse_options(argc, argv);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("mmap", errno);
	s.w = ours_open_writer(options.dir);
	ours_fill(s.w, &options.load);
	for (unsigned round = 0; round < options.rounds; round++)
		run_round(&s, round);
	writer_close(&s.w);
	return 0;
}

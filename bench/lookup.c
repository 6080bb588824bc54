/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lookup -- the cost of finding one row, for us, the hardware's limit and our
 * peers, in rounds: every subject once a round, all with the same questions.
 * Prints a line of JSON for each thing built and each round measured.
 *
 * Time is this thread's CPU time, so that being preempted is not counted
 * (wall-clock time for PostgreSQL, whose work is done elsewhere).
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "subject.h"

#define BLOCK	512	/* queries made at a time: they fit the L2 cache */
#define AHEAD	4	/* queries prefetched, as if they had just been received */

static const struct subject *const subjects[] = {
	&subject_two_reads, &subject_one_read, &subject_hash,	/* built together, in this order */
	&subject_two_small_reads,
	&subject_ours, &subject_ours_find, &subject_list, &subject_postgres,
#if HAVE_GLIB
	&subject_glib,
#endif
#if HAVE_LMDB
	&subject_lmdb,
#endif
};
#define NSUBJECTS	(sizeof subjects / sizeof subjects[0])

static struct {
	struct workload	 load;
	struct subject_options subject;
	const char	*subjects, *questions, *distributions, *modes;	/* words, separated by commas */
	uint64_t	 lookups;
	unsigned	 rounds;
} options = {
	.load = { .origins = 100000, .patterns = 10000, .realms = 10, .policies = 10 },
	.subjects = "two_reads,one_read,hash,ours,ours_find,list,glib,lmdb",
	.questions = "hit,miss", .distributions = "uniform", .modes = "alone", .lookups = 200000, .rounds = 3,
};

static bool
has_word(const char *words, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = words; (p = strstr(p, word)) != NULL; p += len)
		if ((p == words || p[-1] == ',') && (p[len] == ',' || p[len] == '\0'))
			return true;
	return false;
}

/* One look-up inside one request: nothing of the next begins before this one is done. */
static inline void
finish_alone(uint64_t found)
{
#if defined __x86_64__
	__asm__ volatile("lfence" : : "r"(found) : "memory");
#elif defined __aarch64__
	__asm__ volatile("dsb ld\n\tisb" : : "r"(found) : "memory");
#else
	__asm__ volatile("" : : "r"(found) : "memory");
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

static inline void
prefetch(const struct query *q)
{
	for (size_t i = 0; i < sizeof *q; i += 64)
		__builtin_prefetch((const char *)q + i);
}

static uint64_t
ask_block(const struct subject *s, const struct query *q, size_t n, bool alone)
{
	uint64_t found = 0;

	for (size_t i = 0; i < n; i++) {
		prefetch(&q[i + AHEAD]);
		uint64_t policy = s->find(&q[i]);
		if (alone)
			finish_alone(policy);
		found += policy != 0;
	}
	return found;
}

struct outcome {
	int64_t		 ns;
	uint64_t	 asked, found;
};

static struct outcome
ask(const struct subject *s, struct stream *stream, uint64_t n, bool alone)
{
	static _Alignas(64) struct query block[BLOCK + AHEAD];
	struct outcome o = { 0 };
	int64_t (*clock)(void) = s == &subject_postgres ? wall_ns : cpu_ns;

	for (uint64_t size; o.asked < n; o.asked += size) {
		size = n - o.asked < BLOCK ? n - o.asked : BLOCK;
		for (uint64_t i = 0; i < size; i++)
			stream_next(stream, &block[i]);
		int64_t start = clock();
		o.found += ask_block(s, block, size, alone);
		o.ns += clock() - start;
	}
	return o;
}

static bool
finds(enum question q)
{
	return q != QUESTION_MISS && q != QUESTION_WILD_MISS;
}

static void
measure(const struct subject *s, enum question question, const char *distribution, const char *mode, unsigned round)
{
	uint64_t n = (options.lookups + s->slowness - 1) / s->slowness;
	bool is_zipf = strcmp(distribution, "zipf") == 0, alone = strcmp(mode, "alone") == 0;
	struct stream stream;
	struct outcome o;

	stream_init(&stream, &options.load, question, is_zipf, 1 + round);
	ask(s, &stream, n, alone);		/* the caches are this subject's */
	o = ask(s, &stream, n, alone);
	if (!s->is_limit && o.found != (finds(question) ? o.asked : 0)) {
		fprintf(stderr, "bench: %s found %llu of %llu (%s)\n", s->name, (unsigned long long)o.found,
		    (unsigned long long)o.asked, question_names[question]);
		exit(1);
	}
	printf("{\"subject\":\"%s\",\"question\":\"%s\",\"distribution\":\"%s\",\"mode\":\"%s\",\"origins\":%llu,"
	    "\"round\":%u,\"ns\":%.2f}\n", s->name, question_names[question], distribution, mode,
	    (unsigned long long)options.load.origins, round, (double)o.ns / (double)o.asked);
}

static bool
takes_part(const struct subject *s)
{
	return has_word(options.subjects, s->name) &&
	    (s->most_origins == 0 || options.load.origins <= s->most_origins) &&
	    (s != &subject_postgres || options.subject.postgres != NULL);
}

/* Patterns are nothing to the peers; of a skewed and a tight stream both at once nothing new is learnt. */
static bool
is_worth_asking(const struct subject *s, int question, bool is_zipf, bool is_tight)
{
	return question <= QUESTION_MISS ? !(is_zipf && is_tight) : !is_zipf && !is_tight && !s->is_exact && !s->is_limit;
}

static void
measure_round(unsigned round)
{
	static const char *const distributions[] = { "uniform", "zipf" }, *const modes[] = { "alone", "tight" };

	for (int q = 0; q < QUESTION_COUNT; q++)
		for (int d = 0; d < 2; d++)
			for (int m = 0; m < 2; m++)
				for (size_t i = 0; i < NSUBJECTS; i++)
					if (takes_part(subjects[i]) && has_word(options.questions, question_names[q]) &&
					    has_word(options.distributions, distributions[d]) &&
					    has_word(options.modes, modes[m]) && is_worth_asking(subjects[i], q, d == 1, m == 1))
						measure(subjects[i], (enum question)q, distributions[d], modes[m], round);
	fflush(stdout);
}

/* ---- building ---- */

/* What making the rows costs, apart from storing them. */
static int64_t
time_workload(void)
{
	int64_t start = cpu_ns();
	struct query q;

	for (uint64_t i = 0; i < options.load.origins; i++)
		workload_row(&options.load, i, &q);
	return cpu_ns() - start;
}

static void
build(void)
{
	int64_t rows_ns = time_workload();

	for (size_t i = 0; i < NSUBJECTS; i++) {
		const struct subject *s = subjects[i];
		struct stream stream;

		if (!takes_part(s))
			continue;
		int64_t start = wall_ns();
		uint64_t bytes = s->build(&options.load, &options.subject);
		int64_t ns = wall_ns() - start - rows_ns;
		if (bytes == 0)
			continue;	/* reads what another has built */
		if (!s->is_limit)
			printf("{\"build\":\"%s\",\"origins\":%llu,\"seconds\":%.4f,\"bytes\":%llu}\n", s->name,
			    (unsigned long long)options.load.origins, (double)ns / 1e9, (unsigned long long)bytes);
		/* every page is mapped before anything is measured: ten rows of each are asked for */
		stream_init(&stream, &options.load, QUESTION_HIT, false, 0);
		ask(s, &stream, options.load.origins / 5 / s->slowness, false);
	}
	fflush(stdout);
}

static _Noreturn void
usage(void)
{
	fputs("usage: lookup --dir=DIR [--origins=N] [--patterns=N] [--realms=N] [--policies=N] [--lookups=N] [--rounds=N]\n"
	    "    [--subjects=A,B] [--questions=A,B] [--distributions=A,B] [--modes=A,B] [--postgres=CONNINFO]\n", stderr);
	exit(64);
}

static void
parse_options(int argc, char **argv)
{
	static const struct option names[] = {
		{ "dir", 1, NULL, 'd' }, { "origins", 1, NULL, 'n' }, { "patterns", 1, NULL, 'p' },
		{ "realms", 1, NULL, 'r' }, { "policies", 1, NULL, 'P' }, { "lookups", 1, NULL, 'l' },
		{ "rounds", 1, NULL, 'R' }, { "subjects", 1, NULL, 's' }, { "questions", 1, NULL, 'q' },
		{ "distributions", 1, NULL, 'D' }, { "modes", 1, NULL, 'm' }, { "postgres", 1, NULL, 'g' }, { 0 },
	};

	for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;)
		switch (c) {
		case 'd': options.subject.dir = optarg; break;
		case 'n': options.load.origins = strtoull(optarg, NULL, 10); break;
		case 'p': options.load.patterns = strtoull(optarg, NULL, 10); break;
		case 'r': options.load.realms = strtoull(optarg, NULL, 10); break;
		case 'P': options.load.policies = strtoull(optarg, NULL, 10); break;
		case 'l': options.lookups = strtoull(optarg, NULL, 10); break;
		case 'R': options.rounds = (unsigned)strtoul(optarg, NULL, 10); break;
		case 's': options.subjects = optarg; break;
		case 'q': options.questions = optarg; break;
		case 'D': options.distributions = optarg; break;
		case 'm': options.modes = optarg; break;
		case 'g': options.subject.postgres = optarg; break;
		default: usage();
		}
	if (optind != argc || options.subject.dir == NULL || options.load.origins == 0 || options.load.realms == 0 ||
	    options.load.policies == 0 || options.load.policies > 60000 * 2)
		usage();
}

int
main(int argc, char **argv)
{
	parse_options(argc, argv);
	build();
	for (unsigned round = 0; round < options.rounds; round++)
		measure_round(round);
	for (size_t i = 0; i < NSUBJECTS; i++)
		if (takes_part(subjects[i]))
			subjects[i]->close();
	return 0;
}

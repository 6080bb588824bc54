/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * torture -- no answer that was never true, whatever is killed and when.
 *
 * The world is made of groups. Version v of a group says, by a hash, which of
 * its rows exist, what they say, and what its policies contain. A writer
 * process moves groups from one version to the next, by single calls, by
 * table_batch(), or all at once by a whole new table, and keeps in a shared
 * map which version it attempts and which it has done. Reader processes look
 * origins up: each answer must be the one of some version between the last
 * done before the call and the last attempted after it. Any mixture of two
 * versions is a violation.
 *
 * At random (CORSCACHE_SECONDS): the writer is killed every 0.1 to 6 ms and
 * another takes over; readers are killed and stopped. Half of the time every
 * shared load and store may take long (slow.h).
 * Step by step (CORSCACHE_STEPS): the writer is single-stepped by ptrace(2)
 * to any instruction of an operation and killed there; then an attached and a
 * fresh reader check everything, before and after the next writer recovers.
 */
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "tables.h"

enum kind {
	STICKY,		/* one exact row: policy, expiry, refusal and hold change; always there */
	TOGGLE,		/* likewise, and at times absent */
	LADDER,		/* a realm of five rows, narrow to wide, changed in one batch */
	MIXED,		/* likewise, and its own two policies change in the same batch */
	NKINDS
};

#define MAX_GROUPS	1200
#define NRULES		5
#define NPOLICIES	8
#define MAX_PLACES	4096
#define MAX_VERSIONS	4000	/* a reader that slept longer than that is not checked */

struct group {
	_Atomic uint64_t attempted, done;
};

/* Shared by all processes. */
struct world {
	struct group	 all;		/* odd: everything is held; only a whole table lifts it */
	struct group	 groups[MAX_GROUPS];
	_Atomic uint64_t operations, commits, recoveries, lookups, rows, listings, refused_meanwhile, errors, restless, unchecked;
	_Atomic uint64_t violations;
	char		 first[1024];	/* violation, in words */
	_Atomic unsigned hot;		/* the group that the writer is at */
	_Atomic int	 stop;
	volatile bool	 places[MAX_PLACES];
	volatile int	 slow;	/* not atomic: slow() is what atomics call */
};

static struct world *world;
static unsigned ngroups[NKINDS];	/* of each kind, in this order in groups[] */
static unsigned total;
static char base[PATH_MAX];
static uint64_t seed;

static const char *const ladder[NRULES] = {
	"https://x.a.test", "https://x.a.test:*", "https://*.a.test", "https://*.test:*", "*",
};
static const struct query {
	const char	*origin;
	bool		 matches[NRULES];
} queries[] = {
	{ "https://x.a.test", { true, true, true, true, true } },
	{ "https://y.a.test", { false, false, true, true, true } },
	{ "https://x.a.test:8443", { false, true, false, true, true } },
	{ "https://y.test:1", { false, false, false, true, true } },
};
#define NQUERIES	4

static _Thread_local bool may_die;	/* the writer, once it has taken over */

static unsigned
place_number(void *here)
{
	return (unsigned)((uint64_t)(uintptr_t)here * 0x9e3779b97f4a7c15u >> 32) % MAX_PLACES;
}

/*
 * One place at a time, where the process is or any that some process has
 * passed, holds it up whenever it is there, or ends the writer; all others
 * stay quick.
 */
void __attribute__((noinline))
slow(void)
{
	static _Thread_local uint64_t state;
	static _Thread_local unsigned patience, place;
	unsigned here;

	if (world == NULL || !world->slow)
		return;
	here = place_number(__builtin_return_address(0));
	world->places[here] = true;
	if (state == 0)
		state = seed ^ (uint64_t)getpid() << 32;
	if (patience == 0 || --patience == 0) {
		for (place = here; below(&state, 2) == 0 || !world->places[place];)
			place = below(&state, MAX_PLACES);
		patience = 1 + below(&state, 4000);
	}
	if (here == place) {
		patience -= patience / 16;
		usleep(below(&state, 150));
		if (may_die && below(&state, 8) == 0)
			kill(getpid(), SIGKILL);
	}
}

/* ---- what a version says ---- */

static uint64_t
mix(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t state = a * 0x9e3779b97f4a7c15u ^ b * 0xc2b2ae3d27d4eb4fu ^ c * 0x165667b19e3779f9u;

	return next_random(&state);
}

static enum kind
kind_of(unsigned g)
{
	enum kind k = STICKY;

	for (; g >= ngroups[k]; k++)
		g -= ngroups[k];
	return k;
}

/* A row as a version of its group has it. */
struct says {
	bool		 there, held, allow;
	unsigned	 policy;
	int64_t		 expires_at;
};

static struct says
row_says(unsigned g, unsigned rule, uint64_t version)
{
	enum kind kind = kind_of(g);
	uint64_t h = mix(g, rule, kind <= TOGGLE ? version : version >> rule % 3);

	if (kind <= TOGGLE)
		return (struct says){ .there = version > 0 && (kind == STICKY || version % 4 != 0),
			.held = kind == STICKY && version % 8 == 5, .allow = h % 5 != 0, .policy = (h >> 8) % NPOLICIES,
			.expires_at = version % 3 == 0 ? ROW_NEVER : NOW + 1 + (int64_t)(version % 1000) };
	return (struct says){ .there = version > 0 && h % 3 != 0, .allow = (h >> 8) % 3 != 0,
		.policy = (h >> 16) % (kind == MIXED ? 2 : NPOLICIES) };
}

static unsigned
policy_says(unsigned g, unsigned policy, uint64_t version)
{
	return (unsigned)(mix(g, 77 + policy, version >> policy) % 1000);
}

static void
policy_name(char name[32], unsigned g, unsigned policy)
{
	if (kind_of(g) == MIXED)
		snprintf(name, 32, "m%u.%u", g, policy);
	else
		snprintf(name, 32, "p%u", policy);
}

static void
policy_method(char method[32], unsigned g, unsigned policy, uint64_t version)
{
	if (kind_of(g) == MIXED)
		snprintf(method, 32, "V%u", policy_says(g, policy, version));
	else
		snprintf(method, 32, "G%u", policy);
}

static void
names(unsigned g, unsigned rule, char realm[32], char origin[64])
{
	bool single = kind_of(g) <= TOGGLE;

	snprintf(realm, 32, single ? "%.0u" : "r%u", single ? 0 : g);
	if (single)
		snprintf(origin, 64, "https://s%u.example", g);
	else
		snprintf(origin, 64, "%s", ladder[rule]);
}

/* ---- the writer ---- */

static void
attempt(struct group *g)
{
	atomic_fetch_add(&g->attempted, 1);
}

static void
finish(struct group *g)
{
	atomic_store(&g->done, atomic_load(&g->attempted));
}

static struct row
make_row(unsigned g, unsigned rule, const struct says *s, char realm[32], char origin[64], char policy[32])
{
	names(g, rule, realm, origin);
	policy_name(policy, g, s->policy);
	return (struct row){ .realm = span(realm), .origin = span(origin), .policy = span(policy), .allow = s->allow,
		.expires_at = s->expires_at };
}

static int
apply_single(struct table *t, unsigned g, uint64_t version)
{
	char realm[32], origin[64], policy[32];
	struct says s = row_says(g, 0, version);
	struct row row = make_row(g, 0, &s, realm, origin, policy);
	int error;

	if (!s.there)
		return (error = table_remove(t, row.realm, row.origin)) == -ENOENT ? 0 : error;
	if (s.held)
		return table_hold(t, row.realm, row.origin) == 1 ? 0 : -EIO;
	return table_put(t, &row);
}

/* from == UINT64_MAX: whatever stands there now. */
static int
apply_batch(struct table *t, unsigned g, uint64_t from, uint64_t version)
{
	char realm[NRULES][32], origin[NRULES][64], policy[NRULES][32], name[2][32], method[2][32];
	struct change changes[NRULES];
	struct policy_row policies[2];
	struct span methods[2];
	unsigned n = 0, npolicies = 0;

	for (unsigned i = 0; i < NRULES; i++) {
		struct says s = row_says(g, i, version), old = row_says(g, i, from);
		if (from == UINT64_MAX || memcmp(&s, &old, sizeof(s)) != 0) {
			changes[n] = (struct change){ .row = make_row(g, i, &s, realm[n], origin[n], policy[n]), .gone = !s.there };
			n++;
		}
	}
	for (unsigned i = 0; kind_of(g) == MIXED && i < 2; i++)
		if (from == UINT64_MAX || policy_says(g, i, from) != policy_says(g, i, version)) {
			policy_name(name[i], g, i);
			policy_method(method[i], g, i, version);
			methods[i] = span(method[i]);
			policies[npolicies++] = policy_row(name[i], &methods[i], false);
		}
	return table_batch(t, changes, n, policies, npolicies, NULL, 0);
}

static int
apply(struct table *t, unsigned g, uint64_t from, uint64_t version)
{
	return kind_of(g) <= TOGGLE ? apply_single(t, g, version) : apply_batch(t, g, from, version);
}

static void
check_error(int error, const char *what)
{
	if (error != 0)
		die("torture: %s: %s", what, strerror(-error));
}

/* Every group's attempted version into a fresh table. */
static void
fill(struct table *t)
{
	char name[32], method[32];

	for (unsigned i = 0; i < NPOLICIES; i++) {
		policy_name(name, 0, i);
		policy_method(method, 0, i, 0);
		check_error(put_policy(t, name, method, false), "policy put");
	}
	for (unsigned g = 0; g < total; g++) {
		uint64_t version = atomic_load(&world->groups[g].attempted);
		if (kind_of(g) <= TOGGLE && row_says(g, 0, version).held)
			check_error(apply_single(t, g, version - 1), "put");
		check_error(apply(t, g, UINT64_MAX, version), "fill");
	}
}

/* A whole table in which every group is one version on; lifts the hold on everything. */
static void
commit(struct writer *w, uint64_t *random)
{
	struct table *t;
	bool lifts = atomic_load(&world->all.attempted) != atomic_load(&world->all.done);

	for (unsigned g = 0; g < total; g++)
		if (atomic_load(&world->groups[g].attempted) == atomic_load(&world->groups[g].done))
			attempt(&world->groups[g]);
	check_error(writer_begin(w, below(random, 4) == 0 ? 200000 : 1000, &t), "begin");
	fill(t);
	if (!lifts && writer_table(w) != NULL && below(random, 4) == 0) {
		writer_abort(w, &t);
		for (unsigned g = 0; g < total; g++)	/* one by one, then */
			check_error(apply(writer_table(w), g, UINT64_MAX, atomic_load(&world->groups[g].attempted)), "apply");
	} else {
		check_error(writer_commit(w, &t), "commit");
	}
	finish(&world->all);	/* first: a group that is done under a hold is not done by a commit */
	for (unsigned g = 0; g < total; g++)
		finish(&world->groups[g]);
	atomic_fetch_add(&world->commits, 1);
}

/* What the killed one attempted is done again, whole. */
static void
recover(struct writer *w, uint64_t *random)
{
	uint64_t all = atomic_load(&world->all.attempted);

	if (writer_table(w) == NULL || (all != atomic_load(&world->all.done) && all % 2 == 0)) {
		commit(w, random);
		return;
	}
	if (all != atomic_load(&world->all.done)) {
		check_error(writer_hold_all(w), "hold all");
		finish(&world->all);
	}
	for (unsigned g = 0; all % 2 == 0 && g < total; g++)
		if (atomic_load(&world->groups[g].attempted) != atomic_load(&world->groups[g].done)) {
			uint64_t version = atomic_load(&world->groups[g].attempted);
			check_error(apply(writer_table(w), g, UINT64_MAX, version), "recover");
			finish(&world->groups[g]);
			atomic_fetch_add(&world->recoveries, 1);
		}
}

static void
operate(struct writer *w, uint64_t *random)
{
	unsigned single = ngroups[STICKY] + ngroups[TOGGLE], what = below(random, 3000);
	unsigned g = below(random, 2) ? below(random, single) : single + below(random, total - single);
	uint64_t version = atomic_load(&world->groups[g].done);

	if (atomic_load(&world->all.attempted) % 2 != 0) {	/* held: only a whole table may follow */
		attempt(&world->all);
		commit(w, random);
	} else if (what == 0) {
		attempt(&world->all);
		check_error(writer_hold_all(w), "hold all");
		finish(&world->all);
	} else if (what == 1) {
		commit(w, random);
	} else {
		atomic_store(&world->hot, g);
		attempt(&world->groups[g]);
		check_error(apply(writer_table(w), g, version, version + 1), "apply");
		finish(&world->groups[g]);
	}
	atomic_fetch_add(&world->operations, 1);
}

static struct writer *
take_over(uint64_t *random)
{
	struct writer *w = open_writer(base, 1u << below(random, 5));

	recover(w, random);
	return w;
}

static void __attribute__((noreturn))
writer_main(uint64_t random)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	struct writer *w = take_over(&random);

	may_die = true;
	for (unsigned n = 0; !atomic_load(&world->stop); n++) {
		operate(w, &random);
		if (n % 16 == 0)
			check_error(writer_tick(w), "tick");
	}
	_exit(0);
}

/* ---- the readers ---- */

/* What a look-up must say at a version; "" = no row. */
static void
expect(unsigned g, unsigned query, uint64_t version, char *buf, size_t cap)
{
	enum kind kind = kind_of(g);
	char realm[32], origin[64], method[32];
	unsigned rule = 0;
	struct says s = row_says(g, 0, version);

	if (kind > TOGGLE)
		while (rule < NRULES && !(queries[query].matches[rule] && (s = row_says(g, rule, version)).there))
			rule++;
	if (rule == NRULES || !s.there) {
		buf[0] = '\0';
		return;
	}
	if (s.held)			/* the row of the version before, held */
		s = row_says(g, rule, version - 1), s.held = true;
	names(g, rule, realm, origin);
	policy_method(method, g, s.policy, version);
	snprintf(buf, cap, "%s %s %lld", origin, s.held ? "held" : s.allow ? method : "refuses", (long long)s.expires_at);
}

static void
describe(const struct found *f, char *buf, size_t cap)
{
	if (f->match.state == MATCH_NONE)
		buf[0] = '\0';
	else
		snprintf(buf, cap, "%s %s %lld", f->row, f->match.held ? "held" : f->match.refuses ? "refuses" : f->methods,
		    (long long)f->match.expires_at);
}

static void
violation(unsigned g, unsigned query, const char *got, uint64_t from, uint64_t to, uint64_t all_from, uint64_t all_to)
{
	char want[2][256];

	expect(g, query, from, want[0], sizeof(want[0]));
	expect(g, query, to, want[1], sizeof(want[1]));
	if (atomic_fetch_add(&world->violations, 1) == 0)
		snprintf(world->first, sizeof(world->first), "group %u kind %d query %u: got \"%s\"; version %llu is \"%s\", "
		    "version %llu is \"%s\"; all %llu..%llu", g, kind_of(g), query, got, (unsigned long long)from, want[0],
		    (unsigned long long)to, want[1], (unsigned long long)all_from, (unsigned long long)all_to);
}

static void
check_answer(unsigned g, unsigned query, const struct found *f, uint64_t from, uint64_t to, uint64_t all_from,
    uint64_t all_to)
{
	char got[1600], want[256];
	bool all_held = f->match.state == MATCH_ROW && f->match.held && f->match.form == RULE_ANY;

	describe(f, got, sizeof(got));
	if (all_held) {
		if (all_from == all_to && all_from % 2 == 0)
			violation(g, query, got, from, to, all_from, all_to);
		return;
	}
	if (all_from == all_to && all_from % 2 != 0)
		violation(g, query, got, from, to, all_from, all_to);
	/* was held when the look-up began, is not now: so this is the new table, one version on */
	if (all_from % 2 != 0)
		from++;
	if (to - from > MAX_VERSIONS && to >= from) {
		atomic_fetch_add(&world->unchecked, 1);
		return;
	}
	for (uint64_t version = from; version <= to; version++) {
		expect(g, query, version, want, sizeof(want));
		if (strcmp(got, want) == 0)
			return;
	}
	if (kind_of(g) == MIXED && f->match.refuses && from < to)
		atomic_fetch_add(&world->refused_meanwhile, 1);
	else
		violation(g, query, got, from, to, all_from, all_to);
}

static void
look_up(struct reader *r, unsigned g, unsigned query)
{
	char realm[32], origin[64];
	struct found f;

	names(g, 0, realm, origin);
	uint64_t from = atomic_load(&world->groups[g].done), all_from = atomic_load(&world->all.done);
	bool still = find_at(r, realm, kind_of(g) <= TOGGLE ? origin : queries[query].origin, NOW, &f);
	uint64_t all_to = atomic_load(&world->all.attempted), to = atomic_load(&world->groups[g].attempted);
	atomic_fetch_add_explicit(&world->lookups, 1, memory_order_relaxed);
	if (!still)
		atomic_fetch_add(&world->restless, 1);
	else if (f.match.state == MATCH_ERROR)
		atomic_fetch_add(&world->errors, 1);
	else if (f.match.state == MATCH_NOT_READY)
		violation(g, query, "not ready", from, to, all_from, all_to);
	else {
		check_answer(g, query, &f, from, to, all_from, all_to);
		if (f.match.state == MATCH_ROW)
			atomic_fetch_add_explicit(&world->rows, 1, memory_order_relaxed);
	}
}

static int
count_sticky(const struct row *row, void *arg)
{
	unsigned char *seen = arg;
	char origin[64];

	copy_text(origin, sizeof(origin), row->origin);
	if (row->realm.len == 0 && strncmp(origin, "https://s", 9) == 0) {
		unsigned g = (unsigned)strtoul(origin + 9, NULL, 10);
		if (g < total && seen[g] < UINT8_MAX)
			seen[g]++;
	}
	return 0;
}

/* A row that was there throughout is told once. */
static void
list(struct reader *r)
{
	unsigned char seen[MAX_GROUPS] = { 0 };
	struct span realm = { "", 0 };

	if (reader_each(r, &realm, count_sticky, seen) != 0)
		return;			/* another table, or never still */
	atomic_fetch_add(&world->listings, 1);
	for (unsigned g = 0; g < ngroups[STICKY]; g++)
		if (seen[g] != 1) {
			violation(g, 0, seen[g] == 0 ? "not listed" : "listed twice", 1, 1, 0, 0);
			return;
		}
}

static void __attribute__((noreturn))
reader_main(uint64_t random)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	struct reader *r = open_reader(base);

	if (nice(5) == -1)	/* the writer is to get on */
		_exit(1);
	while (!atomic_load(&world->stop)) {
		for (int i = 0; i < 256; i++)
			look_up(r, below(&random, 2) ? atomic_load(&world->hot) : below(&random, total), below(&random, NQUERIES));
		if (below(&random, 4) == 0)
			list(r);
		if (below(&random, 10) == 0) {
			reader_close(&r);
			r = open_reader(base);
		}
	}
	_exit(0);
}

/* ---- at random ---- */

static pid_t
start(void (*body)(uint64_t), uint64_t *random)
{
	uint64_t own = next_random(random);
	pid_t pid = fork();

	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (pid == 0)
		body(own);
	return pid;
}

/* True if it was our signal that ended it, or its own end in peace. */
static bool
ended_well(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return false;
	return WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0;
}

#define NREADERS	2

static bool
torture_at_random(double for_s)
{
	uint64_t random = seed, writer_kills = 0, reader_kills = 0, stops = 0;
	pid_t readers[NREADERS];
	bool good = true;

	for (int i = 0; i < NREADERS; i++)
		readers[i] = start(reader_main, &random);
	for (double now, begin = seconds(); good && (now = seconds() - begin) < for_s && world->violations == 0;) {
		world->slow = now > for_s / 2;
		pid_t writer = start(writer_main, &random);
		unsigned at = below(&random, NREADERS);
		bool stop = below(&random, 3) == 0;
		if (stop)
			kill(readers[at], SIGSTOP), stops++;
		usleep(100 + below(&random, below(&random, 8) == 0 ? 60000 : 6000));
		kill(writer, SIGKILL);
		good = ended_well(writer);
		writer_kills++;
		if (stop)
			kill(readers[at], SIGCONT);
		if (below(&random, 20) == 0) {
			kill(readers[at], SIGKILL);
			good = ended_well(readers[at]) && good;
			reader_kills++;
			readers[at] = start(reader_main, &random);
		}
	}
	atomic_store(&world->stop, 1);
	for (int i = 0; i < NREADERS; i++)
		good = ended_well(readers[i]) && good;
	atomic_store(&world->stop, 0);
	world->slow = 0;
	printf("at random: %llu writers killed, %llu readers killed, %llu stopped; ", (unsigned long long)writer_kills,
	    (unsigned long long)reader_kills, (unsigned long long)stops);
	return good;
}

/* ---- step by step ---- */

static void __attribute__((noreturn))
stepped_main(uint64_t random)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	struct writer *w = take_over(&random);

	operate(w, &random);	/* binds what is bound lazily */
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
		_exit(77);
	raise(SIGSTOP);
	for (int i = 0; i < 3; i++)
		operate(w, &random);
	check_error(writer_tick(w), "tick");
	_exit(0);
}

static void
check_everything(struct reader *r)
{
	for (unsigned g = 0; g < total; g++)
		for (unsigned q = 0; q < (kind_of(g) <= TOGGLE ? 1 : NQUERIES); q++)
			look_up(r, g, q);
}

/* Runs a stopped child for so many instructions; false: it ended before. */
static bool
step(pid_t pid, uint64_t steps)
{
	int status;

	for (; steps > 0; steps--) {
		if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0 || waitpid(pid, &status, __WALL) != pid)
			die("ptrace: %s", strerror(errno));
		if (!WIFSTOPPED(status))
			return false;
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, __WALL);
	return true;
}

static bool
torture_step_by_step(uint64_t iterations)
{
	struct reader *attached = open_reader(base), *fresh;
	uint64_t random = seed ^ 1, killed = 0, steps = 0;
	int status;

	for (uint64_t i = 0; i < iterations && atomic_load(&world->violations) == 0; i++) {
		pid_t pid = start(stepped_main, &random);
		if (waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status)) {
			if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
				fprintf(stderr, "SKIP: no ptrace here: nothing is killed step by step\n");
				break;
			}
			return false;
		}
		uint64_t n = 1 + below(&random, 1u << (6 + below(&random, 10)));
		killed += step(pid, n);
		steps += n;
		check_everything(attached);
		fresh = open_reader(base);
		check_everything(fresh);
		struct writer *w = take_over(&random);
		check_everything(attached);
		check_everything(fresh);
		reader_close(&fresh);
		writer_close(&w);
	}
	reader_close(&attached);
	printf("step by step: %llu killed after %llu instructions; ", (unsigned long long)killed,
	    (unsigned long long)steps);
	return true;
}

/* ---- both ---- */

static void
begin_world(unsigned sticky, unsigned toggle, unsigned ladders, unsigned mixed)
{
	uint64_t random = seed;

	ngroups[STICKY] = sticky;
	ngroups[TOGGLE] = toggle;
	ngroups[LADDER] = ladders;
	ngroups[MIXED] = mixed;
	total = sticky + toggle + ladders + mixed;
	memset(world, 0, sizeof(*world));
	make_directory(base);
	struct writer *w = take_over(&random);
	writer_close(&w);
}

static bool
end_world(bool good)
{
	printf("%llu operations, %llu whole tables, %llu recovered, %llu look-ups, %llu rows, %llu listings, "
	    "%llu refused meanwhile, %llu errors, %llu never still, %llu unchecked, %llu VIOLATIONS\n", (unsigned long long)world->operations,
	    (unsigned long long)world->commits, (unsigned long long)world->recoveries,
	    (unsigned long long)world->lookups, (unsigned long long)world->rows, (unsigned long long)world->listings,
	    (unsigned long long)world->refused_meanwhile, (unsigned long long)world->errors,
	    (unsigned long long)world->restless, (unsigned long long)world->unchecked,
	    (unsigned long long)world->violations);
	if (!good || world->violations != 0 || world->errors != 0)
		fprintf(stderr, "torture: CORSCACHE_SEED=%llu: %s\n", (unsigned long long)seed,
		    world->violations != 0 ? world->first : good ? "errors" : "a process died of itself");
	remove_directory(base);
	return good && world->violations == 0 && world->errors == 0;
}

int
main(void)
{
	bool good;

	setvbuf(stdout, NULL, _IONBF, 0);
	seed = random_seed();
	world = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (world == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	begin_world(400, 400, 150, 100);
	good = end_world(torture_at_random((double)setting("CORSCACHE_SECONDS", 10)));
	begin_world(8, 8, 6, 6);
	good = end_world(torture_step_by_step(setting("CORSCACHE_STEPS", 60))) && good;
	return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

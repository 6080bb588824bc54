/* SPDX-License-Identifier: BSD-2-Clause */
#include "workload.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ZIPF		0.99
#define PATTERN_REALMS	10

const char *const question_names[QUESTION_COUNT] = { "hit", "miss", "wild1", "wild4", "wild20", "deep20", "wildmiss" };

/* splitmix64 */
uint64_t
random_next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

int64_t
wall_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t
cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void
die(const char *what, int error)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(error < 0 ? -error : error));
	exit(1);
}

static char *
add_label(char *p, uint64_t random, unsigned shortest, unsigned longest, unsigned letters)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	unsigned len = shortest + (unsigned)(random >> 56) % (longest - shortest + 1);

	*p++ = alphabet[random % 26];
	for (unsigned i = 1; i < len; i++)
		*p++ = alphabet[((random = random * 0xd1342543de82ef95u + 1) >> 33) % letters];
	return p;
}

static char *
add_site(char *p, uint64_t *state)
{
	static const char *const suffixes[] = { "com", "net", "org", "io", "co.uk", "app", "dev", "com.br", "de", "shop" };

	p = add_label(p, random_next(state), 5, 14, 26);
	*p++ = '.';
	return stpcpy(p, suffixes[random_next(state) % 10]);
}

static char *
add_scheme(char *p, uint64_t random)
{
	return stpcpy(p, random % 100 < 92 ? "https://" : "http://");
}

static void
finish(struct query *q, const char *end)
{
	q->key_len = (uint16_t)(end - q->key);
	if (origin_parse(&q->parsed, query_origin(q).at, query_origin(q).len) != ORIGIN_OK)
		q->parsed.text = (struct span){ NULL, 0 };	/* a pattern */
}

static char *
begin(struct query *q, const char *prefix, uint64_t realm)
{
	int n = realm == 0 && *prefix == 't' ? 0 : snprintf(q->key, sizeof q->key, "%s%u", prefix, (unsigned)realm);

	q->realm_len = (uint16_t)n;
	q->key[n] = KEY_SEPARATOR;
	return q->key + n + 1;
}

void
workload_row(const struct workload *w, uint64_t i, struct query *q)
{
	uint64_t state = i * 0xd1342543de82ef95u + 0x1234567, random = random_next(&state);
	char *p = add_scheme(begin(q, "tenant-", random % w->realms), random >> 32);

	p = add_label(p, random_next(&state), 5, 12, 36);
	*p++ = '.';
	p = add_site(p, &state);
	random = random_next(&state);
	if (random % 100 < 8)
		p += sprintf(p, ":%u", 1024 + (unsigned)(random >> 8) % 60000);
	*p = '\0';
	finish(q, p);
}

/* The suffix of pattern i; one in a hundred is 20 labels deep. */
static bool
is_deep(uint64_t i)
{
	return i % 100 == 0;
}

static char *
add_suffix(char *p, uint64_t i)
{
	uint64_t state = i * 0x9e3779b97f4a7c15u + 0x7654321;

	if (!is_deep(i))
		return add_site(p, &state);
	for (int label = 0; label < 18; label++) {
		p = add_label(p, random_next(&state), 2, 6, 26);
		*p++ = '.';
	}
	return stpcpy(add_label(p, random_next(&state), 5, 14, 26), ".com");
}

static void
below_suffix(uint64_t i, const char *labels, struct query *q)
{
	bool deep = is_deep(i);
	char *p = begin(q, deep ? "deep-" : "wild-", i % PATTERN_REALMS);

	p = stpcpy(stpcpy(p, "https://"), labels);
	p = add_suffix(p, i);
	*p = '\0';
	finish(q, p);
}

void
workload_pattern(const struct workload *w, uint64_t i, struct query *q)
{
	(void)w;
	below_suffix(i, "*.", q);
}

void
workload_policy_name(uint64_t i, char name[32])
{
	snprintf(name, 32, "policy-%u", (unsigned)i);
}

void
stream_init(struct stream *s, const struct workload *w, enum question question, bool is_zipf, uint64_t seed)
{
	static uint64_t known_n;
	static double known_zeta;
	double zeta2 = 1 + pow(0.5, ZIPF);

	*s = (struct stream){ .w = w, .question = question, .is_zipf = is_zipf, .state = seed };
	if (!is_zipf)
		return;
	if (known_n != w->origins) {
		known_zeta = 0;
		for (uint64_t i = 1; i <= w->origins; i++)
			known_zeta += pow((double)i, -ZIPF);
		known_n = w->origins;
	}
	s->zeta = known_zeta;
	s->eta = (1 - pow(2.0 / (double)w->origins, 1 - ZIPF)) / (1 - zeta2 / s->zeta);
}

/* Gray et al., "Quickly generating billion-record synthetic databases"; ranks are spread over the rows. */
static uint64_t
zipf_next(struct stream *s)
{
	double n = (double)s->w->origins, u = (double)(random_next(&s->state) >> 11) * 0x1p-53, uz = u * s->zeta;
	uint64_t rank = uz < 1 ? 0 : uz < 1 + pow(0.5, ZIPF) ? 1 : (uint64_t)(n * pow(s->eta * u - s->eta + 1, 1 / (1 - ZIPF)));

	return (uint64_t)((unsigned __int128)rank * 2654435761u % s->w->origins);
}

static uint64_t
pattern_next(struct stream *s, bool deep)
{
	uint64_t i = random_next(&s->state) % s->w->patterns;

	if (deep)
		return i / 100 * 100;
	return is_deep(i) ? i + 1 : i;
}

void
stream_next(struct stream *s, struct query *q)
{
	static const char many[] = "a0.b1.c2.d3.e4.f5.g6.h7.i8.j9.k0.l1.m2.n3.o4.p5.q6.r7.s8.t9.";
	uint64_t i = s->is_zipf ? zipf_next(s) : random_next(&s->state) % s->w->origins;

	switch (s->question) {
	case QUESTION_HIT:
		workload_row(s->w, i, q);
		break;
	case QUESTION_MISS:
		workload_row(s->w, i + (1ull << 40), q);
		break;
	case QUESTION_WILD_1:
		below_suffix(pattern_next(s, false), many + 57, q);
		break;
	case QUESTION_WILD_4:
		below_suffix(pattern_next(s, false), many + 48, q);
		break;
	case QUESTION_WILD_20:
		below_suffix(pattern_next(s, false), many, q);
		break;
	case QUESTION_DEEP_20:
		below_suffix(pattern_next(s, true), many + 57, q);
		break;
	default:
		below_suffix(pattern_next(s, false) * 100 + (1ull << 40) + 1, many + 57, q);
		break;
	}
}

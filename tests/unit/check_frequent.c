/* SPDX-License-Identifier: BSD-2-Clause */
#include "frequent.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "count.h"
#include "run.h"

#define STRANGERS	1000000
#define REGULARS	20
#define NOW		INT64_C(1700000000)

static struct frequent_list list;
static struct frequent f;

static void
setup(void)
{
	memset(&list, 0, sizeof list);
	list.key[0] = 1;
	list.key[1] = 2;
	frequent_open(&f, &list, 3);
}

static struct span
text(const char *s)
{
	return (struct span){ s, strlen(s) };
}

static void
come(const char *origin, int64_t now_s)
{
	frequent_count(&f, &(struct frequent_key){ .origin = text(origin), .reason = 5 }, now_s);
}

static bool
find(const char *origin, struct frequent_item *item)
{
	unsigned i;

	for (i = 0; i < FREQUENT_ENTRIES; i++)
		if (frequent_read(&list, i, item) && item->origin_len == strlen(origin) &&
		    memcmp(item->origin, origin, item->origin_len) == 0)
			return true;
	return false;
}

/* The counts on the list and the others. */
static uint64_t
total(void)
{
	struct frequent_item item;
	uint64_t sum = frequent_others(&list);
	unsigned i;

	for (i = 0; i < FREQUENT_ENTRIES; i++)
		if (frequent_read(&list, i, &item))
			sum += item.count;
	return sum;
}

/* The one who counts shares the list with whoever may write to the file. */
START_TEST(any_number_in_the_list_is_safe_to_go_on_with)
{
	static const uint64_t extremes[] = { 0, 1, UINT64_C(1) << 48, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX };
	struct frequent_item item;
	char origin[32];

	for (size_t k = 0; k < sizeof extremes / sizeof extremes[0]; k++) {
		setup();
		for (int i = 0; i < 200; i++) {
			for (unsigned e = 0; e < FREQUENT_ENTRIES; e++) {
				list.entry[e].count = list.entry[e].weight = list.entry[e].missed = extremes[k];
				list.entry[e].first_s = list.entry[e].last_s = extremes[k];
			}
			list.others = extremes[k];
			snprintf(origin, sizeof origin, "https://o%d.example", i);
			come(origin, NOW + i / 2);
			for (unsigned e = 0; e < FREQUENT_ENTRIES; e++)
				if (frequent_read(&list, e, &item))
					ck_assert(item.count < COUNT_END && item.missed < COUNT_END &&
					    item.first_s >= 0 && item.last_s >= 0);
			ck_assert_uint_lt(frequent_others(&list), COUNT_END);
		}
	}
}
END_TEST

START_TEST(a_key_is_counted_exactly)
{
	struct frequent_item item;
	int i;

	for (i = 0; i < 1000; i++)
		come("https://a.example", NOW + i);
	ck_assert(find("https://a.example", &item));
	ck_assert_uint_eq(item.count, 1000);
	ck_assert_uint_eq(item.missed, 0);
	ck_assert_int_eq(item.first_s, NOW);
	ck_assert_int_eq(item.last_s, NOW + 999);
	ck_assert_uint_eq(item.reason, 5);
	ck_assert_uint_eq(item.realm_len, 0);
	ck_assert_uint_eq(total(), 1000);
}
END_TEST

START_TEST(realm_origin_and_reason_make_a_key)
{
	static const struct { const char *realm, *origin; unsigned reason; } keys[] = {
		{ "", "b", 1 }, { "b", "", 1 }, { "a", "b", 1 }, { "b", "a", 1 }, { "a", "b", 2 }, { "ab", "", 1 },
		{ "", "ab", 1 }, { "", "", 1 }, { "", "", 0 },
	};
	const size_t n = sizeof keys / sizeof keys[0];
	struct frequent_item item;
	size_t i, turn;

	for (turn = 0; turn < 3; turn++)
		for (i = 0; i < n; i++)
			frequent_count(&f, &(struct frequent_key){ text(keys[i].realm), text(keys[i].origin),
			    keys[i].reason }, NOW);
	ck_assert_uint_eq(f.used, n);
	for (i = 0; i < n; i++) {
		ck_assert(frequent_read(&list, (unsigned)i, &item));
		ck_assert_uint_eq(item.count, 3);
		ck_assert_uint_eq(item.reason, keys[i].reason);
		ck_assert_mem_eq(item.realm, keys[i].realm, item.realm_len);
		ck_assert_mem_eq(item.origin, keys[i].origin, item.origin_len);
	}
	ck_assert(!frequent_read(&list, (unsigned)n, &item));
}
END_TEST

/*
 * A million origins that come once each, at any speed, and among them twenty
 * that come a thousand times each: all twenty are shown, and nearly whole.
 */
static const int64_t speeds[] = { 100000, 1000, 50 };	/* a second */

START_TEST(strangers_do_not_push_out_regulars)
{
	struct frequent_item item;
	char origin[64];
	int i;

	frequent_open(&f, &list, (uint64_t)_i + 12345);
	for (i = 0; i < STRANGERS; i++) {
		snprintf(origin, sizeof origin, "https://o%d.attacker.example", i);
		come(origin, NOW + i / speeds[_i]);
		if (i % (STRANGERS / 1000 / REGULARS) == 0) {
			snprintf(origin, sizeof origin, "https://r%d.example", i / (STRANGERS / 1000 / REGULARS) % REGULARS);
			come(origin, NOW + i / speeds[_i]);
		}
	}
	ck_assert_uint_eq(total(), STRANGERS + 1000 * REGULARS);
	for (i = 0; i < REGULARS; i++) {
		snprintf(origin, sizeof origin, "https://r%d.example", i);
		ck_assert_msg(find(origin, &item), "%s was pushed out", origin);
		ck_assert_msg(item.count > 200, "%s: %" PRIu64, origin, item.count);
		ck_assert_uint_le(item.count, 1000);
		ck_assert_uint_ge(item.count + item.missed, 1000);	/* the bound is honest */
	}
}
END_TEST

/* Those who were there first stay whole: nothing of them is missed. */
START_TEST(a_flood_takes_nothing_from_who_is_there)
{
	struct frequent_item item;
	char origin[64];
	int i;

	for (i = 0; i < REGULARS * 1000; i++) {
		snprintf(origin, sizeof origin, "https://r%d.example", i % REGULARS);
		come(origin, NOW);
	}
	for (i = 0; i < STRANGERS; i++) {
		snprintf(origin, sizeof origin, "https://o%d.attacker.example", i);
		come(origin, NOW + 1 + i / 100000);
	}
	for (i = 0; i < REGULARS; i++) {
		snprintf(origin, sizeof origin, "https://r%d.example", i);
		ck_assert_msg(find(origin, &item), "%s was pushed out", origin);
		ck_assert_uint_eq(item.count, 1000);
		ck_assert_uint_eq(item.missed, 0);
	}
}
END_TEST

START_TEST(what_does_not_come_any_more_gives_way)
{
	struct frequent_item item;
	char origin[64];
	int i;

	for (i = 0; i < FREQUENT_ENTRIES * 1000; i++) {
		snprintf(origin, sizeof origin, "https://old%d.example", i % FREQUENT_ENTRIES);
		come(origin, NOW);
	}
	come("https://new.example", NOW + 11 * FREQUENT_HALF_LIFE_S);
	ck_assert(find("https://new.example", &item));
	ck_assert_uint_eq(item.count, 1);
	ck_assert_uint_eq(item.missed, 1000);	/* the place was another's, whose count it is */
	ck_assert_uint_eq(total(), FREQUENT_ENTRIES * 1000 + 1);
}
END_TEST

START_TEST(a_clock_that_goes_back_does_no_harm)
{
	struct frequent_item item;

	come("https://a.example", NOW);
	come("https://a.example", NOW - 100000);
	come("https://a.example", 0);
	ck_assert(find("https://a.example", &item));
	ck_assert_uint_eq(item.count, 3);
}
END_TEST

START_TEST(long_bytes_are_cut)
{
	static char realm[1000], origin[100000];
	struct frequent_item item;

	memset(realm, 'r', sizeof realm);
	memset(origin, 'o', sizeof origin);
	frequent_count(&f, &(struct frequent_key){ { realm, sizeof realm }, { origin, sizeof origin }, 1 }, NOW);
	ck_assert(frequent_read(&list, 0, &item));
	ck_assert_uint_eq(item.realm_len, sizeof realm);
	ck_assert_uint_eq(item.origin_len, sizeof origin);
	ck_assert_mem_eq(item.realm, realm, sizeof item.realm);
	ck_assert_mem_eq(item.origin, origin, sizeof item.origin);
	origin[300] = 'x';		/* cut to the same, and yet another key */
	frequent_count(&f, &(struct frequent_key){ { realm, sizeof realm }, { origin, sizeof origin }, 1 }, NOW);
	ck_assert(frequent_read(&list, 1, &item));
}
END_TEST

START_TEST(the_next_writer_goes_on)
{
	struct frequent_item item;
	int i;

	for (i = 0; i < 3; i++) {
		come("https://a.example", NOW);
		come("https://b.example", NOW);
		frequent_open(&f, &list, 77);
	}
	ck_assert(find("https://b.example", &item));
	ck_assert_uint_eq(item.count, 3);
	ck_assert_uint_eq(f.used, 2);
}
END_TEST

START_TEST(an_entry_whose_writer_died_is_nobodys)
{
	struct frequent_item item;

	come("https://a.example", NOW);
	come("https://b.example", NOW);
	list.entry[0].version++;
	ck_assert(!frequent_read(&list, 0, &item));
	frequent_open(&f, &list, 5);
	ck_assert(!frequent_read(&list, 0, &item));
	ck_assert_uint_eq(list.entry[0].version % 2, 0);
	come("https://b.example", NOW);
	ck_assert(find("https://b.example", &item));
	ck_assert_uint_eq(item.count, 2);
}
END_TEST

/* ---- readers beside the writer ---- */

static _Atomic bool is_over;

/* Every entry says three times who it is: realm, origin and reason belong together. */
static void *
write_for_ever(void *arg)
{
	char realm[FREQUENT_REALM_KEPT], origin[FREQUENT_ORIGIN_KEPT];
	uint64_t n;
	unsigned who;

	(void)arg;
	for (n = 0; !atomic_load(&is_over); n++) {
		/* New keys only, each an eternity later: every one of them replaces an entry. */
		who = (unsigned)(n % 26);
		memset(realm, 'a' + (int)who, sizeof realm);
		memset(origin, 'a' + (int)who, sizeof origin);
		memcpy(origin, &n, sizeof n);
		frequent_count(&f, &(struct frequent_key){ { realm, 1 + n % sizeof realm }, { origin, sizeof origin },
		    who }, (int64_t)n * 100 * FREQUENT_HALF_LIFE_S);
	}
	return NULL;
}

static bool
is_whole(const struct frequent_item *item)
{
	size_t i;

	for (i = 0; i < item->realm_len; i++)
		if (item->realm[i] != 'a' + (int)item->reason)
			return false;
	for (i = sizeof(uint64_t); i < item->origin_len; i++)
		if (item->origin[i] != 'a' + (int)item->reason)
			return false;
	return true;
}

START_TEST(readers_never_see_half_an_entry)
{
	struct frequent_item item;
	pthread_t writer;
	uint64_t seen = 0, torn = 0;
	unsigned i;

	pthread_create(&writer, NULL, write_for_ever, NULL);
	while (seen < 200000)
		for (i = 0; i < FREQUENT_ENTRIES; i++)
			if (frequent_read(&list, i, &item)) {
				torn += !is_whole(&item);
				seen++;
			}
	atomic_store(&is_over, true);
	pthread_join(writer, NULL);
	ck_assert_uint_eq(torn, 0);
}
END_TEST

/* A reader of a file that somebody scribbled over stays within its bounds. */
START_TEST(any_bytes_may_be_read)
{
	struct frequent_item item;
	unsigned turn, i;
	uint64_t x = 88172645463325252, *words = (uint64_t *)&list;

	for (turn = 0; turn < 50; turn++) {
		for (i = 0; i < sizeof list / sizeof *words; i++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			words[i] = x;
		}
		for (i = 0; i < FREQUENT_ENTRIES; i++)
			frequent_read(&list, i, &item);
		frequent_open(&f, &list, x);
		come("https://a.example", NOW);
	}
}
END_TEST

/* Nor does a writer divide by the weight of nothing but ones, or count such seconds. */
START_TEST(a_scribbled_list_is_emptied)
{
	static const unsigned char bytes[] = { 0xff, 0x7f, 0x80 };
	struct frequent_item item;
	char origin[64];
	unsigned i;

	memset(&list, bytes[_i], sizeof list);
	for (i = 0; i < FREQUENT_ENTRIES; i++) {
		list.entry[i].version = 2;
		ck_assert(!frequent_read(&list, i, &item));
	}
	frequent_open(&f, &list, 5);
	for (i = 0; i < 1000; i++) {
		snprintf(origin, sizeof origin, "https://o%u.example", i);
		come(origin, NOW);
	}
	ck_assert(frequent_read(&list, 0, &item));
	ck_assert_int_eq(item.last_s, NOW);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("frequent");
	TCase *tc = tcase_create("list");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, any_number_in_the_list_is_safe_to_go_on_with);
	tcase_add_test(tc, a_key_is_counted_exactly);
	tcase_add_test(tc, realm_origin_and_reason_make_a_key);
	tcase_add_loop_test(tc, strangers_do_not_push_out_regulars, 0, sizeof speeds / sizeof speeds[0]);
	tcase_add_test(tc, a_flood_takes_nothing_from_who_is_there);
	tcase_add_test(tc, what_does_not_come_any_more_gives_way);
	tcase_add_test(tc, a_clock_that_goes_back_does_no_harm);
	tcase_add_test(tc, long_bytes_are_cut);
	tcase_add_test(tc, the_next_writer_goes_on);
	tcase_add_test(tc, an_entry_whose_writer_died_is_nobodys);
	tcase_add_test(tc, readers_never_see_half_an_entry);
	tcase_add_test(tc, any_bytes_may_be_read);
	tcase_add_loop_test(tc, a_scribbled_list_is_emptied, 0, 3);
	suite_add_tcase(suite, tc);
	return run(suite);
}

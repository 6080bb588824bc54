/* SPDX-License-Identifier: BSD-2-Clause */
/* What PostgreSQL sends in binary, and what it never should. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../syncd/keyset.h"
#include "../../syncd/wire.h"
#include "row.h"
#include "run.h"

#define SPAN(literal)	(struct span){ literal, sizeof(literal) - 1 }

static const struct span null = { NULL, 0 };

START_TEST(values_have_their_length)
{
	bool b = false;
	int32_t n = 0;

	ck_assert(wire_bool(SPAN("\1"), &b) && b);
	ck_assert(wire_bool(SPAN("\0"), &b) && !b);
	ck_assert(!wire_bool(SPAN(""), &b) && !wire_bool(SPAN("\1\1"), &b) && !wire_bool(null, &b));
	ck_assert(wire_int4(SPAN("\377\377\377\376"), &n));
	ck_assert_int_eq(n, -2);
	ck_assert(!wire_int4(SPAN("\0\0\1"), &n) && !wire_int4(SPAN("\0\0\0\0\1"), &n) && !wire_int4(null, &n));
}
END_TEST

/* Microseconds since 2000 */
static const struct {
	struct span	 field;
	bool		 ok;
	int64_t		 want;
} expiries[] = {
	{ { NULL, 0 },					true,	ROW_NEVER },
	{ { "\177\377\377\377\377\377\377\377", 8 },	true,	ROW_NEVER },		/* infinity */
	{ { "\200\0\0\0\0\0\0\0", 8 },			true,	1 },			/* -infinity: over, not never */
	{ { "\0\0\0\0\0\0\0\0", 8 },			true,	946684800 },
	{ { "\0\0\0\0\0\17\102\77", 8 },		true,	946684800 },		/* 0.999999 s: rounded down */
	{ { "\0\0\0\0\0\17\102\100", 8 },		true,	946684801 },
	{ { "\377\377\377\377\377\377\377\377", 8 },	true,	946684799 },		/* -0.000001 s: down, too */
	{ { "\377\374\242\376\304\310\40\0", 8 },	true,	1 },			/* 1970: 0 would be never */
	{ { "\0\0\0\0\0\0\0", 7 },			false,	0 },
};

START_TEST(expiry_is_never_later_than_said)
{
	int64_t got = 0;

	ck_assert_int_eq(wire_expiry(expiries[_i].field, &got), expiries[_i].ok);
	if (expiries[_i].ok)
		ck_assert_int_eq(got, expiries[_i].want);
}
END_TEST

#define HEAD(dimensions)	"\0\0\0" dimensions "\0\0\0\0" "\0\0\0\31"
#define SIZE(n)			"\0\0\0" n "\0\0\0\1"

static const struct {
	struct span	 field;
	int		 rc;
	size_t		 count;
} arrays[] = {
	{ { HEAD("\0"), 12 },						0,		0 },
	{ { HEAD("\1") SIZE("\2") "\0\0\0\3GET\0\0\0\0", 31 },		0,		2 },
	{ { HEAD("\1") SIZE("\3") "\0\0\0\0\0\0\0\0\0\0\0\0", 32 },	-E2BIG,		0 },
	{ { HEAD("\1") SIZE("\2") "\0\0\0\3GET\0\0\0\1", 31 },		-EBADMSG,	0 },	/* one byte short */
	{ { HEAD("\1") SIZE("\1") "\377\377\377\377", 24 },		-EINVAL,	0 },	/* a NULL */
	{ { HEAD("\1") SIZE("\1") "\377\377\377\376", 24 },		-EBADMSG,	0 },
	{ { HEAD("\1") "\377\377\377\377\0\0\0\1", 20 },		-EBADMSG,	0 },
	{ { HEAD("\2") SIZE("\1") SIZE("\1") "\0\0\0\0", 32 },		-EINVAL,	0 },	/* a list of lists */
	{ { "\377\377\377\377" "\0\0\0\0" "\0\0\0\31" SIZE("\1"), 20 },	-EBADMSG,	0 },
	{ { HEAD("\1"), 12 },						-EBADMSG,	0 },
	{ { "\0\0\0", 3 },						-EBADMSG,	0 },
	{ { NULL, 0 },							-EINVAL,	0 },
};

START_TEST(arrays_are_bounded)
{
	struct span texts[2];
	size_t count = 0;

	ck_assert_int_eq(wire_texts(arrays[_i].field, texts, 2, &count), arrays[_i].rc);
	if (arrays[_i].rc != 0)
		return;
	ck_assert_uint_eq(count, arrays[_i].count);
	if (count == 2) {
		ck_assert_mem_eq(texts[0].at, "GET", 3);
		ck_assert_uint_eq(texts[1].len, 0);
	}
}
END_TEST

/* ---- COPY ---- */

#define COPY_HEAD	"PGCOPY\n\377\r\n\0" "\0\0\0\0" "\0\0\0\2xx"	/* with an extension */
#define COPY_ROWS	"\0\2\0\0\0\2ab\377\377\377\377" "\0\2\0\0\0\0\0\0\0\3xyz"
#define COPY_END	"\377\377"

static char seen[256];
static int row_says;

static int
on_row(void *arg, const struct span *f)
{
	(void)arg;
	for (int i = 0; i < 2; i++)
		snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%s%.*s;", f[i].at == NULL ? "NULL" : "",
		    (int)f[i].len, f[i].at != NULL ? f[i].at : "");
	return row_says;
}

static int
feed(struct wire_copy *copy, const char *data, size_t len)
{
	/* a copy that ends where the data does, for the sanitizers */
	char *exact = malloc(len > 0 ? len : 1);
	int rc;

	memcpy(exact, data, len);
	rc = wire_copy_feed(copy, exact, len, on_row, NULL);
	free(exact);
	return rc;
}

START_TEST(copy_may_be_cut_anywhere)
{
	static const char stream[] = COPY_HEAD COPY_ROWS COPY_END;
	size_t len = sizeof stream - 1;
	struct wire_copy copy;

	for (size_t a = 0; a <= len; a++)
		for (size_t b = a; b <= len; b++) {
			seen[0] = '\0';
			wire_copy_init(&copy, 2);
			ck_assert_int_eq(feed(&copy, stream, a), 0);
			ck_assert_int_eq(feed(&copy, stream + a, b - a), 0);
			ck_assert_int_eq(feed(&copy, stream + b, len - b), 0);
			ck_assert(copy.is_ended);
			ck_assert_str_eq(seen, "ab;NULL;;xyz;");
			wire_copy_fini(&copy);
		}
}
END_TEST

static const struct span bad_copies[] = {
	SPAN("PGCOPX\n\377\r\n\0\0\0\0\0\0\0\0\0"),
	SPAN("PGCOPY\n\377\r\n\0\0\0\0\0\377\377\377\377"),
	SPAN(COPY_HEAD "\0\3"),				/* another number of fields */
	SPAN(COPY_HEAD "\377\376"),
	SPAN(COPY_HEAD "\0\2\377\377\377\376"),		/* a length below NULL's */
	SPAN(COPY_HEAD COPY_END "\0"),			/* bytes behind the end */
};

START_TEST(what_is_no_copy_is_refused)
{
	struct wire_copy copy;

	wire_copy_init(&copy, 2);
	ck_assert_int_eq(feed(&copy, bad_copies[_i].at, bad_copies[_i].len), -EBADMSG);
	wire_copy_fini(&copy);
}
END_TEST

START_TEST(copy_stops_where_the_row_says)
{
	struct wire_copy copy;

	seen[0] = '\0';
	row_says = -ENOSPC;
	wire_copy_init(&copy, 2);
	ck_assert_int_eq(feed(&copy, COPY_HEAD COPY_ROWS, sizeof(COPY_HEAD COPY_ROWS) - 1), -ENOSPC);
	ck_assert_str_eq(seen, "ab;NULL;");
	wire_copy_fini(&copy);
	row_says = 0;
}
END_TEST

/* ---- keysets ---- */

START_TEST(a_keyset_is_a_set)
{
	struct keyset *set = keyset_new();
	struct key *key, *next;
	char name[16];
	size_t n = 0;

	for (int i = 0; i < 2000; i++) {
		struct span s = { name, (size_t)snprintf(name, sizeof name, "k%d", i % 1000) };

		key = keyset_put(set, SPAN("r"), s);
		key->value++;
	}
	ck_assert_uint_eq(keyset_count(set), 1000);
	ck_assert_ptr_null(keyset_get(set, SPAN("rk"), SPAN("1")));	/* "r" + "k1" is another key */
	ck_assert_ptr_nonnull(keyset_get(set, SPAN("r"), SPAN("k1")));
	ck_assert_ptr_nonnull(keyset_put(set, null, SPAN("")));
	for (key = keyset_next(set, NULL); key != NULL; key = next, n++) {
		next = keyset_next(set, key);
		ck_assert(key->realm.len == 0 || key->value == 2);
		ck_assert(keyset_remove(set, key->realm, key->origin));
	}
	ck_assert_uint_eq(n, 1001);
	ck_assert_uint_eq(keyset_count(set), 0);
	ck_assert(!keyset_remove(set, SPAN("r"), SPAN("k1")));
	keyset_free(&set);
	ck_assert_ptr_null(set);
}
END_TEST

#define COUNT(array)	((int)(sizeof array / sizeof array[0]))

int
main(void)
{
	Suite *suite = suite_create("wire");
	TCase *values = tcase_create("values"), *copy = tcase_create("copy"), *keys = tcase_create("keyset");

	tcase_add_test(values, values_have_their_length);
	tcase_add_loop_test(values, expiry_is_never_later_than_said, 0, COUNT(expiries));
	tcase_add_loop_test(values, arrays_are_bounded, 0, COUNT(arrays));
	tcase_add_test(copy, copy_may_be_cut_anywhere);
	tcase_add_loop_test(copy, what_is_no_copy_is_refused, 0, COUNT(bad_copies));
	tcase_add_test(copy, copy_stops_where_the_row_says);
	tcase_add_test(keys, a_keyset_is_a_set);
	suite_add_tcase(suite, values);
	suite_add_tcase(suite, copy);
	suite_add_tcase(suite, keys);
	return run(suite);
}

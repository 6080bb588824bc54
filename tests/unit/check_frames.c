/* SPDX-License-Identifier: BSD-2-Clause */
#include "../../responder/frames.h"

#include <stdlib.h>
#include <string.h>

#include "run.h"

#define R(type, id, len)	"\1" type "\0" id "\0" len "\0\0"
#define BEGIN(role, flags)	R("\1", "\1", "\10") "\0" role flags "\0\0\0\0\0"
#define PARAMS			R("\4", "\1", "\4") "\1\1AB"
#define NO_PARAMS		R("\4", "\1", "\0")
#define NO_STDIN		R("\5", "\1", "\0")
#define REQUEST			BEGIN("\1", "\1") PARAMS NO_PARAMS NO_STDIN
#define BYTES(s)		(const uint8_t *)(s), sizeof (s) - 1

/* What came of bytes that arrived in pieces of a size: a letter an event. */
static const char *
events(const uint8_t *in, size_t len, size_t piece)
{
	static uint8_t parameters[FRAMES_MAX_PARAMETERS];
	static char said[64];
	struct frames f = { .parameters = parameters };
	size_t at = 0, n = 0;

	while (at < len) {
		size_t left = len - at < piece ? len - at : piece;
		enum frames_event e;

		do {
			size_t used;

			e = frames_take(&f, in + at, left, &used);
			ck_assert_uint_le(used, left);
			at += used;
			left -= used;
			if (e == FRAMES_MORE)
				ck_assert_uint_eq(left, 0);
			else
				said[n++] = ".RE!XABT"[e];
			if (e == FRAMES_REQUEST && f.nparameters > 0)
				ck_assert_mem_eq(f.parameters, "\1\1AB", 4);
			if (e >= FRAMES_ABORTED || n == sizeof said - 1)
				at = len;
		} while (e != FRAMES_MORE && at < len + (left == 0) && e < FRAMES_ABORTED && n < sizeof said - 1);
	}
	said[n] = '\0';
	return said;
}

static const struct {
	const char	*why;
	const uint8_t	*in;
	size_t		 len;
	const char	*want;
} cases[] = {
	{ "a request", BYTES(REQUEST), "RE" },
	{ "two on one connection", BYTES(REQUEST REQUEST), "RERE" },
	{ "parameters in two records", BYTES(BEGIN("\1", "\0") R("\4", "\1", "\1") "\1" R("\4", "\1", "\3") "\1AB" NO_PARAMS), "R" },
	{ "an authorizer's, without a body", BYTES(BEGIN("\2", "\0") PARAMS NO_PARAMS), "RE" },
	{ "an authorizer's, and its body all the same", BYTES(BEGIN("\2", "\1") PARAMS NO_PARAMS NO_STDIN REQUEST), "RERE" },
	{ "a body", BYTES(BEGIN("\1", "\0") PARAMS NO_PARAMS R("\5", "\1", "\2") "xy" NO_STDIN), "RE" },
	{ "padding everywhere", BYTES("\1\1\0\1\0\10\2\0\0\1\0\0\0\0\0\0pp\1\4\0\1\0\4\1\0\1\1ABp\1\4\0\1\0\0\3\0ppp"
	    "\1\5\0\1\0\0\1\0p"), "RE" },
	{ "another id between", BYTES(BEGIN("\1", "\0") R("\4", "\2", "\2") "xx" PARAMS NO_PARAMS NO_STDIN), "RE" },
	{ "another request between", BYTES(BEGIN("\1", "\0") "\1\1\0\2\0\10\0\0\0\1\0\0\0\0\0\0" PARAMS NO_PARAMS NO_STDIN), "XRE" },
	{ "management first", BYTES(R("\11", "\0", "\0") REQUEST), "!RE" },
	{ "management between", BYTES(BEGIN("\1", "\0") R("\143", "\0", "\2") "xx" PARAMS NO_PARAMS NO_STDIN), "!RE" },
	{ "aborted among parameters", BYTES(BEGIN("\1", "\0") R("\2", "\1", "\0")), "A" },
	{ "aborted in its body", BYTES(BEGIN("\1", "\0") PARAMS NO_PARAMS R("\2", "\1", "\0")), "RA" },
	{ "HTTP", BYTES("GET / HTTP/1.1\r\n\r\n"), "B" },
	{ "no such role", BYTES(BEGIN("\7", "\0")), "B" },
	{ "a short BEGIN_REQUEST", BYTES(R("\1", "\1", "\5") "short"), "B" },
	{ "BEGIN_REQUEST without an id", BYTES(R("\1", "\0", "\10") "\0\1\0\0\0\0\0\0"), "B" },
	{ "begun twice", BYTES(BEGIN("\1", "\0") BEGIN("\1", "\0")), "B" },
	{ "parameters of nothing", BYTES(PARAMS), "B" },
	{ "a body before the parameters' end", BYTES(BEGIN("\1", "\0") NO_STDIN), "B" },
	{ "parameters behind their end", BYTES(BEGIN("\1", "\0") NO_PARAMS PARAMS), "RB" },
	{ "a value longer than its stream", BYTES(BEGIN("\1", "\0") R("\4", "\1", "\4") "\1\2AB" NO_PARAMS), "B" },
	{ "lengths of 1 GiB", BYTES(BEGIN("\1", "\0") R("\4", "\1", "\10") "\300\0\0\0\300\0\0\0" NO_PARAMS), "B" },
	{ "lengths whose sum overflows", BYTES(BEGIN("\1", "\0") R("\4", "\1", "\10") "\377\377\377\376\377\377\377\377" NO_PARAMS), "B" },
	{ "a length cut off", BYTES(BEGIN("\1", "\0") R("\4", "\1", "\2") "\377\377" NO_PARAMS), "B" },
	{ "values asked for that lie", BYTES(R("\11", "\0", "\2") "\7\0"), "B" },
	{ "too much management", BYTES(R("\11", "\0", "\377")), "T" },
};

START_TEST(records_are_taken_apart_in_any_pieces)
{
	for (size_t piece = 1; piece <= cases[_i].len; piece++) {
		const char *got = events(cases[_i].in, cases[_i].len, piece);

		ck_assert_msg(strcmp(got, cases[_i].want) == 0, "%s, in pieces of %zu: %s, want %s", cases[_i].why, piece, got,
		    cases[_i].want);
	}
}
END_TEST

/* Heads, contents and padding all count. */
static size_t
taken_of(const char *start, size_t nstart, const uint8_t *record, size_t len)
{
	uint8_t *parameters = malloc(FRAMES_MAX_PARAMETERS);
	struct frames f = { .parameters = parameters };
	enum frames_event e;
	size_t total = 0, used, at;

	e = frames_take(&f, (const uint8_t *)start, nstart, &used);
	for (at = used; e == FRAMES_REQUEST; at += used)
		e = frames_take(&f, (const uint8_t *)start + at, nstart - at, &used);
	while (e == FRAMES_MORE && total < 8 * FRAMES_MAX_SKIPPED) {
		e = frames_take(&f, record, len, &used);
		total += used;
	}
	ck_assert_int_eq(e, FRAMES_TOO_MUCH);
	free(parameters);
	return total;
}

START_TEST(nothing_goes_on_for_ever)
{
	static uint8_t full[FRAMES_HEAD + FRAMES_MAX_CONTENT] = { 1, FRAMES_PARAMS, 0, 1, 0xff, 0xff };
	static uint8_t body[FRAMES_HEAD + FRAMES_MAX_CONTENT] = { 1, FRAMES_STDIN, 0, 1, 0xff, 0xff };
	static uint8_t other[FRAMES_HEAD + 255] = { 1, FRAMES_STDIN, 0, 2, 0, 0, 255 };
	static const char begin[] = BEGIN("\1", "\1"), asked[] = BEGIN("\1", "\1") NO_PARAMS;

	ck_assert_uint_le(taken_of(begin, sizeof begin - 1, full, sizeof full), FRAMES_MAX_PARAMETERS + 10 * FRAMES_HEAD);
	ck_assert_uint_le(taken_of(asked, sizeof asked - 1, body, sizeof body), FRAMES_MAX_SKIPPED + sizeof body);
	ck_assert_uint_le(taken_of(asked, sizeof asked - 1, other, sizeof other), FRAMES_MAX_SKIPPED + sizeof other);
}
END_TEST

START_TEST(management_is_answered_within_bounds)
{
	static const char eight[] = "\16\0FCGI_MAX_CONNS\16\0FCGI_MAX_CONNS\16\0FCGI_MAX_CONNS\15\0FCGI_MAX_REQS\17\0FCGI_MPXS_CONNS\5\0OTHER";
	uint8_t out[FRAMES_MAX_RESULT];
	struct frames f = { .type = FRAMES_GET_VALUES, .nsmall = sizeof eight - 1 };

	ck_assert_uint_le(sizeof eight - 1, sizeof f.small);
	memcpy(f.small, eight, sizeof eight - 1);
	ck_assert_uint_eq(frames_management(&f, out), 8 + 17 + 16 + 18);
	ck_assert_mem_eq(out, "\1\12\0\0\0\63\0\0\16\1FCGI_MAX_CONNS1\15\1FCGI_MAX_REQS1\17\1FCGI_MPXS_CONNS0", 59);
	f.type = 77;
	ck_assert_uint_eq(frames_management(&f, out), 16);
	ck_assert_mem_eq(out, "\1\13\0\0\0\10\0\0\115\0\0\0\0\0\0\0", 16);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("frames");
	TCase *tc = tcase_create("records");

	tcase_add_loop_test(tc, records_are_taken_apart_in_any_pieces, 0, (int)(sizeof cases / sizeof cases[0]));
	tcase_add_test(tc, nothing_goes_on_for_ever);
	tcase_add_test(tc, management_is_answered_within_bounds);
	suite_add_tcase(suite, tc);
	return run(suite);
}

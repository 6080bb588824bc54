/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes of a FastCGI connection: whatever they are, and in whatever pieces they
 * come, the same events; nothing is written outside, and no length outside its
 * stream is let through. The first byte is the size of the pieces.
 */
#include "fuzz.h"

#include <string.h>

#include "../../responder/frames.h"

#define PIECE_MAX	255

static uint64_t
add(uint64_t sum, const void *at, size_t len)
{
	const uint8_t *p = at;

	while (len-- > 0)
		sum = (sum ^ *p++) * 1099511628211u;
	return sum;
}

static uint64_t
take_all(const uint8_t *in, size_t len, size_t piece)
{
	struct frames f = { .parameters = malloc(len + 1) };
	uint64_t sum = 14695981039346656037u;
	enum frames_event e = FRAMES_MORE;
	uint8_t out[FRAMES_MAX_RESULT];
	size_t used, left;

	MUST(f.parameters != NULL);
	for (; len > 0 && e < FRAMES_ABORTED; ) {
		left = len < piece ? len : piece;
		do {
			e = frames_take(&f, in, left, &used);
			MUST(used <= left && (e != FRAMES_MORE || used == left));
			in += used;
			left -= used;
			len -= used;
			if (e == FRAMES_MORE)
				break;
			sum = add(sum, &e, sizeof e);
			if (e == FRAMES_REQUEST) {
				MUST(frames_parameters_are_sane(f.parameters, f.nparameters));
				sum = add(sum, f.parameters, f.nparameters);
			} else if (e == FRAMES_MANAGEMENT) {
				MUST((used = frames_management(&f, out)) <= sizeof out);
				sum = add(sum, out, used);
			}
		} while (e < FRAMES_ABORTED);
	}
	free(f.parameters);
	return sum;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	if (len < 2)
		return 0;
	MUST(take_all(bytes + 1, len - 1, bytes[0] % PIECE_MAX + 1) == take_all(bytes + 1, len - 1, len));
	return 0;
}

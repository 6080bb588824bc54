/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What PostgreSQL sends, in binary: whatever the bytes are and in whatever pieces
 * they come, the same rows and the same end. The first byte is the size of the pieces.
 */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "../../syncd/wire.h"
#include "row.h"

#define NFIELDS		3
#define MAX_TEXTS	8
#define PIECE_MAX	255

static uint64_t
add(uint64_t sum, const void *at, size_t len)
{
	const uint8_t *p = at;

	while (len-- > 0)
		sum = (sum ^ *p++) * 1099511628211u;
	return sum;
}

/* Every byte of every field is read, so that a sanitizer sees one outside. */
static int
take_row(void *arg, const struct span *fields)
{
	uint64_t *sum = arg;
	struct span texts[MAX_TEXTS];
	int64_t seconds;
	size_t n;

	for (size_t i = 0; i < NFIELDS; i++) {
		MUST(fields[i].at != NULL || fields[i].len == 0);
		*sum = add(*sum, &fields[i].len, sizeof fields[i].len);
		*sum = add(*sum, fields[i].at, fields[i].len);
		if (wire_texts(fields[i], texts, MAX_TEXTS, &n) == 0) {
			MUST(n <= MAX_TEXTS);
			for (size_t t = 0; t < n; t++)
				*sum = add(*sum, texts[t].at, texts[t].len);
		}
		if (wire_expiry(fields[i], &seconds))
			MUST(seconds >= 1 || seconds == ROW_NEVER);
	}
	return 0;
}

static uint64_t
take_all(const uint8_t *in, size_t len, size_t piece)
{
	struct wire_copy copy;
	uint64_t sum = 14695981039346656037u;
	size_t n;
	int error = 0;

	wire_copy_init(&copy, NFIELDS);
	for (; len > 0 && error == 0; in += n, len -= n) {
		n = len < piece ? len : piece;
		error = wire_copy_feed(&copy, (const char *)in, n, take_row, &sum);
		MUST(error == 0 || error == -EBADMSG);
	}
	sum = add(sum, &error, sizeof error);
	sum = add(sum, &copy.is_ended, sizeof copy.is_ended);
	wire_copy_fini(&copy);
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

/* SPDX-License-Identifier: BSD-2-Clause */
#include "nearest.h"

#include <string.h>

#define WORD_MAX	32	/* bytes; who types more meant none of our names */
#define FAR		4	/* edits that make another word of it */

static size_t
smallest(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;

	return least < c ? least : c;
}

/* Levenshtein's distance, of words of at most WORD_MAX bytes. */
static size_t
edits(struct span a, struct span b)
{
	size_t row[WORD_MAX + 1], i, j, diagonal, above;

	for (j = 0; j <= b.len; j++)
		row[j] = j;
	for (i = 1; i <= a.len; i++) {
		diagonal = row[0];
		row[0] = i;
		for (j = 1; j <= b.len; j++) {
			above = row[j];
			row[j] = smallest(above + 1, row[j - 1] + 1, diagonal + (a.at[i - 1] != b.at[j - 1]));
			diagonal = above;
		}
	}
	return row[b.len];
}

void
nearest_begin(struct nearest *n, struct span word)
{
	*n = (struct nearest){ .word = word, .distance = FAR };
}

/* What begins with the word is near, however much is missing. */
void
nearest_try(struct nearest *n, const char *name)
{
	struct span b = span_of(name);
	size_t d;

	if (n->word.len == 0 || n->word.len > WORD_MAX || b.len > WORD_MAX)
		return;
	d = b.len > n->word.len && memcmp(b.at, n->word.at, n->word.len) == 0 ? 1 : edits(n->word, b);
	if (d < n->distance && d < n->word.len) {
		n->distance = d;
		n->best = name;
	}
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "nearest.h"

#include <string.h>

#define WORD_MAX	32	/* bytes; who types more meant none of our names */

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Edits that make b of a, of words of at most WORD_MAX bytes: a letter put, dropped, changed, or two swapped. */
static size_t
edits(struct span a, struct span b)
{
	size_t rows[3][WORD_MAX + 1], i, j, *above, *row, *before;

	for (j = 0; j <= b.len; j++)
		rows[0][j] = j;
	for (i = 1; i <= a.len; i++) {
		row = rows[i % 3], above = rows[(i + 2) % 3], before = rows[(i + 1) % 3];
		row[0] = i;
		for (j = 1; j <= b.len; j++) {
			row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (a.at[i - 1] != b.at[j - 1]));
			if (i > 1 && j > 1 && a.at[i - 1] == b.at[j - 2] && a.at[i - 2] == b.at[j - 1])
				row[j] = least(row[j], before[j - 2] + 1);
		}
	}
	return rows[a.len % 3][b.len];
}

/* One edit in four letters: with more of them it is another word. */
static size_t
far(struct span word)
{
	return 1 + (word.len + 3) / 4;
}

void
nearest_begin(struct nearest *n, struct span word)
{
	*n = (struct nearest){ .word = word, .distance = far(word) };
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

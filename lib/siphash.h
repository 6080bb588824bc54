/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * siphash -- a keyed 64-bit hash: whoever does not know the key cannot choose
 * inputs that collide.
 *
 * Pure: no allocation, no I/O, no globals. Reads exactly the bytes it is
 * given; the result is the same on every byte order.
 *
 * Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012.
 * 1-3 (one round a word, three at the end) is what the table uses; 2-4 is the
 * variant with published vectors, which hold the rounds they share.
 */
#ifndef SIPHASH_H
#define SIPHASH_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct siphash {
	uint64_t	 v0, v1, v2, v3;
};

static inline uint64_t
siphash_rotate(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static inline void
siphash_round(struct siphash *h)
{
	h->v0 += h->v1;
	h->v2 += h->v3;
	h->v1 = siphash_rotate(h->v1, 13) ^ h->v0;
	h->v3 = siphash_rotate(h->v3, 16) ^ h->v2;
	h->v0 = siphash_rotate(h->v0, 32);
	h->v2 += h->v1;
	h->v0 += h->v3;
	h->v1 = siphash_rotate(h->v1, 17) ^ h->v2;
	h->v3 = siphash_rotate(h->v3, 21) ^ h->v0;
	h->v2 = siphash_rotate(h->v2, 32);
}

static inline void
siphash_init(struct siphash *h, uint64_t k0, uint64_t k1)
{
	h->v0 = k0 ^ 0x736f6d6570736575;	/* "somepseudorandomlygeneratedbytes" */
	h->v1 = k1 ^ 0x646f72616e646f6d;
	h->v2 = k0 ^ 0x6c7967656e657261;
	h->v3 = k1 ^ 0x7465646279746573;
}

/* rounds is a constant wherever this is inlined. */
static inline void
siphash_word(struct siphash *h, uint64_t word, int rounds)
{
	h->v3 ^= word;
	for (int i = 0; i < rounds; i++)
		siphash_round(h);
	h->v0 ^= word;
}

/* All whole words of bytes, then the 0 .. 7 bytes left and the length of the whole message. */
static inline void
siphash_bytes(struct siphash *h, const void *bytes, size_t len, size_t message_len, int rounds)
{
	const unsigned char *p = bytes, *end = p + len;
	uint64_t word, last = 0;

	for (; (size_t)(end - p) >= sizeof(word); p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		siphash_word(h, le64toh(word), rounds);
	}
	if (len >= sizeof(word)) {	/* the last eight bytes, less those hashed already: no loop to predict */
		memcpy(&word, end - sizeof(word), sizeof(word));
		last = le64toh(word) >> 8 >> (8 * (7 - (end - p)));
	} else {
		for (size_t i = 0; i < len; i++)
			last |= (uint64_t)p[i] << (8 * i);
	}
	siphash_word(h, last | (uint64_t)message_len << 56, rounds);
}

static inline uint64_t
siphash_finish(struct siphash *h, int rounds)
{
	h->v2 ^= 0xff;
	for (int i = 0; i < rounds; i++)
		siphash_round(h);
	return h->v0 ^ h->v1 ^ h->v2 ^ h->v3;
}

/* SipHash-1-3 of the message head (8 bytes, little-endian) || bytes. */
static inline uint64_t
siphash13(uint64_t k0, uint64_t k1, uint64_t head, const void *bytes, size_t len)
{
	struct siphash h;

	siphash_init(&h, k0, k1);
	siphash_word(&h, head, 1);
	siphash_bytes(&h, bytes, len, sizeof(head) + len, 1);
	return siphash_finish(&h, 3);
}

/* SipHash-2-4 of bytes. */
uint64_t	 siphash24(uint64_t k0, uint64_t k1, const void *bytes, size_t len);

#endif

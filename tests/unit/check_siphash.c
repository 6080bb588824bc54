/* SPDX-License-Identifier: BSD-2-Clause */
#include "siphash.h"

#include "run.h"

#define NVECTORS	64
#define K0		0x0706050403020100u	/* the key 00 01 .. 0f of the published vectors */
#define K1		0x0f0e0d0c0b0a0908u

/* SipHash-2-4 of "", 00, 00 01, ...: the vectors the authors publish. */
static const uint64_t vectors[NVECTORS] = {
	0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a,
	0x85676696d7fb7e2d, 0xcf2794e0277187b7, 0x18765564cd99a68d,
	0xcbc9466e58fee3ce, 0xab0200f58b01d137, 0x93f5f5799a932462,
	0x9e0082df0ba9e4b0, 0x7a5dbbc594ddb9f3, 0xf4b32f46226bada7,
	0x751e8fbc860ee5fb, 0x14ea5627c0843d90, 0xf723ca908e7af2ee,
	0xa129ca6149be45e5, 0x3f2acc7f57c29bdb, 0x699ae9f52cbe4794,
	0x4bc1b3f0968dd39c, 0xbb6dc91da77961bd, 0xbed65cf21aa2ee98,
	0xd0f2cbb02e3b67c7, 0x93536795e3a33e88, 0xa80c038ccd5ccec8,
	0xb8ad50c6f649af94, 0xbce192de8a85b8ea, 0x17d835b85bbb15f3,
	0x2f2e6163076bcfad, 0xde4daaaca71dc9a5, 0xa6a2506687956571,
	0xad87a3535c49ef28, 0x32d892fad841c342, 0x7127512f72f27cce,
	0xa7f32346f95978e3, 0x12e0b01abb051238, 0x15e034d40fa197ae,
	0x314dffbe0815a3b4, 0x027990f029623981, 0xcadcd4e59ef40c4d,
	0x9abfd8766a33735c, 0x0e3ea96b5304a7d0, 0xad0c42d6fc585992,
	0x187306c89bc215a9, 0xd4a60abcf3792b95, 0xf935451de4f21df2,
	0xa9538f0419755787, 0xdb9acddff56ca510, 0xd06c98cd5c0975eb,
	0xe612a3cb9ecba951, 0xc766e62cfcadaf96, 0xee64435a9752fe72,
	0xa192d576b245165a, 0x0a8787bf8ecb74b2, 0x81b3e73d20b49b6f,
	0x7fa8220ba3b2ecea, 0x245731c13ca42499, 0xb78dbfaf3a8d83bd,
	0xea1ad565322a1a0b, 0x60e61c23a3795013, 0x6606d7e446282b93,
	0x6ca4ecb15c5f91e1, 0x9f626da15c9625f3, 0xe51b38608ef25f57,
	0x958a324ceb064572,
};

/*
 * The paper's text once more, byte by byte and with the rounds as parameters:
 * it shares no line with lib/siphash, so that 1-3, for which no vectors are
 * published, can be compared with it once it has passed those of 2-4.
 */
static uint64_t
naive_rotate(uint64_t x, unsigned bits)
{
	for (; bits > 0; bits--)
		x = x * 2 + (x >> 63);
	return x;
}

static void
naive_rounds(uint64_t v[4], int n)
{
	while (n-- > 0) {
		v[0] += v[1];
		v[1] = naive_rotate(v[1], 13);
		v[1] ^= v[0];
		v[0] = naive_rotate(v[0], 32);
		v[2] += v[3];
		v[3] = naive_rotate(v[3], 16);
		v[3] ^= v[2];
		v[0] += v[3];
		v[3] = naive_rotate(v[3], 21);
		v[3] ^= v[0];
		v[2] += v[1];
		v[1] = naive_rotate(v[1], 17);
		v[1] ^= v[2];
		v[2] = naive_rotate(v[2], 32);
	}
}

static uint64_t
naive_siphash(int c, int d, uint64_t k0, uint64_t k1, const unsigned char *m, size_t len)
{
	uint64_t v[4] = { k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d,
		k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573 };
	size_t padded = (len / 8 + 1) * 8;

	for (size_t i = 0; i < padded; i += 8) {
		uint64_t word = 0;

		for (size_t j = 8; j-- > 0;) {
			size_t at = i + j;
			unsigned char byte = at < len ? m[at] : 0;

			if (at == padded - 1)
				byte = (unsigned char)(len % 256);
			word = word * 256 + byte;
		}
		v[3] ^= word;
		naive_rounds(v, c);
		v[0] ^= word;
	}
	v[2] ^= 0xff;
	naive_rounds(v, d);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static void
count_up(unsigned char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (unsigned char)i;
}

START_TEST(siphash24_gives_the_published_vectors)
{
	unsigned char message[NVECTORS];

	count_up(message, sizeof(message));
	ck_assert_uint_eq(siphash24(K0, K1, message, (size_t)_i), vectors[_i]);
	ck_assert_uint_eq(naive_siphash(2, 4, K0, K1, message, (size_t)_i), vectors[_i]);
}
END_TEST

/* Also lengths over 255, whose low byte alone enters the last word. */
START_TEST(siphash13_agrees_with_the_naive_one)
{
	unsigned char message[8 + 600];
	uint64_t head = 0x8877665544332211u * (uint64_t)(_i + 1);
	uint64_t k0 = K0 * (uint64_t)(_i + 3), k1 = K1 ^ (uint64_t)_i;

	for (int i = 0; i < 8; i++)
		message[i] = (unsigned char)(head >> (8 * i));
	count_up(message + 8, sizeof(message) - 8);
	ck_assert_uint_eq(siphash13(k0, k1, head, message + 8, (size_t)_i),
	    naive_siphash(1, 3, k0, k1, message, 8 + (size_t)_i));
}
END_TEST

START_TEST(unaligned_bytes_hash_the_same)
{
	unsigned char aligned[32], shifted[64];

	count_up(aligned, sizeof(aligned));
	memcpy(shifted + _i, aligned, sizeof(aligned));
	ck_assert_uint_eq(siphash13(K0, K1, 7, aligned, sizeof(aligned)),
	    siphash13(K0, K1, 7, shifted + _i, sizeof(aligned)));
}
END_TEST

START_TEST(every_part_of_the_input_matters)
{
	unsigned char message[24];
	uint64_t plain;

	count_up(message, sizeof(message));
	plain = siphash13(K0, K1, 1, message, sizeof(message));
	ck_assert_uint_ne(plain, siphash13(K0 ^ 1, K1, 1, message, sizeof(message)));
	ck_assert_uint_ne(plain, siphash13(K0, K1 ^ 1, 1, message, sizeof(message)));
	ck_assert_uint_ne(plain, siphash13(K0, K1, 2, message, sizeof(message)));
	ck_assert_uint_ne(plain, siphash13(K0, K1, 1, message, sizeof(message) - 1));
	for (size_t i = 0; i < sizeof(message); i++) {
		message[i] ^= 0x10;
		ck_assert_uint_ne(plain, siphash13(K0, K1, 1, message, sizeof(message)));
		message[i] ^= 0x10;
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("siphash");
	TCase *tc = tcase_create("siphash");

	tcase_add_loop_test(tc, siphash24_gives_the_published_vectors, 0, NVECTORS);
	tcase_add_loop_test(tc, siphash13_agrees_with_the_naive_one, 0, 600);
	tcase_add_loop_test(tc, unaligned_bytes_hash_the_same, 0, 9);
	tcase_add_test(tc, every_part_of_the_input_matters);
	suite_add_tcase(suite, tc);
	return run(suite);
}

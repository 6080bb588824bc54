/* SPDX-License-Identifier: BSD-2-Clause */
#include "siphash.h"

uint64_t
siphash24(uint64_t k0, uint64_t k1, const void *bytes, size_t len)
{
	struct siphash h;

	siphash_init(&h, k0, k1);
	siphash_bytes(&h, bytes, len, len, 2);
	return siphash_finish(&h, 4);
}

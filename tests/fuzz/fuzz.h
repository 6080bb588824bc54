/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz -- what a fuzzer of lib needs. Each fuzz_<x>.c is run by libFuzzer
 * (`make fuzz`) and by replay.c, which feeds it the corpus in `make check`.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define FUZZ_TEXT_MAX	1024

int	 LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* An assert() that no build leaves out. */
#define MUST(claim) \
	do { \
		if (!(claim)) { \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #claim); \
			abort(); \
		} \
	} while (0)

#endif

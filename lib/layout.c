/* SPDX-License-Identifier: BSD-2-Clause */
#include "layout.h"

#include <stddef.h>

#include "fingerprint.h"

const char layout_rows[] =
#define STATUS(name, kind, unit, help)	#name " " #kind " " unit "\n"
#include "status.def"
#undef STATUS
;

uint32_t
layout_word(const char *rows)
{
	static const uint64_t sizes[] = {
		sizeof(long), sizeof(void *),
		sizeof(struct ctl), offsetof(struct ctl, status), offsetof(struct ctl, problem),
		sizeof(struct root), offsetof(struct root, generation), sizeof(struct segment_head),
		sizeof(struct record), sizeof(struct realm_marks), sizeof(struct policy_block),
		LAYOUT_PAGE, LAYOUT_MAX_SHARDS, LAYOUT_MAX_PROBES, LAYOUT_MAX_HANDLES,
	};

	return LAYOUT_VERSION << 24 | (uint32_t)(fingerprint(rows, sizes, sizeof sizes / sizeof sizes[0]) & 0xffffff);
}

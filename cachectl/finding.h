/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * finding -- what cachectl lint found: printed, counted, and the SQL that
 * mends it.
 */
#ifndef FINDING_H
#define FINDING_H

#include <stdio.h>

#include "cachectl.h"
#include "policies.h"
#include "row.h"

enum finding {
#define FINDING(NAME, token, severity, sentence)	FINDING_##NAME,
#include "lint.def"
#undef FINDING
	FINDING_COUNT
};

enum severity { SEVERITY_ERROR, SEVERITY_WARNING, SEVERITY_NOTE, SEVERITY_COUNT };

const char	*severity_name(enum severity);

struct report {
	bool		 json;
	bool		 only_sql;
	bool		 has_database;		/* SQL can mend something */
	enum severity	 least;			/* weaker findings are neither told nor counted */
	uint64_t	 limit;			/* told of each finding; 0: all */
	struct span	 harmless;		/* a policy without credentials, empty: there is none */
	uint64_t	 found[FINDING_COUNT];
};

/* detail: more words, or NULL. A row, its policy k may be NULL; or a policy. */
void	 report_row(struct report *r, enum finding f, const struct row *row, const char *detail);
void	 report_policy(struct report *r, enum finding f, const struct known *k, const char *detail);
/* Neither a row nor a policy is at fault. */
void	 report_database(struct report *r, enum finding f, const char *detail);

uint64_t report_count(const struct report *r, enum severity severity);
/* Findings that were counted and not told: a line of each. */
void	 report_rest(const struct report *r);

#endif

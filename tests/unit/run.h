/* SPDX-License-Identifier: BSD-2-Clause */
/* run -- the main() that every unit test shares: run a suite, say what failed. */
#ifndef RUN_H
#define RUN_H

#include <check.h>
#include <stdlib.h>

static inline int
run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif

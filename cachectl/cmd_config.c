/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>

#include "cachectl.h"
#include "output.h"

#define WIDTH	100	/* columns of the sample's comments */

/* A comment, broken between words. */
static void
print_prose(const char *prose)
{
	size_t column = 0;

	while (*prose != '\0') {
		size_t len = strcspn(prose, " ");

		if (column > 0 && column + 1 + len > WIDTH) {
			putchar('\n');
			column = 0;
		}
		column += (size_t)printf("%s%.*s", column == 0 ? "\t# " : " ", (int)len, prose);
		prose += len + strspn(prose + len, " ");
	}
	putchar('\n');
}

static void
print_option(size_t i)
{
	const struct option_desc *d = &option_descs[i];
	char allowed[64];

	print_prose(d->prose);
	printf("\t# Allowed: %s. A change needs a %s.\n", config_allowed(i, allowed, sizeof allowed),
	    d->reload ? "reload" : "restart");
	printf("\t#%s = %s\n", d->name, d->def);
}

int
cmd_config(const struct call *call)
{
	size_t i;

	if (!flag_is_given(call, "sample")) {
		complain("config takes --sample; see cachectl config --help");
		return EXIT_MISUSED;
	}
	printf("# corscache.conf -- the settings of corscache-responder, corscache-syncd and cachectl.\n"
	    "# See corscache.conf(5). What is commented out is the default.\n"
	    "# ${VARIABLE} is taken from the environment.\n");
	for (i = 0; i < OPTION_COUNT; i++) {
		if (i == 0 || strcmp(option_descs[i].section, option_descs[i - 1].section) != 0)
			printf("%s\n%s {\n", i > 0 ? "}\n" : "", option_descs[i].section);
		else
			putchar('\n');
		print_option(i);
	}
	printf("}\n");
	return EXIT_YES;
}

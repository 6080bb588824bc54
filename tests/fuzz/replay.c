/* SPDX-License-Identifier: BSD-2-Clause */
/* replay -- feeds every file of CORPUS to the fuzzer it is linked with. */
#include "fuzz.h"

#include <dirent.h>

static void
replay(const char *name)
{
	char path[4096];
	size_t len = 0, cap = 0, n;
	uint8_t *bytes = NULL;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", CORPUS, name);
	if ((f = fopen(path, "rb")) == NULL) {
		perror(path);
		exit(EXIT_FAILURE);
	}
	do {
		cap += 4096;
		MUST((bytes = realloc(bytes, cap)) != NULL);
		n = fread(bytes + len, 1, cap - len, f);
		len += n;
	} while (len == cap);
	fclose(f);
	/* exactly as long as the input, so that a sanitizer sees one byte too many */
	MUST((bytes = realloc(bytes, len + (len == 0))) != NULL);
	fprintf(stderr, "%s\n", name);
	LLVMFuzzerTestOneInput(bytes, len);
	free(bytes);
}

int
main(void)
{
	DIR *dir = opendir(CORPUS);
	struct dirent *entry;
	unsigned seeds = 0;

	if (dir == NULL) {
		perror(CORPUS);
		return EXIT_FAILURE;
	}
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		replay(entry->d_name);
		seeds++;
	}
	closedir(dir);
	printf("%u seeds of %s\n", seeds, CORPUS);
	return seeds > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

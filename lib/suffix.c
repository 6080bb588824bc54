/* SPDX-License-Identifier: BSD-2-Clause */
#include "suffix.h"

#include <assert.h>
#include <errno.h>
#include <libpsl.h>
#include <string.h>

static psl_ctx_t *list;

int
suffix_open(void)
{
	if (list == NULL)
		list = psl_latest(NULL);
	return list != NULL ? 0 : -ENOMEM;
}

void
suffix_close(void)
{
	psl_free(list);
	list = NULL;
}

static bool
is_localhost(const char *host, size_t len)
{
	static const char name[] = "localhost";
	size_t n = sizeof(name) - 1;

	return len >= n && memcmp(host + len - n, name, n) == 0 && (len == n || host[len - n - 1] == '.');
}

/*
 * A single label that the list does not know counts as public (the list's
 * "prevailing rule is *"): nobody has shown that one person owns all below it.
 */
bool
suffix_is_public(struct span host)
{
	char name[ORIGIN_MAX_HOST + 1];

	assert(list != NULL);
	if (host.len > ORIGIN_MAX_HOST)
		return true;
	if (is_localhost(host.at, host.len))
		return false;
	memcpy(name, host.at, host.len);
	name[host.len] = '\0';
	return psl_is_public_suffix(list, name);
}

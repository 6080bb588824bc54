/* SPDX-License-Identifier: BSD-2-Clause */
#include "keyset.h"

#include <stdlib.h>
#include <string.h>

#define KEYSET_FIRST	64	/* chains, a power of two */

struct keyset {
	struct key	**chains;
	size_t		  nchains;
	size_t		  count;
};

/* FNV-1a; the length of the realm keeps ("a", "bc") and ("ab", "c") apart. */
static size_t
hash(struct span realm, struct span origin)
{
	uint64_t h = 0xcbf29ce484222325 ^ realm.len;

	for (size_t i = 0; i < realm.len; i++)
		h = (h ^ (unsigned char)realm.at[i]) * 0x100000001b3;
	for (size_t i = 0; i < origin.len; i++)
		h = (h ^ (unsigned char)origin.at[i]) * 0x100000001b3;
	return (size_t)(h ^ h >> 32);
}

static bool
is_same(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static struct key **
chain_of(const struct keyset *set, struct span realm, struct span origin)
{
	return &set->chains[hash(realm, origin) & (set->nchains - 1)];
}

/* Where the key hangs, or where it would. */
static struct key **
find(const struct keyset *set, struct span realm, struct span origin)
{
	struct key **at = chain_of(set, realm, origin);

	while (*at != NULL && !(is_same((*at)->origin, origin) && is_same((*at)->realm, realm)))
		at = &(*at)->next;
	return at;
}

struct keyset *
keyset_new(void)
{
	struct keyset *set = malloc(sizeof *set);

	if (set == NULL)
		return NULL;
	*set = (struct keyset){ .nchains = KEYSET_FIRST };
	set->chains = calloc(set->nchains, sizeof *set->chains);
	if (set->chains == NULL) {
		free(set);
		return NULL;
	}
	return set;
}

void
keyset_free(struct keyset **set)
{
	struct key *key, *next;

	if (*set == NULL)
		return;
	for (size_t i = 0; i < (*set)->nchains; i++) {
		for (key = (*set)->chains[i]; key != NULL; key = next) {
			next = key->next;
			free(key);
		}
	}
	free((*set)->chains);
	free(*set);
	*set = NULL;
}

size_t
keyset_count(const struct keyset *set)
{
	return set->count;
}

struct key *
keyset_get(const struct keyset *set, struct span realm, struct span origin)
{
	return *find(set, realm, origin);
}

/* Twice the chains; without memory for them the chains just get longer. */
static void
grow(struct keyset *set)
{
	struct keyset wide = { .nchains = set->nchains * 2, .count = set->count };
	struct key *key, *next, **at;

	wide.chains = calloc(wide.nchains, sizeof *wide.chains);
	if (wide.chains == NULL)
		return;
	for (size_t i = 0; i < set->nchains; i++) {
		for (key = set->chains[i]; key != NULL; key = next) {
			next = key->next;
			at = chain_of(&wide, key->realm, key->origin);
			key->next = *at;
			*at = key;
		}
	}
	free(set->chains);
	*set = wide;
}

struct key *
keyset_put(struct keyset *set, struct span realm, struct span origin)
{
	struct key **at = find(set, realm, origin), *key = *at;
	char *bytes;

	if (key != NULL)
		return key;
	key = malloc(sizeof *key + realm.len + origin.len);
	if (key == NULL)
		return NULL;
	bytes = (char *)(key + 1);
	*key = (struct key){ .realm = { bytes, realm.len }, .origin = { bytes + realm.len, origin.len } };
	if (realm.len > 0)
		memcpy(bytes, realm.at, realm.len);
	if (origin.len > 0)
		memcpy(bytes + realm.len, origin.at, origin.len);
	*at = key;
	if (++set->count > set->nchains)
		grow(set);
	return key;
}

bool
keyset_remove(struct keyset *set, struct span realm, struct span origin)
{
	struct key **at = find(set, realm, origin), *key = *at;

	if (key == NULL)
		return false;
	*at = key->next;
	free(key);
	set->count--;
	return true;
}

struct key *
keyset_next(const struct keyset *set, const struct key *key)
{
	size_t i = 0;

	if (key != NULL) {
		if (key->next != NULL)
			return key->next;
		i = (size_t)(chain_of(set, key->realm, key->origin) - set->chains) + 1;
	}
	for (; i < set->nchains; i++)
		if (set->chains[i] != NULL)
			return set->chains[i];
	return NULL;
}

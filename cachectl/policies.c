/* SPDX-License-Identifier: BSD-2-Clause */
#include "policies.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

static int
compare(const void *a, const void *b)
{
	const struct span *x = &((const struct known *)a)->name, *y = &((const struct known *)b)->name;
	size_t len = x->len < y->len ? x->len : y->len;
	int c = len > 0 ? memcmp(x->at, y->at, len) : 0;

	return c != 0 ? c : (x->len > y->len) - (x->len < y->len);
}

static void
forget(void *k)
{
	free(((struct known *)k)->block);
	free(k);
}

void
policies_fini(struct policies *set)
{
	tdestroy(set->tree, forget);
	set->tree = NULL;
}

struct known *
policies_find(const struct policies *set, struct span name)
{
	const struct known key = { .name = name };
	void *found = tfind(&key, &set->tree, compare);

	return found != NULL ? *(struct known **)found : NULL;
}

struct known *
policies_put(struct policies *set, struct span name)
{
	struct known *k = policies_find(set, name);
	char *copy;

	if (k != NULL)
		return k;
	if ((k = calloc(1, sizeof *k + name.len + 1)) == NULL)
		return NULL;
	copy = (char *)(k + 1);
	memcpy(copy, name.at, name.len);
	k->name = (struct span){ copy, name.len };
	if (tsearch(k, &set->tree, compare) == NULL) {
		free(k);
		return NULL;
	}
	return k;
}

struct walk {
	void	 (*each)(struct known *k, void *arg);
	void	*arg;
};

static void
visit(const void *node, VISIT order, void *arg)
{
	const struct walk *w = arg;

	if (order == postorder || order == leaf)
		w->each(*(struct known *const *)node, w->arg);
}

void
policies_each(const struct policies *set, void (*each)(struct known *k, void *arg), void *arg)
{
	struct walk w = { each, arg };

	twalk_r(set->tree, visit, &w);
}

int
known_compile(struct known *k, const struct policy_row *row)
{
	char block[POLICY_MAX];
	size_t len = 0;
	void *copy;

	k->culprit = (struct span){ NULL, 0 };
	k->status = policy_compile(row, block, &len, &k->culprit);
	if (k->status != POLICY_OK)
		return 0;
	if ((copy = malloc(len)) == NULL)
		return -ENOMEM;
	memcpy(copy, block, len);
	free(k->block);
	k->block = copy;
	k->status = policy_read(&k->policy, copy, len);
	return 0;
}

static struct span
copy_bytes(char **at, struct span s)
{
	struct span copy = { *at, s.len };

	memcpy(*at, s.at, s.len);
	*at += s.len;
	return copy;
}

int
known_copy(struct known *k, const struct policy *p)
{
	char *at = malloc(p->methods.len + p->headers.len + p->expose.len + 1);

	if (at == NULL)
		return -ENOMEM;
	free(k->block);
	k->block = at;
	k->policy = *p;
	k->policy.name = k->name;
	k->policy.methods = copy_bytes(&at, p->methods);
	k->policy.headers = copy_bytes(&at, p->headers);
	k->policy.expose = copy_bytes(&at, p->expose);
	k->status = POLICY_OK;
	return 0;
}

bool
known_needs_safe(const struct known *k)
{
	return k->status == POLICY_OK && k->policy.credentials && !k->policy.insecure;
}

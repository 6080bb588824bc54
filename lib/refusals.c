/* SPDX-License-Identifier: BSD-2-Clause */
#include "refusals.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "decide.h"
#include "dirlock.h"
#include "fingerprint.h"
#include "wholefile.h"

#define MAGIC		UINT64_C(0x316675666572636f)	/* "ocrefuf1", little endian */
#define FILES		1024
#define LOCK_WAIT_MS	2000
#define NAME_SIZE	32

struct lists {
	struct wholefile	 header;
	uint64_t		 reserved[6];
	struct frequent_list	 refused;
	struct frequent_list	 realms;
};

_Static_assert(REASON_COUNT < 256, "a reason is a byte");

/* A reason is stored as its number, which is its place among the others. */
const char refusals_rows[] =
#define REASON(name, token, verdict, sentence)	token "\n"
#include "reasons.def"
#undef REASON
;

uint64_t
refusals_layout(const char *rows)
{
	static const uint64_t sizes[] = { sizeof(struct lists), sizeof(struct frequent_entry),
		FREQUENT_ENTRIES, FREQUENT_REALM_KEPT };

	return fingerprint(rows, sizes, sizeof sizes / sizeof sizes[0]);
}

static struct wholefile
header(void)
{
	return (struct wholefile){ MAGIC, refusals_layout(refusals_rows) };
}

struct refusals {
	int			 fd;		/* its lock is the ownership */
	struct lists		*lists;
	struct frequent		 refused;
	struct frequent		 realms;
};

/* A lock of the open file description: threads exclude each other as processes do. */
static int
claim_file(int dirfd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	const struct wholefile ours = header();
	char name[NAME_SIZE];
	int n, fd, error;

	for (n = 0; n < FILES; n++) {
		snprintf(name, sizeof name, "refusals.%d", n);
		fd = wholefile_open_or_create(dirfd, name, &ours, sizeof(struct lists));
		if (fd < 0)
			return fd;
		if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
			return fd;
		error = -errno;
		close(fd);
		if (error != -EAGAIN && error != -EACCES)
			return error;
	}
	return -EUSERS;
}

static int
open_list(struct frequent *f, struct frequent_list *list)
{
	uint64_t random[3];

	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
		return -EIO;
	if (list->key[0] == 0)
		memcpy(list->key, random, sizeof list->key);
	frequent_open(f, list, random[2]);
	return 0;
}

static int
map_lists(struct refusals *r)
{
	int error;

	r->lists = mmap(NULL, sizeof *r->lists, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	if (r->lists == MAP_FAILED) {
		r->lists = NULL;
		return -errno;
	}
	error = open_list(&r->refused, &r->lists->refused);
	return error != 0 ? error : open_list(&r->realms, &r->lists->realms);
}

int
refusals_claim(struct refusals **out, const char *dir)
{
	struct refusals *r = NULL;
	char path[PATH_MAX];
	int dirfd, fd, error;

	if (snprintf(path, sizeof path, "%s/counters", dir) >= (int)sizeof path)
		return -ENAMETOOLONG;
	dirfd = dirlock_take(path, LOCK_WAIT_MS);
	if (dirfd < 0)
		return dirfd;
	fd = claim_file(dirfd);
	close(dirfd);
	if (fd < 0)
		return fd;
	r = calloc(1, sizeof *r);
	if (r == NULL) {
		close(fd);
		return -ENOMEM;
	}
	r->fd = fd;
	error = map_lists(r);
	if (error != 0)
		refusals_release(&r);
	else
		*out = r;
	return error;
}

void
refusals_release(struct refusals **r)
{
	if (*r == NULL)
		return;
	if ((*r)->lists != NULL)
		munmap((*r)->lists, sizeof *(*r)->lists);
	close((*r)->fd);
	free(*r);
	*r = NULL;
}

void
refusals_count(struct refusals *r, const struct frequent_key *key, int64_t now_s)
{
	if (r != NULL)
		frequent_count(&r->refused, key, now_s);
}

void
refusals_count_realm(struct refusals *r, struct span realm, int64_t now_s)
{
	if (r != NULL)
		frequent_count(&r->realms, &(struct frequent_key){ .realm = realm }, now_s);
}

/* ---- reading ---- */

static int
compare_keys(const void *a, const void *b)
{
	const struct frequent_item *x = a, *y = b;
	int order;

	if (x->reason != y->reason)
		return x->reason < y->reason ? -1 : 1;
	if (x->realm_len != y->realm_len)
		return x->realm_len < y->realm_len ? -1 : 1;
	if (x->origin_len != y->origin_len)
		return x->origin_len < y->origin_len ? -1 : 1;
	order = memcmp(x->realm, y->realm, frequent_realm(x).len);
	return order != 0 ? order : memcmp(x->origin, y->origin, frequent_origin(x).len);
}

static int
compare_counts(const void *a, const void *b)
{
	const struct frequent_item *x = a, *y = b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return compare_keys(a, b);
}

static void
merge(struct frequent_item *into, const struct frequent_item *other)
{
	into->count += other->count;
	into->missed += other->missed;
	if (other->first_s < into->first_s)
		into->first_s = other->first_s;
	if (other->last_s > into->last_s)
		into->last_s = other->last_s;
}

/* Behind those that are there, or into the one that looks the same: of long keys a part is kept. */
static void
add_item(struct refusals_list *out, size_t first, const struct frequent_item *item)
{
	size_t i;

	for (i = first; i < out->nitems; i++)
		if (compare_keys(&out->items[i], item) == 0) {
			merge(&out->items[i], item);
			return;
		}
	out->items[out->nitems++] = *item;
}

/*
 * missed is stored less the others of this list: a list that knows nothing of a
 * key may have missed as much of it as its others are, and the sum over all
 * lists is added in finish(). No list missed more than its others.
 */
static int
add_list(struct refusals_list *out, const struct frequent_list *list)
{
	uint64_t others = frequent_others(list);
	struct frequent_item *items, item;
	size_t i, first = out->nitems;
	unsigned at;

	items = realloc(out->items, (out->nitems + FREQUENT_ENTRIES) * sizeof *items);
	if (items == NULL)
		return -ENOMEM;
	out->items = items;
	for (at = 0; at < FREQUENT_ENTRIES; at++)
		if (frequent_read(list, at, &item) && item.reason < REASON_COUNT)
			add_item(out, first, &item);
	for (i = first; i < out->nitems; i++)
		items[i].missed = (items[i].missed < others ? items[i].missed : others) - others;
	out->others += others;
	return 0;
}

static void
finish(struct refusals_list *list, int64_t now_s)
{
	struct frequent_item *items = list->items;
	uint64_t others = list->others;
	size_t i, n = 0;

	if (list->nitems == 0)
		return;
	qsort(items, list->nitems, sizeof *items, compare_keys);
	for (i = 0; i < list->nitems; i++) {
		if (n > 0 && compare_keys(&items[n - 1], &items[i]) == 0)
			merge(&items[n - 1], &items[i]);
		else
			items[n++] = items[i];
	}
	list->nitems = 0;
	for (i = 0; i < n; i++) {
		items[i].missed += others;
		if (now_s - items[i].last_s > REFUSALS_KEEP_S)
			list->others += items[i].count;
		else
			items[list->nitems++] = items[i];
	}
	qsort(items, list->nitems, sizeof *items, compare_counts);
}

static int
add_file(struct refusals_report *report, int fd)
{
	const struct lists *lists;
	int error;

	lists = mmap(NULL, sizeof *lists, PROT_READ, MAP_SHARED, fd, 0);
	if (lists == MAP_FAILED)
		return -errno;
	error = add_list(&report->refused, &lists->refused);
	if (error == 0)
		error = add_list(&report->realms, &lists->realms);
	munmap((void *)lists, sizeof *lists);
	return error;
}

static int
add_files(struct refusals_report *report, int dirfd)
{
	const struct wholefile ours = header();
	char name[NAME_SIZE];
	int n, fd, error = 0;

	for (n = 0; n < FILES && error == 0; n++) {
		snprintf(name, sizeof name, "refusals.%d", n);
		fd = wholefile_open(dirfd, name, O_RDONLY, &ours, sizeof(struct lists));
		if (fd >= 0) {
			error = add_file(report, fd);
			close(fd);
		} else if (!wholefile_is_unusable(fd)) {
			error = fd;
		}
	}
	return error;
}

int
refusals_read(const char *dir, int64_t now_s, struct refusals_report *report)
{
	char path[PATH_MAX];
	int dirfd, error;

	memset(report, 0, sizeof *report);
	if (snprintf(path, sizeof path, "%s/counters", dir) >= (int)sizeof path)
		return -ENAMETOOLONG;
	dirfd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return errno == ENOENT ? 0 : -errno;
	error = add_files(report, dirfd);
	close(dirfd);
	if (error != 0) {
		refusals_free(report);
		return error;
	}
	finish(&report->refused, now_s);
	finish(&report->realms, now_s);
	return 0;
}

const struct frequent_item *
refusals_find(const struct refusals_list *list, const struct frequent_item *item)
{
	size_t i;

	for (i = 0; i < list->nitems; i++)
		if (compare_keys(&list->items[i], item) == 0)
			return &list->items[i];
	return NULL;
}

void
refusals_free(struct refusals_report *report)
{
	free(report->refused.items);
	free(report->realms.items);
	memset(report, 0, sizeof *report);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "revoked.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "key.h"

#define HEAD		"corscache revoked 1 "
#define BOOT_ID		"/proc/sys/kernel/random/boot_id"
#define BOOT_MAX	40
#define NFIELDS		7	/* realm, origin, since, until, ends, uid, note */

struct kept {
	struct revocation	 r;	/* first: what the tree compares */
	char			 bytes[];
};

struct revoked {
	void	*tree;			/* tsearch(3) of struct kept */
	size_t	 count;
	int64_t	 due_ms;		/* no end is before that; 0: none ends */
};

static int64_t
boot_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int
compare_spans(struct span x, struct span y)
{
	if (x.len != y.len)
		return x.len < y.len ? -1 : 1;
	return memcmp(x.at, y.at, x.len);
}

static int
compare(const void *a, const void *b)
{
	const struct revocation *x = a, *y = b;
	int order = compare_spans(x->origin, y->origin);

	return order != 0 ? order : compare_spans(x->realm, y->realm);
}

/* ---- the set ---- */

struct revoked *
revoked_new(void)
{
	return calloc(1, sizeof(struct revoked));
}

void
revoked_free(struct revoked **set)
{
	if (*set == NULL)
		return;
	tdestroy((*set)->tree, free);
	free(*set);
	*set = NULL;
}

size_t
revoked_count(const struct revoked *set)
{
	return set->count;
}

static struct kept *
find(const struct revoked *set, struct span realm, struct span origin)
{
	const struct revocation want = { .realm = realm, .origin = origin };
	struct kept **found = tfind(&want, (void *const *)&set->tree, compare);

	return found == NULL ? NULL : *found;
}

const struct revocation *
revoked_get(const struct revoked *set, struct span realm, struct span origin)
{
	const struct kept *e = find(set, realm, origin);

	return e == NULL ? NULL : &e->r;
}

bool
revoked_note_is_valid(struct span note)
{
	for (size_t i = 0; i < note.len; i++)
		if ((unsigned char)note.at[i] < 0x20 || note.at[i] == 0x7f)
			return false;
	return note.len <= REVOKED_NOTE_MAX;
}

static bool
is_valid(const struct revocation *r)
{
	struct rule rule;

	return realm_is_valid(r->realm.at, r->realm.len) && rule_parse(&rule, r->origin.at, r->origin.len) == ORIGIN_OK &&
	    revoked_note_is_valid(r->note) && r->since_s >= 0 && r->until_s >= 0 && r->ends_ms >= 0 &&
	    (r->until_s == 0) == (r->ends_ms == 0);
}

static struct span
append(char **to, struct span from)
{
	struct span copy = { *to, from.len };

	if (from.len > 0)
		memcpy(*to, from.at, from.len);
	*to += from.len;
	return copy;
}

int
revoked_put(struct revoked *set, const struct revocation *r)
{
	struct kept *e, **found;
	char *p;

	if (!is_valid(r))
		return -EINVAL;
	if ((e = malloc(sizeof *e + r->realm.len + r->origin.len + r->note.len)) == NULL)
		return -ENOMEM;
	e->r = *r;
	p = e->bytes;
	e->r.realm = append(&p, r->realm);
	e->r.origin = append(&p, r->origin);
	e->r.note = append(&p, r->note);
	revoked_remove(set, r->realm, r->origin);
	if ((found = tsearch(e, &set->tree, compare)) == NULL) {
		free(e);
		return -ENOMEM;
	}
	set->count++;
	if (e->r.ends_ms != 0 && (set->due_ms == 0 || e->r.ends_ms < set->due_ms))
		set->due_ms = e->r.ends_ms;
	return 0;
}

bool
revoked_remove(struct revoked *set, struct span realm, struct span origin)
{
	struct kept *e = find(set, realm, origin);

	if (e == NULL)
		return false;
	tdelete(e, &set->tree, compare);
	free(e);
	set->count--;
	return true;
}

struct walk {
	void	(*each)(const struct revocation *r, void *arg);
	void	*arg;
};

static void
visit(const void *node, VISIT when, void *arg)
{
	const struct walk *walk = arg;

	if (when == postorder || when == leaf)
		walk->each(&(*(struct kept *const *)node)->r, walk->arg);
}

void
revoked_each(const struct revoked *set, void (*each)(const struct revocation *r, void *arg), void *arg)
{
	struct walk walk = { each, arg };

	twalk_r(set->tree, visit, &walk);
}

static void
find_first_end(const struct revocation *r, void *arg)
{
	const struct revocation **first = arg;

	if (r->ends_ms != 0 && (*first == NULL || r->ends_ms < (*first)->ends_ms))
		*first = r;
}

const struct revocation *
revoked_over(const struct revoked *set)
{
	struct revoked *writable = (struct revoked *)set;
	const struct revocation *first = NULL;
	int64_t now = boot_ms();

	if (set->due_ms == 0 || now < set->due_ms)
		return NULL;
	revoked_each(set, find_first_end, &first);
	writable->due_ms = first == NULL ? 0 : first->ends_ms;
	return first != NULL && first->ends_ms <= now ? first : NULL;
}

void
revocation_begin(struct revocation *r, int64_t seconds)
{
	r->since_s = (int64_t)time(NULL);
	r->until_s = seconds > 0 ? r->since_s + seconds : 0;
	r->ends_ms = seconds > 0 ? boot_ms() + seconds * 1000 : 0;
}

/* ---- the file ---- */

/* "": it cannot be told, and no two boots are the same. */
static void
read_boot_id(char id[BOOT_MAX])
{
	int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, id, BOOT_MAX - 1);

	if (fd >= 0)
		close(fd);
	id[n > 0 ? n : 0] = '\0';
	id[strcspn(id, " \n")] = '\0';
}

static void
write_line(const struct revocation *r, void *arg)
{
	fprintf(arg, "%.*s\t%.*s\t%" PRId64 "\t%" PRId64 "\t%" PRId64 "\t%" PRIu32 "\t%.*s\n", (int)r->realm.len, r->realm.at,
	    (int)r->origin.len, r->origin.at, r->since_s, r->until_s, r->ends_ms, r->uid, (int)r->note.len, r->note.at);
}

static uint64_t
sum_of(const char *text, size_t len)
{
	return siphash13(0, 0, len, text, len);
}

static char *
text_of(const struct revoked *set, size_t *len)
{
	char boot[BOOT_MAX], *text = NULL;
	FILE *out = open_memstream(&text, len);

	if (out == NULL)
		return NULL;
	read_boot_id(boot);
	fprintf(out, HEAD "%s\n", boot[0] != '\0' ? boot : "-");
	revoked_each(set, write_line, out);
	if (fflush(out) == 0)
		fprintf(out, "end\t%zu\t%016" PRIx64 "\n", set->count, sum_of(text, *len));
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

static int
write_all(int fd, const char *text, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd, text + done, len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

/* The directory, so that the name survives as well; made if need be. */
static int
open_directory(const char *path)
{
	char copy[PATH_MAX], *dir;
	int fd;

	if ((size_t)snprintf(copy, sizeof copy, "%s", path) >= sizeof copy)
		return -ENAMETOOLONG;
	dir = dirname(copy);
	if (mkdir(dir, 0750) != 0 && errno != EEXIST)
		return -errno;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int
write_new(const char *path, gid_t group, const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640), error;

	if (fd < 0)
		return -errno;
	error = fchmod(fd, 0640) != 0 || (group != (gid_t)-1 && fchown(fd, (uid_t)-1, group) != 0) ? -errno : 0;
	if (error == 0)
		error = write_all(fd, text, len);
	if (error == 0 && fsync(fd) != 0)
		error = -errno;
	if (close(fd) != 0 && error == 0)
		error = -errno;
	return error;
}

int
revoked_write(const struct revoked *set, const char *path, gid_t group)
{
	char fresh[PATH_MAX];
	size_t len;
	char *text;
	int dir = open_directory(path), error;

	if (dir < 0)
		return dir;
	if ((size_t)snprintf(fresh, sizeof fresh, "%s.new", path) >= sizeof fresh)
		error = -ENAMETOOLONG;
	else if ((text = text_of(set, &len)) == NULL)
		error = -ENOMEM;
	else {
		error = write_new(fresh, group, text, len);
		if (error == 0 && (rename(fresh, path) != 0 || fsync(dir) != 0))
			error = -errno;
		if (error != 0)
			unlink(fresh);
		free(text);
	}
	close(dir);
	return error;
}

static int
read_file(const char *path, char **text, size_t *len)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK), error = 0;
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return -errno;
	*len = 0;
	*text = NULL;
	if (fstat(fd, &st) != 0)
		error = -errno;
	else if (!S_ISREG(st.st_mode))
		error = -EBADMSG;
	else if ((*text = malloc((size_t)st.st_size + 1)) == NULL)
		error = -ENOMEM;
	while (error == 0 && *len < (size_t)st.st_size && (n = read(fd, *text + *len, (size_t)st.st_size - *len)) != 0) {
		if (n > 0)
			*len += (size_t)n;
		else if (errno != EINTR)
			error = -errno;
	}
	close(fd);
	if (error != 0)
		free(*text);
	else
		(*text)[*len] = '\0';
	return error;
}

static bool
read_number(struct span field, int64_t *n)
{
	*n = 0;
	for (size_t i = 0; i < field.len; i++) {
		if (field.at[i] < '0' || field.at[i] > '9' || i > 17)
			return false;
		*n = *n * 10 + (field.at[i] - '0');
	}
	return field.len > 0;
}

/* line: without its end. */
static bool
read_line(struct revocation *r, struct span line)
{
	struct span field[NFIELDS];
	int64_t uid;

	for (int i = 0; i < NFIELDS; i++) {
		const char *tab = i < NFIELDS - 1 ? memchr(line.at, '\t', line.len) : line.at + line.len;

		if (tab == NULL)
			return false;
		field[i] = (struct span){ line.at, (size_t)(tab - line.at) };
		if (i < NFIELDS - 1)
			line = (struct span){ tab + 1, line.len - field[i].len - 1 };
	}
	*r = (struct revocation){ .realm = field[0], .origin = field[1], .note = field[6] };
	if (!read_number(field[2], &r->since_s) || !read_number(field[3], &r->until_s) ||
	    !read_number(field[4], &r->ends_ms) || !read_number(field[5], &uid) || uid > UINT32_MAX)
		return false;
	r->uid = (uint32_t)uid;
	return true;
}

/* What is left of a duration that began before this boot. */
static void
begin_again(struct revocation *r)
{
	int64_t left = r->until_s - (int64_t)time(NULL);

	if (r->until_s != 0)
		r->ends_ms = boot_ms() + (left > 0 ? left : 0) * 1000;
}

static int
read_lines(struct revoked *set, const char *at, const char *end)
{
	char boot[BOOT_MAX];
	const char *newline = memchr(at, '\n', (size_t)(end - at));
	bool is_this_boot;
	struct revocation r;

	if (newline == NULL || strncmp(at, HEAD, sizeof HEAD - 1) != 0)
		return -EBADMSG;
	read_boot_id(boot);
	at += sizeof HEAD - 1;
	is_this_boot = boot[0] != '\0' && strlen(boot) == (size_t)(newline - at) && memcmp(at, boot, strlen(boot)) == 0;
	for (at = newline + 1; at < end; at = newline + 1) {
		if ((newline = memchr(at, '\n', (size_t)(end - at))) == NULL ||
		    !read_line(&r, (struct span){ at, (size_t)(newline - at) }))
			return -EBADMSG;
		if (!is_this_boot)
			begin_again(&r);
		int error = revoked_put(set, &r);
		if (error != 0)
			return error == -EINVAL ? -EBADMSG : error;
	}
	return 0;
}

int
revoked_read(struct revoked *set, const char *path)
{
	char end[64];
	size_t len = 0;
	char *text = NULL, *last = NULL;
	int error = read_file(path, &text, &len);

	if (error != 0)
		return error == -ENOENT ? 0 : error;
	for (size_t i = len; last == NULL && i > 1; i--)
		if (i < len && text[i - 1] == '\n')
			last = text + i;
	error = last == NULL || strlen(text) != len ? -EBADMSG : read_lines(set, text, last);
	if (error == 0) {
		snprintf(end, sizeof end, "end\t%zu\t%016" PRIx64 "\n", set->count, sum_of(text, (size_t)(last - text)));
		error = strcmp(last, end) == 0 ? 0 : -EBADMSG;
	}
	free(text);
	return error;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "writer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "table.h"

#define RESHARD_AGAIN_MS	60000

struct writer {
	struct table_place place;
	struct mapping	 ctl_map;
	struct ctl	*ctl;
	int		 dirfd;
	int		 lockfd;
	struct table	*live;
	struct table	*next;
	bool		 revocations_lost;	/* they could not be read: every origin is refused */
	int64_t		 reshard_at_ms;	/* not before: the last attempt failed */
	char		 error[PATH_MAX + 128];
};

static int64_t
clock_ms(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int
fail(struct writer *w, int error, const char *what, const char *name)
{
	snprintf(w->error, sizeof w->error, "cannot %s %s: %s", what, name, strerror(-error));
	return error;
}

static void
bump_epoch(struct writer *w)
{
	atomic_fetch_add_explicit(&w->ctl->epoch, 1, memory_order_release);
}

/* ---- superseded files ---- */

static void
remove_file(void *arg, const char *name)
{
	segment_remove(((struct writer *)arg)->dirfd, name);
}

struct lookup_name {
	const char	*name;
	bool		 found;
};

static void
compare_name(void *arg, const char *file)
{
	struct lookup_name *l = arg;

	l->found |= strcmp(l->name, file) == 0;
}

/* A table that could not be attached: readers may still live on it, as on any other. */
static bool
is_of_unread_table(const struct writer *w, const char *name)
{
	char root[SEGMENT_NAME];
	uint64_t id = atomic_load_explicit(&w->ctl->table, memory_order_relaxed);
	size_t n;

	segment_name_root(root, id);
	n = strlen(root);
	return w->live == NULL && id != 0 && strncmp(name, root, n) == 0 && (name[n] == '.' || name[n] == '\0');
}

static bool
is_in_use(const struct writer *w, const char *name)
{
	struct lookup_name l = { .name = name, .found = is_of_unread_table(w, name) };

	if (w->live != NULL)
		table_each_file(w->live, compare_name, &l);
	if (w->next != NULL)
		table_each_file(w->next, compare_name, &l);
	return l.found;
}

/* What a killed writer left behind: half-built files, and superseded ones. */
static void
sweep(struct writer *w)
{
	int fd = openat(w->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (d == NULL)
		return;
	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] == 't' && strlen(e->d_name) < SEGMENT_NAME && !is_in_use(w, e->d_name))
			segment_remove(w->dirfd, e->d_name);
	closedir(d);
}

/* ---- open and close ---- */

static int
make_directory(struct writer *w, const struct writer_options *opt)
{
	char path[PATH_MAX];
	struct stat st;
	uid_t uid;
	int error;

	if ((size_t)snprintf(path, sizeof path, "%s/" LAYOUT_DIR, opt->dir) >= sizeof path)
		return fail(w, -ENAMETOOLONG, "use", opt->dir);
	if (mkdir(opt->dir, 0755) == 0)
		chmod(opt->dir, 0755);		/* whatever the umask */
	else if (errno != EEXIST)
		return fail(w, -errno, "create", opt->dir);
	if (mkdir(path, 0750) == 0) {
		if (chmod(path, 0750) != 0 || (opt->group != (gid_t)-1 && chown(path, (uid_t)-1, opt->group) != 0))
			return fail(w, -errno, "set the group of", path);
	} else if (errno != EEXIST) {
		return fail(w, -errno, "create", path);
	}
	if ((error = segment_directory(opt->dir, &w->dirfd, &uid)) != 0)
		return fail(w, error, "open", path);
	if (fstat(w->dirfd, &st) == 0 && st.st_uid != geteuid())
		return fail(w, -EPERM, "own", path);
	return 0;
}

/*
 * An OFD lock: the kernel drops it with the descriptor, whatever kills us; and
 * readers can ask who holds it without taking it.
 */
static int
take_lock(struct writer *w, const char *dir)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	w->lockfd = openat(w->dirfd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (w->lockfd < 0 || fchmod(w->lockfd, 0640) != 0 ||
	    (w->place.group != (gid_t)-1 && fchown(w->lockfd, (uid_t)-1, w->place.group) != 0))
		return fail(w, -errno, "open the lock in", dir);
	if (fcntl(w->lockfd, F_OFD_SETLK, &lock) != 0)
		return fail(w, errno == EACCES || errno == EAGAIN ? -EWOULDBLOCK : -errno, "lock", dir);
	return 0;
}

static int
create_ctl(struct writer *w)
{
	uint64_t instance;
	int error;

	if (getrandom(&instance, sizeof instance, 0) != (ssize_t)sizeof instance)
		return -EIO;
	error = segment_create(&w->ctl_map, w->dirfd, "ctl.new", LAYOUT_PAGE, LAYOUT_PAGE, w->place.group);
	if (error != 0)
		return error;
	w->ctl = w->ctl_map.base;
	w->ctl->layout = LAYOUT_WORD;
	w->ctl->size = sizeof *w->ctl;
	w->ctl->instance = instance;
	atomic_store_explicit(&w->ctl->epoch, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	w->ctl->magic = CTL_MAGIC;
	return renameat(w->dirfd, "ctl.new", w->dirfd, "ctl") != 0 ? -errno : 0;
}

static int
open_ctl(struct writer *w, const char *dir)
{
	int error = segment_map_writable(&w->ctl_map, w->dirfd, "ctl", LAYOUT_PAGE);

	if (error == -ENOENT)
		error = create_ctl(w);
	if (error != 0 && error != -EPROTO)
		return fail(w, error, "open the table in", dir);
	if (error == 0)
		w->ctl = w->ctl_map.base;
	if (error != 0 || w->ctl->magic != CTL_MAGIC || w->ctl->layout != LAYOUT_WORD ||
	    w->ctl->size != sizeof *w->ctl) {
		w->ctl = NULL;		/* not ours to write */
		snprintf(w->error, sizeof w->error,
		    "%s/" LAYOUT_DIR "/ctl was made by another build, or is damaged: remove all in %s/" LAYOUT_DIR
		    " while no corscache program runs", dir, dir);
		return -EPROTO;
	}
	return 0;
}

/*
 * The table that a former writer left in force. One that cannot be read is
 * left alone, for readers to refuse, until the next commit replaces it.
 */
static void
attach_live(struct writer *w)
{
	uint64_t id = atomic_load_explicit(&w->ctl->table, memory_order_relaxed);
	int error;

	w->place = (struct table_place){ .ctl = w->ctl, .dirfd = w->dirfd, .group = w->place.group,
		.max_shards = w->place.max_shards };
	if (id != 0 && (error = table_attach(&w->live, &w->place, id)) != 0)
		fail(w, error, "attach the table in force", "");
	/* a former writer may have died between a generation's store and its epoch's */
	bump_epoch(w);
}

int
writer_open(struct writer **out, const struct writer_options *opt)
{
	struct writer *w = calloc(1, sizeof *w);
	int error;

	if (w == NULL)
		return -ENOMEM;
	w->dirfd = w->lockfd = w->ctl_map.fd = -1;
	w->place.group = opt->group;
	w->place.max_shards = opt->max_shards != 0 ? opt->max_shards : LAYOUT_MAX_SHARDS;
	if ((error = make_directory(w, opt)) != 0 || (error = take_lock(w, opt->dir)) != 0 ||
	    (error = open_ctl(w, opt->dir)) != 0) {
		if (opt->err != NULL)
			snprintf(opt->err, opt->errlen, "%s", w->error);
		writer_close(&w);
		return error;
	}
	attach_live(w);
	sweep(w);
	writer_set(w, STATUS_writer_pid, getpid());
	writer_set(w, STATUS_started_at, clock_ms(CLOCK_REALTIME));
	*out = w;
	return 0;
}

void
writer_close(struct writer **wp)
{
	struct writer *w = *wp;

	if (w == NULL)
		return;
	if (w->next != NULL)
		writer_abort(w, &w->next);
	table_free(&w->live);
	if (w->ctl != NULL)
		writer_set(w, STATUS_writer_pid, 0);
	segment_unmap(&w->ctl_map);
	if (w->lockfd >= 0)
		close(w->lockfd);
	if (w->dirfd >= 0)
		close(w->dirfd);
	free(w);
	*wp = NULL;
}

const char *
writer_strerror(const struct writer *w)
{
	return w->error;
}

struct table *
writer_table(struct writer *w)
{
	return w->live;
}

/* ---- whole tables ---- */

int
writer_begin(struct writer *w, uint64_t rows, struct table **t)
{
	uint64_t id = atomic_load_explicit(&w->ctl->table, memory_order_relaxed) + 1;
	int error;

	if (id == 0)		/* only damage counts that far; 0 is no table */
		id = 1;
	if (w->next != NULL)
		return -EBUSY;
	if ((error = table_create(&w->next, &w->place, id, rows)) != 0) {
		sweep(w);
		return fail(w, error, "create a table in", LAYOUT_DIR);
	}
	*t = w->next;
	return 0;
}

/* I6: complete; named by one store; then the epoch tells readers to look. */
static void
publish_next(struct writer *w, bool keep_hold)
{
	struct table *old = w->live;

	table_settle(w->next);
	w->live = w->next;
	w->next = NULL;
	w->live->live = true;
	atomic_store_explicit(&w->ctl->table, w->live->id, memory_order_release);
	if (!keep_hold)
		atomic_store_explicit(&w->ctl->held_all, w->revocations_lost ? HELD_REVOCATIONS : 0, memory_order_release);
	bump_epoch(w);
	if (old != NULL)
		table_each_file(old, remove_file, w);
	else
		sweep(w);
	table_free(&old);
}

int
writer_commit(struct writer *w, struct table **t)
{
	if (*t == NULL || *t != w->next)
		return -EINVAL;
	*t = NULL;
	publish_next(w, false);
	return 0;
}

void
writer_abort(struct writer *w, struct table **t)
{
	if (*t == NULL || *t != w->next)
		return;
	table_each_file(w->next, remove_file, w);
	table_free(&w->next);
	*t = NULL;
}

int
writer_hold_all(struct writer *w)
{
	atomic_fetch_or_explicit(&w->ctl->held_all, HELD_INVALIDATED, memory_order_release);
	bump_epoch(w);
	return 0;
}

void
writer_lift_wide_holds(struct writer *w)
{
	if (w->live != NULL)
		table_lift_wide_holds(w->live);
}

/* The same rows in a new table: with more shards, so that each stays quick to rebuild, and policy handles from 0. */
static int
reshard(struct writer *w)
{
	struct table *t;
	int error = writer_begin(w, table_rows(w->live) * 2, &t);

	if (error != 0)
		return error;
	if ((error = table_copy(t, w->live)) != 0) {
		writer_abort(w, &t);
		return error;
	}
	publish_next(w, true);
	return 0;
}

int
writer_tick(struct writer *w)
{
	struct stat st;
	int error;

	writer_set(w, STATUS_heartbeat_at, clock_ms(CLOCK_REALTIME));
	if (fstat(w->ctl_map.fd, &st) == 0 && st.st_nlink == 0)
		return fail(w, -ESTALE, "go on", "without the table's directory, which somebody removed");
	if (w->live == NULL || w->next != NULL || !table_is_crowded(w->live) ||
	    clock_ms(CLOCK_MONOTONIC) < w->reshard_at_ms)
		return 0;
	if ((error = reshard(w)) != 0)
		w->reshard_at_ms = clock_ms(CLOCK_MONOTONIC) + RESHARD_AGAIN_MS;
	return error;
}

/* ---- what the daemon says ---- */

void
writer_set(struct writer *w, enum status_name name, int64_t value)
{
	atomic_store_explicit(&w->ctl->status[name], value, memory_order_relaxed);
}

int64_t
writer_get(const struct writer *w, enum status_name name)
{
	return ctl_status(w->ctl, (int)name);
}

void
writer_add(struct writer *w, enum status_name name, int64_t value)
{
	writer_set(w, name, writer_get(w, name) + value);
}

/* Readers copy the words between two looks at words_seq and only ever show them. */
static void
say(struct writer *w, char *to, size_t cap, const char *text)
{
	if (strncmp(to, text, cap - 1) == 0 && strnlen(to, cap) == strnlen(text, cap - 1))
		return;
	atomic_fetch_or_explicit(&w->ctl->words_seq, 1, memory_order_relaxed);	/* odd, also after a kill */
	atomic_thread_fence(memory_order_release);
	snprintf(to, cap, "%s", text);
	atomic_thread_fence(memory_order_release);
	atomic_fetch_add_explicit(&w->ctl->words_seq, 1, memory_order_relaxed);
}

void
writer_say_problem(struct writer *w, const char *text)
{
	say(w, w->ctl->problem, sizeof w->ctl->problem, text);
}

void
writer_say_source(struct writer *w, const char *text)
{
	say(w, w->ctl->source, sizeof w->ctl->source, text);
}

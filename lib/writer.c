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
#define REVOKED_AGAIN_MS	1000

struct writer {
	struct table_place place;
	struct mapping	 ctl_map;
	struct ctl	*ctl;
	int		 dirfd;
	int		 lockfd;
	struct table	*live;
	struct table	*next;
	struct revoked	*revoked;
	char		*revoked_path;	/* NULL: they are not kept */
	int		 revoked_error;	/* the file could not be read: every origin is refused */
	bool		 is_unsaved;	/* the file does not say what revoked does */
	bool		 is_unplaced;	/* some found no room: their realms' wide rows are held */
	int64_t		 again_at_ms;	/* to save and place again */
	int64_t		 reshard_at_ms;	/* not before: the last attempt failed */
	char		 error[PATH_MAX + 256];
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

/* ---- what cachectl revoked ---- */

struct placing {
	struct table	*t;
	int		 error;
};

static void
place_one(const struct revocation *r, void *arg)
{
	struct placing *p = arg;
	int error = table_revoke(p->t, r->realm, r->origin);

	p->error = p->error != 0 ? p->error : error;
}

static int
place_revoked(struct writer *w, struct table *t)
{
	struct placing p = { .t = t };

	revoked_each(w->revoked, place_one, &p);
	return p.error;
}

/* Of the table in force; a former writer may have been killed before it wrote the file. */
static int
adopt(const struct row *row, void *arg)
{
	struct writer *w = arg;
	struct revocation r = { .realm = row->realm, .origin = row->origin, .uid = REVOKED_NOBODY,
		.note = { "found in the table, not in the file", 35 } };

	if (!row->revoked || revoked_get(w->revoked, row->realm, row->origin) != NULL)
		return 0;
	revocation_begin(&r, 0);
	w->is_unsaved = true;
	return revoked_put(w->revoked, &r);
}

static void
tell_revoked(struct writer *w)
{
	uint64_t held = atomic_load_explicit(&w->ctl->held_all, memory_order_relaxed) & HELD_INVALIDATED;

	atomic_store_explicit(&w->ctl->held_all, held | (w->revoked_error != 0 ? HELD_REVOCATIONS : 0), memory_order_release);
	bump_epoch(w);
	writer_set(w, STATUS_revoked, (int64_t)revoked_count(w->revoked));
}

static void
attach_revoked(struct writer *w)
{
	if (w->revoked_path != NULL)
		w->revoked_error = revoked_read(w->revoked, w->revoked_path);
	if (w->live != NULL) {
		w->is_unplaced = place_revoked(w, w->live) != 0;
		if (w->revoked_error == 0 && table_each(w->live, adopt, w) < 0)
			w->revoked_error = -ENOMEM;
	}
	tell_revoked(w);
}

int
writer_revoke(struct writer *w, const struct revocation *r)
{
	int error = w->live != NULL ? table_revoke(w->live, r->realm, r->origin) : 0;

	if (error == -EINVAL)
		return error;
	w->is_unplaced |= error != 0;
	if ((error = revoked_put(w->revoked, r)) == 0)
		w->is_unsaved = true;
	writer_set(w, STATUS_revoked, (int64_t)revoked_count(w->revoked));
	return error;
}

int
writer_restore(struct writer *w, struct span realm, struct span origin)
{
	if (revoked_get(w->revoked, realm, origin) == NULL)
		return -ENOENT;
	if (w->live != NULL)
		table_restore(w->live, realm, origin);
	revoked_remove(w->revoked, realm, origin);
	w->is_unsaved = true;
	writer_set(w, STATUS_revoked, (int64_t)revoked_count(w->revoked));
	return 0;
}

static void
restore_one(const struct revocation *r, void *arg)
{
	table_restore(arg, r->realm, r->origin);
}

void
writer_restore_all(struct writer *w)
{
	struct revoked *none = revoked_new();

	if (none == NULL)
		return;
	if (w->live != NULL)
		revoked_each(w->revoked, restore_one, w->live);
	revoked_free(&w->revoked);
	w->revoked = none;
	w->revoked_error = 0;
	w->is_unplaced = false;
	w->is_unsaved = true;
	tell_revoked(w);
}

int
writer_save_revoked(struct writer *w)
{
	int error;

	if (!w->is_unsaved)
		return 0;
	if (w->revoked_error != 0)	/* what is there may be mended */
		return w->revoked_error;
	error = w->revoked_path == NULL ? -ENOENT : revoked_write(w->revoked, w->revoked_path, w->place.group);
	w->is_unsaved = error != 0;
	return error;
}

const struct revoked *
writer_revoked(const struct writer *w)
{
	return w->revoked;
}

int
writer_revoked_error(const struct writer *w)
{
	return w->revoked_error;
}

/* What is over ends; what could not be done is tried again. */
static void
tick_revoked(struct writer *w)
{
	const struct revocation *r;
	int64_t now = clock_ms(CLOCK_MONOTONIC);
	bool has_ended = false;

	while ((r = revoked_over(w->revoked)) != NULL) {
		writer_restore(w, r->realm, r->origin);
		has_ended = true;
	}
	if (has_ended)
		writer_save_revoked(w);
	if (now < w->again_at_ms)
		return;
	w->again_at_ms = now + REVOKED_AGAIN_MS;
	writer_save_revoked(w);
	if (w->is_unplaced && w->live != NULL)
		w->is_unplaced = place_revoked(w, w->live) != 0;
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
	error = segment_directory(opt->dir, &w->dirfd, &uid);
	if (error == -EPERM)
		snprintf(w->error, sizeof w->error, "%s: " SEGMENT_DISTRUST, path);
	else if (error != 0)
		fail(w, error, "open", path);
	if (error != 0)
		return error;
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
	w->revoked = revoked_new();
	w->revoked_path = opt->revoked != NULL ? strdup(opt->revoked) : NULL;
	if (w->revoked == NULL || (opt->revoked != NULL && w->revoked_path == NULL)) {
		writer_close(&w);
		return -ENOMEM;
	}
	if ((error = make_directory(w, opt)) != 0 || (error = take_lock(w, opt->dir)) != 0 ||
	    (error = open_ctl(w, opt->dir)) != 0) {
		if (opt->err != NULL)
			snprintf(opt->err, opt->errlen, "%s", w->error);
		writer_close(&w);
		return error;
	}
	attach_live(w);
	attach_revoked(w);
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
	revoked_free(&w->revoked);
	free(w->revoked_path);
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
		atomic_store_explicit(&w->ctl->held_all, w->revoked_error != 0 ? HELD_REVOCATIONS : 0, memory_order_release);
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
	int error;

	if (*t == NULL || *t != w->next)
		return -EINVAL;
	if ((error = place_revoked(w, w->next)) != 0)
		return fail(w, error, "refuse what was revoked in", LAYOUT_DIR);
	*t = NULL;
	w->is_unplaced = false;
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
	if (w->live != NULL && !w->is_unplaced)
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
	tick_revoked(w);
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

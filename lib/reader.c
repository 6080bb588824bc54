/* SPDX-License-Identifier: BSD-2-Clause */
#include "reader.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "layout.h"
#include "segment.h"
#include "shard.h"

#define AHEAD_MS	2000	/* freshness may seem so far ahead: who asks knows the second */
#define LET_GO_AT_ONCE	8	/* superseded shards a refresh */
#define CACHED_POLICIES	256	/* opened and verified once, not once a look-up */

struct reader_part {
	struct mapping	 map;
	struct shard	 shard;
	uint64_t	 generation;
	uint64_t	 epoch;		/* generation was compared at this epoch */
};

struct cached_policy {
	uint64_t	 off;		/* of its block; 0 = empty */
	uint32_t	 handle;
	struct policy	 policy;
};

struct reader {
	int		 dirfd;
	uid_t		 uid;		/* owner of the directory: the only one whose files are trusted */
	struct mapping	 ctl_map;
	struct ctl	*ctl;		/* NULL: nothing attached */
	struct stat	 ctl_stat;
	uint64_t	 epoch;		/* of the ctl when everything below was looked at */
	uint64_t	 table;
	bool		 held_all;
	bool		 revocations_lost;
	struct mapping	 root_map;
	struct root	*root;
	struct root	 geometry;	/* shards and hash key, copied and checked once */
	struct reader_part policies;
	struct reader_part shards[LAYOUT_MAX_SHARDS];
	struct cached_policy cache[CACHED_POLICIES];
	char		 blocks[CACHED_POLICIES][POLICY_MAX];	/* of the cache: pages are touched as they fill */
	int		 error;		/* last trouble, -errno */
	const char	*error_what;
	char		 error_text[PATH_MAX + 224];
	char		 dir[PATH_MAX];
};

static int
fail(struct reader *r, int error, const char *what)
{
	r->error = error;
	r->error_what = what;
	return error;
}

const char *
reader_strerror(const struct reader *r)
{
	struct reader *writable = (struct reader *)r;

	snprintf(writable->error_text, sizeof r->error_text, "%s/" LAYOUT_DIR ": %s: %s", r->dir,
	    r->error_what != NULL ? r->error_what : "ok", strerror(-r->error));
	return r->error_text;
}

/* ---- attach ---- */

/*
 * Parts stay mapped until theirs of the next table is (map_part) or until
 * reader_refresh(): to unmap a large table at once would hold up one look-up
 * for milliseconds.
 */
static void
forget_table(struct reader *r)
{
	for (unsigned i = 0; i < LAYOUT_MAX_SHARDS; i++)
		r->shards[i].generation = r->shards[i].epoch = 0;
	r->policies.generation = r->policies.epoch = 0;
	segment_unmap(&r->root_map);
	r->root = NULL;
	r->table = 0;
	memset(r->cache, 0, sizeof r->cache);
}

static void
unmap_shards(struct reader *r)
{
	for (unsigned i = 0; i < LAYOUT_MAX_SHARDS; i++)
		segment_unmap(&r->shards[i].map);
}

static void
detach(struct reader *r)
{
	forget_table(r);
	unmap_shards(r);
	segment_unmap(&r->policies.map);
	segment_unmap(&r->ctl_map);
	r->ctl = NULL;
	r->epoch = 0;
	if (r->dirfd >= 0)
		close(r->dirfd);
	r->dirfd = -1;
}

static int
attach(struct reader *r)
{
	struct ctl *ctl;
	int error;

	if ((error = segment_directory(r->dir, &r->dirfd, &r->uid)) != 0)
		return fail(r, error, error == -EPERM ? SEGMENT_DISTRUST : "the table's directory cannot be opened");
	if ((error = segment_map(&r->ctl_map, r->dirfd, r->uid, "ctl", LAYOUT_PAGE)) == 0) {
		ctl = r->ctl_map.base;
		if (ctl->magic == CTL_MAGIC && ctl->layout == LAYOUT_WORD && ctl->size == sizeof *ctl &&
		    fstatat(r->dirfd, "ctl", &r->ctl_stat, AT_SYMLINK_NOFOLLOW) == 0) {
			r->ctl = ctl;
			return 0;
		}
		error = -EPROTO;
	}
	detach(r);
	return fail(r, error, error == -EPROTO ? "ctl was made by another build, or is damaged: restart "
	    "corscache-syncd, then this program, both of one build" :
	    "ctl is not there, or is not ours to read");
}

static int
attach_root(struct reader *r, uint64_t table)
{
	char name[SEGMENT_NAME];
	struct root *root;
	int error;

	segment_name_root(name, table);
	if ((error = segment_map(&r->root_map, r->dirfd, r->uid, name, LAYOUT_PAGE)) != 0)
		return fail(r, error, "the table's root cannot be mapped");
	root = r->root_map.base;
	/* copied field by field: what was checked is what is used */
	r->geometry.shards = root->shards;
	r->geometry.k0 = root->k0;
	r->geometry.k1 = root->k1;
	if (root->magic != ROOT_MAGIC || root->layout != LAYOUT_WORD || root->table != table ||
	    root->instance != r->ctl->instance || r->geometry.shards == 0 ||
	    r->geometry.shards > LAYOUT_MAX_SHARDS || (r->geometry.shards & (r->geometry.shards - 1)) != 0) {
		segment_unmap(&r->root_map);
		return fail(r, -EPROTO, "the table's root is damaged or foreign");
	}
	r->root = root;
	r->table = table;
	return 0;
}

/*
 * Makes what is mapped the table in force. 0; -ENODATA: none yet; else an
 * error, which may only mean that it changed again meanwhile: the caller
 * repeats a bounded number of times.
 */
static int
follow(struct reader *r)
{
	uint64_t epoch, table;

	if (r->ctl == NULL)
		return -ENODATA;
	epoch = atomic_load_explicit(&r->ctl->epoch, memory_order_acquire);
	if (epoch == r->epoch && r->root != NULL)
		return 0;
	r->epoch = epoch;
	/* in this order: a hold is lifted after the table that lifts it is named */
	uint64_t held = atomic_load_explicit(&r->ctl->held_all, memory_order_acquire);
	r->held_all = held != 0;
	r->revocations_lost = held & HELD_REVOCATIONS;
	table = atomic_load_explicit(&r->ctl->table, memory_order_acquire);
	if (table == 0) {
		if (r->root != NULL)
			forget_table(r);
		return -ENODATA;
	}
	if (table != r->table || r->root == NULL) {
		int error;
		forget_table(r);
		if ((error = attach_root(r, table)) != 0)
			return error;
	}
	return 0;
}

static int
map_part(struct reader *r, struct reader_part *p, enum segment_kind kind, unsigned number, uint64_t generation)
{
	char name[SEGMENT_NAME];
	int error;

	segment_unmap(&p->map);
	p->generation = 0;
	if (kind == SEGMENT_SHARD)
		segment_name_shard(name, r->table, number, generation);
	else
		segment_name_policies(name, r->table, generation);
	if ((error = segment_map(&p->map, r->dirfd, r->uid, name, LAYOUT_PAGE)) != 0)
		return fail(r, error, "a file of the table cannot be mapped");
	error = shard_open(&p->shard, p->map.base, p->map.len, kind, r->ctl->instance, r->table, number, generation);
	if (error != 0) {
		segment_unmap(&p->map);
		return fail(r, error, "a file of the table is damaged or foreign");
	}
	p->generation = generation;
	return 0;
}

/* The part as of this epoch, or NULL and r->error. */
static struct shard *
current_part(struct reader *r, struct reader_part *p, enum segment_kind kind, unsigned number,
    const _Atomic uint64_t *word)
{
	uint64_t generation;

	if (p->epoch == r->epoch && p->generation != 0)
		return &p->shard;
	generation = atomic_load_explicit((_Atomic uint64_t *)word, memory_order_acquire);
	if (p->generation != generation || generation == 0) {
		if (map_part(r, p, kind, number, generation) != 0)
			return NULL;
		if (kind == SEGMENT_POLICIES)
			memset(r->cache, 0, sizeof r->cache);
	}
	p->epoch = r->epoch;
	return &p->shard;
}

static struct shard *
current_shard(struct reader *r, unsigned number)
{
	return current_part(r, &r->shards[number], SEGMENT_SHARD, number, &r->root->generation[number]);
}

static struct shard *
current_policies(struct reader *r)
{
	return current_part(r, &r->policies, SEGMENT_POLICIES, 0, &r->root->policies_generation);
}

int
reader_open(struct reader **out, const char *dir)
{
	struct reader *r = calloc(1, sizeof *r);

	if (r == NULL)
		return -ENOMEM;
	r->dirfd = -1;
	r->ctl_map.fd = r->root_map.fd = r->policies.map.fd = -1;
	for (unsigned i = 0; i < LAYOUT_MAX_SHARDS; i++)
		r->shards[i].map.fd = -1;
	if ((size_t)snprintf(r->dir, sizeof r->dir, "%s", dir) >= sizeof r->dir) {
		free(r);
		return -ENAMETOOLONG;
	}
	reader_refresh(r);
	*out = r;
	return 0;
}

void
reader_close(struct reader **rp)
{
	if (*rp == NULL)
		return;
	detach(*rp);
	free(*rp);
	*rp = NULL;
}

/* Somebody removed the directory, or a new one stands in its place. */
static bool
was_replaced(const struct reader *r)
{
	char name[PATH_MAX + 16];
	struct stat st;

	snprintf(name, sizeof name, "%s/" LAYOUT_DIR "/ctl", r->dir);
	return stat(name, &st) != 0 || st.st_ino != r->ctl_stat.st_ino || st.st_dev != r->ctl_stat.st_dev;
}

static void
let_go(struct reader_part *p)
{
	segment_unmap(&p->map);
	p->generation = p->epoch = 0;
}

static bool
is_superseded(const struct reader_part *p, const _Atomic uint64_t *word)
{
	return p->generation != atomic_load_explicit((_Atomic uint64_t *)word, memory_order_acquire);
}

/*
 * Superseded files live as long as somebody maps them (I7): a reader without requests must not.
 * A few shards at a time, for unmapping one takes some 0.1 ms.
 */
static void
let_superseded_go(struct reader *r)
{
	unsigned left = LET_GO_AT_ONCE;

	for (unsigned i = 0; left > 0 && i < LAYOUT_MAX_SHARDS; i++) {
		struct reader_part *p = &r->shards[i];

		if (p->map.base == NULL || (i < r->geometry.shards && !is_superseded(p, &r->root->generation[i])))
			continue;
		let_go(p);
		left--;
	}
	if (is_superseded(&r->policies, &r->root->policies_generation))
		let_go(&r->policies);
}

int
reader_refresh(struct reader *r)
{
	int error = -EAGAIN;

	if (r->ctl != NULL && was_replaced(r))
		detach(r);
	if (r->ctl == NULL && (error = attach(r)) != 0)
		return error;
	for (int i = 0; i < LAYOUT_MAX_TRIES && (error = follow(r)) != 0 && error != -ENODATA; i++)
		;
	if (error == 0)
		let_superseded_go(r);
	return error == -ENODATA ? fail(r, error, "no table has been published yet") : error;
}

/* ---- look-up ---- */

enum probe { PROBE_MISS, PROBE_HIT, PROBE_ERROR };

/* Copies and verifies the block at off, which is kept for its handle. NULL: it is damaged. */
static const struct policy *
read_policy(struct reader *r, const struct shard *s, uint32_t handle, uint64_t off)
{
	struct cached_policy *c = &r->cache[handle % CACHED_POLICIES];
	char *copy = r->blocks[handle % CACHED_POLICIES];

	c->off = 0;
	if (off % 8 != 0 || off > s->arena_len || s->arena_len - off < sizeof(struct policy_block))
		return NULL;
	const struct policy_block *b = (const struct policy_block *)(const void *)(s->arena + off);
	uint32_t len = __atomic_load_n(&b->len, __ATOMIC_RELAXED);	/* once: it was checked when it is used */
	if (len > POLICY_MAX || len > s->arena_len - off - sizeof *b || b->handle != handle)
		return NULL;
	memcpy(copy, b->bytes, len);
	if (b->sum != siphash13(r->geometry.k0, r->geometry.k1, (uint64_t)handle << 32 | len, copy, len) ||
	    policy_read(&c->policy, copy, len) != POLICY_OK)
		return NULL;
	c->off = off;
	c->handle = handle;
	return &c->policy;
}

/* The policy of a handle, as it was verified; *error tells damage from absence. */
static const struct policy *
find_policy(struct reader *r, uint32_t handle, bool *error)
{
	struct shard *s = current_policies(r);
	const struct cached_policy *c = &r->cache[handle % CACHED_POLICIES];
	const struct policy *p;
	uint64_t off;

	*error = s == NULL || handle >= s->groups * 8;
	if (*error)
		return NULL;
	off = atomic_load_explicit(&s->slots[handle], memory_order_acquire);
	if (off == 0)
		return NULL;
	if (c->off == off && c->handle == handle)
		return &c->policy;
	p = read_policy(r, s, handle, off);
	*error = p == NULL;
	return p;
}

/* What a record says at this moment: the row that answers, or as good as absent. */
static enum probe
judge(struct reader *r, const struct record *rec, const struct key *k, enum rule_form form,
    const struct origin *o, int64_t now_s, struct match *m)
{
	uint32_t word = atomic_load_explicit((_Atomic uint32_t *)&rec->word, memory_order_acquire);
	bool error = false;

	if (!word_is_sealed(word, rec, k->hash)) {
		fail(r, -EBADMSG, "a record is damaged");
		return PROBE_ERROR;
	}
	m->expires_at = record_expires(rec);
	m->held = word & WORD_HELD;
	m->revoked = word & WORD_REVOKED;
	m->refuses = word & WORD_REFUSE;
	m->public_suffix = rec->flags & RECORD_PUBLIC_SUFFIX;
	m->form = form;
	m->policy = NULL;
	if (m->held || m->revoked)
		return PROBE_HIT;
	if (m->expires_at != ROW_NEVER && now_s >= m->expires_at) {
		m->saw_expired = true;
		return PROBE_MISS;
	}
	if (m->refuses)
		return PROBE_HIT;
	m->policy = find_policy(r, word & WORD_HANDLE, &error);
	if (error) {
		fail(r, -EBADMSG, "a policy is damaged or cannot be mapped");
		return PROBE_ERROR;
	}
	if (m->policy == NULL) {
		m->refuses = true;	/* its policy is gone */
		return PROBE_HIT;
	}
	if (row_is_unsafe(form, o, m->public_suffix, m->policy)) {
		m->saw_unsafe = true;
		return PROBE_MISS;
	}
	return PROBE_HIT;
}

/* The record of a key; one that is damaged is an error, for behind a row that refuses a wider one may allow. */
static enum probe
find_record(struct reader *r, const struct key *k, struct record **rec)
{
	struct shard *s = current_shard(r, k->shard);
	bool strange = false;

	if (s == NULL)
		return PROBE_ERROR;
	if ((*rec = shard_search(s, k, NULL, &strange)) != NULL)
		return PROBE_HIT;
	if (!strange || shard_is_sound(s, &r->geometry, k))
		return PROBE_MISS;
	fail(r, -EBADMSG, "a record is damaged");
	return PROBE_ERROR;
}

static enum probe
probe(struct reader *r, const struct key *k, enum rule_form form, const struct origin *o, int64_t now_s,
    struct match *m)
{
	struct record *rec;
	enum probe p = find_record(r, k, &rec);

	return p == PROBE_HIT ? judge(r, rec, k, form, o, now_s, m) : p;
}

/* Where the suffix of d labels begins, for d up to the deepest that a mask asks for. */
static unsigned
suffix_starts(const struct origin *o, uint64_t mask, const char *at[RULE_MAX_DEPTH + 1])
{
	unsigned deepest = mask == 0 ? 0 : 63 - (unsigned)__builtin_clzll(mask), depth = 0;

	/*
	 * The leftmost label is what the * covers: a suffix never reaches the host's first byte. No branch a
	 * byte: where the dots are cannot be predicted.
	 */
	for (const char *p = o->host.at + o->host.len - 1; p > o->host.at && depth < deepest; p--) {
		at[depth + 1] = p + 1;
		depth += *p == '.';
	}
	return depth;
}

static enum probe
probe_suffixes(struct reader *r, struct key *k, struct span realm, const struct origin *o, uint64_t mask,
    enum rule_form form, int64_t now_s, struct match *m)
{
	const char *at[RULE_MAX_DEPTH + 1];
	unsigned bits = form == RULE_SUFFIX ? CODE_SUFFIX : CODE_SUFFIX | CODE_ANY_PORT;

	for (unsigned d = suffix_starts(o, mask, at); d > 0; d--) {
		if (!(mask >> d & 1))
			continue;
		key_part(k, &r->geometry, realm, o, bits, at[d], key_tail(o, at[d], form == RULE_SUFFIX));
		enum probe p = probe(r, k, form, o, now_s, m);
		if (p != PROBE_MISS) {
			m->depth = d;
			return p;
		}
	}
	return PROBE_MISS;
}

/* Everything but the exact row: only where the realm has such rows. */
static enum probe
probe_wide(struct reader *r, struct key *k, struct span realm, const struct origin *o, int64_t now_s,
    struct match *m)
{
	const uint64_t depths = ~1ull;
	enum probe p = PROBE_MISS;
	struct record *rec;

	key_realm(k, &r->geometry, realm);
	if ((p = find_record(r, k, &rec)) != PROBE_HIT)
		return p;
	p = PROBE_MISS;
	if (!(rec->flags & RECORD_REALM)) {
		fail(r, -EBADMSG, "a realm's record is damaged");
		return PROBE_ERROR;
	}
	struct realm_marks *marks = record_marks(rec);
	uint64_t fixed = atomic_load_explicit(&marks->fixed, memory_order_acquire);
	uint64_t any_port = atomic_load_explicit(&marks->any_port, memory_order_acquire);
	uint32_t rows = atomic_load_explicit(&marks->rows, memory_order_acquire);
	m->realm_known = rows > 0;
	m->realm_only_any = rows == 1 && fixed & 1;
	if (atomic_load_explicit((_Atomic uint32_t *)&rec->word, memory_order_acquire) & WORD_HELD) {
		m->form = RULE_ANY;
		m->held = true;
		return PROBE_HIT;
	}
	if (o != NULL && any_port & 1) {
		key_part(k, &r->geometry, realm, o, CODE_ANY_PORT, o->host.at, o->host.len);
		p = probe(r, k, RULE_HOST_ANY_PORT, o, now_s, m);
	}
	if (p == PROBE_MISS && o != NULL && o->kind == HOST_NAME)
		p = probe_suffixes(r, k, realm, o, fixed & depths, RULE_SUFFIX, now_s, m);
	if (p == PROBE_MISS && o != NULL && o->kind == HOST_NAME)
		p = probe_suffixes(r, k, realm, o, any_port & depths, RULE_SUFFIX_ANY_PORT, now_s, m);
	/* no mark says whether there is one: only applications and extensions pay this probe */
	if (p == PROBE_MISS && o != NULL && !o->is_special && o->port == 0) {
		key_scheme(k, &r->geometry, realm, o);
		p = probe(r, k, RULE_SCHEME, o, now_s, m);
	}
	if (p == PROBE_MISS && fixed & 1) {
		key_any(k, &r->geometry, realm);
		p = probe(r, k, RULE_ANY, o, now_s, m);
	}
	return p;
}

static enum probe
search(struct reader *r, struct span realm, const struct origin *o, int64_t now_s, struct match *m)
{
	struct key k;

	if (r->held_all) {
		m->realm_known = true;
		m->form = RULE_ANY;
		m->held = true;
		m->revoked = r->revocations_lost;
		return PROBE_HIT;
	}
	if (o != NULL) {
		key_part(&k, &r->geometry, realm, o, 0, o->host.at, key_tail(o, o->host.at, true));
		enum probe p = probe(r, &k, RULE_EXACT, o, now_s, m);
		if (p == PROBE_HIT)
			m->realm_known = true;
		if (p != PROBE_MISS)
			return p;
	}
	return probe_wide(r, &k, realm, o, now_s, m);
}

void
reader_find(struct reader *r, struct span realm, const struct origin *o, int64_t now_s, struct match *m)
{
	int error = 0;

	for (int i = 0; i < LAYOUT_MAX_TRIES; i++) {
		*m = (struct match){ .state = MATCH_NOT_READY };
		if ((error = follow(r)) == -ENODATA)
			return;
		if (error != 0 && reader_is_current(r))
			break;
		if (error != 0)
			continue;
		if (realm.len > REALM_MAX) {
			m->state = MATCH_NONE;
			return;
		}
		switch (search(r, realm, o, now_s, m)) {
		case PROBE_HIT:
			m->state = MATCH_ROW;
			return;
		case PROBE_MISS:
			m->state = MATCH_NONE;
			return;
		default:
			break;
		}
		/* a file that vanished under us is no damage if the epoch moved on */
		if (reader_is_current(r))
			break;
	}
	m->state = MATCH_ERROR;
	m->policy = NULL;
}

bool
reader_is_current(const struct reader *r)
{
	if (r->ctl == NULL)
		return true;
	/* every load before this one happened before it: pairs with the release in bump_epoch() */
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&r->ctl->epoch, memory_order_relaxed) == r->epoch;
}

static size_t
append(char *buf, size_t cap, size_t n, const char *s, size_t len)
{
	if (n + len < cap) {
		memcpy(buf + n, s, len);
		buf[n + len] = '\0';
		return n + len;
	}
	return n;
}

size_t
match_row_text(const struct match *m, const struct origin *o, char *buf, size_t cap)
{
	const char *at[RULE_MAX_DEPTH + 1], *host = o != NULL ? o->host.at : NULL;
	bool is_suffix = m->form == RULE_SUFFIX || m->form == RULE_SUFFIX_ANY_PORT;
	bool any_port = m->form == RULE_HOST_ANY_PORT || m->form == RULE_SUFFIX_ANY_PORT;
	size_t n = 0;

	if (cap > 0)
		buf[0] = '\0';
	if (m->state != MATCH_ROW)
		return 0;
	if (m->form == RULE_ANY || o == NULL)
		return append(buf, cap, 0, "*", 1);
	if (is_suffix && suffix_starts(o, 1ull << m->depth, at) == m->depth)
		host = at[m->depth];
	n = append(buf, cap, n, o->scheme.at, o->scheme.len + 3);
	if (m->form == RULE_SCHEME)
		return append(buf, cap, n, "*", 1);
	if (is_suffix)
		n = append(buf, cap, n, "*.", 2);
	n = append(buf, cap, n, host, key_tail(o, host, !any_port));
	return any_port ? append(buf, cap, n, ":*", 2) : n;
}

/* ---- for people ---- */

const struct status_desc status_descs[STATUS_COUNT] = {
#define STATUS(name, kind, unit, help)	{ #name, #kind, unit, help },
#include "status.def"
#undef STATUS
};
_Static_assert(sizeof(struct status) == STATUS_COUNT * sizeof(int64_t), "struct status is an array");

void
reader_status(struct reader *r, struct status *st)
{
	int64_t *cell = (int64_t *)st;

	memset(st, 0, sizeof *st);
	for (int i = 0; r->ctl != NULL && i < STATUS_COUNT; i++)
		cell[i] = ctl_status(r->ctl, i);
}

bool
status_is_stale(const struct status *st, int64_t max_stale_s, int64_t now_ms)
{
	int64_t age_ms = now_ms - st->fresh_at;

	return max_stale_s > 0 && (age_ms > max_stale_s * 1000 || age_ms < -AHEAD_MS);
}

/* Copies syncd's words, whole if the writer lets us; they are only ever shown. */
static void
copy_words(const struct ctl *ctl, struct table_info *ti)
{
	for (int i = 0; i < LAYOUT_MAX_TRIES; i++) {
		uint64_t seq = atomic_load_explicit((_Atomic uint64_t *)&ctl->words_seq, memory_order_acquire);

		memcpy(ti->problem, ctl->problem, sizeof ti->problem);
		memcpy(ti->source, ctl->source, sizeof ti->source);
		ti->problem[sizeof ti->problem - 1] = ti->source[sizeof ti->source - 1] = '\0';
		atomic_thread_fence(memory_order_acquire);
		if (!(seq & 1) && atomic_load_explicit((_Atomic uint64_t *)&ctl->words_seq, memory_order_relaxed) == seq)
			return;
	}
}

static bool
lock_is_held(const struct reader *r)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = openat(r->dirfd, "lock", O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	bool held = fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;

	if (fd >= 0)
		close(fd);
	return held;
}

static uint64_t
believed(const _Atomic uint64_t *number)
{
	return count_believed(atomic_load_explicit(number, memory_order_relaxed));
}

static void
add_part(struct table_info *ti, const struct shard *s)
{
	const struct segment_head *h = shard_head(s);

	ti->bytes += (uint64_t)(s->arena - s->base) + believed(&h->reserved);
	ti->dead_bytes += believed(&h->dead);
}

void
reader_info(struct reader *r, struct table_info *ti)
{
	struct shard *s;

	memset(ti, 0, sizeof *ti);
	ti->layout = LAYOUT_WORD;
	ti->ready = reader_refresh(r) == 0;
	if (r->ctl == NULL)
		return;
	ti->instance = r->ctl->instance;
	ti->writer_alive = lock_is_held(r);
	copy_words(r->ctl, ti);
	ti->held_all = r->held_all;
	ti->revocations_lost = r->revocations_lost;
	ti->epoch = believed(&r->ctl->epoch);
	if (!ti->ready)
		return;
	ti->table = count_believed(r->table);
	ti->shards = r->geometry.shards;
	ti->rows = believed(&r->root->rows);
	ti->policies = believed(&r->root->policies);
	ti->bytes = r->ctl_map.len + r->root_map.len;
	if ((s = current_policies(r)) != NULL)
		add_part(ti, s);
	for (unsigned i = 0; i < r->geometry.shards; i++)
		if ((s = current_shard(r, i)) != NULL) {
			add_part(ti, s);
			ti->capacity += shard_capacity(s);
		}
}

static void
copy_policy_name(struct reader *r, uint32_t handle, char name[POLICY_MAX_NAME + 1], struct span *out)
{
	bool error;
	const struct policy *p = find_policy(r, handle, &error);

	*out = (struct span){ name, 0 };
	if (p != NULL && p->name.len <= POLICY_MAX_NAME) {
		memcpy(name, p->name.at, p->name.len);
		out->len = p->name.len;
	}
}

/*
 * A walk takes its caller's time: before each step the policies are the ones in force again, or
 * -ESTALE: another table stands in place of the one that is told.
 */
static int
keep_up(struct reader *r, uint64_t table)
{
	int error = 0;

	for (int i = 0; i < LAYOUT_MAX_TRIES && !reader_is_current(r); i++)
		error = follow(r);
	if (error != 0)
		return error;
	return r->table == table ? 0 : fail(r, -ESTALE, "the table was replaced while it was read");
}

/* text: RULE_MAX + 1, name: POLICY_MAX_NAME + 1 bytes that live as long as the row. */
static bool
row_of(struct reader *r, const struct record *rec, char *text, char *name, struct row *row)
{
	uint32_t word = atomic_load_explicit((_Atomic uint32_t *)&rec->word, memory_order_acquire);
	size_t len = record_text(rec, text);

	if (len == 0)
		return false;
	*row = (struct row){
		.realm = { (const char *)rec->bytes + record_skip(rec->flags), rec->realm },
		.origin = { text, len },
		.policy = { name, 0 },
		.expires_at = record_expires(rec),
		.allow = !(word & WORD_REFUSE),
		.held = word & WORD_HELD,
		.revoked = word & WORD_REVOKED,
		.public_suffix = rec->flags & RECORD_PUBLIC_SUFFIX,
	};
	if ((word & WORD_HANDLE) != STUB_HANDLE)
		copy_policy_name(r, word & WORD_HANDLE, name, &row->policy);
	return true;
}

/* A shard in memory of our own: all rows that were in it throughout, each as it was at one moment. */
static int
copy_shard(struct reader *r, unsigned number, struct shard *out, void **memory)
{
	int error = -EAGAIN;

	for (int i = 0; i < LAYOUT_MAX_TRIES; i++) {
		if ((error = follow(r)) != 0)
			continue;
		struct shard *s = number < r->geometry.shards ? current_shard(r, number) : NULL;
		if (s == NULL) {
			error = number < r->geometry.shards ? r->error : -ENOENT;
			continue;
		}
		struct reader_part *p = &r->shards[number];
		uint64_t used = (uint64_t)(s->arena - s->base);
		uint8_t *copy = malloc(s->size);	/* what is not used is never touched */
		if (copy == NULL)
			return fail(r, -ENOMEM, "a shard cannot be copied");
		/* the slots first: then the tail covers every record they refer to (I3) */
		memcpy(copy, s->base, used);
		atomic_thread_fence(memory_order_acquire);
		uint64_t tail = atomic_load_explicit(&shard_head(s)->tail, memory_order_acquire);
		if (tail > s->arena_len) {
			free(copy);
			return fail(r, -EPROTO, "a file of the table is damaged");
		}
		memcpy(copy + used, s->arena, tail);
		error = shard_open(out, copy, used + tail, SEGMENT_SHARD, r->ctl->instance, r->table, number,
		    p->generation);
		atomic_thread_fence(memory_order_acquire);
		if (error == 0 && atomic_load_explicit(&r->root->generation[number], memory_order_relaxed) ==
		    p->generation && atomic_load_explicit(&r->ctl->table, memory_order_relaxed) == r->table) {
			*memory = copy;
			return 0;
		}
		free(copy);
		error = -EAGAIN;
	}
	return error;
}

int
reader_each(struct reader *r, const struct span *realm, int (*each)(const struct row *row, void *arg), void *arg)
{
	char text[RULE_MAX + 1], name[POLICY_MAX_NAME + 1];
	uint64_t table = 0;
	int stop = reader_refresh(r);

	if (stop != 0)
		return stop;
	table = r->table;
	for (unsigned i = 0; stop == 0 && i < r->geometry.shards; i++) {
		struct record *rec;
		struct shard copy;
		struct row row;
		void *memory = NULL;

		if ((stop = copy_shard(r, i, &copy, &memory)) != 0)
			return stop;
		for (uint64_t at = 0; stop == 0 && (rec = shard_next(&copy, &at)) != NULL;)
			if ((stop = keep_up(r, table)) == 0 && row_of(r, rec, text, name, &row) && (realm == NULL || (row.realm.len == realm->len &&
			    memcmp(row.realm.at, realm->at, realm->len) == 0)))
				stop = each(&row, arg);
		free(memory);
	}
	return stop;
}

int
reader_each_policy(struct reader *r, int (*each)(const struct policy *p, void *arg), void *arg)
{
	int stop = reader_refresh(r);
	uint64_t table = r->table;

	for (uint32_t i = 0; stop == 0 && (stop = keep_up(r, table)) == 0; i++) {
		struct shard *s = current_policies(r);
		if (s == NULL)
			return r->error;
		if (i >= s->groups * 8)
			break;
		uint64_t off = atomic_load_explicit(&s->slots[i], memory_order_acquire);
		/* what the table holds now, not what was read before */
		const struct policy *p = off == 0 ? NULL : read_policy(r, s, i, off);
		if (p != NULL)
			stop = each(p, arg);
	}
	return stop;
}

int
reader_get(struct reader *r, struct span realm, const struct rule *rule,
    char buf[REALM_MAX + RULE_MAX + POLICY_MAX_NAME + 3], struct row *row)
{
	char *text = buf, *name = buf + RULE_MAX + 1, *at = name + POLICY_MAX_NAME + 1;
	const struct record *rec;
	struct shard *s;
	struct key k;
	int error = -EAGAIN;

	if (realm.len > REALM_MAX)
		return -ENOENT;
	for (int i = 0; i < LAYOUT_MAX_TRIES; i++) {
		if ((error = follow(r)) != 0)
			continue;
		key_rule(&k, &r->geometry, realm, rule);
		if ((s = current_shard(r, k.shard)) == NULL) {
			error = r->error;
			continue;
		}
		rec = shard_find(s, &k, NULL);
		error = rec != NULL && row_of(r, rec, text, name, row) ? 0 : -ENOENT;
		if (error == 0) {
			memcpy(at, row->realm.at, row->realm.len);
			row->realm.at = at;
		}
		if (reader_is_current(r))
			break;
	}
	return error;
}

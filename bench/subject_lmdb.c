/* SPDX-License-Identifier: BSD-2-Clause */
/* LMDB on the same file system, read through one transaction that stays open: its fastest use. */
#include "subject.h"

#include <lmdb.h>
#include <stdio.h>
#include <string.h>

static MDB_env *env;
static MDB_txn *txn;
static MDB_dbi dbi;

static void
check(int error)
{
	if (error != 0) {
		fprintf(stderr, "bench: lmdb: %s\n", mdb_strerror(error));
		die("lmdb", 0);
	}
}

static uint64_t
used_bytes(void)
{
	MDB_envinfo info;
	MDB_stat stat;

	check(mdb_env_info(env, &info));
	check(mdb_env_stat(env, &stat));
	return ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
}

static uint64_t
build(const struct workload *w, const struct subject_options *opt)
{
	char path[256];
	struct query q;

	snprintf(path, sizeof path, "%s/lmdb", opt->dir);
	check(mdb_env_create(&env));
	check(mdb_env_set_mapsize(env, w->origins * 400 + (16u << 20)));
	check(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOSYNC | MDB_NORDAHEAD, 0600));
	check(mdb_txn_begin(env, NULL, 0, &txn));
	check(mdb_dbi_open(txn, NULL, 0, &dbi));
	for (uint64_t i = 0; i < w->origins; i++) {
		workload_row(w, i, &q);
		uint32_t policy = (uint32_t)(1 + i % w->policies);
		MDB_val key = { q.key_len, q.key }, value = { sizeof policy, &policy };
		check(mdb_put(txn, dbi, &key, &value, 0));
	}
	check(mdb_txn_commit(txn));
	check(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn));
	return used_bytes();
}

static uint64_t
find(const struct query *q)
{
	MDB_val key = { q->key_len, (void *)q->key }, value;
	uint32_t policy = 0;

	if (mdb_get(txn, dbi, &key, &value) == 0)
		memcpy(&policy, value.mv_data, sizeof policy);
	return policy;
}

static void
close_env(void)
{
	mdb_txn_abort(txn);
	mdb_env_close(env);
}

const struct subject subject_lmdb = { "lmdb", build, find, close_env, 0, 1, true, false };

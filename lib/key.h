/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * key -- (realm, rule) as the shared table spells and hashes it.
 *
 * The head carries both lengths and the form, so that realm "ab" with "c" and
 * realm "a" with "bc" are different keys. Pure; a key may point into the
 * origin it was made of.
 */
#ifndef KEY_H
#define KEY_H

#include <stdint.h>
#include <string.h>

#include "layout.h"
#include "origin.h"
#include "siphash.h"

struct key {
	uint32_t	 shape;		/* part length:12 | code:4 | realm length:8, as struct record has them */
	uint32_t	 len;
	uint64_t	 hash;		/* rotated: the shard's bits are gone from the top */
	uint32_t	 shard;
	const char	*bytes;		/* realm, then part: buf, or the origin's own bytes */
	char		 buf[REALM_MAX + RULE_MAX];
};

static inline void
key_hash(struct key *k, const struct root *root)
{
	uint64_t h = siphash13(root->k0, root->k1, k->shape, k->bytes, k->len);
	unsigned bits = (unsigned)__builtin_ctz(root->shards);

	k->shard = bits == 0 ? 0 : (uint32_t)(h >> (64 - bits));
	k->hash = bits == 0 ? h : h << bits | h >> (64 - bits);
}

/*
 * part: a tail of the origin's text behind "://" ("example.com:8443"), which
 * stays where it is when realm is empty and the scheme is one that is cut off.
 */
static inline void
key_part(struct key *k, const struct root *root, struct span realm, const struct origin *o, unsigned form_bits,
    const char *part, size_t len)
{
	unsigned code = CODE_OTHER;
	char *p = k->buf;

	if (o->scheme.len == 5 && memcmp(o->scheme.at, "https", 5) == 0)
		code = CODE_HTTPS;
	else if (o->scheme.len == 4 && memcmp(o->scheme.at, "http", 4) == 0)
		code = CODE_HTTP;
	if (realm.len == 0 && code != CODE_OTHER) {
		k->bytes = part;
	} else {
		k->bytes = k->buf;
		memcpy(p, realm.at, realm.len);
		p += realm.len;
		if (code == CODE_OTHER) {
			memcpy(p, o->scheme.at, o->scheme.len + 3);	/* with its "://" */
			p += o->scheme.len + 3;
		}
		memcpy(p, part, len);
		if (code == CODE_OTHER)
			len += o->scheme.len + 3;
	}
	k->len = (uint32_t)(realm.len + len);
	k->shape = (uint32_t)(len | (code | form_bits) << 12 | realm.len << 16);
	key_hash(k, root);
}

/* What has no host: part is empty, or a scheme with its "://". */
static inline void
key_special(struct key *k, const struct root *root, struct span realm, unsigned code, struct span part)
{
	k->bytes = k->buf;
	memcpy(k->buf, realm.at, realm.len);
	memcpy(k->buf + realm.len, part.at, part.len);
	k->len = (uint32_t)(realm.len + part.len);
	k->shape = (uint32_t)(part.len | code << 12 | realm.len << 16);
	key_hash(k, root);
}

static inline void
key_any(struct key *k, const struct root *root, struct span realm)
{
	key_special(k, root, realm, CODE_SPECIAL, (struct span){ "", 0 });
}

// scheme://*, of the origin's scheme.
static inline void
key_scheme(struct key *k, const struct root *root, struct span realm, const struct origin *o)
{
	key_special(k, root, realm, CODE_SPECIAL | CODE_ANY_PORT, (struct span){ o->scheme.at, o->scheme.len + 3 });
}

/* The part of an origin or rule behind "://" of a suffix that starts at `at`. */
static inline size_t
key_tail(const struct origin *o, const char *at, bool with_port)
{
	const char *end = with_port ? o->text.at + o->text.len : o->host.at + o->host.len;

	return (size_t)(end - at);
}

static inline void
key_rule(struct key *k, const struct root *root, struct span realm, const struct rule *r)
{
	const struct origin *o = &r->origin;

	switch (r->form) {
	case RULE_EXACT:
		key_part(k, root, realm, o, 0, o->host.at, key_tail(o, o->host.at, true));
		break;
	case RULE_HOST_ANY_PORT:
		key_part(k, root, realm, o, CODE_ANY_PORT, o->host.at, o->host.len);
		break;
	case RULE_SUFFIX:
		key_part(k, root, realm, o, CODE_SUFFIX, o->host.at, key_tail(o, o->host.at, true));
		break;
	case RULE_SUFFIX_ANY_PORT:
		key_part(k, root, realm, o, CODE_SUFFIX | CODE_ANY_PORT, o->host.at, o->host.len);
		break;
	case RULE_SCHEME:
		key_scheme(k, root, realm, o);
		break;
	default:
		key_any(k, root, realm);
		break;
	}
}

static inline void
key_realm(struct key *k, const struct root *root, struct span realm)
{
	key_special(k, root, realm, CODE_SPECIAL | CODE_SUFFIX, (struct span){ "", 0 });
}

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#include "revocation.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

int
revocations_read(const struct call *call, struct revoked **set)
{
	char path[PATH_MAX];
	int error;

	if ((*set = revoked_new()) == NULL) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	error = revoked_read(*set, config_revoked_path(call->config, path, sizeof path));
	if (error == 0)
		return EXIT_YES;
	revoked_free(set);
	complain("%s: %s%s", path, error == -EBADMSG ? "it is damaged" : strerror(-error),
	    error == -EBADMSG ? ": every origin is refused until it is mended and corscache-syncd started anew, or until "
	    "cachectl restore --all, which forgets all that it says" :
	    error == -EACCES ? "; it is for root, and the user and group of corscache-syncd" : "");
	return EXIT_FAILED;
}

void
revocation_print(const struct revocation *r)
{
	const struct passwd *user = r->uid != REVOKED_NOBODY ? getpwuid(r->uid) : NULL;
	char when[HUMAN_MAX];

	printf("since %s, ", human_time(when, r->since_s));
	printf("until %s, by ", r->until_s != 0 ? human_time(when, r->until_s) : "cachectl restore");
	if (user != NULL)
		printf("%s (uid %" PRIu32 ")", user->pw_name, r->uid);
	else if (r->uid != REVOKED_NOBODY)
		printf("uid %" PRIu32, r->uid);
	else
		printf("nobody knows whom");
	if (r->note.len > 0) {
		printf(", note: ");
		print_bytes(r->note);
	}
}

static void
fill_time(struct object *o, const char *name, int64_t seconds)
{
	char when[HUMAN_MAX];

	if (seconds != 0)
		object_text(o, name, human_time(when, seconds));
	else
		object_null(o, name);
}

void
revocation_fill(struct object *o, const struct revocation *r)
{
	const struct passwd *user = r->uid != REVOKED_NOBODY ? getpwuid(r->uid) : NULL;

	fill_time(o, "since", r->since_s);
	fill_time(o, "until", r->until_s);
	if (r->uid != REVOKED_NOBODY)
		object_number(o, "uid", r->uid);
	else
		object_null(o, "uid");
	if (user != NULL)
		object_text(o, "user", user->pw_name);
	else
		object_null(o, "user");
	object_bytes(o, "note", r->note);
}

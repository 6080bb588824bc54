/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon.h"

#include <errno.h>
#include <poll.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "layout.h"
#include "output.h"

#define TIMEOUT_MS	5000
#define RETRY_MS	20

/* "ok \t N \t text", "unsaved \t N \t text" or "error \t text" */
static int
read_reply(char *reply, int64_t *entries, char text[CONTROL_MAX_LINE])
{
	size_t skip = strncmp(reply, "ok\t", 3) == 0 ? 3 : strncmp(reply, "unsaved\t", 8) == 0 ? 8 : 0;
	char clean[ESCAPED_MAX], *end;
	long long n;

	if (skip > 0) {
		n = strtoll(reply + skip, &end, 10);
		if (entries != NULL)
			*entries = n;
		escaped(text, CONTROL_MAX_LINE, span_of(*end == '\t' ? end + 1 : end));
		return EXIT_YES;
	}
	complain("corscache-syncd says: %s", escaped(clean, sizeof clean,
	    span_of(strncmp(reply, "error\t", 6) == 0 ? reply + 6 : reply)));
	return EXIT_FAILED;
}

static int
ask(const struct call *call, const char *line, const char *lines, size_t len, int timeout_ms, int64_t *entries,
    char reply[CONTROL_MAX_LINE], char text[CONTROL_MAX_LINE])
{
	int error = control_ask_lines(call->config->sync_control_socket, line, lines, len, timeout_ms, reply);

	if (error == -ENOENT || error == -ECONNREFUSED)
		return EXIT_ABSENT;
	if (error == 0)
		return read_reply(reply, entries, text);
	complain("%s: %s%s", call->config->sync_control_socket, strerror(-error),
	    error == -EACCES ? "; it is for root, and the user and group of corscache-syncd" :
	    error == -ETIMEDOUT ? "; corscache-syncd hangs: kill it, and cachectl invalidate revokes without it" : "");
	return EXIT_FAILED;
}

int
daemon_ask(const struct call *call, const char *line, int64_t *entries, char text[CONTROL_MAX_LINE])
{
	char reply[CONTROL_MAX_LINE];

	return ask(call, line, "", 0, TIMEOUT_MS, entries, reply, text);
}

int
daemon_ask_lines(const struct call *call, const char *line, const char *lines, size_t len, int timeout_ms,
    int64_t *entries, char unsaved[CONTROL_MAX_LINE])
{
	char reply[CONTROL_MAX_LINE] = "";
	int status = ask(call, line, lines, len, timeout_ms, entries, reply, unsaved);

	if (strncmp(reply, "unsaved\t", 8) != 0)
		unsaved[0] = '\0';
	return status;
}

int
daemon_or_writer(const struct call *call, struct writer **w)
{
	char text[CONTROL_MAX_LINE];
	int status = EXIT_ABSENT;

	*w = NULL;
	for (int waited = 0; status == EXIT_ABSENT && waited < TIMEOUT_MS; waited += RETRY_MS) {
		if ((status = daemon_ask(call, "ping", NULL, text)) == EXIT_ABSENT)
			status = daemon_replace(call, w);
		if (status == EXIT_ABSENT)	/* another cachectl, or a daemon that begins or ends */
			poll(NULL, 0, RETRY_MS);
	}
	if (status != EXIT_ABSENT)
		return status;
	complain("another process writes the table in %s and does not listen on %s: see sync.control_socket",
	    call->config->table_path, call->config->sync_control_socket);
	return EXIT_FAILED;
}

static uid_t caller = (uid_t)-1;

uid_t
daemon_caller(void)
{
	if (caller == (uid_t)-1)
		caller = getuid();
	return caller;
}

/* Of the table, or where there is none yet, of the directory that it will be made in. */
static int
become_owner(const char *dir)
{
	char table[PATH_MAX];
	struct passwd *owner;
	struct stat st;

	snprintf(table, sizeof table, "%s/" LAYOUT_DIR, dir);
	if (geteuid() != 0 || (stat(table, &st) != 0 && stat(dir, &st) != 0) || st.st_uid == 0)
		return EXIT_YES;
	owner = getpwuid(st.st_uid);
	if (owner != NULL && initgroups(owner->pw_name, owner->pw_gid) == 0 && setgid(owner->pw_gid) == 0 &&
	    setuid(owner->pw_uid) == 0)
		return EXIT_YES;
	complain("cannot become the owner of %s, user %u: %s", dir, (unsigned)st.st_uid,
	    owner == NULL ? "there is no such user" : strerror(errno));
	return EXIT_FAILED;
}

static int
readers_group(const struct config *config, gid_t *group)
{
	struct group *found;

	*group = (gid_t)-1;
	if (config->table_group[0] == '\0')
		return EXIT_YES;
	found = getgrnam(config->table_group);
	if (found == NULL) {
		complain("table.group: there is no group %s", config->table_group);
		return EXIT_FAILED;
	}
	*group = found->gr_gid;
	return EXIT_YES;
}

int
daemon_replace(const struct call *call, struct writer **w)
{
	char err[512] = "", revoked[PATH_MAX];
	struct writer_options options = { .dir = call->config->table_path, .err = err, .errlen = sizeof err,
		.revoked = config_revoked_path(call->config, revoked, sizeof revoked) };
	int error;

	if (readers_group(call->config, &options.group) != EXIT_YES || become_owner(options.dir) != EXIT_YES)
		return EXIT_FAILED;
	error = writer_open(w, &options);
	if (error == 0)
		return EXIT_YES;
	if (error == -EWOULDBLOCK)
		return EXIT_ABSENT;
	complain("the table in %s cannot be written: %s%s", options.dir, err[0] != '\0' ? err : strerror(-error),
	    error == -EACCES ? "; be root, or the user of corscache-syncd" : "");
	return EXIT_FAILED;
}

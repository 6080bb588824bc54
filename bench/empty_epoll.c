/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * empty_epoll SOCKET THREADS TABLE -- responder/serve.c with nothing behind it:
 * no parameter is looked at, one answer to everything. The table is only there
 * because serve.c opens and refreshes one.
 *
 * find_epoll -- the same with FIND: it reads the parameters, parses the origin
 * and finds its row, and gives the same one answer. What a decision cannot do
 * without, and nothing else of it.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../responder/serve.h"
#include "constant.h"

#ifdef FIND
static void
find(struct replier *rp, const struct facts *f)
{
	struct origin o;
	struct match m;

	if (request_origin(&f->cors, &o) == ORIGIN_OK)
		reader_find(rp->reader, f->cors.realm, &o, 0, &m);
}
#else
/* In place of responder/request.c. */
void
facts_read(struct facts *f, char *const *envp)
{
	(void)f;
	(void)envp;
}

static void
find(struct replier *rp, const struct facts *f)
{
	(void)rp;
	(void)f;
}
#endif

/* In place of responder/reply.c. */
struct span
reply_build(struct replier *rp, const struct facts *f, enum role role)
{
	(void)role;
	find(rp, f);
	return (struct span){ CONSTANT_ANSWER, sizeof CONSTANT_ANSWER - 1 };
}

static int
listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, CONSTANT_BACKLOG) != 0) {
		perror(path);
		exit(1);
	}
	return fd;
}

int
main(int argc, char **argv)
{
	struct serve_options options;
	struct server *server;
	sigset_t signals;
	int error, signo;

	if (argc != 4) {
		fprintf(stderr, "usage: %s SOCKET THREADS TABLE\n", program_invocation_short_name);
		return 64;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGPIPE);
	sigaddset(&signals, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	options = (struct serve_options){
		.listener = listen_at(argv[1]), .threads = atoi(argv[2]), .table_path = argv[3],
		.settings = { .io_timeout_ms = 5000, .reply = { .preflight_status = 200 } },
	};
	error = serve_start(&server, &options);
	if (error != 0) {
		fprintf(stderr, "%s: %s\n", program_invocation_short_name, strerror(-error));
		return 1;
	}
	do
		error = sigwait(&signals, &signo);
	while (error != 0 || signo != SIGTERM);
	serve_stop(&server, -1);
	return 0;
}

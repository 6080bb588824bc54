/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bare SOCKET THREADS -- the system calls that no FastCGI program is without,
 * and nothing else: threads in accept(2), a read, a write of constant bytes.
 * It knows no protocol, but where BEGIN_REQUEST has its flag to keep the
 * connection. What a program costs beyond it is what can be saved at all.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "constant.h"

#define FLAGS_AT	10	/* in a request */
#define LEN		(sizeof CONSTANT_ANSWER - 1)
#define PADDING		(-LEN % 8)

static int listener;
static const struct {
	unsigned char	 head[8];
	char		 answer[LEN];
	char		 padding[PADDING];
	unsigned char	 end[24];	/* of STDOUT, and of the request */
} answer = {
	{ 1, 6, 0, 1, LEN >> 8, LEN & 0xff, PADDING, 0 }, CONSTANT_ANSWER, "",
	{ 1, 6, 0, 1, 0, 0, 0, 0, 1, 3, 0, 1, 0, 8 },
};

static void *
serve(void *unused)
{
	unsigned char request[8192];
	int fd;

	(void)unused;
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		while (read(fd, request, sizeof request) > 0 &&
		    write(fd, &answer, sizeof answer) == (ssize_t)sizeof answer && request[FLAGS_AT] != 0)
			;
		close(fd);
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	pthread_t thread;

	if (argc != 3) {
		fputs("usage: bare SOCKET THREADS\n", stderr);
		return 64;
	}
	signal(SIGPIPE, SIG_IGN);
	snprintf(address.sun_path, sizeof address.sun_path, "%s", argv[1]);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
	    listen(listener, CONSTANT_BACKLOG) != 0) {
		perror(argv[1]);
		return 1;
	}
	for (int i = 1; i < atoi(argv[2]); i++)
		if (pthread_create(&thread, NULL, serve, NULL) != 0)
			return 1;
	serve(NULL);
	return 1;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * empty_classic SOCKET THREADS -- an empty FastCGI program as libfcgi's
 * examples have it: threads in FCGX_Accept_r, one answer to everything.
 */
#include <fcgiapp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "constant.h"

static int listener;

static void *
serve(void *unused)
{
	FCGX_Request r;

	(void)unused;
	FCGX_InitRequest(&r, listener, 0);
	while (FCGX_Accept_r(&r) == 0) {
		FCGX_PutStr(CONSTANT_ANSWER, sizeof CONSTANT_ANSWER - 1, r.out);
		FCGX_Finish_r(&r);
	}
	return NULL;
}

static void
end(int signo)
{
	(void)signo;
	_exit(0);
}

int
main(int argc, char **argv)
{
	pthread_t thread;

	if (argc != 3) {
		fputs("usage: empty_classic SOCKET THREADS\n", stderr);
		return 64;
	}
	signal(SIGTERM, end);	/* or FCGX_Init() takes it, and no thread in accept(2) sees it */
	if (FCGX_Init() != 0 || (listener = FCGX_OpenSocket(argv[1], CONSTANT_BACKLOG)) < 0)
		return 1;
	for (int i = 1; i < atoi(argv[2]); i++)
		if (pthread_create(&thread, NULL, serve, NULL) != 0)
			return 1;
	serve(NULL);
	return 1;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What responder/serve.c takes for granted about libfcgi and its header does not
 * promise: a request is read from a connection that was set beforehand, failures
 * return instead of accepting, and nothing outlives the request.
 */
#include <fcgiapp.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "run.h"

#define RESPONDER	1
#define KEEP		1

static int ours, theirs;	/* libfcgi's end, the web server's end */
static FCGX_Request r;

static void
setup(void)
{
	const struct timeval patience = { .tv_usec = 100000 };
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	ours = fds[0];
	theirs = fds[1];
	setsockopt(ours, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	ck_assert_int_eq(FCGX_Init(), 0);
	FCGX_InitRequest(&r, -1, 0);
}

static void
send_record(int type, const void *content, size_t len)
{
	unsigned char head[8] = { 1, (unsigned char)type, 0, 1, (unsigned char)(len >> 8), (unsigned char)len, 0, 0 };

	ck_assert_int_eq(write(theirs, head, sizeof head), sizeof head);
	ck_assert_int_eq(write(theirs, content, len), (ssize_t)len);
}

static void
send_begin(int role, int flags)
{
	const unsigned char body[8] = { 0, (unsigned char)role, (unsigned char)flags };

	send_record(1, body, sizeof body);
}

static void
send_request(int flags)
{
	send_begin(RESPONDER, flags);
	send_record(4, "\1\1AB", 4);
	send_record(4, "", 0);
	send_record(5, "", 0);
}

static int
accept_preset(void)
{
	r.ipcFd = ours;
	r.keepConnection = 1;
	FCGX_Detach(&r);
	return FCGX_Accept_r(&r);
}

static bool
is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* The other end sees the end of the stream, behind what was sent. */
static bool
peer_sees_the_end(void)
{
	char buf[4096];
	ssize_t got;

	do
		got = recv(theirs, buf, sizeof buf, MSG_DONTWAIT);
	while (got > 0);
	return got == 0 || errno == ECONNRESET;
}

START_TEST(a_preset_connection_is_read_and_kept)
{
	int i;

	for (i = 0; i < 3; i++) {
		send_request(KEEP);
		ck_assert_int_eq(accept_preset(), 0);
		ck_assert_int_eq(FCGX_GetError(r.in), 0);
		ck_assert_int_eq(r.role, RESPONDER);
		ck_assert_int_eq(r.keepConnection, 1);
		ck_assert_str_eq(FCGX_GetParam("A", r.envp), "B");
		FCGX_Finish_r(&r);
		ck_assert_int_eq(r.ipcFd, ours);
		ck_assert(is_open(ours));
	}
}
END_TEST

START_TEST(without_keep_it_is_closed_at_once)
{
	send_request(0);
	ck_assert_int_eq(accept_preset(), 0);
	ck_assert_int_eq(r.keepConnection, 0);
	FCGX_Finish_r(&r);
	ck_assert_int_eq(r.ipcFd, -1);
	ck_assert(!is_open(ours));
	ck_assert(peer_sees_the_end());
}
END_TEST

START_TEST(clearing_keep_closes_it)
{
	send_request(KEEP);
	ck_assert_int_eq(accept_preset(), 0);
	r.keepConnection = 0;
	FCGX_Finish_r(&r);
	ck_assert_int_eq(r.ipcFd, -1);
	ck_assert(!is_open(ours));
}
END_TEST

START_TEST(a_peer_that_is_gone_fails_and_nothing_is_accepted)
{
	close(theirs);
	ck_assert_int_lt(accept_preset(), 0);
	ck_assert(!is_open(ours));
	ck_assert_int_lt(r.ipcFd, 0);
}
END_TEST

START_TEST(a_silent_peer_fails_after_the_timeout)
{
	ck_assert_int_lt(accept_preset(), 0);
	ck_assert(!is_open(ours));
}
END_TEST

/* The trap: Accept_r succeeds, GetError tells. */
START_TEST(a_broken_off_request_shows_in_get_error)
{
	send_begin(RESPONDER, KEEP);
	shutdown(theirs, SHUT_WR);
	ck_assert_int_eq(accept_preset(), 0);
	ck_assert_int_ne(FCGX_GetError(r.in), 0);
	FCGX_Free(&r, 1);
	ck_assert_int_eq(r.ipcFd, -1);
	ck_assert(!is_open(ours));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("fcgi");
	TCase *tc = tcase_create("preset connection");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, a_preset_connection_is_read_and_kept);
	tcase_add_test(tc, without_keep_it_is_closed_at_once);
	tcase_add_test(tc, clearing_keep_closes_it);
	tcase_add_test(tc, a_peer_that_is_gone_fails_and_nothing_is_accepted);
	tcase_add_test(tc, a_silent_peer_fails_after_the_timeout);
	tcase_add_test(tc, a_broken_off_request_shows_in_get_error);
	suite_add_tcase(suite, tc);
	return run(suite);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sdnotify.h"
#include "run.h"

static char dir[] = "/tmp/check_sdnotify.XXXXXX";

/* A manager's socket. name: a path, or @ for the abstract name space. */
static int
manager(const char *name)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	memcpy(at.sun_path, name, strlen(name));
	if (name[0] == '@')
		at.sun_path[0] = '\0';
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))), 0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static const char *
received(int fd)
{
	static char buf[256];
	ssize_t n = recv(fd, buf, sizeof buf - 1, MSG_DONTWAIT);

	ck_assert_int_ge(n, 0);
	buf[n] = '\0';
	return buf;
}

START_TEST(nobody_asked_nothing_sent)
{
	unsetenv("NOTIFY_SOCKET");
	ck_assert_int_eq(sdnotify("READY=1"), 0);
	ck_assert_int_eq(sdnotify_reloading(), 0);
}
END_TEST

START_TEST(a_state_arrives_whole)
{
	char name[64];
	int fd;

	if (_i == 0)
		snprintf(name, sizeof name, "%s/notify", dir);
	else
		snprintf(name, sizeof name, "@check_sdnotify.%d", (int)getpid());
	fd = manager(name);
	ck_assert_int_eq(sdnotify("READY=1\nSTATUS=here"), 0);
	ck_assert_str_eq(received(fd), "READY=1\nSTATUS=here");
	ck_assert_int_eq(sdnotify_status("gone:\nREADY=1\x7f"), 0);
	ck_assert_str_eq(received(fd), "STATUS=gone: READY=1 ");
	ck_assert_int_eq(sdnotify_reloading(), 0);
	ck_assert_ptr_nonnull(strstr(received(fd), "RELOADING=1\nMONOTONIC_USEC="));
	close(fd);
	if (_i == 0)
		unlink(name);
}
END_TEST

static const struct {
	const char	*socket;
	int		 want;
} broken[] = {
	{ "", -EINVAL },
	{ "relative", -EINVAL },
	{ "@", -EINVAL },
	{ "/nonexistent/notify", -ENOENT },
	{ "/0123456789012345678901234567890123456789012345678901234567890123456789"
	  "01234567890123456789012345678901234567", -EINVAL },
};

START_TEST(a_broken_socket_is_an_error)
{
	setenv("NOTIFY_SOCKET", broken[_i].socket, 1);
	ck_assert_int_eq(sdnotify("READY=1"), broken[_i].want);
}
END_TEST

static void
set_pid(const char *variable, int add)
{
	char pid[32];

	snprintf(pid, sizeof pid, "%d", (int)getpid() + add);
	setenv(variable, pid, 1);
}

START_TEST(the_watchdog_is_ours_or_none)
{
	unsetenv("WATCHDOG_PID");
	unsetenv("WATCHDOG_USEC");
	ck_assert_uint_eq(sdnotify_watchdog_us(), 0);
	setenv("WATCHDOG_USEC", "30000000", 1);
	ck_assert_uint_eq(sdnotify_watchdog_us(), 30000000);
	set_pid("WATCHDOG_PID", 0);
	ck_assert_uint_eq(sdnotify_watchdog_us(), 30000000);
	set_pid("WATCHDOG_PID", 1);
	ck_assert_uint_eq(sdnotify_watchdog_us(), 0);
	unsetenv("WATCHDOG_PID");
	setenv("WATCHDOG_USEC", "-1", 1);
	ck_assert_uint_eq(sdnotify_watchdog_us(), 0);
	setenv("WATCHDOG_USEC", "3s", 1);
	ck_assert_uint_eq(sdnotify_watchdog_us(), 0);
}
END_TEST

START_TEST(descriptors_are_ours_once)
{
	int ends[2];

	ck_assert_int_eq(pipe(ends), 0);
	dup2(ends[0], 3);
	set_pid("LISTEN_PID", 0);
	setenv("LISTEN_FDS", "1", 1);
	ck_assert_int_eq(sdnotify_listen_fds(), 1);
	ck_assert_int_eq(fcntl(3, F_GETFD), FD_CLOEXEC);
	ck_assert_ptr_null(getenv("LISTEN_FDS"));
	ck_assert_ptr_null(getenv("LISTEN_PID"));
	ck_assert_int_eq(sdnotify_listen_fds(), 0);
	set_pid("LISTEN_PID", 1);
	setenv("LISTEN_FDS", "1", 1);
	ck_assert_int_eq(sdnotify_listen_fds(), 0);
	set_pid("LISTEN_PID", 0);
	setenv("LISTEN_FDS", "4000000000", 1);
	ck_assert_int_eq(sdnotify_listen_fds(), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sdnotify");
	TCase *tc = tcase_create("sdnotify");
	int status;

	if (mkdtemp(dir) == NULL)
		return EXIT_FAILURE;
	tcase_add_test(tc, nobody_asked_nothing_sent);
	tcase_add_loop_test(tc, a_state_arrives_whole, 0, 2);
	tcase_add_loop_test(tc, a_broken_socket_is_an_error, 0, sizeof broken / sizeof broken[0]);
	tcase_add_test(tc, the_watchdog_is_ours_or_none);
	tcase_add_test(tc, descriptors_are_ours_once);
	suite_add_tcase(s, tc);
	status = run(s);
	rmdir(dir);
	return status;
}

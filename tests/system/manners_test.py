#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
manners -- the daemons as a service manager and an operator meet them: when
they say that they are ready, alive, reloading or stopping; what a reload and a
test of the settings do and say; how their lines read.
"""

import contextlib
import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import fcgi
import harness
from harness import eventually

A = "https://a.example"
TABLE = json.dumps({"origin": A}) + "\n"
WATCHDOG_MS = 400
SILENT_S = 2		# of a watchdog that is not fed: five times the interval
PTRACE_ATTACH, PTRACE_DETACH, WAIT_ALL = 16, 17, 0x40000000
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
PROGRAMS = ("corscache-responder", "corscache-syncd")


def setUpModule():
	sql = harness.Psql()
	sql(f"INSERT INTO cors.origins (origin) VALUES ('{A}')")
	sql.close()


@contextlib.contextmanager
def stopped_thread(pid):
	"""The other thread of a process that has two, in the hands of a debugger."""
	libc = ctypes.CDLL(None, use_errno=True)
	libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
	[tid] = [int(tid) for tid in os.listdir(f"/proc/{pid}/task") if int(tid) != pid]
	if libc.ptrace(PTRACE_ATTACH, tid, None, None) != 0:
		harness.skip(f"a thread cannot be stopped: {os.strerror(ctypes.get_errno())}")
	os.waitpid(tid, WAIT_ALL)
	try:
		yield
	finally:
		libc.ptrace(PTRACE_DETACH, tid, None, None)


class Case(unittest.TestCase):
	def setUp(self):
		self.dir = pathlib.Path(tempfile.mkdtemp(prefix="cors."))
		self.addCleanup(shutil.rmtree, self.dir)
		self.table = self.dir / "a table"	# with a space, for the log
		self.table.mkdir()
		self.conf = self.dir / "corscache.conf"
		self.log = self.dir / "log"
		self.conninfo = f"host={harness.stack.env['PGHOST']} dbname=corscache user=corscache_syncd"
		self.manager = harness.Manager(self.dir)
		self.addCleanup(self.manager.close)

	def configure(self, more="", conninfo=None):
		"""Settings on lines known to the tests: 1 the table, 3 the group, more from 5 on."""
		self.conf.write_text(f'table {{ path = "{self.table}"\n'
		    f'group = ""\n}}\n'
		    f'sync {{ conninfo = "{conninfo or self.conninfo}" control_socket = "{self.dir}/c/sock" }}\n{more}\n')

	def start(self, program, *options, **spawn):
		with open(self.log, "ab") as log:
			self.process = self.manager.spawn([harness.stack.program(program), "-c", self.conf, *options],
			    stderr=log, **spawn)
		self.addCleanup(self.end, self.process)

	def end(self, process):
		if process.poll() is None:
			process.kill()
		process.wait()
		if not getattr(self._outcome, "success", True):
			print(self.log.read_text(), self.manager.seen)

	def load(self):
		subprocess.run([harness.stack.program("cachectl"), "-c", self.conf, "load", "-"], input=TABLE, text=True,
		    check=True, timeout=60, capture_output=True)

	def signal(self, number):
		self.process.send_signal(number)

	def said(self, words):
		return eventually(words, lambda: words in self.log.read_text())

	def check_reload(self):
		before = time.monotonic_ns() // 1000
		self.signal(signal.SIGHUP)
		self.manager.wait_for("RELOADING=1")
		stamp = int(self.manager.seen[-1].removeprefix("MONOTONIC_USEC="))
		self.assertTrue(before <= stamp <= time.monotonic_ns() // 1000)
		self.manager.wait_for("READY=1")

	def check_closed_descriptors(self, program):
		"""Where they are closed, no file and no socket of the daemon becomes its stderr."""
		self.log.touch()
		self.process = self.manager.spawn(["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", harness.stack.program(program),
		    "-c", self.conf, "--option", f"responder.socket={self.dir}/own"])
		self.addCleanup(self.end, self.process)
		self.manager.wait_for("READY=1")
		self.assertEqual([os.readlink(f"/proc/{self.process.pid}/fd/{n}") for n in range(3)], 3 * ["/dev/null"])
		self.check_stop()

	def check_stop(self):
		self.signal(signal.SIGTERM)
		self.manager.wait_for("STOPPING=1")
		self.assertEqual(self.process.wait(harness.WAIT_S), 0, self.log.read_text())

	def check_watchdog(self):
		for _ in range(3):
			self.manager.wait_for("WATCHDOG=1")
		self.signal(signal.SIGSTOP)
		self.manager.drain(SILENT_S)		# nothing of it goes on by itself
		self.assertEqual(self.manager.receive(SILENT_S), [])
		self.signal(signal.SIGCONT)
		self.manager.wait_for("WATCHDOG=1")


class Responder(Case):
	def setUp(self):
		super().setUp()
		self.configure()
		self.path = self.dir / "socket"
		self.listener = socket.socket(socket.AF_UNIX)
		self.addCleanup(self.listener.close)
		self.listener.bind(str(self.path))
		self.listener.listen(64)

	def start(self, *options, **spawn):
		super().start("corscache-responder", *options, listener=self.listener, **spawn)

	def allowed(self):
		answer = fcgi.ask(str(self.path), [("REQUEST_METHOD", "GET"), ("HTTP_ORIGIN", A)])
		return answer.get("access-control-allow-origin") == A

	def test_it_is_ready_with_a_table(self):
		self.start(watchdog_ms=WATCHDOG_MS)
		self.manager.wait_for("STATUS=every origin is refused: there is no table yet")
		self.assertFalse(self.allowed())		# it answers nevertheless
		self.signal(signal.SIGHUP)
		self.said("config: reloaded")
		for _ in range(5):
			self.manager.wait_for("WATCHDOG=1")
		self.assertNotIn("READY=1", self.manager.seen)
		self.assertNotIn("RELOADING=1", self.manager.seen)
		self.load()
		self.manager.wait_for("READY=1")
		self.manager.wait_for("STATUS=answering from the table")
		eventually("the threads have it too", self.allowed)
		self.check_reload()
		self.check_stop()
		self.assertEqual(self.manager.seen.count("READY=1"), 2)

	def test_it_is_alive_while_its_loops_turn(self):
		self.load()
		self.start(watchdog_ms=WATCHDOG_MS)
		self.manager.wait_for("READY=1")
		self.check_watchdog()

	def test_its_main_thread_does_not_vouch_for_the_others(self):
		self.load()
		self.start("--threads", "1", "-o", "responder.io_timeout_ms=600000", watchdog_ms=WATCHDOG_MS)
		self.manager.wait_for("READY=1")
		with socket.socket(socket.AF_UNIX) as peer:		# a slow peer holds no thread
			peer.connect(str(self.path))
			peer.sendall(b"\1\1\0\1\0\10\0\0\0")
			for _ in range(10):
				self.manager.wait_for("WATCHDOG=1")
		with stopped_thread(self.process.pid):
			self.manager.drain(SILENT_S)
			self.assertEqual(self.manager.receive(SILENT_S), [])
		self.manager.wait_for("WATCHDOG=1")

	def test_a_reload_is_whole_or_not_at_all(self):
		self.load()
		self.start()
		self.manager.wait_for("READY=1")
		self.configure("responder { preflight_status = 204\nmax_stale_s = x }")
		self.check_reload()
		self.said(f'config: not reloaded, the old settings stay: {self.conf}:6: responder.max_stale_s: "x" is not allowed')
		preflight = [("REQUEST_METHOD", "OPTIONS"), ("HTTP_ORIGIN", A), ("HTTP_ACCESS_CONTROL_REQUEST_METHOD", "GET")]
		self.assertEqual(fcgi.ask(str(self.path), preflight).status, 200)
		self.configure("responder { preflight_status = 204\nsocket_group = nobody-has-this }")
		self.check_reload()
		self.said(f'the old settings stay: {self.conf}:6: responder.socket_group: there is no group "nobody-has-this"')
		self.assertEqual(fcgi.ask(str(self.path), preflight).status, 200)
		self.configure("responder { preflight_status = 204\nthreads = 3 }")
		self.check_reload()
		self.said("config: changed, but needs a restart setting=responder.threads")
		eventually("the new status", lambda: fcgi.ask(str(self.path), preflight).status == 204)

	def test_closed_descriptors(self):
		self.load()
		self.check_closed_descriptors("corscache-responder")

	def test_lines_are_facts(self):
		self.load()
		self.start()
		self.said(" corscache-responder notice: table: ready rows=1 policies=1\n")
		self.assertRegex(self.log.read_text(), rf'(?m)^{TIME} corscache-responder notice: start: version=\S+ socket=inherited threads=2 table="{self.table}"\n')


class Syncd(Case):
	def start(self, **spawn):
		super().start("corscache-syncd", **spawn)

	def test_it_is_ready_with_a_table(self):
		self.configure(conninfo=f"host={self.dir}/none")
		self.start(watchdog_ms=WATCHDOG_MS)
		self.manager.wait_for("STATUS=every origin is refused: no table yet; no database: ")
		for _ in range(5):
			self.manager.wait_for("WATCHDOG=1")
		self.configure()
		self.signal(signal.SIGHUP)
		self.manager.wait_for("READY=1")
		self.assertNotIn("RELOADING=1", self.manager.seen)
		self.manager.wait_for("STATUS=following the database")
		self.check_reload()
		self.check_stop()

	def test_it_follows_only_when_it_is_connected(self):
		self.configure()
		self.start()
		self.manager.wait_for("STATUS=following the database")
		self.check_stop()
		with socket.create_server(("127.0.0.1", 0)) as mute:
			self.configure(conninfo=f"host=127.0.0.1 port={mute.getsockname()[1]}")
			self.start()
			self.assertEqual(self.manager.wait_for("STATUS="), "STATUS=the last table stays in force")

	def test_it_asks_for_time_while_it_loads(self):
		self.configure()
		self.start()
		self.manager.wait_for("READY=1")
		self.assertIn("EXTEND_TIMEOUT_USEC=60000000", self.manager.seen)
		self.manager.drain(SILENT_S)
		self.assertEqual(self.manager.seen.count("EXTEND_TIMEOUT_USEC=60000000"), 1, "then no more")

	def test_it_is_alive_while_its_loop_turns(self):
		self.configure()
		self.start(watchdog_ms=WATCHDOG_MS)
		self.manager.wait_for("READY=1")
		self.check_watchdog()

	def test_a_reload_is_whole_or_not_at_all(self):
		self.configure()
		self.start()
		self.manager.wait_for("READY=1")
		self.configure("sync { poll_ms = 50\naudit_s = never }")
		self.check_reload()
		self.said(f'config: not reloaded, the old settings stay: {self.conf}:6: sync.audit_s: "never" is not allowed')
		self.configure("sync { poll_ms = 50 }", conninfo="hoost=/tmp")
		self.check_reload()
		self.said(f"the old settings stay: {self.conf}:4: sync.conninfo: ")
		self.configure(f'sync {{ control_socket = "{self.dir}/other" }}')
		self.check_reload()
		self.said("config: changed, but needs a restart setting=sync.control_socket")

	def test_closed_descriptors(self):
		self.configure()
		self.check_closed_descriptors("corscache-syncd")

	def test_lines_are_facts(self):
		self.configure()
		self.start()
		self.manager.wait_for("READY=1")
		self.assertRegex(self.log.read_text(), rf'(?m)^{TIME} corscache-syncd notice: start: version=\S+ table="{self.table}" control={self.dir}/c/sock\n')
		self.assertEqual((self.dir / "c").stat().st_mode & 0o777, 0o750)
		self.check_stop()
		self.assertEqual([line for line in self.log.read_text().splitlines()
		    if not re.match(TIME + " corscache-syncd (error|warning|notice|info): ", line)], [])


class Test(Case):
	"""-t: file, line and setting, and no side effects."""

	def run_(self, program, *options):
		return subprocess.run([harness.stack.program(program), "-t", "-c", self.conf, *options], text=True, timeout=60,
		    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

	def test_good_settings(self):
		self.configure()
		for program in PROGRAMS:
			done = self.run_(program)
			self.assertEqual((done.returncode, done.stderr, done.stdout), (0, "", f"{program}: the settings are good\n"))
		self.assertEqual(sorted(self.dir.iterdir()), sorted([self.conf, self.table, self.manager.path]))
		self.assertEqual(list(self.table.iterdir()), [])

	def test_a_mistake_is_named_with_its_place(self):
		for more, program, words in (
		    ("responder { threads = 0 }", "corscache-syncd", "5: responder.threads:"),
		    ("responder {\nsocket_group = no-such }", "corscache-responder", '6: responder.socket_group: there is no group "no-such"'),
		    ("table {\ngroup = no-such }", "corscache-syncd", '6: table.group: there is no group "no-such"'),
		    ('sync {\n\nconninfo = "hoost=x" }', "corscache-syncd", "7: sync.conninfo:"),
		    ("sync { pol_ms = 3 }", "corscache-responder", "5: sync.pol_ms: no such setting"),
		):
			self.configure(more)
			done = self.run_(program)
			self.assertEqual((done.returncode, done.stdout), (78, ""), more)
			self.assertRegex(done.stderr, f"^{TIME} {program} error: " + re.escape(f"config: {self.conf}:{words}"))
			self.assertEqual(done.stderr.count("\n"), 1)
		self.configure()
		done = self.run_("corscache-responder", "-o", "responder.socket_group=no-such")
		self.assertIn("-o responder.socket_group: there is no group", done.stderr)

	def test_a_directory_that_is_not_there_is_a_warning(self):
		self.configure()
		self.table.rmdir()
		for program in PROGRAMS:
			done = self.run_(program)
			self.assertEqual(done.returncode, 0)
			self.assertRegex(done.stderr, f"^{TIME} {program} warning: " +
			    re.escape(f"config: {self.conf}:1: table.path: {self.table}: {os.strerror(2)}\n") + "$")


if __name__ == "__main__":
	harness.main()

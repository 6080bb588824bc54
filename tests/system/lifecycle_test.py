#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
lifecycle -- a change in the database becomes an answer; and what is answered
while one part after the other is away.
"""

import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import fcgi
import harness
import latency

A = "https://a.example"
PARAMETERS = [("REQUEST_METHOD", "GET"), ("HTTP_ORIGIN", A)]


def setUpModule():
	global sql
	sql = harness.Psql()
	sql("INSERT INTO cors.policies (name, methods, expose_headers) VALUES ('web', '{GET,PUT}', '{X-Total}')")
	sql(f"INSERT INTO cors.origins (origin, policy) VALUES ('{A}', 'web')")
	sql("INSERT INTO cors.origins (realm, origin, policy) VALUES ('strict', 'https://ok.example', 'web')")
	harness.eventually("the first row is in force", lambda: socket_allows(A))


def tearDownModule():
	sql.close()


def socket_allows(origin):
	answer = fcgi.ask(harness.stack.env["RESPONDER_SOCKET"], [("REQUEST_METHOD", "GET"), ("HTTP_ORIGIN", origin)])
	return answer.get("access-control-allow-origin") == origin


def clients(case):
	for name in ("nginx", "lighttpd"):
		client = harness.Client(harness.stack.env[f"{name.upper()}_URL"])
		case.addCleanup(client.close)
		yield name, client


class Changes(unittest.TestCase):
	def test_insert_is_answered(self):
		print(f"\n  COMMIT to answer, socket:   {harness.distribution(latency.inserts(sql, socket_allows, 50))}")
		for name, client in clients(self):
			print(f"  COMMIT to answer, {name + ':':9} {harness.distribution(latency.inserts(sql, client.allowed, 50))}")

	def change(self, statement, answered):
		return f"{1000 * latency.change(sql, statement, answered):.2f} ms"

	def test_row_changes_are_answered(self):
		for name, client in clients(self):
			origin = f"https://row-{name}.example"
			where = f"WHERE origin = '{origin}'"
			other = origin.replace("row", "moved")
			took = {
				"insert": self.change(f"INSERT INTO cors.origins (origin) VALUES ('{origin}')", lambda: client.allowed(origin)),
				"allow = false": self.change(f"UPDATE cors.origins SET allow = false {where}", lambda: not client.allowed(origin)),
				"allow = true": self.change(f"UPDATE cors.origins SET allow = true {where}", lambda: client.allowed(origin)),
				"key": self.change(f"UPDATE cors.origins SET origin = '{other}' {where}",
				    lambda: client.allowed(other) and not client.allowed(origin)),
				"delete": self.change(f"DELETE FROM cors.origins WHERE origin = '{other}'", lambda: not client.allowed(other)),
			}
			print(f"\n  {name}: {took}")

	def test_policy_change_is_answered(self):
		for name, client in clients(self):
			sql(f"INSERT INTO cors.policies (name, methods) VALUES ('p-{name}', '{{GET}}')")
			origin = f"https://policy-{name}.example"
			sql(f"INSERT INTO cors.origins (origin, policy) VALUES ('{origin}', 'p-{name}')")
			harness.eventually("inserted", lambda: client.allowed(origin))
			self.assertEqual(client.preflight(origin, "PURGE").status, 403)
			took = self.change(f"UPDATE cors.policies SET methods = '{{GET,PURGE}}', expose_headers = '{{X-New}}' WHERE name = 'p-{name}'",
			    lambda: client.preflight(origin, "PURGE").status == 200)
			print(f"\n  {name}: policy {took}")
			reply = client("GET", "/", [("Origin", origin)])
			self.assertEqual(reply.get("Access-Control-Expose-Headers").lower(), "x-new")

	def test_a_row_expires_without_an_event(self):
		for name, client in clients(self):
			origin = f"https://preview-{name}.example"
			sql("INSERT INTO cors.origins (origin, expires_at) VALUES"
			    f" ('{origin}', date_trunc('second', now()) + interval '4 s')")
			harness.eventually("allowed before it expires", lambda: client.allowed(origin), pause=0)
			harness.eventually("refused when it has expired", lambda: not client.allowed(origin))
			[[over]] = sql(f"SELECT now() >= expires_at FROM cors.origins WHERE origin = '{origin}'")
			self.assertEqual(over, "t")

	def test_a_rollback_changes_nothing(self):
		sql("BEGIN")
		sql("INSERT INTO cors.origins (origin) VALUES ('https://never.example')")
		sql(f"DELETE FROM cors.origins WHERE origin = '{A}'")
		sql("ROLLBACK")
		sql("INSERT INTO cors.origins (origin) VALUES ('https://later.example')")
		harness.eventually("a later row is in force", lambda: socket_allows("https://later.example"))
		self.assertFalse(socket_allows("https://never.example"))
		self.assertTrue(socket_allows(A))


class ResponderAway(unittest.TestCase):
	def tearDown(self):
		harness.stack.command("restart", "responder")
		for name, client in clients(self):
			harness.eventually(f"{name} answers again", lambda: client("GET", "/", [("Origin", A)]).status == 200
			    and client.allowed(A))

	def check_nginx(self, preflight):
		_, client = next(clients(self))
		for path in ("/", "/app/status/200", "/app/status/404"):
			start = time.monotonic()
			reply = client("GET", path, [("Origin", A)])
			print(f"\n  {path} after {1000 * (time.monotonic() - start):.0f} ms", end="")
			self.assertEqual(reply.status, 404 if "404" in path else 200)
			self.assertEqual(reply.all("Access-Control-Allow-Origin"), [])
			self.assertIn("origin", reply.vary())		# or a cache would keep the answer for everybody
		self.assertEqual(client.preflight(A).status, preflight)
		# a realm that enforces does not open because nobody can be asked
		self.assertEqual(client("GET", "/", [("Origin", "https://ok.example")], host="strict.localhost").status, 403)
		self.assertEqual(client("GET", "/", host="strict.localhost").status, 200)

	def test_stopped(self):
		harness.stack.command("stop", "responder")
		self.check_nginx(502)
		_, lighttpd = list(clients(self))[1]
		self.assertEqual(lighttpd("GET", "/").status, 200)
		self.assertEqual(lighttpd("GET", "/", [("Origin", A)]).status, 503)
		self.assertEqual(lighttpd.preflight(A).status, 503)

	def test_hung(self):
		pid = int(harness.stack.env["RESPONDER_PID"])
		os.kill(pid, signal.SIGSTOP)
		try:
			harness.eventually("all its threads are stopped", lambda: all("\nState:\tT" in task.read_text()
			    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/status")))
			self.check_nginx(504)
		finally:
			os.kill(pid, signal.SIGCONT)


class Load:
	"""Requests through a server, as many as two threads can make, while the block runs."""

	def __init__(self, server):
		self.url = harness.stack.env[f"{server.upper()}_URL"]
		self.stop = False
		self.done = self.broken = self.bare = self.preflights_lost = 0
		self.first_loss = ""
		self.lock = threading.Lock()
		self.threads = [threading.Thread(target=self.work) for _ in range(2)]

	def __enter__(self):
		for thread in self.threads:
			thread.start()
		self.more(100)
		return self

	def __exit__(self, *_):
		self.stop = True
		for thread in self.threads:
			thread.join()

	def work(self):
		client = harness.Client(self.url)
		while not self.stop:
			reply, preflight = client("GET", "/index.html", [("Origin", A)]), client.preflight(A)
			with self.lock:
				self.done += 2
				self.broken += reply.status != 200
				self.bare += reply.all("Access-Control-Allow-Origin") != [A]
				self.preflights_lost += preflight.status != 200
				if preflight.status != 200 and not self.first_loss:
					self.first_loss = f", first: {preflight.status} {preflight.headers}"
		client.close()

	def more(self, count):
		goal = self.done + count
		harness.eventually(f"{count} more requests", lambda: self.done >= goal)

	def __str__(self):
		return (f"{self.done} requests: {self.broken} broken, {self.bare} without CORS headers,"
		    f" {self.preflights_lost} preflights lost{self.first_loss}")


class Restarts(unittest.TestCase):
	"""nginx waits 250 ms for an answer: a restart that is quicker goes unnoticed if the listener stays."""

	def test_with_its_own_listener(self):
		with Load("nginx") as load:
			for _ in range(4):
				harness.stack.command("restart", "responder")
				load.more(200)
			before = str(load)
			harness.eventually("answered again", lambda: socket_allows(A))
		print(f"\n  own listener, 4 restarts, {before}")
		self.assertEqual(load.broken, 0)

	def test_with_a_listener_that_stays(self):
		harness.stack.command("stop", "responder")
		path = harness.stack.env["RESPONDER_SOCKET"]
		mode = os.umask(0)
		with socket.socket(socket.AF_UNIX) as listener:
			listener.bind(path)
			os.umask(mode)
			listener.listen(1024)
			try:
				for server in ("nginx", "lighttpd"):
					self.restart_under_load(listener, server)
			finally:
				os.unlink(path)
				harness.stack.command("start", "responder")

	def start(self, listener):
		with open(harness.stack.dir / "log" / "held.log", "ab") as log:
			child = subprocess.Popen([harness.stack.program("corscache-responder"), "-c", harness.stack.env["CORSCACHE_CONF"]],
			    stdin=listener, stdout=log, stderr=log)
		harness.eventually("the responder answers", lambda: socket_allows(A))
		return child

	def restart_under_load(self, listener, server):
		child = self.start(listener)
		slowest = 0
		try:
			with Load(server) as load:
				for _ in range(4):
					start = time.monotonic()
					child.send_signal(signal.SIGTERM)
					child.wait(10)
					child = self.start(listener)
					slowest = max(slowest, time.monotonic() - start)
					load.more(200)
		finally:
			child.kill()
			child.wait(10)
		print(f"\n  {server}, held listener, 4 restarts of at most {1000 * slowest:.0f} ms, {load}")
		self.assertEqual(load.broken, 0)
		if slowest < 0.2:
			self.assertEqual((load.bare, load.preflights_lost), (0, 0))


class Upgrades(unittest.TestCase):
	"""Another program file takes over the socket: the new process is ready before the old one is told to stop."""

	def setUp(self):
		harness.stack.command("stop", "responder")
		self.dir = pathlib.Path(tempfile.mkdtemp(prefix="cors."))
		self.manager = harness.Manager(self.dir)
		self.listener = socket.socket(socket.AF_UNIX)
		self.path = harness.stack.env["RESPONDER_SOCKET"]
		mode = os.umask(0)
		self.listener.bind(self.path)
		os.umask(mode)
		self.listener.listen(1024)
		self.child = None

	def tearDown(self):
		if self.child:
			self.child.kill()
			self.child.wait(10)
		self.listener.close()
		self.manager.close()
		os.unlink(self.path)
		shutil.rmtree(self.dir)
		harness.stack.command("start", "responder")

	def start(self, release):
		program = self.dir / f"release-{release}" / "sbin" / "corscache-responder"
		if not program.exists():
			program.parent.mkdir(parents=True)
			shutil.copy(harness.stack.program("corscache-responder"), program)
		with open(harness.stack.dir / "log" / "upgrade.log", "ab") as log:
			self.child = self.manager.spawn([program, "-c", harness.stack.env["CORSCACHE_CONF"]], self.listener, stderr=log)
		self.manager.wait_for("READY=1")
		return self.child

	def test_under_load(self):
		old = self.start(0)
		for server in ("nginx", "lighttpd"):
			with Load(server) as load:
				for release in range(1, 5):
					new = self.start(release)
					load.more(100)		# by both
					old.send_signal(signal.SIGTERM)
					self.assertEqual(old.wait(20), 0)
					shutil.rmtree(self.dir / f"release-{release - 1}", ignore_errors=True)
					load.more(100)		# by the new one
					old = new
			print(f"\n  {server}, 4 upgrades, {load}")
			self.assertEqual((load.broken, load.bare, load.preflights_lost), (0, 0, 0))


class SyncdAway(unittest.TestCase):
	def tearDown(self):
		harness.stack.command("restart", "syncd")

	def test_answers_go_on_and_revoking_works(self):
		harness.stack.command("stop", "syncd")
		sql("INSERT INTO cors.origins (origin) VALUES ('https://meanwhile.example')")
		for name, client in clients(self):
			self.assertTrue(client.allowed(A), name)
			self.assertFalse(client.allowed("https://meanwhile.example"), name)
		print("\n  ", harness.stack.cachectl("invalidate", A).stdout.strip())
		for name, client in clients(self):
			self.assertFalse(client.allowed(A), name)
		harness.stack.command("start", "syncd")
		for name, client in clients(self):
			harness.eventually("re-read from the database", lambda: client.allowed(A) and client.allowed("https://meanwhile.example"))

	def test_killed(self):
		os.kill(int(harness.stack.env["SYNCD_PID"]), signal.SIGKILL)
		self.assertTrue(socket_allows(A))
		harness.stack.command("start", "syncd")
		sql("INSERT INTO cors.origins (origin) VALUES ('https://after-kill.example')")
		harness.eventually("a new row is in force", lambda: socket_allows("https://after-kill.example"))
		self.assertTrue(socket_allows(A))


def cpu_ticks(pid):
	"""User and system time, as proc(5) counts them."""
	return sum(map(int, pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))


class SyncdWithoutDescriptors(unittest.TestCase):
	def test_it_does_not_spin_and_recovers(self):
		pid = int(harness.stack.env["SYNCD_PID"])
		path = harness.stack.env["CONTROL_SOCKET"]
		old = resource.prlimit(pid, resource.RLIMIT_NOFILE)
		resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")), old[1]))
		self.addCleanup(resource.prlimit, pid, resource.RLIMIT_NOFILE, old)
		with socket.socket(socket.AF_UNIX) as s:
			s.connect(path)
			before = cpu_ticks(pid)
			time.sleep(1)		# no condition to wait for: it must not spin meanwhile
			self.assertLess(cpu_ticks(pid) - before, 10)
			resource.prlimit(pid, resource.RLIMIT_NOFILE, old)
			s.settimeout(30)
			s.sendall(b"nothing\n")
			self.assertEqual(s.recv(100), b"error\tno such order\n")


class DatabaseAway(unittest.TestCase):
	def setUp(self):
		sql.close()
		harness.stack.command("stop", "postgres")

	def tearDown(self):
		global sql
		harness.stack.command("start", "postgres")
		sql = harness.Psql()
		took = harness.eventually("confirmed by the database again", lambda: socket_allows(A), seconds=60)
		print(f"   answered again {took:.1f} s after the database came back")
		sql("INSERT INTO cors.origins (origin) VALUES ('https://after-outage.example')")
		harness.eventually("a new row is in force", lambda: socket_allows("https://after-outage.example"))
		sql("DELETE FROM cors.origins WHERE origin = 'https://after-outage.example'")
		harness.eventually("it is gone", lambda: not socket_allows("https://after-outage.example"))

	def assert_stays_refused(self):
		for _ in range(50):
			self.assertFalse(socket_allows(A))
			time.sleep(0.02)
		for name, client in clients(self):
			self.assertFalse(client.allowed(A), name)

	def test_answers_go_on_and_revoking_holds(self):
		for name, client in clients(self):
			self.assertTrue(client.allowed(A), name)
		print("\n  ", harness.stack.cachectl("invalidate", A).stdout.strip())
		self.assert_stays_refused()

	def test_revoking_outlives_restarts_of_everything_else(self):
		harness.stack.command("stop", "syncd")
		print("\n  ", harness.stack.cachectl("invalidate", A).stdout.strip())
		self.assert_stays_refused()
		harness.stack.command("start", "syncd")
		harness.stack.command("restart", "responder")
		self.assert_stays_refused()


if __name__ == "__main__":
	harness.main("--nginx", "--lighttpd")

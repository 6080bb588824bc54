# SPDX-License-Identifier: BSD-2-Clause
"""
harness -- what the system tests share: a stack of their own, a session with
its database, HTTP exactly as written, bounded waits.

A test file defines unittest cases and ends with harness.main("--nginx", ...);
the cases use harness.stack. Exit status: 0, 1, or 77 when a server is missing.
"""

import http.client
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
WAIT_S = 30		# longest wait for anything that must happen
sys.dont_write_bytecode = True
import bounds	# noqa: E402

stack = None


def skip(text):
	print(f"SKIP: {text}", file=sys.stderr)
	sys.exit(77)


def eventually(what, condition, seconds=WAIT_S, pause=0.005):
	"""Polls until condition() is true; returns how long that took, in seconds."""
	start = time.monotonic()
	while not condition():
		if time.monotonic() - start > seconds:
			raise AssertionError(f"not within {seconds} s: {what}")
		time.sleep(pause)
	return time.monotonic() - start


def distribution(seconds):
	"""One line: p50, p99, max of some durations, in milliseconds."""
	ms = sorted(1000 * s for s in seconds)
	return (f"n={len(ms)} p50={ms[len(ms) // 2]:.2f} ms p99={ms[min(len(ms) - 1, len(ms) * 99 // 100)]:.2f} ms"
	    f" max={ms[-1]:.2f} ms")


def read_env(directory):
	words = shlex.split((pathlib.Path(directory) / "env").read_text())
	return dict(word.split("=", 1) for word in words)


class Stack:
	def __init__(self, *options):
		self.options = options
		self.dir = pathlib.Path(tempfile.mkdtemp(prefix="cors."))

	def __enter__(self):
		done = subprocess.run([SOURCE / "tests" / "stack", "up", self.dir, *self.options])
		if done.returncode:
			shutil.rmtree(self.dir, ignore_errors=True)
			sys.exit(done.returncode)
		self.read_env()
		return self

	def __exit__(self, *_):
		self.command("down")
		reports = [log.read_text(errors="replace") for log in (self.dir / "log").glob("*.log")]
		shutil.rmtree(self.dir, ignore_errors=True)
		for report in reports:
			if "Sanitizer: " in report or "runtime error: " in report:
				sys.exit(report)

	def read_env(self):
		self.env = read_env(self.dir)

	def command(self, *args):
		"""stack COMMAND DIR [PART]"""
		subprocess.run([SOURCE / "tests" / "stack", args[0], self.dir, *args[1:]], check=True)
		if args[0] != "down":
			self.read_env()

	def program(self, name):
		"""The path of one of ours, as built."""
		build = pathlib.Path(self.env["CORSCACHE_BUILD"])
		return next(p for p in (build / name, *build.glob(f"*/{name}")) if p.is_file() and os.access(p, os.X_OK))

	def cachectl(self, *args, check=True):
		return subprocess.run([self.program("cachectl"), "-c", self.env["CORSCACHE_CONF"], *args], check=check, timeout=60,
		    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

	def show_logs(self):
		for log in sorted((self.dir / "log").glob("*.log")):
			lines = log.read_text(errors="replace").splitlines()[-30:]
			print(f"--- {log.name}", *lines, sep="\n", file=sys.stderr)


class SqlError(Exception):
	pass


class Psql:
	"""A session that stays open: statements cost a round trip, not a process."""

	def __init__(self, env=None):
		self.process = subprocess.Popen(["psql", "-XqAt", "-v", "VERBOSITY=verbose"], text=True,
		    env={**os.environ, **(env or stack.env)},
		    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
		self("SET client_min_messages = warning")

	def send(self, sql):
		self.process.stdin.write(f"{sql}\n;\n\\echo @@end :SQLSTATE\n")
		self.process.stdin.flush()

	def receive(self):
		lines = []
		for line in self.process.stdout:
			if line.startswith("@@end "):
				if line.split()[1] != "00000":
					raise SqlError("".join(lines).strip())
				return [row.split("|") for row in "".join(lines).splitlines()]
			lines.append(line)
		raise SqlError("psql ended: " + "".join(lines))

	def __call__(self, sql):
		"""Rows as lists of strings; SqlError carries the server's words. One statement: its SQLSTATE counts."""
		self.send(sql)
		return self.receive()

	def close(self):
		self.process.stdin.close()
		self.process.wait(10)
		self.process.stdout.close()


class Manager:
	"""Plays systemd to one daemon: $NOTIFY_SOCKET, $WATCHDOG_USEC, a listening socket as descriptor 3."""

	def __init__(self, directory):
		self.path = pathlib.Path(directory) / "notify"
		self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		self.socket.bind(str(self.path))
		self.seen = []		# all assignments so far, in order

	def close(self):
		self.socket.close()
		self.path.unlink()

	def spawn(self, argv, listener=None, watchdog_ms=None, **popen):
		env = {**os.environ, "NOTIFY_SOCKET": str(self.path)}
		if watchdog_ms:
			env["WATCHDOG_USEC"] = str(1000 * watchdog_ms)
		argv = [str(a) for a in argv]
		if listener:		# $LISTEN_PID is the pid of who gets it: exec keeps the shell's
			argv = ["/bin/sh", "-c", 'export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=responder; exec "$@" 3<&0 0</dev/null',
			    "sh", *argv]
		return subprocess.Popen(argv, stdin=listener or subprocess.DEVNULL, env=env, **popen)

	def receive(self, seconds=WAIT_S):
		"""The assignments of the next datagram; [] when none comes."""
		self.socket.settimeout(seconds)
		try:
			got = self.socket.recv(4096).decode().split("\n")
		except TimeoutError:
			got = []
		self.seen += got
		return got

	def wait_for(self, start):
		"""The next assignment that starts so."""
		while got := self.receive():
			for assignment in got:
				if assignment.startswith(start):
					return assignment
		raise AssertionError(f"{start} was not said in {WAIT_S} s, but {self.seen}")

	def drain(self, seconds):
		"""Until nothing came for so long; an error if that never happens."""
		end = time.monotonic() + 10 * seconds
		while self.receive(seconds):
			if time.monotonic() > end:
				raise AssertionError(f"it goes on: {self.seen[-5:]}")


class Reply:
	def __init__(self, response):
		self.status = response.status
		self.headers = response.getheaders()
		self.body = response.read()

	def all(self, name):
		return [value for key, value in self.headers if key.lower() == name.lower()]

	def get(self, name):
		"""The value of a header that may come once; None when absent."""
		values = self.all(name)
		if len(values) > 1:
			raise AssertionError(f"{name} came {len(values)} times: {values}")
		return values[0] if values else None

	def vary(self):
		return {word.strip().lower() for line in self.all("Vary") for word in line.split(",")}


class Client:
	"""A kept connection to one server; headers are pairs and may repeat."""

	def __init__(self, url):
		at = urllib.parse.urlsplit(url)
		self.host, self.port = at.hostname, at.port
		self.connection = http.client.HTTPConnection(self.host, self.port, timeout=20)

	def __call__(self, method, path, headers=(), body=None, host=None):
		c = self.connection
		try:
			c.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
			c.putheader("Host", host or f"{self.host}:{self.port}")
			for name, value in headers:
				c.putheader(name, value)
			if body is not None:
				c.putheader("Content-Length", str(len(body)))
			c.endheaders(body)
			return Reply(c.getresponse())
		except (OSError, http.client.HTTPException):
			c.close()
			raise

	def close(self):
		self.connection.close()

	def allowed(self, origin, host=None, path="/"):
		"""Does a page of this origin get to read the answer?"""
		return self("GET", path, [("Origin", origin)], host=host).get("Access-Control-Allow-Origin") in (origin, "*")

	def preflight(self, origin, method="PUT", headers=None, host=None, path="/app/echo"):
		fields = [("Origin", origin), ("Access-Control-Request-Method", method)]
		if headers:
			fields.append(("Access-Control-Request-Headers", headers))
		return self("OPTIONS", path, fields, host=host)


def main(*options):
	global stack
	signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))		# or the servers would stay
	with Stack(*options) as stack:
		result = bounds.run()
		if not result.wasSuccessful():
			stack.show_logs()
	sys.exit(not result.wasSuccessful())

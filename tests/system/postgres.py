# SPDX-License-Identifier: BSD-2-Clause
"""postgres -- a private PostgreSQL and sessions with it, through psql alone."""
import atexit
import collections
import glob
import os
import pwd
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

SCHEMA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "sql", "0001_schema.sql")
PATIENCE_S = 60

Refusal = collections.namedtuple("Refusal", "sqlstate message hint")


def find_bindir():
	at = [shutil.which("initdb", path=os.environ.get("POSTGRES_BINDIR", ""))] + [shutil.which("initdb")] + sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"),
	    key=lambda p: int(p.split("/")[4]), reverse=True)
	at = [p for p in at if p]
	if not at:
		print("SKIP: there is no initdb: install postgresql to test sql/")
		sys.exit(77)
	return os.path.dirname(at[0])


class Cluster:
	"""PostgreSQL in a directory that goes away with us. initdb refuses root."""

	def __init__(self):
		self.bindir = find_bindir()
		self.dir = tempfile.mkdtemp(prefix="corscache-sql.")
		self.user = None
		if os.getuid() == 0:
			self.user = "postgres"
			os.chown(self.dir, pwd.getpwnam(self.user).pw_uid, -1)
		atexit.register(self.remove)
		self.command("initdb", "-D", self.dir + "/data", "-U", "postgres", "-A", "trust",
		    "-E", "UTF8", "--locale=C.UTF-8", "-N")
		with open(self.dir + "/data/postgresql.conf", "a") as conf:
			conf.write("unix_socket_directories = '%s'\nlisten_addresses = ''\nfsync = off\n"
			    "max_prepared_transactions = 5\nmax_wal_size = 4GB\nautovacuum = off\n" % self.dir)
		self.command("pg_ctl", "-D", self.dir + "/data", "-w", "-l", self.dir + "/log", "start")
		os.environ.update(PGHOST=self.dir, PGPORT="5432", PGUSER="postgres", PGDATABASE="postgres",
		    PGOPTIONS="", PGAPPNAME="sql_test")

	def command(self, name, *args):
		as_user = ["runuser", "-u", self.user, "--"] if self.user else []
		subprocess.run(as_user + [os.path.join(self.bindir, name), *args], check=True, cwd=self.dir,
		    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=120,
		    env={**os.environ, "LC_ALL": "C"})

	def remove(self):
		try:
			if os.path.exists(self.dir + "/data/postmaster.pid"):
				self.command("pg_ctl", "-D", self.dir + "/data", "-m", "immediate", "stop")
		finally:
			shutil.rmtree(self.dir, ignore_errors=True)


class Session:
	"""One psql, one connection, kept open."""

	def __init__(self, database, user="postgres"):
		self.count = 0
		self.psql = subprocess.Popen(
		    ["psql", "-X", "-q", "-A", "-t", "-U", user, "-d", database],
		    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
		    env={**os.environ, "LC_ALL": "C.UTF-8"})
		self.run(r"\set VERBOSITY verbose", end="")
		self.run(r"\set SHOW_CONTEXT never", end="")
		self.pid = self.one("SELECT pg_backend_pid()")

	def send(self, sql, end=";"):
		self.count += 1
		self.psql.stdin.write("%s%s\n\\echo done %d\n" % (sql, end, self.count))
		self.psql.stdin.flush()

	def reply(self):
		"""The lines up to the answer's end; a session that hangs is an error."""
		out = b""
		end = b"done %d\n" % self.count
		while not out.endswith(end):
			ready, _, _ = select.select([self.psql.stdout], [], [], PATIENCE_S)
			chunk = os.read(self.psql.stdout.fileno(), 1 << 16) if ready else b""
			if not chunk:
				raise AssertionError("psql does not answer: %r" % out)
			out += chunk
		return out[:-len(end)].decode()

	def run(self, sql, end=";"):
		self.send(sql, end)
		return self.reply()

	def ok(self, sql, end=";"):
		out = self.run(sql, end)
		if re.search(r"^(ERROR|FATAL):", out, re.M):
			raise AssertionError("%s\n%s" % (sql, out))
		return out

	def rows(self, sql):
		return [tuple(line.split("|")) for line in self.ok(sql).splitlines() if not line.startswith("Asynchronous")]

	def one(self, sql):
		return self.rows(sql)[0][0]

	def refused(self, sql):
		return refusal(self.run(sql))

	def blocked(self):
		"""True once the session waits for a lock."""
		watch = sessions("postgres")
		until = time.monotonic() + PATIENCE_S
		while time.monotonic() < until:
			if watch.one("SELECT wait_event_type IS NOT DISTINCT FROM 'Lock' FROM pg_stat_activity"
			    " WHERE pid = " + self.pid) == "t":
				return True
			if select.select([self.psql.stdout], [], [], 0.01)[0]:
				return False
		return False


def refusal(out):
	error = re.search(r"^ERROR:  (\w{5}): (.*?)(?=\n(?:DETAIL|HINT|SCHEMA NAME|CONTEXT|LOCATION|LINE \d+): |\Z)", out, re.M | re.S)
	if not error:
		return None
	hint = re.search(r"^HINT:  (.*)$", out, re.M)
	return Refusal(error[1], error[2], hint[1] if hint else None)


_sessions = {}
_databases = {"postgres"}


def sessions(name, user="postgres", nth=1):
	"""A session that stays open for the cases to come; the database is made at first use."""
	key = (name, user, nth)
	if key not in _sessions:
		if name not in _databases:
			database(name)
		_sessions[key] = Session(name, user)
	return _sessions[key]


def forget_sessions():
	"""After a failed case: open transactions and unread answers must not spoil the next."""
	for session in _sessions.values():
		session.psql.kill()
		session.psql.wait()
	_sessions.clear()


def psql_file(database, path, user="postgres"):
	return subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "-U", user, "-d", database, "-f", path],
	    capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def database(name, owner="postgres", schema=True):
	sessions("postgres").ok("CREATE DATABASE %s OWNER %s" % (name, owner))
	_databases.add(name)
	if schema:
		done = psql_file(name, SCHEMA, owner)
		assert done.returncode == 0, done.stderr


def quote(text):
	return "NULL" if text is None else "'%s'" % text.replace("'", "''")

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
syncd_test -- corscache-syncd against PostgreSQL servers of our own.

What the shared table says is read with table_tool, what the database says with
psql; "equal" compares the two row by row. Servers live in a temporary directory
on unix sockets. Exit status: 0, 1, or 77 without PostgreSQL.

	SYNC_ROWS	rows of the large load (1000000)
	SYNC_COMMITS	commits of the latency measurement (500)
	SYNC_SEEDS	seeds of the randomised test ("1 2 3")
	SYNC_SECONDS	how long each of them writes (4)
"""

import contextlib
import glob
import json
import os
import pathlib
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import bounds
import harness
import stranger
from harness import Psql, SqlError, eventually

ROWS = int(os.environ.get("SYNC_ROWS", "1000000"))
COMMITS = int(os.environ.get("SYNC_COMMITS", "500"))
SEEDS = [int(s) for s in os.environ.get("SYNC_SEEDS", "1 2 3").split()]
SECONDS = float(os.environ.get("SYNC_SECONDS", "4"))
AS_ROOT = os.geteuid() == 0
BUILD = pathlib.Path(os.environ.get("CORSCACHE_BUILD", ".")).resolve()
SCHEMA = harness.SOURCE / "sql" / "0001_schema.sql"
A, B, C = "https://a.example", "https://b.example", "https://c.example"
PASSWORD = "s3kr1t-never-logged"


def program(name, *patterns):
	for pattern in patterns:
		found = sorted(glob.glob(pattern))
		if found:
			return found[-1]
	return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")


def server_program(name):
	"""Of the server in $POSTGRES_BINDIR, or of the newest that is installed; None: there is none."""
	bindir = os.environ.get("POSTGRES_BINDIR")
	return os.path.join(bindir, name) if bindir else program(name, f"/usr/lib/postgresql/*/bin/{name}")


class Cluster:
	"""One PostgreSQL server. It refuses root, so root runs it as postgres."""

	def __init__(self, directory):
		self.dir = pathlib.Path(directory)
		self.dir.mkdir()
		if AS_ROOT:
			shutil.chown(self.dir, "postgres", "postgres")
		self.env = {"PGHOST": str(self.dir), "PGPORT": "5432", "PGUSER": "postgres", "PGDATABASE": "postgres"}

	def run(self, name, *args, check=True):
		user = {}
		if AS_ROOT:
			entry = pwd.getpwnam("postgres")
			user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
		argv = [server_program(name), *map(str, args)]
		return subprocess.run(argv, check=check, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
		    stderr=subprocess.STDOUT, timeout=120, env={**os.environ, **self.env, "LC_ALL": "C"}, **user)

	def init(self, lines=""):
		self.run("initdb", "-D", self.dir / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
		self.configure("fsync = off\nmax_wal_size = 4GB\nshared_buffers = 64MB\n" + lines)

	def configure(self, lines=""):
		with open(self.dir / "data" / "postgresql.conf", "a") as conf:
			conf.write(f"listen_addresses = ''\nunix_socket_directories = '{self.dir}'\n{lines}")

	def start(self):
		self.run("pg_ctl", "-D", self.dir / "data", "-l", self.dir / "log", "-w", "-t", "60", "start")

	def stop(self, mode="fast"):
		self.run("pg_ctl", "-D", self.dir / "data", "-m", mode, "-w", "-t", "60", "stop", check=False)

	def create_schema(self, owner="postgres"):
		self.sql("CREATE ROLE syncd LOGIN")
		subprocess.run(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", owner, "-f", SCHEMA], check=True, timeout=60,
		    env={**os.environ, **self.env})
		self.sql("GRANT cors_reader TO syncd")

	def copy(self, stopped):
		subprocess.run(["cp", "-a", stopped.dir / "data", self.dir / "data"], check=True, timeout=120)
		self.configure()

	def become_standby_of(self, primary):
		"""A copy of a primary that is stopped for it, which follows it from then on."""
		primary.stop()
		self.copy(primary)
		primary.start()
		(self.dir / "data" / "standby.signal").touch()
		self.configure(f"hot_standby_feedback = on\nprimary_conninfo = 'host={primary.dir} user=postgres application_name=standby'\n")

	def sql(self, statement):
		psql = Psql(self.env)
		try:
			return psql(statement)
		finally:
			psql.close()


class Syncd:
	"""The daemon with a table of its own."""

	def __init__(self, case, conninfo, env=None, **options):
		self.dir = pathlib.Path(tempfile.mkdtemp(dir=work))
		self.table = self.dir / "table"
		self.control = self.dir / "control.sock"
		self.conf = self.dir / "corscache.conf"
		self.options = {"sync.conninfo": conninfo, "table.path": self.table, "sync.control_socket": self.control, **options}
		self.env = env or {}
		self.log_path = self.dir / "log"
		self.process = None
		self.case = case
		case.addCleanup(self.remove)

	def argv(self):
		sections = {}
		for name, value in self.options.items():
			section, _, name = name.partition(".")
			sections.setdefault(section, []).append(f"\t{name} = {value if isinstance(value, int) else quote(value)}\n")
		self.conf.write_text("".join(f"{s} {{\n{''.join(lines)}}}\n" for s, lines in sections.items()))
		return [BUILD / "corscache-syncd", "-c", self.conf]

	def start(self, ready=True):
		with open(self.log_path, "ab") as log:
			self.process = subprocess.Popen(self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
			    env={**os.environ, **self.env})
		eventually("the daemon listens for orders", lambda: self.alive() and self.answers())
		if ready:
			eventually("a table is in force and fresh", self.is_fresh)
		return self

	def alive(self):
		if self.process.poll() is not None:
			raise AssertionError(f"corscache-syncd ended with {self.process.returncode}:\n{self.log()}")
		return True

	def answers(self):
		with contextlib.suppress(OSError):
			return self.order("ping").startswith("ok")
		return False

	def log(self):
		return self.log_path.read_text() if self.log_path.exists() else ""

	def stop(self, number=signal.SIGTERM):
		if self.process and self.process.poll() is None:
			self.process.send_signal(number)
			self.process.wait(harness.WAIT_S)
		return self.process.returncode if self.process else None

	def remove(self):
		if not getattr(self.case._outcome, "success", True):
			print(f"\n--- log of {self.case.id()}", *self.log().splitlines()[-30:], sep="\n", file=sys.stderr)
		if self.process and self.process.poll() is None:
			self.stop(signal.SIGKILL)
		assert PASSWORD not in self.log()
		shutil.rmtree(self.dir, ignore_errors=True)

	def tool(self, what):
		for _ in range(20):		# 75: another whole table came meanwhile
			done = subprocess.run([BUILD / "tests" / "system" / "table_tool", what, self.table], timeout=60,
			    stdout=subprocess.PIPE, text=True)
			if done.returncode != 75:
				break
		done.check_returncode()
		return done.stdout.splitlines()

	def status(self):
		"""The daemon's own numbers, and problem, source, rows."""
		status = dict(line.split("=", 1) for line in self.tool("status"))
		return {k: int(v) if v.lstrip("-").isdigit() else v for k, v in status.items()}

	def rows(self):
		"""{(realm, origin): (policy, allow, expires_at)}; what is held has the policy None."""
		rows = {}
		for line in self.tool("rows"):
			realm, origin, policy, allow, expires, held, _ = line.split("\t")
			assert (realm, origin) not in rows, f"twice in the table: {line}"
			rows[realm, origin] = (None if held == "1" else policy, allow == "1", int(expires))
		return rows

	def policies(self):
		return {p[0]: (names(p[1]), names(p[2]), names(p[3]), p[4] == "1", p[5] == "1", int(p[6]))
		    for p in (line.split("\t") for line in self.tool("policies"))}

	def is_fresh(self, since=0):
		return self.alive() and self.status()["fresh_at"] > since

	def catch_up(self):
		"""Until the daemon says that it knows everything committed before now."""
		now = int(time.time() * 1000)
		return eventually("the table is fresh", lambda: self.is_fresh(now))

	def order(self, *words):
		with socket.socket(socket.AF_UNIX) as s:
			s.settimeout(harness.WAIT_S)
			s.connect(str(self.control))
			s.sendall("\t".join(words).encode() + b"\n")
			return s.makefile().read().strip()

	def has(self, origin, realm=""):
		return (realm, origin) in self.rows()


def names(text):
	return frozenset(text.split(",")) - {""}


def quote(text):
	return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def database_rows(sql):
	"""As Syncd.rows(): the table's seconds end in 2106, and a row that outlives them has no end there."""
	return {(r[0], r[1]): (r[2], r[3] == "t", int(r[4])) for r in sql(
	    "SELECT realm, origin, policy, allow, CASE WHEN expires_at < '2106-02-07 06:28:16Z' THEN greatest(floor(extract(epoch FROM expires_at)), 1) ELSE 0 END::bigint"
	    " FROM cors.origins")}


def database_policies(sql):
	return {r[0]: (names(r[1]), names(r[2]), names(r[3]), r[4] == "t", r[5] == "t", int(r[6])) for r in sql(
	    "SELECT name, array_to_string(methods, ','), lower(array_to_string(headers, ',')),"
	    " lower(array_to_string(expose_headers, ',')), credentials, insecure, coalesce(max_age, -1) FROM cors.policies")}


class Watch:
	"""table_tool wait: when does a row become so?"""

	def __init__(self, syncd):
		self.process = subprocess.Popen([BUILD / "tests" / "system" / "table_tool", "wait", syncd.table],
		    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

	def ask(self, realm, origin, state):
		self.process.stdin.write(f"{realm}\t{origin}\t{state}\n")
		self.process.stdin.flush()

	def answer(self):
		line = self.process.stdout.readline()
		assert line, "the row never came to that"
		return int(line)

	def has_answered(self):
		os.set_blocking(self.process.stdout.fileno(), False)
		return bool(self.process.stdout.readline())

	def close(self):
		self.process.kill()
		self.process.wait()
		self.process.stdin.close()
		self.process.stdout.close()


def setUpModule():
	global work, cluster, sql
	if not server_program("initdb"):
		harness.skip("there is no PostgreSQL server: install postgresql")
	work = tempfile.mkdtemp(prefix="syncd.")
	os.chmod(work, 0o755)
	cluster = Cluster(pathlib.Path(work) / "pg")
	cluster.init()
	cluster.start()
	cluster.create_schema()


def tearDownModule():
	cluster.stop("immediate")
	shutil.rmtree(work, ignore_errors=True)


class Case(unittest.TestCase):
	conninfo = "host={} dbname=postgres user=syncd password=" + PASSWORD

	def setUp(self):
		self.sql = self.session()
		self.sql("TRUNCATE cors.origins")
		self.sql("DELETE FROM cors.policies WHERE name <> 'default'")
		self.sql("INSERT INTO cors.policies (name, methods, headers, credentials, max_age) VALUES ('web', '{GET,PUT}', '{X-A,x-b}', true, 60)")
		self.sql(f"INSERT INTO cors.origins (origin, policy) VALUES ('{A}', 'web')")

	def session(self, where=None):
		psql = Psql((where or cluster).env)
		self.addCleanup(psql.close)
		return psql

	def syncd(self, where=None, ready=True, **options):
		options = {name.replace("__", "."): value for name, value in options.items()}
		conninfo = options.pop("sync.conninfo", self.conninfo.format((where or cluster).dir))
		return Syncd(self, conninfo, **options).start(ready)

	def insert(self, origin, realm=""):
		self.sql(f"INSERT INTO cors.origins (realm, origin) VALUES ('{realm}', '{origin}')")

	def assert_equal(self, syncd, sql=None):
		"""Once the daemon says that it is fresh, there is nothing left to wait for."""
		syncd.catch_up()
		self.assert_same(syncd.rows(), database_rows(sql or self.sql))
		self.assert_same(syncd.policies(), database_policies(sql or self.sql))

	def assert_same(self, table, database):
		"""Short where they differ; assertEqual would compare the texts for minutes."""
		keys = sorted(k for k in {*table, *database} if table.get(k) != database.get(k))
		self.assertFalse(keys, f"{len(keys)} differ: " + "; ".join(
		    f"{k}: table {table.get(k)} database {database.get(k)}" for k in keys[:5]))

	def let_polls_end(self, syncd):
		polls = -1
		while polls != (polls := syncd.status()["polls"]):
			time.sleep(0.8)		# the last poll after a wake-up comes 0.6 s after the one before

	def check(self, syncd, origin, realm=""):
		"""Why cachectl check says that the origin is answered as it is."""
		done = subprocess.run([BUILD / "cachectl" / "cachectl", "-c", syncd.conf, "check", origin, "--realm", realm, "--json"],
		    stdout=subprocess.PIPE, timeout=60)
		return json.loads(done.stdout)["reason"]

	def backend(self):
		pids = self.sql("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'corscache-syncd%'")
		return int(pids[0][0]) if pids else None


class Following(Case):
	def test_loads_and_follows(self):
		d = self.syncd()
		self.assert_equal(d)
		status = d.status()
		self.assertEqual((status["listening"], status["pooled"], status["in_recovery"], status["problem"]), (1, 0, 0, ""))
		self.assertNotIn(PASSWORD, status["source"])
		self.sql("INSERT INTO cors.origins (realm, origin, policy, allow, expires_at) VALUES"
		    " ('r', 'https://*.x.example', 'web', true, '2030-01-01 00:00:00.7Z'), ('r', 'https://y.example:*', 'default', false, 'infinity'),"
		    " ('r', '*', 'default', true, '1960-01-01Z'), ('r', 'https://z.example', 'default', true, '-infinity')")
		d.catch_up()
		rows = d.rows()
		self.assertEqual(rows["r", "https://*.x.example"], ("web", True, 1893456000))
		self.assertEqual(rows["r", "https://y.example:*"], ("default", False, 0))
		self.assertEqual((rows["r", "*"][2], rows["r", "https://z.example"][2]), (1, 1))
		self.sql("UPDATE cors.origins SET origin = 'https://moved.example' WHERE origin LIKE '%*.x%'")
		self.sql("DELETE FROM cors.origins WHERE realm = 'r' AND origin IN ('*', 'https://y.example:*', 'https://z.example')")
		self.assert_equal(d)
		self.assertEqual(d.status()["snapshots"], 1)
		self.assertGreaterEqual(d.status()["changes"], 4 + 2 + 3)
		self.assertEqual(d.stop(), 0)
		self.assertTrue(d.has(A), "the table stays")

	def test_commit_to_visible(self):
		d = self.syncd()
		watch = Watch(d)
		self.addCleanup(watch.close)
		sent, returned = [], []
		for i in range(COMMITS):
			origin = f"https://n{i}.example"
			watch.ask("", origin, "there")
			before = time.monotonic_ns()
			self.insert(origin)
			after = time.monotonic_ns()
			seen = watch.answer()
			sent.append((seen - before) / 1e9)
			returned.append(max(0, seen - after) / 1e9)
		print(f"\n  COMMIT sent to visible:     {harness.distribution(sent)}"
		    f"\n  COMMIT returned to visible: {harness.distribution(returned)}")
		self.assert_equal(d)
		self.assertEqual(d.status()["snapshots"], 1)

	def test_policies(self):
		d = self.syncd()
		self.sql("UPDATE cors.policies SET methods = '{*}', max_age = NULL, headers = '{*,authorization}' WHERE name = 'web'")
		self.assert_equal(d)
		self.sql("UPDATE cors.policies SET name = 'renamed' WHERE name = 'web'")
		self.assert_equal(d)
		self.assertEqual(d.rows()["", A][0], "renamed")
		self.sql("UPDATE cors.origins SET policy = 'default'")
		self.sql("DELETE FROM cors.policies WHERE name = 'renamed'")
		self.assert_equal(d)
		self.assertEqual(set(d.policies()), {"default"})
		self.assertEqual(d.status()["snapshots"], 1)

	def test_out_of_order_commits(self):
		d, old = self.syncd(), self.session()
		for i in range(3):
			old("BEGIN")
			old(f"INSERT INTO cors.origins (origin) VALUES ('https://old{i}.example')")
			old("SAVEPOINT s")
			old(f"INSERT INTO cors.origins (origin) VALUES ('https://older{i}.example')")
			old("RELEASE s")
			self.insert(f"https://young{i}.example")
			self.assertTrue(eventually("the younger commit", lambda: d.has(f"https://young{i}.example")))
			self.assertFalse(d.has(f"https://old{i}.example"))
			old("COMMIT")
			self.assert_equal(d)

	def test_one_origin_is_there_before_the_delta(self):
		d = self.syncd(sync__poll_ms=60000)
		with self.no_delta(d):
			fresh = d.status()["fresh_at"]
			self.insert(B)
			self.sql("NOTIFY cors_changes")
			eventually("the origin, from a glance", lambda: d.has(B))
			self.assertEqual(d.status()["fresh_at"], fresh, "a glance does not know that all is equal")
		eventually("a delta", lambda: d.is_fresh(fresh))
		self.assert_same(d.rows(), database_rows(self.sql))

	def test_what_depends_on_other_rows_waits_for_the_delta(self):
		d = self.syncd(sync__poll_ms=60000)
		for change in ("INSERT INTO cors.origins (origin) VALUES ('https://*.x.example')", "DELETE FROM cors.origins"):
			before = d.rows()
			with self.no_delta(d):
				self.sql(change)
				self.sql("NOTIFY cors_changes")
				eventually("the delta waits", lambda: self.sql(
				    f"SELECT wait_event_type FROM pg_stat_activity WHERE pid = {self.backend()}") == [["Lock"]])
				self.assert_same(d.rows(), before)
			eventually("the change", lambda: d.rows() == database_rows(self.sql))

	@contextlib.contextmanager
	def no_delta(self, syncd):
		"""Once all polls are over: policies are locked, which a delta reads and a glance does not."""
		self.let_polls_end(syncd)
		lock = self.session()
		lock("BEGIN")
		lock("LOCK TABLE cors.policies IN ACCESS EXCLUSIVE MODE")
		self.sql("SET session_replication_role = replica")	# no foreign key to look at; nobody is woken
		yield
		self.sql("RESET session_replication_role")
		lock("COMMIT")

	def test_truncate(self):
		d = self.syncd()
		self.sql("BEGIN")
		self.sql("TRUNCATE cors.origins")
		self.sql("ROLLBACK")
		self.assert_equal(d)
		self.sql("TRUNCATE cors.origins")
		eventually("an empty table", lambda: not d.rows())
		self.insert(B)
		self.assert_equal(d)

	def test_bulk_change_and_what_follows(self):
		d = self.syncd()
		for i in range(3):		# the second falls into the gap between two loads
			self.sql("INSERT INTO cors.origins (realm, origin)"
			    f" SELECT 'bulk{i}', 'https://o' || n || '.example' FROM generate_series(1, 10001) n")
			self.insert(f"https://after{i}.example")
		self.assert_equal(d)
		self.sql("DELETE FROM cors.origins WHERE realm <> ''")
		self.assert_equal(d)

	def test_bulk_change_is_not_seen_in_part(self):
		self.sql("INSERT INTO cors.policies (name) VALUES ('old'), ('new')")
		self.sql("INSERT INTO cors.origins (realm, origin, policy)"
		    " SELECT 'bulk', 'https://o' || n || '.example', 'old' FROM generate_series(1, 10001) n")
		self.sql("INSERT INTO cors.origins (realm, origin) VALUES ('bulk', 'https://*.wild.example')")
		self.sql("INSERT INTO cors.origins (realm, origin, allow) VALUES ('bulk', 'https://no.wild.example', false)")
		d = self.syncd()		# its second load is a second away
		self.sql("BEGIN")
		self.sql("UPDATE cors.origins SET policy = 'new' WHERE policy = 'old'")
		self.sql("UPDATE cors.policies SET credentials = true WHERE name = 'old'")
		self.sql("DELETE FROM cors.origins WHERE origin LIKE '%wild.example'")
		self.sql("INSERT INTO cors.origins (realm, origin, policy) VALUES ('bulk', 'https://*.late.example', 'default'), ('bulk', 'https://late.example', 'old')")
		self.insert(B)
		self.sql("COMMIT")
		eventually("a row that stands alone", lambda: d.has(B))
		changed = ("https://*.wild.example", "https://no.wild.example", "https://*.late.example", "https://late.example")
		while d.status()["snapshots"] == 1:
			widened, rows = d.policies()["old"][3], d.rows()
			self.assertFalse(widened and rows["bulk", "https://o1.example"][0] == "old", "rows of old, policy of new")
			self.assertFalse(("bulk", "https://no.wild.example") not in rows and
			    rows.get(("bulk", "https://*.wild.example"), (None,))[0], "the refusal went before what it refuses")
			if d.status()["snapshots"] == 1:
				self.assertEqual([o for o in changed if rows.get(("bulk", o), (None,))[0]], [], "a part of the change answers")
				self.assertIn(("bulk", "https://no.wild.example"), rows)
		self.assert_equal(d)

	def test_bypassed_triggers_are_noticed(self):
		d = self.syncd(sync__poll_ms=100)
		self.sql("BEGIN")
		self.sql("ALTER TABLE cors.origins DISABLE TRIGGER USER")
		self.insert(B)
		self.sql("ALTER TABLE cors.origins ENABLE TRIGGER USER")
		self.sql("ALTER TABLE cors.origins ENABLE ALWAYS TRIGGER log_truncate")
		self.sql("ALTER TABLE cors.origins ENABLE REPLICA TRIGGER log_replicated")
		self.sql("COMMIT")
		self.assert_equal(d)
		self.assertEqual(d.status()["snapshots"], 2)

	def test_problem_of_the_schema_is_shown(self):
		self.sql("ALTER TABLE cors.origins DISABLE TRIGGER log_delete")
		try:
			d = self.syncd()
			self.assertIn("log_delete", d.status()["problem"])
		finally:
			self.sql("ALTER TABLE cors.origins ENABLE TRIGGER log_delete")

	def look_again(self):
		"""The schema is checked once a minute, and at the beginning of a session."""
		self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'corscache-syncd%'")

	def test_what_a_problem_leaves_behind(self):
		"""A child's rows come and go without the log: once it is gone, the whole table is read."""
		d = self.syncd()
		self.sql("CREATE TABLE cors.child () INHERITS (cors.origins)")
		try:
			self.sql("GRANT SELECT ON cors.child TO cors_reader")
			self.sql(f"INSERT INTO cors.child (origin) VALUES ('{B}')")
			self.look_again()
			eventually("the problem is shown", lambda: "cors.origins is a parent table" in d.status()["problem"])
			d.order("resync")
			eventually("the child's row", lambda: d.has(B))
		finally:
			self.sql("DROP TABLE cors.child")
		self.look_again()
		eventually("it is gone", lambda: not d.has(B))
		self.assert_equal(d)
		self.assertEqual(d.status()["problem"], "")

	def test_row_level_security_is_an_error(self):
		"""A refusal that a policy of the server hides must not be taken for one that is gone."""
		self.sql("INSERT INTO cors.origins (origin) VALUES ('https://*.example')")
		self.sql("INSERT INTO cors.origins (origin, allow) VALUES ('https://no.example', false)")
		d = self.syncd(sync__poll_ms=100)
		self.sql("CREATE POLICY only_allowed ON cors.origins USING (allow)")
		try:
			self.sql("ALTER TABLE cors.origins ENABLE ROW LEVEL SECURITY")
			eventually("it is shown", lambda: "row-level security" in d.status()["problem"])
			d.order("resync")
			self.assertEqual(d.rows()["", "https://no.example"][1], False)
		finally:
			self.sql("ALTER TABLE cors.origins DISABLE ROW LEVEL SECURITY")
			self.sql("DROP POLICY only_allowed ON cors.origins")
		before = d.status()["snapshots"]
		eventually("a load", lambda: d.status()["snapshots"] > before, seconds=90)
		self.assert_equal(d)

	def test_row_that_the_validator_refuses(self):
		d = self.syncd()
		self.sql("ALTER TABLE cors.origins DROP CONSTRAINT origin_is_valid")
		try:
			self.sql("INSERT INTO cors.origins (origin) VALUES ('https://Bad.example/')")
			self.sql("INSERT INTO cors.origins (origin) SELECT repeat('x', 100000) || n FROM generate_series(1, 20) n")
			self.insert(B)
			eventually("the good row", lambda: d.has(B))
			self.assertEqual(d.status()["left_out"], 21)
			said = d.log().count("left out")
			self.assertLess(said, 12)
			d.order("resync")
			eventually("another load", lambda: d.status()["snapshots"] >= 2)
			self.assertEqual((d.status()["left_out"], len(d.rows()), d.status()["snapshot_rows"]), (21, 2, 23))
			d.order("audit")
			eventually("the audit", lambda: d.status()["audits"] == 1)
			self.assertEqual((d.status()["left_out"], d.status()["audit_drift"]), (21, 0))
			self.assertEqual(d.log().count("left out"), said, "what was said before is not said again")
			self.sql("UPDATE cors.origins SET origin = 'https://good.example' WHERE origin LIKE '%Bad%'")
			eventually("the repaired row", lambda: d.has("https://good.example"))
			self.assertEqual(d.status()["left_out"], 20)
		finally:
			self.sql("DELETE FROM cors.origins WHERE cors.check_origin(origin) IS NOT NULL")
			self.sql("ALTER TABLE cors.origins ADD CONSTRAINT origin_is_valid CHECK ((length(origin) <= 70 AND strpos(origin, 'xn--') = 0"
			    " AND origin ~ '^https?://([a-z0-9][a-z0-9-]*\\.)*[a-z][a-z0-9-]*(:[1-9][0-9][0-9][0-9])?$') OR cors.accept_origin(origin))")
		self.assert_equal(d)
		self.assertEqual(d.status()["left_out"], 0)

	def test_policy_that_the_validator_refuses(self):
		d = self.syncd()
		self.sql("ALTER TABLE cors.policies DROP CONSTRAINT methods_are_valid")
		try:
			self.sql("UPDATE cors.policies SET methods = '{\"GET,PUT\"}' WHERE name = 'web'")
			eventually("the policy is out", lambda: "web" not in d.policies())
			self.sql("UPDATE cors.policies SET methods = '{{GET},{PUT}}' WHERE name = 'web'")
			self.insert(B)
			eventually("what is good goes on", lambda: d.has(B))
			self.assertEqual(d.status()["connects"], 1)
			self.sql(f"UPDATE cors.origins SET expires_at = '2040-01-01Z' WHERE origin = '{A}'")
			eventually("its row refuses", lambda: d.rows()["", A][1] is False)
			d.order("resync")
			eventually("another load", lambda: d.status()["snapshots"] == 2)
			self.assertEqual((d.rows()["", A][1], d.status()["left_out"]), (False, 1))
			d.order("audit")
			eventually("the audit", lambda: d.status()["audits"] == 1)
			self.assertEqual(d.status()["audit_drift"], 0)
			self.sql("UPDATE cors.policies SET methods = '{GET}' WHERE name = 'web'")
			self.assert_equal(d)
			self.insert(C)
			self.assert_equal(d)
			self.assertEqual(d.status()["snapshots"], 3, "one load, and then no more")
		finally:
			self.sql("UPDATE cors.policies SET methods = '{GET}'")
			self.sql("ALTER TABLE cors.policies ADD CONSTRAINT methods_are_valid CHECK (cors.accept_list('methods', methods))")

	def test_public_suffix(self):
		self.sql("INSERT INTO cors.policies (name, credentials, insecure) VALUES ('all', true, true)")
		self.sql("INSERT INTO cors.origins (origin, policy) VALUES ('https://*.github.io', 'web'), ('https://*.co.uk', 'default'),"
		    " ('https://*.com.au:*', 'web'), ('https://*.co.nz', 'all')")
		d = self.syncd()
		self.assertEqual(d.status()["left_out"], 2)
		self.assertEqual(sum(line.endswith("\t1") for line in d.tool("rows")), 4)
		self.assertIn("github.io", d.log())
		self.sql("UPDATE cors.origins SET policy = 'web' WHERE origin = 'https://*.co.uk'")
		self.assert_equal(d)
		self.assertEqual(d.status()["left_out"], 3)
		d.order("audit")
		eventually("the audit", lambda: d.status()["audits"] == 1)
		self.assertEqual((d.status()["left_out"], d.status()["audit_drift"]), (3, 0))

	def test_audit_repairs(self):
		properties = {"methods": "'{PUT}'", "headers": "'{x-z}'", "expose_headers": "'{x-z}'", "credentials": "true", "insecure": "true"}
		for name in (*properties, "gone"):
			self.sql(f"INSERT INTO cors.policies (name) VALUES ('{name}')")
		self.sql("INSERT INTO cors.origins (origin, expires_at) VALUES ('https://last.example', '2106-02-07 06:28:15Z'), ('https://late.example', '2106-02-07 06:28:16Z'),"
		    " ('https://other.example', NULL)")
		d = self.syncd()
		self.insert(C)
		d.catch_up()
		# changes whose log rows are lost
		self.sql("BEGIN")
		self.insert(B)
		self.sql(f"UPDATE cors.origins SET allow = false WHERE origin = '{A}'")
		self.sql("UPDATE cors.origins SET expires_at = '2050-01-01Z' WHERE origin = 'https://last.example'")
		self.sql("UPDATE cors.origins SET policy = 'web' WHERE origin = 'https://other.example'")
		self.sql(f"DELETE FROM cors.origins WHERE origin = '{C}'")
		self.sql("UPDATE cors.policies SET max_age = 7 WHERE name = 'default'")
		for name, value in properties.items():
			self.sql(f"UPDATE cors.policies SET {name} = {value} WHERE name = '{name}'")
		self.sql("DELETE FROM cors.policies WHERE name = 'gone'")
		self.sql("INSERT INTO cors.policies (name) VALUES ('new')")
		self.sql("DELETE FROM cors.changes WHERE xid = pg_current_xact_id()")
		self.sql("COMMIT")
		d.catch_up()
		self.assertFalse(d.has(B))
		d.order("invalidate", "", "https://nowhere.example")
		d.order("audit")
		eventually("the audit", lambda: d.status()["audits"] == 1)
		self.assert_equal(d)
		drift = 5 + 1 + len(properties) + 2		# rows, policies
		self.assertEqual(d.status()["audit_drift"], drift)
		self.assertIn(f"differences={drift}", d.log())
		d.order("audit")
		eventually("the second audit", lambda: d.status()["audits"] == 2)
		self.assertEqual(d.status()["audit_drift"], drift)

	def test_audit_repairs_a_damaged_policy(self):
		self.sql("INSERT INTO cors.policies (name, methods) VALUES ('patching', '{PATCH}')")
		d = self.syncd()
		self.assert_equal(d)
		d.order("audit")		# so that syncd's own reader has seen the policy before
		eventually("the audit", lambda: d.status()["audits"] == 1)
		self.assertEqual(d.status()["audit_drift"], 0)
		damaged = 0
		for path in glob.glob(f"{d.table}/v1/*.p*"):
			with open(path, "r+b") as file:
				at = file.read().find(b"PATCH")
				if at >= 0:
					file.seek(at)
					file.write(b"p")
					damaged += 1
		self.assertEqual(damaged, 1)
		d.order("audit")
		eventually("the second audit", lambda: d.status()["audits"] == 2)
		self.assertEqual(d.status()["audit_drift"], 1)
		self.assert_equal(d)

	def test_pruning(self):
		d = self.syncd(sync__prune_s=1)
		self.insert(B)
		self.assert_equal(d)
		self.sql("UPDATE cors.changes SET at = now() - interval '2 days'")
		eventually("an empty log", lambda: self.sql("SELECT count(*) FROM cors.changes") == [["0"]])
		self.assert_equal(d)
		self.assertEqual(d.status()["snapshots"], 1)
		# a position that the log no longer covers
		os.kill(d.process.pid, signal.SIGSTOP)
		self.insert(C)
		self.sql("UPDATE cors.meta SET pruned_xid = pg_current_xact_id()")
		self.sql("DELETE FROM cors.changes")
		os.kill(d.process.pid, signal.SIGCONT)
		self.assert_equal(d)
		self.assertEqual(d.status()["snapshots"], 2)

	def test_log_pruned_in_part_before_a_glance(self):
		"""What is left of it must not carry the position past what is gone."""
		d = self.syncd(sync__poll_ms=60000)
		os.kill(d.process.pid, signal.SIGSTOP)
		self.insert(C)
		self.sql("UPDATE cors.meta SET pruned_xid = pg_current_xact_id()")
		self.sql("DELETE FROM cors.changes")
		self.insert(B)
		os.kill(d.process.pid, signal.SIGCONT)
		eventually("a load", lambda: d.status()["snapshots"] == 2)
		self.assert_same(d.rows(), database_rows(self.sql))

	def test_newer_schema(self):
		d = self.syncd(sync__poll_ms=100)
		self.sql("UPDATE cors.meta SET schema_version = 99")
		try:
			eventually("the problem is shown", lambda: "version 99" in d.status()["problem"])
			self.assertTrue(d.has(A))
		finally:
			self.sql("UPDATE cors.meta SET schema_version = 1")
		self.insert(B)
		self.assert_equal(d)
		self.assertEqual(d.status()["problem"], "")


class Large(Case):
	def test_million_rows(self):
		start = time.monotonic()
		self.sql("INSERT INTO cors.origins (realm, origin)"
		    f" SELECT 'bulk', 'https://o' || i || '.example.com' FROM generate_series(1, {ROWS}) i")
		copy = self.copy_seconds()
		d = self.syncd()
		ms = d.status()["snapshot_ms"]
		again = self.copy_seconds()
		print(f"\n  insert of {ROWS} rows: {time.monotonic() - start:.1f} s; first load: {ms / 1000:.2f} s,"
		    f" {ms / 1000 / min(copy, again):.1f} times psql's COPY to /dev/null ({copy:.2f} s, {again:.2f} s);"
		    f" {d.status()['bytes'] / ROWS:.1f} bytes a row")
		self.insert(B)
		eventually("one more", lambda: d.status()["rows"] == ROWS + 2)
		dump = d.dir / "database"
		with open(dump, "w") as out:
			subprocess.run(["psql", "-XqAt", "-F", "\t", "-c", "COPY (SELECT realm, origin, policy, allow::int,"
			    " coalesce(floor(extract(epoch FROM expires_at)), 0)::bigint FROM cors.origins) TO STDOUT"],
			    check=True, stdout=out, env={**os.environ, **cluster.env})
		table = subprocess.run(f"'{BUILD}/tests/system/table_tool' rows '{d.table}' | cut -f 1-5 | LC_ALL=C sort | sha1sum;"
		    f" LC_ALL=C sort '{dump}' | sha1sum", shell=True, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
		self.assertEqual(table[0], table[2])
		d.order("audit")
		eventually("the audit", lambda: d.status()["audits"] == 1)
		self.assertEqual(d.status()["audit_drift"], 0)
		self.sql("DELETE FROM cors.origins WHERE realm = 'bulk'")
		self.assert_equal(d)

	def copy_seconds(self):
		start = time.monotonic()
		subprocess.run(["psql", "-XqAt", "-c", "COPY (SELECT realm, origin, policy, allow, expires_at FROM cors.origins) TO STDOUT"],
		    check=True, stdout=subprocess.DEVNULL, env={**os.environ, **cluster.env})
		return time.monotonic() - start

	@unittest.skipUnless(AS_ROOT, "only root can mount a small tmpfs")
	def test_full_table_path(self):
		d = Syncd(self, self.conninfo.format(cluster.dir))
		d.table.mkdir()
		subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=755", "tmpfs", d.table], check=True)
		self.addCleanup(subprocess.run, ["umount", "-l", str(d.table)])
		self.insert("https://*.w.example", "wide")
		d.start()
		self.sql("INSERT INTO cors.origins (realm, origin)"
		    " SELECT 'bulk', 'https://o' || i || '.example.com' FROM generate_series(1, 60000) i")
		eventually("the problem is shown", lambda: "No space left" in d.status()["problem"])
		self.assertIn("what was removed may still be allowed", d.status()["problem"], "a load that failed took nothing away")
		self.assertEqual(d.rows().keys(), {("", A), ("wide", "https://*.w.example")})
		self.assertGreater(d.status()["write_errors"], 0)
		fresh = d.status()["fresh_at"]
		eventually("it tries again", lambda: d.status()["write_errors"] > 1)
		self.assertEqual(d.log().count("cannot write"), 1)
		self.assertEqual(d.status()["fresh_at"], fresh, "a table that lags is not fresh")
		self.assertEqual(self.check(d, "https://b.w.example", "wide"), "allowed")
		self.sql(f"DELETE FROM cors.origins WHERE origin = '{A}'")
		self.sql("SELECT cors.refuse('https://stolen.w.example', 'wide'), cors.refuse('https://*.x.w.example', 'wide')")
		for origin, realm in (A, ""), ("https://a.x.w.example", "wide"), ("https://stolen.w.example", "wide"):
			eventually(f"{origin} is refused", lambda: self.check(d, origin, realm) != "allowed")
		self.assertEqual(self.check(d, "https://b.w.example", "wide"), "allowed")
		self.assertRegex(d.order("invalidate", "wide", "https://c.w.example"), "^ok\t1\t")
		self.assertEqual(self.check(d, "https://c.w.example", "wide"), "invalidated")
		self.sql("DELETE FROM cors.origins WHERE realm = 'bulk'")
		self.assert_equal(d)
		self.assertEqual(self.check(d, "https://c.w.example", "wide"), "allowed")
		self.assertGreater(d.status()["fresh_at"], fresh)
		self.assertEqual(d.status()["problem"], "")


class Outages(Case):
	def setUp(self):
		super().setUp()
		self.addCleanup(self.back)

	def back(self):
		"""Whatever a case did to the server, the next one finds it running."""
		if cluster.run("pg_ctl", "-D", cluster.dir / "data", "status", check=False).returncode:
			cluster.start()

	def restart(self, mode="fast"):
		self.sql.close()
		cluster.stop(mode)

	def again(self):
		cluster.start()
		self.sql = self.session()

	def test_server_restarts(self):
		d = self.syncd()
		for mode in ("fast", "immediate"):
			self.restart(mode)
			eventually("the loss is shown", lambda: "no database" in d.status()["problem"])
			self.assertTrue(d.has(A))
			self.again()
			self.insert(f"https://{mode}.example")
			self.assert_equal(d)
			self.assertEqual(d.status()["problem"], "")
		self.assertLess(d.log().count("no database"), 8, d.log())

	def test_a_database_without_the_schema(self):
		d = self.syncd(ready=False, **{"sync.conninfo": f"host={cluster.dir} dbname=template1 user=syncd"})
		eventually("what to run is said", lambda: "sql/0001_schema.sql" in d.status()["problem"])
		self.assertIn("no usable database", d.status()["problem"])
		self.assertIn("sqlstate=42P01", d.log())

	def test_changed_while_the_daemon_was_away(self):
		d = self.syncd()
		self.insert(B)
		d.stop()
		self.sql(f"DELETE FROM cors.origins WHERE origin = '{A}'")
		self.insert(C)
		self.assertTrue(d.has(A))
		d.start()
		self.assert_equal(d)

	def test_changed_before_the_stop_and_after_the_start(self):
		d = self.syncd()
		os.kill(d.process.pid, signal.SIGSTOP)
		self.insert(B)
		self.sql(f"DELETE FROM cors.origins WHERE origin = '{A}'")
		self.restart()
		self.again()
		self.insert(C)
		os.kill(d.process.pid, signal.SIGCONT)
		self.assert_equal(d)

	def test_terminated_backend_is_caught_up_by_a_delta(self):
		d = self.syncd()
		for i in range(5):
			pid = eventually_value("a session", self.backend)
			self.sql("BEGIN")
			self.insert(f"https://t{i}.example")
			self.sql(f"SELECT pg_terminate_backend({pid})")
			self.sql("COMMIT")
			self.assert_equal(d)
		status = d.status()
		self.assertEqual(status["snapshots"], 1)
		self.assertGreaterEqual(status["connects"], 6)
		self.assertIn("57P01", d.log())

	def test_frozen_backend(self):
		d = self.syncd(sync__deadline_ms=500, sync__poll_ms=100)
		pid = eventually_value("a session", self.backend)
		os.kill(pid, signal.SIGSTOP)
		try:
			self.insert(B)
			self.assertTrue(d.answers())
			self.assert_equal(d)
			self.assertIn("no answer within 500 ms", d.log())
		finally:
			os.kill(pid, signal.SIGCONT)

	def test_mute_first_host(self):
		mute = pathlib.Path(tempfile.mkdtemp(dir=work))
		with socket.socket(socket.AF_UNIX) as s:
			s.bind(str(mute / ".s.PGSQL.5432"))
			s.listen()
			d = self.syncd(ready=False, sync__deadline_ms=500,
			    sync__conninfo=f"host={mute},{cluster.dir} dbname=postgres user=syncd target_session_attrs=prefer-standby")
			self.assertTrue(d.answers())
			self.assert_equal(d)

	def test_killed_and_started_without_a_database(self):
		d = self.syncd()
		d.stop(signal.SIGKILL)
		self.restart()
		with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
			notify.bind(str(d.dir / "notify"))
			notify.settimeout(harness.WAIT_S)
			d.env = {"NOTIFY_SOCKET": str(d.dir / "notify")}
			d.start(ready=False)
			self.assertIn(b"READY=1", notify.recv(1000))
		self.assertTrue(d.has(A))
		eventually("the loss is shown", lambda: "no database" in d.status()["problem"])
		self.again()
		self.insert(B)
		self.assert_equal(d)

	def test_invalidate_without_a_database(self):
		self.insert(B)
		self.insert(C, "r")
		self.insert(C, "s")
		d = self.syncd()
		self.restart()
		self.assertRegex(d.order("invalidate", "", A), "^ok\t1\t")
		self.assertEqual(d.status()["held"], 1)
		self.assertRegex(d.order("invalidate", "", "https://unknown.example"), "^ok\t1\t")
		for realm in "r", "s":
			self.assertRegex(d.order("invalidate-realm", realm), "^ok\t1\t")
		held = {("", A), ("", "https://unknown.example"), ("r", C), ("s", C)}
		self.assertEqual({k for k, row in d.rows().items() if row[0] is None}, held)
		self.assertEqual((d.status()["held"], d.status()["invalidations"]), (4, 4))
		d.stop(signal.SIGKILL)
		d.start(ready=False)
		self.assertEqual({k for k, row in d.rows().items() if row[0] is None}, held, "a restart lifts nothing")
		self.assertRegex(d.order("invalidate", "", B), "^ok\t1\t")
		self.assertEqual(d.status()["held"], 5)
		self.assertRegex(d.order("invalidate-all"), "^ok\t")
		self.assertEqual(d.status()["held_all"], 1)
		self.again()
		self.sql(f"DELETE FROM cors.origins WHERE origin = '{A}'")
		self.assert_equal(d)
		self.assertEqual((d.status()["held"], d.status()["held_all"]), (0, 0))


	def test_invalidate_without_end(self):
		"""More than are remembered one by one: each is refused at once, and all come back with the database."""
		many = 12000
		self.sql(f"INSERT INTO cors.origins (realm, origin) SELECT 'many', 'https://h' || i || '.example' FROM generate_series(1, {many}) i")
		d = self.syncd()
		self.restart()
		for i in range(1, many + 1):
			reply = d.order("invalidate", "many", f"https://h{i}.example")
			self.assertTrue(reply.startswith("ok\t1\t"), f"{i}: {reply}")
		self.assertEqual(sum(row[0] is None for row in d.rows().values()), many)
		self.assertEqual(d.status()["held"], many)
		self.assertEqual(self.check(d, f"https://h{many}.example", "many"), "invalidated")
		self.again()
		self.sql(f"DELETE FROM cors.origins WHERE origin = 'https://h{many}.example'")
		self.assert_equal(d)
		eventually("nothing is held", lambda: d.status()["held"] == 0)


def eventually_value(what, get):
	seen = []
	eventually(what, lambda: seen.append(get()) or seen[-1])
	return seen[-1]


class Orders(Case):
	def test_invalidate_is_lifted_by_the_database(self):
		d = self.syncd(sync__poll_ms=600000)
		for origin in (A, "https://unknown.example", "https://*.unknown.example"):
			self.assertRegex(d.order("invalidate", "", origin), "^ok\t[01]\t")
		eventually("nothing is held", lambda: d.status()["held"] == 0)
		self.assert_same(d.rows(), database_rows(self.sql))
		self.assertEqual(d.status()["snapshots"], 1)
		for order in ("invalidate-realm\t", "invalidate-all"):
			before = d.status()["snapshots"]
			self.assertRegex(d.order(order), "^ok\t1\t")
			eventually("a load", lambda: d.status()["snapshots"] > before and d.status()["held"] == 0)
			self.assert_same(d.rows(), database_rows(self.sql))

	def test_bad_orders(self):
		d = self.syncd()
		for words in (["invalidate", "", "https://Upper.example"], ["invalidate", "x" * 300, A], ["invalidate", A], ["nonsense"],
		    [""], ["ping", "x"], ["invalidate-realm", "a\x01b"], ["x" * 2000]):
			self.assertRegex(d.order(*words), "^error\t", words)
		idle = [socket.socket(socket.AF_UNIX) for _ in range(16)]
		for s in idle:
			self.addCleanup(s.close)
			s.connect(str(d.control))
		self.assertTrue(d.answers(), "idle clients are closed in time")
		self.assertEqual(os.stat(d.control).st_mode & 0o777, 0o660)

	def waits_for_lock(self, query):
		return self.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'corscache-syncd%'"
		    f" AND wait_event_type = 'Lock' AND query LIKE '{query}%'") == [["1"]]

	def lock_token(self, locker):
		"""It is what a load reads first in its snapshot, when it has its own locks."""
		locker("BEGIN")
		locker("ALTER VIEW cors.token ALTER COLUMN token DROP DEFAULT")

	def test_invalidate_during_a_load(self):
		"""The load's snapshot is older than the order: it must not bring the row back, not for an instant."""
		self.insert(B)
		d, locker = self.syncd(sync__deadline_ms=60000, sync__poll_ms=60000), self.session()
		self.let_polls_end(d)		# or one of them waits for the lock, and the load for it
		self.lock_token(locker)
		d.order("resync")
		eventually("the load waits for the lock", lambda: self.waits_for_lock("SELECT pg_catalog.pg_current_snapshot()"))
		self.assertRegex(d.order("invalidate", "", A), "^ok\t1\t")
		self.assertRegex(d.order("invalidate", "", B), "^ok\t1\t")
		self.assertIsNone(d.rows()["", A][0])
		back, gone = Watch(d), Watch(d)
		self.addCleanup(back.close)
		self.addCleanup(gone.close)
		back.ask("", A, "there")
		gone.ask("", A, "gone")
		locker(f"DELETE FROM cors.origins WHERE origin = '{A}'")
		locker("COMMIT")
		gone.answer()
		self.assertFalse(back.has_answered(), "the row was answered in between")
		eventually("the load is counted", lambda: d.status()["snapshots"] == 2)
		eventually("nothing is held", lambda: d.status()["held"] == 0)
		self.assert_same(d.rows(), database_rows(self.sql))

	def test_table_filled_anew_during_a_load(self):
		"""To a snapshot from before a TRUNCATE the table is empty, and never was."""
		d, locker = self.syncd(sync__deadline_ms=60000, sync__poll_ms=60000), self.session()
		self.let_polls_end(d)		# or one of them waits for the lock, and the load for it
		locker("BEGIN")
		locker("TRUNCATE cors.origins")
		locker(f"INSERT INTO cors.origins (origin, policy) VALUES ('{A}', 'web'), ('{B}', 'web')")
		d.order("resync")
		eventually("the load waits for the lock", lambda: self.waits_for_lock("BEGIN"))
		gone = Watch(d)
		self.addCleanup(gone.close)
		gone.ask("", A, "gone")
		locker("COMMIT")
		eventually("the new rows", lambda: d.has(B))
		self.assertFalse(gone.has_answered(), "all were refused in between")
		self.assert_equal(d)

	def test_invalidate_during_a_delta(self):
		"""It was asked before the order, so the row that it brings stays refused until the next one."""
		self.insert(B)
		d, first, second = self.syncd(sync__deadline_ms=60000, sync__poll_ms=60000), self.session(), self.session()
		waiting = lambda: self.sql("SELECT count(*) FROM pg_locks WHERE relation = 'cors.policies'::regclass AND NOT granted")	# noqa: E731
		self.let_polls_end(d)
		for locker in first, second:
			locker("BEGIN")
		first("LOCK TABLE cors.policies IN ACCESS EXCLUSIVE MODE")
		self.sql("BEGIN")
		self.sql(f"UPDATE cors.origins SET expires_at = 'infinity' WHERE origin = '{A}'")
		self.sql(f"DELETE FROM cors.origins WHERE origin = '{B}'")
		self.sql("COMMIT")
		eventually("a delta waits for the lock", lambda: waiting() == [["1"]])
		second.send("LOCK TABLE cors.policies IN ACCESS EXCLUSIVE MODE")	# so that the next delta waits for this one
		eventually("so does the other session", lambda: waiting() == [["2"]])
		self.assertRegex(d.order("invalidate", "", A), "^ok\t1\t")
		first("COMMIT")
		second.receive()
		eventually("the delta", lambda: not d.has(B))
		self.assertIsNone(d.rows()["", A][0])
		second("COMMIT")
		eventually("nothing is held", lambda: d.status()["held"] == 0)
		self.assert_same(d.rows(), database_rows(self.sql))

	def test_invalidate_realm_during_a_glance(self):
		"""It was asked before the order, so the row that it brings stays refused until the load."""
		d, locker, load = self.syncd(sync__deadline_ms=60000, sync__poll_ms=60000), self.session(), self.session()
		self.let_polls_end(d)
		self.lock_token(load)
		locker("BEGIN")
		locker(f"UPDATE cors.origins SET expires_at = 'infinity' WHERE origin = '{A}'")
		locker("LOCK TABLE cors.meta IN ACCESS EXCLUSIVE MODE")
		eventually("a glance waits for the lock", lambda: self.sql("NOTIFY cors_changes") or
		    self.waits_for_lock("SELECT (SELECT pg_catalog.pg_current_snapshot()"))
		polls = d.status()["polls"]
		self.assertRegex(d.order("invalidate-realm", ""), "^ok\t1\t")
		locker("COMMIT")
		eventually("the glance", lambda: d.status()["polls"] > polls)
		self.assertIsNone(d.rows()["", A][0])
		load("COMMIT")
		eventually("the load", lambda: d.status()["held"] == 0)
		self.assert_same(d.rows(), database_rows(self.sql))

	def test_invalidate_all_during_a_load(self):
		d, locker = self.syncd(sync__deadline_ms=60000, sync__poll_ms=60000), self.session()
		self.let_polls_end(d)		# or one of them waits for the lock, and the load for it
		self.lock_token(locker)
		d.order("resync")
		eventually("the load waits for the lock", lambda: self.waits_for_lock("SELECT pg_catalog.pg_current_snapshot()"))
		self.assertRegex(d.order("invalidate-all"), "^ok\t1\t")
		eventually("another load", lambda: d.status()["connects"] == 2)
		self.assertEqual(d.status()["held_all"], 1)
		locker("COMMIT")
		eventually("the load", lambda: d.status()["held_all"] == 0)
		self.assert_same(d.rows(), database_rows(self.sql))


class Daemon(Case):
	def test_second_writer_is_refused(self):
		d = self.syncd()
		done = subprocess.run(d.argv(), stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=60, text=True)
		self.assertEqual(done.returncode, 75, done.stderr)
		self.assertIn("another process writes", done.stderr)
		other = Syncd(self, self.conninfo.format(cluster.dir))
		other.control = other.options["sync.control_socket"] = d.control
		done = subprocess.run(other.argv(), stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=60, text=True)
		self.assertEqual(done.returncode, 69, done.stderr)
		self.assertTrue(d.answers())

	def test_removed_directory(self):
		d = self.syncd()
		shutil.rmtree(d.table)
		self.assertEqual(d.process.wait(harness.WAIT_S), 74)
		d.start()
		self.assert_equal(d)

	def test_settings_are_tested(self):
		d = Syncd(self, "host=/tmp passwort=" + PASSWORD)
		for conninfo in ("host=/tmp passwort=" + PASSWORD, f"password={PASSWORD} {PASSWORD}", f"postgres://u:{PASSWORD}@[::1"):
			d.options["sync.conninfo"] = conninfo
			done = subprocess.run([*d.argv(), "-t"], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=60, text=True)
			self.assertEqual(done.returncode, 78)
			self.assertIn("sync.conninfo", done.stderr)
			self.assertNotIn(PASSWORD, done.stderr)
		self.assertEqual(subprocess.run([BUILD / "corscache-syncd", "--nonsense"], stderr=subprocess.DEVNULL).returncode, 64)

	def test_reload(self):
		d = self.syncd()
		good = d.options["sync.conninfo"]
		d.options["sync.poll_ms"] = "never"
		self.hup(d, "the old settings stay")
		self.assertEqual(d.status()["connects"], 1)
		d.options["sync.poll_ms"] = 200
		self.hup(d, "config: reloaded")
		self.assertEqual(d.status()["connects"], 1)
		d.options["sync.conninfo"] = good + " application_name=corscache-syncd-two"
		self.hup(d, "config: reloaded")
		eventually("another session", lambda: self.sql(
		    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'corscache-syncd-two'") == [["1"]])
		self.insert(B)
		self.assert_equal(d)
		self.assertEqual(d.status()["snapshots"], 1, "the same server: a delta is enough")
		d.order("audit")
		eventually("the audit", lambda: d.status()["audits"] == 1)
		self.assertEqual(d.stop(), 0, d.log())

	def hup(self, d, wanted):
		d.argv()
		seen = len(d.log())
		d.process.send_signal(signal.SIGHUP)
		eventually(wanted, lambda: wanted in d.log()[seen:])


class Meddler:
	"""Stands between daemon and server, and answers some statements itself."""

	ready = b"Z\0\0\0\x05I"
	no_rows = b"T\0\0\0\x06\0\0" + b"C\0\0\0\x0dSELECT 0\0" + ready

	def __init__(self, case, server):
		self.server = server / ".s.PGSQL.5432"
		self.dir = pathlib.Path(tempfile.mkdtemp(dir=work))
		self.answers = {}	# beginning of a statement: what it is answered with, once or for ever
		self.seen = []
		self.listener = socket.socket(socket.AF_UNIX)
		self.listener.bind(str(self.dir / ".s.PGSQL.5432"))
		self.listener.listen()
		case.addCleanup(self.listener.close)
		threading.Thread(target=self.accept, daemon=True).start()

	@staticmethod
	def error(sqlstate, message):
		fields = f"SERROR\0VERROR\0C{sqlstate}\0M{message}\0\0".encode()
		return b"E" + (len(fields) + 4).to_bytes(4, "big") + fields + Meddler.ready

	def accept(self):
		with contextlib.suppress(OSError):
			while True:
				client, server = self.listener.accept()[0], socket.socket(socket.AF_UNIX)
				server.connect(str(self.server))
				threading.Thread(target=self.relay, args=(server, client), daemon=True).start()
				threading.Thread(target=self.read, args=(client, server), daemon=True).start()

	def relay(self, server, client):
		with contextlib.suppress(OSError):
			while data := server.recv(65536):
				client.sendall(data)
			client.close()

	def read(self, client, server):
		stream = client.makefile("rb")
		with contextlib.suppress(OSError, ValueError):
			length = stream.read(4)
			server.sendall(length + stream.read(int.from_bytes(length, "big") - 4))
			while kind := stream.read(1):
				length = stream.read(4)
				body = stream.read(int.from_bytes(length, "big") - 4)
				answer = self.answer(kind, body)
				if answer:
					client.sendall(answer)
				else:
					server.sendall(kind + length + body)
		server.close()

	def answer(self, kind, body):
		for start in self.answers if kind == b"Q" else ():
			if body.startswith(start.encode()):
				self.seen.append(start)
				answer, is_for_ever = self.answers[start]
				if not is_for_ever:
					del self.answers[start]
				return answer
		return None


class Meddled(Case):
	def meddler(self, **answers):
		m = Meddler(self, cluster.dir)
		m.answers = answers
		return m, f"host={m.dir} dbname=postgres user=syncd"

	def test_listen_fails(self):
		"""For whatever reason: rows are followed by polls, and LISTEN is no part of them."""
		m, conninfo = self.meddler(LISTEN=(Meddler.error("58P01", "could not access status of transaction 42"), True))
		d = self.syncd(sync__conninfo=conninfo, sync__poll_ms=100)
		for origin in B, C:
			self.insert(origin)
			self.assert_equal(d)
		self.assertEqual((d.status()["connects"], d.status()["listening"], d.status()["problem"]), (1, 0, ""))
		self.assertEqual(len(m.seen), 1, "the next try is later")
		self.assertIn("LISTEN fails, so changes come by polling alone sqlstate=58P01", d.log())

	def test_answers_without_rows(self):
		"""No statement of the daemon takes it for granted that there is a row."""
		for start in ("SELECT pg_catalog.pg_backend_pid", "SELECT schema_version", "SELECT cors.home"):
			with self.subTest(start=start):
				m, conninfo = self.meddler(**{start: (Meddler.no_rows, False)})
				d = self.syncd(sync__conninfo=conninfo)
				self.assertEqual(m.seen, [start])
				self.assert_equal(d)
				d.stop()

	def test_pruning_is_answered_without_rows(self):
		m, conninfo = self.meddler(**{"SET TRANSACTION READ WRITE": (Meddler.no_rows, True)})
		d = self.syncd(sync__conninfo=conninfo, sync__prune_s=1)
		eventually("it is said", lambda: "the change log is not pruned from here" in d.log())
		self.insert(B)
		self.assert_equal(d)


HOSTILE = {		# settings of a role, each of which would harm a session that took it
	"statement_timeout": "500ms", "lock_timeout": "500ms", "transaction_timeout": "500ms", "idle_session_timeout": "500ms",
	"idle_in_transaction_session_timeout": "500ms", "default_transaction_isolation": "serializable",
	"default_transaction_deferrable": "on", "default_transaction_read_only": "off", "search_path": "public",
	"datestyle": "German, DMY", "intervalstyle": "sql_standard", "timezone": "Asia/Tokyo", "bytea_output": "escape",
	"extra_float_digits": "-15", "client_encoding": "LATIN1", "standard_conforming_strings": "off", "row_security": "on",
	"synchronous_commit": "remote_apply", "array_nulls": "off", "transform_null_equals": "on",
	"client_min_messages": "debug5", "restrict_nonsystem_relation_kind": "view, foreign-table", "xmloption": "document",
	"enable_indexscan": "off", "enable_nestloop": "off", "plan_cache_mode": "force_custom_plan", "jit": "on",
	"tcp_keepalives_idle": "7200", "tcp_keepalives_interval": "75", "tcp_keepalives_count": "9", "tcp_user_timeout": "0",
	"client_connection_check_interval": "0",
}
HARMLESS = {"wal_sender_timeout"}


class Settings(Case):
	def test_settings_of_the_role_do_no_harm(self):
		known = {r[0]: r[1] for r in self.sql("SELECT lower(name), context FROM pg_settings")}
		ours = {n for n in HOSTILE if known.get(n) == "user"}
		self.addCleanup(self.sql, "ALTER ROLE syncd RESET ALL")
		for name in sorted(ours):
			self.sql(f"ALTER ROLE syncd SET {name} = " + ", ".join(f"'{v}'" for v in HOSTILE[name].split(", ")))
		d = self.syncd(sync__prune_s=1)
		self.insert(B)
		self.assert_equal(d)
		self.let_polls_end(d)
		locker = self.session()		# longer than every limit of the role
		locker("BEGIN")
		locker("LOCK TABLE cors.meta IN ACCESS EXCLUSIVE MODE")
		self.insert(C, "Zürich")
		eventually("a poll waits", lambda: self.sql("SELECT count(*) FROM pg_locks WHERE relation = 'cors.meta'::regclass AND NOT granted") == [["1"]])
		time.sleep(1)
		locker("COMMIT")
		self.assert_equal(d)
		self.assertEqual((d.status()["connects"], d.status()["snapshots"], d.status()["problem"]), (1, 1, ""))

	def test_every_timeout_of_the_server_is_known(self):
		"""What a newer server adds must be thought about: into HOSTILE, and into the daemon's session."""
		seen = {r[0] for r in self.sql("SELECT lower(name) FROM pg_settings WHERE context = 'user'"
		    " AND (name ~ 'timeout|^default_transaction|^tcp_|check_interval')")}
		self.assertEqual(seen - set(HOSTILE) - HARMLESS, set())


class Indirect(Case):
	def pooler(self):
		"""The directory of the socket of one in transaction mode."""
		pgbouncer = program("pgbouncer")
		if not pgbouncer:
			self.skipTest("SKIP: pgbouncer is not installed")
		pool = pathlib.Path(tempfile.mkdtemp(dir=work))
		(pool / "users").write_text('"syncd" ""\n"postgres" ""\n')
		(pool / "ini").write_text(f"[databases]\npostgres = host={cluster.dir} user=syncd\n[pgbouncer]\nlisten_port = 5432\nlisten_addr =\n"
		    f"unix_socket_dir = {pool}\nauth_type = any\nauth_file = {pool}/users\npool_mode = transaction\nlogfile = {pool}/log\n"
		    "ignore_startup_parameters = extra_float_digits\n")
		for path in (pool, *pool.iterdir()):
			if AS_ROOT:
				shutil.chown(path, "postgres")
		user = {"user": pwd.getpwnam("postgres").pw_uid} if AS_ROOT else {}
		process = subprocess.Popen([pgbouncer, "-q", str(pool / "ini")], cwd="/", stderr=subprocess.DEVNULL, **user)
		self.addCleanup(process.wait)
		self.addCleanup(process.kill)
		eventually("pgbouncer listens", (pool / ".s.PGSQL.5432").exists)
		return pool

	def test_pooler(self):
		pool = self.pooler()
		d = self.syncd(sync__conninfo=f"host={pool} dbname=postgres user=syncd", sync__poll_ms=100)
		self.assertEqual((d.status()["pooled"], d.status()["listening"]), (1, 0))
		for i in range(5):
			self.insert(f"https://p{i}.example")
			self.assert_equal(d)
		self.assertEqual(d.status()["snapshots"], 1)
		d.order("audit")
		eventually("the audit", lambda: d.status()["audits"] == 1)
		self.assertEqual(d.status()["audit_drift"], 0)
		leaked = Psql({"PGHOST": str(pool), "PGUSER": "syncd", "PGDATABASE": "postgres", "PGPORT": "5432"})
		self.addCleanup(leaked.close)
		self.assertEqual(leaked("SHOW default_transaction_read_only"), [["off"]], "settings stay out of shared sessions")

	def test_hostile_names(self):
		"""What a stranger calls as the server's own things is never taken, be the session ours or a pooler's."""
		pool = self.pooler()
		self.sql(stranger.CREATE)
		self.addCleanup(self.sql, "ALTER DATABASE postgres RESET search_path")
		self.sql(f"ALTER DATABASE postgres SET search_path = {stranger.SEARCH}")
		with self.assertRaisesRegex(SqlError, "evil code has run: now"):
			self.session()("SELECT now()")
		for host, origin in (pool, B), (cluster.dir, C):
			d = self.syncd(sync__conninfo=f"host={host} dbname=postgres user=syncd", sync__poll_ms=100)
			self.assertEqual(d.status()["pooled"], host == pool)
			self.insert(origin)
			self.assert_equal(d)
			d.order("audit")
			eventually("the audit", lambda: d.status()["audits"] == 1)
			for command in ("verify", "lint"):
				done = subprocess.run([BUILD / "cachectl" / "cachectl", "-c", d.conf, command], timeout=60, capture_output=True, text=True)
				self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
			self.assertEqual((d.status()["failures"], "evil" in d.log()), (0, False), d.log())
			d.stop()

	def assert_stays_stale(self, d):
		"""Polls go on, and prove nothing about now."""
		now, polls = int(time.time() * 1000), d.status()["polls"]
		eventually("polls", lambda: d.status()["polls"] > polls + 10)
		self.assertLessEqual(d.status()["fresh_at"], now)

	def test_standby_and_promotion(self):
		standby = Cluster(pathlib.Path(work) / "standby")
		self.sql.close()
		standby.become_standby_of(cluster)
		self.sql = self.session()
		standby.start()
		self.addCleanup(standby.stop, "immediate")
		d = self.syncd(standby, sync__poll_ms=50)
		self.assertEqual((d.status()["in_recovery"], d.status()["listening"]), (1, 0))
		old = self.session()
		for i in range(5):
			old("BEGIN")
			old(f"INSERT INTO cors.origins (origin) VALUES ('https://old{i}.example')")
			self.insert(f"https://s{i}.example")
			eventually("the standby's row", lambda: d.has(f"https://s{i}.example"))
			old("COMMIT")
			eventually("the older one", lambda: d.has(f"https://old{i}.example"))
		self.assertEqual(d.status()["snapshots"], 1)
		there = self.session(standby)		# what is replayed no more is not fresh, and is again
		there("SELECT pg_wal_replay_pause()")
		self.insert("https://unseen.example")
		self.assert_stays_stale(d)
		there("SELECT pg_wal_replay_resume()")
		self.assert_equal(d)
		self.sql.close()
		cluster.stop("immediate")
		eventually("the receiver is gone", lambda: there("SELECT count(*) FROM pg_stat_wal_receiver") == [["0"]])
		self.assert_stays_stale(d)
		cluster.start()
		self.sql = self.session()
		eventually("fresh again", lambda: d.is_fresh(int(time.time() * 1000) - 500))
		standby.run("pg_ctl", "-D", standby.dir / "data", "-w", "promote")
		eventually("listening", lambda: d.status()["listening"] == 1)
		there(f"INSERT INTO cors.origins (origin) VALUES ('{B}')")
		self.assert_equal(d, there)


class Writer(threading.Thread):
	"""Random transactions over a few keys; slow ones, savepoints, rollbacks, key changes."""

	def __init__(self, seed, stop_at):
		super().__init__()
		self.random, self.stop_at = random.Random(seed), stop_at
		self.sql = Psql(cluster.env)
		self.commits = self.rollbacks = 0
		self.error = None

	def run(self):
		try:
			self.write()
		except Exception as error:	# for whoever joins us
			self.error = error
		finally:
			self.sql.close()

	def write(self):
		while time.monotonic() < self.stop_at:
			self.sql("BEGIN")
			try:
				for _ in range(self.random.randint(1, 5)):
					self.step()
				good = self.random.random() < 0.8
			except SqlError as error:	# two of us want the same key
				if not any(code in str(error) for code in ("23505", "40P01", "23503")):
					raise
				good = False
			self.sql("COMMIT" if good else "ROLLBACK")
			self.commits += good
			self.rollbacks += not good

	def key(self):
		n = self.random.randint(1, 60)
		return "rnd", self.random.choice((f"https://k{n}.example", f"https://*.k{n % 5}.example", f"https://k{n % 9}.example:*"))

	def step(self):
		r = self.random
		savepoint = r.random() < 0.3
		if savepoint:
			self.sql("SAVEPOINT s")
		(realm, origin), (_, other) = self.key(), self.key()
		at = f"WHERE realm = '{realm}' AND origin = '{origin}'"
		self.sql(r.choice((
		    f"INSERT INTO cors.origins (realm, origin, policy) VALUES ('{realm}', '{origin}', 'p{r.randint(1, 3)}')"
		    " ON CONFLICT (realm, origin) DO UPDATE SET allow = NOT origins.allow, policy = excluded.policy",
		    f"INSERT INTO cors.origins (realm, origin, expires_at) VALUES ('{realm}', '{origin}', '2040-01-01Z') ON CONFLICT DO NOTHING",
		    f"UPDATE cors.origins SET expires_at = clock_timestamp() + interval '1 year' {at}",
		    f"DELETE FROM cors.origins {at}",
		    f"UPDATE cors.origins SET origin = '{other}' {at} AND NOT EXISTS (SELECT FROM cors.origins WHERE realm = '{realm}' AND origin = '{other}')",
		    f"UPDATE cors.origins SET allow = NOT allow WHERE realm = '{realm}' AND origin LIKE 'https://k{r.randint(1, 9)}%'",
		    f"UPDATE cors.policies SET max_age = {r.randint(0, 86400)} WHERE name = 'p{r.randint(1, 3)}'",
		)))
		if savepoint:
			self.sql("ROLLBACK TO s" if r.random() < 0.5 else "RELEASE s")
		time.sleep(r.random() * (0.3 if r.random() < 0.03 else 0.005))


class Random(Case):
	"""Several writers, and a daemon that is disturbed; at the end table and database are equal, row by row."""

	def seed(self, seed):
		self.sql("INSERT INTO cors.policies (name) VALUES ('p1'), ('p2'), ('p3') ON CONFLICT DO NOTHING")
		d = self.syncd()
		before = d.status()["snapshots"]
		stop_at = time.monotonic() + SECONDS
		writers = [Writer(1000 * seed + i, stop_at) for i in range(6)]
		for w in writers:
			w.start()
		self.disturb(d, random.Random(seed), stop_at)
		for w in writers:
			w.join()
		self.assertEqual([w.error for w in writers if w.error], [])
		self.assert_equal(d)
		status = d.status()
		print(f"\n  seed {seed}: commits={sum(w.commits for w in writers)} rollbacks={sum(w.rollbacks for w in writers)}"
		    f" rows={status['rows']} changes={status['changes']} polls={status['polls']} late_finds={status['late_finds']}"
		    f" loads={status['snapshots'] - before} connects={status['connects']}", end="")
		d.order("audit")
		eventually("the audit", lambda: d.status()["audits"] == 1)
		self.assertEqual((d.status()["audit_drift"], d.status()["held"]), (0, 0))

	def disturb(self, d, r, stop_at):
		while time.monotonic() < stop_at:
			what = r.random()
			if what < 0.2:
				self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'corscache-syncd%'")
			elif what < 0.3:
				d.order("resync")
			elif what < 0.35:
				d.order("invalidate-realm", "rnd")
			else:
				d.order("invalidate", "rnd", f"https://k{r.randint(1, 60)}.example")
			time.sleep(r.random() * 0.2)

	def test_seeds(self):
		for seed in SEEDS:
			with self.subTest(seed=seed):
				self.seed(seed)


if __name__ == "__main__":
	bounds.main()

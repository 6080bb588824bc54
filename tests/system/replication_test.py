#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
replication_test -- corscache-syncd on a replica: subscriptions into the tables, and standbys.

Runs on Debian's server and on those that scripts/install-postgres puts into postgres/ of the
build directory, or on the one in $POSTGRES_BINDIR alone. Exit status: 0, 1, or 77 where one is missing.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import harness
import syncd_test
from harness import eventually
from syncd_test import A, B, BUILD, C, Cluster, database_policies, database_rows

WEB = "INSERT INTO cors.policies (name, methods, credentials) VALUES ('web', '{GET}', true)"
REFUSED = "https://bad.tenant.example"
PATTERN = "https://*.tenant.example"
LOGICAL = "wal_level = logical\nwal_retrieve_retry_interval = 100ms\nmax_prepared_transactions = 5\nmax_logical_replication_workers = 12\nmax_worker_processes = 20\n"


def setUpModule():
	"""One server with the schema, of which the cases have copies."""
	global template
	syncd_test.work = tempfile.mkdtemp(prefix="replication.")
	os.chmod(syncd_test.work, 0o755)
	template = Cluster(pathlib.Path(syncd_test.work) / "template")
	template.init(LOGICAL)
	template.start()
	# Not the subscription's owner, so that what it applies is restricted to what its own role may do.
	template.sql("CREATE ROLE owner LOGIN CREATEROLE")
	template.sql("GRANT CREATE ON DATABASE postgres TO owner")
	template.create_schema("owner")
	template.stop()


def tearDownModule():
	subprocess.run(["rm", "-rf", syncd_test.work], check=True)


class Case(syncd_test.Case):
	"""Two servers of a case's own: where rows are written, and where they arrive."""

	def setUp(self):
		self.there, self.here = self.cluster("publisher"), self.cluster("subscriber")

	def cluster(self, name):
		cluster = Cluster(pathlib.Path(tempfile.mkdtemp(dir=syncd_test.work)) / name)
		cluster.dir.parent.chmod(0o755)
		cluster.copy(template)
		self.addCleanup(cluster.stop, "immediate")
		cluster.start()
		return cluster

	def open(self):
		"""Sessions with both, and the daemon on the second."""
		self.sql, self.local = self.session(self.there), self.session(self.here)
		self.version = int(self.local("SHOW server_version_num")[0][0])
		self.d = self.syncd(self.here, sync__poll_ms=100)

	def wait_equal(self, what):
		eventually(what, lambda: all(read(self.local) == read(self.sql) for read in (database_rows, database_policies)))
		self.assert_equal(self.d, self.local)

	def judged(self, origin, realm=""):
		return subprocess.run([BUILD / "cachectl" / "cachectl", "--table", self.d.table, "check", origin, *([realm] if realm else [])],
		    timeout=60, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True).stdout.splitlines()[0]


class Subscription(Case):
	tables = "cors.origins, cors.policies"

	def subscribe(self, options="", copy=True):
		self.sql(f"CREATE PUBLICATION p FOR TABLE {self.tables}")
		self.local("DELETE FROM cors.policies")
		words = ", ".join(filter(None, (options, f"copy_data = {str(copy).lower()}")))
		self.local(f"CREATE SUBSCRIPTION s CONNECTION 'host={self.there.dir} user=postgres' PUBLICATION p WITH ({words})")
		eventually("the initial copy", lambda: self.local(
		    "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'") == [["0"]])

	def changes(self):
		"""Every kind of statement, each of which must arrive."""
		yield f"INSERT INTO cors.origins (origin, policy) VALUES ('{B}', 'web'), ('{C}', 'default')"
		yield f"UPDATE cors.origins SET allow = false WHERE origin = '{B}'"
		yield f"UPDATE cors.origins SET origin = 'https://moved.example' WHERE origin = '{C}'"
		yield f"DELETE FROM cors.origins WHERE origin = '{B}'"
		yield "INSERT INTO cors.policies (name) VALUES ('new')"
		yield "UPDATE cors.origins SET policy = 'new'"
		yield "UPDATE cors.policies SET max_age = 7"
		yield "INSERT INTO cors.origins (realm, origin) SELECT 'many', 'https://o' || n || '.example' FROM generate_series(1, 500) n"
		yield "TRUNCATE cors.origins"
		yield f"INSERT INTO cors.origins (origin) VALUES ('{A}')"
		yield "TRUNCATE cors.policies CASCADE"
		yield WEB
		yield f"INSERT INTO cors.origins (origin, policy) VALUES ('{A}', 'web')"

	def follow(self, options=""):
		self.open()
		self.sql(WEB)
		self.sql(f"INSERT INTO cors.origins (origin, policy) VALUES ('{A}', 'web')")
		self.subscribe(options)
		self.wait_equal("the initial copy's rows")
		for change in self.changes():
			self.sql(change)
			self.wait_equal(change)
		self.assertEqual(self.d.status()["problem"], "")

	def test_default_options(self):
		self.follow()

	def test_run_as_owner(self):
		self.follow("run_as_owner = true" if int(self.there.sql("SHOW server_version_num")[0][0]) >= 160000 else "")

	def test_streamed_while_it_runs(self):
		"""Applied by a worker of its own, where the server has such, before it is committed."""
		version = int(self.there.sql("SHOW server_version_num")[0][0])
		if version < 140000:
			self.skipTest("before PostgreSQL 14 nothing is streamed")
		self.there.sql("ALTER SYSTEM SET " + ("debug_logical_replication_streaming = 'immediate'" if version >= 160000 else
		    "logical_decoding_work_mem = '64kB'"))
		self.there.sql("SELECT pg_reload_conf()")
		self.follow("streaming = " + ("parallel" if version >= 160000 else "on"))

	def test_prepared_transactions(self):
		self.open()
		self.sql(WEB)
		two_phase = self.version >= 150000
		self.subscribe("two_phase = true" if two_phase else "")
		if two_phase:		# by the worker's next start after the initial copy; what is prepared before arrives when it is committed
			eventually("two_phase is on", lambda: self.local("SELECT subtwophasestate FROM pg_subscription") == [["e"]])
		for i, change in enumerate(self.changes()):
			self.sql("BEGIN")
			self.sql("SET LOCAL cors.notify = off")
			self.sql(change)
			self.sql(f"PREPARE TRANSACTION 't{i}'")
			if two_phase:
				eventually("it is prepared there, too", lambda: self.local("SELECT count(*) FROM pg_prepared_xacts") == [["1"]])
			self.sql(f"COMMIT PREPARED 't{i}'")
			self.wait_equal(change)

	def test_origins_before_policies(self):
		"""What refuses needs no policy; what allows refuses until its policy is there; status tells."""
		self.open()
		self.local("SET session_replication_role = replica")
		self.local("INSERT INTO cors.policies (name) VALUES ('wide')")
		self.local(f"INSERT INTO cors.origins (origin, policy, allow) VALUES ('{PATTERN}', 'wide', true), ('{REFUSED}', 'web', false)")
		self.d.catch_up()
		self.assertEqual(self.d.status()["left_out"], 0)
		self.assertRegex(self.judged(REFUSED), "refused")
		self.assertRegex(self.judged("https://other.tenant.example"), "allowed")
		self.local("INSERT INTO cors.origins (origin, policy) VALUES ('https://mine.tenant.example', 'web')")
		self.d.catch_up()
		self.assertEqual(self.d.status()["left_out"], 1)
		self.assertIn("rows of the database are not in force", subprocess.run([BUILD / "cachectl" / "cachectl", "--table", self.d.table],
		    timeout=60, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True).stdout)
		self.assertRegex(self.judged("https://mine.tenant.example"), "refused")
		for _ in range(2):		# a whole load says the same
			self.assertRegex(self.judged(REFUSED), "refused")
			before = self.d.status()["snapshots"]
			self.d.order("resync")
			eventually("a load", lambda: self.d.status()["snapshots"] > before)
		self.d.order("audit")
		eventually("the audit", lambda: self.d.status()["audits"] == 1)
		self.assertEqual(self.d.status()["audit_drift"], 0)
		self.local(WEB)
		eventually("its row is in force", lambda: self.d.rows().get(("", "https://mine.tenant.example")) == ("web", True, 0))
		self.assertRegex(self.judged(REFUSED), "refused")
		self.assertEqual(self.d.status()["left_out"], 0)
		# gone, and back, with the rows still there
		self.local("DELETE FROM cors.policies WHERE name = 'web'")
		eventually("without its policy", lambda: "refused" in self.judged("https://mine.tenant.example"))
		self.local(WEB)
		eventually("its row is in force again", lambda: "allowed" in self.judged("https://mine.tenant.example"))

	def test_initial_copy_in_either_order(self):
		"""Tables are copied by workers of their own: rows may come before their policies."""
		self.open()
		self.sql("INSERT INTO cors.policies (name) SELECT 'p' || n FROM generate_series(1, 2000) n")
		self.sql("INSERT INTO cors.origins (origin, policy) SELECT 'https://o' || n || '.example', 'p' || n FROM generate_series(1, 2000) n")
		for copied in ("cors.origins", "cors.policies"):		# so that origins are there first
			self.sql(f"CREATE PUBLICATION {copied[5:]} FOR TABLE {copied}")
			self.local(f"CREATE SUBSCRIPTION {copied[5:]} CONNECTION 'host={self.there.dir} user=postgres' PUBLICATION {copied[5:]}"
			    if copied == "cors.origins" else "DELETE FROM cors.policies")
			if copied == "cors.origins":
				eventually("its rows", lambda: self.local("SELECT count(*) FROM cors.origins") == [["2000"]])
				self.d.catch_up()
				self.assertEqual(self.d.status()["left_out"], 2000)
		self.local(f"CREATE SUBSCRIPTION policies CONNECTION 'host={self.there.dir} user=postgres' PUBLICATION policies")
		eventually("all are in force", lambda: self.d.status()["left_out"] == 0 and
		    self.d.rows() == database_rows(self.sql))


def servers():
	"""(what it is called, its directory or None)"""
	yield "Debian's", os.path.dirname(syncd_test.server_program("initdb") or "") or None
	for major in ("18", "13"):
		bindir = BUILD / "postgres" / major / "bin"
		yield f"PostgreSQL {major}", bindir if (bindir / "initdb").exists() else None


def main():
	if "POSTGRES_BINDIR" in os.environ:
		unittest.main(verbosity=2)
	missing, failed = [], []
	for name, bindir in servers():
		print(f"--- {name}: {bindir}", file=sys.stderr, flush=True)
		if bindir is None:
			missing.append(name)
		elif subprocess.run([sys.executable, *sys.argv], env={**os.environ, "POSTGRES_BINDIR": str(bindir)}).returncode:
			failed.append(name)
	if failed:
		sys.exit(f"failed on {', '.join(failed)}")
	if missing:
		harness.skip(f"not tried on {', '.join(missing)}: scripts/install-postgres postgres, in the build directory")


if __name__ == "__main__":
	main()

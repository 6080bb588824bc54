#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""cachectl beside corscache-syncd and a real PostgreSQL: status, verify, invalidate, resync."""

import contextlib
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
import bounds
from postgres import Cluster, sessions

BUILD = pathlib.Path(os.environ.get("CORSCACHE_BUILD", ".")).resolve()
YES, NO, FAILED, MISUSED, ABSENT = 0, 1, 2, 64, 69
DEADLINE_S = 60
A, B = "https://a.example", "https://b.example"

SEED = f"""
INSERT INTO cors.policies (name, methods, credentials, max_age) VALUES ('api', '{{PUT,GET}}', true, 60), ('spare', '{{*}}', false, NULL);
INSERT INTO cors.origins (realm, origin, policy, allow, expires_at) VALUES
	('', '{A}', 'api', true, NULL), ('', '{B}', 'default', true, '2100-01-01T00:00:00.5Z'),
	('', 'https://*.a.example', 'default', false, 'infinity'), ('ü', '*', 'default', true, NULL);
INSERT INTO cors.origins (realm, origin) SELECT 'many', 'https://h' || i || '.example' FROM generate_series(1, 1000) i;
"""
ROWS = 1004


def eventually(what, condition):
	until = time.monotonic() + DEADLINE_S
	while not condition():
		if time.monotonic() > until:
			raise AssertionError(f"not within {DEADLINE_S} s: {what}")
		time.sleep(0.01)


class Beside(unittest.TestCase):
	@classmethod
	def setUpClass(cls):
		cls.db = sessions("beside")

	def setUp(self):
		self.dir = pathlib.Path(tempfile.mkdtemp(prefix="cachectl."))
		self.addCleanup(shutil.rmtree, self.dir)
		self.conf = self.dir / "corscache.conf"
		self.conf.write_text(f'table {{ path = "{self.dir}/table" }}\nsync {{ conninfo = "dbname=beside" poll_ms = 100 '
		    f'control_socket = "{self.dir}/control.sock" }}\n')
		self.db.ok("TRUNCATE cors.origins; DELETE FROM cors.policies WHERE name <> 'default'; " + SEED)
		self.syncd = None
		self.addCleanup(self.stop)
		self.start()

	def start(self):
		with open(self.dir / "log", "ab") as log:
			self.syncd = subprocess.Popen([BUILD / "corscache-syncd", "-c", self.conf], stdin=subprocess.DEVNULL, stderr=log)
		eventually("healthy", lambda: self.run_("status").returncode == YES)

	def stop(self):
		if self.syncd:
			self.syncd.send_signal(signal.SIGCONT)
			self.syncd.terminate()
			self.syncd.wait(DEADLINE_S)
			self.syncd = None

	def run_(self, *args, want=None):
		done = subprocess.run([BUILD / "cachectl/cachectl", "-c", self.conf, *args], capture_output=True, text=True,
		    stdin=subprocess.DEVNULL, timeout=DEADLINE_S)
		if want is not None:
			self.assertEqual(done.returncode, want, f"{args}: {done.stdout}{done.stderr}")
		return done

	def json(self, *args, want=YES):
		return json.loads(self.run_("--json", *args, want=want).stdout)

	def test_status_shows_the_session(self):
		s = self.json("status")
		self.assertTrue(s["healthy"] and s["table"]["ready"] and s["table"]["writer_alive"])
		self.assertEqual((s["table"]["rows"], s["sync"]["writer_pid"], s["sync"]["connected"]), (ROWS, self.syncd.pid, 1))
		self.assertRegex(s["table"]["source"], "dbname=beside")
		eventually("listening", lambda: self.json("status")["sync"]["listening"] == 1)
		self.stop()
		stopped = self.run_("status", want=NO).stdout
		self.assertIn("does not run", stopped)
		self.assertNotRegex(stopped, "(?m)^sync ")	# of a session that was

	def test_verify_of_equals(self):
		v = self.json("verify")
		self.assertEqual((v["rows"], v["table_rows"], v["ndifferences"], v["differences"]), (ROWS, ROWS, 0, []))
		self.assertRegex(self.run_("verify", want=YES).stdout, "^equal: 1,004 rows")

	def test_verify_under_changes_finds_nothing(self):
		for i in range(5):
			self.db.send(f"INSERT INTO cors.origins (realm, origin) SELECT 'run{i}', 'https://r' || i || '.example' FROM generate_series(1, 300) i")
			self.assertEqual(self.json("verify")["differences"], [])
			self.db.reply()

	def test_verify_of_a_table_that_is_filled_anew(self):
		self.db.ok("BEGIN; TRUNCATE cors.origins")
		self.addCleanup(self.db.ok, "ROLLBACK")		# a warning behind a COMMIT
		self.db.ok("INSERT INTO cors.origins (origin, policy) VALUES ('https://a.example', 'default'), ('https://b.example', 'default')")
		verify = subprocess.Popen([BUILD / "cachectl/cachectl", "-c", self.conf, "verify", "--json"], stdin=subprocess.DEVNULL,
		    stdout=subprocess.PIPE, text=True)
		self.addCleanup(verify.stdout.close)
		self.addCleanup(verify.kill)
		eventually("verify waits, and syncd", lambda: sessions("postgres").one("SELECT count(*) FROM pg_stat_activity"
		    " WHERE wait_event_type = 'Lock'") == "2")
		self.db.ok("COMMIT")
		self.assertEqual(json.loads(verify.communicate(timeout=DEADLINE_S)[0])["rows"], 2, "never was it empty")

	def test_verify_of_each_difference(self):
		for sql, kind, key in (
		    ("INSERT INTO cors.origins (origin) VALUES ('https://new.example')", "missing", "https://new.example"),
		    (f"UPDATE cors.origins SET policy = 'spare' WHERE origin = '{A}'", "policy", A),
		    (f"UPDATE cors.origins SET allow = false WHERE origin = '{A}'", "allow", A),
		    (f"UPDATE cors.origins SET expires_at = '2100-01-01T00:00:01Z' WHERE origin = '{B}'", "expires_at", B),
		    (f"DELETE FROM cors.origins WHERE origin = '{A}'", "extra", A),
		    ("UPDATE cors.policies SET methods = '{PUT}' WHERE name = 'api'", "policy_contents", "api"),
		    ("INSERT INTO cors.policies (name) VALUES ('unseen')", "policy_contents", "unseen"),
		):
			with self.subTest(sql):
				self.syncd.send_signal(signal.SIGSTOP)
				self.db.ok(sql)
				v = self.json("verify", want=NO)
				self.assertEqual([(d["kind"], d.get("origin", d.get("policy"))) for d in v["differences"]], [(kind, key)])
				self.assertIn(key, self.run_("verify", want=NO).stdout)
				self.syncd.send_signal(signal.SIGCONT)
				eventually("applied", lambda: self.run_("verify").returncode == YES)

	def test_verify_counts_what_is_left_out_and_held_apart(self):
		self.stop()
		self.run_("invalidate", A, want=YES)
		self.db.ok("ALTER TABLE cors.origins DROP CONSTRAINT origin_is_valid; INSERT INTO cors.origins (origin) VALUES ('nonsense')")
		try:
			v = self.json("verify")
			self.assertEqual((v["left_out"], v["held"], v["differences"]), (1, 1, []))
		finally:
			self.db.ok("DELETE FROM cors.origins WHERE origin = 'nonsense'; ALTER TABLE cors.origins ADD CONSTRAINT origin_is_valid "
			    "CHECK (cors.accept_origin(origin))")

	def test_verify_lists_what_is_rightly_left_out(self):
		"""Public suffixes with credentials, and rows of a policy that the C code refuses: no drift."""
		self.db.ok("ALTER TABLE cors.policies DROP CONSTRAINT methods_are_valid; "
		    "INSERT INTO cors.policies (name, methods) VALUES ('broken', '{GET,NULL}'); "
		    "INSERT INTO cors.origins (origin, policy) VALUES ('https://*.co.uk', 'api'), ('https://u.example', 'broken')")
		try:
			eventually("left out", lambda: self.json("status", want=None)["sync"]["left_out"] == 2)
			self.assertFalse(self.json("status", want=NO)["healthy"])
			v = self.json("verify")
			self.assertEqual((v["differences"], v["left_out"]), ([], 3))
			self.assertEqual({(r.get("origin"), r.get("policy")) for r in v["left_out_rows"]},
			    {("https://*.co.uk", None), ("https://u.example", None), (None, "broken")})
			self.assertRegex(self.run_("verify", want=YES).stdout, r"(?m)^left out +https://\*\.co\.uk: it covers a public suffix")
		finally:
			self.db.ok("DELETE FROM cors.origins WHERE policy = 'broken'; DELETE FROM cors.policies WHERE name = 'broken'; "
			    "ALTER TABLE cors.policies ADD CONSTRAINT methods_are_valid CHECK (cors.accept_list('methods', methods))")

	def test_verify_without_a_database_cannot_tell(self):
		self.assertIn("database:", self.run_("-o", f"sync.conninfo=host={self.dir}", "verify", want=FAILED).stderr)

	def test_without_a_session_the_next_step_is_told(self):
		"""Nearly always somebody else asks than the user whose sessions corscache-syncd has: root, where peers are authenticated."""
		args = ("-o", f"sync.conninfo=host={self.dir}", "verify")
		self.assertIn("; sync.conninfo says where and as whom: see cachectl config", self.run_(*args, want=FAILED).stderr)
		if os.geteuid() == 0:		# only root can give a table away
			for file in [self.dir / "table/v1", *(self.dir / "table/v1").iterdir()]:
				os.chown(file, 1, -1)
			name = pwd.getpwuid(1).pw_name
			self.assertIn(f"; corscache-syncd connects as {name}: sudo -u {name} cachectl ...", self.run_(*args, want=FAILED).stderr)

	def test_verify_without_the_schema_says_what_to_run(self):
		self.assertIn("run sql/0001_schema.sql", self.run_("-o", "sync.conninfo=dbname=template1", "verify", want=FAILED).stderr)

	def reason(self, origin, *options):
		return json.loads(self.run_("check", origin, "--json", *options).stdout)["reason"]

	def reloaded(self):
		before = self.json("status")["sync"]["snapshots"]
		self.run_("resync", want=YES)
		eventually("the whole table is loaded", lambda: self.json("status")["sync"]["snapshots"] > before)

	def test_a_revocation_lasts_until_it_is_restored(self):
		done = self.run_("revoke", A, "--note", "key leaked", want=YES)
		self.assertIn(f"SELECT cors.refuse('{A}')", done.stdout)
		self.assertIn("until cachectl restore", done.stdout)
		self.assertEqual(self.reason(A), "revoked")
		self.reloaded()
		self.assertEqual(self.reason(A), "revoked")
		self.db.ok(f"DELETE FROM cors.origins WHERE origin = '{A}'")
		eventually("the row is gone", lambda: self.json("list", A)["policy"] == "")
		self.db.ok(f"INSERT INTO cors.origins (origin, policy) VALUES ('{A}', 'api')")
		eventually("the row is back", lambda: self.json("list", A)["policy"] == "api")
		self.assertEqual(self.reason(A), "revoked")
		self.assertEqual(self.json("verify")["differences"], [])
		drift = self.json("status")["sync"]["audit_drift"]
		answer = self.json("invalidate", A)
		self.assertEqual(answer["entries"], 1)
		self.stop()
		self.assertEqual(self.reason(A), "revoked")
		shutil.rmtree(self.dir / "table/v1" if self.revoked_elsewhere else self.dir / "nothing", ignore_errors=True)
		self.start()
		self.assertEqual(self.reason(A), "revoked")
		self.assertEqual(self.json("status")["sync"]["audit_drift"], drift if not self.revoked_elsewhere else 0)
		said = self.run_("check", A, want=NO).stdout
		self.assertRegex(said, r"revoked  since .*, until cachectl restore, by .*uid \d+.*, note: key leaked")
		listed = self.json("revoke", "--list")
		self.assertEqual((listed["origin"], listed["note"], listed["until"], listed["uid"]), (A, "key leaked", None, os.geteuid()))
		self.run_("restore", A, want=YES)
		self.assertEqual(self.reason(A), "allowed")
		self.run_("restore", A, want=NO)
		self.run_("revoke", "--list", want=NO)
	revoked_elsewhere = False

	def test_a_revocation_outlives_the_table(self):
		"""As a reboot: the directory of the table is gone, the file of revocations is elsewhere."""
		self.stop()
		self.conf.write_text(self.conf.read_text().replace('table {', f'table {{ revoked = "{self.dir}/state/revoked"'))
		self.start()
		self.revoked_elsewhere = True
		self.test_a_revocation_lasts_until_it_is_restored()

	def test_revoking_without_the_daemon_and_with_broken_settings(self):
		self.stop()
		whole = self.conf.read_text()
		self.conf.write_text(whole + "nonsense {\n")
		self.run_("revoke", A, want=FAILED)
		options = ["--table", f"{self.dir}/table", "-o", f"sync.control_socket={self.dir}/control.sock"]
		for order in ["revoke", A, "--for", "1h"], ["invalidate", B], ["restore", A], ["revoke", A]:
			done = self.run_(*options, *order, want=YES)
			self.assertIn("no such section", done.stderr)
			self.assertIn("--table", done.stderr)
		self.conf.write_text(whole)
		self.assertEqual(self.reason(A), "revoked")
		self.start()
		self.assertEqual(self.reason(A), "revoked")
		eventually("the database confirmed the other", lambda: self.reason(B) == "allowed")
		self.conf.write_text(whole + "nonsense {\n")
		self.run_(*options, "restore", "--all", want=YES)
		self.conf.write_text(whole)
		self.assertEqual(self.reason(A), "allowed")

	def test_a_revoked_pattern_and_what_it_does_not_cover(self):
		self.db.ok("INSERT INTO cors.origins (origin) VALUES ('https://*.w.example'), ('https://own.w.example')")
		eventually("the rows are there", lambda: self.reason("https://own.w.example") == "allowed")
		said = self.run_("revoke", "https://*.w.example", "--for", "1h", want=YES).stdout
		self.assertIn("https://own.w.example has a row of its own, which still answers", said)
		self.assertEqual(self.reason("https://q.w.example"), "revoked")
		self.assertEqual(self.reason("https://own.w.example"), "allowed")
		self.run_("revoke", "https://norow.example", "https://*.norow.example", want=YES)
		self.assertEqual(self.reason("https://q.norow.example"), "revoked")
		self.assertEqual(self.json("verify")["differences"], [])
		self.assertEqual(self.json("status")["sync"]["revoked"], 3)
		self.assertIn("corscache_sync_revoked 3", self.run_("metrics", want=YES).stdout)
		for wrong in ["revoke"], ["revoke", "https://A.example"], ["revoke", A, "https://x.example/"], ["revoke", A, "--for", "soon"], \
		    ["revoke", A, "--note", "a\nb"], ["restore"], ["restore", "--all", A], ["revoke", "--list", A]:
			self.run_(*wrong, want=MISUSED)
		self.assertEqual(self.json("status")["sync"]["revoked"], 3)
		self.run_("restore", "--all", want=YES)
		eventually("all is as it was", lambda: self.reason("https://q.w.example") == "allowed")

	def test_a_duration_ends_by_itself(self):
		self.run_("revoke", A, "--for", "1s", want=YES)
		eventually("it is over", lambda: self.reason(A) == "allowed")
		self.run_("revoke", "--list", want=NO)

	def test_a_damaged_file_refuses_everything(self):
		self.run_("revoke", B, want=YES)
		self.stop()
		file = self.dir / "table/v1/revoked"
		file.write_bytes(file.read_bytes().replace(b"b.example", b"c.example"))
		with self.assertRaises(AssertionError), contextlib.ExitStack() as stack:
			stack.callback(setattr, sys.modules[__name__], "DEADLINE_S", DEADLINE_S)
			sys.modules[__name__].DEADLINE_S = 3
			self.start()		# not healthy
		self.assertEqual(self.reason(A), "revoked")
		self.assertIn("it is damaged", self.run_("revoke", "--list", want=FAILED).stderr)
		self.assertIn("cachectl restore --all", self.run_("status", want=NO).stdout)
		self.run_("restore", "--all", want=YES)
		eventually("the database decides", lambda: self.reason(A) == "allowed")

	def test_many_at_once_and_two_who_ask(self):
		many = [f"https://h{i}.example" for i in range(1, 1001)]
		both = [subprocess.Popen([BUILD / "cachectl/cachectl", "-c", self.conf, "revoke", "--realm", "many", *half],
		    stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL) for half in (many[:600], many[400:])]
		self.assertEqual([p.wait(DEADLINE_S) for p in both], [YES, YES])
		self.assertEqual(self.json("status")["sync"]["revoked"], 1000)
		self.stop()
		both = [subprocess.Popen([BUILD / "cachectl/cachectl", "-c", self.conf, "restore", "--realm", "many", *half],
		    stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL) for half in (many[:500], many[500:])]
		self.assertEqual([p.wait(DEADLINE_S) for p in both], [YES, YES])
		self.run_("revoke", "--list", want=NO)

	def test_invalidate_says_what_it_found(self):
		self.assertIn("read again: allowed by its row, policy api", self.run_("invalidate", A, want=YES).stdout)
		self.assertIn("no row is called so: nothing allows it", self.run_("invalidate", "https://nobody.example", want=YES).stdout)
		self.assertIn("no row is called so; allowed by *", self.run_("invalidate", "https://any.example", "--realm", "ü", want=YES).stdout)

	def test_the_daemon_invalidates_and_the_database_confirms(self):
		self.assertEqual(self.json("invalidate", A), {"version": 1, "entries": 1, "dry_run": False, "by": "corscache-syncd"})
		eventually("confirmed", lambda: self.run_("check", A).returncode == YES)
		self.assertEqual(self.json("invalidate", "--realm", "many")["entries"], 1000)
		eventually("confirmed", lambda: self.json("status")["sync"]["held"] == 0)
		self.run_("check", "https://h7.example", "--realm", "many", want=YES)
		self.run_("invalidate", "--all", want=YES)
		eventually("confirmed", lambda: self.run_("check", A).returncode == YES)

	def test_what_check_advises_works(self):
		"""The SQL is run as it is printed, until the request is allowed."""
		self.db.ok("INSERT INTO cors.origins (origin, policy, allow, expires_at) VALUES ('https://old.example', 'api', true, '2020-01-01'), "
		    "('https://no.example', 'api', false, NULL), ('https://*.co.uk', 'api', true, NULL), ('https://*.deny.example', 'default', false, NULL)")
		eventually("applied", lambda: self.run_("verify").returncode == YES)
		for args, most in ((["https://new.example"], 1), (["https://new2.example", "--realm", "it's \\ ü"], 1),
		    (["https://put.example", "--method", "PUT"], 1), (["https://h.example", "--method", "PATCH", "--header", "x-new"], 3),
		    (["https://old.example"], 1), (["https://no.example", "--method", "PUT"], 1), (["https://x.deny.example"], 1),
		    (["https://x.co.uk"], 1), ([A, "--method", "DELETE", "--header", "x-a", "--header", "x-b"], 3)):
			with self.subTest(args):
				for _ in range(most):
					answer = self.json("check", *args, want=NO)
					self.db.ok(answer["next"] + "\n", end="")
					eventually("applied", lambda: self.run_("verify").returncode == YES and
					    json.loads(self.run_("--json", "check", *args).stdout)["next"] != answer["next"])
				self.run_("check", *args, want=YES)
		# nothing is permanent that was not, nobody has credentials that had none, no pattern answers that did not
		self.assertEqual(self.db.rows("SELECT origin FROM cors.origins WHERE origin IN ('https://old.example', 'https://no.example', "
		    "'https://x.deny.example') AND expires_at BETWEEN now() AND now() + interval '1 day' ORDER BY 1"),
		    [("https://no.example",), ("https://old.example",), ("https://x.deny.example",)])
		self.assertEqual(self.db.one("SELECT string_agg(origin || ' ' || policy, ',') FROM cors.origins JOIN cors.policies ON policy = name "
		    "WHERE credentials AND origin ~ '//(new|put|h|x)'"), "")
		self.assertEqual(self.db.rows("SELECT policy, allow FROM cors.origins WHERE origin IN ('https://*.co.uk', 'https://*.deny.example') "
		    "ORDER BY origin"), [("api", "t"), ("default", "f")])

	def test_what_check_advises_is_what_the_neighbours_have(self):
		self.db.ok("INSERT INTO cors.policies (name, credentials) VALUES ('it''s', false), ('cred', true); INSERT INTO cors.origins (origin, policy, "
		    "expires_at) VALUES ('https://pr-1.app.example', 'it''s', now() + interval '2 days'), ('https://shop.example', 'cred', NULL), "
		    "('https://one.github.io', 'cred', NULL)")
		eventually("applied", lambda: self.run_("verify").returncode == YES)
		for origin, policy, expires in (("https://pr-2.app.example", "it's", "t"), ("https://www.shop.example", "cred", "f"),
		    ("https://shop.example:8443", "cred", "f"), ("https://two.github.io", "default", "f"), ("http://shop.example", "default", "f")):
			self.db.ok(self.json("check", origin, want=NO)["next"] + "\n", end="")
			self.assertEqual(self.db.rows("SELECT policy, expires_at IS NOT NULL FROM cors.origins WHERE realm = '' AND "
			    f"origin = '{origin}'"), [(policy, expires)], origin)

	def test_what_check_advises_copies_no_row_into_another_realm(self):
		self.db.ok("INSERT INTO cors.origins (realm, origin) VALUES ('tenant ''a', 'https://tenant.example')")
		eventually("applied", lambda: self.run_("verify").returncode == YES)
		self.assertIn("the realm 'tenant ''a' allows it: ask with that realm", self.json("check", "https://tenant.example", want=NO)["next"])

	def test_resync_loads_a_whole_table(self):
		before = self.json("status")["sync"]["snapshots"]
		self.assertEqual(self.json("resync"), {"version": 1, "asked": "resync"})
		eventually("loaded", lambda: self.json("status")["sync"]["snapshots"] > before)
		self.stop()
		self.run_("resync", want=ABSENT)

	def test_a_daemon_in_the_way(self):
		file = self.dir / "x.jsonl"
		file.write_text("")
		self.run_("load", file, want=ABSENT)
		self.run_("-o", f"sync.control_socket={self.dir}/none", "invalidate", A, want=FAILED)
		self.run_("check", A, want=YES)

	def test_a_daemon_that_hangs_can_be_done_without(self):
		self.syncd.send_signal(signal.SIGSTOP)
		self.assertIn("corscache-syncd hangs: kill it", self.run_("invalidate", A, want=FAILED).stderr)
		with contextlib.ExitStack() as queue:
			try:
				while True:	# until the backlog is full
					s = queue.enter_context(socket.socket(socket.AF_UNIX))
					s.setblocking(False)
					s.connect(str(self.dir / "control.sock"))
			except BlockingIOError:
				self.assertIn("corscache-syncd hangs: kill it", self.run_("resync", want=FAILED).stderr)
		self.run_("check", A, want=YES)
		self.syncd.kill()
		self.stop()
		self.assertEqual(self.json("invalidate", A)["by"], "cachectl")
		self.run_("check", A, want=NO)

	def test_no_daemon_leaves_revoking_to_us_until_the_next_one(self):
		self.stop()
		self.assertEqual(self.json("invalidate", A)["by"], "cachectl")
		self.assertEqual(self.json("check", A, want=NO)["reason"], "invalidated")
		self.start()
		eventually("confirmed", lambda: self.run_("check", A).returncode == YES)


if __name__ == "__main__":
	os.environ["PGDATABASE"] = "beside"
	Cluster()
	bounds.main()

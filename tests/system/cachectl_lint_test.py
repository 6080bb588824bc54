#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""cachectl lint: each finding, and that its SQL mends it, with a real PostgreSQL; what the table alone can tell; a million rows."""

import itertools
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
import bounds
from postgres import Cluster, sessions

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("CORSCACHE_BUILD", ".")).resolve()
YES, NO, FAILED, MISUSED = 0, 1, 2, 64
DEADLINE_S = 120
ROWS = int(os.environ.get("LINT_ROWS", "100000"))
TOKENS = re.findall(r'^FINDING\(\w+,\s*"([\w-]+)"', (SOURCE / "cachectl/lint.def").read_text(), re.MULTILINE)

POLICIES = """
INSERT INTO cors.policies (name, credentials, insecure) VALUES ('cred', true, false), ('insec', true, true);
INSERT INTO cors.origins (origin, policy) VALUES ('https://keeps.cred.example', 'cred'), ('http://keeps.insec.example', 'insec');
"""

# What is done; the finding, its realm, origin, policy; words of the reason. The SQL is run as the application's role.
CASES = (
	("INSERT INTO cors.origins (origin, expires_at) VALUES ('https://old.example', now() - interval '1 s')",
	    ("expired", "", "https://old.example", "default"), "expired"),
	("INSERT INTO cors.origins (origin, expires_at) VALUES ('https://old.example', '-infinity')",
	    ("expired", "", "https://old.example", "default"), "expired"),
	("INSERT INTO cors.origins (origin, policy) VALUES ('http://plain.example', 'insec')",
	    ("http-insecure", "", "http://plain.example", "insec"), "plain http"),
	("INSERT INTO cors.origins (origin, policy) VALUES ('https://*.github.io', 'insec')",
	    ("public-suffix-insecure", "", "https://*.github.io", "insec"), "anybody"),
	("INSERT INTO cors.origins (origin, policy) VALUES ('https://*.co.uk:*', 'cred')",
	    ("public-suffix-credentials", "", "https://*.co.uk:*", "cred"), "answers nothing"),
	("INSERT INTO cors.origins (origin) VALUES ('https://*.com')",
	    ("public-suffix", "", "https://*.com", "default"), "anybody"),
	("INSERT INTO cors.origins (realm, origin, allow) VALUES ('it''s \\ü', 'https://no.example', false)",
	    ("refuses-nothing", "it's \\ü", "https://no.example", "default"), "no wider row"),
	("INSERT INTO cors.origins (origin) VALUES ('https://*.w.example'), ('https://x.w.example')",
	    ("shadowed", "", "https://x.w.example", "default"), "https://*.w.example"),
	("INSERT INTO cors.origins (origin, allow) VALUES ('https://*.w.example:*', false), ('https://x.w.example:8443', false), ('*', true)",
	    ("shadowed", "", "https://x.w.example:8443", "default"), "https://*.w.example:*"),
	("INSERT INTO cors.origins (realm, origin) VALUES ('ü', '*'), ('ü', 'https://a.example'), ('ü', 'https://b.example')",
	    ("any-shadows", "ü", "*", "default"), "2 rows"),
	("INSERT INTO cors.policies (name, methods, credentials) VALUES ('p', '{*}', true); INSERT INTO cors.origins (origin, policy) VALUES ('https://p.example', 'p')",
	    ("any-with-credentials", None, None, "p"), "methods"),
	("INSERT INTO cors.policies (name, headers, credentials) VALUES ('p', '{*,X-A}', true); INSERT INTO cors.origins (origin, policy) VALUES ('https://p.example', 'p')",
	    ("any-with-credentials", None, None, "p"), "headers"),
	("INSERT INTO cors.policies (name, insecure) VALUES ('it''s', true); INSERT INTO cors.origins (origin, policy) VALUES ('http://p.example', 'it''s')",
	    ("insecure-unneeded", None, None, "it's"), "no row"),
	("INSERT INTO cors.policies (name) VALUES ('idle\\ö')", ("policy-unused", None, None, "idle\\ö"), "no row"),
	("INSERT INTO cors.policies (name, max_age) VALUES ('p', 86400); INSERT INTO cors.origins (origin, policy) VALUES ('https://p.example', 'p')",
	    ("max-age-capped", None, None, "p"), "86,400"),
	("INSERT INTO cors.origins (origin, policy) VALUES ('app://*', 'insec')",
	    ("scheme-insecure", "", "app://*", "insec"), "any application"),
	("INSERT INTO cors.origins (origin) VALUES ('app://*'), ('app://.')", ("shadowed", "", "app://.", "default"), "app://*"),
	*((f"INSERT INTO cors.origins (origin) VALUES ('{origin}')", ("never-sent", "", origin, "default"), words) for origin, words in (
	    ("wss://a.example", "WebSocket"), ("ws://*.a.example:*", "WebSocket"), ("ftp://a.example", "ftp"), ("data://*", "null"),
	    ("blob://a.example", "null"), ("chrome-extension://abcdefghijklmnop", "a to p"), ("chrome-extension://abcdefghijklmnopabcdefghijklmnop:1", "port"),
	    ("chrome-extension://abcdefghijklmnopabcdefghijklmnoz", "a to p"), ("moz-extension://0F1D0C1E-7D34-4A5E-8A5C-000000000000", "UUID"),
	    ("moz-extension://*.a", "UUID"))),
	# past the triggers: what replication and bulk loads do
	("SET session_replication_role = replica; INSERT INTO cors.origins (origin, policy) VALUES ('*', 'cred'); SET session_replication_role = origin",
	    ("any-credentials", "", "*", "cred"), "credentials"),
	("SET session_replication_role = replica; INSERT INTO cors.origins (origin, policy) VALUES ('http://h.example:*', 'cred'); SET session_replication_role = origin",
	    ("http-credentials", "", "http://h.example:*", "cred"), "plain http"),
	("SET session_replication_role = replica; INSERT INTO cors.origins (origin, policy) VALUES ('app://*', 'cred'); SET session_replication_role = origin",
	    ("scheme-credentials", "", "app://*", "cred"), "whole scheme"),
	("SET session_replication_role = replica; INSERT INTO cors.origins (origin, policy) VALUES ('https://h.example', 'gone'); SET session_replication_role = origin",
	    ("policy-missing", "", "https://h.example", "gone"), "not there"),
	# past the constraints: a schema that somebody changed
	("ALTER TABLE cors.origins DROP CONSTRAINT origin_is_valid; INSERT INTO cors.origins (origin) VALUES (E'it''s\\n\\\\no origin\\u00fc')",
	    ("row-refused", "", "it's\n\\no originü", "default"), None),
	("ALTER TABLE cors.origins DROP CONSTRAINT realm_is_valid; INSERT INTO cors.origins (realm, origin) VALUES (E'a\\nb', 'https://a.example')",
	    ("row-refused", "a\nb", "https://a.example", "default"), "realm"),
	*((f"ALTER TABLE cors.policies DROP CONSTRAINT {list_}_are_valid; INSERT INTO cors.policies (name, {list_}) VALUES ('p', {value}); "
	    "INSERT INTO cors.origins (origin, policy) VALUES ('https://p.example', 'p')", ("policy-refused", None, None, "p"), words)
	    for list_, value, words in (
	    ("methods", "'{GET,\"a b\"}'", "method"), ("methods", "'{TRACE}'", "TRACE"), ("headers", "'{Cookie,X-A}'", "request header"),
	    ("headers", "'{\"\"}'", "header"), ("headers", "'{{a,b},{c,d}}'", "header"), ("expose_headers", "'{NULL,ETag}'", "exposed"),
	    ("expose_headers", "'{Set-Cookie}'", "response header"), ("methods", "ARRAY['GET', 'a,b', chr(1)]", "method"),
	    ("headers", "ARRAY(SELECT 'x-' || i FROM generate_series(1, 200) i)", "128"),
	    ("headers", "ARRAY(SELECT repeat('x', 60) || i FROM generate_series(1, 100) i)", "2048"))),
	("ALTER TABLE cors.policies DROP CONSTRAINT max_age_is_valid; INSERT INTO cors.policies (name, max_age) VALUES ('p', -1); "
	    "INSERT INTO cors.origins (origin, policy) VALUES ('https://p.example', 'p')", ("policy-refused", None, None, "p"), "max_age"),
	("ALTER TABLE cors.policies DROP CONSTRAINT name_is_valid; INSERT INTO cors.policies (name) VALUES (E'a\\nb'); "
	    "INSERT INTO cors.origins (origin, policy) VALUES ('https://p.example', E'a\\nb')", ("policy-refused", None, None, "a\nb"), "name"),
	("ALTER TABLE cors.policies DROP CONSTRAINT expose_any_without_credentials; INSERT INTO cors.policies (name, credentials, expose_headers) "
	    "VALUES ('p', true, '{*}'); INSERT INTO cors.origins (origin, policy) VALUES ('https://p.example', 'p')",
	    ("policy-refused", None, None, "p"), "exposed *"),
)


def eventually(what, condition):
	until = time.monotonic() + DEADLINE_S
	while not condition():
		if time.monotonic() > until:
			raise AssertionError(f"not within {DEADLINE_S} s: {what}")
		time.sleep(0.01)


class Case(unittest.TestCase):
	@classmethod
	def setUpClass(cls):
		cls.db = sessions("lint")
		cls.db.ok("DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app') THEN "
		    "CREATE ROLE app LOGIN IN ROLE cors_editor; END IF; END $$")

	def setUp(self):
		self.dir = pathlib.Path(tempfile.mkdtemp(prefix="cachectl."))
		self.addCleanup(shutil.rmtree, self.dir)
		self.conf = self.dir / "corscache.conf"
		self.conf.write_text(f'table {{ path = "{self.dir}/table" }}\nsync {{ conninfo = "dbname=lint" poll_ms = 50 '
		    f'control_socket = "{self.dir}/control.sock" }}\n')
		self.clear()

	def clear(self):
		self.db.ok("TRUNCATE cors.origins; DELETE FROM cors.policies WHERE name <> 'default'")

	def run_(self, *args, want=None, stdin="", **more):
		done = subprocess.run([BUILD / "cachectl/cachectl", "-c", self.conf, *args], capture_output=True, text=True,
		    input=stdin, timeout=DEADLINE_S, **more)
		if want is not None:
			self.assertEqual(done.returncode, want, f"{args}: {done.stdout}{done.stderr}")
		return done

	def lint(self, *args, want=None):
		"""The findings and the summary."""
		lines = [json.loads(line) for line in self.run_("--json", "lint", *args, want=want).stdout.splitlines()]
		self.assertEqual({line["version"] for line in lines}, {1})
		return lines[:-1], lines[-1]

	def json(self, *args):
		return json.loads(self.run_("--json", *args).stdout)

	def keys(self, findings):
		return [(f["finding"], f.get("realm"), f.get("origin"), f.get("policy")) for f in findings]

	def psql(self, sql, user):
		return subprocess.run(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", user, "-d", "lint"], input=sql, capture_output=True,
		    text=True, timeout=DEADLINE_S)

	def start_syncd(self):
		with open(self.dir / "log", "ab") as log:
			self.syncd = subprocess.Popen([BUILD / "corscache-syncd", "-c", self.conf], stdin=subprocess.DEVNULL, stderr=log)
		self.addCleanup(self.stop_syncd)
		eventually("the first table", lambda: '"ready":true' in self.run_("--json", "status").stdout)	# healthy or not

	def stop_syncd(self):
		self.syncd.send_signal(signal.SIGCONT)
		self.syncd.terminate()
		self.syncd.wait(DEADLINE_S)


class Findings(Case):
	seen = set()

	def test_each_is_found_and_mended_by_its_sql(self):
		for sql, key, words in CASES:
			with self.subTest(sql):
				self.db.ok("BEGIN; " + POLICIES + "COMMIT; CREATE TEMP TABLE saved AS SELECT conrelid::regclass::text AS tab, conname, "
				    "pg_get_constraintdef(oid) AS def FROM pg_constraint WHERE connamespace = 'cors'::regnamespace AND contype = 'c'")
				try:
					usual = set(self.keys(self.lint()[0]))
					self.db.ok(sql)
					findings, summary = self.lint(want=NO)
					new = [f for f in findings if self.keys([f])[0] not in usual]
					found = [f for f in new if self.keys([f]) == [key]]
					self.assertEqual(len(found), 1, new)
					if words is not None:
						self.assertIn(words, found[0]["sentence"] + (found[0]["detail"] or ""))
					self.assertTrue(found[0]["sql"].isascii() and found[0]["sql"].isprintable())
					done = self.psql(found[0]["sql"], "app")
					self.assertEqual((done.returncode, done.stderr), (0, ""), found[0]["sql"])
					self.assertNotIn(key, self.keys(self.lint()[0]), found[0]["sql"])
					self.seen.add(key[0])
				finally:
					self.clear()
					self.db.ok("DO $$ DECLARE s record; BEGIN FOR s IN SELECT * FROM saved t WHERE NOT EXISTS (SELECT FROM pg_constraint c "
					    "WHERE c.conname = t.conname AND c.connamespace = 'cors'::regnamespace) LOOP "
					    "EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s', s.tab, s.conname, s.def); END LOOP; END $$; DROP TABLE saved")
		self.assertEqual(set(TOKENS) - self.seen, {"log-untrusted", "not-in-table"}, "the others have tests of their own")

	def test_clean_is_zero(self):
		self.db.ok("INSERT INTO cors.origins (origin, expires_at) VALUES ('https://a.example', 'infinity'), ('https://*.b.example', now() + interval '1 h')")
		findings, summary = self.lint(want=YES)
		self.assertEqual(findings, [])
		self.assertEqual((summary["summary"], summary["whole"], summary["rows"], summary["errors"]), ("database", True, 2, 0))
		self.assertIn("0 errors, 0 warnings, 0 notes in 2 rows of the database", self.run_("lint", want=YES).stderr)

	def test_rows_that_matter_are_left_alone(self):
		for rows in (
		    "('https://*.a.example', 'default', true, NULL), ('https://x.a.example', 'cred', true, NULL)",	# another policy
		    "('https://*.a.example', 'default', true, NULL), ('https://x.a.example', 'default', false, NULL)",	# a refusal
		    "('https://*.a.example', 'default', true, now() + interval '1 h'), ('https://x.a.example', 'default', true, NULL)",	# outlives it
		    "('https://*.a.example', 'default', true, now() - interval '1 h'), ('https://x.a.example', 'default', true, NULL)",
		    "('*', 'default', true, NULL), ('https://*.a.example', 'default', false, NULL), ('https://x.a.example', 'default', true, NULL)",
		    "('https://*.github.io', 'insec', true, NULL), ('https://x.github.io', 'insec', true, NULL)",	# better than the wide one
		    "('app://*', 'insec', true, NULL), ('app://.', 'insec', true, NULL)",
		    "('app://*', 'default', true, NULL), ('app://x:*', 'default', true, NULL)",	# with a port as well
		    "('app://*', 'default', true, NULL), ('app://*.x:*', 'default', true, NULL), ('app2://.', 'default', true, NULL)",
		):
			with self.subTest(rows):
				self.db.ok(POLICIES + f"INSERT INTO cors.origins (origin, policy, allow, expires_at) VALUES {rows}")
				self.assertFalse({"shadowed", "any-shadows", "refuses-nothing", "never-sent"} & {f["finding"] for f in self.lint()[0]})
				self.clear()

	def test_flags_choose_what_is_told(self):
		self.db.ok(POLICIES + "INSERT INTO cors.origins (origin, expires_at) SELECT 'https://h' || i || '.example', '2020-01-01' FROM generate_series(1, 30) i")
		text = self.run_("lint", want=NO)
		self.assertEqual((text.stdout.count("has expired"), "20 more of expired" in text.stderr), (10, True))
		self.assertEqual(self.run_("lint", "--limit", "0", want=NO).stdout.count("has expired"), 30)
		self.assertEqual({f["severity"] for f in self.lint("--severity", "warning", want=NO)[0]}, {"warning"})
		self.assertEqual(self.lint("--severity", "error", want=YES)[0], [])
		for line in self.run_("--plain", "lint", want=NO).stdout.splitlines():
			self.assertEqual(len(line.split("\t")), 7, line)
		for args in (["--severity", "bad"], ["--limit", "-1"], ["--limit", "x"], ["--sql", "--json"]):
			self.run_("lint", *args, want=MISUSED)
		statements = self.run_("lint", "--sql", want=NO).stdout
		self.assertEqual(self.psql(statements, "app").returncode, 0)
		self.assertEqual(self.lint("--severity", "error", want=YES)[1]["rows"], 2)

	def test_a_log_that_cannot_be_trusted(self):
		self.db.ok("ALTER TABLE cors.origins DISABLE TRIGGER log_insert")
		try:
			findings, _ = self.lint(want=NO)
			self.assertEqual([f["finding"] for f in findings], ["log-untrusted"])
			self.assertIn("log_insert", findings[0]["detail"])
		finally:
			self.db.ok("ALTER TABLE cors.origins ENABLE TRIGGER log_insert")

	def test_a_daemon_that_hangs_is_not_taken_for_a_row_that_was_not_logged(self):
		self.start_syncd()
		self.syncd.send_signal(signal.SIGSTOP)
		self.db.ok("INSERT INTO cors.origins (origin) VALUES ('https://new.example')")
		done = self.run_("lint", want=YES)
		self.assertIn("did not look for any", done.stderr)
		self.assertNotIn("not-in-table", done.stdout)

	def test_rows_that_no_change_was_logged_of(self):
		self.start_syncd()
		self.assertEqual(self.lint(want=YES)[0], [])
		self.db.ok("BEGIN; INSERT INTO cors.origins (realm, origin) VALUES ('it''s', 'https://silent.example'); "
		    "DELETE FROM cors.changes WHERE origin = 'https://silent.example'; COMMIT")
		findings, _ = self.lint(want=NO)
		self.assertEqual(self.keys(findings), [("not-in-table", "it's", "https://silent.example", "default")])
		mend = findings[0]["sql"]
		self.assertIn("cors.changes", mend)
		done = self.psql(mend, "postgres")
		self.assertEqual((done.returncode, done.stderr), (0, ""))
		eventually("found", lambda: self.run_("check", "--realm", "it's", "https://silent.example").returncode == YES)
		self.assertEqual(self.lint(want=YES)[0], [])

	def test_many_rows_take_no_time_to_speak_of(self):
		"""Quadratic would not end within the deadline."""
		self.db.ok(f"INSERT INTO cors.origins (realm, origin) SELECT 'r' || i % 10, 'https://h' || i || '.t' || i % 97 || '.example' FROM generate_series(1, {ROWS}) i; "
		    "INSERT INTO cors.origins (realm, origin) SELECT 'r' || j, 'https://*.t' || i || '.example' FROM generate_series(0, 48) i, generate_series(0, 9) j")
		findings, summary = self.lint(want=NO)
		self.assertEqual((len(findings), summary["rows"]), (sum(1 for i in range(1, ROWS + 1) if i % 97 < 49), ROWS + 490))


class TableAlone(Case):
	def test_without_a_database_it_says_so_and_looks_at_the_table(self):
		self.db.ok(POLICIES + "INSERT INTO cors.origins (origin, policy) VALUES ('https://*.co.uk', 'cred'), ('https://a.example', 'default')")
		self.start_syncd()
		away = ("-o", f"sync.conninfo=host={self.dir} password=secret")
		text = self.run_(*away, "lint", want=NO)
		self.assertIn("THE DATABASE WAS NOT READ", text.stderr)
		self.assertNotIn("secret", text.stderr + text.stdout)
		lines = [json.loads(line) for line in self.run_(*away, "--json", "lint", want=NO).stdout.splitlines()]
		self.assertEqual((lines[-1]["summary"], lines[-1]["whole"]), ("table", False))
		self.assertIn(("public-suffix-credentials", "", "https://*.co.uk", "cred"), self.keys(lines[:-1]))
		self.assertTrue(all(line["sql"] for line in lines[:-1]))
		self.db.ok("DELETE FROM cors.origins; DELETE FROM cors.policies WHERE name <> 'default'")
		eventually("gone", lambda: self.run_(*away, "lint").returncode == FAILED)	# nothing found is not clean

	def test_neither_table_nor_database_cannot_tell(self):
		self.run_("-o", f"sync.conninfo=host={self.dir}", "lint", want=FAILED)

	def test_a_table_from_a_file_is_all_there_is(self):
		self.run_("load", "-", stdin='{"origin":"https://a.example"}', want=YES)
		self.assertEqual(self.lint(want=YES)[1]["summary"], "table")
		self.run_("load", "-", stdin='{"origin":"https://a.example","allow":false}', want=YES)
		findings, summary = self.lint(want=NO)
		self.assertEqual((self.keys(findings), summary["whole"]), ([("refuses-nothing", "", "https://a.example", "default")], True))
		self.assertIsNone(findings[0]["sql"])
		self.run_("invalidate", "https://no.row.example", want=YES)	# is held, and is no row
		self.assertEqual(self.lint(want=NO)[1]["rows"], self.json("status")["table"]["rows"])


class Redundant(Case):
	"""Random small tables: without the rows that are said to have no effect every origin is answered as before."""
	HOSTS = ("a", "b.a", "c.b.a", "d.c.b.a", "x")
	ORIGINS = [f"https://{host}{port}" for host in (*HOSTS, "e.b.a", "e.a", "y.x") for port in ("", ":81", ":82")]

	def rows(self, rng):
		patterns = [f"https://{star}{host}{port}" for star in ("", "*.") for host in self.HOSTS for port in ("", ":81", ":*")] + ["*"]
		return {p: {"origin": p, "allow": rng.random() < 0.75, "policy": rng.choice(("default", "other")),
		    **({"expires_at": rng.choice(("2100-01-01T00:00:00Z", "2101-01-01T00:00:00Z"))} if rng.random() < 0.2 else {})}
		    for p in rng.sample(patterns, rng.randrange(2, 12))}

	def load(self, rows):
		self.run_("load", "-", stdin='{"policy":"other","methods":["PUT"]}\n' + "\n".join(map(json.dumps, rows)), want=YES)

	def answers(self):
		out = []
		for origin in self.ORIGINS:
			a = json.loads(self.run_("--json", "check", origin).stdout)
			out.append((origin, a["allowed"], a["policy"] if a["allowed"] else None))
		return out

	def test_what_has_no_effect_can_go(self):
		rng, removed = random.Random(3), 0
		for _ in range(40):
			rows = self.rows(rng)
			self.load(rows.values())
			gone = set()
			for f in self.lint()[0]:
				if f["finding"] in ("shadowed", "refuses-nothing"):
					gone.add(f["origin"])
				elif f["finding"] == "any-shadows":
					star = rows["*"]
					gone |= {p for p, r in rows.items() if p != "*" and r["allow"] and r["policy"] == star["policy"] and
					    ("expires_at" not in star or ("expires_at" in r and r["expires_at"] <= star["expires_at"]))}
			if not gone:
				continue
			before = self.answers()
			removed += len(gone)
			self.load(r for p, r in rows.items() if p not in gone)
			self.assertEqual(self.answers(), before, f"{list(rows.values())} without {gone}")
		self.assertGreater(removed, 20, "or this test shows nothing")


if __name__ == "__main__":
	os.environ["PGDATABASE"] = "lint"
	Cluster()
	bounds.main()

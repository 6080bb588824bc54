#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""cachectl without a daemon: every command, every exit status, what is printed; tables made by cachectl load."""

import fcntl
import glob
import json
import os
import pathlib
import pty
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
import bounds
SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
CACHECTL = pathlib.Path(os.environ.get("CORSCACHE_BUILD", ".")).resolve() / "cachectl" / "cachectl"
YES, NO, FAILED, MISUSED, ABSENT = 0, 1, 2, 64, 69
DEADLINE_S = 60

TABLE = r"""
{"policy":"api","methods":["PUT","GET"],"headers":["Content-Type"],"expose_headers":["ETag"],"credentials":true,"max_age":600}
{"origin":"https://app.example.com","policy":"api"}
{"origin":"https://*.wild.example"}
{"origin":"https://old.example.com","expires_at":"2020-01-01T00:00:00Z"}
{"origin":"https://later.example.com","expires_at":"2100-01-01T02:00:00+02:00"}
{"origin":"https://bad.wild.example","allow":false}

{"realm":"shop","origin":"https://shop.example:8443"}
{"realm":"\u00fcber 'x'","origin":"*"}
"""
ROWS = 7


class Case(unittest.TestCase):
	def setUp(self):
		self.dir = pathlib.Path(tempfile.mkdtemp(prefix="cachectl."))
		self.addCleanup(shutil.rmtree, self.dir)
		self.table = self.dir / "table"

	def run_(self, *args, stdin="", env=None, want=None):
		"""With this case's table; nobody listens on its control socket."""
		command = [CACHECTL, "--table", self.table, "-o", f"sync.control_socket={self.dir}/control.sock", *args]
		done = subprocess.run([str(c) if not isinstance(c, bytes) else c for c in command], input=stdin.encode(),
		    capture_output=True, timeout=DEADLINE_S, env={**os.environ, "TERM": "xterm", **(env or {})})
		done.out, done.err = done.stdout.decode("ascii"), done.stderr.decode("ascii")
		if want is not None:
			self.assertEqual(done.returncode, want, f"{args}: {done.out}{done.err}")
		return done

	def json(self, *args, want=YES):
		answer = json.loads(self.run_("--json", *args, want=want).out)
		self.assertEqual(answer["version"], 1)
		return answer

	def rows(self, *args):
		return [json.loads(line) for line in self.run_("list", "--json", *args, want=YES).out.splitlines()]

	def load(self, text=TABLE, want=YES):
		return self.run_("load", "-", stdin=text, want=want)


class Usage(Case):
	def test_help_lists_the_commands_and_explains_each(self):
		overview = self.run_("help", want=YES).out
		self.assertEqual(overview, self.run_("--help", want=YES).out)
		commands = re.findall(r"^  ([a-z]+) ", overview, re.MULTILINE)
		self.assertLessEqual({"status", "check", "list", "show", "stats", "invalidate", "resync", "verify", "load"},
		    set(commands))
		for name in set(commands) - {"help"}:
			text = self.run_(name, "--help", want=YES).out
			self.assertEqual(text, self.run_("help", name, want=YES).out)
			self.assertLess(text.index("examples:"), text.index("usage:"))
			self.assertIn(f"cachectl {name}" if name != "status" else "cachectl", text)

	def test_a_typo_is_answered_with_the_nearest_command(self):
		for typo, meant in (("chekc", "check"), ("lst", "list"), ("stat", "stat"), ("invalidat", "invalidate"),
		    ("verfy", "verify"), ("shw", "show"), ("lsit", "list"), ("staust", "status"), ("refusal", "refusals")):
			self.assertIn(f"did you mean {meant}", self.run_(typo, want=MISUSED).err)
		for word in ("frobnicate", "nope", "foo", "test", "add", "delete", "x", "origins"):
			for args in ([word], ["help", word]):
				self.assertNotIn("did you mean", self.run_(*args, want=MISUSED).err, word)
		self.assertIn(r"'\x1b[1m\xff'", self.run_(b"\x1b[1m\xff", want=MISUSED).err)

	def test_what_is_misused_is_64(self):
		for args in (["--nope"], ["list", "--nope"], ["check"], ["check", "a", "b"], ["status", "x"], ["help", "nope"],
		    ["check", "--actual", "--header", "x", "https://a.example"], ["invalidate"], ["show", "https://a.example/"],
		    ["invalidate", "--all", "https://a.example"], ["invalidate", "https://a.example/x"], ["load"],
		    ["-o", "nonsense", "status"], ["-o", "table.nope=1", "status"], ["-o", "sync.poll_ms=1", "status"],
		    ["check", "--realm", "a\nb", "https://a.example"], ["check", "--realm", "r" * 256, "https://a.example"]):
			self.assertNotEqual(self.run_(*args, want=MISUSED).err, "")

	def test_a_letter_that_is_no_option_is_named(self):
		for args in (["-x"], ["status", "-x"], ["status", "-qx"], ["status", "-xq"], ["-xq"], ["list", "--json", "-xq"]):
			self.assertIn("no option '-x'", self.run_(*args, want=MISUSED).err)
		for args, said in ((["-qc"], "-c needs a value"), (["list", "--realm"], "--realm needs"), (["--json=1"], "--json takes no")):
			self.assertIn(said, self.run_(*args, want=MISUSED).err)

	def test_what_is_never_json_refuses_to_be(self):
		for args in (["metrics"], ["config", "--sample"]):
			done = self.run_(*args, "--json", want=MISUSED)
			self.assertEqual((done.out, "--json has" in done.err or "--json have" in done.err), ("", True), done.err)

	def test_a_bad_configuration_is_named(self):
		file = self.dir / "x.conf"
		file.write_text("sync {\n\tpoll_ms = soon\n}\n")
		self.assertIn(f'{file}:2: sync.poll_ms: "soon"', self.run_("-c", file, "status", want=FAILED).err)

	def test_version(self):
		self.assertRegex(self.run_("--version", want=YES).out, r"^cachectl \d+\.\d+")


class NoTable(Case):
	def test_what_needs_a_table_cannot_tell(self):
		for args in ([], ["status"], ["check", "https://a.example"], ["list"], ["show", "https://a.example"], ["verify"],
		    ["invalidate", "https://a.example"], ["invalidate", "--all"], ["invalidate", "--all", "--dry-run"]):
			done = self.run_(*args, want=FAILED)
			self.assertIn(str(self.table), done.err)
			self.assertEqual(done.out, "")
		self.assertFalse(self.table.exists())

	def test_it_says_who_makes_a_table_and_where(self):
		for args in ([], ["list"], ["dump"]):
			err = self.run_(*args, want=FAILED).err
			for word in ("start corscache-syncd", "cachectl load", str(self.table), "table.path", "--table"):
				self.assertIn(word, err)

	def test_counters_of_nobody_are_zero(self):
		self.assertEqual(set(self.json("stats")["counters"].values()), {0})

	def test_a_table_not_published_yet_is_no_answer(self):
		self.load('{"origin":"no"}', want=FAILED)
		self.assertFalse(self.json("status", want=NO)["table"]["ready"])
		self.assertEqual(self.json("check", "https://a.example", want=FAILED)["reason"], "not-ready")
		self.run_("list", want=FAILED)

	def test_daemons_that_are_absent_are_69(self):
		self.run_("resync", want=ABSENT)

	def test_no_command_survives_only_by_luck(self):
		"""Bytes of the files changed at random: an answer or an error, never a crash."""
		rng = random.Random(7)
		self.load()
		good = {f: pathlib.Path(f).read_bytes() for f in glob.glob(f"{self.table}/**", recursive=True) if os.path.isfile(f)}
		for _ in range(60):
			for name, content in good.items():
				data = bytearray(content)
				for _ in range(rng.choice((1, 20, 2000)) if data else 0):
					data[rng.randrange(len(data))] = rng.randrange(256)
				pathlib.Path(name).write_bytes(data)
			for args in (["status"], ["list"], ["list", "--policies"], ["check", "https://app.example.com"],
			    ["show", "https://app.example.com"]):
				self.assertIn(self.run_(*args).returncode, (YES, NO, FAILED), args)

	def test_a_directory_of_something_else_is_refused(self):
		(self.table / "v1").mkdir(parents=True)
		for name in ("table", "ctl", "0"):
			(self.table / "v1" / name).write_bytes(b"not a table" * 1000)
		self.run_("status", want=FAILED)
		self.run_("list", want=FAILED)


class Load(Case):
	def test_a_file_is_the_table(self):
		self.assertIn(f"loaded {ROWS} rows", self.load().out)
		rows = {(r["realm"], r["origin"]): r for r in self.rows()}
		self.assertEqual(len(rows), ROWS)
		self.assertEqual(rows["", "https://app.example.com"]["policy"], "api")
		self.assertEqual(rows["", "https://later.example.com"]["expires_at"], "2100-01-01T00:00:00Z")
		self.assertTrue(rows["", "https://old.example.com"]["expired"])
		self.assertFalse(rows["", "https://bad.wild.example"]["allow"])
		self.assertIn(("\u00fcber 'x'", "*"), rows)

	def test_the_next_file_replaces_it_whole(self):
		self.load()
		file = self.dir / "next.jsonl"
		file.write_text('{"origin":"https://only.example"}')
		self.assertEqual(self.json("load", file)["rows"], 1)
		self.assertEqual([r["origin"] for r in self.rows()], ["https://only.example"])
		self.assertEqual(self.json("status")["table"]["source"], f"file {file}"[:127])

	def test_a_file_of_nothing_empties_no_table(self):
		self.load()
		for nothing in ("", "\n \n"):
			self.assertIn("nothing in it", self.load(nothing, want=FAILED).err)
		self.assertEqual(len(self.rows()), ROWS)

	def test_the_default_policy_is_that_of_the_schema(self):
		self.load('{"policy":"default"}')
		policy = json.loads(self.run_("list", "--policies", "--json", want=YES).out)
		self.assertEqual((policy["policy"], policy["methods"], policy["headers"], policy["credentials"], policy["max_age"]),
		    ("default", ["GET", "HEAD", "POST"], [], False, None))
		self.load('{"policy":"default","methods":["PUT"]}')
		self.assertIn("PUT", json.loads(self.run_("list", "--policies", "--json", want=YES).out)["methods"])

	def test_what_the_database_would_refuse_is_refused_by_line(self):
		secure = '{"policy":"p","credentials":true}\n'
		insecure = '{"policy":"p","credentials":true,"insecure":true}\n'
		for text, words in (
		    ('{"origin":"https://a.example/"}', ("1:", "'https://a.example/'", "slash")),
		    ('\n\n{"origin":"null"}', ("3:", "'null'")),
		    ('{"origin":"https://a.example"}\n{"origin":"https://a.example"}', ("2:", "twice")),
		    ('{"origin":"https://a.example","policy":"nope"}', ("1:", "'nope'")),
		    ('{"origin":"https://a.example","polcy":"x"}', ("1:", "polcy")),
		    ('{"origin":"https://a.example","allow":1}', ("1:", "allow")),
		    ('{"origin":"https://a.example","expires_at":"tomorrow"}', ("1:", "'tomorrow'")),
		    ('{"origin":"https://a.example","expires_at":"2026-12-31"}', ("1:", "2026-12-31")),
		    ('{"origin":"https://a.example","expires_at":7}', ("1:", "expires_at")),
		    ('{"origin":"https://a.example","realm":"a\\nb"}', ("1:", "realm")),
		    ('{"origin":"https://\\u001b[1m"}', ("1:", r"\x1b[1m")),
		    ('{"origin":1}', ("1:", "origin")),
		    ('{"note":"x"}', ("1:", "neither")),
		    ('[1]', ("1:", "object")),
		    ('{"origin":', ("1:",)),
		    ('{"origin":"https://a.example","origin":"https://b.example"}', ("1:", "uplicate")),
		    ('{"policy":"p","methods":["TRACE"]}', ("1:", "'p'", "TRACE")),
		    ('{"policy":"p","methods":"GET"}', ("1:", "methods")),
		    ('{"policy":"p","headers":["a b"]}', ("1:", "'a b'")),
		    ('{"policy":"p","max_age":86401}', ("1:", "max_age")),
		    ('{"policy":"p","max_age":-1}', ("1:", "max_age")),
		    ('{"policy":"p"}\n{"policy":"p"}', ("2:", "twice")),
		    ('{"policy":"p","allow":true}', ("1:", "allow")),
		    (secure + '{"origin":"*","policy":"p"}', ("2:", "'*'")),
		    (insecure + '{"origin":"*","policy":"p"}', ("2:", "'*'")),
		    (secure + '{"origin":"http://a.example","policy":"p"}', ("2:", "http")),
		    (secure + '{"origin":"https://*.co.uk","policy":"p"}', ("2:", "public suffix")),
		):
			self.load()
			done = self.load(text, want=FAILED)
			for word in ("stdin:", *words):
				self.assertIn(word, done.err, text)
			self.assertEqual(len(self.rows()), ROWS, "the old table stays")

	def test_what_the_database_would_take_is_taken(self):
		self.load('{"policy":"p","credentials":true,"insecure":true}\n{"policy":"q","credentials":true}\n'
		    '{"origin":"http://a.example","policy":"p"}\n{"origin":"https://*.co.uk","policy":"p"}\n'
		    '{"origin":"http://localhost:*","policy":"q"}\n{"origin":"*","allow":false,"policy":"q"}\n')
		self.assertEqual({r["origin"]: r["public_suffix"] for r in self.rows()},
		    {"http://a.example": False, "https://*.co.uk": True, "http://localhost:*": False, "*": False})

	def test_files_that_are_none(self):
		self.assertIn("No such file", self.run_("load", self.dir / "nope", want=FAILED).err)
		self.run_("load", self.dir, want=FAILED)

	def test_it_refuses_beside_a_living_writer(self):
		self.load()
		reader, writer = os.pipe()
		with subprocess.Popen([CACHECTL, "--table", self.table, "load", "-"], stdin=reader, stdout=subprocess.PIPE,
		    stderr=subprocess.PIPE) as first:
			try:
				os.close(reader)
				while not self.json("status", want=None)["table"]["writer_alive"]:
					self.assertIsNone(first.poll())
				self.load(want=ABSENT)
				self.assertEqual(self.run_("invalidate", "--all").returncode, FAILED)
				os.write(writer, b'{"policy":"default"}')
			finally:
				os.close(writer)
				first.communicate(timeout=DEADLINE_S)
		self.assertEqual(first.returncode, YES)


class Dump(Case):
	EVERYTHING = r"""
{"policy":"api","methods":["PUT","GET"],"headers":["*","Authorization"],"expose_headers":["ETag"],"credentials":true,"max_age":600}
{"policy":"any","methods":["*"],"headers":["*"],"expose_headers":["*"],"max_age":0,"insecure":true}
{"origin":"https://app.example.com","policy":"api"}
{"origin":"https://*.wild.example"}
{"origin":"https://old.example.com","expires_at":"2020-01-01T00:00:00Z"}
{"origin":"https://bad.wild.example","allow":false,"policy":"api"}
{"origin":"https://*.co.uk","policy":"api","unsafe":true}
{"realm":"\u00fcber 'x'\\","origin":"*"}
"""

	def setUp(self):
		super().setUp()
		self.load(self.EVERYTHING)
		self.run_("invalidate", "https://app.example.com", "https://new.wild.example", want=YES)	# a row, and none

	def dump(self, *args):
		return sorted(self.run_("dump", *args, want=YES).out.splitlines())

	def test_what_is_dumped_can_be_loaded(self):
		first, first_json = self.dump(), self.dump("--json")
		for form in ([], ["--json"]):
			text = self.run_("dump", *form, want=YES).out
			shutil.rmtree(self.table)
			self.load(text)
			self.assertEqual((self.dump(), self.dump("--json")), (first, first_json))
			self.assertEqual(self.json("check", "https://app.example.com", want=NO)["reason"], "invalidated")
			self.assertEqual(self.json("check", "https://new.wild.example", want=NO)["reason"], "invalidated")
			self.assertEqual(self.json("check", "https://a.co.uk", want=NO)["reason"], "row-unsafe")
			self.assertEqual(self.json("status")["sync"]["held"], 2)
		self.load("\n".join(first))		# also when it was sorted

	def test_the_columns_are_what_the_manual_says(self):
		lines = {tuple(line.split("\t")) for line in self.dump()}
		self.assertEqual({len(line) for line in lines}, {8, 9})
		self.assertLessEqual({("policy", "api", "GET,PUT", "authorization,*", "etag", "yes", "600", "no"),
		    ("policy", "any", "*", "*", "*", "no", "0", "yes"), ("row", "", "https://app.example.com", "api", "yes", "", "yes", "no", "no"),
		    ("row", "", "https://new.wild.example", "", "no", "", "yes", "no", "no"),
		    ("row", "", "https://old.example.com", "default", "yes", "2020-01-01T00:00:00Z", "no", "no", "no"),
		    ("row", "", "https://*.co.uk", "api", "yes", "", "no", "yes", "no"),
		    ("row", r"\xc3\xbcber 'x'\\", "*", "default", "yes", "", "no", "no", "no")}, lines)

	def test_json_has_its_version_and_policies_come_first(self):
		lines = [json.loads(line) for line in self.run_("dump", "--json", want=YES).out.splitlines()]
		self.assertEqual({line["version"] for line in lines}, {1})
		self.assertEqual(["origin" in line for line in lines], [False] * 3 + [True] * 7)

	def test_lines_that_are_none_are_named(self):
		good = "row\t\thttps://a.example\tdefault\tyes\t\tno\tno"
		self.load(good)
		for text, word in ((good + "\tno\tx", "8 or 9 fields"), (good[:-3], "8 or 9 fields"), (good.replace("yes", "maybe"), "'maybe'"),
		    (good.replace("\t\tno", "\tsoon\tno"), "'soon'"), (good.replace("a.ex", r"a\q.ex"), "backslash"),
		    ("policy\tp\tGET\t\t\tno\t1e3\tno", "'1e3'"), ("rows\t", "JSON" if False else "stdin:1"),
		    (good.replace("default", ""), "policy"), ('{"version":2,"origin":"https://a.example"}', "newer")):
			self.assertIn(word, self.load(text, want=FAILED).err, text)

	def test_a_dump_of_everything_held_says_what_it_lacks(self):
		self.run_("invalidate", "--all", want=YES)
		self.assertIn("--all is in force", self.run_("dump", want=YES).err)


class Check(Case):
	def setUp(self):
		super().setUp()
		self.load()

	def check(self, origin, *args, want=YES):
		return self.json("check", origin, *args, want=want)

	def test_an_allowed_preflight(self):
		a = self.check("https://app.example.com", "--method", "PUT", "--header", "Content-Type")
		self.assertEqual((a["class"], a["allowed"], a["reason"], a["row"], a["policy"], a["next"]),
		    ("preflight", True, "allowed", "https://app.example.com", "api", None))
		self.assertIn("Access-Control-Allow-Origin: https://app.example.com", a["headers"])
		self.assertIn("Access-Control-Max-Age: 600", a["headers"])
		text = self.run_("check", "https://app.example.com", "--preflight", want=YES).out
		self.assertRegex(text, r"(?m)^  Access-Control-Allow-Credentials: true$")

	def test_an_allowed_actual_request(self):
		for args in ([], ["--actual", "--method", "DELETE"]):
			a = self.check("https://x.y.wild.example", *args)
			self.assertEqual((a["class"], a["row"]), ("actual", "https://*.wild.example"))
		self.assertIn("Access-Control-Expose-Headers: etag", [h.lower().replace("access-control-expose-headers",
		    "Access-Control-Expose-Headers") for h in self.check("https://app.example.com")["headers"]])

	def test_each_refusal_says_why_and_what_to_do(self):
		self.load(TABLE + '{"origin":"https://*.github.io","policy":"api","unsafe":true}\n{"origin":"https://*.deny.example","allow":false}\n')
		app = "https://app.example.com"
		for origin, args, reason, row, following in (
		    ("https://nope.example", [], "origin-unknown", None, "SELECT cors.allow('https://nope.example', '')"),
		    (app, ["--realm", "it's"], "realm-unknown", None, "the realm '' allows it: ask with that realm"),
		    ("https://nope.example", ["--realm", "it's"], "realm-unknown", None,
		        "SELECT cors.allow('https://nope.example', 'it''s'); -- the first row of that realm"),
		    ("https://nope.example", ["--method", "PUT", "--header", "content-type"], "origin-unknown", None,
		        "SELECT cors.allow('https://nope.example', ''); -- no policy without credentials"),
		    ("https://app.example.com:8443", ["--method", "PUT", "--header", "content-type"], "origin-unknown", None,
		        "SELECT cors.allow('https://app.example.com:8443', '', 'api');"),
		    ("https://nope.example", ["--method", "PATCH"], "origin-unknown", None, "cors.allow('https://nope.example', ''); -- no policy"),
		    ("https://old.example.com", [], "row-expired", None,
		        "UPDATE cors.origins SET expires_at = now() + interval '1 day' WHERE realm = '' AND origin = 'https://old.example.com'"),
		    ("https://a.github.io", [], "row-unsafe", None,
		        "SELECT cors.allow('https://a.github.io', '');"),
		    ("https://x.deny.example", [], "row-refuses", "https://*.deny.example", 
		        "SELECT cors.allow('https://x.deny.example', '', expires => now() + interval '1 day'); -- it is refused on purpose"),
		    (app, ["--header", "Cookie"], "header", app, "no browser lets a script set"),
		    ("https://bad.wild.example", [], "row-refuses", "https://bad.wild.example",
		        "UPDATE cors.origins SET allow = true, expires_at = now() + interval '1 day' WHERE realm = '' AND origin = 'https://bad.wild.example'"),
		    (app, ["--method", "PATCH"], "method", app, "methods = methods || 'PATCH'::text WHERE name = 'api'"),
		    (app, ["--method", "get"], "method", app, "browsers never send this: they write the method in capitals"),
		    (app, ["--method", "patch"], "method", app, "methods = methods || 'patch'::text WHERE name = 'api'"),
		    (app, ["--method", "TRACE"], "method-forbidden", None, None),
		    (app, ["--header", "x-foo"], "header", app, "headers = headers || 'x-foo'::text WHERE name = 'api'"),
		    (app, ["--header", "a b"], "headers-malformed", None, None),
		    (app, ["--header", "x" * 5000], "headers-too-long", None, None),
		    (app, ["--header", "x" * 9000, "--header", "y", "--header", "z"], "headers-too-long", None, None),
		    ("null", [], "origin-null", None, None),
		    ("https://app.example.com/", [], "origin-malformed", None, "slash"),
		    ("", [], "not-cors", None, None),
		):
			a = self.check(origin, *args, want=NO)
			self.assertEqual(a["reason"], reason)
			self.assertFalse(a["allowed"])
			if row is not None or reason in ("origin-unknown", "row-expired"):
				self.assertEqual(a["row"], row, reason)
			if following is not None:
				self.assertIn(following, a["next"])

	def test_rows_that_nearly_match_are_named(self):
		for origin, args, row, why in (
		    ("http://app.example.com", [], "https://app.example.com", "scheme"),
		    ("https://app.example.com:8443", [], "https://app.example.com", "port"),
		    ("https://www.app.example.com", [], "https://app.example.com", "www."),
		    ("https://wild.example", [], "https://*.wild.example", "below"),
		    ("https://old.example.com", [], "https://old.example.com", "expired"),
		    ("https://shop.example:8443", [], "https://shop.example:8443", "another realm"),
		):
			near = self.check(origin, *args, want=NO)["near"]
			self.assertIn((row, True), [(n["row"], why in n["why"]) for n in near])
		self.assertEqual(self.check("https://nothing.test", want=NO)["near"], [])

	def test_a_stale_table_refuses(self):
		stale = ("-o", "responder.max_stale_s=1")
		deadline = time.monotonic() + DEADLINE_S
		while self.run_(*stale, "check", "https://app.example.com").returncode == YES:
			self.assertLess(time.monotonic(), deadline)
		self.assertEqual(self.check("https://app.example.com", *stale, want=NO)["reason"], "stale")
		self.assertIn("max_stale_s", self.json("status", *stale, want=NO)["problems"][0])
		self.check("https://app.example.com")

	def test_strangers_bytes_are_escaped(self):
		done = self.run_("check", b"https://a\x1b[31m\xff\\", want=NO)
		self.assertIn(r"https://a\x1b[31m\xff" + "\\\\", done.out)
		done = self.run_("--json", "check", b"https://a\x1b[31m\xff", want=NO)
		self.assertEqual(json.loads(done.out)["origin"], "https://a\x1b[31m\ufffd")

	def test_quiet_says_nothing_but_the_status(self):
		for origin, want in (("https://app.example.com", YES), ("https://nope.example", NO)):
			done = self.run_("-q", "check", origin, want=want)
			self.assertEqual((done.out, done.err), ("", ""))


class Reading(Case):
	def setUp(self):
		super().setUp()
		self.load()

	def test_list_takes_a_glob_and_a_realm(self):
		self.assertEqual({r["origin"] for r in self.rows("*.wild.*")}, {"https://*.wild.example", "https://bad.wild.example"})
		self.assertEqual([r["origin"] for r in self.rows("--realm", "shop")], ["https://shop.example:8443"])
		for args in (["--realm", "nope"], ["nope*"], ["--policies", "nope"]):
			done = self.run_("list", *args, want=NO)
			self.assertEqual(done.out, "")
			self.assertRegex(done.err, "no (row|policy)")
			self.assertEqual(self.run_("list", "-q", *args, want=NO).err, "")
		self.assertEqual(len(self.rows("--realm", "")), ROWS - 2)
		text = self.run_("list", want=YES).out
		self.assertEqual(len(text.splitlines()), ROWS)
		self.assertIn(r"realm=\xc3\xbcber 'x'", text)
		self.assertIn("policy api", self.run_("list", "--policies", "a*", want=YES).out)

	def test_a_plain_list_has_every_column_in_every_line(self):
		lines = [line.split("\t") for line in self.run_("--plain", "list", want=YES).out.splitlines()]
		self.assertEqual({len(line) for line in lines}, {6})
		self.assertLessEqual({("https://later.example.com", "allow", "default", "", "2100-01-01T00:00:00Z", ""),
		    ("https://bad.wild.example", "refuse", "default", "", "", ""),
		    ("https://shop.example:8443", "allow", "default", "shop", "", "")}, {tuple(line) for line in lines})

	def test_check_tells_when_the_row_expires(self):
		self.assertEqual(self.json("check", "https://later.example.com")["expires_at"], "2100-01-01T00:00:00Z")
		self.assertIsNone(self.json("check", "https://app.example.com")["expires_at"])
		self.assertIsNone(self.json("check", "https://nope.example", want=NO)["expires_at"])

	def test_figures_of_no_table_are_called_so(self):
		for args, want in ((["stats"], YES), (["refusals"], NO)):
			self.assertIn("there is no table in", self.run_("--table", self.dir / "nope", *args, want=want).err)
			self.assertNotIn("there is no table", self.run_(*args, want=want).err)

	def test_show_is_one_row_and_its_policy(self):
		row = self.json("show", "https://app.example.com")
		self.assertEqual(row["policy_contents"]["methods"], ["GET", "PUT"])
		self.assertEqual(self.json("show", "*", "--realm", "\u00fcber 'x'")["origin"], "*")
		self.assertIn("credentials    yes", self.run_("show", "https://app.example.com", want=YES).out)
		self.run_("show", "https://x.wild.example", want=NO)

	def test_show_does_not_hide_that_a_row_answers_nothing(self):
		self.assertIs(self.json("show", "https://app.example.com")["unsafe"], False)
		self.load('{"policy":"c","credentials":true}\n{"origin":"https://*.co.uk","policy":"c","unsafe":true}\n')
		self.assertEqual(self.json("check", "https://x.co.uk", want=NO)["reason"], "row-unsafe")
		self.assertIs(self.json("show", "https://*.co.uk")["unsafe"], True)
		self.assertIn("answers nothing", self.run_("show", "https://*.co.uk", want=YES).out)
		self.run_("show", "https://app.example.com", "--realm", "shop", want=NO)

	def test_status_of_a_loaded_table_is_healthy(self):
		s = self.json("status")
		self.assertTrue(s["healthy"])
		self.assertEqual((s["table"]["rows"], s["table"]["policies"], s["sync"]["snapshot_rows"]), (ROWS, 2, ROWS))
		names = re.findall(r"STATUS\((\w+),", (SOURCE / "lib/status.def").read_text())
		self.assertEqual(sorted(s["sync"]), sorted(n for n in names if n != "name"))
		self.assertTrue(self.run_(want=YES).out.startswith("healthy\n"))

	def test_stats_show_zeros_and_take_a_glob(self):
		counters = self.json("stats")["counters"]
		for name in re.findall(r"COUNTER\((\w+),", (SOURCE / "lib/counters.def").read_text()):
			self.assertIn(name, {**counters, "name": 0})
		self.assertEqual(set(self.json("stats", "preflights_*")["counters"]), {"preflights_allowed", "preflights_refused"})
		self.assertRegex(self.run_("stats", "reason.origin-null", want=YES).out, r"^reason\.origin-null +0 ")
		self.run_("stats", "nope", want=NO)

	def test_colours_only_where_the_terminal_wants_them(self):
		def on_terminal(*args, **env):
			master, slave = pty.openpty()
			done = subprocess.run([CACHECTL, "--table", self.table, *args], stdout=slave, timeout=DEADLINE_S,
			    env={**os.environ, "TERM": "xterm", "NO_COLOR": "", **env})
			os.close(slave)
			fcntl.fcntl(master, fcntl.F_SETFL, os.O_NONBLOCK)
			text = os.read(master, 65536)
			os.close(master)
			self.assertEqual(done.returncode, YES)
			return b"\x1b[" in text
		self.assertTrue(on_terminal("status"))
		self.assertFalse(on_terminal("status", NO_COLOR="1"))
		self.assertFalse(on_terminal("status", TERM="dumb"))
		self.assertFalse(on_terminal("status", "--no-color"))
		self.assertNotIn("\x1b", self.run_("status").out)

	def test_a_hundred_thousand_rows_stream(self):
		n = 100000
		self.load("".join(f'{{"origin":"https://h{i}.t{i % 97}.example"}}\n' for i in range(n)))
		with subprocess.Popen([CACHECTL, "--table", self.table, "list", "--json"], stdout=subprocess.PIPE) as listing:
			seen, peak = set(), 0
			for line in listing.stdout:
				row = json.loads(line)
				self.assertEqual(row["version"], 1)
				seen.add(row["origin"])
				if len(seen) == n // 2:
					peak = int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{listing.pid}/status").read_text())[1])
		self.assertEqual((listing.returncode, len(seen)), (YES, n))
		if b"__asan_init" not in CACHECTL.read_bytes():		# which keeps what is freed
			self.assertLess(peak, 64 * 1024, "kB: it holds the listing instead of streaming it")

	def test_a_full_disk_is_an_error(self):
		with open("/dev/full", "wb") as full:
			done = subprocess.run([CACHECTL, "--table", self.table, "list"], stdout=full, stderr=subprocess.PIPE,
			    timeout=DEADLINE_S)
		self.assertEqual(done.returncode, FAILED)
		self.assertIn(b"No space left", done.stderr)


class Invalidate(Case):
	def setUp(self):
		super().setUp()
		self.load()

	def allowed(self, origin, *args):
		return self.run_("check", origin, *args).returncode == YES

	def test_without_a_daemon_it_is_done_right_here(self):
		done = self.run_("invalidate", "https://app.example.com", "https://x.wild.example", want=YES)
		self.assertRegex(done.out, "refused 2 entries, by cachectl itself")
		self.assertEqual(self.json("check", "https://app.example.com", want=NO)["reason"], "invalidated")
		self.assertFalse(self.allowed("https://x.wild.example"))	# it has no row of its own
		self.assertTrue(self.allowed("https://y.wild.example"))
		self.assertTrue(self.json("show", "https://app.example.com")["held"])
		self.assertEqual(self.json("status")["sync"]["invalidations"], 2)

	def test_status_tells_how_many_are_held(self):
		for args, held in ((["https://app.example.com"], 1), (["https://app.example.com", "https://x.wild.example"], 2),
		    (["--realm", "shop"], 3), (["--realm", "shop"], 3)):
			self.run_("invalidate", *args, want=YES)
			self.assertEqual((self.json("status")["sync"]["held"], args), (held, args))
		self.assertIn("corscache_sync_held 3\n", self.run_("metrics", want=YES).out)
		self.run_("invalidate", "--all", want=YES)
		self.run_("invalidate", "https://app.example.com", want=YES)
		status = self.json("status", want=NO)
		self.assertEqual(status["sync"]["held"], status["table"]["rows"])
		self.load()
		self.assertEqual(self.json("status")["sync"]["held"], 0)

	def test_a_pattern_and_a_realm(self):
		self.assertEqual(self.json("invalidate", "https://*.wild.example"), {"version": 1, "entries": 1, "dry_run": False, "by": "cachectl"})
		self.assertFalse(self.allowed("https://y.wild.example"))
		self.assertTrue(self.allowed("https://shop.example:8443", "--realm", "shop"))
		self.assertEqual(self.json("invalidate", "--realm", "shop")["entries"], 1)
		self.assertFalse(self.allowed("https://shop.example:8443", "--realm", "shop"))
		self.assertTrue(self.allowed("https://app.example.com"))

	def test_everything_until_the_next_table(self):
		self.run_("invalidate", "--all", want=YES)
		self.assertFalse(self.allowed("https://app.example.com"))
		self.assertFalse(self.json("status", want=NO)["healthy"])
		self.load()
		self.assertTrue(self.allowed("https://app.example.com"))

	def test_a_dry_run_changes_nothing(self):
		for args, entries in ((["https://app.example.com", "https://nope.example"], 1), (["--realm", "shop"], 1), (["--all"], ROWS)):
			answer = self.json("invalidate", "--dry-run", *args)
			self.assertEqual((answer["entries"], answer["dry_run"]), (entries, True))
		self.assertTrue(self.allowed("https://app.example.com"))
		self.assertEqual(self.json("status")["sync"]["invalidations"], 0)

	def test_a_typo_is_not_taken_for_a_revocation(self):
		for args in (["--realm", "shpo"], ["https://*.wlid.example"]):
			for options in ([], ["--dry-run"]):
				done = self.run_("invalidate", *options, *args, want=NO)
				self.assertIn(" 0 entries", done.out)
				self.assertIn("a typo?", done.err)
		self.run_("invalidate", "https://no.row.of.its.own.example", want=YES)

	def test_all_is_asked_about_on_a_terminal(self):
		for typed, want, allowed in ((b"n\n", NO, True), (b"\n", NO, True), (b"yes\n", YES, False)):
			master, slave = pty.openpty()
			os.write(master, typed)
			done = subprocess.run([CACHECTL, "--table", self.table, "-o", f"sync.control_socket={self.dir}/none", "invalidate",
			    "--all"], stdin=slave, capture_output=True, timeout=DEADLINE_S)
			os.close(slave)
			os.close(master)
			self.assertIn(b"[y/N]", done.stderr)
			self.assertEqual((done.returncode, self.allowed("https://app.example.com")), (want, allowed))
		self.load()
		self.run_("invalidate", "--all", "--yes", want=YES)


class Config(Case):
	SECRETS = ("hidden1", "hid den2", "hidden3")

	def settings(self, *args):
		return {s["name"]: s for s in self.json(*args, "config")["settings"]}

	def test_each_setting_has_value_default_and_source(self):
		file = self.dir / "x.conf"
		file.write_text("# mine\nsync {\n\tpoll_ms = 77\n\tkeep_s = 700 }\nresponder {\n\n\tthreads = 3\n}\n")
		s = self.settings("-c", file, "-o", "responder.threads=4")
		names = re.findall(r"(?m)^OPTION\((\w+), (\w+),.*, (yes|no),$", (SOURCE / "lib/options.def").read_text())
		self.assertEqual({n: v["change_needs"] == "reload" for n, v in s.items()},
		    {f"{section}.{name}": reload == "yes" for section, name, reload in names})
		pick = lambda name: [s[name][k] for k in ("value", "default", "source", "line")]	# noqa: E731
		self.assertEqual(pick("sync.poll_ms"), [77, 1000, "file", 3])
		self.assertEqual(pick("sync.keep_s"), [700, 86400, "file", 4])
		self.assertEqual(pick("responder.threads"), [4, 2, "command line", None])
		self.assertEqual(pick("table.path"), [str(self.table), "/run/corscache", "command line", None])
		self.assertEqual(pick("responder.backlog"), [1024, 1024, "default", None])
		self.assertEqual(self.json("-c", file, "config")["file"], str(file))
		text = self.run_("-c", file, "config", "sync.poll_ms", want=YES).out
		self.assertEqual(text.split(), ["sync.poll_ms", "reload", f"{file}:3", "77", "(default:", "1000)"])
		self.assertEqual(self.run_("-c", file, "--plain", "config", "sync.poll_ms", want=YES).out,
		    f"sync.poll_ms\treload\t{file}:3\t1000\t77\n")
		self.assertIn("did you mean sync.poll_ms?", self.run_("config", "sync.pol_ms", want=NO).err)

	def test_passwords_are_never_shown(self):
		for conninfo in ("host=db user=u password=hidden1", "host=db password='hid den2' sslpassword=hidden3",
		    "postgresql://u:hidden1@db/x?sslpassword=hidden3", "postgresql://db/x?password=hidden1", "password = hidden1",
		    "host=db password=hidden1 hid den2", "postgresql://u:hidden1@[db/x", "password='hidden1"):
			for args in (["config"], ["--json", "config"], ["--plain", "config"], ["verify"], ["lint"]):
				done = self.run_("-o", f"sync.conninfo={conninfo}", *args)
				for secret in (*self.SECRETS, "den2"):
					self.assertNotIn(secret, done.out + done.err, (conninfo, args))
		s = self.settings("-o", "sync.conninfo=postgresql://u:hidden1@db:7/x")
		self.assertEqual(s["sync.conninfo"]["value"], "user=u password=**** dbname=x host=db port=7")


class Words(Case):
	def test_the_sample_file_is_accepted_also_without_its_comments(self):
		file = self.dir / "x.conf"
		sample = self.run_("config", "--sample").out
		for text in (sample, re.sub(r"(?m)^\t#(\w+ = )", r"\t\1", sample)):
			file.write_text(text)
			done = self.run_("-c", file, "status", want=FAILED)
			self.assertIn("no table", done.err)

	def test_the_manuals_are_clean(self):
		if not shutil.which("mandoc"):
			self.skipTest("mandoc is not installed")
		pages = sorted((SOURCE / "doc/man").iterdir())
		done = subprocess.run(["mandoc", "-T", "lint", *pages], capture_output=True, text=True, timeout=DEADLINE_S)
		# Our own pages refer to each other before they are installed.
		said = [line for line in done.stdout.splitlines() if "referenced manual not found" not in line]
		self.assertEqual(said, [])

	def test_the_manual_has_every_finding(self):
		page = (SOURCE / "doc/man/cachectl.1").read_text()
		rows = re.findall(r'^FINDING\(\w+,\s*"([\w-]+)",\s*(\w+),', (SOURCE / "cachectl/lint.def").read_text(), re.MULTILINE)
		self.assertEqual(re.findall(r"(?m)^\.It Cm ([\w-]+) Pq (\w+)$", page), [(token, severity.lower()) for token, severity in rows])

	def test_the_manual_has_every_command_and_option(self):
		page = (SOURCE / "doc/man/cachectl.1").read_text()
		for name in re.findall(r"^  ([a-z]+) ", self.run_("help").out, re.MULTILINE):
			self.assertRegex(page, rf"(?m)^\.It Cm {name}\b", name)
			for flag in re.findall(r"--([a-z-]+)", self.run_("help", name).out.split("options:")[-1]):
				self.assertIn(f"Fl -{flag}", page, f"{name} --{flag}")


if __name__ == "__main__":
	bounds.main()

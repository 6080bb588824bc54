#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
watch -- what an operator sees: refusals by reason and by origin, metrics, rates
and the live screen, each compared with the requests that were sent. The
responder is real, tables are made by cachectl load; Prometheus' own promtool
judges metrics and alerts, tmux is the terminal.
"""

import json
import os
import pathlib
import pty
import random
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
import unittest

import bounds
import fcgi
import harness

SOURCE = harness.SOURCE
BUILD = pathlib.Path(os.environ.get("CORSCACHE_BUILD", ".")).resolve()
for tool in "promtool", "tmux":
	if not shutil.which(tool):
		harness.skip(f"{tool} is not installed")
for built in "cachectl/cachectl", "corscache-responder":
	if not (BUILD / built).is_file():
		harness.skip(f"{BUILD / built} is not built")

LONG = "x" * 300
TABLE = """\
{"policy":"api","methods":["GET","PUT"],"headers":["x-a"],"credentials":true}
{"origin":"https://a.example","policy":"api"}
{"origin":"https://refused.example","allow":false}
{"origin":"https://expired.example","expires_at":"2020-01-01T00:00:00Z"}
{"origin":"https://*.co.uk","policy":"api","unsafe":true}
{"origin":"https://held.example"}
{"origin":"https://s.example","realm":"shop"}
"""
A, EVIL = "https://a.example", "https://evil.example"


def actual(origin=A, *more):
	return [("REQUEST_METHOD", "GET"), ("HTTP_ORIGIN", origin), *more]


def preflight(method="PUT", headers="x-a", *more, origin=A):
	return [("REQUEST_METHOD", "OPTIONS"), ("HTTP_ORIGIN", origin), ("HTTP_ACCESS_CONTROL_REQUEST_METHOD", method),
	    ("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", headers), *more]


def realm(name):
	return ("CORS_REALM", name)


# Of a sound table: reason -> the requests that have it.
REQUESTS = {
	"allowed": [actual(), preflight(), actual("https://s.example", realm("shop"))],
	"not-cors": [[("REQUEST_METHOD", "GET")], [("REQUEST_METHOD", "POST"), realm("shop")]],
	"origin-malformed": [actual(A + "/"), actual("https://\x1b[31mred.example"), preflight(origin="evil")],
	"origin-repeated": [actual(A, ("HTTP_ORIGIN", A)), actual(A, ("HTTP_ORIGIN", EVIL))],
	"origin-null": [actual("null")],
	"origin-unknown": [actual(EVIL), preflight(origin=EVIL), actual(A, realm("shop")), actual("https://" + LONG[:60] + ".example")],
	"realm-unknown": [actual(A, realm("nobody")), preflight("PUT", "x-a", realm("nobody"))],
	"realm-malformed": [actual(A, realm("a"), realm("b")), actual(A, realm("a\tb")), actual(A, realm(LONG))],
	"row-refuses": [actual("https://refused.example")],
	"row-expired": [actual("https://expired.example")],
	"row-unsafe": [actual("https://x.co.uk")],
	"revoked": [actual("https://revoked.example"), preflight(origin="https://revoked.example")],
	"invalidated": [actual("https://held.example"), preflight(origin="https://held.example")],
	"method-malformed": [preflight("P T"), preflight("PUT", "x-a", ("HTTP_ACCESS_CONTROL_REQUEST_METHOD", "PUT"))],
	"method-forbidden": [preflight("CONNECT"), preflight("TRACE")],
	"method": [preflight("DELETE")],
	"headers-malformed": [preflight("PUT", "x-a, b c")],
	"headers-too-long": [preflight("PUT", "x-" + 5000 * "a")],
	"header": [preflight("PUT", "x-a,x-b")],
	"request-malformed": [actual(A, ("REQUEST_METHOD", "PUT"))],
}
# Of no table, an old one, a broken one: they need a responder of their own.
ELSEWHERE = {"stale", "not-ready", "table-error"}
NO_REFUSALS = {"allowed", "not-cors"}


def run(*args, **more):
	return subprocess.run([str(a) for a in args], timeout=60, stdin=subprocess.DEVNULL, capture_output=True, text=True, **more)


class System:
	"""A directory with a table, and a responder on it."""

	def __init__(self, case, *options, table=TABLE):
		self.case = case
		self.options = options
		self.dir = pathlib.Path(tempfile.mkdtemp(prefix="cors."))
		case.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
		self.socket = self.dir / "r.sock"
		self.process = None
		if table is not None:
			self.load(table)
		self.start()

	def load(self, table):
		done = subprocess.run([BUILD / "cachectl" / "cachectl", "--table", self.dir, "-c", "/dev/null", "load", "-"],
		    input=table, text=True, timeout=60, capture_output=True)
		self.case.assertEqual(done.returncode, 0, done.stderr)

	def start(self):
		before = self.starts()
		with open(self.dir / "log", "ab") as log:
			self.process = subprocess.Popen([BUILD / "corscache-responder", "-c", "/dev/null", "-o", f"table.path={self.dir}",
			    "--socket", self.socket, "--threads", "2", *self.options], stderr=log, stdin=subprocess.DEVNULL)
		self.case.addCleanup(self.kill, self.process)
		harness.eventually("all its threads serve", lambda: self.starts() > before)

	def starts(self):
		"""How often it said so, which it does when every thread is there."""
		log = self.dir / "log"
		return log.read_text().count("start:") if log.exists() else 0

	def kill(self, process):
		if process.poll() is None:
			process.kill()
		process.wait()
		self.case.assertNotRegex((self.dir / "log").read_text(errors="replace"), "Sanitizer: |runtime error: ")

	def argv(self, *args):
		return [str(BUILD / "cachectl" / "cachectl"), "--table", str(self.dir), "-c", "/dev/null",
		    "-o", f"sync.control_socket={self.dir}/no.sock", *args]

	def cachectl(self, *args, want=0, **more):
		done = run(*self.argv(*args), **more)
		self.case.assertEqual(done.returncode, want, f"{args}: {done.stdout}{done.stderr}")
		return done.stdout

	def json(self, *args, want=0):
		return json.loads(self.cachectl(*args, "--json", want=want))

	def ask(self, params):
		return fcgi.ask(self.socket, params)

	def page(self, name):
		return self.ask([("REQUEST_METHOD", "GET"), ("CORS_PAGE", name)]).body.decode()

	def stats(self):
		return self.json("stats")["counters"]

	def reasons(self):
		return {name[len("reason."):]: n for name, n in self.stats().items() if name.startswith("reason.")}


def samples(text):
	"""Prometheus text -> {name and labels: value}"""
	return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if not line.startswith("#")}


def scribble(system, cell, value):
	"""Into a counter of a slab that nobody holds: by its number, from the end where it is below zero."""
	cells = sum(not re.match("duration_le|duration_count|owners", name) for name in system.stats()) + 20
	with open(system.dir / "counters" / "v1", "r+b") as f:
		f.seek(4096 + 128 * ((8 * cells + 127) // 128) * 900 + 8 * (cell % cells))
		f.write(value.to_bytes(8, "little"))


class Reasons(unittest.TestCase):
	"""Every reason, caused by real requests, and the same everywhere."""

	def test_no_reason_is_left_out(self):
		tokens = re.findall(r'^REASON\(\w+,\s*"([^"]+)"', (SOURCE / "lib" / "reasons.def").read_text(), re.MULTILINE)
		self.assertEqual(set(tokens), set(REQUESTS) | ELSEWHERE)

	def send(self, system, seed):
		"""Each request a number of times, in any order; returns what was sent, (reason, params) one by one."""
		dice = random.Random(seed)
		sent = [(reason, params) for reason, all_ in REQUESTS.items() for params in all_ for _ in range(dice.randint(1, 9))]
		dice.shuffle(sent)
		for _, params in sent:
			system.ask(params)
		return sent

	def test_all_figures_agree_with_what_was_sent(self):
		system = System(self)
		system.cachectl("invalidate", "https://held.example")
		system.cachectl("revoke", "https://revoked.example")
		sent = self.send(system, 1)
		harness.eventually("the last answer is timed", lambda: system.stats()["duration_count"] == len(sent))

		self.compare_reasons(system, sent)
		self.compare_verdicts(system, sent)
		self.compare_refusals(system, sent)
		self.compare_durations(system, len(sent) + system.stats()["pages"])

	def compare_reasons(self, system, sent):
		want = {reason: sum(r == reason for r, _ in sent) for reason in set(REQUESTS) | ELSEWHERE}
		self.assertEqual(system.reasons(), want)
		self.assertEqual(json.loads(system.page("status"))["counters"]["reasons"], want)
		self.assertEqual(system.json("status")["counters"]["reasons"], want)
		for text in system.page("metrics"), system.cachectl("metrics"):
			found = {re.search('"(.*)"', name)[1]: n for name, n in samples(text).items() if "refusals_total" in name}
			self.assertEqual(found, {r: n for r, n in want.items() if r not in NO_REFUSALS})

	def compare_verdicts(self, system, sent):
		is_preflight = lambda params: ("REQUEST_METHOD", "OPTIONS") in params	# noqa: E731
		want = {
			"preflights_allowed": sum(r == "allowed" and is_preflight(p) for r, p in sent),
			"preflights_refused": sum(r not in NO_REFUSALS and is_preflight(p) for r, p in sent),
			"actuals_allowed": sum(r == "allowed" and not is_preflight(p) for r, p in sent),
			"actuals_refused": sum(r not in NO_REFUSALS and not is_preflight(p) for r, p in sent),
			"not_cors": sum(r == "not-cors" for r, _ in sent),
		}
		for counters in system.stats(), json.loads(system.page("status"))["counters"], \
		    system.json("status")["counters"]:
			self.assertEqual({name: counters[name] for name in want}, want)
		for text in system.page("metrics"), system.cachectl("metrics"):
			found = samples(text)
			checks = [found[f'corscache_checks_total{{verdict="{v}"}}'] for v in ("allowed", "refused", "not_cors", "error")]
			self.assertEqual(checks, [want["preflights_allowed"] + want["actuals_allowed"],
			    want["preflights_refused"] + want["actuals_refused"], want["not_cors"], 0])
			self.assertEqual(found['corscache_preflights_total{verdict="allowed"}'], want["preflights_allowed"])
			self.assertEqual(found['corscache_preflights_total{verdict="refused"}'], want["preflights_refused"])

	def compare_refusals(self, system, sent):
		"""Few different ones were sent: each is on the list, exactly."""
		want = {}
		for reason, params in sent:
			if reason not in NO_REFUSALS:
				fields = {}
				for name, value in params:
					fields.setdefault(name, value)
				key = (fields.get("CORS_REALM", "")[:64], fields["HTTP_ORIGIN"][:256], reason)
				want[key] = want.get(key, 0) + 1
		report = system.json("refusals")
		self.assertEqual(report["others"], 0)
		self.assertEqual({(e["realm"], e["origin"], e["reason"]): e["count"] for e in report["refusals"]}, want)
		self.assertEqual([e["count"] for e in report["refusals"]], sorted(want.values(), reverse=True))
		self.assertEqual({e["at_most"] - e["count"] for e in report["refusals"]}, {0})

	def compare_durations(self, system, answered):
		counters = system.stats()
		self.assertEqual(counters["duration_count"], answered)
		self.assertLessEqual(counters["duration_le_us.262144"], answered)
		found = samples(system.cachectl("metrics"))
		self.assertEqual(found["corscache_check_duration_seconds_count"], answered)
		self.assertEqual(found['corscache_check_duration_seconds_bucket{le="+Inf"}'], answered)
		self.assertEqual(round(found["corscache_check_duration_seconds_sum"] * 1e9), counters["duration_ns"])

	def test_not_ready(self):
		system = System(self, table=None)
		for _ in range(3):
			system.ask(actual())
		self.assertEqual(system.reasons()["not-ready"], 3)
		self.assertEqual(samples(system.cachectl("metrics"))['corscache_checks_total{verdict="error"}'], 3)
		self.assertEqual(samples(system.cachectl("metrics"))["corscache_table_ready"], 0)
		self.assertEqual(system.json("refusals")["refusals"][0]["reason"], "not-ready")

	def test_stale(self):
		system = System(self, "-o", "responder.max_stale_s=1")
		harness.eventually("the table is old", lambda: fcgi.page(system.socket, "ready") == 503)
		for _ in range(3):
			system.ask(actual())
		self.assertEqual(system.reasons()["stale"], 3)
		self.assertEqual(samples(system.cachectl("metrics"))['corscache_checks_total{verdict="error"}'], 3)

	def test_a_damaged_table(self):
		system = System(self)
		self.scribble(system)
		for _ in range(3):
			system.ask(actual())
		counters = system.stats()
		self.assertEqual((counters["reason.table-error"], counters["table_errors"]), (3, 3))
		found = samples(system.cachectl("metrics"))
		self.assertEqual((found['corscache_checks_total{verdict="error"}'], found["corscache_table_errors_total"]), (3, 3))

	def scribble(self, system):
		"""Over the policies, which are mapped; their header stays."""
		policies = next((system.dir / "v1").glob("t*.p*"))
		with open(policies, "r+b") as f:
			f.seek(4096)
			f.write(b"\xff" * (policies.stat().st_size - 4096))


class Refusals(unittest.TestCase):
	def setUp(self):
		self.system = System(self)

	def test_hostile_origins_are_escaped(self):
		for origin in ("\x1b]0;title\x07", "https://\x9b31m.example", "a\tb", "\\", "<script>", "\x7f", "\u00fc", "https://x\x08.y"):
			self.system.ask(actual(origin))
		for args in (["refusals"], ["refusals", "--json"], ["refusals", "--plain"], ["refusals", "--sort", "time"]):
			done = subprocess.run(self.system.argv(*args), capture_output=True, timeout=60)
			self.assertEqual(done.returncode, 0)
			self.assertRegex(done.stdout, rb"\A[\t\n -~]+\Z")
		origins = {line.rpartition(" ")[2] for line in self.system.cachectl("refusals").splitlines()[1:]}
		self.assertIn(r"\x1b]0;title\x07", origins)
		self.assertIn(r"https://\x9b31m.example", origins)
		self.assertIn("\\\\", origins)

	def test_long_ones_are_cut_and_say_so(self):
		long = "https://" + 3000 * "a" + ".example"
		self.system.ask(actual(long))
		self.assertIn(long[:256] + f"... ({len(long)} bytes)", self.system.cachectl("refusals"))
		entry = self.system.json("refusals")["refusals"][0]
		self.assertEqual((entry["origin"], entry["origin_cut"], entry["origin_bytes"]), (long[:256], True, len(long)))
		self.system.ask(actual(EVIL, realm(70 * "r")))
		line = next(line for line in self.system.cachectl("refusals").splitlines() if EVIL in line)
		self.assertRegex(line, f" {64 * 'r'}\\.\\.\\. {EVIL}$")
		self.assertIn(f"in realm <code>{64 * 'r'}</code> &hellip;<", self.system.page("html"))

	def test_choosing_and_sorting(self):
		for origin, place, count in ((EVIL, "", 5), (EVIL, "shop", 3), ("null", "shop", 2), ("null", "", 1)):
			for _ in range(count):
				self.system.ask(actual(origin, realm(place)))
		keys = lambda *args: [(e["origin"], e["realm"], e["count"]) for e in self.system.json("refusals", *args)["refusals"]]	# noqa: E731
		self.assertEqual(keys(), [(EVIL, "", 5), (EVIL, "shop", 3), ("null", "shop", 2), ("null", "", 1)])
		self.assertEqual(keys("--realm", "shop"), [(EVIL, "shop", 3), ("null", "shop", 2)])
		self.assertEqual(keys("--realm", ""), [(EVIL, "", 5), ("null", "", 1)])
		self.assertEqual(keys("--reason", "origin-null"), [("null", "shop", 2), ("null", "", 1)])
		self.assertEqual(keys("--reason", "origin-null", "--realm", ""), [("null", "", 1)])
		self.assertEqual(len(self.system.cachectl("refusals", "--realm", "shop").splitlines()), 3)
		self.assertEqual(self.system.json("refusals", "--reason", "stale", want=1)["refusals"], [])
		self.assertIn("nobody was refused so", run(*self.system.argv("refusals", "--reason", "stale")).stderr)
		for wrong in ("--reason", "nope"), ("--sort", "size"), ("--realm", "a\nb"):
			self.system.cachectl("refusals", *wrong, want=64)
		harness.eventually("another second", lambda: int(time.time()) > self.last())
		self.system.ask(actual("null"))
		self.assertEqual(keys("--sort", "time")[0], ("null", "", 2))
		self.assertEqual(keys("--sort", "count")[0], (EVIL, "", 5))

	def last(self):
		return max(time.mktime(time.strptime(e["last_at"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
		    for e in self.system.json("refusals")["refusals"])

	def test_counts_and_others_are_all_there_were(self):
		"""A flood of strangers; who came often before and meanwhile is still there."""
		dice = random.Random(3)
		for i in range(4000):
			self.system.ask(actual(f"https://o{i}.attacker.example"))
			if i % 10 == 0:
				self.system.ask(actual(f"https://regular{dice.randrange(4)}.example"))
		report = self.system.json("refusals")
		self.assertEqual(sum(e["count"] for e in report["refusals"]) + report["others"], 4400)
		self.assertEqual(self.system.reasons()["origin-unknown"], 4400)
		self.assertLessEqual(len(report["refusals"]), 2 * 64)
		self.assertEqual({e["origin"] for e in report["refusals"][:4]}, {f"https://regular{i}.example" for i in range(4)})
		self.assertGreater(report["others"], 0)
		self.assertIn("more refusals", run(*self.system.argv("refusals")).stderr)

	def test_they_outlive_the_responder_and_are_for_the_group(self):
		self.system.ask(actual(EVIL))
		self.system.process.kill()
		self.system.process.wait()
		self.assertEqual(self.system.json("refusals")["refusals"][0]["count"], 1)
		self.system.start()
		for _ in range(50):
			self.system.ask(actual(EVIL))
		self.assertEqual(self.system.json("refusals")["refusals"][0]["count"], 51)
		files = sorted((self.system.dir / "counters").iterdir())
		self.assertEqual([f.name for f in files], ["refusals.0", "refusals.1", "v1"])	# the threads of both
		for file in files:
			self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o660)

	def test_without_lists_it_counts_and_says_what_is_missing(self):
		self.system.process.terminate()
		self.system.process.wait()
		for n in range(2):
			path = self.system.dir / "counters" / f"refusals.{n}"
			path.unlink()
			(path / "in the way").mkdir(parents=True)
		self.system.start()
		self.system.ask(actual(EVIL))
		self.assertEqual(self.system.reasons()["origin-unknown"], 1)
		log = (self.system.dir / "log").read_text()
		self.assertIn("refusals: counted, but not listed", log)
		self.assertNotIn("nobody will see them", log)

	def test_nothing_of_a_request_is_in_the_table(self):
		for i in range(100):
			self.system.ask(actual(f"https://only-asked-for-{i}.example", realm("only-asked-for")))
		for file in (self.system.dir / "v1").iterdir():
			self.assertNotIn(b"only-asked-for", file.read_bytes())
		self.assertIn(b"only-asked-for", (self.system.dir / "counters" / "refusals.0").read_bytes() +
		    (self.system.dir / "counters" / "refusals.1").read_bytes())


class Metrics(unittest.TestCase):
	def setUp(self):
		self.system = System(self)

	def test_one_writer_for_page_and_cachectl(self):
		for params in actual(), actual(EVIL), preflight():
			self.system.ask(params)
		time_varying = re.compile(r"^corscache_check_duration_seconds.*$", re.MULTILINE)	# the page itself is timed when it is sent
		page, ours = self.system.page("metrics"), self.system.cachectl("metrics")
		self.assertEqual(time_varying.sub("", page), time_varying.sub("", ours))
		self.assertEqual(len(page.splitlines()), len(ours.splitlines()))

	def test_promtool_is_content(self):
		self.system.ask(actual(EVIL))
		for text in self.system.page("metrics"), self.system.cachectl("metrics"):
			done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True, timeout=60)
			self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

	def test_zeros_are_there_from_the_start(self):
		"""Without a responder, without a table, without a directory."""
		nobody = run(BUILD / "cachectl" / "cachectl", "-c", "/dev/null", "--table", self.system.dir / "nothing", "metrics")
		self.assertEqual(nobody.returncode, 0)
		self.assertEqual(set(samples(nobody.stdout)), set(samples(self.system.cachectl("metrics"))))
		self.assertFalse((self.system.dir / "nothing").exists())

	def test_no_value_is_absurd_and_no_stranger_is_a_label(self):
		self.system.ask(actual("https://stranger.example", realm("strange")))
		text = self.system.cachectl("metrics")
		self.assertNotIn("strange", text)
		for name, value in samples(text).items():
			self.assertTrue(0 <= value < 2 ** 63, f"{name} {value}")

	def test_a_value_below_zero_is_zero(self):
		scribble(self.system, 0, 2 ** 64 - 7)
		self.assertEqual(self.system.stats()["preflights_allowed"], 0)
		self.assertEqual(samples(self.system.cachectl("metrics"))['corscache_preflights_total{verdict="allowed"}'], 0)

	def test_a_responder_that_is_gone_is_no_health(self):
		self.system.cachectl("status")
		self.system.ask(actual())
		self.system.cachectl("status")
		self.system.kill(self.system.process)
		self.assertIn("corscache-responder does not run: nobody answers", self.system.cachectl("status", want=1))
		self.assertFalse(self.system.json("status", want=1)["healthy"])
		self.system.start()
		self.system.cachectl("status")

	def test_counters_that_cannot_be_read_are_no_zeros(self):
		self.system.ask(actual())
		path = self.system.dir / "counters" / "v1"
		path.rename(path.with_name("kept"))
		path.write_bytes(b"another layout")
		answer = self.system.ask([("REQUEST_METHOD", "GET"), ("CORS_PAGE", "metrics")])
		self.assertEqual(answer.status, 503, answer.body)
		self.assertNotIn("counters", json.loads(self.system.page("status")))
		status = run(*self.system.argv("status"))
		self.assertIn("cannot be read", status.stderr)
		self.assertIn("responders  unknown", status.stdout)
		self.assertNotIn("counters", self.system.json("status"))
		page = self.system.page("html")
		self.assertIn("The counters cannot be read", page)
		for figure in "Requests answered", "No request has been refused", "Time to answer", "Serving threads":
			self.assertNotIn(figure, page)
		path.with_name("kept").rename(path)
		self.assertEqual(json.loads(self.system.page("status"))["counters"]["actuals_allowed"], 1)
		self.assertIn("Serving threads", self.system.page("html"))

	def test_no_end_is_made_up_for_the_last_bucket(self):
		scribble(self.system, -1, 1000)
		text = re.sub("<[^>]*>", " ", self.system.page("html"))
		self.assertRegex(text, "Half of them within +over 262 ms +99 of 100 within over 262 ms")
		self.assertIn("50 % within over 262 ms, 90 % within over 262 ms, 99 % within over 262 ms", text)


class Packaging(unittest.TestCase):
	"""The dashboard and the alerts ask for what there is."""

	RULES = SOURCE / "packaging" / "prometheus" / "corscache.rules.yml"
	DASHBOARD = SOURCE / "packaging" / "grafana" / "corscache.json"

	def known(self):
		system = System(self)
		found = samples(system.cachectl("metrics"))
		labels = {}
		for name in found:
			family, _, rest = name.partition("{")
			for label, value in re.findall(r'(\w+)="([^"]*)"', rest):
				labels.setdefault((family, label), set()).add(value)
		return {name.partition("{")[0] for name in found}, labels

	def expressions(self):
		dashboard = json.loads(self.DASHBOARD.read_text())
		return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]

	def test_every_metric_asked_for_exists(self):
		families, labels = self.known()
		wanted = re.findall(r"corscache_\w+", "\n".join(self.expressions() + [self.RULES.read_text()]))
		self.assertGreater(len(set(wanted)), 20)
		self.assertEqual(set(wanted) - families, set())
		for text in self.expressions():
			for family, selector in re.findall(r"(corscache_\w+)\{([^}]*)\}", text):
				for label, value in re.findall(r'(\w+)\s*[=!]~?\s*"([^"]*)"', selector):
					if label != "instance":		# Prometheus adds that
						self.assertLessEqual(set(value.split("|")), labels[family, label], text)

	def test_the_dashboard_is_whole(self):
		panels = json.loads(self.DASHBOARD.read_text())["panels"]
		self.assertEqual(len({p["id"] for p in panels}), len(panels))
		covered = set()
		for p in panels:
			at = p["gridPos"]
			cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
			self.assertFalse(cells & covered, f'{p["title"]} lies over another')
			self.assertLessEqual(at["x"] + at["w"], 24)
			covered |= cells

	def test_a_single_figure_is_of_now(self):
		"""The last value of some hours is green for hours after the last responder went."""
		for p in json.loads(self.DASHBOARD.read_text())["panels"]:
			if p["type"] == "stat":
				self.assertEqual({(t.get("instant"), t.get("range")) for t in p["targets"]}, {(True, False)}, p["title"])

	def test_what_fires_is_on_the_dashboard(self):
		fires = re.findall(r"corscache_\w+", self.RULES.read_text())
		self.assertEqual(set(fires) - set(re.findall(r"corscache_\w+", "\n".join(self.expressions()))), set())

	def test_every_query_is_promql(self):
		"""As rules, for promtool to parse."""
		rules = [{"record": f"panel:{i}", "expr": e.replace("$__rate_interval", "5m").replace("$instance", ".*")}
		    for i, e in enumerate(self.expressions())]
		with tempfile.NamedTemporaryFile("w", suffix=".yml") as f:
			json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, f)	# JSON is YAML
			f.flush()
			done = run("promtool", "check", "rules", f.name)
		self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
		self.assertIn(f"{len(rules)} rules found", done.stdout)

	def test_alerts_fire_and_stay_silent(self):
		done = run("promtool", "check", "rules", self.RULES)
		self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
		self.assertIn("3 rules found", done.stdout)
		done = run("promtool", "test", "rules", SOURCE / "tests" / "system" / "alerts_test.yml")
		self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Load:
	"""Requests at a steady pace, until it is left."""

	def __init__(self, system, mix, pause=0.001):
		self.system, self.mix, self.pause = system, mix, pause
		self.sent = 0
		self.is_over = threading.Event()
		self.thread = threading.Thread(target=self.run)

	def run(self):
		while not self.is_over.wait(self.pause):
			try:
				self.system.ask(self.mix[self.sent % len(self.mix)])
				self.sent += 1
			except OSError:
				continue	# it is being restarted

	def __enter__(self):
		self.thread.start()
		return self

	def __exit__(self, *_):
		self.is_over.set()
		self.thread.join()


class Stats(unittest.TestCase):
	def setUp(self):
		self.system = System(self)

	def watch(self, *args):
		process = subprocess.Popen(self.system.argv("stats", "--watch", *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
		    stdin=subprocess.DEVNULL, text=True)
		self.addCleanup(process.communicate)
		self.addCleanup(process.kill)
		return process

	def test_rates_beside_totals(self):
		with Load(self.system, [actual(), actual(EVIL)]):
			process = self.watch("0.5", "--count", "4", "--json")
			ticks = [json.loads(line) for line in process.stdout]
		self.assertEqual((process.wait(10), len(ticks)), (0, 4))
		for before, now in zip(ticks, ticks[1:]):
			self.assertEqual(now["version"], 1)
			self.assertEqual(set(now["rates"]), set(now["counters"]))
			for name in "actuals_allowed", "actuals_refused", "reason.origin-unknown", "duration_count":
				grown = now["counters"][name] - before["counters"][name]
				self.assertGreater(grown, 0)
				self.assertAlmostEqual(now["rates"][name] * now["seconds"], grown, places=3)
			self.assertEqual((now["rates"]["owners"], now["counters"]["owners"]), (0, 2))

	def test_what_a_glob_names_is_shown_with_zeros(self):
		blocks = self.system.cachectl("stats", "--watch", "0.1", "reason.row-*", "--count", "2").strip().split("\n\n")
		self.assertEqual(len(blocks), 2)
		for block in blocks:
			lines = block.splitlines()
			self.assertRegex(lines[0], r"^\d{4}-\d\d-\d\dT[\d:]+Z$")
			self.assertEqual([line.split()[:3] for line in lines[1:]],
			    [[f"reason.row-{name}", "0", "0/s"] for name in ("refuses", "expired", "unsafe")])

	def test_words_in_any_order(self):
		for args in (["--watch", "0.1", "pages"], ["pages", "--watch=0.1"], ["--watch=0.1", "pages"]):
			self.assertEqual(self.system.json("stats", *args, "--count", "1")["counters"].keys(), {"pages"})
		for wrong in (["--watch", "0"], ["--watch=x"], ["--watch=1e9"], ["--count", "0"], ["--count", "-1"], ["--watch", "1", "a", "b"],
		    ["a", "b"], ["--watch", "nan"], ["--watch=nan"]):
			self.system.cachectl("stats", *wrong, want=1 if wrong == ["--watch", "nan"] else 64)
		self.system.cachectl("stats", "--watch", "0.1", "nothing*", want=1)

	def test_a_restart_of_the_responder_is_survived(self):
		process = self.watch("0.2", "actuals_*", "--json")
		with Load(self.system, [actual()]):
			first = [json.loads(process.stdout.readline()) for _ in range(3)]
			self.system.process.kill()
			self.system.process.wait()
			self.system.start()
			seen = first[-1]["counters"]["actuals_allowed"]
			for line in process.stdout:
				tick = json.loads(line)
				self.assertGreaterEqual(tick["counters"]["actuals_allowed"], seen)	# never back
				self.assertGreaterEqual(tick["rates"]["actuals_allowed"], 0)
				if tick["counters"]["actuals_allowed"] > seen + 100:
					break
				seen = max(seen, tick["counters"]["actuals_allowed"]) if not tick["rates"]["actuals_allowed"] else seen
		self.assertIsNone(process.poll())

	def test_ctrl_c_ends_it_after_a_whole_line(self):
		process = self.watch("0.1", "--json")
		process.stdout.readline()
		process.send_signal(signal.SIGINT)
		rest = process.stdout.read()
		self.assertIn(process.wait(10), (0, -signal.SIGINT))
		self.assertTrue(rest == "" or rest.endswith("}\n"))

	def test_a_reader_that_goes_ends_it(self):
		process = self.watch("0.1", "--json")
		process.stdout.readline()
		process.stdout.close()
		self.assertIn(process.wait(10), (2, -signal.SIGPIPE))

	def test_a_terminal_shows_the_latest_only(self):
		"""Each look begins in the corner of an empty terminal and fits into it."""
		leader, follower = pty.openpty()
		self.addCleanup(os.close, leader)
		process = subprocess.Popen(self.system.argv("stats", "--watch", "0.1", "--count", "2"), stdout=follower,
		    stdin=follower, stderr=follower, env={**os.environ, "TERM": "xterm"})
		os.close(follower)
		out = b""
		try:
			while more := os.read(leader, 4096):
				out += more
		except OSError:
			pass	# the other end is closed
		self.assertEqual(process.wait(10), 0)
		looks = out.split(b"\x1b[H\x1b[J")
		self.assertEqual((len(looks), looks[0]), (3, b""))
		for look in looks[1:]:
			self.assertLessEqual(look.count(b"\n"), 23)
			self.assertIn(b"more: name what to see", look)


	def test_a_terminal_is_not_left_at_the_top(self):
		"""Lines that wrap would push the time and the first counters out."""
		for columns, rows in ((80, 24), (60, 15), (132, 60)):
			tmux, screens = Tmux(self, self.system, columns, rows), [""]
			tmux.type(shlex.join(["exec", *self.system.argv("stats", "--watch", "0.1")]), "Enter")
			harness.eventually("a look", lambda: "table_errors  " in screens[-1] or screens.append(tmux.screen()))
			lines = screens[-1].splitlines()
			self.assertRegex(lines[0], r"^\d{4}-\d\d-\d\dT[\d:]+Z")
			self.assertEqual([line.split()[0] for line in lines[1:4]], ["preflights_allowed", "preflights_refused", "actuals_allowed"])
			self.assertRegex(lines[1], r"^preflights_allowed +0 +0/s")


class Tmux:
	"""A terminal of its own, with a shell in it."""

	def __init__(self, case, system, columns=80, rows=24, **env):
		# A server that ends still holds its socket for a moment: each has its own.
		self.socket = pathlib.Path(tempfile.mkdtemp(dir=system.dir)) / "tmux"
		case.addCleanup(self.run, "kill-server", check=False)
		words = [f"{name}={value}" for name, value in env.items()]
		self.run("-f", "/dev/null", "new-session", "-d", "-x", columns, "-y", rows, "-s", "s",
		    "env", *words, "PS1=ready>", "bash", "--norc", "--noprofile")
		self.run("set-option", "-g", "status", "off")
		harness.eventually("there is a prompt", lambda: "ready>" in self.screen())

	def run(self, *args, check=True):
		done = subprocess.run(["tmux", "-S", self.socket, *[str(a) for a in args]], timeout=60, capture_output=True, text=True)
		if check and done.returncode:
			raise AssertionError(f"tmux {args}: {done.stderr}")
		return done.stdout

	def type(self, *keys):
		self.run("send-keys", "-t", "s", *keys)

	def screen(self, *options):
		return self.run("capture-pane", "-p", *options, "-t", "s")

	def resize(self, columns, rows):
		self.run("resize-window", "-t", "s", "-x", columns, "-y", rows)


def number(text):
	return float(text.replace(",", ""))


class Top(unittest.TestCase):
	def setUp(self):
		self.system = System(self)

	def start(self, *args, **terminal):
		t = Tmux(self, self.system, **terminal)
		t.type("echo before top", "Enter")
		t.type(" ".join(self.system.argv("top", *args)), "Enter")
		harness.eventually("top is there", lambda: "q quits" in t.screen())
		return t

	def figure(self, t, pattern):
		found = re.search(pattern, t.screen())
		return number(found[1]) if found else -1

	def test_figures_agree_with_the_load(self):
		t = self.start("0.5")
		mix = [actual()] * 6 + [actual(EVIL)] * 3 + [[("REQUEST_METHOD", "GET")]] + [actual("https://s.example", realm("shop"))] * 2
		with Load(self.system, mix) as load:
			harness.eventually("rates are shown", lambda: self.figure(t, r"requests +([\d,.]+)/s") > 10)
			harness.eventually("and latency", lambda: re.search(r"p50 \d.* p99 \d.* p99\.9 \d", t.screen()))
			harness.eventually("whole mixes were sent", lambda: load.sent > 600)
			screen = t.screen()
			all_, allowed, refused, not_cors = (number(re.search(p + r" +([\d,.]+)/s", screen)[1])
			    for p in ("requests", "allowed", "refused", "not CORS"))
			# rounded, each: 8, 3 and 1 of twelve
			self.assertAlmostEqual(allowed / all_, 8 / 12, delta=0.1)
			self.assertAlmostEqual(refused / all_, 3 / 12, delta=0.1)
			self.assertAlmostEqual(not_cors / all_, 1 / 12, delta=0.1)
		harness.eventually("all that was sent is shown", lambda: self.figure(t, r"total ([\d,]+)") == load.sent)
		harness.eventually("it is quiet", lambda: self.figure(t, r"requests +([\d,.]+)/s") == 0)
		evil = self.system.reasons()["origin-unknown"]
		screen = t.screen()
		self.assertEqual(number(re.search(r"^origin-unknown +0 +([\d,]+)", screen, re.MULTILINE)[1]), evil)
		self.assertEqual(number(re.search(rf"^ +0 +([\d,]+)  origin-unknown +'' +{EVIL}$", screen, re.MULTILINE)[1]), evil)
		shop = number(re.search(r"  shop +0 +([\d,]+)$", screen, re.MULTILINE)[1])
		bare = number(re.search(r"  '' +0 +([\d,]+)$", screen, re.MULTILINE)[1])
		self.assertEqual(shop + bare, load.sent)
		self.assertAlmostEqual(shop, load.sent / 6, delta=2)

	def test_no_end_is_made_up_for_the_last_bucket(self):
		t = self.start("0.2")
		for n in range(100):		# each look is at what has grown
			scribble(self.system, -1, 1000 * (n + 1))
			if "p50 over 262.1 ms   p99 over 262.1 ms" in t.screen():
				return
			time.sleep(0.05)
		self.fail(t.screen())

	def test_80_by_24_without_wrapping(self):
		for i in range(40):
			self.system.ask(actual(f"https://{'long' * 40}{i}.example", realm(f"a-realm-with-a-long-name-{i}")))
		t = self.start()
		harness.eventually("the list is there", lambda: "longlong" in t.screen())
		lines = t.screen().rstrip("\n").split("\n")
		self.assertEqual(len(lines), 24)
		self.assertTrue(lines[0].startswith("corscache "), lines)
		self.assertEqual({len(line) for line in lines if "longlong" in line}, {80})
		self.assertEqual(sum("longlong" in line for line in lines), 8)		# to the last line
		t.resize(120, 40)
		harness.eventually("it grows", lambda: sum("longlong" in line for line in t.screen().split("\n")) > 12)
		self.assertEqual(max(len(line) for line in t.screen().split("\n")), 120)
		t.resize(60, 12)
		harness.eventually("it shrinks", lambda: max(len(line) for line in t.screen().split("\n")) <= 60 and
		    t.screen().startswith("corscache "))

	def test_leaving_restores_the_terminal(self):
		for keys in (["q"], ["C-c"]):
			t = self.start()
			t.type(*keys)
			harness.eventually("the shell is back", lambda: "before top" in t.screen() and
			    t.screen().rstrip().endswith("ready>"))		# noqa: B023
			self.assertNotIn("q quits", t.screen())
			self.assertEqual(t.run("display-message", "-p", "-t", "s", "#{alternate_on} #{cursor_flag} #{wrap_flag}").split(), ["0", "1", "1"])
			t.type("stty -a | grep -c -- '-icanon\\|-echo '", "Enter")
			harness.eventually("keys are seen again", lambda: re.search(r"^0$", t.screen(), re.MULTILINE))	# noqa: B023
			t.run("kill-server", check=False)

	def test_no_color(self):
		for env, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
			t = self.start(**env)
			harness.eventually("health is there", lambda: "healthy" in t.screen())	# noqa: B023
			self.assertEqual("\x1b[32m" in t.screen("-e"), coloured)
			t.run("kill-server", check=False)

	def test_hostile_origins_draw_nothing(self):
		self.system.ask(actual("https://\x1b[2J\x1b[Hgone"))
		t = self.start()
		harness.eventually("it is listed", lambda: r"https://\x1b[2J\x1b[Hgone" in t.screen())
		self.assertTrue(t.screen().startswith("corscache "))

	def test_it_ends_with_its_terminal(self):
		"""Which need not be its controlling one: then no signal tells."""
		for reads in (True, False):
			leader, follower = pty.openpty()
			process = subprocess.Popen(self.system.argv("top", "0.1"), stdout=follower,
			    stdin=follower if reads else subprocess.DEVNULL, stderr=subprocess.DEVNULL)
			self.addCleanup(process.wait)
			self.addCleanup(process.kill)
			os.close(follower)
			said = b""
			while b"q quits" not in said:
				said += os.read(leader, 4096)
			os.close(leader)
			process.wait(10)

	def test_it_needs_a_terminal(self):
		done = run(*self.system.argv("top"))
		self.assertEqual((done.returncode, done.stdout), (64, ""))
		self.assertIn("stats --watch", done.stderr)
		self.system.cachectl("top", "soon", want=64)


if __name__ == "__main__":
	bounds.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
responder -- corscache-responder alone, over its socket: the protocol as hostile
as a socket allows, every way to get a socket, starting, stopping, reloading.
Tables are made by cachectl load; no database, no web server.
"""

import contextlib
import errno
import fcntl
import grp
import json
import os
import pathlib
import re
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import bounds
import fcgi
import harness

BUILD = pathlib.Path(os.environ.get("CORSCACHE_BUILD", ".")).resolve()
TABLE = """\
{"policy":"cred","methods":["GET","PUT"],"headers":["x-a","x-b"],"expose_headers":["x-c"],"credentials":true,"max_age":600}
{"policy":"plain","methods":["GET"]}
{"origin":"https://a.example","policy":"cred"}
{"origin":"https://*.b.example","policy":"plain"}
{"origin":"https://shop.example","policy":"plain","realm":"shop"}
{"origin":"*","policy":"plain","realm":"open"}
"""
A, UNKNOWN = "https://a.example", "https://evil.example"
GET_VALUES, GET_VALUES_RESULT, UNKNOWN_TYPE = 9, 10, 11
FILTER = 3


def program(name):
	for path in (BUILD / name, BUILD / name / name):
		if path.is_file():
			return str(path)
	harness.skip(f"{name} is not built")


def load(directory, text=TABLE):
	subprocess.run([program("cachectl"), "--table", directory, "-c", "/dev/null", "load", "-"], input=text, text=True,
	    check=True, timeout=60, capture_output=True)


def actual(origin=A, *more, method="GET"):
	return [("REQUEST_METHOD", method), ("HTTP_ORIGIN", origin), *more]


def preflight(origin=A, *more, method="PUT", headers="x-a"):
	return [("REQUEST_METHOD", "OPTIONS"), ("HTTP_ORIGIN", origin), ("HTTP_ACCESS_CONTROL_REQUEST_METHOD", method),
	    ("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", headers), *more]


def padded(kind, content, padding, request_id=1):
	return struct.pack("!BBHHBx", 1, kind, request_id, len(content), padding) + content + b"\xee" * padding


class Responder:
	"""One process on a socket of its own, stopped whatever happens."""

	def __init__(self, case, *options, table=TABLE, wait=True, **popen):
		self.dir = pathlib.Path(tempfile.mkdtemp(prefix="cors."))
		case.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
		self.socket = self.dir / "r.sock"
		self.options = options
		self.case = case
		if table is not None:
			load(self.dir, table)
		self.start(wait=wait, **popen)

	def argv(self, *options):
		return [program("corscache-responder"), "-c", "/dev/null", "-o", f"table.path={self.dir}",
		    "--socket", str(self.socket), *options]

	def start(self, wait=True, **popen):
		self.log = self.dir / "log"
		self.starts = self.said("start:") + 1
		with open(self.log, "ab") as log:
			self.process = subprocess.Popen(popen.pop("argv", self.argv(*self.options)), stderr=log,
			    **{"stdin": subprocess.DEVNULL, **popen})
		self.case.addCleanup(self.kill, self.process)
		if wait:
			harness.eventually("it listens", self.answers)

	def answers(self):
		self.case.assertIsNone(self.process.poll(), self.log.read_text())
		return self.said("start:") == self.starts and fcgi.page(self.socket, "ready") is not None

	def said(self, words):
		return self.log.read_text().count(words) if self.log.exists() else 0

	def kill(self, process):
		if process.poll() is None:
			process.kill()
		process.wait()
		if self.log.exists():
			report = self.log.read_text(errors="replace")
			self.case.assertNotRegex(report, "Sanitizer: |runtime error: ")

	def stop(self):
		self.process.send_signal(signal.SIGTERM)
		status = self.process.wait(timeout=20)
		self.case.assertEqual(status, 0, self.log.read_text())

	def connect(self, timeout=10):
		s = socket.socket(socket.AF_UNIX)
		self.case.addCleanup(s.close)
		s.settimeout(timeout)
		harness.eventually("there is room in the queue", lambda: s.connect_ex(str(self.socket)) != errno.EAGAIN)
		s.getpeername()
		return s

	def ask(self, params, role=fcgi.RESPONDER):
		return fcgi.ask(self.socket, params, role)

	def counters(self):
		answer = self.ask([("REQUEST_METHOD", "GET"), ("CORS_PAGE", "status")])
		return json.loads(answer.body)["counters"]

	def check(self):
		"""It answers, and rightly."""
		self.case.assertEqual(self.ask(actual()).get("access-control-allow-origin"), A)
		self.case.assertIsNone(self.ask(actual(UNKNOWN)).get("access-control-allow-origin"))


def at_end(s):
	"""The peer closed; what it sent before."""
	out = b""
	with contextlib.suppress(ConnectionResetError):
		while more := s.recv(65536):
			out += more
	return out


class Answers(unittest.TestCase):
	@classmethod
	def setUpClass(cls):
		cls.r = Responder(_Class(cls))

	@classmethod
	def tearDownClass(cls):
		cls.doClassCleanups()

	def headers(self, answer):
		return sorted(name.lower() for name, _ in answer.headers)

	def test_preflight_allowed(self):
		answer = self.r.ask(preflight())
		self.assertEqual(answer.all("status"), ["200 OK"])
		self.assertEqual(answer.get("access-control-allow-origin"), A)
		self.assertEqual(answer.get("access-control-allow-credentials"), "true")
		self.assertEqual(answer.get("access-control-max-age"), "600")
		self.assertEqual(answer.get("content-length"), "0")
		self.assertEqual(answer.body, b"")
		self.assertIn("Access-Control-Request-Method", answer.get("vary"))

	def test_preflight_refused(self):
		for params in preflight(UNKNOWN), preflight(method="DELETE"), preflight(headers="x-z"):
			answer = self.r.ask(params)
			self.assertEqual(answer.all("status"), ["403 Forbidden"])
			self.assertEqual(self.headers(answer), ["content-length", "status", "vary"])

	def test_actual(self):
		answer = self.r.ask(actual())
		self.assertEqual(answer.all("status"), ["204 No Content"])
		self.assertEqual(answer.get("access-control-expose-headers"), "x-c")
		self.assertEqual(answer.get("vary"), "Origin")
		self.assertIsNone(answer.get("content-length"))
		answer = self.r.ask(actual(UNKNOWN))
		self.assertEqual((answer.status, self.headers(answer)), (204, ["status", "vary"]))
		answer = self.r.ask([("REQUEST_METHOD", "GET")])
		self.assertEqual((answer.status, self.headers(answer)), (204, ["status", "vary"]))

	def test_authorizer(self):
		answer = self.r.ask(actual(), fcgi.AUTHORIZER)
		self.assertEqual(answer.all("status"), ["200 OK"])
		self.assertEqual(answer.get("variable-cors_allow_origin"), A)
		self.assertEqual(answer.get("variable-cors_allow_credentials"), "true")
		self.assertEqual(answer.get("variable-cors_expose_headers"), "x-c")
		self.assertEqual(answer.get("variable-cors_vary"), "Origin")
		answer = self.r.ask(actual(UNKNOWN), fcgi.AUTHORIZER)
		self.assertEqual((answer.status, self.headers(answer)), (200, ["status", "variable-cors_vary"]))

	def test_enforce(self):
		on = ("CORS_ENFORCE", "1")
		for role in fcgi.RESPONDER, fcgi.AUTHORIZER:
			answer = self.r.ask(actual(UNKNOWN, on), role)
			self.assertEqual((answer.status, self.headers(answer)), (403, ["content-length", "status", "vary"]))
			self.assertEqual((answer.get("content-length"), answer.get("vary")), ("0", "Origin"))
			self.assertLess(self.r.ask(actual(A, on), role).status, 300)
			self.assertLess(self.r.ask(actual(UNKNOWN, ("CORS_ENFORCE", "0")), role).status, 300)
			self.assertLess(self.r.ask([("REQUEST_METHOD", "GET"), on], role).status, 300)
			own = actual("https://here.example", on, ("HTTP_HOST", "here.example"), ("REQUEST_SCHEME", "https"))
			self.assertLess(self.r.ask(own, role).status, 300)
			# lighttpd takes Access_Control_Request_Method for no preflight and asks its authorizer
			self.assertEqual(self.r.ask(preflight(UNKNOWN, on), role).status, 403)

	def test_debug(self):
		on = ("CORS_DEBUG", "1")
		self.assertEqual(self.r.ask(actual(A, on)).get("corscache-decision"), "allow")
		self.assertEqual(self.r.ask(actual(UNKNOWN, on)).get("corscache-decision"), "refuse; reason=origin-unknown")
		self.assertIn("reason=header", self.r.ask(preflight(A, on, headers="x-z")).get("corscache-decision"))
		answer = self.r.ask(actual(UNKNOWN, on, ("CORS_ENFORCE", "1")), fcgi.AUTHORIZER)
		self.assertEqual(answer.get("corscache-decision"), "refuse; reason=origin-unknown")
		for role in fcgi.RESPONDER, fcgi.AUTHORIZER:
			answer = self.r.ask(preflight(A, on, ("CORS_ENFORCE", "1"), headers="x-z"), role)
			self.assertEqual((answer.status, answer.get("corscache-allow-methods")), (403, "GET,PUT"))

	def test_repetitions_are_malformed(self):
		on = ("CORS_DEBUG", "1")
		for params, reason in (
		    (actual(A, ("HTTP_ORIGIN", UNKNOWN), on), "origin-repeated"),
		    (actual(A, ("HTTP_ORIGIN", A), on), "origin-repeated"),
		    (actual(A, ("CORS_REALM", "shop"), ("CORS_REALM", "shop"), on), "realm-malformed"),
		    (actual(A, ("REQUEST_METHOD", "GET"), on), "request-malformed"),
		    (preflight(A, ("HTTP_ACCESS_CONTROL_REQUEST_METHOD", "PUT"), on), "method-malformed")):
			answer = self.r.ask(params)
			self.assertIsNone(answer.get("access-control-allow-origin"))
			self.assertRegex(answer.get("corscache-decision"), f"^refuse; reason={reason}($|;)")

	def test_empty_is_absent(self):
		answer = self.r.ask([("REQUEST_METHOD", "OPTIONS"), ("HTTP_ORIGIN", ""), ("HTTP_ORIGIN", A), ("CORS_REALM", ""),
		    ("HTTP_ACCESS_CONTROL_REQUEST_METHOD", ""), ("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")])
		self.assertEqual((answer.status, answer.get("access-control-allow-origin")), (204, A))

	def test_realms(self):
		shop = "https://shop.example"
		self.assertEqual(self.r.ask(actual(shop, ("CORS_REALM", "shop"))).get("access-control-allow-origin"), shop)
		self.assertIsNone(self.r.ask(actual(shop)).get("access-control-allow-origin"))
		self.assertIsNone(self.r.ask(actual(A, ("CORS_REALM", "shop"))).get("access-control-allow-origin"))
		answer = self.r.ask([("REQUEST_METHOD", "GET"), ("CORS_REALM", "open")])
		self.assertEqual((answer.get("access-control-allow-origin"), answer.get("vary")), ("*", None))

	def test_a_filter_is_refused(self):
		with self.r.connect() as s:
			s.sendall(fcgi.request(actual(), FILTER, fcgi.KEEP_CONN))
			self.assertEqual(fcgi.read_answer(s).status, 500)
			self.assertEqual(at_end(s), b"")

	def page(self, name, method="GET", role=fcgi.RESPONDER):
		return self.r.ask([("REQUEST_METHOD", method), ("CORS_PAGE", name)], role)

	def test_pages(self):
		self.assertEqual((self.page("ready").status, self.page("ready").body), (200, b"ready\n"))
		self.assertEqual(self.page("nothing").status, 404)
		self.assertEqual(self.page("ready", method="POST").status, 405)
		self.assertEqual(self.r.ask(actual(A, ("CORS_PAGE", "ready"), ("CORS_PAGE", "ready"))).status, 404)
		status = json.loads(self.page("status").body)
		self.assertEqual((status["version"], status["ready"], status["table"]["rows"]), (1, True, 4))
		# An authorizer that answered 200 with a page would open what it guards.
		answer = self.r.ask(actual(UNKNOWN, ("CORS_PAGE", "ready"), ("CORS_ENFORCE", "1")), fcgi.AUTHORIZER)
		self.assertEqual(answer.status, 403)

	def test_the_page_for_programs_is_json_whatever_the_source_is_called(self):
		r = Responder(self, table=None)
		name = os.fsencode(r.dir) + b"/t\xff\xc3.jsonl"
		with open(name, "w") as f:
			f.write('{"origin":"https://a.example"}\n')
		subprocess.run([program("cachectl/cachectl"), "--table", r.dir, "-c", "/dev/null", "load", name], check=True, timeout=60,
		    capture_output=True)

		def table():	# each thread finds it for itself
			answer = r.ask([("REQUEST_METHOD", "GET"), ("CORS_PAGE", "status")])
			self.assertEqual(answer.status, 200, answer.body)
			return json.loads(answer.body.decode())["table"]

		harness.eventually("it has a table", lambda: "source" in table())
		harness.eventually("all threads have", lambda: all(table().get("source", "").endswith("/t\ufffd\ufffd.jsonl") for _ in range(9)))

	def test_metrics(self):
		before = self.metrics()
		for params in [actual()] * 3 + [actual(UNKNOWN)] * 2 + [preflight()]:
			self.r.ask(params)
		after = self.metrics()
		grown = lambda name: after[name] - before[name]	# noqa: E731
		self.assertEqual(grown('corscache_checks_total{verdict="allowed"}'), 4)
		self.assertEqual(grown('corscache_checks_total{verdict="refused"}'), 2)
		self.assertEqual(grown('corscache_refusals_total{reason="origin-unknown"}'), 2)
		self.assertEqual(grown('corscache_preflights_total{verdict="allowed"}'), 1)
		# The pages are measured as well, each when it has been written: after it was read, perhaps.
		self.assertIn(grown("corscache_check_duration_seconds_count"), (6, 7, 8))
		self.assertEqual(after["corscache_table_entries"], 4)
		self.assertEqual(after["corscache_responder_threads"], 2)
		self.assertGreater(after["corscache_sync_last_success_timestamp_seconds"], 1e9)

	def metrics(self):
		"""Checked line by line against the format, each family typed before it is used."""
		answer = self.page("metrics")
		self.assertIn("version=0.0.4", answer.get("content-type"))
		typed, out = set(), {}
		for line in answer.body.decode().splitlines():
			if line.startswith("# TYPE "):
				self.assertNotIn(line.split()[2], typed)
				typed.add(line.split()[2])
				continue
			if line.startswith("# HELP "):
				continue
			found = re.fullmatch(r'(([a-z_]+)(?:\{[a-z]+="[^"\\]+"\})?) (-?[0-9.]+)', line)
			self.assertIsNotNone(found, line)
			self.assertTrue(found[2] in typed or re.sub("_(bucket|sum|count)$", "", found[2]) in typed, line)
			self.assertNotIn(found[1], out)
			out[found[1]] = float(found[3])
		return out


def is_at_end(s):
	"""The peer closed it; what it sent stays."""
	if not select.select([s], [], [], 0)[0]:
		return False
	with contextlib.suppress(ConnectionResetError):
		return s.recv(1, socket.MSG_PEEK) == b""
	return True


def memory_kb(pid):
	return int(re.search(r"VmRSS:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())[1])


def is_sanitized():
	"""Then memory tells nothing: what was freed is kept back."""
	return b"__asan_init" in pathlib.Path(program("corscache-responder")).read_bytes()


class _Class:
	"""Lets Responder use a class where it expects a case."""

	def __init__(self, cls):
		self.addCleanup = cls.addClassCleanup
		case = unittest.TestCase()
		self.assertEqual, self.assertIsNone, self.assertNotRegex = case.assertEqual, case.assertIsNone, case.assertNotRegex


class Protocol(unittest.TestCase):
	def setUp(self):
		self.r = Responder(self, "-o", "responder.io_timeout_ms=2000")

	def test_a_request_cut_at_every_byte(self):
		"""In two pieces, the second a moment later: the same answer."""
		raw = fcgi.request(preflight())
		want = self.r.ask(preflight()).headers
		for at in range(1, len(raw)):
			with self.r.connect() as s:
				s.sendall(raw[:at])
				if at % 8 == 0:
					time.sleep(0.002)
				s.sendall(raw[at:])
				self.assertEqual(fcgi.read_answer(s).headers, want)

	def test_closed_at_every_byte(self):
		raw = fcgi.request(actual())
		whole = raw.rindex(struct.pack("!BBHHBx", 1, fcgi.PARAMS, 1, 0, 0)) + 8
		for at in range(len(raw)):
			with self.r.connect() as s:
				s.sendall(raw[:at])
				s.shutdown(socket.SHUT_WR)
				if at < whole:
					self.assertNotIn(b"Access-Control-Allow-Origin", at_end(s), f"{at} of {len(raw)} bytes")
		for at in range(len(raw)):
			with self.r.connect() as s:
				s.sendall(raw[:at])
		self.r.check()

	def test_byte_by_byte(self):
		with self.r.connect() as s:
			for byte in fcgi.request(actual()):
				s.sendall(bytes([byte]))
			self.assertEqual(fcgi.read_answer(s).get("access-control-allow-origin"), A)

	def test_parameters_in_many_records(self):
		content = fcgi.encode(preflight())
		raw = fcgi.begin() + b"".join(fcgi.record(fcgi.PARAMS, content[i:i + 1]) for i in range(len(content)))
		with self.r.connect() as s:
			s.sendall(raw + fcgi.record(fcgi.PARAMS) + fcgi.record(fcgi.STDIN))
			self.assertEqual(fcgi.read_answer(s).status, 200)

	def test_padding(self):
		"""Of the records that web servers pad: libfcgi does not expect any behind BEGIN and the end of PARAMS."""
		for padding in 1, 7, 255:
			with self.r.connect() as s:
				for _ in range(2):
					s.sendall(fcgi.begin(flags=fcgi.KEEP_CONN) + padded(fcgi.PARAMS, fcgi.encode(actual()), padding) +
					    fcgi.record(fcgi.PARAMS) + padded(fcgi.STDIN, b"x" * 9000, padding) + fcgi.record(fcgi.STDIN))
					self.assertEqual(fcgi.read_answer(s).get("access-control-allow-origin"), A)

	def test_large_parameters(self):
		for size in 8 << 10, 64 << 10, 65535, 300 << 10:
			more = ("HTTP_X_LARGE", "x" * size)
			answer = self.r.ask([more, *actual()])
			self.assertEqual(answer.get("access-control-allow-origin"), A, size)
		self.assertIsNone(self.r.ask(actual("https://" + "a" * 65536)).get("access-control-allow-origin"))
		answer = self.r.ask(preflight(headers="," * 65536))
		self.assertEqual(answer.status, 403)
		many = [("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "x-a")] * 5000
		self.assertEqual(self.r.ask(preflight(A, *many)).status, 403)

	def test_full_records(self):
		content = fcgi.encode([("P" * 65530, "")])	# with 4 bytes of length, and 1 of the empty value's
		self.assertEqual(len(content), 65535)
		with self.r.connect() as s:
			s.sendall(fcgi.begin() + fcgi.record(fcgi.PARAMS, content) + fcgi.record(fcgi.PARAMS, fcgi.encode(actual())) +
			    fcgi.record(fcgi.PARAMS) + fcgi.record(fcgi.STDIN, b"x" * 65535) + fcgi.record(fcgi.STDIN))
			self.assertEqual(fcgi.read_answer(s).get("access-control-allow-origin"), A)

	def test_many_requests_on_one_connection(self):
		with self.r.connect() as s:
			for i in range(500):
				body = b"x" * (i * 37)	# read away, or the next request would begin inside
				params = actual() if i % 2 else actual(UNKNOWN)
				s.sendall(fcgi.request(params, flags=fcgi.KEEP_CONN, body=body))
				self.assertEqual(fcgi.read_answer(s).get("access-control-allow-origin"), A if i % 2 else None)
			s.sendall(fcgi.request(actual()))
			self.assertEqual(fcgi.read_answer(s).get("access-control-allow-origin"), A)
			self.assertEqual(at_end(s), b"")

	def test_a_body_without_end_is_cut_off(self):
		with self.r.connect() as s:
			s.sendall(fcgi.begin(flags=fcgi.KEEP_CONN) + fcgi.record(fcgi.PARAMS, fcgi.encode(actual())) + fcgi.record(fcgi.PARAMS))
			with self.assertRaises(OSError):
				for _ in range(100):
					s.sendall(fcgi.record(fcgi.STDIN, b"x" * 65535))
		self.r.check()

	def test_an_authorizer_does_not_wait_for_a_body(self):
		"""lighttpd announces one and sends neither it nor its end."""
		with self.r.connect(timeout=1.5) as s:
			s.sendall(fcgi.begin(fcgi.AUTHORIZER) + fcgi.record(fcgi.PARAMS,
			    fcgi.encode([*actual(), ("CONTENT_LENGTH", "12345")])) + fcgi.record(fcgi.PARAMS))
			self.assertEqual(fcgi.read_answer(s).get("variable-cors_allow_origin"), A)

	def test_abort(self):
		with self.r.connect() as s:
			s.sendall(fcgi.begin(flags=fcgi.KEEP_CONN) + fcgi.record(fcgi.ABORT))
			at_end(s)
		with self.r.connect() as s:
			s.sendall(fcgi.begin(flags=fcgi.KEEP_CONN) + fcgi.record(fcgi.PARAMS, fcgi.encode(actual())) +
			    fcgi.record(fcgi.PARAMS) + fcgi.record(fcgi.ABORT))
			at_end(s)
		self.r.check()

	def test_get_values(self):
		with self.r.connect() as s:
			s.sendall(fcgi.record(GET_VALUES, fcgi.encode([("FCGI_MPXS_CONNS", ""), ("OTHER", "")]), 0))
			s.sendall(fcgi.request(actual()))
			_, kind, _, size, padding = struct.unpack("!BBHHBx", fcgi.read_exactly(s, 8))
			self.assertEqual((kind, fcgi.read_exactly(s, size + padding)[:size]),
			    (GET_VALUES_RESULT, fcgi.encode([("FCGI_MPXS_CONNS", "0")])))
			self.assertEqual(fcgi.read_answer(s).get("access-control-allow-origin"), A)

	def test_nonsense_is_closed(self):
		for raw in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\0" * 64, b"\xff" * 64, fcgi.begin(role=77),
		    b"\2" + fcgi.request(actual())[1:], fcgi.record(fcgi.PARAMS, b"x"), fcgi.record(fcgi.STDIN),
		    fcgi.record(fcgi.BEGIN, b"short")):
			with self.r.connect() as s:
				s.sendall(raw)
				s.shutdown(socket.SHUT_WR)
				self.assertNotIn(b"Status", at_end(s), raw[:40])
		self.assertGreater(self.r.counters()["protocol_errors"], 0)
		self.r.check()

	def test_lengths_that_lie(self):
		for params in (b"\x0b\x10HTTP_ORIGIN", b"\xff\xff", b"\x80\x00\xff\xff\x01a"):
			with self.r.connect() as s:
				s.sendall(fcgi.begin() + fcgi.record(fcgi.PARAMS, params) + fcgi.record(fcgi.PARAMS) + fcgi.record(fcgi.STDIN))
				s.shutdown(socket.SHUT_WR)
				self.assertNotIn(b"Access-Control-Allow-Origin", at_end(s))
		self.r.check()

	def test_many_requests_in_one_write(self):
		"""Read late, too: what there was no room for is kept until there is."""
		with self.r.connect() as s:
			s.sendall(fcgi.request(actual(), flags=fcgi.KEEP_CONN) * 300)
			for _ in range(300):
				self.assertEqual(fcgi.read_answer(s).get("access-control-allow-origin"), A)

	def test_a_request_in_ever_so_many_writes(self):
		"""More of them than a socket's buffer has room for, one byte each."""
		raw = fcgi.request([*actual(), ("HTTP_X_LONG", "x" * 1000)])
		with self.r.connect() as s:
			for at in range(len(raw)):
				s.sendall(raw[at:at + 1])
			self.assertEqual(fcgi.read_answer(s).get("access-control-allow-origin"), A)

	def test_the_rest_of_a_body_that_nobody_waited_for(self):
		with self.r.connect() as s:
			for _ in range(3):
				s.sendall(fcgi.request(actual(), role=fcgi.AUTHORIZER, flags=fcgi.KEEP_CONN))
				self.assertEqual(fcgi.read_answer(s).get("variable-cors_allow_origin"), A)
				s.sendall(fcgi.record(fcgi.STDIN, b"x" * 100) + fcgi.record(fcgi.STDIN))

	def test_the_answer_does_not_wait_for_the_body(self):
		with self.r.connect(timeout=1.5) as s:
			s.sendall(fcgi.begin() + fcgi.record(fcgi.PARAMS, fcgi.encode(preflight())) + fcgi.record(fcgi.PARAMS) +
			    fcgi.record(fcgi.STDIN, b"x" * 100)[:50])
			self.assertEqual(fcgi.read_answer(s).get("access-control-allow-origin"), A)

	def test_values_are_told_at_once_and_management_is_bounded(self):
		names = fcgi.encode([("FCGI_MAX_CONNS", "")] * 9)
		with self.r.connect(timeout=1.5) as s:
			for raw, kind in (fcgi.record(GET_VALUES, names[:112], 0), GET_VALUES_RESULT), (fcgi.record(200, b"x", 0), UNKNOWN_TYPE):
				s.sendall(raw)
				_, got, _, size, padding = struct.unpack("!BBHHBx", fcgi.read_exactly(s, 8))
				fcgi.read_exactly(s, size + padding)
				self.assertEqual(got, kind)
		for raw in fcgi.record(GET_VALUES, names, 0), padded(GET_VALUES, names, 8, 0), fcgi.record(GET_VALUES, b"\xff" * 8, 0):
			with self.r.connect() as s:
				s.sendall(raw)
				self.assertEqual(at_end(s), b"")
		self.r.check()

	def test_another_request_on_the_same_connection_is_told_no(self):
		with self.r.connect() as s:
			s.sendall(fcgi.begin() + fcgi.begin(request_id=2))
			self.assertEqual(fcgi.read_exactly(s, 16), fcgi.record(fcgi.END, b"\0\0\0\0\1\0\0\0", 2))
			s.sendall(fcgi.record(fcgi.PARAMS, fcgi.encode(actual())) + fcgi.record(fcgi.PARAMS) + fcgi.record(fcgi.STDIN))
			self.assertEqual(fcgi.read_answer(s).get("access-control-allow-origin"), A)

	def test_lengths_that_kill(self):
		"""Each of them ended the process or took its memory while libfcgi read them."""
		big = [struct.pack("!II", 1 << 31 | n, 1 << 31 | v) for n, v in ((0x40000000, 0x40000000), (0x7ffffffe, 0x7ffffffe),
		    (0x3fffffff, 0x3fffffff), (0x7fffffff, 1), (1, 0x7fffffff), (0x7fffffff, 0x7fffffff))]
		for lengths in [*big, b"\x01" + big[0][4:], big[0][:4] + b"\x01"]:
			for rest in b"", b"x" * 200:
				with self.r.connect() as s:
					s.sendall(fcgi.begin() + fcgi.record(fcgi.PARAMS, lengths + rest) + fcgi.record(fcgi.PARAMS))
					self.assertEqual(at_end(s), b"")
		self.r.check()

	def test_parameters_without_end(self):
		before = memory_kb(self.r.process.pid)
		for record in fcgi.record(fcgi.PARAMS, b"\x01\x01ab" * 16000), padded(fcgi.PARAMS, b"\x01\x01ab", 255), \
		    fcgi.record(fcgi.PARAMS, b"x" * 65535, 2):
			with self.r.connect() as s:
				s.sendall(fcgi.begin())
				with self.assertRaises(OSError):
					for _ in range(100000):
						s.sendall(record)
		self.r.check()
		if not is_sanitized():
			self.assertLess(memory_kb(self.r.process.pid), before + 4096)

	def test_a_second_request_id_is_not_mixed_in(self):
		with self.r.connect() as s:
			s.sendall(fcgi.begin() + fcgi.record(fcgi.PARAMS, fcgi.encode(actual(UNKNOWN))) +
			    fcgi.record(fcgi.PARAMS, fcgi.encode(actual(A)), request_id=2) + fcgi.record(fcgi.PARAMS) + fcgi.record(fcgi.STDIN))
			self.assertIsNone(fcgi.read_answer(s).get("access-control-allow-origin"))


class Peers(unittest.TestCase):
	def allow_descriptors(self, count):
		soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
		if hard < count:
			harness.skip("not enough descriptors")
		resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
		self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

	def test_idle_connections_cost_no_thread(self):
		count = 3000
		self.allow_descriptors(count + 500)
		r = Responder(self, "--threads", "2")
		idle = [r.connect() for _ in range(count)]
		for s in idle[::2]:
			s.sendall(fcgi.request(actual(), flags=fcgi.KEEP_CONN))
			self.assertEqual(fcgi.read_answer(s).get("access-control-allow-origin"), A)
		for _ in range(50):
			r.check()
		for s in idle[::300]:
			s.sendall(fcgi.request(actual(), flags=fcgi.KEEP_CONN))
			self.assertEqual(fcgi.read_answer(s).get("access-control-allow-origin"), A)
		self.assertEqual(len(os.listdir(f"/proc/{r.process.pid}/task")), 3)
		r.stop()

	def test_slow_peers_cost_no_thread(self):
		"""A thousand of every kind and two threads: while each is still held, everybody else is answered."""
		count = 1000
		self.allow_descriptors(count + 500)
		r = Responder(self, "--threads", "2", "-o", "responder.io_timeout_ms=600000")
		kept, begun = fcgi.begin(flags=fcgi.KEEP_CONN), fcgi.record(fcgi.PARAMS, fcgi.encode(actual()))
		kinds = {
			"connect only": b"",
			"head": kept[:3],
			"parameters": kept + begun[:-3],
			"many parameters": kept + fcgi.record(fcgi.PARAMS, b"\x01\x01ab" * 4000),
			"body": kept + begun + fcgi.record(fcgi.PARAMS) + fcgi.record(fcgi.STDIN, b"x" * 100)[:-1],
			"body of a preflight": fcgi.request(preflight(), body=b"x" * 100)[:-9],
			"management": fcgi.record(GET_VALUES, b"x" * 9, 0)[:-1],
			"does not read": fcgi.request(actual(), flags=fcgi.KEEP_CONN) * 400,
		}
		slow = []
		for i in range(count):
			kind = list(kinds)[i % len(kinds)]
			slow.append((kind, r.connect()))
			slow[-1][1].sendall(kinds[kind])
		for _ in range(200):
			r.check()
		for kind, s in slow:
			self.assertFalse(is_at_end(s), kind)
		self.assertEqual(r.counters()["protocol_errors"], 0)
		for kind, s in slow:		# and none of them is forgotten
			if kind == "does not read":
				for _ in range(400):
					self.assertEqual(fcgi.read_answer(s).get("access-control-allow-origin"), A)
			elif kind == "parameters":
				s.sendall(begun[-3:] + fcgi.record(fcgi.PARAMS))
				self.assertEqual(fcgi.read_answer(s).get("access-control-allow-origin"), A)
		if not is_sanitized():
			self.assertLess(memory_kb(r.process.pid), 100 << 10)

	def test_a_request_has_one_deadline(self):
		"""However often a byte comes; and an idle connection has none."""
		r = Responder(self, "--threads", "1", "-o", "responder.io_timeout_ms=300")
		idle = r.connect()
		idle.sendall(fcgi.request(actual(), flags=fcgi.KEEP_CONN))
		self.assertEqual(fcgi.read_answer(idle).get("access-control-allow-origin"), A)
		head = fcgi.begin(flags=fcgi.KEEP_CONN)
		begun = head + fcgi.record(fcgi.PARAMS, fcgi.encode(actual())) + fcgi.record(fcgi.PARAMS)
		for start, drop in ((b"", fcgi.record(fcgi.PARAMS, b"x")), (head, fcgi.record(fcgi.PARAMS, b"x")),
		    (begun, fcgi.record(fcgi.STDIN, b"x"))):
			s = r.connect()
			s.sendall(start)
			endless = head + drop * 100000
			at = iter(range(len(endless)))

			def trickled(s=s, at=at, endless=endless if not start else drop * 100000):
				try:
					i = next(at)
					s.sendall(endless[i:i + 1])
				except OSError:
					return True
				return False
			harness.eventually("it is dropped", trickled)
		s = r.connect()		# does not read
		s.sendall(fcgi.request(actual(), flags=fcgi.KEEP_CONN) * 400)
		harness.eventually("it is dropped", lambda: r.counters()["protocol_errors"] == 4)
		idle.sendall(fcgi.request(actual()))
		self.assertEqual(fcgi.read_answer(idle).get("access-control-allow-origin"), A)

	def test_a_peer_that_does_not_read(self):
		r = Responder(self, "--threads", "1", "-o", "responder.io_timeout_ms=300")
		s = r.connect(timeout=0.2)
		with contextlib.suppress(OSError):
			for _ in range(2000):
				s.sendall(fcgi.request(actual(), flags=fcgi.KEEP_CONN))
		harness.eventually("others are served", lambda: r.ask(actual()).get("access-control-allow-origin") == A)

	def test_what_peers_leave_unfinished_is_bounded(self):
		"""64 MiB: who wants more loses the connection, everybody else is answered."""
		count, begun = 400, fcgi.begin() + fcgi.record(fcgi.PARAMS, b"\x01\x01ab" * 16000) * 4
		self.allow_descriptors(count + 100)
		r = Responder(self, "--threads", "1", "-o", "responder.io_timeout_ms=600000")
		peers = [r.connect() for _ in range(count)]
		for s in peers:
			with contextlib.suppress(OSError):	# it may be over before all is sent
				s.sendall(begun)
		harness.eventually("some of 100 MB are refused", lambda: any(is_at_end(s) for s in peers))
		r.check()
		self.assertFalse(is_at_end(peers[0]))
		if not is_sanitized():
			self.assertLess(memory_kb(r.process.pid), 100 << 10)

	def test_an_allowed_origin_is_not_refused_for_want_of_descriptors(self):
		"""The first look-up maps a file of the table: descriptors for that are kept back."""
		r = Responder(self, "--threads", "2", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)))
		kept = r.connect()
		kept.sendall(fcgi.request(actual(), flags=fcgi.KEEP_CONN)[:20])
		for _ in range(60):
			s = r.connect(timeout=2)
			with contextlib.suppress(OSError):	# there is no place for all
				s.sendall(fcgi.request(actual())[:20])
		harness.eventually("no more are taken", lambda: len(os.listdir(f"/proc/{r.process.pid}/fd")) >= 32)
		time.sleep(0.3)		# no condition to wait for: what is kept back stays so
		kept.sendall(fcgi.request(actual(), flags=fcgi.KEEP_CONN)[20:])
		self.assertEqual(fcgi.read_answer(kept).get("access-control-allow-origin"), A)

	def test_out_of_descriptors(self):
		r = Responder(self, "--threads", "2", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)))
		idle = [r.connect(timeout=2) for _ in range(60)]
		r.check()		# the idle ones yield, the longest idle first
		self.assertTrue(is_at_end(idle[0]))
		busy = [r.connect(timeout=2) for _ in range(60)]
		for s in busy:
			with contextlib.suppress(OSError):	# one that yielded before it could begin
				s.sendall(fcgi.request(actual())[:20])
		time.sleep(0.3)		# no condition to wait for: it must not spin meanwhile
		for s in busy:
			s.close()
		harness.eventually("it recovers", lambda: fcgi.page(r.socket, "ready") == 200)
		r.check()
		self.assertIn(r.counters()["accept_failures"], range(1, 500))


class Sockets(unittest.TestCase):
	def exits(self, r, status, words):
		self.assertEqual(r.process.wait(timeout=10), status, r.log.read_text())
		self.assertIn(words, r.log.read_text())

	def test_own(self):
		r = Responder(self, preexec_fn=lambda: os.umask(0o077))
		self.assertEqual(r.socket.stat().st_mode & 0o777, 0o660)
		r.stop()
		self.assertFalse(r.socket.exists())
		self.assertEqual([p.name for p in r.dir.iterdir() if "sock" in p.name], ["r.sock.lock"])

	def test_a_stale_socket_is_replaced(self):
		r = Responder(self)
		r.process.kill()
		r.process.wait()
		self.assertTrue(r.socket.exists())
		r.start()
		r.check()

	def test_a_live_socket_is_not_stolen(self):
		r = Responder(self)
		first = r.process
		r.start(wait=False)
		self.exits(r, 73, f"in use by process {first.pid}")
		r.process = first
		r.check()
		r.stop()

	def test_of_many_that_start_at_once_one_wins(self):
		r = Responder(self)
		r.stop()
		processes = [subprocess.Popen(r.argv(), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(8)]
		for process in processes:
			self.addCleanup(r.kill, process)
		harness.eventually("seven gave up", lambda: sum(p.poll() == 73 for p in processes) == 7)
		r.process = next(p for p in processes if p.poll() is None)
		r.check()
		r.stop()

	def test_nobody_else_can_lock_it_out(self):
		"""Whoever can read the socket's directory can lock it; the lock is a file that only its owner can open."""
		r = Responder(self, wait=False, table=None)
		r.kill(r.process)
		fd = os.open(r.dir, os.O_RDONLY)
		self.addCleanup(os.close, fd)
		fcntl.flock(fd, fcntl.LOCK_EX)
		r.start()
		self.assertEqual(os.stat(f"{r.socket}.lock").st_mode & 0o777, 0o600)
		r.stop()

	def test_a_file_in_its_place_stays(self):
		r = Responder(self)
		r.stop()
		r.socket.write_text("precious")
		r.start(wait=False)
		self.exits(r, 73, "no socket")
		self.assertEqual(r.socket.read_text(), "precious")

	def test_a_socket_that_is_no_longer_ours_stays(self):
		r = Responder(self)
		r.socket.unlink()
		with socket.socket(socket.AF_UNIX) as other:
			other.bind(str(r.socket))
			r.stop()
			self.assertTrue(r.socket.exists())

	def test_directory_missing(self):
		r = Responder(self, "--socket", "/nonexistent/r.sock", wait=False)
		self.exits(r, 73, "/nonexistent/r.sock")

	def test_group_missing(self):
		r = Responder(self, "-o", "responder.socket_group=no-such-group", wait=False)
		self.exits(r, 78, "no-such-group")
		self.assertFalse(r.socket.exists())

	def test_group(self):
		if os.geteuid() != 0:
			self.skipTest("only root gives files away")
		r = Responder(self, "-o", "responder.socket_group=daemon")
		self.assertEqual(r.socket.stat().st_gid, grp.getgrnam("daemon").gr_gid)

	def test_spawn_fcgi(self):
		spawn = shutil.which("spawn-fcgi", path=os.environ.get("PATH", "") + ":/usr/bin:/usr/sbin")
		if spawn is None:
			self.skipTest("spawn-fcgi is not installed")
		r = Responder(self)
		r.stop()
		pid_file = r.dir / "pid"
		subprocess.run([spawn, "-s", r.socket, "-M", "0660", "-P", pid_file, "--", *r.argv("--socket", f"{r.dir}/unused.sock")],
		    check=True, stdout=subprocess.DEVNULL, timeout=20)
		pid = int(pid_file.read_text())
		self.addCleanup(self.kill_pid, pid)
		harness.eventually("it answers", lambda: fcgi.page(r.socket, "ready") == 200)
		r.check()
		self.assertFalse((r.dir / "unused.sock").exists())
		os.kill(pid, signal.SIGTERM)
		harness.eventually("it stops", lambda: not self.is_running(pid))
		self.assertTrue(r.socket.exists())		# not ours to remove

	def is_running(self, pid):
		try:
			return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
		except FileNotFoundError:
			return False

	def kill_pid(self, pid):
		if self.is_running(pid):
			os.kill(pid, signal.SIGKILL)

	def listener(self, r):
		listener = socket.socket(socket.AF_UNIX)
		self.addCleanup(listener.close)
		listener.bind(str(r.socket))
		listener.listen(1024)
		return listener

	def as_systemd(self, r, listener, count=1):
		"""Arguments of a process that is given the listener as fd 3, as systemd does."""
		script = 'LISTEN_PID=$$ LISTEN_FDS="$1"; export LISTEN_PID LISTEN_FDS; shift; exec "$@" 3<&0 </dev/null'
		return {"argv": ["/bin/sh", "-c", script, "sh", str(count), *r.argv()], "stdin": listener}

	def test_listen_fds(self):
		r = Responder(self)
		r.stop()
		r.start(**self.as_systemd(r, self.listener(r)))
		r.check()
		r.stop()
		self.assertTrue(r.socket.exists())

	def test_too_many_listen_fds(self):
		r = Responder(self)
		r.stop()
		r.start(wait=False, **self.as_systemd(r, self.listener(r), count=2))
		self.exits(r, 78, "2 were passed")

	def test_processes_share_a_listener(self):
		r = Responder(self)
		r.stop()
		with self.listener(r) as listener:
			r.start(stdin=listener)
			first = r.process
			r.start(stdin=listener)
			self.assertTrue(fcntl.fcntl(listener, fcntl.F_GETFL) & os.O_NONBLOCK)	# or the one that comes late blocks
		for _ in range(50):
			r.check()
		r.stop()
		r.process = first
		for _ in range(50):
			r.check()
		r.stop()


class Load:
	"""Clients of both kinds that never pause; every request must be answered, unless it was never taken."""

	def __init__(self, case, r, patience=0):
		self.r, self.case, self.patience = r, case, patience
		self.served, self.refused, self.failed = 0, 0, []
		self.over = threading.Event()
		self.threads = [threading.Thread(target=self.short), threading.Thread(target=self.kept), threading.Thread(target=self.short)]

	def __enter__(self):
		for thread in self.threads:
			thread.start()
		self.serve_more(100)
		return self

	def __exit__(self, *_):
		self.over.set()
		for thread in self.threads:
			thread.join()

	def serve_more(self, n):
		start = self.served
		harness.eventually("more requests are served", lambda: self.served >= start + n or self.failed)

	def connect(self):
		"""None: nobody listens, so that nothing can have been lost."""
		s = socket.socket(socket.AF_UNIX)
		s.settimeout(20)
		try:
			s.connect(str(self.r.socket))
			return s
		except (ConnectionRefusedError, FileNotFoundError):
			s.close()
			self.refused += 1
			time.sleep(0.001)
			return None

	def exchange(self, s, flags=0):
		s.sendall(fcgi.request(actual(), flags=flags))
		if fcgi.read_answer(s).get("access-control-allow-origin") != A:
			self.failed.append("a wrong answer")
		self.served += 1

	def short(self):
		while not self.over.is_set():
			if (s := self.connect()) is not None:
				with s:
					try:
						self.exchange(s)
					except OSError as error:
						self.failed.append(f"short: {error!r}")

	def kept(self):
		"""A request that could not be written was not taken: that is the web server's cue to ask again."""
		while not self.over.is_set():
			if (s := self.connect()) is None:
				continue
			with s:
				first = True
				while not self.over.is_set():
					try:
						s.sendall(fcgi.request(actual(), flags=fcgi.KEEP_CONN))
					except (BrokenPipeError, ConnectionResetError):
						if first:
							self.failed.append("kept: the first request was not taken")
						break
					try:
						if fcgi.read_answer(s).get("access-control-allow-origin") != A:
							self.failed.append("a wrong answer")
						self.served += 1
					except OSError as error:
						self.failed.append(f"kept: {error!r}")
						break
					first = False


class Lifecycle(unittest.TestCase):
	def test_stop_under_load(self):
		for _ in range(8):
			r = Responder(self)
			with Load(self, r) as load_:
				r.stop()
			self.assertEqual(load_.failed, [])
			self.assertGreater(load_.served, 100)

	def test_what_waits_in_the_queue_is_served(self):
		r = Responder(self, "--threads", "1")
		os.kill(r.process.pid, signal.SIGSTOP)
		waiting = [r.connect() for _ in range(50)]
		for s in waiting:
			s.sendall(fcgi.request(actual()))
		r.process.send_signal(signal.SIGTERM)
		os.kill(r.process.pid, signal.SIGCONT)
		for s in waiting:
			self.assertEqual(fcgi.read_answer(s).get("access-control-allow-origin"), A)
		self.assertEqual(r.process.wait(timeout=20), 0)

	def test_idle_connections_do_not_delay_the_end(self):
		r = Responder(self)
		idle = [r.connect() for _ in range(20)]
		for s in idle:
			s.sendall(fcgi.request(actual(), flags=fcgi.KEEP_CONN))
			fcgi.read_answer(s)
		r.process.send_signal(signal.SIGTERM)
		for s in idle:
			self.assertEqual(at_end(s), b"")
		self.assertEqual(r.process.wait(timeout=20), 0)

	def test_restart_on_a_held_listener(self):
		r = Responder(self)
		r.stop()
		with socket.socket(socket.AF_UNIX) as listener:
			listener.bind(str(r.socket))
			listener.listen(1024)
			r.start(stdin=listener)
			with Load(self, r) as load_:
				for i in range(5):
					r.stop()
					r.start(stdin=listener, wait=False)
					load_.serve_more(50)
			self.assertEqual((load_.failed, load_.refused), ([], 0))
			r.stop()

	def test_no_table_then_a_table(self):
		r = Responder(self, table=None)
		page = r.ask([("REQUEST_METHOD", "GET"), ("CORS_PAGE", "ready")])
		self.assertEqual(page.status, 503)
		self.assertIn(b"not ready: ", page.body)
		answer = r.ask(preflight(A, ("CORS_DEBUG", "1")))
		self.assertEqual((answer.status, answer.get("corscache-decision")), (403, "refuse; reason=not-ready"))
		self.assertEqual(r.ask(actual()).status, 204)
		load(r.dir)
		harness.eventually("it notices", lambda: fcgi.page(r.socket, "ready") == 200)
		time.sleep(1.5)		# every thread has looked again: they do once a second, each for itself
		for _ in range(20):
			r.check()
		harness.eventually("it says so", lambda: "table: ready" in r.log.read_text())
		self.assertEqual(r.log.read_text().count("table: not ready"), 1)
		load(r.dir, TABLE.replace(A, "https://new.example"))
		answer = lambda: r.ask(actual("https://new.example")).get("access-control-allow-origin")	# noqa: E731
		harness.eventually("a table loaded anew", lambda: answer() == "https://new.example")
		time.sleep(1.5)
		self.assertEqual({answer() for _ in range(20)}, {"https://new.example"})
		self.assertIsNone(r.ask(actual()).get("access-control-allow-origin"))

	def test_a_malformed_table(self):
		r = Responder(self, table=None)
		r.stop()
		load(r.dir)
		for path in (r.dir / "v1").iterdir():
			with open(path, "r+b") as f:
				f.write(os.urandom(path.stat().st_size))
		r.start()
		self.assertEqual(fcgi.page(r.socket, "ready"), 503)
		self.assertIsNone(r.ask(actual()).get("access-control-allow-origin"))
		shutil.rmtree(r.dir / "v1")
		(r.dir / "v1").write_text("not a directory")
		r.stop()
		r.start()
		self.assertIsNone(r.ask(actual()).get("access-control-allow-origin"))
		r.stop()

	def test_counters_that_cannot_be_had(self):
		r = Responder(self)
		r.stop()
		shutil.rmtree(r.dir / "counters")
		(r.dir / "counters").write_text("")
		r.start()
		r.check()
		self.assertEqual(r.log.read_text().count("counters: not shared"), 1)
		r.stop()

	def test_numbers_outlive_a_kill(self):
		r = Responder(self)
		for _ in range(10):
			r.check()
		before = r.counters()
		r.process.kill()
		r.process.wait()
		r.start()
		after = r.counters()
		self.assertGreaterEqual(before["actuals_allowed"], 10)
		self.assertEqual(after["actuals_allowed"], before["actuals_allowed"])

	def config(self, r, text):
		file = r.dir / "corscache.conf"
		file.write_text(text)
		return file

	def test_reload(self):
		r = Responder(self)
		r.stop()
		file = self.config(r, "responder { preflight_status = 200 }\n")
		argv = [program("corscache-responder"), "-c", str(file), "-o", f"table.path={r.dir}", "--socket", str(r.socket)]
		r.start(argv=argv)
		status = lambda: r.ask(preflight()).status	# noqa: E731
		self.assertEqual(status(), 200)
		self.config(r, "responder { preflight_status = 204\n threads = 5 }\n")
		r.process.send_signal(signal.SIGHUP)
		harness.eventually("both threads follow", lambda: all(status() == 204 for _ in range(20)))
		harness.eventually("it is said", lambda: "setting=responder.threads" in r.log.read_text())
		self.config(r, "responder { preflight_status = 200\n max_stale_s = -7 }\n")
		r.process.send_signal(signal.SIGHUP)
		harness.eventually("the complaint", lambda: "not reloaded" in r.log.read_text())
		self.assertEqual({status() for _ in range(20)}, {204})
		self.config(r, "responder { preflight_status = 200\n max_stale_s = 1 }\n")
		r.process.send_signal(signal.SIGHUP)
		harness.eventually("the table is stale", lambda: fcgi.page(r.socket, "ready") == 503 and status() == 403)
		r.stop()

	def test_command_line(self):
		run = lambda *args: subprocess.run([program("corscache-responder"), *args], capture_output=True, text=True,	# noqa: E731
		    stdin=subprocess.DEVNULL, timeout=10)
		self.assertEqual(run("-t", "-c", "/dev/null").returncode, 0)
		self.assertEqual(run("-t", "-c", "/dev/null", "--threads", "0").returncode, 78)
		self.assertEqual(run("-t", "-c", "/nonexistent").returncode, 78)
		self.assertEqual(run("--nonsense").returncode, 64)
		self.assertEqual(run("word").returncode, 64)
		self.assertRegex(run("-V").stdout, r"^corscache-responder \d")
		self.assertIn("usage:", run("-h").stdout)


if __name__ == "__main__":
	program("corscache-responder")
	bounds.main()

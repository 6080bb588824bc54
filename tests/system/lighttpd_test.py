#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
lighttpd -- whatever a site has in its own configuration: the usual requests
are answered right under each directive, set globally or in a condition, before
corscache.conf or behind it; or lighttpd does not start, and says why.
"""

import contextlib
import os
import random
import socket
import subprocess
import threading
import unittest

import harness

A, B = "https://a.example", "https://b.example"
ROWS = """
INSERT INTO cors.policies (name, methods, headers, expose_headers, credentials, max_age) VALUES
	('web', '{GET,POST,PUT}', '{content-type}', '{X-Total}', false, 600);
INSERT INTO cors.origins (realm, origin, policy) VALUES
	('', 'https://a.example', 'web'), ('strict', 'https://a.example', 'web');
"""
CORS = ("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers",
    "Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Max-Age")
OWN = "?" + "&".join("header=" + name for name in ("Access-Control-Allow-Origin:https://evil.example",
    "Access-Control-Allow-Credentials:true", "Access-Control-Allow-Methods:PURGE", "Vary:Accept"))
SECRET = b"<?php secret"

# What the applications are, and what each answers to GET.
PATHS = {"static": "/index.txt", "php": "/x.php", "fastcgi": "/fastcgi/x", "uwsgi": "/uwsgi/x", "scgi": "/scgi/x", "proxied": "/app/x"}
MODULES = ("indexfile access alias redirect rewrite auth authn_file expire extforward ssi status userdir evhost "
    "simple_vhost setenv magnet fastcgi scgi proxy cgi").split()

SITE = """
server.modules = ( {modules} )
server.bind = "127.0.0.1"
server.port = {port}
server.document-root = "{dir}/site"
server.upload-dirs = ( "{dir}/tmp" )
server.errorlog = "{dir}/log/{name}.log"
mimetype.assign = ( ".txt" => "text/plain", "" => "application/octet-stream" )
auth.backend = "plain"
auth.backend.plain.userfile = "{dir}/etc/users"
"""
APPLICATIONS = """
fastcgi.server = ( ".php" => (( "socket" => "{dir}/app.sock.fastcgi" )),
	"/fastcgi/" => (( "socket" => "{dir}/app.sock.fastcgi", "check-local" => "disable" )) )
scgi.server = ( "/scgi/" => (( "socket" => "{dir}/app.sock.scgi", "check-local" => "disable" )),
	"/uwsgi/" => (( "socket" => "{dir}/app.sock.uwsgi", "check-local" => "disable" )) )
$HTTP["url"] =~ "^/uwsgi/" {
	scgi.protocol = "uwsgi"
}
$HTTP["url"] =~ "^/app/" {
	proxy.server = ( "" => (( "host" => "{dir}/app.sock" )) )
}
$HTTP["host"] == "strict.localhost" {
	setenv.set-environment = ( "CORS_REALM" => "strict", "CORS_ENFORCE" => "1" )
}
"""
INCLUDE = 'include "{dir}/etc/lighttpd/corscache.conf"\n'
LATE = "behind corscache.conf"	# what lighttpd says instead of starting

# The directive; what it makes of actual requests: a status for all or for some; what a condition behind corscache.conf
# is told (None: it may stand there); likewise a condition before it.
DIRECTIVES = (
    ('auth.require = ( "/" => ( "method" => "basic", "realm" => "x", "require" => "valid-user" ) )', 401, LATE, None),
    ('url.access-deny = ( "" )', 403, LATE, None),
    ('url.access-allow = ( ".none" )', 403, LATE, None),
    ('url.redirect = ( "" => "/elsewhere" )', 301, LATE, None),
    ('url.rewrite-once = ( "^/(.*)" => "/$1" )', {}, None, None),
    ('url.rewrite-if-not-file = ( "^/(.*)" => "/$1" )', {}, None, None),
    ('setenv.add-response-header = ( "Access-Control-Allow-Origin" => "*", "Vary" => "Cookie" )', {}, LATE, None),
    ('setenv.set-response-header = ( "Access-Control-Allow-Origin" => "*", "Access-Control-Allow-Credentials" => "true" )',
	{}, LATE, None),
    ('setenv.add-environment = ( "SITE" => "1" )', {}, None, None),
    ('setenv.set-environment = ( "SITE" => "1" )', {}, "setenv.add-environment", "setenv.add-environment"),
    ('server.stream-request-body = 1', {}, LATE, None),
    ('server.stream-request-body = 2', {}, LATE, None),
    ('server.stream-response-body = 1', {}, None, None),
    ('server.stream-response-body = 2', {}, None, None),
    ('server.range-requests = "disable"', {}, None, None),
    ('server.protocol-http11 = "disable"', {}, None, None),
    ('server.max-request-size = 1', {}, None, None),
    ('server.max-keep-alive-requests = 1', {}, None, None),
    ('server.force-lowercase-filenames = "enable"', {}, None, None),
    ('server.follow-symlink = "disable"', {}, None, None),
    ('server.error-handler = "/x.php"', {}, None, None),
    ('server.error-handler-404 = "/x.php"', {}, None, None),
    ('server.errorfile-prefix = "/nowhere/"', {}, None, None),
    ('server.name = "other"', {}, None, None),
    ('server.tag = ""', {}, None, None),
    ('server.document-root = "{dir}/site/"', {}, None, None),
    ('server.max-read-idle = 5', {}, None, None),
    ('index-file.names = ( "x.php" )', {}, None, None),
    ('dir-listing.activate = "enable"', {}, None, None),
    ('static-file.exclude-extensions = ( ".txt", ".php" )', {"static": 403}, None, None),
    ('static-file.disable-pathinfo = "enable"', {}, None, None),
    ('static-file.etags = "disable"', {}, None, None),
    ('expire.url = ( "" => "access plus 1 hours" )', {}, None, None),
    ('cgi.assign = ( ".cgi" => "/bin/sh" )', {}, None, None),
    ('ssi.extension = ( ".txt" )', {}, None, None),
    ('status.status-url = "/server-status"', {}, None, None),
    ('alias.url = ( "/other/" => "{dir}/site/" )', {}, None, None),
    ('userdir.path = "public_html"', {}, None, None),
    ('extforward.forwarder = ( "all" => "trust" )', {}, None, None),
    ('proxy.header = ( "map-urlpath" => ( "/app/" => "/app/" ) )', {}, None, None),
    ('proxy.forwarded = ( "for" => 1, "host" => 1 )', {}, None, None),
    ('proxy.server = ( "/app/" => (( "host" => "{dir}/app.sock" )) )', {}, None, None),
    ('scgi.balance = "hash"', {}, None, None),
    ('fastcgi.balance = "sticky"', {}, None, None),
    ('fastcgi.map-extensions = ( ".php5" => ".php" )', {}, None, None),
    ('fastcgi.debug = 1', {}, None, None),
    ('magnet.attract-raw-url-to = ( "{dir}/etc/nothing.lua" )', {}, LATE, None),
    ('magnet.attract-raw-url-to = ( "{dir}/etc/forbids.lua" )', 403, LATE, None),
    ('magnet.attract-physical-path-to = ( "{dir}/etc/nothing.lua" )', {}, LATE, None),
    ('magnet.attract-physical-path-to = ( "{dir}/etc/forbids.lua" )', 403, LATE, None),
    ('magnet.attract-response-start-to = ( "{dir}/etc/adds.lua" )', {}, "replaces corscache.lua", "replaces corscache.lua"),
    ('fastcgi.server = ( "/fastcgi/" => (( "socket" => "{dir}/app.sock.fastcgi", "check-local" => "disable" )) )',
	{}, "unchecked", "might get its source"),
)


def setUpModule():
	sql = harness.Psql()
	for statement in ROWS.split(";\n"):
		sql(statement)
	sql.close()
	where = harness.stack.dir
	(where / "site").mkdir()
	(where / "site" / "index.txt").write_text("static\n" * 100)
	(where / "site" / "x.php").write_text("<?php secret")
	(where / "etc" / "users").write_text("user:password\n")
	(where / "etc" / "nothing.lua").write_text("return 0\n")
	(where / "etc" / "forbids.lua").write_text("return 403\n")
	(where / "etc" / "adds.lua").write_text('lighty.r.resp_header["Access-Control-Allow-Origin"] = "*"\nreturn 0\n')
	client = harness.Client(harness.stack.env["LIGHTTPD_URL"])
	harness.eventually("the rows are in force", lambda: client.allowed(A))
	client.close()


def free_port():
	while True:
		port = random.randrange(20000, 32000)
		with contextlib.closing(socket.socket()) as s:
			s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
			with contextlib.suppress(OSError):
				s.bind(("127.0.0.1", port))
				return port


class NotStarted(Exception):
	pass


def write_site(text, modules=MODULES):
	"""The configuration file, and its port."""
	port = free_port()
	file = harness.stack.dir / "etc" / "site.conf"
	words = {"dir": harness.stack.dir, "port": port, "name": "site", "modules": ", ".join(f'"mod_{m}"' for m in modules)}
	file.write_text(SITE.format(**words) + text.replace("{dir}", str(harness.stack.dir)))
	return file, port


def listens(port):
	with contextlib.closing(socket.socket()) as s:
		return s.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def lighttpd(text, modules=MODULES):
	"""A client of a lighttpd with this site; NotStarted: what it said instead."""
	file, port = write_site(text, modules)
	log = harness.stack.dir / "log" / "site.out"
	with open(log, "wb") as out:
		process = subprocess.Popen(["lighttpd", "-D", "-f", file], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
		    env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"})
	try:
		harness.eventually("lighttpd listens or ends", lambda: process.poll() is not None or listens(port))
		if process.poll() is not None:
			raise NotStarted(log.read_text())
		client = harness.Client(f"http://127.0.0.1:{port}")
		yield client
		client.close()
	finally:
		process.terminate()
		try:
			process.wait(harness.WAIT_S)
		except subprocess.TimeoutExpired:
			process.kill()
			process.wait(harness.WAIT_S)


def site(before="", behind="", applications=APPLICATIONS):
	return applications + before + "\n" + INCLUDE + behind + "\n"


def in_condition(text):
	return '$HTTP["url"] =~ "^/" {\n' + text + "\n}\n"


class Cases(unittest.TestCase):
	def ask(self, client, what, method="GET", origin=None, host="localhost", extra=()):
		headers = [("Origin", origin)] if origin else []
		path = PATHS[what] + (OWN if what != "static" else "")
		reply = client(method, path, headers + list(extra), host=host)
		self.assertNotIn(SECRET, reply.body, f"{what} {headers}")
		return reply

	def assert_cors(self, reply, origin, what):
		"""All six, and only once: those of an actual request that is allowed, or none."""
		wanted = {"Access-Control-Allow-Origin": [origin] if origin else [], "Access-Control-Expose-Headers": ["x-total"] if origin else []}
		for name in CORS:
			self.assertEqual(reply.all(name), wanted.get(name, []), f"{what}: {name}")
		self.assertIn("origin", reply.vary(), what)

	def assert_preflights(self, client, what, extra=()):
		asks = [("Access-Control-Request-Method", "PUT"), *extra]
		reply = self.ask(client, what, "OPTIONS", A, extra=asks)
		self.assertEqual(reply.status, 200, f"{what}: preflight")
		self.assertEqual(reply.get("Access-Control-Allow-Origin"), A, f"{what}: preflight")
		self.assertEqual(reply.get("Access-Control-Allow-Methods"), "GET,POST,PUT", f"{what}: preflight")
		self.assertIsNone(reply.get("Access-Control-Allow-Credentials"), f"{what}: preflight")
		self.assertEqual(reply.get("Vary"), "Origin, Access-Control-Request-Method, Access-Control-Request-Headers", what)
		reply = self.ask(client, what, "OPTIONS", B, extra=asks)
		self.assertEqual((reply.status, reply.body), (403, b""), f"{what}: preflight refused")
		for name in CORS:
			self.assertEqual(reply.all(name), [], f"{what}: preflight refused: {name}")

	def assert_usual(self, client, changed):
		"""changed: the status of all answers that lighttpd decides early, or of some."""
		for what in PATHS:
			early = changed if isinstance(changed, int) else None
			status = early or changed.get(what, 200)
			self.assert_preflights(client, what)
			reply = self.ask(client, what, origin=A)
			self.assertEqual(reply.status, status, what)
			self.assert_cors(reply, None if early else A, what)
			reply = self.ask(client, what, origin=B)
			self.assertEqual(reply.status, status, f"{what}: refused")
			self.assert_cors(reply, None, f"{what}: refused")
			reply = self.ask(client, what)
			self.assertEqual(reply.status, status, f"{what}: no origin")
			self.assert_cors(reply, None, f"{what}: no origin")
			reply = self.ask(client, what, origin=B, host="strict.localhost")
			self.assertEqual(reply.status, early or 403, f"{what}: refused and enforced")
			self.assertNotIn(b"GET 200", reply.body, f"{what}: refused and enforced")
			self.assert_cors(reply, None, f"{what}: refused and enforced")
			reply = self.ask(client, what, origin=A, host="strict.localhost")
			self.assertEqual(reply.status, status, f"{what}: allowed and enforced")

	def assert_not_started(self, text, *said, modules=MODULES):
		with self.assertRaises(NotStarted, msg=text) as refused, lighttpd(text, modules):
			pass
		for words in said:
			self.assertIn(words, str(refused.exception))
		file, _ = write_site(text, modules)
		test = subprocess.run(["/usr/sbin/lighttpd", "-tt", "-f", file], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
		    stderr=subprocess.DEVNULL, timeout=harness.WAIT_S)
		self.assertNotEqual(test.returncode, 0, "lighttpd -tt says no, too")


class Directives(Cases):
	def one(self, text, changed, refusal):
		if refusal:
			self.assert_not_started(text, refusal)
		else:
			with lighttpd(text) as client:
				self.assert_usual(client, changed)

	def test_none(self):
		with lighttpd(site()) as client:
			self.assert_usual(client, {})

	def test_globally(self):
		for directive, changed, *_ in DIRECTIVES:
			if directive.startswith(("fastcgi.server", "server.document-root")):
				continue	# the site has them already
			with self.subTest(directive):
				self.one(site(directive), changed, None)

	def test_in_a_condition_before(self):
		for directive, changed, _, refusal in DIRECTIVES:
			with self.subTest(directive):
				self.one(site(in_condition(directive)), changed, refusal)

	def test_in_a_condition_behind(self):
		for directive, changed, refusal, _ in DIRECTIVES:
			with self.subTest(directive):
				self.one(site(behind=in_condition(directive)), changed, refusal)


# One FastCGI application that only a condition names.
CONDITION = '$HTTP["url"] =~ "^/fastcgi/" {\n'
GLOBAL_ONE = '	"/fastcgi/" => (( "socket" => "{dir}/app.sock.fastcgi", "check-local" => "disable" ))'
IN_CONDITION = CONDITION + "fastcgi.server = ( " + GLOBAL_ONE + ' )\n}\n'
OTHERS = APPLICATIONS.replace(",\n" + GLOBAL_ONE, "")
AGAIN = CONDITION + 'include "{dir}/etc/lighttpd/corscache_ask.conf"\n}\n'
ADDS = 'magnet.attract-response-start-to += ( "{dir}/etc/nothing.lua" )\n'


class Arrangements(Cases):
	def test_an_application_that_a_condition_names(self):
		for before, behind in ((IN_CONDITION, ""), ("", IN_CONDITION)):
			self.assert_not_started(site(before, behind, OTHERS), "fastcgi.server", "/fastcgi/", "corscache_ask.conf")
		for before, behind in ((IN_CONDITION, AGAIN), ("", IN_CONDITION + AGAIN)):
			with lighttpd(site(before, behind, OTHERS)) as client:
				self.assert_usual(client, {})

	def test_the_condition_named_again_too_early(self):
		self.assert_not_started(site(IN_CONDITION + AGAIN, "", OTHERS), "might get its source")

	def test_an_application_in_the_last_of_several_branches(self):
		other = '$HTTP["host"] == "other" { server.tag = "x" }\nelse '
		self.assert_not_started(site(other + IN_CONDITION, "", OTHERS), "fastcgi.server")

	def test_only_for_one_host(self):
		here = '$HTTP["host"] =~ "localhost" {\n' + INCLUDE + "}\n"
		elsewhere = '$HTTP["host"] =~ "other" {\n' + IN_CONDITION + "}\n"
		with lighttpd(APPLICATIONS + elsewhere + here) as client:
			self.assert_usual(client, {})
			reply = self.ask(client, "fastcgi", origin=A, host="other")
			self.assertEqual(reply.get("Access-Control-Allow-Origin"), "https://evil.example")

	def test_a_realm_of_another_host_is_no_obstacle(self):
		with lighttpd(site('$HTTP["host"] == "other" {\nsetenv.set-environment = ( "SITE" => "1" )\n}\n')) as client:
			self.assert_usual(client, {})

	def test_modules(self):
		for module in ("setenv", "magnet", "fastcgi"):
			self.assert_not_started(site(), f"no mod_{module}", modules=[m for m in MODULES if m != module])
		for first in ("proxy", "scgi", "cgi"):
			self.assert_not_started(site(), f"mod_{first} stands before mod_fastcgi",
			    modules=[first] + [m for m in MODULES if m != first])
		self.assert_not_started(site(), "mod_magnet stands before mod_setenv", modules=["magnet"] + [m for m in MODULES if m != "magnet"])

	def test_a_minimal_site_starts_without_a_warning(self):
		with lighttpd('$HTTP["url"] =~ "^/" {\n}\n' + INCLUDE, ["setenv", "magnet", "fastcgi"]) as client:
			self.assertTrue(client.allowed(A, path="/index.txt"))
		self.assertNotIn("WARNING", (harness.stack.dir / "log" / "site.out").read_text())

	def test_scripts_of_the_site(self):
		with lighttpd(site(ADDS.replace("+=", "="), ADDS)) as client:
			self.assert_usual(client, {})


class Script(Cases):
	def test_ranges_that_nobody_can_satisfy(self):
		size = len("static\n" * 100)
		with lighttpd(site()) as client:
			for ranges, status in ((f"{size}-", 416), ("9-8", 416), ("-0", 416), ("x", 416), ("9" * 30 + "-", 416), ("-" + "9" * 30, 416),
			    ("1-" + "9" * 30, 416), ("1-2", 206), (f"{size - 1}-", 206), ("-5", 206), (f"{size}-,0-1", 206)):
				for origin in (A, B, None):
					reply = client("GET", PATHS["static"], [("Range", "bytes=" + ranges)] + ([("Origin", origin)] if origin else []))
					self.assertEqual(reply.status, status, ranges)
					self.assert_cors(reply, A if origin == A else None, ranges)
					if status == 416:
						self.assertEqual((reply.get("Content-Range"), reply.body), (f"bytes */{size}", b""), ranges)

	def test_what_fails_lets_nothing_through(self):
		script = harness.stack.dir / "etc" / "lighttpd" / "corscache.lua"
		text = script.read_text()
		self.addCleanup(script.write_text, text)
		script.write_text(text.replace("local function write_verdict()", "local function write_verdict()\n\terror('broken')"))
		with lighttpd(site()) as client:
			for what in PATHS:
				for origin in (A, B):
					self.assert_cors(self.ask(client, what, origin=origin), None, what)
		self.assertIn("broken", (harness.stack.dir / "log" / "site.log").read_text())


class Slow(Cases):
	def trickle(self, address, stop):
		"""A preflight whose body comes byte by byte until stop is set."""
		with contextlib.closing(socket.create_connection(address, harness.WAIT_S)) as s, contextlib.suppress(OSError):
			s.sendall(f"OPTIONS / HTTP/1.1\r\nHost: x\r\nOrigin: {A}\r\nAccess-Control-Request-Method: PUT\r\n"
			    "Content-Length: 100000\r\n\r\n".encode())
			while not stop.wait(0.1):
				s.sendall(b"x")

	def test_preflights_whose_body_does_not_end(self):
		"""Four of them, and the responder has two threads: others are answered nevertheless."""
		stop = threading.Event()
		with lighttpd(site("server.stream-request-body = 1")) as client:
			slow = [threading.Thread(target=self.trickle, args=((client.host, client.port), stop)) for _ in range(4)]
			try:
				for thread in slow:
					thread.start()
				for _ in range(3):
					self.assert_usual(client, {})
			finally:
				stop.set()
				for thread in slow:
					thread.join(harness.WAIT_S)


if __name__ == "__main__":
	harness.main("--lighttpd")

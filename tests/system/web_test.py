#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
web -- what a browser sees through nginx and lighttpd, run with the files of
packaging/ as they are.
"""

import functools
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

import fcgi
import harness
import hostile

ROWS = """
INSERT INTO cors.policies (name, methods, headers, expose_headers, credentials, max_age) VALUES
	('web', '{GET,POST,PUT}', '{content-type,x-token}', '{X-Total}', false, 600),
	('signed-in', '{GET,POST,DELETE}', '{content-type,authorization}', '{X-Total,X-Page}', true, NULL),
	('anything', '{*}', '{*}', '{*}', false, 0);
INSERT INTO cors.origins (realm, origin, policy, allow) VALUES
	('', 'https://a.example', 'web', true),
	('', 'https://*.wild.example', 'web', true),
	('', 'https://no.wild.example', 'web', false),
	('', 'https://in.example', 'signed-in', true),
	('shop', 'https://shop.example', 'web', true),
	('strict', 'https://ok.example', 'web', true),
	('public', '*', 'anything', true);
"""
A = "https://a.example"
CORS = ("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers",
    "Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Max-Age")
PREFLIGHT_VARY = {"origin", "access-control-request-method", "access-control-request-headers"}
STATUSES = (200, 201, 204, 301, 304, 400, 401, 403, 404, 500, 502, 503)


def setUpModule():
	sql = harness.Psql()
	for statement in ROWS.split(";\n"):
		sql(statement)
	sql.close()
	for url in ("NGINX_URL", "LIGHTTPD_URL"):
		client = harness.Client(harness.stack.env[url])
		harness.eventually("the rows are in force", lambda: client.allowed("https://x", host="public.localhost"))
		client.close()


def metric(name):
	page = fcgi.ask(harness.stack.env["RESPONDER_SOCKET"], [("REQUEST_METHOD", "GET"), ("CORS_PAGE", "metrics")])
	return int(re.search(rf"^{re.escape(name)} (\d+)", page.body.decode(), re.MULTILINE)[1])


class Server:
	"""Everything that both servers do alike; see the two classes below."""

	def setUp(self):
		self.client = harness.Client(harness.stack.env[self.url])
		self.addCleanup(self.client.close)

	def assert_no_cors(self, reply):
		for name in CORS:
			self.assertEqual(reply.all(name), [], name)

	# Preflights

	def test_preflight_allowed(self):
		reply = self.client.preflight(A, "PUT", "content-type,x-token")
		self.assertIn(reply.status, range(200, 300))
		self.assertEqual(reply.get("Access-Control-Allow-Origin"), A)
		self.assertIsNone(reply.get("Access-Control-Allow-Credentials"))
		self.assertIn("PUT", reply.get("Access-Control-Allow-Methods"))
		self.assertIn("x-token", reply.get("Access-Control-Allow-Headers").lower())
		self.assertEqual(reply.get("Access-Control-Max-Age"), "600")
		self.assertLessEqual(PREFLIGHT_VARY, reply.vary())
		self.assertEqual(len(reply.all("Vary")), 1)
		self.assertEqual(reply.body, b"")

	def test_preflight_with_credentials(self):
		reply = self.client.preflight("https://in.example", "DELETE", "authorization")
		self.assertIn(reply.status, range(200, 300))
		self.assertEqual(reply.get("Access-Control-Allow-Credentials"), "true")
		self.assertIn("authorization", reply.get("Access-Control-Allow-Headers").lower())
		self.assertIsNone(reply.get("Access-Control-Max-Age"))

	def test_preflights_refused(self):
		for origin, method, headers in (
		    ("https://b.example", "PUT", None),
		    ("https://no.wild.example", "PUT", None),
		    ("https://wild.example", "PUT", None),
		    ("https://evila.example", "GET", None),
		    ("http://a.example", "GET", None),
		    ("https://a.example:8443", "GET", None),
		    ("null", "GET", None),
		    (A, "DELETE", None),
		    (A, "put", None),
		    (A, "TRACE", None),
		    (A, "PUT", "x-other"),
		    (A, "PUT", "x-token,authorization")):
			with self.subTest(origin=origin, method=method, headers=headers):
				reply = self.client.preflight(origin, method, headers)
				self.assertEqual(reply.status, 403)
				self.assert_no_cors(reply)
				self.assertLessEqual(PREFLIGHT_VARY, reply.vary())

	def test_preflight_of_a_path_that_is_not_there(self):
		self.assertEqual(self.client.preflight(A, path="/no/such/page").status, 200)

	def test_preflight_with_headers_on_several_lines(self):
		for second, status in (("x-token", 200), ("x-other", 403)):
			reply = self.client("OPTIONS", "/app/echo", [("Origin", A), ("Access-Control-Request-Method", "PUT"),
			    ("Access-Control-Request-Headers", "content-type"), ("Access-Control-Request-Headers", second)])
			self.assertEqual(reply.status, status, second)

	def test_options_that_is_no_preflight_reaches_the_application(self):
		for extra in ([], [("Access-Control-Request-Method", "")]):
			reply = self.client("OPTIONS", "/app/status/200", [("Origin", A), *extra])
			self.assertEqual(reply.body, b"OPTIONS 200\n", extra)
			self.assertEqual(reply.get("Access-Control-Allow-Origin"), A)

	# Actual requests

	def test_every_status(self):
		for status in STATUSES:
			with self.subTest(status=status):
				reply = self.client("GET", f"/app/status/{status}", [("Origin", A)])
				self.assertEqual(reply.status, status)
				self.assertEqual(reply.get("Access-Control-Allow-Origin"), A)
				self.assertEqual(reply.get("Access-Control-Expose-Headers").lower(), "x-total")
				self.assertIsNone(reply.get("Access-Control-Allow-Credentials"))
				self.assertEqual(reply.vary(), {"origin"})

	def test_every_status_of_an_unknown_origin(self):
		for status in STATUSES:
			with self.subTest(status=status):
				reply = self.client("GET", f"/app/status/{status}", [("Origin", "https://b.example")])
				self.assertEqual(reply.status, status)
				self.assert_no_cors(reply)
				self.assertEqual(reply.vary(), {"origin"})

	def test_static_files(self):
		for path, status in (("/", 200), ("/index.html", 200), ("/missing.html", 404)):
			reply = self.client("GET", path, [("Origin", A)])
			self.assertEqual(reply.status, status)
			self.assertEqual(reply.get("Access-Control-Allow-Origin"), A, path)
			self.assertIn("origin", reply.vary())

	def test_head(self):
		for path in ("/", "/app/status/200"):
			reply = self.client("HEAD", path, [("Origin", A)])
			self.assertEqual((reply.status, reply.body), (200, b""))
			self.assertEqual(reply.get("Access-Control-Allow-Origin"), A)

	def test_bodies_arrive_whole(self):
		for method in ("POST", "PUT", "PATCH"):
			for size in (0, 11, 200_000):
				body = bytes(n % 251 for n in range(size))
				reply = self.client(method, "/app/echo", [("Origin", A)], body)
				self.assertEqual((reply.status, reply.body), (200, body), f"{method} of {size} bytes")
				self.assertEqual(reply.get("Access-Control-Allow-Origin"), A)

	def test_credentials_and_exposed_headers(self):
		reply = self.client("GET", "/app/status/200", [("Origin", "https://in.example"), ("Cookie", "id=1")])
		self.assertEqual(reply.get("Access-Control-Allow-Origin"), "https://in.example")
		self.assertEqual(reply.get("Access-Control-Allow-Credentials"), "true")
		exposed = {name.strip().lower() for name in reply.get("Access-Control-Expose-Headers").split(",")}
		self.assertEqual(exposed, {"x-total", "x-page"})

	def test_the_applications_own_headers_are_replaced(self):
		own = "&".join("header=" + h for h in ("Access-Control-Allow-Origin:*", "Access-Control-Allow-Credentials:true",
		    "Access-Control-Expose-Headers:X-Secret", "Access-Control-Allow-Methods:PURGE",
		    "Access-Control-Allow-Headers:x", "Access-Control-Max-Age:1"))
		for status in (200, 304, 404, 500):
			reply = self.client("GET", f"/app/status/{status}?{own}", [("Origin", A)])
			self.assertEqual(reply.get("Access-Control-Allow-Origin"), A)
			self.assertIsNone(reply.get("Access-Control-Allow-Credentials"))
			self.assertEqual(reply.get("Access-Control-Expose-Headers").lower(), "x-total")
			self.assert_no_cors(self.client("GET", f"/app/status/{status}?{own}", [("Origin", "https://b.example")]))
			self.assert_no_cors(self.client("GET", f"/app/status/{status}?{own}"))

	def test_vary_is_added_to(self):
		for path in ("/app/status/200", "/app/status/404"):
			reply = self.client("GET", f"{path}?header=Vary:Accept-Encoding", [("Origin", A)])
			self.assertEqual(reply.vary(), {"accept-encoding", "origin"})

	def test_requests_without_an_origin(self):
		for headers in ([], [("Origin", "")]):
			reply = self.client("GET", "/app/status/200", headers)
			self.assertEqual(reply.status, 200)
			self.assert_no_cors(reply)
			self.assertEqual(reply.vary(), {"origin"})

	def test_realms(self):
		for host, origin, wanted in (
		    ("shop.localhost", "https://shop.example", True), ("shop.localhost", A, False),
		    ("other.localhost", "https://shop.example", False), ("other.localhost", A, True),
		    ("SHOP.localhost", "https://shop.example", True)):
			self.assertEqual(self.client.allowed(origin, host=host), wanted, f"{host} {origin}")
			status = self.client.preflight(origin, host=host).status
			self.assertEqual(status, 200 if wanted else 403, f"{host} {origin}")

	def test_a_realm_open_to_everybody(self):
		for origin in (A, "null", "rubbish"):
			reply = self.client("GET", "/app/status/200", [("Origin", origin)], host="public.localhost")
			self.assertEqual(reply.get("Access-Control-Allow-Origin"), "*", origin)
			self.assertEqual(reply.vary(), set())
		self.assertEqual(self.client.preflight("https://x", "PURGE", "x-y", host="public.localhost").status, 200)

	def test_enforced_realm(self):
		for method, body in (("GET", None), ("POST", b"x")):
			reply = self.client(method, "/app/status/200", [("Origin", "https://b.example")], body, host="strict.localhost")
			self.assertEqual(reply.status, 403)
			self.assert_no_cors(reply)
			self.assertEqual(reply.all("Variable-CORS_VARY"), [])
		self.assertTrue(self.client.allowed("https://ok.example", host="strict.localhost"))
		self.assertEqual(self.client("GET", "/", host="strict.localhost").status, 200)
		for origin, status in (("http://strict.localhost", 200), ("https://strict.localhost", 403)):
			reply = self.client("POST", "/app/status/200", [("Origin", origin)], b"x", host="strict.localhost")
			self.assertEqual(reply.status, status, f"{origin}: its own")

	# Hostile requests

	def test_repeated_origins_are_refused(self):
		for first, second in ((A, "https://b.example"), ("https://b.example", A), (A, A)):
			reply = self.client("GET", "/", [("Origin", first), ("Origin", second)])
			self.assert_no_cors(reply)
			reply = self.client("OPTIONS", "/app/echo", [("Origin", first), ("Origin", second),
			    ("Access-Control-Request-Method", "GET")])
			self.assertEqual(reply.status, 403)
			self.assert_no_cors(reply)

	def test_origins_that_no_browser_sends(self):
		for origin in ("https://A.example", "https://a.example/", "https://a.example:443", "https://a.example.",
		    "https://a.example\tx", "https://\xe4.example", "https://a.example, https://a.example",
		    "https://a.example https://b.example", "https://u@a.example", "https://.wild.example",
		    "https://evil.com/.wild.example", "https://x..wild.example", "a.example", "*", "https://*.wild.example",
		    "https://" + "a." * 160 + "wild.example", "https://" + "a" * 7000 + ".wild.example"):
			with self.subTest(origin=origin[:40]):
				reply = self.client("GET", "/", [("Origin", origin.encode("latin-1"))])
				self.assertIn(reply.status, (200, 400))
				self.assert_no_cors(reply)
				self.assertIn(self.client.preflight(origin.encode("latin-1")).status, (400, 403))

	def test_too_large_an_origin_hurts_nobody(self):
		reply = self.client("GET", "/", [("Origin", "https://" + "a" * 20000), ("Connection", "close")])
		self.assertIn(reply.status, (400, 414, 431))
		self.client.close()
		self.assertTrue(self.client.allowed(A))

	def test_a_client_cannot_choose_the_realm(self):
		for name in ("CORS_REALM", "Cors-Realm", "HTTP_CORS_REALM"):
			reply = self.client("GET", "/", [("Origin", "https://shop.example"), (name, "shop")])
			self.assert_no_cors(reply)

	def test_http2(self):
		def ask(*args):
			done = subprocess.run(["curl", "-sS", "-i", "-m", "20", "--http2-prior-knowledge", *args,
			    harness.stack.env[self.h2_url] + "/app/status/404"], stdout=subprocess.PIPE, check=True)
			return done.stdout.decode().lower().replace("\r", "")
		said = ask("-H", f"Origin: {A}")
		self.assertIn("http/2 404", said)
		self.assertIn(f"access-control-allow-origin: {A}\n", said)
		self.assertRegex(said, r"\nvary: .*origin")
		said = ask("-H", f"Origin: {A}", "-H", "Access-Control-Request-Method: PUT", "-X", "OPTIONS")
		self.assertIn("http/2 200", said)
		self.assertIn("access-control-allow-methods: ", said)
		self.assertNotIn("access-control-allow-origin", ask("-H", "Origin: https://b.example"))

	# The application away: its server answers, and must still be readable

	def test_application_down(self):
		harness.stack.command("stop", "app")
		try:
			reply = self.client("GET", "/app/status/200", [("Origin", A)])
			self.assertEqual(reply.status, self.app_down)
			self.assertEqual(reply.get("Access-Control-Allow-Origin"), A)
			self.assertEqual(self.client.preflight(A).status, 200)
		finally:
			harness.stack.command("start", "app")
		harness.eventually("the application answers again", lambda: self.client("GET", "/app/status/200").status == 200)


class Nginx(Server, unittest.TestCase):
	url, h2_url, app_down = "NGINX_URL", "NGINX_H2_URL", 502

	def test_the_check_is_not_public(self):
		self.assertEqual(self.client("GET", "/.corscache/check", [("Origin", A)]).status, 404)

	def test_a_star_realm_without_an_origin(self):
		reply = self.client("GET", "/", host="public.localhost")
		self.assertEqual(reply.get("Access-Control-Allow-Origin"), "*")
		self.assertEqual(reply.vary(), set())

	def test_a_location_with_headers_of_its_own(self):
		reply = self.client("GET", "/downloads/index.html", [("Origin", A)])
		self.assertEqual(reply.get("Access-Control-Allow-Origin"), A)
		self.assertIn("max-age=60", reply.get("Cache-Control"))

	def test_answers_that_nginx_decides_early(self):
		for method, path, body, status in (("GET", "/internal/", None, 403), ("GET", "/gone", None, 410),
		    ("POST", "/app/echo", b"x" * 2_000_000, 413)):
			reply = self.client(method, path, [("Origin", A), ("Connection", "close")], body)
			self.assertEqual(reply.status, status)
			self.assertEqual(reply.get("Access-Control-Allow-Origin"), A, path)
			self.client.close()

	def test_too_many_cookies(self):
		"""An error before the phases in which preflights and realms are seen."""
		reply = self.client("GET", "/", [("Origin", A), ("Cookie", "a=" + "x" * 9000), ("Connection", "close")])
		self.assertEqual((reply.status, reply.get("Access-Control-Allow-Origin")), (400, A))

	def test_redirects_that_nginx_makes(self):
		for path, status, to in (("/app", 301, "/app/"), ("/moved", 308, "/app/status/200"), ("/directory", 301, "/directory/")):
			(harness.stack.dir / "www" / "directory").mkdir(exist_ok=True)
			for origin, wanted in ((A, A), ("https://b.example", None)):
				reply = self.client("GET", path, [("Origin", origin)])
				self.assertEqual((reply.status, reply.get("Access-Control-Allow-Origin")), (status, wanted), path)
				self.assertTrue(reply.get("Location").endswith(to), reply.get("Location"))
				self.assertIn("origin", reply.vary())

	def test_an_unsatisfiable_range(self):
		for origin, wanted in ((A, [A]), ("https://in.example", ["https://in.example"]), ("https://b.example", [])):
			reply = self.client("GET", "/index.html", [("Origin", origin), ("Range", "bytes=100000-")])
			self.assertEqual(reply.status, 416)
			for name in CORS:
				self.assertLessEqual(len(reply.all(name)), 1, name)
			self.assertEqual(reply.all("Access-Control-Allow-Origin"), wanted)
			self.assertEqual(reply.all("Vary"), ["Origin"])

	def test_applications_behind_every_protocol(self):
		own = "header=Access-Control-Allow-Origin:https://b.example&header=Access-Control-Allow-Credentials:true"
		for way in ("app", "fastcgi", "uwsgi"):
			for status in (200, 404, 500):
				reply = self.client("GET", f"/{way}/status/{status}?{own}", [("Origin", A)])
				self.assertEqual((reply.status, reply.get("Access-Control-Allow-Origin")), (status, A), way)
				self.assertIsNone(reply.get("Access-Control-Allow-Credentials"))
				for headers in ([("Origin", "https://b.example")], []):
					self.assert_no_cors(self.client("GET", f"/{way}/status/{status}?{own}", headers))
			self.assertEqual(self.client("POST", f"/{way}/echo", [("Origin", A)], b"x" * 100_000).body, b"x" * 100_000)

	def test_a_login_and_the_check(self):
		for cookie, status in (("login=no", 401), ("login=yes", 200)):
			for origin, wanted in ((A, A), ("https://b.example", None)):
				reply = self.client("GET", "/members/status/200", [("Origin", origin), ("Cookie", cookie)])
				self.assertEqual((reply.status, reply.get("Access-Control-Allow-Origin")), (status, wanted), cookie)
			reply = self.client("GET", "/members/status/200", [("Origin", "https://b.example"), ("Cookie", cookie)], host="strict.localhost")
			self.assertEqual(reply.status, 403)
		self.assertEqual(self.client("GET", "/login", [("Cookie", "login=yes")]).status, 404)

	def test_chunked_body(self):
		with socket.create_connection((self.client.host, self.client.port), 20) as s:
			s.sendall(f"POST /app/echo HTTP/1.1\r\nHost: x\r\nOrigin: {A}\r\nConnection: close\r\n"
			    "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".encode())
			said = b"".join(iter(lambda: s.recv(65536), b""))
		self.assertIn(b"hello", said)
		self.assertIn(f"Access-Control-Allow-Origin: {A}\r\n".encode(), said)


	def test_checks_keep_their_connection(self):
		def accepted():
			return metric("corscache_connections_total")
		before = accepted()
		for host in ("localhost", "shop.localhost", "strict.localhost"):	# the last says 403 to A
			for _ in range(20):
				self.client("GET", "/", [("Origin", A)], host=host)
		self.assertLess(accepted() - before, 10)

	def test_a_check_is_never_a_preflight(self):
		"""Nor answered 200, which nginx would store: it keeps the connection because it could."""
		for headers in ([("Origin", ""), ("Origin", A), ("Access-Control-Request-Method", "GET")],
		    [("Origin", A), ("Access-Control-Request-Method", ""), ("Access-Control-Request-Method", "GET")]):
			reply = self.client("OPTIONS", "/app/status/200", headers)
			if reply.status == 403:		# nginx 1.23 and newer join repeated lines: a preflight of a broken origin
				self.assert_no_cors(reply)
			else:
				self.assertEqual(reply.body, b"OPTIONS 200\n", headers)
		self.assertNotIn("never-written", (harness.stack.dir / "log" / "nginx.log").read_text())


class NginxSites(unittest.TestCase):
	"""Sites that are written in another way than sample.conf, each in an nginx of its own."""

	def site(self, server, before="", after=""):
		"""A function that asks a site whose http block has these words before and after corscache.conf."""
		where = pathlib.Path(tempfile.mkdtemp(dir=harness.stack.dir))
		self.addCleanup(shutil.rmtree, where)
		etc = harness.stack.dir / "etc/nginx"
		temporary = "".join(f"{kind}_temp_path {where}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
		conf = where / "nginx.conf"
		conf.write_text(f"daemon off; master_process off; pid {where}/pid; events {{}}\nhttp {{ access_log off; {temporary}\n"
		    f"{before}\ninclude {etc}/corscache.conf;\n{after}\n"
		    f"server {{ listen unix:{where}/sock; root {harness.stack.dir}/www;\n" + server.replace("ETC", str(etc)).replace(
		    "APP", f"http://unix:{harness.stack.dir}/app.sock") + "\n}\n}\n")
		server = hostile.Server(conf, where / "sock", where / "log")
		self.addCleanup(server.close)
		self.said = (where / "log").read_text()
		return functools.partial(hostile.ask, server.path) if server.runs else None

	def allowed(self, ask, path, origin):
		return ask("GET", path, [("Origin", origin)]).all("Access-Control-Allow-Origin") == [origin]

	def preflight(self, ask, path, origin):
		return ask("OPTIONS", path, [("Origin", origin), ("Access-Control-Request-Method", "GET")]).status

	SERVER = "include ETC/corscache_server.conf; include ETC/corscache_headers.conf;"
	BY_PATH = "map $uri $cors_realm { default ''; ~^/shop/ shop; ~^/strict/ strict; }\n" \
	    "map $uri $cors_enforce { default ''; ~^/strict/ 1; }"

	def check_realms(self, ask):
		for path, origin in (("/", A), ("/shop/", "https://shop.example"), ("/strict/", "https://ok.example")):
			for other in (A, "https://shop.example", "https://ok.example"):
				self.assertEqual(self.allowed(ask, path, other), origin == other, f"{path} {other}")
				self.assertEqual(self.preflight(ask, path, other), 200 if origin == other else 403, f"{path} {other}")
		self.assertEqual(ask("GET", "/strict/", [("Origin", A)]).status, 403)
		self.assertEqual(ask("GET", "/shop/", [("Origin", A)]).status, 404)

	def test_a_realm_by_path_defined_before_or_after(self):
		for where in ("before", "after"):
			with self.subTest(where):
				self.check_realms(self.site(self.SERVER, **{where: self.BY_PATH}))

	def test_a_realm_by_set(self):
		self.check_realms(self.site("set $cors_realm ''; set $cors_enforce '';\n"
		    "if ($uri ~ ^/shop/) { set $cors_realm shop; }\n"
		    "if ($uri ~ ^/strict/) { set $cors_realm strict; set $cors_enforce 1; }\n" + self.SERVER))

	def test_neither_realm_nor_enforce_defined(self):
		ask = self.site(self.SERVER)
		self.assertTrue(self.allowed(ask, "/", A))
		self.assertEqual(self.preflight(ask, "/", A), 200)
		self.assertNotIn("uninitialized", self.said)

	def test_a_realm_by_path_for_an_error_before_the_server_block(self):
		ask = self.site(self.SERVER + "include ETC/corscache_errors.conf;", before=self.BY_PATH)
		for origin, wanted in (("https://shop.example", ["https://shop.example"]), (A, [])):
			reply = ask("GET", "/shop/", [("Origin", origin), ("Cookie", "a=" + "x" * 9000)])
			self.assertEqual((reply.status, reply.all("Access-Control-Allow-Origin")), (400, wanted))

	def test_a_login_has_no_say_in_cors(self):
		"""Its service may answer 204 with CORS headers of its own; with and without an auth_request_set beside it."""
		worst = ":/app/login?header=Access-Control-Allow-Origin:https://evil.example"
		login = f"location = /login {{ internal; proxy_pass APP{worst}; }}"
		for inside in ("auth_request /login;", "auth_request /login; auth_request_set $user $upstream_http_x_user;"):
			for location in (f"location /m/ {{ {inside} }}", f"location /m/ {{ try_files /.none @m; }} location @m {{ {inside} }}"):
				reply = self.site(self.SERVER + login + location)("GET", "/m/", [("Origin", "https://evil.example"), ("Cookie", "login=yes")])
				self.assertEqual((reply.status, reply.all("Access-Control-Allow-Origin")), (404, []), location)

	def test_any_satisfied_at_http_level_opens_nothing(self):
		ask = self.site(self.SERVER + "location /m/ { deny all; }", before="satisfy any; auth_basic x; auth_basic_user_file /dev/null;")
		for path, status in (("/", 401), ("/m/", 403)):
			self.assertEqual(ask("GET", path, [("Origin", A)]).status, status)

	def test_timing_for_the_same_origins(self):
		ask = self.site(self.SERVER + "location / { add_header Timing-Allow-Origin $cors_origin always; include ETC/corscache_headers.conf; }")
		for origin, wanted in ((A, [A]), ("https://b.example", [])):
			self.assertEqual(ask("GET", "/", [("Origin", origin)]).all("Timing-Allow-Origin"), wanted)

	def test_a_page_that_a_rewrite_puts_in_place_of_the_check_has_no_say(self):
		"""From above the include, where it cannot be kept away: without CORS headers then, not with the page's."""
		ask = self.site("rewrite ^/.corscache/check$ /app/status/204?header=Access-Control-Allow-Origin:https://evil.example last;"
		    + self.SERVER + "location /app/ { proxy_pass APP; }")
		self.assertEqual(ask("GET", "/", [("Origin", "https://evil.example")]).all("Access-Control-Allow-Origin"), [])

	def test_headers_again_do_not_undo_a_login(self):
		"""The file that a location repeats has no auth_request; a login in the server block is a loud error."""
		ask = self.site(self.SERVER + "location /m/ { auth_request /login; location /m/x/ { add_header X-A b; "
		    "include ETC/corscache_headers.conf; } } location = /login { internal; return 401; }")
		self.assertEqual(ask("GET", "/m/x/", [("Origin", A)]).status, 401)
		self.assertIsNone(self.site("auth_request /login;" + self.SERVER))
		self.assertIn('"auth_request" directive is duplicate', self.said)

	def test_a_large_body_for_a_location_that_allows_it(self):
		ask = self.site(self.SERVER + "location /up/ { client_max_body_size 64m; proxy_pass APP; }")
		for headers in ([("Origin", A)], []):
			self.assertEqual(ask("POST", "/up/echo", headers, body=b"x" * 3_000_000).status, 200)

	def test_one_range_error_behind_an_error_page_of_the_location(self):
		ask = self.site(self.SERVER + "location / { error_page 404 416 /index.html; }")
		reply = ask("GET", "/index.html", [("Origin", A), ("Range", "bytes=100000-")])
		self.assertEqual(reply.all("Access-Control-Allow-Origin"), [A])


class NginxRemembers(Nginx):
	"""The same with corscache_cache.conf, put in place as it says."""

	@classmethod
	def setUpClass(cls):
		def replace(file, old, new):
			text = file.read_text()
			file.write_text(re.sub(old, lambda _: new, text, count=1))
			assert file.read_text() != text, f"{file} has no {old}"
		where = harness.stack.dir
		replace(where / "etc/nginx/corscache_server.conf", "fastcgi_store .*;", f"include {where}/etc/nginx/corscache_cache.conf;")
		replace(where / "etc/nginx.conf", "http {", "http {\n\tfastcgi_cache_use_stale error timeout updating http_500 http_503;\n"
		    "\tfastcgi_cache_background_update on;\n\tfastcgi_cache_valid any 1h;\n\tfastcgi_cache_lock on;\n"
		    f"\tfastcgi_cache_path {where}/tmp/cache keys_zone=corscache:16m max_size=64m;")
		os.kill(int(harness.stack.env["NGINX_PID"]), signal.SIGHUP)
		harness.eventually("nginx remembers", cls.remembers)

	@classmethod
	def tearDownClass(cls):
		harness.stack.command("restart", "nginx")	# with the files as they were

	@classmethod
	def remembers(cls):
		before = metric('corscache_checks_total{verdict="allowed"}')
		for _ in range(10):
			client = harness.Client(harness.stack.env[cls.url])	# workers come and go
			client("GET", "/", [("Origin", A)])
			client.close()
		return metric('corscache_checks_total{verdict="allowed"}') - before < 5

	def test_repeated_origins_are_refused(self):
		"""In nginx before 1.23 the first of them counts: the one in the key."""
		other = "https://b.example"
		for first, second, wanted in ((A, other, ([A], [])), (other, A, ([],))):
			reply = self.client("GET", "/", [("Origin", first), ("Origin", second)])
			self.assertIn(reply.all("Access-Control-Allow-Origin"), wanted)

	def test_what_is_revoked_is_forgotten(self):
		sql = harness.Psql()
		sql("SELECT cors.allow('https://brief.example')")
		harness.eventually("it is let in", lambda: self.client.allowed("https://brief.example"))
		sql("SELECT cors.remove('https://brief.example')")
		sql.close()
		harness.eventually("it is not", lambda: not self.client.allowed("https://brief.example"))

	def test_nothing_stale_while_the_responder_is_away(self):
		def status():
			return self.client("GET", "/", [("Origin", "https://ok.example")], host="strict.localhost").status
		self.assertEqual(status(), 200)
		harness.stack.command("stop", "responder")
		try:
			harness.eventually("what was remembered is forgotten, and refused", lambda: status() == 403, 10)
		finally:
			harness.stack.command("start", "responder")
		harness.eventually("the responder answers again", lambda: self.client.allowed(A))


class Lighttpd(Server, unittest.TestCase):
	url, h2_url, app_down = "LIGHTTPD_URL", "LIGHTTPD_URL", 503

	def test_vary_is_merged_into_one_line(self):
		for said, wanted in (("Accept-Encoding", "Accept-Encoding, Origin"), ("origin", "origin"),
		    ("Accept,Origin", "Accept,Origin"), ("*", "*"), ("X-Origin", "X-Origin, Origin")):
			for headers in ([("Origin", A)], []):
				reply = self.client("GET", f"/app/status/200?header=Vary:{said}", headers)
				self.assertEqual(reply.get("Vary"), wanted)


if __name__ == "__main__":
	harness.main("--nginx", "--lighttpd")

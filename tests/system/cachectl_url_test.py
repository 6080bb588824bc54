#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
cachectl_url -- check --url against nginx and lighttpd as packaged, against both
misconfigured on purpose, and against servers that mean harm.
"""

import contextlib
import json
import re
import socket
import ssl
import subprocess
import threading
import unittest

import harness
import lighttpd_test

A = "https://a.example"
INCLUDES = "include {dir}/corscache_server.conf; include {dir}/corscache_headers.conf;\n"
ALLOWED, DIFFERS, CANNOT_TELL, MISUSED = 0, 1, 2, 64


def setUpModule():
	lighttpd_test.setUpModule()


def check(url, *args, origin=A):
	return harness.stack.cachectl("check", "--url", url, "--origin", origin, *args, check=False)


def found(url, *args, origin=A):
	"""The set of (request, kind, header), the exit status, the hints."""
	done = check(url, "--json", *args, origin=origin)
	said = json.loads(done.stdout)
	findings = [(r["request"], f) for r in said["requests"] for f in r.get("findings", ())]
	return {(request, f["kind"], f["header"]) for request, f in findings}, done.returncode, " ".join(f["look_for"] for _, f in findings)


@contextlib.contextmanager
def nginx(server):
	"""The URL of an nginx with one server block of this text, beside the maps and upstreams of packaging/nginx."""
	where, port = harness.stack.dir, lighttpd_test.free_port()
	text = (where / "etc" / "nginx.conf").read_text()
	site = where / "etc" / "broken.conf"
	# The maps want their variables, whatever the server has.
	right = f"server {{ listen unix:{where}/tmp/right.sock; {INCLUDES} }}\n".replace("{dir}", str(where / "etc" / "nginx"))
	(where / "tmp" / "right.sock").unlink(missing_ok=True)
	site.write_text(right + f"server {{\n listen 127.0.0.1:{port};\n root {where}/site;\n location /app/ {{ proxy_pass http://unix:{where}/app.sock:/; }}\n"
	    f"{server.replace('{dir}', str(where / 'etc' / 'nginx'))}\n}}\n")
	text = re.sub(r"include \S*/sample\.conf;", f"include {site};", text).replace("nginx-own.pid", "broken-own.pid")
	conf = where / "etc" / "broken-nginx.conf"
	conf.write_text(text)
	log = where / "log" / "broken-nginx.log"
	process = subprocess.Popen(["/usr/sbin/nginx", "-p", where, "-e", log, "-c", conf], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
	    stderr=subprocess.DEVNULL)
	try:
		harness.eventually("nginx listens", lambda: lighttpd_test.listens(port) or process.poll() is not None)
		assert process.poll() is None, log.read_text()
		yield f"http://127.0.0.1:{port}"
	finally:
		process.terminate()
		process.wait(harness.WAIT_S)


@contextlib.contextmanager
def hostile(talk, hear=lambda head: None, tls=None):
	"""The URL of a server that does talk(socket) with each connection, once it has read the request's head and hear(head)."""
	def serve(s):
		with contextlib.closing(s), contextlib.suppress(OSError):
			s.settimeout(harness.WAIT_S)
			s = tls.wrap_socket(s, server_side=True) if tls else s
			head = b""
			while b"\r\n\r\n" not in head and (more := s.recv(65536)):
				head += more
			hear(head)
			talk(s)

	def accept():
		with contextlib.suppress(OSError):
			while True:
				threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

	with socket.create_server(("127.0.0.1", 0)) as listener:
		threading.Thread(target=accept, daemon=True).start()
		yield "http%s://127.0.0.1:%d/" % ("s" if tls else "", listener.getsockname()[1])
		listener.shutdown(socket.SHUT_RDWR)


def says(*lines, body=b""):
	head = "\r\n".join(("HTTP/1.1 200 OK", "Connection: close", *lines)).encode("latin-1") + b"\r\n\r\n"
	return lambda s: s.sendall(head + body)


class Right(unittest.TestCase):
	def test_both_servers_as_packaged(self):
		for url in (harness.stack.env["NGINX_URL"], harness.stack.env["LIGHTTPD_URL"]):
			for path in ("/app/status/200", "/index.html", "/app/status/404"):
				for origin in (A, "https://nobody.example"):
					done = check(url + path, "--method", "PUT", "--header", "content-type", origin=origin)
					self.assertEqual(done.returncode, ALLOWED, done.stdout)
					self.assertNotIn("differs", done.stdout)
			self.assertIn("realm      '' is assumed", done.stdout)

	def test_the_method_is_asked_for_and_never_sent(self):
		seen = set()
		with hostile(says(), lambda head: seen.add(head.split(b" ")[0])) as url:
			check(url, "--method", "DELETE")
		self.assertEqual(seen, {b"OPTIONS", b"GET"})

	def test_realms(self):
		url = harness.stack.env["LIGHTTPD_URL"].replace("127.0.0.1", "strict.localhost")
		done = check(url + "/", "--realm", "strict")
		self.assertEqual(done.returncode, ALLOWED, done.stdout)
		kinds, status, _ = found(harness.stack.env["LIGHTTPD_URL"] + "/", "--realm", "none")
		self.assertEqual(status, DIFFERS)
		self.assertIn(("actual", "leak", "Access-Control-Allow-Origin"), kinds)


class BrokenNginx(unittest.TestCase):
	def expect(self, server, path, *wanted, hint):
		with nginx(server) as url:
			kinds, status, hints = found(url + path, "--method", "PUT")
			text = check(url + path, "--method", "PUT")
		self.assertEqual((status, text.returncode), (DIFFERS, DIFFERS))
		self.assertLessEqual(set(wanted), kinds)
		self.assertIn(hint, hints)
		self.assertIn("look for ", text.stdout)

	def test_headers_lost_in_a_location(self):
		self.expect(INCLUDES + "location /own/ { add_header X-Own 1; }", "/own/", ("actual", "missing", "Access-Control-Allow-Origin"),
		    ("actual", "vary", "Vary"), ("stranger", "vary", "Vary"), ("no origin", "vary", "Vary"), hint="corscache_headers.conf again in a location")

	def test_a_doubled_header(self):
		self.expect(INCLUDES + f"add_header Access-Control-Allow-Origin {A} always;", "/app/x", ("actual", "doubled", "Access-Control-Allow-Origin"),
		    ("stranger", "leak", "Access-Control-Allow-Origin"), hint="proxy_hide_header")

	def test_no_corscache_at_all(self):
		self.expect("", "/app/x?header=Access-Control-Allow-Origin:*&header=Access-Control-Allow-Credentials:true",
		    ("preflight", "wrong", "Access-Control-Allow-Origin"), ("preflight", "leak", "Access-Control-Allow-Credentials"),
		    ("stranger", "leak", "Access-Control-Allow-Origin"), ("actual", "vary", "Vary"), hint="proxy_hide_header")
		self.expect("", "/index.txt", ("preflight", "preflight-status", None), hint="no corscache_server.conf")

	def test_a_login(self):
		self.expect("auth_basic x; auth_basic_user_file {dir}/../users;", "/index.txt", ("preflight", "login", None), hint="auth_basic off")

	def test_access_rules(self):
		self.expect("deny all;", "/index.txt", ("preflight", "forbidden", None), hint="deny")

	def test_redirects(self):
		self.expect("return 301 https://elsewhere.example/;", "/", ("preflight", "preflight-redirect", None), ("actual", "redirect", None), hint="return 301")
		self.expect(INCLUDES, "/app/status/302", ("actual", "redirect", None), hint="slash of a directory")

	def test_no_responder(self):
		harness.stack.command("stop", "responder")
		try:
			kinds, status, hints = found(harness.stack.env["NGINX_URL"] + "/app/x")
			lighttpd = found(harness.stack.env["LIGHTTPD_URL"] + "/app/x")
		finally:
			harness.stack.command("start", "responder")
		self.assertEqual((status, lighttpd[1]), (DIFFERS, DIFFERS))
		self.assertIn(("preflight", "responder", None), kinds & lighttpd[0])
		self.assertIn("error_log", hints)
		self.assertIn("server.errorlog", lighttpd[2])


class BrokenLighttpd(unittest.TestCase):
	def expect(self, text, path, *wanted, hint):
		with lighttpd_test.lighttpd(text) as client:
			kinds, status, hints = found(f"http://127.0.0.1:{client.port}{path}")
		self.assertEqual(status, DIFFERS)
		self.assertLessEqual(set(wanted), kinds)
		self.assertIn(hint, hints)

	def test_no_corscache_at_all(self):
		site = lighttpd_test.APPLICATIONS
		own = "?header=Access-Control-Allow-Origin:*"
		self.expect(site, "/fastcgi/x" + own, ("actual", "wrong", "Access-Control-Allow-Origin"),
		    ("stranger", "leak", "Access-Control-Allow-Origin"), hint="corscache.lua")
		basic = 'auth.require = ( "/" => ( "method" => "basic", "realm" => "x", "require" => "valid-user" ) )'
		self.expect(site + basic, "/index.txt", ("preflight", "login", None), hint="auth.require: include corscache.conf last")
		self.expect(site + 'url.access-deny = ( "" )', "/index.txt", ("preflight", "forbidden", None), hint="url.access-deny")
		self.expect(site + 'url.redirect = ( "" => "/elsewhere" )', "/app/x", ("preflight", "preflight-redirect", None), hint="url.redirect")

	def test_what_answers_before_the_check(self):
		self.expect(lighttpd_test.site('url.redirect = ( "" => "/elsewhere" )'), "/index.txt", ("actual", "redirect", None),
		    ("actual", "missing", "Access-Control-Allow-Origin"), hint="answer before the check")


class Hostile(unittest.TestCase):
	def test_bytes_for_the_terminal(self):
		with hostile(says("Access-Control-Allow-Origin: \x1b[2J\x07evil\x9b", "Server: \x1b]0;x\x07", "Vary: \x1b[31m")) as url:
			for output in (check(url).stdout, check(url, "--json").stdout):
				self.assertNotRegex(output.replace("\n", ""), r"[\x00-\x1f\x7f-\x9f]")

	def test_a_body_is_not_read(self):
		sent = []
		def talk(s):
			s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
			with contextlib.suppress(OSError):
				while True:
					s.sendall(bytes(65536))
					sent.append(65536)
		with hostile(talk) as url:
			self.assertEqual(check(url).returncode, DIFFERS)
		self.assertLess(sum(sent), 200_000_000)

	def test_headers_without_end(self):
		def talk(s):
			s.sendall(b"HTTP/1.1 200 OK\r\n")
			while True:
				s.sendall(b"X: " + b"y" * 1000 + b"\r\n")
		with hostile(talk) as url:
			done = check(url)
			self.assertEqual(done.returncode, CANNOT_TELL)
			self.assertIn("no answer", done.stdout)

	def test_an_interim_response_does_not_count(self):
		with hostile(lambda s: s.sendall(b"HTTP/1.1 103 Early Hints\r\nAccess-Control-Allow-Origin: *\r\n\r\nHTTP/1.1 200 OK\r\nVary: Origin\r\n"
		    b"Connection: close\r\n\r\n")) as url:
			kinds, status, _ = found(url)
			self.assertIn(("actual", "missing", "Access-Control-Allow-Origin"), kinds)

	def test_silence_and_nonsense(self):
		end = threading.Event()
		for talk in (lambda s: end.wait(harness.WAIT_S), lambda s: None, lambda s: s.sendall(b"\0\1\2\r\n\r\n")):
			with hostile(talk) as url:
				self.assertEqual(check(url, "--timeout", "1").returncode, CANNOT_TELL)
		end.set()

	def test_nobody_listens(self):
		done = check(f"http://127.0.0.1:{lighttpd_test.free_port()}/")
		self.assertEqual(done.returncode, CANNOT_TELL)

	def test_redirects_are_not_followed(self):
		asked = []
		def talk(s):
			asked.append(1)
			s.sendall(b"HTTP/1.1 302 Found\r\nLocation: /\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		with hostile(talk) as url:
			self.assertEqual(check(url).returncode, DIFFERS)
		self.assertEqual(len(asked), 5)


class Certificates(unittest.TestCase):
	def test_they_are_verified(self):
		key, certificate = (harness.stack.dir / "tmp" / name for name in ("key.pem", "cert.pem"))
		subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
		    "-out", certificate, "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"], check=True,
		    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=harness.WAIT_S)
		tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
		tls.load_cert_chain(certificate, key)
		with hostile(says(), tls=tls) as url:
			self.assertEqual(check(url).returncode, CANNOT_TELL)
			self.assertIn("certificate", check(url).stdout)
			self.assertEqual(check(url, "--cacert", str(certificate)).returncode, DIFFERS)
			self.assertEqual(check(url.replace("127.0.0.1", "localhost"), "--cacert", str(certificate)).returncode, CANNOT_TELL)
			self.assertEqual(check(url, "--insecure").returncode, DIFFERS)


class Misused(unittest.TestCase):
	def test_arguments(self):
		url = "https://127.0.0.1/"
		for args in (["--url", url], ["--url", "api.example", "--origin", A], ["--url", "file:///etc/passwd", "--origin", A],
		    ["--url", url, "--origin", A, A], ["--url", url, "--origin", A + "\r\nX: y"], ["--url", url, A + "\nX: y"],
		    ["--url", url, "--origin", A, "--timeout", "0"], ["--url", url, "--origin", A, "--timeout", "x"],
		    ["--url", url, "--origin", A, "--method", "GET\r\nX: y"], [A, "--timeout", "3"], [A, "--insecure"], [A, "--origin", A],
		    ["--url", url, "--origin", A, "--from-headers", "-"], ["--url", url, "--origin", A, "--actual"]):
			self.assertEqual(harness.stack.cachectl("check", *args, check=False).returncode, MISUSED, args)


if __name__ == "__main__":
	harness.main("--nginx", "--lighttpd")

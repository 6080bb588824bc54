#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""cachectl check --from-headers: what curl -v says of a real nginx, and what developer tools copy."""

import json
import random
import subprocess
import sys
import unittest

import harness

ORIGIN = "https://app.example.com"
YES, NO, FAILED, MISUSED = 0, 1, 2, 64

PREFLIGHT = {
	"raw, Firefox": """OPTIONS /items HTTP/1.1
Host: api.example.com
User-Agent: Mozilla/5.0
Access-Control-Request-Method: PUT
Access-Control-Request-Headers: content-type,x-one
Origin: https://app.example.com
""",
	"raw with CRLF and pseudo headers": ":authority: api.example.com\r\n:method: OPTIONS\r\n:path: /items\r\norigin: https://app.example.com\r\n"
	    "access-control-request-headers: content-type,x-one\r\naccess-control-request-method: PUT\r\n",
	"Chromium, two lines": """:authority:
api.example.com
:method:
OPTIONS
:scheme:
https
access-control-request-headers:
content-type,x-one
access-control-request-method:
PUT
origin:
https://app.example.com
""",
	"Chromium, two lines without colons": """Request Method
OPTIONS
:authority
api.example.com
access-control-request-headers
content-type,x-one
access-control-request-method
PUT
origin
https://app.example.com
""",
	"several lines of names": """OPTIONS /items HTTP/2
origin: https://app.example.com
access-control-request-method: PUT
access-control-request-headers: content-type
access-control-request-headers: x-one
""",
	"curl for bash": """curl 'https://api.example.com/items?a=1&b=2' \\
  -X 'OPTIONS' \\
  -H 'Accept: */*' \\
  -H 'Access-Control-Request-Headers: content-type,x-one' \\
  -H 'Access-Control-Request-Method: PUT' \\
  -H 'Origin: https://app.example.com' --compressed
""",
	"curl for bash, other quotes": """$ curl -XOPTIONS "https://api.example.com/\\"x" --header=Origin:\\ https://app.example.com """
	    """-H $'Access-Control-Request-Method: \\u0050UT' "-Haccess-control-request-headers: content-type,x-one" | jq .\n""",
	"curl, options glued together": """curl -sSiX OPTIONS https://api.example.com/ -kH 'Origin: https://app.example.com' """
	    """-H 'Access-Control-Request-Method: PUT' -vHAccess-Control-Request-Headers:content-type,x-one\n""",
	"curl for cmd.exe": """curl ^"https://api.example.com/items^" ^
  -X ^"OPTIONS^" ^
  -H ^"access-control-request-headers: content-type,x-one^" ^
  -H ^"access-control-request-method: PUT^" ^
  -H ^"origin: https://app.example.com^"
""",
	"curl -v": """*   Trying 127.0.0.1:443...
* [HTTP/2] [1] [origin: https://not.this.example]
> OPTIONS /items HTTP/2
> Host: api.example.com
> origin: https://app.example.com
> access-control-request-method: PUT
> access-control-request-headers: content-type,x-one
>
""",
}

PREFLIGHT["curl for cmd.exe, CRLF"] = PREFLIGHT["curl for cmd.exe"].replace("\n", "\r\n")

ACTUAL = {
	"curl with a body": ("curl 'https://api.example.com/' -H 'Origin: https://app.example.com' --data-raw '-H Origin: https://x.example'", "POST"),
	"curl": ("curl https://api.example.com/ -H 'origin: https://app.example.com'", "GET"),
	"curl with options that take a value": ("curl -b '-HOrigin: null' -sXPATCH -A -XOPTIONS https://api.example.com/ -sH 'Origin: https://app.example.com'", "PATCH"),
	"curl -I": ("curl -I https://api.example.com/ -H 'origin: https://app.example.com'", "HEAD"),
	"raw": ("DELETE /x HTTP/1.1\nOrigin: https://app.example.com\n", "DELETE"),
	"the first of two": ("> GET /a HTTP/1.1\n> Origin: https://app.example.com\n>\n< HTTP/1.1 301 Moved\n<\n"
	    "> GET /b HTTP/1.1\n> Origin: https://other.example\n>\n", "GET"),
}


class FromHeaders(unittest.TestCase):
	@classmethod
	def setUpClass(cls):
		cls.db = harness.Psql()
		cls.db("INSERT INTO cors.policies (name, methods, headers, credentials, max_age) VALUES ('api', '{PUT}', '{Content-Type,X-One}', true, 60)")
		cls.db(f"INSERT INTO cors.origins (origin, policy) VALUES ('{ORIGIN}', 'api')")
		harness.eventually("the row", lambda: cls.cachectl("check", ORIGIN).returncode == YES)

	@classmethod
	def tearDownClass(cls):
		cls.db.close()

	@staticmethod
	def cachectl(*args, stdin=""):
		return subprocess.run([harness.stack.program("cachectl"), "-c", harness.stack.env["CORSCACHE_CONF"], *args],
		    input=stdin if isinstance(stdin, bytes) else stdin.encode(), capture_output=True, timeout=60)

	def check(self, text, *args, want=YES):
		done = self.cachectl("--json", "check", "--from-headers", "-", *args, stdin=text)
		self.assertEqual(done.returncode, want, f"{text}: {done.stdout}{done.stderr}")
		return json.loads(done.stdout)

	def curl(self, *args):
		return subprocess.run(["curl", "-sv", "--max-time", "20", "-o", "/dev/null", *args], capture_output=True, text=True, timeout=60).stderr

	def test_each_shape_of_a_preflight(self):
		for name, text in PREFLIGHT.items():
			with self.subTest(name):
				a = self.check(text)
				self.assertEqual((a["class"], a["origin"], a["reason"], a["response"]), ("preflight", ORIGIN, "allowed", None))
				self.assertIn("Access-Control-Max-Age: 60", a["headers"])
				self.assertEqual(self.check(text.replace("x-one", "x-two"), want=NO)["culprit"], "x-two")
				self.assertEqual(self.check(text.replace("PUT", "PATCH").replace("\\u0050UT", "PATCH"), want=NO)["reason"], "method")

	def test_each_shape_of_an_actual_request(self):
		for name, (text, method) in ACTUAL.items():
			with self.subTest(name):
				a = self.check(text)
				self.assertEqual((a["class"], a["origin"], a["allowed"]), ("actual", ORIGIN, True))

	def test_curl_of_a_real_server_agrees(self):
		preflight = ("-X", "OPTIONS", "-H", "Access-Control-Request-Method: PUT", "-H", "Access-Control-Request-Headers: x-one")
		url, h2 = harness.stack.env["NGINX_URL"] + "/app/echo", harness.stack.env["NGINX_H2_URL"] + "/app/echo"
		for origin in (ORIGIN, "https://unknown.example"):
			for args in ([url], [*preflight, url], ["--http2-prior-knowledge", h2], ["--http2-prior-knowledge", *preflight, h2]):
				said = self.curl("-H", f"Origin: {origin}", *args)
				a = self.check(said, want=YES if origin == ORIGIN else NO)
				self.assertEqual((a["class"], a["origin"]), ("preflight" if "OPTIONS" in args else "actual", origin), said)
				self.assertEqual((a["response"]["agrees"], a["response"]["differences"]), (True, []), said)
				session = self.check(f"$ curl -v -H 'Origin: {origin}'\n{said}", want=YES if origin == ORIGIN else NO)
				self.assertEqual((session["class"], session["response"]), (a["class"], a["response"]), said)
		self.assertIn(b"response agrees with", self.cachectl("check", "--from-headers", "-", stdin=said).stdout)

	def test_what_differs_is_named(self):
		said = self.curl("-H", f"Origin: {ORIGIN}", harness.stack.env["NGINX_URL"] + "/app/echo")
		for old, new, header, came_back in (
		    (f"Origin: {ORIGIN}\n<", "Origin: *\n<", "Access-Control-Allow-Origin", "*"),
		    ("Allow-Credentials: true", "Allow-Credentials: True", "Access-Control-Allow-Credentials", "True"),
		    ("< Vary: ", "< X-Vary: ", "Vary", None)):
			changed = said.replace("\r", "").replace(old, new)
			self.assertNotEqual(changed, said.replace("\r", ""), (old, said))
			r = self.check(changed)["response"]
			self.assertEqual((r["agrees"], [(d["header"], d["came_back"]) for d in r["differences"]]), (False, [(header, came_back)]))
		twice = said.replace("< Vary: ", f"< Access-Control-Allow-Origin: {ORIGIN}\n< Vary: ", 1)
		self.assertEqual(self.check(twice)["response"]["differences"][0]["came_back"], f"{ORIGIN}, {ORIGIN}")
		self.assertFalse(self.check(said, "--realm", "other", want=NO)["response"]["agrees"])
		self.assertIn(b"another realm", self.cachectl("check", "--from-headers", "-", "--realm", "other", stdin=said).stdout)

	def test_what_is_no_request_says_what_was_looked_for(self):
		for text in ("", "hello\nworld\n", "GET / HTTP/1.1\nHost: x\n", "curl https://x.example/", "curl", "Invoke-WebRequest x", ">\n<\n"):
			done = self.cachectl("check", "--from-headers", "-", stdin=text)
			self.assertEqual((done.returncode, done.stdout), (FAILED, b""))
			for word in (b"Looked for", b"curl -v", b"developer tools", b"-H 'Origin"):
				self.assertIn(word, done.stderr)
		self.assertEqual(self.cachectl("check", "--from-headers", "-", stdin=b"a\0b").returncode, FAILED)
		self.assertEqual(self.cachectl("check", "--from-headers", "/nowhere").returncode, FAILED)
		for args in (["check"], ["check", ORIGIN, "--from-headers", "-"], ["check", "--from-headers", "-", "--method", "PUT"]):
			self.assertEqual(self.cachectl(*args).returncode, MISUSED)

	def test_hostile_text_is_an_answer_or_an_error(self):
		rng = random.Random(5)
		samples = [t.encode() for t in PREFLIGHT.values()] + [t.encode() for t, _ in ACTUAL.values()]
		for _ in range(300):
			data = bytearray(rng.choice(samples))
			for _ in range(rng.choice((1, 3, 30))):
				at = rng.randrange(len(data) + 1)
				data[at:at + rng.randrange(3)] = rng.choice((b"", b"\\", b"^", b"'", b'"', b"$'", b"\n", b":", b"\\u00", b"\xff", b"<", b">"))
			done = self.cachectl("check", "--from-headers", "-", stdin=bytes(data).replace(b"\0", b""))
			self.assertIn(done.returncode, (YES, NO, FAILED), bytes(data))
			self.assertTrue(done.stdout.isascii() and b"\x1b" not in done.stdout + done.stderr)


if __name__ == "__main__":
	sys.dont_write_bytecode = True
	harness.main("--nginx")

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
vectors -- the public decision vectors, end to end: rules inserted by SQL, each
with a policy of its own, requests sent to the responder's socket. Every vector
lives in realms of its own, so that one stack serves all of them.
"""

import json
import re
import unittest

import fcgi
import harness

FILES = [harness.SOURCE / "tests" / "vectors" / name for name in ("public.jsonl", "applications.jsonl")]
SAFELISTED_METHODS = ("GET", "HEAD", "POST")
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
ONCE = ("access-control-allow-origin", "access-control-allow-credentials", "access-control-max-age")
LISTS = ("access-control-allow-methods", "access-control-allow-headers", "access-control-expose-headers")


def literal(text):
	return "'" + text.replace("'", "''") + "'"


def array(words):
	return f"ARRAY[{','.join(map(literal, words))}]::text[]"


def lines(value):
	"""A header of a vector: null, one line, or several."""
	return [] if value is None else value if isinstance(value, list) else [value]


def words(value):
	return [word.strip(" \t") for word in (value or "").split(",") if word.strip(" \t")]


def cors_check(answer, origin, credentials):
	"""Fetch, "CORS check"."""
	allowed = answer.get("access-control-allow-origin")
	if allowed == "*" and credentials == "omit":
		return True
	if allowed is None or allowed != origin:
		return False
	return credentials == "omit" or answer.get("access-control-allow-credentials") == "true"


def preflight_check(answer, request, origin, credentials):
	"""Fetch, "CORS-preflight fetch", step 7."""
	if not cors_check(answer, origin, credentials) or not 200 <= answer.status <= 299:
		return False
	methods = words(answer.get("access-control-allow-methods"))
	names = [name.lower() for name in words(answer.get("access-control-allow-headers"))]
	star = credentials == "omit"
	method = ", ".join(lines(request["acrm"]))
	if method not in methods and method not in SAFELISTED_METHODS and not (star and "*" in methods):
		return False
	for name in (word.lower() for line in lines(request["acrh"]) for word in words(line)):
		if name not in names and not (star and "*" in names and name != "authorization"):
			return False
	return True


class Vectors(unittest.TestCase):
	@classmethod
	def setUpClass(cls):
		cls.vectors = [json.loads(line) for file in FILES for line in file.read_text().splitlines()]
		cls.refused = {}
		sql = harness.Psql()
		for number, vector in enumerate(cls.vectors):
			vector["number"] = number
			for n, rule in enumerate(vector["rules"]):
				try:
					cls.insert(sql, number, n, rule)
				except harness.SqlError as error:
					cls.refused[number] = str(error)
		sql("INSERT INTO cors.origins (realm, origin) VALUES ('last', 'https://last.example')")
		sql.close()
		harness.eventually("all rules are in force", lambda: cls.ask("last", "GET", "https://last.example")
		    .get("access-control-allow-origin"))

	@staticmethod
	def insert(sql, number, n, rule):
		age = "NULL" if rule["max_age"] is None else rule["max_age"]
		sql("INSERT INTO cors.policies (name, methods, headers, expose_headers, credentials, max_age) VALUES"
		    f" ('v{number}-{n}', {array(rule['methods'])}, {array(rule['headers'])}, {array(rule['expose'])},"
		    f" {rule['credentials']}, {age})")
		sql("INSERT INTO cors.origins (realm, origin, policy) VALUES"
		    f" ({literal(Vectors.realm(number, rule['realm']))}, {literal(rule['origin'])}, 'v{number}-{n}')")

	@staticmethod
	def realm(number, name):
		return f"v{number}.{name}"

	@staticmethod
	def ask(realm, method, origin, acrm=None, acrh=None, role=fcgi.RESPONDER):
		params = [("REQUEST_METHOD", method), ("CORS_REALM", realm)]
		for name, value in (("HTTP_ORIGIN", origin), ("HTTP_ACCESS_CONTROL_REQUEST_METHOD", acrm),
		    ("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", acrh)):
			params += [(name, line) for line in lines(value)]
		return fcgi.ask(harness.stack.env["RESPONDER_SOCKET"], params, role)

	def each(self, kind, check):
		for vector in self.vectors:
			if vector["kind"] == kind:
				with self.subTest(vector["id"], note=vector.get("note")):
					check(vector)

	def test_requests(self):
		self.each("request", self.check_request)

	def test_configurations(self):
		self.each("config", self.check_configuration)

	def check_request(self, vector):
		self.assertNotIn(vector["number"], self.refused, self.refused.get(vector["number"]))
		request, expect = vector["request"], vector["expect"]
		realm = self.realm(vector["number"], request["realm"])
		asked = (realm, request["method"], request["origin"], request["acrm"], request["acrh"])
		answer = self.ask(*asked)
		self.check_invariants(answer)
		self.check_answer(answer, expect)
		self.check_browser(answer, request, expect)
		if expect["class"] != "preflight":
			self.check_authorizer(answer, self.ask(*asked, role=fcgi.AUTHORIZER))

	def check_invariants(self, answer):
		for name, value in answer.headers:
			self.assertNotRegex(value, r"[\x00-\x08\x0a-\x1f\x7f]", name)
		for name in ONCE:
			self.assertLessEqual(len(answer.all(name)), 1, name)
		for name in LISTS:
			for word in words(answer.get(name)):
				self.assertTrue(TOKEN.fullmatch(word), f"{name}: {word}")
		self.assertIn(answer.get("access-control-allow-credentials"), (None, "true"))
		if answer.get("access-control-allow-credentials"):
			self.assertNotEqual(answer.get("access-control-allow-origin"), "*")

	def check_answer(self, answer, expect):
		if expect["allowed"] is not None:
			self.assertEqual(answer.get("access-control-allow-origin") is not None, expect["allowed"], answer.headers)
		if expect["class"] == "preflight":
			self.assertEqual(answer.status, 200 if expect["allowed"] else 403)
		else:
			self.assertEqual(answer.status, 204)
		for name, value in expect.get("headers", {}).items():
			self.assertEqual(answer.get(name), value, name)
		for name in expect.get("absent", ()):
			self.assertIsNone(answer.get(name), name)
		if "acao_one_of" in expect:
			self.assertIn(answer.get("access-control-allow-origin"), expect["acao_one_of"])
		if "status_2xx" in expect:
			self.assertEqual(200 <= answer.status <= 299, expect["status_2xx"])
		vary = {word.lower() for word in words(answer.get("vary"))}
		for name in expect.get("vary_includes", ()):
			self.assertIn(name.lower(), vary)
		self.check_cover(answer, expect, "acam_must_cover", "access-control-allow-methods", str)
		self.check_cover(answer, expect, "acah_must_cover", "access-control-allow-headers", str.lower)
		self.check_cover(answer, expect, "aceh_must_cover", "access-control-expose-headers", str.lower)

	def check_cover(self, answer, expect, key, header, fold):
		listed = [fold(word) for word in words(answer.get(header))]
		for name in lines(expect.get(key)):
			if key == "acam_must_cover" and name in SAFELISTED_METHODS:
				continue
			covered = fold(name) in listed or ("*" in listed and fold(name) != "authorization")
			self.assertTrue(covered, f"{header}: {listed} does not cover {name}")

	def check_browser(self, answer, request, expect):
		origin = ", ".join(lines(request["origin"]))
		for credentials, wanted in expect.get("browser", {}).items():
			if expect["class"] == "preflight":
				passes = preflight_check(answer, request, origin, credentials)
			else:
				passes = cors_check(answer, origin, credentials)
			self.assertEqual("pass" if passes else "fail", wanted, f"{credentials}: {answer.headers}")

	def check_authorizer(self, answer, told):
		"""lighttpd is told the same, as variables."""
		self.assertEqual(told.status, 200)
		for header, variable in (("access-control-allow-origin", "allow_origin"), ("vary", "vary"),
		    ("access-control-allow-credentials", "allow_credentials"), ("access-control-expose-headers", "expose_headers")):
			self.assertEqual(told.get(f"variable-cors_{variable}"), answer.get(header))

	def check_configuration(self, vector):
		refused = self.refused.get(vector["number"])
		if vector["expect"]["valid"]:
			self.assertIsNone(refused)
		for rule in vector["rules"]:
			origin = rule["origin"].replace("://*.", "://x.").replace("://*", "://x").replace(":*", ":8443") if rule["origin"] != "*" else "https://x"
			answer = self.ask(self.realm(vector["number"], rule["realm"]), "GET", origin.encode())
			allowed = answer.get("access-control-allow-origin") is not None
			self.assertEqual(allowed, vector["expect"]["valid"], f"{rule['origin']}: {refused}")


if __name__ == "__main__":
	harness.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
browser -- what counts in the end: a real Chromium loads a page from one
origin, the page fetches from another, and reports what it was let read.
"""

import html
import json
import re
import shutil
import subprocess
import tempfile
import unittest
import urllib.parse

import harness

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PAGE = """<!doctype html><meta charset="utf-8"><title>page</title><pre id="out"></pre><script>
async function run(api) {
	const json = { "Content-Type": "application/json" };
	const cases = {
		get:		["200", {}],
		notFound:	["404", {}],
		exposed:	["200?header=X-Total:7&header=X-Hidden:8", {}],
		post:		["200", { method: "POST", body: "text" }],
		putJson:	["200", { method: "PUT", body: "{}", headers: { ...json, "X-Token": "t" } }],
		otherMethod:	["200", { method: "DELETE" }],
		otherHeader:	["200", { headers: { "X-Other": "1" } }],
		credentials:	["200", { credentials: "include" }],
		putCredentials:	["200", { method: "PUT", credentials: "include", headers: json, body: "{}" }],
		ownHeaders:	["200?header=Access-Control-Allow-Origin:*", {}],
	};
	const said = { origin: location.origin };
	for (const [name, [path, options]] of Object.entries(cases)) {
		try {
			const reply = await fetch(api + "/app/status/" + path, options);
			said[name] = [reply.status, (await reply.text()).trim(), reply.headers.get("X-Total"), reply.headers.get("X-Hidden")];
		} catch (error) {
			said[name] = "blocked";
		}
	}
	document.getElementById("out").textContent = "result:" + JSON.stringify(said);
}
run(new URLSearchParams(location.search).get("api"));
</script>
"""
BLOCKED = "blocked"


def setUpModule():
	global sql, port
	(harness.stack.dir / "www" / "page.html").write_text(PAGE)
	port = urllib.parse.urlsplit(harness.stack.env["NGINX_URL"]).port
	sql = harness.Psql()
	sql("""INSERT INTO cors.policies (name, methods, headers, expose_headers, credentials, max_age) VALUES
	    ('web', '{GET,POST,PUT}', '{content-type,x-token}', '{X-Total}', false, 0),
	    ('signed-in', '{GET,POST,PUT}', '{content-type,x-token}', '{X-Total}', true, 0)""")
	sql(f"""INSERT INTO cors.origins (origin, policy) VALUES
	    ('http://app.localhost:{port}', 'web'), ('http://signed-in.localhost:{port}', 'signed-in'),
	    ('http://*.preview.localhost:{port}', 'web')""")
	client = harness.Client(harness.stack.env["NGINX_URL"])
	harness.eventually("the rows are in force", lambda: client.allowed(f"http://x.preview.localhost:{port}"))
	client.close()


def tearDownModule():
	sql.close()


def visit(host):
	"""What the page said that Chromium loaded from host."""
	api = f"http://api.localhost:{port}"
	with tempfile.TemporaryDirectory(prefix="chromium.") as profile:
		done = subprocess.run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
		    "--disable-dev-shm-usage", "--no-proxy-server", f"--user-data-dir={profile}", "--virtual-time-budget=20000",
		    "--dump-dom", f"http://{host}.localhost:{port}/page.html?api={urllib.parse.quote(api)}"],
		    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, text=True)
	found = re.search(r"result:(\{.*\})", done.stdout)
	if not found:
		raise AssertionError(f"no result from Chromium:\n{done.stdout}\n{done.stderr[-2000:]}")
	said = json.loads(html.unescape(found[1]))
	assert said.pop("origin") == f"http://{host}.localhost:{port}"
	return said


class Browser(unittest.TestCase):
	maxDiff = None
	without_credentials = {
		"get": [200, "GET 200", None, None],
		"notFound": [404, "GET 404", None, None],
		"exposed": [200, "GET 200", "7", None],
		"post": [200, "POST 200", None, None],
		"putJson": [200, "PUT 200", None, None],
		"otherMethod": BLOCKED,
		"otherHeader": BLOCKED,
		"credentials": BLOCKED,
		"putCredentials": BLOCKED,
		"ownHeaders": [200, "GET 200", None, None],
	}

	def test_an_origin_with_a_row(self):
		self.assertEqual(visit("app"), self.without_credentials)

	def test_an_origin_under_a_pattern(self):
		self.assertEqual(visit("pr-7.preview"), self.without_credentials)

	def test_an_origin_with_credentials(self):
		self.assertEqual(visit("signed-in"), {**self.without_credentials,
		    "credentials": [200, "GET 200", None, None], "putCredentials": [200, "PUT 200", None, None]})

	def test_an_unknown_origin(self):
		self.assertEqual(visit("evil"), dict.fromkeys(self.without_credentials, BLOCKED))

	def test_a_row_comes_and_goes(self):
		client = harness.Client(harness.stack.env["NGINX_URL"])
		self.addCleanup(client.close)
		origin = f"http://new.localhost:{port}"
		sql(f"INSERT INTO cors.origins (origin, policy) VALUES ('{origin}', 'web')")
		harness.eventually("inserted", lambda: client.allowed(origin))
		self.assertEqual(visit("new"), self.without_credentials)
		sql(f"DELETE FROM cors.origins WHERE origin = '{origin}'")
		harness.eventually("deleted", lambda: not client.allowed(origin))
		self.assertEqual(visit("new"), dict.fromkeys(self.without_credentials, BLOCKED))


if __name__ == "__main__":
	if not CHROMIUM:
		harness.skip("chromium is not installed")
	harness.main("--nginx")

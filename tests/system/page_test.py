#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
page -- the status page for people, through nginx and lighttpd as packaged, and
in a real Chromium: it says what the other faces say, shows hostile bytes and
runs none, and stays with those it is for.
"""

import base64
import hashlib
import html.parser
import http.client
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest
import urllib.parse

import chromium
import fcgi
import harness

PATH = "/.corscache/status"
APP, PREVIEW, SHOP = "https://app.example", "https://pr-7.preview.example", "https://shop.example"
POLICY = ("default-src 'none'; style-src 'sha256-{}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
MALICE = [
	'"><script>window.hit=1;alert(1)</script>',
	"'><img src=x onerror=window.hit=1>",
	'" autofocus onfocus="window.hit=1',
	"</textarea></title></style><script>window.hit=1</script>",
	"javascript:window.hit=1",
	"<svg/onload=window.hit=1>",
	"&lt;script&gt;window.hit=1&lt;/script&gt;&#34;&quot",
	"</code></dd></dl></section><h1>all is well</h1><!--",
	"https://a.example\r\nSet-Cookie: hit=1\r\n\r\n<script>window.hit=1</script>",
	"\x00\x01\x1b[31m\x7f\x85",
	"https://\u202eelpmaxe.live\u2066",
	b"https://\xff\xfe\xc0\xaf<script>\xed\xa0\x80",
	"https://" + "a" * 4096,
	"%3Cscript%3E", "\\x3cscript\\x3e", "{{7*7}}", "%s%n%d",
]
# HTML's void elements, and those that the page may have at all
VOID = {"meta", "input", "br"}
ELEMENTS = VOID | set("""html head title style body header main footer section h1 h2 h3 p a ul li small strong span div dl
    dt dd form label button table caption thead tbody tr th td svg rect path text code pre details summary""".split())
ATTRIBUTES = set("""lang charset name content class id href method action autocomplete autocapitalize spellcheck placeholder
    value scope viewbox preserveaspectratio aria-hidden aria-label aria-labelledby role width height x y d
    text-anchor""".split())


class Document(html.parser.HTMLParser):
	"""Refuses what a well-formed page of ours cannot hold; keeps what is asked about."""

	def __init__(self, text):
		super().__init__()
		self.open, self.ids, self.fields, self.dl = [], set(), {}, {}
		self.style, self.rows, self.texts, self.links, self.term = "", {}, [], [], None
		self.feed(text)
		self.close()
		assert not self.open, f"not closed: {self.open}"

	def handle_starttag(self, tag, attrs):
		assert tag in ELEMENTS, f"<{tag}> on the page"
		for name, value in attrs:
			assert name in ATTRIBUTES, f"{name}={value} on the page"
			assert name != "href" or re.fullmatch(r"|\?origin=[\w.~%-]+&realm=[\w.~%-]*#explain", value), f"a link to {value}"
			assert name != "id" or value not in self.ids, f"id {value} twice"
			self.ids |= {value} if name == "id" else set()
		attrs = dict(attrs)
		if tag == "input":
			assert "label" in self.open, f"{attrs['name']} has no label"
			self.fields[attrs["name"]] = attrs["value"]
		if tag == "a" and attrs["href"]:
			self.links.append(urllib.parse.parse_qs(attrs["href"][1:].partition("#")[0], keep_blank_values=True, errors="surrogateescape"))
		if tag == "tr":
			self.row = []
		if tag == "dd":
			self.dl.setdefault(self.term, "")
		if tag in ("td", "th"):
			self.row.append("")
		if tag not in VOID and tag not in ("rect", "path"):
			self.open.append(tag)

	def handle_startendtag(self, tag, attrs):
		self.handle_starttag(tag, attrs)

	def handle_endtag(self, tag):
		if tag in VOID or tag in ("rect", "path"):
			return
		assert self.open and self.open.pop() == tag, f"</{tag}> where it does not belong"
		if tag == "tr" and len(self.row) > 1:
			self.rows[self.row[0]] = self.row[1:]

	def handle_comment(self, data):
		raise AssertionError(f"a comment: {data}")

	def handle_data(self, data):
		if "style" in self.open:
			self.style += data
			return
		self.texts.append(data)
		if "dt" in self.open:
			self.term = data
		elif "dd" in self.open:
			self.dl[self.term] = self.dl.get(self.term, "") + data
		elif "td" in self.open or "th" in self.open:
			self.row[-1] += data

	@property
	def text(self):
		return "".join(self.texts)


def number(text):
	return int(text.replace(",", ""))


def setUpModule():
	global sql, servers
	sql = harness.Psql()
	sql("""INSERT INTO cors.policies (name, methods, headers, expose_headers, credentials, max_age) VALUES
	    ('partners', '{GET,PUT}', '{content-type,x-token}', '{X-Total}', true, 600)""")
	sql(f"""INSERT INTO cors.origins (realm, origin, policy, expires_at) VALUES ('', '{APP}', 'partners', NULL),
	    ('', 'https://*.preview.example', 'partners', '2100-01-01'), ('', '{APP}:8443', 'partners', NULL),
	    ('shop', '{SHOP}', 'default', NULL)""")
	servers = {name: harness.Client(harness.stack.env[name]) for name in ("NGINX_URL", "LIGHTTPD_URL")}
	harness.eventually("the rows are in force", lambda: servers["NGINX_URL"].allowed(SHOP, host="shop.localhost"))


def tearDownModule():
	for client in servers.values():
		client.close()
	sql.close()


def ask(query="", server="NGINX_URL", method="GET", headers=()):
	servers[server].close()		# a server may close a kept connection whenever it likes
	return servers[server](method, PATH + (f"?{query}" if query else ""), headers)


def form(**fields):
	return urllib.parse.urlencode(fields)


def document(query="", server="NGINX_URL", status=200):
	reply = ask(query, server)
	assert reply.status == status, (query, reply.status)
	return Document(reply.body.decode())


def status_json():
	answer = fcgi.ask(harness.stack.env["RESPONDER_SOCKET"], [("REQUEST_METHOD", "GET"), ("CORS_PAGE", "status")])
	return json.loads(answer.body)


def artifact(name):
	"""Where a person finds a picture: beside the test's log."""
	directory = pathlib.Path(harness.stack.env["CORSCACHE_BUILD"]) / "tests" / "system"
	directory.mkdir(parents=True, exist_ok=True)
	return directory / name


class Answer(unittest.TestCase):
	def test_its_headers_keep_it_to_itself(self):
		for server in servers:
			reply = ask(form(origin=APP), server)
			style = Document(reply.body.decode()).style
			want = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
			self.assertEqual(reply.get("Content-Security-Policy"), POLICY.format(want), f"PAGE_STYLE_SHA256 must be {want}")
			for name, value in (("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"),
			    ("Cache-Control", "no-store"), ("Content-Type", "text/html; charset=utf-8")):
				self.assertEqual(reply.get(name), value, server)
			self.assertEqual((reply.get("Access-Control-Allow-Origin"), reply.get("Set-Cookie")), (None, None))

	def test_no_other_page_may_read_it(self):
		for server in servers:
			self.assertIsNone(ask("", server, headers=[("Origin", APP)]).get("Access-Control-Allow-Origin"))

	def test_it_is_for_this_machine_alone(self):
		for server, refused in (("NGINX_URL", 403), ("LIGHTTPD_URL", 404)):
			at = servers[server]
			for source, want in (("127.0.0.1", 200), ("127.0.0.2", refused)):
				c = http.client.HTTPConnection(at.host, at.port, timeout=20, source_address=(source, 0))
				c.request("GET", PATH)
				reply = c.getresponse()
				self.assertEqual((reply.status, b"corscache" in reply.read()), (want, want == 200), (server, source))
				c.close()

	def test_methods(self):
		for server in servers:
			head = ask("", server, "HEAD")
			self.assertEqual((head.status, head.body), (200, b""))
			self.assertEqual(ask("", server, "POST", [("Content-Length", "0")]).status, 405)

	def test_the_metrics_are_beside_it(self):
		for server, refused in (("NGINX_URL", 403), ("LIGHTTPD_URL", 404)):
			at = servers[server]
			for source, want in (("127.0.0.1", 200), ("127.0.0.2", refused)):
				c = http.client.HTTPConnection(at.host, at.port, timeout=20, source_address=(source, 0))
				c.request("GET", "/.corscache/metrics")
				reply = c.getresponse()
				self.assertEqual((reply.status, b"corscache_table_ready 1\n" in reply.read()), (want, want == 200), (server, source))
				self.assertIn("version=0.0.4" if want == 200 else "text/html", reply.getheader("Content-Type"))
				c.close()
			self.assertEqual(at("GET", "/.corscache/nothing").status, 404)

	def test_a_query_alone_makes_no_page(self):
		answer = fcgi.ask(harness.stack.env["RESPONDER_SOCKET"], [("REQUEST_METHOD", "GET"), ("QUERY_STRING", "origin=x")])
		self.assertEqual((answer.status, answer.body), (204, b""))

	def test_forms_that_nobody_sends(self):
		for query, why in (("origin=%", "%"), ("origin=%4", "%"), ("realm=%zz", "%"), ("%gg=x", "%"),
		    ("origin=a&origin=b", "twice"), ("o%72igin=a&origin=b", "twice")):
			d = document(query, status=400)
			self.assertIn("The form cannot be read:", d.text)
			self.assertIn(why, d.text)
			self.assertEqual(set(d.fields.values()), {""})
		params = [("REQUEST_METHOD", "GET"), ("CORS_PAGE", "html"), ("QUERY_STRING", "origin=" + "a" * 20000)]
		self.assertEqual(fcgi.ask(harness.stack.env["RESPONDER_SOCKET"], params).status, 400)
		params = [("REQUEST_METHOD", "GET"), ("CORS_PAGE", "html"), ("QUERY_STRING", "origin=a"), ("QUERY_STRING", "realm=b")]
		self.assertEqual(fcgi.ask(harness.stack.env["RESPONDER_SOCKET"], params).status, 400)
		self.assertEqual(document("a&=&&x=1&origin&realm=").fields["origin"], "")


class Figures(unittest.TestCase):
	def test_they_are_those_of_status_and_of_the_load(self):
		nginx = servers["NGINX_URL"]
		before = status_json()["counters"]
		for _ in range(7):
			nginx.preflight(APP)
		for _ in range(5):
			nginx.preflight(APP, "PATCH")
		for _ in range(4):
			nginx("GET", "/page-test", [("Origin", PREVIEW)])
		for _ in range(3):
			nginx("GET", "/page-test", [("Origin", "https://evil.example")])
		nginx("GET", "/page-test", [("Origin", "null")])
		d, after = document(), status_json()
		now = after["counters"]
		for name, sent in (("preflights_allowed", 7), ("preflights_refused", 5), ("actuals_allowed", 4), ("actuals_refused", 4)):
			self.assertEqual(now[name] - before[name], sent, name)
		for name, verdict, column in (("preflights_allowed", "allowed", 0), ("actuals_allowed", "allowed", 1),
		    ("preflights_refused", "refused", 0), ("actuals_refused", "refused", 1), ("not_cors", "without an Origin", 1)):
			self.assertEqual(number(d.rows[verdict][column]), now[name], name)
		for verdict in ("allowed", "refused"):
			self.assertEqual(number(d.rows[verdict][2]), sum(number(d.rows[verdict][i]) for i in (0, 1)))
		for reason, sent in (("method", 5), ("origin-unknown", 3), ("origin-null", 1)):
			self.assertEqual(now["reasons"][reason] - before["reasons"][reason], sent)
			shown = next(row for name, row in d.rows.items() if name.startswith(reason))
			self.assertEqual(number(shown[-1]), now["reasons"][reason])
		self.assertEqual(number(d.dl["Policies"]), after["table"]["policies"])
		self.assertEqual(number(d.dl["Rows"].split(";")[0]), after["table"]["rows"])
		self.assertEqual(number(d.dl["Changes applied"]), after["sync"]["changes"])
		self.assertEqual(number(d.dl["Pages"]) + 1, now["pages"])

	def test_durations_add_up_to_all_answers(self):
		d, text = document(), harness.stack.env["RESPONDER_SOCKET"]
		answer = fcgi.ask(text, [("REQUEST_METHOD", "GET"), ("CORS_PAGE", "metrics")]).body.decode()
		count = int(re.search(r"^corscache_check_duration_seconds_count (\d+)", answer, re.M)[1])
		shown = sum(number(row[-1]) for name, row in d.rows.items() if re.match(r"(over )?[\d.]+ .?s$", name))
		self.assertIn(count - shown, (0, 1, 2))		# each is counted when it has been written: after it was read, perhaps

	def test_health_tells_the_next_step(self):
		self.assertIn("Requests are answered from a table that equals the database.", document().text)
		self.addCleanup(harness.stack.command, "start", "syncd")
		harness.stack.command("stop", "syncd")
		d = document()
		self.assertIn("corscache-syncd does not run: the table stays as it is.", d.text)
		self.assertIn("Next: start corscache-syncd", d.text)
		self.assertEqual(d.dl["Writer"].split(",")[0], "none")

	def test_without_a_table(self):
		with tempfile.TemporaryDirectory(prefix="cors.") as empty:
			socket = f"{empty}/responder.sock"
			log = open(f"{empty}/log", "w+")
			responder = subprocess.Popen([harness.stack.program("corscache-responder"), "-c", "/dev/null", "-o",
			    f"table.path={empty}", "--socket", socket], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
			try:
				harness.eventually("it answers", lambda: fcgi.page(socket, "ready") == 503)
				answer = fcgi.ask(socket, [("REQUEST_METHOD", "GET"), ("CORS_PAGE", "html"), ("QUERY_STRING", form(origin=APP))])
				d = Document(answer.body.decode())
				self.assertIn("Not readyEvery origin is refused.", d.text)
				self.assertIn("Next: corscache-syncd publishes it after its first snapshot", d.text)
				self.assertIn("not-ready", d.dl["Reason"])
			finally:
				responder.terminate()
				responder.wait(20)
				log.close()


class Explain(unittest.TestCase):
	def check(self, *args):
		done = harness.stack.cachectl("--json", "check", *args, check=False)
		return json.loads(done.stdout)

	def test_it_says_what_cachectl_check_says(self):
		for fields, args in (
		    ({"origin": APP}, (APP,)),
		    ({"origin": APP, "method": "PUT", "headers": "content-type"}, (APP, "--method", "PUT", "--header", "content-type")),
		    ({"origin": APP, "method": "PATCH"}, (APP, "--method", "PATCH")),
		    ({"origin": PREVIEW, "headers": "x-token, x-foo"}, (PREVIEW, "--header", "x-token", "--header", " x-foo")),
		    ({"origin": "https://app.example:9"}, ("https://app.example:9",)),
		    ({"origin": SHOP, "realm": "shop"}, (SHOP, "--realm", "shop")),
		    ({"origin": SHOP}, (SHOP,)),
		    ({"origin": "https://x.example", "realm": "no-such"}, ("https://x.example", "--realm", "no-such")),
		    ({"origin": "https://APP.example"}, ("https://APP.example",)),
		    ({"origin": "null"}, ("null",))):
			want = self.check(*args)
			for server in servers:
				d = document(form(**fields), server)
				self.assertIn(f"{'allowed' if want['allowed'] else 'refused'} {'preflight' if len(fields) > 1 and 'realm' not in fields else 'actual request'} from {fields['origin']}",
				    d.text)
				self.assertEqual(d.dl["Reason"], f"{want['sentence']} ({want['reason']})")
				self.assertEqual(d.dl["Row"].split(" until ")[0], want["row"] or "none")
				self.assertEqual(d.dl.get("Policy"), want["policy"])
				self.assertEqual(d.dl.get("Culprit"), want["culprit"])
				self.assertEqual(d.dl.get("Next"), want["next"])
				for near in want["near"]:
					self.assertIn(near["row"], d.dl["Nearly"])
					self.assertIn(near["why"], d.dl["Nearly"])
				for line in want["headers"]:
					self.assertIn(f"{line}\n", d.text)
				self.assertEqual({k: v for k, v in d.fields.items() if v}, fields)

	def test_it_counts_nothing(self):
		before = status_json()["counters"]
		document(form(origin="https://evil.example"))
		self.assertEqual(status_json()["counters"]["reasons"], before["reasons"])

	def test_malice_is_shown_and_nothing_else(self):
		for evil in MALICE:
			raw = evil if isinstance(evil, bytes) else evil.encode()
			for field in ("origin", "realm", "method", "headers"):
				fields = {"origin": APP, "method": "PUT", field: raw}
				for server in servers:
					if server == "LIGHTTPD_URL" and (isinstance(evil, bytes) or re.search(rb"[\0-\x1f\x7f]", raw)):
						self.assertEqual(ask(form(**fields), server).status, 400)	# it refuses these itself
						continue
					d = document(form(**fields), server)
					back = "".join("\ufffd" if c < " " or "\x7f" <= c <= "\x9f" else c
					    for c in raw.decode(errors="surrogateescape")) if not isinstance(evil, bytes) else None
					if back is not None:
						self.assertEqual(d.fields[field], back)
					self.assertNotIn("<script>", ask(form(**fields), server).body.decode().lower())

	def test_those_refused_most_are_questions_to_the_form(self):
		nginx, evil = servers["NGINX_URL"], '"><script>window.hit=1</script>&origin=\\x'
		for _ in range(40):
			nginx("GET", "/page-test", [("Origin", evil)])
		nginx("GET", "/page-test", [("Origin", "https://" + "a" * 300 + ".example")])
		said = json.loads(harness.stack.cachectl("--json", "refusals").stdout.splitlines()[0])
		want = {(r["origin"], r["realm"]): r for r in said["refusals"]}
		d = document()
		self.assertGreaterEqual(want[evil, ""]["count"], 40)
		self.assertIn({"origin": [evil], "realm": [""]}, d.links)
		self.assertEqual(number(d.rows[evil.replace("\\", "\\\\")][-1]), want[evil, ""]["count"])
		for link in d.links:
			self.assertIn((link["origin"][0], link["realm"][0]), want)
			self.assertLessEqual(len(link["origin"][0]), 256)
		asked = document(form(origin=evil, realm=""))
		self.assertEqual(asked.fields["origin"], evil)
		self.assertIn("origin-malformed", asked.dl["Reason"])

	def test_rows_are_strangers_too(self):
		sql("""INSERT INTO cors.policies (name) VALUES ('<b onclick=''hit()''>"&amp;')""")
		sql("""INSERT INTO cors.origins (realm, origin, policy) VALUES
		    ('<i>"realm"</i>', 'https://markup.example', '<b onclick=''hit()''>"&amp;')""")
		realm = '<i>"realm"</i>'
		harness.eventually("the row is in force", lambda: "Policy" in document(form(origin="https://markup.example", realm=realm)).dl)
		d = document(form(origin="https://markup.example", realm=realm))
		self.assertEqual(d.dl["Policy"], """<b onclick='hit()'>"&amp;""")
		self.assertIn(realm, document(form(origin="https://markup.example")).dl["Nearly"])


@unittest.skipUnless(chromium.PROGRAM, "chromium is not installed")
class Browser(unittest.TestCase):
	@classmethod
	def setUpClass(cls):
		cls.browser = chromium.Chromium().__enter__()
		cls.url = harness.stack.env["NGINX_URL"] + PATH

	@classmethod
	def tearDownClass(cls):
		cls.browser.__exit__()

	def visit(self, query=""):
		self.browser.load(self.url + (f"?{query}" if query else ""))
		return self.browser

	def test_nothing_to_complain_about(self):
		for query in ("", form(origin=APP, method="PUT")):
			b = self.visit(query)
			self.assertEqual(b.complaints(), [])
			self.assertEqual(len(b.fetched()), 1, b.fetched())
			self.assertEqual(b.run("getComputedStyle(document.querySelector('main')).display"), "grid", "the style is in force")

	def test_the_form_works(self):
		b = self.visit()
		b.events.clear()
		b.run(f"""document.querySelector('[name=origin]').value = '{PREVIEW}',
		    document.querySelector('[name=method]').value = 'PATCH', document.querySelector('button').click()""")
		b.wait("Page.loadEventFired")
		said = b.run("document.querySelector('.answer').innerText")
		self.assertIn(f"refused preflight from {PREVIEW}", said)
		self.assertIn("the policy does not list the method", said)
		self.assertEqual(b.run("location.hash"), "#explain")
		self.assertEqual(b.run("document.querySelector('[name=origin]').value"), PREVIEW)
		b.events.clear()
		b.run("document.querySelector('header a').click()")		# refresh: the question stays
		b.wait("Page.loadEventFired")
		self.assertIn("refused preflight", b.run("document.querySelector('.answer').innerText"))
		self.assertEqual(b.complaints(), [])

	def test_malice_does_not_run(self):
		for evil in MALICE:
			short = evil[:200]
			b = self.visit(form(origin=evil, realm=short, method=short, headers=short))
			self.assertEqual(b.complaints(), [], evil)
			self.assertIsNone(b.run("window.hit"), evil)
			self.assertEqual(b.run("document.querySelectorAll('script, img, iframe, object, [onfocus], [onload]').length"), 0)
			self.assertEqual(b.run("document.querySelectorAll('h1').length"), 1)

	def test_the_policy_holds_where_escaping_would_not(self):
		b = self.visit()
		b.run("""document.body.insertAdjacentHTML('beforeend', '<img src="/x.png" onerror="window.hit=1">' +
		    '<p id=styled style="color:red">x</p><iframe src="/"></iframe>')""")
		b.run("{ const s = document.createElement('script'); s.textContent = 'window.hit=1'; document.body.append(s) }")
		outcome = b.run("fetch('/').then(() => 'fetched', () => 'blocked')")
		self.assertEqual((outcome, b.run("window.hit")), ("blocked", None))
		self.assertNotEqual(b.run("getComputedStyle(document.getElementById('styled')).color"), "rgb(255, 0, 0)")
		self.assertEqual(len(b.fetched()), 1, b.fetched())
		self.assertTrue(b.complaints(), "this test sees violations")

	def test_it_fits_any_width(self):
		"""With long origins, and figures as of a busy year."""
		for _ in range(60):
			servers["NGINX_URL"]("GET", "/page-test", [("Origin", "https://" + "a" * 300 + ".example")])
		share = """Math.min(...[...document.querySelectorAll('.refused tbody th')].map(th =>
		    th.offsetWidth / th.closest('section').clientWidth))"""
		for width in (320, 390, 760, 761, 901, 1200):
			self.browser.look(width, 800)
			b = self.visit()
			self.assertGreater(b.run(share), 0.3, f"an origin has room, {width}")
			b.run("""for (const e of document.querySelectorAll('td, dd, .big'))
			    if (/^[\\d,]+$/.test(e.textContent)) e.textContent = '1,234,567,890,123'""")
			self.assertLessEqual(b.run("document.documentElement.scrollWidth"), width)
			self.assertEqual(b.run("""[...document.querySelectorAll('section')].filter(e => e.scrollWidth > e.clientWidth &&
			    getComputedStyle(e).overflowX != 'auto').length"""), 0, f"a section lies over another, {width}")

	def test_it_can_be_read(self):
		contrast = """(() => {
			const light = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255)
			    .map(x => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
			    return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2] };
			const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
			    if (!/, 0\\)$/.test(c)) return c } return 'rgb(255, 255, 255)' };
			let least = [99, ''];
			for (const e of document.body.querySelectorAll('*')) {
				if (![...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()) || e.closest('title')) continue;
				const style = getComputedStyle(e), a = light(e.closest('svg') ? style.fill : style.color), b = light(behind(e));
				const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
				if (ratio < least[0]) least = [ratio, e.outerHTML];
			}
			return least })()"""
		for width, height in ((1200, 900), (400, 800)):
			for dark in (False, True):
				self.browser.look(width, height, dark)
				b = self.visit(form(origin=PREVIEW, method="PUT", headers="content-type, x-foo"))
				least, where = b.run(contrast)
				self.assertGreaterEqual(least, 4.5, where)
				self.assertLessEqual(b.run("document.documentElement.scrollWidth"), width)
				b.photograph(artifact(f"page-{width}-{'dark' if dark else 'light'}.png"))
		print(f"pictures: {artifact('page-*.png')}")


if __name__ == "__main__":
	harness.main("--nginx", "--lighttpd")

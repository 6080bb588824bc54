# SPDX-License-Identifier: BSD-2-Clause
"""origins -- right ones, wrong ones with what SQL says of them, and an independent model."""
import random
import re


VALID = """
https://example.com http://localhost http://localhost:3000 https://example.com:8443 http://127.0.0.1:3000
http://[::1] http://[::1]:90 http://[::] http://[2001:db8:aaaa:1111::100]:9090 http://[::102:304] http://[::ffff:0:102:304] http://[::1:ffff:102:304]
http://[::5] http://[1:0:2:0:3:0:4:0] http://[fe80::1:0:0:1]
https://www.xn--xample-9ua.com https://xn--p1ai https://*.xn--bcher-kva.example https://axn--f.example app://xn--f https://example.com:65535 https://example.com:80 http://example.com:443 https://example.com:1
https://a_b.example https://-a-.example https://_x https://1a.example https://a.1a https://0xg https://12.example.com
chrome-extension://abcdefghijklmnop moz-extension://0f1d0c1e-7d34-4a5e-8a5c-000000000000 capacitor://localhost s://host
app://. app://.. app://.:3000 app:// app://a. app://a..b app://LocalHost app://[::1] app://[::1]:1 app://1.2.3.256 app://.:* app://Host:*
safari-web-extension://DCEA6524-AB56-4469-895F-D4F4E84F139E vscode-webview://0a1b2c moz-extension://* file-system://* s://*
app://!"$%&'()+,-._~ app://;=`{}%zz%C3%a9 app://a,b
app+x-1.y://1.2 connector://1 ftp://example.com:2121 https://null
https://*.example.com https://*.example.com:8443 https://example.com:* https://*.example.com:* http://*.example.com:3999
https://*.com http://127.0.0.1:* http://[::1]:* http://*.localhost * x-y://*.example:*
""".split() + [
    "https://" + "a" * 63 + ".example",
    "https://" + ".".join(["a" * 63] * 3 + ["a" * 61]),                 # 253
    "https://*." + ".".join(["a" * 63] * 3 + ["a" * 59]),               # 251
    "app://" + "A" * 253,
    "https://*." + ".".join(["a"] * 63),
    "https://" + ".".join(["a"] * 127),
    "a" * 64 + "://" + ".".join(["a" * 63] * 3 + ["a" * 61]) + ":65535",  # 326
]

NOT_A_HOST = "write scheme://host or scheme://host:port, such as 'https://app.example.com' or 'http://localhost:3000'"
PATTERNS = "write 'https://*.example.com', 'https://example.com:*', 'https://*.example.com:*', 'app://*' or '*'"
BELOW = "write 'https://*.example.com' for the hosts below one, or, for every origin of every scheme, '*' with a policy without credentials"
OWN = "serve the page from an origin of its own, such as 'http://localhost:3000'"
STAR = ("a * stands for whole labels in front of a host (*.host), for the port (host:*), "
    "or for every host of an application's scheme (app://*), nowhere else")
MAPPED = "its IPv6 address stands for an IPv4 address"
SHORT = "its IPv6 address is not in the short form, [%s]"
PORT = "its port is not a number from 1 to 65535 without leading zeros"
TWO_PORTS = "it has two ports, or an IPv6 address without brackets"
DEFAULT_PORT = "it spells out the default port, which browsers leave out"
PUNYCODE = "write an international host name in its ASCII form, such as 'https://xn--bcher-kva.example'"
PUNY = "its host has a label that begins with xn-- and is no Punycode"
SPECIAL = ("http", "https", "ws", "wss", "ftp")
QUAD = "its host ends in a number but is no IPv4 address such as 192.0.2.1"


def sends(origin):
	return "browsers send '%s'" % origin


INVALID = [
    ("", "it is empty", NOT_A_HOST),
    ("null", "any sandboxed page and any local file can send it",
    "serve the page from an origin of its own, or write '*' with a policy without credentials"),
    ("file:///foo", "pages opened from files send null", OWN),
    ("file://host", "pages opened from files send null", OWN),
    ("example.com", "it has no scheme:// in front", sends("https://example.com")),
    ("localhost:3000", "it has no scheme:// in front", sends("https://localhost:3000")),
    ("*.example.com", "it has no scheme:// in front", "write 'https://*.example.com'"),
    ("ab:", "it has no scheme:// in front", NOT_A_HOST),
    ("https:/example.com", "it has no scheme:// in front", NOT_A_HOST),
    ("42-chrome-extension://foo", "it has no scheme:// in front", NOT_A_HOST),
    ("*://example.com", "it has no scheme:// in front", PATTERNS),
    ("https://example.com/", "it has a trailing slash", sends("https://example.com")),
    ("https://*.example.com/", "it has a trailing slash", "write 'https://*.example.com'"),
    ("https://example.com/app?x#y", "it has a path, a query or a fragment", sends("https://example.com")),
    ("https://example.com:6060?foo=bar", "it has a path, a query or a fragment", sends("https://example.com:6060")),
    ("https://example.com\\a", "it has a path, a query or a fragment", sends("https://example.com")),
    ("https://user:password@example.com:6060", "it has a user name in front of an @", sends("https://example.com:6060")),
    ("https://Example.com", "it has upper-case letters", sends("https://example.com")),
    ("HTTPS://EXAMPLE.COM:443/", "it has upper-case letters", sends("https://example.com")),
    (" https://example.com", "it has a space or a comma", sends("https://example.com")),
    ("https://a.com,https://b.com", "it has a space or a comma", "write one row for each origin"),
    ("https://a.com https://b.com", "it has a space or a comma", "write one row for each origin"),
    ("https://example.com\n", "it has a control character or one outside ASCII", sends("https://example.com")),
    ("https://exa\tmple.com", "it has a control character or one outside ASCII", PUNYCODE),
    ("https://r\u00e9sum\u00e9.com", "it has a control character or one outside ASCII", PUNYCODE),
    ("http://xn--f", PUNY, PUNYCODE),
    ("https://a.xn--.example:8443", PUNY, PUNYCODE),
    ("https://xn--abc-", PUNY, PUNYCODE),
    ("https://xn---a", PUNY, PUNYCODE),
    ("https://*.xn--a_b", PUNY, PUNYCODE),
    ("https://xn--a", PUNY, PUNYCODE),
    ("https://xn--" + "9" * 59, PUNY, PUNYCODE),
    ("https://", "it has no host", NOT_A_HOST),
    ("https://:80", "it has no host", NOT_A_HOST),
    ("https://*.", "it has no host", PATTERNS),
    ("https://^foo", "its host has a character that no host name has: ^", NOT_A_HOST),
    ("https://a%41", "its host has a character that no host name has: %", NOT_A_HOST),
    ("https://.a", "its host has an empty label", NOT_A_HOST),
    ("https://a..b", "its host has an empty label", NOT_A_HOST),
    ("https://example.com.", "its host ends with a dot", NOT_A_HOST),
    ("https://" + "a" * 64, "a label of its host is longer than 63 characters", NOT_A_HOST),
    ("http://" + "a" * 64, "a label of its host is longer than 63 characters", NOT_A_HOST),
    ("https://" + ".".join(["a" * 63] * 3 + ["a" * 62]), "its host is longer than 253 characters", NOT_A_HOST),
    ("https://*." + ".".join(["a" * 63] * 3 + ["a" * 60]), "its host is longer than 251 characters", PATTERNS),
    ("https://*." + ".".join(["a"] * 64), "its host has more than 63 labels behind the *.", PATTERNS),
    ("a" * 65 + "://host", "its scheme is longer than 64 characters", NOT_A_HOST),
    ("https://" + "a" * 330, "it is longer than 328 bytes", NOT_A_HOST),
    ("http://127.1:3999", QUAD, NOT_A_HOST),
    ("http://127.0.0.1.1", QUAD, NOT_A_HOST),
    ("http://127.0.0.256", QUAD, NOT_A_HOST),
    ("http://127.0.0.01", QUAD, NOT_A_HOST),
    ("https://1", QUAD, NOT_A_HOST),
    ("wss://a.0x", QUAD, NOT_A_HOST),
    ("ftp://a.0x1f", QUAD, NOT_A_HOST),
    ("https://*.1", QUAD, PATTERNS),
    ("http://[::::::::::::::::1]:90", "its [IPv6] address is malformed", NOT_A_HOST),
    ("http://[1:2:3]", "its [IPv6] address is malformed", NOT_A_HOST),
    ("http://[fe80::1%25eth0]", "its [IPv6] address is malformed", NOT_A_HOST),
    ("http://[::1", "its [IPv6] address is malformed", NOT_A_HOST),
    ("http://[]", "its [IPv6] address is malformed", NOT_A_HOST),
    ("http://[1.2.3.4]", "its [IPv6] address is malformed", NOT_A_HOST),
    ("http://[0:0:0:0:0:0:0:1]", SHORT % "::1", sends("http://[::1]")),
    ("http://[::ffff:1.2.3.4]", MAPPED, NOT_A_HOST),
    ("http://[::ffff:102:304]", MAPPED, NOT_A_HOST),
    ("http://[::ffff:0:0]", MAPPED, NOT_A_HOST),
    ("http://[::0001]", SHORT % "::1", sends("http://[::1]")),
    ("http://[1::2:0:0:0:3]", SHORT % "1:0:0:2::3", sends("http://[1:0:0:2::3]")),
    ("http://[1:2:3:4:5:6:7::]", SHORT % "1:2:3:4:5:6:7:0", sends("http://[1:2:3:4:5:6:7:0]")),
    ("https://::1:90", TWO_PORTS, NOT_A_HOST),
    ("https://a:", PORT, sends("https://a")),
    ("https://a:-1", PORT, NOT_A_HOST),
    ("https://a:0", PORT, NOT_A_HOST),
    ("https://a:08443", PORT, sends("https://a:8443")),
    ("https://a:65536", PORT, NOT_A_HOST),
    ("https://a:99999999999999999999", PORT, NOT_A_HOST),
    ("https://a:1:2", TWO_PORTS, NOT_A_HOST),
    ("https://[::1]x", PORT, NOT_A_HOST),
    ("https://a:443", DEFAULT_PORT, sends("https://a")),
    ("http://a:80", DEFAULT_PORT, sends("http://a")),
    ("http://[::1]:80", DEFAULT_PORT, sends("http://[::1]")),
    ("ws://a:80", DEFAULT_PORT, sends("ws://a")),
    ("wss://a:443", DEFAULT_PORT, sends("wss://a")),
    ("ftp://a:21", DEFAULT_PORT, sends("ftp://a")),
    ("https://*.a:443", DEFAULT_PORT, "write 'https://*.a'"),
    ("http://*", STAR, BELOW),
    ("http://*:8080", STAR, BELOW),
    ("wss://*", STAR, BELOW),
    ("ftp://*", STAR, BELOW),
    ("file://*", "pages opened from files send null", OWN),
    ("app://*:*", STAR, "write 'app://*'"),
    ("app://*:80", STAR, "write 'app://*'"),
    ("app://*/", "it has a trailing slash", "write 'app://*'"),
    ("App://.", "it has upper-case letters", sends("app://.")),
    ("App://Host/index.html", "it has upper-case letters", sends("app://Host")),
    ("app://./index.html", "it has a path, a query or a fragment", sends("app://.")),
    ("app:///index.html", "it has a path, a query or a fragment", sends("app://")),
    ("app://a,app://b", "it has a path, a query or a fragment", "write one row for each origin"),
    ("app://a b", "it has a space or a comma", "write one row for each origin"),
    ("app://a*b", STAR, PATTERNS),
    ("app://a^b", "its host has a character that no host has: ^", NOT_A_HOST),
    ("app://a]b", "its host has a character that no host has: ]", NOT_A_HOST),
    ("app://user@a", "it has a user name in front of an @", sends("app://a")),
    ("app://:80", "it has no host", NOT_A_HOST),
    ("app://:*", "it has no host", PATTERNS),
    ("app://*.", "it has no host", PATTERNS),
    ("app://*.A", "its host has a character that no host name has: A", PATTERNS),
    ("app://a:080", PORT, sends("app://a:80")),
    ("app://[::A]", "its [IPv6] address is malformed", NOT_A_HOST),
    ("app://[::01]", SHORT % "::1", sends("app://[::1]")),
    ("app://" + "A" * 254, "its host is longer than 253 characters", NOT_A_HOST),
    ("http://fooo.*.example.com:3999", STAR, PATTERNS),
    ("http://*example.com:3999", STAR, PATTERNS),
    ("https://example.*", STAR, PATTERNS),
    ("https://*.*.com", STAR, PATTERNS),
    ("https://a:*:*", STAR, PATTERNS),
    ("https://a:8*", STAR, PATTERNS),
    ("**", "it has no scheme:// in front", PATTERNS),
    ("https://a:1:*", TWO_PORTS, PATTERNS),
    ("https://*.1.2.3.4", "a *. cannot stand in front of an address", PATTERNS),
    ("https://*.[::1]", "a *. cannot stand in front of an address", PATTERNS),
]


def model_ipv6(text):
	"""RFC 5952 by hand; ::ffff:0:0/96 stands for IPv4 addresses and is none."""
	if not re.fullmatch(r"[0-9a-f:]+", text) or text.count("::") > 1 or ":::" in text:
		return False
	head, gap, tail = text.partition("::")
	left, right = (side.split(":") if side else [] for side in (head, tail))
	missing = 8 - len(left) - len(right)
	if (missing < 1 if gap else missing != 0) or not all(re.fullmatch(r"[0-9a-f]{1,4}", g) for g in left + right):
		return False
	groups = [int(g, 16) for g in left + ["0"] * missing + right]
	if groups[:6] == [0] * 5 + [0xffff]:
		return False
	best, length = -1, 1
	for start in range(8):
		run = 0
		while start + run < 8 and groups[start + run] == 0:
			run += 1
		if run > length:
			best, length = start, run
	if best < 0:
		return text == ":".join("%x" % g for g in groups)
	return text == ":".join("%x" % g for g in groups[:best]) + "::" + ":".join("%x" % g for g in groups[best + length:])


def model_punycode(text):
	"""What Python's codec decodes; the codec lets a leading hyphen, no digits and controls pass."""
	basic, hyphen, digits = text.rpartition("-")
	if hyphen and not basic or not re.fullmatch(r"[a-z0-9]+", digits):
		return False
	try:
		decoded = text.encode().decode("punycode")
	except UnicodeError:
		return False
	return all(c < "\x80" or c >= "\xa0" and not "\ud800" <= c <= "\udfff" for c in decoded)


def model_app(rest):
	"""Behind a scheme that is not special (URL standard, opaque hosts), without *. in front."""
	if rest in ("", "*"):
		return True
	parts = re.fullmatch(r"""(\[(.*)\]|[!"$%&'()+,.0-9;=A-Z_`a-z{}~-]{1,253})(?::(\*|[1-9][0-9]{0,4}))?""", rest)
	return bool(parts) and (parts[2] is None or model_ipv6(parts[2])) and (parts[3] in (None, "*") or int(parts[3]) < 65536)


def model(o):
	"""An independent reading of the rules: is o an origin or a pattern?"""
	if o == "*":
		return True
	parts = re.fullmatch(r"([a-z][a-z0-9+.-]{0,63})://(\*\.)?(\[[0-9a-f:]*\]|[a-z0-9._-]+)(?::(\*|[1-9][0-9]{0,4}))?", o)
	app = re.fullmatch(r"([a-z][a-z0-9+.-]{0,63})://(.*)", o)
	if app and app[1] not in SPECIAL + ("file",) and not app[2].startswith("*."):
		return model_app(app[2])
	if not parts or parts[1] == "file":
		return False
	scheme, star, host, port = parts.groups()
	if port not in (None, "*") and int(port) > 65535:
		return False
	if {"http": "80", "https": "443", "ws": "80", "wss": "443", "ftp": "21"}.get(scheme) == port and port:
		return False
	if host[0] == "[":
		return not star and model_ipv6(host[1:-1])
	labels = host.split(".")
	quad = len(labels) == 4 and all(re.fullmatch(r"0|[1-9][0-9]{0,2}", l) and int(l) < 256 for l in labels)
	if len(host) > (251 if star else 253) or not all(1 <= len(l) <= 63 for l in labels):
		return False
	if star and (quad or len(labels) > 63):
		return False
	special = scheme in SPECIAL
	if special and not all(model_punycode(l[4:]) for l in labels if l.startswith("xn--")):
		return False
	return quad or not (special and re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]))


def generated(n, seed):
	"""Strings near the border between right and wrong."""
	r = random.Random(seed)
	schemes = ["http", "https"] * 6 + ["ws", "wss", "ftp", "file", "app", "app", "app", "app", "a+b", "HTTP", "1a", "", "s" * 64, "s" * 65]
	labels = ["a", "www", "example", "com", "localhost", "a-b", "a-", "xn--p1ai", "0", "255", "0xf", "a" * 40, "-a", "1", "256", "01", "0x",
	    "a_", "", "*", "A", "\u00e9", "a" * 62, "a" * 63, "a" * 64]
	letters = "abz019-" + "\u00e9\u4e2d\u00a0\U0001f600\u0085"
	ports = [""] * 6 + [":8080", ":9999", ":1000", ":80", ":443", ":0800", ":65535", ":*", ":1", ":21", ":65536", ":0", ":080", ":", ":x", ":80*"]
	tails = [""] * 30 + ["/", "?", "#", " ", "\n", "@", ",", "\\"]
	for _ in range(n):
		if r.random() < .5:     # nearly always right, so that the fast path is tried
			yield "%s://%s%s" % (r.choice(["http", "https"]), ".".join(r.choice(labels[:13]) for _ in range(r.randint(1, 6))),
			    r.choice(ports[:13]))
			continue
		if r.random() < .1:
			host = "[" + ":".join(r.choice(["0", "0", "1", "a", "ffff", "", "00", "102"]) for _ in range(r.randint(2, 9))) + "]"
		elif r.random() < .1:
			host = ".".join(r.choice(["1", "0", "255", "256", "01", "10"]) for _ in range(r.randint(3, 5)))
		elif r.random() < .1:
			label = "".join(r.choice(letters) for _ in range(r.randint(1, 6))).encode("punycode").decode()
			host = "xn--" + (label[:-1] if r.random() < .2 else label.replace("a", r.choice("a9-_")) if r.random() < .2 else label) + ".a"
		elif r.random() < .15:
			host = ".".join("a" * r.choice([1, 30, 60, 63]) for _ in range(r.randint(1, 6)))
		elif r.random() < .15:
			host = "".join(r.choice("aZ.!\"$%&'()+,-;=`{}~*<>^|[]@ ") for _ in range(r.randint(0, 4)))
		else:
			host = ".".join(r.choice(labels) for _ in range(r.randint(1, 4)))
		star = "*." if r.random() < .15 else ""
		yield r.choice(schemes) + r.choice(["://"] * 20 + [":/", ":", "//"]) + star + host + r.choice(ports) + r.choice(tails)

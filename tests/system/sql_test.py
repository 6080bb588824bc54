#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""sql_test -- sql/0001_schema.sql against a PostgreSQL of our own.

A private cluster (unix socket, no TCP, no fsync) in a temporary directory,
spoken to through psql only. One line for each case; the exit status is 0, 1,
or 77 where there is no PostgreSQL server to test with.

	BULK_ROWS	rows of the one large COPY (1000000)
	SEED		of the generated origins
	ONLY		run the cases whose name contains this
"""
import collections
import os
import re
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True	# the source directory may be read-only
from origins import INVALID, VALID, generated, model, sends
from postgres import SCHEMA, Cluster, Session, Refusal, database, forget_sessions, psql_file, quote, refusal, sessions

BULK_ROWS = int(os.environ.get("BULK_ROWS", "1000000"))
SEED = int(os.environ.get("SEED", "1"))

Change = collections.namedtuple("Change", "keys wakes notified")


class Log:
	"""What a piece of SQL leaves in cors.changes, and whom it wakes."""

	def __init__(self, database):
		self.db = sessions(database)
		self.listener = sessions(database, nth=9)
		self.listener.ok("LISTEN cors_changes")

	def notifications(self):
		# the signal is sent before COMMIT returns; two round trips let psql print it
		return sum(self.listener.ok("SELECT 1").count("Asynchronous notification") for _ in range(2))

	def after(self, sql, session=None):
		last = self.db.one("SELECT coalesce(max(id), 0) FROM cors.changes")
		self.notifications()
		(session or self.db).ok(sql)
		rows = self.db.rows("SELECT kind, realm, origin, wake FROM cors.changes WHERE id > %s" % last)
		keys = sorted("%s %s" % (kind, ("%s %s" % (realm, origin)).strip()) if kind != "*" else "*"
		    for kind, realm, origin, _ in rows)
		return Change(keys, sum(wake == "t" for *_, wake in rows), self.notifications())


cases = []


def case(function):
	cases.append(function)
	return function


def equal(got, want, what=""):
	assert got == want, "%s\n    got  %r\n    want %r" % (what, got, want)


@case
def a_plain_owner_without_createrole_gets_a_warning_and_a_working_schema():
	admin = sessions("postgres")
	admin.ok("CREATE ROLE plain LOGIN NOSUPERUSER NOCREATEROLE")
	database("plain", "plain", schema=False)
	done = psql_file("plain", SCHEMA, "plain")
	equal(done.returncode, 0, done.stderr)
	equal(done.stderr.count("WARNING"), 2, done.stderr)
	assert "role cors_editor does not exist and may not be created by plain" in done.stderr, done.stderr
	owner = sessions("plain", "plain")
	owner.ok("SELECT cors.allow('https://a.example')")
	owner.ok("INSERT INTO cors.origins (origin) VALUES ('http://[::1]:90')")
	equal(owner.one("SELECT count(*) FROM cors.changes"), "2")
	equal(owner.one("SELECT coalesce(cors.problem(), 'none')"), "none")
	admin.ok("CREATE ROLE cors_reader NOLOGIN; CREATE ROLE cors_editor NOLOGIN")
	done = psql_file("plain", SCHEMA, "plain")
	equal((done.returncode, done.stderr.count("WARNING")), (0, 1), done.stderr)
	assert "WARNING:  01000: plain may not grant cors_editor, cors_reader to anybody" in done.stderr, done.stderr
	assert "run GRANT cors_editor, cors_reader TO plain WITH ADMIN OPTION" in done.stderr, done.stderr
	admin.ok("GRANT cors_editor, cors_reader TO plain WITH ADMIN OPTION")
	done = psql_file("plain", SCHEMA, "plain")
	equal((done.returncode, done.stderr), (0, ""))
	owner.ok("GRANT cors_reader TO pg_monitor")
	equal(owner.one("SELECT has_table_privilege('cors_reader', 'cors.origins', 'SELECT')"), "t")
	admin.ok("DROP OWNED BY cors_reader, cors_editor")
	sessions("plain").ok("DROP OWNED BY cors_reader, cors_editor")
	admin.ok("DROP ROLE cors_reader; DROP ROLE cors_editor")


@case
def the_owner_of_a_second_database_is_told_who_may_grant_the_roles():
	"""CREATEROLE was enough before PostgreSQL 16, and whoever made the roles is not asked for anything."""
	admin = sessions("postgres")
	admin.ok("CREATE ROLE first LOGIN CREATEROLE; CREATE ROLE second LOGIN CREATEROLE; CREATE ROLE daemon LOGIN")
	for name, role in (("first_db", "first"), ("second_db", "second")):
		database(name, role, schema=False)
		done = psql_file(name, SCHEMA, role)
		equal(done.returncode, 0, done.stderr)
		may = "ERROR" not in sessions(name, role).run("GRANT cors_reader TO daemon")
		equal("WARNING" not in done.stderr, may, done.stderr)
		if role == "first" or int(admin.one("SHOW server_version_num")) < 160000:
			equal((may, done.stderr), (True, ""))
			continue
		advice = re.search(r"an administrator run (GRANT .* WITH ADMIN OPTION), or", done.stderr)[1]
		admin.ok(advice)
		equal(psql_file(name, SCHEMA, role).stderr, "")
		sessions(name, role).ok("GRANT cors_reader TO daemon")
	for name in ("first_db", "second_db"):
		sessions(name).ok("DROP OWNED BY cors_reader, cors_editor")
	admin.ok("DROP OWNED BY cors_reader, cors_editor; DROP ROLE cors_reader; DROP ROLE cors_editor")


@case
def a_fresh_schema_has_a_default_policy_and_no_problem():
	db = sessions("main")
	equal(db.rows("SELECT name, methods, headers, expose_headers, credentials, max_age, insecure FROM cors.policies"),
	    [("default", "{GET,HEAD,POST}", "{}", "{}", "f", "", "f")])
	equal(db.one("SELECT coalesce(cors.problem(), 'none')"), "none")
	equal(db.rows("SELECT schema_version, home = cors.home() FROM cors.meta"), [("2", "t")])
	db.ok("INSERT INTO cors.origins (origin) VALUES ('https://first.example')")
	equal(db.rows("SELECT realm, policy, allow, expires_at, note FROM cors.origins"), [("", "default", "t", "", "")])
	db.ok("DELETE FROM cors.origins")


@case
def every_valid_origin_and_pattern_is_taken():
	db = sessions("main")
	for origin in VALID:
		db.ok("INSERT INTO cors.origins (origin) VALUES (%s)" % quote(origin))
	equal(db.one("SELECT count(*) FROM cors.origins"), str(len(set(VALID))))
	db.ok("DELETE FROM cors.origins")


@case
def every_invalid_origin_is_refused_with_its_reason_and_a_hint():
	db = sessions("main")
	for origin, reason, hint in INVALID:
		got = db.refused("INSERT INTO cors.origins (origin) VALUES (%s)" % quote(origin))
		shown = quote(origin[:328]).replace("\\", "\\\\")
		shown = "E" + shown if "\\" in origin else shown
		equal(got, Refusal("23514", "%s is not an origin: %s" % (shown, reason), hint))
		equal(db.one("SELECT cors.check_origin(%s)" % quote(origin)), reason)
	equal(db.one("SELECT cors.check_origin(NULL)"), "it is NULL")
	equal(db.refused("INSERT INTO cors.origins (origin) VALUES (NULL)").sqlstate, "23502")


@case
def every_suggestion_is_a_valid_origin():
	db = sessions("main")
	values = ",".join("(%s)" % quote(row[0]) for row in INVALID)
	equal(db.rows("SELECT o, s FROM (VALUES %s) v (o), cors.suggest_origin(o) s WHERE cors.check_origin(s) IS NOT NULL"
	    " AND s IS NOT NULL" % values), [])


@case
def a_bad_update_and_a_bad_copy_are_refused_too():
	db = sessions("main")
	db.ok("INSERT INTO cors.origins (origin) VALUES ('https://a.example')")
	equal(db.refused("UPDATE cors.origins SET origin = 'https://a.example/'"),
	    Refusal("23514", "'https://a.example/' is not an origin: it has a trailing slash", sends("https://a.example")))
	for field in ("SCHEMA NAME:  cors", "TABLE NAME:  origins", "COLUMN NAME:  origin"):
		assert field in db.run("INSERT INTO cors.origins (origin) VALUES ('x')"), field
	with open(cluster.dir + "/bad", "w") as rows:
		rows.write("https://b.example\nhttps://c.example/\n")
	equal(refusal(db.run(r"\copy cors.origins (origin) FROM '%s/bad'" % cluster.dir, end="")).message,
	    "'https://c.example/' is not an origin: it has a trailing slash")
	equal(db.one("SELECT count(*) FROM cors.origins"), "1")
	db.ok("DELETE FROM cors.origins")


def load(db, pairs):
	"""The temporary table g (origin, verdict), filled."""
	with open(cluster.dir + "/generated", "w", encoding="utf-8") as rows:
		for origin, verdict in pairs:
			rows.write("%s\t%s\n" % (origin.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t"), verdict))
	db.ok("DROP TABLE IF EXISTS g; CREATE TEMP TABLE g (origin text COLLATE \"C\", verdict text)")
	db.ok(r"\copy g FROM '%s/generated'" % cluster.dir, end="")


def fast_path(db):
	"""The first half of origins' CHECK, as the server holds it."""
	definition = db.one("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'origin_is_valid'")
	return re.fullmatch(r"CHECK \(\((.*) OR cors\.accept_origin\(origin\)\)\)", definition)[1]


@case
def generated_origins_get_the_verdict_of_an_independent_model_and_the_fast_path_errs_never():
	db = sessions("main")
	strings = sorted(set(generated(30000, SEED)) | set(VALID) | set(row[0] for row in INVALID))
	load(db, ((s, model(s)) for s in strings))
	equal(db.one("SELECT count(*) FROM g"), str(len(strings)))
	equal(db.rows("SELECT origin, verdict, cors.check_origin(origin) FROM g"
	    " WHERE verdict::boolean <> (cors.check_origin(origin) IS NULL) LIMIT 9"), [])
	equal(db.rows("SELECT origin FROM g WHERE (%s) AND cors.check_origin(origin) IS NOT NULL LIMIT 5" % fast_path(db)), [])
	valid, fast = db.rows("SELECT count(*) FILTER (WHERE verdict::boolean), count(*) FILTER (WHERE %s) FROM g" % fast_path(db))[0]
	print("     %d strings, %s valid, %s by the fast path" % (len(strings), valid, fast))
	assert int(fast) > 1000 and int(valid) > 2 * int(fast), "the strings prove nothing"


@case
def sql_and_c_agree_on_generated_origins():
	rules = "tests/system/rules"
	if not os.access(rules, os.X_OK):
		print("     SKIP: %s is not built here" % rules)
		return
	strings = sorted(set(generated(30000, SEED)) | set(VALID) | set(row[0] for row in INVALID))
	done = subprocess.run([rules], input="".join(s + "\0" for s in strings), capture_output=True, text=True, timeout=60, check=True)
	db = sessions("main")
	load(db, zip(strings, done.stdout.split()))
	equal(db.rows("SELECT origin, verdict, reason FROM g, LATERAL (SELECT cors.check_origin(origin) AS reason) c WHERE verdict <>"
	    " CASE WHEN reason IS NOT NULL THEN 'refused' WHEN cors.is_plain_http(origin) THEN 'insecure' ELSE 'fine' END LIMIT 9"), [])
	equal(db.one("SELECT count(*) FROM g"), str(len(strings)))


@case
def the_fast_path_is_right_for_every_length_around_its_bound():
	db = sessions("main")
	equal(db.rows("SELECT o FROM (SELECT s || '://' || repeat('a', n) || p FROM generate_series(1, 80) n,"
	    " (VALUES ('http'), ('https')) v (s), (VALUES (''), ('.a'), (':8080'), ('.a:8080')) w (p)) x (o), LATERAL (SELECT o COLLATE \"C\" AS origin) y"
	    " WHERE (%s) AND cors.check_origin(origin) IS NOT NULL" % fast_path(db)), [])


@case
def realms_are_bounded_and_have_no_control_characters():
	db = sessions("main")
	insert = "INSERT INTO cors.origins (realm, origin) VALUES (%s, 'https://a.example')"
	for realm in ("'tenant 7/API'", "'\u00e9\u4e2d'", "repeat('r', 255)", "repeat('\u00e9', 127)"):
		db.ok(insert % realm)
	long = Refusal("23514", "'%s...' is not a realm: it is longer than 255 bytes" % ("r" * 80),
	    "write what the web server sends as CORS_REALM: a short name")
	equal(db.refused(insert % "repeat('r', 256)"), long)
	equal(db.refused(insert % "repeat('\u00e9', 128)").sqlstate, "23514")
	for code in (1, 9, 10, 31, 127):
		got = db.refused(insert % ("'a' || chr(%d)" % code))
		equal((got.sqlstate, got.message.endswith("is not a realm: it has a control character"), got.hint),
		    ("23514", True, "write what the web server sends as CORS_REALM, without line breaks and tabs"))
	db.ok("DELETE FROM cors.origins")


def policy(**columns):
	columns.setdefault("name", "'p'")
	return "INSERT INTO cors.policies (%s) VALUES (%s)" % (", ".join(columns), ", ".join(columns.values()))


FORBIDDEN_HEADERS = """accept-charset accept-encoding access-control-request-headers access-control-request-method connection
content-length cookie cookie2 date dnt expect host keep-alive origin referer set-cookie te trailer transfer-encoding upgrade via
proxy-authorization proxy- sec-fetch-mode sec-""".split()
ANSWER_HEADERS = """access-control-allow-origin access-control-allow-credentials access-control-allow-methods
access-control-allow-headers access-control-expose-headers access-control-max-age""".split()


@case
def valid_policies_are_taken():
	db = sessions("main")
	for columns in (
	        {"name": "repeat('a', 63)"}, {"name": "'A.b_c-9'"}, {"name": "'0'"}, {"name": "'Public API, caf\u00e9 #1'"},
	        {"methods": "'{*}'"}, {"methods": "'{}'"}, {"methods": "'{GET,put,patch,PURGE,!#$%&''*+.^_`|~}'"},
	        {"methods": "array_fill('ABCDEFG'::text, '{128}')"},
	        {"headers": "'{*,Authorization,Content-Type,X-1}'"}, {"headers": "ARRAY[repeat('x', 64)]"},
	        {"expose_headers": "'{ETag,Link}'"}, {"expose_headers": "'{*}'"},
	        {"credentials": "true", "headers": "'{*}'", "methods": "'{*}'"},
	        {"max_age": "0"}, {"max_age": "86400"}, {"max_age": "NULL"}, {"insecure": "true"}):
		db.ok(policy(**columns))
		db.ok("DELETE FROM cors.policies WHERE name <> 'default'")


@case
def invalid_policies_are_refused_with_their_reason_and_a_hint():
	db = sessions("main")
	name_hint = "write 1 to 63 bytes without line breaks and tabs, such as 'public-api'"
	flat = "write a flat list such as '%s', or '{*}' for any"
	element = "write %s as one element, in a list such as '%s', or '{*}' for any"
	method = element % ("a method", "{GET,POST}")
	header = element % ("a request header", "{Content-Type,Authorization}")
	exposed = element % ("a response header", "{ETag,Link}")
	token = "it has a character that no HTTP token has"
	useless = "leave it out of %s: it would never have an effect"
	table = [
	    ({"name": "''"}, "'' is not a policy name: it is empty", name_hint),
	    ({"name": r"E'a\tb'"}, "'a\tb' is not a policy name: it has a control character", name_hint),
	    ({"name": "repeat('a', 64)"}, "'%s' is not a policy name: it is longer than 63 bytes" % ("a" * 64), name_hint),
	    ({"methods": "'{{GET},{POST}}'"}, "methods is not a list of names: it has more than one dimension", flat % "{GET,POST}"),
	    ({"methods": "array_fill('A'::text, '{129}')"}, "methods is not a list of names: it has more than 128 elements", flat % "{GET,POST}"),
	    ({"headers": "array_fill('A'::text, '{129}')"}, "headers is not a list of names: it has more than 128 elements",
	    flat % "{Content-Type,Authorization}"),
	    ({"methods": "'{\"GET, POST\"}'"}, "'GET, POST' may not stand in methods: it has a space or a comma", method),
	    ({"methods": "'{GET,NULL}'"}, "NULL may not stand in methods: it is NULL", method),
	    ({"methods": "'{\"\"}'"}, "'' may not stand in methods: it is empty", method),
	    ({"methods": "'{G\u00c9T}'"}, "'G\u00c9T' may not stand in methods: %s" % token, method),
	    ({"methods": "ARRAY[repeat('M', 65)]"}, "'%s' may not stand in methods: it is longer than 64 bytes" % ("M" * 65), method),
	    ({"methods": "array_fill('ABCDEFGH'::text, '{128}')"}, "methods is too long: 1151 bytes when joined by commas, at most 1024 fit",
	    "leave out what is not needed, or write '{*}' for any"),
	    ({"headers": "'{X-A:}'"}, "'X-A:' may not stand in headers: %s" % token, header),
	    ({"headers": "'{\"X-A X-B\"}'"}, "'X-A X-B' may not stand in headers: it has a space or a comma", header),
	    ({"headers": "array_fill(repeat('h', 16), '{128}')"}, "headers is too long: 2175 bytes when joined by commas, at most 2048 fit",
	    "leave out what is not needed, or write '{*}' for any"),
	    ({"expose_headers": "array_fill(repeat('h', 16), '{128}')"}, "expose_headers is too long: 2175 bytes when joined by commas, at most 2048 fit",
	    "leave out what is not needed, or write '{*}' for any"),
	    ({"expose_headers": "'{\"a\tb\"}'"}, "'a\tb' may not stand in expose_headers: it has a space or a comma", exposed),
	    ({"expose_headers": "'{*}'", "credentials": "true"},
	    "policy 'p' may not expose '*': with credentials browsers take it for a header of that name",
	    "list the headers in expose_headers, or set credentials to false"),
	    ({"max_age": "-1"}, "-1 is not a max_age: it is not between 0 and 86400 seconds", "write 0 for no caching, or NULL to leave the header out"),
	    ({"max_age": "86401"}, "86401 is not a max_age: it is not between 0 and 86400 seconds", "write 86400: no browser keeps a preflight for longer"),
	    ]
	for name in ("CONNECT", "trace", "TRACK", "Connect"):
		table.append(({"methods": "'{%s}'" % name}, "'%s' may not stand in methods: no browser lets a page send it" % name, useless % "methods"))
	for name in FORBIDDEN_HEADERS + ["Cookie", "SEC-FETCH-SITE", "Proxy-Connection"]:
		table.append(({"headers": "'{%s}'" % name}, "'%s' may not stand in headers: no browser lets a page set it" % name, useless % "headers"))
	for name in ANSWER_HEADERS + ["Access-Control-Max-Age"]:
		table.append(({"headers": "'{%s}'" % name}, "'%s' may not stand in headers: it belongs in answers, not in requests" % name, useless % "headers"))
	for name in ("Set-Cookie", "set-cookie2"):
		table.append(({"expose_headers": "'{%s}'" % name}, "'%s' may not stand in expose_headers: no browser shows it to a page" % name,
		    useless % "expose_headers"))
	for name in ("Origin", "Access-Control-Request-Method", "access-control-request-headers"):
		table.append(({"expose_headers": "'{%s}'" % name}, "'%s' may not stand in expose_headers: it belongs in requests, not in answers" % name,
		    useless % "expose_headers"))
	for columns, message, hint in table:
		equal(db.refused(policy(**columns)), Refusal("23514", message, hint))
	for columns in ({"methods": "NULL"}, {"headers": "NULL"}, {"expose_headers": "NULL"}, {"credentials": "NULL"}, {"insecure": "NULL"}):
		equal(db.refused(policy(**columns)).sqlstate, "23502")
	equal(db.refused("UPDATE cors.policies SET max_age = 90000").message, "90000 is not a max_age: it is not between 0 and 86400 seconds")
	db.ok(policy(expose_headers="'{*}'"))
	equal(db.refused("UPDATE cors.policies SET credentials = true WHERE name = 'p'").message,
	    "policy 'p' may not expose '*': with credentials browsers take it for a header of that name")
	db.ok("DELETE FROM cors.policies WHERE name = 'p'")
	equal(db.refused("INSERT INTO cors.origins (origin, policy) VALUES ('https://a.example', 'nowhere')").sqlstate, "23503")


# Credentials, from both sides

STAR_ROW = Refusal("23514", "'*' may not use policy 'app': the policy allows credentials",
    "use a policy with credentials = false, or list the origins one by one")
HTTP_ROW = Refusal("23514", "'http://a.example' may not use policy 'app': the policy allows credentials, and plain http can be forged on the way",
    "write https, use a policy with credentials = false, or set insecure = true on the policy")
STAR_POLICY = Refusal("23514", "policy 'app' may not allow credentials: '*' uses it in realm 'r'",
    "give '*' a policy of its own, or delete that row first")
HTTP_POLICY = Refusal("23514", "policy 'app' may not allow credentials: 'http://a.example' in realm 'r' uses it, and plain http can be forged on the way",
    "give that origin https or a policy of its own, or set insecure = true on the policy")


SCHEME_ROW = Refusal("23514", "'app://*' may not use policy 'app': the policy allows credentials, and any application or extension may have "
    "that scheme", "list the origins one by one, use a policy with credentials = false, or set insecure = true on the policy")
SCHEME_POLICY = Refusal("23514", "policy 'app' may not allow credentials: 'app://*' in realm 'r' uses it, and any application or extension "
    "may have that scheme", "give that pattern a policy of its own, list its origins one by one, or set insecure = true on the policy")


def origin_in_app(origin, allow="true"):
	return "INSERT INTO cors.origins (realm, origin, policy, allow) VALUES ('r', '%s', 'app', %s)" % (origin, allow)


def credentials_app(on="true", insecure="false"):
	return "UPDATE cors.policies SET credentials = %s, insecure = %s WHERE name = 'app'" % (on, insecure)


def fresh_app(db, credentials="false", insecure="false"):
	db.ok("DELETE FROM cors.origins; DELETE FROM cors.policies WHERE name <> 'default';"
	    "INSERT INTO cors.policies (name, credentials, insecure) VALUES ('app', %s, %s)" % (credentials, insecure))


@case
def a_dangerous_origin_under_a_policy_with_credentials_is_refused():
	db = sessions("main")
	fresh_app(db, "true")
	equal(db.refused(origin_in_app("*")), STAR_ROW)
	equal(db.refused(origin_in_app("http://a.example")), HTTP_ROW)
	for origin in ("http://*.example.com", "http://a.example:*", "http://localhost.example", "http://notlocalhost", "http://128.0.0.1",
	    "http://[::2]", "http://*.example.localhost.com:*", "http://127.0.0.1.example"):
		equal(db.refused(origin_in_app(origin)).sqlstate, "23514", origin)
	for origin in ("https://a.example", "https://*.example.com:*", "http://localhost", "http://localhost:3000", "http://a.localhost",
	    "http://*.localhost:*", "http://*.a.localhost", "http://127.0.0.1:3000", "http://127.9.9.9", "http://[::1]:*",
	    "ws://a.example", "capacitor://localhost"):
		db.ok(origin_in_app(origin))
	equal(db.refused("UPDATE cors.origins SET origin = 'http://a.example' WHERE origin = 'https://a.example'"), HTTP_ROW)
	db.ok("INSERT INTO cors.origins (realm, origin) VALUES ('r', '*')")
	equal(db.refused("UPDATE cors.origins SET policy = 'app' WHERE origin = '*'"), STAR_ROW)
	equal(db.refused("SELECT cors.allow('*', 'r', 'app')"), STAR_ROW)
	equal(db.refused(origin_in_app("app://*")), SCHEME_ROW)
	db.ok(origin_in_app("app://.") + ";" + origin_in_app("app://x:*") + ";" + origin_in_app("app://*.x"))
	equal(db.refused("UPDATE cors.origins SET origin = 'app://*' WHERE origin = 'app://.'"), SCHEME_ROW)


@case
def a_policy_may_not_gain_credentials_over_a_dangerous_origin():
	db = sessions("main")
	fresh_app(db)
	db.ok(origin_in_app("*"))
	equal(db.refused(credentials_app()), STAR_POLICY)
	equal(db.refused(credentials_app(insecure="true")), STAR_POLICY)
	equal(db.refused("UPDATE cors.policies SET credentials = true, name = 'b' WHERE name = 'app'").sqlstate, "23514")
	fresh_app(db)
	db.ok(origin_in_app("http://localhost") + ";" + origin_in_app("http://a.example"))
	equal(db.refused(credentials_app()), HTTP_POLICY)
	equal(db.refused("UPDATE cors.policies SET credentials = true, name = 'b' WHERE name = 'app'").sqlstate, "23514")
	db.ok("DELETE FROM cors.origins WHERE origin = 'http://a.example'; " + credentials_app())
	fresh_app(db)
	db.ok(origin_in_app("app://*"))
	equal(db.refused(credentials_app()), SCHEME_POLICY)
	db.ok(credentials_app(insecure="true"))
	equal(db.refused(credentials_app()), SCHEME_POLICY)


@case
def insecure_lets_plain_http_have_credentials_but_never_a_star():
	db = sessions("main")
	fresh_app(db, "true", "true")
	db.ok(origin_in_app("http://a.example"))
	db.ok(origin_in_app("app://*") + "; DELETE FROM cors.origins WHERE origin = 'app://*'")
	equal(db.refused(origin_in_app("*")), STAR_ROW)
	equal(db.refused(credentials_app("true", "false")), HTTP_POLICY)
	db.ok(credentials_app("false", "false"))
	db.ok(credentials_app("true", "true"))


@case
def a_refused_row_is_harmless_until_it_is_allowed():
	db = sessions("main")
	fresh_app(db)
	db.ok(origin_in_app("*", "false") + ";" + origin_in_app("http://a.example", "false") + ";" + origin_in_app("app://*", "false"))
	db.ok(credentials_app())
	equal(db.refused("UPDATE cors.origins SET allow = true WHERE origin = 'app://*'"), SCHEME_ROW)
	db.ok(origin_in_app("http://b.example", "false"))
	equal(db.refused("UPDATE cors.origins SET allow = true WHERE origin = '*'"), STAR_ROW)
	equal(db.refused("UPDATE cors.origins SET allow = true WHERE origin LIKE 'http:%'"), HTTP_ROW)


def race(first, second, outcome, before=""):
	"""Two open transactions: the second waits for the first and then gets outcome."""
	db, a, b = sessions("main"), sessions("main", nth=2), sessions("main", nth=3)
	fresh_app(db)
	if before:
		db.ok(before)
	a.ok("BEGIN; " + first)
	b.ok("BEGIN")
	b.send(second)
	assert b.blocked(), "%s did not wait for %s" % (second, first)
	a.ok("COMMIT")
	equal(refusal(b.reply()), outcome, "%s after %s" % (second, first))
	b.ok("ROLLBACK")
	equal(db.rows("SELECT origin FROM cors.origins o JOIN cors.policies p ON o.policy = p.name WHERE credentials AND allow"
	    " AND (origin = '*' OR cors.is_plain_http(origin))"), [])


@case
def of_two_transactions_that_meet_only_one_commits():
	race(origin_in_app("*"), credentials_app(), STAR_POLICY)
	race(credentials_app(), origin_in_app("*"), STAR_ROW)
	race(origin_in_app("http://a.example"), credentials_app(), HTTP_POLICY)
	race(credentials_app(), origin_in_app("http://a.example"), HTTP_ROW)
	race("UPDATE cors.origins SET policy = 'app'", credentials_app(), STAR_POLICY,
	    "INSERT INTO cors.origins (realm, origin) VALUES ('r', '*')")
	race("UPDATE cors.origins SET allow = true", credentials_app(), STAR_POLICY, origin_in_app("*", "false"))
	race(credentials_app(), "UPDATE cors.origins SET allow = true", STAR_ROW, origin_in_app("*", "false"))


@case
def a_rolled_back_rival_does_no_harm():
	db, a, b = sessions("main"), sessions("main", nth=2), sessions("main", nth=3)
	fresh_app(db)
	a.ok("BEGIN; " + origin_in_app("*"))
	b.send(credentials_app())
	assert b.blocked()
	a.ok("ROLLBACK")
	equal(refusal(b.reply()), None)
	equal(db.one("SELECT credentials FROM cors.policies WHERE name = 'app'"), "t")


@case
def repeatable_read_cannot_slip_through_either():
	db, a = sessions("main"), sessions("main", nth=2)
	for level in ("REPEATABLE READ", "SERIALIZABLE"):
		fresh_app(db)
		a.ok("BEGIN ISOLATION LEVEL %s; SELECT count(*) FROM cors.origins" % level)
		db.ok(origin_in_app("*"))
		got = a.refused(credentials_app())
		equal(got, Refusal("25000", "credentials of policy 'app' can only be widened in a READ COMMITTED transaction",
		    "begin the transaction with BEGIN ISOLATION LEVEL READ COMMITTED"))
		a.ok("ROLLBACK")
		fresh_app(db)
		a.ok("BEGIN ISOLATION LEVEL %s; SELECT count(*) FROM cors.origins" % level)
		db.ok(credentials_app())
		equal(a.refused(origin_in_app("*")).sqlstate, "40001")
		a.ok("ROLLBACK")


@case
def ordinary_rows_wait_for_nobody():
	db, a, b = sessions("main"), sessions("main", nth=2), sessions("main", nth=3)
	fresh_app(db)
	a.ok("BEGIN; " + credentials_app())
	b.send(origin_in_app("https://a.example"))
	equal(b.blocked(), False)
	equal(refusal(b.reply()), None)
	a.ok("COMMIT")


# The change log

@case
def every_write_logs_the_keys_it_changed_and_wakes_once():
	log = Log("log")
	for sql, keys in (
	        ("INSERT INTO cors.origins (origin) VALUES ('https://a')", ["o https://a"]),
	        ("INSERT INTO cors.origins (realm, origin) VALUES ('r', 'https://a'), ('r', 'https://b')", ["o r https://a", "o r https://b"]),
	        ("UPDATE cors.origins SET allow = false WHERE realm = ''", ["o https://a"]),
	        ("UPDATE cors.origins SET expires_at = '2030-01-01' WHERE realm = ''", ["o https://a"]),
	        ("UPDATE cors.origins SET origin = 'https://c' WHERE realm = ''", ["o https://a", "o https://c"]),
	        ("UPDATE cors.origins SET realm = 's' WHERE realm = ''", ["o https://c", "o s https://c"]),
	        ("BEGIN; INSERT INTO cors.origins (origin) VALUES ('https://x'); UPDATE cors.origins SET allow = false WHERE origin = 'https://x';"
	    " DELETE FROM cors.origins WHERE realm = 's'; COMMIT", ["o https://x", "o https://x", "o s https://c"]),
	        ("WITH d AS (DELETE FROM cors.origins WHERE realm = 'r' RETURNING origin)"
	    " INSERT INTO cors.origins (realm, origin) SELECT 't', origin FROM d",
	    ["o r https://a", "o r https://b", "o t https://a", "o t https://b"]),
	        ("INSERT INTO cors.origins (realm, origin) VALUES ('t', 'https://a'), ('t', 'https://n')"
	    " ON CONFLICT (realm, origin) DO UPDATE SET allow = false", ["o t https://a", "o t https://n"]),
	        ("INSERT INTO cors.origins (realm, origin) VALUES ('t', 'https://a'), ('t', 'https://m') ON CONFLICT DO NOTHING", ["o t https://m"]),
	        ("DELETE FROM cors.origins WHERE realm = ''", ["o https://x"])):
		got = log.after(sql)
		equal((got.keys, got.notified), (keys, 1), sql)
		assert got.wakes >= 1
	if int(log.db.one("SHOW server_version_num")) >= 150000:
		got = log.after("MERGE INTO cors.origins o USING (VALUES ('https://a'), ('https://z'), ('https://m')) v (origin)"
		    " ON o.realm = 't' AND o.origin = v.origin WHEN MATCHED AND v.origin = 'https://m' THEN DELETE"
		    " WHEN MATCHED THEN UPDATE SET allow = NOT allow"
		    " WHEN NOT MATCHED THEN INSERT (realm, origin) VALUES ('t', v.origin)")
		equal((got.keys, got.notified), (["o t https://a", "o t https://m", "o t https://z"], 1))
	else:
		print("     SKIP: MERGE needs PostgreSQL 15")


@case
def what_changes_nothing_in_the_table_logs_nothing():
	log = Log("log")
	for sql in ("UPDATE cors.origins SET note = 'why'",
	            "UPDATE cors.origins SET policy = policy, allow = allow",
	            "UPDATE cors.origins SET allow = true WHERE false",
	            "DELETE FROM cors.origins WHERE false",
	            "INSERT INTO cors.origins (realm, origin) SELECT realm, origin FROM cors.origins ON CONFLICT DO NOTHING",
	            "UPDATE cors.policies SET note = 'why'",
	            "UPDATE cors.policies SET methods = methods",
	            "BEGIN; INSERT INTO cors.origins (origin) VALUES ('https://gone'); ROLLBACK",
	            "BEGIN; TRUNCATE cors.origins; ROLLBACK",
	            "BEGIN; SAVEPOINT s; DELETE FROM cors.origins; ROLLBACK TO s; COMMIT",
	            "DO $$ BEGIN DELETE FROM cors.origins; RAISE 'no'; EXCEPTION WHEN OTHERS THEN NULL; END $$"):
		equal(log.after(sql), Change([], 0, 0), sql)


@case
def savepoints_keep_what_was_released():
	log = Log("log")
	got = log.after("BEGIN; SAVEPOINT a; INSERT INTO cors.origins (origin) VALUES ('https://kept'); RELEASE a;"
	    " SAVEPOINT b; INSERT INTO cors.origins (origin) VALUES ('https://lost'); ROLLBACK TO b; COMMIT")
	equal(got, Change(["o https://kept"], 1, 1))
	equal(log.db.one("SELECT count(DISTINCT xid) FROM cors.changes WHERE origin = 'https://kept'"), "1")


@case
def policies_log_their_names_and_a_rename_its_origins():
	log = Log("log")
	for sql, keys in (
	        ("INSERT INTO cors.policies (name) VALUES ('a'), ('b')", ["p a", "p b"]),
	        ("UPDATE cors.policies SET methods = '{PUT}', note = 'n' WHERE name IN ('a', 'b')", ["p a", "p b"]),
	        ("UPDATE cors.policies SET headers = '{X-A}' WHERE name = 'a'", ["p a"]),
	        ("UPDATE cors.policies SET expose_headers = '{ETag}' WHERE name = 'a'", ["p a"]),
	        ("UPDATE cors.policies SET credentials = true WHERE name = 'a'", ["p a"]),
	        ("UPDATE cors.policies SET max_age = 5 WHERE name = 'a'", ["p a"]),
	        ("UPDATE cors.policies SET max_age = NULL WHERE name = 'a'", ["p a"]),
	        ("UPDATE cors.policies SET insecure = true WHERE name = 'a'", ["p a"]),
	        ("UPDATE cors.policies SET max_age = 7", ["p a", "p b", "p default"]),
	        ("DELETE FROM cors.policies WHERE name = 'b'", ["p b"]),
	        ("INSERT INTO cors.origins (realm, origin, policy) VALUES ('q', 'https://a', 'a'), ('q', 'https://b', 'a')",
	    ["o q https://a", "o q https://b"]),
	        ("UPDATE cors.policies SET name = 'c' WHERE name = 'a'", ["o q https://a", "o q https://b", "p a", "p c"])):
		got = log.after(sql)
		equal((got.keys, got.notified), (keys, 1), sql)
	equal(log.db.rows("SELECT policy FROM cors.origins WHERE realm = 'q'"), [("c",), ("c",)])
	equal(log.db.refused("DELETE FROM cors.policies WHERE name = 'c'").sqlstate, "23503")


@case
def a_large_statement_and_truncate_ask_for_a_snapshot():
	log = Log("log")
	fill = "INSERT INTO cors.origins (realm, origin) SELECT 'bulk', 'https://h' || n FROM generate_series(1, %d) n"
	got = log.after(fill % 10000)
	equal((len(got.keys), got.wakes, got.notified), (10000, 1, 1))
	for sql in ("UPDATE cors.origins SET allow = false WHERE realm = 'bulk'", "DELETE FROM cors.origins WHERE realm = 'bulk'"):
		got = log.after(sql)
		equal((len(got.keys), got.wakes, got.notified), (10000, 1, 1), sql)
	for sql in (fill % 10001, "UPDATE cors.origins SET allow = false WHERE realm = 'bulk'"):
		equal(log.after(sql), Change(["*"], 1, 1), sql)
	equal(log.after("UPDATE cors.origins SET note = 'n' WHERE realm = 'bulk'"), Change([], 0, 0))
	got = log.after("UPDATE cors.origins SET allow = (origin IN ('https://h1', 'https://h2')) WHERE realm = 'bulk'")
	equal(got, Change(["o bulk https://h1", "o bulk https://h2"], 1, 1))
	equal(log.after("DELETE FROM cors.origins WHERE realm = 'bulk'"), Change(["*"], 1, 1))
	equal(log.after("TRUNCATE cors.origins"), Change(["*"], 1, 1))
	got = log.after("TRUNCATE cors.policies CASCADE; INSERT INTO cors.policies (name) VALUES ('default')")
	equal((set(got.keys), got.notified), ({"*", "p default"}, 2))


@case
def copy_logs_like_insert():
	log = Log("log")
	with open(cluster.dir + "/rows", "w") as rows:
		rows.write("r\thttps://a\nr\thttps://b\n")
	equal(log.after("COPY cors.origins (realm, origin) FROM '%s/rows'" % cluster.dir), Change(["o r https://a", "o r https://b"], 1, 1))


@case
def the_wake_up_is_gated_and_never_waits():
	log, a = Log("log"), sessions("log", nth=2)
	a.ok("BEGIN; SELECT FROM cors.gates WHERE gate = 'wake' FOR UPDATE")
	got = log.after("SELECT cors.allow('https://gated')")
	equal((got.wakes, got.notified), (1, 0))
	a.ok("COMMIT")
	equal(log.after("SELECT cors.refuse('https://gated')").notified, 1)


@case
def the_gate_is_taken_at_commit_not_before():
	log, a = Log("log"), sessions("log", nth=2)
	a.ok("BEGIN; SELECT cors.allow('https://slow')")
	equal(log.after("SELECT cors.allow('https://quick')").notified, 1)
	log.notifications()
	a.ok("COMMIT")
	equal(log.notifications(), 1)


@case
def prepared_transactions_work_without_the_wake_up():
	log = Log("log")
	got = log.db.refused("BEGIN; SELECT cors.allow('https://two-phase'); PREPARE TRANSACTION 't'")
	equal(got.sqlstate, "0A000")
	log.db.run("ROLLBACK")
	got = log.after("BEGIN; SET LOCAL cors.notify = off; SELECT cors.allow('https://two-phase'); PREPARE TRANSACTION 't'")
	equal(got, Change([], 0, 0))
	got = log.after("COMMIT PREPARED 't'")
	equal((len(got.keys), got.notified), (1, 0))


@case
def replicated_writes_are_logged_and_a_replicated_log_is_dropped():
	log, a = Log("log"), sessions("log", nth=4)
	a.ok("SET session_replication_role = replica")
	log.db.ok("INSERT INTO cors.policies (name) VALUES ('rep')")
	for sql, keys in (
	        ("INSERT INTO cors.origins (realm, origin) VALUES ('rep', 'https://a'), ('rep', 'https://b')", ["o rep https://a", "o rep https://b"]),
	        ("UPDATE cors.origins SET origin = 'https://c' WHERE realm = 'rep' AND origin = 'https://a'", ["o rep https://a", "o rep https://c"]),
	        ("DELETE FROM cors.origins WHERE realm = 'rep' AND origin = 'https://b'", ["o rep https://b"]),
	        ("INSERT INTO cors.policies (name) VALUES ('rep2')", ["p rep2"]),
	        ("UPDATE cors.policies SET name = 'rep3' WHERE name = 'rep2'", ["p rep2", "p rep3"]),
	        ("DELETE FROM cors.policies WHERE name = 'rep3'", ["p rep3"]),
	        ("TRUNCATE cors.origins", ["*"])):
		got = log.after(sql, a)
		equal((got.keys, got.notified), (keys, 0), sql)		# an apply worker may not wake anybody: the poll finds them
	equal(log.after("INSERT INTO cors.changes (xid, kind) VALUES ('1', '*')", a), Change([], 0, 0))
	count = log.db.one("SELECT count(*) FROM cors.changes")
	home = log.db.one("SELECT home FROM cors.meta")
	a.ok("DELETE FROM cors.changes; UPDATE cors.changes SET at = now(); UPDATE cors.meta SET home = 'elsewhere'; DELETE FROM cors.meta")
	equal((log.db.one("SELECT count(*) FROM cors.changes"), log.db.one("SELECT home FROM cors.meta")), (count, home))


DELTA = """WITH c AS MATERIALIZED (
  SELECT DISTINCT kind, realm, origin FROM cors.changes
   WHERE xid >= '%(xmin)s'::xid8 AND xid < pg_snapshot_xmax(pg_current_snapshot())
     AND NOT pg_visible_in_snapshot(xid, '%(snapshot)s'::pg_snapshot))
SELECT c.kind, c.realm, c.origin, o.policy FROM cors.meta m LEFT JOIN c ON true
  LEFT JOIN cors.origins o ON o.realm = c.realm AND o.origin = c.origin ORDER BY 1, 2, 3"""


@case
def a_reader_finds_what_commits_after_its_snapshot_in_any_order():
	db, a = sessions("log"), sessions("log", nth=2)
	a.ok("BEGIN; SELECT cors.allow('https://old', 'order')")
	db.ok("SELECT cors.allow('https://young', 'order')")
	snapshot, = db.rows("SELECT pg_current_snapshot()")[0]
	position = {"snapshot": snapshot, "xmin": snapshot.split(":")[0]}
	equal(db.rows(DELTA % position), [("", "", "", "")])
	a.ok("COMMIT")
	equal(db.rows(DELTA % position), [("o", "order", "https://old", "default")])
	db.ok("SELECT cors.remove('https://young', 'order')")
	equal(db.rows(DELTA % position), [("o", "order", "https://old", "default"), ("o", "order", "https://young", "")])


# What voids a position, and what breaks the log

def token(db):
	return db.one("SELECT token FROM cors.token")


@case
def the_token_changes_when_a_position_is_worthless_and_only_then():
	db = sessions("token")
	before = token(db)
	db.ok("SELECT cors.allow('https://a'); UPDATE cors.policies SET max_age = 1; ANALYZE cors.origins; SELECT cors.prune();"
	    " VACUUM cors.origins; REINDEX TABLE cors.origins")
	equal(token(db), before)
	for sql in ("TRUNCATE cors.origins",
	            "VACUUM FULL cors.origins",
	            "ALTER TABLE cors.policies ALTER note TYPE varchar USING 'x'",
	            "BEGIN; ALTER TABLE cors.origins DISABLE TRIGGER USER; DELETE FROM cors.origins;"
	            " ALTER TABLE cors.origins ENABLE TRIGGER USER; COMMIT",
	            "BEGIN; ALTER TABLE cors.policies DISABLE TRIGGER USER; ALTER TABLE cors.policies ENABLE TRIGGER USER; COMMIT",
	            "ALTER TABLE cors.changes DISABLE TRIGGER wake",
	            "ALTER TABLE cors.changes SET UNLOGGED",
	            "CREATE TABLE cors.staging (LIKE cors.origins INCLUDING ALL); ALTER TABLE cors.origins RENAME TO was;"
	            " ALTER TABLE cors.staging RENAME TO origins"):
		db.ok(sql)
		assert token(db) != before, sql
		before = token(db)


@case
def problem_names_what_makes_the_log_unreliable_and_the_file_repairs_the_triggers():
	db = sessions("broken")
	problem = "SELECT coalesce(cors.problem(), 'none')"
	again = ": run 0001_schema.sql again"
	for sql, want in (
	        ("ALTER TABLE cors.origins DISABLE TRIGGER log_insert", "trigger log_insert on cors.origins is in the wrong mode" + again),
	        ("ALTER TABLE cors.changes ENABLE TRIGGER wake", "trigger wake on cors.changes is in the wrong mode" + again),
	        ("ALTER TABLE cors.origins ENABLE TRIGGER log_replicated", "trigger log_replicated on cors.origins is in the wrong mode" + again),
	        ("DROP TRIGGER log_truncate ON cors.policies", "trigger log_truncate on cors.policies is missing" + again),
	        ("DROP TRIGGER check_policy ON cors.origins", "trigger check_policy on cors.origins is missing" + again)):
		db.ok(sql)
		equal(db.one(problem), want)
		equal(psql_file("broken", SCHEMA).returncode, 0)
		equal(db.one(problem), "none")
	db.ok("ALTER TABLE cors.origins ENABLE ROW LEVEL SECURITY")
	equal(db.one(problem), "row level security is on for cors.origins: readers may see only a part of it")
	db.ok("ALTER TABLE cors.origins DISABLE ROW LEVEL SECURITY; ALTER TABLE cors.changes SET UNLOGGED")
	equal(db.one(problem), "cors.changes is not logged: a crash empties it, and standbys do not see it")
	db.ok("ALTER TABLE cors.changes SET LOGGED; CREATE TABLE child () INHERITS (cors.origins)")
	equal(db.one(problem), "cors.origins is a parent table: writes to its parts bypass the triggers")
	db.ok("DROP TABLE child; DELETE FROM cors.meta")
	equal(db.one(problem), "cors.meta has lost its row")


# Running the file

def fingerprint(db):
	return db.rows("SELECT tgrelid, tgname, xmin, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2"), token(db), \
	    db.rows("SELECT * FROM cors.policies ORDER BY 1"), db.rows("SELECT * FROM cors.origins ORDER BY 1, 2"), \
	    db.rows("SELECT * FROM cors.meta"), db.one("SELECT count(*) FROM cors.changes"), \
	    db.rows("SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'cors'::regnamespace ORDER BY 1")


@case
def running_the_file_again_changes_nothing():
	db = sessions("again")
	db.ok("SELECT cors.allow('https://a'); UPDATE cors.policies SET methods = '{PUT}', name = 'mine'")
	before = fingerprint(db)
	done = psql_file("again", SCHEMA)
	equal((done.returncode, done.stdout, done.stderr), (0, "", ""))
	equal(fingerprint(db), before)


@case
def a_newer_schema_is_refused_and_left_alone():
	db = sessions("again")
	db.ok("UPDATE cors.meta SET schema_version = 3")
	before = fingerprint(db)
	done = psql_file("again", SCHEMA)
	equal(done.returncode, 3)
	assert "55000: schema cors has version 3, this file knows 2" in done.stderr, done.stderr
	assert "HINT:  install the newer corscache" in done.stderr, done.stderr
	equal(fingerprint(db), before)


@case
def a_schema_that_belongs_to_another_is_refused():
	sessions("postgres").ok("GRANT CREATE ON DATABASE again TO plain")
	done = psql_file("again", SCHEMA, "plain")
	equal(done.returncode, 3)
	assert "42501: schema cors belongs to postgres, not to plain" in done.stderr, done.stderr


@case
def runs_at_the_same_time_take_turns():
	database("crowd", schema=False)
	command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "crowd", "-f", SCHEMA]
	runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL) for _ in range(4)]
	equal([(run.communicate(timeout=60)[1], run.returncode) for run in runs], [("", 0)] * 4)
	db = sessions("crowd")
	equal(db.rows("SELECT (SELECT count(*) FROM cors.meta), (SELECT count(*) FROM cors.policies), cors.problem() IS NULL"), [("1", "1", "t")])


@case
def a_dump_restored_elsewhere_works_and_prune_adopts_it():
	db = sessions("source")
	db.ok("INSERT INTO cors.policies (name, credentials) VALUES ('app', true);"
	    "SELECT cors.allow('https://a.example', 'r', 'app'), cors.refuse('*'), cors.allow('http://[::1]:9', '', 'app')")
	dump = subprocess.run(["pg_dump", "-d", "source", "-f", cluster.dir + "/dump"], capture_output=True, text=True, timeout=60)
	equal(dump.returncode, 0, dump.stderr)
	database("target", schema=False)
	done = psql_file("target", cluster.dir + "/dump")
	equal((done.returncode, done.stderr), (0, ""))
	target = sessions("target")
	rows = "SELECT realm, origin, policy, allow FROM cors.origins ORDER BY 1, 2"
	equal(target.rows(rows), db.rows(rows))
	equal(target.one("SELECT coalesce(cors.problem(), 'none')"), "none")
	equal(target.rows("SELECT home = cors.home() FROM cors.meta"), [("f",)])
	logged = target.one("SELECT count(*) FROM cors.changes")
	equal(target.one("SELECT cors.prune()"), logged)
	equal(target.rows("SELECT home = cors.home(), (SELECT count(*) FROM cors.changes) FROM cors.meta"), [("t", "0")])
	equal(target.refused("INSERT INTO cors.origins (origin) VALUES ('x')").sqlstate, "23514")
	target.ok("SELECT cors.allow('https://new.example')")
	equal(target.one("SELECT count(*) FROM cors.changes"), "1")


@case
def prune_takes_old_rows_only_and_says_how_far():
	db, a, b = sessions("prune"), sessions("prune", nth=2), sessions("prune", nth=3)
	for n in range(6):
		db.ok("SELECT cors.allow('https://h%d')" % n)
	equal(db.one("SELECT cors.prune()"), "0")
	db.ok("UPDATE cors.changes SET at = now() - interval '2 days' WHERE origin < 'https://h4'")
	db.ok("UPDATE cors.changes SET at = now() - interval '5 minutes' WHERE origin >= 'https://h4'")
	equal(db.one("SELECT cors.prune('3 days')"), "0")
	last = db.one("SELECT xid FROM cors.changes WHERE origin = 'https://h1'")
	equal(db.one("SELECT cors.prune('1 day', 2)"), "2")
	equal(db.one("SELECT pruned_xid FROM cors.meta"), last)
	equal(db.one("SELECT cors.prune('0')"), "2")
	equal(db.rows("SELECT origin FROM cors.changes ORDER BY 1"), [("https://h4",), ("https://h5",)])
	a.ok("BEGIN; SELECT pg_current_xact_id()")
	db.ok("SELECT cors.allow('https://h6')")
	db.ok("UPDATE cors.changes SET at = now() - interval '2 days'")
	equal(db.one("SELECT cors.prune()"), "2")
	equal(db.rows("SELECT origin FROM cors.changes"), [("https://h6",)])
	a.ok("COMMIT")
	b.ok("BEGIN; SELECT cors.prune()")
	told = db.ok("SELECT cors.prune()")
	assert "nothing is pruned: another cors.prune() is at it" in told and told.endswith("\n0\n"), told
	b.ok("ROLLBACK")
	equal(db.one("SELECT cors.prune()"), "1")


def every_advisory_lock(session):
	"""Those that this schema ever took, held for as long as the session lasts."""
	session.ok("SELECT pg_advisory_lock(1129271891, 1), pg_advisory_lock(hashtextextended('cors-prune', 0)),"
	    " pg_advisory_lock(hashtextextended('cors-schema-migration', 0))")


@case
def locks_that_a_stranger_may_take_stop_neither_pruning_nor_waking():
	sessions("postgres").ok("CREATE ROLE nosy LOGIN")
	db, log = sessions("locked"), Log("locked")
	every_advisory_lock(sessions("locked", "nosy"))
	got = log.after("SELECT cors.allow('https://a.example')")
	equal((got.wakes, got.notified), (1, 1))
	db.ok("UPDATE cors.changes SET at = now() - interval '2 days'")
	equal(db.one("SELECT cors.prune()"), "1")
	for table in "origins policies changes meta gates".split():
		for lock in ("SELECT FROM cors.%s FOR KEY SHARE", "LOCK TABLE cors.%s IN ACCESS SHARE MODE"):
			equal(sessions("locked", "nosy").refused("BEGIN; " + lock % table).sqlstate, "42501", lock % table)
			sessions("locked", "nosy").ok("ROLLBACK")


@case
def a_run_that_waits_for_a_lock_in_vain_says_for_whom():
	sessions("locked", "nosy").ok("SELECT pg_advisory_unlock_all()")
	every_advisory_lock(sessions("locked", "nosy", nth=2))
	with open(SCHEMA) as file:
		hasty = file.read().replace("IF tries > 600 THEN", "IF tries > 3 THEN")
	with open(cluster.dir + "/hasty", "w") as file:
		file.write(hasty)
	done = psql_file("locked", cluster.dir + "/hasty")
	equal(done.returncode, 3)
	assert "55P03: another run of this file has not ended for a minute" in done.stderr, done.stderr
	query = re.search(r"who it is: (SELECT .*); end it:", done.stderr)[1]
	holder = sessions("locked", "nosy", nth=2)
	assert holder.pid in sessions("locked").ok(query), done.stderr
	holder.ok("SELECT pg_advisory_unlock_all()")


# Helpers and roles

@case
def the_helpers_do_what_their_names_say():
	db = sessions("helpers")
	show = "SELECT realm, origin, policy, allow, expires_at IS NULL, note FROM cors.origins ORDER BY 1, 2"
	db.ok("INSERT INTO cors.policies (name) VALUES ('app')")
	db.ok("SELECT cors.allow('https://a')")
	equal(db.rows(show), [("", "https://a", "default", "t", "t", "")])
	db.ok("SELECT cors.allow('https://a', policy => 'app', expires => now() + interval '1 hour', note => 'preview')")
	equal(db.rows(show), [("", "https://a", "app", "t", "f", "preview")])
	db.ok("SELECT cors.allow('https://a')")
	equal(db.rows(show), [("", "https://a", "app", "t", "f", "preview")], "what is not named, it keeps")
	db.ok("SELECT cors.allow('https://a', expires => 'infinity')")
	equal(db.rows(show), [("", "https://a", "app", "t", "t", "preview")])
	db.ok("UPDATE cors.origins SET expires_at = now() - interval '1 s'; SELECT cors.allow('https://a', note => 'again')")
	equal(db.rows(show), [("", "https://a", "app", "t", "t", "again")], "an end that is over is none")
	db.ok("SELECT cors.refuse('https://a', note => 'preview')")
	equal(db.rows(show), [("", "https://a", "app", "f", "t", "preview")])
	db.ok("SELECT cors.allow('https://a', '')")
	equal(db.rows(show), [("", "https://a", "app", "t", "t", "preview")])
	db.ok("SELECT cors.allow('https://a', policy => 'default')")
	equal(db.rows(show), [("", "https://a", "default", "t", "t", "preview")])
	db.ok("SELECT cors.refuse('https://b', 'r', 'abuse')")
	equal(db.rows(show)[1], ("r", "https://b", "default", "f", "t", "abuse"))
	equal(db.rows("SELECT cors.remove('https://a'), cors.remove('https://a', ''), cors.remove('https://b', 'r')"), [("t", "f", "t")])
	equal(db.one("SELECT count(*) FROM cors.origins"), "0")
	equal(db.refused("SELECT cors.allow('https://a/')").message, "'https://a/' is not an origin: it has a trailing slash")
	equal(db.refused("SELECT cors.refuse('https://a/')").sqlstate, "23514")
	equal(db.rows("SELECT item, value FROM cors.status() WHERE item IN ('schema version', 'problem', 'policies')"),
	    [("schema version", "2"), ("problem", "none"), ("policies", "2")])


@case
def set_realm_makes_a_realm_exactly_so_and_touches_only_what_differs():
	db, log = sessions("helpers"), Log("helpers")
	db.ok("INSERT INTO cors.policies (name) VALUES ('app') ON CONFLICT DO NOTHING")
	equal(db.rows("SELECT * FROM cors.set_realm('r', '{https://a,https://b,https://c,https://a}')"), [("3", "0", "0")])
	db.ok("SELECT cors.refuse('https://b', 'r'), cors.allow('https://c', 'r', expires => 'tomorrow'), cors.allow('https://other', 's')")
	db.ok("SELECT cors.allow('https://e', 'r', 'app', 'yesterday', 'mine'), cors.allow('https://f', 'r', 'app', 'tomorrow', 'mine')")
	got = log.after("SELECT cors.set_realm('r', '{https://a,https://b,https://c,https://d,https://e,https://f}')")
	equal((got.keys, got.notified), (["o r https://b", "o r https://d", "o r https://e"], 1), "f and c keep what was not named")
	equal(db.rows("SELECT origin, policy, allow, expires_at IS NULL, note FROM cors.origins WHERE realm = 'r' AND origin > 'https://b' ORDER BY 1"),
	    [("https://c", "default", "t", "f", ""), ("https://d", "default", "t", "t", ""), ("https://e", "app", "t", "t", "mine"),
	     ("https://f", "app", "t", "f", "mine")])
	equal(db.rows("SELECT * FROM cors.set_realm('r', '{https://a,https://b}', 'app')"), [("0", "2", "4")])
	equal(log.after("SELECT cors.set_realm('r', '{https://a,https://b}', 'app')"), Change([], 0, 0))
	equal(db.rows("SELECT realm, origin, policy, allow, expires_at IS NULL FROM cors.origins ORDER BY 1, 2"),
	    [("r", "https://a", "app", "t", "t"), ("r", "https://b", "app", "t", "t"), ("s", "https://other", "default", "t", "t")])
	equal(db.refused("SELECT cors.set_realm('r', '{https://a/}')").sqlstate, "23514")
	equal(db.one("SELECT count(*) FROM cors.origins"), "3")


@case
def expired_rows_are_purged_when_asked_and_change_no_answer():
	db, log = sessions("helpers"), Log("helpers")
	db.ok("DELETE FROM cors.origins; SELECT cors.allow('https://old' || n, expires => now() - n * interval '1 day') FROM generate_series(1, 5) n")
	db.ok("SELECT cors.allow('https://later', expires => now() + interval '1 hour'), cors.allow('https://ever')")
	db.ok("INSERT INTO cors.origins (origin, allow, expires_at) VALUES ('https://was.refused', false, now() - interval '9 days')")
	equal(db.one("SELECT cors.purge_expired('8 days')"), "1")
	equal(db.one("SELECT cors.purge_expired('-1 day', 2)"), "2", "what is not over yet stays, whatever is asked")
	got = log.after("SELECT cors.purge_expired()")
	equal((len(got.keys), got.notified), (3, 1))
	equal(db.rows("SELECT origin FROM cors.origins ORDER BY 1"), [("https://ever",), ("https://later",)])
	equal(db.one("SELECT cors.purge_expired()"), "0")


@case
def what_is_no_utf8_gets_into_no_database():
	sessions("postgres").ok("CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
	sessions("postgres").ok("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
	for name in ("ascii", "latin"):
		equal(psql_file(name, SCHEMA).returncode, 0)
	db = Session("ascii")
	hint = "write it in UTF-8, or in ASCII: the web server sends bytes, and this database does not know of which encoding its own are"
	equal(db.refused(r"INSERT INTO cors.origins (realm, origin) VALUES (E'caf\xe9', 'https://a.example')"),
	    Refusal("23514", r"E'caf\\351' is not a realm: it is no UTF-8", hint))
	equal(db.refused(r"INSERT INTO cors.policies (name) VALUES (E'\xff')").hint, "write it in UTF-8, or in ASCII")
	equal(db.refused(r"UPDATE cors.policies SET name = E'a\xc3'").sqlstate, "23514")
	db.ok(r"INSERT INTO cors.origins (realm, origin) VALUES (E'caf\xc3\xa9', 'https://a.example'); INSERT INTO cors.policies (name) VALUES (E'\xc3\xa9')")
	latin = Session("latin")
	latin.ok("SET client_encoding = 'UTF8'")
	latin.ok("INSERT INTO cors.origins (realm, origin) VALUES (repeat(chr(233), 127), 'https://a.example')")
	equal(latin.refused("INSERT INTO cors.origins (realm, origin) VALUES (repeat(chr(233), 128), 'https://a.example')").sqlstate, "23514")
	equal(latin.refused("INSERT INTO cors.policies (name) VALUES (repeat(chr(233), 32))").sqlstate, "23514")


OLD_REALM = "(octet_length(realm) <= 255 AND realm !~ '[\\u0001-\\u001f\\u007f]') OR cors.accept_realm(realm)"


@case
def version_one_is_upgraded_and_its_rows_stay():
	sessions("postgres").ok("CREATE DATABASE older TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
	equal(psql_file("older", SCHEMA).returncode, 0)
	db = Session("older")
	db.ok("ALTER TABLE cors.origins DROP CONSTRAINT realm_is_valid")
	db.ok(r"INSERT INTO cors.origins (realm, origin) VALUES (E'\xe9', 'https://a.example')")
	db.ok("ALTER TABLE cors.origins ADD CONSTRAINT realm_is_valid CHECK (%s) NOT VALID" % OLD_REALM)
	db.ok("UPDATE cors.meta SET schema_version = 1; DROP TABLE cors.gates")
	rows = "SELECT encode(convert_to(realm, 'SQL_ASCII'), 'hex'), origin, policy FROM cors.origins"
	before = db.rows(rows)
	for _ in range(2):
		done = psql_file("older", SCHEMA)
		equal((done.returncode, done.stderr), (0, ""))
	equal(db.rows(rows), before)
	equal(db.rows("SELECT schema_version, cors.problem() IS NULL FROM cors.meta"), [("2", "t")])
	equal(db.refused(r"INSERT INTO cors.origins (realm, origin) VALUES (E'\xe8', 'https://a.example')").sqlstate, "23514")
	db.ok("DELETE FROM cors.origins")


@case
def an_editor_edits_and_does_nothing_else():
	admin = sessions("roles")
	admin.ok("CREATE ROLE ed LOGIN IN ROLE cors_editor; CREATE ROLE rd LOGIN IN ROLE cors_reader; CREATE ROLE nobody_much LOGIN")
	ed = sessions("roles", "ed")
	ed.ok("INSERT INTO cors.policies (name, headers, max_age) VALUES ('app', '{X-A}', 5); UPDATE cors.policies SET credentials = true WHERE name = 'app'")
	ed.ok("SELECT cors.allow('https://a'), cors.refuse('http://[::1]:90'), cors.remove('https://a'), cors.set_realm('r', '{https://a}', 'app')")
	ed.ok("INSERT INTO cors.origins (realm, origin) VALUES ('long', 'capacitor://localhost'); UPDATE cors.policies SET name = 'b' WHERE name = 'app'")
	ed.ok("DELETE FROM cors.origins WHERE realm = 'long'; SELECT * FROM cors.status(); SELECT cors.check_origin('x')")
	for sql in ("INSERT INTO cors.origins (origin) VALUES ('http://[0::1]/')", "INSERT INTO cors.policies (name) VALUES ('')",
	            policy(methods="'{TRACE}'"), policy(max_age="-1"), "INSERT INTO cors.origins (realm, origin) VALUES (E'\\n', 'https://a')",
	            "INSERT INTO cors.origins (origin, policy) VALUES ('http://plain', 'b')"):
		equal(ed.refused(sql).sqlstate, "23514", sql)
	for sql in ("TRUNCATE cors.origins", "TRUNCATE cors.policies CASCADE", "SELECT * FROM cors.changes", "DELETE FROM cors.changes",
	            "INSERT INTO cors.changes (kind) VALUES ('*')", "SELECT * FROM cors.meta", "UPDATE cors.meta SET schema_version = 1",
	            "SELECT cors.prune()", "SELECT cors.home()", "SELECT cors.problem()", "SELECT * FROM cors.token",
	            "CREATE TABLE cors.mine ()", "ALTER TABLE cors.origins DISABLE TRIGGER USER", "DROP TABLE cors.origins",
	            "CREATE TRIGGER mine AFTER INSERT ON cors.origins EXECUTE FUNCTION cors.log_origins()", "SELECT * FROM cors.wanted_triggers()"):
		equal(ed.refused(sql).sqlstate, "42501", sql)


@case
def an_editor_cannot_divert_the_log():
	ed, log = sessions("roles", "ed"), Log("roles")
	ed.ok("CREATE TEMP TABLE changes (LIKE cors.origins); CREATE TEMP TABLE new_rows (realm text, origin text);"
	    " CREATE TEMP TABLE policies (name text)")
	ed.ok("SET search_path = pg_temp, public, pg_catalog")
	ed.ok("CREATE FUNCTION pg_temp.row_number() RETURNS bigint LANGUAGE sql AS 'SELECT 7::bigint'")
	equal(log.after("INSERT INTO cors.origins (realm, origin) VALUES ('h', 'https://hijack')", ed), Change(["o h https://hijack"], 1, 1))
	equal(ed.one("SELECT count(*) FROM pg_temp.changes"), "0")


@case
def a_reader_reads_and_prunes_and_does_nothing_else():
	rd = sessions("roles", "rd")
	rd.ok("SELECT * FROM cors.origins; SELECT * FROM cors.policies; SELECT * FROM cors.changes; SELECT * FROM cors.meta; SELECT * FROM cors.token")
	rd.ok("SELECT cors.home(), cors.problem(), cors.prune(); SELECT * FROM cors.status(); LISTEN cors_changes; UNLISTEN *")
	rd.ok("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT token FROM cors.token; COPY (SELECT realm FROM cors.origins) TO STDOUT; COMMIT")
	for sql in ("INSERT INTO cors.origins (origin) VALUES ('https://a')", "UPDATE cors.origins SET allow = true", "DELETE FROM cors.origins",
	            "UPDATE cors.policies SET credentials = true", "DELETE FROM cors.changes", "UPDATE cors.meta SET pruned_xid = '0'",
	            "SELECT cors.allow('https://a')", "SELECT cors.refuse('https://a')", "SELECT cors.set_realm('', '{}')", "TRUNCATE cors.changes",
	            "SELECT * FROM cors.origins FOR UPDATE", "CREATE TABLE cors.mine ()"):
		equal(rd.refused(sql).sqlstate, "42501", sql)


@case
def everybody_else_has_no_rights_at_all():
	stranger = sessions("roles", "nobody_much")
	for sql in ("SELECT * FROM cors.origins", "SELECT * FROM cors.token", "SELECT cors.status()", "SELECT cors.check_origin('x')", "SELECT cors.home()"):
		equal(stranger.refused(sql).sqlstate, "42501", sql)
	admin = sessions("roles")
	equal(admin.rows("SELECT p.oid::regprocedure FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) a"
	    " WHERE pronamespace = 'cors'::regnamespace AND a.grantee = 0"), [])
	equal(admin.rows("SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'cors'::regnamespace"
	    " AND NOT coalesce(proconfig, '{}') @> '{\"search_path=pg_catalog, pg_temp\"}'"), [])


# Size

@case
def a_million_rows_by_copy_log_one_row():
	db, log = sessions("bulk"), Log("bulk")
	db.ok("COPY (SELECT 'https://h' || n || '.example.com' FROM generate_series(1, %d) n) TO '%s/bulk'" % (BULK_ROWS, cluster.dir))
	start = time.monotonic()
	got = log.after("COPY cors.origins (origin) FROM '%s/bulk'" % cluster.dir)
	took = time.monotonic() - start
	equal(got, Change(["*"], 1, 1))
	start = time.monotonic()
	db.ok("UPDATE cors.policies SET credentials = true")
	print("     %d rows in %.1f s; credentials for all of them in %.1f ms" % (BULK_ROWS, took, 1000 * (time.monotonic() - start)))


def main():
	only = os.environ.get("ONLY", "")
	failed = passed = 0
	for function in cases:
		name = function.__name__.replace("_", " ")
		if only and only not in name:
			continue
		try:
			function()
		except Exception as error:	# a broken case must not hide the others
			failed += 1
			print("not ok %s\n    %s: %s" % (name, type(error).__name__, error), flush=True)
			forget_sessions()
		else:
			passed += 1
			print("ok %s" % name, flush=True)
	print("%d passed, %d failed" % (passed, failed))
	return 1 if failed else 0


signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
cluster = Cluster()
sys.exit(main())

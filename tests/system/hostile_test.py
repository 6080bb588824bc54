#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""hostile -- nginx with the files of packaging/, under everything a site may have set: see hostile.py."""

import concurrent.futures
import itertools
import os
import unittest

import harness
import hostile

ROWS = ("INSERT INTO cors.policies (name, methods, expose_headers) VALUES ('web', '{GET,POST,PUT}', '{X-Total}')",
	"INSERT INTO cors.origins (realm, origin, policy) VALUES ('', 'https://a.example', 'web'),"
	" ('strict', 'https://a.example', 'web')")
SITE = """
daemon off; master_process off; pid DIR/N.pid; worker_rlimit_nofile 1024;
events { worker_connections 256; }
http {
	access_log off;
	TEMPORARY
	variables_hash_max_size 4096;
	map $host $cors_realm { default ''; strict strict; }
	map $host $cors_enforce { default ''; strict 1; }
	include ETC/corscache.conf;
	ALSO
	HTTP
	server {
		listen unix:DIR/N.sock;
		server_name usual strict;
		root DIR/www;
		ABOVE
		include ETC/corscache_server.conf;
		include ETC/corscache_headers.conf;
		BELOW
		location /proxy/ { proxy_pass http://unix:APP; }
		location /up/ { client_max_body_size 64m; proxy_set_header Host x; proxy_pass http://unix:APP:/; }
		location /fastcgi/ { include /etc/nginx/fastcgi_params; fastcgi_pass unix:APP.fastcgi; }
		location /uwsgi/ { include /etc/nginx/uwsgi_params; uwsgi_pass unix:APP.uwsgi; }
		location /scgi/ { include /etc/nginx/scgi_params; scgi_pass unix:APP.scgi; }
		location /grpc/ { grpc_pass unix:DIR/grpc.sock; }
		location = /elsewhere { return 200 elsewhere; }
		location = /login-yes { internal; auth_request off; return 204; }
		include ETC/corscache_errors.conf;
	}
}
"""
# Something that speaks HTTP/2 and sends CORS headers of its own
GRPC = """
daemon off; master_process off; pid DIR/grpc.pid;
events { worker_connections 256; }
http {
	access_log off;
	TEMPORARY
	server {
		listen unix:DIR/grpc.sock http2;
		add_header Access-Control-Allow-Origin $arg_origin always;
		add_header Access-Control-Allow-Origin https://evil.example always;
		add_header Access-Control-Allow-Credentials true always;
		return 200 grpc;
	}
}
"""


class Hostile(unittest.TestCase):
	@classmethod
	def setUpClass(cls):
		sql = harness.Psql()
		for row in ROWS:
			sql(row)
		sql.close()
		client = harness.Client(harness.stack.env["NGINX_URL"])
		harness.eventually("the rows are in force", lambda: client.allowed(hostile.A, host="strict.localhost"))
		client.close()
		cls.dir, cls.numbers = harness.stack.dir / "hostile", itertools.count()
		(cls.dir / "www" / "static").mkdir(parents=True)
		(cls.dir / "www" / "static" / "x").write_text("a page\n")
		grpc = cls.dir / "grpc.conf"
		grpc.write_text(cls.fill(GRPC, "grpc"))
		cls.grpc = hostile.Server(grpc, cls.dir / "grpc.sock", cls.dir / "grpc.log")

	@classmethod
	def tearDownClass(cls):
		cls.grpc.close()

	@classmethod
	def fill(cls, text, n, **more):
		temporary = "".join(f"{kind}_temp_path {cls.dir}/{n}-{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
		for word, value in {**more, "TEMPORARY": temporary, "ETC": harness.stack.dir / "etc/nginx",
		    "APP": harness.stack.dir / "app.sock", "DIR": cls.dir, "N.": f"{n}."}.items():
			text = text.replace(word, str(value))
		return text

	def try_row(self, row, level):
		"""("", []) where all is well; ("load", words) or ("wrong", sentences)."""
		n = next(self.numbers)
		here = {"HTTP": "", "ABOVE": "", "BELOW": "", "ALSO": row.also}
		here["HTTP" if level == "http" else row.place.upper()] = row.line
		conf, log = self.dir / f"{n}.conf", self.dir / f"{n}.log"
		conf.write_text(self.fill(SITE, n, **here))
		server = hostile.Server(conf, self.dir / f"{n}.sock", log)
		try:
			if not server.runs:
				return "load", [line for line in log.read_text().splitlines() if "[emerg]" in line]
			found = hostile.judge(server.path, row)
			return "wrong" if found else "", found
		finally:
			server.close()

	def test_every_directive_at_every_level(self):
		todo = [(row, level) for row in hostile.TABLE for level in row.at]
		with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as several:
			results = several.map(lambda one: self.try_row(*one), todo)
			for (row, level), (outcome, words) in zip(todo, results):
				wanted, why = row.except_.get(level, ("", "nothing may come of it"))
				with self.subTest(row.line, level=level, place=row.place):
					self.assertEqual(outcome, wanted, f"{why}: {words[:6]}")

	def test_the_cases_can_fail(self):
		"""A site without the headers fails in every way, and a site with the application's own in each of theirs."""
		row = hostile.Row("location ~ ^/(proxy|static)/ { add_header X-A b; proxy_pass http://unix:APP; }", place="below")
		outcome, words = self.try_row(row, "server")
		self.assertEqual(outcome, "wrong")
		for way in ("static", "proxy"):
			self.assertIn(f"{way}, GET from {hostile.A}", " ".join(words))


if __name__ == "__main__":
	harness.main("--nginx")

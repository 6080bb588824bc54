# SPDX-License-Identifier: BSD-2-Clause
"""
hostile -- what a site may have set for itself, and what must hold all the same.

TABLE has directives of nginx with values that could hurt. Each is put at http
level and at server level, one at a time, into a site that a caller writes
(class Site), and judge() runs the usual cases: static files and applications
behind every protocol; allowed, refused and no origin, preflights, enforcement,
errors. An application sends CORS headers of its own, the worst it can.
"""

import contextlib
import http.client
import re
import socket
import subprocess

import harness

A, REFUSED = "https://a.example", "https://evil.example"
WAYS = ("static", "proxy", "fastcgi", "uwsgi", "scgi", "grpc")
OWN = ("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers",
    "Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Max-Age")
WORST = "?header=Access-Control-Allow-Origin:https://evil.example&header=Access-Control-Allow-Credentials:true" \
    "&header=Access-Control-Expose-Headers:X-Secret&header=Access-Control-Allow-Methods:PURGE"
STAR = "?header=Access-Control-Allow-Origin:*"


class Row:
	"""
	line	the directive; DIR is a directory of the test's
	status	what every actual request gets by it, where that is not the usual one
	at	the levels it is tried at
	place	above or below: where in a server block, seen from our include
	except_	{level: (what happens, why)} where files of configuration cannot help; what happens is
		"load", nginx does not start, or "wrong", a case fails
	"""

	def __init__(self, line, status=None, at=("http", "server"), place="above", also="", except_=None):
		self.line, self.status, self.at, self.place, self.also = line, status, at, place, also
		self.except_ = except_ or {}


def rows(text, **more):
	return [Row(line.strip(), **more) for line in text.strip().splitlines()]


def for_ways(ways, text, **more):
	return [row for way in ways for row in rows(text.replace("WAY", way), **more)]


REPLACED = "an include and the site's line in one block are one directive too many: loud, and the head of the file says so"
PASSED = "a header that the same block adds or passes on by name cannot be hidden; the head of corscache_headers.conf says so"
ABOVE = "what stands above the include happens to the check, too; the head of corscache_server.conf says so"

TABLE = [
	# core
	*rows("""
		absolute_redirect off;
		aio threads;
		chunked_transfer_encoding off;
		client_body_buffer_size 4k;
		client_body_in_file_only on;
		client_body_in_single_buffer on;
		connection_pool_size 256;
		default_type text/html;
		types { }
		directio 1;
		disable_symlinks on;
		error_page 400 401 403 404 418 420 429 500 502 503 504 /elsewhere;
		error_page 418 = /elsewhere;
		etag off;
		if_modified_since before;
		ignore_invalid_headers off;
		underscores_in_headers on;
		keepalive_timeout 0;
		keepalive_requests 1;
		large_client_header_buffers 2 1k;
		limit_rate 100k;
		lingering_close always;
		log_subrequest on;
		max_ranges 0;
		merge_slashes off;
		msie_padding off;
		open_file_cache max=10;
		output_buffers 1 1;
		port_in_redirect off;
		postpone_output 0;
		recursive_error_pages on;
		request_pool_size 256;
		reset_timedout_connection on;
		sendfile on;
		server_name_in_redirect on;
		server_tokens off;
		subrequest_output_buffer_size 1;
		tcp_nopush on;
		uninitialized_variable_warn off;
		index nothing.html;
		autoindex on;
	"""),
	Row("client_max_body_size 1;"),
	Row("satisfy any;", except_={"server": ("load", REPLACED)}),
	Row("satisfy all;", except_={"server": ("load", REPLACED)}),
	Row("post_action /static/x;"),
	# access, passwords
	Row("deny all;", status=403),
	Row("allow 192.0.2.1; deny all;", status=403),
	Row("auth_basic x; auth_basic_user_file /dev/null;", status=401),
	Row("auth_delay 10ms;"),
	Row("auth_request /login-yes;", except_={"server": ("load", REPLACED)}),
	Row("auth_request_set $cors_answer_origin $http_origin;"),
	Row("auth_request_set $cors_status 204;"),
	# limits: the first request is let in, the others are not
	Row("limit_req zone=hard;", status=503, also="limit_req_zone $server_name zone=hard:32k rate=1r/m;"),
	Row("limit_req zone=hard; limit_req_status 429;", status=429, also="limit_req_zone $server_name zone=hard:32k rate=1r/m;"),
	Row("limit_req zone=hard; limit_req_dry_run on;", also="limit_req_zone $server_name zone=hard:32k rate=1r/m;"),
	Row("limit_conn hard 1;", also="limit_conn_zone $server_name zone=hard:32k;"),
	Row("limit_conn hard 1; limit_conn_dry_run on;", also="limit_conn_zone $server_name zone=hard:32k;"),
	# headers, bodies
	Row("add_header Access-Control-Allow-Origin https://evil.example always;", except_={"server": ("wrong", PASSED)}),
	*rows("""
		add_header X-Frame-Options DENY always;
		add_trailer X-Trailer x always;
		expires 1h;
		expires max;
		add_before_body /static/x; addition_types *;
		add_after_body /static/x; addition_types *;
		charset utf-8; charset_types *;
		override_charset on;
		gzip on; gzip_vary on; gzip_min_length 1; gzip_types *; gzip_proxied any;
		gunzip on;
		gzip_static always;
		ssi on; ssi_types *;
		sub_filter a b; sub_filter_types *;
		userid on;
		slice 1k;
		mirror /login-yes;
		mirror_request_body off;
	"""),
	# rewrite
	*rows("""
		rewrite ^/(?!static|proxy|fastcgi|uwsgi|scgi|grpc|up|missing) /static/x last;
		if ($uri !~ "^/(static|proxy|fastcgi|uwsgi|scgi|grpc|up|missing)") { return 404; }
		if (!-e $request_filename) { set $x 1; }
		rewrite_log on;
		try_files $uri $uri/ =404;
		break;
	""", at=("server",), place="below"),
	Row("rewrite ^/\\.corscache /proxy/status/200" + WORST + " last;", at=("server",), place="below"),
	Row("rewrite ^/\\.corscache /proxy/status/200" + WORST + " last;", at=("server",), except_={"server": ("wrong", ABOVE)}),
	Row("error_page 404 /elsewhere; recursive_error_pages on;"),
	# ours
	Row("fastcgi_cache sites; fastcgi_cache_key $uri; fastcgi_cache_valid any 1h;",
	    also="fastcgi_cache_path DIR/cache keys_zone=sites:1m;"),
	Row("fastcgi_keep_conn off;"),
	Row("fastcgi_param HTTP_ORIGIN https://a.example;"),
	Row("fastcgi_param CORS_REALM strict;"),
	Row("fastcgi_index x;"),
	Row("fastcgi_split_path_info ^(.)(.*)$;"),
	Row("fastcgi_catch_stderr x;"),
	Row("dav_methods PUT DELETE;"),
	Row("add_header Vary *;"),
	*for_ways(("proxy", "fastcgi", "uwsgi", "scgi", "grpc"), """
		WAY_hide_header X-Other;
		WAY_hide_header Vary;
		WAY_ignore_headers Vary X-Accel-Redirect Set-Cookie;
		WAY_bind 127.0.0.1;
		WAY_buffer_size 1k;
		WAY_next_upstream off;
		WAY_next_upstream_timeout 1ms;
		WAY_next_upstream_tries 1;
		WAY_pass_header Server;
		WAY_intercept_errors on;
		WAY_socket_keepalive on;
		WAY_connect_timeout 50s;
		WAY_read_timeout 50s;
		WAY_send_timeout 50s;
	"""),
	*for_ways(("proxy", "fastcgi", "uwsgi", "scgi", "grpc"), """
		WAY_pass_header Access-Control-Allow-Origin; WAY_pass_header Access-Control-Allow-Credentials;
	""", except_={"server": ("wrong", PASSED)}),
	*for_ways(("proxy", "fastcgi", "uwsgi", "scgi"), """
		WAY_buffering off;
		WAY_buffers 2 1k; WAY_buffer_size 1k; WAY_busy_buffers_size 1k;
		WAY_busy_buffers_size 8k;
		WAY_temp_file_write_size 8k;
		WAY_max_temp_file_size 0;
		WAY_force_ranges on;
		WAY_ignore_client_abort on;
		WAY_limit_rate 100k;
		WAY_pass_request_body off;
		WAY_pass_request_headers off;
		WAY_request_buffering off;
		WAY_store DIR/store$uri;
		WAY_store_access user:r;
		WAY_no_cache 1; WAY_cache_bypass 1;
		WAY_cache_methods POST;
		WAY_cache_use_stale error timeout http_500 http_503 updating;
		WAY_cache_lock on;
		WAY_cache_background_update on;
		WAY_cache_revalidate on;
		WAY_cache_min_uses 100;
		WAY_cache_valid any 1h;
	"""),
	*rows("""
		proxy_http_version 1.1;
		proxy_method GET;
		proxy_redirect off;
		proxy_set_header Origin https://a.example;
		proxy_cookie_path / /x;
		proxy_send_lowat 0;
		grpc_set_header Origin https://a.example;
		uwsgi_param HTTP_ORIGIN https://a.example;
		uwsgi_modifier1 0;
		scgi_param HTTP_ORIGIN https://a.example;
	"""),
]
# Where a parameter of the site's own makes its application unusable, it is no test of ours.
OWN_APPLICATION = re.compile(r"(\w+)_(bind|buffers|busy_buffers_size|temp_file_write_size|pass_request_headers|pass_request_body|param|"
    r"method|next_upstream_timeout)\b")


class Server:
	"""One nginx on a socket of its own, without workers. None: it did not start, said tells why."""

	def __init__(self, conf, path, log):
		self.path = path
		with open(log, "wb") as out:
			self.process = subprocess.Popen(["nginx", "-e", "stderr", "-c", conf], stdin=subprocess.DEVNULL, stdout=out,
			    stderr=out, start_new_session=True)
		harness.eventually(f"nginx listens, or says why not, with {conf}", lambda: self.listens() or self.process.poll() is not None)
		self.runs = self.process.poll() is None

	def listens(self):
		with socket.socket(socket.AF_UNIX) as s:
			return s.connect_ex(str(self.path)) == 0

	def close(self):
		if self.process.poll() is None:
			self.process.terminate()
		try:
			self.process.wait(20)
		except subprocess.TimeoutExpired:
			self.process.kill()
			self.process.wait(20)


def ask(path, method, target, headers=(), host="usual", body=None):
	"""A reply over a connection of its own: a site may close or count them."""
	connection = http.client.HTTPConnection("localhost", timeout=20)
	with contextlib.closing(connection), socket.socket(socket.AF_UNIX) as s:
		s.settimeout(20)
		s.connect(str(path))
		connection.sock = s
		connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
		for header in (("Host", host), *headers):
			connection.putheader(*header)
		if body is not None:
			connection.putheader("Content-Length", str(len(body)))
		connection.endheaders(body)
		return harness.Reply(connection.getresponse())


def wrong_headers(reply, origin):
	"""What is wrong with the CORS headers of an actual response, or None. origin: who must be let in, or None."""
	wanted = [origin] if origin else []
	if reply.all("Access-Control-Allow-Origin") != wanted:
		return f"Access-Control-Allow-Origin is {reply.all('Access-Control-Allow-Origin')}, not {wanted}"
	for name in OWN[1:]:
		if reply.all(name) != (["x-total"] if origin and name == "Access-Control-Expose-Headers" else []):
			return f"{name}: {reply.all(name)}"
	if not reply.vary() & {"origin", "*"}:
		return f"Vary is {reply.vary()}"
	return None


def actual_cases(status):
	"""(name, method, target, origin, host, body, wanted statuses, who is let in)"""
	for way in WAYS:
		target = f"/{way}/" + ("x" if way in ("static", "grpc") else "status/200")
		for origin in (A, REFUSED, None):
			yield way, "GET", target + WORST, origin, "usual", None, {status or 200}, origin if origin == A else None
		yield f"{way}, enforced", "GET", target, A, "strict", None, {status or 200}, A
		yield f"{way}, enforced", "GET", target, REFUSED, "strict", None, {status or 403, 403}, None
	for way in WAYS[1:-1]:
		yield f"{way}, star", "GET", f"/{way}/status/200" + STAR, REFUSED, "usual", None, {status or 200}, None
		yield f"{way}, 500", "GET", f"/{way}/status/500", A, "usual", None, {status or 500}, A
	yield "missing file", "GET", "/missing", A, "usual", None, {status or 404}, A
	yield "a large body", "POST", "/up/echo", A, "usual", b"x" * 1_200_000, {status or 200}, A


def wrong_actual(path, method, target, origin, host, body, statuses, allowed):
	try:
		reply = ask(path, method, target, [("Origin", origin)] if origin else [], host, body)
	except (OSError, http.client.HTTPException) as error:
		return f"no answer: {error!r}"
	return f"status {reply.status}, not {statuses}" if reply.status not in statuses else wrong_headers(reply, allowed)


def preflight_cases():
	for target in ("/static/x", "/proxy/status/200", "/"):
		yield target, A, "PUT", "usual", 200
		yield target, REFUSED, "PUT", "usual", 403
	yield "/missing", A, "DELETE", "usual", 403
	yield "/missing", A, "PUT", "strict", 200


def wrong_preflight(path, target, origin, method, host, status):
	reply = ask(path, "OPTIONS", target, [("Origin", origin), ("Access-Control-Request-Method", method)], host)
	if reply.status != status:
		return f"status {reply.status}, not {status}"
	if reply.all("Access-Control-Allow-Origin") != ([A] if status == 200 else []):
		return f"Access-Control-Allow-Origin is {reply.all('Access-Control-Allow-Origin')}"
	if len(reply.all("Access-Control-Allow-Methods")) != (status == 200):
		return f"Access-Control-Allow-Methods is {reply.all('Access-Control-Allow-Methods')}"
	if not reply.vary() >= {"origin", "access-control-request-method", "access-control-request-headers"}:
		return f"Vary is {reply.vary()}"
	return None


def judge(path, row):
	"""What is wrong in the usual cases, as sentences."""
	found = []
	own = OWN_APPLICATION.match(row.line)		# the application of that protocol may suffer
	if row.status in (503, 429):			# the one request that a limit lets in, in each server block
		for host in ("usual", "strict"):
			ask(path, "GET", "/static/x", host=host)
	for name, method, target, origin, host, body, statuses, allowed in actual_cases(row.status):
		if own and (own[1] in name or target.startswith("/up/") and own[1] == "proxy"):
			continue
		wrong = wrong_actual(path, method, target, origin, host, body, statuses, allowed)
		if wrong:
			found.append(f"{name}, {method} from {origin}: {wrong}")
	for case in preflight_cases():
		wrong = wrong_preflight(path, *case)
		if wrong:
			found.append(f"preflight {case}: {wrong}")
	return found

# SPDX-License-Identifier: BSD-2-Clause
"""web -- preflights and a tiny page through nginx and lighttpd: requests per CPU second of all server processes.

One nginx worker, on the same two or more CPUs as the applications and the load.
The peers are applications behind that nginx, over kept connections: their
middleware answers preflights, and they make the page. "nginx" and "lighttpd" as
ours serve the page as a file; "before X" has application X make it, its middleware
off. wrk asks as fast as it is answered, over 16 kept connections, as 4096 of the
origins: latencies are those of full load. lighttpd, and ours before an
application, are not asked at every size: corscache is the same behind each of them.
"""

import contextlib
import http.client
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time

from report import number

order = 30

HERE = pathlib.Path(__file__).resolve().parent.parent
SOURCE = HERE.parent
APPS = {		# what a user would pick instead
	"starlette": "Starlette CORSMiddleware, uvicorn",
	"express": "Express + cors",
	"fastify": "Fastify + @fastify/cors",
	"rs_cors": "Go rs/cors",
	"select": "Express + cors, a SELECT per request",
}
BEHIND = ("starlette", "express", "fastify", "rs_cors")		# measured with ours before them, too
NGINX = {"off": "nginx, CORS off", "map": "nginx, static map", **APPS}
PLOTTED = {"ours": "corscache", "off": "CORS off", "map": "static map", "starlette": "Starlette", "express": "Express", "fastify": "Fastify",
    "rs_cors": "Go rs/cors", "select": "a SELECT each"}
OURS = ("ours", "cached")
NAMES = {"ours": "nginx", "cached": "nginx + fastcgi_cache", "lighttpd": "lighttpd", **{f"plain-{app}": f"before {app}" for app in BEHIND}}
ALLOWED = "https://o1.example.com"	# of the 1 .. N that are allowed
WAIT_S = 60


def sized(n):
	return f"{n // 1000} k origins" if n >= 1000 else f"{n} origin"


def wait_for(what, condition, alive=lambda: True):
	end = time.monotonic() + WAIT_S
	while not condition():
		if not alive() or time.monotonic() > end:
			raise RuntimeError(f"{what}: did not come about")
		time.sleep(0.02)


def cpu_seconds(roots):
	"""Of these processes and all below them."""
	ticks, parents = {}, {}
	for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
		with contextlib.suppress(OSError):
			fields = stat.read_text().rpartition(")")[2].split()
			pid = int(stat.parent.name)
			parents[pid], ticks[pid] = int(fields[1]), int(fields[11]) + int(fields[12])

	def is_below(pid):
		while pid and pid not in roots:
			pid = parents.get(pid)
		return bool(pid)
	return sum(t for pid, t in ticks.items() if is_below(pid)) / os.sysconf("SC_CLK_TCK")


class Stack:
	"""corscache, all of it, as the tests start it; its two web servers make room for ours."""

	def __init__(self, ctx, servers):
		self.dir = pathlib.Path(ctx.directory())
		self.build = {**os.environ, "CORSCACHE_BUILD": str(ctx.build)}
		self.children = []
		self.up = subprocess.run([sys.executable, SOURCE / "tests" / "stack", "up", self.dir,
		    *(f"--{s}" for s in servers)], env=self.build, timeout=200).returncode
		if self.up == 0:
			words = shlex.split((self.dir / "env").read_text())
			self.env = dict(word.split("=", 1) for word in words)
			for server in (*servers, "app"):
				self.command("stop", server)

	def command(self, *args):
		subprocess.run([sys.executable, SOURCE / "tests" / "stack", args[0], self.dir, *args[1:]],
		    env=self.build, timeout=200, check=True)

	def pid(self, part):
		return int(self.env[f"{part.upper()}_PID"])

	def port(self, server):
		return int(self.env[f"{server.upper()}_URL"].rpartition(":")[2])

	def sql(self, text):
		subprocess.run(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", text], check=True, env={**os.environ, **self.env},
		    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=200)

	def spawn(self, name, argv, env=None, cwd="/"):
		with open(self.dir / "log" / f"bench-{name}.log", "ab") as log:
			child = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
			    cwd=cwd, env={**os.environ, **self.env, **(env or {})}, start_new_session=True)
		self.children.append(child)
		return child

	def stop(self, child):
		if child.poll() is None:
			child.send_signal(signal.SIGTERM)
		try:
			child.wait(5)
		except subprocess.TimeoutExpired:
			child.kill()
			child.wait()
		self.children.remove(child)

	def close(self):
		for child in list(self.children):
			self.stop(child)
		self.command("down")


# Configuration: the files of packaging/, as tests/stack laid them out, and the peers' next to them

def user():
	return "user www-data;\n" if os.geteuid() == 0 else ""


def nginx_conf(stack, sizes):
	etc = stack.dir / "etc" / "nginx"
	listen = f"listen 127.0.0.1:{stack.port('nginx')};\n\troot {stack.dir}/www;"
	cached = re.sub(r"\n\tfastcgi_store .*;", f"\n\tinclude {etc}/corscache_cache.conf;", (etc / "corscache_server.conf").read_text())
	assert "corscache_cache.conf" in cached
	(etc / "bench_cached.conf").write_text(cached)
	text = user() + f"daemon off;\npid {stack.dir}/run/bench-nginx.pid;\nworker_processes 1;\n" \
	    f"error_log {stack.dir}/log/bench-nginx.log notice;\nevents {{ worker_connections 1024; }}\nhttp {{\naccess_log off;\n" \
	    "keepalive_requests 1000000;\nserver_names_hash_bucket_size 128;\nmap_hash_max_size 262144;\nmap_hash_bucket_size 512;\n" \
	    f"fastcgi_cache_path {stack.dir}/tmp/checks keys_zone=corscache:16m max_size=64m;\n" + "".join(
	    f"{kind}_temp_path {stack.dir}/tmp/bench-{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
	text += f"include {etc}/corscache.conf;\nmap $server_name $cors_realm {{\n\tdefault '';\n" + "".join(
	    f"\t{name} n{n};\n" for n in sizes for name in (*(f"{kind}-{n}" for kind in OURS), *(f"ours-{n}-{app}" for app in BEHIND))) + "}\n"
	off = "if ($cors_preflight) {\n\t\t\treturn 204;\n\t\t}"
	text += f"server {{\n\t{listen}\n\tserver_name off;\n\tlocation / {{\n\t\t{off}\n\t}}\n}}\n"
	for n in sizes:
		for kind, server in (("ours", "corscache_server.conf"), ("cached", "bench_cached.conf")):
			text += f"server {{\n\t{listen}\n\tserver_name {kind}-{n};\n\tinclude {etc}/{server};\n" \
			    f"\tinclude {etc}/corscache_headers.conf;\n}}\n"
		text += f"map $http_origin $listed_{n} {{\n\tinclude {stack.dir}/etc/map-{n};\n}}\n" + static_map(listen, n)
	for app in (*APPS, *(f"plain-{app}" for app in BEHIND)):
		text += f"upstream {app} {{\n\tserver unix:{stack.dir}/{app}.sock;\n\tkeepalive 32;\n}}\n" \
		    f"server {{\n\t{listen}\n\tserver_name {app};\n{proxy(app)}}}\n"
	for app in BEHIND:
		for n in sizes:
			text += f"server {{\n\t{listen}\n\tserver_name ours-{n}-{app};\n\tinclude {etc}/corscache_server.conf;\n" \
			    f"\tinclude {etc}/corscache_headers.conf;\n{proxy(f'plain-{app}')}}}\n"
	path = stack.dir / "etc" / "bench-nginx.conf"
	path.write_text(text + "}\n")
	return path


def proxy(app):
	return f"\tlocation / {{\n\t\tproxy_pass http://{app};\n\t\tproxy_http_version 1.1;\n" \
	    "\t\tproxy_set_header Connection '';\n\t\tproxy_set_header Host $host;\n\t}\n"


def static_map(listen, n):
	origin, vary = f"add_header Access-Control-Allow-Origin $listed_{n} always;", "add_header Vary Origin always;"
	return f"server {{\n\t{listen}\n\tserver_name map-{n};\n\tlocation / {{\n\t\tif ($cors_preflight) {{\n\t\t\t{origin}\n" \
	    f"\t\t\t{vary}\n\t\t\tadd_header Access-Control-Allow-Methods 'GET, PUT, DELETE';\n" \
	    "\t\t\tadd_header Access-Control-Allow-Headers 'content-type, x-token';\n\t\t\tadd_header Access-Control-Max-Age 600;\n" \
	    f"\t\t\treturn 204;\n\t\t}}\n\t\t{origin}\n\t\t{vary}\n\t}}\n}}\n"


def lighttpd_conf(stack, sizes, kind, port):
	text = 'server.username = "www-data"\nserver.groupname = "www-data"\n' if os.geteuid() == 0 else ""
	text += f'server.upload-dirs = ( "{stack.dir}/tmp" )\nserver.bind = "127.0.0.1"\nserver.port = {port}\n' \
	    f'server.document-root = "{stack.dir}/www"\nmimetype.assign = ( ".txt" => "text/plain" )\n' \
	    'server.max-keep-alive-requests = 10000\n' \
	    'server.modules = ( "mod_setenv", "mod_magnet", "mod_fastcgi" )\n'
	if kind == "ours":
		text += f'include "{stack.dir}/etc/lighttpd/corscache.conf"\n' + "".join(
		    f'$HTTP["host"] == "ours-{n}" {{ setenv.set-environment = ( "CORS_REALM" => "n{n}" ) }}\n' for n in sizes)
	path = stack.dir / "etc" / f"bench-lighttpd-{kind}.conf"
	path.write_text(text)
	return path


def start_servers(stack, servers, sizes):
	"""{server: (port, pid)}, lighttpd_off among them."""
	(stack.dir / "www" / "tiny.txt").write_text("tiny\n")
	for n in sizes:
		origins = [f"https://o{i}.example.com" for i in range(1, n + 1)]
		(stack.dir / "etc" / f"list-{n}").write_text("\n".join(origins) + "\n")
		(stack.dir / "etc" / f"map-{n}").write_text("".join(f'"{o}" "{o}";\n' for o in origins))
	plans = {"nginx": (stack.port("nginx"), ["nginx", "-e", "stderr", "-c", nginx_conf(stack, sizes)])}
	if "lighttpd" in servers:
		for kind, name, port in (("ours", "lighttpd", stack.port("lighttpd")), ("off", "lighttpd_off", stack.port("nginx_h2"))):
			plans[name] = port, ["lighttpd", "-D", "-f", lighttpd_conf(stack, sizes, kind, port)]
	running = {}
	for name, (port, argv) in plans.items():
		argv[0] = find(argv[0])
		child = stack.spawn(name, argv)
		wait_for(f"{name} (see {stack.dir}/log)", lambda: ask(port, "off", "GET") is not None, lambda: child.poll() is None)
		running[name] = port, child.pid
	return running


# What each answers, before anything is measured

def ask(port, host, method, origin=None):
	"""(status, headers, body) or None when nobody answers."""
	fields = {"Host": host, **({"Origin": origin} if origin else {})}
	if method == "OPTIONS":
		fields.update({"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type,x-token"})
	with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as c:
		try:
			c.request(method, "/tiny.txt", headers=fields)
			reply = c.getresponse()
			body = reply.read()
		except (OSError, http.client.HTTPException):
			return None
	return reply.status, {k.lower(): v for k, v in reply.getheaders()}, body


def wrong(port, host, n, question, is_off):
	"""What is wrong with the answers to an origin that is allowed and one that is not; None when they are right."""
	method = "OPTIONS" if question == "preflight" else "GET"
	for origin in (ALLOWED, f"https://o{n}.example.com", "https://unknown.example.com"):
		wanted = None if is_off or "unknown" in origin else origin
		status, headers, body = ask(port, host, method, origin) or (0, {}, b"")
		if headers.get("access-control-allow-origin") != wanted or (wanted or method == "GET") and not 200 <= status < 300:
			return f"{question} from {origin}: {status} {headers}"
		if method == "GET" and body != b"tiny\n":
			return f"{question} from {origin}: {body}"
		if wanted and method == "OPTIONS" and not ("PUT" in headers.get("access-control-allow-methods", "") and
		    "x-token" in headers.get("access-control-allow-headers", "").lower() and headers.get("access-control-max-age") == "600"):
			return f"{question} from {origin}: {headers}"
	return None


# The peers

def find(name):
	return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")


def built(ctx, argv, cwd, env=None):
	try:
		done = subprocess.run([str(a) for a in argv], cwd=cwd, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
		    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
	except subprocess.TimeoutExpired:
		return False
	if done.returncode:
		ctx.say(done.stdout[-2000:])
	return done.returncode == 0


def node_modules(ctx, place):
	if not find("node") or not find("npm"):
		return "node and npm are not installed"
	names = "package.json", "package-lock.json"
	if (place / "node_modules").exists() and all((place / n).read_bytes() == (HERE / "web" / n).read_bytes() for n in names):
		return None
	shutil.rmtree(place / "node_modules", ignore_errors=True)
	for name in names:
		shutil.copyfile(HERE / "web" / name, place / name)
	if not built(ctx, ["npm", "ci", "--fetch-retries=1", "--ignore-scripts", "--no-audit", "--no-fund"], place):
		return "npm ci failed (is the registry within reach?)"
	return None


def go_program(ctx, place):
	if not find("go"):
		return "Go is not installed (golang-go, golang-github-rs-cors-dev)"
	env = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(place / "go-cache"), "GOFLAGS": ""}
	if not built(ctx, ["go", "build", "-o", place / "rs_cors", HERE / "web" / "rs_cors.go"], place, env):
		return "go build failed (golang-github-rs-cors-dev?)"
	return None


def starlette_python():
	for python in ("/usr/bin/python3", sys.executable):
		if shutil.which(python) and subprocess.run([python, "-c", "import starlette, uvicorn, uvloop, httptools"], stderr=subprocess.DEVNULL).returncode == 0:
			return python
	return None


def prepare_apps(ctx):
	"""{app: argv}; the absent ones are said."""
	place = ctx.build / "bench" / "peers"
	place.mkdir(parents=True, exist_ok=True)
	apps, why = {}, {}
	python = starlette_python()
	if python:
		apps["starlette"] = [python, HERE / "web" / "starlette_app.py"]
	else:
		why["starlette"] = "python3-starlette, python3-uvicorn, python3-uvloop and python3-httptools are not all installed"
	failed = node_modules(ctx, place)
	for kind in ("express", "fastify", "select"):
		if failed:
			why[kind] = failed
		else:
			apps[kind] = ["node", HERE / "web" / "node_app.js", kind]
	failed = go_program(ctx, place)
	if failed:
		why["rs_cors"] = failed
	else:
		apps["rs_cors"] = [place / "rs_cors"]
	for app, text in why.items():
		ctx.absent(APPS[app], text)
	return apps, place


@contextlib.contextmanager
def running(ctx, stack, apps, place, n, port):
	"""The applications with these n origins: {app: pids}."""
	children = {}
	try:
		for name, argv, origins in (*((app, argv, stack.dir / "etc" / f"list-{n}") for app, argv in apps.items()),
		    *((f"plain-{app}", apps[app], "none") for app in BEHIND if app in apps)):
			socket = stack.dir / f"{name}.sock"
			socket.unlink(missing_ok=True)
			children[name] = stack.spawn(name, [*argv, socket, origins, f"n{n}"], {"NODE_ENV": "production"}, place)
		for app, child in children.items():
			answers = lambda: (ask(port, app, "GET") or (0,))[0] == 200	# noqa: E731
			try:
				wait_for(app, answers, lambda: child.poll() is None)
			except RuntimeError:
				ctx.absent(APPS[app.removeprefix("plain-")], f"does not start with {n} origins")
				stack.stop(child)
		yield {app: [child.pid] + ([stack.pid("postgres")] if app == "select" else [])
		    for app, child in children.items() if child.poll() is None}
	finally:
		for child in children.values():
			if child in stack.children:
				stack.stop(child)


# The measurement

def load(ctx, name, port, host, question, n, pids):
	"""A function that asks for a while and returns what wrk saw, and the CPU time of these processes."""
	def once():
		before = cpu_seconds(pids)
		done = subprocess.run(["wrk", "-t1", "-c16", f"-d1s", "-s", str(HERE / "web" / "wrk.lua"),
		    f"http://127.0.0.1:{port}", "--", host, question, str(n)],
		    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
		seen = json.loads(done.stdout.splitlines()[-1])
		seen["cpu_s"] = cpu_seconds(pids) - before
		seen["per_cpu_s"] = seen["requests"] / max(seen["cpu_s"], 0.01)
		if seen["errors"] or not seen["requests"]:
			raise RuntimeError(f"{host}: {question}: {seen}")
		ctx.raw.append({"part": ctx.part, "server": name, "question": question, "origins": n, **seen})
		return seen
	return once


def subjects(stack, servers, children, n):
	"""{name: (port, host, pids)}"""
	port, nginx = servers["nginx"]
	ours = [stack.pid("responder"), stack.pid("syncd")]
	found = {kind: (port, f"{kind}-{n}", [nginx, *ours]) for kind in OURS}
	found["off"] = port, "off", [nginx]
	found["map"] = port, f"map-{n}", [nginx]
	for app, pids in children.items():
		behind = app.removeprefix("plain-")
		found[app] = (port, app, [nginx, *pids]) if behind == app else (port, f"ours-{n}-{behind}", [nginx, *ours, *pids])
	if "lighttpd" in servers:
		found["lighttpd"] = servers["lighttpd"][0], f"ours-{n}", [servers["lighttpd"][1], *ours]
		found["lighttpd_off"] = servers["lighttpd_off"][0], "off", [servers["lighttpd_off"][1]]
	return found


def is_asked(ctx, name, n, question):
	"""Not everything at every size; see above."""
	if question == "preflight" and (name in ("cached", "lighttpd_off") or name.startswith("plain-")):
		return False	# the cache is for the check; lighttpd without us answers none; they do not reach the application
	if ctx.scale == "smoke":
		return name in OURS
	if question == "preflight":
		return n == 1000 or name != "lighttpd" and ctx.scale == "full"
	if name.startswith("plain-"):
		return n >= 1000 and ctx.scale == "full"
	return n == 1000 or not name.startswith("lighttpd")


def checked(ctx, found, n, question):
	right = {}
	for name, at in found.items():
		if not is_asked(ctx, name, n, question):
			continue
		fault = wrong(*at[:2], n, question, name in ("off", "lighttpd_off"))
		if not fault:
			right[name] = at
		elif name not in ("map", *APPS):
			raise RuntimeError(f"{at[1]}: {fault}")
		else:
			ctx.absent(NGINX[name], f"gives a wrong answer: {fault}")
	return right


def compare(ctx, seen, n, question):
	of = lambda name: [s["per_cpu_s"] for s in seen[name]]	# noqa: E731
	pairs = [(kind, peer, text) for kind in OURS for peer, text in NGINX.items() if kind == "ours" or peer in ("off", "map")]
	pairs += [(f"plain-{app}", app, f"{APPS[app]}, its own middleware") for app in BEHIND]
	pairs.append(("lighttpd", "lighttpd_off", "lighttpd, CORS off"))
	for kind, peer, text in pairs:
		if kind in seen and (peer in seen or peer.endswith("off")):
			ctx.row(f"{question}, {sized(n)}, {NAMES[kind]}", "requests/CPU s", of(kind), *((text, of(peer)) if peer in seen else ()))


def details(ctx, seen, question):
	"""seen: {n: {name: [...]}}. Everybody's speed and latencies; the plot."""
	lines, curves = [], {}
	names = {"ours": "corscache", "cached": "corscache, fastcgi_cache", **NGINX, **{f"plain-{app}": f"corscache before {app}" for app in BEHIND},
	    "lighttpd": "corscache, lighttpd", "lighttpd_off": "lighttpd, CORS off"}
	for name, text in names.items():
		for n in [n for n in seen if name in seen[n]]:
			middle = lambda field: statistics.median(s[field] for s in seen[n][name])	# noqa: E731
			lines.append([text, str(n), *(number(middle(field)) for field in ("per_cpu_s", "p50_us", "p99_us", "p999_us"))])
			if name in PLOTTED:
				curves.setdefault(PLOTTED[name], []).append((n, middle("per_cpu_s")))
	ctx.table({"preflight": "Preflights", "actual": "Actual requests"}[question] + ", medians", ["who answers", "origins", "requests/CPU s", "p50 us", "p99 us", "p99.9 us"], lines)
	title = {"preflight": "Preflights answered", "actual": "A tiny page with CORS headers, served"}[question]
	ctx.plot(f"web-{question}", f"{title} through nginx", "origins", "requests per CPU second", curves)


def insert(stack, sizes):
	stack.sql("INSERT INTO cors.policies (name, methods, headers, max_age) VALUES ('web', '{GET,PUT,DELETE}', '{content-type,x-token}', 600);" +
	    "".join(f"INSERT INTO cors.origins (realm, origin, policy) SELECT 'n{n}', 'https://o' || i || '.example.com', 'web'"
	    f" FROM generate_series(1, {n}) i;" for n in sizes) + "ANALYZE cors.origins")


def asked(ctx, n, question, right, rounds):
	"""{name: what each round saw}. A round that is not counted warms compilers and caches up first."""
	loads = {name: load(ctx, name, *at[:2], question, n, at[2]) for name, at in right.items()}
	if rounds > 1:
		for name in set(loads) - {"off", "map", "lighttpd_off"}:
			loads[name]()
	return ctx.interleave(rounds, **loads)


def measure_with(ctx, stack, servers, sizes):
	apps, place = ({}, None) if ctx.scale == "smoke" else prepare_apps(ctx)
	insert(stack, sizes)
	running_servers = start_servers(stack, servers, sizes)
	port = running_servers["nginx"][0]
	for n in sizes:
		wait_for(f"{n} origins", lambda: wrong(port, f"ours-{n}", n, "preflight", False) is None)
	seen = {"preflight": {}, "actual": {}}
	for n in sizes:
		ctx.say(sized(n))
		with running(ctx, stack, apps, place, n, port) as children:
			for question in seen:
				right = checked(ctx, subjects(stack, running_servers, children, n), n, question)
				if right and find("wrk"):
					seen[question][n] = asked(ctx, n, question, right, ctx.pick(5, 2, 1))
					compare(ctx, seen[question][n], n, question)
	if not find("wrk"):
		ctx.absent("wrk", "not installed: answers were checked, nothing was measured")
		return
	for question in seen:
		details(ctx, seen[question], question)


def measure(ctx):
	if not find("nginx"):
		ctx.absent("nginx", "not installed")
		return
	servers = ["nginx"]
	if ctx.scale != "smoke":
		if find("lighttpd") and pathlib.Path("/usr/lib/lighttpd/mod_magnet.so").exists():
			servers.append("lighttpd")
		else:
			ctx.absent("lighttpd", "lighttpd and lighttpd-modules-lua are not installed")
	stack = Stack(ctx, servers)
	if stack.up == 77:
		ctx.absent("corscache", "tests/stack: a server is not installed")
		return
	if stack.up:
		raise RuntimeError("tests/stack up failed")
	try:
		measure_with(ctx, stack, servers, ctx.pick((1, 1000, 100000), (1000, 100000), (1000,)))
	finally:
		stack.close()

# SPDX-License-Identifier: BSD-2-Clause
"""responder -- FastCGI over a unix socket: corscache-responder against programs that answer a constant.

Empty classic: libfcgi's threads in FCGX_Accept_r; a kept connection holds its
thread, so others wait for ever ("served 1 of 16"). Empty epoll: our own
serve.c; what ours costs beyond it is the decision. Look-up alone: empty epoll
that reads the parameters, parses the origin and finds its row, but answers the
same constant: no decision can be cheaper than that. Bare: a read and a write of
the same bytes, without FastCGI: nothing can be cheaper, so where bare is not
twice as fast as empty classic, nothing is. Over kept connections it has, like
empty classic, a thread for each, and no row where it could not serve all.

The load is one thread on the first CPU, and costs as much as the server. A
server of one thread has the last CPU for itself, and its client spins: else a
faster server would be cheaper for its busier client, which it need not wake.
With two threads on two CPUs, requests/s tell as much of the load as of the
server: there the server's CPU time tells, and the row "with the load's" what
requests/s can show of it.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import time

order = 20

PEERS = {"classic": "empty classic", "epoll": "empty epoll", "bare": "bare"}
TARGETS = {"classic": 2.0, "epoll": 0.9}	# of requests/s
MANY, FEW = 100000, 100				# origins
POINTS = 1, 16, 256				# connections that have rows; the plots have more
CPUS = sorted(os.sched_getaffinity(0))


@contextlib.contextmanager
def on_cpus(cpus):
	"""Programs started inside run there."""
	os.sched_setaffinity(0, cpus)
	try:
		yield
	finally:
		os.sched_setaffinity(0, CPUS)


def answers(path):
	with socket.socket(socket.AF_UNIX) as s:
		try:
			s.connect(path)
		except OSError:
			return False
	return True


class NotStarted(RuntimeError):
	pass


class Server:
	"""One of the five programs, on a socket of its own. table: (directory, origins)."""

	def __init__(self, ctx, name, table, threads, preload=None):
		self.ctx, self.name, self.directory = ctx, name, pathlib.Path(ctx.directory())
		table, self.origins = table
		self.socket = str(self.directory / "s")
		self.is_alone = threads == 1 and len(CPUS) > 1
		empty = self.directory / "empty.conf"
		empty.touch()
		argv = {
			"ours": [ctx.build / "corscache-responder", "-c", empty, "-o", f"table.path={table}", "--socket", self.socket,
			    "--threads", threads],
			"classic": [ctx.build / "bench/empty_classic", self.socket, threads],
			"epoll": [ctx.build / "bench/empty_epoll", self.socket, threads, table],
			"find": [ctx.build / "bench/find_epoll", self.socket, threads, table],
			"bare": [ctx.build / "bench/bare", self.socket, threads],
		}[name]
		with on_cpus(CPUS[-1:] if self.is_alone else CPUS), open(self.directory / "log", "w") as log:
			self.process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
			    env={**os.environ, **(preload or {})})
		self.wait_until_up()

	def wait_until_up(self):
		end = time.monotonic() + 20
		while not answers(self.socket):
			if self.process.poll() is not None or time.monotonic() > end:
				self.stop()
				raise NotStarted(f"{self.name} did not start: {(self.directory / 'log').read_text()}")
			time.sleep(0.01)

	def load(self, connections, kept, **options):
		"""fcgi_load's figures."""
		flags = ["--kept"] * kept + ["--constant"] * (self.name != "ours") + ["--spin"] * self.is_alone
		with on_cpus(CPUS[:1]):
			line, = self.ctx.run("fcgi_load", f"--socket={self.socket}", f"--pid={self.process.pid}", f"--origins={self.origins}",
			    f"--connections={connections}", *flags, *(f"--{k.replace('_', '-')}={v}" for k, v in options.items()), timeout=120)
		if line["wrong"]:
			raise RuntimeError(f"{self.name}: {line['wrong']} wrong answers of {line['requests']}")
		per = lambda amount: amount / max(line["requests"], 1)
		line.update(server=self.name, cpu_us=per(1e6 * line["cpu_s"]), both_us=per(1e6 * (line["cpu_s"] + line["own_cpu_s"])),
		    switches=per(line["voluntary_switches"] + line["involuntary_switches"]))
		return line

	def stop(self):
		if self.process.poll() is None:
			self.process.send_signal(signal.SIGTERM)
			try:
				self.process.wait(10)
			except subprocess.TimeoutExpired:
				self.process.kill()
				self.process.wait()


@contextlib.contextmanager
def servers(ctx, names, table, threads, preload=None):
	with contextlib.ExitStack() as stack:
		started = {}
		for name in names:
			started[name] = Server(ctx, name, table, threads, preload)
			stack.callback(started[name].stop)
		yield started


def shape(kept):
	return "kept" if kept else "short"


def load_in_turn(ctx, started, kept, connections):
	options = {"seconds": ctx.pick(0.35, 0.25, 0.05), "warm_up": ctx.pick(0.05, 0.05, 0.02)}
	return ctx.interleave(ctx.pick(5, 3, 1), **{name: lambda s=s: s.load(connections, kept, **options) for name, s in started.items()})


def rows(ctx, what, connections, lines):
	"""The rows for one shape of load. Bare has one where it served all connections."""
	of = lambda name, field: [line[field] for line in lines[name]]
	compare = lambda what, unit, field, peer, **target: ctx.row(what, unit, of("ours", field), text[peer], of(peer, field), **target)
	served = {name: min(of(name, "served")) for name in lines}
	text = {peer: PEERS[peer] + f", served {served[peer]} of {connections}" * (served[peer] < connections) for peer in lines if peer in PEERS}
	for peer in (peer for peer in TARGETS if peer in text):
		compare(what, "requests/s", "requests_per_s", peer, at_least=TARGETS[peer])
	if "find" in served:
		ctx.row(f"{what}: look-up alone", "requests/s", of("find", "requests_per_s"), text["epoll"], of("epoll", "requests_per_s"))
	if "bare" in served and served["bare"] == connections:
		ctx.row(f"{what}: bare, the limit", "requests/s", of("bare", "requests_per_s"), text["classic"], of("classic", "requests_per_s"))
	for peer in text:
		if peer in TARGETS or served[peer] == connections:
			compare(f"{what}: CPU", "us/request", "cpu_us", peer)
	if "classic" in text:
		compare(f"{what}: switches", "/request", "switches", "classic")


def speed(ctx, started, threads, kept, connections):
	"""Rows at some points; the median requests/s of each program at all."""
	what = f"{shape(kept)}, {connections} connection{'s'[:connections > 1]}, {threads} thread{'s'[:threads > 1]}"
	ctx.say(what)
	lines = load_in_turn(ctx, started, kept, connections)
	if connections in POINTS:
		rows(ctx, what, connections, lines)
		if threads > 1:
			both = lambda name: [line["both_us"] for line in lines[name]]
			ctx.row(f"{what}: CPU with the load's", "us/request", both("ours"), PEERS["classic"], both("classic"))
	return {name: statistics.median(line["requests_per_s"] for line in lines[name]) for name in started}


def few_origins(ctx):
	"""What of the decision is memory: among few origins every look-up finds its lines in the cache."""
	with servers(ctx, ("ours", "find", "epoll"), fill(ctx, FEW), 1) as started:
		for kept in (False, True):
			what = f"{shape(kept)}, 16 connections, 1 thread, {FEW} origins"
			ctx.say(what)
			rows(ctx, what, 16, load_in_turn(ctx, started, kept, 16))


# ---- what a request costs in calls ----

def count_syscalls(ctx, server, kept, requests):
	"""Calls a request, by name; None where strace cannot."""
	summary = server.directory / "strace"
	tracer = subprocess.Popen(["strace", "-f", "-c", "-U", "name,calls", "-o", str(summary), "-p", str(server.process.pid)],
	    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
	try:
		said = tracer.stderr.readline()
		if "attached" not in said:
			ctx.absent("syscalls per request", f"strace: {said.strip()}")
			return None
		server.load(1, kept, requests=requests, seconds=30)
		tracer.send_signal(signal.SIGINT)
		tracer.wait(10)
	finally:
		if tracer.poll() is None:
			tracer.kill()
		tracer.communicate()
	calls = {}
	for line in summary.read_text().splitlines():
		words = line.split()
		if len(words) == 2 and words[1].isdigit() and words[0] != "total":
			calls[words[0]] = int(words[1]) / requests
	return calls


def syscalls(ctx, table, requests):
	if shutil.which("strace") is None:
		ctx.absent("syscalls per request", "strace is not installed (Debian package strace)")
		return
	with servers(ctx, ("ours", *PEERS), table, 1) as started:
		for kept in (False, True):
			calls = {name: count_syscalls(ctx, s, kept, requests) for name, s in started.items()}
			if None in calls.values():
				return
			for peer, text in PEERS.items():
				ctx.row(f"{shape(kept)}: system calls", "/request", [sum(calls["ours"].values())], text, [sum(calls[peer].values())])
			names = [f"{n} {x:.1f}" for n, x in sorted(calls["ours"].items(), key=lambda i: -i[1]) if x >= 0.05]
			ctx.say(f"{shape(kept)}: ours calls {', '.join(names)}")


def count_allocations(server, counter, kept, requests):
	read = lambda: struct.unpack("=Q", counter.read_bytes())[0]
	server.load(1, kept, requests=100)	# what is allocated once
	before = read()
	server.load(1, kept, requests=requests, seconds=30)
	return (read() - before) / requests


def own(ours, empty):
	"""libfcgi makes one per parameter of either; a call or two at the edge of the count are no request's."""
	return round(ours - empty, 2)


def allocations(ctx, table, requests):
	counted = {}
	for name in ("ours", "epoll"):
		counter = pathlib.Path(ctx.directory()) / "allocations"
		counter.write_bytes(bytes(8))
		preload = {"LD_PRELOAD": str(ctx.build / "bench/allocations.so"), "BENCH_ALLOCATIONS": str(counter)}
		try:
			with servers(ctx, (name,), table, 1, preload) as started:
				counted[name] = {kept: count_allocations(started[name], counter, kept, requests) for kept in (False, True)}
		except NotStarted as e:		# a sanitizer's build wants to be first
			ctx.absent("allocations per request", str(e).strip())
			return
	if not counted["epoll"][False]:
		ctx.absent("allocations per request", "libfcgi's own are not seen: another malloc is in front")
		return
	for kept in (False, True):
		ours, empty = counted["ours"][kept], counted["epoll"][kept]
		ctx.row(f"{shape(kept)}: allocations, libfcgi's and ours", "/request", [ours], PEERS["epoll"], [empty])
		ctx.row(f"{shape(kept)}: allocations of our own", "/request", [own(ours, empty)], at_most=0)


def fill(ctx, origins):
	table = ctx.directory()
	ctx.run("fcgi_load", f"--fill={table}", f"--origins={origins}")
	return table, origins


def measure(ctx):
	table = fill(ctx, MANY)
	points = {}
	for threads in ctx.pick((1, 2), (1, 2), (2,)):
		with servers(ctx, ("ours", *(("find",) * (threads == 1)), *PEERS), table, threads) as started:
			for kept in (False, True):
				for connections in ctx.pick((1, 2, 4, 16, 64, 256), (1, 16), (16,)):
					points[kept, threads, connections] = speed(ctx, started, threads, kept, connections)
	few_origins(ctx)
	syscalls(ctx, table, ctx.pick(5000, 2000, 200))
	allocations(ctx, table, ctx.pick(20000, 5000, 200))
	for kept in (False, True):
		curves = {f"{'corscache' if name == 'ours' else PEERS[name]}, {n} thread{'s'[:n > 1]}":
		    [(c, y[name]) for (k, t, c), y in points.items() if (k, t) == (kept, n)]
		    for n in (1, 2) for name in ("ours", *TARGETS)}
		ctx.plot(f"responder-{shape(kept)}", f"FastCGI, {shape(kept)} connections", "connections", "requests/s",
		    {legend: curve for legend, curve in curves.items() if curve}, "x")

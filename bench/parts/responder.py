# SPDX-License-Identifier: BSD-2-Clause
"""responder -- FastCGI over a unix socket: corscache-responder against two programs that answer a constant.

Empty classic: libfcgi's threads in FCGX_Accept_r; a kept connection holds its
thread, so others wait for ever ("served 1 of 16"). Empty epoll: our own
serve.c; what ours costs beyond it is the decision. The load comes from one
thread on the first CPU; on short connections it costs about as much as the
server, so requests per second of the server's own CPU time tell more than
requests per second. A server of one thread runs on the last CPU, and its
client spins: else a faster server is cheaper for its busier client, which
it need not wake.
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

PEERS = {"classic": "empty classic", "epoll": "empty epoll"}
TARGETS = {"classic": 2.0, "epoll": 0.9}
ORIGINS = 100000
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
	"""One of the three programs, on a socket of its own."""

	def __init__(self, ctx, name, table, threads, preload=None):
		self.ctx, self.name, self.directory = ctx, name, pathlib.Path(ctx.directory())
		self.socket = str(self.directory / "s")
		self.is_alone = threads == 1 and len(CPUS) > 1
		empty = self.directory / "empty.conf"
		empty.touch()
		argv = {
			"ours": [ctx.build / "corscache-responder", "-c", empty, "-o", f"table.path={table}", "--socket", self.socket,
			    "--threads", threads],
			"classic": [ctx.build / "bench/empty_classic", self.socket, threads],
			"epoll": [ctx.build / "bench/empty_epoll", self.socket, threads, table],
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
			line, = self.ctx.run("fcgi_load", f"--socket={self.socket}", f"--pid={self.process.pid}", f"--origins={ORIGINS}",
			    f"--connections={connections}", *flags, *(f"--{k.replace('_', '-')}={v}" for k, v in options.items()), timeout=120)
		if line["wrong"]:
			raise RuntimeError(f"{self.name}: {line['wrong']} wrong answers of {line['requests']}")
		line.update(server=self.name, cpu_s=line["user_s"] + line["system_s"],
		    switches=line["voluntary_switches"] + line["involuntary_switches"])
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


def per_cpu_second(lines):
	return [line["requests"] / max(line["cpu_s"], 0.01) for line in lines]	# of a clock that ticks every 10 ms


def speed(ctx, started, threads, kept, connections):
	"""The rows for one shape of load; the median requests/s of each."""
	options = {"seconds": ctx.pick(1, 0.5, 0.05), "warm_up": ctx.pick(0.2, 0.1, 0.02)}
	lines = ctx.interleave(ctx.pick(7, 5, 1), **{name: lambda s=s: s.load(connections, kept, **options) for name, s in started.items()})
	what = f"{shape(kept)}, {connections} connection{'s'[:connections > 1]}, {threads} thread{'s'[:threads > 1]}"
	of = lambda name, field: [line[field] for line in lines[name]]
	for peer, text in PEERS.items():
		served = min(of(peer, "served"))
		text += f", served {served} of {connections}" if served < connections else ""
		ctx.row(what, "requests/s", of("ours", "requests_per_s"), text, of(peer, "requests_per_s"), at_least=TARGETS[peer])
		ctx.row(what, "requests/CPU s", per_cpu_second(lines["ours"]), text, per_cpu_second(lines[peer]))
	for field, name in (("p50_us", "p50"), ("p99_us", "p99")):
		ctx.row(f"{what}: {name}", "us", of("ours", field), PEERS["epoll"], of("epoll", field))
	switches = lambda name: [line["switches"] / line["requests"] for line in lines[name]]
	ctx.row(f"{what}: switches", "/request", switches("ours"), PEERS["epoll"], switches("epoll"))
	ctx.row(f"{what}: CPU", "us/request", [1e6 / x for x in per_cpu_second(lines["ours"])])
	return {name: statistics.median(of(name, "requests_per_s")) for name in started}


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
	for name in ("ours", *PEERS):
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


def measure(ctx):
	table = ctx.directory()
	ctx.run("fcgi_load", f"--fill={table}", f"--origins={ORIGINS}")
	points = {}
	for threads in ctx.pick((1, 2), (1, 2), (2,)):
		with servers(ctx, ("ours", *PEERS), table, threads) as started:
			for kept in (False, True):
				for connections in ctx.pick((1, 2, 4, 16, 64, 256), (1, 16, 256), (4,)):
					ctx.say(f"{shape(kept)}, {connections} connections, {threads} threads")
					points[kept, threads, connections] = speed(ctx, started, threads, kept, connections)
	syscalls(ctx, table, ctx.pick(5000, 2000, 200))
	allocations(ctx, table, ctx.pick(20000, 5000, 200))
	for kept in (False, True):
		curves = {f"{'corscache' if name == 'ours' else PEERS[name]}, {n} thread{'s'[:n > 1]}":
		    [(c, y[name]) for (k, t, c), y in points.items() if (k, t) == (kept, n)]
		    for n in (1, 2) for name in ("ours", *PEERS)}
		ctx.plot(f"responder-{shape(kept)}", f"FastCGI, {shape(kept)} connections", "connections", "requests/s",
		    {legend: curve for legend, curve in curves.items() if curve}, "x")

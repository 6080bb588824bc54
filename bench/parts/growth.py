# SPDX-License-Identifier: BSD-2-Clause
"""growth -- what more realms, policies, readers, connections and threads cost.

What more origins cost is in part lookup. Memory of the responder is what only it
uses, without the table that all share (RssAnon).
"""

import pathlib
import re
import shutil
import statistics

from parts.lookup import PLAIN, number, run
from parts.responder import fill, servers

order = 60


def by(ctx, what, most):
	points, origins = {}, ctx.pick(10**6, 10**5, 1000)
	for n in [x for x in (1, 10, 100, 1000, 10**4, 10**5) if x <= most]:
		ctx.say(f"{n} {what}")
		builds, times = run(ctx, origins, rounds=ctx.pick(5, 3, 1), lookups=ctx.pick(100000, 50000, 1000), patterns=100,
		    questions="hit,miss", subjects="ours", **{what: n})
		points[n] = {q: times["ours", q, *PLAIN] for q in ("hit", "miss")}
		points[n]["memory"] = [builds["ours"]["bytes"] / origins]
	first, last = points[min(points)], points[max(points)]
	for key, unit in (("hit", "ns"), ("miss", "ns"), ("memory", "bytes/origin")):
		ctx.row(f"{number(origins)} origins, {max(points)} {what}: {key}", unit, last[key], f"1 {what}", first[key])
	curve = lambda key: [(n, statistics.median(p[key])) for n, p in points.items()]
	ctx.plot(f"lookup-{what}", f"One look-up among {number(origins)} origins", what, "ns", {q: curve(q) for q in ("hit", "miss")}, "x")
	ctx.plot(f"memory-{what}", f"Memory, {number(origins)} origins", what, "bytes per origin", {"corscache": curve("memory")}, "x")


def by_readers(ctx):
	points = {}
	for readers in (1, 2, 4):
		directory = ctx.directory()
		lines = ctx.run("storm", f"--dir={directory}", f"--origins={ctx.pick(10**5, 10**5, 1000)}", "--phases=idle", "--no-control",
		    f"--readers={readers}", f"--rounds={ctx.pick(5, 3, 1)}", f"--seconds={ctx.pick(1, 0.5, 0.1)}")
		shutil.rmtree(directory, ignore_errors=True)
		points[readers] = {field: [line[field] for line in lines] for field in ("lookups_per_s", "lookups_per_cpu_s")}
		ctx.row(f"{readers} readers: all", "look-ups/s", points[readers]["lookups_per_s"])
		ctx.row(f"{readers} readers: each", "look-ups/CPU s", points[readers]["lookups_per_cpu_s"], "1 reader", points[1]["lookups_per_cpu_s"])
	curve = lambda field: [(n, statistics.median(p[field])) for n, p in points.items()]
	ctx.plot("readers", "Reader processes", "readers", "look-ups per second",
	    {"all, per second": curve("lookups_per_s"), "each, per second of its CPU time": curve("lookups_per_cpu_s")}, "")


def private_kb(pid):
	return int(re.search(r"RssAnon:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])


def served(ctx, server, connections):
	"""What it does for that many kept connections, and what it holds after them."""
	line = server.load(connections, True, seconds=ctx.pick(0.5, 0.3, 0.05), warm_up=ctx.pick(0.2, 0.1, 0.02))
	return {"requests": line["requests_per_s"], "memory": private_kb(server.process.pid)}


def plot_server(ctx, what, points):
	"""points: {n: [one of served(), ...]}"""
	curve = lambda key: [(n, statistics.median(line[key] for line in lines)) for n, lines in points.items()]
	of = lambda n, key: [line[key] for line in points[n]]
	first, last = min(points), max(points)
	for key, unit in (("requests", "requests/s"), ("memory", "kB")):
		ctx.row(f"responder, {last} {what}: {key}", unit, of(last, key), f"{first} {what}", of(first, key))
	ctx.plot(f"responder-{what}", "Responder, kept connections", what, "requests per second", {"corscache-responder": curve("requests")}, "x")
	ctx.plot(f"responder-memory-{what}", "Memory that only the responder uses", what, "kB", {"corscache-responder": curve("memory")}, "x")


def by_connections(ctx, table):
	points = {}
	with servers(ctx, ("ours",), table, 2) as started:
		for n in ctx.pick((1, 4, 16, 64, 256, 1000), (1, 16, 256, 1000), (1, 4)):
			ctx.say(f"{n} connections")
			points[n] = [served(ctx, started["ours"], n) for _ in range(ctx.pick(5, 3, 1))]
	plot_server(ctx, "connections", points)


def by_threads(ctx, table):
	points = {}
	for n in ctx.pick((1, 2, 4, 8, 16), (1, 2, 4, 8), (2,)):
		ctx.say(f"{n} threads")
		with servers(ctx, ("ours",), table, n) as started:
			points[n] = [served(ctx, started["ours"], 64) for _ in range(ctx.pick(5, 3, 1))]
	plot_server(ctx, "threads", points)


def measure(ctx):
	for what in ("realms", "policies"):
		by(ctx, what, ctx.pick(10**5, 10**5, 10))
	by_readers(ctx)
	table = fill(ctx, 10**5)
	by_connections(ctx, table)
	by_threads(ctx, table)

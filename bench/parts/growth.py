# SPDX-License-Identifier: BSD-2-Clause
"""growth -- what more origins, realms, policies and readers cost."""

import shutil
import statistics

from parts.lookup import number, run

order = 60

NAMES = {"two_reads": "limit: hash + 2 reads", "ours": "corscache", "glib": "GHashTable", "lmdb": "LMDB", "list": "list, strcmp"}


def decades(first, last):
	return [10**e for e in range(first, last + 1)]


def hit_ns(times, subject):
	values = times.get((subject, "hit", "uniform", "alone"))
	return statistics.median(values) if values else None


def curves(points, names):
	"""points: [(x, {subject: y})]; those without a value are left out."""
	return {text: [(x, y[s]) for x, y in points if y.get(s) is not None] for s, text in names.items()
	    if any(y.get(s) is not None for _, y in points)}


def by_origins(ctx, options):
	times, memory, seconds = [], [], []
	for n in decades(3, ctx.pick(7, 6, 4)):
		ctx.say(f"{n} origins")
		builds, measured = run(ctx, n, **options, questions="hit", subjects=",".join(NAMES))
		times.append((n, {s: hit_ns(measured, s) for s in NAMES}))
		memory.append((n, {s: b["bytes"] / n for s, b in builds.items()}))
		seconds.append((n, {s: b["seconds"] for s, b in builds.items()}))
		ctx.row(f"{number(n)} origins: hit, alone", "ns", measured["ours", "hit", "uniform", "alone"],
		    NAMES["two_reads"], measured["two_reads", "hit", "uniform", "alone"])
		ctx.row(f"{number(n)} origins: memory", "bytes/origin", [builds["ours"]["bytes"] / n])
		ctx.row(f"{number(n)} origins: filling a table", "s", [builds["ours"]["seconds"]])
	ctx.plot("lookup-origins", "One look-up, alone: hit, uniform", "origins", "ns", curves(times, NAMES))
	ctx.plot("memory-origins", "Memory", "origins", "bytes per origin", curves(memory, NAMES))
	ctx.plot("build-origins", "Filling an empty table", "origins", "seconds", curves(seconds, NAMES))


def by(ctx, what, most, options):
	points, memory = [], []
	origins = ctx.pick(10**6, 10**5, 1000)
	for n in [x for x in decades(0, 5) if x <= most]:
		ctx.say(f"{n} {what}")
		builds, times = run(ctx, origins, **options, **{what: n}, questions="hit,miss", subjects="ours")
		at = {q: times["ours", q, "uniform", "alone"] for q in ("hit", "miss")}
		points.append((n, {q: statistics.median(v) for q, v in at.items()}))
		memory.append((n, {"ours": builds["ours"]["bytes"] / origins}))
		ctx.row(f"{number(origins)} origins, {n} {what}: hit", "ns", at["hit"])
		ctx.row(f"{number(origins)} origins, {n} {what}: miss", "ns", at["miss"])
	ctx.plot(f"lookup-{what}", f"One look-up, alone, among {number(origins)} origins", what, "ns", curves(points, {"hit": "hit", "miss": "miss"}), "x")
	ctx.plot(f"memory-{what}", f"Memory, {number(origins)} origins", what, "bytes per origin", curves(memory, {"ours": "corscache"}), "x")


def by_readers(ctx):
	points = []
	for readers in (1, 2, 4):
		directory = ctx.directory()
		lines = ctx.run("storm", f"--dir={directory}", f"--origins={ctx.pick(10**5, 10**5, 1000)}", "--phases=idle", "--no-control",
		    f"--readers={readers}", f"--rounds={ctx.pick(5, 3, 1)}", f"--seconds={ctx.pick(2, 1, 0.1)}")
		shutil.rmtree(directory, ignore_errors=True)
		total = [line["lookups_per_s"] for line in lines]
		points.append((readers, {"wall": statistics.median(total), "cpu": statistics.median(line["lookups_per_cpu_s"] for line in lines)}))
		ctx.row(f"{readers} readers together", "look-ups/s", total)
		ctx.row(f"{readers} readers, each", "look-ups/CPU s", [line["lookups_per_cpu_s"] for line in lines])
	ctx.plot("readers", "Reader processes", "readers", "look-ups per second",
	    curves(points, {"wall": "together, per second", "cpu": "each, per second of its CPU time"}), "")


def measure(ctx):
	options = {"rounds": ctx.pick(5, 3, 1), "lookups": ctx.pick(200000, 100000, 1000), "patterns": 100}
	by_origins(ctx, options)
	by(ctx, "realms", ctx.pick(10**5, 10**5, 10), options)
	by(ctx, "policies", ctx.pick(10**5, 10**5, 10), options)
	by_readers(ctx)

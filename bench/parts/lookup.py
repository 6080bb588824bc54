# SPDX-License-Identifier: BSD-2-Clause
"""lookup -- one look-up in process, as answer() does it: origin_parse + reader_find + reader_is_current.

Limits: hash the key, then two dependent reads at random over as many bytes as
the layout needs, a word and a record (a hit), or one (a miss), in the kind of memory that the table
has: huge pages, where the kernel has some. In pages of 4 KiB, which a program
gets that does not ask, the same reads cost more; LMDB has those. Alone: nothing
of the next look-up begins before this one is done, as in a request; tight: the
CPU may overlap them. The peers get a key that is ready: the row "parsed before"
has ours on the same terms, where the others have the parse and its checks in it.
"""

import collections
import shutil
import statistics

order = 10

NAMES = {
	"two_reads": "limit: hash + 2 reads", "two_small_reads": "hash + 2 reads, pages of 4 KiB", "one_read": "limit: hash + 1 read", "ours": "corscache",
	"ours_find": "corscache, origin parsed before", "glib": "GLib GHashTable, private memory", "lmdb": "LMDB mdb_get, reused txn",
	"list": "list of strings, strcmp", "postgres": "PostgreSQL, prepared SELECT",
}
WILD = {
	"wild1": "1 label below a pattern", "wild4": "4 labels below a pattern", "wild20": "20 labels below a pattern",
	"deep20": "1 label below a pattern of 20",
}
PLAIN = ("uniform", "alone")


def number(n):
	return f"{n // 10**6} M" if n >= 10**6 else f"{n // 1000} k"


def run(ctx, origins, **options):
	"""({build: its line}, {(subject, question, distribution, mode): [ns, ...]})"""
	directory = ctx.directory()
	try:
		lines = ctx.run("lookup", f"--dir={directory}", f"--origins={origins}", *(f"--{k}={v}" for k, v in options.items()))
	finally:
		shutil.rmtree(directory, ignore_errors=True)
	builds, times = {}, collections.defaultdict(list)
	for line in lines:
		if "ns" in line:
			times[line["subject"], line["question"], line["distribution"], line["mode"]].append(line["ns"])
		else:
			builds[line["build"]] = line
	return builds, times


def hits(ctx, origins, times):
	at = lambda subject, question: times.get((subject, question, *PLAIN))
	what = lambda question: f"{question}, {number(origins)}"
	aim = origins == 10**6
	ctx.row(what("hit"), "ns", at("ours", "hit"), NAMES["two_reads"], at("two_reads", "hit"), at_most=1.25 if aim else None)
	for peer in ("two_small_reads", "lmdb", "glib", "list", "postgres"):
		if at(peer, "hit"):
			ctx.row(what("hit"), "ns", at("ours", "hit"), NAMES[peer], at(peer, "hit"))
	if at("lmdb", "hit") and origins >= 10**6:
		ctx.row(what("hit") + ", parsed before", "ns", at("ours_find", "hit"), NAMES["lmdb"], at("lmdb", "hit"), at_most=1 / 3)
		ctx.row(what("the limit itself"), "ns", at("two_reads", "hit"), NAMES["lmdb"], at("lmdb", "hit"))
	ctx.row(what("miss"), "ns", at("ours", "miss"), NAMES["one_read"], at("one_read", "miss"), at_most=1.5 if aim else None)
	if at("lmdb", "miss"):
		ctx.row(what("miss"), "ns", at("ours", "miss"), NAMES["lmdb"], at("lmdb", "miss"))


def patterns(ctx, origins, times):
	at = lambda question: times["ours", question, *PLAIN]
	for question, text in WILD.items():
		ctx.row(f"hit, {number(origins)}, {text}", "ns", at(question), "our exact hit", at("hit"),
		    at_most=3 if question in ("wild20", "deep20") else None)
	ctx.row(f"miss, {number(origins)}, realm with patterns", "ns", at("wildmiss"), "our exact hit", at("hit"))


def sizes(ctx, origins, builds):
	ours = builds["ours"]
	for peer in ("lmdb", "glib", "postgres"):
		if peer in builds:
			ctx.row(f"fill {number(origins)}", "s", [ours["seconds"]], NAMES[peer], [builds[peer]["seconds"]])
			ctx.row(f"memory {number(origins)}", "bytes/origin", [ours["bytes"] / origins], NAMES[peer], [builds[peer]["bytes"] / origins])


def tables(ctx, measured):
	"""measured: {origins: times}"""
	for question, distribution, mode in (("hit", *PLAIN), ("miss", *PLAIN), ("hit", "zipf", "alone"), ("hit", "uniform", "tight")):
		cell = lambda times, subject: times.get((subject, question, distribution, mode))
		rows = [[name, *(f"{statistics.median(cell(times, subject)):.0f}" if cell(times, subject) else "" for times in measured.values())]
		    for subject, name in NAMES.items() if any(cell(times, subject) for times in measured.values())]
		if rows:
			ctx.table(f"{question}, {distribution}, {mode}: median ns", ["origins", *(number(n) for n in measured)], rows)


def plots(ctx, measured, built):
	hit = lambda s: [(n, statistics.median(t[s, "hit", *PLAIN])) for n, t in measured.items() if (s, "hit", *PLAIN) in t]
	build = lambda s, value: [(n, value(b[s], n)) for n, b in built.items() if s in b]
	names = {s: NAMES[s] for s in ("list", "lmdb", "glib", "ours", "two_reads")}
	ctx.plot("lookup-origins", "One look-up that finds its origin", "origins", "ns", {t: hit(s) for s, t in names.items() if hit(s)})
	for name, title, y, value in (("memory-origins", "Memory", "bytes per origin", lambda line, n: line["bytes"] / n),
	    ("fill-origins", "Filling an empty table", "seconds", lambda line, n: line["seconds"])):
		ctx.plot(name, title, "origins", y, {t: build(s, value) for s, t in names.items() if build(s, value)},
		    "x" if name == "memory-origins" else "xy")


def measure(ctx):
	conninfo = ctx.pick(ctx.postgres, lambda: None, ctx.postgres)()
	measured, built = {}, {}
	for origins in ctx.pick((10**3, 10**4, 10**5, 10**6, 10**7), (10**3, 10**4, 10**5, 10**6), (10**3,)):
		ctx.say(f"{number(origins)} origins")
		is_large = origins > 10**6
		options = {
			"patterns": max(100, origins // 10), "rounds": ctx.pick(5, 3, 1), "lookups": ctx.pick(100000, 50000, 1000),
			"subjects": ",".join(NAMES), "questions": ",".join(("hit", "miss", *(() if is_large else (*WILD, "wildmiss")))),
			"distributions": ctx.pick("uniform,zipf", "uniform", "uniform"), "modes": ctx.pick("alone,tight", "alone", "alone,tight"),
		}
		if conninfo and origins <= 10**6:
			options["postgres"] = conninfo
		built[origins], measured[origins] = run(ctx, origins, **options)
		hits(ctx, origins, measured[origins])
		if not is_large:
			patterns(ctx, origins, measured[origins])
		sizes(ctx, origins, built[origins])
	for peer, package in (("lmdb", "liblmdb-dev"), ("glib", "libglib2.0-dev")):
		if not any(peer in b for b in built.values()):
			ctx.absent(peer, f"not built in; install {package} and configure again")
	tables(ctx, measured)
	plots(ctx, measured, built)

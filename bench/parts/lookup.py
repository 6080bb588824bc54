# SPDX-License-Identifier: BSD-2-Clause
"""lookup -- one look-up in process: ours = origin_parse + reader_find + reader_is_current.

Limits: hash the key, then two dependent reads at random over as many bytes as
the layout needs (a hit), or one (a miss).
"""

import collections
import shutil

order = 10

PEERS = {
	"glib": "GLib GHashTable, private memory",
	"list": "list of strings, strcmp",
	"postgres": "PostgreSQL, prepared SELECT",
}
WILD = {
	"wild1": "1 label below a pattern", "wild4": "4 labels below a pattern", "wild20": "20 labels below a pattern",
	"deep20": "pattern of 20 labels",
}


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
		if "build" in line:
			builds[line["build"]] = line
		else:
			times[line["subject"], line["question"], line["distribution"], line["mode"]].append(line["ns"])
	return builds, times


def hits(ctx, origins, distribution, mode, times):
	at = lambda subject, question: times.get((subject, question, distribution, mode))
	name = f"{number(origins)} {distribution}, {mode}"
	aim = origins == 10**6 and distribution == "uniform" and mode == "alone"
	ctx.row(f"hit, {name}", "ns", at("ours", "hit"), "limit: hash + 2 reads", at("two_reads", "hit"), at_most=1.25 if aim else None)
	ctx.row(f"hit, {name}, origin parsed before", "ns", at("ours_find", "hit"), "limit: hash + 2 reads", at("two_reads", "hit"))
	if at("lmdb", "hit"):
		ctx.row(f"hit, {name}", "ns", at("ours", "hit"), "LMDB mdb_get, reused txn", at("lmdb", "hit"), at_most=1 / 3 if aim else None)
	for peer, text in PEERS.items():
		if at(peer, "hit"):
			ctx.row(f"hit, {name}", "ns", at("ours", "hit"), text, at(peer, "hit"))
	ctx.row(f"miss, {name}", "ns", at("ours", "miss"), "limit: hash + 1 read", at("one_read", "miss"), at_most=1.5 if aim else None)
	if at("lmdb", "miss"):
		ctx.row(f"miss, {name}", "ns", at("ours", "miss"), "LMDB mdb_get, reused txn", at("lmdb", "miss"))


def patterns(ctx, origins, times):
	at = lambda question: times["ours", question, "uniform", "alone"]
	for question, text in WILD.items():
		ctx.row(f"wildcard hit, {number(origins)}, {text}", "ns", at(question), "our exact hit", at("hit"),
		    at_most=3 if question in ("wild20", "deep20") and origins == 10**6 else None)
	ctx.row(f"miss, {number(origins)}, realm with patterns", "ns", at("wildmiss"), "our exact hit", at("hit"))


def sizes(ctx, origins, builds):
	ours = builds["ours"]
	for peer, text in (("lmdb", "LMDB"), ("glib", PEERS["glib"]), ("postgres", "PostgreSQL, COPY")):
		if peer in builds:
			ctx.row(f"build {number(origins)}", "s", [ours["seconds"]], text, [builds[peer]["seconds"]])
			ctx.row(f"memory {number(origins)}", "bytes/origin", [ours["bytes"] / origins], text, [builds[peer]["bytes"] / origins])


def measure(ctx):
	conninfo = ctx.pick(ctx.postgres, lambda: None, ctx.postgres)()
	for origins in ctx.pick((10**3, 10**5, 10**6, 10**7), (10**3, 10**5, 10**6), (10**3,)):
		ctx.say(f"{number(origins)} origins")
		options = {
			"patterns": max(100, origins // 10), "rounds": ctx.pick(7, 5, 1), "lookups": ctx.pick(300000, 100000, 1000),
			"subjects": "two_reads,one_read,hash,ours,ours_find,list,glib,lmdb,postgres",
			"questions": "hit,miss,wild1,wild4,wild20,deep20,wildmiss",
			"distributions": ctx.pick("uniform,zipf", "uniform,zipf", "uniform"),
			"modes": ctx.pick("alone,tight", "alone", "alone,tight"),
		}
		if conninfo and origins <= 10**6:
			options["postgres"] = conninfo
		builds, times = run(ctx, origins, **options)
		for distribution in options["distributions"].split(","):
			for mode in options["modes"].split(","):
				hits(ctx, origins, distribution, mode, times)
		patterns(ctx, origins, times)
		sizes(ctx, origins, builds)
	for peer, package in (("lmdb", "liblmdb-dev"), ("glib", "libglib2.0-dev")):
		if peer not in builds:
			ctx.absent(peer, f"not built in; install {package} and configure again")

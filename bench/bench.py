#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
bench.py -- measures corscache against limits and peers, in interleaved rounds.

	bench.py [--quick | --smoke | --record] [--build DIR] [--out DIR] [--memory DIR] [PART...]

Without PART: every part. Prints one table, writes OUT/results.json, results.txt
and RESULTS.md, and draws OUT/*.svg with gnuplot. The whole takes about half an
hour, --quick minutes; --smoke takes seconds, asserts no figure, and only shows
that each part still runs. --record measures nothing: it puts what the last whole
run left in OUT into the source tree, bench/RESULTS.md and doc/plots. Exit status:
0; 1 when a part failed; 64 usage. A target that is missed is said, and is no failure.

A part is a module in bench/parts:

	'''lookup -- one line that says what it is.'''	its title
	order = 10					its place in the table
	def measure(ctx):				see class Context
"""

import argparse
import datetime
import importlib
import json
import os
import pathlib
import pkgutil
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

import plot		# noqa: E402
import postgres		# noqa: E402
import report		# noqa: E402
from report import number	# noqa: E402

RECORDED = ("lookup-origins", "web-actual")	# the plots that README.md shows


class Samples:
	"""One value a round. The median stands for them; lowest and highest are the spread."""

	def __init__(self, values):
		self.values = [float(v) for v in values]
		assert self.values, "no samples"
		self.median = statistics.median(self.values)

	def as_json(self):
		return {"median": self.median, "low": min(self.values), "high": max(self.values), "rounds": self.values}


class Context:
	"""What a part may use: how large to be, programs, places, and where results go."""

	def __init__(self, scale, build, out, memory):
		self.scale, self.build, self.out = scale, build, out
		self.memory = memory		# a directory on tmpfs for directory()
		self.rows, self.tables, self.plots, self.raw = [], [], [], []
		self.part = None
		self._postgres = {}
		self._temporary = []

	def pick(self, full, quick, smoke):
		return {"full": full, "quick": quick, "smoke": smoke}[self.scale]

	def say(self, text):
		print(f"bench: {self.part}: {text}", file=sys.stderr, flush=True)

	def directory(self):
		"""A private, empty directory on tmpfs, gone at the end."""
		self._temporary.append(tempfile.mkdtemp(prefix="corscache-bench.", dir=self.memory))
		return self._temporary[-1]

	def run(self, program, *args, timeout=3600):
		"""A measurement program of bench/: its lines of JSON, as dicts."""
		argv = [str(self.build / "bench" / program), *(str(a) for a in args)]
		done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=timeout)
		if done.returncode:
			raise RuntimeError(f"{' '.join(argv)}: exit status {done.returncode}")
		lines = [json.loads(line) for line in done.stdout.splitlines()]
		self.raw += [{"part": self.part, **line} for line in lines]
		return lines

	def interleave(self, rounds, **subjects):
		"""A B A B ...: each subject is called once a round; {name: [what it returned, ...]}."""
		values = {name: [] for name in subjects}
		for _ in range(rounds):
			for name, call in subjects.items():
				values[name].append(call())
		return values

	def postgres(self, durable=False):
		"""conninfo of a private PostgreSQL on a unix socket; None when it is not installed. durable: commits wait for the disk."""
		if durable not in self._postgres:
			self._postgres[durable] = postgres.start(self, "" if durable else "-c fsync=off")
		server = self._postgres[durable]
		return server.conninfo if server else None

	def row(self, what, unit, ours, peer=None, theirs=None, at_most=None, at_least=None):
		"""
		A line of the table. ours, theirs: a value a round, taken in the same
		rounds. peer: the limit or the peer. at_most, at_least: the target
		for ours / theirs (for ours, where there is no peer).
		"""
		ours, theirs = Samples(ours), Samples(theirs) if theirs else None
		ratio = ours.median / theirs.median if theirs and theirs.median else None
		rounds = [a / b for a, b in zip(ours.values, theirs.values) if b] if theirs else []
		judged = ratio if theirs else ours.median
		self.rows.append({
			"part": self.part, "what": what, "unit": unit, "ours": ours, "peer": peer, "theirs": theirs,
			"ratio": ratio, "ratios": Samples(rounds) if rounds else None,
			"target": f"<= {number(at_most)}" if at_most is not None else
			    f">= {number(at_least)}" if at_least is not None else None,
			"met": None if at_most is at_least or judged is None else
			    judged <= at_most if at_most is not None else judged >= at_least,
		})

	def absent(self, peer, why):
		"""Said loudly: a peer that could not take part."""
		self.say(f"ABSENT: {peer}: {why}")
		self.rows.append({"part": self.part, "what": "(absent)", "peer": peer, "why": why})

	def table(self, title, head, rows):
		"""Beside the rows, where figures are not one of ours against one of theirs. rows: lists of text."""
		self.tables.append({"part": self.part, "title": title, "head": head, "rows": rows})

	def plot(self, name, title, x, y, curves, logarithmic="xy"):
		"""OUT/name.svg. curves: {legend: [(x, y), ...]}; x, y: the axes' labels with units."""
		file = plot.draw(self.out, name, title, x, y, curves, logarithmic)
		self.plots.append({"part": self.part, "name": name, "title": title, "file": file})

	def close(self):
		for server in filter(None, self._postgres.values()):
			server.stop()
		for directory in self._temporary:
			shutil.rmtree(directory, ignore_errors=True)


def output(*argv):
	"""What it says, on whichever channel; nothing when it is not there."""
	try:
		return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
		    timeout=60, env={**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}).stdout
	except OSError:
		return ""


def versions():
	"""{program or library: version} of those that are here: programs say it, Debian knows it of libraries."""
	found = {}
	for name, *argv in (("GCC", "gcc", "--version"), ("Python", "/usr/bin/python3", "--version"), ("nginx", "nginx", "-v"), ("lighttpd", "lighttpd", "-v"),
	    ("Node.js", "node", "--version"), ("Go", "go", "version"), ("PostgreSQL", "psql", "--version"), ("wrk", "wrk", "-v"),
	    ("gnuplot", "gnuplot", "--version")):
		if seen := re.search(r"\d+\.\d+(\.\d+| patchlevel \d+)?", (output(*argv).splitlines() or [""])[0]):
			found[name] = seen[0].replace(" patchlevel ", ".")
	for name, package in (("libfcgi", "libfcgi-dev"), ("LMDB", "liblmdb-dev"), ("GLib", "libglib2.0-dev"), ("Starlette", "python3-starlette"),
	    ("uvicorn", "python3-uvicorn"), ("uvloop", "python3-uvloop"), ("httptools", "python3-httptools"),
	    ("rs/cors", "golang-github-rs-cors-dev")):
		seen = output("dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Version}", package)
		if seen.startswith("ii "):
			found[name] = seen[3:]
	npm = json.loads((HERE / "web" / "package.json").read_text())["dependencies"]
	return {**found, **{f"npm {name}": version for name, version in npm.items()}}


def read_file(path, default=""):
	try:
		return pathlib.Path(path).read_text()
	except OSError:
		return default


def commit():
	"""Of the tree; neither git nor a history needs to be here."""
	if not shutil.which("git"):
		return "unknown"
	done = subprocess.run(["git", "-C", str(HERE), "describe", "--always", "--dirty"], stdout=subprocess.PIPE,
	    stderr=subprocess.DEVNULL, text=True)
	return done.stdout.strip() or "unknown"


def machine():
	cpu = [line.split(":", 1)[1].strip() for line in read_file("/proc/cpuinfo").splitlines() if line.startswith("model name")]
	memory = [line.split()[1] for line in read_file("/proc/meminfo").splitlines() if line.startswith("MemTotal")]
	release = dict(line.split("=", 1) for line in read_file("/etc/os-release").splitlines() if "=" in line)
	return {
		"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
		"commit": commit(),
		"cpu": cpu[0] if cpu else platform.machine(), "cpus": os.cpu_count(),
		"memory_gb": round(int(memory[0]) / 1e6, 1) if memory else None,
		"system": release.get("PRETTY_NAME", platform.system()).strip('"'), "kernel": platform.release(),
		"load_average": os.getloadavg()[0],
	}


def as_json(row):
	return {k: v.as_json() if isinstance(v, Samples) else v for k, v in row.items()}


def parts():
	modules = [importlib.import_module(f"parts.{m.name}") for m in pkgutil.iter_modules([str(HERE / "parts")])]
	return {m.__name__.split(".")[1]: m for m in sorted(modules, key=lambda m: m.order)}


def measured(ctx, known, names):
	"""Each part's measure(); what to say of the parts."""
	told = []
	for name in names:
		ctx.part, began, failed = name, time.monotonic(), False
		ctx.say("begins")
		try:
			known[name].measure(ctx)
		except Exception:
			traceback.print_exc()
			failed = True
		title, _, about = known[name].__doc__.strip().partition("\n")
		told.append({"name": name, "title": title, "about": about, "seconds": time.monotonic() - began, "failed": failed})
		ctx.say(f"took {report.duration(told[-1]['seconds'])}")
	return told


def write(out, results):
	(out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
	(out / "results.txt").write_text(report.text(results))
	drawn = {p["name"]: p["file"] for p in results["plots"] if p["file"].endswith(".svg")}
	(out / "RESULTS.md").write_text(report.markdown(results, drawn.get))


def record(out, known):
	"""The last whole run, into the source tree; why not, or None."""
	try:
		results = json.loads((out / "results.json").read_text())
	except OSError as e:
		return f"{e.filename}: {e.strerror}; run `make bench` first"
	if results["scale"] != "full" or [part["name"] for part in results["parts"] if not part["failed"]] != list(known):
		return f"{out}/results.json is not of a whole run; run `make bench` first"
	plots = HERE.parent / "doc" / "plots"
	plots.mkdir(exist_ok=True)
	for name in RECORDED:
		shutil.copyfile(out / f"{name}.svg", plots / f"{name}.svg")
	(HERE / "RESULTS.md").write_text(report.markdown(results, lambda name: f"../doc/plots/{name}.svg" if name in RECORDED else None))
	return None


def main():
	known = parts()
	parser = argparse.ArgumentParser(description="Measures corscache against limits and peers.",
	    epilog="; ".join(m.__doc__.strip().splitlines()[0] for m in known.values()))
	scale = parser.add_mutually_exclusive_group()
	scale.add_argument("--quick", dest="scale", action="store_const", const="quick", default="full", help="minutes")
	scale.add_argument("--smoke", dest="scale", action="store_const", const="smoke", help="seconds; asserts no figure")
	scale.add_argument("--record", action="store_true", help="the last whole run, into bench/RESULTS.md and doc/plots")
	parser.add_argument("--build", type=pathlib.Path, default=os.environ.get("CORSCACHE_BUILD", "."))
	parser.add_argument("--out", type=pathlib.Path, help="default: BUILD/bench/out")
	parser.add_argument("--memory", default="/dev/shm" if os.path.isdir("/dev/shm") else None,
	    help="a tmpfs for the tables; default: /dev/shm")
	parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(known))
	args = parser.parse_args()
	if unknown := set(args.parts) - set(known):
		parser.exit(64, f"bench.py: no such part: {', '.join(unknown)}; there are {', '.join(known)}\n")
	build = args.build.resolve()
	out = (args.out or build / "bench" / "out").resolve()
	if args.record:
		why_not = record(out, known)
		return f"bench: not recorded: {why_not}" if why_not else 0
	out.mkdir(parents=True, exist_ok=True)
	results = {"version": 1, "scale": args.scale, "machine": machine(), "versions": versions()}
	ctx, began = Context(args.scale, build, out, args.memory), time.monotonic()
	signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))		# or the servers would stay
	try:
		results["parts"] = measured(ctx, known, args.parts or known)
	finally:
		ctx.close()
	results.update(seconds=time.monotonic() - began, rows=[as_json(r) for r in ctx.rows], tables=ctx.tables, plots=ctx.plots, raw=ctx.raw)
	write(out, results)
	print(report.text(results), end="")
	print(f"\nbench: {out}/ has results.json, results.txt, RESULTS.md" + "".join(f", {p['file']}" for p in ctx.plots))
	return 1 if any(part["failed"] for part in results["parts"]) else 0


if __name__ == "__main__":
	sys.exit(main())

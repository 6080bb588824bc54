#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
bench.py -- measures corscache against limits and peers, in interleaved rounds.

	bench.py [--quick | --smoke] [--build DIR] [--out DIR] [--memory DIR] [PART...]

Without PART: every part. Prints one table, writes OUT/results.json, and draws
OUT/*.svg with gnuplot. --quick takes minutes; --smoke takes seconds, asserts
no figure, and only shows that each part still runs. Exit status: 0; 1 when a
part failed; 64 usage. A target that is missed is said, and is no failure.

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
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

import plot		# noqa: E402
import postgres		# noqa: E402


def number(x):
	"""Three significant digits, people's units."""
	for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
		if abs(x) >= size:
			return f"{x / (1e3 if letter == 'k' else size):.3g} {letter}"
	return f"{x:.0f}" if abs(x) >= 100 else f"{x:.3g}"


class Samples:
	"""One value a round. The median stands for them; lowest and highest are the spread."""

	def __init__(self, values):
		self.values = [float(v) for v in values]
		assert self.values, "no samples"
		self.median = statistics.median(self.values)

	def __str__(self):
		if len(self.values) == 1:
			return number(self.median)
		return f"{number(self.median)} ({number(min(self.values))}..{number(max(self.values))})"

	def as_json(self):
		return {"median": self.median, "low": min(self.values), "high": max(self.values), "rounds": self.values}


class Context:
	"""What a part may use: how large to be, programs, places, and where results go."""

	def __init__(self, scale, build, out, memory):
		self.scale, self.build, self.out = scale, build, out
		self.memory = memory		# a directory on tmpfs for directory()
		self.rows, self.plots, self.raw = [], [], []
		self.part = None
		self._postgres = None
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

	def postgres(self):
		"""conninfo of a private PostgreSQL on a unix socket; None when it is not installed."""
		if self._postgres is None:
			self._postgres = postgres.start(self)
		return self._postgres.conninfo if self._postgres else None

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

	def plot(self, name, title, x, y, curves, logarithmic="xy"):
		"""OUT/name.svg. curves: {legend: [(x, y), ...]}; x, y: the axes' labels with units."""
		self.plots.append(plot.draw(self.out, name, title, x, y, curves, logarithmic))

	def close(self):
		if self._postgres:
			self._postgres.stop()
		for directory in self._temporary:
			shutil.rmtree(directory, ignore_errors=True)


def first_line(argv):
	try:
		done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
		return done.stdout.splitlines()[0] if done.stdout else ""
	except OSError:
		return "absent"


def read_file(path, default=""):
	try:
		return pathlib.Path(path).read_text()
	except OSError:
		return default


def machine():
	cpu = [line.split(":", 1)[1].strip() for line in read_file("/proc/cpuinfo").splitlines() if line.startswith("model name")]
	memory = [line.split()[1] for line in read_file("/proc/meminfo").splitlines() if line.startswith("MemTotal")]
	release = dict(line.split("=", 1) for line in read_file("/etc/os-release").splitlines() if "=" in line)
	commit = subprocess.run(["git", "-C", str(HERE), "describe", "--always", "--dirty"], stdout=subprocess.PIPE,
	    stderr=subprocess.DEVNULL, text=True).stdout.strip()
	return {
		"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
		"commit": commit or "unknown",
		"cpu": cpu[0] if cpu else platform.machine(), "cpus": os.cpu_count(),
		"memory_gb": round(int(memory[0]) / 1e6, 1) if memory else None,
		"system": release.get("PRETTY_NAME", platform.system()).strip('"'), "kernel": platform.release(),
		"compiler": first_line(["gcc", "--version"]), "python": platform.python_version(),
		"load_average": os.getloadavg()[0],
	}


VERDICT = {True: "met", False: "MISSED", None: ""}


def cells(row):
	if "ours" not in row:
		return [row["what"], "", "", row["peer"], "", "", row["why"]]
	ratio = ""
	if row["ratio"] is not None:
		ratio = f"{row['ratio']:.2f} ({min(row['ratios'].values):.2f}..{max(row['ratios'].values):.2f})"
	target = f"{row['target']} {VERDICT[row['met']]}" if row["target"] else ""
	return [row["what"], str(row["ours"]), row["unit"], row["peer"] or "", str(row["theirs"] or ""), ratio, target]


def print_table(rows, titles, out):
	head = ["what", "ours", "unit", "limit or peer", "theirs", "ours/theirs", "target"]
	table = [cells(row) for row in rows]
	widths = [max(len(line[i]) for line in [head] + table) for i in range(len(head))]
	part = None
	for row, line in zip(rows, table):
		if row["part"] != part:
			part = row["part"]
			print(f"\n{titles[part]}\n", file=out)
			print("  " + "  ".join(h.ljust(w) for h, w in zip(head, widths)).rstrip(), file=out)
		print("  " + "  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip(), file=out)


def as_json(row):
	return {k: v.as_json() if isinstance(v, Samples) else v for k, v in row.items()}


def parts():
	modules = [importlib.import_module(f"parts.{m.name}") for m in pkgutil.iter_modules([str(HERE / "parts")])]
	return {m.__name__.split(".")[1]: m for m in sorted(modules, key=lambda m: m.order)}


def main():
	known = parts()
	parser = argparse.ArgumentParser(description="Measures corscache against limits and peers.",
	    epilog="; ".join(m.__doc__.strip().splitlines()[0] for m in known.values()))
	scale = parser.add_mutually_exclusive_group()
	scale.add_argument("--quick", dest="scale", action="store_const", const="quick", default="full", help="minutes")
	scale.add_argument("--smoke", dest="scale", action="store_const", const="smoke", help="seconds; asserts no figure")
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
	out.mkdir(parents=True, exist_ok=True)
	facts, failed = machine(), []
	ctx = Context(args.scale, build, out, args.memory)
	signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))		# or the servers would stay
	try:
		for name in args.parts or known:
			ctx.part = name
			ctx.say("begins")
			try:
				known[name].measure(ctx)
			except Exception:
				traceback.print_exc()
				failed.append(name)
	finally:
		ctx.close()
	titles = {name: m.__doc__.strip().splitlines()[0] for name, m in known.items()}
	(out / "results.json").write_text(json.dumps({"version": 1, "scale": args.scale, "machine": facts,
	    "rows": [as_json(r) for r in ctx.rows], "plots": ctx.plots, "raw": ctx.raw}, indent=1) + "\n")
	with open(out / "results.txt", "w") as file:
		for to in (sys.stdout, file):
			print(f"{facts['date']}, {args.scale} run, commit {facts['commit']}\n{facts['cpus']} x {facts['cpu']}, "
			    f"{facts['memory_gb']} GB; {facts['system']}, Linux {facts['kernel']}; {facts['compiler']}\n"
			    "medians over interleaved rounds (lowest..highest); the ratio is that of the medians", file=to)
			print_table(ctx.rows, titles, to)
	print(f"\nbench: {out}/results.json, results.txt" + "".join(f", {p}" for p in ctx.plots))
	if failed:
		print(f"bench: FAILED: {', '.join(failed)}", file=sys.stderr)
	return 1 if failed else 0


if __name__ == "__main__":
	sys.exit(main())

# SPDX-License-Identifier: BSD-2-Clause
"""writes -- readers while the writer writes: each look-up timed alone, one of ten below a pattern.

The times include one reading of the clock (some 25 ns). A control process reads
nothing but the clock in the same run: what it sees, the scheduler or the machine
did. "on CPU" leaves out the time that the reader was not running.
"""

import collections
import shutil

order = 50

PHASES = {
	"exact": "10 k changes/s, exact rows", "wide": "10 k changes/s, patterns (each raises the epoch)",
	"compact": "shards built anew, writer never rests", "table": "whole tables built anew, writer never rests",
}


def measure(ctx):
	for origins in ctx.pick((10**5, 10**6), (10**5,), (1000,)):
		storm(ctx, origins, f"{origins // 1000} k")


def storm(ctx, origins, size):
	directory = ctx.directory()
	lines = ctx.run("storm", f"--dir={directory}", f"--origins={origins}", f"--patterns={max(100, origins // 10)}",
	    f"--rounds={ctx.pick(5, 3, 1)}", f"--seconds={ctx.pick(4, 2, 0.1)}")
	shutil.rmtree(directory, ignore_errors=True)
	phases = collections.defaultdict(list)
	for line in lines:
		phases[line["phase"]].append(line)
	of = lambda phase, field: [line[field] for line in phases[phase]]
	for phase, text in PHASES.items():
		ctx.row(f"{size}: {text}", "look-ups/CPU s", of(phase, "lookups_per_cpu_s"), "the same, writer idle", of("idle", "lookups_per_cpu_s"))
	for phase, text in {"idle": "writer idle", **PHASES}.items():
		for field, name in (("p50_us", "p50"), ("p99_us", "p99"), ("p9999_us", "p99.99")):
			ctx.row(f"{size}: {text}: {name}", "us", of(phase, field))
		ctx.row(f"{size}: {text}: slowest", "us", of(phase, "max_us"), "control: the clock alone", of(phase, "control_max_us"))
		ctx.row(f"{size}: {text}: slowest, on CPU", "us", [max(of(phase, "max_on_cpu_us"))], at_most=1000)
		ctx.row(f"{size}: {text}: errors", "", [sum(of(phase, "errors"))], at_most=0)

# SPDX-License-Identifier: BSD-2-Clause
"""writes -- readers while the writer writes: each look-up timed alone, one of ten below a pattern.

The times include one reading of the clock (some 25 ns). "On CPU" leaves out the
time that the reader was not running; as it never gives the CPU up by itself
(voluntary switches: 0), that was the scheduler's doing. A control process reads
the clock and a word of private memory, of the table's size, in the same run: what
it sees on the CPU, interrupts and a hypervisor did.
"""

import collections
import shutil
import statistics

from parts.lookup import number
from report import number as people

order = 50

PHASES = {
	"idle": "writer idle", "exact": "10 k changes/s, exact rows", "wide": "10 k changes/s, patterns (each raises the epoch)",
	"compact": "shards built anew, writer never rests", "table": "whole tables built anew, writer never rests",
}

FIELDS = {
	"p50_us": "p50", "p99_us": "p99", "p9999_us": "p99.99", "p9999_on_cpu_us": "p99.99 on CPU", "max_us": "slowest",
	"max_on_cpu_us": "slowest on CPU",
}
CONTROL = {"p9999_us": "p99.99", "max_us": "slowest", "max_on_cpu_us": "slowest on CPU"}


def measure(ctx):
	sizes = ctx.pick({10**6: (5, 3), 10**7: (1, 5)}, {10**5: (3, 2)}, {1000: (1, 0.1)})
	for origins, (rounds, seconds) in sizes.items():
		ctx.say(f"{number(origins)} origins")
		storm(ctx, origins, rounds, seconds)


def storm(ctx, origins, rounds, seconds):
	directory = ctx.directory()
	lines = ctx.run("storm", f"--dir={directory}", f"--origins={origins}", f"--patterns={max(100, origins // 10)}",
	    f"--rounds={rounds}", f"--seconds={seconds}")
	shutil.rmtree(directory, ignore_errors=True)
	phases, size = collections.defaultdict(list), number(origins)
	for line in lines:
		phases[line["phase"]].append(line)
	of = lambda phase, field: [line[field] for line in phases[phase]]
	for phase, text in PHASES.items():
		what = f"{size}, {text}"
		if phase != "idle":
			ctx.row(f"{what}: look-ups", "/CPU s", of(phase, "lookups_per_cpu_s"), PHASES["idle"], of("idle", "lookups_per_cpu_s"))
		ctx.row(f"{what}: slowest, on CPU", "us", [max(of(phase, "max_on_cpu_us"))], at_most=1000)
		ctx.row(f"{what}: over 1 ms, on CPU", "", [sum(of(phase, "stalls"))], "private memory", [sum(of(phase, "control_stalls"))])
	for field, text in (("voluntary", "voluntary switches"), ("errors", "errors")):
		ctx.row(f"{size}, all of these: {text}", "", [sum(line[field] for line in lines)], at_most=0)
	median = lambda phase, field: people(statistics.median(of(phase, field)))
	ctx.table(f"{size} origins: one look-up, us", ["", "changes/s", *FIELDS.values(), *(f"private memory: {f}" for f in CONTROL.values())],
	    [[text, median(phase, "changes_per_s"), *(median(phase, f) for f in FIELDS),
	    *(median(phase, f"control_{f}") for f in CONTROL)] for phase, text in PHASES.items()])

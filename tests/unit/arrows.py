#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""arrows -- holds the include arrows: which file may know which library, and who may know whom."""

import pathlib
import re
import sys

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAMS = ("responder", "syncd", "cachectl")

# A library's header, and the only files that may include it.
KNOW = {
	"fcgiapp.h": r"responder/(serve|feed)\.[ch]",
	"libpq-fe.h": r"syncd/(pg|feed_(session|delta|load))\.c|cachectl/db\.c",
	"jansson.h": r"cachectl/(output|input)\.c|responder/pages\.[ch]",
	"curl/curl.h": r"cachectl/exchange\.c",
	"confuse.h": r"lib/config\.c",
	"libpsl.h": r"lib/suffix\.c",
	"sys/mman.h": r"lib/(segment|counters|refusals)\.c",
}

# Facts and verdicts: no I/O, clock or allocation, hence nothing but these.
PURE = r"lib/(origin|policy|decide|headers|siphash|key)\.[ch]"
PURE_MAY = {"assert.h", "endian.h", "limits.h", "stdbool.h", "stddef.h", "stdint.h", "string.h"}

# What may be linked into somebody else's process: no logging, no settings.
READING = r"lib/(reader|answer|explain|shard|segment|layout|row)\.[ch]"
READING_MAY_NOT = {"config.h", "log.h", "sdnotify.h", "writer.h", "table.h", "counters.h", "control.h", "suffix.h"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def is_file(path, pattern):
	return re.fullmatch(pattern, path) is not None


def complaints(path, includes):
	"""Of one file; includes: (bracket, name) pairs."""
	folder = path.split("/")[0]
	for bracket, name in includes:
		if name in KNOW and not is_file(path, KNOW[name]):
			yield f"{path} may not include {name}: only {KNOW[name]} may"
		if bracket == "<" and is_file(path, PURE) and name not in PURE_MAY:
			yield f"{path} is pure and may not include <{name}>"
		if is_file(path, READING) and name in READING_MAY_NOT:
			yield f"{path} is for in-process readers and may not include {name}"
		for other in PROGRAMS:
			if bracket == '"' and other != folder and (TREE / other / name).exists() and \
			    not (TREE / folder / name).exists() and not (TREE / "lib" / name).exists():
				yield f"{path} may not include {name} of {other}/"
			if bracket == '"' and f"{other}/" in name:
				yield f"{path} may not include {name}"


def main():
	files = [p for folder in ("lib", *PROGRAMS) for p in sorted((TREE / folder).glob("*.[ch]"))]
	known = [next(complaints("cachectl/main.c", [("<", "confuse.h")]), None),
	    next(complaints("lib/decide.c", [("<", "stdio.h")]), None),
	    next(complaints("lib/decide.c", [('"', "cachectl.h")]), None)]
	if None in known or not files:
		sys.exit("arrows: the test itself no longer finds what it must find")
	wrong = [c for p in files for c in complaints(str(p.relative_to(TREE)), INCLUDE.findall(p.read_text()))]
	print("\n".join(wrong) or f"{len(files)} files, every arrow points left")
	sys.exit(bool(wrong))


main()

# SPDX-License-Identifier: BSD-2-Clause
"""report -- what bench.py found, as people read it: text and Markdown, out of the dict that results.json holds."""

import textwrap

ABOUT = "Medians over interleaved rounds (lowest..highest); the ratio is that of the medians, its spread that of the rounds."
HEAD = ["what", "ours", "unit", "limit or peer", "theirs", "ours/theirs", "target"]
VERDICT = {True: "met", False: "MISSED", None: ""}


def number(x):
	"""Three significant digits, people's units."""
	for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
		if abs(x) >= size:
			return f"{x / (1e3 if letter == 'k' else size):.3g} {letter}"
	return f"{x:.0f}" if abs(x) >= 100 else f"{x:.3g}"


def spread(samples):
	if not samples:
		return ""
	if len(samples["rounds"]) == 1:
		return number(samples["median"])
	return f"{number(samples['median'])} ({number(samples['low'])}..{number(samples['high'])})"


def cells(row):
	if "ours" not in row:
		return [row["what"], "", "", row["peer"], "", "", row["why"]]
	ratio = spread({**row["ratios"], "median": row["ratio"]}) if row["ratios"] else ""
	target = f"{row['target']} {VERDICT[row['met']]}" if row["target"] else ""
	return [row["what"], spread(row["ours"]), row["unit"], row["peer"] or "", spread(row["theirs"]), ratio, target]


def tables(results, part):
	"""(title, head, lines) of this part."""
	rows = [cells(row) for row in results["rows"] if row["part"] == part["name"]]
	if rows:
		yield "", HEAD, rows
	for table in results["tables"]:
		if table["part"] == part["name"]:
			yield table["title"], table["head"], table["rows"]


def duration(seconds):
	return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def heading(results):
	at = results["machine"]
	return [
		f"{at['date']}, {results['scale']} run of {duration(results['seconds'])}, commit {at['commit']}",
		f"{at['cpus']} x {at['cpu']}, {at['memory_gb']} GB; {at['system']}, Linux {at['kernel']}; "
		f"load average {at['load_average']:.1f} before",
		", ".join(f"{name} {version}" for name, version in results["versions"].items()),
	]


def verdict(results):
	judged = [row["met"] for row in results["rows"] if row.get("met") is not None]
	failed = [part["name"] for part in results["parts"] if part["failed"]]
	return f"{sum(judged)} of {len(judged)} targets met." + (f" FAILED: {', '.join(failed)}." if failed else "")


def aligned(lines):
	widths = [max(len(cell) for cell in column) for column in zip(*lines)]
	return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]


def text(results):
	lines = [piece for line in heading(results) for piece in textwrap.wrap(line, 120)] + [ABOUT]
	for part in results["parts"]:
		lines += ["", f"{part['title']} [{duration(part['seconds'])}]"]
		for title, head, rows in tables(results, part):
			lines += ["", *([f"  {title}"] if title else []), *aligned([head, *rows])]
	return "\n".join([*lines, "", verdict(results), ""])


def escape(cell):
	return cell.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def markdown(results, link):
	"""link: a plot's name -> where its SVG is from here, or None."""
	machine, load, versions = (line for line in heading(results))
	lines = ["# What the benchmark found", "", "Made by `make bench` and `make bench-record`; not written by hand.", "",
	    f"* {machine}", f"* {load}", f"* {versions}", "", f"{ABOUT} {verdict(results)}"]
	for part in results["parts"]:
		title, _, about = part["title"].partition(" -- ")
		lines += ["", f"## {title}", "", f"{about[:1].upper()}{about[1:]}", part["about"], "", f"Took {duration(part['seconds'])}."]
		for caption, head, rows in tables(results, part):
			lines += ["", *([f"{caption}:", ""] if caption else []), "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
			lines += ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in rows]
		for plot in results["plots"]:
			if plot["part"] == part["name"] and link(plot["name"]):
				lines += ["", f"![{plot['title']}]({link(plot['name'])})"]
	return "\n".join(lines) + "\n"

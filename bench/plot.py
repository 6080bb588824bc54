# SPDX-License-Identifier: BSD-2-Clause
"""plot -- curves as SVG, drawn by gnuplot; the script and the data stay beside them."""

import itertools
import shutil
import subprocess


OURS = ("#d62728", "#8b0000", "#ff7f7f")
COLOURS = ("#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#ff7f0e")


def style(legend, ours, others):
	"""Ours is seen first, a limit is no competitor; the rest take the next colour."""
	if legend.startswith("limit"):
		return "linecolor '#555555' dashtype 2 linewidth 1.5 pointtype 7 pointsize 0.4"
	if legend.startswith("corscache"):
		return f"linecolor '{next(ours)}' linewidth 2.5 pointtype 7 pointsize 0.6"
	return f"linecolor '{next(others)}' linewidth 1.5 pointtype 7 pointsize 0.5"


def linear_axis(highest):
	"""How gnuplot is to write numbers up to this one, so that neighbours differ."""
	if highest < 5:
		return "%g"
	while highest >= 1000:
		highest /= 1000
	return "%.0s %c" if highest > 5 else "%.1s %c"


def draw(out, name, title, x, y, curves, logarithmic):
	"""Writes OUT/name.dat, .gp and, where gnuplot is, .svg; returns the last file written."""
	with open(out / f"{name}.dat", "w") as file:
		for legend, points in curves.items():
			file.write(f'"{legend}"\n')
			file.writelines(f"{px} {py}\n" for px, py in points)
			file.write("\n\n")
	xs, ys = ({p[i] for points in curves.values() for p in points} for i in (0, 1))
	ours, others = itertools.cycle(OURS), itertools.cycle(COLOURS)
	lines = [f'"{name}.dat" index {i} using 1:2 with linespoints {style(legend, ours, others)} title columnheader(1)'
	    for i, legend in enumerate(curves)]
	script = [
		"set terminal svg size 760,460 noenhanced dynamic background 'white' font 'sans-serif,13'",
		f'set output "{name}.svg"', f'set title "{title}"', f'set xlabel "{x}" offset 0, 0.7', f'set ylabel "{y}"',
		"set grid linecolor '#cccccc' linetype 1 linewidth 0.5", "set border 3", "set tics nomirror",
		"set key below left Left reverse samplen 2" if len(curves) > 1 else "unset key",
		"set autoscale xfix", "set offsets graph 0, graph 0.02, 0, 0", "set format '%.0s %c'",
		*(f"set logscale {axis}" for axis in logarithmic),
		*([] if "x" in logarithmic else [f"set xtics ({', '.join(str(x) for x in sorted(xs))})"]),
		*([] if "y" in logarithmic else ["set yrange [0:*]", f"set format y '{linear_axis(max(ys))}'"]),
		"plot " + ", \\\n\t".join(lines),
	]
	(out / f"{name}.gp").write_text("\n".join(script) + "\n")
	if shutil.which("gnuplot") is None:
		print("bench: ABSENT: gnuplot: no SVG is drawn (Debian package gnuplot-nox)")
		return f"{name}.gp"
	subprocess.run(["gnuplot", f"{name}.gp"], cwd=out, check=True, stdin=subprocess.DEVNULL)
	return f"{name}.svg"

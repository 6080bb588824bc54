# SPDX-License-Identifier: BSD-2-Clause
"""plot -- curves as SVG, drawn by gnuplot; the script and the data stay beside them."""

import shutil
import subprocess


def draw(out, name, title, x, y, curves, logarithmic):
	"""Writes OUT/name.dat, .gp and, where gnuplot is, .svg; returns the last file written."""
	with open(out / f"{name}.dat", "w") as file:
		for legend, points in curves.items():
			file.write(f'"{legend}"\n')
			file.writelines(f"{px} {py}\n" for px, py in points)
			file.write("\n\n")
	lines = [f'"{name}.dat" index {i} using 1:2 with linespoints linewidth 2 pointtype 7 pointsize 0.5 title columnheader(1)'
	    for i in range(len(curves))]
	script = [
		"set terminal svg size 860,440 dynamic background 'white' font 'sans-serif,13'",
		f'set output "{name}.svg"', f'set title "{title}"', f'set xlabel "{x}"', f'set ylabel "{y}"',
		"set grid", "set key outside right top", "set autoscale xfix", "set format x '%.0s %c'",
		*(f"set logscale {axis}" for axis in logarithmic), "set yrange [0:*]" if "y" not in logarithmic else "",
		"plot " + ", \\\n\t".join(lines),
	]
	(out / f"{name}.gp").write_text("\n".join(script) + "\n")
	if shutil.which("gnuplot") is None:
		print("bench: ABSENT: gnuplot: no SVG is drawn (Debian package gnuplot-nox)")
		return f"{name}.gp"
	subprocess.run(["gnuplot", f"{name}.gp"], cwd=out, check=True, stdin=subprocess.DEVNULL)
	return f"{name}.svg"

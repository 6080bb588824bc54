#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
units -- what systemd itself says of the unit files, users and directories in
packaging/. No service manager is needed, only its programs.
"""

import os
import pathlib
import re
import shutil
import stat
import subprocess
import tempfile
import unittest

import bounds
import harness

BUILD = pathlib.Path(os.environ.get("CORSCACHE_BUILD", ".")).resolve()
PACKAGING = harness.SOURCE / "packaging"
UNITS = ("corscache-syncd.service", "corscache-responder.service", "corscache-responder.socket")
EXPOSURE = 20		# tenths, of 100

# path below /run/corscache: mode, owner, group
DIRECTORIES = {
	"": (0o755, "root", "root"),
	"v1": (0o2750, "corscache", "corscache-responder"),
	"control": (0o750, "corscache", "corscache"),
	"counters": (0o750, "corscache-responder", "corscache-responder"),
}


def run(*argv):
	return subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
	    stderr=subprocess.STDOUT, text=True, timeout=60)


class Case(unittest.TestCase):
	def setUp(self):
		self.dir = pathlib.Path(tempfile.mkdtemp(prefix="units."))
		self.addCleanup(shutil.rmtree, self.dir)


class Units(Case):
	def setUp(self):
		"""Copies that start the programs where they were built."""
		super().setUp()
		for name in UNITS:
			text = (BUILD / "packaging/systemd" / name).read_text()
			self.assertEqual(re.findall("@[a-z_]+@", text), [], name)
			program = re.search(r"^ExecStart=(\S+)$", text, re.MULTILINE)
			if program:
				text = text.replace(program[1], str(BUILD / pathlib.Path(program[1]).name))
			(self.dir / name).write_text(text)

	def test_systemd_finds_no_mistake(self):
		done = run("systemd-analyze", "verify", "--man=no", *(self.dir / name for name in UNITS))
		# of the machine's own units
		said = [line for line in done.stdout.splitlines() if "corscache" in line]
		self.assertEqual((said, done.returncode), ([], 0))

	def test_a_mistake_would_be_found(self):
		unit = self.dir / UNITS[0]
		unit.write_text(unit.read_text().replace("WatchdogSec=", "WatchDogSec="))
		self.assertIn("WatchDogSec", run("systemd-analyze", "verify", "--man=no", unit).stdout)

	def test_services_are_little_exposed(self):
		for name in UNITS[:2]:
			done = run("systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", self.dir / name)
			print(f"\n  {done.stdout.splitlines()[-1]}", end="")
			self.assertEqual(done.returncode, 0, done.stdout)

	def test_units_agree_with_the_settings(self):
		"""What a unit names and a setting's default must be the same path."""
		socket, responder, syncd = ((self.dir / name).read_text() for name in reversed(UNITS))
		sample = (PACKAGING / "corscache.conf").read_text()
		default = dict(re.findall(r'#(\w+) = "?([^"\n]*)', sample))
		self.assertIn(f"ListenStream={default['socket']}\n", socket)
		self.assertIn(f"Backlog={default['backlog']}\n", socket)
		for text in (socket, responder, syncd):
			self.assertIn(f"RequiresMountsFor={default['path']}\n", text)
		writes = re.search("ReadWritePaths=(.*)", syncd)[1].split()
		self.assertEqual(writes, [f"{default['path']}/v1", str(pathlib.Path(default["control_socket"]).parent)])
		self.assertIn(f"ReadWritePaths={default['path']}/counters\n", responder)
		self.assertIn("StateDirectory=corscache\n", syncd)
		self.assertIn("/var/lib/corscache/revoked", sample)


class Directories(Case):
	def make(self):
		(self.dir / "etc").mkdir()
		for name in ("passwd", "group"):
			(self.dir / "etc" / name).write_text("root:x:0:0:root:/root:/bin/sh\n" if name == "passwd" else "root:x:0:\n")
		done = run("systemd-sysusers", f"--root={self.dir}", PACKAGING / "sysusers.d/corscache.conf")
		self.assertEqual(done.returncode, 0, done.stdout)
		self.ids = {"root": (0, 0)}
		for line in (self.dir / "etc/passwd").read_text().splitlines():
			name, _, uid, gid, _, _, shell = line.split(":")
			self.ids[name] = (int(uid), int(gid))
			self.assertTrue(name == "root" or shell.endswith("/nologin"), line)
		done = run("systemd-tmpfiles", f"--root={self.dir}", "--create", PACKAGING / "tmpfiles.d/corscache.conf")
		self.assertEqual((done.returncode, done.stdout), (0, ""))

	def test_modes_and_owners(self):
		if os.geteuid() != 0:
			self.skipTest("systemd-tmpfiles gives files away: only root can")
		self.make()
		self.assertEqual(sorted(self.ids), ["corscache", "corscache-responder", "root"])
		for name, (mode, user, group) in DIRECTORIES.items():
			st = (self.dir / "run/corscache" / name).stat()
			self.assertEqual((oct(stat.S_IMODE(st.st_mode)), st.st_uid, st.st_gid),
			    (oct(mode), self.ids[user][0], self.ids[group][1]), name)
		# nothing else, and nothing twice
		found = {str(p.relative_to(self.dir / "run/corscache")) for p in (self.dir / "run/corscache").rglob("*")}
		self.assertEqual(found, set(DIRECTORIES) - {""})


if __name__ == "__main__":
	for name in ("systemd-analyze", "systemd-sysusers", "systemd-tmpfiles"):
		if not shutil.which(name):
			harness.skip(f"{name} is not installed (Debian: systemd)")
	bounds.main()

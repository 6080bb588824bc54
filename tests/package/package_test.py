#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
package_test DEB -- the Debian package that `make deb` built: what lintian says;
then, as root and where corscache is not installed, on this machine: install it,
see that nothing started, let main_job.py do its main job with what was
installed, remove it, purge it, see that nothing is left. Otherwise, into a
scratch directory: the same programs below tests/stack.
"""

import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PLACES = ("/etc", "/usr", "/lib/systemd", "/run", "/var/lib")
USERS = ("corscache", "corscache-responder")


def run(*argv, check=True, **more):
	done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
	    stderr=subprocess.STDOUT, text=True, timeout=300, **more)
	if check and done.returncode:
		raise AssertionError(f"{argv}: exit status {done.returncode}\n{done.stdout}")
	return done


def is_installed():
	return "ok installed" in run("dpkg-query", "-W", "-f", "${Status}", "corscache", check=False).stdout


def files():
	"""Everything on this machine that has our name; dpkg's own notes excepted."""
	found = set()
	for place in PLACES:
		for directory, folders, names in os.walk(place):
			found |= {f"{directory}/{name}" for name in folders + names if "corscache" in name}
	return {path for path in found if not path.startswith("/var/lib/dpkg")}


def users():
	return {u.pw_name for u in pwd.getpwall() if u.pw_name in USERS}


class Lint(unittest.TestCase):
	def test_lintian_finds_nothing(self):
		if not shutil.which("lintian"):
			self.skipTest("lintian is not installed")
		done = run("lintian", "--allow-root", "--fail-on", "error,warning", DEB, check=False)
		self.assertEqual((done.returncode, done.stdout), (0, ""))


class Machine(unittest.TestCase):
	def setUp(self):
		if os.geteuid() != 0 or is_installed() or files():
			self.skipTest("not root, or corscache is on this machine already")
		self.users = users()
		self.addCleanup(self.clean_up)

	def clean_up(self):
		run("dpkg", "--purge", "corscache", check=False)
		for user in users() - self.users:		# a package leaves them; a test must not
			run("userdel", user)

	def test_install_use_remove_purge(self):
		run("dpkg", "-i", DEB)
		for case in ("Installed", "MainJob"):
			done = subprocess.run([sys.executable, HERE / "main_job.py", case], stdin=subprocess.DEVNULL, timeout=300)
			self.assertEqual(done.returncode, 0, case)
		run("dpkg", "-i", DEB)			# as an upgrade does
		run("dpkg", "--remove", "corscache")
		left = {path for path in files() if not path.startswith("/var/lib/systemd/deb-systemd-helper")}
		self.assertEqual(left, {"/etc/corscache", "/etc/corscache/corscache.conf"}, "the settings stay")
		run("dpkg", "--purge", "corscache")
		self.assertEqual(files(), set())


class Scratch(unittest.TestCase):
	def test_its_programs_do_the_main_job(self):
		with tempfile.TemporaryDirectory(prefix="cors.") as scratch:
			root, stack = pathlib.Path(scratch) / "root", pathlib.Path(scratch) / "stack"
			run("dpkg-deb", "-x", DEB, root)
			os.chmod(scratch, 0o755)
			for name in ("sql/0001_schema.sql", "corscache.conf", "nginx/corscache_headers.conf"):
				tree = ROOT / name if name.startswith("sql") else ROOT / "packaging" / name
				self.assertEqual((root / "usr/share/corscache" / name).read_bytes(), tree.read_bytes(), name)
			env = {**os.environ, "CORSCACHE_BUILD": str(root / "usr")}
			try:
				run(ROOT / "tests/stack", "up", stack, "--nginx", env=env)
				values = dict(line.split("=", 1) for line in (stack / "env").read_text().splitlines())
				env.update(values)
				run("psql", "-Xqc", "INSERT INTO cors.origins (origin) VALUES ('https://a.example')", env=env)
				run(root / "usr/bin/cachectl", "-c", values["CORSCACHE_CONF"], "verify")
				said = run("curl", "-s", "-i", "--retry", "20", "--retry-all-errors", "--retry-delay", "1", "-f", "-X", "OPTIONS",
				    "-H", "Origin: https://a.example", "-H", "Access-Control-Request-Method: GET", values["NGINX_URL"]).stdout
				self.assertIn("Access-Control-Allow-Origin: https://a.example", said)
			finally:
				run(ROOT / "tests/stack", "down", stack, env=env)


if __name__ == "__main__":
	if len(sys.argv) != 2 or not sys.argv[1].endswith(".deb"):
		sys.exit("usage: package_test DEB")
	DEB = pathlib.Path(sys.argv.pop()).resolve()
	unittest.main(verbosity=2)

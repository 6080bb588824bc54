#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
package_test DEB -- the Debian package that `make deb` built: what lintian says;
its programs, unpacked into a scratch directory, below tests/stack; and on a
machine that is thrown away (tests/package/overlay): install it, see that nothing
started, let main_job.py do its main job with what was installed, remove it, purge
it, see that nothing is left. Exit status: 0, 1, or 77 when a part was skipped.
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


# Below an overlay, in its root: what a program expects of a machine, and this tree, wherever it lies.
MACHINE = f"""
	mount -t proc proc proc && mount --rbind /sys sys && mount --rbind /dev dev &&
	mount -t tmpfs tmpfs run && mount -t tmpfs tmpfs tmp &&
	mkdir -p ./{ROOT} && mount --rbind {ROOT} ./{ROOT} || exit 77
	exec chroot . {sys.executable} {HERE}/package_test.py /corscache.deb --inside
"""


class Machine(unittest.TestCase):
	"""In a root that is thrown away: the test runs itself again there."""

	def test_install_use_remove_purge(self):
		with tempfile.TemporaryDirectory(prefix="cors.") as scratch:
			done = run(HERE / "overlay", scratch, "sh", "-c", f"cp {DEB} corscache.deb\n{MACHINE}", check=False)
		if done.returncode == 77:
			self.skipTest(done.stdout)
		self.assertEqual(done.returncode, 0, done.stdout)


def inside():
	assert not files() and not users(), (files(), users())
	run("dpkg", "-i", DEB)
	for case in ("Installed", "MainJob"):
		run(sys.executable, HERE / "main_job.py", case)
	run("dpkg", "-i", DEB)			# as an upgrade does
	run("dpkg", "--remove", "corscache")
	left = {path for path in files() if not path.startswith("/var/lib/systemd/deb-systemd-helper")}
	stays = {"/etc/corscache", "/etc/corscache/corscache.conf", "/var/lib/corscache"}
	assert left == stays, f"settings and revocations stay, and nothing else: {left}"
	run("dpkg", "--purge", "corscache")
	assert not files(), files()


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


def main(argv):
	global DEB
	if len(argv) not in (1, 2) or not argv[0].endswith(".deb") or argv[1:] not in ([], ["--inside"]):
		sys.exit("usage: package_test DEB")
	DEB = pathlib.Path(argv[0]).resolve()
	if argv[1:]:
		return inside()
	result = unittest.main(argv=sys.argv[:1], verbosity=2, exit=False).result
	sys.exit(1 if not result.wasSuccessful() else 77 if result.skipped else 0)


if __name__ == "__main__":
	main(sys.argv[1:])

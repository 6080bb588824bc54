#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
main_job -- corscache's main job with the files of an installed package: a row
in PostgreSQL becomes an answer of nginx, and a revoked one no more.

Needs root, and that nothing of corscache runs here. Installed are the programs,
settings, users and directories, units, schema and snippets; from the tree come
only the means to start a private PostgreSQL and to play systemd: each daemon runs
as its unit's user, with its umask and socket, the settings in /etc/corscache,
and no capability. It ends with the system calls they made, held against the
unit's filter. The settings are put back as they were.
"""

import grp
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "system"))
sys.dont_write_bytecode = True
import fcgi	# noqa: E402
import harness	# noqa: E402
import postgres	# noqa: E402
from harness import eventually	# noqa: E402

SHARE = pathlib.Path("/usr/share/corscache")
RUN = pathlib.Path("/run/corscache")
CONF = pathlib.Path("/etc/corscache/corscache.conf")
UNITS = pathlib.Path("/lib/systemd/system")
SERVICES = ("corscache-syncd", "corscache-responder")
A, B = "https://app.example.com", "https://b.example.com"


def run(*argv, check=True):
	return subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
	    stderr=subprocess.STDOUT, text=True, timeout=120, check=check)


def setting(unit, name):
	return re.findall(rf"^{name}=(.*)$", (UNITS / unit).read_text(), re.MULTILINE)


def running():
	"""Our processes, by the file that they run."""
	found = []
	for process in pathlib.Path("/proc").glob("[0-9]*"):
		try:
			program = os.readlink(process / "exe")
		except OSError:
			continue
		if program.startswith("/usr/sbin/corscache-"):
			found.append(program)
	return found


class Installed(unittest.TestCase):
	"""What is there before anybody did anything."""

	def test_nothing_was_started_or_enabled(self):
		self.assertEqual(running(), [])
		self.assertEqual([p for p in pathlib.Path("/etc/systemd/system").rglob("corscache*")], [])
		self.assertFalse((RUN / "responder.sock").exists())

	def test_users_and_directories(self):
		for service, user in zip(SERVICES, ("corscache", "corscache-responder")):
			self.assertEqual(setting(f"{service}.service", "User"), [user])
			self.assertTrue(pwd.getpwnam(user).pw_shell.endswith("/nologin"))
		for name, owner, group, mode in (("", "root", "root", "0o40755"), ("v1", "corscache", "corscache-responder", "0o42750"),
		    ("control", "corscache", "corscache", "0o40750"), ("counters", "corscache-responder", "corscache-responder", "0o40750")):
			st = (RUN / name).stat()
			self.assertEqual((pwd.getpwuid(st.st_uid).pw_name, grp.getgrgid(st.st_gid).gr_name, oct(st.st_mode)), (owner, group, mode), name)

	def test_units(self):
		done = run("systemd-analyze", "verify", "--man=no", *(UNITS / f"{s}.service" for s in SERVICES), check=False)
		self.assertEqual([line for line in done.stdout.splitlines() if "corscache" in line], [])

	def test_manuals(self):
		for page in ("cachectl.1", "corscache.conf.5", "corscache-responder.8", "corscache-syncd.8"):
			self.assertTrue(pathlib.Path(f"/usr/share/man/man{page[-1]}/{page}.gz").is_file(), page)


class MainJob(unittest.TestCase):
	def setUp(self):
		self.dir = pathlib.Path(tempfile.mkdtemp(prefix="cors."))
		self.dir.chmod(0o755)
		self.addCleanup(shutil.rmtree, self.dir)
		self.settings = CONF.read_bytes()
		self.addCleanup(CONF.write_bytes, self.settings)

	def database(self):
		cluster = postgres.Cluster()
		self.addCleanup(cluster.remove)
		os.chmod(cluster.dir, 0o755)
		run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", SHARE / "sql/0001_schema.sql")
		run("psql", "-Xqc", "CREATE ROLE corscache LOGIN IN ROLE cors_reader")
		CONF.write_text(self.settings.decode().replace('#conninfo = ""', f'conninfo = "host={cluster.dir} dbname=postgres user=corscache"'))
		self.sql = postgres.Session("postgres")
		self.addCleanup(self.sql.psql.communicate)

	def service(self, name, listener=None):
		"""As the unit says; strace looks on from the side (-D), so that the pid is the program's."""
		unit = f"{name}.service"
		user = pwd.getpwnam(setting(unit, "User")[0])
		manager = harness.Manager(tempfile.mkdtemp(dir=self.dir))
		os.chmod(manager.path.parent, 0o755)
		os.chmod(manager.path, 0o777)
		trace = self.dir / f"{name}.trace"
		trace.touch()
		os.chown(trace, user.pw_uid, user.pw_gid)
		self.addCleanup(manager.close)
		argv = ["strace", "-D", "-f", "-qq", "-e", "signal=none", "-o", trace, *setting(unit, "ExecStart")[0].split()]
		process = manager.spawn(["setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all",
		    f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *argv], listener,
		    umask=int(setting(unit, "UMask")[0], 8), cwd="/", start_new_session=True)
		self.addCleanup(self.end, process)
		manager.wait_for("READY=1")
		process.manager = manager
		return process

	def end(self, process):
		if process.poll() is None:
			os.killpg(process.pid, signal.SIGKILL)
		process.wait(10)

	def stop(self, process):
		process.send_signal(signal.SIGTERM)
		process.manager.wait_for("STOPPING=1")
		process.wait(20)

	def socket(self):
		"""What corscache-responder.socket makes."""
		unit = "corscache-responder.socket"
		path = setting(unit, "ListenStream")[0]
		listener = socket.socket(socket.AF_UNIX)
		self.addCleanup(listener.close)
		mask = os.umask(0o777)
		listener.bind(path)
		os.umask(mask)
		self.addCleanup(os.unlink, path)
		shutil.chown(path, *setting(unit, "SocketUser"), *setting(unit, "SocketGroup"))
		os.chmod(path, int(setting(unit, "SocketMode")[0], 8))
		listener.listen(int(setting(unit, "Backlog")[0]))
		return path, listener

	def nginx(self):
		"""The snippets as they are, where README.Debian puts them."""
		with socket.socket() as s:
			s.bind(("127.0.0.1", 0))
			port = s.getsockname()[1]
		(self.dir / "corscache").symlink_to(SHARE / "nginx")
		www = self.dir / "www"
		www.mkdir()
		(www / "index.html").write_text("hello\n")
		paths = "".join(f"{kind}_temp_path {self.dir}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
		(self.dir / "nginx.conf").write_text(f"user www-data;\ndaemon off;\npid {self.dir}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
		    f"http {{\naccess_log off;\n{paths}include corscache/corscache.conf;\n"
		    f"server {{\nlisten 127.0.0.1:{port};\nroot {www};\ninclude corscache/corscache_server.conf;\n"
		    "include corscache/corscache_headers.conf;\ninclude corscache/corscache_errors.conf;\n}\n}\n")
		with open(self.dir / "nginx.log", "wb") as log:
			process = subprocess.Popen(["nginx", "-p", str(self.dir), "-e", "stderr", "-c", str(self.dir / "nginx.conf")],
			    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
		self.addCleanup(self.end, process)
		client = harness.Client(f"http://127.0.0.1:{port}")
		self.addCleanup(client.close)

		def answers():
			try:
				return client("GET", "/").status == 200
			except OSError:
				return False
		eventually("nginx answers", answers)
		return client

	def cachectl(self, *args, status=0):
		done = run("/usr/bin/cachectl", *args, check=False)
		self.assertEqual(done.returncode, status, done.stdout)
		return done.stdout

	def check_syscalls(self):
		for service in SERVICES:
			words = [w for line in setting(f"{service}.service", "SystemCallFilter") for w in
			    ([f"~{x}" for x in line[1:].split()] if line.startswith("~") else line.split())]
			allowed = set()
			for word in words:
				group = self.group(word.lstrip("~"))
				allowed = allowed - group if word.startswith("~") else allowed | group
			made = set(re.findall(r"^\d+ +(?:<\.\.\. )?(\w+)[( ]", (self.dir / f"{service}.trace").read_text(), re.MULTILINE))
			self.assertGreater(len(made), 20)
			# execve is setpriv's and strace's own way in; a filter that is on allows it always
			print(f"\n  {service}: {len(made)} system calls", end="")
			self.assertEqual(made - allowed - {"execve"}, set(), service)

	def group(self, name):
		if not name.startswith("@"):
			return {name}
		found = set()
		for line in run("systemd-analyze", "syscall-filter", name).stdout.splitlines()[2:]:
			word = line.strip()
			if word and not word.startswith("#"):
				found |= self.group(word)
		return found

	def test_it_does_its_main_job(self):
		self.database()
		self.sql.ok(f"INSERT INTO cors.origins (origin) VALUES ('{A}')")
		for service in SERVICES:
			self.assertEqual(run(f"/usr/sbin/{service}", "-t").stdout, f"{service}: the settings are good\n")
		path, listener = self.socket()
		syncd = self.service("corscache-syncd")
		responder = self.service("corscache-responder", listener)
		client = self.nginx()
		preflight = client.preflight(A, "GET")
		self.assertEqual((preflight.status, preflight.get("Access-Control-Allow-Origin")), (200, A))
		self.assertTrue(client.allowed(A))
		self.assertFalse(client.allowed(B))
		self.sql.ok(f"INSERT INTO cors.origins (origin) VALUES ('{B}')")
		eventually("the new row is answered", lambda: client.allowed(B))
		self.cachectl("status")
		self.cachectl("check", B)
		self.cachectl("verify")
		self.assertRegex(self.cachectl("stats"), r"actuals_allowed\s+[1-9]")
		self.assertIn("by corscache-syncd", self.cachectl("invalidate", B))
		# a large change grows the table into new files, which must be the readers' too
		self.sql.ok("INSERT INTO cors.origins (origin) SELECT 'https://o' || i || '.example.com' FROM generate_series(1, 20000) i")
		eventually("the last of many", lambda: client.allowed("https://o20000.example.com"))
		self.assertEqual({grp.getgrgid(p.stat().st_gid).gr_name for p in (RUN / "v1").iterdir()}, {"corscache-responder"})
		self.check_revoking_without_syncd(client, syncd)
		self.stop(responder)
		self.assertEqual(running(), [])
		self.assertTrue(pathlib.Path(path).exists(), "the socket is systemd's")
		self.check_syscalls()

	def check_revoking_without_syncd(self, client, syncd):
		self.stop(syncd)
		self.assertTrue(client.allowed(A))
		self.assertIn("by cachectl itself", self.cachectl("invalidate", A))
		self.assertFalse(client.allowed(A))
		self.assertTrue(client.allowed("https://o7.example.com"), "the responder still reads all of it")


if __name__ == "__main__":
	if os.geteuid() != 0:
		harness.skip("main_job needs root: its daemons run as users of their own")
	for name in ("nginx", "strace", "systemd-analyze"):
		if not shutil.which(name):
			harness.skip(f"{name} is not installed")
	if running():
		harness.skip("corscache runs here: this test would be in its way")
	unittest.main(verbosity=2)

# SPDX-License-Identifier: BSD-2-Clause
"""postgres -- a private PostgreSQL for the benchmark, on a unix socket."""

import glob
import os
import shutil
import subprocess
import tempfile


class Postgres:
	def __init__(self, programs):
		self.programs = programs
		self.dir = tempfile.mkdtemp(prefix="corscache-bench.")
		# PostgreSQL refuses root
		self.user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
		if self.user:
			shutil.chown(self.dir, "postgres", "postgres")
		self.conninfo = f"host={self.dir} port=5432 dbname=postgres user=postgres"

	def run(self, name, *args):
		subprocess.run([f"{self.programs}/{name}", "-D", f"{self.dir}/data", *args], check=True, cwd="/",
		    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=120, **self.user)

	def start(self, options):
		self.run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
		self.run("pg_ctl", "start", "-w", "-s", "-l", f"{self.dir}/log", "-o",
		    f"-c listen_addresses='' -c unix_socket_directories={self.dir} -c shared_buffers=256MB {options}")

	def stop(self):
		try:
			self.run("pg_ctl", "stop", "-w", "-s", "-m", "immediate")
		finally:
			shutil.rmtree(self.dir, ignore_errors=True)


def start(ctx, options):
	"""options: of the server. A running Postgres, or False when there is none to run."""
	found = sorted(glob.glob("/usr/lib/postgresql/*/bin/pg_ctl")) or [p for p in [shutil.which("pg_ctl")] if p]
	if not found:
		ctx.absent("PostgreSQL", "pg_ctl is not installed")
		return False
	server = Postgres(os.path.dirname(found[-1]))
	try:
		server.start(options)
	except BaseException:
		shutil.rmtree(server.dir, ignore_errors=True)
		raise
	return server

# SPDX-License-Identifier: BSD-2-Clause
"""sync -- from the database to the table: COMMIT to visible, the first load, a burst, a policy of all origins.

PostgreSQL runs without fsync, so that what a commit costs is work and not the
disk; one burst runs with it. "bare" is a client that LISTENs and SELECTs the
newest row.
"""

import contextlib
import pathlib
import shutil
import subprocess
import time

from parts.lookup import number

order = 40

SCHEMA = pathlib.Path(__file__).resolve().parents[2] / "sql" / "0001_schema.sql"
COPY = "COPY (SELECT realm, origin, policy, allow, expires_at FROM cors.origins) TO STDOUT (FORMAT binary)"


def psql(database, *args):
	subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database, *args], check=True,
	    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=3600)


def timed(call, *args):
	begin = time.monotonic()
	call(*args)
	return time.monotonic() - begin


def new_database(ctx, server, name):
	psql(server, "-c", f"CREATE DATABASE {name}")
	return server.replace("dbname=postgres", f"dbname={name}")


def command(ctx, directory, database):
	return [str(ctx.build / "corscache-syncd"), "-c", "/dev/null", "-o", f"sync.conninfo={database}",
	    "-o", f"table.path={directory}/table", "-o", f"sync.control_socket={directory}/control.sock"]


def load(ctx, database):
	directory = ctx.directory()
	line, = ctx.run("sync", "load", f"--dir={directory}/table", "--", *command(ctx, directory, database))
	shutil.rmtree(directory, ignore_errors=True)
	return line


def reserve(ctx, size):
	time.sleep(ctx.pick(3, 3, 0))		# a hypervisor takes back what has been free for two seconds
	line, = ctx.run("sync", "reserve", f"--dir={ctx.directory()}", f"--bytes={size}")
	return line["seconds"]


def first_load(ctx, database, origins):
	psql(database, "-c", COPY)		# into PostgreSQL's cache
	rounds = ctx.pick(5 if origins <= 10**6 else 3, 3, 1)
	took = ctx.interleave(rounds, ours=lambda: load(ctx, database), psql=lambda: timed(psql, database, "-c", COPY))
	size = took["ours"][-1]["bytes"]
	seconds = [line["seconds"] for line in took["ours"]]
	ctx.row(f"first load of {number(origins)} rows", "s", seconds, "psql COPY TO STDOUT >/dev/null", took["psql"],
	    at_most=1.3 if origins >= 10**6 else None)
	ctx.row(f"first load of {number(origins)} rows: its memory alone", "s", [reserve(ctx, size) for _ in range(rounds)])
	ctx.row(f"first load of {number(origins)} rows: CPU of corscache-syncd", "s", [line["user_s"] + line["system_s"] for line in took["ours"]])


@contextlib.contextmanager
def running(ctx, database):
	directory = ctx.directory()
	with open(f"{directory}/log", "wb") as log:
		syncd = subprocess.Popen(command(ctx, directory, database), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
	try:
		yield f"{directory}/table"
	finally:
		syncd.terminate()
		syncd.wait(30)
		shutil.rmtree(directory, ignore_errors=True)


def latency(ctx, options, bare):
	lines = ctx.run("sync", "latency", *options, f"--bare={bare}", f"--commits={ctx.pick(600, 300, 5)}",
	    f"--rounds={ctx.pick(5, 3, 1)}")
	of = lambda subject, field: [line[field] for line in lines if line["latency"] == subject]
	for since in ("sent", "returned"):
		for point in ("p50", "p99"):
			field = f"{since}_{point}_us"
			ctx.row(f"COMMIT {since} to visible, {point}", "us", of("ours", field), "bare LISTEN + SELECT", of("bare", field),
			    at_most=1.5 if (since, point) == ("sent", "p50") else None)


def burst(ctx, options, suffix=""):
	commits, clients = ctx.pick(10000, 10000, 80), 8
	lines = ctx.run("sync", "burst", *options, f"--commits={commits}", f"--clients={clients}", f"--rounds={ctx.pick(5, 3, 1)}")
	of = lambda subject, field: [line[field] for line in lines if line["burst"] == subject]
	name = f"burst of {commits} commits, {clients} clients{suffix}"
	ctx.row(name, "commits/s", of("ours", "commits_per_s"), "the same without triggers", of("plain", "commits_per_s"))
	for point in ("p50", "p99", "max"):
		ctx.row(f"{name}: table behind, {point}", "ms", [us / 1000 for us in of("watched", f"lag_{point}_us")])


def new_schema(ctx, server, origins):
	database = new_database(ctx, server, f"bench_sync_{origins}")
	psql(database, "-f", str(SCHEMA))
	ctx.run("sync", "fill", f"--database={database}", f"--origins={origins}")
	return database


def durable_burst(ctx, origins):
	database = new_schema(ctx, ctx.postgres(durable=True), origins)
	with running(ctx, database) as table:
		options = (f"--dir={table}", f"--database={database}", f"--origins={origins}")
		ctx.run("sync", "plain", *options)
		burst(ctx, options, ", each on disk")


def policy(ctx, options, origins):
	lines = ctx.run("sync", "policy", *options, f"--rounds={ctx.pick(20, 10, 2)}")
	ctx.row(f"COMMIT sent of policies that {number(origins)} origins have, to visible", "ms", [line["ms"] for line in lines])


def measure(ctx):
	server = ctx.postgres()
	if server is None:
		return
	bare = new_database(ctx, server, "bench_bare")
	for origins in ctx.pick((10**6, 10**7), (10**6,), (1000,)):
		ctx.say(f"{number(origins)} origins")
		database = new_schema(ctx, server, origins)
		first_load(ctx, database, origins)
		if origins > 10**6:
			continue
		with running(ctx, database) as table:
			options = (f"--dir={table}", f"--database={database}", f"--origins={origins}")
			latency(ctx, options, bare)
			ctx.run("sync", "plain", *options)
			burst(ctx, options)
			policy(ctx, options, origins)
	durable_burst(ctx, ctx.pick(10**5, 10**5, 1000))

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
latency -- how long from COMMIT to the first answer that knows of it.

	tests/system/latency.py DIR distribution N	of N inserts, through nginx
	tests/system/latency.py DIR insert ORIGIN	of one
	tests/system/latency.py DIR wait ORIGIN		until it is allowed

The clock starts before COMMIT is sent, so the commit itself is part of it,
and stops when the first answer with the new verdict has arrived.
"""

import os
import random
import sys
import time

import harness


def change(sql, statement, answered):
	"""Seconds from COMMIT of the statement until answered() is true."""
	sql("BEGIN")
	sql(statement)
	sql.send("COMMIT")
	seconds = harness.eventually(f"answered after {statement}", answered, pause=0)
	sql.receive()
	return seconds


def inserts(sql, allowed, count):
	"""Seconds for each of count new origins, one a transaction, at irregular moments."""
	run = os.urandom(4).hex()
	seconds = []
	for n in range(count):
		origin = f"https://new-{run}-{n}.example"
		if allowed(origin):
			raise AssertionError(f"{origin} is allowed before it exists")
		seconds.append(change(sql, f"INSERT INTO cors.origins (origin) VALUES ('{origin}')", lambda: allowed(origin)))
		time.sleep(random.uniform(0, 0.05))
	return seconds


def main(directory, command, argument):
	env = harness.read_env(directory)
	sql, nginx = harness.Psql(env), harness.Client(env["NGINX_URL"])
	if command == "wait":
		harness.eventually(f"{argument} is allowed", lambda: nginx.allowed(argument))
	elif command == "insert":
		statement = f"INSERT INTO cors.origins (origin) VALUES ('{argument}')"
		seconds = change(sql, statement, lambda: nginx.allowed(argument))
		print(f"  {statement};\n    allowed {1000 * seconds:.2f} ms after COMMIT was sent")
	else:
		print(harness.distribution(inserts(sql, nginx.allowed, int(argument))))
	nginx.close()
	sql.close()


if __name__ == "__main__":
	main(*sys.argv[1:])

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What tests/bounded and tests/system/bounds.py promise to every other test."""

import os
import pathlib
import signal
import subprocess
import sys
import unittest

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "system"))
sys.dont_write_bytecode = True
import bounds	# noqa: E402

CASES = """
import sys, threading, unittest
sys.path.insert(0, {place!r})
import bounds
class Cases(unittest.TestCase):
	def test_a_waits(self):
		threading.Event().wait()
	def test_b_is_quick(self):
		pass
bounds.main()
"""


def bounded(script, bound_s=60, ignored=()):
	"""Runs a shell's script below it: (exit status, what it said)."""
	def ignore():
		for number in ignored:
			signal.signal(number, signal.SIG_IGN)
	done = subprocess.run([TESTS / "bounded", "sh", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
	    stderr=subprocess.STDOUT, text=True, timeout=120, preexec_fn=ignore, env={**os.environ, "BOUND_S": str(bound_s), "GRACE_S": "1"})
	return done.returncode, done.stdout


def running(command):
	"""The processes with this command line, as /proc spells it."""
	found = []
	for file in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
		try:
			found += [file] if file.read_bytes() == command else []
		except OSError:
			pass	# it has ended
	return found


class Bounded(unittest.TestCase):
	def test_the_status_is_the_programs(self):
		for status in (0, 1, 77, 99):
			self.assertEqual(bounded(f"exit {status}"), (status, ""))
		self.assertEqual(bounded("kill -KILL $$"), (128 + signal.SIGKILL, ""))

	def test_who_waits_for_ever_is_named_and_stopped(self):
		status, said = bounded("sleep 1001 & wait", bound_s=0.5)
		self.assertEqual(status, 1)
		self.assertRegex(said, r"sh has not ended within 0.5 s; still running:\n(.*\n)*  \d+ sleep 1001\n")
		self.assertEqual(running(b"sleep\x001001\0"), [])

	def test_what_is_left_behind_fails_and_ends(self):
		status, said = bounded("setsid sleep 1002 & exit 0")
		self.assertEqual(status, 1)
		self.assertRegex(said, r"sh left these running:\n  \d+ sleep 1002\n")
		self.assertEqual(running(b"sleep\x001002\0"), [])

	def test_signals_that_were_ignored_are_not(self):
		for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
			self.assertEqual(bounded(f"kill -{number} $$; exit 5", ignored=[number])[0], 128 + number)


class Bounds(unittest.TestCase):
	def test_a_case_that_waits_fails_and_the_others_go_on(self):
		done = subprocess.run([sys.executable, "-c", CASES.format(place=str(TESTS / "system"))], stdin=subprocess.DEVNULL,
		    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, env={**os.environ, "CASE_BOUND_S": "0.5"})
		self.assertEqual(done.returncode, 1)
		self.assertIn("in test_a_waits", done.stdout)
		self.assertIn("nothing came of it within 0.5 s", done.stdout)
		self.assertRegex(done.stdout, r"test_b_is_quick .*ok")
		self.assertIn("FAILED (errors=1)", done.stdout)


if __name__ == "__main__":
	bounds.main()

# SPDX-License-Identifier: BSD-2-Clause
"""
bounds -- no case of a system test waits for ever. bounds.main() takes the place
of unittest.main(): a case, or what is set up around cases, that takes longer
than $CASE_BOUND_S (300 s) fails, with the line that waited in its traceback, and
the others go on. A bound of its own says sooner what was waited for: this one is
for the reads and waits that have none, and for bugs.
"""

import os
import signal
import unittest

CASE_BOUND_S = float(os.environ.get("CASE_BOUND_S", 300))


class WaitedTooLong(Exception):
	def __init__(self, *_):
		super().__init__(f"nothing came of it within {CASE_BOUND_S:g} s")


def ring(*_):
	raise WaitedTooLong


def wind_up():
	"""Again and again: what is done after the first bell must end, too."""
	signal.setitimer(signal.ITIMER_REAL, CASE_BOUND_S, CASE_BOUND_S / 5)


class Result(unittest.TextTestResult):
	def startTest(self, test):
		wind_up()
		super().startTest(test)

	def stopTest(self, test):
		super().stopTest(test)
		wind_up()


def run():
	"""The cases of the file that is run; its unittest.TestResult."""
	signal.signal(signal.SIGALRM, ring)
	wind_up()
	runner = unittest.TextTestRunner(verbosity=2, resultclass=Result)
	try:
		return unittest.main(module="__main__", testRunner=runner, exit=False).result
	finally:
		signal.setitimer(signal.ITIMER_REAL, 0)


def main():
	raise SystemExit(not run().wasSuccessful())

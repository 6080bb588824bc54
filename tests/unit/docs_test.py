#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""docs -- the generated parts of the manuals and the sample file are what doc/generate makes of the tables."""

import os
import pathlib
import subprocess
import sys

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("CORSCACHE_BUILD", ".")).resolve()

if __name__ == "__main__":
	sys.exit(subprocess.run([SOURCE / "doc/generate", "--check", BUILD / "cachectl/cachectl"], timeout=120).returncode)

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""cachectl completion in the real shells: bash, zsh and fish complete commands, options, words, files and settings."""

import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
import bounds
CACHECTL = pathlib.Path(os.environ.get("CORSCACHE_BUILD", ".")).resolve() / "cachectl" / "cachectl"
DEADLINE_S = 60

# What is typed, some of what must be offered, and what must not.
CASES = (
	("cachectl ", {"status", "check", "list", "load", "completion", "help"}, {"--json"}),
	("cachectl ver", {"verify"}, {"status"}),
	("cachectl --json in", {"invalidate"}, {"list"}),
	("cachectl -c x.conf che", {"check"}, {"load"}),
	("cachectl check --", {"--realm", "--method", "--json"}, {"--dry-run", "check"}),
	("cachectl invalidate --d", {"--dry-run"}, {"--realm"}),
	("cachectl lint --severity ", {"error", "warning", "note"}, {"--json", "status"}),
	("cachectl stats --watch --co", {"--count"}, {"--watch"}),
	("cachectl check --from-headers ", {"rows.jsonl", "with space"}, {"status"}),
	("cachectl completion ", {"bash", "zsh", "fish"}, {"status"}),
	("cachectl help li", {"list"}, {"status"}),
	("cachectl -o sync.po", {"sync.poll_ms="}, {"sync.conninfo="}),
	("cachectl -o sync.poll_ms=5 che", {"check"}, {"load"}),
	("cachectl --option=sync.poll_ms=5 --table=/x che", {"check"}, {"load"}),
	("cachectl --option=sync.po", {"sync.poll_ms="}, {"sync.conninfo=", "status"}),
	("cachectl -o sync.poll_ms=c", set(), {"check"}),
	("cachectl lint --severity=w", {"warning"}, {"error"}),
	("cachectl check --from-headers=r", {"rows.jsonl"}, {"with space"}),
	("cachectl load ", {"rows.jsonl", "with space"}, {"status"}),
	("cachectl --table ", {"folder"}, {"rows.jsonl"}),
)


class Shell(unittest.TestCase):
	shell = None

	def setUp(self):
		if self.shell is None or not shutil.which(self.shell):
			self.skipTest(f"{self.shell} is not installed (Debian: {self.shell})")
		self.dir = pathlib.Path(tempfile.mkdtemp(prefix="cachectl."))
		self.addCleanup(shutil.rmtree, self.dir)
		self.home = self.dir / "home"
		for name in ("home/folder", "functions"):
			(self.dir / name).mkdir(parents=True)
		for name in ("rows.jsonl", "with space"):
			(self.home / name).touch()
		done = subprocess.run([CACHECTL, "completion", self.shell], capture_output=True, timeout=DEADLINE_S)
		self.assertEqual((done.returncode, done.stderr), (0, b""))
		self.script = self.dir / "functions" / "_cachectl"
		self.script.write_bytes(done.stdout)
		self.env = {"PATH": f"{CACHECTL.parent}:{os.environ['PATH']}", "HOME": str(self.home), "LANG": "C.UTF-8", "TERM": "dumb"}

	def run_(self, *argv, stdin=None):
		done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=DEADLINE_S, cwd=self.home, env=self.env)
		self.assertEqual((done.returncode, done.stderr), (0, ""), argv)
		return done.stdout

	def check(self, offered):
		for typed, wanted, unwanted in CASES:
			with self.subTest(typed):
				words = offered(typed)
				self.assertLessEqual(wanted, words)
				self.assertFalse(unwanted & words)


class Bash(Shell):
	shell = "bash"

	def offered(self, typed):
		words = re.findall(r"=|[^ =]+|(?<= )$", typed)		# COMP_WORDBREAKS
		return set(self.run_("bash", "--norc", "-c", 'compopt() { :; }; source "$1"; shift; COMP_WORDS=("$@"); '
		    'COMP_CWORD=$(($# - 1)); _cachectl; printf "%s\\n" "${COMPREPLY[@]}"', "bash", self.script, *words).splitlines())

	def test_it_completes(self):
		self.check(self.offered)


class Fish(Shell):
	shell = "fish"

	def offered(self, typed):
		out = self.run_("fish", "--no-config", "-c", f"source {self.script}; complete -C '{typed}'")
		return {re.sub("^--[a-z-]+=(?=.)", "", line.split("\t")[0]).replace("\\ ", " ").rstrip("/") for line in out.splitlines()}

	def test_it_completes(self):
		self.check(self.offered)


class Zsh(Shell):
	"""zsh completes only at its own prompt: it gets a terminal, and completions are printed instead of inserted."""
	shell = "zsh"
	SETUP = r"""
PS1= ; PS2= ; setopt no_beep; unsetopt zle_bracketed_paste
fpath=(FUNCTIONS $fpath); autoload -Uz compinit; compinit -u -D
zstyle ':completion:*' insert-tab false
compadd() {
	if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)* ]]; then builtin compadd "$@"; return; fi
	typeset -a hits; builtin compadd -A hits "$@"; (( $#hits )) || return 1
	local hit; for hit in $hits; do print -r -- "<$hit>"; done >>OUT
	builtin compadd "$@"
}
zle -C _mark complete-word _all
_all() { _main_complete; print -r -- "<end>" >>OUT; compstate[insert]= ; compstate[list]= ; }
bindkey '^I' _mark
_line() { zle complete-word; print -r -- "<$BUFFER><end>" >>OUT; }
zle -N _line; bindkey '^O' _line
print ready >>OUT
"""

	def setUp(self):
		super().setUp()
		self.out = self.dir / "out"
		rc = self.home / ".zshrc"
		rc.write_text(self.SETUP.replace("FUNCTIONS", str(self.script.parent)).replace("OUT", str(self.out)))
		master, slave = pty.openpty()
		self.terminal = master
		self.child = subprocess.Popen(["zsh", "-i"], stdin=slave, stdout=slave, stderr=slave,
		    cwd=self.home, env={**self.env, "ZDOTDIR": str(self.home), "TERM": "xterm"}, start_new_session=True)
		os.close(slave)
		self.addCleanup(self.stop)
		self.wait_for("ready")

	def stop(self):
		self.child.kill()
		self.child.wait(DEADLINE_S)
		os.close(self.terminal)

	def wait_for(self, text):
		said, end = b"", time.monotonic() + DEADLINE_S
		while not self.out.exists() or text not in self.out.read_text():
			self.assertLess(time.monotonic(), end, f"zsh: no {text}: {said.decode(errors='replace')}")
			if select.select([self.terminal], [], [], 0.02)[0]:
				said += os.read(self.terminal, 4096)	# or it would block on a full terminal

	def offered(self, typed):
		self.out.write_text("")
		os.write(self.terminal, b"\x15" + typed.encode() + b"\t")
		self.wait_for("<end>")
		return {line[1:-1].replace("\\ ", " ").rstrip("/") for line in self.out.read_text().splitlines()} - {"end"}

	def test_it_completes(self):
		self.check(self.offered)

	def test_the_value_of_a_setting_follows_at_once(self):
		for typed in ("cachectl -o sync.po", "cachectl --option=sync.po"):
			self.out.write_text("")
			os.write(self.terminal, b"\x15" + typed.encode() + b"\x0f")
			self.wait_for("<end>")
			self.assertIn(f"<{typed}ll_ms=><end>", self.out.read_text())


if __name__ == "__main__":
	bounds.main()

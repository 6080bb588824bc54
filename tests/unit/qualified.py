#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""qualified -- holds our SQL to names that no search_path leads astray.

A stranger may have put functions, operators and types of the usual names in a
schema that the session searches first; behind a pooler the session is not even
ours. So what our programs ask says pg_catalog in front of everything. (What
they print for a human to run is the human's.) The schema file pins search_path
instead, in itself and in each function: sql_test looks at both.
"""

import pathlib
import re
import sys

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
FILES = ("lib/sql.h", "syncd/*.[ch]", "cachectl/db.[ch]", "cachectl/cmd_verify.c", "cachectl/cmd_lint.c")

STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
SQL = re.compile(r"\b(SELECT|FROM|WHERE|AND|OR|JOIN|CASE|WHEN|ELSE|UNION|ORDER BY|OPERATOR|COLLATE|LIMIT)\b|pg_catalog|::")
# Keywords with a bracket behind them, which are no names.
GRAMMAR = {"select", "from", "where", "and", "or", "not", "in", "as", "on", "exists", "values", "lateral", "any", "all", "array", "row", "case",
	"when", "then", "else", "join", "materialized", "union", "operator", "rows", "format", "greatest", "least", "coalesce", "extract", "copy",
	"by", "over", "filter", "with", "all", "prune"}
TYPES = {"boolean", "integer", "bigint"}		# keywords of the grammar, too
ALIAS = re.compile(r"\b(h|wanted) \(\w+(, \w+)*\)")	# FROM ... h (realm, origin)


def complaints(text):
	"""Of one string of SQL."""
	text = re.sub(r"'[^']*'", "''", text.replace('\\"', '"'))
	text = ALIAS.sub("", re.sub(r"OPERATOR\(pg_catalog\.[^)]+\)", " ", text))
	for name in re.findall(r"(?<![\w.])(\w+) ?\(", text):
		if name.lower() not in GRAMMAR and not name.isupper():
			yield "the function " + name
	for name in re.findall(r"::(?!pg_catalog\.)(\w+)", text):
		if name not in TYPES:
			yield "the type " + name
	for name in re.findall(r'COLLATE (?!pg_catalog\.)(\S+)', text):
		yield "the collation " + name
	for name in re.findall(r"(?:FROM|JOIN|LATERAL) (pg_\w+)(?![\w.(])", text):
		yield "the relation " + name
	for sign in re.findall(r"(?<!SELECT )(?<!\()(?<!SELECT o\.)[-+*/<>=~!@#%^&|`?]+", text):
		if sign != "%" or " % " in text:
			yield "the operator " + sign
	for word in re.findall(r"\b(USING|NATURAL|IN \(|LIKE|ILIKE|BETWEEN|NULLIF|DISTINCT FROM|SIMILAR)", text):
		yield f"{word}, which looks for an operator"


def main():
	bad = ["SELECT now()", "WHERE a = b", "SELECT a::text", "ORDER BY a COLLATE \\\"C\\\"", "FROM a JOIN b USING (c)", "SELECT FROM pg_class c",
		"WHERE a IS DISTINCT FROM b", "AND xid >= $1"]
	good = ["SELECT * FROM cors.meta", "WHERE a OPERATOR(pg_catalog.=) pg_catalog.now()::pg_catalog.text", "SELECT interval '%d s', %d FROM x"]
	if not all(any(complaints(b)) for b in bad) or any(c for g in good for c in complaints(g)):
		sys.exit("qualified: the test itself no longer tells right from wrong")
	files = [p for pattern in FILES for p in sorted(TREE.glob(pattern))]
	strings = [(p, s) for p in files for s in STRING.findall(re.sub(r"/\*.*?\*/", "", p.read_text(), flags=re.S)) if SQL.search(s)]
	if len(strings) < 40:
		sys.exit("qualified: the test no longer finds the SQL")
	wrong = [f"{p.relative_to(TREE)}: {c} is not qualified: {s}" for p, s in strings for c in complaints(s)]
	print("\n".join(wrong) or f"{len(strings)} strings, every name says whose it is")
	sys.exit(bool(wrong))


main()

# SPDX-License-Identifier: BSD-2-Clause
"""
fcgi -- the web server's side of FastCGI, raw: exactly the parameters given,
repeated ones included, one connection a request.
"""

import os
import socket
import struct

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR = range(1, 8)
RESPONDER, AUTHORIZER = 1, 2
KEEP_CONN = 1


def record(kind, content=b"", request_id=1):
	return struct.pack("!BBHHBx", 1, kind, request_id, len(content), 0) + content


def begin(role=RESPONDER, flags=0, request_id=1):
	return record(BEGIN, struct.pack("!HB5x", role, flags), request_id)


def to_bytes(value):
	return value if isinstance(value, bytes) else str(value).encode("latin-1")


def length(n):
	return struct.pack("!B", n) if n < 128 else struct.pack("!I", n | 1 << 31)


def encode(params):
	"""params: pairs, in order, names may repeat."""
	out = b""
	for name, value in params:
		name, value = to_bytes(name), to_bytes(value)
		out += length(len(name)) + length(len(value)) + name + value
	return out


def decode(content):
	"""What encode() made, as pairs of strings."""
	at, words = 0, []
	while at < len(content):
		sizes = []
		for _ in range(2):
			n = content[at]
			if n >= 128:
				n = struct.unpack_from("!I", content, at)[0] & 0x7fffffff
			at += 1 if content[at] < 128 else 4
			sizes.append(n)
		for n in sizes:
			words.append(content[at:at + n].decode("latin-1"))
			at += n
	return list(zip(words[::2], words[1::2]))


def request(params, role=RESPONDER, flags=0, body=b""):
	"""The bytes of a whole request."""
	content = encode(params)
	out = begin(role, flags)
	for at in range(0, len(content), 65535):
		out += record(PARAMS, content[at:at + 65535])
	out += record(PARAMS)
	if role == RESPONDER:
		for at in range(0, len(body), 65535):
			out += record(STDIN, body[at:at + 65535])
		out += record(STDIN)
	return out


class Answer:
	def __init__(self, raw):
		head, _, self.body = raw.partition(b"\r\n\r\n")
		self.headers = [tuple(part.strip().decode("latin-1") for part in line.split(b":", 1))
		    for line in head.split(b"\r\n") if b":" in line]
		self.status = int((self.all("status") or ["200"])[0][:3])

	def all(self, name):
		return [value for key, value in self.headers if key.lower() == name]

	def get(self, name):
		"""The value, several lines joined; None when absent."""
		values = self.all(name)
		return ", ".join(values) if values else None


def read_exactly(s, n):
	out = b""
	while len(out) < n:
		more = s.recv(n - len(out))
		if not more:
			raise ConnectionError("the responder closed the connection in the middle")
		out += more
	return out


def read_answer(s):
	stdout = b""
	while True:
		_, kind, _, size, padding = struct.unpack("!BBHHBx", read_exactly(s, 8))
		content = read_exactly(s, size + padding)[:size]
		if kind == STDOUT:
			stdout += content
		elif kind == END:
			return Answer(stdout)


def ask(path, params, role=RESPONDER, timeout=10):
	"""One request on a fresh connection."""
	with socket.socket(socket.AF_UNIX) as s:
		s.settimeout(timeout)
		s.connect(os.fspath(path))
		s.sendall(request(params, role))
		return read_answer(s)


def page(path, name):
	"""The status of one of the responder's pages, or None when it does not answer."""
	try:
		return ask(path, [("REQUEST_METHOD", "GET"), ("CORS_PAGE", name)], timeout=2).status
	except OSError:
		return None

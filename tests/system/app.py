#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
app -- the application behind the web servers: one in four ways. It listens on
the unix sockets argv[1] (HTTP), argv[1].fastcgi, argv[1].uwsgi and argv[1].scgi.

	…/status/NNN		answers NNN
	…/echo			answers the request's body
	…/login			401, but 204 to whoever has the cookie login=yes
	?header=NAME:VALUE	adds a response header (may repeat): a wrong ACAO, a Vary
"""

import http
import http.server
import os
import re
import socketserver
import struct
import sys
import threading
import urllib.parse

import fcgi


def respond(method, target, sent, cookie):
	"""(status, headers, body) for a request, however it came."""
	url = urllib.parse.urlsplit(target)
	wanted = re.search(r"/status/(\d{3})$", url.path)
	status = int(wanted[1]) if wanted else 200
	if url.path.endswith("/login"):
		status = 204 if "login=yes" in cookie else 401
	content = sent if url.path.endswith("/echo") else f"{method} {status}\n".encode()
	headers = [tuple(h.split(":", 1)) for h in urllib.parse.parse_qs(url.query).get("header", ())]
	if status in (301, 302, 307):
		headers.append(("Location", "/app/status/200"))
	if status == 304:
		headers.append(("ETag", '"x"'))
	if status not in (204, 304):
		headers.append(("Content-Length", str(len(content))))
	return status, headers, b"" if method == "HEAD" or status in (204, 304) else content


def cgi_answer(params, sent):
	"""The answer to the variables of FastCGI, uwsgi and SCGI, as a CGI program writes it."""
	status, headers, content = respond(params["REQUEST_METHOD"], params["REQUEST_URI"], sent, params.get("HTTP_COOKIE", ""))
	lines = [f"Status: {status} {http.HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers)]
	return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


class Http(http.server.BaseHTTPRequestHandler):
	protocol_version = "HTTP/1.1"

	def body(self):
		if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
			out = b""
			while size := int(self.rfile.readline().split(b";")[0], 16):
				out += self.rfile.read(size)
				self.rfile.readline()
			self.rfile.readline()
			return out
		return self.rfile.read(int(self.headers.get("Content-Length") or 0))

	def answer(self):
		status, headers, content = respond(self.command, self.path, self.body(), self.headers.get("Cookie", ""))
		self.send_response(status)
		for header in headers:
			self.send_header(*header)
		self.end_headers()
		self.wfile.write(content)

	do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = answer

	def log_message(self, *args):
		pass

	def address_string(self):
		return "unix"


class FastCgi(socketserver.StreamRequestHandler):
	def handle(self):
		while self.one_request():
			pass

	def one_request(self):
		"""False: the connection is to be closed."""
		stream = {fcgi.PARAMS: b"", fcgi.STDIN: b""}
		keep, ended = False, False
		while not ended:
			head = self.rfile.read(8)
			if len(head) < 8:
				return False
			_, kind, number, size, padding = struct.unpack("!BBHHBx", head)
			content = self.rfile.read(size + padding)[:size]
			if kind == fcgi.BEGIN:
				keep = content[2] & fcgi.KEEP_CONN
			elif kind in stream:
				stream[kind] += content
				ended = kind == fcgi.STDIN and not content
		answer = cgi_answer(dict(fcgi.decode(stream[fcgi.PARAMS])), stream[fcgi.STDIN])
		for at in range(0, len(answer), 65535):
			self.wfile.write(fcgi.record(fcgi.STDOUT, answer[at:at + 65535], number))
		self.wfile.write(fcgi.record(fcgi.STDOUT, b"", number) + fcgi.record(fcgi.END, bytes(8), number))
		return keep


class Uwsgi(socketserver.StreamRequestHandler):
	def handle(self):
		head = self.rfile.read(4)
		if len(head) < 4:
			return
		left, words = self.rfile.read(struct.unpack("<xHx", head)[0]), []
		while left:
			size = struct.unpack("<H", left[:2])[0]
			words.append(left[2:2 + size].decode("latin-1"))
			left = left[2 + size:]
		params = dict(zip(words[::2], words[1::2]))
		self.wfile.write(cgi_answer(params, self.rfile.read(int(params.get("CONTENT_LENGTH") or 0))))


class Scgi(socketserver.StreamRequestHandler):
	def handle(self):
		size = b""
		while (digit := self.rfile.read(1)) not in (b":", b""):
			size += digit
		if not digit:
			return
		words = self.rfile.read(int(size) + 1)[:-2].decode("latin-1").split("\0")
		params = dict(zip(words[::2], words[1::2]))
		self.wfile.write(cgi_answer(params, self.rfile.read(int(params["CONTENT_LENGTH"] or 0))))


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
	daemon_threads = True
	request_queue_size = 128

	def __init__(self, path, handler):
		if os.path.exists(path):
			os.unlink(path)
		super().__init__(path, handler)
		os.chmod(path, 0o666)


def main(path):
	for ending, handler in ((".fastcgi", FastCgi), (".uwsgi", Uwsgi), (".scgi", Scgi)):
		threading.Thread(target=Server(path + ending, handler).serve_forever, daemon=True).start()
	Server(path, Http).serve_forever()	# the last to listen: who waits for it has all of them


if __name__ == "__main__":
	main(sys.argv[1])

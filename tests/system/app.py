#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
app -- the application behind the web servers, on the unix socket argv[1].

	/app/status/NNN		answers NNN
	/app/echo		answers the request's body, and its headers as X-Seen-NAME
	?header=NAME:VALUE	adds a response header (may repeat): a wrong ACAO, a Vary
"""

import http.server
import os
import re
import socketserver
import sys
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
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
		sent = self.body()
		url = urllib.parse.urlsplit(self.path)
		wanted = re.search(r"/status/(\d{3})$", url.path)
		status = int(wanted[1]) if wanted else 200
		content = sent if url.path.endswith("/echo") else f"{self.command} {status}\n".encode()
		self.send_response(status)
		for header in urllib.parse.parse_qs(url.query).get("header", ()):
			self.send_header(*header.split(":", 1))
		if status in (301, 302, 307):
			self.send_header("Location", "/app/status/200")
		if status == 304:
			self.send_header("ETag", '"x"')
		if status not in (204, 304):
			self.send_header("Content-Length", str(len(content)))
		self.end_headers()
		if self.command != "HEAD" and status not in (204, 304):
			self.wfile.write(content)

	do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = answer

	def log_message(self, *args):
		pass

	def address_string(self):
		return "unix"


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
	daemon_threads = True
	request_queue_size = 128


def main(path):
	if os.path.exists(path):
		os.unlink(path)
	with Server(path, Handler) as server:
		os.chmod(path, 0o666)
		server.serve_forever()


if __name__ == "__main__":
	main(sys.argv[1])

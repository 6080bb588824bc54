# SPDX-License-Identifier: BSD-2-Clause
"""
chromium -- a real, headless Chromium, spoken to over the DevTools protocol
through a pipe: pages are loaded, looked at, and photographed.
"""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-dev-shm-usage", "--no-proxy-server",
    "--hide-scrollbars", "--remote-debugging-pipe")
WAIT_S = 60


class Chromium:
	"""One page. As a context: ended by pid, its profile removed."""

	def __enter__(self):
		self.profile = tempfile.mkdtemp(prefix="chromium.")
		theirs_in, self.to = os.pipe()
		self.back, theirs_out = os.pipe()
		self.process = subprocess.Popen(["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", PROGRAM, *OPTIONS,
		    f"--user-data-dir={self.profile}", "about:blank"], pass_fds=(theirs_in, theirs_out), start_new_session=True,
		    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
		os.close(theirs_in)
		os.close(theirs_out)
		self.pending, self.number, self.session, self.events = b"", 0, None, []
		try:
			self.open_page()
		except BaseException:
			self.__exit__()
			raise
		return self

	def open_page(self):
		target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
		self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
		for domain in ("Page", "Runtime", "Log", "Network", "Security", "Audits"):
			self.call(f"{domain}.enable")

	def __exit__(self, *_):
		try:
			os.killpg(self.process.pid, signal.SIGKILL)
		except ProcessLookupError:
			pass
		self.process.wait()
		os.close(self.to)
		os.close(self.back)
		shutil.rmtree(self.profile, ignore_errors=True)

	def receive(self):
		end = time.monotonic() + WAIT_S
		while b"\0" not in self.pending:
			if not select.select([self.back], [], [], max(0, end - time.monotonic()))[0]:
				raise AssertionError(f"Chromium said nothing for {WAIT_S} s")
			more = os.read(self.back, 1 << 16)
			if not more:
				raise AssertionError("Chromium ended")
			self.pending += more
		message, _, self.pending = self.pending.partition(b"\0")
		return json.loads(message)

	def call(self, method, **params):
		self.number += 1
		message = {"id": self.number, "method": method, "params": params}
		if self.session:
			message["sessionId"] = self.session
		os.write(self.to, json.dumps(message).encode() + b"\0")
		while True:
			said = self.receive()
			if said.get("id") == self.number:
				if "error" in said:
					raise AssertionError(f"{method}: {said['error']}")
				return said["result"]
			self.events.append(said)

	def wait(self, name):
		"""Until that event came since the last load."""
		while not any(e.get("method") == name for e in self.events):
			self.events.append(self.receive())

	def load(self, url):
		self.events.clear()
		self.call("Page.navigate", url=url)
		self.wait("Page.loadEventFired")

	def run(self, expression):
		"""The value of a JavaScript expression, by the debugger: no policy of the page keeps it from that."""
		said = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
		if "exceptionDetails" in said:
			raise AssertionError(f"{expression}: {said['exceptionDetails']}")
		return said["result"].get("value")

	def complaints(self):
		"""What the console and the inspector had to say about the page: errors, violations, scripts' words."""
		self.run("0")		# what was said before is here now
		kinds = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Page.javascriptDialogOpening")
		return [e["params"] for e in self.events if e.get("method") in kinds or e.get("method") == "Audits.issueAdded" and
		    e["params"]["issue"]["code"] == "ContentSecurityPolicyIssue"]

	def fetched(self):
		"""What came over the network."""
		return [e["params"]["response"]["url"] for e in self.events if e.get("method") == "Network.responseReceived" and
		    not e["params"]["response"]["url"].startswith("data:")]

	def look(self, width, height, dark=False):
		self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
		self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

	def photograph(self, path, whole=True):
		shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
		path.write_bytes(base64.b64decode(shot["data"]))

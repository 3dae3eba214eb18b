"""What the peer checks share: free ports, processes that end with the check, waiting, and promdog over a mock virt-api."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request


def free_port():
    """A port on loopback that nobody listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(url, accept=None, timeout=10):
    """GET as a plain client; returns (content type, body as text). Raises OSError unless the status is 200."""
    request = urllib.request.Request(url, headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return response.headers.get("Content-Type", ""), response.read().decode()


def wait_for(what, condition, seconds=60):
    """The first true result of `condition`, asked again and again; SystemExit with what was missing when time is up."""
    deadline = time.monotonic() + seconds
    last = None
    while time.monotonic() < deadline:
        try:
            result = condition()
            if result:
                return result
        except (OSError, ValueError) as error:
            last = error
        time.sleep(0.2)
    raise SystemExit(f"gave up after {seconds} s waiting for {what}" + (f": {last}" if last else ""))


@contextlib.contextmanager
def process(name, *command):
    """A background process; yields what tells its output so far, which is shown only if the block fails."""
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen([str(word) for word in command], stdout=output, stderr=subprocess.STDOUT)

        def so_far():
            return os.pread(output.fileno(), 1 << 20, 0).decode(errors="replace")

        try:
            yield so_far
        except BaseException:
            print(f"--- {name} wrote:", so_far()[-4000:], "---", sep="\n", file=sys.stderr)
            raise
        finally:
            child.terminate()
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


@contextlib.contextmanager
def promdog_over_mock(binary):
    """`promdog serve` over `promdog mock virt-api` (https, self-signed), nothing pushed; yields the base URL."""
    binary = pathlib.Path(binary).resolve()
    mock, web = free_port(), free_port()
    base = f"http://127.0.0.1:{web}"
    with process("mock virt-api", binary, "mock", "virt-api", "--listen", f"127.0.0.1:{mock}", "--tls"), process(
        "promdog serve", binary, "serve", "--dry-run", "--target", f"https://127.0.0.1:{mock}/metrics",
        "--target.insecure-skip-verify", "--web.listen-address", f"127.0.0.1:{web}",
    ):
        wait_for("promdog to be ready", lambda: get(f"{base}/-/ready"), 30)
        wait_for("translated metrics", lambda: "kubevirt_api_" in get(f"{base}/metrics")[1], 30)
        yield base


class Report:
    """Prints each check as it is made; `close` ends the program with 1 if one failed."""

    def __init__(self):
        self.failed = 0

    def check(self, what, holds, detail=""):
        print(("ok    " if holds else "FAIL  ") + what + (f": {detail}" if detail else ""), flush=True)
        self.failed += not holds

    def close(self):
        if self.failed:
            raise SystemExit(f"{self.failed} checks failed")

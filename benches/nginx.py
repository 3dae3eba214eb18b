#!/usr/bin/env python3
"""`/metrics` on demand over loopback, beside nginx's `proxy_pass` (buffered, as it is by default) in front of the same source:
what the translation adds to what a proxy costs that only copies. The source is an nginx that serves a file.

    benches/nginx.py target/release/promdog [--series 100000] [--requests 50]

Needs nginx: `apt-get install nginx-light`, its service not started. A measurement, not a test: it never fails on a number.
"""

import argparse
import http.client
import json
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "peers"))

from pages import Page  # noqa: E402
from rig import free_port, get, process, wait_for  # noqa: E402

NGINX = """\
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes auto;
events {{}}
http {{
    access_log off;
    sendfile on;
    default_type "text/plain; version=0.0.4";
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{source}; root {folder}/pages; }}
    server {{ listen 127.0.0.1:{proxy}; location / {{ proxy_pass http://127.0.0.1:{source}; proxy_buffering on; }} }}
}}
"""


class Client:
    """One connection, kept."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.buffer = bytearray(1 << 20)
        self.took, self.bytes = [], 0

    def ask(self):
        began = time.perf_counter()
        self.connection.request("GET", "/metrics")
        response = self.connection.getresponse()
        if response.status != 200:
            raise SystemExit(f"status {response.status}: {response.read(500)}")
        self.bytes = 0
        while read := response.readinto(self.buffer):
            self.bytes += read
        self.took.append(time.perf_counter() - began)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("binary", type=pathlib.Path)
    arguments.add_argument("--series", type=int, default=100_000)
    arguments.add_argument("--requests", type=int, default=50, help="of each, one after another in turn")
    arguments = arguments.parse_args()
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if not nginx:
        raise SystemExit("there is no nginx here: `apt-get install nginx-light`")
    binary = arguments.binary.resolve()
    source, proxy, web = (free_port() for _ in range(3))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # nginx' workers give up root.
        folder.chmod(0o755)
        (folder / "pages").mkdir()
        (folder / "pages" / "metrics").write_bytes(Page(arguments.series).text())
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, source=source, proxy=proxy))
        config = folder / "promdog.json"
        config.write_text(json.dumps({"targets": [{"name": "t", "url": f"http://127.0.0.1:{source}/metrics", "health_url": "off"}],
                                      "web": {"max_age": "0s"}}))
        with process("nginx", nginx, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"), \
             process("promdog", binary, "serve", "--config.file", config, "--web.listen-address", f"127.0.0.1:{web}"):
            wait_for("nginx", lambda: get(f"http://127.0.0.1:{proxy}/metrics"))
            wait_for("promdog", lambda: get(f"http://127.0.0.1:{web}/-/ready"))
            clients = {"the source itself": Client(source), "nginx proxy_pass": Client(proxy), "promdog": Client(web)}
            for _ in range(arguments.requests + 3):
                for client in clients.values():
                    client.ask()
    print(f"{arguments.series} series, {arguments.requests} requests each, medians")
    medians = {}
    for name, client in clients.items():
        # The first ones fill catalogues and caches.
        took = client.took[3:]
        medians[name] = statistics.median(took)
        print(f"{name:20} {medians[name] * 1e3:8.1f} ms {client.bytes:12,} bytes {medians[name] * 1e9 / client.bytes:6.2f} ns a byte"
              f"   (fastest {min(took) * 1e3:.1f} ms, slowest {max(took) * 1e3:.1f} ms)")
    ratio = medians["promdog"] / medians["nginx proxy_pass"]
    per_byte = ratio * clients["nginx proxy_pass"].bytes / clients["promdog"].bytes
    print(f"promdog takes {ratio:.2f} times as long as nginx, {per_byte:.2f} times for each byte it answers with")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Resident memory of the release binary, as the kernel counts it: over the demo's mocks, over one target of a million series,
and over a hundred targets of ten thousand; and how soon `/-/healthy` answers meanwhile.

    benches/memory.py target/release/promdog [--series 1000000] [--targets 100] [--seconds 180] [--large-seconds 60]

The demo's intake judges; that of the others only says yes, because it would keep every point. A measurement, not a test: it
never fails on a number.
"""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import re
import statistics
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "peers"))

from pages import Page, served  # noqa: E402
from rig import free_port, get, process, wait_for  # noqa: E402
from scale import child, usage  # noqa: E402

KEY = "bench-key"


class Health:
    """Asks `/-/healthy` every 10 ms over one connection. What had to wait for an answer to another question has waited too."""

    def __init__(self, port):
        self.port, self.took, self.running = port, [], True
        self.thread = threading.Thread(target=self.ask)

    def ask(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        due = time.perf_counter()
        while self.running:
            early = due - time.perf_counter()
            if early > 0:
                time.sleep(early)
            began = time.perf_counter() if early > 0 else due
            connection.request("GET", "/-/healthy")
            connection.getresponse().read()
            self.took.append((time.perf_counter() - began) * 1e3)
            due += 0.01

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.running = False
        self.thread.join()

    def __str__(self):
        took = sorted(self.took)
        return (f"{len(took)} times /-/healthy: median {statistics.median(took):.2f} ms, 99th {took[len(took) * 99 // 100]:.2f} ms, "
                f"at most {took[-1]:.1f} ms")


class Promdog:
    """`promdog serve`, and what is asked of it."""

    def __init__(self, port):
        self.port, self.pid, self.began = port, child(port), time.monotonic()

    def say(self, what):
        memory, peak, cpu = usage(self.pid)
        print(f"  {what:44} {memory:7.0f} MB, {peak:7.0f} MB at most, {cpu:6.1f} s of CPU", flush=True)
        return memory, peak

    def page(self):
        """The length of `/metrics`, read and thrown away."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request("GET", "/metrics")
        response, buffer, length = connection.getresponse(), bytearray(1 << 20), 0
        while read := response.readinto(buffer):
            length += read
        connection.close()
        return length

    def internal(self):
        return get(f"http://127.0.0.1:{self.port}/internal/metrics", timeout=60)[1]

    def pulls(self):
        return sum(map(int, re.findall(r'^promdog_pulls_total\{.*result="ok".*\} (\d+)', self.internal(), re.MULTILINE)))

    def points(self):
        """Points by fate; those that are none are left out."""
        found = re.findall(r'^promdog_points_total\{.*fate="(\w+)".*\} (\d+)', self.internal(), re.MULTILINE)
        return {fate: int(count) for fate, count in found if count != "0"}

    def scraped_for(self, seconds, every):
        """Scrapes for so long; the length of the last page."""
        end, length = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            began = time.monotonic()
            length = self.page()
            time.sleep(max(0.0, began + every - time.monotonic()))
        return length


@contextlib.contextmanager
def serving(binary, config):
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "promdog.json"
        file.write_text(json.dumps(config))
        with process("promdog", binary, "serve", "--config.file", file, "--web.listen-address", f"127.0.0.1:{port}"):
            wait_for("promdog to be ready", lambda: get(f"http://127.0.0.1:{port}/-/ready"), 30)
            yield Promdog(port)


@contextlib.contextmanager
def intake(binary, *faults):
    port = free_port()
    with process("intake", binary, "mock", "intake", "--listen", f"127.0.0.1:{port}", "--key", KEY, *faults):
        os.environ.update(DD_API_KEY=KEY, DD_URL=f"http://127.0.0.1:{port}")
        yield


def demo(binary, seconds):
    """The demo's set-up, each part a process of its own."""
    print(f"two mock virt-apis and a mock Kubernetes API, pushed every 2 s and scraped each second, for {seconds} s")
    kubernetes, *pods = (free_port() for _ in range(3))
    with contextlib.ExitStack() as stack:
        for at, port in enumerate(pods):
            words = ("--listen", f"127.0.0.1:{port}", "--tls", "--pod-name", f"virt-api-{at}", "--seed", at + 1)
            stack.enter_context(process(f"virt-api {at}", binary, "mock", "virt-api", *words))
        stack.enter_context(process("kubernetes", binary, "mock", "kubernetes", "--listen", f"127.0.0.1:{kubernetes}"))
        stack.enter_context(intake(binary))
        targets = [{"name": f"virt-api-{at}", "url": f"https://127.0.0.1:{port}/metrics", "kube_namespace": "kubevirt",
                    "pod_name": f"virt-api-{at}", "tls": {"insecure_skip_verify": True}} for at, port in enumerate(pods)]
        config = {"targets": targets, "push": {"every": "2s"}, "web": {"max_age": "1s"},
                  "kubernetes": {"url": f"http://127.0.0.1:{kubernetes}"}}
        promdog = stack.enter_context(serving(binary, config))
        empty, _ = promdog.say("ready")
        with Health(promdog.port) as health:
            for part in range(1, 4):
                promdog.scraped_for(seconds / 3, 1)
                promdog.say(f"after {seconds * part // 3} s, {promdog.pulls()} pulls")
        print(f"  points: {promdog.points()}\n  {health}", flush=True)
    return empty


def large(binary, series, count, seconds, empty):
    """So many targets of so many series, pushed and scraped."""
    print(f"{count} {'target' if count == 1 else 'targets'} of {series:,} series, pushed every 5 s and scraped every 5 s, for {seconds} s")
    page, texts = Page(series), []
    for _ in range(3):
        texts.append(page.text())
        page.step()
    keys, port = page.key_bytes(), free_port()
    print(f"  a page has {len(texts[0]) / 1e6:.1f} MB, keys of {keys / page.series():.0f} bytes")
    limits = {"decompressed_bytes": "1GiB"}
    targets = [{"name": f"t{at}", "url": f"http://127.0.0.1:{port}/{at}/metrics", "health_url": "off", "limits": limits,
                "timeout": "60s"} for at in range(count)]
    config = {"targets": targets, "push": {"every": "5s"}, "web": {"max_age": "0s"}}
    all_series, all_keys = page.series() * count, keys * count
    with served(texts, port), intake(binary, "--fault", "status=202@/api/v2/series"), serving(binary, config) as promdog:
        promdog.say("ready")
        with Health(promdog.port) as cold:
            wait_for("the first pulls", lambda: promdog.pulls() >= count, 120)
            promdog.say("first pull")
            wait_for("points", lambda: promdog.points().get("accepted", 0) >= all_series / 2, 120)
            promdog.say("increases pushed")
            length = promdog.page()
            promdog.say(f"a /metrics of {length / 1e6:.1f} MB")
        with Health(promdog.port) as warm:
            promdog.scraped_for(seconds, 5)
        memory, peak = promdog.say(f"after {promdog.pulls()} pulls")
        print(f"  points: {promdog.points()}")
        each = [(bytes * 1e6 - empty * 1e6 - all_keys) / all_series for bytes in (memory, peak)]
    print(f"  {each[0]:.0f} bytes a series beside its key, {each[1]:.0f} at most; an empty promdog's {empty:.0f} MB left out")
    print(f"  while everything was new: {cold}\n  afterwards: {warm}", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("binary", type=pathlib.Path)
    arguments.add_argument("--series", type=int, default=1_000_000, help="of the one large target")
    arguments.add_argument("--targets", type=int, default=100, help="of 10,000 series")
    arguments.add_argument("--seconds", type=int, default=180, help="how long the demo runs")
    arguments.add_argument("--large-seconds", type=int, default=60, help="how long each of the others runs, once it has pushed")
    arguments = arguments.parse_args()
    binary = arguments.binary.resolve()
    empty = demo(binary, arguments.seconds)
    large(binary, arguments.series, 1, arguments.large_seconds, empty)
    large(binary, 10_000, arguments.targets, arguments.large_seconds, empty)


if __name__ == "__main__":
    main()

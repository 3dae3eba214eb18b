#!/usr/bin/env python3
"""What one pull and one push of a target cost the release binary, all in all: HTTP, reading, increases, payloads, the commit of
totals and bodies, and sending. CPU of the process, user and system, by the kernel's count.

    benches/service.py target/release/promdog [--series 100000] [--seconds 30]

A second is pulled and pushed at a time, as JSON and as protobuf, with a state directory and without. A measurement, not a
test: it never fails on a number.
"""

import argparse
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "peers"))

from memory import intake, serving  # noqa: E402
from pages import Page, served  # noqa: E402
from rig import free_port, wait_for  # noqa: E402
from scale import usage  # noqa: E402

def measure(binary, texts, series, encoding, state, seconds):
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        target = {"name": "t", "url": f"http://127.0.0.1:{port}/metrics", "health_url": "off", "limits": {"decompressed_bytes": "1GiB"}}
        config = {"targets": [target], "push": {"every": "1s"}, "datadog": {"encoding": encoding}}
        if state:
            config["state"] = {"dir": folder}
        with served(texts, port), intake(binary, "--fault", "status=202@/api/v2/series"), serving(binary, config) as promdog:
            wait_for("points", lambda: promdog.points().get("accepted", 0) >= series * 2, 120)
            pulls, used = promdog.pulls(), usage(promdog.pid)[2]
            time.sleep(seconds)
            pulls, used = promdog.pulls() - pulls, usage(promdog.pid)[2] - used
    kept = "committed to disk" if state else "kept in memory"
    print(f"{encoding:8} {kept:18} {used / pulls / series * 1e6:6.3f} µs of CPU a sample   ({pulls} pulls and pushes, {used:.1f} s)", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("binary", type=pathlib.Path)
    arguments.add_argument("--series", type=int, default=100_000)
    arguments.add_argument("--seconds", type=int, default=30, help="each time")
    arguments = arguments.parse_args()
    page, texts = Page(arguments.series), []
    for _ in range(3):
        texts.append(page.text())
        page.step()
    print(f"{page.series()} series, {len(texts[0]) / 1e6:.1f} MB")
    for state in (False, True):
        for encoding in ("json", "protobuf"):
            measure(arguments.binary.resolve(), texts, page.series(), encoding, state, arguments.seconds)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Restarts of the target, of promdog (by SIGKILL) and of both, in a minute; the points that arrived, added up, beside what the
target itself says it has counted. Draws docs/restart.svg.

    tests/peers/restart.py target/release/promdog [docs/restart.svg]
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

from rig import Report, free_port, get, process, wait_for

KEY = "peer-key"
NAME = "kubevirt_api.rest.client_requests.count"
# Seconds, and what restarts then.
EVENTS = ((10, "promdog is killed"), (20, "the target restarts"), (30, "promdog is killed"), (40, "both"))
SECONDS = 60


def started(*command):
    return subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ended(child):
    child.send_signal(signal.SIGKILL)
    child.wait()


def total(port):
    """The sum of the target's counters; None while it is away."""
    try:
        page = get(f"http://127.0.0.1:{port}/metrics", timeout=2)[1]
    except OSError:
        return None
    return sum(float(value) for value in re.findall(r"^kubevirt_rest_client_requests_total\{.*\} (\S+)$", page, re.MULTILINE))


def draw(file, source, points, began):
    """Source and points as growth over time."""
    width, height, left, bottom = 860, 360, 60, 40
    top = max(value for _, value in source + points) * 1.05
    x = lambda second: left + (second - began) / SECONDS * (width - left - 20)
    y = lambda value: height - bottom - value / top * (height - bottom - 50)
    line = " ".join(f"{x(second):.1f},{y(value):.1f}" for second, value in source)
    dots = "".join(f'<circle cx="{x(second):.1f}" cy="{y(value):.1f}" r="3" fill="#c2410c"/>' for second, value in points)
    marks = "".join(
        f'<line x1="{x(began + at):.1f}" y1="34" x2="{x(began + at):.1f}" y2="{height - bottom}" stroke="#999" stroke-dasharray="4 3"/>'
        f'<text x="{x(began + at) + 4:.1f}" y="46">{what}</text>' for at, what in EVENTS)
    ticks = "".join(f'<text x="{x(began + at):.1f}" y="{height - bottom + 18}" text-anchor="middle">{at} s</text>' for at in range(0, SECONDS + 1, 10))
    step = 10 ** (len(str(int(top))) - 1)
    step = step if top / step >= 3 else step // 2
    grid = "".join(f'<line x1="{left}" y1="{y(at):.1f}" x2="{width - 20}" y2="{y(at):.1f}" stroke="#eee"/>'
                   f'<text x="{left - 6}" y="{y(at) + 4:.1f}" text-anchor="end">{at}</text>' for at in range(0, int(top), max(int(step), 1)))
    file.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="white"/>'
        f'<text x="{left}" y="18" font-size="14">Calls to the Kubernetes API: what virt-api counted (line), and the points at the intake, added up (dots)</text>'
        f'{grid}{marks}{ticks}<polyline points="{line}" fill="none" stroke="#1d4ed8" stroke-width="2"/>{dots}</svg>\n')


def main():
    if len(sys.argv) not in (2, 3):
        raise SystemExit("usage: restart.py PROMDOG_BINARY [SVG]")
    binary, report = pathlib.Path(sys.argv[1]).resolve(), Report()
    virt_api, intake, web = free_port(), free_port(), free_port()
    os.environ.update(DD_API_KEY=KEY, DD_URL=f"http://127.0.0.1:{intake}")
    target = (binary, "mock", "virt-api", "--listen", f"127.0.0.1:{virt_api}", "--restart-every", "20s")
    with tempfile.TemporaryDirectory() as folder, \
         process("intake", binary, "mock", "intake", "--listen", f"127.0.0.1:{intake}", "--key", KEY):
        config = pathlib.Path(folder) / "promdog.json"
        config.write_text(json.dumps({"targets": [{"name": "t", "url": f"http://127.0.0.1:{virt_api}/metrics", "timeout": "1s"}],
                                      "push": {"every": "1s"}, "state": {"dir": "state"}}))
        promdog = (binary, "serve", "--config.file", config, "--web.listen-address", f"127.0.0.1:{web}")
        virt_api_process = started(*target)
        wait_for("the target", lambda: total(virt_api) is not None)
        source, growth, due, last = [], 0.0, list(EVENTS), total(virt_api)
        began, running = time.time(), started(*promdog)

        def points():
            found = json.loads(get(f"http://127.0.0.1:{intake}/mock/points")[1])
            return [point for point in found if point["name"] == NAME]

        while time.time() < began + SECONDS:
            if due and time.time() >= began + due[0][0]:
                # The target restarts by itself, every 20 s.
                if due.pop(0)[1] != "the target restarts":
                    ended(running)
                    running = started(*promdog)
            now = total(virt_api)
            if now is not None:
                # A new process has counted from nothing.
                growth += now - last if now >= last else now
                last = now
                source.append((time.time(), growth))
            time.sleep(0.25)
        time.sleep(3)
        sums, series = 0.0, []
        by_second = {}
        for point in points():
            by_second[(point["timestamp"], tuple(point["tags"]))] = point["value"]
        for second in sorted({second for second, _ in by_second}):
            if second <= began + SECONDS:
                sums += sum(value for (at, _), value in by_second.items() if at == second)
                series.append((second, sums))
        ended(running)
        ended(virt_api_process)
    if len(sys.argv) == 3:
        draw(pathlib.Path(sys.argv[2]), source, series, began)
    at_end = source[-1][1]
    # What the target counted before the first pull, and between a last pull and its end, nobody has read.
    report.check("the points added up are the target's growth", 0.9 * at_end <= sums <= at_end, f"{at_end:.0f} counted, {sums:.0f} arrived")
    report.close()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Real captures through `promdog translate`: the integration's names, types, units and tags come out.

    tests/peers/captures.py target/release/promdog PATH/TO/expositions
"""

import json
import pathlib
import subprocess
import sys

from rig import Report

ENDPOINT = "https://10.0.0.7:8443/metrics"
# Names under `kubevirt_api.`, with type and unit. The other three of the integration's 19 are not scraped: can_connect,
# vm.count and vmi.count.
SCRAPED = {
    "process.cpu_seconds.count": ("count", "second"),
    "process.max_fds": ("gauge", "file"),
    "process.open_fds": ("gauge", "file"),
    "process.resident_memory_bytes": ("gauge", "byte"),
    "process.start_time_seconds": ("gauge", "second"),
    "process.virtual_memory_bytes": ("gauge", "byte"),
    "process.virtual_memory_max_bytes": ("gauge", "byte"),
    "promhttp.metric_handler_requests.count": ("count", "request"),
    "promhttp.metric_handler_requests_in_flight": ("gauge", "request"),
    "rest.client_rate_limiter_duration_seconds.bucket": ("count", "second"),
    "rest.client_rate_limiter_duration_seconds.count": ("count", "second"),
    "rest.client_rate_limiter_duration_seconds.sum": ("count", "second"),
    "rest.client_request_latency_seconds.bucket": ("count", "second"),
    "rest.client_request_latency_seconds.count": ("count", "second"),
    "rest.client_request_latency_seconds.sum": ("count", "second"),
    "rest.client_requests.count": ("count", "request"),
}
TAG_KEYS = {
    "rest.client_requests.count": {"endpoint", "code", "kubevirt_api_host", "method", "resource", "verb"},
    "rest.client_request_latency_seconds.bucket": {"endpoint", "url", "verb", "upper_bound"},
    "rest.client_request_latency_seconds.count": {"endpoint", "url", "verb"},
    "promhttp.metric_handler_requests.count": {"endpoint", "code"},
    "process.cpu_seconds.count": {"endpoint"},
}


def points(binary, mapping, *files):
    """What a pull of each file in turn would push, as rows."""
    done = subprocess.run([binary, "translate", "--mapping", mapping, "--endpoint", ENDPOINT, "--output", "json", *files],
                          capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def main():
    if len(sys.argv) != 3:
        raise SystemExit("usage: captures.py PROMDOG_BINARY EXPOSITIONS_FOLDER")
    binary, root = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    report = Report()
    for capture in ("virt_api_v1.2.2/metrics_active.txt", "virt_api_v1.6.0/metrics_active.txt",
                    "datadog_fixtures/dd_kubevirt_api_metrics.txt"):
        file = root / capture
        rows = [row for row in points(binary, "kubevirt_api", file, file) if row["pull"] == 2]
        found = {row["name"].removeprefix("kubevirt_api."): row for row in rows}
        wrong = [f"{name}: {(row['type'], row.get('unit')) if (row := found.get(name)) else 'missing'}"
                 for name, wanted in SCRAPED.items()
                 if name not in found or (found[name]["type"], found[name].get("unit")) != wanted]
        report.check(f"{capture}: the integration's {len(SCRAPED)} scraped names, with type and unit", not wrong, ", ".join(wrong))
        tags = {name: {tag.split(":", 1)[0] for tag in found[name]["tags"]} for name in TAG_KEYS if name in found}
        report.check(f"{capture}: the integration's tags", tags == TAG_KEYS, "" if tags == TAG_KEYS else str(tags))
        report.check(f"{capture}: counters carry an interval, gauges none",
                     all(("interval" in row) == (row["type"] == "count") for row in rows), f"{len(rows)} points")
    fixture = root / "datadog_fixtures/dd_kubevirt_handler_metrics.txt"
    rows = points(binary, "kubevirt_handler", fixture, fixture)
    names = {row["name"] for row in rows}
    report.check("kubevirt_handler: a real virt-handler is mapped", "kubevirt_handler.vmi.cpu_usage_seconds.count" in names,
                 f"{len(names)} names")
    fixture = root / "virt_controller_v1.6.0/metrics_t15.txt"
    rows = points(binary, "kubevirt_controller", fixture)
    instants = {row["name"]: row["type"] for row in rows if "last_transition" in row["name"]}
    report.check("kubevirt_controller: instants are gauges without a suffix",
                 bool(instants) and set(instants.values()) == {"gauge"} and not any(n.endswith(".count") for n in instants),
                 f"{len(instants)} names")
    report.close()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Datadog's own OpenMetrics check over the same expositions: promdog sends the same, but for the listed differences.

    tests/peers/agent.py target/release/promdog PATH/TO/expositions

Needs the package datadog-checks-base and what its OpenMetrics check imports (all in its extra `deps`): binary,
lazy-loader, prometheus-client, pydantic, python-dateutil, pyyaml, requests, requests-unixsocket2, simplejson, wrapt.

The check reads over loopback HTTP and submits to the package's own stub of the Agent. PyPI does not have the kubevirt_*
integrations, so the generic check is configured with the families and names that their documentation lists. What they
do otherwise than the generic check (running totals as counts, a lost first sample) is therefore not seen here.
"""

import collections
import contextlib
import http.server
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import typing

from datadog_checks.base import OpenMetricsBaseCheckV2
from datadog_checks.base.stubs import aggregator

from rig import Report


class Integration(typing.NamedTuple):
    """What an integration scrapes. A name's family is the prefix and the name, with `_` for `.`."""

    family_prefix: str
    rename_labels: dict
    names: str


WORKQUEUE = """
    workqueue.adds workqueue.depth workqueue.longest_running_processor_seconds workqueue.queue_duration_seconds
    workqueue.retries workqueue.unfinished_work_seconds workqueue.work_duration_seconds
"""
INTEGRATIONS = {
    "kubevirt_api": Integration("", {"version": "kubevirt_api_version", "host": "kubevirt_api_host"}, """
        process.cpu_seconds process.max_fds process.open_fds process.resident_memory_bytes process.start_time_seconds
        process.virtual_memory_bytes process.virtual_memory_max_bytes
        promhttp.metric_handler_requests promhttp.metric_handler_requests_in_flight
        rest.client_rate_limiter_duration_seconds rest.client_request_latency_seconds rest.client_requests
    """),
    "kubevirt_controller": Integration("kubevirt_", {"namespace": "vm_namespace"}, WORKQUEUE + """
        virt_controller.leading_status virt_controller.ready_status
        vm.error_status_last_transition_timestamp_seconds vm.migrating_status_last_transition_timestamp_seconds
        vm.non_running_status_last_transition_timestamp_seconds vm.running_status_last_transition_timestamp_seconds
        vm.starting_status_last_transition_timestamp_seconds
        vmi.migrations_in_pending_phase vmi.migrations_in_running_phase vmi.migrations_in_scheduling_phase
        vmi.non_evictable vmi.number_of_outdated vmi.phase_count
        vmi.phase_transition_time_from_creation_seconds vmi.phase_transition_time_from_deletion_seconds
        vmi.phase_transition_time_seconds
    """),
    "kubevirt_handler": Integration("kubevirt_", {"namespace": "vm_namespace"}, WORKQUEUE + """
        vmi.cpu_system_usage_seconds vmi.cpu_usage_seconds vmi.cpu_user_usage_seconds
        vmi.memory_actual_balloon_bytes vmi.memory_available_bytes vmi.memory_domain_bytes vmi.memory_resident_bytes
        vmi.memory_swap_in_traffic_bytes vmi.memory_swap_out_traffic_bytes vmi.memory_unused_bytes
        vmi.memory_usable_bytes vmi.memory_pgmajfault vmi.memory_pgminfault
        vmi.network_receive_bytes vmi.network_receive_errors vmi.network_receive_packets
        vmi.network_receive_packets_dropped vmi.network_transmit_bytes vmi.network_transmit_errors
        vmi.network_transmit_packets vmi.network_transmit_packets_dropped vmi.node_cpu_affinity
        vmi.storage_flush_requests vmi.storage_flush_times_seconds vmi.storage_iops_read vmi.storage_iops_write
        vmi.storage_read_times_seconds vmi.storage_read_traffic_bytes vmi.storage_write_times_seconds
        vmi.storage_write_traffic_bytes vmi.vcpu_delay_seconds vmi.vcpu_seconds vmi.vcpu_wait_seconds
    """),
}
# KubeVirt 1.3 put its prefix before these. The integration knows the old names only; promdog maps both to one.
RENAMED = "rest_client_"

# Each case is a run of pulls of one target. A single exposition is pulled, pulled when it has grown, and pulled again:
# its totals have fallen then.
CASES = (
    ("kubevirt_api", "virt_api_v1.2.2/metrics_idle.txt", "virt_api_v1.2.2/metrics_active.txt"),
    ("kubevirt_api", "virt_api_v1.2.2/metrics_active.txt"),
    ("kubevirt_api", "virt_api_v1.6.0/metrics_idle.txt", "virt_api_v1.6.0/metrics_active.txt"),
    ("kubevirt_api", "virt_api_v1.6.0/metrics_active.txt"),
    # Series go, and come back.
    ("kubevirt_api", "virt_api_v1.6.0/metrics_active.txt", "virt_api_v1.6.0/metrics_idle.txt",
     "virt_api_v1.6.0/metrics_active.txt"),
    ("kubevirt_api", "datadog_fixtures/dd_kubevirt_api_metrics.txt"),
    ("kubevirt_controller", "virt_controller_v1.6.0/metrics_t15.txt"),
    ("kubevirt_controller", "datadog_fixtures/dd_kubevirt_controller_excerpt.txt"),
    ("kubevirt_handler", "datadog_fixtures/dd_kubevirt_handler_metrics.txt"),
)
# What no capture has: bounds and quantiles of every spelling, labels that make poor tags, values that are no numbers.
ODD = r"""# TYPE process_open_fds gauge
process_open_fds NaN
# TYPE process_max_fds gauge
process_max_fds +Inf
# TYPE process_resident_memory_bytes untyped
process_resident_memory_bytes 7
# TYPE process_cpu_seconds counter
process_cpu_seconds 5e-1
# TYPE promhttp_metric_handler_requests_in_flight gauge
promhttp_metric_handler_requests_in_flight{host="",method="GET"} 3
promhttp_metric_handler_requests_in_flight{_own="x",path="b:"} 4
promhttp_metric_handler_requests_in_flight{path="a, b {c}\n\"d\" \\ é"} 5
promhttp_metric_handler_requests_in_flight{host="x",kubevirt_api_host="y"} 6
promhttp_metric_handler_requests_in_flight{host="z",kubevirt_api_host="z"} 6
promhttp_metric_handler_requests_in_flight{endpoint="its own",version="1.2"} 7
promhttp_metric_handler_requests_in_flight{method="Put"} 8
promhttp_metric_handler_requests_in_flight{method="put"} 9
# TYPE promhttp_metric_handler_requests_total counter
promhttp_metric_handler_requests_total{code="200"} 9007199254740993
promhttp_metric_handler_requests_total{code="500"} NaN
promhttp_metric_handler_requests_total{code="Gone"} 1
promhttp_metric_handler_requests_total{code="gone"} 2
promhttp_metric_handler_requests_total{path="LONG1"} 10
promhttp_metric_handler_requests_total{path="LONG2"} 20
# TYPE rest_client_request_latency_seconds histogram
rest_client_request_latency_seconds_bucket{le="-1"} 1
rest_client_request_latency_seconds_bucket{le="0"} 1
rest_client_request_latency_seconds_bucket{le="1e-05"} 1
rest_client_request_latency_seconds_bucket{le="0.0001"} 1
rest_client_request_latency_seconds_bucket{le="5e-3"} 2
rest_client_request_latency_seconds_bucket{le="1"} 2
rest_client_request_latency_seconds_bucket{le="1e+06"} 3
rest_client_request_latency_seconds_bucket{le="123456789"} 3
rest_client_request_latency_seconds_bucket{le="1e15"} 3
rest_client_request_latency_seconds_bucket{le="1e16"} 3
rest_client_request_latency_seconds_bucket{le="1.234e+22"} 4
rest_client_request_latency_seconds_bucket{le="+Inf"} 5
rest_client_request_latency_seconds_sum 1.5
rest_client_request_latency_seconds_count 5
# TYPE rest_client_rate_limiter_duration_seconds summary
rest_client_rate_limiter_duration_seconds{quantile="0.50"} 1.5
rest_client_rate_limiter_duration_seconds{quantile="0.99"} NaN
rest_client_rate_limiter_duration_seconds{quantile="1"} 2
rest_client_rate_limiter_duration_seconds_sum 2.25
rest_client_rate_limiter_duration_seconds_count 3
""".replace("LONG", "/" + 60 * "long")


# The value of a total that is only a baseline so far.
WITHHELD = None


class Point(typing.NamedTuple):
    """What leaves for Datadog. `total` is what an increase was taken from: the Agent's only, and not compared."""

    name: str
    kind: str
    tags: tuple
    value: float
    total: float


def with_tags(point, change):
    return point._replace(tags=tuple(change(tag) for tag in point.tags))


def as_instant(point):
    if not re.fullmatch(r"kubevirt_controller\.vm\.\w+_last_transition_timestamp_seconds\.count", point.name):
        return point
    return point._replace(name=point.name.removesuffix(".count"), kind="gauge", value=point.total)


def without_empty_tags(point):
    return point._replace(tags=tuple(tag for tag in point.tags if not re.fullmatch("[^:]*:", tag)))


def with_legal_tags(point):
    return with_tags(point, lambda tag: re.sub(r"[\x00-\x1f\x7f-\x9f]|:$", "_", tag.lstrip("_")))


def with_clipped_tags(point):
    # The long tags here are ASCII: a byte is a character.
    return with_tags(point, lambda tag: tag[:191] + CUT if len(tag) > 200 else tag)


def as_stored(points):
    """One point for each series, where Datadog does not tell upper from lower case in tags."""
    series = {}
    for point in points:
        key = (point.name, tuple(tag.lower() for tag in point.tags))
        first = series.setdefault(key, point)
        if first is not point and point.kind == "count" and point.value is not WITHHELD:
            series[key] = first._replace(value=first.value + point.value)
    return list(series.values())


def each(change):
    return lambda points: [change(point) for point in points]


# Stands for the hash at the end of a clipped tag: what is before it is compared.
CUT = "_(hash)"
# Every intended difference: what promdog sends in place of the Agent's points, and why. Each must be met, or is stale.
INTENDED = (
    ("instants of the controller are gauges: an instant that a counter holds has no increase", each(as_instant)),
    ("an empty label is no tag: in Prometheus it is the same as none", each(without_empty_tags)),
    ("tags start with a letter, have no control character and end in no colon: Datadog would change them",
     each(with_legal_tags)),
    ("of series with tags that Datadog stores as the same, counts are summed and the first gauge stands: it would keep "
     "the last point of either", as_stored),
    ("tags have at most 200 bytes and end in a hash: Datadog would cut them, and make two series one",
     each(with_clipped_tags)),
)
# The other way round: promdog maps more families than the integration.
MORE = {f"kubevirt_api.{name}" for name in (
    "console.active_connections", "portforward.active_tunnels", "usbredir.active_connections",
    "vnc.active_connections", "vm.created.count", "vmi.last_api_connection_timestamp_seconds",
)}


@contextlib.contextmanager
def served():
    """A page on loopback; yields its URL and a function that changes the page."""
    page = b""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_):
            pass

    def show(text):
        nonlocal page
        page = text.encode()

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/metrics", show
        finally:
            server.shutdown()
            thread.join()


def agents_points(integration, pages, renamed=True):
    """The URL and, for each page, what the check submits, and the Agent's sampler makes of it."""
    family_prefix, rename_labels, names = INTEGRATIONS[integration]
    families = {family_prefix + name.replace(".", "_"): name for name in names.split()}
    if renamed:
        families |= {f"kubevirt_{family}": name for family, name in families.items() if family.startswith(RENAMED)}
    pulls, totals = [], {}
    with served() as (url, show):
        check = OpenMetricsBaseCheckV2(integration, {}, [{
            "openmetrics_endpoint": url, "namespace": integration, "metrics": [families],
            "rename_labels": rename_labels, "max_returned_metrics": 1_000_000, "skip_proxy": True,
        }])
        for page in pages:
            show(page)
            aggregator.reset()
            if error := check.run():
                raise SystemExit(f"{integration}: Datadog's check failed: {error}")
            pulls.append(sampled(totals))
    return url, pulls


def sampled(totals):
    """The submissions of a run as points, by the rules of the Agent's sampler; `totals` is what it remembers."""
    points = {}
    for submission in (one for name in aggregator.metric_names for one in aggregator.metrics(name)):
        series = (submission.name, tuple(sorted(set(submission.tags))))
        kind, value = aggregator.METRIC_ENUM_MAP_REV[submission.type], submission.value
        if kind == "gauge":
            points[series] = Point(series[0], "gauge", series[1], value, value)
            continue
        if kind != "monotonic_count":
            raise SystemExit(f"{submission.name}: the Agent's type {kind} is not expected of a native metric")
        before, totals[series] = totals.get(series), value
        # The check's flag says whether a first or a fallen total counts whole: from the second pull on.
        if before is not None and value >= before:
            increase = value - before
        else:
            increase = value if submission.flush_first_value else WITHHELD
        points[series] = Point(series[0], "count", series[1], increase, value)
    return list(points.values())


def promdogs_points(binary, integration, url, pages):
    """For each page, the points that promdog would push."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, page in enumerate(pages):
            files.append(pathlib.Path(folder) / f"pull{number}.txt")
            files[-1].write_text(page, encoding="utf-8")
        command = [binary, "translate", "--mapping", integration, "--endpoint", url, "--output", "json", *files]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=True)
    pulls = [[] for _ in pages]
    for row in map(json.loads, done.stdout.splitlines()):
        pulls[row["pull"] - 1].append(Point(row["name"], row["type"], tuple(row["tags"]), row["value"], None))
    return pulls


def grown(page):
    """The same target later: other gauges, and totals that have grown, a histogram's in keeping with each other."""
    lines, rank = [], 1
    for number, line in enumerate(page.split("\n")):
        # Another start would be another process.
        if line and not line.startswith(("#", "process_start_time_seconds")):
            series, value = line.rsplit(" ", 1)
            name = series.split("{")[0]
            if name.endswith("_bucket"):
                rank = rank + 1 if lines[-1].startswith(name) else 1
            step = rank if name.endswith(("_bucket", "_sum", "_count")) else 1 + number % 7
            line = f"{series} {float(value) + step!r}"
        lines.append(line)
    return "\n".join(lines)


def unhashed(point):
    """A point of promdog's, with the hash of a clipped tag masked."""
    return with_tags(point, lambda tag: re.sub("_[0-9a-f]{8}$", CUT, tag) if len(tag) == 200 else tag)


def comparable(points):
    """The points, counted, with their tags in order. Values are exact: both sides subtract the same doubles."""
    return collections.Counter(point._replace(tags=tuple(sorted(point.tags)), total=None) for point in points)


def compare(report, what, theirs, ours, met):
    """Checks that promdog's points are the Agent's, but for the intended differences; adds to `met` those it met."""
    for reason, applied in INTENDED:
        changed = applied(theirs)
        if changed != theirs:
            met.add(reason)
        theirs = changed
    met |= MORE & {point.name for point in ours}
    expected = comparable(point for point in theirs if point.value is not WITHHELD)
    found = comparable(unhashed(point) for point in ours if point.name not in MORE)
    twice = len(ours) - len({(point.name, point.tags) for point in ours})
    increases = sum(point.kind == "count" and point.value > 0 for point in expected)
    wrong = [f"{len(points)} are {whose} only, such as {sorted(points)[0]}"
             for whose, points in (("the Agent's", expected - found), ("promdog's", found - expected)) if points]
    if twice:
        wrong.append(f"{twice} series stand twice")
    summary = f"{expected.total()}, {increases} with an increase"
    if more := len(ours) - found.total():
        summary += f"; {more} of families it does not map"
    report.check(f"{what}: the Agent's points", not wrong, "; ".join(wrong) or summary)


def main():
    if len(sys.argv) != 3:
        raise SystemExit("usage: agent.py PROMDOG_BINARY EXPOSITIONS_FOLDER")
    binary, root = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    report = Report()
    pages = {file: (root / file).read_text(encoding="utf-8") for _, *files in CASES for file in files}
    pages["what no capture has"] = ODD
    met = set()
    for integration, *files in [*CASES, ("kubevirt_api", "what no capture has")]:
        pulls = [(file, pages[file]) for file in files]
        if len(files) == 1:
            pulls = [*pulls, (f"{files[0]} grown", grown(pages[files[0]])), (f"{files[0]} fallen", pages[files[0]])]
        url, theirs = agents_points(integration, [page for _, page in pulls])
        ours = promdogs_points(binary, integration, url, [page for _, page in pulls])
        for number, (file, _) in enumerate(pulls):
            compare(report, f"{integration}, pull {number + 1}, {file}", theirs[number], ours[number], met)
    stale = [what for what in [*(reason for reason, _ in INTENDED), *sorted(MORE)] if what not in met]
    report.check("every intended difference was met", not stale, "; ".join(stale))
    page = pages["virt_api_v1.6.0/metrics_active.txt"]
    own, known = ({point.name for points in agents_points("kubevirt_api", [page], renamed)[1] for point in points}
                  for renamed in (False, True))
    report.check("KubeVirt 1.6: the integration's own list of families misses the renamed ones, and only those",
                 own < known and all(name.startswith("kubevirt_api.rest.client_") for name in known - own),
                 f"{len(known - own)} names")
    report.close()


if __name__ == "__main__":
    main()

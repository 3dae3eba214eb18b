#!/usr/bin/env python3
"""A real Prometheus scrapes `promdog demo`, and the mock behind it, and finds the same.

    tests/peers/prometheus.py target/release/promdog

Needs `prometheus` and `promtool` on the PATH (Debian: package prometheus). Everything runs on loopback, on free ports.
"""

import json
import math
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.parse

from rig import Report, free_port, get, process, wait_for

# What Prometheus 3.5 sends by default (config.DefaultScrapeProtocols with UTF-8 names allowed).
ACCEPT_PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)

# What Prometheus makes of promdog's page, and of the page that promdog pulled; each for the demo's first pod.
POD = 'pod_name="virt-api-0"'
TRANSLATED = {
    "CPU": f"rate(kubevirt_api_process_cpu_seconds_count{{{POD}}}[1m])",
    "latency": "histogram_quantile(0.9, sum by (le) "
    f"(rate(kubevirt_api_rest_client_request_latency_seconds_bucket{{{POD}}}[1m])))",
}
ORIGINAL = {
    "CPU": 'rate(process_cpu_seconds_total{job="mock"}[1m])',
    "latency": "histogram_quantile(0.9, sum by (le) "
    '(rate(kubevirt_rest_client_request_latency_seconds_bucket{job="mock"}[1m])))',
}
# The two are scraped at different moments, so their rates over a minute differ by what moved in between.
TOLERANCE = 0.15
SECONDS = 40


def names_and_types(page):
    """The families with their types, and the sample names, of a page in the text format."""
    types, samples = set(), set()
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            types.add(tuple(line.split()[2:4]))
        elif line and not line.startswith("#"):
            samples.add(line.replace("{", " ").split()[0])
    return types, samples


def lint(page, report):
    """`promtool check metrics`: 0 is clean, 3 is opinions about naming, 1 is a page it cannot read."""
    done = subprocess.run(["promtool", "check", "metrics"], input=page, text=True, capture_output=True, timeout=60)
    report.check("promtool reads the page", done.returncode in (0, 3), f"exit {done.returncode}")
    if done.returncode not in (0, 3):
        print(done.stderr[-2000:])


def negotiate(base, report):
    """A Prometheus 3, which would take OpenMetrics and UTF-8 names first, must see what a plain GET sees."""
    plain_type, plain = get(f"{base}/metrics")
    modern_type, modern = get(f"{base}/metrics", accept=ACCEPT_PROMETHEUS_3)
    report.check("a plain GET is answered as text 0.0.4", plain_type.startswith("text/plain; version=0.0.4"), plain_type)
    report.check("Prometheus 3 is answered as text", modern_type.startswith("text/plain"), modern_type)
    types, samples = names_and_types(plain)
    report.check("both see the same families and types", types == names_and_types(modern)[0], f"{len(types)} families")
    report.check("both see the same sample names", samples == names_and_types(modern)[1], f"{len(samples)} names")
    report.check("the CPU counter is typed counter", ("kubevirt_api_process_cpu_seconds_count", "counter") in types)
    latency = ("kubevirt_api_rest_client_request_latency_seconds", "histogram")
    report.check("the latency is typed histogram", latency in types)


def scrape(base, mock, report):
    """Runs Prometheus with a 1 s interval over promdog and the mock behind it, and compares what it has of the two."""
    port = free_port()
    address = base.removeprefix("http://")
    pod = urllib.parse.urlsplit(mock).netloc
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "prometheus.yml")
        config.write_text(
            "global: { scrape_interval: 1s, scrape_timeout: 1s }\n"
            "scrape_configs:\n"
            f"  - {{ job_name: promdog, static_configs: [{{ targets: ['{address}'] }}] }}\n"
            f"  - {{ job_name: internal, metrics_path: /internal/metrics, static_configs: [{{ targets: ['{address}'] }}] }}\n"
            f"  - {{ job_name: mock, scheme: https, tls_config: {{ insecure_skip_verify: true }},"
            f" static_configs: [{{ targets: ['{pod}'] }}] }}\n"
        )
        server = f"http://127.0.0.1:{port}"

        def query(expression):
            """The values of an instant query, NaN left out: there is none until two different scrapes were seen."""
            answer = json.loads(get(f"{server}/api/v1/query?" + urllib.parse.urlencode({"query": expression}))[1])
            values = [float(series["value"][1]) for series in answer["data"]["result"]]
            return [value for value in values if not math.isnan(value)]

        with process(
            "prometheus", "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
        ):
            for job in ("promdog", "internal", "mock"):
                up = wait_for(f"a scrape of {job}", lambda job=job: query(f'up{{job="{job}"}}'))
                report.check(f"up of {job}", up == [1.0], str(up))
            enough = f'count_over_time(up{{job="mock"}}[1m]) >= {SECONDS}'
            wait_for(f"{SECONDS} scrapes", lambda: query(enough), 3 * SECONDS)
            for what, expression in TRANSLATED.items():
                ours, theirs = query(expression), query(ORIGINAL[what])
                near = len(ours) == len(theirs) == 1 and abs(ours[0] - theirs[0]) <= TOLERANCE * theirs[0] and theirs[0] > 0
                report.check(expression, near, f"{ours}, and of the mock itself {theirs}")
            target_up = query('promdog_target_up{job="promdog"}')
            report.check("promdog_target_up of both pods", target_up == [1.0, 1.0], str(target_up))
            kept = query('scrape_samples_scraped{job="promdog"} - scrape_samples_post_metric_relabeling{job="promdog"}')
            report.check("Prometheus keeps every sample", kept == [0.0], str(kept))
            again = query('min_over_time(up{job="promdog"}[1m])')
            report.check("up all the time", again == [1.0], str(again))


def main():
    if len(sys.argv) != 2:
        raise SystemExit("usage: prometheus.py PROMDOG_BINARY")
    report = Report()
    base = f"http://127.0.0.1:{free_port()}"
    demo = [pathlib.Path(sys.argv[1]).resolve(), "demo", "--web.listen-address", base.removeprefix("http://")]
    with process("promdog demo", *demo) as written:
        wait_for("promdog to be ready", lambda: get(f"{base}/-/ready"), 30)
        mock = wait_for("the first pod's URL", lambda: re.search(r"first +mock virt-api +curl -sk (\S+)", written())).group(1)
        wait_for("translated metrics", lambda: "kubevirt_api_" in get(f"{base}/metrics")[1], 30)
        lint(get(f"{base}/metrics")[1], report)
        negotiate(base, report)
        scrape(base, mock, report)
        report.close()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""A large cluster: 10,000 virtual machines and 10,000 instances that change 100 times a second. What it costs promdog and the
API server, beside a list every 15 seconds; and whether the counts are right after an hour's changes, with everything that
can go wrong with a watch on the way.

    tests/peers/scale.py target/release/promdog [--seconds 60] [--changes 360000]
"""

import argparse
import collections
import json
import os
import pathlib
import re
import time
import urllib.request

from inventory import labels_of, vm_tags, vmi_tags
from rig import Report, free_port, get, process, wait_for

KEY = "peer-key"
PATHS = ("/apis/kubevirt.io/v1/virtualmachines", "/apis/kubevirt.io/v1/virtualmachineinstances")


def post(url, body=b""):
    with urllib.request.urlopen(urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"}), timeout=30) as response:
        return response.read()


def usage(pid):
    """Memory now and at most, in MB, and seconds of CPU."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    kilobytes = {key: int(re.search(rf"^{key}:\s+(\d+)", status, re.MULTILINE)[1]) for key in ("VmRSS", "VmHWM")}
    ticks = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    seconds = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
    return kilobytes["VmRSS"] / 1000, kilobytes["VmHWM"] / 1000, seconds


def child(port):
    """The process that listens there, among our children."""
    for stat in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = stat.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"serve" in words and f"127.0.0.1:{port}".encode() in words:
            return int(stat.parent.name)
    raise SystemExit("promdog is not running")


def readable(kind, thing):
    """Whether what we need of an object makes sense; churn breaks some."""
    if not isinstance(thing["metadata"].get("uid"), str):
        return False
    if kind == "virtualmachines":
        return isinstance(thing.get("spec", {}), dict)
    return isinstance(thing.get("status", {}), dict) and isinstance(thing["metadata"].get("labels", {}), dict)


def truth(api, kind, tags):
    listed = json.loads(get(f"{api}/mock/objects/{kind}", timeout=120)[1])
    listed = listed["items"] if isinstance(listed, dict) else listed
    return sorted((tags(thing), 1.0) for thing in listed if readable(kind, thing))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("binary", type=pathlib.Path)
    arguments.add_argument("--seconds", type=int, default=60, help="how long to measure")
    arguments.add_argument("--changes", type=int, default=360_000, help="how many changes to go through afterwards")
    arguments = arguments.parse_args()
    binary, report = arguments.binary.resolve(), Report()
    ports = [free_port() for _ in range(4)]
    kubernetes, intake, virt_api, web = (f"127.0.0.1:{port}" for port in ports)
    api = f"http://{kubernetes}"
    config = pathlib.Path(f"/tmp/promdog-scale-{ports[3]}.json")
    config.write_text(json.dumps({"targets": [{"name": "virt-api", "url": f"http://{virt_api}/metrics"}],
                                  "kubernetes": {"url": api}, "web": {"max_age": "0s"}}))
    os.environ.update(DD_API_KEY=KEY, DD_URL=f"http://{intake}")

    def summary():
        return json.loads(get(f"{api}/mock/summary", timeout=60)[1])

    with process("kubernetes", binary, "mock", "kubernetes", "--listen", kubernetes, "--vms", 10_000, "--vmis", 10_000,
                 "--realistic", "--churn-trouble", "--bookmark-every", "60s"), \
         process("intake", binary, "mock", "intake", "--listen", intake, "--key", KEY), \
         process("virt-api", binary, "mock", "virt-api", "--listen", virt_api):
        wait_for("the mock Kubernetes API", lambda: get(f"{api}/mock/summary"), 120)
        whole = sum(len(urllib.request.urlopen(api + path, timeout=120).read()) for path in PATHS)
        before = summary()["bytes_sent"]
        with process("promdog", binary, "serve", "--config.file", config, "--web.listen-address", web):
            wait_for("both lists", lambda: len(labels_of(get(f"http://{web}/metrics")[1], "kubevirt_api_vmi_count")) == 10_000, 120)
            pid = child(ports[3])
            listed = summary()["bytes_sent"] - before
            _, peak, cpu = usage(pid)
            print(f"the first lists: {listed / 1e6:.1f} MB, {cpu:.2f} s of CPU, {peak:.0f} MB of memory at most", flush=True)

            # Trouble would be measured too: it comes with the second half.
            post(f"{api}/mock/churn", b'{"per_second": 100, "trouble": false}')
            time.sleep(5)
            start, (_, _, cpu_before) = summary(), usage(pid)
            time.sleep(arguments.seconds)
            end, (memory, peak, cpu_after) = summary(), usage(pid)
            sent = (end["bytes_sent"] - start["bytes_sent"]) * 60 / arguments.seconds
            rate = (end["changes"] - start["changes"]) / arguments.seconds
            print(f"at {rate:.0f} changes a second: {sent / 1e6:.1f} MB a minute from the API server, "
                  f"{(cpu_after - cpu_before) / arguments.seconds * 100:.1f} % of a CPU, {memory:.0f} MB of memory, {peak:.0f} MB at most")
            print(f"a list of both every 15 s: {whole * 4 / 1e6:.0f} MB a minute ({whole / 1e6:.1f} MB each)", flush=True)
            report.check("a watch costs the API server less than a tenth", sent * 10 < whole * 4, f"{whole * 4 / sent:.0f} times less")

            wanted = summary()["changes"] + arguments.changes
            began = time.monotonic()
            while (now := summary())["changes"] < wanted:
                print(f"{now['changes'] - wanted + arguments.changes} of {arguments.changes} changes", flush=True)
                # A trouble every few hundred changes, and then time to get over it.
                for trouble, seconds in ((b"true", 1), (b"false", 9)):
                    post(f"{api}/mock/churn", b'{"per_second": 6000, "trouble": ' + trouble + b"}")
                    time.sleep(seconds)
            post(f"{api}/mock/churn", b'{"per_second": 0}')

            def still():
                before = summary()["changes"]
                time.sleep(1)
                return summary()["changes"] == before

            wait_for("the last change", still)
            memory, peak, _ = usage(pid)
            print(f"{arguments.changes} changes in {time.monotonic() - began:.0f} s; {memory:.0f} MB of memory, {peak:.0f} MB at most")
            names = (("virtualmachines", "vm", vm_tags), ("virtualmachineinstances", "vmi", vmi_tags))
            expected = {name: truth(api, kind, tags) for kind, name, tags in names}

            def counts():
                page = get(f"http://{web}/metrics", timeout=60)[1]
                return all(labels_of(page, f"kubevirt_api_{name}_count") == wanted for name, wanted in expected.items())

            try:
                wait_for("the right counts", counts, 60)
            except SystemExit:
                page = get(f"http://{web}/metrics", timeout=60)[1]
                for name, wanted in expected.items():
                    found = labels_of(page, f"kubevirt_api_{name}_count")
                    odd = [pair for pair in found if pair not in wanted][:3], [pair for pair in wanted if pair not in found][:3]
                    print(f"{name}: {len(found)} series for {len(wanted)}; too many: {odd[0]}; missing: {odd[1]}")
                raise
            lists = collections.Counter()
            page = get(f"http://{web}/internal/metrics")[1]
            for watch, result, count in re.findall(r'promdog_kubernetes_lists_total\{watch="(\w+)",result="(\w+)"\} (\d+)', page):
                lists[watch, result] += int(count)
            changes = sum(map(int, re.findall(r"promdog_kubernetes_changes_total\{\S+\} (\d+)", page)))
            report.check("counts and tags are right afterwards", True, ", ".join(f"{len(series)} {name}" for name, series in expected.items()))
            report.check("history was forgotten and listed again on the way", lists["virtualmachines", "ok"] > 1,
                         f"{dict(lists)}; {changes} changes came by watch")
    config.unlink()
    report.close()


if __name__ == "__main__":
    main()

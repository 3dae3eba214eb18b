#!/usr/bin/env python3
"""Real Kubernetes objects through a whole promdog: vm.count and vmi.count with the integration's tags, at the intake and on
the page; and Datadog's dashboard, whose queries docs/dashboard.md answers.

    tests/peers/inventory.py target/release/promdog PATH/TO/expositions [PATH/TO/kubevirt_dashboard_queries.tsv]
"""

import json
import pathlib
import re
import sys

from rig import Report, free_port, get, process, wait_for

KEY = "peer-key"
PREFIX = "kubevirt.io/"


def own(prefix, labels):
    return [f"{prefix}{key.removeprefix(PREFIX)}:{value}" for key, value in (labels or {}).items() if key.startswith(PREFIX)]


def vm_tags(vm):
    """What Datadog's integration tags a VirtualMachine with, said anew; where it would fail, no labels."""
    meta = vm["metadata"]
    labels = vm.get("spec", {}).get("template", {}).get("metadata", {}).get("labels")
    return sorted([f"vm_name:{meta['name']}", f"vm_uid:{meta['uid']}", f"kube_namespace:{meta['namespace']}", *own("vm_", labels)])


def vmi_tags(vmi):
    meta, phase = vmi["metadata"], vmi.get("status", {}).get("phase")
    tags = [f"vmi_name:{meta['name']}", f"vmi_uid:{meta['uid']}", f"kube_namespace:{meta['namespace']}", *own("vmi_", meta.get("labels"))]
    return sorted(tags + ([f"vmi_phase:{phase}"] if phase else []))


def items(file):
    value = json.loads(file.read_text())
    return value["items"] if "items" in value else [value]


def labels_of(page, name):
    """The series of a gauge on the page, as sorted `key:value`, and their values."""
    found = []
    for line in re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", page, re.MULTILINE):
        pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', line[0])
        found.append((sorted(f"{key}:{value}" for key, value in pairs), float(line[1])))
    return sorted(found)


def inventory(report, binary, files, wanted_vms, wanted_vmis, what):
    api, intake, virt_api, web = (free_port() for _ in range(4))
    objects = [word for file in files for word in ("--objects", file)]
    config = pathlib.Path(f"/tmp/promdog-inventory-{web}.json")
    config.write_text(json.dumps({
        "targets": [{"name": "virt-api", "url": f"http://127.0.0.1:{virt_api}/metrics"}],
        "kubernetes": {"url": f"http://127.0.0.1:{api}"},
        "datadog": {"url": f"http://127.0.0.1:{intake}", "api_key_file": str(config.with_suffix(".key"))},
        "push": {"every": "1s"},
    }))
    config.with_suffix(".key").write_text(KEY)
    with process("kubernetes", binary, "mock", "kubernetes", "--listen", f"127.0.0.1:{api}", "--vms", "0", "--vmis", "0", *objects), \
         process("intake", binary, "mock", "intake", "--listen", f"127.0.0.1:{intake}", "--key", KEY), \
         process("virt-api", binary, "mock", "virt-api", "--listen", f"127.0.0.1:{virt_api}"), \
         process("promdog", binary, "serve", "--config.file", config, "--web.listen-address", f"127.0.0.1:{web}"):
        names = ("kubevirt_api.vm.count", "kubevirt_api.vmi.count")

        def arrived():
            points = json.loads(get(f"http://127.0.0.1:{intake}/mock/points")[1])
            last = max((point["timestamp"] for point in points if point["name"] in names), default=None)
            found = [point for point in points if point["timestamp"] == last]
            return all(any(point["name"] == name for point in found) for name in names) and found

        points = wait_for("counts at the intake", arrived)
        page = get(f"http://127.0.0.1:{web}/metrics")[1]
    for name, wanted in zip(names, (wanted_vms, wanted_vmis)):
        wanted = sorted((tags, 1.0) for tags in wanted) or [([], 0.0)]
        found = sorted((sorted(point["tags"]), point["value"]) for point in points if point["name"] == name)
        report.check(f"{what}: {name} at the intake", found == wanted, f"{len(found)} series" if found == wanted else f"{found} is not {wanted}")
        report.check(f"{what}: {name} is a gauge", {point["type"] for point in points if point["name"] == name} == {"gauge"})
        shown = labels_of(page, name.replace(".", "_"))
        report.check(f"{what}: {name} on /metrics", shown == wanted, "" if shown == wanted else f"{shown} is not {wanted}")
    config.unlink()
    config.with_suffix(".key").unlink()


def dashboard(report, queries):
    """Each metric that the dashboard asks for has a row in our table."""
    table = (pathlib.Path(__file__).parents[2] / "docs/dashboard.md").read_text()
    named = set(re.findall(r"`((?:kubevirt|kubernetes)[a-z_.]*\.[a-z_.*]+)`", table))
    asked = set()
    for row in queries.read_text().splitlines():
        if row.startswith("#"):
            continue
        for text in re.findall(r"(?:kubevirt_\w+|kubernetes(?:_state)?)\.[\w.{},/]+", row.split("\t")[3]):
            text = re.sub(r"\{[^}]*:.*", "", text)
            match = re.fullmatch(r"([^{]*)\{([^}]*)\}(.*)", text.rstrip(",.{"))
            expanded = [match[1] + part + match[3] for part in match[2].split(",")] if match else [text.rstrip(",.{}")]
            asked.update(name for text in expanded for name in text.split("/") if name.startswith("kube"))
    families = {name.split("*")[0] for name in named if "*" in name}
    covered = lambda name: any(known.startswith(f"{name}.") for known in named) or any(name.startswith(family) for family in families)
    missing = sorted(name for name in asked if name not in named and not covered(name))
    report.check("docs/dashboard.md has every metric of the dashboard", not missing, f"{len(asked)} metrics" if not missing else ", ".join(missing))


def main():
    if len(sys.argv) not in (3, 4):
        raise SystemExit("usage: inventory.py PROMDOG_BINARY EXPOSITIONS_FOLDER [DASHBOARD_QUERIES]")
    binary, root = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]) / "datadog_fixtures"
    report = Report()
    vms, vmis, crash = (root / name for name in ("k8s_vm_list.json", "k8s_vmi_list.json", "k8s_vm_crashloop.json"))
    inventory(report, binary, [vms, vmis], map(vm_tags, items(vms)), map(vmi_tags, items(vmis)), "lists")
    inventory(report, binary, [crash], map(vm_tags, items(crash)), [], "one crashing machine")
    inventory(report, binary, [], [], [], "none")
    if len(sys.argv) == 4:
        dashboard(report, pathlib.Path(sys.argv[3]))
    report.close()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""PyPI's prometheus-client parser reads our page, and finds what an independent reading of its lines finds.

    tests/peers/client_python.py target/release/promdog

Needs the package prometheus-client.
"""

import math
import re
import sys

from prometheus_client.parser import text_string_to_metric_families

from rig import Report, get, promdog_over_mock

LINE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: (-?\d+))?$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)')
ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


def by_line(page):
    """Name, labels and value of every sample line, by two expressions that know nothing of families or types."""
    samples, families = [], {}
    for number, line in enumerate(page.splitlines(), 1):
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            if name in families:
                raise SystemExit(f"line {number}: a second TYPE for {name}")
            families[name] = kind
        if not line or line.startswith("#"):
            continue
        match = LINE.match(line)
        if not match:
            raise SystemExit(f"line {number} is no sample: {line}")
        name, labels, value, _ = match.groups()
        rest = LABEL.sub("", labels or "")
        if rest:
            raise SystemExit(f"line {number} has labels that cannot be read: {rest}")
        pairs = {key: re.sub(r'\\[\\"n]', lambda m: ESCAPES[m.group()], text) for key, text in LABEL.findall(labels or "")}
        samples.append((name, frozenset(pairs.items()), float(value)))
    return samples, families


def by_client(page, declared):
    """The same by prometheus-client, which spells every counter with `_total` inside: taken off where the page has none."""
    samples, families = [], {}
    for family in text_string_to_metric_families(page):
        families[family.name] = family.type
        added = family.type == "counter" and family.name in declared
        for sample in family.samples:
            name = sample.name.removesuffix("_total") if added else sample.name
            samples.append((name, frozenset(sample.labels.items()), float(sample.value)))
    return samples, families


def comparable(samples):
    """Sorted, and with NaN as something that equals itself."""
    return sorted((name, sorted(labels), "NaN" if math.isnan(value) else repr(value)) for name, labels, value in samples)


def main():
    if len(sys.argv) != 2:
        raise SystemExit("usage: client_python.py PROMDOG_BINARY")
    report = Report()
    with promdog_over_mock(sys.argv[1]) as base:
        pages = {path: get(base + path)[1] for path in ("/metrics", "/internal/metrics")}
    for path, page in pages.items():
        ours, types = by_line(page)
        theirs, their_types = by_client(page, types)
        report.check(f"{path} has samples", len(ours) > 10, f"{len(ours)} samples, {len(types)} families")
        difference = [pair for pair in zip(comparable(ours), comparable(theirs)) if pair[0] != pair[1]]
        report.check(f"{path}: prometheus-client finds the same samples", comparable(ours) == comparable(theirs),
                     f"{len(theirs)} samples" if not difference else f"first difference: {difference[0]}")
        series = [(name, labels) for name, labels, _ in ours]
        report.check(f"{path}: no series stands twice", len(series) == len(set(series)))
        wrong = {name: kind for name, kind in types.items()
                 if kind != "untyped" and kind not in (their_types.get(name), their_types.get(name.removesuffix("_total")))}
        report.check(f"{path}: prometheus-client finds the same types", not wrong, str(wrong) if wrong else "")
    report.close()


if __name__ == "__main__":
    main()

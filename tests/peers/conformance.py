#!/usr/bin/env python3
"""Our parser against a corpus of parser cases that other projects' suites are made of.

    tests/peers/conformance.py target/release/promdog PATH/TO/conformance

The folder holds index.jsonl, one case a line: `format`, `file`, `expect` (accept, reject), `level`, and `expected`, the
file with the samples on which the reference parsers agree. Judged are the cases of the text format at level `core` (all
references agree) and `policy` (they differ, and we have decided).
"""

import collections
import json
import pathlib
import subprocess
import sys


def number(text):
    """A value as something comparable: NaN equals NaN, and -0 is not 0."""
    return repr(float(text))


def label_value(name, value):
    """Bounds are numbers: `le="1"` and `le="1.0"` are one bucket."""
    if name in ("le", "quantile"):
        try:
            return number(value)
        except ValueError:
            pass
    return value


def sample_key(sample):
    """What makes two samples the same. A label with an empty value is no label."""
    labels = sorted((key, label_value(key, value)) for key, value in sample["labels"] if value != "")
    timestamp = sample.get("ts")
    return sample["name"], tuple(labels), number(sample["value"]), None if timestamp is None else round(timestamp, 3)


def complaints(case, root, binary):
    """Why the case fails, as texts; empty if it passes."""
    try:
        done = subprocess.run([binary, "parse", root / case["file"], "--format", case["format"], "--json"],
                              capture_output=True, timeout=20)
    except subprocess.TimeoutExpired:
        return ["took longer than 20 s"]
    stderr = done.stderr.decode(errors="replace").strip()
    if done.returncode not in (0, 1):
        return [f"exit {done.returncode}: {stderr[-300:]}"]
    verdict = "accept" if done.returncode == 0 else "reject"
    if verdict != case["expect"]:
        return [f"expected {case['expect']}, got {verdict}: {stderr[-300:]}"]
    if verdict == "reject" or "expected" not in case:
        return []

    rows = [json.loads(line) for line in done.stdout.decode().splitlines() if line.strip()]
    expected = json.loads((root / case["expected"]).read_text())
    want = collections.Counter(map(sample_key, expected["samples"]))
    got = collections.Counter(sample_key(row) for row in rows if row["kind"] == "sample")
    found = [f"missing sample {key}" for key in want - got] + [f"sample too many {key}" for key in got - want]

    families = {row["name"]: row for row in rows if row["kind"] == "family"}
    for family in expected["families"]:
        ours = families.get(family["name"], {})
        kind = ours.get("type") or "unknown"
        if not family.get("type_disputed") and kind.replace("untyped", "unknown") != family["type"]:
            found.append(f"family {family['name']}: type {kind}, expected {family['type']}")
        accepted_help = {family.get("help"), family.get("help_alt")} - {None}
        if accepted_help and (ours.get("help") or "") not in accepted_help:
            found.append(f"family {family['name']}: help {ours.get('help')!r}, expected one of {sorted(accepted_help)}")
    return found


def main():
    if len(sys.argv) != 3:
        raise SystemExit("usage: conformance.py PROMDOG_BINARY CONFORMANCE_FOLDER")
    binary, root = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    cases = [json.loads(line) for line in (root / "index.jsonl").read_text().splitlines()]
    judged = [case for case in cases if case["format"] == "prom" and case["level"] in ("core", "policy")]
    failed = 0
    for case in judged:
        reasons = complaints(case, root, binary)
        failed += bool(reasons)
        for reason in reasons:
            print(f"FAIL  {case['id']} ({case['level']}): {reason}")
    print(f"{len(judged) - failed} of {len(judged)} cases of the text format pass")
    if failed or not judged:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

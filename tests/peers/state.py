#!/usr/bin/env python3
"""State directories that are no good, with the real binary: what it says, and that service goes on.

    tests/peers/state.py target/release/promdog

The read-only and the full disk are small file systems of their own, which takes root; without it they are left out, and said.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from rig import Report, free_port, get, process, wait_for

KEY = "peer-key"


class Rig:
    """A mock virt-api and intake, and promdog over a state directory."""

    def __init__(self, binary, folder, virt_api, intake):
        self.binary, self.folder, self.virt_api, self.intake = binary, folder, virt_api, intake

    def run(self, state, what=None, during=None):
        """Runs until points have arrived; returns what promdog wrote, and its own metrics."""
        web = free_port()
        config = self.folder / f"promdog-{web}.json"
        config.write_text(json.dumps({"targets": [{"name": "t", "url": f"http://127.0.0.1:{self.virt_api}/metrics"}],
                                      "push": {"every": "1s"}, "state": {"dir": str(state)}}))
        accepted = 'promdog_points_total{endpoint="127.0.0.1:%d",fate="accepted"} ' % self.intake
        with process(f"promdog ({what})", self.binary, "serve", "--config.file", config, "--web.listen-address", f"127.0.0.1:{web}") as said:

            def metrics():
                page = get(f"http://127.0.0.1:{web}/internal/metrics")[1]
                count = re.search(re.escape(accepted) + r"(\d+)", page)
                return page if count and int(count[1]) > 0 else None

            page = wait_for("points to be accepted", metrics)
            if during:
                page = during(metrics, said) or page
            return said(), page


def warnings(text):
    return [line.split("  ", 1)[-1].strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines() if " WARN " in line]


def main():
    if len(sys.argv) != 2:
        raise SystemExit("usage: state.py PROMDOG_BINARY")
    binary, report = pathlib.Path(sys.argv[1]).resolve(), Report()
    virt_api, intake = free_port(), free_port()
    os.environ.update(DD_API_KEY=KEY, DD_URL=f"http://127.0.0.1:{intake}")
    with tempfile.TemporaryDirectory() as folder, \
         process("virt-api", binary, "mock", "virt-api", "--listen", f"127.0.0.1:{virt_api}"), \
         process("intake", binary, "mock", "intake", "--listen", f"127.0.0.1:{intake}", "--key", KEY):
        folder = pathlib.Path(folder)
        rig = Rig(binary, folder, virt_api, intake)
        good = folder / "good"
        said, page = rig.run(good, "new state")
        report.check("a new state", "promdog_state_writable 1" in page and not warnings(said), "nothing to warn of")
        whole = (good / "state.redb").read_bytes()
        said, page = rig.run(good, "the same again")
        report.check("a restart reads it", "targets=1" in re.sub(r"\x1b\[[0-9;]*m", "", said) and not warnings(said))

        flipped = bytearray(whole)
        for at in range(0, len(flipped), 4096):
            flipped[at + 1000] ^= 4
        for what, content in (("truncated", whole[: len(whole) // 2]), ("bit-flipped", bytes(flipped)),
                              ("foreign", b"SQLite format 3\0" * 1000)):
            state = folder / what
            state.mkdir()
            (state / "state.redb").write_bytes(content)
            said, page = rig.run(state, what)
            aside = list(state.glob("*.bad-*"))
            told = [line for line in warnings(said) if "the state cannot be used; starting without it" in line]
            report.check(f"{what}: set aside, said once, and service goes on",
                         len(aside) == 1 and len(told) == 1 and "promdog_state_writable 1" in page, "; ".join(warnings(said)))

        for what in ("read-only", "full"):
            state = folder / what
            state.mkdir()
            if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "promdog-check", state]).returncode:
                print(f"nothing can be mounted here: the {what} disk is not tried")
                continue
            try:
                filler = state / "filler"
                if what == "read-only":
                    subprocess.run(["mount", "-o", "remount,ro", state], check=True)
                else:
                    shutil.copy(good / "state.redb", state / "state.redb")
                    try:
                        with filler.open("wb", buffering=0) as file:
                            while file.write(b"x" * 4096):
                                pass
                    except OSError:
                        pass

                def writable_again(metrics, said):
                    """Room is made: the state is written again within the half minute that a failed disk is left alone."""
                    if what == "read-only":
                        subprocess.run(["mount", "-o", "remount,rw", state], check=True)
                    else:
                        filler.unlink()
                    return wait_for("the state to be written again", lambda: (page := metrics()) and "promdog_state_writable 1" in page and page, 90)

                said, page = rig.run(state, what, writable_again)
                told = [line for line in warnings(said) if "the state cannot be written" in line]
                report.check(f"{what}: said once, service goes on, and the state is back when the disk is",
                             len(told) == 1 and "the state is on disk again" in said, "; ".join(warnings(said)))
            finally:
                subprocess.run(["umount", state], check=True)
    report.close()


if __name__ == "__main__":
    main()

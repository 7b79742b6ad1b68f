# SPDX-License-Identifier: Apache-2.0
"""Measures that more than one scenario takes."""
import json
from pathlib import Path

INSIDE = Path(__file__).parent / "inside"
AGENT = "/run/lab/pagepact-agent"


def scan_cost(guest, rounds=3):
    """A scan's time beside reading /proc/kpageflags and /proc/kpagecount of the same pages, in the same guest.

    Both are timed from inside, several times in turns, and the least of each is taken: under emulation anything may be
    late, nothing is early. The scan's time is the one that `pagepact-agent --once` measures, without its start.
    """
    scans, reads = [], []
    for _ in range(rounds):
        scans.append(json.loads(guest.run(f"{AGENT} --once --json"))["elapsed_usec"] / 1e6)
        cost = guest.python((INSIDE / "cost.py").read_text(), {"name": "pagepact-agent", "kpage": True})
        reads.append(json.loads(cost)["kpage_seconds"])
    return min(scans) / min(reads)

# SPDX-License-Identifier: Apache-2.0
"""Measures that more than one scenario takes."""
import json

from lab import workload

AGENT = "/run/lab/pagepact-agent"


def scan(guest):
    """A census by `pagepact-agent --once` in a guest."""
    return json.loads(guest.run(f"{AGENT} --once --json", 120))


def scan_cost(guest, rounds=3):
    """A scan's time beside reading /proc/kpageflags and /proc/kpagecount of the same pages, in the same guest.

    Both are timed from inside, several times in turns, and the least of each is taken: under emulation anything may be
    late, nothing is early. The scan's time is the one that `pagepact-agent --once` measures, without its start.
    """
    scans, reads = [], []
    for _ in range(rounds):
        scans.append(scan(guest)["elapsed_usec"] / 1e6)
        reads.append(workload.process_cost(guest, "pagepact-agent", kpage=True)["kpage_seconds"])
    return min(scans) / min(reads)

# SPDX-License-Identifier: Apache-2.0
"""What the limit costs a reader at full speed, and mixed work, in time; and in instructions."""
import json

from lab import pairs, stream, workload
from lab.limit_state import LIMIT_BYTES
from lab.report import MIB, mib, table
from lab.say import step

PIECE_BYTES = 512 * MIB
FILL_BYTES = 640 * MIB
AGAIN_BYTES = 24 * MIB
NEW_BYTES = 24 * MIB
SMALL_FILES = 250
COUNTED_PIECES = 4


def _speed(bounded):
    read = bounded.read(PIECE_BYTES)
    return read["bytes"] / read["seconds"]


def throughput(bounded):
    """Reading under the limit against reading without it: where memory is full, which it is once an unlimited guest has
    read as much as it has, and where it is free, which it is at first."""
    report = bounded.report
    report.head("Reading under the limit against reading without it")
    free = []

    def limited():
        bounded.limit()
        return _speed(bounded)

    def unlimited():
        bounded.unlimit()
        free.append(_speed(bounded))
        bounded.read(FILL_BYTES)
        return _speed(bounded)
    least, most = (3, 3) if bounded.quick else (10, 24)
    found = pairs.measure(limited, unlimited, least, most, 0.10)
    lower, _ = pairs.report(report, "throughput_ratio", found)
    # A pair that begins without the limit may still find memory full.
    pairs.report(report, "throughput_ratio_free_memory", [(a, f) for (a, _), f in zip(found, free)])
    report.say(table(("pair", "limited MiB/s", "unlimited", "ratio"),
                     [(n, f"{a / MIB:.0f}", f"{b / MIB:.0f}", f"{a / b:.3f}") for n, (a, b) in enumerate(found, 1)]))
    # Three pairs can only show that nothing is badly wrong.
    if bounded.quick:
        report.check("throughput_ratio", report.measures["throughput_ratio"], ">= 0.6")
    else:
        report.check("throughput_ratio_lower", lower, ">= 0.85")


class Mixed:
    """The same piece of mixed work (inside/mixed.py) again and again; the limit must bind while it runs."""

    def __init__(self, bounded):
        self.bounded = bounded
        files = [f for f in workload.list_files(bounded.guest) if f[1] < 4 * MIB]
        self.again, _ = workload.choose(files, AGAIN_BYTES)

    def piece(self):
        args = {"again": self.again, "small": stream.small_files(SMALL_FILES), "pieces": self.bounded.stream.take(NEW_BYTES)}
        return json.loads(self.bounded.guest.python(workload.source("mixed.py"), args, 180))

    def limited(self, what="seconds", count=1):
        self.bounded.limit()
        return sum(self.piece()[what] for _ in range(count))

    def unlimited(self, what="seconds", count=1):
        self.bounded.unlimit()
        return sum(self.piece()[what] for _ in range(count))


def _check_worked(bounded, evicted, name):
    """A limit under which nothing was evicted costs nothing."""
    report = bounded.report
    evicted = report.measure(name, bounded.told()["evicted_bytes"] - evicted)
    report.check(name, evicted, f">= {NEW_BYTES}")


def mixed(bounded):
    report = bounded.report
    report.head("Mixed work with the limit on against off")
    work = Mixed(bounded)
    bounded.limit()
    evicted = bounded.told()["evicted_bytes"]
    for _ in range(2):
        work.piece()
    least, most = (3, 3) if bounded.quick else (10, 60)
    found = pairs.measure(work.limited, work.unlimited, least, most, 0.06)
    _, upper = pairs.report(report, "mixed_time_ratio", found)
    report.say(f"  {len(found)} pairs of about {sum(map(sum, found)) / 2 / len(found):.1f} s: ratio "
               f"{report.measures['mixed_time_ratio']:.3f}, with 95 % certainty at most {upper:.3f}")
    _check_worked(bounded, evicted, "mixed_evicted_bytes")
    if bounded.quick:
        report.check("mixed_time_ratio", report.measures["mixed_time_ratio"], "<= 1.5")
    else:
        report.check("mixed_time_ratio_upper", upper, "<= 1.05")


def counted(bounded):
    """The same work in a guest whose time counts instructions: no noise, and all that the agent does is in it."""
    report = bounded.report
    report.head("The same mixed work, in instructions")
    work = Mixed(bounded)
    bounded.limit()
    evicted = bounded.told()["evicted_bytes"]
    for _ in range(2):
        work.piece()
    count = 1 if bounded.quick else COUNTED_PIECES
    on, off = (work.limited("cpu_seconds", count), work.unlimited("cpu_seconds", count))
    if not bounded.quick:
        off += work.unlimited("cpu_seconds", count)
        on += work.limited("cpu_seconds", count)
    ratio = report.measure("mixed_cpu_ratio", on / off)
    step(f"CPU time {on:.2f} s with the limit, {off:.2f} s without: {ratio:.4f}")
    _check_worked(bounded, evicted, "counted_evicted_bytes")
    report.check("mixed_cpu_ratio", ratio, "<= 1.01")
    report.say(f"  Each piece reads {mib(NEW_BYTES)} anew; the limit is {mib(LIMIT_BYTES)}.")

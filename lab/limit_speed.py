# SPDX-License-Identifier: Apache-2.0
"""What the limit costs a reader at full speed, and mixed work, in time; and in instructions."""
import concurrent.futures
import json

from lab import pairs, stream, workload
from lab.limit_state import LIMIT_BYTES
from lab.report import MIB, mib, table

PIECE_BYTES = 512 * MIB
FILL_BYTES = 640 * MIB
# Twenty times what it takes: a guest that the emulator lost is given up soon.
READ_SECONDS = 100
AGAIN_BYTES = 24 * MIB
NEW_BYTES = 8 * MIB
SMALL_FILES = 250
COUNTED_PIECES = 8
SECONDS_PER_INSTRUCTION = 8e-9  # as guest.py asks QEMU for
COUNTED_FILL_BYTES = 192 * MIB
COUNTED_READ_BYTES = 384 * MIB


def _speed(bounded):
    read = bounded.read(PIECE_BYTES, READ_SECONDS)
    return read["bytes"] / read["seconds"]


class Throughput:
    """Reading under the limit against reading without it: where memory is full, which it is once an unlimited guest has
    read as much as it has, and where it is free, which it is at first."""

    def __init__(self):
        self.pairs, self.free = [], []

    def measure(self, bounded):
        """In one guest; what was measured in another before is gone on with."""
        # A guest may have been lost in mid-pair.
        del self.free[len(self.pairs):]

        def limited():
            bounded.limit()
            # As without it, where memory is filled first: both are measured from the second piece on.
            bounded.read(FILL_BYTES, READ_SECONDS)
            return _speed(bounded)

        def unlimited():
            bounded.unlimit()
            self.free.append(_speed(bounded))
            bounded.read(FILL_BYTES, READ_SECONDS)
            return _speed(bounded)
        pairs.measure(limited, unlimited, 10, 40, 0.05, self.pairs)

    def report(self, report):
        lower, _ = pairs.report(report, "throughput_ratio", self.pairs)
        # A pair that begins without the limit may still find memory full.
        pairs.report(report, "throughput_ratio_free_memory", [(a, f) for (a, _), f in zip(self.pairs, self.free)])
        report.say(table(("pair", "limited MiB/s", "unlimited", "ratio"),
                         [(n, f"{a / MIB:.0f}", f"{b / MIB:.0f}", f"{a / b:.3f}") for n, (a, b) in enumerate(self.pairs, 1)]))
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


def _gone(before, after):
    """Bytes of page cache that had to go between two looks at the counters."""
    return (after["pgpgin"] - before["pgpgin"]) * 1024 - (after["unmapped"] - before["unmapped"]) * 4096


def mixed(limited, unlimited):
    report = limited.report
    report.head("Mixed work with the limit on against off")
    on, off = Mixed(limited), Mixed(unlimited)
    for work in (on, off):
        work.bounded.read(FILL_BYTES)
        for _ in range(2):
            work.piece()
    before = limited.counters()
    found = pairs.measure(lambda: on.piece()["seconds"], lambda: off.piece()["seconds"], 10, 100, 0.06)
    _, upper = pairs.report(report, "mixed_time_ratio", found)
    report.say(f"  {len(found)} pairs of about {sum(map(sum, found)) / 2 / len(found):.1f} s: ratio "
               f"{report.measures['mixed_time_ratio']:.3f}, with 95 % certainty at most {upper:.3f}")
    # A limit under which nothing was evicted costs nothing.
    evicted = report.measure("mixed_evicted_bytes", _gone(before, limited.counters()))
    report.check("mixed_evicted_bytes", evicted, f">= {NEW_BYTES * len(found) // 2}")
    report.check("mixed_time_ratio_upper", upper, "<= 1.05")


def read_counted(limited, unlimited):
    """Reading at full speed on one CPU, which the agent shares: nothing of its work is hidden by another CPU."""
    report = limited.report
    spent = []
    for bounded in (limited, unlimited):
        bounded.read(COUNTED_FILL_BYTES)
        before = _cpu_seconds(bounded.guest)
        bounded.read(COUNTED_READ_BYTES)
        spent.append(_cpu_seconds(bounded.guest) - before)
    ratio = report.measure("throughput_counted_ratio", spent[1] / spent[0])
    report.check("throughput_counted_ratio", ratio, ">= 0.6")
    report.say(f"  {mib(COUNTED_READ_BYTES)} read on one CPU: {spent[0]:.3f} s with the limit, {spent[1]:.3f} s without, {ratio:.3f}")


def _cpu_seconds(guest):
    """What ran on the guest's CPUs so far, as its scheduler counted it."""
    lines = guest.run("grep ^cpu /proc/schedstat").splitlines()
    return sum(int(line.split()[7]) for line in lines) / 1e9


def _counted_work(bounded, count):
    """CPU seconds of that many pieces, and how much page cache had to go meanwhile; the cache is at its limit
    before, where there is one."""
    work = Mixed(bounded)
    work.piece()
    bounded.read(COUNTED_FILL_BYTES)
    work.piece()
    before = bounded.counters()
    seconds = [work.piece()["cpu_seconds"] for _ in range(count)]
    return seconds, _gone(before, bounded.counters())


def counted(limited, unlimited):
    """The same work in two guests whose time counts instructions: no noise, and all that the agents do is in it. Their limit
    is in the kernel's command line: a host's word would be forgotten, because such a guest's time is not the host's."""
    report = limited.report
    report.head("The same mixed work, in instructions")
    count = 1 if limited.quick else COUNTED_PIECES
    with concurrent.futures.ThreadPoolExecutor(2) as both:
        (on, gone), (off, _) = both.map(lambda bounded: _counted_work(bounded, count), (limited, unlimited))
    ratio = report.measure("mixed_cpu_ratio", sum(on) / sum(off))
    report.say(table(("piece", "CPU s limited", "unlimited", "ratio"),
                     [(n, f"{a:.3f}", f"{b:.3f}", f"{a / b:.4f}") for n, (a, b) in enumerate(zip(on, off), 1)]))
    report.measure("mixed_cpu_spread_ratio", max(off) / min(off))
    # A limit under which nothing was evicted costs nothing.
    report.check("counted_evicted_bytes", report.measure("counted_evicted_bytes", gone), f">= {count * NEW_BYTES // 2}")
    # A single piece is where one batch of eviction more or less shows.
    report.check("mixed_cpu_ratio", ratio, "<= 1.03" if limited.quick else "<= 1.01")
    pages = gone // 4096
    report.measure("evict_instructions_per_page", (sum(on) - sum(off)) / SECONDS_PER_INSTRUCTION / pages if pages > 0 else None)
    report.say(f"  Each piece reads {mib(NEW_BYTES)} anew; the limit is {mib(LIMIT_BYTES)}.")

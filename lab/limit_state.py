# SPDX-License-Identifier: Apache-2.0
"""What the parts of the scenario `limit` hand on to each other: a guest, its endless files, and its limit's switch."""
import json
import time
from dataclasses import dataclass

from lab import process, stream, workload
from lab.report import MIB

LIMIT_BYTES = 128 * MIB
PEAK_SLACK_BYTES = 16 * MIB
SAMPLE_SECONDS = 0.004
SETTLE_SECONDS = 30
REPORT_SECONDS = 60
CALM_SECONDS = 90


@dataclass
class Bounded:
    """A guest with the disk of stream.py and an agent; quick, whether the short form is wanted."""
    lab: object
    report: object
    guest: object
    quick: bool = False

    def __post_init__(self):
        self.stream = stream.Stream(self.guest)
        self._stops = 0

    # ------------------------------------------------------------------ the limit

    def limit(self, size=LIMIT_BYTES):
        """Switch the limit on, and wait until the guest is below it. First until the guest's memory pressure is over:
        what that does to the agent is measured by itself (limit_peak.hold)."""
        process.wait_for(self.calm, CALM_SECONDS, "memory pressure ends")
        self.set_limit(size)
        try:
            process.wait_for(lambda: self.unmapped() <= size, SETTLE_SECONDS, f"the cache shrinks to {size} bytes")
        except process.Deadline as deadline:
            raise process.Deadline(f"{deadline}; there are {self.unmapped()}, and the agent says {self.told()}") from None

    def calm(self):
        some = self.guest.run("cat /proc/pressure/memory").split()[1]
        return float(some.removeprefix("avg10=")) < 0.5

    def set_limit(self, text):
        self.lab.pagepact("cache-limit", self.guest.name, str(text))

    def unlimit(self):
        self.set_limit("off")

    def told(self):
        """What the agent says, as `pagepact status` has it; not what it said before this call."""
        start = time.monotonic()

        def fresh():
            report = next(vm["report"] for vm in self.lab.pagepact("status")["vms"] if vm["name"] == self.guest.name)
            return report if report and report["age_usec"] / 1e6 < time.monotonic() - start else None
        return process.wait_for(fresh, REPORT_SECONDS, "the agent reports")

    # ------------------------------------------------------------------ the guest's own counters

    def counters(self):
        """/proc/vmstat, and what of it is page cache that nothing maps, in pages."""
        found = {name: int(value) for name, value in map(str.split, self.guest.run("cat /proc/vmstat").splitlines())}
        found["unmapped"] = found["nr_inactive_file"] + found["nr_active_file"] - found["nr_mapped"]
        return found

    def unmapped(self):
        return self.counters()["unmapped"] * 4096

    def read_under_limit(self, size):
        """read(), and how much of it had to go by the kernel's counters, less what the kernel took by itself: the result
        has "evicted" and "kernel_reclaimed_pages"."""
        before = self.counters()
        read = self.read(size)
        after = self.counters()
        stolen = sum(after[name] - before[name] for name in ("pgsteal_kswapd", "pgsteal_direct"))
        read["evicted"] = read["bytes"] - (after["unmapped"] - before["unmapped"] + stolen) * 4096
        read["kernel_reclaimed_pages"] = stolen
        return read

    # ------------------------------------------------------------------ work

    def read(self, size, seconds=300, **options):
        """Read that much that nobody has read yet, at full speed: {"bytes", "seconds"}."""
        return self.read_again(self.stream.take(size), seconds, **options)

    def read_again(self, pieces, seconds=300, **options):
        """The same of pieces that were taken before."""
        options["pieces"] = pieces
        return json.loads(self.guest.python(workload.source("pieces.py"), options, seconds))

    def begin(self, program, **options):
        """Start lab/inside/PROGRAM, which runs until end()."""
        self._stops += 1
        stop = f"/run/lab/stop-{self._stops}"
        return stop, self.guest.begin_python(workload.source(program), {**options, "stop": stop})

    def end(self, begun, seconds=60):
        """What it printed, as JSON."""
        stop, ident = begun
        self.guest.run(f"touch {stop}")
        return json.loads(self.guest.finish(ident, seconds))

    def begin_sampling(self):
        return self.begin("sample.py", interval=SAMPLE_SECONDS)

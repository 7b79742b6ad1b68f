# SPDX-License-Identifier: Apache-2.0
"""A plain QMP `balloon`, as any script sends it: the hint `cache` against the hint `none`, in a guest full of cache."""
import json
import re
import time

from lab import pairs, process, stream, workload
from lab.report import MIB, mib, table

PAIRS, MOST_PAIRS, QUICK_PAIRS = 10, 30, 2
WIDTH = 0.1
INFLATE_SECONDS = 120
KNOWN_SECONDS = 60
MAPPED_BYTES = 32 * MIB
PAGE = 4096
LOST_MOST = 6
# The first byte of the function where the agent's sensor is: see guest.py on CPUs that are parallel.
SENSOR = re.compile(r"folio_mark_accessed\+0x0/")
STOLEN = ("pgsteal_kswapd", "pgsteal_direct")


class Plain:
    """The two variants; `stolen` is what the kernel took in each of a variant's inflations."""

    def __init__(self, lab):
        self.low_by = (256 if lab.quick else 512) * MIB
        self.least, self.most = (QUICK_PAIRS, QUICK_PAIRS) if lab.quick else (PAIRS, MOST_PAIRS)
        self.stolen, self.lost, self.pairs = {"cache": [], "none": []}, 0, []
        self._stops = 0

    def measure(self, ballooned):
        """In one guest; what was measured in another before is gone on with."""
        for found in self.stolen.values():
            # A guest may have been lost in mid-pair.
            del found[len(self.pairs):]
        self.ballooned, self.guest, self.files = ballooned, ballooned.guest, ballooned.files
        self.low, self.missing = ballooned.memory - self.low_by, ballooned.memory
        pairs.measure(lambda: self.inflate("cache"), lambda: self.inflate("none"), self.least, self.most, WIDTH,
                      self.pairs)

    def _hint(self, hint):
        self.ballooned.lab.pagepact("hint", self.guest.name, hint)
        process.wait_for(lambda: (self.ballooned.vm()["report"] or {}).get("hint") == hint, KNOWN_SECONDS,
                         f"the hint is {hint}")

    def _begin_mapped(self):
        self._stops += 1
        stop = f"/run/lab/stop-mapped-{self._stops}"
        ident = self.guest.begin_python(workload.source("mapped.py"),
                                        {"path": f"{stream.MOUNT}/s63", "bytes": MAPPED_BYTES, "stop": stop})
        process.wait_for(lambda: self.guest.run(f"ls {stop}.warm 2>/dev/null || true"), 60, "the file is mapped")
        return stop, ident

    def _inflate(self):
        start = time.monotonic()
        self.guest.qmp("balloon", value=self.low)
        process.wait_for(lambda: self.ballooned.actual() == self.low, INFLATE_SECONDS, "the target is reached")
        return time.monotonic() - start

    def inflate(self, hint):
        """Seconds, of a guest whose memory is full of cache before."""
        self._hint(hint)
        stop, ident = self._begin_mapped()
        pieces = self.files.take(self.missing)
        # What the next inflation gives back has to be filled again.
        self.missing = (self.ballooned.memory - self.low) * 5 // 4
        json.loads(self.guest.python(workload.source("pieces.py"), {"pieces": pieces}, 200))
        before = self.ballooned.counters()
        seconds = self._inflate()
        after = self.ballooned.counters()
        self.stolen[hint].append(sum(after[name] - before[name] for name in STOLEN) * PAGE)
        self.guest.run(f"touch {stop}")
        mapped = json.loads(self.guest.finish(ident, 60))
        if hint == "cache":
            self.lost += mapped["lost_pages"]
        self.guest.qmp("balloon", value=self.ballooned.memory)
        if self.ballooned.left_squeezed():
            raise RuntimeError("the guest does not take back what the script gives back")
        return seconds


def _measured(lab, report, ballooned, again):
    """The work, done in one guest after another where the emulator loses one; how many were lost, and where."""
    work, places = Plain(lab), []
    while True:
        ballooned.start_daemon()
        ballooned.wait_known()
        try:
            work.measure(ballooned)
            lab.pagepact("hint", ballooned.guest.name, "default")
            return work, places
        except (OSError, process.Deadline):
            if not again or len(places) == LOST_MOST or ballooned.works():
                raise
        places.append((ballooned.guest.stuck_at() or ["somewhere"])[-1])
        report.say(f"  The guest is lost after {len(work.pairs)} pairs, at {places[-1]}.")
        lab.stop_daemon()
        lab.guests.pop(ballooned.guest.name).kill()
        ballooned = again(f"fast{len(places)}")


def plain(lab, report, ballooned, again=None):
    """again(name): another such guest, where this one may be lost (guest.py)."""
    report.head("A plain balloon, with the hint and without it")
    work, places = _measured(lab, report, ballooned, again)
    lab.stop_daemon()
    found = work.pairs
    if again:
        report.measure("plain_guests_lost", len(places))
        report.check("plain_lost_elsewhere", len([p for p in places if not SENSOR.match(p)]), "== 0")
    report.say(table(("pair", "hinted s", "unhinted", "ratio"),
                     [(n, f"{a:.2f}", f"{b:.2f}", f"{a / b:.3f}") for n, (a, b) in enumerate(found, 1)]))
    pairs.report(report, "target_time_ratio", found)
    if not lab.quick:
        report.check("target_time_ratio", report.measures["target_time_ratio"], "<= 1.0")
    hinted, unhinted = sum(work.stolen["cache"]), sum(work.stolen["none"])
    report.measure("unhinted_kernel_stolen_bytes", unhinted)
    report.check("unhinted_kernel_stolen_bytes", unhinted, f">= {len(found) * 128 * MIB}")
    report.check("hint_kernel_stolen_bytes", report.measure("hint_kernel_stolen_bytes", hinted), f"<= {unhinted // 5}")
    report.check("hint_mapped_lost_pages", report.measure("hint_mapped_lost_pages", work.lost), "== 0")
    report.say(f"  The kernel took {mib(hinted)} in hinted inflations, {mib(unhinted)} in the others.")

# SPDX-License-Identifier: Apache-2.0
"""Superpages that an agent keeps out of its guest's use, and the host pages out, against the stock balloon in the same guest.

The guest is full of clean cache. What the daemon does is done by hand, so that each phase is seen: the agent evicts, takes, and
the host's kernel pages out; from the first order to the end of the last. A second time what is to come back is given back.
"""
import re
import statistics
import time

from lab import page_out, pairs, stream, swap, wire
from lab.report import MIB, table
from lab.superpage_dial import DRIFT_BYTES, _memory
from lab.superpage_state import SHARE, STEP, wait
from lab.workload import source

PAIRS, MOST_PAIRS, QUICK_PAIRS = 10, 20, 2
WIDTH = 0.1
TIMES, QUICK_TIMES = 1000, 10
COUNT = STEP // page_out.SUPERPAGE
MEMORY_MIB = 1024
TRIES = 10


class Taken:
    """A guest, its agent's port, and how long what took; how much came back as whole superpages, and as parts of some."""

    def __init__(self, guest):
        self.guest, self.memory = guest, guest.memory_mib * MIB
        self.link = wire.Link(guest.agent_path, seconds=60)
        self.files, self.missing = stream.Stream(guest), self.memory
        self.phases, self.whole, self.parts, self.kept = {}, 0, 0, 0

    def fill(self):
        pieces = self.files.take(self.missing)
        # More than was taken: superpages are freed with some to spare, and what was paged out is to be touched again.
        self.missing = 2 * STEP
        self.guest.python(source("pieces.py"), {"pieces": pieces}, 200)

    def timed(self, name, action):
        start = time.monotonic()
        found = action()
        self.phases.setdefault(name, []).append(time.monotonic() - start)
        return found

    def _taken(self):
        count, why, runs = self.link.take(COUNT)
        for _ in range(TRIES):
            if count == COUNT:
                break
            # As the daemon does: what is lacking is freed, and taken then.
            if why == "scarce":
                self.timed("taken_evict_again", lambda: self.link.free((COUNT - count) * page_out.SUPERPAGE, whole=True))
            count, why, runs = self.link.take(COUNT)
        if count != COUNT:
            raise RuntimeError(f"{count} superpages in place of {COUNT}: {why}")
        return page_out.numbers(runs)

    def by_superpages(self):
        self.fill()
        start = time.monotonic()
        self.timed("taken_evict", lambda: self.link.free(STEP, whole=True))
        found = self.timed("taken_take", self._taken)
        where = self.timed("taken_ask_qemu", lambda: page_out.addresses(self.guest, found))
        self.timed("taken_page_out", lambda: self._page_out(list(where.values())))
        seconds = time.monotonic() - start
        self._count(where.values())
        self.timed("taken_release", lambda: self.link.take(0))
        self.phases.setdefault("taken", []).append(seconds)
        return seconds

    def _page_out(self, where):
        """A page that waits in some CPU's batch is not paged out the first time."""
        for _ in range(TRIES):
            if not where:
                break
            page_out.page_out(self.guest.pid, where)
            where = [at for at in where if page_out.present(self.guest.pid, at)]

    def _count(self, where):
        """What the host has of them, once it was paged out: that ends before the call that asks for it does."""
        for at in where:
            left = page_out.present(self.guest.pid, at)
            self.whole += page_out.SUPERPAGE if not left else 0
            self.parts += page_out.SUPERPAGE - left * page_out.PAGE if left else 0
            self.kept += left * page_out.PAGE

    def _balloon(self, size):
        self.guest.qmp("balloon", value=size)
        wait(lambda: self.guest.qmp("query-balloon")["actual"] == size, "the balloon is there")

    def by_pages(self):
        self.fill()
        before, start = self.guest.ram_resident_bytes(), time.monotonic()
        self._balloon(self.memory - STEP)
        wait(lambda: before - self.guest.ram_resident_bytes() >= SHARE * STEP, "the host has it back")
        seconds = time.monotonic() - start
        self.timed("pages_release", lambda: self._balloon(self.memory))
        self.phases.setdefault("pages", []).append(seconds)
        return seconds


def _pool(guest):
    words = guest.run("grep ^HugePages_ /proc/meminfo; cat /proc/sys/vm/nr_overcommit_hugepages").split()
    return sum(int(word) for word in words if word.isdigit())


def _times(lab, report, taken, kind):
    least, most = (QUICK_PAIRS, QUICK_PAIRS) if lab.quick else (PAIRS, MOST_PAIRS)
    found = pairs.measure(taken.by_superpages, taken.by_pages, least, most, WIDTH)
    pairs.report(report, f"taken_time_ratio{kind}", found)
    released = list(zip(taken.phases["taken_release"], taken.phases["pages_release"]))
    _, upper = pairs.report(report, f"taken_release_time_ratio{kind}", released)
    rows = [(name, len(times), *(f"{value:.3f}" for value in (statistics.median(times), min(times), max(times))))
            for name, times in sorted(taken.phases.items())]
    for name, times in taken.phases.items():
        report.measure(f"{name}_seconds{kind}", statistics.median(times))
    report.say(table(("phase", "times", "median s", "least", "most"), rows))
    ratio = report.measure(f"superpage_bytes_ratio{kind}", taken.whole / (taken.whole + taken.parts))
    # Of few superpages, one of which a page will not go is a good part.
    report.check(f"superpage_bytes_ratio{kind}", ratio, ">= 0.98" if lab.quick else ">= 1")
    kept = report.measure(f"taken_kept_share{kind}", taken.kept / (taken.kept + taken.whole + taken.parts))
    report.check(f"taken_kept_share{kind}", kept, "<= 0.02")
    if not lab.quick:
        report.check(f"taken_release_time_ratio{kind}_upper", upper, "<= 0.1")


def _settled(guest):
    """Its memory, with what each CPU keeps for itself, superpages too, which its kernel counts as used."""
    guest.run("echo 3 > /proc/sys/vm/drop_caches; echo 1 > /proc/sys/vm/compact_memory")
    kept = sum(map(int, re.findall(r"^ +count: (\d+)$", guest.run("cat /proc/zoneinfo"), re.M))) * page_out.PAGE
    found = _memory(guest)
    return {**found, "MemAvailable": found["MemAvailable"] + kept}


def _drift(lab, report, taken):
    """Taken and given back, many times."""
    times = lab.seconds or (QUICK_TIMES if lab.quick else TIMES)
    before, pool = _settled(taken.guest), _pool(taken.guest)
    for _ in range(times):
        if taken.link.take(COUNT // 2)[0] != COUNT // 2 or taken.link.take(0)[0]:
            raise RuntimeError("not taken, or not given back")
    after = _settled(taken.guest)
    report.measure("taken_drift_times", times)
    report.check("taken_drift_pool", report.measure("taken_drift_pool", abs(_pool(taken.guest) - pool)), "== 0")
    for name, limit in (("MemTotal", "== 0"), ("MemAvailable", f"<= {DRIFT_BYTES}")):
        key = f"taken_drift_{name.lower()}_bytes"
        report.check(key, report.measure(key, before[name] - after[name]), limit)


def _one(lab, report, kernel, kind, append):
    guest = lab.guest(f"taken{kind}", kernel=kernel, memory_mib=MEMORY_MIB, append=append, traced=False,
                      shared_disks=[stream.image()])
    guest.wait_ready()
    taken = Taken(guest)
    report.head(f"256 MiB by superpages that an agent keeps out of use, and by pages{', init_on_alloc=0' * bool(kind)}")
    _times(lab, report, taken, kind)
    if not kind:
        _drift(lab, report, taken)
    taken.link.close()
    found = guest.check_kernel_log()
    lab.guests.pop(guest.name).kill()
    return found


def taken(lab, report, kernel):
    try:
        with swap.enough():
            found = _one(lab, report, kernel, "", "")
            if not lab.quick:
                found += _one(lab, report, kernel, "_noinit", "init_on_alloc=0")
            report.check("taken_log_troubles", report.measure("taken_log_troubles", len(found)), "== 0")
    except swap.NoSwap as error:
        report.say(f"Superpages that an agent keeps out of use are left out: {error}")
        if report.only:
            report.check("taken_measured", None, "== 1")

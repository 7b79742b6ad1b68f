# SPDX-License-Identifier: Apache-2.0
"""One build of the scenario `wave`: a guest that goes on from the kept state, its balloon's wave, and what was seen."""
import calendar
import contextlib
import json
import math
import shutil
import time
from dataclasses import dataclass, field

from lab import frozen, kbuild, oracle, process, warm, workload
from lab.report import MIB
from lab.say import step
from lab.wave_variants import AGENT

LOW_BYTES, HIGH_BYTES = 500_000_000, 1_500_000_000
STEPS, STEP_SECONDS = 10, 1  # of a wave; or of the host's time, if that is less
BUILD_SECONDS = 1200
# Two CPUs take turns (guest.py): a build's time is then the CPU time that all took, and waiting. It does not depend on
# whether this machine's second CPU is free, nothing hides on an idle CPU, and no guest is lost.
# Pages are not cleared when they are allocated, as they were not in 2010: for a balloon's pages, which nobody reads,
# that takes four times as long as taking them, and a balloon that is always late does not make waves.
# Programs stand at the same addresses each time: the emulator keeps translated code by address, and half of a build's
# time was the translation of one compiler after another.
GUEST = {"memory_mib": 2048, "smp": 2, "agent": None, "traced": False, "balloon_options": "deflate-on-oom=on",
         "append": "init_on_alloc=0 norandmaps"}
# The guest's whole memory, QEMU's own, and little cache; a GiB more of that while the balloon is inflated.
HOST_BYTES = 2432 * MIB
STOLEN = ("pgsteal_kswapd", "pgsteal_direct", "pgsteal_khugepaged")


def target(seconds, period):
    """The balloon's: a triangle that begins at its top, where the guest has most."""
    return round(LOW_BYTES + (HIGH_BYTES - LOW_BYTES) * abs(2 * (seconds % period) / period - 1))


@dataclass
class Build:
    """What was found in one build. host: [seconds, target, balloon, held, cached, charged] in bytes; guest: [seconds, free,
    cached, buffers] as inside/build.py has them; told: what the agent said at the end, where there is one."""
    variant: str
    period: float
    waves: float
    figures: dict
    host: list
    guest: list
    told: dict = None
    troubles: list = field(default_factory=list)
    host_oom_kills: int = 0

    @property
    def seconds(self):
        return self.figures["seconds"]

    @property
    def full_waves(self):
        return int(min(self.host[-1][0] // self.period, self.waves))

    @property
    def oom_kills(self):
        return self.figures["vmstat"]["oom_kill"] + self.host_oom_kills

    def stolen_bytes(self):
        return sum(self.figures["vmstat"].get(name, 0) for name in STOLEN) * oracle.BLOCK

    def swing(self):
        """How much of the way from top to bottom the balloon itself went, in the wave in which it went least."""
        found = []
        for wave in range(self.full_waves):
            actual = [row[2] for row in self.host if wave * self.period <= row[0] < (wave + 1) * self.period]
            found.append((max(actual) - min(actual)) / (HIGH_BYTES - LOW_BYTES))
        return min(found, default=None)


def integral(rows, column):
    """Of one column over the time in column 0."""
    return sum((b[0] - a[0]) * (a[column] + b[column]) / 2 for a, b in zip(rows, rows[1:]))


def until(rows, seconds):
    """Up to that moment, whose row lies between those around it."""
    found = [row for row in rows if row[0] <= seconds]
    if found and len(found) < len(rows) and found[-1][0] < seconds:
        a, b = found[-1], rows[len(found)]
        share = (seconds - a[0]) / (b[0] - a[0])
        found.append([seconds, *(x + (y - x) * share for x, y in zip(a[1:], b[1:]))])
    return found


def mean(rows, column):
    return integral(rows, column) / (rows[-1][0] - rows[0][0])


def freeze(lab, report, group, name, folder, **options):
    """The kept state of a guest that has read a folder of the source in."""
    options = {**GUEST, "base": kbuild.image(), "files": {AGENT: lab.agent}, **options}
    # What the host already caches of the image would be charged to nobody.
    frozen.forget(kbuild.image())
    guest = lab.guest(name, inside=group.prefix, **options)
    guest.wait_ready()
    read = workload.read_tree(guest, f"{kbuild.TREE}/{folder}")
    report.measure(f"{name}_tree_bytes", read["bytes"])
    report.measure(f"{name}_tree_seconds", read["seconds"])
    step(f"{read['files']} files read in {read['seconds']:.0f} s")
    kept = frozen.Frozen(guest, lab.directory / f"{name}-frozen", **options)
    del lab.guests[name]
    group.empty()
    return kept


class Builder:
    """Builds by one variant after another, each in a guest of its own that goes on from `kept`; with `waves`, there are
    no more than so many of them, and the balloon stays at the top from then on."""

    def __init__(self, lab, kept, group, targets, period, waves=math.inf):
        self.lab, self.kept, self.group = lab, kept, group
        self.targets, self.period, self.waves = targets, period, waves
        self._count = 0

    def build(self, kind):
        self._count += 1
        name = f"{kind.name}{self._count}"
        try:
            guest = self.kept.thaw(self.lab, name, self.group)
            variant = kind(self.lab, guest)
            # From here on: a variant may take a while to begin, and this machine takes the image's cache.
            with contextlib.closing(warm.Followed(guest.base)) as image:
                variant.begin()
                found = self._measure(guest, variant, image)
            variant.end()
            found.told = getattr(variant, "told", None)
            found.troubles = guest.check_kernel_log()
        finally:
            self.lab.stop_daemon()
            if name in self.lab.guests:
                self.lab.guests.pop(name).kill()
            shutil.rmtree(self.lab.directory / name)
            self.group.empty()
        return found

    def _measure(self, guest, variant, image):
        kills, before = self.group.oom_kills(), _counters(guest)
        ident = guest.begin_python(workload.source("build.py"),
                                   {"tree": kbuild.TREE, "targets": self.targets, "jobs": guest.smp,
                                    "environment": kbuild.ENVIRONMENT})
        host = self._wave(guest, variant, ident, image)
        figures = json.loads(guest.finish(ident))
        figures.update({name: value - before[name] for name, value in _counters(guest).items()})
        samples = figures.pop("samples")
        return Build(variant.name, self.period, self.waves, figures, host, samples,
                     host_oom_kills=self.group.oom_kills() - kills)

    def _wave(self, guest, variant, ident, image):
        """Have the balloon go up and down until the build ends; what the host saw."""
        start, rows, waves, end = _clock(guest), [], 0, time.monotonic() + BUILD_SECONDS
        while True:
            seconds, step_end = _clock(guest) - start, time.monotonic() + min(self.period / STEPS, STEP_SECONDS)
            if time.monotonic() > end:
                raise process.Deadline(f"a build ({variant.title}): not within {BUILD_SECONDS} s")
            wanted = None
            if variant.waves:
                if waves <= seconds / self.period < self.waves:
                    variant.before_inflation()
                    waves += 1
                wanted = target(min(seconds, self.waves * self.period), self.period)
                guest.qmp("balloon", value=wanted)
            rows.append(self._look(guest, image, seconds, wanted))
            if guest.done(ident, max(0.05, step_end - time.monotonic())):
                rows.append(self._look(guest, image, _clock(guest) - start, wanted))
                # What is evicted from here on was for no build.
                guest.qmp("balloon", value=rows[-1][2])
                return rows

    def _look(self, guest, image, seconds, wanted):
        actual = guest.qmp("query_balloon")["actual"]
        cached = image.follow().bit_count() * oracle.BLOCK
        return [round(seconds, 2), wanted or guest.memory_mib * MIB, actual, guest.ram_resident_bytes(), cached,
                self.group.charged_bytes()]


def _clock(guest):
    """Seconds, of the clock that the build goes by: where instructions are counted, the guest's own."""
    if not guest.icount:
        return time.monotonic()
    told = guest.qmp("qom_get", path="/machine", property="rtc-time")
    date = (told["tm_year"] + 1900, told["tm_mon"] + 1, *(told[f"tm_{part}"] for part in ("mday", "hour", "min", "sec")))
    return calendar.timegm((*date, 0, 0, 0))


def _counters(guest):
    return {"disk_read_bytes": guest.storage_read_bytes(), "virtual_read_bytes": guest.virtual_disk_read_bytes(),
            "virtual_written_bytes": guest.virtual_disk_written_bytes()}

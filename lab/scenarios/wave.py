# SPDX-License-Identifier: Apache-2.0
"""The test of 2010: a guest builds a kernel while its balloon goes up and down, with the cache-first hint and without.

A guest of 2 GiB and two CPUs has read a kernel's source in, and builds a part of it while its balloon's target is a
triangle between 1500 and 500 MB: (a) no balloon, (b) the stock balloon, (c) drop_caches before each inflation, (d) the
cache-first hint, (e) vm.zone_reclaim_mode=1. Each build goes on from the same kept state (frozen.py), QEMU in a memory
group that limits what the host can cache. (b), (c) and (d) take turns, each round in the other direction; (a) and (e)
are in some of the rounds only. Nothing of pagepact runs but in (d).

What the host caches of the image is for its kernel to keep within the group's limit: it is not held there, as other
scenarios do, but kept from the machine's own DAMON thread (warm.Followed), which took all of it in two minutes.

The wave is as fast as the machine: a build without a balloon, measured first, has ten. Where instructions are
counted it follows the guest's own clock.

Time: a minute for the image, once, and one for the kept state; 38 builds of 60 s and more, by the machine's day (51 minutes
on one where they took 60 to 85 s), of which (d) takes half a minute more before it begins; then 25 minutes for the nine
builds that count instructions. One host CPU is all that a guest uses: `taskset` keeps
the other for others. The short form is one pair of (b) and (d), of a few waves each: a minute and a half.
"""
import traceback

from lab import kbuild, wave_build, wave_report
from lab.memory_group import MemoryGroup
from lab.say import step
from lab.wave_variants import Ample, Drop, Hint, Stock, Zone

# Of the first build, the one without a balloon; with one it takes a fifth more.
FIRST_WAVES = 10
ROUNDS = 10
SELDOM = 4  # rounds from one (a) and (e) to the next
COUNTED_ROUNDS = 3
COUNTED_PERIOD_SECONDS = 27  # of the guest's own clock
QUICK_PERIOD_SECONDS = 4
QUICK_FOLDER = "drivers/gpu"  # a fifth of the source in a twentieth of its files


class Rounds:
    """Builds by their variants, and by their rounds; one that breaks is counted, and the others go on."""

    def __init__(self, builder):
        self._builder = builder
        self.builds, self.rounds, self.lost = {}, [], 0

    def round(self, kinds):
        """{variant: build} of those that did not break."""
        self.rounds.append({})
        for kind in kinds:
            try:
                found = self._builder.build(kind)
            except Exception:
                traceback.print_exc()
                self.lost += 1
                continue
            step(f"round {len(self.rounds)}, ({kind.letter}) {kind.title}: {found.seconds:.1f} s, "
                 f"{found.full_waves} waves")
            self.rounds[-1][kind.name] = found
            self.builds.setdefault(kind.name, []).append(found)
        return self.rounds[-1]

    @property
    def everything(self):
        return [build for found in self.builds.values() for build in found]

    def pairs(self, rival):
        """[(the hint's build, the rival's)] of the rounds that have both."""
        return [(r["hint"], r[rival]) for r in self.rounds if {"hint", rival} <= set(r)]


def _measure(rounds, builder, quick):
    """The wave is as fast as the machine: so that each build has ten, and a balloon has the time to follow."""
    if quick:
        rounds.round([Stock, Hint])
        return
    found = rounds.round([Ample]) or rounds.round([Ample])
    builder.period = found["none"].seconds / FIRST_WAVES
    for number in range(1, ROUNDS + 1):
        kinds = [Stock, Hint, Drop] if number % 2 == 0 else [Drop, Hint, Stock]
        if number % SELDOM == 1:
            seldom = [Ample, Zone]
            kinds = kinds + seldom if number // SELDOM % 2 else seldom + kinds
        rounds.round(kinds)


def _report(report, rounds, quick):
    wave_report.tables(report, rounds.builds)
    for rival, least in (("stock", wave_report.PAIRS), ("drop", wave_report.PAIRS), ("none", 0)):
        found = rounds.pairs(rival)
        wave_report.elapsed(report, f"elapsed_ratio_{rival}", found, 0 if quick else least)
    wave_report.ratios(report, rounds.pairs("stock"), limited=not quick)
    wave_report.counts(report, rounds.builds, quick)
    wave_report.harmless(report, rounds.everything)
    report.check("builds_lost", rounds.lost, "== 0")
    if rounds.pairs("stock"):
        report.attach(".svg", wave_report.picture(rounds.pairs("stock")))


def _builds(lab, report, group, kernel):
    """Builds side by side with the wave, and what they took."""
    folder, targets = (QUICK_FOLDER, kbuild.QUICK_TARGETS) if lab.quick else (".", kbuild.TARGETS)
    kept = wave_build.freeze(lab, report, group, "source", folder, kernel=kernel)
    builder = wave_build.Builder(lab, kept, group, targets, QUICK_PERIOD_SECONDS)
    rounds = Rounds(builder)
    _measure(rounds, builder, lab.quick)
    report.measure("period_seconds", builder.period)
    _report(report, rounds, lab.quick)


def _counted(lab, report, group, kernel):
    """Builds in guests whose time counts instructions: what the hint costs the guest's CPU. Less of it is noise: but the
    kernel compacts memory when it finds it in pieces, for two to seven of 300 seconds, whoever evicts."""
    kept = wave_build.freeze(lab, report, group, "counted", ".", kernel=kernel, smp=1, icount=True)
    builder = wave_build.Builder(lab, kept, group, kbuild.TARGETS, COUNTED_PERIOD_SECONDS,
                                 waves=wave_report.WAVES)
    kinds, rounds = [Stock, Hint, Drop], []
    for _ in range(COUNTED_ROUNDS):
        rounds.append({kind.name: builder.build(kind) for kind in kinds})
        kinds.reverse()
    wave_report.counted(report, rounds)


def run(lab, report, kernel):
    with MemoryGroup("wave", wave_build.HOST_BYTES) as group:
        report.part(_builds, lab, report, group, kernel)
        if not lab.quick:
            report.part(_counted, lab, report, group, kernel)
    report.print_measures()

# SPDX-License-Identifier: Apache-2.0
"""What the builds of the scenario `wave` say: kernbench's table beside 2010's, memory, ratios of pairs, a picture."""
import statistics

from lab import pairs, plot, wave_variants
from lab.report import MIB, table
from lab.wave_build import Build, integral, mean, until

MB = 10 ** 6
# lkml, 2010 ("Linux/Guest cooperative unmapped page cache control"): elapsed with the hint, and with the stock balloon.
THEN_HINT_SECONDS, THEN_STOCK_SECONDS = 223.86, 225.53
NONE_CACHED_BYTES = 1_200_000_000
STOLEN_BYTES = 1 << 30
# Of less the ratio says nothing.
DISK_READ_BYTES = 32 * MIB
WAVES, QUICK_WAVES = 10, 2
QUICK_BYTES = 64 * MIB
# A hint on whose strength nothing went proves nothing.
AHEAD_BYTES = 64 * MIB
# The balloon is faster than an emulated agent, and what is hot or short is left to the kernel.
AHEAD_RATIO = 0.1
# So much it was told once that the host holds, in each build.
TOLD_BYTES = 64 * MIB
PAIRS = 10
# A machine that is busy otherwise takes time that the balloon would need.
SWING = 0.5

# (name, title, value, unit of the table)
TIMES = [
    ("elapsed_seconds", "elapsed s", lambda b: b.seconds, 1),
    ("user_seconds", "user s", lambda b: b.figures["user"], 1),
    ("system_seconds", "system s", lambda b: b.figures["system"], 1),
    ("cpu_percent", "CPU %", lambda b: 100 * (b.figures["user"] + b.figures["system"]) / b.seconds, 1),
    ("switches", "switches", lambda b: b.figures["switches"], 1),
    ("sleeps", "sleeps", lambda b: b.figures["sleeps"], 1),
    ("major_faults", "major faults", lambda b: b.figures["major_faults"], 1),
]
# Means over the build, or sums. Bytes are shown by 10^6, as the wave's bounds are.
MEMORY = [
    ("held_bytes", "host holds", lambda b: mean(b.host, 3), MB),
    ("host_cached_bytes", "host cached", lambda b: mean(b.host, 4), MB),
    # What else is charged to the group: QEMU's own memory, the kernel's for it, cache of other files.
    ("host_other_bytes", "host other", lambda b: mean(b.host, 5) - mean(b.host, 3) - mean(b.host, 4), MB),
    ("guest_cached_bytes", "guest cached", lambda b: mean(b.guest, 2), MB),
    ("guest_free_bytes", "guest free", lambda b: mean(b.guest, 1), MB),
    ("stolen_bytes", "stolen", lambda b: b.stolen_bytes(), MB),
    ("virtual_read_bytes", "guest read", lambda b: b.figures["virtual_read_bytes"], MB),
    ("disk_read_bytes", "host read", lambda b: b.figures["disk_read_bytes"], MB),
    ("oom_kills", "OOM kills", lambda b: b.oom_kills, 1),
]
# The hint's over another variant's, a pair at a time; `least`, how long the shorter build of the pair took.
RATIOS = {
    "host_cached_ratio_stock": (lambda b, least: mean(b.host, 4), ">= 1"),
    "guest_cached_ratio_stock": (lambda b, least: mean(b.guest, 2), "<= 1"),
    "guest_free_ratio_stock": (lambda b, least: mean(b.guest, 1), ">= 1"),
    "disk_reads_ratio_stock": (lambda b, least: b.figures["disk_read_bytes"], "<= 1.00"),
    # Over the same time: a build that takes longer holds memory for longer, and is not as far by then.
    "host_held_ratio_stock": (lambda b, least: integral(until(b.host, least), 3), "<= 1.00"),
}


def _deviation(values):
    return statistics.stdev(values) if len(values) > 1 else 0


def _spread(values, unit):
    """The median and the standard deviation, as kernbench has it beside the mean."""
    middle = statistics.median(values) / unit
    digits = 0 if unit > 1 or all(isinstance(value, int) for value in values) else 2
    return f"{middle:.{digits}f} ({_deviation(values) / unit:.{digits}f})"


def _table(builds, columns):
    rows = [(f"({kind.letter}) {kind.title}", len(builds[kind.name]),
             *(_spread([value(b) for b in builds[kind.name]], unit) for _, _, value, unit in columns))
            for kind in wave_variants.ALL if kind.name in builds]
    return table(("", "builds", *(title for _, title, _, _ in columns)), rows)


def tables(report, builds):
    """builds: {variant: [Build]}."""
    report.head("The same build under each variant: medians, standard deviations in brackets")
    report.say(_table(builds, TIMES))
    report.say(f"  2010: {THEN_HINT_SECONDS} s elapsed with the hint, {THEN_STOCK_SECONDS} s with the stock balloon, "
               f"ratio {THEN_HINT_SECONDS / THEN_STOCK_SECONDS:.3f}.")
    report.say("  User, system and CPU %: by the guest's clock ticks, and its CPUs take turns: one that waits for its "
               "turn counts as busy.")
    report.head("Memory in MB: means over a build; what was stolen and read, all of it")
    report.say(_table(builds, MEMORY))
    for name, found in builds.items():
        for key, _, value, _ in TIMES + MEMORY:
            values = [value(b) for b in found]
            report.measure(f"{name}_{key}", statistics.median(values))
            report.measure(f"{name}_{key}_deviation", _deviation(values))


def elapsed(report, name, found, least):
    """The hint's elapsed time over a rival's, whose pairs these are; held to a limit where `least` pairs are wanted."""
    if found:
        pairs.report(report, name, [(a.seconds, b.seconds) for a, b in found])
    if least:
        report.check(f"{name}_upper", report.measures.get(f"{name}_upper"), "<= 1.05")
        report.check(f"{name}_pairs", len(found), f">= {least}")


def ratios(report, found, limited):
    """Memory and reads, the hint's over the stock balloon's, as medians of pairs."""
    for name, (value, limit) in RATIOS.items():
        values = [tuple(value(build, min(a.seconds, b.seconds)) for build in (a, b)) for a, b in found]
        if values and all(b for _, b in values):
            pairs.report(report, name, values)
        if limited:
            report.check(name, report.measures.get(name), limit)


def _least(builds, value):
    return min(map(value, builds), default=None)


def _ahead_ratio(build):
    """Of what went for the balloon, what the agent took before the kernel did."""
    ahead = build.told["evicted_ahead_bytes"]
    return ahead / max(1, ahead + build.stolen_bytes())


def counts(report, builds, quick):
    """Whether the run counts at all: the balloon went all the way, took memory that was in use, and the agent acted."""
    waving = [b for name, found in builds.items() if name != "none" for b in found]
    stock, hint = builds.get("stock", ()), builds.get("hint", ())
    report.check("full_waves", _least(waving, lambda b: b.full_waves), f">= {QUICK_WAVES if quick else WAVES}")
    taken = QUICK_BYTES if quick else STOLEN_BYTES
    report.check("stock_stolen_bytes", _least(stock, Build.stolen_bytes), f">= {taken}")
    ahead = report.measure("hint_ahead_bytes", _least(hint, lambda b: b.told["evicted_ahead_bytes"]))
    report.check("hint_ahead_bytes", ahead, f">= {AHEAD_BYTES}")
    if hint:
        report.measure("hint_ahead_ratio", statistics.median(map(_ahead_ratio, hint)))
        for name in ("agent_cpu_seconds", "daemon_cpu_seconds"):
            report.measure(f"hint_{name}", statistics.median(b.told[name] for b in hint))
    report.measure("hint_told_bytes", _least(hint, lambda b: b.told["held_bytes"]))
    if not quick:
        report.check("hint_ahead_ratio", report.measures.get("hint_ahead_ratio"), f">= {AHEAD_RATIO}")
        report.check("hint_told_bytes", report.measures.get("hint_told_bytes"), f">= {TOLD_BYTES}")
        none = builds.get("none", ())
        report.check("none_cached_bytes", _least(none, lambda b: b.guest[-1][2]), f">= {NONE_CACHED_BYTES}")
        read = _least(stock, lambda b: b.figures["disk_read_bytes"])
        report.check("stock_disk_read_bytes", read, f">= {DISK_READ_BYTES}")


def counted(report, rounds):
    """Builds whose guests' time counts instructions: rounds of {variant: Build}."""
    builds = [build for r in rounds for build in r.values()]
    report.head("The same build and ten waves on one CPU, in instructions")
    report.say(table(("", "CPU s", "waves", "stolen MB"),
                     [(b.variant, f"{b.figures['cpu_seconds']:.3f}", b.full_waves, f"{b.stolen_bytes() / MB:.0f}")
                      for b in builds]))
    for variant in rounds[0]:
        spent = [r[variant].figures["cpu_seconds"] for r in rounds]
        report.measure(f"counted_{variant}_cpu_seconds", statistics.median(spent))
        report.measure(f"counted_{variant}_cpu_seconds_deviation", _deviation(spent))
    for rival in "stock", "drop":
        pairs.report(report, f"cpu_ratio_{rival}",
                     [tuple(r[name].figures["cpu_seconds"] for name in ("hint", rival)) for r in rounds])
        report.check(f"cpu_ratio_{rival}", report.measures[f"cpu_ratio_{rival}"], "<= 1.01")
    report.check("counted_full_waves", min(b.full_waves for b in builds), f"== {WAVES}")
    swing = report.measure("counted_swing_ratio", min(b.swing() for b in builds))
    report.check("counted_swing_ratio", swing, f">= {SWING}")
    stolen = min(r["stock"].stolen_bytes() for r in rounds)
    report.check("counted_stolen_bytes", stolen, f">= {STOLEN_BYTES}")
    hints = [r["hint"] for r in rounds]
    report.measure("counted_hint_ahead_ratio", statistics.median(map(_ahead_ratio, hints)))
    ahead = min(b.told["evicted_ahead_bytes"] for b in hints)
    report.check("counted_hint_ahead_bytes", ahead, f">= {AHEAD_BYTES}")
    troubles = [line for b in builds for line in b.troubles]
    for line in troubles:
        report.say(f"  {line}")
    report.check("counted_kernel_log_troubles", len(troubles), "== 0")


def harmless(report, everything):
    """What holds of every build, of the long form and the short one."""
    swings = [b.swing() for b in everything if b.variant in ("stock", "hint")]
    swing = report.measure("balloon_swing_ratio", min((s for s in swings if s is not None), default=None))
    report.check("balloon_swing_ratio", swing, f">= {SWING}")
    hints = [b.told["hint"] == "cache" for b in everything if b.told]
    report.check("hint_held_ratio", sum(hints) / len(hints) if hints else None, "== 1")
    report.check("oom_kills", sum(b.oom_kills for b in everything), "== 0")
    for build in everything:
        for line in build.troubles:
            report.say(f"  {build.variant}: {line}")
    report.check("kernel_log_troubles", sum(len(b.troubles) for b in everything), "== 0")


def typical(found):
    """The pair whose ratio of elapsed times is nearest to the median."""
    middle = statistics.median(a.seconds / b.seconds for a, b in found)
    return min(found, key=lambda pair: abs(pair[0].seconds / pair[1].seconds - middle))


def _lines(build):
    host, guest = build.host, build.guest
    return {"balloon": [(r[0], r[2]) for r in host], "host holds": [(r[0], r[3]) for r in host],
            "host cached": [(r[0], r[4]) for r in host], "guest cached": [(r[0], r[2]) for r in guest],
            "guest free": [(r[0], r[1]) for r in guest]}


def picture(found):
    """Memory over the time of one pair of builds, the stock balloon's and the hint's."""
    hint, stock = typical(found)
    return plot.svg([("(b) stock balloon", _lines(stock)), ("(d) cache-first hint", _lines(hint))], "MB", MB)

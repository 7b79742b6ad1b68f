# SPDX-License-Identifier: Apache-2.0
"""How long it takes until the host has 256 MiB back: by a virtio-mem device, by the stock balloon, by free page reporting.

All in the same guest, which is full of clean cache, in alternated pairs; from the order, by QMP, to what the host holds of the
guest's memory. What the guest's own part of that took is reported apart, and so is giving it back.
"""
import statistics

from lab import pairs
from lab.report import table

PAIRS, MOST_PAIRS, QUICK_PAIRS = 10, 20, 2
REPORTING_PAIRS = 5
WIDTH = 0.1
LIMITS = {"": "<= 0.65", "_noinit": "<= 0.35"}


def _tell(report, plugged, kind):
    rows = []
    for name, found in sorted(plugged.phases.items()):
        report.measure(f"{name}_seconds{kind}", statistics.median(found))
        rows.append((name, len(found), f"{statistics.median(found):.3f}", f"{min(found):.3f}", f"{max(found):.3f}"))
    report.say(table(("phase", "times", "median s", "least", "most"), rows))


def _counts(lab):
    return (QUICK_PAIRS, QUICK_PAIRS) if lab.quick else (PAIRS, MOST_PAIRS)


def _release(report, plugged, kind):
    found = list(zip(plugged.phases["superpages_release"], plugged.phases["pages_release"]))
    pairs.report(report, f"release_time_ratio{kind}", found)
    return report.measures[f"release_time_ratio{kind}_upper"]


def balloon(lab, report, plugged, kind):
    """By superpages against the stock balloon; kind is "" where the guest clears pages when it allocates them, or _noinit."""
    report.head(f"256 MiB by superpages and by pages{', init_on_alloc=0' * bool(kind)}")
    found = pairs.measure(plugged.by_superpages, plugged.by_pages, *_counts(lab), WIDTH)
    name = f"balloon_time_ratio{kind}"
    _, upper = pairs.report(report, name, found)
    release = _release(report, plugged, kind)
    _tell(report, plugged, kind)
    if not lab.quick:
        report.check(f"{name}_upper", upper, LIMITS[kind])
        report.check(f"release_time_ratio{kind}_upper", release, "<= 0.1")


def reporting(lab, report, plugged):
    """Against free page reporting, which has to wait for its turn, and gives a sixteenth of the free list each."""
    report.head("256 MiB by superpages and by free page reporting, init_on_alloc=0")
    plugged.phases.clear()
    count = QUICK_PAIRS if lab.quick else REPORTING_PAIRS
    found = pairs.measure(plugged.by_superpages, plugged.by_reporting, count, count, WIDTH)
    _, upper = pairs.report(report, "reporting_time_ratio", found)
    _tell(report, plugged, "_beside_reporting")
    if not lab.quick:
        report.check("reporting_time_ratio_upper", upper, "<= 0.1")

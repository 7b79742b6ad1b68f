# SPDX-License-Identifier: Apache-2.0
"""How far page cache rises above its limit while a guest reads at full speed."""
import time

from lab import oracle
from lab.limit_state import LIMIT_BYTES, PEAK_SLACK_BYTES
from lab.report import MIB, bar, mib
from lab.say import step

READ_BYTES = 2048 * MIB
QUICK_READ_BYTES = 448 * MIB
# In the short form other users of the machine may be in the way: the guest that counts instructions is held to the rest.
QUICK_SLACK_BYTES = 96 * MIB
SHOWN_ROWS = 16
FULL_BYTES = 1536 * MIB
HOLD_SECONDS, HOLD_SECONDS_MAX = 20, 90
# What is active is known to be unused when the sensor has been on for half a minute.
USED_BYTES, USED_HOLD_SECONDS = 256 * MIB, 45


def _show(report, points, limit):
    """The course of the cache, a bar a row; the limit's place is the ruler's."""
    full = 2 * limit
    each = max(1, len(points) // SHOWN_ROWS)
    report.say(f"  unmapped page cache while reading; a full bar is {mib(full)}, half of it the limit")
    for at in range(0, len(points) - each + 1, each):
        highest = max(value for _, value in points[at:at + each])
        report.say(f"  {points[at][0]:6.1f} s  {bar([('#', highest)], full)}  {mib(highest)}")


def _peak(bounded, size):
    sampling = bounded.begin_sampling()
    read = bounded.read_under_limit(size)
    return bounded.end(sampling), read


def peak(bounded):
    report = bounded.report
    size, slack = (QUICK_READ_BYTES, QUICK_SLACK_BYTES) if bounded.quick else (READ_BYTES, PEAK_SLACK_BYTES)
    report.head(f"A guest reads {mib(size)} through a limit of {mib(LIMIT_BYTES)}")
    bounded.limit()
    found, read = _peak(bounded, size)
    _show(report, found["points"], LIMIT_BYTES)
    report.measure("unmapped_limit_bytes", LIMIT_BYTES)
    report.measure("unmapped_peak_bytes", found["peak_bytes"])
    report.measure("unmapped_samples", found["samples"])
    report.measure("unmapped_sample_longest_seconds", found["longest_seconds"])
    report.measure("limited_read_bytes_per_second", read["bytes"] / read["seconds"])
    report.check("unmapped_peak_bytes", found["peak_bytes"], f"<= {LIMIT_BYTES + slack}")
    report.check("limit_evicted_bytes", report.measure("limit_evicted_bytes", read["evicted"]), f">= {size - 256 * MIB}")
    stolen = report.measure("kernel_reclaimed_pages", read["kernel_reclaimed_pages"])
    report.check("kernel_reclaimed_pages", stolen, "== 0")
    report.check("unmapped_samples", found["samples"], ">= 200")
    told = bounded.told()
    for name in ("events_lost", "brakes"):
        report.measure(f"peak_{name}", told[name])
    step(f"peak {mib(found['peak_bytes'])}, {mib(report.measures['limited_read_bytes_per_second'])}/s")


def _hold(bounded, name, most):
    """Set the limit, and wait until it holds."""
    report = bounded.report
    report.measure(f"{name}_active_bytes", bounded.counters()["nr_active_file"] * oracle.BLOCK)
    before, start = bounded.told(), time.monotonic()
    bounded.set_limit(LIMIT_BYTES)
    report.measure(f"{name}_agreed_seconds", time.monotonic() - start)
    while bounded.unmapped() > LIMIT_BYTES and time.monotonic() - start < HOLD_SECONDS_MAX:
        time.sleep(0.1)
    seconds = report.measure(f"{name}_seconds", time.monotonic() - start)
    after = bounded.told()
    for count in ("brakes", "evicted_bytes", "cpu_usec", "events_lost"):
        report.measure(f"{name}_{count}", after[count] - before[count])
    report.check(f"{name}_seconds", seconds, f"<= {most}")


def hold(bounded):
    """How soon a limit holds that is set when the guest's memory is full and under pressure, which is when it is wanted;
    of pages that were read once."""
    bounded.report.head("A limit is set in a guest whose memory is full")
    bounded.unlimit()
    bounded.guest.run("echo 3 >/proc/sys/vm/drop_caches", 120)
    bounded.read(FULL_BYTES)
    _hold(bounded, "limit_holds", HOLD_SECONDS)


def hold_used(bounded):
    """The same where more than the limit was read twice, long ago: the kernel still has it for active."""
    bounded.report.head("A limit is set in a guest that used more than that twice, once")
    bounded.unlimit()
    pieces = bounded.stream.take(USED_BYTES)
    for _ in range(3):
        bounded.read_again(pieces)
    bounded.read(FULL_BYTES - USED_BYTES)
    _hold(bounded, "limit_used_holds", USED_HOLD_SECONDS)
    report = bounded.report
    report.check("limit_used_holds_active_bytes", report.measures["limit_used_holds_active_bytes"], f"> {LIMIT_BYTES}")


def peak_counted(bounded):
    """The same where time counts instructions: what other users of this machine do does not show."""
    report = bounded.report
    size = QUICK_READ_BYTES if bounded.quick else READ_BYTES
    found, read = _peak(bounded, size)
    report.measure("unmapped_peak_counted_bytes", found["peak_bytes"])
    report.check("unmapped_peak_counted_bytes", found["peak_bytes"], f"<= {LIMIT_BYTES + PEAK_SLACK_BYTES}")
    report.check("counted_limit_evicted_bytes", read["evicted"], f">= {size - 256 * MIB}")
    step(f"counted in instructions: peak {mib(found['peak_bytes'])}")

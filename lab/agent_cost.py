# SPDX-License-Identifier: Apache-2.0
"""What the agent costs guests over minutes, an idle one and a busy one, and how well age tells what comes back."""
import time

from lab import measures, stream, workload
from lab.limit_state import Bounded
from lab.report import MIB, mib, table
from lab.say import step

SECONDS = 600
QUICK_SECONDS = 30
CPU_RATIO = 0.01
# A guest's second of CPU is longer while other guests want the same CPU, and the short form's guest is busier.
QUICK_CPU_RATIO = 0.05
LIMIT_BYTES = 128 * MIB
# Half a minute's reads are just as large as the limit above.
QUICK_LIMIT_BYTES = 64 * MIB
PIECE_BYTES = 256 * 1024
BUSY_FILES = 8
BUSY_PIECES = 256
BUSY_RATE = 20
QUICK_BUSY_RATE = 40
PAGE = 4096
LARGE_MIB = 8192
LARGE_FILL_BYTES = 4096 * MIB


def _cost(guest):
    return workload.process_cost(guest, "pagepact-agent")["process"]


def _check_memory(report, name, guest, cost):
    pages = guest.memory_mib * MIB // PAGE
    rss, maps = cost["rss_bytes"], cost["memlock_bytes"]
    report.check(f"agent_rss_bytes_{name}", report.measure(f"agent_rss_bytes_{name}", rss), f"<= {8 * MIB + pages}")
    report.measure(f"agent_memlock_bytes_{name}", maps)
    report.check(f"agent_rss_and_maps_bytes_{name}", rss + maps, f"<= {12 * MIB + 2 * pages}")


def _check_cost(report, name, guest, before, taken, limit):
    after = _cost(guest)
    same = before and after and before["pid"] == after["pid"]
    ratio = (after["cpu_seconds"] - before["cpu_seconds"]) / taken if same else None
    report.check(f"agent_cpu_ratio_{name}", report.measure(f"agent_cpu_ratio_{name}", ratio), f"<= {limit}")
    if same:
        _check_memory(report, name, guest, after)


def returns(report, told):
    """Of the pages evicted at an age of at least so many seconds, the share that was read again within a minute."""
    evicted, back = told["evicted_by_age_bytes"], told["refaulted_by_age_bytes"]
    rows = []
    for n in range(len(evicted)):
        gone, came = sum(evicted[n:]), sum(back[n:])
        seconds = 2**n if n else 0
        share = came / gone if gone else None
        report.measure(f"returned_ratio_age_{seconds}", share)
        rows.append((f"{seconds} s", mib(gone), mib(came), "" if share is None else f"{share:.4f}"))
    report.say(table(("evicted at an age of at least", "evicted", "back within a minute", "share"), rows))


def minutes(lab, report, kernel):
    """Both guests side by side, each with a limit; the busy one reads more than the limit holds."""
    seconds = QUICK_SECONDS if lab.quick else SECONDS
    report.head(f"The agent's CPU time and memory over {seconds} s")
    limit = QUICK_LIMIT_BYTES if lab.quick else LIMIT_BYTES
    guests = [lab.guest(name, kernel=kernel, smp=2, shared_disks=[stream.image()], traced=False,
                        append=f"unmapped_page_control={limit}") for name in ("idle", "busy")]
    lab.wait_ready()
    lab.start_daemon()
    lab.wait_agents()
    idle, busy = (Bounded(lab, report, guest, lab.quick) for guest in guests)
    work = busy.begin("busy.py", files=[f"{stream.MOUNT}/s{n}" for n in range(BUSY_FILES)], piece=PIECE_BYTES,
                      pieces=BUSY_PIECES, rate=QUICK_BUSY_RATE if lab.quick else BUSY_RATE)
    busy.stream.skip(BUSY_FILES)
    before, start = [_cost(g) for g in guests], time.monotonic()
    step(f"one guest idle, one busy, for {seconds} s")
    time.sleep(seconds)
    taken = time.monotonic() - start
    for bounded, cost in zip((idle, busy), before):
        _check_cost(report, bounded.guest.name, bounded.guest, cost, taken, QUICK_CPU_RATIO if lab.quick else CPU_RATIO)
    done, told = busy.end(work), busy.told()
    report.measure("busy_read_bytes", done["bytes"])
    report.check("busy_evicted_bytes", report.measure("busy_evicted_bytes", told["evicted_bytes"]), f">= {seconds * 16 * MIB // 60}")
    for name in ("brakes", "refaulted_bytes", "events_lost", "limit_state", "heat"):
        report.measure(f"busy_{name}", told[name])
    returns(report, told)
    for guest in guests:
        report.check(f"{guest.name}_kernel_log_troubles", len(guest.check_kernel_log()), "== 0")
    lab.stop_daemon()
    for guest in guests:
        guest.kill()
        del lab.guests[guest.name]


def large(lab, report, kernel):
    """A guest of 8 GiB, half of it cache."""
    report.head("A scan of an 8 GiB guest")
    guest = lab.guest("large", kernel=kernel, memory_mib=LARGE_MIB, shared_disks=[stream.image()])
    guest.wait_ready()
    bounded = Bounded(lab, report, guest)
    bounded.read(LARGE_FILL_BYTES, 600)
    found = measures.scan(guest)
    report.measure("large_scan_seconds", found["elapsed_usec"] / 1e6)
    report.measure("large_scan_ns_per_page", found["elapsed_usec"] * 1000 / (found["total_bytes"] / PAGE))
    report.measure("chunk_max_usec", found["chunk_max_usec"])
    report.check("large_cached_bytes", found["unmapped_clean_bytes"], f">= {0.9 * LARGE_FILL_BYTES:.0f}")
    _check_memory(report, "large", guest, _cost(guest))
    report.check("large_kernel_log_troubles", len(guest.check_kernel_log()), "== 0")
    guest.kill()
    del lab.guests["large"]

# SPDX-License-Identifier: Apache-2.0
"""What stays cached under the limit while a stream goes by, against the kernel's own LRU with as much room."""
from lab import process, workload
from lab.limit_state import LIMIT_BYTES
from lab.report import MIB, mib, table
from lab.say import step

EACH_SECOND_BYTES = 16 * MIB
SLOW_BYTES = 40 * MIB
SLOW_PERIOD_SECONDS = 6
STREAM_BYTES = 4096 * MIB
QUICK_STREAM_BYTES = 640 * MIB
FILL_BYTES = 896 * MIB


def _choose(guest):
    files = [f for f in workload.list_files(guest) if 64 * 1024 <= f[1] < 4 * MIB]
    fast, files = workload.choose(files, EACH_SECOND_BYTES)
    slow, _ = workload.choose(files, SLOW_BYTES)
    return fast, slow


def _wait_warm(bounded, work):
    process.wait_for(lambda: bounded.guest.run(f"ls {work[0]}.warm 2>/dev/null || true"), 60, f"{work[0]} is warm")


def _begin_hot(bounded, fast, slow):
    hot = bounded.begin("hot.py", each_second=fast, slow=slow, period=SLOW_PERIOD_SECONDS)
    _wait_warm(bounded, hot)
    return hot


def _stream(bounded, hot, size):
    """Hits of both sets, what had to go, and the mean room of page cache, while that much is read beside."""
    sampling = bounded.begin_sampling()
    read = bounded.read_under_limit(size)
    sampled = bounded.end(sampling)
    found = bounded.end(hot)
    found["evicted"] = read["evicted"]
    found["room"] = sum(value for _, value in sampled["points"]) / len(sampled["points"])
    return found


def _ratio(found):
    asked, hits = (sum(found[s][key] for s in ("each_second", "slow")) for key in ("asked_pages", "hit_pages"))
    return hits / asked


def _rival(bounded, fast, slow, size):
    """The same guest without a limit, with so much memory locked that its kernel has as much room for cache."""
    bounded.unlimit()
    bounded.read(FILL_BYTES)
    hog = bounded.begin("hog.py", bytes=(bounded.unmapped() - LIMIT_BYTES) // 4096 * 4096)
    _wait_warm(bounded, hog)
    found = _stream(bounded, _begin_hot(bounded, fast, slow), size)
    bounded.end(hog)
    return found


def _limited(bounded, fast, slow, size):
    """The limit comes when the sets are in use: what it took before, and they bring back, would make the agent rest."""
    hot = _begin_hot(bounded, fast, slow)
    bounded.limit()
    return _stream(bounded, hot, size)


def hot(bounded):
    report = bounded.report
    report.head("Files in use while a stream goes by")
    fast, slow = _choose(bounded.guest)
    size = QUICK_STREAM_BYTES if bounded.quick else STREAM_BYTES
    rival = _rival(bounded, fast, slow, size)
    ours = _limited(bounded, fast, slow, size)
    evicted = report.measure("hot_stream_evicted_bytes", ours["evicted"])
    rows = []
    for name, found in (("limit", ours), ("kernel's LRU", rival)):
        rows.append((name, mib(found["room"]), f"{_ratio(found):.4f}",
                     *(f"{found[s]['hit_pages']}/{found[s]['asked_pages']}" for s in ("each_second", "slow"))))
    report.say(table(("", "mean room", "hit ratio", "every second", f"every {SLOW_PERIOD_SECONDS} s"), rows))
    report.measure("hot_hits_limit_ratio", _ratio(ours))
    report.measure("hot_hits_rival_ratio", _ratio(rival))
    report.measure("hot_rival_room_bytes", rival["room"])
    report.measure("hot_longest_seconds", ours["each_second"]["longest_seconds"])
    report.check("hot_hit_ratio", report.measure("hot_hit_ratio", _ratio(ours) / max(1e-9, _ratio(rival))), ">= 0.95")
    lost = ours["each_second"]["asked_pages"] - ours["each_second"]["hit_pages"]
    report.check("hot_file_evicted_pages", report.measure("hot_file_evicted_pages", lost), "== 0")
    # Else the comparison is with a kernel that had less, or with nothing.
    report.check("hot_rival_room_bytes", rival["room"], f">= {0.9 * ours['room']:.0f}")
    report.check("hot_asked_pages", ours["each_second"]["asked_pages"], f">= {4 * EACH_SECOND_BYTES // 4096}")
    report.check("hot_stream_evicted_bytes", evicted, f">= {size - 256 * MIB}")
    step(f"hit ratio {_ratio(ours):.4f} against {_ratio(rival):.4f}; {lost} pages of files in use evicted")

# SPDX-License-Identifier: Apache-2.0
"""What the limit must leave alone: mapped and dirty pages, files' names in the kernel's cache, and slab memory."""
import time

from lab import process, stream, workload
from lab.report import MIB, mib
from lab.say import step

PAGE = 4096
MAP_BYTES = 16 * MIB
DIRTY_BYTES = 16 * MIB
READ_BYTES = 768 * MIB
QUICK_READ_BYTES = 448 * MIB
TIGHT_BYTES = 16 * MIB
QUICK_SLAB_FILES = 6000  # a dentry each is more than 1 MiB
SLAB_SECONDS = 20
TRACING = "/sys/kernel/tracing"
WALK = "import os\nfor path in ARGS['paths']:\n    os.path.exists(path)\n"


class Lookups:
    """Names that the kernel had to ask ext4 for while it was entered: those that it no longer had."""

    def __init__(self, guest):
        self.guest = guest

    def __enter__(self):
        self.guest.run(f"echo 'p:lab/lookup ext4_lookup' >>{TRACING}/kprobe_events; echo 1 >{TRACING}/events/lab/lookup/enable")
        return self

    def count(self):
        profile = self.guest.run(f"cat {TRACING}/kprobe_profile").split()
        return int(profile[profile.index("lookup") + 1]) + int(profile[profile.index("lookup") + 2])

    def __exit__(self, *_):
        self.guest.run(f"echo 0 >{TRACING}/events/lab/lookup/enable; echo '-:lab/lookup' >>{TRACING}/kprobe_events")


def _small(bounded):
    return stream.small_files(2000 if bounded.quick else stream.SMALL_FILES)


def _lookups(bounded, paths):
    with Lookups(bounded.guest) as lookups:
        bounded.guest.python(WALK, {"paths": paths}, 120)
        return lookups.count()


def harm(bounded):
    """Mapped pages, dirty pages and live names beside a stream, writeback by timer being off."""
    report, guest = bounded.report, bounded.guest
    report.head("What the limit must leave alone")
    guest.run("sync; cat /proc/sys/vm/dirty_writeback_centisecs >/run/lab/centisecs;"
              "echo 0 >/proc/sys/vm/dirty_writeback_centisecs; echo 360000 >/proc/sys/vm/dirty_expire_centisecs;"
              # A disk that has written nothing for a while may have next to nothing dirty, else (wb_over_bg_thresh()).
              "echo 99 >/sys/block/vda/bdi/min_ratio")
    small = _small(bounded)
    # What was in use until now would be kept, and the limit not reached.
    bounded.unlimit()
    workload.drop_caches(guest)
    workload.read({guest: small}, 240)
    # Found, or the count after the stream says nothing.
    before = _lookups(bounded, small + [f"{stream.MOUNT}/no-such-{n}" for n in range(100)])
    report.check("lookups_seen", report.measure("lookups_seen", before), ">= 100")
    maps, _ = workload.choose([f for f in workload.list_files(guest) if f[1] < 4 * MIB], MAP_BYTES)
    keeper = bounded.begin("keep.py", map=maps, dirty="/srv/dirty.data", dirty_bytes=DIRTY_BYTES)
    process.wait_for(lambda: guest.run(f"ls {keeper[0]}.warm 2>/dev/null || true"), 60, "mapped and dirty pages are there")
    written = bounded.counters()
    bounded.limit()
    size = QUICK_READ_BYTES if bounded.quick else READ_BYTES
    read = bounded.read_under_limit(size)
    after = bounded.counters()
    kept = bounded.end(keeper)
    report.check("live_dentries_dropped", report.measure("live_dentries_dropped", _lookups(bounded, small)), "== 0")
    for name in ("mapped_lost_pages", "dirty_lost_pages"):
        report.check(name, report.measure(name, kept[name]), "== 0")
    started = max(after["nr_written"] - written["nr_written"], after["nr_writeback"])
    report.check("writeback_started_pages", report.measure("writeback_started_pages", started), "== 0")
    report.check("mapped_pages", report.measure("mapped_pages", kept["mapped_pages"]), f">= {MAP_BYTES // PAGE}")
    report.check("dirty_pages", report.measure("dirty_pages", kept["dirty_pages"]), f">= {DIRTY_BYTES // PAGE}")
    report.check("dirty_pages_by_kernel", after["nr_dirty"], f">= {DIRTY_BYTES // PAGE}")
    report.check("harm_evicted_bytes", report.measure("harm_evicted_bytes", read["evicted"]), f">= {size - 256 * MIB}")
    guest.run("cat /run/lab/centisecs >/proc/sys/vm/dirty_writeback_centisecs; echo 0 >/sys/block/vda/bdi/min_ratio;"
              "rm /srv/dirty.data; sync")


def _slabs(guest):
    """Bytes of each slab cache, by its pages."""
    found = {}
    for line in guest.run("cat /proc/slabinfo").splitlines()[2:]:
        name, fields = line.split()[0], line.split()
        found[name] = int(fields[14]) * int(fields[5]) * PAGE
    return found


def _growth(before, after):
    """Bytes of the caches that grew: others shrink when page cache goes, and would hide it."""
    return sum(max(0, size - before.get(name, 0)) for name, size in after.items())


def slab(bounded):
    """A scan, and eviction of thousands of small files whose names the kernel has dropped: each must be opened by handle."""
    report, guest = bounded.report, bounded.guest
    report.head("Slab memory that the agent's own work takes")
    bounded.unlimit()
    small = stream.small_files(QUICK_SLAB_FILES if bounded.quick else stream.SMALL_FILES)
    workload.drop_caches(guest)
    workload.read({guest: small}, 240)
    # Inodes that have cached pages stay: with these gone, nothing but the pages leads to them.
    guest.run("sync; echo 2 >/proc/sys/vm/drop_caches")
    cached = left = bounded.unmapped()
    before = _slabs(guest)
    bounded.lab.pagepact("dup", seconds=120)
    peak = _growth(before, _slabs(guest))
    bounded.set_limit(TIGHT_BYTES)
    end, still = time.monotonic() + SLAB_SECONDS, 0
    while time.monotonic() < end and still < 10:
        last, left, growth = left, bounded.unmapped(), _growth(before, _slabs(guest))
        peak = max(peak, growth)
        still = still + 1 if left == last < cached and growth <= MIB else 0
        time.sleep(0.2)
    report.measure("slab_growth_peak_bytes", peak)
    report.check("slab_growth_bytes", report.measure("slab_growth_bytes", growth), f"<= {MIB}")
    report.check("slab_evicted_bytes", report.measure("slab_evicted_bytes", cached - left), f">= {len(small) * PAGE // 2}")
    report.check("slab_small_cached_bytes", report.measure("slab_small_cached_bytes", cached), f">= {len(small) * PAGE}")
    step(f"{len(small)} small files: slab caches grew by {mib(growth)}, at most by {mib(peak)}")

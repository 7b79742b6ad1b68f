# SPDX-License-Identifier: Apache-2.0
"""The demo up to the point where pagepact has said what it found."""
import os
import time

from lab import oracle, workload
from lab.report import MIB, mib, table
from lab.say import step
from lab.workload import Hold

SHARED_BYTES = 310 * MIB
OWN_READ_BYTES = 45 * MIB
OWN_WRITTEN_BYTES = 80 * MIB
HOT_READ_BYTES = 52 * MIB
HOT_MAPPED_BYTES = 8 * MIB
DIRTY_BYTES = 8 * MIB


def boot(demo):
    # Only what these guests read shall be in the host's cache, so that a read from storage is one.
    base = demo.lab.guest("alpha", kernel=demo.kernel).base
    demo.lab.guest("bravo", kernel=demo.kernel)
    demo.guests = list(demo.lab.guests.values())
    step("two guests of 1 GiB boot on one image")
    demo.lab.wait_ready()
    oracle.evict_from_host(base, oracle.host_resident(base), flush=False)
    for guest in demo.guests:
        demo.report.measure(f"{guest.name}_boot_seconds", guest.boot_seconds)
        # Writeback by timer would be taken for writeback that an eviction started.
        guest.run("echo 0 >/proc/sys/vm/dirty_writeback_centisecs; echo 360000 >/proc/sys/vm/dirty_expire_centisecs")
    demo.lab.start_daemon()
    demo.lab.wait_agents()


def fill(demo):
    files = workload.list_files(demo.alpha)
    demo.shared, files = workload.choose(files, SHARED_BYTES, workload.KNOWN)
    sizes = {path: size for path, size in workload.list_files(demo.alpha)}
    for guest in demo.guests:
        demo.own[guest.name], files = workload.choose(files, OWN_READ_BYTES)
        written = f"/srv/{guest.name}.data"
        step(f"{guest.name} writes {mib(OWN_WRITTEN_BYTES)} of its own")
        demo.sums[guest.name] = {written: workload.write(guest, written, OWN_WRITTEN_BYTES)}
        workload.write(guest, "/srv/dirty.data", DIRTY_BYTES)
        guest.run("sync")
        demo.own[guest.name].append(written)
        demo.files[guest.name] = demo.shared + demo.own[guest.name]
        # The host's copy of what was written is clean, as that of what was read is.
        with open(guest.disk, "r+b") as disk:
            os.fdatasync(disk.fileno())
    report = demo.report
    report.measure("shared_bytes", sum(sizes[p] for p in demo.shared))
    report.measure("own_bytes", OWN_WRITTEN_BYTES + sum(sizes.get(p, 0) for p in demo.own["alpha"]))
    # Loads all metadata, so that looking does not change what is measured later.
    for ident, guest in [(oracle.begin_look(g), g) for g in demo.guests]:
        oracle.finish_look(guest, ident)
    step(f"both read the same {mib(report.measures['shared_bytes'])} and each {mib(report.measures['own_bytes'])} of its own")
    # Once only: the kernel takes what is read twice for part of the working set, and pagepact leaves that alone.
    demo.read_everything()
    demo.hot, rest = workload.choose([(p, sizes[p]) for p in demo.shared], HOT_READ_BYTES, workload.KNOWN[1:])
    demo.hot_mapped, _ = workload.choose(sorted(rest, key=lambda f: f[1]), HOT_MAPPED_BYTES)


def make_honest(demo):
    demo.hold = Hold(demo.alpha, demo.hot, demo.hot_mapped)
    gone = demo.evict_alphas_own_from_host()
    step(f"to keep it honest: {mib(gone)} that alpha holds evicted from the host, {mib(HOT_READ_BYTES)} kept hot and"
         f" {mib(HOT_MAPPED_BYTES)} mapped in alpha, {mib(DIRTY_BYTES)} left dirty in each guest")
    demo.report.check("made_honest_evicted_bytes", demo.report.measure("made_honest_evicted_bytes", gone), f">= {100 * MIB}")
    for guest in demo.guests:
        workload.write(guest, "/srv/dirty.data", DIRTY_BYTES, sync=False)


def _compare(demo, found):
    """found: the reply of `dup`. Its totals and its files against the oracle's."""
    report, machine = demo.report, demo.before
    duplicate = machine.duplicate()
    true = report.measure("duplicate_true_bytes", oracle.size_bytes(duplicate))
    claimed = report.measure("duplicate_found_bytes", found["totals"]["duplicate_bytes"])
    report.check("duplicate_found_ratio", report.measure("duplicate_found_ratio", claimed / true), ">= 0.99 of true")
    # dup names no blocks: what it found too much is the larger of what its totals and what its files show.
    false_files = 0
    for file in found["files"]:
        blocks = machine.guests[file["vm"]].blocks_of_inode(file["inode"])
        false_files += max(0, file["duplicate_bytes"] - oracle.size_bytes(oracle.both(blocks, duplicate)))
    report.measure("duplicate_false_files_bytes", false_files)
    false = report.measure("duplicate_false_bytes", max(false_files, claimed - true, 0))
    report.check("duplicate_false_ratio", report.measure("duplicate_false_ratio", false / max(1, claimed)), "<= 0.001 of found")
    report.measure("duplicate_metadata_bytes", oracle.size_bytes(
        oracle.both(duplicate, oracle.union(*(v.metadata for v in machine.guests.values())))))


def _show(demo, found):
    report = demo.report
    report.head("What is cached where, before (by mincore, FIEMAP and qemu-img)")
    demo.show_machine(demo.before)
    demo.show_known_file(demo.before)
    report.head("What pagepact found")
    rows = [(f"host and exactly {n} guest{'s' * (n > 1)}: {os.path.basename(image['path'])}", mib(held))
            for image in found["images"] for n, held in enumerate(image["holders"], 1) if held]
    report.say(table(("blocks cached by", "bytes"), rows))
    rows = [(f["path"], f["vm"], mib(f["cached_bytes"]), mib(f["duplicate_bytes"])) for f in found["files"][:8]]
    report.say("\n" + table(("file", "guest", "cached", "duplicate"), rows))


def _dup(demo):
    start = time.monotonic()
    reply = demo.lab.pagepact("dup", "--files", "--limit", 1000)
    demo.report.measure("dup_seconds", time.monotonic() - start)
    return reply


def find(demo):
    step("the oracle looks, pagepact looks, the guests stop, the oracle looks at the host")
    reply = {}
    with demo.lab.hold_host_cache() as held:
        demo.before = oracle.look(demo.guests, between=lambda: reply.update(_dup(demo)))
        held.touch_until_seen()
    demo.hot_blocks = oracle.blocks_of(demo.before.guests["alpha"], demo.hot + demo.hot_mapped)
    # With nothing hot, "nothing hot was evicted" would be no news.
    hot_held = demo.report.measure("hot_held_bytes", oracle.size_bytes(demo.hot_blocks))
    demo.report.check("hot_held_bytes", hot_held, f">= {50 * MIB}")
    demo.report.measure("copy_factor_before", demo.before.copy_factor())
    demo.report.measure("copy_factor_evictable_before", demo.before.copy_factor(demo.before.evictable()))
    _compare(demo, reply)
    _show(demo, reply)

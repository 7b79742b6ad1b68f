# SPDX-License-Identifier: Apache-2.0
"""A guest full of cache that the host holds too is made smaller, cache first: what it reads again costs no storage.
Then one whose cache the host holds in part: what the guest alone has stays."""
import os
import time
from typing import NamedTuple

from lab import cached_disk, oracle, process, warm, workload
from lab.report import MIB, mib
from lab.witness import Witness

FILLED_SHARE = 0.9  # of the files, at least, is cached by the guest before
EVICTED_SHARE = 0.5  # of what the guest has to give up
SOLE_SHARE = 0.4  # of the files the guest alone has: those that it read first, which by their age would go
HALF_SHARE = 0.75  # of what the host holds goes from the guest


class Sizes(NamedTuple):
    """In MiB: of the guest, where it begins, where it ends; and how many files it reads."""
    memory: int
    start: int
    end: int
    files: int

    @property
    def bytes(self):
        return self.files * cached_disk.FILE_BYTES


LONG, QUICK = Sizes(2048, 1500, 500, 21), Sizes(1024, 800, 400, 10)


def _forget(path):
    """The host caches nothing of it: the first read is one from storage, and is seen to be."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _read(ballooned, paths):
    """Seconds, and what it cost of storage: what came into the host's cache, its read-ahead included. What the kernel
    accounts to QEMU has QEMU's own text in it, by as much as a read-ahead for a page that it had not run before."""
    disk = ballooned.guest.cached_disks
    before = oracle.host_holding(disk)
    read = workload.read({ballooned.guest: paths}, 300)[ballooned.guest]
    return read["seconds"], oracle.size_bytes(oracle.without(oracle.host_holding(disk), before))


def _classes(ballooned, answer):
    """What the orders to the agent say of each class of memory."""
    lines = ballooned.lab.pagepact("explain", str(answer["order"])).get("text", [])
    for line in lines:
        ballooned.report.say(f"  {line}")


def _shrink(ballooned, size, name):
    report = ballooned.report
    start = time.monotonic()
    answer = ballooned.resize(size, seconds=400)
    report.measure(f"{name}_seconds", time.monotonic() - start)
    for part in ("steps", "evicted_bytes", "host_returned_bytes"):
        report.measure(f"{name}_{part}", answer.get(part))
    report.say(f"  {answer['state']} ({answer['reason']}): {answer['steps']} steps, "
               f"{mib(answer['evicted_bytes'])} evicted, {mib(answer['host_returned_bytes'] or 0)} less on the host, "
               f"{report.measures[f'{name}_seconds']:.1f} s")
    report.check(f"{name}_reached", int(answer["state"] == "reached"), "== 1")
    _classes(ballooned, answer)
    return answer


def _squeeze(ballooned, sizes, image):
    report, guest = ballooned.report, ballooned.guest
    paths = cached_disk.mount(guest, sizes.files)
    if ballooned.resize(sizes.start * MIB, "--cache", "off")["state"] != "reached":
        raise RuntimeError("the guest is not made as large as it is to begin")
    _forget(image)
    _, cold = _read(ballooned, paths)
    # Else nothing that follows could be seen; the host's DAMON thread may have taken some by now.
    least = int(sizes.bytes * FILLED_SHARE)
    report.check("squeeze_fill_disk_bytes", report.measure("squeeze_fill_disk_bytes", cold), f">= {least}")
    cached = workload.cached_bytes(guest)
    report.check("squeeze_cached_bytes", report.measure("squeeze_cached_bytes", cached), f">= {least}")
    # The host's DAMON thread takes some of it while it is read: that is no doing of ours, and mended.
    with warm.whole(guest.base), warm.whole(image) as again, warm.held(ballooned.lab.images):
        report.measure("squeeze_host_read_again_bytes", again)
        witness = Witness(ballooned.lab.directory, [image])
        answer = _shrink(ballooned, sizes.end * MIB, "squeeze")
        least = int((cached - sizes.end * MIB) * EVICTED_SHARE)
        report.check("squeeze_evicted_bytes", answer["evicted_bytes"], f">= {least}")
        report.check("squeeze_cached_after_bytes", workload.cached_bytes(guest), f"<= {sizes.end * MIB}")
        report.measures["reread_seconds"], cost = _read(ballooned, paths)
        witness.close()
    taken = report.measure("squeeze_host_taken_bytes", oracle.size_bytes(witness.by_processes))
    report.check("squeeze_host_taken_bytes", taken, "== 0")
    report.measure("squeeze_host_lost_by_itself_bytes", oracle.size_bytes(witness.by_machine))
    report.check("reread_disk_bytes", report.measure("reread_disk_bytes", cost), "== 0")


def _read_anew(ballooned, paths):
    """As _read(), and as if for the first time: what was read twice is hot, and stays."""
    ballooned.guest.run("echo 1 >/proc/sys/vm/drop_caches", 60)
    return _read(ballooned, paths)


def _blocks(image, paths):
    found = 0
    for path in paths:
        found |= cached_disk.blocks(image, os.path.basename(path))
    return found


def _forget_on_host(image, paths):
    oracle.evict_from_host(image, _blocks(image, paths))


def _halve(ballooned, sizes, image):
    """The same, where the host holds only a part of what the guest has: that goes, and what the guest alone has stays."""
    report = ballooned.report
    paths = [f"{cached_disk.MOUNT}/c{n}" for n in range(sizes.files)]
    sole, both = paths[:int(sizes.files * SOLE_SHARE)], paths[int(sizes.files * SOLE_SHARE):]
    sole_bytes, both_bytes = (len(some) * cached_disk.FILE_BYTES for some in (sole, both))
    if ballooned.give_back() or ballooned.resize(sizes.start * MIB, "--cache", "off")["state"] != "reached":
        raise RuntimeError("the guest is not as large as it is to begin")
    _read_anew(ballooned, paths)
    _forget_on_host(image, sole)
    # The host's DAMON thread may have taken some of it since it was read: then what the guest alone has would have to go.
    missing = _blocks(image, both) & ~oracle.host_resident(image)
    report.measure("halved_host_lost_bytes", missing.bit_count() * oracle.BLOCK)
    oracle.read_on_host(image, missing)
    with warm.whole(ballooned.guest.base), warm.held([image]):
        less = int(both_bytes * HALF_SHARE) // MIB * MIB
        answer = _shrink(ballooned, sizes.start * MIB - less, "halved")
        report.check("halved_evicted_bytes", answer["evicted_bytes"], f">= {int(less * EVICTED_SHARE)}")
        _, cost = _read(ballooned, sole)
        report.check("halved_reread_disk_bytes", report.measure("halved_reread_disk_bytes", cost), "== 0")
        # What it would have cost to lose them.
        _forget_on_host(image, sole)
        _, cost = _read_anew(ballooned, sole)
        report.check("halved_dropped_disk_bytes", report.measure("halved_dropped_disk_bytes", cost),
                     f">= {sole_bytes * FILLED_SHARE:.0f}")


def squeeze(lab, report, ballooned):
    report.head("A guest full of cache that the host holds too")
    image = ballooned.guest.cached_disks[0]
    ballooned.start_daemon()
    ballooned.wait_known()
    process.wait_for(lambda: ballooned.actual() == ballooned.memory, 10, "the guest is whole")
    sizes = QUICK if lab.quick else LONG
    _squeeze(ballooned, sizes, image)
    _halve(ballooned, sizes, image)
    report.check("squeeze_left_bytes", ballooned.give_back(), "== 0")
    lab.stop_daemon()

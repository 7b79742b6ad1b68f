# SPDX-License-Identifier: Apache-2.0
"""What is cached where, by tools that are not pagepact's: mincore and FIEMAP in the guests, mincore and qemu-img on the host.

A set of blocks is one integer, a bit for each 4 KiB block of one image file: union, intersection and counting of half a
million blocks are single operations. What a place holds is {image path: blocks}.
"""
import ctypes
import json
import mmap
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = 4096
MADV_PAGEOUT = 21
MADV_POPULATE_READ = 22
INSIDE = Path(__file__).parent / "inside"

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]

# mincore's bytes to the digits of a binary number; only the lowest bit has a meaning.
_DIGITS = bytes(ord("1") if n & 1 else ord("0") for n in range(256))


# ---------------------------------------------------------------------- sets of blocks

def run_bits(start, count):
    return ((1 << count) - 1) << start


def runs_bits(runs):
    bits = 0
    for start, count in runs:
        bits |= run_bits(start, count)
    return bits


def bits_runs(bits):
    """[(start, count)] of a set of blocks, ascending."""
    digits = bin(bits)[:1:-1]
    return [(m.start(), m.end() - m.start()) for m in re.finditer("1+", digits)]


def size_bytes(holding):
    return sum(bits.bit_count() for bits in holding.values()) * BLOCK


def union(*holdings):
    out = {}
    for holding in holdings:
        for image, bits in holding.items():
            out[image] = out.get(image, 0) | bits
    return out


def both(a, b):
    return {image: bits & b.get(image, 0) for image, bits in a.items() if bits & b.get(image, 0)}


def without(a, b):
    return {image: bits & ~b.get(image, 0) for image, bits in a.items() if bits & ~b.get(image, 0)}


# ---------------------------------------------------------------------- the host

def host_resident(path):
    """Blocks of a file that the host's page cache holds."""
    with open(path, "rb") as file:
        pages = (os.fstat(file.fileno()).st_size + BLOCK - 1) // BLOCK
        if not pages:
            return 0
        address = _libc.mmap(None, pages * BLOCK, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
        if address in (None, ctypes.c_void_p(-1).value):
            raise OSError(ctypes.get_errno(), f"mmap {path}")
        vector = ctypes.create_string_buffer(pages)
        failed = _libc.mincore(address, pages * BLOCK, vector)
        _libc.munmap(address, pages * BLOCK)
        if failed:
            raise OSError(ctypes.get_errno(), f"mincore {path}")
    return int(vector.raw[:pages].translate(_DIGITS)[::-1], 2)


def host_holding(images):
    return {str(path): host_resident(path) for path in images}


def evict_from_host(path, bits, flush=True):
    """Drop blocks from the host's cache; the blocks that are still there.

    Large folios leave only whole (facts of ext4 since 6.16): the runs are paged out through a mapping first, which
    splits the folios at the edges.
    """
    with open(path, "r+b" if flush else "rb") as file:
        if flush:
            os.fdatasync(file.fileno())
        for start, count in bits_runs(bits):
            _page_out(file.fileno(), start * BLOCK, count * BLOCK)
            os.posix_fadvise(file.fileno(), start * BLOCK, count * BLOCK, os.POSIX_FADV_DONTNEED)
    return host_resident(path) & bits


def _page_out(fd, offset, length):
    size = os.fstat(fd).st_size
    with mmap.mmap(fd, min(length, size - offset), mmap.MAP_SHARED, mmap.PROT_READ, offset=offset) as view:
        # Without MADV_RANDOM the read of a page that carries the read-ahead mark brings its neighbours back.
        for advice in (mmap.MADV_RANDOM, MADV_POPULATE_READ, MADV_PAGEOUT):
            view.madvise(advice)


def read_on_host(path, bits):
    """Bring blocks into the host's cache, and as little else as can be."""
    with open(path, "rb", 0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for start, count in bits_runs(bits):
            os.pread(file.fileno(), count * BLOCK, start * BLOCK)


def damon_state():
    """What a DAMON thread on this host does to idle page cache, in one line; None where there is none."""
    base = Path("/sys/kernel/mm/damon/admin/kdamonds")
    lines = []
    for thread in sorted(base.glob("[0-9]*")) if base.is_dir() else []:
        try:
            state = (thread / "state").read_text().strip()
            actions = {p.read_text().strip() for p in thread.glob("contexts/*/schemes/*/action")}
        except OSError:
            continue
        if state == "on":
            lines.append(f"DAMON thread {thread.name} runs: {', '.join(sorted(actions)) or 'no scheme'}")
    return "; ".join(lines) or None


# ---------------------------------------------------------------------- image chains

def disk_map(guest):
    """[(first block of the guest's disk, blocks, image path, first block in that image)], flushed by the caller."""
    done = subprocess.run(["qemu-img", "map", "-U", "--output=json", "-f", guest.disk_format, str(guest.disk)],
                          check=True, capture_output=True, text=True)
    found = []
    for extent in json.loads(done.stdout):
        if "offset" in extent and extent["length"] >= BLOCK:
            image = guest.disk if extent["depth"] == 0 else guest.base
            found.append((extent["start"] // BLOCK, extent["length"] // BLOCK, str(image), extent["offset"] // BLOCK))
    return found


def disk_to_images(bits, extents):
    """Blocks of a guest's disk as blocks of the image files that they lie in."""
    out = {}
    for start, count, image, first in extents:
        part = (bits >> start) & ((1 << count) - 1)
        if part:
            out[image] = out.get(image, 0) | part << first
    return out


# ---------------------------------------------------------------------- guests

@dataclass
class GuestView:
    """What one guest caches: blocks by image, of files, of metadata (the disk's own page cache), and of mapped pages."""
    files: dict
    metadata: dict
    mapped: dict
    by_inode: dict = field(default_factory=dict)  # inode number: (path, blocks by image, resident pages)
    unplaced_bytes: int = 0
    meminfo: dict = field(default_factory=dict)
    vmstat: dict = field(default_factory=dict)

    @property
    def held(self):
        return union(self.files, self.metadata)

    def blocks_of_inode(self, inode):
        """Blocks cached of one file; inode numbers from 1 << 20 up are device numbers, and stand for the metadata."""
        if inode >= 1 << 20:
            return self.metadata
        return self.by_inode[inode][1] if inode in self.by_inode else {}


def begin_look(guest, paths=None):
    return guest.begin_python((INSIDE / "look.py").read_text(), {"paths": paths})


def finish_look(guest, ident, seconds=120):
    """What look.py saw in the guest, still in blocks of its disk."""
    return json.loads(guest.finish(ident, seconds))


def look_in_guest(guest, paths=None):
    return finish_look(guest, begin_look(guest, paths))


def guest_view(look, extents):
    files = mapped = 0
    by_inode = {}
    for file in look["files"]:
        bits = runs_bits(file["blocks"])
        files |= bits
        mapped |= runs_bits(file["mapped"]) & bits
        by_inode[file["inode"]] = (file["path"], disk_to_images(bits, extents), file["resident_pages"])
    metadata = runs_bits(look["metadata"]) & ~files
    return GuestView(disk_to_images(files, extents), disk_to_images(metadata, extents), disk_to_images(mapped, extents),
                     by_inode, sum(f["unplaced_pages"] for f in look["files"]) * BLOCK, look["meminfo"], look["vmstat"])


def blocks_of(view, paths):
    """Blocks that this guest caches of files, by their names."""
    wanted = set(paths)
    return union(*(blocks for path, blocks, _ in view.by_inode.values() if path in wanted))


@dataclass
class Machine:
    """What is cached on the whole machine at one moment."""
    host: dict
    guests: dict  # name: GuestView

    def duplicate(self):
        """Blocks on the host and in at least one guest."""
        return both(self.host, union(*(v.held for v in self.guests.values())))

    def sole(self, name):
        """Blocks that only this guest caches, and the host does not."""
        others = union(self.host, *(v.held for n, v in self.guests.items() if n != name))
        return without(self.guests[name].held, others)

    def held_by_one_guest(self):
        """Blocks that exactly one guest caches, whether or not the host does."""
        once, more = {}, {}
        for view in self.guests.values():
            more = union(more, both(once, view.held))
            once = union(once, view.held)
        return without(once, more)

    def evictable(self):
        """Blocks of files that no guest has mapped; metadata may be pinned by the guest's file system."""
        pinned = union(*(v.mapped for v in self.guests.values()), *(v.metadata for v in self.guests.values()))
        return without(union(self.host, *(v.files for v in self.guests.values())), pinned)

    def copies_bytes(self, among=None):
        places = [self.host, *(v.held for v in self.guests.values())]
        return sum(size_bytes(both(p, among) if among is not None else p) for p in places)

    def distinct_bytes(self, among=None):
        everything = union(self.host, *(v.held for v in self.guests.values()))
        return size_bytes(both(everything, among) if among is not None else everything)

    def copy_factor(self, among=None):
        return self.copies_bytes(among) / max(1, self.distinct_bytes(among))


def look(guests, stop=True, between=None):
    """The whole machine: guests from inside, then between() (a scan of pagepact's), then the host while guests are stopped."""
    started = [(g, begin_look(g)) for g in guests]
    looks = {g.name: finish_look(g, ident) for g, ident in started}
    lost = {name for name, found in looks.items() if found["trace_lost"]}
    if lost:
        raise RuntimeError(f"the kernel lost trace events in {', '.join(sorted(lost))}: metadata is not known")
    if between:
        between()
    if stop:
        for guest in guests:
            guest.pause()
    try:
        maps = {g.name: disk_map(g) for g in guests}
        host = host_holding({g.base for g in guests} | {g.disk for g in guests})
    finally:
        if stop:
            for guest in guests:
                guest.cont()
    return Machine(host, {name: guest_view(found, maps[name]) for name, found in looks.items()})

# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: which blocks of the first disk its page cache holds, by mincore(2), FIEMAP and the kernel's trace events.

mincore of a mapping that is never touched changes nothing. Opening every file does load its inode: the caller looks once
before what it wants to measure, so that later looks find all metadata cached already.

ARGS: {"paths": [...] or null for the whole root file system}; prints one JSON object. Blocks are 4 KiB blocks of the
whole disk, partition offset included, as runs [start, count].
"""
import ctypes
import fcntl
import json
import os
import re
import stat
import struct

PAGE = 4096
FS_IOC_FIEMAP = 0xC020660B
FIEMAP_EXTENT_LAST = 0x1
# UNKNOWN, DELALLOC, ENCODED, DATA_ENCRYPTED, DATA_INLINE, DATA_TAIL, UNWRITTEN: no block holds this data as it is cached.
FIEMAP_EXTENT_UNPLACED = 0x2 | 0x4 | 0x8 | 0x80 | 0x200 | 0x400 | 0x800
TRACING = "/sys/kernel/tracing"

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
RESIDENT = re.compile(b"\x01+")


def resident_runs(fd, size):
    pages = (size + PAGE - 1) // PAGE
    address = libc.mmap(None, pages * PAGE, 1, 1, fd, 0)  # PROT_READ, MAP_SHARED
    if address in (None, ctypes.c_void_p(-1).value):
        return []
    vector = ctypes.create_string_buffer(pages)
    failed = libc.mincore(address, pages * PAGE, vector)
    libc.munmap(address, pages * PAGE)
    if failed:
        raise OSError(ctypes.get_errno(), "mincore")
    return [(m.start(), m.end() - m.start()) for m in RESIDENT.finditer(vector.raw[:pages])]


def extents(fd):
    """[(logical page, physical page, pages)] of what is on the disk as it is cached."""
    found, start = [], 0
    while True:
        room = 256
        buffer = bytearray(struct.pack("=QQIIII", start, (1 << 63) - 1, 0, 0, room, 0) + bytes(56 * room))
        fcntl.ioctl(fd, FS_IOC_FIEMAP, buffer)
        count = struct.unpack_from("=I", buffer, 20)[0]
        if not count:
            return found
        for n in range(count):
            logical, physical, length, _, _, flags = struct.unpack_from("=QQQQQI", buffer, 32 + 56 * n)
            if not flags & FIEMAP_EXTENT_UNPLACED:
                found.append((logical // PAGE, physical // PAGE, (length + PAGE - 1) // PAGE))
            if flags & FIEMAP_EXTENT_LAST:
                return found
        start = logical + length


def placed(runs, extent_list, offset):
    """File pages to blocks of the disk."""
    out = []
    for start, count in runs:
        for logical, physical, length in extent_list:
            low, high = max(start, logical), min(start + count, logical + length)
            if low < high:
                out.append((physical + low - logical + offset, high - low))
    return out


def mapped_pages(device):
    """{inode number: {file page}} of what any process has in its page tables."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/pagemap", "rb", 0) as pagemap:
                for line in maps:
                    fields = line.split()
                    if fields[3] == device and fields[4] != "0":
                        add_mapped(found.setdefault(int(fields[4]), set()), fields, pagemap)
        except (OSError, IndexError):
            continue
    return found


def add_mapped(pages, fields, pagemap):
    low, high = (int(x, 16) // PAGE for x in fields[0].split("-"))
    first = int(fields[2], 16) // PAGE
    pagemap.seek(low * 8)
    entries = pagemap.read((high - low) * 8)
    for n, (entry,) in enumerate(struct.iter_unpack("=Q", entries)):
        if entry >> 63 and entry >> 61 & 1:  # present, and of the file rather than a private copy
            pages.add(first + n)


def as_runs(pages):
    runs = []
    for page in sorted(pages):
        if runs and runs[-1][0] + runs[-1][1] == page:
            runs[-1][1] += 1
        else:
            runs.append([page, 1])
    return runs


def walk(top, device):
    pending = [top]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    info = entry.stat(follow_symlinks=False)
                    if info.st_dev != device:
                        continue
                    if stat.S_ISDIR(info.st_mode):
                        pending.append(entry.path)
                    elif stat.S_ISREG(info.st_mode) and info.st_size:
                        yield entry.path, info
        except OSError:
            continue


def named(paths):
    for path in paths:
        yield path, os.stat(path)


def look_file(path, info, mapped, offset):
    fd = os.open(path, os.O_RDONLY | os.O_NOATIME | os.O_NONBLOCK)
    try:
        runs = resident_runs(fd, info.st_size)
        if not runs:
            return None
        extent_list = extents(fd)
    finally:
        os.close(fd)
    blocks = placed(runs, extent_list, offset)
    resident = sum(count for _, count in runs)
    return {"path": path, "inode": info.st_ino, "size": info.st_size, "resident_pages": resident,
            "unplaced_pages": resident - sum(count for _, count in blocks), "blocks": blocks,
            "mapped": placed(as_runs(mapped.get(info.st_ino, ())), extent_list, offset)}


def device_pages(device):
    """Pages of a block device in the page cache: what the trace that init started saw come and not go."""
    pages, number = set(), f"ino {device:x} "
    with open(f"{TRACING}/trace") as trace:
        for line in trace:
            if number in line:
                page = int(line.partition("ofs=")[2].split()[0]) // PAGE
                (pages.add if "mm_filemap_add" in line else pages.discard)(page)
    return pages


def trace_lost():
    with open(f"{TRACING}/per_cpu/cpu0/stats") as stats:
        found = dict(line.split(": ", 1) for line in stats)
    return int(found["overrun"]) + int(found["dropped events"])


def counters():
    with open("/proc/vmstat") as vmstat, open("/proc/meminfo") as meminfo:
        found = dict(line.split() for line in vmstat)
        return {"vmstat": {k: int(v) for k, v in found.items()},
                "meminfo": {line.split(":")[0]: int(line.split()[1]) * 1024 for line in meminfo}}


def partition_offset():
    device = os.stat("/").st_dev
    with open(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/start") as start:
        return int(start.read()) * 512 // PAGE


def metadata(device, offset):
    """Blocks of the disk in the caches of the root partition and of the disk around it."""
    number = os.major(device) << 20 | os.minor(device)
    disk = os.stat("/dev/vda").st_rdev
    pages = {page + offset for page in device_pages(number)}
    return as_runs(pages | device_pages(os.major(disk) << 20 | os.minor(disk)))


def main():
    info = os.stat("/")
    offset = partition_offset()
    mapped = mapped_pages(f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}")
    paths = (ARGS or {}).get("paths")  # noqa: F821, the command server's
    found, seen, looked = [], set(), 0
    for path, entry in named(paths) if paths is not None else walk("/", info.st_dev):
        if entry.st_ino in seen:
            continue
        seen.add(entry.st_ino)
        looked += 1
        file = look_file(path, entry, mapped, offset)
        if file:
            found.append(file)
    print(json.dumps({"files": found, "looked": looked, **counters(), "trace_lost": trace_lost(),
                      "metadata": [] if paths is not None else metadata(info.st_dev, offset)}))


main()

# SPDX-License-Identifier: Apache-2.0
"""What the kernel says, by means that are not pagepact's: mincore, FIEMAP, /proc. Runs in guests and on this machine.

A call from outside is ARGS = {"call": name, "args": [...]}; the answer is printed as JSON.
"""
import ctypes
import fcntl
import json
import mmap
import os
import re
import signal
import struct
import time

PAGE = 4096
FS_IOC_FIEMAP, FS_IOC_GETVERSION = 0xC020660B, 0x80087601
F_SETLEASE = 1024
FIEMAP_EXTENT_DELALLOC = 4

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]


def write(path, pages):
    """A new file of random data, on the disk and out of the cache."""
    with open(path, "wb") as file:
        for _ in range(0, pages, 256):
            file.write(os.urandom(min(256, pages) * PAGE))
        os.fsync(file.fileno())
    forget(path)
    return identity(path)


def forget(path, start=0, count=0):
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), start * PAGE, count * PAGE, os.POSIX_FADV_DONTNEED)


def read(path, runs=None, times=1, ahead=False):
    """Read runs of pages, or all, in pieces of up to 128 KiB; without ahead, exactly these."""
    fd = os.open(path, os.O_RDONLY)
    if not ahead:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    runs = [(0, (os.fstat(fd).st_size + PAGE - 1) // PAGE)] if runs is None else runs
    for _ in range(times):
        for start, count in runs:
            for at in range(start, start + count, 32):
                os.pread(fd, min(32, start + count - at) * PAGE, at * PAGE)
    os.close(fd)


def dirty(path, pages):
    with open(path, "r+b", 0) as file:
        for page in pages:
            os.pwrite(file.fileno(), b"dirty", page * PAGE)


def resident(path):
    """Runs [start, count] of pages in the cache."""
    fd = os.open(path, os.O_RDONLY)
    pages = (os.fstat(fd).st_size + PAGE - 1) // PAGE
    address = libc.mmap(None, pages * PAGE, 1, 1, fd, 0)
    os.close(fd)
    vector = ctypes.create_string_buffer(pages)
    failed = libc.mincore(address, pages * PAGE, vector)
    libc.munmap(address, pages * PAGE)
    assert not failed
    bits = bytes(b & 1 for b in vector.raw[:pages])
    return [(m.start(), m.end() - m.start()) for m in re.finditer(b"\x01+", bits)]


def extents_flags(fd):
    """[(page, block of the file system's device, pages, the FIEMAP flags)]"""
    buffer = bytearray(struct.pack("=QQIIII", 0, (1 << 63) - 1, 0, 0, 1000, 0) + bytes(56 * 1000))
    fcntl.ioctl(fd, FS_IOC_FIEMAP, buffer)
    found = [struct.unpack_from("=QQQQQI", buffer, 32 + 56 * n) for n in range(struct.unpack_from("=I", buffer, 20)[0])]
    return [(at // PAGE, block // PAGE, length // PAGE, flags) for at, block, length, _, _, flags in found]


def extents(fd):
    """The same without the flags."""
    return [extent[:3] for extent in extents_flags(fd)]


def partition_offset(device):
    try:
        with open(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/start") as start:
            return int(start.read()) * 512 // PAGE
    except FileNotFoundError:
        return 0


def identity(path):
    fd = os.open(path, os.O_RDONLY)
    info = os.fstat(fd)
    generation = bytearray(8)
    fcntl.ioctl(fd, FS_IOC_GETVERSION, generation)
    offset = partition_offset(info.st_dev)
    found = {"device": info.st_dev, "inode": info.st_ino, "generation": struct.unpack_from("=I", generation)[0],
             "blocks": [(index, block + offset, count) for index, block, count in extents(fd)]}
    os.close(fd)
    return found


def counters():
    with open("/proc/vmstat") as vmstat, open("/proc/meminfo") as meminfo:
        found = {key: int(value) for key, value in (line.split() for line in vmstat)}
        found.update({line.split(":")[0]: int(line.split()[1]) // 4 for line in meminfo if "kB" in line})
    return found


def kinds():
    """Pages by kind from /proc/kpageflags: buddy, anonymous, and of the page cache mapped, dirty and all."""
    count = dict.fromkeys(("buddy", "anonymous", "hugetlb"), 0)
    fd = os.open("/proc/kpageflags", os.O_RDONLY)
    while data := os.read(fd, 1 << 20):
        for flags in memoryview(data).cast("Q"):
            if flags:
                count["buddy"] += flags >> 10 & 1
                count["anonymous"] += flags >> 12 & 1
                count["hugetlb"] += flags >> 17 & 1
    os.close(fd)
    return count


def cached_frames(first, count):
    """How many of the page frames hold page cache that nothing maps (Documentation/admin-guide/mm/pagemap.rst)."""
    fd = os.open("/proc/kpageflags", os.O_RDONLY)
    found, at = 0, first
    while at < first + count:
        data = os.pread(fd, 8 * min(65536, first + count - at), 8 * at)
        flags = struct.unpack(f"<{len(data) // 8}Q", data)
        found += sum(1 for word in flags if word >> 5 & 1 and not word >> 11 & 3)
        at += len(flags)
    os.close(fd)
    return found


def wait_file(path):
    while not os.path.exists(path):
        time.sleep(0.02)


def hold_mapped(path, runs, stop):
    """Keep pages of a file mapped and touched until the file `stop` exists."""
    with open(path, "rb") as file:
        view = mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
    for start, count in runs:
        for page in range(start, start + count):
            view[page * PAGE]
    open(stop + ".ready", "w").close()
    wait_file(stop)


def hold_lease(path, stop):
    """Keep a write lease until the file `stop` exists; how often somebody tried to break it."""
    broken = []
    signal.signal(signal.SIGIO, lambda *_: broken.append(1))
    fd = os.open(path, os.O_RDWR)
    fcntl.fcntl(fd, F_SETLEASE, fcntl.F_WRLCK)
    open(stop + ".ready", "w").close()
    wait_file(stop)
    fcntl.fcntl(fd, F_SETLEASE, fcntl.F_UNLCK)
    return len(broken)


def hold_deleted(path, pages, stop):
    """Keep a file open and cached that has no name any more."""
    write(path, pages)
    with open(path, "rb") as file:
        read(path)
        os.unlink(path)
        open(stop + ".ready", "w").close()
        wait_file(stop)
        return len(file.read(1))


def replace(path, wanted, tries=200):
    """Delete a file, and make new ones beside it until one has its inode number; that one's path, or None."""
    os.unlink(path)
    os.sync()
    made = []
    for n in range(tries):
        name = f"{path}.{n}"
        with open(name, "wb") as file:
            file.write(b"x" * 16 * PAGE)
            os.fsync(file.fileno())
            if os.fstat(file.fileno()).st_ino == wanted:
                break
        made.append(name)
    else:
        name = None
    for other in made:
        os.unlink(other)
    return name


def unversioned(top):
    """A file of generation 0, as mkfs.ext4 -d makes them, with at least 16 pages."""
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.islink(path) and os.stat(path).st_size >= 16 * PAGE and identity(path)["generation"] == 0:
                return path
    return None


def agent_ticks():
    """CPU time of the agent that serves the port, in clock ticks, kernel's share included; its PID."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm") as comm, open(f"/proc/{pid}/stat") as stat:
                if comm.read().strip() == "pagepact-agent":
                    fields = stat.read().rpartition(")")[2].split()
                    return [int(fields[11]) + int(fields[12]), int(pid)]
        except FileNotFoundError:
            continue
    return None


if globals().get("ARGS"):
    print(json.dumps(globals()[ARGS["call"]](*ARGS["args"])))  # noqa: F821, the command server's

# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest for test_limit_trouble.py, with probe.py's functions after it: what is done to files under a limit."""
import contextlib
import ctypes
import mmap
import os
import random
import signal
import struct
import subprocess
import time
import zlib

PAGE = 4096
EBUSY = 16
AGENT = "/run/lab/pagepact-agent"
PORT = "/dev/virtio-ports/org.pagepact.agent.0"
HUGE = 2 << 20
BPF_IDS = {"programs": 11, "maps": 12, "links": 31}  # BPF_PROG_GET_NEXT_ID and so on
NR_BPF = 321
libc = ctypes.CDLL(None, use_errno=True)


def vmstat():
    with open("/proc/vmstat") as file:
        return {name: int(value) for name, value in map(str.split, file)}


def unmapped():
    """Bytes of page cache that nothing maps."""
    found = vmstat()
    return (found["nr_inactive_file"] + found["nr_active_file"] - found["nr_mapped"]) * PAGE


def wait_until(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.02)


def hollows(folder, count, size):
    """Files of holes: cached like any others when they are read, and quick to make."""
    os.makedirs(folder, exist_ok=True)
    for n in range(count):
        with open(f"{folder}/{n}", "wb") as file:
            file.truncate(size)
    os.sync()


def slurp(path):
    with open(path, "rb", 0) as file:
        while file.read(1 << 18):
            pass


def slurp_all(folder):
    for name in sorted(os.listdir(folder), key=int):
        slurp(f"{folder}/{name}")
    return unmapped()


def stream(folder, times, pause, stop):
    """Read files one after the other, so many times, or until the file `stop` exists; how many were read."""
    open(stop + ".ready", "w").close()
    count = 0
    for _ in range(times):
        for name in sorted(os.listdir(folder), key=int):
            if os.path.exists(stop):
                return count
            slurp(f"{folder}/{name}")
            count += 1
            time.sleep(pause)
    wait_file(stop)  # noqa: F821
    return count


# ---------------------------------------------------------------------- what must stay

class View:
    """A mapping, and what of its file is in memory."""

    def __init__(self, path, touch, flags=mmap.MAP_SHARED):
        fd = os.open(path, os.O_RDWR)
        self.size = os.fstat(fd).st_size
        self.map = mmap.mmap(fd, self.size, flags, mmap.PROT_READ | mmap.PROT_WRITE)
        os.close(fd)
        for at in range(0, self.size if touch else 0, PAGE):
            self.map[at]

    def address(self):
        return ctypes.addressof(ctypes.c_char.from_buffer(self.map))

    def lock(self):
        if libc.mlock(ctypes.c_void_p(self.address()), ctypes.c_size_t(self.size)):
            raise OSError(ctypes.get_errno(), "mlock")

    def there(self):
        pages = self.size // PAGE
        vector = ctypes.create_string_buffer(pages)
        if libc.mincore(ctypes.c_void_p(self.address()), ctypes.c_size_t(self.size), vector):
            raise OSError(ctypes.get_errno(), "mincore")
        return sum(byte & 1 for byte in vector.raw[:pages])


def filled(path, size, sync):
    with open(path, "wb", 0) as file:
        for at in range(0, size, 1 << 20):
            file.write(random.Random(at).randbytes(1 << 20))
        if sync:
            os.fsync(file.fileno())
    return path


def huge_file(path, size):
    """On a hugetlbfs, which only a mapping writes to."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, size)
    os.close(fd)
    view = View(path, False)
    view.map[:] = b"h" * size
    return view


def dentries():
    """Live ones, and all."""
    with open("/proc/sys/fs/dentry-state") as file:
        every, unused = map(int, file.read().split()[:2])
    return {"live": every - unused, "all": every}


def stolen(counters):
    """Pages that the kernel's own reclaim has taken."""
    return counters["pgsteal_kswapd"] + counters["pgsteal_direct"]


def unwritten(path):
    """Pages that have no place on the disk yet: they were never written back."""
    fd = os.open(path, os.O_RDONLY)
    found = sum(count for _, _, count, flags in extents_flags(fd) if flags & FIEMAP_EXTENT_DELALLOC)  # noqa: F821
    os.close(fd)
    return found


def keep(folder, huge, stop):
    """Pages of every kind that may not go, until `stop` exists: how many there were of each, and how many are left."""
    size = 4 << 20
    files = {kind: filled(f"{folder}/{kind}", size, kind != "dirty") for kind in ("mapped", "locked", "dirty")}
    files["tmpfs"] = filled("/tmp/kept", size, False)
    views = {kind: View(path, kind in ("mapped", "locked")) for kind, path in files.items()}
    views["locked"].lock()
    if huge:
        views["hugetlb"] = huge_file(f"{huge}/kept", HUGE)
    before, counted, names = {kind: view.there() for kind, view in views.items()}, vmstat(), dentries()
    open(stop + ".ready", "w").close()
    wait_file(stop)  # noqa: F821
    still_unwritten = unwritten(files["dirty"])
    after, counted_after, names_after = {kind: view.there() for kind, view in views.items()}, vmstat(), dentries()
    right = len({zlib.crc32(view.map) for kind, view in views.items() if kind != "hugetlb"}) == 1
    for path in files.values():
        os.unlink(path)
    return {"before": before, "after": after, "right": right,
            "reclaimed": stolen(counted_after) - stolen(counted),
            "unwritten": still_unwritten, "written": counted_after["nr_written"] - counted["nr_written"], "writeback": counted_after["nr_writeback"],
            "names": names, "names_after": names_after}


# ---------------------------------------------------------------------- file systems and files that go

def unmount(where, seconds=10):
    """For how long it was busy, and how often."""
    start, busy, refused = time.monotonic(), 0, 0
    while libc.umount2(where.encode(), 0):
        refused, busy = time.monotonic() - start, busy + 1
        assert ctypes.get_errno() == EBUSY and refused < seconds, ctypes.get_errno()
        time.sleep(0.01)
    return refused, busy


def unmounted(device, where, rounds, stop):
    """
    What each umount took, of a file system that was being evicted from, and whether its file is what it was. There is a file
    STOP.done when it is over.
    """
    open(stop + ".ready", "w").close()
    os.makedirs(where, exist_ok=True)
    subprocess.run(["mount", device, where], check=True)
    known = filled(f"{where}/known", 1 << 20, True)
    for n in range(rounds):
        hollows(f"{where}/{n}", 16, 1 << 20)
    crc, took = zlib.crc32(open(known, "rb").read()), []
    for n in range(rounds):
        slurp_all(f"{where}/{n}")
        wait_until(lambda: sum(c for _, c in resident(f"{where}/{n}/0")) < 256, 20, "eviction")  # noqa: B023, F821
        took.append(unmount(where))
        subprocess.run(["mount", device, where], check=True)
    right = zlib.crc32(open(known, "rb").read()) == crc
    unmount(where)
    open(stop + ".done", "w").close()
    return took, right


def reuse(path, stop):
    """
    A file that is cached goes, and one with its inode number comes, pages [0, 16) dirty, [16, 32) mapped, the others clean.
    At the end: whether the number is the same, the pages that are cached, and whether its bytes are right.
    """
    old = write(path, 64)["inode"]  # noqa: F821
    slurp(path)
    new = replace(path, old, 50)  # noqa: F821
    again = new is not None
    new = new or path
    filled(new, 1 << 20, True)
    view = mmap.mmap(os.open(new, os.O_RDONLY), 0, mmap.MAP_SHARED, mmap.PROT_READ)
    for page in range(16, 32):
        view[page * PAGE]
    dirty(new, range(16))  # noqa: F821
    slurp(new)
    open(stop + ".ready", "w").close()
    wait_file(stop)  # noqa: F821
    found = resident(new)  # noqa: F821
    expected = bytearray(random.Random(0).randbytes(1 << 20))
    for page in range(16):
        expected[page * PAGE:page * PAGE + 5] = b"dirty"
    with open(new, "rb") as file:
        right = file.read() == expected
    os.unlink(new)
    return again, found, right


# ---------------------------------------------------------------------- pressure

def stalled():
    """Per cent of the last ten seconds in which some task waited for memory."""
    with open("/proc/pressure/memory") as file:
        return float(file.readline().split()[1].removeprefix("avg10="))


def hog(stop):
    """Memory pressure, by a process that is throttled above its memory.high, until `stop` exists."""
    top = "/sys/fs/cgroup"
    if not os.path.exists(f"{top}/cgroup.procs"):
        subprocess.run(["mount", "-t", "cgroup2", "cgroup2", top], check=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(f"{top}/hog")
    for path, text in ((f"{top}/cgroup.subtree_control", "+memory"), (f"{top}/hog/memory.high", "4M")):
        with open(path, "w") as file:
            file.write(text)
    child = os.fork()
    if child == 0:
        with open(f"{top}/hog/cgroup.procs", "w") as file:
            file.write(str(os.getpid()))
        memory = []
        while len(memory) < 48:
            memory.append(bytearray(b"m" * (1 << 20)))
        signal.pause()
    open(stop + ".ready", "w").close()
    wait_file(stop)  # noqa: F821
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


# ---------------------------------------------------------------------- an agent that is killed

def bpf_counts():
    found = {}
    for name, command in BPF_IDS.items():
        count, last = 0, 0
        while True:
            attr = ctypes.create_string_buffer(struct.pack("=III", last, 0, 0), 64)
            if libc.syscall(NR_BPF, command, attr, 64):
                break
            last = struct.unpack_from("=I", attr.raw, 4)[0]
            count += 1
        found[name] = count
    return found


def mounts():
    with open("/proc/self/mountinfo") as file:
        return sorted(line.split()[4] for line in file)


def works(child):
    """Whether the agent has come so far that it watches."""
    with open(f"/proc/{child.pid}/maps") as maps:
        return "bpf-map" in maps.read()


def begin_agent(**options):
    return subprocess.Popen([AGENT], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            start_new_session=True, **options)


def killed(folder, device, where, times, seed):
    """Kill the agent so many times, every other time while it evicts, else while it starts; what was right after each."""
    dice, left = random.Random(seed), []
    subprocess.run(["mount", device, where], check=True)
    known = filled(f"{where}/known", 1 << 20, True)
    crc, before, mounted = zlib.crc32(open(known, "rb").read()), bpf_counts(), mounts()
    reader = os.fork()
    if reader == 0:
        while True:
            for name in (folder, where):
                slurp_all(name) if name == folder else slurp(known)
    for n in range(times):
        child = begin_agent()
        if n % 2:
            wait_until(lambda: works(child), 30, "the agent works")  # noqa: B023
            time.sleep(dice.uniform(0, 1))
        else:
            time.sleep(dice.uniform(0, 2))
        child.kill()
        child.wait()
        with contextlib.suppress(AssertionError):
            wait_until(lambda: bpf_counts() == before, 10, "the programs go")
        left.append([bpf_counts() == before, mounts() == mounted])
    os.kill(reader, signal.SIGKILL)
    os.waitpid(reader, 0)
    right = zlib.crc32(open(known, "rb").read()) == crc
    seconds, _ = unmount(where)
    begin_agent()
    return {"left": left, "right": right, "umount_seconds": seconds, "before": before}


# ---------------------------------------------------------------------- a file system that hangs

def fuse_attributes(node, size):
    mode = 0o40755 if node == 1 else 0o100644
    return struct.pack("=QQQQQQIIIIIIIIII", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, PAGE, 0)


def fuse_serve(fd, size):
    """A FUSE daemon with one file in its root directory, "f"."""
    while True:
        request = os.read(fd, 1 << 20)
        opcode, unique, node = struct.unpack_from("=IQQ", request, 4)
        error, answer, long = 0, b"", 1 << 20
        if opcode == 26:  # FUSE_INIT
            answer = struct.pack("=IIIIHHIIHHI7I", 7, 31, 1 << 20, 0, 8, 8, 1 << 16, 1, 16, 0, 0, *[0] * 7)
        elif opcode == 1:  # FUSE_LOOKUP
            answer = struct.pack("=QQQQII", 2, 0, long, long, 0, 0) + fuse_attributes(2, size)
        elif opcode == 3:  # FUSE_GETATTR
            answer = struct.pack("=QII", long, 0, 0) + fuse_attributes(node, size)
        elif opcode in (2, 36, 42):  # FUSE_FORGET, FUSE_INTERRUPT, FUSE_BATCH_FORGET
            continue
        elif opcode == 14:  # FUSE_OPEN, with FOPEN_KEEP_CACHE
            answer = struct.pack("=QII", 0, 2, 0)
        elif opcode == 15:  # FUSE_READ
            _, offset, length = struct.unpack_from("=QQI", request, 40)
            answer = b"f" * max(0, min(length, size - offset))
        elif opcode not in (18, 25):  # FUSE_RELEASE, FUSE_FLUSH
            error = -38  # ENOSYS
        os.write(fd, struct.pack("=IiQ", 16 + len(answer), error, unique) + answer)


def hanging(size, stop):
    """Pages of a FUSE file system whose daemon has stopped, with a process that waits for it; how many are left at the end."""
    os.makedirs("/mnt/fuse", exist_ok=True)
    fd = os.open("/dev/fuse", os.O_RDWR)
    if libc.mount(b"pp", b"/mnt/fuse", b"fuse", 0, f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()):
        raise OSError(ctypes.get_errno(), "mount")
    daemon = os.fork()
    if daemon == 0:
        with contextlib.suppress(OSError):
            fuse_serve(fd, size)
        os._exit(0)
    os.close(fd)
    slurp("/mnt/fuse/f")
    view = View("/mnt/fuse/f", False, mmap.MAP_PRIVATE)
    os.kill(daemon, signal.SIGSTOP)
    waiting = os.fork()
    if waiting == 0:
        os.stat("/mnt/fuse/nothing")
        os._exit(0)
    open(stop + ".ready", "w").close()
    wait_file(stop)  # noqa: F821
    left = view.there()
    for child in (daemon, waiting):
        os.kill(child, signal.SIGKILL)
    libc.umount2(b"/mnt/fuse", 2)  # MNT_DETACH
    for child in (daemon, waiting):
        os.waitpid(child, 0)
    return left


# ---------------------------------------------------------------------- many files

def read_many(where, folders, each):
    """The first byte of files WHERE/FFF/NNNNN, by two processes."""
    children = []
    for part in range(2):
        child = os.fork()
        if child == 0:
            for folder in range(part, folders, 2):
                at = os.open(f"{where}/{folder:03}", os.O_RDONLY)
                for n in range(folder * each, (folder + 1) * each):
                    fd = os.open(f"{n:05}", os.O_RDONLY, dir_fd=at)
                    os.read(fd, 1)
                    os.close(fd)
                os.close(at)
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    return unmapped()


def agent_rss(reset):
    """The most bytes of memory that the agent has had resident since this was called with `reset`."""
    pid = agent_ticks()[1]  # noqa: F821
    if reset:
        with open(f"/proc/{pid}/clear_refs", "w") as file:
            file.write("5")
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))

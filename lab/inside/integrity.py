# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: writers and readers that know each byte of their files, while somebody else evicts from the cache.

ARGS: {"folders": [...], "seconds", "seed", "writers", each folder's; "static_bytes", of files that are only read, in each
folder; "stop", a path whose ".warm" is made when the files are there, and that exists when the end may come}. Prints JSON:
{"operations": {kind: count}, "wrong": [what differed], "files": {path: [size, crc]}}; all files are compared from the cache,
and, once the end may come, after drop_caches.
"""
import collections
import ctypes
import json
import mmap
import os
import random
import time
import traceback
import zlib

PAGE = 4096
FILE_BYTES = 1 << 20
FILES = 4
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE = 1, 2
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]


class Writer:
    """Changes files of its own in every way there is, and knows what must be in them."""

    def __init__(self, folder, seed):
        self.folder, self.random = folder, random.Random(seed)
        self.count, self.wrong = collections.Counter(), []
        os.makedirs(folder)
        self.known = {}
        for n in range(FILES):
            self.make(f"{folder}/{n}")

    def bytes(self, most=128 << 10):
        return self.random.randbytes(self.random.randrange(1, most))

    def range(self, path):
        """Offset and length of a part of a file; its ends are on page boundaries every other time."""
        size = len(self.known[path])
        start = self.random.randrange(size + 1)
        length = self.random.randrange(1, 256 << 10)
        if self.random.random() < 0.5:
            start, length = start // PAGE * PAGE, (length + PAGE - 1) // PAGE * PAGE
        return start, length

    def make(self, path):
        data = bytearray(self.random.randbytes(self.random.randrange(PAGE, FILE_BYTES)))
        with open(path, "wb", 0) as file:
            file.write(data)
        self.known[path] = data

    def write(self, path):
        data, at = self.bytes(), self.random.randrange(min(len(self.known[path]), FILE_BYTES) + 1)
        fd = os.open(path, os.O_WRONLY)
        assert os.pwrite(fd, data, at) == len(data)
        os.close(fd)
        self.known[path][at:at + len(data)] = data

    def truncate(self, path):
        size = self.random.randrange(FILE_BYTES)
        os.truncate(path, size)
        data = self.known[path]
        del data[size:]
        data.extend(bytes(size - len(data)))

    def replace(self, path):
        self.make(path + ".new")
        self.known[path] = self.known.pop(path + ".new")
        os.rename(path + ".new", path)

    def remake(self, path):
        """A new file, often with the inode number of the old one."""
        os.unlink(path)
        self.make(path)

    def punch(self, path):
        start, length = self.range(path)
        fd = os.open(path, os.O_RDWR)
        if libc.fallocate(fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, start, length):
            raise OSError(ctypes.get_errno(), "fallocate")
        os.close(fd)
        data = self.known[path]
        end = min(len(data), start + length)
        data[start:end] = bytes(max(0, end - start))

    def through_map(self, path):
        if not self.known[path]:
            return
        fd = os.open(path, os.O_RDWR)
        with mmap.mmap(fd, 0) as view:
            start = self.random.randrange(len(view))
            data = self.bytes(16 << 10)[:len(view) - start]
            view[start:start + len(data)] = data
        os.close(fd)
        self.known[path][start:start + len(data)] = data

    def sync(self, path):
        """So that its pages are clean, and may be evicted."""
        fd = os.open(path, os.O_RDONLY)
        os.fdatasync(fd)
        os.close(fd)

    def compare(self, path):
        start, length = self.range(path)
        fd = os.open(path, os.O_RDONLY)
        found, end = b"", min(len(self.known[path]), start + length)
        while start + len(found) < end:
            piece = os.pread(fd, end - start - len(found), start + len(found))
            if not piece:
                break
            found += piece
        os.close(fd)
        if found != self.known[path][start:end]:
            self.wrong.append(f"{path} differs in [{start}, {end})")

    def work(self, seconds):
        kinds = [self.write, self.truncate, self.replace, self.remake, self.punch, self.through_map]
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.wrong:
            kind = self.random.choice(kinds + [self.sync] * 4 + [self.compare] * 8)
            kind(self.random.choice(sorted(self.known)))
            self.count[kind.__name__] += 1


class Reader:
    """Reads files that nobody changes."""

    def __init__(self, folder, seed, size):
        self.random = random.Random(seed)
        self.count, self.wrong = collections.Counter(), []
        os.makedirs(folder)
        self.known = {}
        for n in range(size // FILE_BYTES):
            path = f"{folder}/{n}"
            data = self.random.randbytes(FILE_BYTES)
            with open(path, "wb", 0) as file:
                file.write(data)
                os.fdatasync(file.fileno())
            self.known[path] = [len(data), zlib.crc32(data)]

    def work(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.wrong:
            path = self.random.choice(sorted(self.known))
            if checked(path) != self.known[path]:
                self.wrong.append(f"{path} differs")
            self.count["read"] += 1


def checked(path):
    size = crc = 0
    with open(path, "rb", 0) as file:
        while data := file.read(1 << 18):
            size, crc = size + len(data), zlib.crc32(data, crc)
    return [size, crc]


def child(make, seconds, ready, go, out):
    """One worker's process: makes its files, says so, waits for the others, works, and tells."""
    found = {"operations": {}, "wrong": [], "files": {}}
    try:
        worker = make()
        os.write(ready, b"x")
        os.read(go, 1)
        worker.work(seconds)
        found = {"operations": worker.count, "wrong": worker.wrong,
                 "files": {path: known if isinstance(known, list) else [len(known), zlib.crc32(known)]
                           for path, known in worker.known.items()}}
    except BaseException:
        found["wrong"].append(traceback.format_exc())
        os.write(ready, b"x")
    with os.fdopen(out, "w") as pipe:
        json.dump(found, pipe)
    os._exit(0)


def start(make, seconds, ready, go):
    here, there = os.pipe()
    if os.fork() == 0:
        os.close(here)
        os.close(go[1])
        child(make, seconds, ready, go[0], there)
    os.close(there)
    return os.fdopen(here)


def compare_all(files, when):
    return [f"{path} differs {when}: {found}, not {known}" for path, known in sorted(files.items())
            if (found := checked(path)) != known]


def main(args):
    makers = []
    for n, folder in enumerate(args["folders"]):
        makers += [lambda f=folder, k=k, n=n: Writer(f"{f}/w{k}", f"{args['seed']} {n} {k}") for k in range(args["writers"])]
        makers.append(lambda f=folder, n=n: Reader(f"{f}/static", f"{args['seed']} {n}", args["static_bytes"]))
    (ready, tell), go = os.pipe(), os.pipe()
    pipes = [start(make, args["seconds"], tell, go) for make in makers]
    for _ in pipes:
        os.read(ready, 1)
    open(args["stop"] + ".warm", "w").close()
    os.close(go[1])  # all of them read its end
    operations, wrong, files = collections.Counter(), [], {}
    for pipe in pipes:
        found = json.load(pipe)
        operations.update(found["operations"])
        wrong += found["wrong"]
        files.update(found["files"])
    wrong += compare_all(files, "in the cache")
    while not os.path.exists(args["stop"]):
        time.sleep(0.1)
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as drop:
        drop.write("3")
    wrong += compare_all(files, "on the disk")
    print(json.dumps({"operations": operations, "wrong": wrong[:20], "files": files}))


main(ARGS)  # noqa: F821, the command server's

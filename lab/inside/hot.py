# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: reads files again and again, and looks before each reading which of their pages are still cached.

ARGS: "each_second", paths that are read every second; "slow", paths of which one after the other is read, so that each has its
turn once in "period" seconds; "stop", a file whose existence ends it. Three rounds over all come first and do not count.
Prints JSON: for both sets the pages asked for, the pages found cached, and the longest time between two readings.
"""
import ctypes
import json
import os
import time

PAGE = 4096
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
buffer = bytearray(256 * 1024)


class File:
    def __init__(self, path):
        self.fd = os.open(path, os.O_RDONLY)
        self.pages = (os.fstat(self.fd).st_size + PAGE - 1) // PAGE
        # Never touched, so no page is mapped by it.
        self.view = libc.mmap(None, self.pages * PAGE, 1, 1, self.fd, 0)
        self.vector = ctypes.create_string_buffer(self.pages)
        self.last, self.longest = None, 0

    def cached(self):
        if libc.mincore(self.view, self.pages * PAGE, self.vector):
            raise OSError(ctypes.get_errno(), "mincore")
        return self.vector.raw[:self.pages].translate(bytes(n & 1 for n in range(256))).count(1)

    def read(self):
        offset = 0
        while count := os.preadv(self.fd, [buffer], offset):
            offset += count
        now = time.monotonic()
        self.longest = max(self.longest, now - self.last) if self.last else 0
        self.last = now


class Set:
    def __init__(self, paths):
        self.files = [File(path) for path in paths]
        self.asked = self.hits = 0

    def use(self, file):
        self.hits += file.cached()
        self.asked += file.pages
        file.read()

    def result(self):
        return {"asked_pages": self.asked, "hit_pages": self.hits,
                "longest_seconds": max((f.longest for f in self.files), default=0)}


def main(args):
    fast, slow = Set(args["each_second"]), Set(args["slow"])
    for _ in range(3):
        for file in fast.files + slow.files:
            file.read()
    for file in fast.files + slow.files:
        file.longest = 0
    open(args["stop"] + ".warm", "w").close()
    share = max(1, round(len(slow.files) / args["period"]))
    rounds = turn = 0
    while not os.path.exists(args["stop"]):
        start = time.monotonic()
        for file in fast.files:
            fast.use(file)
        for _ in range(share if slow.files else 0):
            slow.use(slow.files[turn % len(slow.files)])
            turn += 1
        rounds += 1
        time.sleep(max(0, 1 - (time.monotonic() - start)))
    print(json.dumps({"rounds": rounds, "each_second": fast.result(), "slow": slow.result()}))


main(ARGS)  # noqa: F821, the command server's

# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: has pages that nobody may take: mapped ones that it touches once, and dirty ones that are not written back.

ARGS: "map", paths; "dirty", a path that is written anew, "dirty_bytes" long; "stop", a file whose existence ends it. Prints JSON
with how many pages there were of each kind, and how many of them are not cached any more.
"""
import ctypes
import json
import mmap
import os
import time

PAGE = 4096
libc = ctypes.CDLL(None, use_errno=True)
libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]


class View:
    def __init__(self, path, touch):
        fd = os.open(path, os.O_RDWR if not touch else os.O_RDONLY)
        self.pages = (os.fstat(fd).st_size + PAGE - 1) // PAGE
        # Private and writable, so that ctypes can tell its address.
        self.map = mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
        os.close(fd)
        for offset in range(0, len(self.map) if touch else 0, PAGE):
            self.map[offset]

    def cached(self):
        vector = ctypes.create_string_buffer(self.pages)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        if libc.mincore(address, self.pages * PAGE, vector):
            raise OSError(ctypes.get_errno(), "mincore")
        return sum(byte & 1 for byte in vector.raw[:self.pages])


def write(path, size):
    with open(path, "wb", 0) as out:
        for _ in range(size >> 20):
            out.write(os.urandom(1 << 20))


def main(args):
    write(args["dirty"], args["dirty_bytes"])
    mapped, dirty = [View(path, True) for path in args["map"]], View(args["dirty"], False)
    mapped_pages, dirty_pages = sum(v.cached() for v in mapped), dirty.cached()
    open(args["stop"] + ".warm", "w").close()
    while not os.path.exists(args["stop"]):
        time.sleep(0.05)
    print(json.dumps({"mapped_pages": mapped_pages, "mapped_lost_pages": mapped_pages - sum(v.cached() for v in mapped),
                      "dirty_pages": dirty_pages, "dirty_lost_pages": dirty_pages - dirty.cached()}))


main(ARGS)  # noqa: F821, the command server's

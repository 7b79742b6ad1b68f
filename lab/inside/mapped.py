# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: maps ARGS["bytes"] of the file ARGS["path"], and looks which of its pages are cached still before it
touches them all again, until the file ARGS["stop"] exists. Prints JSON: the pages, the rounds, and the pages lost."""
import ctypes
import json
import mmap
import os
import time

PAGE = 4096
REST_SECONDS = 0.2
libc = ctypes.CDLL(None, use_errno=True)
libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]


def main(args):
    fd, pages = os.open(args["path"], os.O_RDONLY), args["bytes"] // PAGE
    # Private and writable, so that ctypes can tell its address.
    view = mmap.mmap(fd, args["bytes"], mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(view))
    vector, lost, rounds = ctypes.create_string_buffer(pages), 0, 0
    view[::PAGE]
    open(args["stop"] + ".warm", "w").close()
    while not os.path.exists(args["stop"]):
        if libc.mincore(address, args["bytes"], vector):
            raise OSError(ctypes.get_errno(), "mincore")
        lost += pages - sum(byte & 1 for byte in vector.raw[:pages])
        view[::PAGE]
        rounds += 1
        time.sleep(REST_SECONDS)
    print(json.dumps({"pages": pages, "rounds": rounds, "lost_pages": lost}))


main(ARGS)  # noqa: F821, the command server's

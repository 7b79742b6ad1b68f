# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: takes ARGS["bytes"] of memory out of use, locked, until the file ARGS["stop"] exists; prints {}."""
import ctypes
import mmap
import os
import time

with open("/proc/self/oom_score_adj", "w") as adjust:
    adjust.write("0")
# Private: shared memory would count as mapped files.
memory = mmap.mmap(-1, ARGS["bytes"], mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # noqa: F821, the command server's
libc = ctypes.CDLL(None, use_errno=True)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
if libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(ARGS["bytes"])):  # noqa: F821
    raise OSError(ctypes.get_errno(), "mlock")
open(ARGS["stop"] + ".warm", "w").close()  # noqa: F821
while not os.path.exists(ARGS["stop"]):  # noqa: F821
    time.sleep(0.1)
print("{}")

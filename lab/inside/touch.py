# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: takes ARGS["bytes"] of anonymous memory, touches each page of it, and gives it back; prints the seconds."""
import mmap
import time

memory = mmap.mmap(-1, ARGS["bytes"], mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # noqa: F821, the command server's
start = time.monotonic()
for at in range(0, ARGS["bytes"], 4096):  # noqa: F821
    memory[at] = 1
print(time.monotonic() - start)
memory.close()

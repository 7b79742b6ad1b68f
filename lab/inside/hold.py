# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: keeps the files ARGS["read"] hot by reading and ARGS["map"] mapped, until the file ARGS["stop"] exists.

Prints the number of rounds; the mapped pages are touched in each one.
"""
import mmap
import os
import time

PAUSE_SECONDS = 1.0  # so that the work of keeping hot stays at a tenth of an emulated CPU
buffer = bytearray(128 * 1024)
maps = []
for path in ARGS["map"]:  # noqa: F821, the command server's
    fd = os.open(path, os.O_RDONLY)
    maps.append(mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ))
    os.close(fd)
rounds = 0
while not os.path.exists(ARGS["stop"]):  # noqa: F821
    for path in ARGS["read"]:  # noqa: F821
        fd = os.open(path, os.O_RDONLY)
        while os.readv(fd, [buffer]):
            pass
        os.close(fd)
    for view in maps:
        for offset in range(0, len(view), 4096):
            view[offset]
    rounds += 1
    with open(ARGS["stop"] + ".rounds", "w") as out:  # noqa: F821
        out.write(str(rounds))
    time.sleep(PAUSE_SECONDS)
print(rounds)

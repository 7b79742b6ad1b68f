# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest, or on this machine: reads the files ARGS["paths"] side by side, ARGS["piece"] bytes of each in turn, without
read-ahead where ARGS["random"]; prints JSON with the bytes."""
import json
import os

PIECE, RANDOM = ARGS["piece"], ARGS["random"]  # noqa: F821, the command server's
buffer = [bytearray(PIECE)]
fds = [os.open(path, os.O_RDONLY) for path in ARGS["paths"]]  # noqa: F821
if RANDOM:
    for fd in fds:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
total = offset = 0
preadv = os.preadv
while fds:
    for fd in fds[:]:
        count = preadv(fd, buffer, offset)
        total += count
        if count < PIECE:
            fds.remove(fd)
    offset += PIECE
print(json.dumps({"bytes": total}))

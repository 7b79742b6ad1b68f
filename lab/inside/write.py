# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: writes ARGS["bytes"] that do not repeat to ARGS["path"], on storage if ARGS["sync"]; prints their CRC."""
import os
import zlib

piece = bytearray(os.urandom(1 << 20))
check = 0
fd = os.open(ARGS["path"], os.O_WRONLY | os.O_CREAT, 0o644)  # noqa: F821, the command server's
for n in range(ARGS["bytes"] >> 20):  # noqa: F821
    piece[:8] = n.to_bytes(8, "little")
    check = zlib.crc32(piece, check)
    os.write(fd, piece)
if ARGS["sync"]:  # noqa: F821
    os.fsync(fd)
os.close(fd)
print(check)

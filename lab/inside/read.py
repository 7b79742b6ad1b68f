# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: reads the files ARGS["paths"] from end to end; prints JSON with bytes and seconds."""
import json
import os
import time

buffer = bytearray(128 * 1024)
pages = total = 0
start = time.monotonic()
for path in ARGS["paths"]:  # noqa: F821, the command server's
    fd = os.open(path, os.O_RDONLY)
    size = 0
    while True:
        count = os.readv(fd, [buffer])
        if not count:
            break
        size += count
    os.close(fd)
    total += size
    pages += (size + 4095) // 4096
print(json.dumps({"bytes": total, "pages": pages, "seconds": time.monotonic() - start}))

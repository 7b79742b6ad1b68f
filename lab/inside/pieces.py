# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: reads ARGS["pieces"], [path, offset, length] each, in large blocks; prints JSON with bytes and seconds.

Sleeps after each MiB where ARGS["pause"] says how long; ends early when the file ARGS["stop"] exists.
"""
import json
import os
import time

buffer = bytearray(1 << 20)
pause, stop = ARGS.get("pause", 0), ARGS.get("stop")  # noqa: F821, the command server's
total = 0
start = time.monotonic()
for path, offset, length in ARGS["pieces"]:  # noqa: F821
    if stop and os.path.exists(stop):
        break
    fd = os.open(path, os.O_RDONLY)
    end = offset + length
    while offset < end:
        count = os.preadv(fd, [memoryview(buffer)[:end - offset]], offset)
        if not count:
            break
        offset += count
        total += count
        if pause:
            time.sleep(pause)
    os.close(fd)
print(json.dumps({"bytes": total, "seconds": time.monotonic() - start}))

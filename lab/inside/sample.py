# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest, or on this machine: samples the kernel's own count of page cache that nothing maps.

Every ARGS["interval"] seconds until the file ARGS["stop"] exists; prints JSON with the peak in bytes, when it was, how many
samples there were and the longest time between two, and a line of [seconds, bytes], at most some hundred points.
"""
import json
import os
import time

PAGE = 4096
POINTS = 300


def unmapped(fd):
    text = os.pread(fd, 16384, 0)
    values = []
    for name in (b"\nnr_inactive_file ", b"\nnr_active_file ", b"\nnr_mapped "):
        at = text.index(name) + len(name)
        values.append(int(text[at:text.index(b"\n", at)]))
    return (values[0] + values[1] - values[2]) * PAGE


def main(interval, stop):
    fd = os.open("/proc/vmstat", os.O_RDONLY)
    start = last = time.monotonic()
    points, peak, peak_seconds, longest = [], 0, 0, 0
    while not os.path.exists(stop):
        now, value = time.monotonic(), unmapped(fd)
        longest, last = max(longest, now - last), now
        points.append([round(now - start, 4), value])
        if value > peak:
            peak, peak_seconds = value, now - start
        time.sleep(interval)
    step = max(1, len(points) // POINTS)
    print(json.dumps({"peak_bytes": peak, "peak_seconds": peak_seconds, "samples": len(points),
                      "longest_seconds": longest, "points": points[::step]}))


main(ARGS["interval"], ARGS["stop"])  # noqa: F821, the command server's

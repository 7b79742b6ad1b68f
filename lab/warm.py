# SPDX-License-Identifier: Apache-2.0
"""Keeps what a scenario put into the host's cache there, on hosts that page idle cache out by themselves.

A DAMON thread may reclaim unmapped page cache that was idle for a minute (oracle.damon_state). It is the machine's own and
stays as it is. What is mapped it leaves alone, so held() maps what is resident; but never while pagepact may trim, because
an image that a stranger has mapped is not trimmed. touch_until_seen() makes the thread see all of it used, which starts
its minute anew, before the mapping is let go.
"""
import contextlib
import mmap
import os
import time

from lab import oracle

# Two of the thread's usual 5 s intervals, so that one lies inside whole.
SEEN_SECONDS = 10


class _Mapping:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.view = mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
        # Read-ahead would add to what is held.
        self.view.madvise(mmap.MADV_RANDOM)
        size = len(self.view)
        runs = [(start * oracle.BLOCK, min((start + count) * oracle.BLOCK, size))
                for start, count in oracle.bits_runs(oracle.host_resident(path))]
        self.runs = [(start, end) for start, end in runs if start < end]
        for start, end in self.runs:
            self.view.madvise(oracle.MADV_POPULATE_READ, start, end - start)

    def touch(self):
        for start, end in self.runs:
            self.view[start:end:oracle.BLOCK]


class _Held:
    def __init__(self, images):
        self.mappings = [_Mapping(path) for path in images if os.path.getsize(path)]

    def touch_until_seen(self):
        if not oracle.damon_state():
            return
        end = time.monotonic() + SEEN_SECONDS
        while time.monotonic() < end:
            for mapping in self.mappings:
                mapping.touch()
            time.sleep(0.1)


@contextlib.contextmanager
def held(images):
    """What the host caches of these files stays cached meanwhile."""
    kept = _Held(images)
    try:
        yield kept
    finally:
        for mapping in kept.mappings:
            mapping.view.close()

# SPDX-License-Identifier: Apache-2.0
"""Keeps what a scenario put into the host's cache there, on hosts that page idle cache out by themselves.

A DAMON thread may reclaim unmapped page cache that was idle for a minute (oracle.damon_state). It is the machine's own and
stays as it is. What is mapped it leaves alone: held() maps what is resident while pagepact has nothing to trim, for an
image that a stranger has mapped is never trimmed. touch_until_seen() makes the thread see all of it used, which starts
its minute anew, before the mapping is let go.
"""
import contextlib
import mmap
import os
import time

from lab import oracle

MADV_POPULATE_READ = 22
# Two of the thread's usual 5 s intervals, so that one lies inside whole.
SEEN_SECONDS = 10


def _map_resident(path):
    with open(path, "rb") as file:
        view = mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
    pages = len(view) // oracle.BLOCK
    for start, count in oracle.bits_runs(oracle.host_resident(path)):
        if min(count, pages - start) > 0:
            view.madvise(MADV_POPULATE_READ, start * oracle.BLOCK, min(count, pages - start) * oracle.BLOCK)
    return view


@contextlib.contextmanager
def held(images):
    """What the host caches of these files stays cached meanwhile."""
    views = [_map_resident(path) for path in images if os.path.getsize(path)]
    try:
        yield
    finally:
        for view in views:
            view.close()


def touch_until_seen(images):
    if not oracle.damon_state():
        return
    holding = oracle.host_holding(images)
    end = time.monotonic() + SEEN_SECONDS
    while time.monotonic() < end:
        oracle.touch(holding)

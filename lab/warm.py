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
import threading
import time

from lab import oracle

MADV_COLD = 20

# Two of the thread's usual 5 s intervals, so that one lies inside whole.
SEEN_SECONDS = 10
TOUCH_SECONDS = 0.5


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


class Followed:
    """An image whose cache on the host is the kernel's to keep or not, but not the DAMON thread's to take: what is
    there is mapped, and looks as unused by that as it was before. follow() has to be called again and again."""

    def __init__(self, path):
        self.path, self._known = path, 0
        with open(path, "rb") as file:
            self._view = mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
        self._view.madvise(mmap.MADV_RANDOM)

    def follow(self):
        """The blocks that are cached; those that were not, or not mapped, are mapped now."""
        resident = oracle.host_resident(self.path)
        for start, count in oracle.bits_runs(resident & ~self._known):
            for advice in (oracle.MADV_POPULATE_READ, MADV_COLD):
                self._view.madvise(advice, start * oracle.BLOCK, count * oracle.BLOCK)
        self._known = resident
        return resident

    def close(self):
        self._view.close()


@contextlib.contextmanager
def held(images):
    """What the host caches of these files stays cached meanwhile."""
    kept = _Held(images)
    try:
        yield kept
    finally:
        for mapping in kept.mappings:
            mapping.view.close()


@contextlib.contextmanager
def whole(path):
    """All of this file is cached meanwhile, for it is used all the time; the bytes that were not before. What the host's
    threads take all the same is read again here, and seen by a Witness."""
    cached, ended = oracle.host_resident(path).bit_count() * oracle.BLOCK, threading.Event()
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as view:
        view.madvise(oracle.MADV_POPULATE_READ)

        def use():
            while not ended.wait(TOUCH_SECONDS):
                view[::oracle.BLOCK]
        user = threading.Thread(target=use)
        user.start()
        try:
            yield len(view) - cached
        finally:
            ended.set()
            user.join()

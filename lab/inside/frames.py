# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: what /proc/kpageflags (Documentation/admin-guide/mm/pagemap.rst) says of each superpage of 2 MiB.

Looks before and after ARGS["agent"] does, and with ARGS["drop"] once more, when the kernel has dropped all that it can. Prints
JSON, [before, what the agent said, after, the last]; of a look "reclaimable", the numbers of those that hold nothing but free pages
and clean, unmapped page cache; "free", of those that hold nothing; "empty", of those without page cache; "beside_own", of those
that would be reclaimable but for processes' memory, such as this one's; "spoiled", how many would be reclaimable but for SPOILERS_MAX
pages at most that can be moved; "cache_pages", such cache anywhere, and "within_pages", in those superpages.
"""
import json
import os
import subprocess
from collections import Counter

PAGES, SPOILERS_MAX = 512, 32
LOCKED, UPTODATE, DIRTY, LRU, WRITEBACK, BUDDY, MMAP, ANON, SWAPBACKED, TAIL, UNEVICTABLE, PRIVATE = (
    1 << n for n in (0, 3, 4, 5, 8, 10, 11, 12, 14, 16, 18, 35))
AGAINST = LOCKED | DIRTY | WRITEBACK | MMAP | ANON | SWAPBACKED | UNEVICTABLE


def is_cache(flags):
    # Of a page with buffers the flag says nothing.
    return flags & LRU and flags & (UPTODATE | PRIVATE) and not flags & AGAINST


def is_movable(flags):
    return flags & (LRU | ANON) and not is_cache(flags) and (flags & ANON or not flags & (LOCKED | WRITEBACK | UNEVICTABLE))


def whole(words):
    """The flags of a large folio stand in its first page."""
    head = 0
    for flags in words:
        if not flags & TAIL:
            head = flags
        yield head if flags & TAIL else flags


def look(words):
    """(free pages, pages of evictable cache, others that can be moved) of one superpage."""
    count = Counter(whole(words) if any(flags & TAIL for flags in set(words)) else words)
    return (sum(n for flags, n in count.items() if flags & BUDDY), sum(n for flags, n in count.items() if is_cache(flags)),
            sum(n for flags, n in count.items() if is_movable(flags)))


def look_at_all():
    found = {"reclaimable": [], "free": [], "empty": [], "beside_own": [], "spoiled": 0, "cache_pages": 0, "within_pages": 0}
    fd = os.open("/proc/kpageflags", os.O_RDONLY)
    number = 0
    while data := os.read(fd, PAGES * 8):
        words = memoryview(data).cast("Q").tolist()
        nothing, cache, movable = look(words)
        found["cache_pages"] += cache
        if nothing == PAGES:
            found["free"].append(number)
        # Other than this process's own memory, which goes where there is room.
        if not any(flags & LRU and not flags & (ANON | SWAPBACKED | MMAP) for flags in set(words)):
            found["empty"].append(number)
        if nothing + cache + sum(flags & ANON != 0 for flags in words) == PAGES:
            found["beside_own"].append(number)
        if nothing + cache == PAGES:
            found["reclaimable"].append(number)
            found["within_pages"] += cache
        found["spoiled"] += 0 < movable <= SPOILERS_MAX and nothing + cache + movable == PAGES
        number += 1
    os.close(fd)
    return found


def told(agent):
    return json.loads(subprocess.run([agent, "--once", "--json"], check=True, capture_output=True).stdout)


# In one process, whose own pages are in use in both looks.
looks = [look_at_all(), told(ARGS["agent"]), look_at_all()]  # noqa: F821
if ARGS["drop"]:  # noqa: F821
    with open("/proc/sys/vm/drop_caches", "w") as drop:
        drop.write("1")
    looks.append(look_at_all())
print(json.dumps(looks))

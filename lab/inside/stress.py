# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: processes that take, touch and let go of memory at random, ARGS["bytes"] together at most, and one
that reads the pieces ARGS["pieces"] over and over, until the file ARGS["stop"] exists.

They rest for six times as long as they work. What the kernel kills is started anew; prints JSON with how often it did.
"""
import json
import mmap
import os
import random
import time

EATERS = 3
PAGE = 4096
REST = 6


def take(draw, most):
    size = draw.randrange(1, most // PAGE) * PAGE
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[::PAGE] = b"x" * (size // PAGE)
    return memory


def eat(seed, stop, most):
    draw, rounds = random.Random(seed), 0
    while not os.path.exists(stop):
        start = time.monotonic()
        memory = take(draw, most)
        time.sleep(REST * (time.monotonic() - start) + draw.random() / 2)
        memory.close()
        rounds += 1
    return rounds


def read(stop, pieces):
    buffer, rounds = bytearray(1 << 20), 0
    while not os.path.exists(stop):
        path, offset, length = pieces[rounds % len(pieces)]
        fd = os.open(path, os.O_RDONLY)
        for at in range(offset, offset + length, len(buffer)):
            if os.path.exists(stop):
                break
            start = time.monotonic()
            os.preadv(fd, [buffer], at)
            time.sleep(REST * (time.monotonic() - start) + 0.02)
        os.close(fd)
        rounds += 1
    return rounds


def begin(work, *args):
    """A process of its own that the kernel may kill; it ends with 0 when it has done."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        with open("/proc/self/oom_score_adj", "w") as adjust:
            adjust.write("0")
        work(*args)
        status = 0
    finally:
        os._exit(status)


def main(args):
    stop = args["stop"]
    works = [(eat, n, stop, args["bytes"] // EATERS) for n in range(EATERS)] + [(read, stop, args["pieces"])]
    running, killed = {begin(*work): work for work in works}, 0
    while running:
        pid, status = os.wait()
        work = running.pop(pid)
        if os.WIFSIGNALED(status):
            killed += 1
            running[begin(*work)] = work
        elif status:
            raise RuntimeError(f"{work[0].__name__} failed")
    print(json.dumps({"killed": killed}))


main(ARGS)  # noqa: F821, the command server's

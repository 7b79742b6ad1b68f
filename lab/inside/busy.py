# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: a server's day: reads pieces of a large set of files, some often and most seldom, and computes, until the
file ARGS["stop"] exists. Which piece is next is drawn with weights 1/rank from a fixed seed: how long a piece rests before it is
read again ranges from a second to hours.

ARGS: "files", paths; "piece", bytes; "pieces" of each file; "rate", reads a second. Prints JSON: reads, and their bytes.
"""
import bisect
import itertools
import json
import os
import random
import time


def main(args):
    draw = random.Random(1)
    places = [(path, n * args["piece"]) for path in args["files"] for n in range(args["pieces"])]
    draw.shuffle(places)
    weights = list(itertools.accumulate(1 / rank for rank in range(1, len(places) + 1)))
    fds = {path: os.open(path, os.O_RDONLY) for path in args["files"]}
    buffer = [bytearray(args["piece"])]
    reads, due = 0, time.monotonic()
    while not os.path.exists(args["stop"]):
        path, offset = places[bisect.bisect(weights, draw.random() * weights[-1])]
        os.preadv(fds[path], buffer, offset)
        reads += 1
        sum(range(20000))
        due += 1 / args["rate"]
        time.sleep(max(0, due - time.monotonic()))
    print(json.dumps({"reads": reads, "bytes": reads * args["piece"]}))


main(ARGS)  # noqa: F821, the command server's

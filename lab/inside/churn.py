# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: what ages its memory, for ARGS["seconds"]: files are read, made and removed, memory comes and goes.

ARGS: tree, a folder whose files are read; folder, of many.py, with its folders and each; seed. Prints {"rounds"}.
"""
import json
import os
import random
import time

READ, CHANGED, HELD = 100, 50, 8
MOST_BYTES = 24 << 20


def read(path):
    try:
        with open(path, "rb", 0) as file:
            while file.read(1 << 17):
                pass
    except OSError:
        pass


def change(path, draw):
    """Another file takes its place; some of those before it are gone for a while."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        with open(path, "wb", 0) as file:
            file.write(bytes(draw.randrange(1, 16) * 1024))


def main(args):
    draw, held, rounds = random.Random(args["seed"]), [], 0
    files = [f"{top}/{name}" for top, _, names in os.walk(args["tree"]) for name in names]
    end = time.monotonic() + args["seconds"]
    while time.monotonic() < end:
        for path in draw.sample(files, min(READ, len(files))):
            read(path)
        for _ in range(CHANGED):
            change(f"{args['folder']}/{draw.randrange(args['folders']):03}/{draw.randrange(args['each']):03}", draw)
        # Bytes are written to as they are made; what is held longest goes at random.
        held.append(bytearray(b"x") * draw.randrange(MOST_BYTES))
        if len(held) > HELD:
            held.pop(draw.randrange(len(held)))
        rounds += 1
    print(json.dumps({"rounds": rounds}))


main(ARGS)  # noqa: F821

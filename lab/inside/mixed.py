# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: a piece of mixed work, always the same amount: compiling, reading again, reading anew, writing, small files.

ARGS: "again", paths that every piece reads; "pieces", [path, offset, length] that nobody has read yet; "small", paths of small
files. Prints JSON with the seconds that it took, and the CPU time of all of the guest as the scheduler counted it.
"""
import json
import os
import subprocess
import time

FOLDER = "/srv/mixed"
WRITTEN_BYTES = 16 << 20
CREATED_FILES = 200
SOURCES = 2

SOURCE = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#define WORK(n) static int work##n(const char *s, int k) { char b[64]; int sum = 0; \\
\tfor (int i = 0; i < k; i++) { snprintf(b, sizeof(b), "%d%s", i * n, s); sum += (int)strlen(b) * b[i % 5]; } \\
\treturn sum; }
"""


def cpu_seconds():
    """What ran on all CPUs, in the scheduler's own count: exact, where /proc/stat counts ticks."""
    with open("/proc/schedstat") as stat:
        return sum(int(line.split()[7]) for line in stat if line.startswith("cpu")) / 1e9


def read_file(path, offset=0, length=1 << 62, buffer=bytearray(256 * 1024)):
    fd = os.open(path, os.O_RDONLY)
    while length > 0:
        count = os.preadv(fd, [memoryview(buffer)[:min(length, len(buffer))]], offset)
        if not count:
            break
        offset += count
        length -= count
    os.close(fd)


def compile_some():
    for n in range(SOURCES):
        path = f"{FOLDER}/unit{n}.c"
        with open(path, "w") as out:
            out.write(SOURCE + "".join(f"WORK({i})\n" for i in range(40)) +
                      f"int unit{n}(void) {{ return " + " + ".join(f'work{i}("x", {i})' for i in range(40)) + "; }\n")
        subprocess.run(["gcc", "-O1", "-c", "-o", f"{FOLDER}/unit{n}.o", path], check=True, env={"PATH": "/usr/bin:/bin"})


def write_some():
    piece = os.urandom(1 << 20)
    with open(f"{FOLDER}/written", "wb", 0) as out:
        for _ in range(WRITTEN_BYTES >> 20):
            out.write(piece)
    for n in range(CREATED_FILES):
        with open(f"{FOLDER}/small{n}", "wb", 0) as out:
            out.write(piece[:3000])
    for n in range(CREATED_FILES):
        os.unlink(f"{FOLDER}/small{n}")


def main(args):
    os.makedirs(FOLDER, exist_ok=True)
    start, cpu = time.monotonic(), cpu_seconds()
    compile_some()
    for path in args["again"] + args["small"]:
        read_file(path)
    for piece in args["pieces"]:
        read_file(*piece)
    write_some()
    print(json.dumps({"seconds": time.monotonic() - start, "cpu_seconds": cpu_seconds() - cpu}))


main(ARGS)  # noqa: F821, the command server's

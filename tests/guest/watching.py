# SPDX-License-Identifier: Apache-2.0
"""How tests drive watch-tool, in guests and on this machine: it reads FOLDER/in and answers to FOLDER/out."""
import json
import os
import time

PAGE = 4096
COMMAND = "mkfifo {0}/in {0}/out && exec {1} <>{0}/in 1<>{0}/out 2>{0}/log"


def say(folder, line):
    fd = os.open(f"{folder}/in", os.O_WRONLY)
    os.write(fd, line.encode() + b"\n")
    os.close(fd)


def hear(folder):
    fd = os.open(f"{folder}/out", os.O_RDONLY)
    text = b""
    while not text.endswith(b"\n"):
        text += os.read(fd, 65536)
    os.close(fd)
    return json.loads(text)


def ask(folder, line):
    say(folder, line)
    return hear(folder)


def read_until_woken(folder, path, pages, enough):
    """Read a file page by page while the tool waits; seconds from the page that was enough to the wake-up, or None."""
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    say(folder, "wait 20000")
    for page in range(pages):
        os.pread(fd, 1, page * PAGE)
        if page == enough:
            passed = time.monotonic()
    os.close(fd)
    answer = hear(folder)
    return answer["usec"] / 1e6 - passed if answer["woken"] else None


def remove(path):
    os.unlink(path)


def read_for(path, seconds):
    """Read a cached file over and over, as fast as may be."""
    fd = os.open(path, os.O_RDONLY)
    size = os.fstat(fd).st_size
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for at in range(0, size, 1 << 20):
            os.pread(fd, 1 << 20, at)
    os.close(fd)


def hollow(path, pages):
    """A file of holes, which take no time to write and are cached like any others when they are read."""
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    os.truncate(fd, pages * PAGE)
    os.close(fd)
    return path

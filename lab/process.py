# SPDX-License-Identifier: Apache-2.0
"""Child processes that end with the lab, and waiting with a deadline."""
import os
import signal
import subprocess
import time


class Deadline(Exception):
    """A condition did not come true in time."""


def wait_for(condition, seconds, what):
    """The first true value of condition(); Deadline, naming `what`, when there is none in time."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Deadline(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def start(argv, log, **options):
    """Start a program that the kernel kills when the thread that called this dies, even by SIGKILL."""
    with open(log, "ab") as out:
        return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *map(str, argv)], stdin=subprocess.DEVNULL,
                                stdout=out, stderr=subprocess.STDOUT, **options)


def stop(process, sig=signal.SIGKILL, seconds=10):
    """End a program of ours, by force where it does not listen."""
    if process is None or process.poll() is not None:
        return
    process.send_signal(sig)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def tail(path, lines=30):
    if not os.path.exists(path):
        return ""
    with open(path, errors="replace") as log:
        return "".join(log.readlines()[-lines:])


def communicate(child, seconds):
    """What it prints until it ends, on both; one that does not end in time is killed."""
    try:
        return child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        raise

# SPDX-License-Identifier: Apache-2.0
"""Swap for the host, where it has none: a zram device, which keeps no more of a page of zeros than a note.

Several programs may want it at the same time: the first makes it, the last takes it away.
"""
import contextlib
import fcntl
import os
import subprocess
from pathlib import Path

from lab.process import wait_for

LEAST_BYTES = 1 << 30
DEVICE, SYSFS = "/dev/zram0", Path("/sys/block/zram0")
OFF_SECONDS = 120
LOCK = Path("/run/lock/pagepact-lab-swap")
NONE = "no swap on this machine"


class NoSwap(Exception):
    """There is none, and none can be made; why."""


def free_bytes():
    with open("/proc/meminfo") as info:
        return next(int(line.split()[1]) for line in info if line.startswith("SwapFree:")) * 1024


def _make():
    if os.geteuid() != 0:
        raise NoSwap(f"{NONE}, and only root can make some")
    if not SYSFS.exists():
        raise NoSwap(f"{NONE}, and no zram device to make some of")
    if (SYSFS / "disksize").read_text().strip() != "0":
        raise NoSwap(f"{NONE}, and its zram device serves somebody else")
    try:
        (SYSFS / "disksize").write_text(str(4 * LEAST_BYTES))
        for words in (("mkswap", DEVICE), ("swapon", DEVICE)):
            subprocess.run(words, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        _unmake()
        raise NoSwap(f"{NONE}, and none can be made of {DEVICE}: {getattr(error, 'stderr', '') or error}".strip()) from error


def _reset():
    try:
        (SYSFS / "reset").write_text("1")
    except OSError:
        return False
    return True


def _unmake():
    subprocess.run(("swapoff", DEVICE), capture_output=True, timeout=OFF_SECONDS)
    wait_for(_reset, OFF_SECONDS, "the zram device is as it was")


def _is_last(lock):
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def enough():
    """This machine has a GiB of free swap; NoSwap where that cannot be had."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with open(LOCK, "a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if free_bytes() < LEAST_BYTES:
            _make()
            lock.write("made")
            lock.flush()
        fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            yield
        finally:
            if _is_last(lock) and LOCK.stat().st_size:
                _unmake()
                lock.truncate(0)

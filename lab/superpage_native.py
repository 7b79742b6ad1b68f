# SPDX-License-Identifier: Apache-2.0
"""Superpages on this machine itself, without emulation: how fast its kernel takes them, and drops them from shared memory."""
import ctypes
import mmap
import os
import re
import time
from pathlib import Path

from lab.report import MIB, table
from lab.superpage_anew import huge_folder

POOL = Path("/proc/sys/vm/nr_hugepages")
BYTES = 1024 * MIB
SUPERPAGE = 2 * MIB
PUNCH = 3  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
_libc = ctypes.CDLL(None, use_errno=True)


def _timed(function):
    start = time.monotonic()
    function()
    return time.monotonic() - start


def _pool():
    """(seconds to take BYTES, seconds to give them back); (None, None) where somebody uses the pool, or that much is not to
    be had."""
    if int(POOL.read_text()):
        return None, None
    wanted = BYTES // SUPERPAGE
    try:
        taken = _timed(lambda: POOL.write_text(str(wanted)))
        got = int(POOL.read_text())
    finally:
        given = _timed(lambda: POOL.write_text("0"))
    return (taken, given) if got == wanted else (None, None)


def _punch(fd):
    for at in range(0, BYTES, SUPERPAGE):
        if _libc.fallocate(fd, PUNCH, ctypes.c_long(at), ctypes.c_long(SUPERPAGE)):
            raise OSError(ctypes.get_errno(), "fallocate")


def _file(fd):
    """(seconds to drop BYTES by whole superpages, how many bytes of them were huge pages, how many are left)"""
    with open(fd, "r+b", buffering=0) as file:
        file.truncate(BYTES)
        with mmap.mmap(fd, BYTES) as memory:
            for at in range(0, BYTES, 4096):
                memory[at] = 1
            text = Path("/proc/self/smaps").read_text()
            mapped = sum(int(kb) * 1024 for kb in re.findall(r"^ShmemPmdMapped: +(\d+) kB", text, re.M))
        return _timed(lambda: _punch(fd)), mapped, os.fstat(fd).st_blocks * 512


def _speed(seconds):
    return BYTES / seconds / (1 << 30) if seconds else None


def native(lab, report):
    report.head("Without emulation, on this machine: 1 GiB by whole superpages")
    taken, given = _pool()
    small, _, left = _file(os.memfd_create("pages"))
    with huge_folder(lab.directory) as folder:
        large, mapped, left_huge = _file(os.open(folder / "superpages", os.O_RDWR | os.O_CREAT, 0o600))
    rows = [("hugetlb_pool_takes", taken), ("hugetlb_pool_gives", given), ("file_of_pages_punched", small),
            ("file_of_superpages_punched", large if mapped == BYTES else None)]
    for name, seconds in rows:
        report.measure(f"native_{name}_gib_per_second", _speed(seconds))
    report.measure("native_file_huge_bytes", mapped)
    report.say(table(("", "GiB/s"), [(name, f"{_speed(seconds):.1f}" if seconds else "-") for name, seconds in rows]))
    report.check("native_left_bytes", report.measure("native_left_bytes", left + left_huge), "== 0")

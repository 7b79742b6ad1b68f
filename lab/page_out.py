# SPDX-License-Identifier: Apache-2.0
"""What the daemon has the host's kernel do with superpages, done by hand: found in QEMU's memory, paged out, looked at."""
import ctypes
import mmap
import os
import re
from pathlib import Path

SUPERPAGE = 2 << 20
PAGE = 4096
MADV_PAGEOUT, PROCESS_MADVISE, PIDFD_OPEN = 21, 440, 434
LIBC = ctypes.CDLL(None, use_errno=True)


def numbers(runs):
    """The superpages of an agent's answer, one by one."""
    return [start + n for start, count in runs for n in range(count)]


def addresses(guest, superpages):
    """Where each of these lies in QEMU's memory, by QEMU's word."""
    found = {}
    for number in superpages:
        text = guest.qmp("human_monitor_command", command_line=f"gpa2hva {number * SUPERPAGE:#x}")
        found[number] = int(re.search(r"is (0x[0-9a-f]+)", text)[1], 16)
    return found


def page_out(pid, where):
    """Superpages at these addresses of a process."""
    fd = LIBC.syscall(PIDFD_OPEN, pid, 0)
    try:
        ranges = (ctypes.c_size_t * (2 * len(where)))(*(word for at in where for word in (at, SUPERPAGE)))
        done = LIBC.syscall(PROCESS_MADVISE, fd, ranges, ctypes.c_size_t(len(where)), MADV_PAGEOUT, 0)
    finally:
        os.close(fd)
    if done != len(where) * SUPERPAGE:
        raise OSError(ctypes.get_errno(), f"only {done} bytes: {os.strerror(ctypes.get_errno())}")


def _areas(pid):
    """(start, end, offset, path of the file) of shared memory that a process has mapped."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        words = line.split(None, 5)
        if len(words) == 6 and words[5].startswith("/memfd:"):
            start, end = (int(word, 16) for word in words[0].split("-"))
            yield start, end, int(words[2], 16), f"/proc/{pid}/map_files/{words[0]}"


def present(pid, at):
    """How many pages of the superpage at this address of a process are in the host's memory."""
    start, _, offset, path = next(area for area in _areas(pid) if area[0] <= at < area[1])
    vector = ctypes.create_string_buffer(SUPERPAGE // PAGE)
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), SUPERPAGE, offset=at - start + offset) as view:
        base = ctypes.c_char.from_buffer(view)
        failed = LIBC.mincore(ctypes.c_void_p(ctypes.addressof(base)), ctypes.c_size_t(SUPERPAGE), vector)
        del base
    if failed:
        raise OSError(ctypes.get_errno(), "mincore")
    return sum(byte & 1 for byte in vector.raw)

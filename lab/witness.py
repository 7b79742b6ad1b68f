# SPDX-License-Identifier: Apache-2.0
"""What took which block of an image out of the host's page cache: processes, or the kernel's own threads.

It is the kernel's tracepoint that tells, with the pid of whoever did it.

A host may reclaim idle cache by itself (kswapd, or a DAMON thread that pages it out within minutes). Without a witness
that would be taken for pagepact's doing, and for a cost of it.
"""
import os
import re
import subprocess
from pathlib import Path

from lab.oracle import BLOCK, run_bits

EVENT = "events/filemap/mm_filemap_delete_from_page_cache"
LINE = re.compile(r"^\s*.+-(?P<pid>\d+)\s+\[\d+\].*: dev (?P<dev>\d+:\d+) ino (?P<ino>[0-9a-f]+) pfn=\S+ "
                  r"ofs=(?P<offset>\d+)(?: order=(?P<order>\d+))?$")
BUFFER_KIB = 16384


def _kernel_threads():
    """Their pids: children of kthreadd, which is process 2."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if stat.read_text().rpartition(")")[2].split()[1] == "2":
                found.add(int(stat.parent.name))
        except OSError:
            continue
    return found


class Witness:
    """From creation to close(); `directory` is where tracefs may be mounted."""

    def __init__(self, directory, images):
        self._mounted = Path(directory) / "tracing"
        self._mounted.mkdir()
        subprocess.run(["mount", "-t", "tracefs", "tracefs", self._mounted], check=True)
        self._instance = self._mounted / "instances" / f"pagepact-lab-{os.getpid()}"
        self._instance.mkdir()
        self._paths, numbers = {}, []
        for path in map(str, images):
            info = os.stat(path)
            self._paths[f"{os.major(info.st_dev)}:{os.minor(info.st_dev)}", info.st_ino] = path
            numbers.append(f"i_ino == {info.st_ino}")
        self._threads = _kernel_threads()
        self.by_processes, self.by_machine = {}, {}  # {image path: blocks that left}
        (self._instance / "buffer_size_kb").write_text(str(BUFFER_KIB))
        (self._instance / EVENT / "filter").write_text(" || ".join(numbers))
        (self._instance / EVENT / "enable").write_text("1")

    def look(self):
        """Take in what happened since the last look."""
        text = (self._instance / "trace").read_text(errors="replace")
        (self._instance / "trace").write_text("")
        for match in filter(None, map(LINE.match, text.splitlines())):
            path = self._paths.get((match["dev"], int(match["ino"], 16)))
            if path:
                taken = self.by_machine if int(match["pid"]) in self._threads else self.by_processes
                bits = run_bits(int(match["offset"]) // BLOCK, 1 << int(match["order"] or 0))
                taken[path] = taken.get(path, 0) | bits

    def close(self):
        """The last look; what was seen stays."""
        self.look()
        (self._instance / EVENT / "enable").write_text("0")
        self._instance.rmdir()
        subprocess.run(["umount", self._mounted], check=True)

# SPDX-License-Identifier: Apache-2.0
"""Files of a guest that are written, truncated, replaced and read without end, each of their bytes known.

    work = Work(guest, {"ext4": "/mnt/ext4/work", "xfs": "/mnt/xfs/work"}, seconds)
    ...                                   # have the guest evict from its cache
    found = work.end()                    # "wrong" is empty, or says what differed
    guest.kill()
    wrong = on_disk(image, "ext4", found["files"], "/mnt/ext4")
"""
import json
import subprocess
import tempfile
import time
import zlib
from pathlib import Path

from lab import process, wire, workload

MIB = 1 << 20
STATIC_BYTES = 8 * MIB
WRITERS = 2


class Work:
    """Goes on from here, for some seconds."""
    _count = 0

    def __init__(self, guest, folders, seconds, seed=1):
        Work._count += 1
        self.guest, self.seconds, self.begun = guest, seconds, time.monotonic()
        self._stop = stop = f"/run/lab/stop-work-{Work._count}-{time.monotonic_ns()}"
        self._ident = guest.begin_python(workload.source("integrity.py"), {
            "folders": list(folders.values()), "seconds": seconds, "seed": seed, "writers": WRITERS,
            "static_bytes": STATIC_BYTES, "stop": stop})
        process.wait_for(lambda: guest.run(f"ls {stop}.warm 2>/dev/null || true"), 90, "the files are made")
        self.due = time.monotonic() + seconds

    def is_due(self):
        return time.monotonic() >= self.due

    def end(self):
        """{"operations": {kind: count}, "wrong": [...], "files": {path: [size, crc]}}, after the last comparison in the guest."""
        self.guest.run(f"touch {self._stop}")
        return json.loads(self.guest.finish(self._ident, max(1, self.due - time.monotonic()) + 120))


class Evictor:
    """Has the agent of a guest evict under a limit, and kills it when it rests: files that are worked on are read again."""

    def __init__(self, guest, link, size):
        self.guest, self.link, self.size = guest, link, size
        self.killed = self._before = 0
        self._report = link.limit(wire.LIMIT_BYTES, size=size)

    @property
    def evicted(self):
        """Bytes, by all agents so far, as last seen."""
        return self._before + self._report["evicted_bytes"]

    def _answers(self):
        try:
            self.link.ping(1)
            return True
        except TimeoutError:
            return False

    def _kill(self):
        self.guest.run("pkill -KILL -x pagepact-agent || true")
        self.killed, self._before = self.killed + 1, self.evicted
        process.wait_for(self._answers, 60, "a new agent answers")
        self._report = self.link.limit(wire.LIMIT_BYTES, size=self.size)

    def evict_until(self, condition, seconds):
        def ended():
            if condition():
                return True
            self._report = self.link.report()
            if self._report["limit_state"] == "braked" and self._report["brake"] != "quota":
                self._kill()
            return False
        process.wait_for(ended, seconds, "evicting")


def _differing(found, root, files, where):
    wrong = []
    for path, known in sorted(files.items()):
        if not path.startswith(where + "/"):
            continue
        data = (Path(root) / path[len(where) + 1:]).read_bytes()
        found.append(path)
        if [len(data), zlib.crc32(data)] != known:
            wrong.append(f"{path} is not on the disk what it was in the guest: {len(data)} bytes")
    return wrong


def on_disk(image, kind, files, where):
    """
    (files compared, what differs) of a file system that a guest had mounted at `where`, after the guest has ended. None for a
    file system that this machine cannot look into: an xfs where it may not be mounted.
    """
    found = []
    with tempfile.TemporaryDirectory(dir=Path(image).parent) as root:
        if kind == "ext4":
            # Without a mount: a sandbox may have none. 1: the journal was replayed.
            if subprocess.run(["e2fsck", "-fp", image], capture_output=True).returncode not in (0, 1):
                return 0, [f"e2fsck finds {image} damaged"]
            subprocess.run(["debugfs", "-R", f"rdump / {root}", image], check=True, capture_output=True)
            wrong = _differing(found, root, files, where)
            return len(found), wrong
        if subprocess.run(["mount", "-t", kind, "-o", "loop", image, root], capture_output=True).returncode:
            return None
        try:
            wrong = _differing(found, root, files, where)
        finally:
            subprocess.run(["umount", root], check=True)
    return len(found), wrong

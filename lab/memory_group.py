# SPDX-License-Identifier: Apache-2.0
"""A host of limited memory: a memory control group for QEMU and for the page cache that it fills.

    with MemoryGroup("wave", 2800 * MIB) as group:
        lab.guest("alpha", inside=group.prefix)
"""
import contextlib
import os
import subprocess
from pathlib import Path

V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
PREFIX = "pagepact-lab-"


def _remove(path):
    """Unless somebody is still in it: then the next run does."""
    with contextlib.suppress(OSError):
        path.rmdir()


class MemoryGroup:
    def __init__(self, name, limit_bytes):
        self.unified = not V1.is_dir()
        self.path = (V2 if self.unified else V1) / f"{PREFIX}{name}-{os.getpid()}"
        self.limit_bytes = limit_bytes

    def __enter__(self):
        for old in self.path.parent.glob(f"{PREFIX}*"):
            if not Path(f"/proc/{old.name.rpartition('-')[2]}").exists():
                _remove(old)
        if self.unified:
            (V2 / "cgroup.subtree_control").write_text("+memory")
        self.path.mkdir()
        (self.path / ("memory.max" if self.unified else "memory.limit_in_bytes")).write_text(str(self.limit_bytes))
        return self

    def __exit__(self, *_):
        _remove(self.path)

    @property
    def prefix(self):
        """Words before a command line that runs it in this group: what it reads is charged to it."""
        return ["sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self.path / "cgroup.procs")]

    def run(self, argv, **options):
        return subprocess.run([*self.prefix, *map(str, argv)], check=True, **options)

    def empty(self):
        """Give up the page cache charged to it by whoever is no longer there."""
        if self.unified:
            # EAGAIN: less was reclaimed than was asked for, because no more is charged.
            with contextlib.suppress(BlockingIOError):
                (self.path / "memory.reclaim").write_text(str(self.limit_bytes))
        else:
            (self.path / "memory.force_empty").write_text("0")

    def charged_bytes(self):
        """All that its limit limits."""
        return int((self.path / ("memory.current" if self.unified else "memory.usage_in_bytes")).read_text())

    def oom_kills(self):
        """How often the kernel killed in it."""
        text = (self.path / ("memory.events" if self.unified else "memory.oom_control")).read_text()
        return int(dict(map(str.split, text.splitlines()))["oom_kill"])

# SPDX-License-Identifier: Apache-2.0
"""A guest's state at one moment, kept as files: each run that begins from it begins the same, and without a boot.

    guest = lab.guest("once", **options)
    frozen = Frozen(guest, directory, **options)       # the guest has ended then
    frozen.thaw(lab, "again")                          # another that goes on from there

The state is QEMU's own migration stream and a copy of the disk. Two things it does not tell are noted beside it and
made so again: which of the guest's memory the host held none of (loading a stream looks at such pages, and looking
fills them), and what the host cached of the image, which is part of what a run begins with.
"""
import ctypes
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from lab import oracle, process

FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE = 1, 2
STATE_SECONDS = 120
PIECE_BYTES = 1 << 20
UNLIMITED = 1 << 40
ROOT = Path(__file__).resolve().parent.parent
READ = "import sys; sys.path.insert(0, sys.argv[1]); from lab import frozen; frozen.read_runs(sys.argv[2])"

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]


def _holes(fd):
    """[(offset, length)] where a file has nothing."""
    size, found, at = os.fstat(fd).st_size, [], 0
    while at < size:
        start = os.lseek(fd, at, os.SEEK_HOLE)
        try:
            at = os.lseek(fd, start, os.SEEK_DATA)
        except OSError:  # nothing but a hole to the end
            at = size
        if start < at:
            found.append((start, at - start))
    return found


def _punch(fd, holes):
    for offset, length in holes:
        if _libc.fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, offset, length):
            raise OSError(ctypes.get_errno(), "fallocate")


def forget(path):
    """Have the host cache nothing of a file that nobody writes to."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_runs(path):
    """What the file at `path` says: the image is its first line, each other one a block and how many from there on."""
    with open(path) as lines:
        image, *runs = lines.read().splitlines()
    buffer = memoryview(bytearray(PIECE_BYTES))
    with open(image, "rb", 0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for start, count in (map(int, run.split()) for run in runs):
            end = (start + count) * oracle.BLOCK
            for at in range(start * oracle.BLOCK, end, PIECE_BYTES):
                os.preadv(file.fileno(), [buffer[:end - at]], at)


def _wait_migrated(guest):
    def done():
        status = guest.qmp("query_migrate").get("status")
        if status in ("failed", "cancelled"):
            raise RuntimeError(f"the state of {guest.name}: {status}")
        return status == "completed"
    process.wait_for(done, STATE_SECONDS, f"the state of {guest.name} is moved")


class Frozen:
    """options: those that the guest was made with, but for where it runs (inside)."""

    def __init__(self, guest, directory, **options):
        self.options = options
        self.directory = Path(directory)
        self.directory.mkdir()
        self._base, self._stream = guest.base, self.directory / "state"
        guest.pause()
        self._save_ram_holes(guest)
        cached = oracle.bits_runs(oracle.host_resident(guest.base))
        (self.directory / "cached").write_text("\n".join([str(guest.base), *(f"{a} {n}" for a, n in cached)]))
        self._save_stream(guest)
        guest.kill()
        self._disk = self.directory / guest.disk.name
        shutil.copy(guest.disk, self._disk)

    def _save_ram_holes(self, guest):
        path, = guest.ram_files().values()
        fd = os.open(path, os.O_RDONLY)
        self.holes = _holes(fd)
        os.close(fd)

    def _save_stream(self, guest):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.directory / "save.sock"))
        listener.listen()
        guest.qmp("migrate_set_parameters", max_bandwidth=UNLIMITED)
        guest.qmp("migrate", uri=f"unix:{self.directory / 'save.sock'}")
        taken, _ = listener.accept()
        with listener, taken, open(self._stream, "wb") as out:
            while data := taken.recv(1 << 20):
                out.write(data)
        _wait_migrated(guest)

    def thaw(self, lab, name, group=None):
        """A guest that goes on from here, with the host's cache as it was: charged to the group, where there is one."""
        folder = lab.directory / name
        folder.mkdir()
        shutil.copy(self._disk, folder)
        forget(folder / self._disk.name)
        forget(self._base)
        guest = lab.guest(name, incoming=True, inside=group.prefix if group else (), **self.options)
        process.wait_for(lambda: guest.alive and guest.lab_qmp_path.exists(), STATE_SECONDS, f"QEMU of {name} starts")
        self._load_stream(guest)
        path, = guest.ram_files().values()
        fd = os.open(path, os.O_RDWR)
        _punch(fd, self.holes)
        os.close(fd)
        subprocess.run([*(group.prefix if group else ()), sys.executable, "-B", "-c", READ, str(ROOT),
                        str(self.directory / "cached")], check=True)
        guest.cont()
        guest.wait_ready()
        return guest

    def _load_stream(self, guest):
        path = guest.directory / "load.sock"
        guest.qmp("migrate_incoming", uri=f"unix:{path}")
        with socket.socket(socket.AF_UNIX) as feed, open(self._stream, "rb") as stream:
            feed.connect(str(path))
            feed.sendfile(stream)
        _wait_migrated(guest)

# SPDX-License-Identifier: Apache-2.0
"""A read-only disk with more data than any guest's memory: large files to be read once each, and many small ones.

The large files' extents are allocated and initialised as those of any file are, but the image is sparse: reading them costs
the guest a real read from its disk, and the host neither storage nor (past its cache) memory.

    guest = lab.guest("alpha", shared_disks=[stream.image()])
    files = Stream(guest)
    files.take(512 * MIB)      # pieces [path, offset, length] that nobody has read yet
"""
import os
import re
import shutil
import struct
import subprocess

from lab import cache

MIB = 1 << 20
BLOCK = 4096
FILES = 64
FILE_BYTES = 512 * MIB
SMALL_FILES = 10000
MOUNT = "/mnt/stream"
INPUTS = {"recipe": 1, "files": FILES, "bytes": FILE_BYTES, "small": SMALL_FILES}

# An extent that is not initialised has this added to its length (EXT_INIT_MAX_LEN in fs/ext4/ext4_extents.h).
_UNINIT = 0x8000
_EXTENT_MAGIC = 0xF30A


def _debugfs(image, commands):
    done = subprocess.run(["debugfs", "-w", "-f", "-", image], input="\n".join(commands) + "\n", check=True, text=True,
                          capture_output=True)
    return done.stdout


def _initialise_leaf(disk, block):
    """All extents of one leaf block of a file's tree: from unwritten, as debugfs makes them, to written."""
    leaf = bytearray(os.pread(disk, BLOCK, block * BLOCK))
    magic, entries, _, depth = struct.unpack_from("<HHHH", leaf)
    if magic != _EXTENT_MAGIC or depth:
        raise RuntimeError(f"block {block} of the stream image is no leaf of an extent tree")
    for at in range(12, 12 + 12 * entries, 12):
        length, = struct.unpack_from("<H", leaf, at + 4)
        if length > _UNINIT:
            struct.pack_into("<H", leaf, at + 4, length - _UNINIT)
    os.pwrite(disk, leaf, block * BLOCK)


def _add_large(image):
    names = [f"s{n}" for n in range(FILES)]
    _debugfs(image, [line for name in names for line in (f"write /dev/null {name}",
                                                          f"fallocate {name} 0 {FILE_BYTES // BLOCK - 1}",
                                                          f"set_inode_field {name} size {FILE_BYTES:#x}")])
    told = _debugfs(image, [f"ex {name}" for name in names])
    leaves = [int(block) for block in re.findall(r"^ 0/ 1 +\d+/ +\d+ +\d+ - +\d+ +(\d+) ", told, re.M)]
    disk = os.open(image, os.O_RDWR)
    for block in leaves:
        _initialise_leaf(disk, block)
    os.close(disk)
    left = _debugfs(image, [f"ex {name}" for name in names])
    if len(leaves) < FILES or "Uninit" in left:
        raise RuntimeError("the stream image has extents that are not initialised")


def _build(work):
    tree = work / "tree"
    for n in range(SMALL_FILES):
        folder = tree / "small" / f"{n // 200:03}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{n:05}").write_bytes(os.urandom(2000 + n * 37 % 6000))
    image = work / "stream.raw"
    with open(image, "wb") as disk:
        disk.truncate(FILES * FILE_BYTES + 1024 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal,^metadata_csum", "-m", "0", "-N", str(2 * SMALL_FILES),
                    "-b", str(BLOCK), "-E", "lazy_itable_init=1", "-d", tree, image], check=True)
    shutil.rmtree(tree)
    _add_large(image)
    subprocess.run(["e2fsck", "-fn", image], check=True, capture_output=True)


def image():
    return cache.made("stream", INPUTS, _build) / "stream.raw"


def small_files(count=SMALL_FILES):
    return [f"{MOUNT}/small/{n // 200:03}/{n:05}" for n in range(count)]


class Stream:
    """The disk, mounted in a guest that has it as its only shared disk, and how far it was read."""

    def __init__(self, guest):
        self.guest = guest
        self._at = 0
        device = f"/dev/vd{chr(ord('b') + len(guest.extra_disks))}"
        guest.run(f"mkdir -p {MOUNT} && mount -t ext4 -o ro,noatime {device} {MOUNT}")

    def skip(self, files):
        """Leave so many whole files to somebody else."""
        self._at += files * FILE_BYTES

    def take(self, size):
        """[[path, offset, length]] of the next bytes; from the start again when all were read."""
        pieces = []
        while size:
            number, offset = divmod(self._at, FILE_BYTES)
            length = min(size, FILE_BYTES - offset)
            pieces.append([f"{MOUNT}/s{number % FILES}", offset, length])
            self._at += length
            size -= length
        return pieces

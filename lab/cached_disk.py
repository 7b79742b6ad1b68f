# SPDX-License-Identifier: Apache-2.0
"""A disk of files whose bytes are really on storage, made once: read by the host's cache, both sides come to hold them.

    guest = lab.guest("alpha", cached_disks=[cached_disk.image()])
    files = cached_disk.mount(guest, 24)
"""
import os
import shutil
import subprocess

from lab import cache, oracle

MIB = 1 << 20
FILE_BYTES = 60 * MIB
FILES = 22
MOUNT = "/mnt/cached"
INPUTS = {"recipe": 1, "files": FILES, "bytes": FILE_BYTES}


def _build(work):
    tree = work / "tree"
    tree.mkdir()
    for n in range(FILES):
        with open(tree / f"c{n}", "wb") as out:
            for _ in range(FILE_BYTES // MIB):
                out.write(os.urandom(MIB))
    image = work / "cached.raw"
    with open(image, "wb") as disk:
        disk.truncate(FILES * FILE_BYTES + 128 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-m", "0", "-E", "lazy_itable_init=1", "-d", tree,
                    image], check=True)
    shutil.rmtree(tree)


def image():
    return cache.made("cached", INPUTS, _build) / "cached.raw"


def blocks(path, name):
    """Which blocks of the disk one file on it has, as bits."""
    told = subprocess.run(["debugfs", "-R", f"blocks /{name}", path], check=True, capture_output=True, text=True).stdout
    found = list(map(int, told.split()))
    return oracle.runs_bits([(block, 1) for block in found]) if found else 0


def mount(guest, count):
    """The first so many files, of a guest that has the disk as its only cached one."""
    device = f"/dev/vd{chr(ord('b') + len(guest.extra_disks) + len(guest.shared_disks))}"
    guest.run(f"mkdir -p {MOUNT} && mount -t ext4 -o ro,noatime {device} {MOUNT}")
    return [f"{MOUNT}/c{n}" for n in range(count)]

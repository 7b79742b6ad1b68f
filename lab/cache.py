# SPDX-License-Identifier: Apache-2.0
"""Things that are costly to make and kept between runs.

Each thing is a directory named after the hash of what went into it. It is built under another name and renamed when
complete, so an interrupted run leaves nothing that a later one could take for whole; a lock keeps two runs from building
the same thing, and the loser finds it made.
"""
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from lab.say import step


def root():
    return Path(os.environ.get("PAGEPACT_LAB_CACHE", "/var/cache/pagepact-lab"))


def digest(inputs):
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]


@contextlib.contextmanager
def locked(name):
    root().mkdir(parents=True, exist_ok=True)
    with open(root() / f".{name}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            step(f"waiting for another run that prepares {name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _drop_stale(name, keep):
    # A guest that still runs on an old image keeps it alive by its open file.
    for old in root().glob(f"{name}-*"):
        if old != keep:
            shutil.rmtree(old, ignore_errors=True)


def made(name, inputs, build):
    """The directory of `name`, built by build(directory) unless one made from the same inputs is there."""
    path = root() / f"{name}-{digest(inputs)}"
    if path.is_dir():
        return path
    with locked(name):
        if path.is_dir():
            return path
        _drop_stale(name, path)
        work = Path(tempfile.mkdtemp(prefix=f"{name}-", suffix=".partial", dir=root()))
        try:
            build(work)
            work.chmod(0o755)
            os.sync()
            work.rename(path)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return path

# SPDX-License-Identifier: Apache-2.0
"""Which stock kernels a test runs on, and a machine for each.

`make check` has half an hour for all tests: what differs between kernels runs on each of them there, the rest on one. With
PAGEPACT_ALL_KERNELS=1, as `make bench` sets it, everything runs on each.
"""
import contextlib
import os
import tempfile
from pathlib import Path

ALL = os.environ.get("PAGEPACT_ALL_KERNELS") == "1"


def kernels(*always, others=()):
    return (*always, *others) if ALL else always


@contextlib.contextmanager
def machines(name, kernels, make):
    """{kernel: make(kernel, directory)}; all boot at the same time, and then prepare() is called of each, and in the end stop()."""
    made = {}
    with tempfile.TemporaryDirectory(prefix=f"pagepact-{name}-", dir="/var/tmp", ignore_cleanup_errors=True) as top:
        try:
            for kernel in kernels:
                directory = Path(top) / kernel
                directory.mkdir()
                made[kernel] = make(kernel, directory)
            for machine in made.values():
                machine.prepare()
            yield made
        finally:
            for machine in made.values():
                machine.stop()

# SPDX-License-Identifier: Apache-2.0
"""Which stock kernels a test runs on.

`make check` has half an hour for all tests: what differs between kernels runs on each of them there, the rest on one. With
PAGEPACT_ALL_KERNELS=1, as `make bench` sets it, everything runs on each.
"""
import os

ALL = os.environ.get("PAGEPACT_ALL_KERNELS") == "1"


def kernels(*always, others=()):
    return (*always, *others) if ALL else always

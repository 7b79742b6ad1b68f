# SPDX-License-Identifier: Apache-2.0
"""Progress on standard error: results are the only thing on standard output."""
import sys
import time

_start = time.monotonic()


def step(text):
    print(f"[{time.monotonic() - _start:6.1f} s] {text}", file=sys.stderr, flush=True)

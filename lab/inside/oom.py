# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: a child takes memory until the kernel kills it, and nobody else; prints {"killed": whether it did}."""
import json
import os
import signal

PIECE_BYTES = 1 << 20

child = os.fork()
if child == 0:
    try:
        with open("/proc/self/oom_score_adj", "w") as adjust:
            adjust.write("1000")
        held = []
        while True:
            held.append(bytearray(b"x") * PIECE_BYTES)
    finally:
        os._exit(1)
_, status = os.waitpid(child, 0)
print(json.dumps({"killed": os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL}))

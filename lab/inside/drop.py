# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: asks its kernel to forget the clean cache of the files ARGS["paths"], or of ARGS["pieces"], [path, offset,
length] each."""
import os

for path, offset, length in ARGS.get("pieces") or [(path, 0, 0) for path in ARGS["paths"]]:  # noqa: F821, the command server's
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)
    os.close(fd)

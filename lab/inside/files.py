# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: lists the regular files of at least ARGS["least"] bytes under ARGS["top"], as JSON [[path, size]]."""
import json
import os
import stat

found = {}
device = os.stat(ARGS["top"]).st_dev  # noqa: F821, the command server's
for folder, folders, names in os.walk(ARGS["top"]):  # noqa: F821
    folders[:] = sorted(f for f in folders if os.lstat(os.path.join(folder, f)).st_dev == device)
    for name in sorted(names):
        path = os.path.join(folder, name)
        info = os.lstat(path)
        if stat.S_ISREG(info.st_mode) and info.st_size >= ARGS["least"]:  # noqa: F821
            found.setdefault(info.st_ino, (path, info.st_size))
print(json.dumps(sorted(found.values(), key=lambda f: (-f[1], f[0]))))

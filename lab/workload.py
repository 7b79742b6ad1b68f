# SPDX-License-Identifier: Apache-2.0
"""What guests do in scenarios: the files they read, write, keep hot and map."""
import json
from pathlib import Path

MIB = 1 << 20
INSIDE = Path(__file__).parent / "inside"

# Large files of the base image that a person knows by name come first in the shared set.
KNOWN = ["/usr/lib/gcc/x86_64-linux-gnu/12/cc1", "/usr/bin/git", "/usr/bin/perl"]
# Read by whatever runs in the guest itself, and so mapped: no part of a chosen set.
ALWAYS_MAPPED = ("/usr/bin/python3", "/usr/lib/x86_64-linux-gnu/libc.so", "/usr/lib/x86_64-linux-gnu/ld-")


def source(name):
    return (INSIDE / name).read_text()


def list_files(guest, top="/usr", least=16384):
    """[[path, size]] of the guest's files, the largest first."""
    files = json.loads(guest.python(source("files.py"), {"top": top, "least": least}))
    return [f for f in files if not f[0].startswith(ALWAYS_MAPPED)]


def choose(files, wanted_bytes, first=()):
    """(paths of about wanted_bytes, the files that are left): `first`, then by size."""
    order = sorted(files, key=lambda f: (f[0] not in first, -f[1], f[0]))
    chosen, total = [], 0
    for path, size in order:
        if total >= wanted_bytes:
            break
        chosen.append(path)
        total += size
    taken = set(chosen)
    return chosen, [f for f in files if f[0] not in taken]


def read(guests_paths, seconds=120):
    """Read files in several guests at once: {guest: {"bytes", "pages", "seconds"}}."""
    started = [(g, g.begin_python(source("read.py"), {"paths": paths})) for g, paths in guests_paths.items()]
    return {g: json.loads(g.finish(ident, seconds)) for g, ident in started}


def read_tree(guest, top, seconds=400):
    """Read all files below a folder: {"files", "bytes", "seconds"}."""
    return json.loads(guest.python(source("tree.py"), {"top": top}, seconds))


def drop(guest, paths):
    guest.python(source("drop.py"), {"paths": paths})


def drop_caches(guest):
    guest.run("sync; echo 3 >/proc/sys/vm/drop_caches")


def cached_bytes(guest):
    """Page cache of files, as the guest's own kernel counts it."""
    return int(guest.run("grep ^Cached: /proc/meminfo").split()[1]) * 1024


def write(guest, path, size, sync=True):
    """A new file of bytes that do not repeat; its CRC."""
    return int(guest.python(source("write.py"), {"path": path, "bytes": size, "sync": sync}))


def checks(guest, paths, seconds=120):
    return json.loads(guest.python(source("check.py"), {"paths": paths}, seconds))


def process_cost(guest, name, kpage=False):
    """{"process": {"rss_bytes", "memlock_bytes", "cpu_seconds"} or None, "kpage_seconds"}."""
    return json.loads(guest.python(source("cost.py"), {"name": name, "kpage": kpage}))


class Hold:
    """Files kept hot, some of them mapped, by a process in a guest, from creation to end()."""
    _count = 0

    def __init__(self, guest, read_paths, map_paths):
        Hold._count += 1
        self._guest = guest
        self._stop = f"/run/lab/stop-hold-{Hold._count}"
        self._ident = guest.begin_python(source("hold.py"),
                                         {"read": read_paths, "map": map_paths, "stop": self._stop})

    def rounds(self):
        return int(self._guest.run(f"cat {self._stop}.rounds 2>/dev/null || echo 0"))

    def end(self):
        self._guest.run(f"touch {self._stop}")
        return int(self._guest.finish(self._ident))

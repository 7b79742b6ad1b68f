# SPDX-License-Identifier: Apache-2.0
"""What a scan costs on this machine itself, without emulation, when half of its memory is page cache."""
import json
import os
import resource
import subprocess
import time

from lab.limit_native import finish, run_here
from lab.report import MIB, mib, table
from lab.say import step

PAGE = 4096
SHARE = 0.56
FILES = 64
ROUNDS = 8
PIECE_ONE = MIB
PIECE_INTERLEAVED = 4096


def _memory_bytes():
    with open("/proc/meminfo") as meminfo:
        return int(meminfo.readline().split()[1]) * 1024


def _sparse(folder, count, size):
    """Files of holes: their pages are cached as any others, and storage is not involved."""
    folder.mkdir()
    paths = [str(folder / str(n)) for n in range(count)]
    for path in paths:
        with open(path, "wb") as out:
            out.truncate(size // count // MIB * MIB)
    return paths


def _remove(paths):
    for path in paths:
        os.unlink(path)
    os.rmdir(os.path.dirname(paths[0]))


def _kpage_seconds():
    start = time.monotonic()
    for name in ("kpageflags", "kpagecount"):
        fd = os.open(f"/proc/{name}", os.O_RDONLY)
        while os.read(fd, MIB):
            pass
        os.close(fd)
    return time.monotonic() - start


def _scan(agent):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    found = json.loads(subprocess.run([agent, "--once", "--json"], check=True, capture_output=True, text=True).stdout)
    found["user_seconds"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    return found


def _measure(lab, paths, piece, random):
    """The least time of a page of several scans, and of the kernel's own files in turns with them; the rest of the best."""
    found, kpage = [], []
    for _ in range(ROUNDS):
        # Anew each time: this machine may page out what is idle.
        finish(run_here("fill.py", {"paths": paths, "piece": piece, "random": random}), 600)
        found.append(_scan(lab.agent))
        kpage.append(_kpage_seconds())
    best = min(found, key=lambda f: f["elapsed_usec"])
    pages = best["total_bytes"] / PAGE
    return {"ns": best["elapsed_usec"] * 1000 / pages, "user_ns": best["user_seconds"] * 1e9 / pages,
            "kpage_ns": min(kpage) * 1e9 / pages,
            "share": min(f["unmapped_clean_bytes"] for f in found) / best["total_bytes"],
            "chunk_max_usec": max(f["chunk_max_usec"] for f in found),
            "chunk_p999_usec": max((f.get("chunk_p999_usec") or 0) for f in found) or None}


def native(lab, report):
    report.head("A scan of this machine, without emulation")
    size = int(_memory_bytes() * SHARE)
    rows = []
    for name, count, piece, random, limit in (("scan_ns_per_page", 1, PIECE_ONE, False, 30),
                                              ("scan_ns_per_page_interleaved", FILES, PIECE_INTERLEAVED, True, 60)):
        step(f"{mib(size)} of page cache in {count} file{'s' if count > 1 else ''}")
        paths = _sparse(lab.directory / name, count, size)
        try:
            found = _measure(lab, paths, piece, random)
        finally:
            _remove(paths)
        report.check(name, report.measure(name, found["ns"]), f"<= {limit}")
        report.measure(f"{name}_kpage", found["kpage_ns"])
        report.measure(f"{name}_user", found["user_ns"])
        # An empty machine is scanned fast.
        report.check(f"{name}_cache_share", report.measure(f"{name}_cache_share", found["share"]), ">= 0.5")
        report.measure(f"{name}_chunk_max_usec", found["chunk_max_usec"])
        if found["chunk_p999_usec"] is not None:
            report.check(f"{name}_chunk_p999_usec", report.measure(f"{name}_chunk_p999_usec", found["chunk_p999_usec"]), "<= 1000")
        rows.append((f"{count} file(s)", f"{found['ns']:.1f}", f"{found['user_ns']:.1f}", f"{found['kpage_ns']:.1f}",
                     f"{found['chunk_max_usec']}"))
    report.say(table(("page cache of", "scan, ns a page", "of it outside the kernel", "kpageflags + kpagecount", "longest chunk, us"), rows))

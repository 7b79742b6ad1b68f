# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: what the process ARGS["name"] costs, as JSON: resident set, BPF maps and programs, CPU time.

With ARGS["kpage"], also how long reading /proc/kpageflags and /proc/kpagecount of all pages takes.
"""
import json
import os
import time


def find(name):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm") as comm:
                if comm.read().strip() == name[:15]:
                    return pid
        except OSError:
            continue
    return None


def memlock(pid):
    total, seen = 0, set()
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        try:
            with open(f"/proc/{pid}/fdinfo/{fd}") as info:
                fields = dict(line.split(":", 1) for line in info if ":" in line)
        except FileNotFoundError:
            continue  # closed meanwhile
        ident = fields.get("map_id"), fields.get("prog_id")
        if "memlock" in fields and ident not in seen:
            seen.add(ident)
            total += int(fields["memlock"])
    return total


def process(name):
    pid = find(name)
    if pid is None:
        return None
    with open(f"/proc/{pid}/status") as status, open(f"/proc/{pid}/stat") as stat:
        fields = dict(line.split(":", 1) for line in status)
        times = stat.read().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return {"pid": int(pid), "rss_bytes": int(fields["VmRSS"].split()[0]) * 1024, "memlock_bytes": memlock(pid),
            "cpu_seconds": (int(times[11]) + int(times[12])) / ticks}


def kpage_seconds():
    start = time.monotonic()
    for name in ("kpageflags", "kpagecount"):
        fd = os.open(f"/proc/{name}", os.O_RDONLY)
        while os.read(fd, 1 << 20):
            pass
        os.close(fd)
    return time.monotonic() - start


print(json.dumps({"process": process(ARGS["name"]),  # noqa: F821, the command server's
                  "kpage_seconds": kpage_seconds() if ARGS.get("kpage") else None}))  # noqa: F821

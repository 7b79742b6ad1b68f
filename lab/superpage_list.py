# SPDX-License-Identifier: Apache-2.0
"""Reclaimable superpages: whether the agent finds those that there are, and how many there are in a guest that has lived.

What there is by the kernel's own word (inside/frames.py) is looked at before and after the agent looks: found counts what both
looks have, false what neither has, unless it is for processes' memory, as that of who looks is. In the end the kernel drops its
cache: of those found, how many have none left (went), and of those that both looks have and that have none left, how many were
found; those that were free already left out. Whether somebody holds metadata's buffers shows in no flag: before that, the agent may find fewer. Of those spoiled by a few pages the numbers are shown beside each other, no more: the agent's own memory, which is
gone in the second look, spoils some and uses others up.
"""
import json
import subprocess

from lab import kbuild, workload
from lab.report import table
from lab.say import step

AGENT = "list-agent"
MEMORY_MIB, QUICK_MEMORY_MIB = 2048, 1024
GUEST = {"smp": 2, "agent": None, "traced": False}
DISK_BYTES = 3 << 30
INODES = 320_000
FOLDERS, QUICK_FOLDERS, EACH = 200, 2, 1000
CHURN_SECONDS, QUICK_CHURN_SECONDS = 3600, 5
MOUNT = "/mnt/churn"
SECONDS = 900


def _disk(path):
    """One with room for many small files."""
    with open(path, "wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-N", str(INODES), path], check=True)
    return path


class Listed:
    def __init__(self, lab, report, guest):
        # A small guest has a few dozen that are not free, and one may change hands.
        self.limit = ">= 0.9" if lab.quick else ">= 0.98"
        self.lab, self.report, self.guest = lab, report, guest
        self.rows, self.false = [], 0

    def _ratio(self, name, those, of):
        name = f"reclaimable_{name}_ratio"
        self.report.check(name, self.report.measure(name, len(those & of) / max(len(those), 1)), self.limit)

    def look(self, when, drop=False):
        """What of the guest's clean cache lies in reclaimable superpages, once its memory is full of cache again."""
        self.guest.run("sync", SECONDS)
        before, told, after, *dropped = json.loads(self.guest.python(
            workload.source("frames.py"), {"agent": f"/run/lab/{AGENT}", "drop": drop}, SECONDS))
        found = {first + n for first, count in told["superpages_reclaimable_runs"] for n in range(count)}
        sure, maybe = (op(set(before["reclaimable"]), after["reclaimable"]) for op in (set.intersection, set.union))
        share = self.report.measure(f"reclaimable_share_{when}", after["within_pages"] / max(after["cache_pages"], 1))
        false = found.difference(maybe, before["beside_own"], after["beside_own"])
        self.false += len(false)
        free = set(before["free"]).union(after["free"])
        for last in dropped:
            self._ratio("went", found - free, set(last["empty"]))
            self._ratio("found", sure & set(last["empty"]) - free, found)
        self.rows.append((when, told["superpages"], len(after["free"]), len(sure), len(found & sure), len(false),
                          told["superpages_spoiled"], after["spoiled"], f"{after['cache_pages'] / 256:.0f}", f"{share:.3f}"))
        return share

    def fill(self, quick):
        workload.read_tree(self.guest, kbuild.TREE + "/lib" * quick, SECONDS)

    def age(self, quick, seconds):
        """A kernel's objects are built, many small files made and read, and it goes on so."""
        self.guest.python(workload.source("build.py"),
                          {"tree": kbuild.TREE, "targets": kbuild.QUICK_TARGETS if quick else kbuild.TARGETS, "jobs": 2,
                           "environment": kbuild.ENVIRONMENT}, SECONDS)
        files = {"folder": MOUNT, "folders": QUICK_FOLDERS if quick else FOLDERS, "each": EACH}
        self.guest.run(f"mkdir -p {MOUNT} && mount -o noatime /dev/vdb {MOUNT}")
        for make in (True, False):
            self.guest.python(workload.source("many.py"), {"make": make, **files}, SECONDS)
        step(f"{files['folders'] * EACH} small files; {seconds} s of churn")
        return json.loads(self.guest.python(workload.source("churn.py"), {"tree": kbuild.TREE, "seconds": seconds,
                                                                          "seed": 1, **files}, seconds + SECONDS))

    def compact(self):
        """The kernel's own way to build superpages: CPU seconds."""
        busy = "awk '/^cpu/ {sum += $8} END {printf \"%.0f\", sum / 1e6}' /proc/schedstat"
        before = int(self.guest.run(busy))
        self.guest.run("echo 1 >/proc/sys/vm/compact_memory", SECONDS)
        return (int(self.guest.run(busy)) - before) / 1e3


def reclaimable(lab, report, kernel):
    """In a fresh guest, in the same one when it is old, and when its kernel has compacted its memory."""
    report.head("Reclaimable superpages, by the agent and by /proc/kpageflags")
    seconds = lab.seconds or (QUICK_CHURN_SECONDS if lab.quick else CHURN_SECONDS)
    guest = lab.guest("listed", kernel=kernel, base=kbuild.image(), files={AGENT: lab.agent},
                      memory_mib=QUICK_MEMORY_MIB if lab.quick else MEMORY_MIB,
                      extra_disks=[_disk(lab.directory / "churn.raw")], **GUEST)
    guest.wait_ready()
    # Else each first read makes metadata dirty, for a while.
    guest.run("mount -o remount,noatime /")
    listed = Listed(lab, report, guest)
    listed.fill(lab.quick)
    listed.look("fresh")
    rounds = listed.age(lab.quick, seconds)["rounds"]
    listed.fill(lab.quick)
    listed.look("aged")
    report.measure("compact_cpu_seconds", listed.compact())
    built = listed.look("built", drop=True)
    report.say(table(("", "superpages", "free", "reclaimable", "found", "false", "spoiled", "by flags", "cache MiB", "share in them"), listed.rows))
    report.say(f"  {rounds} rounds of churn in {seconds} s; compaction took {report.measures['compact_cpu_seconds']:.2f} s of CPU time.")
    # One that changed hands between the looks is among them: whether it goes is what counts.
    report.measure("reclaimable_false", listed.false)
    report.measure("churn_seconds", seconds)
    if not lab.quick:
        report.check("reclaimable_share_built", built, ">= 0.7")

# SPDX-License-Identifier: Apache-2.0
"""src/guest/slab.c in stock guests: slab pages with no object in use go, and nothing else."""
import errno
import json
import os
from pathlib import Path

import pytest

from lab.guest import Guest
import matrix

KERNELS = matrix.kernels("6.1", others=("6.12",))
PROBE = (Path(__file__).parent / "slab_probe.py").read_text()
BUILD = Path(os.environ.get("PAGEPACT_BUILD", Path(__file__).resolve().parents[2] / "build"))
MIB = 1 << 20
CPU_USEC = "10000000"
SHRINK = ["/run/lab/slab-tool", "shrink", "16384", CPU_USEC]
DROP = ["/bin/sh", "-c", "echo 2 >/proc/sys/vm/drop_caches"]


class Machine:
    def __init__(self, kernel, directory):
        self.kernel = kernel
        files = {"slab-tool": BUILD / "tests/slab-tool", "agent": BUILD / "src/guest/pagepact-agent"}
        self.guest = Guest(f"slab-{kernel}", directory, kernel=kernel, memory_mib=512, files=files).start()

    def prepare(self):
        self.guest.wait_ready()
        self.probe("watch")

    def stop(self):
        self.guest.kill()

    def probe(self, call, *args):
        return json.loads(self.guest.python(PROBE, {"call": call, "args": args}, 120))

    def tool(self, *argv):
        return json.loads(self.guest.run(f"/run/lab/slab-tool {' '.join(argv)} || true"))


@pytest.fixture(scope="module")
def machines():
    with matrix.machines("slab", KERNELS, Machine) as made:
        yield made


@pytest.fixture(params=KERNELS)
def machine(request, machines):
    yield machines[request.param]
    assert machines[request.param].guest.check_kernel_log() == []


@pytest.fixture
def filled(machine):
    machine.probe("fill")
    yield machine
    machine.probe("keep_empty_slabs", False)
    machine.guest.run("rm -r /root/slab; sync")


def lost(found):
    """What went that was alive, by each of the kernel's ways to say so."""
    before, after = found["before"], found["after"]
    kinds = {kind for kind in ("dentries", "unused", "inodes") if after[kind] != before[kind]}
    kinds |= {f"{cache} objects" for cache, count in before["objects"].items() if after["objects"][cache] != count}
    return kinds | {f"{name} called" for name, count in found["calls"].items() if count and name != "shrink"}


def gone(found, cache):
    return found["before"]["caches"][cache] - found["after"]["caches"][cache]


def test_only_empty_slabs_go(filled, record_testsuite_property):
    first = filled.probe("compare", SHRINK)
    assert lost(first) == set()
    told = json.loads(first["out"])
    record_testsuite_property(f"slab_shrink_{filled.kernel}", {k: told[k] for k in ("freed_bytes", "cpu_usec", "caches")})
    assert told["status"] == 0 and first["calls"]["shrink"] == told["caches_tried"] > 0
    # 2,000 files were deleted side by side: 192 bytes and more than 1,000 each.
    assert gone(first, "dentry") >= 0.8 * 2000 * 192
    assert gone(first, "ext4_inode_cache") >= 0.8 * 2000 * 1000
    # /proc/meminfo counts in steps of some pages a CPU.
    assert first["before"]["slab"] - first["after"]["slab"] >= told["freed_bytes"] - MIB // 4
    for cache in ("dentry", "ext4_inode_cache"):
        assert told["caches"][cache] == [first["before"]["caches"][cache], first["after"]["caches"][cache]]
    assert told["freed_bytes"] >= sum(a - b for a, b in told["caches"].values()) > 2 * MIB

    # What is left is in use in part, and stays.
    again = filled.probe("compare", SHRINK)
    told = json.loads(again["out"])
    assert lost(again) == set() and told["status"] == 0
    assert told["caches_tried"] > 0 and not {"dentry", "ext4_inode_cache"} & set(told["caches"])
    assert told["freed_bytes"] < MIB // 4


def test_the_proof_notices_what_drops_caches(filled):
    found = filled.probe("compare", DROP)
    assert lost(found) == {"dentries", "unused", "inodes", "dentry objects", "ext4_inode_cache objects", "scan called",
                           "dentries called", "inodes called", "evict called", "lookup called"}
    assert found["calls"]["lookup"] >= found["files"] - 50


def test_a_kernel_as_it_comes(machine, record_testsuite_property):
    """With what it keeps by default, after many files came and went: little, so the figures are told."""
    machine.guest.run("find / -xdev >/dev/null; du -s /usr >/dev/null", 120)
    machine.probe("fill")
    machine.probe("keep_empty_slabs", False)
    machine.tool("shrink", "0", CPU_USEC)
    machine.guest.run("rm -r /root/slab; sync")
    for least in ("16384", "0"):
        told = machine.tool("shrink", least, CPU_USEC)
        record_testsuite_property(f"slab_default_{machine.kernel}_{least}", told)
        assert told["status"] == 0 and told["freed_bytes"] < 4 * MIB
    assert machine.tool("shrink", "0", "0")["caches_tried"] == 0


def test_press_is_not_offered_by_these_kernels(machine):
    """Debian does not set CONFIG_SHRINKER_DEBUG; and a debugfs that is not mounted stays so."""
    for mount in ("true", "mount -t debugfs debugfs /sys/kernel/debug"):
        machine.guest.run(mount)
        before = machine.guest.run("cat /proc/mounts")
        assert machine.tool("press", str(MIB)) == {"status": -errno.EOPNOTSUPP, "freed_bytes": 0}
        assert machine.guest.run("cat /proc/mounts") == before
    machine.guest.run("umount /sys/kernel/debug")


def test_opening_by_handle_leaves_no_dentry(machine, record_testsuite_property):
    """The agent opens every cached file; what that adds to the slab it can give back, but for extents."""
    machine.guest.run("find /usr/share -type f -size -64k | head -2000 | xargs cat >/dev/null", 120)
    once = ["/run/lab/agent", "--once", "--json"]
    machine.probe("growth", once)
    found = machine.probe("growth", once)
    before, between, after = found["before"], found["between"], found["after"]
    record_testsuite_property(f"slab_growth_{machine.kernel}", {
        "added_bytes": sum(between["caches"].values()) - sum(before["caches"].values()),
        "left_bytes": sum(after["caches"].values()) - sum(before["caches"].values()),
        "freed_bytes": found["shrunk"]["freed_bytes"]})
    assert between["dentries"] - before["dentries"] <= 8 and between["inodes"] - before["inodes"] <= 8
    assert sum(after["caches"].values()) - sum(before["caches"].values()) <= MIB // 4


def test_a_census_leaves_no_extents(machine, record_testsuite_property):
    """Of files whose place on the disk the kernel has forgotten the agent must ask; what that loads goes again."""
    machine.guest.run("find /usr /etc -xdev -type f -size -64k | head -6000 | xargs cat >/dev/null", 240)
    once = ["/run/lab/agent", "--once", "--json"]
    machine.probe("growth", once)
    # Inodes with cached pages stay, their extents do not.
    machine.guest.run("sync; echo 2 >/proc/sys/vm/drop_caches")
    found = machine.probe("growth", once)
    before, between, after = (found[when]["caches"] for when in ("before", "between", "after"))
    grown = {name: size - before.get(name, 0) for name, size in between.items() if size > before.get(name, 0)}
    record_testsuite_property(f"slab_growth_census_{machine.kernel}", {
        "files": json.loads(found["out"])["files_count"], "grown_bytes": sum(grown.values()),
        "freed_bytes": found["shrunk"]["freed_bytes"], "left_bytes": sum(after.values()) - sum(before.values())})
    assert json.loads(found["out"])["files_count"] >= 6000
    # With the extents of 6,000 files it was 684,032 bytes and more; the limit is 1 MiB.
    assert sum(grown.values()) <= MIB // 2
    assert between["dentry"] - before["dentry"] <= 64 << 10 and between["ext4_inode_cache"] <= before["ext4_inode_cache"]


def test_shrink_slab_tells_by_cache(filled):
    """The agent's own command, on slabs that are known to be empty."""
    before = filled.probe("compare", ["/bin/true"])["after"]
    told = json.loads(filled.guest.run("/run/lab/agent --shrink-slab --json"))
    caches = {cache["name"]: cache["before_bytes"] - cache["after_bytes"] for cache in told["caches"]}
    assert caches["dentry"] >= 0.8 * 2000 * 192 and caches["ext4_inode_cache"] >= 0.8 * 2000 * 1000
    assert told["freed_bytes"] >= sum(caches.values()) and len(caches) <= told["caches_tried"]
    after = filled.probe("compare", ["/bin/true"])["after"]
    assert before["caches"]["ext4_inode_cache"] - after["caches"]["ext4_inode_cache"] == caches["ext4_inode_cache"]
    text = filled.guest.run("/run/lab/agent --shrink-slab")
    assert text.startswith("Slab pages with no object in use: ")

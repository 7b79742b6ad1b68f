# SPDX-License-Identifier: Apache-2.0
"""The agent on this very machine, over a pseudoterminal: newer kernels than the guests', and no emulation.

Nothing is evicted here but pages of a file of this test's own.
"""
import os
import pty
import subprocess
import tempfile
import tty
from pathlib import Path

import pytest

import probe
import wire
from test_agent import agent_path, blocks_of, fates, pages_of, runs_of


@pytest.fixture
def link():
    """The agent serves a pseudoterminal; skipped where this machine does not let anybody scan."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    child = subprocess.Popen([agent_path(), "--device", os.ttyname(slave)], stderr=subprocess.DEVNULL)
    try:
        found = wire.Link(master)
        missing = found.hello()["missing"]
        if missing:
            pytest.skip(f"no scan on this machine: {missing}")
        yield found
    finally:
        child.kill()
        child.wait()
        os.close(master)
        os.close(slave)


@pytest.fixture
def file():
    """On a file system with blocks on a disk: /tmp may be memory."""
    with tempfile.TemporaryDirectory(prefix="pagepact-agent-", dir="/var/tmp") as folder:
        yield str(Path(folder) / "file")


@pytest.mark.parametrize("length", (1, 16, 256))
def test_exactly_the_runs_asked_for_leave(link, file, length, record_testsuite_property):
    pages = 4096
    probe.write(file, pages)
    probe.read(file, ahead=True)
    who = probe.identity(file)
    if os.major(who["device"]) == 0:
        pytest.skip("/var/tmp is not on a block device")
    earlier = pages_of(probe.resident(file))
    scan = link.scan()
    if scan.file(who)["unplaced"] != "placed":
        pytest.skip(f"/var/tmp cannot be placed: {scan.file(who)['unplaced']}")
    before = pages_of(probe.resident(file))
    # This machine may page out idle cache by itself (oracle.damon_state).
    assert before <= set(scan.pages(who)) <= earlier
    assert {page: scan.blocks(who)[page] for page in before} == {page: blocks_of(who)[page] for page in before}
    asked = [(at, length) for at in range(0, pages, 2 * length)]
    result = link.evict(who, runs_of(who, asked))
    left = before - pages_of(probe.resident(file))
    record_testsuite_property(f"native_evict_usec_per_page_{length}", result["usec"] / result["asked"])
    record_testsuite_property("native_largest_order", max(order for _, _, order in scan.pages(who).values()))
    assert result["status"] == 0 and left <= pages_of(asked)
    there = len(before & pages_of(asked))
    assert there >= 0.8 * result["asked"] and result["evicted"] + result["gone"] >= 0.99 * result["asked"], fates(result)
    assert there - result["evicted"] <= 0.01 * result["asked"] and len(left) >= result["evicted"]


def test_what_is_dirty_or_hot_stays(link, file):
    probe.write(file, 256)
    probe.read(file)
    probe.read(file, [(100, 8)], 4)
    who = probe.identity(file)
    probe.dirty(file, [7])
    result = link.evict(who, runs_of(who, [(0, 256)]))
    left = set(range(256)) - pages_of(probe.resident(file))
    assert fates(result) == {"evicted": 256 - 8 - 1, "dirty": 1, "hot": 8} or result["gone"], fates(result)
    assert result["dirty"] == 1 and 7 not in left and len(left) >= 256 - 8 - 1


def test_the_longest_chunk(link, record_testsuite_property):
    scan = link.scan()
    record_testsuite_property("native_chunk_max_usec", scan.chunk_max_usec)
    record_testsuite_property("native_scan_ns_per_page", scan.cpu_usec * 1000 / scan.census["total"])
    assert sum(scan.census[kind] for kind in wire.CENSUS[1:9]) == scan.census["total"]

# SPDX-License-Identifier: Apache-2.0
"""The agent on this very machine, over a pseudoterminal: newer kernels than the guests', and no emulation.

Nothing is evicted here but pages of a file of this test's own.
"""
import os
import pty
import shutil
import subprocess
import tempfile
import tty
from pathlib import Path

import pytest

import probe
from lab import wire
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
    if os.major(os.stat("/var/tmp").st_dev) == 0:
        pytest.skip("/var/tmp is not on a block device")
    with tempfile.TemporaryDirectory(prefix="pagepact-agent-", dir="/var/tmp") as folder:
        yield str(Path(folder) / "file")


def cached_beside(path, pages):
    """A file in the cache, and one beside it that nobody asks for: this machine may page out idle cache by itself."""
    for name in (path, path + ".witness"):
        probe.write(name, pages)
        probe.read(name, ahead=True)
    return probe.identity(path)


def evict_once(link, file, pages, length):
    """Alternating runs of a file; what was there, what was asked for, what left, the answer, what the witness lost."""
    who = cached_beside(file, pages)
    before, witness = (pages_of(probe.resident(name)) for name in (file, file + ".witness"))
    asked = [(at, length) for at in range(0, pages, 2 * length)]
    result = link.evict(who, runs_of(who, asked))
    after, witness_after = (pages_of(probe.resident(name)) for name in (file, file + ".witness"))
    return before, pages_of(asked), before - after, result, len(witness - witness_after) + pages - len(before)


@pytest.mark.parametrize("length", (1, 16, 256))
def test_exactly_the_runs_asked_for_leave(link, file, length, record_testsuite_property):
    for _ in range(10):
        before, asked, left, result, disturbed = evict_once(link, file, 4096, length)
        if left == asked or not disturbed:
            break
    record_testsuite_property(f"native_evict_usec_per_page_{length}", result["usec"] / result["asked"])
    assert result["status"] == 0 and before == set(range(4096))
    assert left <= asked, "neighbours left"
    assert result["evicted"] == len(left) >= 0.99 * result["asked"], fates(result)


def test_scan_finds_the_pages_and_blocks_of_a_file(link, file, record_testsuite_property):
    who = cached_beside(file, 4096)
    earlier = pages_of(probe.resident(file))
    scan = link.scan()
    later = pages_of(probe.resident(file))
    found = scan.pages(who)
    assert later <= set(found) <= earlier and len(earlier) > 3000
    assert {page: scan.blocks(who)[page] for page in found} == {page: blocks_of(who)[page] for page in found}
    record_testsuite_property("native_largest_order", max(order for _, _, order in found.values()))
    record_testsuite_property("native_chunk_max_usec", scan.chunk_max_usec)
    record_testsuite_property("native_scan_ns_per_page", scan.cpu_usec * 1000 / scan.census["total"])
    assert sum(scan.census[kind] for kind in wire.CENSUS[1:9]) == scan.census["total"]


def test_what_is_dirty_or_hot_stays(link, file):
    probe.write(file, 256)
    probe.read(file)
    probe.read(file, [(100, 8)], 4)
    who = probe.identity(file)
    probe.dirty(file, [7])
    result = link.evict(who, runs_of(who, [(0, 256)]))
    left = set(range(256)) - pages_of(probe.resident(file))
    assert result["dirty"] == 1 and 7 not in left
    # Pages that another CPU used just now wait in its batch for the LRU lists, at most 31, and are not known to be hot.
    assert result["hot"] == 8 or 0 < result["failed"] <= 31, fates(result)
    assert len(left) >= 256 - 1 - 31 - 8


@pytest.mark.parametrize("arguments", [[], ["--shrink-slab"]])
def test_not_root(file, arguments):
    agent = Path(file).with_name("agent")
    shutil.copy(agent_path(), agent)
    agent.parent.chmod(0o755)
    agent.chmod(0o755)
    ended = subprocess.run([agent, *arguments], user=65534, group=65534, extra_groups=[], capture_output=True, timeout=10, text=True)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "pagepact-agent: Has to be run by root\n"

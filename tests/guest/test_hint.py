# SPDX-License-Identifier: Apache-2.0
"""The cache-first hint in stock guests: what a balloon takes when the agent goes ahead of it, and when nobody does."""
import json

import pytest

from lab import stream, wire
from lab.guest import Guest
from lab.process import wait_for
from matrix import kernels, machines
from test_agent import agent_path

MIB = 1 << 20
PAGE = 4096
MEMORY = 1024 * MIB
LOW = 512 * MIB
HINTED = "[agent]\nreclaim_cache_first = yes\n"
MAPPED_BYTES = 64 * MIB
# Reads pages of a file through a mapping, and keeps it until the file `stop` exists.
MAP = """
import mmap, os, time
path, size, stop = ARGS
fd = os.open(path, os.O_RDONLY)
held = mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ)
while not os.path.exists(stop):
    for at in range(0, size, 4096):
        held[at]
    time.sleep(1)
"""
# Reads them through one that ends with it.
FAULT = """
import mmap, os
path, size = ARGS
fd = os.open(path, os.O_RDONLY)
with mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ) as held:
    for at in range(0, size, 4096):
        held[at]
os.close(fd)
"""


class Machine:
    def __init__(self, kernel, directory):
        self.guest = Guest(f"hint-{kernel}", directory, kernel=kernel, agent=agent_path(), agent_conf=HINTED,
                           shared_disks=[stream.image()]).start()

    def prepare(self):
        self.guest.wait_ready()
        self.files = stream.Stream(self.guest)

    def stop(self):
        self.guest.kill()

    def link(self):
        return wire.Link(self.guest.agent_path, seconds=30)

    def vmstat(self):
        found = dict(line.split() for line in self.guest.run("cat /proc/vmstat").splitlines())
        return {key: int(value) for key, value in found.items()}

    def fill(self, size):
        for path, offset, length in self.files.take(size):
            self.guest.run(f"dd if={path} of=/dev/null bs=1M skip={offset // MIB} count={length // MIB} status=none", seconds=120)

    def balloon(self, size, seconds=60):
        self.guest.qmp("balloon", value=size)
        wait_for(lambda: self.guest.qmp("query-balloon")["actual"] == size, seconds, f"the guest has {size // MIB} MiB")

    def squeeze(self, link):
        """What came of an inflation in a guest whose memory is full of cache: agent's and kernel's counts, in bytes."""
        self.fill(MEMORY)
        before, counts = link.report(), self.vmstat()
        self.balloon(LOW)
        after, now = link.report(), self.vmstat()
        self.balloon(MEMORY)
        stolen = sum(now[key] - counts[key] for key in ("pgsteal_kswapd", "pgsteal_direct")) * PAGE
        return {"ahead": after["ahead_bytes"] - before["ahead_bytes"], "stolen": stolen,
                "inflations": after["inflations"] - before["inflations"], "left": after["inflate_bytes"],
                "held": after["balloon_bytes"], "free_before": before["free_bytes"], "oom": after["oom_kills"]}


@pytest.fixture(scope="module")
def guests():
    with machines("hint", kernels("6.1", "6.12"), Machine) as made:
        yield made


@pytest.fixture(params=kernels("6.1", "6.12"))
def machine(guests, request):
    found = guests[request.param]
    yield found
    assert found.guest.check_kernel_log() == []


def test_the_driver_tells(machine):
    """The guest's own configuration, and no word from a host."""
    with machine.link() as link:
        report = link.report()
    assert (report["hint"], report["hint_origin"], report["notice"]) == ("cache", "file", "driver")
    assert report["inflations"] == report["ahead_bytes"] == report["balloon_bytes"] == 0


def resident(machine, path):
    return int(machine.guest.run(f"fincore --bytes --noheadings --output RES {path}"))


def squeeze_beside(machine, path):
    """What is left of MAPPED_BYTES of a file that are the oldest of what is cached, and what kernel and agent took."""
    machine.guest.run("echo 3 >/proc/sys/vm/drop_caches", 60)
    # A use through a mapping is not seen; one by a read, of what came back, makes it hot for half a minute.
    machine.guest.python(FAULT, [path, MAPPED_BYTES])
    # Not so much that the kernel has to make room.
    machine.fill(LOW)
    assert resident(machine, path) >= MAPPED_BYTES
    counts = machine.vmstat()
    with machine.link() as link:
        before = link.report()["ahead_bytes"]
        machine.balloon(LOW)
        ahead = link.report()["ahead_bytes"] - before
    now = machine.vmstat()
    machine.balloon(MEMORY)
    return resident(machine, path), sum(now[key] - counts[key] for key in ("pgsteal_kswapd", "pgsteal_direct")) * PAGE, ahead


def test_what_came_back_is_not_taken_again(machine):
    """The oldest goes first; come back within a minute it stays, whatever is younger. Before all tests that evict much:
    half a GiB a minute is followed."""
    path = f"{stream.MOUNT}/s62"
    kept, stolen, ahead = squeeze_beside(machine, path)
    assert ahead >= MAPPED_BYTES and kept <= MAPPED_BYTES // 8
    kept, stolen, ahead = squeeze_beside(machine, path)
    assert ahead >= MAPPED_BYTES and kept + stolen >= MAPPED_BYTES and stolen < MAPPED_BYTES // 2


def test_cache_goes_ahead_of_the_balloon(machine, record_testsuite_property):
    """Nearly all that the balloon is short of the agent finds; not much more than it takes."""
    with machine.link() as link:
        found = machine.squeeze(link)
    record_testsuite_property("hint_squeeze", json.dumps(found))
    short = MEMORY - LOW - found["free_before"]
    assert short >= 300 * MIB, "the guest was full of cache"
    assert found["inflations"] == 1 and found["left"] == 0 and found["held"] == MEMORY - LOW and found["oom"] == 0
    assert found["ahead"] >= 0.8 * short
    # What is free below the kernel's high watermark the balloon is not to have.
    assert found["ahead"] <= MEMORY - LOW + 4 * MIB
    assert found["stolen"] <= 0.2 * short


def test_without_the_hint_the_kernel_chooses(machine):
    """The host's word is the last; a guest that hears nothing of it holds its own."""
    with machine.link() as link:
        report = link.limit(wire.LIMIT_GUEST, hint="none")
        assert (report["hint"], report["hint_origin"], report["notice"]) == ("none", "host", "none")
        found = machine.squeeze(link)
        assert found["ahead"] == found["inflations"] == 0
        assert found["stolen"] >= 0.8 * (MEMORY - LOW - found["free_before"])
        report = link.limit(wire.LIMIT_GUEST, hint="default")
        assert (report["hint"], report["hint_origin"], report["notice"]) == ("cache", "file", "driver")


def test_what_is_mapped_stays(machine):
    running = machine.guest.begin_python(MAP, [f"{stream.MOUNT}/s63", MAPPED_BYTES, "/run/stop"])
    wait_for(lambda: machine.vmstat()["nr_mapped"] * PAGE > MAPPED_BYTES, 60, "it is mapped")
    machine.fill(MEMORY)
    before = machine.vmstat()["nr_mapped"]
    with machine.link() as link:
        ahead = link.report()["ahead_bytes"]
        machine.balloon(LOW)
        after = machine.vmstat()["nr_mapped"]
        assert link.report()["ahead_bytes"] > ahead
    machine.balloon(MEMORY)
    machine.guest.run("touch /run/stop")
    machine.guest.finish(running)
    machine.guest.run("rm /run/stop")
    assert before * PAGE > MAPPED_BYTES and after >= before - 256


def test_an_agent_that_dies_leaves_the_stock_balloon(machine):
    """In mid-inflation; the next one notices what is still to come."""
    machine.fill(MEMORY)
    machine.guest.qmp("balloon", value=LOW)
    wait_for(lambda: machine.guest.qmp("query-balloon")["actual"] < MEMORY - 32 * MIB, 30, "it inflates")
    machine.guest.run("kill -9 $(pidof pagepact-agent)")
    wait_for(lambda: machine.guest.qmp("query-balloon")["actual"] == LOW, 60, "the target is reached without it")
    wait_for(lambda: machine.guest.run("pidof pagepact-agent || true").strip(), 20, "another agent")
    machine.balloon(MEMORY)
    with machine.link() as link:
        assert machine.squeeze(link)["ahead"] > 0


def test_many_small_steps(machine):
    """As a controller makes them, up and down."""
    machine.fill(MEMORY)
    with machine.link() as link:
        before = link.report()
        for size in (960, 928, 896, 944, 912, 880, 928, 896, 864, 832):
            machine.balloon(size * MIB)
        after = link.report()
        machine.balloon(MEMORY)
        # Those that follow each other at once are one.
        assert 3 <= after["inflations"] - before["inflations"] <= 8
        assert after["ahead_bytes"] - before["ahead_bytes"] <= MEMORY - 832 * MIB + 128 * MIB
        assert link.report()["balloon_bytes"] == 0

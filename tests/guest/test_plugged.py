# SPDX-License-Identifier: Apache-2.0
"""Memory that a virtio-mem device plugs into a stock guest: how it comes back, and that the daemon sees all of it."""
import json
import signal

import pytest

import daemon as d
from daemon import folder  # noqa: F401  (a fixture)
from lab import process, stream
from lab.guest import Guest
from lab.process import wait_for
from matrix import kernels, machines
from restoring import restore
from test_agent import PROBE, agent_path

MIB = 1 << 20
PAGE = 4096
BASE = PLUGGED = 512 * MIB
STEP = 256 * MIB


class Machine:
    def __init__(self, kernel, directory):
        self.guest = Guest(f"plug-{kernel}", directory, kernel=kernel, memory_mib=BASE // MIB, plugged_mib=PLUGGED // MIB,
                           agent=agent_path(), shared_disks=[stream.image()]).start()

    def prepare(self):
        self.guest.wait_ready()
        wait_for(lambda: self.device()["size"] == PLUGGED, 60, "all is plugged in")
        self.files = stream.Stream(self.guest)

    def stop(self):
        self.guest.kill()

    def device(self):
        return self.guest.qmp("query-memory-devices")[0]["data"]

    def request(self, size):
        self.guest.qmp("qom-set", path="/machine/peripheral/plug0", property="requested-size", value=size)
        wait_for(lambda: self.device()["size"] == size, 120, f"{size // MIB} MiB are plugged in")

    def fill(self, size):
        for path, offset, length in self.files.take(size):
            self.guest.run(f"dd if={path} of=/dev/null bs=1M skip={offset // MIB} count={length // MIB} status=none", 120)

    def cached(self, first, count):
        """Pages of page cache that nothing maps, among these page frames."""
        return json.loads(self.guest.python(PROBE, {"call": "cached_frames", "args": [first, count]}))

    def frames(self, offset, size):
        """The page frames of a part of the device's region."""
        return (self.device()["memaddr"] + offset) // PAGE, size // PAGE


@pytest.fixture(scope="module")
def guests():
    with machines("plug", kernels("6.1", "6.12"), Machine) as made:
        yield made


@pytest.fixture(params=kernels("6.1", "6.12"))
def machine(guests, request):
    found = guests[request.param]
    yield found
    assert found.guest.check_kernel_log() == []


def test_what_is_unplugged_comes_back_whole(machine):
    """The kernel drops what is clean and unmapped in the blocks that go, and moves the rest: the host has all of it back at
    once, in the backend of the device alone, and cache that lies elsewhere stays."""
    machine.fill(BASE + PLUGGED)
    top, rest = machine.frames(PLUGGED - STEP, STEP), machine.frames(0, PLUGGED - STEP)
    before = machine.cached(*top), machine.cached(*rest)
    assert before[0] >= 0.8 * top[1] and before[1] >= 0.8 * rest[1], "both halves are full of cache"
    held = machine.guest.ram_resident_bytes()
    machine.request(PLUGGED - STEP)
    assert held - machine.guest.ram_resident_bytes() >= 0.9 * STEP
    assert machine.cached(*top) == 0 and machine.cached(*rest) >= 0.9 * before[1]
    machine.request(PLUGGED)


def test_the_dial(machine, folder):
    """`pagepact balloon`: superpages first and the rest by pages; all comes back, in whatever way it is asked for."""
    home = folder / f"{machine.guest.name}-dial"
    home.mkdir()
    daemon = d.Daemon(home).add("alpha", machine.guest.qmp_path, machine.guest.agent_path, act=True)

    def resize(size, **more):
        reply = daemon.call("balloon", 120, vm="alpha", size=str(size), **more)
        assert "error" not in reply, reply
        return reply["parameters"]
    try:
        daemon.start()
        daemon.wait_agent("alpha", "live", 20)
        daemon.wait_vm("alpha", lambda vm: vm["state"] == "running")
        machine.fill(BASE + PLUGGED)
        held = machine.guest.ram_resident_bytes()
        reply = resize(-STEP - MIB)
        assert reply["state"] == "reached" and reply["unplugged_bytes"] == STEP, reply
        assert machine.device()["size"] == PLUGGED - STEP and reply["actual_bytes"] == BASE + PLUGGED - STEP - MIB
        assert held - machine.guest.ram_resident_bytes() >= 0.9 * STEP
        assert reply["host_returned_bytes"] >= 0.9 * STEP
        reply = resize("max")
        assert reply["state"] == "reached" and machine.device()["size"] == PLUGGED, reply
        assert daemon.vm("alpha")["balloon"]["original_bytes"] is None
        # A daemon that dies in the midst: the dead-man knows both devices.
        resize(-STEP - 64 * MIB, no_wait=True)
        wait_for(lambda: machine.device()["size"] < PLUGGED, 30, "some is unplugged")
        process.stop(daemon.process, signal.SIGKILL)
        done = restore(daemon.run, "--now")
        assert done.returncode == 0, done.stderr
        wait_for(lambda: machine.device()["size"] == PLUGGED, 60, "all is plugged in again")
        wait_for(lambda: machine.guest.qmp("query-balloon")["actual"] == BASE, 60, "the balloon holds nothing")
    finally:
        process.stop(daemon.process)


def test_the_daemon_counts_both_backends(machine, folder):
    home = folder / machine.guest.name
    home.mkdir()
    daemon = d.Daemon(home).add("alpha", machine.guest.qmp_path, machine.guest.agent_path)
    try:
        daemon.start()
        daemon.wait_agent("alpha", "live", 20)
        found = daemon.wait_vm("alpha", lambda vm: vm["state"] == "running")
        device = {"id": "plug0", "node": 0, "block_bytes": 2 * MIB, "max_bytes": PLUGGED, "requested_bytes": PLUGGED, "bytes": PLUGGED}
        assert found["set_up"] == "superpages" and found["virtio_mem"] == [device] and found["memory_bytes"] == BASE + PLUGGED
        assert abs(found["host_resident_bytes"] - machine.guest.ram_resident_bytes()) <= 16 * MIB
        machine.request(PLUGGED - STEP)
        found = daemon.wait_vm("alpha", lambda vm: vm["virtio_mem"][0]["bytes"] == PLUGGED - STEP, 20)
        assert found["memory_bytes"] == BASE + PLUGGED - STEP and found["virtio_mem"][0]["requested_bytes"] == PLUGGED - STEP
        machine.request(PLUGGED)
        daemon.stop()
    finally:
        process.stop(daemon.process)

# SPDX-License-Identifier: Apache-2.0
"""`pagepact balloon` with a real guest that is full of page cache: what the host sees, and what its kernel says."""
import pytest

import daemon as d
from daemon import folder  # noqa: F401  (a fixture)
from lab import process
from lab.guest import Guest

AGENT = d.BUILD / "src/guest/pagepact-agent"
MIB = 1 << 20
MEMORY = 1024 * MIB
READ = "find /usr -xdev -type f -size +16k -print0 | xargs -0 cat >/dev/null 2>&1 || true; sleep 1"


@pytest.fixture(scope="module")
def guest(folder):
    made = Guest("alpha", folder, agent=AGENT)
    made.start()
    try:
        made.wait_ready()
        yield made
        assert made.check_kernel_log() == []
    finally:
        made.kill()


@pytest.fixture(scope="module")
def daemon(folder, guest):
    made = d.Daemon(folder).add("alpha", guest.qmp_path, guest.agent_path, act=True)
    (made.etc / "pagepact.conf").write_text(f"[pagepact]\npublic_images = {guest.base}\n")
    try:
        made.start()
        made.wait_agent("alpha", "live", 20)
        made.wait_vm("alpha", lambda vm: vm["state"] == "running")
        yield made
        made.stop()
    finally:
        process.stop(made.process)


def resize(daemon, size, **more):
    reply = daemon.call("balloon", 120, vm="alpha", size=str(size), **more)
    assert "error" not in reply, reply
    reply = reply["parameters"]
    print({key: value // MIB if key.endswith("bytes") and value else value for key, value in reply.items()})
    return reply


def cached(guest):
    return int(guest.run("grep -w ^Cached: /proc/meminfo").split()[1]) * 1024


def test_first_and_back(daemon, guest):
    """Down to a third: the host has the memory back, nobody was killed, and `max` gives all of it to the guest again.

    With `only` before: what processes use stays, for there is no swap, and as much anonymous memory as before.
    """
    guest.run(READ, 120)
    full, held = cached(guest), guest.ram_resident_bytes()
    anonymous = "grep -w ^AnonPages: /proc/meminfo"
    before = int(guest.run(anonymous).split()[1])
    reply = resize(daemon, "850M", cache="only")
    assert reply["state"] in ("reached", "cache_ended") and reply["actual_bytes"] < MEMORY, reply
    assert abs(int(guest.run(anonymous).split()[1]) - before) < 4096
    floor = resize(daemon, "512M", dry_run=True)["floor_bytes"]
    assert 50 * MIB < floor < 400 * MIB
    wanted = max(floor + 64 * MIB, 300 * MIB) // MIB * MIB
    reply = resize(daemon, wanted)
    assert reply["state"] == "reached" and reply["actual_bytes"] == wanted, reply
    assert reply["floor_source"] == "agent" and cached(guest) < full // 2
    assert guest.ram_resident_bytes() <= wanted + 16 * MIB
    assert reply["host_returned_bytes"] > 200 * MIB
    assert abs(held - guest.ram_resident_bytes() - reply["host_returned_bytes"]) < 16 * MIB
    assert guest.check_kernel_log() == []
    reply = resize(daemon, "max")
    assert reply["state"] == "reached" and reply["actual_bytes"] == MEMORY
    assert int(guest.run("grep MemFree: /proc/meminfo").split()[1]) * 1024 > MEMORY - wanted
    assert daemon.vm("alpha")["balloon"]["original_bytes"] is None


def test_stock_and_stopped(daemon, guest):
    """Without eviction by an agent; a daemon that ends gives all back."""
    reply = resize(daemon, "700M", cache="off")
    assert reply["state"] == "reached" and reply["evicted_bytes"] == 0, reply
    daemon.stop()
    process.wait_for(lambda: guest.qmp("query-balloon")["actual"] == MEMORY, 20, "all memory is back")
    daemon.start()


def test_driver_unbound(daemon, guest):
    """Whoever asks a guest without its driver for memory is told within seconds, and no target is left for the driver when
    it comes back."""
    drivers = "/sys/bus/virtio/drivers/virtio_balloon"
    device = guest.run(f"ls {drivers} | grep ^virtio").strip()
    guest.run(f"echo {device} >{drivers}/unbind")
    reply, seconds = d.timed(resize, daemon, "700M", cache="off")
    assert reply["state"] == "stalled" and reply["actual_bytes"] == MEMORY, reply
    assert seconds < 20 and daemon.vm("alpha")["balloon"]["original_bytes"] is None
    inflated = guest.run("grep -w balloon_inflate /proc/vmstat")
    guest.run(f"echo {device} >{drivers}/bind")
    assert resize(daemon, "max")["actual_bytes"] == MEMORY
    assert guest.run("grep -w balloon_inflate /proc/vmstat") == inflated

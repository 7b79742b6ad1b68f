# SPDX-License-Identifier: Apache-2.0
"""What guests are told of the host's page cache: blocks of their own disks, within their sharing domain, bounded."""
import contextlib
import os
import struct
import tempfile
from pathlib import Path

import pytest

import daemon as d
from daemon import folder  # noqa: F401  (a fixture)
from ballooned import CAN, Balloon
from lab import process, wire

MIB = 1 << 20
SIZE = 4 * MIB


class Guest:
    """Keeps what it was told, by the serial number of the disk."""

    def __init__(self, near_limit=False):
        self.report = wire.report(limit_bytes=MIB, limit_origin=4, limit_state=wire.STATES.index("kept"),
                                  unmapped_bytes=MIB if near_limit else 0)
        self.told = []
        self.order = []

    def __call__(self, agent, connection):
        for kind, ident, payload in agent.messages(connection):
            self.order.append(kind)
            if kind == wire.WELCOME:
                connection.sendall(d.frame(wire.HELLO, ident, d.hello(capabilities=CAN)))
            elif kind in (wire.ASK, wire.LIMIT):
                connection.sendall(d.frame(wire.REPORT, ident, self.report))
            elif kind == wire.FREE:
                size, = struct.unpack_from("<Q", payload)
                connection.sendall(d.frame(wire.FREED, ident, wire.freed(size, stopped="nothing_left")))
            else:
                if kind == wire.HOLDS:
                    pci, serial, flags, count = struct.unpack_from("<16s32sII", payload)
                    runs = list(struct.iter_unpack("<QQ", payload[56:]))
                    assert len(runs) == count
                    self.told.append((pci.rstrip(b"\0").decode(), serial.rstrip(b"\0").decode(), flags, runs))
                agent.answer(connection, kind, ident)

    def blocks(self):
        return {block + n for _, _, _, runs in self.told for block, count in runs for n in range(count)}


@pytest.fixture
def place(folder):
    """place({name: (image, act, domain, guest)}, public, balloons): a daemon with these guests; `balloons` names those
    whose balloon is scripted."""
    with contextlib.ExitStack() as stack:
        def make(guests, public=(), balloons=()):
            path = Path(tempfile.mkdtemp(dir=folder))
            made = d.Daemon(path)
            made.balloons = {}
            (made.etc / "pagepact.conf").write_text(f"[pagepact]\npublic_images = {' '.join(map(str, public))}\n")
            for name, (image, act, domain, guest) in guests.items():
                if name in balloons:
                    qemu = made.balloons[name] = Balloon(path, name, image=image)
                else:
                    qemu = d.Qemu(path, name, image=image, runs=True, locking="off")
                stack.callback(qemu.stop)
                stack.callback(d.FakeAgent(path / f"{name}.agent", guest).stop)
                made.add(name, qemu.path, path / f"{name}.agent", act=act, more=f"domain = {domain}")
            stack.callback(lambda: process.stop(made.process))
            made.start()
            for name in guests:
                made.wait_agent(name, "live")
                made.wait_vm(name, lambda vm: vm["state"] == "running")
            return made
        yield make


@pytest.fixture
def image(folder):
    """A file of which the host holds one half."""
    path = Path(tempfile.mkdtemp(dir=folder)) / "image.raw"
    path.write_bytes(os.urandom(SIZE))
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    os.pread(fd, SIZE // 2, SIZE // 4)
    yield path
    os.close(fd)


def free(made, name="a"):
    reply = made.call("free", vm=name, bytes=MIB, seconds=60)["parameters"]
    assert reply["error"] is None
    return reply


def test_before_free(place, image):
    """The half, in the disk's own blocks, before the order; and the reply says how much was told."""
    guest = Guest()
    made = place({"a": (image, True, "a", guest)})
    reply = free(made)
    half = set(range(SIZE // 4 // 4096, SIZE * 3 // 4 // 4096))
    # The firmware reads the first sectors; the machine may drop what nobody uses.
    assert guest.blocks() - half <= set(range(64)) and len(guest.blocks() & half) > len(half) // 2
    assert reply["told_held_bytes"] == 4096 * len(guest.blocks())
    assert guest.order.index(wire.HOLDS) < guest.order.index(wire.FREE)
    pci, serial, flags, _ = guest.told[0]
    assert pci.startswith("0000:") and serial == "d" and flags == 1
    text = made.call("explain", order=reply["order"])["parameters"]["text"]
    assert any("these were not touched" in line for line in text)
    made.stop()


def test_near_the_limit(place, image):
    """By itself, for a guest that may be acted on; one below its limit, and an observed one, are told nothing."""
    near, below, observed = Guest(True), Guest(), Guest(True)
    made = place({"a": (image, True, "x", near), "b": (image, True, "x", below), "c": (image, False, "x", observed)})
    process.wait_for(lambda: near.told, 40, "the guest near its limit is told")
    assert near.blocks() and not below.told and not observed.told
    made.stop()


def test_an_inflating_balloon(place, image):
    """With the hint, and by itself; without it, not when another guest's turn comes."""
    guest, near = Guest(), Guest(True)
    made = place({"a": (image, True, "x", guest), "b": (image, True, "x", near)}, balloons=["a"])
    balloon = made.balloons["a"]
    balloon.hold(512 * MIB)
    balloon.emit("BALLOON_CHANGE", actual=balloon.memory - 64 * MIB)
    near.told.clear()
    process.wait_for(lambda: near.told, 60, "the guest near its limit is told")
    assert not guest.told
    assert "error" not in made.call("hint", vm="a", hint="cache")
    balloon.hold(384 * MIB)
    balloon.emit("BALLOON_CHANGE", actual=balloon.memory - 192 * MIB)
    process.wait_for(lambda: guest.told, 20, "the guest whose balloon inflates is told")
    assert guest.blocks()
    made.stop()


@pytest.mark.parametrize("domains, public, told", [
    (("x", "x"), False, True), (("x", "y"), False, False), (("x", "y"), True, True),
])
def test_sharing_domains(place, image, domains, public, told):
    """What two domains read is no business of either, unless it is public."""
    guest = Guest()
    made = place({"a": (image, True, domains[0], guest), "b": (image, True, domains[1], Guest())},
                 public=[image] if public else [])
    reply = free(made)
    assert bool(guest.blocks()) == told == bool(reply["told_held_bytes"])
    made.stop()


def test_bounded(place, folder):
    """More runs than are told: 32 full messages, and the first one alone says that it is."""
    path = Path(tempfile.mkdtemp(dir=folder)) / "sparse.raw"
    runs = 48 * 2048  # the machine drops some of them by itself
    with open(path, "wb") as file:
        file.truncate(runs * 2 * 4096)
    fd = os.open(path, os.O_RDWR)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    for n in range(runs):
        os.pread(fd, 1, n * 2 * 4096)
    guest = Guest()
    made = place({"a": (path, True, "a", guest)})
    free(made)
    process.wait_for(lambda: len(guest.told) == 32, 20, "all is told")
    assert [flags for _, _, flags, _ in guest.told] == [1] + [0] * 31
    everything = [run for _, _, _, some in guest.told for run in some]
    assert len(everything) == 32 * 2048 and everything == sorted(everything)
    os.close(fd)
    made.stop()


def test_operations_go_first(place, image):
    """A dup that comes while a guest is being told is not refused, and neither waits for the other."""
    guest = Guest(True)
    made = place({"a": (image, True, "a", guest)})
    for _ in range(30):
        assert "error" not in made.call("dup", seconds=20)
    assert made.vm("a")["agent"]["state"] == "live"
    process.wait_for(lambda: guest.told, 40, "it is told after all")
    made.stop()

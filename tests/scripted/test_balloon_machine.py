# SPDX-License-Identifier: Apache-2.0
"""A machine that is replaced, restarted or detached while scripted guests are resized: whoever runs then is not squeezed."""
import contextlib
import json
import os
import signal
import socket
import threading
import time

import pytest

import ballooned
import daemon as d
from ballooned import MIB, Agent, Balloon, Guest, beside, crowd, host, place  # noqa: F401  (fixtures too)
from daemon import folder  # noqa: F401  (a fixture)
from lab import process, wire


# ---------------------------------------------------------------- another QEMU


def play(path, size, **delays):
    """A scripted QEMU in a process of its own, with `size` MiB: its pid. Its guest is restarted, and it is being migrated,
    once there is a file `restart` (which goes)."""
    pid = os.fork()
    if pid:
        process.wait_for((path / f"up{size}").exists, 20, "it is up")
        return pid
    os.setsid()
    ballooned._sizes = iter([size])
    balloon = Balloon(path, "a")
    balloon.delays = delays
    (path / f"up{size}").write_text("")
    while True:
        with contextlib.suppress(FileNotFoundError):
            (path / "restart").unlink()
            balloon.migration = {"status": "active"}
            balloon.emit("RESET", guest=True, reason="guest-reset")
        (path / "new").write_text(json.dumps(balloon.targets))
        os.rename(path / "new", path / f"targets{size}")
        time.sleep(0.05)


def end(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def replace(path, pid, size, **delays):
    """Another one at the same path, at once: its pid."""
    end(pid)
    for name in ("a.qmp", "a.real"):
        (path / name).unlink()
    return play(path, size, **delays)


@contextlib.contextmanager
def played(path, size, agent):
    """A daemon that has attached such a machine, and its agent: (daemon, what ends with them, pid, agent's port)."""
    path.mkdir()
    with contextlib.ExitStack() as stack:
        pid = play(path, size)
        stack.callback(end, pid)
        daemon = d.Daemon(path).start()
        stack.callback(lambda: process.stop(daemon.process))
        port = d.FakeAgent(path / "a.agent", agent)
        stack.callback(port.stop)
        daemon.call("attach", name="a", qmp=str(path / "a.qmp"), act=True, agent=f"serial:{port.path}")
        daemon.wait_vm("a", lambda vm: vm["state"] == "running")
        daemon.wait_agent("a", "live")
        yield daemon, stack, pid, port


def test_replaced_with_a_target_due(folder):
    """What could not be set while QEMU was migrating is not set on the one that comes after it, slow to tell of itself."""
    path = folder / "due"
    with played(path, 2200, Agent()) as (daemon, stack, pid, _):
        assert daemon.call("balloon", 30, vm="a", size="900M")["parameters"]["state"] == "reached"
        (path / "restart").write_text("")
        process.wait_for(lambda: "its original size" in daemon.log(), 15, "the restart is seen")
        stack.callback(end, replace(path, pid, 2202, **{"query-status": 2.5}))
        daemon.wait_vm("a", lambda vm: vm["memory_bytes"] == 2202 * MIB, 30)
        daemon.wait_vm("a", lambda vm: vm["balloon"]["original_bytes"] is None, 30)
        assert json.loads((path / "targets2202").read_text()) == []


def test_reset_just_before_a_target(place):  # noqa: F811
    """It is not squeezed while it boots: what it gets then is all of its memory."""
    made = place("before")
    armed = []

    def answer(name, arguments, old=made.balloon._answer):
        if name == "query-migrate" and armed:
            armed.clear()
            made.balloon.reset()
        return old(name, arguments)
    made.balloon._answer = answer
    made.said.free = lambda size: armed.append(size) or wire.freed(size, cold=size)
    assert made.resize("700M")["state"] == "restarted"
    assert not armed and min(made.balloon.targets) >= made.balloon.memory - 4096


@pytest.mark.parametrize("step", [1, 2])
def test_replaced(folder, step):
    """QEMU dies during an eviction, and another one listens at its path at once: nothing is set there, ever."""
    path, agent, go = folder / f"replaced{step}", Agent(), threading.Event()
    agent.free = lambda size: (len(agent.frees) < step or go.wait(30)) and wire.freed(size, cold=size)
    with played(path, 2048 + step * 4, agent) as (daemon, stack, pid, _):
        stack.callback(go.set)
        client = d.Client(daemon.socket)
        client.send("balloon", vm="a", size="512M")
        process.wait_for(lambda: len(agent.frees) == step, 15, "an eviction")
        size = 2050 + step * 4
        stack.callback(end, replace(path, pid, size))
        go.set()
        reply = client.reply()["parameters"]
        assert reply["state"] == "failed" and "its QEMU has ended" in reply["reason"], reply
        daemon.wait_vm("a", lambda vm: vm["state"] == "running")
        daemon.stop()
        assert json.loads((path / f"targets{size}").read_text()) == []


def test_resized_when_replaced(folder):
    """The first boot of another machine is no restart of the one before."""
    path, agent, go = folder / "replaced", Agent(), threading.Event()
    agent.free = lambda size: go.wait(30) and wire.freed(size, cold=size)
    with played(path, 2070, agent) as (daemon, stack, pid, port):
        stack.callback(go.set)
        time.sleep(1.2)  # its boot is known: the daemon looks each second
        agent.boot = b"b" * 16
        stack.callback(end, replace(path, pid, 2074))
        port.connection.shutdown(socket.SHUT_RDWR)
        daemon.wait_vm("a", lambda vm: vm["state"] == "running" and vm["memory_bytes"] == 2074 * MIB)
        daemon.wait_vm("a", lambda vm: vm["agent"]["boot_id"] == "62" * 16)
        client = d.Client(daemon.socket)
        client.send("balloon", vm="a", size="1900M")
        process.wait_for(lambda: agent.frees, 15, "an eviction")
        time.sleep(1.2)
        go.set()
        assert client.reply()["parameters"]["state"] == "reached"


# ---------------------------------------------------------------- detached


def slowly(balloon):
    """Its balloon answers after 0.3 s."""
    def answer(name, arguments, old=balloon._answer):
        if name in ("balloon", "query-balloon"):
            time.sleep(0.3)
        return old(name, arguments)
    balloon._answer = answer


@pytest.mark.parametrize("first", ["detach", "stop"])
def test_detached_and_stopped(folder, first):
    """Each guest is given back what it had, once, and the daemon ends well."""
    path = folder / f"leaves-{first}"
    path.mkdir()
    with contextlib.ExitStack() as stack:
        daemon = d.Daemon(path).start()
        stack.callback(lambda: process.stop(daemon.process))
        one, other = Guest(daemon, stack, "a", Agent()), Guest(daemon, stack, "b", Agent())
        for made in (one, other):
            made.resize("700M")
            slowly(made.balloon)
        client = d.Client(daemon.socket)
        if first == "stop":
            daemon.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        client.send("detach", vm="a")
        time.sleep(0.2)
        if first == "detach":
            daemon.process.send_signal(signal.SIGTERM)
        daemon.process.wait(20)
        assert daemon.process.returncode == 0, daemon.log()
        for made in (one, other):
            assert made.balloon.targets.count(made.balloon.memory) == 1 and made.entry() is None
            assert made.balloon.target == made.balloon.memory
        if first == "stop":
            assert "is stopping" in client.reply()["parameters"]["message"]


# ---------------------------------------------------------------- restarted


def reset(made):
    made.balloon.emit("RESET", guest=True, reason="guest-reset")


def whole(made, seconds=20):
    """Its boot has all memory, and keeps it."""
    process.wait_for(lambda: made.balloon.target == made.balloon.memory, seconds, "its boot has all memory")
    time.sleep(1.5)
    assert made.balloon.target == made.balloon.memory and made.entry()


@beside(False, True)
def test_reset_before_the_first_target(guest, dry):
    """A second resize has set nothing yet, or would not at all."""
    agent = Agent()
    made = guest(agent)
    made.resize("700M")
    go = threading.Event()
    agent.free = lambda size: go.wait(10) and wire.freed(size, cold=size)
    with d.Client(made.daemon.socket) as client:
        client.send("balloon", vm=made.name, size="600M", dry_run=dry)
        time.sleep(0.3 if dry else 1.5)
        reset(made)
        process.wait_for(lambda: made.balloon.target == made.balloon.memory, 20, "its boot has all memory")
        go.set()
        client.reply()
    whole(made)
    assert made.status()["resume_bytes"] == (700 if dry else 600) * MIB


@beside()
def test_reset_while_ending(guest):
    """A stall has just set its last target."""
    made = guest(Agent())
    made.balloon.rate = 100 * MIB
    with made.begin("512M") as client:
        time.sleep(1)
        made.balloon.follow()
        made.balloon.rate = 0
        process.wait_for(lambda: len(made.balloon.targets) > 1, 10, "some is given back")
        made.balloon.rate = 2048 * MIB  # its next kernel's driver is another one
        reset(made)
        client.reply()
    whole(made)


@beside()
def test_reset_while_it_answers_nothing(guest):
    """The target is set again until QEMU has answered."""
    made = guest(Agent())
    made.resize("700M")
    made.balloon.cut = 3
    reset(made)
    process.wait_for(lambda: made.balloon.targets.count(made.balloon.memory) == 2, 10, "it is set again")
    whole(made)


@beside()
def test_reset_while_migrating(guest):
    """No target is set until that is over."""
    made = guest(Agent())
    made.resize("700M")
    made.balloon.migration = {"status": "active"}
    reset(made)
    time.sleep(2.5)
    assert made.balloon.target == 700 * MIB
    made.balloon.migration = {"status": "cancelled"}
    whole(made)


@beside()
def test_another_kernel(guest):
    """kexec: QEMU says nothing, the agent's next HELLO tells of another boot."""
    made = guest(Agent())
    made.resize("700M")
    time.sleep(1.2)
    made.said.boot = b"b" * 16
    made.agent.connection.shutdown(socket.SHUT_RDWR)
    whole(made)


def test_journal_cannot_be_written(place):
    """Memory is given back all the same, by a reset and by a person; it is not taken."""
    made = place("full")
    made.resize("700M")
    (made.daemon.run / "journal.d/.a.new").mkdir()
    reset(made)
    whole(made)
    assert made.resize("max")["state"] == "reached" and made.entry() is None
    reply = made.resize("700M")
    assert reply["state"] == "failed" and "journal cannot be written" in reply["reason"]
    assert made.balloon.target == made.balloon.memory


@beside()
def test_refused_target(guest):
    """What QEMU did not take is not remembered as set."""
    made = guest(Agent())
    made.resize("900M")

    def answer(name, arguments, old=made.balloon._answer):
        if name == "balloon" and arguments["value"] < 900 * MIB:
            return {"error": {"class": "GenericError", "desc": "no"}}
        return old(name, arguments)
    made.balloon._answer = answer
    reply = made.resize("800M")
    assert reply["state"] == "failed" and reply["target_bytes"] == 900 * MIB
    assert made.status()["target_bytes"] == 900 * MIB and json.loads(made.entry())["target_bytes"] == 900 * MIB


@beside()
def test_refused_undo(guest):
    """What is to be given back, and QEMU did not take, is set as soon as it does."""
    made, refused = guest(Agent()), []
    made.balloon.rate = 100 * MIB

    def answer(name, arguments, old=made.balloon._answer):
        if name == "balloon" and not refused and arguments["value"] > made.balloon.target < made.balloon.memory:
            refused.append(arguments["value"])
            return {"error": {"class": "GenericError", "desc": "no"}}
        return old(name, arguments)
    made.balloon._answer = answer
    with made.begin("512M") as client:
        made.said.values["pressure"] = 5000
        reply = client.reply()["parameters"]
    assert reply["state"] == "pressure" and any("could not be set" in note for note in reply["notes"]), reply
    process.wait_for(lambda: made.balloon.target == refused[0], 10, "it is set")

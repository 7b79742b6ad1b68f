# SPDX-License-Identifier: Apache-2.0
"""Wrong sockets, bad agents, bad files, bad clients: each gets one clear line, and nobody else has to wait.

No guest is booted here; test_trouble_guest.py has what needs one, test_trouble_files.py what is in files.
"""
import contextlib
import os
import struct
import tempfile
from pathlib import Path

import pytest

import daemon as d
from daemon import folder  # noqa: F401  (a fixture)
from lab import process, wire
from lab.qmp import Qmp

QUICK = 1.0  # seconds; an answer takes milliseconds, this machine may be busy


def old(agent, connection, version):
    for kind, ident in agent.requests(connection):
        if kind == d.WELCOME:
            connection.sendall(d.frame(d.HELLO, ident, d.hello(version=version) + b"more", version=version))


def silent(agent, _):
    agent.hold()


def garbage(agent, connection):
    while not agent.ended.is_set():
        connection.sendall(os.urandom(65536))


def drip(agent, connection):
    for byte in d.frame(d.HELLO, 0, d.hello()):
        connection.sendall(bytes([byte]))
        if agent.ended.wait(1):
            break


def cut(agent, connection):
    """Killed in the middle of a frame; a new agent answers from then on."""
    connection.sendall(d.frame(d.FILE, 1, bytes(60000))[:30000])
    d.healthy(agent, connection)


def liar(agent, connection):
    """A file on a disk that it does not have."""
    for kind, ident in agent.requests(connection):
        if kind == d.SCAN:
            connection.sendall(d.frame(d.FILE, ident, struct.pack("<IIQII QIIII", 1, 0, 7, 0, 0, 0, 0, 3, 0, 0)))
        else:
            agent.answer(connection, kind, ident)


@pytest.fixture(scope="module")
def zoo(folder):
    """One daemon, a healthy guest, and every kind of trouble beside it."""
    place = folder / "zoo"
    place.mkdir()
    with contextlib.ExitStack() as stack:
        image = place / "image.raw"
        image.write_bytes(bytes(1 << 20))
        good, busy, bare = (d.Qemu(place, "good", image=image, runs=True), d.Qemu(place, "busy"),
                            d.Qemu(place, "bare", balloon=False))
        for qemu in (good, busy, bare):
            stack.callback(qemu.stop)
        holder = Qmp(busy.path)
        stack.callback(holder.close)
        (place / "file").write_text("no socket")
        daemon = d.Daemon(place)
        stack.callback(lambda: daemon.process and process.stop(daemon.process))
        sockets = {
            "banner": lambda a, c: (c.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"), a.hold()),
            "hung": silent,
        }
        agents = {
            "good": d.healthy, "old": lambda a, c: old(a, c, 0), "newer": lambda a, c: old(a, c, wire.VERSION + 1),
            "silent": silent, "garbage": garbage, "drip": drip, "cut": cut,
        }
        for name, serve in sockets.items():
            stack.callback(d.FakeAgent(place / f"{name}.qmp", serve).stop)
        for name, serve in agents.items():
            stack.callback(d.FakeAgent(place / f"{name}.agent", serve).stop)
        daemon.add("good", good.path, place / "good.agent")
        daemon.add("busy", busy.path).add("bare", bare.path)
        daemon.add("missing", place / "no.qmp", place / "no.agent").add("file", place / "file")
        for name in sockets:
            daemon.add(name, place / f"{name}.qmp")
        for name in set(agents) - {"good"}:
            daemon.add(name, place / f"{name}.no-qmp", place / f"{name}.agent")
        daemon.start().wait_vm("good", lambda vm: vm["state"] == "running")
        yield daemon
        daemon.stop()


@pytest.fixture(autouse=True)
def others_are_served(request):
    """Whatever a test did, the healthy guest is known, and asking takes no time."""
    yield
    if "zoo" in request.fixturenames:
        zoo = request.getfixturevalue("zoo")
        zoo.wait_agent("good", "live", 5)
        vm, seconds = d.timed(zoo.vm, "good")
        assert vm["state"] == "running" and seconds < QUICK


# ---------------------------------------------------------------- QMP sockets


@pytest.mark.parametrize("name, state, words", [
    ("missing", "absent", ["no such socket", "is qmp= right?"]),
    ("file", "absent", ["nobody listens"]),
    ("banner", "absent", ["not a QMP socket"]),
    ("hung", "busy", ["no QMP greeting within 2 s"]),
    ("busy", "busy", ["no QMP greeting within 2 s", "-qmp unix:"]),
])
def test_qmp(zoo, name, state, words):
    vm = zoo.wait_vm(name, lambda vm: vm["state"] == state and vm["reason"] != "not connected yet")
    for word in words:
        assert word in vm["reason"]
    lines = [line for line in zoo.log().splitlines() if f" {name}: " in line and vm["reason"] in line]
    assert len(lines) == 1, "said once, not at every try"


def test_qmp_without_balloon(zoo):
    vm = zoo.wait_vm("bare", lambda vm: vm["state"] == "prelaunch")
    assert any("no balloon device" in line for line in vm["balloon"]["notes"])
    assert vm["balloon_bytes"] is None


def test_set_ups(zoo):
    """Each guest whose machine is known is one of them."""
    zoo.wait_vm("bare", lambda vm: vm["state"] == "prelaunch")
    assert [zoo.vm(name)["set_up"] for name in ("good", "bare", "busy", "missing")] == ["reporting", "none", None, None]
    assert zoo.vm("good")["agent"]["clears_pages"] is None, "it has not said so"
    found = zoo.call("status")["parameters"]["set_ups"]
    assert [(each["set_up"], each["guests"]) for each in found] == [("reporting", 1), ("none", 1)]
    assert "virtio-mem" in found[0]["text"]
    assert "error" not in zoo.call("dup", seconds=60, vm="good")
    assert zoo.vm("good")["census"]["superpages_spoiled"] == d.SPOILED


# ---------------------------------------------------------------- agents


@pytest.mark.parametrize("name, state, reason", [
    ("missing", "absent", "its socket is not there"),
    ("old", "old", f"speaks protocol 0, this daemon {wire.VERSION}: update the agent"),
    ("newer", "old", f"speaks protocol {wire.VERSION + 1}, this daemon {wire.VERSION}: update the daemon"),
    ("silent", "silent", "nothing answers on its port: is pagepact-agent running in the guest?"),
    ("garbage", "bad", "the agent's bytes are not the protocol's"),
    ("drip", "silent", "what comes from its port is no greeting, or too slow"),
])
def test_agent(zoo, name, state, reason):
    assert zoo.wait_agent(name, state)["reason"] == reason
    zoo.says(f"{name}: agent {state}: {reason}")


def test_agent_killed_in_mid_frame(zoo):
    """What follows the cut is heard, though 30 KiB of the frame never come."""
    zoo.wait_agent("cut", "live", 12)


def test_dup_beside_them_all(zoo):
    reply, seconds = d.timed(zoo.call, "dup")
    assert seconds < 5
    known = {vm["name"]: vm for vm in reply["parameters"]["vms"]}
    assert known["good"]["known"]
    for name in ("missing", "busy", "banner"):
        assert not known[name]["known"] and known[name]["reason"]


# ---------------------------------------------------------------- clients


def test_client_garbage(zoo):
    with d.Client(zoo.socket) as client:
        client.socket.sendall(b"\x00\xff GET / HTTP/1.1\n")
        line = client.line()
        assert line["error"] == "invalid" and "not a request" in line["parameters"]["message"]
        client.send("version")
        assert client.line()["parameters"]["protocol"] == 1


def test_client_long_line(zoo):
    with d.Client(zoo.socket) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.socket.sendall(b"a" * 70000)
        line = client.line()
        assert line["error"] == "invalid" and "65536 bytes" in line["parameters"]["message"]


@pytest.mark.parametrize("method, parameters, word", [
    ("reclaim", {"dryrun": True}, "dryrun"),
    ("reclaim", {"dry_run": "yes"}, "dry_run"),
    ("reclaim", {"vm": ["good"]}, "vm"),
    ("reclaim", {"bytes": -1}, "bytes"),
    ("dup", {"limit": 0}, "limit"),
    ("fly", {}, "fly"),
    ("x" * 63 + "\u20ac", {}, "no such method"),
])
def test_client_slip(zoo, method, parameters, word):
    """A parameter that is not understood never means "all of them"."""
    reply = zoo.call(method, **parameters)
    assert reply["error"] == "invalid" and word in reply["parameters"]["message"]


@pytest.mark.parametrize("arguments, code, words", [
    (["dup", "nobody"], 1, "no guest named 'nobody'"),
    (["reclaim", "good"], 4, "only observed"),
    (["explain", "99"], 1, "no such order"),
    (["fly"], 2, "fly"),
])
def test_exit_codes(zoo, arguments, code, words):
    done = zoo.ctl(*arguments)
    assert done.returncode == code and words in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


def test_client_never_reads(zoo):
    """It is sent one answer and asked no more; the daemon keeps nothing else for it."""
    with d.Client(zoo.socket) as client:
        client.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                client.socket.send(b'{"method":"status"}\n' * 100)
        assert d.timed(zoo.call, "version")[1] < QUICK


def test_forty_clients(zoo):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(d.Client(zoo.socket)) for _ in range(40)]
        replies = []
        for client in clients:
            with contextlib.suppress(BrokenPipeError):
                client.send("version")
            replies.append(client.reply())
        assert [bool(reply.get("error")) for reply in replies] == [False] * 32 + [True] * 8
        assert replies[-1]["error"] == "busy"
        done = zoo.ctl("status")
        assert done.returncode == 1 and "as many clients as it can" in done.stderr
    process.wait_for(lambda: "error" not in zoo.call("version"), 20, "there is room again")


def test_attach_busy(zoo):
    reply = zoo.call("attach", name="again", qmp=str(zoo.directory / "busy.qmp"))
    assert reply["error"] == "failed" and "-qmp unix:" in reply["parameters"]["message"]
    process.wait_for(lambda: "again" not in str(zoo.call("status")), 20, "it is forgotten")


def test_attach_and_go(zoo):
    """A client that hangs up while its attach waits; the guest may be attached again all the same."""
    with d.Client(zoo.socket) as client:
        client.send("attach", name="late", qmp=str(zoo.directory / "hung.qmp"))
    reply = zoo.call("detach", vm="late")
    assert reply.get("error") in ("busy", "not_found")
    process.wait_for(lambda: zoo.call("detach", vm="late").get("error") == "not_found", 10, "the attach fails")


# ---------------------------------------------------------------- an agent that stops in mid-scan


def stalls(agent, connection):
    for kind, ident in agent.requests(connection):
        if kind == d.WELCOME:
            agent.answer(connection, kind, ident)
        elif kind == d.SCAN:
            agent.hold()


@pytest.fixture
def stalled(folder):
    place = Path(tempfile.mkdtemp(dir=folder))
    with contextlib.ExitStack() as stack:
        daemon = d.Daemon(place)
        for name, serve in (("good", d.healthy), ("hung", stalls), ("liar", liar)):
            qemu = d.Qemu(place, name, runs=True)
            stack.callback(qemu.stop)
            agent = d.FakeAgent(place / f"{name}.agent", serve)
            stack.callback(agent.stop)
            daemon.add(name, qemu.path, agent.path)
            setattr(daemon, name, agent)
        stack.callback(lambda: process.stop(daemon.process))
        daemon.start()
        for name in ("good", "hung", "liar"):
            daemon.wait_agent(name, "live")
            daemon.wait_vm(name, lambda vm: vm["state"] == "running")
        yield daemon


def in_scan(client):
    while True:
        line = client.line()
        if line["parameters"].get("stage") == "scan":
            return


def test_agent_silent_in_mid_scan(stalled):
    with d.Client(stalled.socket) as gone, d.Client(stalled.socket) as client:
        gone.send("dup")
        in_scan(gone)
        gone.socket.close()  # in the middle of its operation, which goes on
        client.send("dup")
        assert client.reply()["error"] == "busy"
        assert d.timed(stalled.vm, "good")[1] < QUICK
        # Its socket is closed, as when QEMU dies: the scan ends at once.
        stalled.hung.stop()
        process.wait_for(lambda: stalled.call("dup", 20).get("error") != "busy", 5, "the first dup ends")
        reply = stalled.call("dup")["parameters"]
    known = {vm["name"]: vm for vm in reply["vms"]}
    assert known["good"]["known"] and not known["hung"]["known"]
    assert known["liar"]["reason"].startswith("agent bad")
    stalled.says("liar: agent bad: its scan contradicts itself")
    stalled.stop()


def test_scan_has_an_end(stalled):
    """Neither answers nor hangs up: the dup of all the others waits a quarter of a minute, not longer."""
    reply, seconds = d.timed(stalled.call, "dup", 40)
    known = {vm["name"]: vm for vm in reply["parameters"]["vms"]}
    assert seconds < 25 and known["good"]["known"]
    assert known["hung"]["reason"] == "the agent fell silent in the middle of its scan"
    stalled.stop()


def test_daemon_told_to_end_in_mid_scan(stalled):
    with d.Client(stalled.socket) as client:
        client.send("dup")
        in_scan(client)
        stalled.stop()
        assert client.reply()["parameters"]["message"] == "the daemon is stopping"
    assert "ERROR: AddressSanitizer" not in stalled.log()


def test_reboot_forgets(folder):
    """A new boot id: what the guest cached before, it does not cache any more."""
    place = Path(tempfile.mkdtemp(dir=folder))
    with contextlib.ExitStack() as stack:
        qemu = d.Qemu(place, "a", runs=True)
        stack.callback(qemu.stop)
        agent = d.FakeAgent(place / "a.agent", d.healthy)
        stack.callback(agent.stop)
        daemon = d.Daemon(place).add("a", qemu.path, agent.path)
        stack.callback(lambda: process.stop(daemon.process))
        daemon.start()
        daemon.wait_agent("a", "live")
        daemon.wait_vm("a", lambda vm: vm["state"] == "running")
        assert daemon.call("dup")["parameters"]["vms"][0]["known"]
        assert daemon.vm("a")["agent"]["scan_age_usec"] is not None
        agent.connection.sendall(d.frame(d.HELLO, 0, d.hello(boot=b"b" * 16)))
        vm = daemon.wait_vm("a", lambda vm: vm["agent"]["boot_id"] == "62" * 16)
        assert vm["agent"]["scan_age_usec"] is None and vm["census"] is None
        daemon.stop()

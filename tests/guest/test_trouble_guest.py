# SPDX-License-Identifier: Apache-2.0
"""A real guest that is paused, killed or loses its agent in the middle of something; a halted QEMU is served beside it.

The tests are in an order: the guest is booted once, and does not survive the last.
"""
import contextlib
import signal

import pytest

import daemon as d
from daemon import folder  # noqa: F401  (a fixture)
from lab import process
from lab.guest import Guest

AGENT = d.BUILD / "src/guest/pagepact-agent"
READ = "/usr/lib/gcc/x86_64-linux-gnu/12/cc1"


@pytest.fixture(scope="module")
def guest(folder):
    made = Guest("alpha", folder, agent=AGENT, memory_mib=512)
    made.start()
    try:
        made.wait_ready()
        yield made
    finally:
        made.kill()


@pytest.fixture(scope="module")
def daemon(folder, guest):
    other = d.Qemu(folder, "other", runs=True)
    agent = d.FakeAgent(folder / "other.agent", d.healthy)
    made = d.Daemon(folder).add("alpha", guest.qmp_path, guest.agent_path, act=True)
    made.add("other", other.path, agent.path)
    (made.etc / "pagepact.conf").write_text(f"[pagepact]\npublic_images = {guest.base}\n")
    try:
        made.start()
        made.wait_agent("alpha", "live", 20)
        made.wait_agent("other", "live")
        made.wait_vm("alpha", lambda vm: vm["state"] == "running")
        yield made
        made.stop()
    finally:
        process.stop(made.process)
        agent.stop()
        other.stop()


@contextlib.contextmanager
def held_scan(daemon, guest):
    """A dup that waits for the guest's agent: stopped, so that it does not matter how fast it is."""
    guest.run("pkill -STOP -x pagepact-agent")
    with d.Client(daemon.socket) as client:
        client.send("dup")
        while client.line()["parameters"].get("stage") != "scan":
            pass
        yield client


def ended(client):
    """The reply's guests, by name; what was done to alpha is noticed within a tick of a second or two."""
    reply, seconds = d.timed(client.reply)
    assert seconds < 5, f"{seconds} s"
    known = {vm["name"]: vm for vm in reply["parameters"]["vms"]}
    assert known["other"]["known"], "the other guest was scanned all the same"
    return known


def test_agent_killed_in_mid_scan(daemon, guest):
    with held_scan(daemon, guest) as client:
        guest.run("pkill -KILL -x pagepact-agent")
        alpha = ended(client)["alpha"]
        assert not alpha["known"] and alpha["reason"] == "the agent has ended"
    # The guest starts a new one, and that is heard.
    process.wait_for(lambda: daemon.call("dup")["parameters"]["vms"][0]["known"], 15, "alpha is scanned again")


def test_paused_in_mid_scan(daemon, guest):
    with held_scan(daemon, guest) as client:
        guest.pause()
        alpha = ended(client)["alpha"]
        assert not alpha["known"] and alpha["reason"] == "the guest was paused"
    alpha = daemon.wait_vm("alpha", lambda vm: vm["state"] == "paused")
    reply, seconds = d.timed(daemon.call, "dup")
    assert seconds < 5 and reply["parameters"]["vms"][0]["reason"] == "the guest is paused"
    guest.cont()
    guest.run("pkill -CONT -x pagepact-agent")
    daemon.wait_vm("alpha", lambda vm: vm["state"] == "running")
    process.wait_for(lambda: daemon.call("dup")["parameters"]["vms"][0]["known"], 15, "alpha is scanned again")


def test_killed_in_mid_order(daemon, guest):
    """QEMU is killed when the first eviction is under way."""
    guest.run(f"cat {READ} >/dev/null")
    with d.Client(daemon.socket) as client:
        client.send("reclaim", vm="alpha")
        while (line := client.line())["parameters"].get("stage") != "evict":
            assert "continues" in line, line
        # So that the order is still open when QEMU dies, however fast the guest is.
        guest.process.send_signal(signal.SIGSTOP)
        assert d.timed(daemon.vm, "other")[1] < 1
        guest.kill()
        reply, seconds = d.timed(client.reply)
    assert seconds < 20, f"{seconds} s"
    failed = [order for order in reply["parameters"]["orders"] if order["error"]]
    assert failed and "the guest has gone before it answered" in failed[0]["error"]
    assert f"order {failed[0]['id']}: evict alpha" in daemon.says(failed[0]["error"])
    assert "It did not end well" in daemon.ctl("explain", str(failed[0]["id"])).stdout
    daemon.wait_vm("alpha", lambda vm: vm["state"] == "absent")
    known = {vm["name"]: vm for vm in daemon.call("dup")["parameters"]["vms"]}
    assert known["other"]["known"] and not known["alpha"]["known"]

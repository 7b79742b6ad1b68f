# SPDX-License-Identifier: Apache-2.0
"""`pagepact balloon` with guests whose balloon and agent are scripted: sizes, floors, page cache, and people."""
import contextlib
import json
import signal
import subprocess

import pytest

import daemon as d
from ballooned import MIB, NAMES, Agent, Guest, beside, crowd, host  # noqa: F401  (fixtures too)
from daemon import folder  # noqa: F401  (a fixture)
from lab import process, wire


# ---------------------------------------------------------------- sizes


@beside()
def test_first_and_back(guest):
    """Evicted first, in steps of at most 256 MiB, and all given back by `max`."""
    made = guest(Agent())
    memory = made.balloon.memory
    made.balloon.hold(memory)
    made.balloon.honest = True
    follow = made.balloon.follow
    made.balloon.follow = lambda: (follow(), made.balloon.hold(made.balloon.size))
    reply = made.resize(500 * MIB)
    assert reply["state"] == "reached" and reply["actual_bytes"] == 500 * MIB
    assert (reply["original_bytes"], reply["from_bytes"]) == (memory, memory)
    assert (reply["floor_bytes"], reply["floor_source"]) == (250 * MIB, "agent")
    assert reply["agent"] and reply["evicted_bytes"] == memory - 500 * MIB == sum(made.said.frees)
    assert reply["host_returned_bytes"] == memory - 500 * MIB
    targets = made.balloon.targets
    assert len(targets) == reply["steps"] and targets[-1] == 500 * MIB
    assert all(0 < a - b <= 256 * MIB for a, b in zip([memory, *targets], targets))
    assert all(size <= 256 * MIB for size in made.said.frees)
    status = made.status()
    assert (status["original_bytes"], status["target_bytes"]) == (memory, 500 * MIB)
    assert status["last"]["state"] == "reached" and status["resize"] is None
    assert made.entry()
    text = made.daemon.call("explain", order=reply["order"])["parameters"]
    assert text["order"]["action"] == "balloon" and any("reached" in line for line in text["text"])
    reply = made.resize("max")
    assert reply["state"] == "reached" and made.balloon.target == memory
    assert made.entry() is None and made.status()["original_bytes"] is None


@beside()
def test_relative(guest):
    made = guest(Agent())
    memory = made.balloon.memory
    assert made.resize("-100M")["actual_bytes"] == memory - 100 * MIB
    assert made.resize("+40M")["actual_bytes"] == memory - 60 * MIB
    assert made.resize(memory - 60 * MIB)["steps"] == 0


@pytest.mark.parametrize("size, code, words", [
    ("0", "invalid", "is no size"), ("-0", "invalid", "is no size"), ("", "invalid", "is no size"),
    ("12X", "invalid", "is no size"), ("1.5G", "invalid", "is no size"), ("99999999999T", "invalid", "is no size"),
    ("9E", "invalid", "is no size"), ("-8G", "invalid", "no memory at all"), ("1T", "invalid", "cannot have"),
    ("+1T", "invalid", "cannot have"), ("249M", "refused", "floor is 250.0 MiB: its agent says that it needs 200.0"),
])
def test_bad_sizes(one, size, code, words):
    one.refused(size, code, words)
    assert one.entry() is None


@pytest.fixture(scope="module")
def one(host):
    with contextlib.ExitStack() as stack:
        made = Guest(host, stack, next(NAMES), Agent())
        yield made
        made.detach()


def test_bad_parameters(one):
    one.refused(f"-{one.balloon.memory - 249 * MIB}", "refused", "floor is 250.0 MiB")
    one.refused("300M", "invalid", "first, only or off", cache="never")
    one.refused("300M", "invalid", "timeout_sec", timeout_sec=0)
    one.refused("300M", "invalid", "no such parameter", how="pages")
    one.refused("300M", "invalid", "auto, superpages or pages", by="blocks")
    one.refused("300M", "invalid", "use by pages", by="superpages", cache="only")
    assert one.daemon.call("balloon", vm="nobody", size="1G")["error"] == "not_found"
    assert "not being resized" in one.daemon.call("balloon", vm=one.name, stop=True)["parameters"]["message"]


def test_dry_run(one):
    before = list(one.balloon.targets), len(one.said.frees)
    reply = one.resize(one.balloon.memory - 300 * MIB, dry_run=True)
    assert reply["dry_run"] and reply["state"] is None and reply["steps"] == 2 and reply["order"] is None
    assert reply["floor_bytes"] == 250 * MIB
    assert (one.balloon.targets, len(one.said.frees)) == before and one.entry() is None


@beside()
def test_what_cannot_be_ballooned(guest):
    bare = guest(balloon=False)
    bare.refused("300M", "refused", "no balloon: start it with a virtio-balloon device")
    made = guest(act=False)
    made.refused("300M", "refused", "only observed", "act = yes")
    assert made.resize("512M", dry_run=True)["floor_source"] == "default"
    other = guest()
    other.refused("512M", "refused", "only an agent knows", cache="only")
    other.balloon.running = False
    other.balloon.emit("STOP")
    other.daemon.wait_vm(other.name, lambda vm: vm["state"] == "paused")
    other.refused("512M", "refused", "does not run")
    other.balloon.running, other.balloon.migration = True, {"status": "active"}
    other.balloon.emit("RESUME")
    other.daemon.wait_vm(other.name, lambda vm: vm["state"] == "running")
    other.refused("512M", "refused", "migrated or saved")


@beside()
def test_max_takes_nothing(guest):
    """Found small, and made larger since: max is what it has then, and growing asks no agent to evict."""
    made = guest(Agent(), attach=False)
    made.balloon.size = made.balloon.target = 300 * MIB
    made.attach()
    order = made.resize("400M")["order"]
    explained = made.daemon.call("explain", order=order)["parameters"]["text"]
    assert any("nothing had to be evicted" in line for line in explained)
    assert made.resize("max")["actual_bytes"] == 400 * MIB
    assert min(made.balloon.targets) == 400 * MIB


@beside("passed through", "encrypted")
def test_what_gives_nothing_back(guest, why):
    """Memory that a device of the host's has pinned, or that the host cannot read."""
    told = {"passed through": ("path", "/machine/peripheral", [{"name": "b", "type": "child<virtio-balloon-pci>"},
                                                              {"name": "gpu", "type": "child<vfio-pci>"}]),
            "encrypted": ("property", "confidential-guest-support", "/objects/sev0")}
    key, wanted, value = told[why]
    made = guest(attach=False)

    def answer(name, arguments, old=made.balloon._answer):
        if name in ("qom-list", "qom-get") and arguments.get(key) == wanted:
            return {"return": value}
        return old(name, arguments)
    made.balloon._answer = answer
    made.attach()
    made.refused("512M", "refused", why)


# ---------------------------------------------------------------- page cache


@beside()
def test_only(guest):
    """No step takes more than was free or was evicted, whatever is asked for."""
    agent = Agent()
    clean = iter([60 * MIB, 0])
    agent.free = lambda size: wire.freed(size, free=20 * MIB, cold=min(size - 20 * MIB, next(clean, 0)),
                                         stopped="nothing_left")
    made = guest(agent)
    frees = agent.free
    agent.free = lambda size: frees(size) if len(agent.frees) < 2 else wire.freed(size, stopped="nothing_left")
    reply = made.resize("300M", cache="only")
    assert reply["state"] == "cache_ended" and reply["cache"] == "only"
    assert reply["actual_bytes"] == made.balloon.memory - 80 * MIB == made.balloon.targets[-1]
    assert reply["evicted_bytes"] == 60 * MIB


@beside()
def test_off(guest):
    made = guest(Agent())
    reply = made.resize("700M", cache="off")
    assert reply["state"] == "reached" and not made.said.frees and not reply["agent"]


@beside()
def test_without_an_agent(guest):
    """The balloon's statistics tell the floor; they are polled for the time of it, and as before after it."""
    made = guest()
    made.balloon.interval = 7
    made.balloon.stats = {"stat-available-memory": made.balloon.memory - 400 * MIB, "stat-total-memory": 999,
                          "stat-htlb-pgalloc": (1 << 64) - 1}
    made.refused("450M", "refused", "floor is 500.0 MiB: by its balloon's statistics it needs 400.0 MiB")
    assert made.balloon.interval == 7 and made.entry() is None
    follow = made.balloon.follow

    def freeing():
        follow()
        made.balloon.stats["stat-available-memory"] = made.balloon.size - 400 * MIB
    made.balloon.follow = freeing
    reply = made.resize("600M")
    assert reply["state"] == "reached" and reply["floor_source"] == "guest_stats"
    assert any("no agent answers" in note for note in reply["notes"])
    assert made.balloon.interval == 7


@beside()
def test_floor_of_nobody(guest):
    made = guest()
    quarter = made.balloon.memory // 4
    made.refused(quarter - 4096, "refused", "what it needs is not known")


@beside()
def test_floor_rises(guest):
    """It is computed anew from each report: the resize ends there."""
    agent = Agent()
    made = guest(agent)
    made.balloon.rate = 256 * MIB
    with made.begin("300M") as client:
        agent.values["needed_bytes"] = 600 * MIB
        reply = client.reply()["parameters"]
    assert reply["state"] == "floor" and reply["floor_bytes"] == 750 * MIB
    assert reply["target_bytes"] >= 750 * MIB and made.balloon.target >= 750 * MIB


# ---------------------------------------------------------------- people


@beside()
def test_one_at_a_time_and_side_by_side(guest):
    first, second = guest(Agent()), guest(Agent())
    first.balloon.rate = second.balloon.rate = 60 * MIB
    with first.begin("700M") as a, second.begin("700M") as b:
        first.refused("600M", "busy", "is being resized to 700.0 MiB")
        assert first.status()["resize"]["state"] == second.status()["resize"]["state"] == "running"
        first.balloon.rate = second.balloon.rate = 1 << 40
        assert a.reply()["parameters"]["state"] == b.reply()["parameters"]["state"] == "reached"


@beside()
def test_timeout(guest):
    made = guest(Agent())
    made.balloon.rate = 15 * MIB
    reply, seconds = d.timed(made.resize, "512M", timeout_sec=5)
    assert reply["state"] == "timeout" and seconds < 12
    assert made.balloon.target == reply["actual_bytes"] == reply["target_bytes"] > 900 * MIB


@beside()
def test_no_wait_status_and_stop(guest):
    made = guest(Agent())
    made.balloon.rate = 30 * MIB
    reply, seconds = d.timed(made.resize, "512M", no_wait=True)
    assert reply["state"] == "running" and reply["order"] and seconds < 3
    now = made.daemon.wait_vm(made.name, lambda vm: vm["balloon"]["resize"]["done_bytes"] > 0)["balloon"]["resize"]
    assert now["asked_bytes"] == 512 * MIB and now["total_bytes"] == made.balloon.memory - 512 * MIB
    shown = made.daemon.ctl("status").stdout
    assert f"balloon: {made.name}: " in shown and "to 512.0 MiB" in shown
    result = made.daemon.ctl("balloon", made.name, "--stop")
    assert result.returncode == 0 and "state: stopped" in result.stdout, result
    assert made.balloon.target == made.status()["last"]["actual_bytes"]


def ctl(made, *arguments):
    return subprocess.Popen([d.PAGEPACT, "--socket", made.daemon.socket, "balloon", made.name, *arguments],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@beside(signal.SIGINT, signal.SIGTERM)
def test_interrupted(guest, number):
    """The daemon ends it where it is, the answer is printed, and then the signal does what it does."""
    made = guest(Agent())
    made.balloon.rate = 30 * MIB
    with ctl(made, "512M") as tool:
        process.wait_for(lambda: made.balloon.targets, 10, "a target is set")
        tool.send_signal(number)
        out, err = tool.communicate(timeout=15)
    assert tool.returncode == -number and "state: stopped" in out and err == ""
    assert made.status()["resize"] is None and made.balloon.target > 700 * MIB
    assert made.balloon.target == made.status()["last"]["actual_bytes"]


@beside()
def test_command_line(guest):
    made = guest(Agent())
    memory = made.balloon.memory
    result = made.daemon.ctl("balloon", made.name, "-100M", "--dry-run")
    assert result.returncode == 0 and "nothing was changed" in result.stdout and "250.0 MiB (agent)" in result.stdout
    result = made.daemon.ctl("balloon", made.name, "-100M")
    assert result.returncode == 0 and "state: reached" in result.stdout, result
    result = made.daemon.ctl("--json", "balloon", made.name, "+100M", "--timeout", "20")
    assert result.returncode == 0 and json.loads(result.stdout)["actual_bytes"] == memory
    for arguments, code in ((("100M",), 4), (("0",), 2), (("-0",), 2), (("1X",), 2), (("300M", "--cache", "no"), 2),
                            (("300M", "--by", "no"), 2), (("700M", "--by", "superpages"), 4),
                            (("300M", "--timeout", "-5"), 2), ((), 2), (("--stop", "1G"), 2), (("--stop",), 1),
                            (("300T",), 2)):
        result = made.daemon.ctl("balloon", made.name, *arguments)
        assert result.returncode == code and len(result.stderr.splitlines()) == 1, (arguments, result)
    made.balloon.lowest = memory - 50 * MIB
    result = made.daemon.ctl("balloon", made.name, "-60M")
    assert result.returncode == 1 and "state: stalled" in result.stdout

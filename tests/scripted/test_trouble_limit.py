# SPDX-License-Identifier: Apache-2.0
"""The page cache limit and `free`, with agents that forget, lie, cannot, or never answer."""
import contextlib
import json
import struct
import tempfile
from pathlib import Path

import pytest

import daemon as d
from daemon import folder  # noqa: F401  (a fixture)
from lab import process, wire

MIB = 1 << 20
RAM = 32 * MIB  # of d.Qemu
EVERYTHING = 127
MISSING = b"no BTF: page cache is not seen"


class Guest:
    """An agent that holds limits and hints and frees memory, as far as it is told to; `limits` and `hints` are those that
    it was sent, both in each message."""

    def __init__(self, capabilities=EVERYTHING, missing=b"", report=None, free=None, mute=()):
        self.capabilities, self.missing, self.mute = capabilities, missing, mute
        self.report = report or self.honest
        self.free = free
        self.limits, self.hints, self.frees, self.asked = [], [], [], 0

    def honest(self):
        """What holds by the last limit."""
        kind, permille, size = self.limits[-1] if self.limits else (wire.LIMIT_GUEST, 0, 0)
        hint = self.hints[-1] if self.hints else "default"
        if hint != "default":
            return wire.report(hint=wire.HINTS.index(hint), hint_origin=4, notice=1, inflate_bytes=wire.NO_LIMIT,
                               ahead_bytes=3 * MIB, inflations=2)
        if kind == wire.LIMIT_BYTES:
            return wire.report(limit_bytes=size, limit_origin=4, limit_state=1, unmapped_bytes=MIB, heat=2)
        if kind == wire.LIMIT_PERMILLE:
            return wire.report(limit_bytes=RAM * permille // 1000, limit_origin=4, limit_state=1)
        return wire.report()

    def __call__(self, agent, connection):
        for kind, ident, payload in agent.messages(connection):
            if kind in self.mute:
                continue
            if kind == wire.WELCOME:
                connection.sendall(d.frame(wire.HELLO, ident,
                                           d.hello(capabilities=self.capabilities, missing=self.missing)))
            elif kind == wire.LIMIT:
                *limit, hint, _ = struct.unpack("<IIQII", payload)
                self.limits.append(tuple(limit))
                self.hints.append(wire.HINTS[hint])
                connection.sendall(d.frame(wire.REPORT, ident, self.report()))
            elif kind == wire.ASK:
                self.asked += 1
                connection.sendall(d.frame(wire.REPORT, ident, self.report()))
            elif kind == wire.FREE:
                self.frees.append(struct.unpack("<QII", payload))
                connection.sendall(d.frame(wire.FREED, ident, self.free(*self.frees[-1])))
            else:
                agent.answer(connection, kind, ident)

    def hinted(self, hint):
        return process.wait_for(lambda: self.hints and self.hints[-1] == hint, 20, f"hint {hint} is sent")

    def sent(self, *limit):
        return process.wait_for(lambda: self.limits and self.limits[-1] == limit, 20, f"limit {limit} is sent")


class Place:
    """A daemon, one QEMU, and a guest's agent."""

    def __init__(self, folder, stack, guest, act=True, more=""):
        self.path = Path(tempfile.mkdtemp(dir=folder))
        self.guest = guest
        self.qemu = d.Qemu(self.path, "a", runs=True)
        stack.callback(self.qemu.stop)
        self.agent = d.FakeAgent(self.path / "a.agent", guest)
        stack.callback(lambda: self.agent.stop())
        self.daemon = d.Daemon(self.path).add("a", self.qemu.path, self.agent.path, act=act, more=more)
        stack.callback(lambda: process.stop(self.daemon.process))
        self.start()

    def start(self, state="live"):
        self.daemon.start()
        if state:
            self.daemon.wait_agent("a", state)
            self.daemon.wait_vm("a", lambda vm: vm["state"] == "running")

    def ctl(self, *arguments):
        return self.daemon.ctl(*arguments)

    def new_agent(self, guest):
        self.agent.stop()
        self.daemon.wait_agent("a", "absent")
        self.guest = guest
        self.agent = d.FakeAgent(self.path / "a.agent", guest)

    def reported(self, condition=lambda report: True, seconds=25):
        return self.daemon.wait_vm("a", lambda vm: vm["report"] and condition(vm["report"]), seconds)["report"]


@pytest.fixture
def place(folder):
    with contextlib.ExitStack() as stack:
        yield lambda *arguments, **options: Place(folder, stack, *arguments, **options)


def done(result, words=""):
    assert result.returncode == 0, result.stderr
    assert words in result.stdout
    return result.stdout


def refused(result, code, *words):
    assert result.returncode == code and result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    for word in words:
        assert word in result.stderr


# ---------------------------------------------------------------- the limit


def test_set_and_shown(place):
    made = place(Guest())
    made.guest.sent(wire.LIMIT_GUEST, 0, 0)
    assert made.daemon.vm("a")["cache_limit"] == {"text": None, "source": None}
    done(made.ctl("cache-limit", "a", "16M"), "page cache limit 16.0 MiB")
    made.guest.sent(wire.LIMIT_BYTES, 0, 16 * MIB)
    report = made.reported(lambda r: r["limit_bytes"])
    assert (report["limit_bytes"], report["limit_origin"], report["limit_state"]) == (16 * MIB, "host", "under")
    assert report["heat"] == "get_pages" and report["unmapped_bytes"] == MIB
    assert len(report["evicted_by_age_bytes"]) == len(report["refaulted_by_age_bytes"]) == 8
    assert report["age_usec"] < 25e6
    shown = done(made.ctl("cache-limit", "a"), "page cache limit 16.0 MiB")
    assert "limit 16.0 MiB, set by host; 1.0 MiB unmapped, state under" in shown
    row = next(line for line in done(made.ctl("status")).splitlines() if "get_pages" in line)
    assert row.split()[:3] == ["a", "16.0", "MiB"]
    done(made.ctl("cache-limit", "a", "12.5%"))
    made.guest.sent(wire.LIMIT_PERMILLE, 125, 0)
    done(made.ctl("cache-limit", "a", "off"))
    made.guest.sent(wire.LIMIT_OFF, 0, 0)
    done(made.ctl("cache-limit", "a", "default"))
    made.guest.sent(wire.LIMIT_GUEST, 0, 0)
    assert made.daemon.vm("a")["cache_limit"] == {"text": "default", "source": "command"}
    made.daemon.stop()


def test_kept_over_agents_and_daemons(place):
    made = place(Guest())
    done(made.ctl("cache-limit", "a", "16M"))
    made.guest.sent(wire.LIMIT_BYTES, 0, 16 * MIB)
    made.new_agent(Guest())
    made.guest.sent(wire.LIMIT_BYTES, 0, 16 * MIB)
    made.agent.connection.sendall(d.frame(wire.HELLO, 0, d.hello(boot=b"b" * 16)))
    process.wait_for(lambda: len(made.guest.limits) == 2, 10, "a restarted guest is told again")
    made.daemon.stop()
    made.guest.limits.clear()
    made.start()
    made.guest.sent(wire.LIMIT_BYTES, 0, 16 * MIB)
    assert made.daemon.vm("a")["cache_limit"] == {"text": "16777216", "source": "command"}
    made.daemon.stop()


def test_killed_daemon_keeps_it(place):
    made = place(Guest())
    done(made.ctl("cache-limit", "a", "25%"))
    made.daemon.process.kill()
    made.daemon.process.wait()
    made.guest.limits.clear()
    made.start()
    made.guest.sent(wire.LIMIT_PERMILLE, 250, 0)
    made.daemon.stop()


def test_told_again_when_forgotten(place):
    """An agent that says that no limit of the host's holds is sent it again, once for each of its reports."""
    made = place(Guest(report=lambda: wire.report(limit_bytes=MIB, limit_origin=1, limit_state=1)))
    done(made.ctl("cache-limit", "a", "16M"))
    process.wait_for(lambda: made.guest.limits.count((wire.LIMIT_BYTES, 0, 16 * MIB)) >= 2, 25, "it is told again")
    assert made.guest.limits.count((wire.LIMIT_BYTES, 0, 16 * MIB)) <= made.guest.asked + 1
    made.daemon.stop()


def test_configuration_and_command(place):
    """The guest's file has the first word, the command the last, over restarts."""
    made = place(Guest(), more="cache_limit = 8M")
    made.guest.sent(wire.LIMIT_BYTES, 0, 8 * MIB)
    assert made.daemon.vm("a")["cache_limit"] == {"text": "8388608", "source": "configuration"}
    done(made.ctl("cache-limit", "a", "default"))
    made.guest.sent(wire.LIMIT_GUEST, 0, 0)
    made.daemon.stop()
    made.start()
    made.guest.sent(wire.LIMIT_GUEST, 0, 0)
    assert made.daemon.vm("a")["cache_limit"]["source"] == "command"
    made.daemon.stop()


def test_observed_guest(place):
    made = place(Guest(), act=False, more="cache_limit = 8M")
    made.daemon.says("cache_limit has no effect while the guest is only observed")
    made.guest.sent(wire.LIMIT_GUEST, 0, 0)
    refused(made.ctl("cache-limit", "a", "16M"), 4, "only observed")
    refused(made.ctl("cache-limit", "a", "16M", "--dry-run"), 4, "only observed")
    refused(made.ctl("free", "a", "1M"), 4, "only observed")
    done(made.ctl("cache-limit", "a"))
    assert set(made.guest.limits) == {(wire.LIMIT_GUEST, 0, 0)} and not made.guest.frees
    assert not (made.daemon.state / "limits.d/a").exists()
    # To ask for nothing is never refused, and changes nothing here.
    for limit in ("off", "default"):
        assert made.ctl("cache-limit", "a", limit).returncode == 0
    assert set(made.guest.limits) == {(wire.LIMIT_GUEST, 0, 0)}
    made.daemon.stop()


def test_agent_that_cannot(place):
    made = place(Guest(capabilities=7, missing=MISSING), more="cache_limit = 2M")
    assert made.daemon.vm("a")["warnings"] == ["page cache limit: no effect: its agent cannot hold it"]
    refused(made.ctl("cache-limit", "a", "16M"), 4, MISSING.decode())
    refused(made.ctl("free", "a", "1M"), 4, MISSING.decode())
    assert made.guest.limits == [] and not (made.daemon.state / "limits.d/a").exists()
    made.daemon.stop()


def test_agent_that_is_away(place):
    made = place(Guest())
    made.agent.stop()
    made.daemon.wait_agent("a", "absent")
    done(made.ctl("cache-limit", "a", "16M"), "it will hold once it does")
    made.guest = Guest()
    made.agent = d.FakeAgent(made.path / "a.agent", made.guest)
    made.guest.sent(wire.LIMIT_BYTES, 0, 16 * MIB)
    made.daemon.stop()


def test_dry_run(place):
    made = place(Guest())
    done(made.ctl("cache-limit", "a", "16M", "--dry-run"), "nothing was changed, the limit would be 16.0 MiB")
    assert json.loads(done(made.ctl("--json", "cache-limit", "a", "25%", "--dry-run")))["checked"] == {"text": "25.0%"}
    assert set(made.guest.limits) <= {(wire.LIMIT_GUEST, 0, 0)}
    assert made.daemon.vm("a")["cache_limit"]["text"] is None
    made.daemon.stop()


def test_dry_run_daemon_gives_no_limit(place):
    """What another daemon told the agent does not hold for ever because this one asks for reports."""
    made = place(Guest())
    done(made.ctl("cache-limit", "a", "16M"))
    made.guest.sent(wire.LIMIT_BYTES, 0, 16 * MIB)
    made.daemon.stop()
    made.daemon.arguments.append("--dry-run")
    made.start()
    made.guest.sent(wire.LIMIT_GUEST, 0, 0)
    assert made.guest.limits.count((wire.LIMIT_BYTES, 0, 16 * MIB)) == 1
    made.daemon.stop()


def test_a_forgotten_suffix_is_noted(place):
    made = place(Guest())
    done(made.ctl("cache-limit", "a", "128"), "was a suffix (K, M, G, T) forgotten?")
    assert "suffix" not in done(made.ctl("cache-limit", "a", "1M"))
    made.daemon.stop()


@pytest.mark.parametrize("value", ["", "0%", "101%", "1.5G", "x", "16MB", "99999999T", "12.55%"])
def test_values(place, value):
    """One line of the command's, and one of the daemon's for whoever speaks to it without the command."""
    made = place(Guest())
    refused(made.ctl("cache-limit", "a", value), 2, "is no limit")
    reply = made.daemon.call("cache-limit", vm="a", limit=value)
    assert reply["error"] == "invalid" and "is no page cache limit" in reply["parameters"]["message"]
    made.daemon.stop()


def test_odd_limits(place):
    made = place(Guest())
    done(made.ctl("cache-limit", "a", "1T"), "it will never be reached")
    done(made.ctl("cache-limit", "a", "0"), "page cache limit off")
    for n in range(20):
        done(made.ctl("cache-limit", "a", f"{n + 1}M"))
    made.guest.sent(wire.LIMIT_BYTES, 0, 20 * MIB)
    assert (made.daemon.state / "limits.d/a").read_text() == f"{20 * MIB}\n"
    assert [p.name for p in (made.daemon.state / "limits.d").iterdir()] == ["a"]
    made.daemon.stop()


@pytest.mark.parametrize("damage", [b"", b"16M", b"sixteen\n", b"16M\n\0", b"1\n" * 4000, b"\xff\n", None])
def test_damaged_state(place, damage):
    """One warning, and the guest's own word holds until the limit is set again."""
    made = place(Guest())
    done(made.ctl("cache-limit", "a", "16M"))
    made.daemon.stop()
    kept = made.daemon.state / "limits.d/a"
    kept.unlink()
    if damage is None:
        kept.mkdir()
    else:
        kept.write_bytes(damage)
    made.guest.limits.clear()
    made.start()
    made.guest.sent(wire.LIMIT_GUEST, 0, 0)
    assert made.daemon.log().count("limits.d/a is damaged, ignored") == 1
    if damage is not None:
        done(made.ctl("cache-limit", "a", "8M"))
        assert kept.read_text() == f"{8 * MIB}\n"
    else:
        refused(made.ctl("cache-limit", "a", "8M"), 1, "cannot be kept")
    made.daemon.stop()


def test_no_room_for_state(place):
    """What cannot be kept is not sent either."""
    made = place(Guest())
    made.daemon.state.write_text("no directory")
    refused(made.ctl("cache-limit", "a", "16M"), 1, "cannot be kept")
    assert set(made.guest.limits) <= {(wire.LIMIT_GUEST, 0, 0)}
    made.daemon.stop()


# ---------------------------------------------------------------- reports


@pytest.mark.parametrize("lie", [
    wire.report(unmapped_bytes=1 << 63), wire.report(limit_bytes=wire.NO_LIMIT - 1), wire.report(limit_origin=5),
    wire.report(limit_state=99), wire.report(heat=3), wire.report(evicted_by_age=[1 << 62] + [0] * 7),
    wire.report(cpu_usec=(1 << 64) - 1), wire.report()[:-1],
], ids=("unmapped", "limit", "origin", "state", "heat", "age", "cpu", "short"))
def test_lying_report(place, lie):
    """It is not shown, and the guest stays what it was."""
    made = place(Guest(report=lambda: lie))
    process.wait_for(lambda: made.guest.asked >= 1, 15, "a report is asked for")
    made.daemon.call("status")
    vm = made.daemon.vm("a")
    assert vm["report"] is None and vm["agent"]["state"] == "live"
    made.daemon.stop()


def test_biggest_report(place):
    """Whatever is let through is an integer of JSON's."""
    most = (1 << 63) - 1
    made = place(Guest(report=lambda: wire.report(
        limit_bytes=most, limit_origin=1, limit_state=wire.STATES.index("braked"), unmapped_bytes=most, brake=3, brakes=most, evicted_bytes=most,
        refaulted_bytes=most, events_lost=most, cpu_usec=1 << 62, evicted_by_age=[1 << 50] * 8)))
    report = made.reported()
    assert report["unmapped_bytes"] == most and report["evicted_by_age_bytes"] == [1 << 62] * 8
    assert report["limit_state"] == "braked" and report["brake"] == "refault"
    vm = json.loads(done(made.ctl("status", "--json")))["vms"][0]
    assert vm["report"]["events_lost"] == most
    done(made.ctl("status"))
    made.daemon.stop()


def test_no_report(place):
    """An agent that answers pings and nothing else is live, and its limit not said to hold."""
    made = place(Guest(mute={wire.ASK, wire.LIMIT, wire.FREE}))
    done(made.ctl("cache-limit", "a", "16M"))
    assert made.daemon.vm("a")["report"] is None
    done(made.ctl("cache-limit", "a"), "the agent has not reported yet")
    result = made.ctl("free", "a", "1M")
    assert result.returncode == 1 and "the guest did not answer the order" in result.stderr
    assert made.daemon.vm("a")["agent"]["state"] == "live"
    made.daemon.stop()


def test_unasked_report(place):
    made = place(Guest())
    made.reported()
    made.agent.connection.sendall(d.frame(wire.REPORT, 12345, wire.report(unmapped_bytes=77 * MIB)))
    made.agent.connection.sendall(d.frame(wire.REPORT, 0, wire.report(unmapped_bytes=77 * MIB)))
    asked = made.guest.asked
    process.wait_for(lambda: made.guest.asked > asked, 25, "the next question")
    assert made.daemon.vm("a")["report"]["unmapped_bytes"] != 77 * MIB
    made.daemon.stop()


# ---------------------------------------------------------------- free


def free(made, size="8M", *options):
    result = made.ctl("free", "a", size, "--json", *options)
    return result, json.loads(result.stdout) if result.stdout else None


def steps(reply):
    return {step["step"]: step["bytes"] for step in reply["steps"]}


def test_free_in_turns(place):
    """What one answer did not bring is asked for again; the first answer alone says what was free."""
    answers = iter([dict(free=MIB, slab=4096, stopped="time"), dict(free=9 * MIB, held=2 * MIB, stopped="time"),
                    dict(superpage=3 * MIB, cold=2 * MIB)])
    made = place(Guest(free=lambda size, *_: wire.freed(size, **next(answers))))
    result, reply = free(made)
    assert result.returncode == 0, result.stderr
    assert steps(reply) == {"free": MIB, "slab": 4096, "held": 2 * MIB, "superpage": 3 * MIB, "cold": 2 * MIB}
    assert reply["freed_bytes"] == 7 * MIB + 4096 and reply["stopped"] == "done" and reply["error"] is None
    assert [(size, flags) for size, _, flags in made.guest.frees] == [
        (8 * MIB, 0), (7 * MIB - 4096, 1), (5 * MIB - 4096, 1)]
    shown = done(made.ctl("explain", str(reply["order"])))
    assert "the order of reclaim inside a" in shown and "Step superpage: 3.0 MiB" in shown
    assert "free" in shown.splitlines()[1]
    explained = made.daemon.call("explain", order=reply["order"])["parameters"]
    assert explained["order"]["action"] == "free" and explained["order"]["step"] is None
    made.daemon.stop()


@pytest.mark.parametrize("stopped, brake", [("nothing_left", "none"), ("braked", "memory")])
def test_free_that_ends_early(place, stopped, brake):
    made = place(Guest(free=lambda size, *_: wire.freed(size, cold=4096, stopped=stopped, brake=brake)))
    result, reply = free(made)
    assert result.returncode == 0 and len(made.guest.frees) == 1
    assert (reply["freed_bytes"], reply["stopped"], reply["brake"]) == (4096, stopped, brake)
    made.daemon.stop()


@pytest.mark.parametrize("lie", [
    dict(cold=8 * MIB + 65 * MIB), dict(slab=RAM + 1), dict(free=8 * MIB + 1), dict(held=RAM + 1),
])
def test_free_claims_too_much(place, lie):
    made = place(Guest(free=lambda size, *_: wire.freed(size, **lie)))
    result, reply = free(made)
    assert result.returncode == 1 and "claims what cannot be" in result.stderr
    assert reply["freed_bytes"] == 0 and set(steps(reply).values()) == {0} and reply["host_returned_bytes"] == 0
    made.daemon.stop()


def test_free_answers_another_question(place):
    made = place(Guest(free=lambda size, *_: wire.freed(size + 1, cold=4096)))
    result, reply = free(made)
    assert result.returncode == 1 and reply["freed_bytes"] == 0
    made.daemon.stop()


def test_free_dry_run(place):
    made = place(Guest())
    result, reply = free(made, "8M", "--dry-run")
    assert result.returncode == 0 and reply["dry_run"] and not made.guest.frees
    assert steps(reply) == {"free": 0, "slab": None, "unmapped_clean": 0}
    assert "nothing was done" in done(made.ctl("free", "a", "8M", "--dry-run"))
    made.daemon.stop()


def test_free_one_at_a_time(place):
    made = place(Guest(free=lambda size, *_: wire.freed(size, stopped="time")))
    with d.Client(made.daemon.socket) as client:
        client.send("free", vm="a", bytes=MIB)
        assert client.line()["continues"]
        for method in ("free", "reclaim", "dup"):
            parameters = {"vm": "a", "bytes": MIB} if method == "free" else {}
            assert made.daemon.call(method, **parameters)["error"] == "busy"
        made.daemon.stop()
        assert client.reply()["parameters"]["message"] == "the daemon is stopping"
    assert len(made.guest.frees) < 100


def test_free_of_a_guest_that_goes(place):
    made = place(Guest(mute={wire.FREE}))
    with d.Client(made.daemon.socket) as client:
        client.send("free", vm="a", bytes=MIB)
        process.wait_for(lambda: made.daemon.call("dup").get("error") == "busy", 20, "it is under way")
        made.agent.stop()
        reply = client.reply(10)["parameters"]
    assert "the guest has gone" in reply["error"] and reply["freed_bytes"] == 0
    made.daemon.stop()


@pytest.mark.parametrize("parameters", [{"vm": "a"}, {"bytes": 5}, {"vm": "a", "bytes": -1}, {"vm": "a", "bytes": 0}])
def test_free_parameters(place, parameters):
    made = place(Guest())
    assert made.daemon.call("free", **parameters)["error"] == "invalid"
    made.daemon.stop()

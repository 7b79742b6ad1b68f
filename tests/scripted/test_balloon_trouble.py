# SPDX-License-Identifier: Apache-2.0
"""`pagepact balloon` with scripted guests that lie, die, restart or leave, and with somebody else at their balloon."""
import time

import daemon as d
from ballooned import MIB, Agent, beside, crowd, host  # noqa: F401  (fixtures too)
from daemon import folder  # noqa: F401  (a fixture)
from lab import process, wire


# ---------------------------------------------------------------- guests that do not do as they are told


@beside()
def test_never_inflates(guest):
    """A stall: what was taken is given back, the guest is left alone, and growing is still allowed."""
    made = guest(Agent())
    made.balloon.rate = 0
    reply = made.resize("512M")
    assert reply["state"] == "stalled" and made.balloon.target == made.balloon.memory
    made.refused("512M", "refused", "it went badly last time (no progress", "not made smaller for another")
    assert made.status()["quarantine_left_usec"] > 500e6
    assert made.resize("max")["state"] == "reached"


@beside()
def test_stalls_half_way(guest):
    made = guest(Agent())
    made.balloon.lowest = made.balloon.memory - 100 * MIB
    reply = made.resize("512M")
    assert reply["state"] == "stalled"
    assert made.balloon.target == made.balloon.memory - 84 * MIB == reply["target_bytes"] == reply["actual_bytes"]


@beside()
def test_claims_to_have_inflated(guest):
    """What the host sees counts."""
    made = guest(Agent())
    made.balloon.hold(made.balloon.memory)
    made.balloon.rate = 1 << 50
    reply = made.resize("512M")
    assert reply["state"] == "stalled" and "the host still holds" in reply["reason"]
    assert reply["host_returned_bytes"] == 0 and reply["steps"] == 1


@beside(-17590038556672, 1 << 50, (1 << 64) - 1)
def test_impossible_claims(guest, claim):
    made = guest(Agent())
    made.balloon.claim = claim
    made.refused("512M", "failed", "claims a size that it cannot have") if claim != (1 << 64) - 1 else \
        made.refused("512M", "failed")


@beside()
def test_impossible_claim_in_the_midst(guest):
    made = guest(Agent())
    made.balloon.rate = 50 * MIB
    with made.begin("512M") as client:
        made.balloon.claim = -1
        reply = client.reply()["parameters"]
    assert reply["state"] == "stalled" and made.balloon.target == made.balloon.memory
    assert any("the guest claims -1 bytes" in note for note in reply["notes"])


@beside()
def test_out_of_memory(guest):
    """The last step is undone at once."""
    agent = Agent()
    made = guest(agent)
    made.balloon.rate = 100 * MIB
    with made.begin("512M") as client:
        agent.values["oom_kills"] = 1
        reply = client.reply()["parameters"]
    assert reply["state"] == "pressure" and "ran out of memory" in reply["reason"]
    assert made.balloon.target == made.balloon.memory
    made.refused("512M", "refused", "went badly")


@beside()
def test_pressure(guest):
    """Above 1 % no step begins, above 10 % the last one is undone."""
    agent = Agent()
    made = guest(agent)
    agent.values["pressure"] = 150
    with d.Client(made.daemon.socket) as client:
        client.send("balloon", vm=made.name, size="512M")
        time.sleep(1.5)
        assert not made.balloon.targets and made.status()["resize"]["stage"] == "pressure"
        agent.values["pressure"] = 0
        process.wait_for(lambda: len(made.balloon.targets) == 1, 20, "a step")
        agent.values["pressure"] = 1500
        reply = client.reply()["parameters"]
    assert reply["state"] == "pressure" and made.balloon.target == made.balloon.memory


# ---------------------------------------------------------------- agents


@beside()
def test_agent_dies_before(guest):
    agent = Agent()
    made = guest(agent)
    made.agent.stop()
    made.agent.listener.close()
    made.daemon.wait_agent(made.name, "absent")
    reply = made.resize("600M")
    assert reply["state"] == "reached" and reply["floor_source"] == "default"


@beside()
def test_agent_dies_during_eviction(guest):
    agent = Agent()
    made = guest(agent)

    def die(_):
        made.agent.ended.set()
        raise OSError
    agent.free = die
    reply = made.resize("900M")
    assert reply["state"] == "reached" and any("eviction in the guest" in note for note in reply["notes"])


@beside()
def test_agent_falls_silent(guest):
    """It lives and says nothing, as in a guest without memory: no further step, and the last one is undone."""
    agent = Agent()
    made = guest(agent)

    def last(size):
        agent.mute = True
        return wire.freed(size, cold=size)
    agent.free = last
    reply = made.resize("600M")
    assert reply["state"] == "stalled" and "has not reported for 3 s" in reply["reason"]
    assert reply["steps"] == 1 and made.balloon.target == made.balloon.memory
    made.refused("700M", "refused", "it went badly last time")


@beside()
def test_agent_dies_after_a_step(guest):
    """The balloon's statistics go on in its place."""
    agent = Agent()
    made = guest(agent)
    follow = made.balloon.follow

    def needs():
        follow()
        made.balloon.stats = {"stat-available-memory": made.balloon.size - 400 * MIB}
    made.balloon.follow = needs
    made.balloon.rate = 100 * MIB
    with made.begin("600M") as client:
        made.agent.stop()
        reply = client.reply()["parameters"]
    assert reply["state"] == "reached" and reply["floor_source"] == "guest_stats"


@beside()
def test_oom_kill_after_the_last_step(guest):
    """It is undone as any other."""
    agent = Agent()
    made = guest(agent)
    made.balloon.rate = 1 << 40
    with made.begin(made.balloon.memory - 200 * MIB, cache="off") as client:
        agent.values.update(oom_kills=5)
        reply = client.reply()["parameters"]
    assert reply["state"] == "pressure" and made.balloon.target == made.balloon.memory


@beside()
def test_agent_claims_too_much(guest):
    agent = Agent()
    agent.free = lambda size: wire.freed(size, cold=1 << 45)
    made = guest(agent)
    reply = made.resize("900M")
    assert reply["state"] == "reached" and reply["evicted_bytes"] == 0
    assert any("claims what cannot be" in note for note in reply["notes"])


# ---------------------------------------------------------------- somebody else


@beside()
def test_moves_before_we_begin(guest):
    made = guest(Agent())
    made.balloon.rate = 100 * MIB
    made.balloon.follow()
    made.balloon.target = made.balloon.memory - 200 * MIB
    made.refused("512M", "busy", "its size changes though this daemon did not ask")


@beside()
def test_other_owner_later(guest):
    """Told once, hands off for an hour; nothing of ours is restored any more once it has less than we left it."""
    made = guest(Agent())
    made.resize("700M")
    made.balloon.rate = 1 << 50
    made.balloon.target = 800 * MIB
    made.balloon.emit("BALLOON_CHANGE", actual=700 * MIB)
    made.balloon.emit("BALLOON_CHANGE", actual=800 * MIB)
    made.balloon.emit("BALLOON_CHANGE", actual=900 * MIB)
    made.daemon.says(f"{made.name}: its size went from 700.0 MiB")
    assert made.daemon.log().count(f"{made.name}: its size went from") == 1
    assert made.entry()
    made.balloon.target = 500 * MIB
    made.balloon.emit("BALLOON_CHANGE", actual=500 * MIB)
    process.wait_for(lambda: made.entry() is None, 20, "the entry is removed")
    made.refused("600M", "refused", "somebody else moves its balloon: hands off for another 3")
    made.refused("max", "refused", "somebody else")
    targets = list(made.balloon.targets)
    made.detach()
    assert made.balloon.targets == targets


@beside()
def test_event_of_an_impossible_size(guest):
    """More than the machine has is nobody's doing."""
    made = guest(Agent())
    made.resize("900M")
    made.balloon.emit("BALLOON_CHANGE", actual=900 * MIB)
    made.balloon.emit("BALLOON_CHANGE", actual=1 << 50)
    assert made.resize("880M")["state"] == "reached"


@beside()
def test_statistics_of_an_impossible_size(guest):
    """More available than there is: not used, and said."""
    made = guest()
    made.balloon.stats = {"stat-available-memory": 1 << 50}
    reply = made.resize("900M")
    assert reply["floor_source"] == "default"
    assert any("more available memory than it has" in note for note in reply["notes"])


@beside()
def test_takes_memory_back(guest):
    """It may (deflate-on-oom), and does when it has none left: it gets all that it had, and is not squeezed again soon."""
    made = guest(Agent(), deflate=True)
    made.resize("700M")
    made.balloon.emit("BALLOON_CHANGE", actual=700 * MIB)
    made.balloon.emit("BALLOON_CHANGE", actual=800 * MIB)
    process.wait_for(lambda: made.balloon.target == made.balloon.memory, 20, "it gets all that it had")
    process.wait_for(lambda: made.entry() is None, 15, "nothing of ours is left")
    made.daemon.says(f"{made.name}: its size went from 700.0 MiB")
    made.refused("600M", "refused", "it took memory back by itself")
    assert made.resize("max")["state"] == "reached"


@beside()
def test_other_owner_during(guest):
    made = guest(Agent())
    made.balloon.rate = 50 * MIB
    with made.begin("512M") as client:
        made.balloon.rate = 1 << 50
        made.balloon.target = 400 * MIB
        reply = client.reply()["parameters"]
    assert reply["state"] == "other_owner" and len(made.balloon.targets) == 1 and made.entry() is None


@beside()
def test_deflates_at_once(guest):
    """Which may be its own driver, bound anew: the target is still ours, and is given back."""
    made = guest(Agent())
    made.resize("700M")
    made.balloon.emit("BALLOON_CHANGE", actual=700 * MIB)
    made.balloon.emit("BALLOON_CHANGE", actual=made.balloon.memory)
    made.balloon.emit("BALLOON_CHANGE", actual=700 * MIB)
    made.daemon.says(f"{made.name}: its size went from 700.0 MiB")
    made.refused("600M", "refused", "somebody else moves its balloon")
    assert made.entry() and made.status()["target_bytes"] == 700 * MIB
    made.balloon.emit("RESET", guest=True, reason="guest-reset")
    process.wait_for(lambda: made.balloon.target == made.balloon.memory, 20, "its boot has all memory")
    made.balloon.target = 700 * MIB
    made.detach()
    assert made.balloon.target == made.balloon.memory and made.entry() is None


# ---------------------------------------------------------------- the machine


@beside()
def test_reset_during(guest):
    made = guest(Agent())
    made.balloon.rate = 50 * MIB
    with made.begin("512M") as client:
        made.balloon.emit("RESET", guest=True, reason="guest-reset")
        reply = client.reply()["parameters"]
    assert reply["state"] == "restarted" and made.balloon.target == made.balloon.memory
    assert made.status()["resume_bytes"] == 512 * MIB and made.entry()


@beside()
def test_reset_after(guest):
    made = guest(Agent())
    made.resize("700M")
    made.balloon.emit("RESET", guest=True, reason="guest-reset")
    process.wait_for(lambda: made.balloon.target == made.balloon.memory, 20, "its boot has all memory")
    assert made.status()["resume_bytes"] == 700 * MIB


@beside()
def test_size_of_before_a_reset(guest):
    """QEMU goes on telling it until the driver has something to do, and is not believed."""
    made = guest(Agent())
    made.resize("700M")
    made.balloon.reset()
    assert made.call("600M")["error"] == "busy"
    page_less = made.balloon.memory - 4096
    process.wait_for(lambda: made.balloon.target == page_less, 10, "the guest is given something to tell")
    made.balloon.claim = None
    process.wait_for(lambda: made.balloon.target == made.balloon.memory, 10, "it has told, and has all")
    process.wait_for(lambda: made.call("max", dry_run=True).get("error") != "busy", 10, "its size is known")
    assert made.status()["resume_bytes"] == 700 * MIB and made.entry()
    assert made.resize("600M")["state"] == "reached"
    assert made.resize("max")["state"] == "reached" and made.entry() is None


@beside("status", "stop")
def test_migration_during(guest, how):
    """No target is set from then on."""
    made = guest(Agent())
    made.balloon.rate = 400 * MIB
    with made.begin("512M") as client:
        if how == "status":
            made.balloon.migration = {"status": "setup"}
        else:
            made.balloon.emit("STOP")
        reply = client.reply()["parameters"]
    assert reply["state"] == "migration" and len(made.balloon.targets) == 1


@beside()
def test_told_while_it_is_asked(guest):
    """What QEMU tells of between its answers is newer than they are: it is asked again at once."""
    made = guest(Agent())
    made.balloon.migration = {"status": "active"}

    def ended():
        made.balloon.migration = {}
        made.balloon.emit("RESUME")
    made.balloon.after["query-migrate"] = ended
    made.balloon.emit("STOP")
    process.wait_for(lambda: "query-migrate" not in made.balloon.after, 20, "QEMU was asked")
    process.wait_for(lambda: "error" not in made.call("512M", dry_run=True), 20, "it is not migrated any more")


@beside()
def test_event_storm(guest):
    made = guest(Agent())
    with made.begin("512M") as client:
        for n in range(2000):
            made.balloon.emit("BALLOON_CHANGE", actual=n * MIB)
        reply = client.reply()["parameters"]
    assert reply["state"] == "reached"


@beside()
def test_qemu_stops_answering(guest):
    made = guest(Agent())
    made.balloon.rate = 50 * MIB
    with made.begin("512M") as client:
        made.balloon.mute = True
        reply, seconds = d.timed(client.reply)
    assert reply["parameters"]["state"] == "failed" and "QEMU does not answer" in reply["parameters"]["reason"]
    assert seconds < 18 and made.entry()


@beside(0, 1, 9, 26)
def test_socket_cut(guest, step):
    """After so many bytes of the answer to `balloon`: what is true is read anew, and it goes on."""
    made = guest(Agent())
    made.balloon.cut = step
    reply = made.resize("900M")
    assert reply["state"] == "reached" and set(made.balloon.targets) == {900 * MIB}

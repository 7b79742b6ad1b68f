# SPDX-License-Identifier: Apache-2.0
"""`pagepact balloon` with guests that have a virtio-mem device: superpages first, and both devices given back."""
import json
import signal

import daemon as d
from ballooned import MIB, Agent, Plugged, beside, crowd, host, place  # noqa: F401  (fixtures too)
from daemon import folder  # noqa: F401  (a fixture)
from lab import process, wire
from restoring import restore


def plugged(guest, **options):
    return guest(Agent(), kind=Plugged, **options)


def settled(balloon):
    balloon.follow()
    return balloon.plugged, balloon.size - balloon.base


# ---------------------------------------------------------------- which device


@beside()
def test_superpages_first_and_back(guest):
    made = plugged(guest)
    memory, balloon = made.balloon.memory, made.balloon
    reply = made.resize(memory - 600 * MIB)
    assert reply["state"] == "reached" and reply["by"] == "auto" and reply["actual_bytes"] == memory - 600 * MIB
    assert reply["unplugged_bytes"] == 512 * MIB and reply["steps"] == 3
    assert balloon.requests == [256 * MIB, 0] and balloon.targets == [balloon.base - 88 * MIB]
    assert made.said.frees == [88 * MIB] == [reply["evicted_bytes"]], "what the kernel drops itself is not evicted before"
    status = made.status()
    assert (status["original_bytes"], status["target_bytes"]) == (memory, memory - 600 * MIB)
    entry = json.loads(made.entry())
    assert entry["virtio_mem"] == [{"id": "vm0", "requested_bytes": 512 * MIB, "bytes": 512 * MIB}]
    text = made.daemon.call("explain", order=reply["order"])["parameters"]["text"]
    assert any("512.0 MiB were given as superpages" in line for line in text)
    assert made.resize(memory - 400 * MIB)["state"] == "reached"
    assert settled(balloon) == (112 * MIB, 0), "pages come back first"
    assert made.resize("max")["actual_bytes"] == memory and settled(balloon) == (512 * MIB, 0)
    assert balloon.requested == 512 * MIB and made.entry() is None
    vm = made.daemon.vm(made.name)
    assert vm["set_up"] == "superpages" and vm["agent"]["clears_pages"] is True


def test_who_clears_pages(place):
    """What an agent says of its kernel; two answers are none."""
    made = place("clears", kind=Plugged)

    def told():
        found = made.daemon.call("status")["parameters"]
        return found["vms"][0]["agent"]["clears_pages"], [each["set_up"] for each in found["set_ups"]]
    for can, clears, more in ((wire.CLEARS, True, ["clears_pages"]), (wire.CLEARS_NOT, False, []),
                              (wire.CLEARS | wire.CLEARS_NOT, None, []), (wire.CLEARS, True, ["clears_pages"]), (0, None, [])):
        # As an agent does that was started anew.
        made.agent.connection.sendall(d.frame(wire.HELLO, 0, d.hello(capabilities=127 | can, boot=made.said.boot)))
        wanted = (clears, ["superpages", *more])
        process.wait_for(lambda want=wanted: told() == want, 20, f"{can} is {clears}")


@beside()
def test_pages_alone(guest):
    made = plugged(guest)
    reply = made.resize("-300M", by="pages")
    assert reply["state"] == "reached" and reply["unplugged_bytes"] == 0 and not made.balloon.requests
    assert settled(made.balloon) == (512 * MIB, -300 * MIB)
    # By superpages, none of that comes back.
    assert made.resize("-100M", by="superpages")["state"] == "reached"
    assert settled(made.balloon) == (412 * MIB, -300 * MIB)


@beside()
def test_superpages_alone(guest):
    made = plugged(guest, plugged=200 * MIB)
    reply = made.resize(made.balloon.memory - 101 * MIB, by="superpages")
    assert reply["state"] == "reached" and reply["asked_bytes"] == made.balloon.memory - 100 * MIB
    assert any("by whole blocks" in note for note in reply["notes"]) and not made.balloon.targets
    result = made.daemon.ctl("balloon", made.name, "-300M", "--by", "superpages")
    assert result.returncode == 1 and "state: superpages_ended" in result.stdout and "nothing plugged" in result.stdout
    assert "100.0 MiB were given as superpages, by virtio-mem" in result.stdout
    assert settled(made.balloon) == (0, 0)


@beside()
def test_only_is_by_pages(guest):
    made = plugged(guest)
    assert made.resize("-100M", cache="only")["by"] == "pages" and not made.balloon.requests


@beside()
def test_no_device(guest):
    guest(Agent()).refused("-100M", "refused", "no virtio-mem device", "--by=pages", by="superpages")


@beside()
def test_passed_through(guest):
    """What pins the guest's memory inhibits the balloon, and not virtio-mem."""
    made = plugged(guest, attach=False)

    def answer(name, arguments, old=made.balloon._answer):
        if name == "qom-list" and arguments.get("path") == "/machine/peripheral":
            return {"return": [{"name": "b", "type": "child<virtio-balloon-pci>"},
                               {"name": "gpu", "type": "child<vfio-pci>"}]}
        return old(name, arguments)
    made.balloon._answer = answer
    made.attach()
    made.refused("-100M", "refused", "passed through", "--by=superpages", by="pages")
    reply = made.resize(made.balloon.memory - 600 * MIB)
    assert reply["state"] == "superpages_ended" and reply["by"] == "superpages" and not made.balloon.targets
    assert settled(made.balloon) == (0, 0)
    reply = made.resize("+101M")
    assert reply["state"] == "reached" and settled(made.balloon) == (102 * MIB, 0), "no pages are taken to grow"


# ---------------------------------------------------------------- what goes wrong


@beside()
def test_what_cannot_be_emptied(guest):
    """The guest keeps it, and pages go on; what it could empty later is not asked for any more."""
    made = plugged(guest)
    made.balloon.loose = 100 * MIB
    reply = made.resize("-300M")
    assert reply["state"] == "reached" and reply["unplugged_bytes"] == 100 * MIB
    made.balloon.loose = 1 << 40
    assert settled(made.balloon) == (412 * MIB, -200 * MIB) and made.balloon.requested == 412 * MIB


@beside()
def test_undone(guest):
    """A guest that runs out of memory after a step gets that back, and what was unplugged before stays."""
    made = plugged(guest)
    values = made.said.values
    values["oom_kills"] = 0
    follow = made.balloon.follow

    def killing():
        follow()
        values["oom_kills"] = int(made.balloon.plugged < 200 * MIB)
    made.balloon.follow = killing
    reply = made.resize("-500M")
    assert reply["state"] == "pressure" and "killed 1 of its processes" in reply["reason"]
    made.balloon.follow = follow
    assert settled(made.balloon) == (256 * MIB, 0)
    made.refused("-10M", "refused", "went badly last time")


@beside()
def test_stopped_where_it_is(guest):
    made = plugged(guest)
    made.balloon.rate = 40 * MIB
    made.resize("-400M", no_wait=True)
    process.wait_for(lambda: made.balloon.plugged < 480 * MIB, 10, "some is unplugged")
    reply = made.daemon.call("balloon", 20, vm=made.name, stop=True)["parameters"]
    assert reply["state"] == "stopped"
    assert made.balloon.plugged + made.balloon.size == reply["actual_bytes"] > made.balloon.memory - 256 * MIB
    assert made.balloon.requested == made.balloon.plugged


@beside()
def test_somebody_else(guest):
    """Who asks the device for less is another owner: what the guest had is not set any more."""
    made = plugged(guest)
    made.resize("-100M")
    seen = len(made.balloon.commands)
    made.balloon.emit("MEMORY_DEVICE_SIZE_CHANGE", id="vm0", size=made.balloon.plugged)
    # One is the inventory's.
    process.wait_for(lambda: made.balloon.commands[seen:].count("query-memory-devices") >= 2, 10, "it is seen at rest")
    made.balloon.requested = 200 * MIB
    process.wait_for(lambda: made.status()["hands_off_left_usec"], 30, "it is seen")
    assert made.entry() is None
    made.refused("-10M", "refused", "somebody else")


@beside()
def test_restarted(guest):
    """A guest that boots plugs in all that it had at first, and its balloon holds nothing."""
    made = plugged(guest)
    made.resize(made.balloon.memory - 600 * MIB)
    made.balloon.reset()
    process.wait_for(lambda: settled(made.balloon)[0] == made.balloon.requested == 512 * MIB, 20, "all is plugged in")
    # Until the balloon's driver has told of a page it is not known what it holds, whatever is plugged in.
    process.wait_for(lambda: made.balloon.target == made.balloon.base - 4096, 20, "a page is asked for")
    made.refused("-10M", "busy", "has not told its size")
    made.balloon.claim = None
    process.wait_for(lambda: made.balloon.target == made.balloon.base, 20, "the page is given back")
    assert made.status()["resume_bytes"] == made.balloon.memory - 600 * MIB


def unplug_device(balloon):
    """What QEMU lets an operator do once nothing is plugged in."""
    balloon.follow()
    assert balloon.plugged == balloon.requested == 0
    balloon.gone = True


@beside()
def test_device_that_goes(guest):
    """What a device had that was emptied and then removed is nobody's to give back, nor counted any more."""
    made = plugged(guest)
    made.resize("-512M")
    unplug_device(made.balloon)
    assert made.resize("-100M")["state"] == "reached" and made.balloon.target == made.balloon.base - 100 * MIB
    assert made.resize("max")["state"] == "reached" and made.balloon.size == made.balloon.base
    process.wait_for(lambda: made.entry() is None, 30, "nothing is owed any more")


@beside()
def test_driver_that_has_not_come(guest):
    """A device that is to have something and has nothing is left alone: what it plugs in later is nobody else's doing."""
    made = plugged(guest, plugged=256 * MIB)
    made.balloon.late, made.balloon.plugged = True, 0
    made.balloon.emit("MEMORY_DEVICE_SIZE_CHANGE", id="vm0", size=0)
    made.daemon.wait_vm(made.name, lambda vm: vm["virtio_mem"][0]["bytes"] == 0)
    assert made.resize("-100M")["state"] == "reached" and "virtio_mem" not in json.loads(made.entry())
    made.balloon.late = False
    made.balloon.emit("MEMORY_DEVICE_SIZE_CHANGE", id="vm0", size=256 * MIB)
    made.daemon.wait_vm(made.name, lambda vm: vm["virtio_mem"][0]["bytes"] == 256 * MIB)
    assert made.resize("max")["state"] == "reached" and made.entry() is None and made.status()["hands_off_left_usec"] is None


@beside()
def test_answer_lost(guest):
    """What was unplugged is not unplugged twice for an answer that did not come."""
    made = plugged(guest)
    made.balloon.cuts, made.balloon.cut = "qom-set", 5
    reply = made.resize("-256M")
    assert made.balloon.cut is None and reply["state"] == "reached"
    assert settled(made.balloon) == (256 * MIB, 0) and made.balloon.requests == [256 * MIB, 256 * MIB]
    assert made.entry()


@beside()
def test_unplugs_by_itself(guest):
    """A kernel that was started by another one: it plugs in again what it is to have, and nobody else was at it."""
    made = plugged(guest)
    made.resize("-100M")
    made.balloon.plugged, made.balloon.rate = 0, 0
    made.balloon.emit("MEMORY_DEVICE_SIZE_CHANGE", id="vm0", size=0)
    seen = len(made.balloon.commands)
    process.wait_for(lambda: made.balloon.commands[seen:].count("query-memory-devices") >= 2, 10, "it is seen")
    made.balloon.rate = 1 << 40
    assert made.entry() and made.status()["hands_off_left_usec"] is None
    assert made.resize("max")["state"] == "reached" and settled(made.balloon) == (512 * MIB, 0)


@beside()
def test_refused_by_the_device(guest):
    """Of one of the same id that can have less: it gets what it can, and the balloon's part comes back all the same."""
    made = plugged(guest)
    made.resize(made.balloon.memory - 600 * MIB)
    made.balloon.most = 256 * MIB
    assert made.resize("max", timeout_sec=8)["state"] in ("stalled", "timeout")
    assert settled(made.balloon) == (256 * MIB, 0)


# ---------------------------------------------------------------- who gives it back


@beside()
def test_detached(guest):
    made = plugged(guest)
    made.resize(made.balloon.memory - 600 * MIB)
    made.balloon.rate = 1 << 40
    assert "error" not in made.detach()
    assert settled(made.balloon) == (512 * MIB, 0) and made.entry() is None


def test_killed_and_taken_over(place):  # noqa: F811
    """In the midst of a step: whoever comes next knows what the devices had."""
    made = place("killed", kind=Plugged)
    made.balloon.rate = 60 * MIB
    made.resize(made.balloon.memory - 600 * MIB, no_wait=True)
    process.wait_for(lambda: made.balloon.plugged < 400 * MIB, 20, "some is unplugged")
    process.stop(made.daemon.process, signal.SIGKILL)
    made.daemon.start()
    made.ready()
    made.balloon.rate = 1 << 40
    made.daemon.wait_vm("a", lambda vm: vm["balloon"]["original_bytes"] == made.balloon.memory)
    assert made.resize("max")["state"] == "reached" and settled(made.balloon) == (512 * MIB, 0)


def test_killed_and_a_device_gone(place):  # noqa: F811
    """Whoever takes over goes by the devices that are left, and owes nothing once the guest has what they and the balloon had."""
    made = place("gone", kind=Plugged)
    made.resize("-512M")
    process.stop(made.daemon.process, signal.SIGKILL)
    unplug_device(made.balloon)
    made.daemon.start()
    made.ready()
    process.wait_for(lambda: made.entry() is None, 30, "the device is left out")
    assert made.balloon.target == made.balloon.size == made.balloon.base


def test_killed_and_restored(place):  # noqa: F811
    """By pagepact-restore, without a daemon."""
    made = place("restored", kind=Plugged)
    made.resize(made.balloon.memory - 600 * MIB)
    process.stop(made.daemon.process, signal.SIGKILL)
    assert made.entry()
    done = restore(made.daemon.run, "--now")
    assert done.returncode == 0, done.stderr
    made.balloon.rate = 1 << 40
    assert settled(made.balloon) == (512 * MIB, 0) and made.entry() is None

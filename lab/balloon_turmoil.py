# SPDX-License-Identifier: Apache-2.0
"""Guests that are reset, paused, saved and replaced in mid-resize, and journals of another boot: all is given back."""
import collections
import json
import signal
import uuid

from lab import process
from lab.report import MIB, table

EACH, QUICK_EACH = 20, 1
MOST_SECONDS = 2
SAVE_SECONDS = 120
KNOWN_SECONDS = 15  # the daemon looks at a machine every ten seconds, and after what QEMU tells of
BOOT_SECONDS = 90


def _begin(ballooned):
    """A resize that makes the guest smaller, under way."""
    ballooned.wait_running()
    return ballooned.begin_midway(MOST_SECONDS)


def _wait_allowed(ballooned):
    """Until the daemon knows that the machine is no more paused, saved or booting."""
    process.wait_for(lambda: "steps" in ballooned.resize("max", "--dry-run"), KNOWN_SECONDS,
                     "resizes are allowed again")


def reboot(ballooned):
    """It boots with all of its memory, though it was being made smaller."""
    begun, guest = _begin(ballooned), ballooned.guest
    guest.reset()
    ballooned.finish(begun)
    guest.wait_ready(BOOT_SECONDS)
    # Before anybody asks for it.
    left = ballooned.left_squeezed() + ballooned.taken()
    _wait_allowed(ballooned)
    return left + ballooned.give_back()


def pause(ballooned):
    begun, guest = _begin(ballooned), ballooned.guest
    guest.pause()
    ballooned.moment(MOST_SECONDS)
    guest.cont()
    ballooned.finish(begun)
    _wait_allowed(ballooned)
    return ballooned.give_back()


def save(ballooned):
    """Its state is written as for a snapshot, by QEMU's migration to a program, and it goes on."""
    begun, guest = _begin(ballooned), ballooned.guest
    guest.qmp("migrate_set_parameters", max_bandwidth=1 << 40)
    guest.qmp("migrate", uri="exec:cat >/dev/null")
    process.wait_for(lambda: guest.qmp("query_migrate").get("status") in ("completed", "failed"), SAVE_SECONDS,
                     "it is saved")
    if guest.qmp("query_migrate")["status"] == "failed":
        raise RuntimeError("the guest could not be saved")
    guest.cont()
    ballooned.finish(begun)
    _wait_allowed(ballooned)
    return ballooned.give_back()


def stale(ballooned):
    """An entry that is left of before the host's reboot: nobody acts on it, and it goes."""
    ballooned.wait_running()
    squeezed = ballooned.give_back()
    answer = ballooned.resize(ballooned.memory - 64 * MIB)
    if answer["state"] != "reached":
        raise RuntimeError(f"not resized: {answer}")
    entry = ballooned.entry()
    ballooned.lab.stop_daemon()
    squeezed += ballooned.left_squeezed()
    entry.update(boot_id=str(uuid.uuid4()), original_bytes=ballooned.memory - 128 * MIB)
    path = ballooned.lab.runtime / "journal.d" / ballooned.guest.name
    path.write_text(json.dumps(entry))
    if ballooned.draw.random() < 0.5:
        if ballooned.restorer("--now"):
            raise RuntimeError("pagepact-restore fails at an entry of another boot")
        squeezed += ballooned.entry() is not None
    ballooned.lab.start_daemon(write_config=False)
    ballooned.wait_running()
    process.wait_for(lambda: ballooned.entry() is None, 10, "the stale entry is removed")
    return squeezed + ballooned.left_squeezed() + ((ballooned.status()["original_bytes"]) is not None)


def replace(ballooned):
    """Its QEMU ends in mid-resize, and another one starts on its sockets; while a daemon runs, or after it was killed."""
    begun, guest, lab = _begin(ballooned), ballooned.guest, ballooned.lab
    alone = ballooned.draw.random() < 0.5
    if alone:
        lab.stop_daemon(signal.SIGKILL)
    guest.kill()
    guest.start()
    ballooned.finish(begun)
    guest.wait_ready()
    squeezed = 0
    if alone:
        squeezed = int(ballooned.restorer("--now") != 0)
        lab.start_daemon(write_config=False)
    ballooned.wait_running()
    squeezed += ballooned.left_squeezed()
    process.wait_for(lambda: ballooned.entry() is None, 15, "the entry of the machine before is removed")
    answer = ballooned.resize(ballooned.memory - 64 * MIB)
    squeezed += answer["state"] != "reached"
    return squeezed + ballooned.give_back()


KINDS = {"reboot": reboot, "pause": pause, "save": save, "stale": stale, "replace": replace}


def turmoil(lab, report, ballooned):
    report.head("Guests disturbed during resizes")
    ballooned.start_daemon()
    ballooned.wait_known()
    done, squeezed, broken = collections.Counter(), 0, 0
    order = list(KINDS) * (QUICK_EACH if lab.quick else EACH)
    ballooned.draw.shuffle(order)
    for kind in order:
        left = KINDS[kind](ballooned)
        if left:
            report.say(f"  {kind}: the guest, or something else, is not as it was")
        squeezed += left != 0 or ballooned.taken() != 0
        broken += not ballooned.works()
        done[kind] += 1
    lab.stop_daemon()
    report.say(table(("what", "times"), sorted(done.items())))
    report.check("turmoil_done", report.measure("turmoil_done", sum(done.values())), f"== {len(order)}")
    report.check("turmoil_left_squeezed", report.measure("turmoil_left_squeezed", squeezed), "== 0")
    report.check("turmoil_broken_guests", report.measure("turmoil_broken_guests", broken), "== 0")

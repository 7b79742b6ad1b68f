# SPDX-License-Identifier: Apache-2.0
"""What a daemon that is stopped, killed or started again does with the scripted guests that it had resized."""
import contextlib
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

import daemon as d
from ballooned import MIB, Agent, Guest, place  # noqa: F401  (a fixture)
from daemon import folder  # noqa: F401  (a fixture)
from lab import process, wire


# ---------------------------------------------------------------- the daemon's end


def test_beside_free(place):
    """A guest has one question open at a time: both get their answers."""
    agent = Agent()
    agent.free = lambda size: time.sleep(0.5) or wire.freed(size, cold=size)
    made = place("free", agent=agent)
    with d.Client(made.daemon.socket) as a, d.Client(made.daemon.socket) as b:
        a.send("free", vm=made.name, bytes=10 * MIB)
        b.send("balloon", vm=made.name, size="600M")
        freed, sized = a.reply(), b.reply()
    assert freed["parameters"]["freed_bytes"] == 10 * MIB and freed["parameters"]["error"] is None
    assert sized["parameters"]["state"] == "reached" and sized["parameters"]["evicted_bytes"] > 300 * MIB


def test_clean_stop(place):
    """Everything is as it was: the size, the statistics, the journal."""
    made = place("stop")
    made.resize("600M")
    assert made.entry() and made.balloon.target == 600 * MIB
    made.daemon.stop()
    assert made.balloon.target == made.balloon.memory and made.entry() is None


def test_clean_stop_in_the_midst(place):
    made = place("midst")
    made.balloon.rate = 30 * MIB
    with made.begin("512M"):
        _, seconds = d.timed(made.daemon.stop)
    assert made.balloon.target == made.balloon.memory and made.entry() is None and seconds < 5


def test_clean_stop_does_not_wait_for_ever(place):
    made = place("mute")
    made.resize("600M")
    made.balloon.mute = True
    process.stop(made.daemon.process, 15)
    assert made.daemon.process.returncode == 0 and made.entry()


def test_migrating_at_the_end(place):
    made = place("leaving")
    made.resize("600M")
    made.balloon.migration = {"status": "active"}
    made.balloon.emit("RESUME")
    made.daemon.says("")
    time.sleep(1.5)
    made.daemon.stop()
    assert made.balloon.target == 600 * MIB and "migrated or saved: its size is left" in made.daemon.log()


def test_killed_and_started_again(place):
    """Nothing changes at the start; the next daemon knows what was the guest's."""
    made = place("killed")
    made.balloon.rate = 100 * MIB
    with made.begin("512M"):
        made.daemon.process.kill()
        made.daemon.process.wait()
    targets, before = list(made.balloon.targets), made.entry()
    assert before
    made.daemon.start()
    made.ready()
    made.daemon.says("a: taken over from a daemon before this one")
    assert made.balloon.targets == targets and made.entry() == before
    assert made.status()["original_bytes"] == made.balloon.memory
    made.balloon.rate = 1 << 40
    assert made.resize("max")["state"] == "reached"
    assert made.balloon.target == made.balloon.memory and made.entry() is None


def again(made):
    """The daemon is killed; the next one is started by whoever asked."""
    made.daemon.process.kill()
    made.daemon.process.wait()
    return made.daemon.run / "journal.d" / made.name


def test_entries_of_others(place):
    """Of a process that has ended: removed. Of one that runs: kept, and its guest is not resized; the process decides."""
    made = place("others")
    made.resize("600M")
    path = again(made)
    text = path.read_text()
    path.write_text(text.replace(str(made.balloon.path), "/run/another.qmp").replace(
        f'"original_bytes": {made.balloon.memory}', f'"original_bytes": {made.balloon.memory * 2}').replace(
        json.loads(text)["uuid"], ""))
    ended = path.with_name("ended")
    ended.write_text(text.replace('"vm": "a"', '"vm": "ended"').replace(f": {os.getpid()},", ": 4194303,"))
    made.daemon.start()
    made.ready()
    made.daemon.says("a: taken over from a daemon before this one")
    assert made.status()["original_bytes"] == made.balloon.memory and not ended.exists()
    assert json.loads(path.read_text())["qmp"] == str(made.balloon.path)
    made.daemon.stop()
    assert made.balloon.target == made.balloon.memory and made.entry() is None


def test_entry_of_a_process_that_runs(place):
    """Not this guest's QEMU: that one is to get its memory back first, and this one is not resized."""
    made = place("runs")
    made.resize("600M")
    path, other = again(made), subprocess.Popen(["sleep", "100"])
    try:
        ticks = int(Path(f"/proc/{other.pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
        entry = {**json.loads(path.read_text()), "pid": other.pid, "start_ticks": ticks}
        path.write_text(json.dumps(entry))
        made.daemon.start()
        made.ready()
        made.refused("500M", "refused", "about another process", str(other.pid))
        assert json.loads(path.read_text()) == entry and made.status()["original_bytes"] is None
    finally:
        process.stop(other)
        made.daemon.stop()


def test_entry_of_an_earlier_process(place):
    """Its number is this one's now: nothing of it is taken over, and it is removed."""
    made = place("earlier")
    made.resize("600M")
    path = again(made)
    entry = json.loads(path.read_text())
    path.write_text(json.dumps({**entry, "start_ticks": entry["start_ticks"] + 1}))
    made.daemon.start()
    made.ready()
    made.daemon.says("its journal entry is removed")
    assert made.status()["original_bytes"] is None and not path.exists()
    made.daemon.stop()
    assert made.balloon.target == 600 * MIB


def test_another_name(place):
    """The same QEMU under another name in the configuration."""
    made = place("name")
    made.resize("600M")
    again(made)
    (made.daemon.etc / "vms.d/a.conf").rename(made.daemon.etc / "vms.d/b.conf")
    made.daemon.start()
    made.daemon.says("b: taken over from a daemon before this one")
    assert [one.name for one in (made.daemon.run / "journal.d").iterdir()] == ["b"]
    made.daemon.stop()
    assert made.balloon.target == made.balloon.memory


def test_damaged_entry(place):
    """What cannot be read is kept, and nothing is written over it."""
    made = place("damaged")
    made.resize("600M")
    path = again(made)
    path.write_text("{")
    made.daemon.start()
    made.ready()
    made.refused("500M", "refused", "its journal entry cannot be read", str(path))
    assert made.resize("500M", dry_run=True)
    assert path.read_text() == "{"
    path.unlink()
    assert made.resize("500M")["state"] == "reached"


def test_nobody_s_guest(folder):
    """Attached by command, and not again after the daemon was killed: the next one gives back what it had."""
    path = Path(folder) / "nobody"
    path.mkdir()
    with contextlib.ExitStack() as stack:
        daemon = d.Daemon(path).start()
        stack.callback(lambda: process.stop(daemon.process))
        made = Guest(daemon, stack, "a", Agent())
        made.resize("600M")
        again(made)
        daemon.start()
        process.wait_for(lambda: made.balloon.target == made.balloon.memory, 15, "its memory is back")
        daemon.says("a: it is not attached, and is given back what it had")
        assert made.entry() is None
        daemon.stop()


def test_floor_in_the_file(place):
    made = place("floor", more="balloon_floor = 50%")
    half = made.balloon.memory // 2
    made.refused(half - MIB * 2, "refused", "balloon_floor in its file")
    reply = made.resize(half + MIB)
    assert reply["state"] == "reached" and reply["floor_source"] == "configuration"


def test_dry_daemon(folder):
    path = Path(folder) / "dry"
    path.mkdir()
    with contextlib.ExitStack() as stack:
        daemon = d.Daemon(path)
        daemon.arguments = ["--dry-run"]
        made = Guest(daemon, stack, "a", Agent(), attach=False)
        daemon.add("a", made.balloon.path, made.agent.path, act=True).start()
        stack.callback(lambda: process.stop(daemon.process))
        made.ready()
        assert made.resize("600M")["dry_run"] and not made.balloon.targets and made.entry() is None
        daemon.stop()


def test_dry_daemon_after_a_killed_one(place):
    """It would give nothing back, and keep the dead-man away: it does not start."""
    made = place("drier")
    made.resize("600M")
    again(made)
    made.daemon.arguments = ["--dry-run"]
    assert made.daemon.spawn().wait(10) == 1
    assert "Guests are still smaller than they were" in made.daemon.log()
    # What cannot be read may be about one, too.
    path = made.daemon.run / "journal.d" / made.name
    text = path.read_text()
    path.write_text("{")
    assert made.daemon.spawn().wait(10) == 1
    path.write_text(text)
    made.daemon.arguments = []
    made.daemon.start()
    made.ready()
    made.daemon.stop()
    assert made.balloon.target == made.balloon.memory
    made.daemon.arguments = ["--dry-run"]
    made.daemon.start().stop()


def test_detached_while_migrating(place):
    """Refused: what it had could not be given back, and nobody would know of it any more."""
    made = place("detach")
    made.resize("600M")
    made.balloon.migration = {"status": "active"}
    made.balloon.emit("MIGRATION", status="active")
    made.daemon.says("")
    process.wait_for(lambda: "migrated or saved" in made.detach().get("parameters", {}).get("message", ""), 20, "refused")
    assert made.balloon.target == 600 * MIB and made.entry()
    made.balloon.migration = {"status": "cancelled"}
    made.balloon.emit("MIGRATION", status="cancelled")
    process.wait_for(lambda: "error" not in made.detach(), 20, "detached")
    assert made.balloon.target == made.balloon.memory and made.entry() is None


@pytest.mark.parametrize("ends", [True, False])
def test_dead_man_while_migrating(place, ends):
    """No target is set while the guest is migrated; where that ends in time, its memory is given back."""
    made = place(f"dead{ends}")
    made.resize("600M")
    again(made)
    made.balloon.migration = {"status": "active"}
    asked, targets = made.balloon.commands.count("query-migrate"), list(made.balloon.targets)
    dead_man = subprocess.Popen([str(d.BUILD / "src/host/pagepact-restore"), "--runtime-dir", str(made.daemon.run), "--now"],
                                stderr=subprocess.PIPE, text=True)
    try:
        process.wait_for(lambda: made.balloon.commands.count("query-migrate") > asked + 3, 15, "it asks again")
        assert made.balloon.targets == targets and made.entry()
        if ends:
            made.balloon.migration = {"status": "cancelled"}
            assert dead_man.wait(10) == 0
            assert made.balloon.target == made.balloon.memory and made.entry() is None
    finally:
        process.stop(dead_man)


def test_statistics_set_back_later(place):
    """QEMU refuses it at the end of a resize: it is asked again."""
    made = place("later")
    refuse = [True]

    def answer(name, arguments, old=made.balloon._answer):
        if refuse[0] and name == "qom-set" and arguments["value"] == 7:
            return {"error": {"class": "GenericError", "desc": "no"}}
        return old(name, arguments)
    made.balloon._answer = answer
    made.balloon.interval = 7
    made.agent.stop()
    made.agent.listener.close()
    made.daemon.wait_agent("a", "absent")
    made.balloon.stats = {"stat-available-memory": made.balloon.memory // 2}
    assert made.resize("900M")["state"] == "reached" and made.balloon.interval == 1
    refuse[0] = False
    process.wait_for(lambda: made.balloon.interval == 7, 20, "it is set back")
    process.wait_for(lambda: '"stats_path": ""' in (made.entry() or ""), 20, "the journal knows")
    assert made.balloon.target == 900 * MIB


def test_pressure_unseen(place):
    agent = Agent()
    agent.values["pressure"] = 0xffffffff
    made = place("blind", agent=agent)
    reply = made.resize("900M")
    assert reply["state"] == "reached" and any("pressure cannot be seen" in note for note in reply["notes"])

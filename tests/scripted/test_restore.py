# SPDX-License-Identifier: Apache-2.0
"""pagepact-restore on real QEMUs: one with a guest that was squeezed, halted ones, one that is stopped; daemons that die."""
import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

import daemon as d
from daemon import folder  # noqa: F401  (a fixture)
from lab import process
from lab.qmp import Qmp
from restoring import INTERVAL, MIB, RESTORE, restore, start_ticks, write_entry

BALLOON = "/machine/peripheral-anon/device[0]"


def interval(qemu):
    qmp = Qmp(qemu.path)
    try:
        return qmp("qom_get", path=BALLOON, property=INTERVAL)
    finally:
        qmp.close()


def change(qemu):
    """A halted guest cannot be squeezed; that its statistics are polled can be read."""
    qmp = Qmp(qemu.path)
    qmp("qom_set", path=BALLOON, property=INTERVAL, value=7)
    qmp.close()


@contextlib.contextmanager
def changed(place, *names):
    """Halted QEMUs with an entry each; {name: (Qemu, the path of its entry)}."""
    with contextlib.ExitStack() as stack:
        found = {}
        for name in names:
            qemu = d.Qemu(place, name)
            stack.callback(qemu.stop)
            change(qemu)
            found[name] = qemu, write_entry(place / "run", name, qemu.path, qemu.process.pid, stats_path=BALLOON,
                                            stats_seconds=3)
        yield found


@pytest.fixture
def place(folder, request):
    made = folder / request.node.name.removeprefix("test_")[:20]
    made.mkdir()
    return made


def test_halted(place):
    """One command restores, one proves it."""
    with changed(place, "one", "two") as made:
        found = restore(place / "run", "--check")
        assert (found.returncode, found.stdout) == (1, "one: original 33554432 bytes, target 16777216 bytes\n"
                                                       "two: original 33554432 bytes, target 16777216 bytes\n")
        assert [guest["name"] for guest in json.loads(restore(place / "run", "--check", "--json").stdout)] == ["one", "two"]
        found, seconds = d.timed(restore, place / "run", "--now")
        assert found.returncode == 0, found.stderr
        assert seconds < 5
        for name, (qemu, entry) in made.items():
            assert f"{name}: restored" in found.stderr
            assert not entry.exists()
            assert interval(qemu) == 3
        assert restore(place / "run", "--check").returncode == 0


def test_ended_and_damaged(place):
    """A process that ended has nothing to restore; what cannot be read is kept, and said in one line."""
    with changed(place, "gone", "bad") as made:
        made["gone"][0].stop()
        made["bad"][1].write_text("{")
        assert restore(place / "run", "--check").returncode == 1
        found = restore(place / "run", "--now")
        assert found.returncode == 1
        assert not made["gone"][1].exists()
        assert made["bad"][1].exists()
        assert [line for line in found.stderr.splitlines() if "damaged" in line and str(made["bad"][1]) in line]
        assert interval(made["bad"][0]) == 7


def test_killed_in_the_midst(place):
    """Killed at any moment, it leaves what the next one needs."""
    with changed(place, "one") as made:
        qemu, entry = made["one"]
        for n in range(30):
            change(qemu)
            write_entry(place / "run", "one", qemu.path, qemu.process.pid, stats_path=BALLOON, stats_seconds=3)
            killed = process.start([RESTORE, "--runtime-dir", place / "run", "--now"], place / "killed.log")
            time.sleep(n / 1000)
            process.stop(killed)
            found = restore(place / "run", "--now")
            assert found.returncode == 0, found.stderr
            assert not entry.exists()
            assert interval(qemu) == 3


def test_stopped(place):
    """A QEMU that is stopped does not stop the others, and gets its own as soon as it goes on."""
    with changed(place, "good", "stopped") as made:
        qemu, entry = made["stopped"]
        qemu.process.send_signal(signal.SIGSTOP)
        run = subprocess.Popen([RESTORE, "--runtime-dir", place / "run", "--now"], stderr=subprocess.PIPE, text=True)
        try:
            process.wait_for(lambda: not made["good"][1].exists(), 5, "the good one is restored")
            assert interval(made["good"][0]) == 3
            time.sleep(3)
            assert entry.exists() and run.poll() is None
            qemu.process.send_signal(signal.SIGCONT)
            _, errors = run.communicate(timeout=20)
        finally:
            process.stop(run)
        assert run.returncode == 0, errors
        assert interval(qemu) == 3


@pytest.fixture
def install_log():
    """Whoever installed from this build directory can still uninstall."""
    log = d.BUILD / "meson-logs/install-log.txt"
    before = log.read_bytes() if log.exists() else None
    yield log
    log.unlink(missing_ok=True)
    if before is not None:
        log.write_bytes(before)


def uninstall(place):
    return subprocess.run([d.ROOT / "packaging/uninstall", d.BUILD, "--runtime-dir", place / "run"], capture_output=True,
                          text=True, timeout=60)


def test_uninstall(place, install_log):
    """Guests come first: while one cannot have its memory back, nothing is removed."""
    root = place / "root"
    subprocess.run(["meson", "install", "-C", d.BUILD, "--no-rebuild", "--quiet", "--destdir", root], check=True)
    installed = [path for path in root.rglob("*") if path.is_file()]
    assert {"pagepactd", "pagepact-agent", "pagepactd.service", "agent.conf"} <= {path.name for path in installed}
    with changed(place, "one", "bad") as made:
        whole = made["bad"][1].read_text()
        made["bad"][1].write_text("{")
        found = uninstall(place)
        assert found.returncode == 1 and "Nothing was removed" in found.stderr and "bad" in found.stderr
        assert all(path.exists() for path in installed)
        assert interval(made["one"][0]) == 3
        made["bad"][1].write_text(whole)
        found = uninstall(place)
        assert found.returncode == 0, found.stderr
        assert interval(made["bad"][0]) == 3
    assert [path.name for path in root.rglob("*") if path.is_file()] == ["agent.conf"]
    install_log.unlink()
    found = uninstall(place)
    assert found.returncode == 1 and "nothing was installed" in found.stderr


def test_while_a_daemon_runs(place):
    daemon = d.Daemon(place).start()
    try:
        with changed(place, "one") as made:
            assert restore(daemon.run, "--wait", "20", seconds=10).returncode == 0
            found = restore(daemon.run, "--now")
            assert found.returncode == 1 and "pagepactd runs" in found.stderr
            assert made["one"][1].exists()
            assert interval(made["one"][0]) == 7
    finally:
        daemon.stop()


def test_runtime_dir_that_is_not_there(folder):  # noqa: F811
    """A slip of the hand would look as if all guests had what they had."""
    for arguments in (["--check"], ["--now"], []):
        done = restore(folder / "typo", *arguments)
        assert (done.returncode, done.stdout) == (2, "") and "typo: No such file" in done.stderr


def test_watch(place):
    """Daemons come and are killed: the guest is restored after the last, and no start was in the way of another."""
    daemon = d.Daemon(place).start()
    watch = process.start([RESTORE, "--runtime-dir", daemon.run, "--watch", "--wait", "4"], place / "watch.log")
    try:
        with changed(place, "one") as made:
            for _ in range(5):
                process.stop(daemon.process)
                daemon.start()
            assert "restored" not in (place / "watch.log").read_text()
            # What a daemon makes of an entry is not the question here.
            qemu, entry = made["one"]
            change(qemu)
            write_entry(daemon.run, "one", qemu.path, qemu.process.pid, stats_path=BALLOON, stats_seconds=3)
            process.stop(daemon.process)
            process.wait_for(lambda: not entry.exists(), 15, "the guest is restored")
            assert interval(qemu) == 3
            assert watch.poll() is None
    finally:
        process.stop(watch)
        process.stop(daemon.process)

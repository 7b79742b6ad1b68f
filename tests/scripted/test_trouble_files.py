# SPDX-License-Identifier: Apache-2.0
"""Wrong configuration, other daemons, and images that are not what they were."""
import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

import daemon as d
from daemon import folder  # noqa: F401  (a fixture)
from lab import process

NOBODY = 65534


@pytest.fixture
def daemon(folder):
    """Not started yet."""
    made = d.Daemon(tempfile.mkdtemp(dir=folder))
    yield made
    process.stop(made.process)


def ends(daemon, code):
    assert daemon.spawn().wait(10) == code


# ---------------------------------------------------------------- configuration


def test_unknown_keys(daemon):
    daemon.add("a", "/no/a.qmp", more="colour = blue\n[paint]\ncolour = red")
    (daemon.etc / "pagepact.conf").write_text("[pagepact]\n\npublic = /x\n")
    daemon.start()
    daemon.says(f'{daemon.etc}/vms.d/a.conf:4: unknown key "colour", ignored')
    daemon.says(f'{daemon.etc}/vms.d/a.conf:6: "colour" is in section [paint], ignored')
    daemon.says(f'{daemon.etc}/pagepact.conf:3: unknown key "public", ignored')
    assert daemon.vm("a")
    daemon.stop()


def test_bad_values_of_a_guest(daemon):
    """That guest is refused; the others are served."""
    daemon.add("a", "/no/a.qmp", more="act = maybe").add("b", "relative.qmp").add("c", "/no/c.qmp")
    daemon.add("d", "/no/c.qmp")
    daemon.start()
    daemon.says(f'{daemon.etc}/vms.d/a.conf:4: act must be yes or no, not "maybe"')
    daemon.says(f"{daemon.etc}/vms.d/b.conf:2: qmp: ")
    daemon.says('guest "c" has the same qmp socket')
    assert [vm["name"] for vm in daemon.call("status")["parameters"]["vms"]] == ["c"]
    daemon.stop()


def test_bad_values_of_all(daemon):
    (daemon.etc / "pagepact.conf").write_text("[pagepact]\npublic_images = base.raw\n")
    ends(daemon, 1)
    assert "pagepact.conf:2: public_images:" in daemon.log()
    assert not daemon.socket.exists()


def test_no_configuration(daemon):
    shutil.rmtree(daemon.etc)
    ends(daemon, 1)
    assert f"There is no directory {daemon.etc}: create it" in daemon.log()


# ---------------------------------------------------------------- other daemons


def test_two_daemons(daemon):
    daemon.start()
    first = daemon.process
    ends(daemon, 1)
    assert f"Another pagepactd runs: it holds {daemon.run}/lock" in daemon.log()
    daemon.process = first
    assert daemon.call("version")["parameters"]["protocol"] == 1
    daemon.stop()
    assert not daemon.socket.exists()


def test_killed_and_restarted(daemon):
    qemu = d.Qemu(daemon.directory, "a")
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(qemu.stop)
        daemon.add("a", qemu.path)
        daemon.start().wait_vm("a", lambda vm: vm["state"] == "prelaunch")
        process.stop(daemon.process, signal.SIGKILL)
        assert daemon.socket.exists()
        assert daemon.ctl("status").returncode == 3
        daemon.start().wait_vm("a", lambda vm: vm["state"] == "prelaunch")
        daemon.stop()


# ---------------------------------------------------------------- images


@contextlib.contextmanager
def with_image(daemon, mode=0o644, **options):
    """A running guest on an image of a MiB, half of which the host caches."""
    image = daemon.directory / "image.raw"
    image.write_bytes(os.urandom(1 << 20))
    image.chmod(mode)
    qemu = d.Qemu(daemon.directory, "a", image=image, runs=True)
    agent = d.FakeAgent(daemon.directory / "a.agent", d.healthy)
    try:
        for path in (qemu.path, agent.path):
            path.chmod(0o777)
        daemon.add("a", qemu.path, agent.path)
        if options:
            daemon.run.mkdir()
            os.chown(daemon.run, options["user"], options["user"])
            # The build may be where only we may look.
            daemon.directory.chmod(0o755)
            copy = shutil.copy(d.PAGEPACTD, daemon.directory)
            daemon.program = copy
        daemon.start(**({"wrapper": ["setpriv", "--reuid", options["user"], "--clear-groups"]} if options else {}))
        daemon.wait_agent("a", "live")
        daemon.wait_vm("a", lambda vm: vm["state"] == "running")
        yield image
    finally:
        qemu.stop()
        agent.stop()


def note(daemon):
    reply = daemon.call("dup")["parameters"]
    guest, = reply["vms"]
    return guest["notes"]


def test_image_missing(daemon):
    with with_image(daemon) as image:
        assert note(daemon) == []
        image.unlink()
        assert note(daemon) == [f"{image}: No such file or directory"]
        daemon.stop()


def test_image_replaced(daemon):
    with with_image(daemon) as image:
        other = daemon.directory / "other.raw"
        other.write_bytes(bytes(1 << 20))
        other.rename(image)
        assert note(daemon) == [f"{image}: was replaced, QEMU has another file open"]
        assert daemon.call("status")["parameters"]["images"] == []
        daemon.stop()


@pytest.mark.parametrize("mode, reason", [
    (0o600, "Permission denied"),
    (0o644, "no right to ask what is cached of it: own it, or have CAP_FOWNER"),
])
def test_image_of_somebody_else(daemon, mode, reason):
    if os.geteuid():
        pytest.skip("only root may be somebody else")
    with with_image(daemon, mode, user=NOBODY):
        assert daemon.call("dup")["parameters"]["vms"][0]["known"]
        image, = daemon.call("status")["parameters"]["images"]
        assert image["reason"] == reason and image["resident_bytes"] is None
        daemon.stop()

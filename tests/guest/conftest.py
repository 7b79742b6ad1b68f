# SPDX-License-Identifier: Apache-2.0
"""Guests for tests: a boot takes ten seconds under emulation, so most tests share two guests of the whole session.

A test that pauses, kills or fills a guest asks for `fresh_guest` instead. Shared guests are checked after each test: whatever
it did, they answer and their kernel has nothing to complain of.
"""
import shutil
import sys
from pathlib import Path

import pytest

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (1, 2)]

from lab.lab import Lab


def pytest_configure(config):
    config.addinivalue_line("markers", "daemon: needs the built programs")


@pytest.fixture(scope="session")
def lab():
    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("QEMU is not installed")
    with Lab() as made:
        made.guest("alpha")
        made.guest("bravo")
        made.wait_ready()
        yield made


def _shared(lab, name):
    guest = lab.guests[name]
    yield guest
    assert guest.run("echo alive") == "alive\n"
    assert guest.check_kernel_log() == []


@pytest.fixture
def alpha(lab):
    yield from _shared(lab, "alpha")


@pytest.fixture
def bravo(lab):
    yield from _shared(lab, "bravo")


@pytest.fixture
def fresh_guest(lab):
    """fresh_guest(name, **options of lab.guest.Guest): a guest of this test alone, booted and ready."""
    made = []

    def start(name, **options):
        guest = lab.guest(name, **options)
        made.append(guest)
        guest.wait_ready()
        return guest
    yield start
    for guest in made:
        troubles = guest.check_kernel_log() if guest.alive else []
        guest.kill()
        del lab.guests[guest.name]
        assert troubles == []


@pytest.fixture(scope="session")
def _daemon(lab):
    if not lab.binary("pagepactd"):
        pytest.skip("pagepactd is not built")
    lab.start_daemon()
    lab.wait_agents()
    return lab


@pytest.fixture
def pagepact(_daemon):
    """pagepact("status") and so on, with a daemon that has live agents in alpha and bravo; a test may have killed it."""
    if _daemon.daemon is None or _daemon.daemon.poll() is not None:
        _daemon.start_daemon(write_config=False)
    _daemon.wait_agents()
    return _daemon.pagepact

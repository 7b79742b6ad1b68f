# SPDX-License-Identifier: Apache-2.0
"""What the parts of the scenario `superpages` hand on to each other: a guest with a virtio-mem device, and its two ways to give."""
import json
import time

from lab import process, stream, workload
from lab.report import MIB

STEP = 256 * MIB
# Of what is to come back, for a guest goes on living meanwhile.
SHARE = 0.98
SECONDS = 180
DEVICE = "/machine/peripheral/plug0"
POLL_SECONDS = 0.002
SIZES = {"memory_mib": 512, "plugged_mib": 512, "traced": False}


def wait(condition, what):
    """As process.wait_for(), and looks ten times as often: what is timed here takes a tenth of a second."""
    end = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > end:
            raise process.Deadline(f"{what}: not within {SECONDS} s")
        time.sleep(POLL_SECONDS)


class Plugged:
    """A guest whose memory is filled with cache before it gives STEP, by its virtio-mem device or by its balloon.

    What of that took how long is in `phases`: {name: [seconds]}.
    """

    def __init__(self, lab, guest):
        self.lab, self.guest = lab, guest
        self.plugged = guest.plugged_mib * MIB
        self.base = guest.memory_mib * MIB  # all that QEMU's account of a balloon knows of
        self.memory = self.base + self.plugged
        process.wait_for(lambda: self.device()["size"] == self.plugged, 60, "all is plugged in")
        self.files = stream.Stream(guest)
        self.missing = self.memory
        self.phases = {}

    def device(self):
        return self.guest.qmp("query-memory-devices")[0]["data"]

    def actual(self):
        return self.guest.qmp("query-balloon")["actual"]

    def held(self):
        return self.guest.ram_resident_bytes()

    def fill(self):
        """Its memory is full of clean cache that nobody uses, and the host has all of it; the pieces of files."""
        pieces = self.files.take(self.missing)
        # What is given and taken back has to be filled again.
        self.missing = STEP * 5 // 4
        json.loads(self.guest.python(workload.source("pieces.py"), {"pieces": pieces}, 200))
        return pieces

    def note(self, name, seconds):
        self.phases.setdefault(name, []).append(seconds)
        return seconds

    def _gives(self, name, order, is_given):
        """Seconds until the host has STEP back; of the guest's own part too."""
        self.fill()
        before, start = self.held(), time.monotonic()
        order()
        wait(is_given, "it is given")
        self.note(f"{name}_guest", time.monotonic() - start)
        wait(lambda: before - self.held() >= SHARE * STEP, "the host has it back")
        return self.note(name, time.monotonic() - start)

    def _gets(self, name, order, is_back):
        start = time.monotonic()
        order()
        wait(is_back, "it is given back")
        self.note(f"{name}_release", time.monotonic() - start)

    def _request(self, size):
        self.guest.qmp("qom-set", path=DEVICE, property="requested-size", value=size)

    def by_superpages(self):
        """Seconds, of the virtio-mem device; then the guest has all again."""
        wanted = self.plugged - STEP
        seconds = self._gives("superpages", lambda: self._request(wanted), lambda: self.device()["size"] == wanted)
        self._gets("superpages", lambda: self._request(self.plugged), lambda: self.device()["size"] == self.plugged)
        return seconds

    def by_pages(self):
        """Seconds, of the stock balloon in the same guest."""
        wanted = self.base - STEP
        seconds = self._gives("pages", lambda: self.guest.qmp("balloon", value=wanted), lambda: self.actual() == wanted)
        self._gets("pages", lambda: self.guest.qmp("balloon", value=self.base), lambda: self.actual() == self.base)
        return seconds

    def by_reporting(self):
        """Seconds, of free page reporting, once as much cache was dropped."""
        pieces = self.fill()
        before, start = self.held(), time.monotonic()
        self.guest.python(workload.source("drop.py"), {"pieces": pieces})
        self.note("reporting_guest", time.monotonic() - start)
        wait(lambda: before - self.held() >= SHARE * STEP, "the host has it back")
        return self.note("reporting", time.monotonic() - start)

# SPDX-License-Identifier: Apache-2.0
"""What the parts of the scenario `balloon` hand on to each other: a guest, its balloon from all sides, and a daemon."""
import functools
import json
import random
import subprocess
import time
from dataclasses import dataclass

from lab import process, stream
from lab.report import MIB

OPTIONS = {"balloon_options": "deflate-on-oom=on", "reboots": True, "traced": False}
BALLOON = "/machine/peripheral/balloon0"
INTERVAL = "guest-stats-polling-interval"
SETTLE_SECONDS = 30
FLOOR_BYTES = 320 * MIB  # a guest of these has less in use
MIDWAY_TRIES = 8
ENDS = {2: "invalid", 4: "refused"}  # of pagepact, where it prints no answer


@dataclass
class Ballooned:
    """A guest, what is asked for it, and what became of it; quick, whether the short form is wanted."""
    lab: object
    report: object
    guest: object
    quick: bool = False
    seed: int = 1

    def __post_init__(self):
        self.draw = random.Random(f"{self.guest.name}-{self.seed}")
        self.memory = (self.guest.memory_mib + self.guest.plugged_mib) * MIB

    @functools.cached_property
    def files(self):
        """The endless files, mounted when they are first asked for."""
        return stream.Stream(self.guest)

    # ------------------------------------------------------------------ the daemon

    def start_daemon(self):
        """One that looks after this guest alone."""
        self.lab.write_config(only=[self.guest.name])
        self.lab.start_daemon(write_config=False)

    def begin(self, size, *options):
        return self.lab.begin_pagepact("balloon", self.guest.name, size, *options)

    def begin_midway(self, most, *options):
        """A resize to some smaller size that has gone on for up to `most` seconds, and has not ended."""
        for _ in range(MIDWAY_TRIES):
            begun = self.begin(self.draw.randrange(FLOOR_BYTES, self.memory * 3 // 4), *options)
            process.wait_for(lambda: begun[1].poll() is not None or self.status().get("resize"), SETTLE_SECONDS,
                             "it begins")
            self.moment(most)
            if begun[1].poll() is None:
                return begun
            self.finish(begun)
            self.give_back()
            most /= 2
        raise RuntimeError(f"{self.guest.name}: no resize lasts long enough")

    def finish(self, begun, seconds=120):
        """The answer; where there is none, {"state": "invalid", "refused" or "lost", "reason"}."""
        _, child = begun
        out, err = process.communicate(child, seconds)
        if out.strip():
            return json.loads(out)
        return {"state": ENDS.get(child.returncode, "lost"), "reason": err.strip()}

    def resize(self, size, *options, seconds=120):
        return self.finish(self.begin(size, *options), seconds)

    def vm(self):
        return next(vm for vm in self.lab.pagepact("status")["vms"] if vm["name"] == self.guest.name)

    def status(self):
        return self.vm()["balloon"] or {}

    def is_known(self):
        """Whether the daemon knows all of the guest, its agent too."""
        vm = self.vm()
        return vm["state"] == "running" and (vm["agent"] or {}).get("state") == "live"

    def wait_running(self, seconds=20):
        process.wait_for(lambda: self.vm()["state"] == "running", seconds, f"the daemon sees {self.guest.name} run")

    def wait_known(self, seconds=60):
        process.wait_for(self.is_known, seconds, f"the daemon knows {self.guest.name}")

    def renew(self):
        """Detach and attach it, which gives all back, and lifts what the daemon holds against making it smaller."""
        name, guest = self.guest.name, self.guest
        self.lab.pagepact("detach", name)
        self.lab.pagepact("attach", name, guest.qmp_path, "--agent", f"serial:{guest.agent_path}", "--act")
        self.wait_known()

    def entry(self):
        """What the journal says of the guest, or None."""
        try:
            return json.loads((self.lab.runtime / "journal.d" / self.guest.name).read_text())
        except FileNotFoundError:
            return None

    def restorer(self, *arguments, seconds=120):
        """Run pagepact-restore; its exit code."""
        argv = [self.lab.binary("pagepact-restore"), "--runtime-dir", self.lab.runtime, *arguments]
        return subprocess.run([*map(str, argv)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=seconds).returncode

    # ------------------------------------------------------------------ the guest

    def actual(self):
        """What it has: QEMU's account of a balloon leaves out what virtio-mem devices have plugged in."""
        plugged = sum(device["data"]["size"] for device in self.guest.qmp("query_memory_devices"))
        return self.guest.qmp("query_balloon")["actual"] + plugged

    def interval(self):
        return self.guest.qmp("qom_get", path=BALLOON, property=INTERVAL)

    def left_squeezed(self, seconds=SETTLE_SECONDS):
        """Bytes that the guest still lacks when it had so long to take back what is its own."""
        try:
            process.wait_for(lambda: self.actual() == self.memory, seconds, "all is given back")
        except process.Deadline:
            pass
        return self.memory - self.actual()

    def give_back(self):
        """`max`; bytes that the guest lacks after it. It is asked again while the guest follows a target of before."""
        answer = process.wait_for(self._max, SETTLE_SECONDS, "max is answered")
        left = self.left_squeezed()
        if left:
            self.report.say(f"  {self.guest.name}: max was answered {answer['state']}: {answer['reason']}")
        return left

    def _max(self):
        answer = self.resize("max")
        return None if answer["state"] == "lost" else answer

    def counters(self):
        """/proc/vmstat."""
        return {name: int(value) for name, value in map(str.split, self.guest.run("cat /proc/vmstat").splitlines())}

    def taken(self):
        """Bytes that the guest's own kernel has in its balloon; QEMU's account may be of before a reset."""
        counters = self.counters()
        return (counters["balloon_inflate"] - counters["balloon_deflate"]) * 4096

    def works(self):
        """It answers, and can start a program."""
        try:
            return self.guest.run("true", 20) == ""
        except (TimeoutError, ConnectionError):
            return False

    def moment(self, most):
        """Some time passes: how much is what is drawn, and there is nothing to wait for."""
        time.sleep(self.draw.random() * most)

    def some_size(self, floor):
        """A size that it may be brought to."""
        return self.draw.randrange(floor // MIB, self.memory // MIB) * MIB

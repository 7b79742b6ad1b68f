# SPDX-License-Identifier: Apache-2.0
"""What a guest does about its balloon in the scenario `wave`: nothing, or one of the things that there are to do."""
import re
import time

from lab import oracle, process

AGENT = "wave-agent"
AGENT_SECONDS = 40
# The hint is a setting, made long before: the agent has looked through the guest's memory, once, and waits.
REST_SECONDS = 120
REST_SHARE = 0.05  # of a CPU, answering included
REPORT_SECONDS = 30
# pagepactd's own word, one line each time (hold.c).
TOLD = r"%s: told of (\d+) blocks that the host holds\n"


class Stock:
    """The kernel alone. No agent runs here, as none would where nobody asks anything of it."""
    letter, name, title = "b", "stock", "stock balloon"
    waves = True

    def __init__(self, lab, guest):
        self.lab, self.guest = lab, guest

    def begin(self):
        """Before the build."""

    def before_inflation(self):
        pass

    def end(self):
        """After the build."""


class Ample(Stock):
    letter, name, title = "a", "none", "no balloon"
    waves = False


class Drop(Stock):
    """What an operator can do who has nothing but a shell: all of the guest's cache goes, whether it is used or not."""
    letter, name, title = "c", "drop", "drop_caches before each inflation"

    def before_inflation(self):
        self.guest.run("echo 3 >/proc/sys/vm/drop_caches", 120)


class Zone(Stock):
    """What stock kernels have kept of 2010."""
    letter, name, title = "e", "zone", "vm.zone_reclaim_mode=1"

    def begin(self):
        self.guest.run("echo 1 >/proc/sys/vm/zone_reclaim_mode")


class Hint(Stock):
    """What an operator does: pagepactd on the host, its agent in the guest, `pagepact hint VM cache`. The wave is somebody
    else's; pagepactd moves no balloon here."""
    letter, name, title = "d", "hint", "cache-first hint"

    def begin(self):
        self.guest.begin(f"/run/lab/{AGENT} >/run/lab/{AGENT}.log 2>&1")
        self.lab.write_config(only=[self.guest.name])
        self.lab.start_daemon("--verbose", write_config=False)
        self.lab.wait_agents(AGENT_SECONDS, only=[self.guest.name])
        self.lab.pagepact("hint", self.guest.name, "cache")
        process.wait_for(self._agrees, REPORT_SECONDS, "the agent takes the hint")
        process.wait_for(self._rests, REST_SECONDS, "the agent rests")
        self._before = self._spent()

    def _agent(self):
        """What the agent last said of itself, or nothing."""
        vm = next(vm for vm in self.lab.pagepact("status")["vms"] if vm["name"] == self.guest.name)
        return vm["report"]

    def _spent(self):
        """CPU seconds so far: of the agent, as it says, and of the daemon."""
        return self._reported(time.monotonic())["cpu_usec"] / 1e6, self.lab.daemon_cpu_seconds()

    def _rests(self):
        """By two reports a second apart."""
        before, begun = self._reported(time.monotonic())["cpu_usec"], time.monotonic()
        time.sleep(1)
        spent = (self._reported(time.monotonic())["cpu_usec"] - before) / 1e6
        return spent < REST_SHARE * (time.monotonic() - begun)

    def _agrees(self):
        told = self._agent()
        return told and (told["hint"], told["hint_origin"]) == ("cache", "host")

    def end(self):
        """What the agent says of the hint and of what it did for it, how much it was told at most that the host holds, and
        what both programs took of a CPU since the build began."""
        spent = self._spent()
        self.told = self._reported(time.monotonic())
        self.told["agent_cpu_seconds"], self.told["daemon_cpu_seconds"] = (b - a for a, b in zip(self._before, spent))
        told = map(int, re.findall(TOLD % self.guest.name, self.lab.daemon_log.read_text()))
        self.told["held_bytes"] = max(told, default=0) * oracle.BLOCK
        self.lab.stop_daemon()

    def _reported(self, moment):
        """What the agent says of itself, not before that."""
        def found():
            told = self._agent()
            return told if told and time.monotonic() - told["age_usec"] / 1e6 >= moment else None
        return process.wait_for(found, REPORT_SECONDS, "the agent reports")


ALL = (Ample, Stock, Drop, Hint, Zone)

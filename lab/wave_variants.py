# SPDX-License-Identifier: Apache-2.0
"""What a guest does about its balloon in the scenario `wave`: nothing, or one of the things that there are to do."""
import time

from lab import process, wire

AGENT = "wave-agent"
AGENT_SECONDS = 40
# The hint is a setting, made long before: the agent has looked through the guest's memory, once, and waits.
REST_SECONDS = 120
REST_SHARE = 0.05  # of a CPU, answering included
# The agent forgets what the host asked for after a minute of silence.
ASK_SECONDS = 10


class Stock:
    """The kernel alone. No agent runs here, as none would where nobody asks anything of it."""
    letter, name, title = "b", "stock", "stock balloon"
    waves = True

    def __init__(self, guest):
        self.guest = guest

    def begin(self):
        """Before the build."""

    def tick(self):
        """Each time that the balloon's target may change."""

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
    """The agent, told over its port, as pagepactd tells it, that cache is to go before the balloon's pages are taken;
    alone: nothing tells it which of the cache the host holds as well."""
    letter, name, title = "d", "hint", "cache-first hint"

    def begin(self):
        self.guest.begin(f"/run/lab/{AGENT} >/run/lab/{AGENT}.log 2>&1")
        self._link = wire.Link(self.guest.agent_path)
        process.wait_for(self._hello, AGENT_SECONDS, "the agent answers")
        self.agree()
        process.wait_for(self._rests, REST_SECONDS, "the agent rests")
        self._asked = time.monotonic()

    def _rests(self):
        before, begun = self._link.report()["cpu_usec"], time.monotonic()
        time.sleep(1)
        spent = (self._link.report()["cpu_usec"] - before) / 1e6
        return spent < REST_SHARE * (time.monotonic() - begun)

    def _hello(self):
        try:
            return self._link.hello()
        except TimeoutError:
            return None

    def agree(self):
        """Ask for the hint; what the agent says then."""
        told = wire.unreport(self._link.ask(wire.LIMIT, wire.limit(wire.LIMIT_GUEST, hint="cache"), wire.REPORT))
        if (told["hint"], told["hint_origin"]) != ("cache", "host"):
            raise RuntimeError(f"the agent does not take the hint: {told}")
        return told

    def tick(self):
        if time.monotonic() - self._asked > ASK_SECONDS:
            self._asked = time.monotonic()
            self._link.send(wire.ASK)
        try:
            while True:
                self._link.receive(0.001)
        except TimeoutError:
            pass

    def end(self):
        """What the agent says of the hint and of what it did for it."""
        self.told = self._link.report()
        self._link.close()


ALL = (Ample, Stock, Drop, Hint, Zone)

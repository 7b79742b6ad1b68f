# SPDX-License-Identifier: Apache-2.0
"""Daemons killed at any moment of a resize: the next one takes over, or pagepact-restore gives all back."""
import signal
import time

from lab import process

KILLS, QUICK_KILLS = 200, 10
MOST_SECONDS = 3  # a resize takes one to five
ADOPTED_SECONDS, RESTORED_SECONDS = 5, 60
GRACE_SECONDS = 1
DEFAULT_GRACE_SECONDS = 60


def _kill(ballooned):
    """Begin a resize, and kill the daemon in the midst; what the journal says then, and when it was."""
    begun = ballooned.begin_midway(MOST_SECONDS, "--cache", ballooned.draw.choice(("first", "off")))
    ballooned.lab.stop_daemon(signal.SIGKILL)
    killed = time.monotonic()
    ballooned.finish(begun)
    return ballooned.entry(), killed


def _is_adopted(ballooned, entry):
    vm = ballooned.vm()
    told = vm["balloon"]["original_bytes"] if vm["balloon"] else None
    return vm["state"] == "running" and told == (entry and entry["original_bytes"])


class Kills:
    def __init__(self, ballooned):
        self.ballooned = ballooned
        self.adopted, self.restored, self.squeezed, self.unproven, self.originals = [], [], 0, 0, 0

    def _adopt(self, entry, _):
        start = time.monotonic()
        self.ballooned.lab.start_daemon(write_config=False)
        process.wait_for(lambda: _is_adopted(self.ballooned, entry), 4 * ADOPTED_SECONDS, "the guest is taken over")
        self.adopted.append(time.monotonic() - start)
        if self.ballooned.draw.random() < 0.5:
            self.squeezed += self.ballooned.give_back() != 0

    def restore(self, killed, *how):
        """Seconds until the guest has all of its memory, from the kill."""
        code = self.ballooned.restorer(*how)
        self.squeezed += self.ballooned.left_squeezed() != 0
        seconds = time.monotonic() - killed
        self.unproven += code != 0 or self.ballooned.restorer("--check") != 0 or self.ballooned.entry() is not None
        return seconds

    def _restore(self, _, killed):
        how = self.ballooned.draw.choice((("--now",), ("--wait", str(GRACE_SECONDS))))
        self.restored.append(self.restore(killed, *how))
        self.ballooned.lab.start_daemon(write_config=False)

    def run(self, count):
        for n in range(count):
            self.ballooned.wait_running()
            entry, killed = _kill(self.ballooned)
            if entry:
                self.originals += entry["original_bytes"] == self.ballooned.memory
            (self._restore if n % 2 else self._adopt)(entry, killed)


def _default(report, ballooned, kills):
    """As the unit runs it, once: it takes its minute."""
    ballooned.wait_running()
    _, killed = _kill(ballooned)
    seconds = report.measure("kill_restored_default_seconds", kills.restore(killed))
    report.check("kill_restored_default_seconds", seconds, f"<= {DEFAULT_GRACE_SECONDS + ADOPTED_SECONDS}")


def kills(lab, report, ballooned):
    report.head("Daemons killed during resizes")
    ballooned.start_daemon()
    ballooned.wait_known()
    found = Kills(ballooned)
    count = QUICK_KILLS if lab.quick else KILLS
    found.run(count)
    if not lab.quick:
        _default(report, ballooned, found)
        lab.start_daemon(write_config=False)
        ballooned.wait_running()
    left = ballooned.give_back()
    lab.stop_daemon()
    report.check("kills_done", report.measure("kills_done", len(found.adopted) + len(found.restored)), f"== {count}")
    # Killed before the first change was written down, it has nothing to give back.
    report.check("kills_journaled", report.measure("kills_journaled", found.originals), f">= {count // 3}")
    for name, seconds, limit in (("adopted", found.adopted, ADOPTED_SECONDS),
                                 ("restored", found.restored, RESTORED_SECONDS)):
        most = report.measure(f"kill_{name}_seconds_max", max(seconds))
        report.check(f"kill_{name}_seconds_max", most, f"<= {limit}")
    squeezed = report.measure("kills_left_squeezed", found.squeezed + (left != 0))
    report.check("kills_left_squeezed", squeezed, "== 0")
    report.check("kills_unproven", report.measure("kills_unproven", found.unproven), "== 0")
    report.say(f"  {count} kills: taken over within {max(found.adopted):.2f} s, restored within "
               f"{max(found.restored):.2f} s.")

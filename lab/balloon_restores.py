# SPDX-License-Identifier: Apache-2.0
"""A daemon that is stopped leaves host and guest as they were before the first change, and one command proves it."""
import time
from collections import Counter

from lab import process, wire
from lab.balloon_state import BALLOON, INTERVAL
from lab.report import MIB

# An operator's own, that has to be there again.
INTERVAL_SECONDS = 7
LIMIT_BYTES = 200 * MIB
KNOWN_SECONDS = 60
STOP_SECONDS = 15
# An agent that hears nothing of a host for a minute goes by its own configuration again.
SILENT_SECONDS = 60
CHANGES = 4  # the size, the journal, the limit, the hint


def _host(ballooned):
    """Lines on QEMU, the runtime directory and the host."""
    guest, runtime = ballooned.guest, ballooned.lab.runtime
    devices = sorted(d["name"] for d in guest.qmp("qom_list", path="/machine/peripheral"))
    lines = [f"size {ballooned.actual()}", f"polling {ballooned.interval()}", f"devices {' '.join(devices)}"]
    # A lock that nobody holds is as good as none, and so is an empty folder.
    lines += [f"file {path.relative_to(runtime)}" for path in sorted(runtime.rglob("*"))
              if path.name != "lock" and not path.is_dir()]
    with open("/proc/self/mountinfo") as mounts:
        lines += [f"mount {line.split()[4]}" for line in mounts]
    return lines


def _agent_lines(report):
    return [f"limit {report['limit_bytes']} {report['limit_origin']}", f"hint {report['hint']} {report['hint_origin']}"]


def _agent(ballooned):
    """Lines on what the agent holds, by its own word to whoever asks."""
    with wire.Link(ballooned.guest.agent_path, seconds=30) as link:
        return _agent_lines(link.report())


def difference(before, after):
    gone, come = Counter(before) - Counter(after), Counter(after) - Counter(before)
    return [f"- {line}" for line in gone.elements()] + [f"+ {line}" for line in come.elements()]


def _squeeze(ballooned, size):
    answer = ballooned.resize(size)
    if answer["state"] != "reached":
        raise RuntimeError(f"not resized: {answer}")


class Restores:
    """begin() changes and stops; end() compares, when the agent had its minute without a word."""

    def __init__(self, ballooned):
        self.ballooned, self.lab, self.report = ballooned, ballooned.lab, ballooned.report
        self.differences = []

    def _stop(self, before, how):
        """In mid-resize; the daemon ends well, and leaves QEMU and the host as they were."""
        begun = self.ballooned.begin(self.ballooned.memory // 2)
        process.wait_for(lambda: self.ballooned.status()["resize"] is not None, 10, "a resize is under way")
        start = time.monotonic()
        code = self.lab.stop_daemon_well(STOP_SECONDS)
        self.seconds = time.monotonic() - start
        self.ballooned.finish(begun)
        self.ballooned.left_squeezed()
        self.differences += difference(before, _host(self.ballooned))
        self.report.check(f"restore_stop_code_{how}", code, "== 0")
        self.report.check(f"restore_check_code_{how}", self.ballooned.restorer("--check"), "== 0")

    def _by_statistics(self, before):
        """Without an agent, the balloon's statistics are polled meanwhile."""
        self.lab.write_config(only=[self.ballooned.guest.name], agents=False)
        self.lab.start_daemon(write_config=False)
        self.ballooned.wait_running()
        _squeeze(self.ballooned, self.ballooned.memory - 128 * MIB)
        self._stop(before, "statistics")

    def _changed(self):
        """Lines as above, while all that pagepact can change is changed."""
        vm = self.ballooned.vm()
        return [*_host(self.ballooned), *_agent_lines(vm["report"])]

    def _is_heard(self):
        report = self.ballooned.vm()["report"]
        return report and report["hint"] == "cache" and report["limit_bytes"] == LIMIT_BYTES

    def _by_agent(self, before):
        name = self.ballooned.guest.name
        self.ballooned.start_daemon()
        self.ballooned.wait_known()
        _squeeze(self.ballooned, self.ballooned.memory - 128 * MIB)
        self.lab.pagepact("hint", name, "cache")
        self.lab.pagepact("cache-limit", name, str(LIMIT_BYTES))
        process.wait_for(self._is_heard, KNOWN_SECONDS, "the agent holds limit and hint")
        changed = difference([*before, *self.agent], self._changed())
        # What does not show when it is changed is not seen to be as it was.
        self.report.check("state_changed_lines", len(changed), f">= {CHANGES}")
        self._stop(before, "agent")

    def begin(self):
        self.report.head("A daemon that is stopped")
        self.lab.runtime.mkdir(exist_ok=True)
        self.ballooned.guest.qmp("qom_set", path=BALLOON, property=INTERVAL, value=INTERVAL_SECONDS)
        before, self.agent = _host(self.ballooned), _agent(self.ballooned)
        self._by_statistics(before)
        self._by_agent(before)
        self.stopped = time.monotonic()

    def end(self):
        self.report.head("What is left of a daemon that was stopped")
        due = self.stopped + SILENT_SECONDS + 5
        process.wait_for(lambda: time.monotonic() > due, SILENT_SECONDS + 10, "a minute passes")
        self.differences += difference(self.agent, _agent(self.ballooned))
        for line in self.differences:
            self.report.say(f"  {line}")
        self.report.measure("restore_stop_seconds", self.seconds)
        self.report.check("state_difference", self.report.measure("state_difference", len(self.differences)), "== 0")

# SPDX-License-Identifier: Apache-2.0
"""A million cached files of one page each, on this machine without emulation: what the agent needs to hold a limit then."""
import json
import os
import pty
import shutil
import subprocess
import time
import tty

from lab import limit_native, process, wire
from lab.report import MIB, mib
from lab.say import step

FOLDERS, QUICK_FOLDERS, EACH = 1000, 100, 1000
PAGE = 4096
DISK_FACTOR = 3  # of the files' data: an inode each, folders, the journal, and room for others
SECONDS = 300
PING_SECONDS = 2
SLACK_BYTES = 64 * MIB


class Agent:
    """One on this machine, spoken to over a pseudoterminal."""

    def __init__(self, lab):
        self._ends = pty.openpty()
        tty.setraw(self._ends[1])
        self.process = process.start([lab.agent, "--config", lab.directory / "none", "--device",
                                      os.ttyname(self._ends[1])], lab.directory / "agent.log")
        self.link = wire.Link(self._ends[0], seconds=60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        process.stop(self.process)
        for end in self._ends:
            os.close(end)

    def can(self):
        return bool(self.link.hello()["capabilities"] & wire.CAN_LIMIT)

    def rss_bytes(self, reset=False):
        """The most that was resident since the last reset."""
        if reset:
            with open(f"/proc/{self.process.pid}/clear_refs", "w") as clear:
                clear.write("5")
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))

    def ping_while(self, condition, seconds):
        """The longest time to an answer while the condition holds; None when it did for too long."""
        end, longest = time.monotonic() + seconds, 0
        while condition():
            begun = time.monotonic()
            if begun > end:
                return None
            self.link.ping()
            longest = max(longest, time.monotonic() - begun)
            time.sleep(0.01)
        return longest


def _many(folder, folders, make):
    return limit_native.run_here("many.py", {"folder": str(folder), "folders": folders, "each": EACH, "make": make})


def _check(report, agent, name, longest, ram_pages):
    rss = report.measure(f"{name}_agent_rss_bytes", agent.rss_bytes())
    report.check(f"{name}_agent_rss_bytes", rss, f"<= {8 * MIB + ram_pages}")
    report.check(f"{name}_ping_seconds", report.measure(f"{name}_ping_seconds", longest), f"<= {PING_SECONDS}")


def _set(lab, report, files):
    """All of them are cached when the limit is set: most of them have to go."""
    limit = limit_native.unmapped() - files * PAGE * 3 // 4
    if limit <= 0:
        # Mapped shared memory counts as mapped files, and so does that of guests.
        report.say("  So much shared memory is mapped here that the kernel counts no unmapped page cache: not measured.")
        return False
    with Agent(lab) as agent:
        if not agent.can():
            report.say("  The agent cannot watch the page cache of this kernel: not measured.")
            return False
        ram_pages = agent.link.hello()["ram_pages"]
        agent.rss_bytes(reset=True)
        start, cached = time.monotonic(), limit_native.unmapped()
        agent.link.limit(wire.LIMIT_BYTES, size=limit)
        longest = agent.ping_while(lambda: limit_native.unmapped() > limit, SECONDS)
        report.measure("inodes_set_seconds", time.monotonic() - start)
        told = agent.link.report()
        _check(report, agent, "inodes_set", longest, ram_pages)
    report.measure("inodes_set_agent_cpu_seconds", told["cpu_usec"] / 1e6)
    report.check("inodes_set_evicted_bytes", report.measure("inodes_set_evicted_bytes", told["evicted_bytes"]),
                 f">= {(cached - limit) * 9 // 10}")
    report.check("inodes_set_over_bytes", limit_native.unmapped() - limit, "<= 0")
    step(f"set: {mib(told['evicted_bytes'])} evicted in {report.measures['inodes_set_seconds']:.1f} s, "
         f"longest answer {longest} s")
    return True


def _read(lab, report, folder, folders):
    """They are read under a limit, at full speed, most of them from the disk."""
    limit, stop = limit_native.unmapped() + folders * EACH * PAGE // 8, lab.directory / "stop-sampling"
    with Agent(lab) as agent:
        ram_pages = agent.link.hello()["ram_pages"]
        agent.rss_bytes(reset=True)
        agent.link.limit(wire.LIMIT_BYTES, size=limit)
        sampling = limit_native.run_here("sample.py", {"interval": limit_native.SAMPLE_SECONDS, "stop": str(stop)})
        reading = _many(folder, folders, False)
        longest = agent.ping_while(lambda: reading.poll() is None, SECONDS)
        stop.touch()
        read, sampled = limit_native.finish(reading), limit_native.finish(sampling)
        told = agent.link.report()
        _check(report, agent, "inodes_read", longest, ram_pages)
    report.measure("inodes_read_files_per_second", folders * EACH / read["seconds"])
    report.measure("inodes_read_agent_cpu_seconds", told["cpu_usec"] / 1e6)
    report.measure("inodes_read_evicted_bytes", told["evicted_bytes"])
    report.measure("inodes_read_brakes", told["brakes"])
    report.measure("inodes_read_events_lost", told["events_lost"])
    report.check("inodes_read_over_bytes", report.measure("inodes_read_over_bytes", sampled["peak_bytes"] - limit),
                 f"<= {SLACK_BYTES}")
    step(f"read: peak {mib(sampled['peak_bytes'] - limit)} over the limit, longest answer {longest} s")


def run(lab, report, kernel):
    folders = QUICK_FOLDERS if lab.quick else FOLDERS
    files, folder = folders * EACH, lab.directory / "inodes"
    report.head(f"{files} cached files of a page each, on this machine")
    room = shutil.disk_usage(lab.directory).free
    if not report.check("inodes_disk_room_bytes", room, f">= {DISK_FACTOR * files * PAGE}"):
        return
    folder.mkdir()
    base = limit_native.unmapped()
    report.measure("inodes_make_seconds", limit_native.finish(_many(folder, folders, True), 900)["seconds"])
    subprocess.run(["sync", "-f", folder], check=True)
    report.measure("inodes_files", files)
    report.measure("inodes_cached_bytes", limit_native.unmapped() - base)
    once = json.loads(subprocess.run([lab.agent, "--once", "--json"], check=True, capture_output=True).stdout)
    report.measure("inodes_scan_seconds", once["elapsed_usec"] / 1e6)
    if _set(lab, report, files):
        _read(lab, report, folder, folders)
    report.print_measures()

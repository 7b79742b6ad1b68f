# SPDX-License-Identifier: Apache-2.0
"""Guests under a page cache limit, each with a thread of its own that does what the tests ask for: they wait side by side."""
import contextlib
import json
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from lab import cache, images, integrity, wire
from lab.guest import Guest
from lab.process import wait_for
from test_agent import PROBE, agent_path

INSIDE = (Path(__file__).parent / "limit_inside.py").read_text() + PROBE
MIB = 1 << 20
PAGE = 4096
DISK_BYTES = 384 * MIB
# More than the queues of the agent hold (SPANS_FILES_MAX).
MANY_FOLDERS, MANY_EACH = 90, 400
MANY = {"recipe": 2, "folders": MANY_FOLDERS, "each": MANY_EACH}
# What the agent says may be wrong with a limit; the same text for each source.
EXPECTED = "must be a size (128M), a share of memory (10%), off or default"
GARBAGE = {"cmdline": "lots", "smbios": "12Q", "file": "5x"}
# Of managed memory, each source another.
SHARES = {"cmdline": 400, "smbios": 300, "file": 200}


def _build_many(work):
    """An ext4 of many files of one page each, all of them holes: reading one costs its inode and no data."""
    tree = work / "tree"
    for folder in range(MANY_FOLDERS):
        (tree / f"{folder:03}").mkdir(parents=True)
        for n in range(folder * MANY_EACH, (folder + 1) * MANY_EACH):
            with open(tree / f"{folder:03}" / f"{n:05}", "wb") as file:
                file.truncate(PAGE)
    with open(work / "many.raw", "wb") as disk:
        disk.truncate(64 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-b", str(PAGE), "-N", str(MANY_FOLDERS * MANY_EACH + 1000), "-d", tree, "-E",
                    "lazy_itable_init=0,lazy_journal_init=0", work / "many.raw"], check=True, capture_output=True)
    shutil.rmtree(tree)


def many_image():
    return cache.made("many", MANY, _build_many) / "many.raw"


class Held(list):
    """What came of something that was held; is_done() asks whether it has come to its end by itself."""


class Machine:
    """A guest with an ext4 and an xfs, a spare ext4 that is not mounted, and calls of the functions inside."""

    def __init__(self, name, directory, **options):
        self.name = name
        self.disks = {"ext4": images.make_ext4(directory / f"{name}-ext4.raw", DISK_BYTES),
                      "xfs": images.make_xfs(directory / f"{name}-xfs.raw", DISK_BYTES)}
        spare = images.make_ext4(directory / f"{name}-spare.raw", 64 * MIB)
        self.guest = Guest(name, directory, memory_mib=512, smp=2, modules="many", agent=agent_path(),
                           extra_disks=[*self.disks.values(), spare], shared_disks=[many_image()], **options).start()
        self.jobs = queue.Queue()
        self.files = None
        self.evicted = 0  # bytes, by all agents while files were worked on; some of it twice

    def prepare(self):
        self.guest.wait_ready()
        self.guest.run("""mkdir -p /mnt/ext4 /mnt/xfs /mnt/many
            mount -o noatime /dev/vdb /mnt/ext4 && mount -o noatime /dev/vdc /mnt/xfs &&
            mount -o ro,noatime /dev/vde /mnt/many
            echo 0 >/proc/sys/vm/dirty_writeback_centisecs
            # A disk that has written nothing for a while may have next to nothing dirty, else (wb_over_bg_thresh()).
            echo 49 >/sys/block/vdb/bdi/min_ratio; echo 49 >/sys/block/vdc/bdi/min_ratio""")

    def call(self, function, *args, seconds=120):
        return json.loads(self.guest.python(INSIDE, {"call": function, "args": args}, seconds))

    @contextlib.contextmanager
    def held(self, function, *args, seconds=120):
        """Something that goes on while this is entered; its result is in the list that this gives, afterwards."""
        stop, result = f"/run/stop-{time.monotonic_ns()}", Held()
        result.is_done = lambda: self.guest.run(f"ls {stop}.done 2>/dev/null || true")
        ident = self.guest.begin_python(INSIDE, {"call": function, "args": [*args, stop]})
        self.call("wait_file", stop + ".ready", seconds=seconds)
        yield result
        self.guest.run(f"touch {stop}")
        result.append(json.loads(self.guest.finish(ident, seconds)))

    def link(self, **options):
        return wire.Link(self.guest.agent_path, **options)

    def new_agent(self):
        """Another agent instead of the one that runs; it knows nothing of what was."""
        self.guest.run("pkill -KILL -x pagepact-agent || true")
        self.wait_agent()

    def wait_agent(self, seconds=40):
        def answers():
            with self.link() as link:
                try:
                    link.ping(1)
                    return True
                except TimeoutError:
                    return False
        wait_for(answers, seconds, "an agent answers")

    # ------------------------------------------------------------------ files that are worked on all the while

    def begin_files(self, seconds):
        if self.files is None:
            self.files = integrity.Work(self.guest, {kind: f"/mnt/{kind}/work" for kind in self.disks}, seconds)

    def end_files(self):
        files, self.files = self.files, None
        return files.end()


class Schedule:
    """Runs each machine's jobs in their order, the machines side by side."""

    def __init__(self, machines):
        self.machines, self._done = machines, {}

    def begin(self, jobs):
        """jobs: [(name of the machine, function)]"""
        for name, body in jobs:
            self._done[name, body] = threading.Event(), []
            self.machines[name].jobs.put(body)
        for machine in self.machines.values():
            machine.jobs.put(None)
            threading.Thread(target=self._serve, args=(machine,), daemon=True).start()

    def _serve(self, machine):
        broken = None
        try:
            machine.prepare()
        except Exception as error:
            broken = error
        while (body := machine.jobs.get()) is not None:
            event, errors = self._done[machine.name, body]
            try:
                if broken:
                    raise broken
                body(machine)
                assert machine.guest.check_kernel_log() == []
            except BaseException as error:  # whatever it is, the test has to say so
                errors.append(error)
            event.set()

    def result(self, name, body):
        event, errors = self._done[name, body]
        event.wait()
        if errors:
            raise errors[0]


def on(*names):
    """A test that runs on each of these machines, in its thread."""
    def made(body):
        @pytest.mark.parametrize("name", names)
        def test(schedule, name):
            schedule.result(name, body)
        test.__name__, test.__doc__, test.body = body.__name__, body.__doc__, body
        return test
    return made


OPTIONS = {
    "6.1": {"kernel": "6.1"},
    "6.12": {"kernel": "6.12"},
    # Blind: its kernel measures no pressure.
    "blind": {"kernel": "6.12"},
}


def _sources(values, append=""):
    return {"append": f"unmapped_page_control={values['cmdline']} {append}".strip(),
            "smbios": [f"pagepact.cache_limit={values['smbios']}"],
            "agent_conf": f"[agent]\ncache_limit = {values['file']}\n"}


@contextlib.contextmanager
def scheduled(items):
    """Boots the guests that the collected tests ask for, and gives the Schedule of their jobs."""
    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("QEMU is not installed")
    jobs = [(item.callspec.params["name"], item.function.body) for item in items if hasattr(item.function, "body")]
    directory = Path(tempfile.mkdtemp(prefix="pagepact-limit-", dir="/var/tmp"))
    machines = {}
    try:
        for name in dict.fromkeys(name for name, _ in jobs):
            sources = _sources({k: f"{v // 10}%" for k, v in SHARES.items()}, "psi=0") if name == "blind" \
                else _sources(GARBAGE)
            machines[name] = Machine(name, directory, **OPTIONS[name], **sources)
        schedule = Schedule(machines)
        schedule.begin(jobs)
        yield schedule
    finally:
        for machine in machines.values():
            machine.guest.kill()
        shutil.rmtree(directory, ignore_errors=True)

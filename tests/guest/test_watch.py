# SPDX-License-Identifier: Apache-2.0
"""The watch in stock guests and on this machine: what it tells, against what the tests themselves read.

This machine may page out idle cache by itself: what is resident after a read may then be less than what was added.
"""
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

import probe
import watching
from lab.guest import Guest
from lab.process import wait_for
from test_agent import PROBE, agent_path, pages_of
import matrix

KERNELS = matrix.kernels("6.1", others=("6.12",))
MAGIC = {"ext4": 0xEF53, "xfs": 0x58465342}
EVERYTHING = 10 ** 12
HUGETLBFS = 0x958458F6
RING_EVENTS = 256 * 1024 // 72  # a record's 64 bytes, and 8 before it


def tool_path():
    path = agent_path().parents[2] / "tests/guest/watch-tool"
    assert path.exists()
    return path


class Told:
    """What a drain brought, of one file."""

    def __init__(self, answer, who):
        assert answer["result"] == 0
        device = os.major(who["device"]) << 20 | os.minor(who["device"])
        key = [device, who["inode"], who["generation"]]
        self.runs = [(index, count) for *run, magic, index, count in answer["runs"] if run == key]
        self.magics = {run[3] for run in answer["runs"] if run[:3] == key}
        self.pages = pages_of(self.runs)

    def once(self):
        return sum(count for _, count in self.runs) == len(self.pages)


class Machine:
    """A machine with a watch and a folder for each file system."""

    def call(self, function, *args):
        raise NotImplementedError

    def ask(self, line):
        answer = self.call("ask", self.fifos, line)
        assert "error" not in answer, (line, answer)
        return answer

    def told(self, who):
        return Told(self.ask("drain"), who)

    def heat(self, path, start, count):
        """Of each page (known, uses, age in seconds, frame, class of age), or None where it is not cached."""
        return self.ask(f"heat {path} {start} {count}")["pages"]

    def fresh(self):
        """As after a start, but for the stamps."""
        self.ask(f"wake {EVERYTHING}")
        if self.sensor != "none":
            self.ask("sense off")
        self.ask("drain")

    def begin(self):
        self.first = self.call("hear", self.fifos)
        if "error" not in self.first:
            self.sensor = self.ask("sensor")["sensor"]


class GuestMachine(Machine):
    exact = True

    def __init__(self, kernel, directory):
        self.kernel = kernel
        disk = directory / f"xfs-{kernel}.raw"
        with open(disk, "wb") as file:
            file.truncate(320 << 20)
        subprocess.run(["mkfs.xfs", "-q", disk], check=True)
        self.source = (Path(__file__).parent / "watching.py").read_text() + PROBE
        self.guest = Guest(f"watch-{kernel}", directory, kernel=kernel, memory_mib=512, modules=True,
                           extra_disks=[disk], files={"watch-tool": tool_path()}).start()

    def prepare(self):
        self.guest.wait_ready()
        self.guest.run("mkdir -p /mnt/xfs && mount /dev/vdb /mnt/xfs")
        self.folders = {"ext4": "/var/tmp", "xfs": "/mnt/xfs"}
        self.fifos = "/run/watch"
        self.guest.run(f"mkdir {self.fifos}")
        self.guest.begin(watching.COMMAND.format(self.fifos, "/run/lab/watch-tool"))
        self.call("wait_file", f"{self.fifos}/log")
        self.begin()

    def call(self, function, *args):
        return json.loads(self.guest.python(self.source, {"call": function, "args": args}))

    def stop(self):
        self.guest.kill()


class NativeMachine(Machine):
    exact = False
    kernel = "native"

    def __init__(self, directory):
        self.fifos = str(directory / "fifos")
        self.folders = {"ext4": str(directory)}
        os.mkdir(self.fifos)
        self.child = subprocess.Popen(["/bin/sh", "-c", watching.COMMAND.format(self.fifos, tool_path())])

    def prepare(self):
        probe.wait_file(f"{self.fifos}/log")
        self.begin()

    def call(self, function, *args):
        return getattr(watching if hasattr(watching, function) else probe, function)(*args)

    def stop(self):
        self.child.kill()
        self.child.wait()


def make_machine(kernel, directory):
    return NativeMachine(directory) if kernel == "native" else GuestMachine(kernel, directory)


@pytest.fixture(scope="module")
def machines():
    with matrix.machines("watch", (*KERNELS, "native"), make_machine) as made:
        yield made


@pytest.fixture(params=(*KERNELS, "native"))
def machine(request, machines):
    found = machines[request.param]
    if found.kernel == "native" and "error" in found.first:
        pytest.skip(f"no watch on this machine: {found.first}")
    assert "error" not in found.first, found.first
    found.fresh()
    yield found
    if found.exact:
        assert found.guest.check_kernel_log() == []


in_guests = pytest.mark.parametrize("machine", KERNELS, indirect=True)
on_file_systems = pytest.mark.parametrize(
    "machine, system", [*((kernel, system) for kernel in KERNELS for system in MAGIC), ("native", "ext4")],
    indirect=["machine"])


def new_file(machine, system="ext4"):
    return f"{machine.folders[system]}/watched-{time.monotonic_ns()}"


def hollow(machine, path, pages):
    machine.call("hollow", path, pages)
    who = machine.call("identity", path)
    machine.ask("drain")
    return who


def written(machine, path, pages):
    """A file that is not cached; what its making added is not told again."""
    who = machine.call("write", path, pages)
    machine.ask("drain")
    return who


# ---------------------------------------------------------------------- what enters the cache

def test_sensor_is_the_best_there_is(machine):
    if machine.exact:
        assert machine.sensor == "accessed"
    else:
        assert machine.sensor in ("accessed", "get_pages", "none")


@on_file_systems
def test_runs_cover_exactly_what_was_read(machine, system):
    path = new_file(machine, system)
    who = written(machine, path, 3072)
    assert machine.call("resident", path) == []
    before = machine.ask("counts")
    machine.call("read", path, None, 1, True)
    told, after = machine.told(who), machine.ask("counts")
    resident = pages_of(machine.call("resident", path))
    assert told.pages == set(range(3072)) and told.once()
    assert resident == told.pages or not machine.exact and resident < told.pages
    assert told.magics == {MAGIC[system]}
    assert after["added"] - before["added"] >= 3072 and after["lost"] == before["lost"]
    # A file that is cached enters it no more.
    if machine.exact:
        machine.call("read", path)
        assert machine.told(who).pages == set()
        assert machine.ask("counts")["added"] - after["added"] < 300


def test_unfinished_runs_are_told_once(machine):
    path = new_file(machine)
    who = written(machine, path, 256)
    for start in range(0, 256, 16):
        machine.call("read", path, [(start, 16)])
        told = machine.told(who)
        assert told.pages == set(range(start, start + 16)) and told.once()
    assert machine.told(who).pages == set()


def test_scattered_pages(machine):
    path = new_file(machine)
    who = written(machine, path, 1024)
    runs = [(start, 1 + start // 64 % 3) for start in range(0, 1024, 64)]
    machine.call("read", path, runs)
    told = machine.told(who)
    assert told.pages == pages_of(runs) and told.once()


def test_nothing_is_lost_in_a_long_read(machine):
    path = new_file(machine)
    who = hollow(machine, path, 200 << 8)
    before = machine.ask("counts")
    machine.call("read", path, None, 1, True)
    told, after = machine.told(who), machine.ask("counts")
    # A busy host may reclaim what it read ahead before it is used, and read it again.
    assert told.pages == set(range(200 << 8)) and (told.once() or not machine.exact)
    assert after["lost"] == before["lost"]
    machine.call("remove", path)


def test_ring_wakes_when_it_fills_and_counts_what_it_cannot_hold(machine):
    path = new_file(machine)
    who = hollow(machine, path, 16000)
    before = machine.ask("counts")
    machine.call("read", path, [(page, 1) for page in range(0, 2600, 2)])
    assert not machine.ask("wait 0")["woken"]
    machine.call("read", path, [(page, 1) for page in range(2600, 6000, 2)])
    assert machine.ask("wait 0")["woken"]
    assert machine.ask("counts")["lost"] == before["lost"]
    machine.call("read", path, [(page, 1) for page in range(6000, 16000, 2)])
    after, told = machine.ask("counts"), machine.told(who)
    lost = after["lost"] - before["lost"]
    assert after["added"] - before["added"] >= 8000
    # Others' runs are among those that the ring held, and among the lost.
    assert lost >= 8000 - RING_EVENTS - 1 and len(told.pages) <= RING_EVENTS + machine_cpus(machine)
    # A run that a CPU is changing in that moment is left for the next time.
    assert len(told.pages) + lost >= 8000 - machine_cpus(machine)
    machine.ask("drain")  # others' pages may have come while it was still full, and called
    assert not machine.ask("wait 0")["woken"]
    machine.call("read", path, [(1, 1)])
    assert machine.told(who).pages == {1}


def machine_cpus(machine):
    return 1 if machine.exact else os.cpu_count()


def test_wakes_in_time(machine):
    enough = 3000
    for _ in range(3):  # the host that this guest runs on may be busy
        path = new_file(machine)
        hollow(machine, path, enough + 2000)
        machine.ask(f"wake {enough}")
        machine.call("read", path, [(0, enough // 2)])
        assert not machine.ask("wait 0")["woken"]
        machine.call("forget", path)
        machine.ask(f"wake {enough}")
        late = machine.call("read_until_woken", machine.fifos, path, enough + 2000, enough)
        assert late is not None
        machine.ask("drain")
        if late < 0.1:
            break
    assert late < 0.1
    # It stays ready until it is drained, and is not when nothing came since.
    machine.call("forget", path)
    machine.ask(f"wake {enough}")
    machine.call("read", path)
    assert machine.ask("wait 0")["woken"] and machine.ask("wait 0")["woken"]
    machine.ask("drain")
    assert not machine.ask("wait 0")["woken"]


@in_guests
def test_memory_without_files_is_not_counted(machine):
    machine.guest.run("mkdir -p /run/huge /run/tmpfs && mount -t tmpfs none /run/tmpfs && "
                      "echo 4 >/proc/sys/vm/nr_hugepages && mount -t hugetlbfs none /run/huge")
    try:
        before = machine.ask("counts")["added"]
        machine.ask("drain")
        machine.guest.run("fallocate -l 8M /run/huge/file && head -c 32M /dev/zero >/run/tmpfs/file")
        found = machine.ask("drain")
    finally:
        machine.guest.run("rm -f /run/huge/file /run/tmpfs/file; umount /run/huge /run/tmpfs; "
                          "echo 0 >/proc/sys/vm/nr_hugepages")
    assert found["added"] - before < 1000
    assert HUGETLBFS not in {run[3] for run in found["runs"]}


def test_maps_are_small(machine):
    found = machine.ask("memlock")
    assert found["frames"] > 100000
    assert found["bytes"] <= 2 * found["frames"] + (2 << 20)


# ---------------------------------------------------------------------- what is used

@pytest.fixture
def sensing(machine):
    if machine.sensor == "none":
        pytest.skip("this machine has no sensor")
    machine.ask("sense on")
    yield machine
    machine.ask("sense off")


def uses_of(machine, path, count):
    """{uses of a page: pages}.

    On this machine few are left out: those that it has paged out, and those that a read made without read-ahead,
    for want of a page at the moment: mm_filemap_get_pages does not tell of them."""
    found = {}
    for page in machine.heat(path, 0, count):
        key = "none" if page is None else "unknown" if not page[0] else page[1]
        found[key] = found.get(key, 0) + 1
    if not machine.exact:
        found = {key: pages for key, pages in found.items() if key != "none" and pages > count / 20}
    return found


def only(machine, found, wanted, count):
    return set(found) == {wanted} and (found[wanted] == count or not machine.exact and found[wanted] > count / 2)


def test_uses_are_counted_while_the_sensor_is_on(sensing):
    path = new_file(sensing)
    written(sensing, path, 500)
    for times in (1, 2, 3, 3, 3):
        sensing.call("read", path)
        found = uses_of(sensing, path, 500)
        assert only(sensing, found, times, 500), (times, found)


def test_uses_are_not_counted_while_it_is_off(sensing):
    path = new_file(sensing)
    written(sensing, path, 500)
    sensing.ask("sense off")
    sensing.call("read", path, None, 3)
    found = uses_of(sensing, path, 500)
    assert only(sensing, found, 0, 500), found
    sensing.ask("sense on")
    sensing.call("read", path, [(0, 250)])
    found = uses_of(sensing, path, 250)
    assert only(sensing, found, 1, 250), found


@in_guests
def test_large_folios_are_stamped_at_their_head(sensing):
    path = new_file(sensing, "xfs")
    written(sensing, path, 2000)
    sensing.call("read", path, None, 1, True)
    first = sensing.heat(path, 0, 2000)
    assert all(page[0] and page[1] >= 1 for page in first)
    assert len({page[3] for page in first}) < 1000
    sensing.call("read", path, None, 2, True)
    again = sensing.heat(path, 0, 2000)
    assert all(later[1] > earlier[1] or later[1] == 3 for earlier, later in zip(first, again))


@in_guests
def test_sensor_stays_attached_where_little_is_used(sensing):
    sensing.guest.run("mountpoint -q /sys/kernel/tracing || mount -t tracefs none /sys/kernel/tracing")

    def attached():
        return "folio_mark_accessed" in sensing.guest.run("cat /sys/kernel/tracing/enabled_functions")
    path = new_file(sensing)
    written(sensing, path, 4096)
    for turn in ("off", "on"):  # what was written was used, too
        sensing.ask(f"sense {turn}")
    sensing.ask("wait 3000")  # each call from outside uses what its process had mapped
    sensing.ask("sense off")
    assert attached()
    sensing.call("read", path)
    sensing.ask("sense on")
    busy = time.monotonic() + 30
    while True:
        sensing.call("read_for", path, 0.5)
        sensing.ask("sense off")
        if not attached() or time.monotonic() > busy:
            break
        sensing.ask("sense on")
    wait_for(lambda: not attached(), 10, "the sensor is detached")
    sensing.call("read", path, None, 2)
    sensing.ask("sense on")
    assert attached()
    sensing.call("read", path, [(0, 16)])
    assert {page[1] for page in sensing.heat(path, 0, 16)} <= {1, 2, 3}


def test_age_grows_until_the_next_use(sensing):
    path = new_file(sensing)
    written(sensing, path, 64)
    sensing.call("read", path)
    began = time.monotonic()
    assert {page[4] for page in sensing.heat(path, 0, 64) if page} == {0}

    def grown():
        ages = {page[2] for page in sensing.heat(path, 0, 64) if page}
        assert max(ages) <= time.monotonic() - began + 2
        return min(ages) >= 4
    wait_for(grown, 30, "the pages grow 4 s old")
    assert {page[4] for page in sensing.heat(path, 0, 64) if page} == {2}
    sensing.call("read", path, [(0, 32)])
    ages = [page[2] for page in sensing.heat(path, 0, 64) if page]
    if len(ages) == 64:
        assert max(ages[:32]) < 2 and min(ages[32:]) >= 4


def test_sweep_changes_nothing_that_is_young(sensing):
    path = new_file(sensing)
    written(sensing, path, 64)
    sensing.call("read", path, None, 2)
    sensing.ask("sweep")
    found = uses_of(sensing, path, 64)
    assert only(sensing, found, 2, 64), found


def test_frame_of_another_file_is_another_page(sensing):
    def try_once():
        first, second = new_file(sensing), new_file(sensing)
        written(sensing, first, 1000)
        written(sensing, second, 1000)
        sensing.call("read", first, None, 4)
        used = {page[3] for page in sensing.heat(first, 0, 1000) if page}
        sensing.call("forget", first)
        sensing.call("read", second)
        found = [page for page in sensing.heat(second, 0, 1000) if page]
        reused = [page for page in found if page[3] in used]
        assert [page for page in reused if not page[0] or page[1] > 1 or page[2] > 20] == []
        return len(reused) > 100
    wait_for(try_once, 60, "frames are used again")


# ---------------------------------------------------------------------- what came back

@on_file_systems
def test_refaults_are_counted_once(machine, system):
    path = new_file(machine, system)
    written(machine, path, 600)
    machine.call("read", path, None, 1, True)
    before = machine.ask("returns")
    machine.ask(f"evicted {path} 0 200 2")
    machine.ask(f"evicted {path} 200 100 7")
    machine.call("forget", path)
    evicted, refaulted = returned_since(machine, before)
    assert (evicted, refaulted) == ({2: 200, 7: 100}, {})
    machine.call("read", path, [(100, 150)])
    assert returned_since(machine, before) == ({2: 200, 7: 100}, {2: 100, 7: 50})
    for _ in range(2):
        machine.call("forget", path)
        machine.call("read", path, None, 1, True)
        assert returned_since(machine, before) == ({2: 200, 7: 100}, {2: 200, 7: 100})
    # Evicted again, it is followed again.
    machine.ask(f"evicted {path} 0 10 2")
    machine.call("forget", path)
    machine.call("read", path)
    assert returned_since(machine, before) == ({2: 210, 7: 100}, {2: 210, 7: 100})


def returned_since(machine, before):
    now = machine.ask("returns")
    return tuple({n: a - b for n, (a, b) in enumerate(zip(now[key], before[key])) if a != b}
                 for key in ("evicted", "refaulted"))


def test_what_comes_back_enters_with_a_use(machine):
    path = new_file(machine)
    written(machine, path, 200)
    machine.call("read", path)
    machine.ask(f"evicted {path} 50 100 0")
    machine.call("forget", path)
    machine.call("read", path)
    uses = [page and page[1] for page in machine.heat(path, 0, 200)]
    if machine.exact:
        assert uses == [0] * 50 + [1] * 100 + [0] * 50
    else:
        assert set(uses[50:150]) <= {1, None} and set(uses[:50] + uses[150:]) <= {0, None}

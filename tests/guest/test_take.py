# SPDX-License-Identifier: Apache-2.0
"""Superpages that an agent keeps out of a stock guest's use: taken, paged out by the host, and given back, whoever dies."""
import os
import re
import signal

import pytest

import daemon as d
from daemon import folder  # noqa: F401  (a fixture)
from lab import page_out, process, stream, swap, wire
from lab.guest import Guest
from lab.process import wait_for
from matrix import ALL, kernels, machines
from restoring import restore
from test_agent import agent_path

MIB = 1 << 20
SUPERPAGE = 2 * MIB
MEMORY = 1024 * MIB
STEP = 256 * MIB
# A thousand superpages, in turns; where so much of the guest's memory is in use that it needs them all.
ROUNDS = 32 if ALL else 3
LATE = 32
HOG, FILL = 560 * MIB, 256 * MIB
SILENT_SECONDS = 90
# Of its size, and the target that is set: none of ours, or one that is all.
WHOLE = ((MEMORY, None), (MEMORY, MEMORY))
# Fills memory with what each page can be told by, until it is told to look whether all of it is what it was.
FILLED = """
import mmap, os, time
size, go, said = ARGS
rest = os.urandom(4088)
memory = mmap.mmap(-1, size)
for at in range(0, size, 1 << 20):
    memory[at:at + (1 << 20)] = b"".join(page.to_bytes(8, "big") + rest for page in range(at, at + (1 << 20), 4096))
with open("/proc/self/pagemap", "rb", 0) as pagemap, open("/proc/self/maps") as maps:
    start = next(int(line.split("-")[0], 16) for line in maps if int(line.split()[0].split("-")[1], 16) - int(line.split("-")[0], 16) == size)
    entries = os.pread(pagemap.fileno(), size // 512, start // 512)
frames = {(int.from_bytes(entries[at:at + 8], "little") & (1 << 55) - 1) // 512 for at in range(0, len(entries), 8)}
with open(said, "w") as out:
    out.write(" ".join(map(str, sorted(frames))))
while not os.path.exists(go):
    time.sleep(0.05)
print(sum(memory[at:at + 4096] != at.to_bytes(8, "big") + rest for at in range(0, size, 4096)))
"""
GO, SAID = "/run/take-go", "/run/take-said"


class Filled:
    """A program in the guest that has filled so much memory; in which superpages it lies."""

    def __init__(self, machine, size):
        self.guest = machine.guest
        self.guest.run(f"rm -f {GO} {SAID}")
        self.begun = self.guest.begin_python(FILLED, [size, GO, SAID])
        said = wait_for(lambda: self.guest.run(f"cat {SAID} 2>/dev/null || true"), 120, "memory is filled")
        self.superpages = {int(word) for word in said.split()}

    def wrong(self):
        """Pages that are not what they were."""
        self.guest.run(f"touch {GO}")
        return int(self.guest.finish(self.begun, 120))


class Machine:
    def __init__(self, kernel, directory):
        self.guest = Guest(f"take-{kernel}", directory, kernel=kernel, memory_mib=MEMORY // MIB, agent=agent_path(),
                           shared_disks=[stream.image()], balloon_options="deflate-on-oom=on", reboots=True).start()

    def prepare(self):
        self.guest.wait_ready()
        self.files, self.missing = stream.Stream(self.guest), MEMORY

    def stop(self):
        self.guest.kill()

    def fill(self):
        """Its memory is full of clean cache; what was taken of it has to be filled again."""
        size, self.missing = self.missing, 2 * STEP
        for path, offset, length in self.files.take(size):
            self.guest.run(f"dd if={path} of=/dev/null bs=1M skip={offset // MIB} count={length // MIB} status=none", 120)

    def huge_pages(self):
        """Of the guest's pool: all, free, reserved, surplus."""
        text = self.guest.run("cat /proc/meminfo")
        return tuple(int(re.search(rf"^HugePages_{name}: +(\d+)", text, re.M)[1]) for name in ("Total", "Free", "Rsvd", "Surp"))

    def overcommit(self):
        return int(self.guest.run("cat /proc/sys/vm/nr_overcommit_hugepages"))

    def agent_pid(self):
        return self.guest.run("pidof pagepact-agent || true").strip()


@pytest.fixture(scope="module")
def guests():
    try:
        with swap.enough(), machines("take", kernels("6.1", "6.12"), Machine) as made:
            yield made
    except swap.NoSwap as error:
        pytest.skip(str(error))


@pytest.fixture
def machine(guests, request):
    found = guests[getattr(request, "param", "6.1")]
    yield found
    trouble, pool, others = found.guest.check_kernel_log(), found.huge_pages(), found.overcommit()
    found.guest.run("echo 0 > /proc/sys/vm/nr_hugepages")
    assert trouble == [] and pool == (0, 0, 0, 0) and others == 0


# What is the guest's kernel's part is tested on each, the rest on one.
each_kernel = pytest.mark.parametrize("machine", kernels("6.1", "6.12"), indirect=True)
one_kernel = pytest.mark.parametrize("machine", kernels("6.1", others=("6.12",)), indirect=True)


@pytest.fixture
def alpha(machine, folder):
    """A daemon that looks after the machine, which is full of cache."""
    home = folder / f"{machine.guest.name}-{os.urandom(4).hex()}"
    home.mkdir()
    found = d.Daemon(home).add("alpha", machine.guest.qmp_path, machine.guest.agent_path, act=True)
    found.start()
    try:
        found.wait_agent("alpha", "live", 60)
        found.wait_vm("alpha", lambda vm: vm["state"] == "running")
        machine.fill()
        yield found
    finally:
        process.stop(found.process)


def resize(daemon, size, **more):
    def called():
        found = daemon.call("balloon", 120, vm="alpha", size=str(size), **more)
        return None if found.get("error") == "busy" else found
    reply = wait_for(called, 20, "it is not busy")
    assert "error" not in reply, reply
    return reply["parameters"]


def take(daemon, machine, size=STEP):
    reply = resize(daemon, -size, by="superpages")
    assert reply["state"] == "reached" and reply["taken_bytes"] == size, (reply, daemon.log()[-2000:])
    count = size // SUPERPAGE
    assert machine.huge_pages() == (count, count, count, count)
    return reply


@each_kernel
def test_the_dial(machine, alpha):
    """Taken as superpages, seen back by the host; what else there is comes from the balloon; and all of it comes back."""
    mapped = machine.guest.ram_mapped_bytes()
    reply = take(alpha, machine)
    assert reply["actual_bytes"] == MEMORY - STEP and reply["paged_out_bytes"] == STEP, reply
    assert mapped - machine.guest.ram_mapped_bytes() >= 0.95 * STEP
    assert reply["host_returned_bytes"] >= 0.95 * STEP
    # QEMU knows nothing of it, and nobody else can have it.
    assert machine.guest.qmp("query-balloon")["actual"] == MEMORY and machine.overcommit() == 0
    found = alpha.vm("alpha")
    assert found["balloon"]["size_bytes"] == found["balloon"]["target_bytes"] == MEMORY - STEP
    assert found["balloon"]["taken_bytes"] == STEP and found["host_resident_bytes"] <= MEMORY - 0.9 * STEP
    # Half of it back, and then by both.
    reply = resize(alpha, f"+{STEP // 2}")
    assert reply["state"] == "reached" and reply["actual_bytes"] == MEMORY - STEP // 2, reply
    assert machine.huge_pages()[0] == STEP // 2 // SUPERPAGE
    reply = resize(alpha, MEMORY - STEP - MIB)
    assert reply["state"] == "reached" and reply["actual_bytes"] == MEMORY - STEP - MIB, reply
    assert machine.huge_pages()[0] * SUPERPAGE + MEMORY - machine.guest.qmp("query-balloon")["actual"] == STEP + MIB
    reply = resize(alpha, "max")
    assert reply["state"] == "reached" and machine.huge_pages() == (0, 0, 0, 0), reply
    assert alpha.vm("alpha")["balloon"]["original_bytes"] is None
    alpha.stop()


@each_kernel
def test_an_agent_that_is_killed_holds_nothing(machine, alpha):
    take(alpha, machine)
    before = machine.agent_pid()
    machine.guest.run(f"kill -9 {before}")
    wait_for(lambda: machine.huge_pages() == (0, 0, 0, 0), 20, "its kernel has all back")
    wait_for(lambda: machine.agent_pid() not in ("", before), 30, "another agent")
    alpha.wait_vm("alpha", lambda vm: (vm["balloon"]["size_bytes"], vm["balloon"]["target_bytes"]) in WHOLE, 60)
    alpha.stop()


@one_kernel
def test_a_daemon_that_is_killed_leaves_nothing(machine, alpha):
    """Another one takes over what it finds, and gives it back when it ends; and where there is none, the agent gives back
    what nobody asks for any more."""
    take(alpha, machine)
    process.stop(alpha.process, signal.SIGKILL)
    alpha.start()
    found = alpha.wait_vm("alpha", lambda vm: (vm["balloon"] or {}).get("taken_bytes") == STEP and vm["balloon"]["target_bytes"], 30)
    assert found["balloon"]["size_bytes"] == found["balloon"]["target_bytes"] == MEMORY - STEP
    assert resize(alpha, "+128M")["state"] == "reached" and machine.huge_pages()[0] == STEP // 2 // SUPERPAGE
    if ALL:  # it takes a minute
        process.stop(alpha.process, signal.SIGKILL)
        done = restore(alpha.run, "--now")
        assert done.returncode == 0, done.stderr
        wait_for(lambda: machine.huge_pages() == (0, 0, 0, 0), SILENT_SECONDS, "the agent gives all back")
    else:
        alpha.stop()
        wait_for(lambda: machine.huge_pages() == (0, 0, 0, 0), 10, "all is given back")


@one_kernel
def test_a_guest_that_uses_huge_pages_itself(machine, alpha):
    """Its administrator has his own at once, and none are taken beside them."""
    take(alpha, machine)
    machine.guest.run("echo 4 > /proc/sys/vm/nr_hugepages")
    wait_for(lambda: machine.huge_pages() == (4, 4, 0, 0), 10, "there are his, and no others")
    alpha.says("128 of its superpages are in use again (hugetlb)")
    alpha.wait_vm("alpha", lambda vm: (vm["balloon"]["size_bytes"], vm["balloon"]["target_bytes"]) in WHOLE, 20)
    alpha.stop()
    with wire.Link(machine.guest.agent_path, seconds=30) as link:
        assert link.take(8)[:2] == (0, "hugetlb")
    machine.guest.run("echo 0 > /proc/sys/vm/nr_hugepages")


@one_kernel
def test_a_guest_that_is_short_of_memory(machine, alpha):
    """What it needs it has, before anything of it is killed."""
    resize(alpha, -2 * STEP, by="superpages")
    had = machine.huge_pages()[0]
    assert had >= STEP // SUPERPAGE
    kills = machine.guest.run("grep ^oom_kill /proc/vmstat")
    filled = Filled(machine, MEMORY - 2 * STEP)
    assert machine.huge_pages()[0] < had
    assert filled.wrong() == 0 and machine.guest.run("grep ^oom_kill /proc/vmstat") == kills
    alpha.says("of its superpages are in use again (pressure)")
    assert resize(alpha, "max")["state"] == "reached"
    alpha.stop()


@one_kernel
def test_a_late_order_changes_nothing(machine):
    """Superpages are given back and used by a program, and only then the host pages out what it was told of."""
    hit = 0
    with wire.Link(machine.guest.agent_path, seconds=30) as link:
        assert link.hello()["capabilities"] & wire.CAN_TAKE
        machine.guest.run(f"echo 3 > /proc/sys/vm/drop_caches; mkdir -p /run/hog && "
                          f"mount -t tmpfs -o size=90% hog /run/hog && head -c {HOG} /dev/zero > /run/hog/hog", 120)
        for _ in range(ROUNDS):
            count, why, runs = link.take(LATE)
            assert (count, why) == (LATE, "none") and len(page_out.numbers(runs)) == LATE
            late = page_out.addresses(machine.guest, page_out.numbers(runs))
            assert link.take(0) == (0, "none", [])
            filled = Filled(machine, FILL)
            used = filled.superpages & set(late)
            before = machine.guest.ram_mapped_bytes()
            page_out.page_out(machine.guest.pid, list(late.values()))
            assert before - machine.guest.ram_mapped_bytes() >= 0.5 * len(used) * SUPERPAGE, "it was paged out"
            assert filled.wrong() == 0
            hit += len(used)
    machine.guest.run("umount /run/hog")
    assert hit >= ROUNDS * LATE // 4, "the program had them"

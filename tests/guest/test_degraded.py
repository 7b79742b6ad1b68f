# SPDX-License-Identifier: Apache-2.0
"""The agent in guests whose kernel lets nobody look at its pages: it says so, and does what is left."""
import contextlib
import json

import pytest

import daemon as d
from daemon import folder  # noqa: F401  (a fixture)
from lab import process, wire
from lab.guest import Guest
from matrix import kernels

AGENT = d.BUILD / "src/guest/pagepact-agent"
PAGE, MIB = 4096, 1 << 20
LIMIT = 48 * MIB
LOOK_SECONDS = 5  # ROUGH_LOOK_USEC of src/guest/rough.h
READ_BYTES, READ_RATE = 192 * MIB, 12 * MIB
INSTEAD = "its own reclaim is used instead, which is not exact and takes mapped pages too"

READ = """
import json, os, time

def counters():
    with open("/proc/vmstat") as file:
        found = {key: int(value) for key, value in map(str.split, file)}
    found["unmapped"] = (found["nr_inactive_file"] + found["nr_active_file"] - found["nr_mapped"]) * 4096
    return found

def files():
    for folder, _, names in os.walk("/usr"):
        for name in sorted(names):
            path = os.path.join(folder, name)
            if not os.path.islink(path) and os.path.getsize(path) >= 1 << 16:
                yield path

def read(bytes_wanted, rate=1 << 40):  # at most so fast, at any time
    begun, done, peak, most = time.monotonic(), 0, 0, [(0, 0)]
    for path in files():
        with open(path, "rb", 0) as file:
            while data := file.read(1 << 20):
                done += len(data)
                time.sleep(len(data) / rate)
                peak = max(peak, counters()["unmapped"])
                most.append((time.monotonic() - begun, done))
        if done >= bytes_wanted:
            break
    return {"peak": peak, "bytes": done, "seconds": time.monotonic() - begun, "read": most}

def sample():
    return counters()

print(json.dumps(globals()[ARGS[0]](*ARGS[1:])))
"""


class Machine:
    def __init__(self, kernel, directory):
        self.kernel = kernel
        self.guest = Guest(f"degraded-{kernel}", directory, kernel=kernel, memory_mib=512, agent=AGENT,
                           append="lsm=lockdown lockdown=confidentiality unmapped_page_control=48M").start()

    def prepare(self):
        self.guest.wait_ready()
        self.guest.run("mount -t securityfs securityfs /sys/kernel/security; mkdir /run/cgroup; "
                       "mount -t cgroup2 cgroup2 /run/cgroup")

    def new_agent(self):
        """What it can do it finds out when it starts; the guest starts another when it has ended."""
        old = self.guest.run("pidof pagepact-agent").strip()
        self.guest.run(f"kill {old}")
        process.wait_for(lambda: self.guest.run("pidof pagepact-agent || true").strip() not in ("", old), 20, "another agent")

    def call(self, *args, seconds=120):
        return json.loads(self.guest.python(READ, args, seconds))

    def link(self, **options):
        return wire.Link(self.guest.agent_path, **options)

    def report(self):
        with self.link() as link:
            return link.report()


@pytest.fixture(scope="module", params=kernels("6.1", others=("6.12",)))
def booted(request, folder):
    made = Machine(request.param, folder)
    try:
        made.prepare()
        yield made
        assert made.guest.check_kernel_log() == []
    finally:
        made.guest.kill()


@pytest.fixture
def machine(booted):
    """With an agent that has evicted nothing yet: what one test evicts comes back in the next, which is a brake's case."""
    booted.new_agent()
    return booted


def most_in(seconds, read):
    """The most that was read in any stretch of time so long."""
    begin = most = 0
    for at, done in read:
        while at - read[begin][0] > seconds:
            begin += 1
        most = max(most, done - read[begin][1])
    return most


def test_says_what_it_cannot(machine):
    assert "[confidentiality]" in machine.guest.run("cat /sys/kernel/security/lockdown")
    with machine.link() as link:
        hello = link.hello()
        assert hello["capabilities"] == wire.CAN_FREE | wire.CAN_HINT
        assert hello["missing"] == f"the kernel is locked down (confidentiality): BPF may not read it; {INSTEAD}"
        with pytest.raises(wire.AgentError, match="locked down"):
            link.scan()
    assert "The kernel's own reclaim is used instead" in machine.guest.console.read_text(errors="replace")


def test_limit_is_held_roughly(machine, record_testsuite_property):
    found = machine.call("read", READ_BYTES, READ_RATE)
    between = most_in(LOOK_SECONDS + 1, found.pop("read"))
    record_testsuite_property(f"degraded_limit_{machine.kernel}", {**found, "limit": LIMIT, "between_looks": between})
    assert found["bytes"] >= READ_BYTES and LIMIT + between < READ_BYTES * 3 // 4, "it would have shown"
    assert found["peak"] <= LIMIT + between + 4 * MIB
    process.wait_for(lambda: machine.call("sample")["unmapped"] <= LIMIT, 3 * LOOK_SECONDS, "it is below the limit")
    report = machine.report()
    assert (report["limit_bytes"], report["limit_origin"], report["limit_state"]) == (LIMIT, "cmdline", "under")
    assert report["heat"] == "none" and report["evicted_bytes"] >= READ_BYTES - LIMIT - between


def test_free_gives_memory_back(machine, record_testsuite_property):
    machine.call("read", 80 * MIB)
    with machine.link() as link:
        before = machine.call("sample")
        freed = link.free(32 * MIB, more=True)
        after = machine.call("sample")
    record_testsuite_property(f"degraded_free_{machine.kernel}", freed)
    assert freed["stopped"] == "done" and freed["slab"] == freed["held"] == freed["superpage"] == 0
    assert 32 * MIB <= freed["cold"] <= 64 * MIB
    assert before["unmapped"] - after["unmapped"] >= 28 * MIB
    # Free page reporting takes pages out of the free lists while it reports them.
    process.wait_for(lambda: (machine.call("sample")["nr_free_pages"] - before["nr_free_pages"]) * PAGE >= 28 * MIB, 20,
                     "the memory is free")


def test_free_ends_when_nothing_is_left(machine):
    with machine.link() as link:
        freed = link.free(1 << 40, usec_max=20000000, more=True, seconds=40)
        assert freed["stopped"] == "nothing_left"
        link.ping()
    assert machine.call("sample")["unmapped"] <= 16 * MIB


def test_goes_ahead_of_the_balloon_by_the_counter(machine, record_testsuite_property):
    with machine.link() as link:
        report = link.limit(wire.LIMIT_OFF, hint="cache")
        assert (report["hint"], report["hint_origin"], report["notice"]) == ("cache", "host", "counter")
        machine.call("read", 240 * MIB)
        low = 512 * MIB - machine.call("sample")["nr_free_pages"] * PAGE - 96 * MIB
        machine.guest.qmp("balloon", value=low)
        try:
            process.wait_for(lambda: machine.guest.qmp("query-balloon")["actual"] == low, 60, "the balloon is there")
            report = link.report()
        finally:
            machine.guest.qmp("balloon", value=512 * MIB)
        record_testsuite_property(f"degraded_hint_{machine.kernel}", report)
        assert report["inflations"] >= 1 and report["ahead_bytes"] > 0 and report["inflate_bytes"] == wire.NO_LIMIT


def test_never_swaps(machine):
    """6.1 cannot be told, so it is not asked; 6.12 can."""
    machine.guest.run("dd if=/dev/zero of=/root/swap bs=1M count=64 status=none && chmod 600 /root/swap && "
                      "mkswap -q /root/swap && swapon /root/swap")
    try:
        machine.new_agent()
        machine.call("read", 64 * MIB)
        with machine.link() as link:
            missing, freed = link.hello()["missing"], link.free(16 * MIB, more=True)
            report = link.report()
        if machine.kernel == "6.1":
            assert "nor can its own reclaim be used: before Linux 6.9 it would swap" in missing
            assert freed["cold"] == 0 and report["limit_state"] == "cannot"
        else:
            assert INSTEAD in missing and freed["cold"] >= 16 * MIB
        assert machine.call("sample")["pswpout"] == 0
    finally:
        machine.guest.run("swapoff /root/swap; rm /root/swap")
        machine.new_agent()


def test_status_says_why(machine, folder):
    with contextlib.ExitStack() as stack:
        path = folder / f"daemon-{machine.kernel}"
        daemon = d.Daemon(path).add("alpha", machine.guest.qmp_path, machine.guest.agent_path, act=True)
        stack.callback(lambda: process.stop(daemon.process))
        daemon.start()
        daemon.wait_agent("alpha", "live", 20)
        report = daemon.wait_vm("alpha", lambda vm: vm["report"], 30)["report"]
        assert report["limit_origin"] == "cmdline"
        status = daemon.ctl("status")
        assert status.returncode == 0 and INSTEAD in status.stdout + status.stderr
        refused = daemon.ctl("cache-limit", "alpha", "64M")
        assert refused.returncode == 4 and INSTEAD in refused.stderr
        machine.call("read", 64 * MIB)
        freed = daemon.ctl("free", "alpha", "400M", "--json")
        assert freed.returncode == 0, freed.stderr
        steps = {step["step"]: step["bytes"] for step in json.loads(freed.stdout)["steps"]}
        assert steps["held"] == steps["superpage"] == 0
        daemon.stop()


def test_configuration_is_read_again(machine):
    """On SIGHUP; the kernel's command line stays the stronger word."""
    assert machine.report()["limit_bytes"] == LIMIT
    pid = machine.guest.run("pidof pagepact-agent").strip()
    words = "console=ttyS0 unmapped_page_control=64M"
    machine.guest.run(f"echo '{words}' >/run/cmdline && mount --bind /run/cmdline /proc/cmdline && kill -HUP {pid}")
    try:
        process.wait_for(lambda: machine.report()["limit_bytes"] == 64 * MIB, 10, "the new limit holds")
        assert machine.guest.run("pidof pagepact-agent").strip() == pid
    finally:
        machine.guest.run(f"umount /proc/cmdline && kill -HUP {pid}")
    process.wait_for(lambda: machine.report()["limit_bytes"] == LIMIT, 10, "the old limit holds again")

# SPDX-License-Identifier: Apache-2.0
"""The page cache limit and `free` under bad values, beside work of every kind, and with agents that are killed.

Each guest does its tests in the order of this file, while the other guests do theirs.
"""
import random
import re
import time

import pytest

import limited
from lab import integrity, wire
from lab.process import wait_for
from limited import MIB, PAGE, on
from matrix import kernels

GUESTS = ("6.1", "6.12")
ON_6_1, ON_6_12 = kernels("6.1", others=("6.12",)), kernels("6.12", others=("6.1",))
# vmstat counters are folded late, up to 125 pages of each CPU (vm_stat_threshold), and programs come and go.
NOISE = 4 * MIB
SLACK = 16 * MIB
WORK_SECONDS = 20
KILLS = 10  # of each guest
KEPT_SECONDS = 8
TINY = 4096


@pytest.fixture(scope="module")
def schedule(request):
    with limited.scheduled(request.session.items) as made:
        yield made


def said(machine, words):
    """Lines of the agent's on the console that have these words."""
    with open(machine.guest.console, errors="replace") as console:
        return [line for line in console if line.startswith("pagepact-agent: ") and words in line]


def limit_bytes(link, size):
    return link.limit(wire.LIMIT_BYTES, size=size)


def is_braked(report):
    return report["limit_state"] == "braked" and report["brake"] != "quota"


# ---------------------------------------------------------------- values


@on(*ON_6_1)
def test_garbage_in_every_source(machine):
    """One line of each, and an agent without a limit that serves the host."""
    values = limited.GARBAGE
    for where, key, value in (("/proc/cmdline", "unmapped_page_control", values["cmdline"]),
                              ("SMBIOS type 11", "pagepact.cache_limit", values["smbios"]),
                              ("/etc/pagepact/agent.conf:2", "cache_limit", values["file"])):
        assert said(machine, where) == [f'pagepact-agent: {where}: {key} {limited.EXPECTED}, not "{value}": ignored\n']
    with machine.link() as link:
        assert link.hello()["capabilities"] & 127 == 127
        assert len(said(machine, "")) == 4, "and what it serves"
        report = link.report()
        assert (report["limit_bytes"], report["limit_origin"], report["limit_state"]) == (None, "none", "off")
        report = limit_bytes(link, 300 * MIB)
        assert (report["limit_bytes"], report["limit_origin"]) == (300 * MIB, "host")
        report = link.limit(wire.LIMIT_GUEST)
        assert (report["limit_bytes"], report["limit_origin"]) == (None, "none")


def hide(machine, path, content=""):
    machine.guest.run(f"cat >/run/hidden && mount --bind /run/hidden {path}", stdin=content.encode())


def held_by(machine):
    """The origin of the limit of a new agent, and its share of memory in thousandths."""
    machine.new_agent()
    with machine.link() as link:
        report = link.report()
    return report["limit_origin"], report["limit_bytes"]


@on("blind")
def test_the_strongest_source_wins(machine):
    """The command line, then SMBIOS, then the file, then nothing; and "0" is a word, too."""
    managed = 1000 * int(machine.guest.run("awk '/managed/{n+=$2} END{print n}' /proc/zoneinfo")) * PAGE // 1000
    found = {}
    for source, path in (("cmdline", "/proc/cmdline"), ("smbios", "/sys/firmware/dmi/tables/DMI"),
                         ("file", "/etc/pagepact/agent.conf")):
        found[source] = held_by(machine)
        hide(machine, path)
    assert {source: origin for source, (origin, _) in found.items()} == {source: source for source in found}
    for source, share in limited.SHARES.items():
        assert abs(found[source][1] - managed * share // 1000) <= MIB, (source, found)
    assert held_by(machine) == ("none", None)
    machine.guest.run("umount /etc/pagepact/agent.conf /sys/firmware/dmi/tables/DMI /proc/cmdline")
    for word in ("0", "off"):
        hide(machine, "/proc/cmdline", f"quiet unmapped_page_control={word}\n")
        assert held_by(machine) == ("none", None)
        machine.guest.run("umount /proc/cmdline")
    assert held_by(machine) == ("cmdline", found["cmdline"][1])


@on("blind")
def test_what_the_host_says_wins_while_it_is_heard(machine):
    """A minute after its last word the guest's own limit holds again: watched by what stays cached, without a word."""
    with machine.link() as link:
        own = link.report()["limit_bytes"]
        report = link.limit(wire.LIMIT_OFF)
        assert (report["limit_bytes"], report["limit_origin"], report["limit_state"]) == (None, "host", "off")
        report = link.limit(wire.LIMIT_GUEST)
        assert (report["limit_bytes"], report["limit_origin"]) == (own, "cmdline")
        report = limit_bytes(link, 48 * MIB)
        assert (report["limit_bytes"], report["limit_origin"]) == (48 * MIB, "host")
        # No limit at all, so that nothing but the minute's end can wake the agent.
        report = link.limit(wire.LIMIT_OFF, hint="cache")
        assert (report["hint"], report["hint_origin"]) == ("cache", "host")
        last = time.monotonic()
        machine.call("hollows", "/mnt/ext4/silence", own // (32 * MIB) + 3, 32 * MIB)
        machine.call("slurp_all", "/mnt/ext4/silence")
        time.sleep(max(0, last + 50 - time.monotonic()))
        assert machine.call("unmapped") >= own + 32 * MIB
        wait_for(lambda: machine.call("unmapped") <= own + NOISE, last + 80 - time.monotonic(), "the guest's limit holds")
        assert time.monotonic() - last >= 59
        report = link.report()
        assert (report["limit_bytes"], report["limit_origin"]) == (own, "cmdline")
        assert (report["hint"], report["hint_origin"]) == ("none", "none")


# ---------------------------------------------------------------- limits that make no sense, and files that go


@on(*ON_6_12)
def test_limits_that_change_all_the_time(machine):
    """Every 100 ms for 10 s, some of them absurd, while somebody reads."""
    # All of it has room in memory: where no limit holds, the kernel would else write back what is dirty.
    machine.call("hollows", "/mnt/xfs/changing", 64, 2 * MIB)
    machine.guest.run("sync; echo 3 >/proc/sys/vm/drop_caches")
    machine.new_agent()
    dice = random.Random(1)
    choices = [(wire.LIMIT_OFF, 0, 0), (wire.LIMIT_BYTES, 0, TINY), (wire.LIMIT_BYTES, 0, 1 << 40), (wire.LIMIT_GUEST, 0, 0),
               (wire.LIMIT_BYTES, 0, 64 * MIB), (wire.LIMIT_PERMILLE, 1, 0), (wire.LIMIT_PERMILLE, 1000, 0)]
    with machine.link() as link:
        machine.new_agent_pid = machine.call("agent_ticks")[1]
        with machine.held("keep", "/mnt/ext4", None) as kept, machine.held("stream", "/mnt/xfs/changing", 1, 0.1) as read:
            end, longest = time.monotonic() + 10, 0
            while (begun := time.monotonic()) < end:
                link.limit(*dice.choice(choices))
                longest = max(longest, time.monotonic() - begun)
                time.sleep(max(0, begun + 0.1 - time.monotonic()))
            for size, wanted in ((1 << 40, 1 << 40), (TINY, TINY)):
                report = limit_bytes(link, size)
                assert (report["limit_bytes"], report["limit_origin"]) == (wanted, "host")
            report = link.limit(wire.LIMIT_OFF)
            assert (report["limit_bytes"], report["limit_origin"], report["limit_state"]) == (None, "host", "off")
            assert report["evicted_bytes"] >= 8 * MIB
        assert longest < 2
        assert machine.call("agent_ticks")[1] == machine.new_agent_pid
    assert read[0] > 8
    assert_kept(kept[0])


def assert_kept(kept):
    assert kept["reclaimed"] == 0, "the kernel took what it wanted"
    assert kept["right"] and kept["before"]["mapped"] == kept["before"]["dirty"] == 1024
    assert kept["after"] == kept["before"]


def keep_evicting(machine, link, condition, seconds):
    """Under a limit of a page."""
    evictor = integrity.Evictor(machine.guest, link, TINY)
    evictor.evict_until(condition, seconds)
    machine.evicted += evictor.evicted


@on(*GUESTS)
def test_a_number_that_is_used_again(machine):
    """What the queues say of an inode that has gone costs its number's next owner no dirty and no mapped page."""
    # Nobody else makes files meanwhile, or the number may be another's.
    for kind in machine.disks:
        # One of its own: what comes back soon is hot.
        beside = f"/mnt/ext4/beside-{kind}"
        machine.call("hollows", beside, 1, 4 * MIB)
        with machine.link() as link:
            limit_bytes(link, machine.call("unmapped") + 128 * MIB)
            with machine.held("reuse", f"/mnt/{kind}/reused") as result:
                machine.call("slurp_all", beside)
                keep_evicting(machine, link, lambda: machine.call("resident", f"{beside}/0") == [], 30)  # noqa: B023
        again, cached, right = result[0]
        assert right and (again or kind != "ext4")
        cached = {start + n for start, count in cached for n in range(count)}
        assert cached >= set(range(32)), kind


@on(*ON_6_1)
def test_unmounting_what_is_evicted_from(machine):
    machine.begin_files(WORK_SECONDS)
    with machine.link() as link, machine.held("unmounted", "/dev/vdd", "/mnt/spare", 5) as result:
        keep_evicting(machine, link, result.is_done, 60)
    took, right = result[0]
    assert right and len(took) == 5
    assert max(seconds for seconds, _ in took) <= 2, took


@on(*GUESTS)
def test_no_byte_of_any_file_changes(machine):
    """Compared by their writers all the time, then all of them in the cache, then on the disk, from the guest and from here."""
    machine.begin_files(WORK_SECONDS)
    with machine.link() as link:
        keep_evicting(machine, link, machine.files.is_due, WORK_SECONDS + 60)
    found = machine.end_files()
    assert found["wrong"] == []
    assert len(found["files"]) == 2 * (integrity.WRITERS * 4 + integrity.STATIC_BYTES // MIB)
    assert min(found["operations"][kind] for kind in ("write", "truncate", "replace", "remake", "punch", "through_map",
                                                      "sync", "compare", "read")) > 0
    assert machine.evicted >= 16 * MIB
    machine.checked = found["files"]


# ---------------------------------------------------------------- what must stay


@on(*GUESTS)
def test_what_is_mapped_dirty_or_no_file_stays(machine):
    """For ten seconds, under a limit of a page; and nothing is written back, and no name is forgotten."""
    machine.guest.run("echo 8 >/proc/sys/vm/nr_hugepages; mkdir -p /run/huge; mount -t hugetlbfs hugetlbfs /run/huge; sync")
    machine.call("hollows", "/mnt/ext4/stream", 64, 16 * MIB)
    machine.guest.run("echo 3 >/proc/sys/vm/drop_caches")
    machine.new_agent()
    with machine.link() as link:
        with machine.held("keep", "/mnt/ext4", "/run/huge") as kept:
            limit_bytes(link, TINY)
            with machine.held("stream", "/mnt/ext4/stream", 1, 0):
                end = time.monotonic() + KEPT_SECONDS
                while time.monotonic() < end:
                    time.sleep(0.5)
                    report = link.report()
            assert report["evicted_bytes"] >= 64 * MIB
        link.limit(wire.LIMIT_OFF)
    kept, = kept
    assert kept["before"] == {"mapped": 1024, "locked": 1024, "dirty": 1024, "tmpfs": 1024, "hugetlb": 512}
    assert_kept(kept)
    # The file systems' own blocks, of inodes and journals, are written when they like.
    assert kept["unwritten"] == 1024 and kept["written"] <= 64 and kept["writeback"] == 0
    # Programs come and go.
    assert abs(kept["names_after"]["live"] - kept["names"]["live"]) <= 64, kept
    assert kept["names_after"]["all"] >= kept["names"]["all"] - 64, kept
    machine.guest.run("rm /run/huge/kept; umount /run/huge; echo 0 >/proc/sys/vm/nr_hugepages")


# ---------------------------------------------------------------- FREE


def cached_pages(machine, path):
    return sum(count for _, count in machine.call("resident", path))


class Order:
    """What is cached before a FREE: two cold files, the longer one all holes, and a hot, a mapped and a dirty one."""
    COLD, MORE, LITTLE = 2048, 24576, 512  # pages

    def __init__(self, machine, link):
        self.machine, self.link = machine, link
        machine.guest.run("mkdir -p /mnt/ext4/free; sync; echo 3 >/proc/sys/vm/drop_caches; echo 1 >/proc/sys/vm/compact_memory")
        self.paths = {kind: f"/mnt/ext4/free/{kind}" for kind in ("held", "cold", "hot", "mapped", "dirty")}
        self.who = {kind: machine.call("write", self.paths[kind], count)
                    for kind, count in (("held", self.COLD), ("hot", self.LITTLE), ("mapped", self.LITTLE))}
        machine.guest.run(f"truncate -s {self.MORE * PAGE} {self.paths['cold']}")
        for kind in ("held", "cold"):
            machine.call("read", self.paths[kind])
        machine.guest.run(f"head -c {self.LITTLE * PAGE} /dev/zero >{self.paths['dirty']}")
        # The sensor is on near a limit.
        limit_bytes(link, int(machine.call("unmapped") * 1.1) + 2 * MIB)
        for wait in (1.2, 2.2):  # what is read ahead counts as awaited for two seconds
            machine.call("read", self.paths["hot"])
            time.sleep(wait)

    def left(self):
        return {kind: cached_pages(self.machine, path) for kind, path in self.paths.items()}

    def hold(self):
        """Tell the agent that the host holds the blocks of one of the files."""
        disk = next(d for d in self.link.scan().disks.values() if d["serial"] == "disk1")
        self.link.hold(disk, sorted((block, count) for _, block, count in self.who["held"]["blocks"]))

    def free(self, size, **options):
        return self.link.free(size, **{"usec_max": 10000000, **options})

    def free_all(self):
        """Asks again while it was the time that was over; all that was freed."""
        freed = self.free(1 << 60, more=True)
        while freed["stopped"] == "time":
            more = self.free(1 << 60, more=True)
            freed = {**more, **{step: freed[step] + more[step] for step in wire.STEPS}}
        return freed

    def memory_free(self):
        return self.machine.call("counters")["MemFree"] * PAGE

    def kept_free(self):
        """What is free and does not count: below the high watermarks, and 1/64 of memory."""
        zones = self.machine.guest.run("cat /proc/zoneinfo")
        high, managed = (sum(map(int, re.findall(rf"^ +{key} +(\d+)$", zones, re.M))) for key in ("high", "managed"))
        return (high + managed // 64) * PAGE

    def beside_free(self):
        """What each CPU may keep for itself, which counts as free for nobody: on 6.12 that grows, and is 8 MiB at times."""
        zones = self.machine.guest.run("cat /proc/zoneinfo")
        return sum(map(int, re.findall(r"^ +high: +(\d+)$", zones, re.M))) * PAGE


def steps_of(freed):
    return {step: freed[step] for step in wire.STEPS if freed[step]}


@on(*ON_6_12)
def test_free_obeys_its_order(machine):
    machine.new_agent()
    with machine.link(seconds=60) as link:
        order = Order(machine, link)
        with machine.held("hold_mapped", order.paths["mapped"], [[0, Order.LITTLE]]):
            full = {"held": Order.COLD, "cold": Order.MORE, **dict.fromkeys(("hot", "mapped", "dirty"), Order.LITTLE)}
            assert order.left() == full
            assert_free_of_nothing(order)
            assert order.left() == full
            before = order.memory_free()
            freed = assert_held_first(order, full) + assert_superpages_next(order) + assert_rest(order)
            # Each CPU keeps some for itself.
            assert abs(order.memory_free() - before - freed) <= 4 * NOISE + order.beside_free()
        link.limit(wire.LIMIT_GUEST)


def assert_free_of_nothing(order):
    """Nothing is asked, no time is given, or what is free already is enough."""
    freed = order.free(0)
    assert freed["stopped"] == "done" and not steps_of(freed).keys() - {"slab"}
    freed = order.free(1 << 60, usec_max=0)
    assert freed["stopped"] == "time" and freed["asked"] == 1 << 60
    assert freed["free"] > 0 and not steps_of(freed).keys() - {"free", "slab"}
    assert abs(order.memory_free() - freed["free"] - order.kept_free()) <= NOISE + order.beside_free()
    freed = order.free(8 * MIB)
    assert freed["stopped"] == "done" and freed["free"] == 8 * MIB
    assert not steps_of(freed).keys() - {"free", "slab"}


def assert_held_first(order, full):
    """What the host holds, and no more of it than is asked, though there are others that complete superpages."""
    order.hold()
    asked = Order.COLD // 2 * PAGE
    freed = order.free(asked, more=True)
    left = order.left()
    assert freed["stopped"] == "done" and steps_of(freed) == {"held": freed["held"]}
    # A piece goes whole.
    assert asked <= freed["held"] <= asked + 2 * MIB
    assert left == {**full, "held": Order.COLD - freed["held"] // PAGE}
    return freed["held"]


def assert_superpages_next(order):
    """What is left of what the host holds, and then pages whose going frees two megabytes in one."""
    before = order.left()
    asked = before["held"] * PAGE + 2 * MIB
    freed = order.free(asked, more=True)
    assert freed["stopped"] == "done" and set(steps_of(freed)) == {"held", "superpage"}
    assert freed["held"] == before["held"] * PAGE and order.left()["held"] == 0
    return freed["held"] + freed["superpage"]


def assert_rest(order):
    """All that is cold goes, and what is hot, mapped or dirty does not."""
    freed = order.free_all()
    assert freed["stopped"] == "nothing_left" and freed["free"] == freed["slab"] == freed["held"] == 0
    assert freed["superpage"] > 0 and freed["cold"] > 0
    assert order.left() == {"held": 0, "cold": 0, **dict.fromkeys(("hot", "mapped", "dirty"), Order.LITTLE)}
    return freed["superpage"] + freed["cold"]


# ---------------------------------------------------------------- brakes


def conf(machine, text):
    machine.guest.run("mkdir -p /etc/pagepact; cat >/etc/pagepact/agent.conf", stdin=f"[agent]\n{text}\n".encode())


@on("6.1", "blind")
def test_brake_by_refaults(machine):
    """What is evicted is read again at once: it rests, though there is more than the limit, and goes on after that."""
    assert (machine.guest.run("cat /proc/pressure/memory 2>/dev/null || true") == "") == (machine.name == "blind")
    # What has come back is hot, and would stay for longer.
    conf(machine, "hot_seconds = 2")
    machine.guest.run("sync; echo 3 >/proc/sys/vm/drop_caches")
    machine.new_agent()
    for folder, size in (("again", 16), ("others", 32), ("more", 32)):
        machine.call("hollows", f"/mnt/xfs/{folder}", 1, size * MIB)
    with machine.link() as link:
        limit = machine.call("unmapped") + 24 * MIB
        limit_bytes(link, limit)
        machine.call("slurp_all", "/mnt/xfs/again")
        machine.call("slurp_all", "/mnt/xfs/others")
        wait_for(lambda: link.report() and cached_pages(machine, "/mnt/xfs/again/0") == 0, 20, "it evicts")
        machine.call("slurp_all", "/mnt/xfs/again")
        wait_for(lambda: link.report()["brakes"], 20, "it stops")
        machine.call("slurp_all", "/mnt/xfs/more")
        report = link.report()
        assert report["refaulted_bytes"] >= MIB
        # On a busy machine it may go on before all is read.
        assert report["brake"] == "refault" if is_braked(report) else report["evicted_bytes"] > 48 * MIB
        wait_for(lambda: link.report()["unmapped_bytes"] <= limit, 60, "it goes on")
        assert link.report()["brakes"] >= 1
        link.limit(wire.LIMIT_GUEST)


def stopped(link):
    report = link.report()
    return report if is_braked(report) else None


@on("6.12")
def test_brake_by_memory_pressure(machine):
    """Tasks stall, and some of what was evicted is read back: less than would stop it by itself, of all that went."""
    machine.call("hollows", "/mnt/xfs/stream", 64, 16 * MIB)
    machine.call("hollows", "/mnt/xfs/again", 1, 4 * MIB)
    machine.new_agent()
    with machine.link() as link:
        limit_bytes(link, machine.call("unmapped") + 16 * MIB)
        machine.call("slurp_all", "/mnt/xfs/again")
        with machine.held("stream", "/mnt/xfs/stream", 1, 0):
            wait_for(lambda: link.report() and machine.call("resident", "/mnt/xfs/again/0") == [], 30, "it evicts")
            assert link.report()["brakes"] == 0
            with machine.held("hog"):
                wait_for(lambda: machine.call("stalled") >= 3, 30, "tasks stall")
                machine.call("slurp_all", "/mnt/xfs/again")
                report = wait_for(lambda: stopped(link), 30, "it rests")
        assert report["brake"] == "memory"
        link.limit(wire.LIMIT_GUEST)


# ---------------------------------------------------------------- a file system that hangs, and very many files


@on(*ON_6_1)
def test_a_file_system_that_hangs(machine):
    """Its pages stay; those of others go, and the host is answered."""
    machine.call("hollows", "/mnt/ext4/others", 4, 8 * MIB)
    machine.new_agent()
    with machine.link() as link:
        with machine.held("hanging", 4 * MIB) as left:
            machine.call("slurp_all", "/mnt/ext4/others")
            limit_bytes(link, TINY)
            longest = ping_until(link, lambda: machine.call("resident", "/mnt/ext4/others/3") == [], 30)
            link.limit(wire.LIMIT_GUEST)
        assert left == [1024]
        assert longest <= 2


def ping_until(link, condition, seconds):
    """The longest that the agent took to answer, until the condition holds."""
    end, longest = time.monotonic() + seconds, 0
    while not condition():
        begun = time.monotonic()
        assert begun < end
        link.ping()
        longest = max(longest, time.monotonic() - begun)
        time.sleep(0.05)
    return longest


@on("6.12")
def test_more_files_than_the_queues_hold(machine):
    """A page of each is cached when the limit is set; it holds soon, and the host is answered meanwhile."""
    machine.new_agent()
    with machine.link() as link:
        link.limit(wire.LIMIT_OFF)
        cached = machine.call("read_many", "/mnt/many", limited.MANY_FOLDERS, limited.MANY_EACH)
        assert cached >= limited.MANY_FOLDERS * limited.MANY_EACH * PAGE
        machine.call("agent_rss", True)
        # The inodes' own blocks are metadata that is hot.
        limit_bytes(link, 32 * MIB)
        longest = ping_until(link, lambda: machine.call("unmapped") <= 32 * MIB + NOISE, 60)
        assert longest <= 2
        report = link.report()
        assert report["evicted_bytes"] >= cached - 48 * MIB
        pages = link.hello()["ram_pages"]
        assert machine.call("agent_rss", False) <= 8 * MIB + pages
        link.limit(wire.LIMIT_GUEST)


# ---------------------------------------------------------------- an agent that is killed


@on(*GUESTS)
def test_killed_at_any_moment(machine):
    """Nothing is left behind, and a new one works at once."""
    machine.call("hollows", "/mnt/ext4/killed", 4, 8 * MIB)
    machine.guest.run("touch /run/lab/stop-agent; mkdir -p /mnt/spare;"
                      "echo '[agent]\ncache_limit = 4K' >/etc/pagepact/agent.conf; pkill -KILL -x pagepact-agent || true")
    machine.guest.run("while pgrep -x pagepact-agent; do sleep 0.1; done")
    found = machine.call("killed", "/mnt/ext4/killed", "/dev/vdd", "/mnt/spare", KILLS, machine.name, seconds=300)
    assert found["left"] == [[True, True]] * KILLS
    assert found["right"] and found["umount_seconds"] <= 2
    machine.wait_agent()
    with machine.link() as link:
        assert link.report()["limit_origin"] == "file"
        wait_for(lambda: link.report()["evicted_bytes"] > 0, 10, "it evicts")


@on(*GUESTS)
def test_what_the_host_finds_on_the_disks(machine):
    """After the guest has ended, which is why this is its last test."""
    files = getattr(machine, "checked", None)
    assert files, "test_no_byte_of_any_file_changes was not run, or failed"
    machine.guest.run("sync")
    machine.guest.kill()
    for kind, image in machine.disks.items():
        compared = integrity.on_disk(image, kind, files, f"/mnt/{kind}")
        if compared is not None:
            assert compared == (len(files) // 2, [])

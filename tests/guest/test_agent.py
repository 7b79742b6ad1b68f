# SPDX-License-Identifier: Apache-2.0
"""The agent in stock guests, spoken to over its port; what it says and does is compared with what the kernel says."""
import base64
import errno
import json
import os
import struct
import subprocess
import time
from pathlib import Path

import pytest

from lab import measures, process, wire
from lab.guest import Guest
import matrix

KERNELS = ("6.1", "6.12")
PROBE = (Path(__file__).parent / "probe.py").read_text()
PAGE = 4096
# Debian's kernels clear each page that they give out, unless they are told not to.
NOT_CLEARING = {"6.12": "init_on_alloc=0"}
ANY_LATER = 0.5  # of a second


def agent_path():
    build = Path(os.environ.get("PAGEPACT_BUILD", Path(__file__).resolve().parents[2] / "build"))
    return next(p for p in (build / "pagepact-agent", build / "src/guest/pagepact-agent") if p.exists())


class Machine:
    """A guest with an xfs beside its ext4, and calls of probe.py in it."""

    def __init__(self, kernel, directory):
        self.kernel = kernel
        disk = directory / f"xfs-{kernel}.raw"
        with open(disk, "wb") as file:
            file.truncate(320 << 20)
        subprocess.run(["mkfs.xfs", "-q", disk], check=True)
        self.guest = Guest(f"agent-{kernel}", directory, kernel=kernel, memory_mib=512, modules=True,
                           extra_disks=[disk], agent=agent_path(), append=NOT_CLEARING.get(kernel, "")).start()

    def prepare(self):
        self.guest.wait_ready()
        self.guest.run("mkdir -p /mnt/xfs && mount /dev/vdb /mnt/xfs && echo 0 >/proc/sys/vm/dirty_writeback_centisecs")

    def stop(self):
        self.guest.kill()

    def probe(self, call, *args, seconds=60):
        return json.loads(self.guest.python(PROBE, {"call": call, "args": args}, seconds))

    def hold(self, call, *args):
        """Start something that lasts until release()."""
        stop = f"/run/stop-{time.monotonic_ns()}"
        ident = self.guest.begin_python(PROBE, {"call": call, "args": [*args, stop]})
        self.probe("wait_file", stop + ".ready")
        return ident, stop

    def release(self, held):
        ident, stop = held
        self.guest.run(f"touch {stop}")
        return json.loads(self.guest.finish(ident))

    def link(self, **options):
        return wire.Link(self.guest.agent_path, **options)


@pytest.fixture(scope="module")
def machines():
    with matrix.machines("agent", KERNELS, Machine) as made:
        yield made


@pytest.fixture(params=KERNELS)
def machine(request, machines):
    yield machines[request.param]
    assert machines[request.param].guest.check_kernel_log() == []


def pages_of(runs):
    return {start + n for start, count in runs for n in range(count)}


def blocks_of(who):
    return {index + n: block + n for index, block, count in who["blocks"] for n in range(count)}


def runs_of(who, runs):
    """[(index, count)] with where they lie, as the host would order them."""
    blocks = blocks_of(who)
    return [(index, blocks[index], count) for index, count in runs]


def fates(result):
    return {name: count for name, count in result.items() if count and name not in ("asked", "usec", "status")}


# ---------------------------------------------------------------------- looking

def test_hello(machine):
    with machine.link() as link:
        hello = link.hello()
    clears = wire.CLEARS_NOT if machine.kernel in NOT_CLEARING else wire.CLEARS
    assert hello["version"] == 3 and hello["capabilities"] == 127 | clears | wire.CAN_TAKE and hello["missing"] == ""
    assert hello["kernel"] == machine.guest.run("uname -r").strip()
    assert hello["boot_id"] == machine.guest.run("cat /proc/sys/kernel/random/boot_id").strip().replace("-", "")
    assert 500 << 8 < hello["ram_pages"] <= 512 << 8 and hello["page_bytes"] == PAGE


def test_census_agrees_with_the_kernel(machine):
    machine.guest.run("sync")
    with machine.link() as link:
        before, scan = machine.probe("counters"), link.scan()
        after, kinds = machine.probe("counters"), machine.probe("kinds")
    census = scan.census
    # Under emulation, on shared CPUs: a bound against loops, no figure.
    assert scan.chunk_max_usec <= 100000
    assert sum(census[k] for k in wire.CENSUS[1:9]) == census["total"]
    assert census["placed"] + sum(scan.unplaced.values()) == \
        census["mapped_file"] + census["unmapped_clean"] + census["unmapped_dirty"]
    # Taken while processes come and go, and pages wait on lists of each CPU: 4 MiB of 512.
    near = 1024

    def agrees(found, *names):
        low, high = (sum(c[n] for n in names) for c in (before, after))
        assert min(low, high) - near <= found <= max(low, high) + near, (names, found, low, high)

    agrees(census["free"], "MemFree")
    assert abs(census["free"] - kinds["buddy"]) <= near
    agrees(census["anonymous"], "AnonPages")
    agrees(census["shmem"], "Shmem")
    agrees(census["slab"], "Slab")
    agrees(census["mapped_file"] + census["unmapped_clean"] + census["unmapped_dirty"] + census["shmem"],
           "Cached", "Buffers")
    # The kernel counts the agent's maps of BPF maps as mapped files, though they are in no file's cache.
    maps = int(machine.guest.run("awk '/^[0-9a-f]+-/{map=/bpf-map/} /^Rss/&&map{n+=$2} END{print n/4}'"
                                 " /proc/$(pidof pagepact-agent)/smaps"))
    before["Mapped"] -= maps
    after["Mapped"] -= maps
    agrees(census["mapped_file"], "Mapped")
    assert census["unmapped_dirty"] <= max(before["Dirty"], after["Dirty"]) + 64
    assert 0 <= census["superpages_free"] <= census["superpages_reclaimable"] <= census["superpages"] <= 256


@pytest.mark.parametrize("folder", ("/root", "/mnt/xfs"))
def test_scan_finds_the_pages_and_blocks_of_a_file(machine, folder):
    path = f"{folder}/found"
    machine.probe("write", path, 1024)
    machine.probe("read", path, [(at, 7) for at in range(5, 1000, 40)])
    who = machine.probe("identity", path)
    with machine.link() as link:
        scan = link.scan()
        assert link.name(who) == (path.encode(), 0)
    file, blocks = scan.file(who), scan.blocks(who)
    assert file["unplaced"] == "placed" and file["generation"] == who["generation"] and file["size"] == 1024 * PAGE
    assert scan.disks[file["disk"]]["serial"] == ("disk0" if folder == "/root" else "disk1")
    assert scan.disks[file["disk"]]["pci"].startswith("0000:00:")
    cached = set(scan.pages(who))
    assert cached == pages_of(machine.probe("resident", path)) and len(cached) >= 7 * 25
    assert {page: blocks[page] for page in cached} == {page: blocks_of(who)[page] for page in cached}
    assert not any(flags & (wire.MAPPED | wire.DIRTY) for flags, _, _ in scan.pages(who).values())


def test_what_cannot_be_placed_is_told_why(machine):
    machine.guest.run("mkdir -p /mnt/ram && mount -t ramfs ramfs /mnt/ram"
                      " && head -c 4M /dev/urandom >/mnt/ram/file")
    with machine.link() as link:
        before = link.scan()
        held = machine.hold("hold_deleted", "/root/deleted", 512)
        machine.guest.run("head -c 8M /dev/urandom >/tmp/more-in-tmpfs")
        scan = link.scan()
    machine.release(held)
    machine.guest.run("umount /mnt/ram; rm /tmp/more-in-tmpfs")
    assert 1024 <= scan.unplaced["file_system"] <= 1024 + 64
    assert 512 <= scan.unplaced["gone"] - before.unplaced["gone"] <= 512 + 16
    # Shared memory is no page cache to place.
    assert scan.census["shmem"] - before.census["shmem"] >= 2048
    assert abs(scan.unplaced["file_system"] - before.unplaced["file_system"]) <= 16


def test_age_is_seconds_since_the_last_use(machine):
    """By one scan, for the agent has CPU time for so many only."""
    def uptime():
        return float(machine.guest.run("cat /proc/uptime").split()[0])
    path = "/root/aged"
    who = machine.probe("write", path, 64)
    begun = uptime()
    machine.probe("read", path, [(0, 16)])
    read = uptime()
    process.wait_for(lambda: uptime() > read + 5, 60, "five seconds have passed in the guest")
    again = uptime()
    machine.probe("read", path, [(32, 16)])
    with machine.link() as link:
        found = {page: age for page, (_, age, _) in link.scan().pages(who).items()}
    ended = uptime()
    # The stamps' seconds are 2^30 ns, and neither the first nor the last of them may be whole.
    assert all(3 <= found[page] <= ended - begun + 1 for page in range(16)), (found[0], begun, read, again, ended)
    assert all(found[page] <= ended - again + 1 for page in range(32, 48)), (found[32], begun, read, again, ended)


def test_once_agrees_and_changes_nothing(machine):
    path = "/root/once"
    machine.probe("write", path, 2048)
    machine.probe("read", path, [(0, 1500)])
    machine.guest.run("printf x >'/root/'$(printf 'caf\\351'); /run/lab/pagepact-agent --once >/dev/null")
    with machine.link() as link:
        scan = link.scan()
    before = machine.probe("resident", path)
    started = machine.probe("counters")
    once = json.loads(machine.guest.run("/run/lab/pagepact-agent --once --json"))
    ended = machine.probe("counters")
    assert machine.probe("resident", path) == before
    # Metadata of the files that it looks at may be read; nothing leaves and nothing is written.
    assert abs(ended["nr_file_pages"] - started["nr_file_pages"]) <= 64
    assert ended["nr_dirtied"] - started["nr_dirtied"] <= 8
    assert once["total_bytes"] == scan.census["total"] * PAGE
    for kind in ("free", "anonymous", "mapped_file", "unmapped_clean", "slab"):
        assert abs(once[f"{kind}_bytes"] - scan.census[kind] * PAGE) <= 8 << 20, kind
    assert once["superpages"] == scan.census["superpages"]
    assert sum(count for _, count in once["superpages_reclaimable_runs"]) == once["superpages_reclaimable"]
    assert scan.spoiled < scan.census["superpages"] and abs(once["superpages_spoiled"] - scan.spoiled) <= 8
    file = next(f for f in once["files"] if f["path"] == path)
    assert file["cached_bytes"] == 1500 * PAGE and file["mapped_bytes"] == 0


def test_once_names_files_in_valid_json(machine):
    """A name of any bytes, among the largest."""
    machine.guest.run("head -c 24M /dev/zero >/root/$(printf 'caf\\351\\n\\042\\\\'); sync")
    out = machine.guest.run("/run/lab/pagepact-agent --once --json | base64 -w0")
    machine.guest.run("rm /root/caf*")
    once = json.loads(base64.b64decode(out).decode())
    assert any(f["path"].startswith("/root/caf") for f in once["files"])


# ---------------------------------------------------------------------- evicting

@pytest.mark.parametrize("folder, length, ahead", (
    ("/root", 1, False), ("/root", 16, True),
    # With read-ahead, xfs caches in large folios, which have to be split.
    ("/mnt/xfs", 1, True), ("/mnt/xfs", 16, True), ("/mnt/xfs", 512, True)))
def test_exactly_the_runs_asked_for_leave(machine, folder, length, ahead, record_testsuite_property):
    pages = 2048
    path = f"{folder}/runs-{length}"
    machine.probe("write", path, pages)
    machine.probe("read", path, None, 1, ahead)
    who = machine.probe("identity", path)
    asked = [(at, length) for at in range(0, pages, 2 * length)]
    with machine.link() as link:
        if ahead and folder == "/mnt/xfs":
            orders = [order for _, _, order in link.scan().pages(who).values()]
            assert max(orders) >= 4, "the file is not in large folios"
        before = pages_of(machine.probe("resident", path))
        started = machine.probe("counters")
        result = link.evict(who, runs_of(who, asked))
        ended = machine.probe("counters")
        hot = [page for page, (flags, _, _) in link.scan().pages(who).items() if flags & wire.HOT]
    after = pages_of(machine.probe("resident", path))
    left = before - after
    machine.guest.run(f"rm {path}")
    record_testsuite_property(f"evict_usec_per_page{folder.replace('/', '_')}_{length}_{machine.kernel}",
                              result["usec"] / result["asked"])
    assert len(before) == pages and result["status"] == 0
    assert left <= pages_of(asked), "neighbours left"
    assert result["evicted"] == len(left) and result["evicted"] + result["partial"] == result["asked"]
    assert result["evicted"] >= 0.99 * result["asked"], fates(result)
    assert hot == [], "what stayed was marked as used"
    assert ended["nr_written"] - started["nr_written"] <= 8


def test_what_must_stay_stays_and_is_counted(machine):
    path = "/root/kept"
    machine.probe("write", path, 512)
    machine.probe("read", path)
    machine.probe("forget", path, 300, 4)
    machine.probe("read", path, [(200, 8)], 4)
    who = machine.probe("identity", path)
    held = machine.hold("hold_mapped", path, [(0, 64)])
    machine.probe("dirty", path, list(range(100, 104)))
    started = machine.probe("counters")
    with machine.link() as link:
        blocks = blocks_of(who)
        runs = [(0, blocks[0], 400), (400, blocks[400] + 1, 16), (416, blocks[416], 96), (5000, blocks[0], 10)]
        result = link.evict(who, runs)
        ended = machine.probe("counters")
        left = set(range(512)) - pages_of(machine.probe("resident", path))
        dirty = [page for page, (flags, _, _) in link.scan().pages(who).items() if flags & wire.DIRTY]
    machine.release(held)
    assert result["status"] == 0
    assert fates(result) == {"evicted": 400 - 64 - 4 - 8 - 4 + 96, "mapped": 64, "dirty": 4, "hot": 8, "gone": 4 + 10,
                             "moved": 16}
    assert left == set(range(64, 512)) - set(range(100, 104)) - set(range(200, 208)) - set(range(400, 416))
    # No writeback was begun, and what was dirty is.
    assert sorted(dirty) == list(range(100, 104)) and ended["nr_written"] - started["nr_written"] <= 8


def test_who_is_not_who_it_was_loses_nothing(machine):
    path = "/root/identity"
    who = machine.probe("write", path, 64)
    machine.probe("read", path)
    runs = runs_of(who, [(0, 64)])
    with machine.link() as link:
        wrong = link.evict(dict(who, generation=who["generation"] ^ 1), runs)
        assert wrong["status"] == errno.ESTALE and fates(wrong) == {"failed": 64}
        assert link.evict(dict(who, inode=who["inode"] + 100000), runs)["status"] == errno.ESTALE
        assert link.evict(dict(who, device=(9 << 8) + 9), runs)["status"] == errno.ENOENT
        assert pages_of(machine.probe("resident", path)) == set(range(64))
        assert link.name(dict(who, generation=who["generation"] ^ 1)) == (b"", errno.ESTALE)
        successor = machine.probe("replace", path, who["inode"])
        assert successor, "no new file got the inode number"
        assert link.evict(who, runs)["status"] == errno.ESTALE
        assert len(pages_of(machine.probe("resident", successor))) == 16


def test_generation_zero_is_no_wildcard(machine):
    path = machine.probe("unversioned", "/usr/share")
    assert path, "the image has no file of generation 0"
    who = machine.probe("identity", path)
    machine.probe("read", path)
    with machine.link() as link:
        assert fates(link.evict(who, runs_of(who, [(0, 4)]))) == {"evicted": 4}
        successor = machine.probe("replace", path, who["inode"])
        assert successor, "no new file got the inode number"
        result = link.evict(who, runs_of(who, [(0, 16)]))
        assert result["status"] == errno.ESTALE and fates(result) == {"failed": 16}
        assert link.name(who) == (b"", errno.ESTALE)
        assert machine.probe("identity", successor)["generation"] != 0
    assert len(pages_of(machine.probe("resident", successor))) == 16


def test_a_lease_is_never_broken(machine):
    path = "/root/leased"
    who = machine.probe("write", path, 64)
    machine.probe("read", path)
    held = machine.hold("hold_lease", path)
    with machine.link() as link:
        scan = link.scan()
        result = link.evict(who, runs_of(who, [(0, 64)]))
        assert link.name(who) == (path.encode(), 0)
    machine.guest.run("/run/lab/pagepact-agent --once")
    assert scan.file(who)["unplaced"] == "leased"
    assert result["status"] == errno.EBUSY and fates(result) == {"failed": 64}
    assert machine.release(held) == 0, "the holder was asked to give its lease up"
    with machine.link() as link:
        assert fates(link.evict(who, runs_of(who, [(0, 64)]))) == {"evicted": 64}


def test_metadata_of_the_disk_is_evicted_too(machine):
    """Pages of the block device itself: what the file system needs again it keeps; no harm is done by asking."""
    machine.guest.run("find /usr/share >/dev/null; sync")
    device = machine.guest.python("import os; print(os.stat('/').st_dev)")
    device = int(device)
    inode = os.major(device) << 20 | os.minor(device)
    with machine.link() as link:
        scan = link.scan()
        who = {"device": device, "inode": inode, "generation": 0}
        file = scan.file(who)
        assert file["kind"] == 1 and file["unplaced"] == "placed"
        first = scan.extents[file["number"]][0][1]
        clean = [page for page, (flags, _, _) in scan.pages(who).items() if not flags][:200]
        payload = wire.identity(who, 1) + wire.struct.pack("<II", len(clean), 0) + b"".join(
            wire.struct.pack("<QQII", page, first + page, 1, 0) for page in clean)
        numbers = wire.struct.unpack("<10QiI", link.ask(wire.EVICT, payload, wire.RESULT))
        result = dict(zip(wire.RESULTS, numbers))
    assert result["status"] == 0 and result["evicted"] >= len(clean) // 2, fates(result)
    machine.guest.run("find /usr/share >/dev/null")


# ---------------------------------------------------------------------- the link

def test_garbage_and_half_frames(machine):
    with machine.link() as link:
        link.write(os.urandom(100000).replace(b"PGP\1", b"----"))
        link.ping()
        link.write(wire.frame(wire.PING, ident=7)[:-1] + b"?")  # a wrong checksum
        link.ping()
        assert list(kind for kind, _ in answers_to_bad(link)) == [wire.ERROR] * 3
        whole = wire.frame(wire.PING, ident=99)
        for byte in whole:
            link.write(bytes([byte]))
            time.sleep(0.02)
        assert link.receive()[:2] == (wire.PONG, 99)
        link.write(wire.frame(wire.EVICT, bytes(60000), 5)[:200])
    # The rest never comes: the next host is heard at once, or after the agent gave up waiting.
    with machine.link() as link:
        started = time.monotonic()
        link.send(wire.PING)
        link.receive(8)
        assert time.monotonic() - started < 7
        link.ping()


def answers_to_bad(link):
    for kind, payload in ((200, b""), (wire.SCAN, b"too long"), (wire.HELLO, bytes(24))):
        ident = link.send(kind, payload)
        found = link.receive()
        assert found[1] == ident
        yield found[0], found[2]


def test_a_cut_frame_on_a_live_connection_is_given_up(machines):
    links = [machine.link() for machine in machines.values()]
    for link in links:
        link.write(wire.frame(wire.EVICT, bytes(60000), 5)[:200])
        link.send(wire.PING)
    for link in links:
        assert link.receive(9)[0] == wire.PONG
        link.close()


def test_evict_is_served_while_a_scan_runs(machine):
    path = "/root/meanwhile"
    who = machine.probe("write", path, 64)
    machine.probe("read", path)
    with machine.link() as link:
        scan, kinds = wire.Scan(), []
        scan_id = link.send(wire.SCAN)
        evict_id = link.send(wire.EVICT, wire.evict(who, runs_of(who, [(0, 64)])))
        while wire.SCAN_END not in kinds or wire.RESULT not in kinds:
            kind, ident, payload = link.receive(30)
            assert ident in (scan_id, evict_id)
            kinds.append(kind)
            if ident == scan_id:
                scan.take(kind, payload)
            else:
                result = dict(zip(wire.RESULTS, struct.unpack("<10QiI", payload)))
    assert result["evicted"] == 64, fates(result)
    assert kinds.index(wire.RESULT) < kinds.index(wire.SCAN_END)
    assert sum(scan.census[k] for k in wire.CENSUS[1:9]) == scan.census["total"]
    assert machine.probe("resident", path) == []


def test_hosts_come_and_go(machine):
    for n in range(5):
        with machine.link() as link:
            link.send(wire.SCAN)
            if n % 2:
                link.receive()
    with machine.link() as link:
        link.hello()
        assert link.scan().census["total"] > 0


def test_a_host_that_does_not_read_is_given_up(machines):
    """Both guests at once: the agent's patience takes ten seconds."""
    links, asked = [machine.link() for machine in machines.values()], []
    for link in links:
        sent = 0
        while link.write(wire.frame(wire.WELCOME, bytes(8), 1), 0.3) == 32:
            sent += 1
        asked.append(sent)
    time.sleep(11)
    for link, sent in zip(links, asked):
        answered = 0
        try:
            while True:
                answered += link.receive(1.5)[0] == wire.HELLO
        except TimeoutError:
            pass
        assert answered < sent
        link.write(bytes(64))  # whatever was cut off in the middle of a frame
        link.ping()
        assert link.scan().census["total"] > 0
        link.close()
    for machine in machines.values():
        assert machine.guest.check_kernel_log() == []


def test_idling_costs_nothing(machines, record_testsuite_property):
    """Under 1 % of a CPU without a host, and with one that says nothing."""
    seconds = 5
    for name, connect in (("alone", False), ("connected", True)):
        links = [machine.link() for machine in machines.values()] if connect else []
        for link in links:
            link.ping()
        time.sleep(ANY_LATER)
        before = {kernel: machine.probe("agent_ticks") for kernel, machine in machines.items()}
        time.sleep(seconds)
        after = {kernel: machine.probe("agent_ticks") for kernel, machine in machines.items()}
        for link in links:
            link.close()
        for kernel in machines:
            assert before[kernel][1] == after[kernel][1], "the agent was started anew"
            ratio = (after[kernel][0] - before[kernel][0]) / 100 / seconds
            record_testsuite_property(f"cpu_ratio_{name}_{kernel}", ratio)
            assert ratio < 0.01, (name, kernel, ratio)


def test_scan_cost_is_measured(machine, record_testsuite_property):
    ratio = measures.scan_cost(machine.guest)
    record_testsuite_property(f"scan_cost_ratio_{machine.kernel}", ratio)
    assert 0 < ratio < 50

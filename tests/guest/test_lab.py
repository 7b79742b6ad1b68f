# SPDX-License-Identifier: Apache-2.0
"""The lab itself: guests boot a stock kernel, the oracle sees what is cached, and nothing outlives the lab."""
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab import images, oracle, workload
from lab.channel import CommandFailed
from lab.process import wait_for

ROOT = Path(__file__).resolve().parents[2]
FILE = "/usr/lib/gcc/x86_64-linux-gnu/12/cc1plus"


def test_guests_run_the_stock_kernel(alpha, bravo):
    for guest in (alpha, bravo):
        assert guest.run("uname -r").startswith("6.1.0-")
        assert guest.boot_seconds < 60


def test_commands_carry_bytes_codes_and_errors(alpha):
    content = bytes(range(256)) * 1000
    alpha.push(content, "/tmp/pushed")
    assert alpha.pull("/tmp/pushed") == content
    with pytest.raises(CommandFailed) as failed:
        alpha.run("echo out; echo err >&2; exit 7")
    assert (failed.value.code, failed.value.out, failed.value.err) == (7, "out\n", "err\n")


def test_commands_run_side_by_side(alpha):
    slow = alpha.begin("until [ -e /tmp/go ]; do sleep 0.1; done; echo slow")
    assert alpha.run("touch /tmp/go; echo fast") == "fast\n"
    assert alpha.finish(slow) == "slow\n"


def test_oracle_sees_a_file_come_and_go_in_one_guest(alpha, bravo):
    for guest in (alpha, bravo):
        workload.drop(guest, [FILE])
    workload.read({alpha: [FILE]})
    extents = oracle.disk_map(alpha)
    there = oracle.guest_view(oracle.look_in_guest(alpha, [FILE]), extents)
    size = int(alpha.run(f"stat -c %s {FILE}"))
    assert oracle.size_bytes(there.files) >= 0.95 * size  # less the file's holes
    assert set(there.files) == {str(alpha.base)}
    elsewhere = oracle.guest_view(oracle.look_in_guest(bravo, [FILE]), oracle.disk_map(bravo))
    assert oracle.size_bytes(elsewhere.files) == 0
    workload.drop(alpha, [FILE])
    gone = oracle.guest_view(oracle.look_in_guest(alpha, [FILE]), extents)
    assert oracle.size_bytes(gone.files) == 0


def test_oracle_reads_the_same_bytes_on_the_host(alpha):
    """The chain from a file's page to a block of the image is right: the bytes there are the file's."""
    workload.read({alpha: [FILE]})
    view = oracle.guest_view(oracle.look_in_guest(alpha, [FILE]), oracle.disk_map(alpha))
    start, _ = oracle.bits_runs(view.files[str(alpha.base)])[0]
    with open(alpha.base, "rb") as image:
        block = os.pread(image.fileno(), oracle.BLOCK, start * oracle.BLOCK)
    assert alpha.run(f"head -c {oracle.BLOCK} {FILE} | sha256sum").split()[0] == \
        subprocess.run(["sha256sum"], input=block, capture_output=True, check=True).stdout.decode().split()[0]


def test_oracle_counts_metadata_as_the_kernel_does(alpha):
    look = oracle.look_in_guest(alpha)
    assert look["trace_lost"] == 0
    # Pages that came between the count and the look are a few.
    assert abs(sum(count for _, count in look["metadata"]) * oracle.BLOCK - look["meminfo"]["Buffers"]) <= 1 << 20


def test_host_eviction_is_exact(tmp_path):
    path = Path("/var/tmp") / f"pagepact-test-{os.getpid()}"
    try:
        path.write_bytes(os.urandom(8 << 20))
        wanted = oracle.runs_bits([(n, 16) for n in range(0, 2048, 64)])
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            while file.read(1 << 20):
                pass
        before = oracle.host_resident(path)
        assert oracle.evict_from_host(path, wanted) == 0
        assert oracle.host_resident(path) == before & ~wanted
    finally:
        path.unlink()


def test_paused_guest_keeps_its_memory(fresh_guest):
    guest = fresh_guest("paused")
    guest.pause()
    held = guest.ram_resident_bytes()
    assert held > 64 << 20
    assert guest.qmp("query_status")["status"] == "paused"
    guest.cont()
    assert guest.run("echo back") == "back\n"


def test_qemu_dies_with_the_lab(tmp_path):
    """kill -9 of the process that started it: nothing is left behind to end QEMU but the kernel."""
    program = f"""
import sys; sys.path.insert(0, {str(ROOT)!r}); sys.dont_write_bytecode = True
from lab.guest import Guest
guest = Guest("orphan", {str(tmp_path)!r}).start()
print(guest.pid, flush=True)
sys.stdin.read()
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    # Not before: setpriv has the name of QEMU in its arguments, and has still to ask the kernel.
    wait_for(lambda: Path(f"/proc/{pid}/cmdline").read_text().startswith("qemu-system"), 30, "QEMU starts")
    parent.send_signal(signal.SIGKILL)
    parent.wait()

    def gone():
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except FileNotFoundError:
            return True
    wait_for(gone, 10, "QEMU ends")


def test_guest_mounts_xfs_and_kernel_6_12(fresh_guest, lab):
    """The file system with large folios, and the other stock kernel, that tests of eviction ask for."""
    if not images.available("6.12"):
        pytest.skip("apt offers no 6.12 kernel here")
    disk = images.make_xfs(lab.directory / "xfs.raw")
    guest = fresh_guest("xfs", extra_disks=[disk], modules=True, kernel="6.12", agent=None)
    assert guest.run("uname -r").startswith("6.12.")
    guest.run("mkdir -p /mnt/x && mount -t xfs /dev/vdb /mnt/x && head -c 8M /dev/urandom >/mnt/x/file && sync")
    assert guest.run("stat -f -c %T /mnt/x") == "xfs\n"


def test_options_of_a_guest(fresh_guest):
    """What tests of the agent's limit ask for: CPUs, NUMA nodes, SMBIOS strings, the agent's configuration."""
    guest = fresh_guest("options", smp=2, numa=True, smbios=["pagepact.test=1,2"], agent=None,
                        agent_conf="[agent]\n", append="unmapped_page_control=5%")
    assert guest.run("nproc; ls -d /sys/devices/system/node/node1") == "2\n/sys/devices/system/node/node1\n"
    assert guest.run("grep -c pagepact.test=1,2 /sys/firmware/dmi/tables/DMI") == "1\n"
    assert guest.run("cat /etc/pagepact/agent.conf") == "[agent]\n"
    assert "unmapped_page_control=5%" in guest.run("cat /proc/cmdline").split()
    assert 64 << 20 < guest.ram_resident_bytes() <= 1024 << 20
    guest.agent_conf = None
    guest.run("sync")
    guest.kill()
    guest.start()
    guest.wait_ready()
    assert guest.run("ls /etc/pagepact") == ""


def test_counted_instructions_make_time_repeatable(fresh_guest):
    guest = fresh_guest("icount", icount=True, agent=None)
    work = "import time\nstart = time.monotonic()\nsum(range(2000000))\nprint(time.monotonic() - start)"
    guest.python(work)
    first, second = (float(guest.python(work)) for _ in range(2))
    assert abs(first - second) <= 0.02 * first

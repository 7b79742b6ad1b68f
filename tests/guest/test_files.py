# SPDX-License-Identifier: Apache-2.0
"""Files opened by what the scan tells of them, in stock guests: the right one, or none, and nobody is disturbed."""
import errno
import json
import shutil
import statistics
from pathlib import Path

import pytest

from lab import images
from lab.guest import Guest
from lab.lab import build_directory
import matrix

KERNELS = matrix.kernels("6.12", others=("6.1",))
INSIDE = (Path(__file__).parent / "files_inside.py").read_text()
EXT4, XFS, BTRFS, EROFS, F2FS, VFAT, TMPFS = 0xEF53, 0x58465342, 0x9123683E, 0xE0F5E1E2, 0xF2F52010, 0x4D44, 0x01021994
GONE = {errno.ESTALE, errno.ENODEV}
# Spare partitions, which tests mount themselves.
SPARE = {"gpt": "/dev/vdb2", "dos": "/dev/vdc2"}
XFS_BYTES = 4 << 40  # four groups of 2^31 possible inodes: the later ones' numbers need more than 32 bits


class Machine:
    def __init__(self, kernel, directory):
        self.kernel = kernel
        disks = [images.make_partitions(directory / "gpt.raw", "gpt"), images.make_partitions(directory / "dos.raw", "dos"),
                 images.make_xfs(directory / "xfs.raw", XFS_BYTES), images.make_btrfs(directory / "btrfs.raw"),
                 self._make_erofs(directory), images.make_f2fs(directory / "f2fs.raw"),
                 images.make_vfat(directory / "vfat.raw")]
        tool = next(build_directory().glob("**/file-tool"))
        self.guest = Guest(f"files-{kernel}", directory, kernel=kernel, memory_mib=512, modules="many", extra_disks=disks,
                           files={"file-tool": tool}).start()

    @staticmethod
    def _make_erofs(directory):
        tree = directory / "erofs"
        tree.mkdir()
        for n in range(64):
            (tree / f"f{n}").write_bytes(f"pp:/mnt/erofs/f{n}\n".encode().ljust(3 * 4096, b"x"))
        return images.make_erofs(directory / "erofs.raw", tree)

    def prepare(self):
        self.guest.wait_ready()
        self.guest.run("""chmod +x /run/lab/file-tool
            while read -r device kind where; do
                mkdir -p /mnt/$where && mount -t $kind /dev/$device /mnt/$where || exit 1
            done <<-end
            vdb1 ext4 gpt
            vdc1 ext4 dos
            vdd xfs xfs
            vde btrfs btrfs
            vdf erofs erofs
            vdg f2fs f2fs
            vdh vfat vfat
            end""")

    def stop(self):
        self.guest.kill()

    def call(self, name, *args, seconds=120):
        return json.loads(self.guest.python(INSIDE, {"call": name, "args": args}, seconds))


@pytest.fixture(scope="module")
def machines():
    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("QEMU is not installed")
    with matrix.machines("files", KERNELS, Machine) as made:
        yield made


@pytest.fixture(params=KERNELS)
def machine(request, machines):
    yield machines[request.param]
    assert machines[request.param].guest.check_kernel_log() == []


def assert_found(expected, found, magic):
    """Each file once, by its own inode, and opened for reading only."""
    for name, who in expected.items():
        assert name in found, (name, sorted(found))
        file = found[name]
        assert file["status"] == 0 and file["magic"] == magic and not file["writable"]
        assert (file["st_dev"], file["st_ino"]) == (who["st_dev"], who["st_ino"]), name
        assert file["pages"] > 0


@pytest.mark.parametrize("where, magic", (("gpt", EXT4), ("dos", EXT4), ("xfs", XFS), ("btrfs", BTRFS), ("f2fs", F2FS),
                                          ("vfat", VFAT)))
def test_files_are_found_and_their_pages_can_be_evicted(machine, where, magic):
    paths = [f"/mnt/{where}/{n}" for n in ("one", "two")]
    assert_found(*machine.call("find", *paths), magic)
    evicted, = machine.call("evict", paths[0])
    # vfat has a page behind the end.
    assert evicted["status"] == 0 and evicted["before"] in (64, 65) and evicted["after"] == 0


def test_erofs(machine):
    assert_found(*machine.call("find_read", "/mnt/erofs/f1", "/mnt/erofs/f63"), EROFS)


def test_xfs_inode_numbers_beyond_32_bits(machine):
    machine.guest.run("cd /mnt/xfs && mkdir -p 1 2 3 4 5 6 7 8")
    expected, found = machine.call("find", *(f"/mnt/xfs/{n}/file" for n in range(1, 9)))
    assert max(who["st_ino"] for who in expected.values()) >= 1 << 32
    assert_found(expected, found, XFS)


def test_btrfs_subvolumes_with_equal_inode_numbers(machine):
    """Not mounted themselves, and one a snapshot: its file has even the generation of the first one's."""
    assert len(set(machine.call("btrfs_make", "/mnt/btrfs"))) == 1
    names = [f"/mnt/btrfs/{name}/file" for name in ("a", "b", "snap")]
    expected, found = machine.call("find_read", *names)
    assert_found(expected, found, BTRFS)
    assert len({who["st_dev"] for who in expected.values()}) == 3
    # The top is mounted nowhere, two subvolumes are.
    machine.guest.run("umount /mnt/btrfs; mkdir -p /mnt/a /mnt/b; mount -o subvol=a /dev/vde /mnt/a;"
                      "mount -o subvol=b /dev/vde /mnt/b")
    try:
        machine.guest.run("cat /mnt/a/file /mnt/b/file >/dev/null")
        found = machine.call("scanned")
        assert {found[name]["st_ino"] for name in names[:2]} == {expected[names[0]]["st_ino"]}
        assert len({found[name]["st_dev"] for name in names[:2]}) == 2
    finally:
        machine.guest.run("umount /mnt/a /mnt/b; mount /dev/vde /mnt/btrfs")


def test_btrfs_with_more_subvolumes_than_are_tried(machine):
    assert "/mnt/btrfs/a/file" in machine.call("many_volumes", "/mnt/btrfs", 80)


def test_overlay_files_are_found_below(machine):
    real, found, left = machine.call("overlay", "/mnt/gpt", "/mnt/dos")
    assert_found(real, found, EXT4)
    assert [1, 0] in left or [4, 0] in left, left


def test_loop_device(machine):
    expected, found, major, image = machine.call("loop", "/mnt/gpt")
    assert_found(expected, found, EXT4)
    assert major == 7 and image == [[EXT4, 0]]


def test_device_mapper(machine):
    expected, found, blocks = machine.call("device_mapper", SPARE["gpt"])
    assert_found(expected, found, EXT4)
    assert_device(blocks)


def assert_device(blocks):
    opened, evicted = blocks
    assert opened["status"] == 0 and not opened["writable"] and opened["pages"] >= 200
    assert evicted["before"] > evicted["after"] and evicted["after"] < 100


@pytest.mark.parametrize("device", ("/dev/vdb1", "/dev/vdc1", "/dev/vdd"))
def test_block_devices(machine, device):
    assert_device(machine.call("bdev", device))


def test_what_is_not_on_the_list_is_refused(machine):
    machine.guest.run("echo x >/tmp/file; echo x >/run/file")
    assert machine.call("refused", "/tmp/file", "/run/file") == [[TMPFS, errno.EOPNOTSUPP]] * 2
    (_, proc), (_, sysfs) = machine.call("refused", "/proc/version", "/sys/kernel/mm/transparent_hugepage/enabled")
    assert proc == sysfs == errno.EOPNOTSUPP
    assert machine.call("refused", "/mnt/gpt") == [[EXT4, errno.EOPNOTSUPP]]


def test_an_inode_number_that_is_used_again(machine):
    files, new, number, device = machine.call("reused", "/mnt/gpt")
    assert [file["status"] for file in files] == [errno.ESTALE]
    assert new["status"] == 0 and (new["st_ino"], new["st_dev"]) == (number, device)


def test_an_inode_number_of_generation_0_that_is_used_again(machine):
    """The root image's files have generation 0, and a handle with that opens whatever is there now."""
    machine.guest.run("test -e /usr/share/common-licenses/GPL-2")
    files, new, number, device = machine.call("reused", "/usr/share/common-licenses", "/usr/share/common-licenses/GPL-2")
    assert [(file["generation"], file["status"]) for file in files] == [(0, errno.ESTALE)]
    assert new["status"] == 0 and new["generation"] != 0 and (new["st_ino"], new["st_dev"]) == (number, device)


def test_a_deleted_file_is_left_to_its_holder(machine):
    assert machine.call("deleted", "/mnt/gpt") == [errno.ESTALE]


def test_a_lease_is_not_broken(machine):
    held, heard, kept, after = machine.call("leased", "/mnt/gpt")
    assert held == [errno.EBUSY] and heard == [] and kept and after == 0


def test_unmounting_right_after_a_batch(machine):
    before, gone, again, after = machine.call("unmounted", SPARE["dos"], "/mnt/spare")
    assert before["status"] == 0 and after["status"] == 0
    assert gone and set(gone) <= GONE and set(again) <= GONE


@pytest.mark.parametrize("as_root", (False, True))
def test_mounted_in_another_namespace_only(machine, as_root):
    found, again = machine.call("elsewhere", SPARE["dos"], as_root)
    assert found["status"] == again["status"] == 0


def test_below_a_file_system_that_hangs(machine):
    alone, seconds, beside = machine.call("below_fuse", SPARE["dos"])
    assert alone == [errno.EOPNOTSUPP] and seconds < 20
    assert beside == 0


def test_cost_is_measured(machine, record_testsuite_property):
    for where in ("gpt", "xfs", "btrfs", "f2fs", "vfat"):
        nsec = machine.call("cost", f"/mnt/{where}")
        record_testsuite_property(f"file_open_usec_{where}_{machine.kernel}", statistics.median(nsec) / 1000)
        assert statistics.median(nsec) < 20e6
    nsec = machine.call("cost_read", "/mnt/erofs")
    record_testsuite_property(f"file_open_usec_erofs_{machine.kernel}", statistics.median(nsec) / 1000)


def test_memory_is_small(machine, record_testsuite_property):
    """The tool has a table of 3 MiB besides, which the agent has not."""
    rss = machine.call("memory_of_tool")
    record_testsuite_property(f"file_tool_rss_bytes_{machine.kernel}", rss)
    assert rss < 8 << 20

# SPDX-License-Identifier: Apache-2.0
"""The guests' disk and kernels, made once: a Debian 12 root on a partitioned raw image, and stock Debian kernels.

A kernel package is downloaded and unpacked, never installed: installing one would change the boot of this machine.
"""
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

from lab import cache
from lab.say import step

MIB = 1 << 20
PARTITION_OFFSET = MIB

# gcc, git and python3 are there for their bulk: the demo reads 300 MiB of files that a person knows by name.
ROOT = {
    "recipe": 3,
    "suite": "bookworm",
    "mirror": os.environ.get("PAGEPACT_LAB_MIRROR", ""),
    "packages": ["gcc", "g++", "python3", "git", "util-linux", "e2fsprogs", "procps", "kmod"],
    "size_bytes": 2048 * MIB,
}

# Debian's meta packages; the release that they stand for today is recorded beside the kernel.
KERNELS = {"6.1": "linux-image-amd64", "6.12": "linux-image-6.12-amd64"}

# Asked for by name; what they depend on comes from modules.dep.
BOOT_MODULES = ["virtio_pci", "virtio_blk", "virtio_console", "virtio_balloon", "crc32c_generic", "ext4"]
EXTRA_MODULES = ["xfs", "virtio_mem"]
# With what these ask the kernel for by name: character sets, a checksum. They cost a guest 8 MiB of kernel memory.
MANY_MODULES = ["btrfs", "erofs", "overlay", "loop", "nls_cp437", "nls_ascii", "vfat", "crc32_generic", "f2fs", "fuse",
                "dm_mod"]
INITRAMFS = {"recipe": 5, "boot": BOOT_MODULES, "extra": EXTRA_MODULES, "many": MANY_MODULES}


def _run(*argv, **options):
    done = subprocess.run(argv, capture_output=True, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} failed ({done.returncode}): {done.stderr.strip()[-2000:]}")
    return done.stdout


def _partition_table(image, size_bytes):
    """One Linux partition from 1 MiB to the end, as fdisk would write it."""
    first, count = PARTITION_OFFSET // 512, (size_bytes - PARTITION_OFFSET) // 512
    no_chs = b"\xfe\xff\xff"
    entry = b"\x80" + no_chs + b"\x83" + no_chs + struct.pack("<II", first, count)
    with open(image, "r+b") as disk:
        disk.seek(440)
        disk.write(b"PAGE\0\0" + entry + bytes(48) + b"\x55\xaa")


def make_tree(tree, packages):
    """A Debian root file system with these packages, below `tree`."""
    mirror = [ROOT["mirror"]] if ROOT["mirror"] else []
    _run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}",
         "--aptopt=Apt::Install-Recommends false", ROOT["suite"], str(tree), *mirror)
    (tree / "etc/hostname").write_text("pagepact-lab\n")
    for cached in ("var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(tree / cached, ignore_errors=True)


def disk_from_tree(tree, image, size_bytes):
    """The raw disk image whose one partition has the files of `tree`, which is gone then."""
    with open(image, "wb") as disk:
        disk.truncate(size_bytes)
    # Nothing may write to the file system behind a scenario's back: no lazy initialisation in the guest.
    _run("mkfs.ext4", "-q", "-F", "-L", "root", "-d", str(tree),
         "-E", f"offset={PARTITION_OFFSET},lazy_itable_init=0,lazy_journal_init=0",
         str(image), f"{(size_bytes - PARTITION_OFFSET) // 1024}k")
    _partition_table(image, size_bytes)
    shutil.rmtree(tree)


def _build_root(work):
    step("preparing, once: a Debian 12 root filesystem (about two minutes)")
    make_tree(work / "tree", ROOT["packages"])
    step("preparing, once: its disk image")
    disk_from_tree(work / "tree", work / "root.raw", ROOT["size_bytes"])


def root_image():
    """The raw image that all guests share; nobody writes to it."""
    return cache.made("root", ROOT, _build_root) / "root.raw"


def _newest_release(meta):
    depends = _run("apt-cache", "depends", "--no-recommends", "--no-suggests", meta)
    releases = re.findall(r"Depends: (linux-image-\d\S+)", depends)
    if not releases:
        raise RuntimeError(f"apt knows no kernel behind {meta}; try `apt-get update`")
    return releases[0]


def unpack(find_package, work, tree):
    """The files of the Debian package that find_package() names, below `tree`; never installed."""
    try:
        _run("apt-get", "download", find_package(), cwd=work)
    except RuntimeError:
        _run("apt-get", "update")
        _run("apt-get", "download", find_package(), cwd=work)
    deb, = work.glob("*.deb")
    _run("dpkg", "-x", str(deb), str(tree))
    deb.unlink()


def _load_order(modules, wanted):
    """Files of the modules in an order in which insmod takes them."""
    depends = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        name, _, needs = line.partition(":")
        depends[name] = needs.split()
    by_name = {re.sub(r"\.ko(\.xz)?$", "", Path(f).name).replace("-", "_"): f for f in depends}
    order = []

    def add(file):
        # modules.dep names the nearest dependency first.
        for need in reversed(depends[file]):
            add(need)
        if file not in order:
            order.append(file)

    for name in wanted:
        if name in by_name:  # else built into this kernel
            add(by_name[name])
    return order


def _copy_module(source, target):
    if source.suffix == ".xz":
        target.write_bytes(subprocess.run(["xz", "-dc", str(source)], check=True, capture_output=True).stdout)
    else:
        shutil.copy(source, target)


def _initramfs(modules, work):
    tree = work / "initramfs"
    for folder in ("bin", "modules", "proc", "sys", "dev", "run", "root", "lab"):
        (tree / folder).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin/busybox")
    (tree / "bin/sh").symlink_to("busybox")
    boot = _load_order(modules, BOOT_MODULES)
    extra = [f for f in _load_order(modules, EXTRA_MODULES) if f not in boot]
    many = [f for f in _load_order(modules, MANY_MODULES) if f not in boot + extra]
    for name, files in (("boot", boot), ("extra", extra), ("many", many)):
        plain = [re.sub(r"\.xz$", "", Path(f).name) for f in files]
        for source, target in zip(files, plain):
            _copy_module(modules / source, tree / "modules" / target)
        (tree / "modules" / name).write_text("".join(f"{target}\n" for target in plain))
    archive(tree, work / "initramfs.cpio")
    shutil.rmtree(tree)


def archive(tree, target):
    """A cpio archive as the kernel unpacks it; several may follow each other in one file."""
    names = sorted(str(p.relative_to(tree)) for p in tree.rglob("*"))
    with open(target, "wb") as out:
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"], check=True, cwd=tree, stdout=out,
                       input="".join(f"{n}\n" for n in names).encode())


def _build_kernel(meta):
    def build(work):
        step(f"preparing, once: the stock kernel of {meta}")
        unpack(lambda: _newest_release(meta), work, work / "tree")
        vmlinuz, = (work / "tree/boot").glob("vmlinuz-*")
        release = vmlinuz.name.removeprefix("vmlinuz-")
        modules = work / "tree/lib/modules" / release
        _run("depmod", "-b", str(work / "tree"), release)
        _initramfs(modules, work)
        shutil.move(vmlinuz, work / "vmlinuz")
        (work / "release").write_text(release)
        shutil.rmtree(work / "tree")
    return build


def kernel(version="6.1"):
    """The directory with vmlinuz, initramfs.cpio and release of a stock Debian kernel."""
    inputs = dict(INITRAMFS, meta=KERNELS[version])
    return cache.made(f"kernel-{version}", inputs, _build_kernel(KERNELS[version]))


def kernel_release(version="6.1"):
    return (kernel(version) / "release").read_text()


def available(version):
    """Whether apt offers this kernel here."""
    try:
        return bool(_newest_release(KERNELS[version]))
    except RuntimeError:
        return False


def _sparse(path, size_bytes):
    with open(path, "wb") as disk:
        disk.truncate(size_bytes)
    return path


def make_ext4(path, size_bytes=512 * MIB):
    """An empty ext4 on a raw image; small ones, too, have blocks of a page, which are those that can be placed."""
    _run("mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0",
         str(_sparse(path, size_bytes)))
    return path


def make_xfs(path, size_bytes=512 * MIB):
    """An empty xfs on a raw image, for Guest(extra_disks=[path], modules=True); its page cache uses large folios."""
    _run("mkfs.xfs", "-q", "-f", str(_sparse(path, size_bytes)))
    return path


def make_btrfs(path, size_bytes=256 * MIB):
    """An empty btrfs on a raw image, for modules="many"; subvolumes are made in the guest, by ioctl."""
    _run("mkfs.btrfs", "-q", "-f", str(_sparse(path, size_bytes)))
    return path


def make_erofs(path, tree):
    """An erofs, not compressed, of the files below `tree`."""
    _run("mkfs.erofs", str(path), str(tree))
    return path


def make_f2fs(path, size_bytes=128 * MIB):
    """An empty f2fs on a raw image, for modules="many"."""
    _run("mkfs.f2fs", "-q", "-f", str(_sparse(path, size_bytes)))
    return path


def make_vfat(path, size_bytes=64 * MIB):
    """An empty vfat on a raw image, for modules="many"."""
    _run("mkfs.vfat", str(_sparse(path, size_bytes)))
    return path


def make_partitions(path, label, size_bytes=192 * MIB, count=2):
    """A disk with partitions of 64 MiB, by a table of the kind `label`, "gpt" or "dos"; each has an empty ext4."""
    _sparse(path, size_bytes)
    table = f"label: {label}\n" + "size=64MiB\n" * count
    _run("sfdisk", "-q", str(path), input=table)
    for n in range(count):
        _run("mkfs.ext4", "-q", "-F", "-E", f"offset={(1 + 64 * n) * MIB},lazy_itable_init=0,lazy_journal_init=0",
             str(path), "64M")
    return path

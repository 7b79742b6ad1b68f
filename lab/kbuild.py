# SPDX-License-Identifier: Apache-2.0
"""The disk of a guest that builds a kernel: Debian's linux-source package and what its build needs, made once.

The configuration is fixed, and all that a build makes before the first object (`make prepare scripts`) has been made
when the image was, by the same compiler: a guest compiles the objects of TARGETS and does nothing else.

    guest = lab.guest("alpha", base=kbuild.image())
    guest.python(source("build.py"), {"tree": kbuild.TREE, "targets": kbuild.TARGETS})
"""
import shutil
import subprocess

from lab import cache, images
from lab.say import step

PACKAGE = "linux-source-6.1"
TREE = f"/usr/src/{PACKAGE}"
# 64-bit, several CPUs, files and a network: the smallest configuration (allnoconfig) with what most files are about.
OPTIONS = ["64BIT", "SMP", "BLOCK", "NET", "INET", "EXT4_FS", "PRINTK", "MULTIUSER", "PROC_FS", "SYSFS", "BUG"]
# One build: of several parts of the kernel, so that it reads what a build reads.
TARGETS = ["lib/radix-tree.o", "mm/memory.o", "kernel/fork.o", "fs/namei.o", "lib/bitmap.o", "mm/filemap.o"]
QUICK_TARGETS = ["lib/ctype.o", "lib/bitmap.o"]
# Whatever a build would otherwise take from its surroundings.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "KBUILD_BUILD_TIMESTAMP": "1",
               "KBUILD_BUILD_USER": "lab", "KBUILD_BUILD_HOST": "lab"}
INPUTS = {
    "recipe": 1,
    "package": PACKAGE,
    "packages": ["gcc", "make", "bc", "flex", "bison", "libelf-dev", "libssl-dev", "perl", "python3", "util-linux",
                 "e2fsprogs", "procps", "kmod"],
    "options": OPTIONS,
    "size_bytes": 3584 << 20,
}


def _configure(tree):
    """What a guest would do before its first object; here, and natively: it is not what is measured."""
    commands = ["make -s allnoconfig", "./scripts/config " + " ".join(f"-e {name}" for name in OPTIONS),
                "make -s olddefconfig", "make -s -j2 prepare scripts"]
    done = subprocess.run(["chroot", tree, "/bin/sh", "-ec", f"cd {TREE}\n" + "\n".join(commands)], env=ENVIRONMENT,
                          capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the kernel tree could not be configured: {done.stderr[-2000:]}")


def _build(work):
    step("preparing, once: a Debian 12 root filesystem with a kernel's source (about two minutes)")
    tree = work / "tree"
    images.make_tree(tree, INPUTS["packages"])
    images.unpack(lambda: PACKAGE, work, work / "package")
    archive, = (work / "package/usr/src").glob(f"{PACKAGE}.tar.*")
    subprocess.run(["tar", "-xf", archive, "-C", tree / "usr/src"], check=True)
    shutil.rmtree(work / "package")
    _configure(tree)
    step("preparing, once: its disk image")
    images.disk_from_tree(tree, work / "root.raw", INPUTS["size_bytes"])


def image():
    """The raw image that guests boot from; nobody writes to it."""
    return cache.made("kbuild", INPUTS, _build) / "root.raw"

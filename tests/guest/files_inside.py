# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest for test_files.py: calls ARGS["call"] with ARGS["args"], and prints its result as JSON.

Each file that a test lays begins with "pp:" and a name, by which it is known again in what file-tool opened.
"""
import contextlib
import ctypes
import errno
import fcntl
import json
import os
import signal
import struct
import subprocess
import time

PAGE = 4096
MARK = b"pp:"
BTRFS_IOC_SNAP_CREATE, BTRFS_IOC_SUBVOL_CREATE = 0x50009401, 0x5000940E
DM_DEV_CREATE, DM_DEV_REMOVE, DM_DEV_SUSPEND, DM_TABLE_LOAD = 0xC138FD03, 0xC138FD04, 0xC138FD06, 0xC138FD09
libc = ctypes.CDLL(None, use_errno=True)


def run(*argv, **options):
    return subprocess.run(argv, check=True, capture_output=True, text=True, **options).stdout


class Tool:
    """file-tool, spoken to line by line; whatever it does takes less than `seconds`, or it hangs."""

    def __init__(self, seconds=40):
        self.seconds = seconds
        self.child = subprocess.Popen(["/run/lab/file-tool"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()

    def ask(self, line):
        self.child.stdin.write(line.encode() + b"\n")
        self.child.stdin.flush()
        # The last resort against a test that hangs with the tool.
        signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError(line)))
        signal.alarm(self.seconds)
        answer = json.loads(self.child.stdout.readline())
        signal.alarm(0)
        return answer

    def learn(self, *paths):
        for path in paths:
            assert self.ask(f"peek {path}")["status"] == 0, path
        if not paths:
            assert self.ask("scan")["status"] == 0

    def open(self, command="open"):
        answer = self.ask(command)
        assert answer["begin"] == 0
        return answer["files"]


def laid(files):
    """{name: what came of it} of the files of ours that could be opened."""
    found = {}
    for file in files:
        head = bytes.fromhex(file.pop("head", ""))
        if head.startswith(MARK):
            found[head[len(MARK):].split(b"\n")[0].decode()] = file
    return found


def lay(path, name, pages=4):
    with open(path, "wb") as file:
        file.write(MARK + name.encode() + b"\n")
        file.truncate(pages * PAGE)
        file.flush()
        os.fsync(file.fileno())
    return read(path)


def read(path):
    with open(path, "rb") as file:
        file.read()
        info = os.fstat(file.fileno())
    return {"st_dev": info.st_dev, "st_ino": info.st_ino}


def kernel_device(path):
    """Of the super block, from mountinfo, in the kernel's encoding."""
    with open("/proc/self/mountinfo") as mounts:
        for line in mounts:
            fields = line.split()
            if fields[4] == path:
                major, minor = map(int, fields[2].split(":"))
                return major << 20 | minor
    raise LookupError(path)


def mount(device, where, *options):
    os.makedirs(where, exist_ok=True)
    run("mount", *options, device, where)
    return where


def scanned():
    with Tool() as tool:
        tool.learn()
        return laid(tool.open())


def find(*paths):
    """Lay a file at each path, and look for all by scan."""
    expected = {path: lay(path, path) for path in paths}
    return expected, scanned()


def find_read(*paths):
    """As find(), of files that are there already and begin with their path."""
    expected = {path: read(path) for path in paths}
    return expected, scanned()


def evict(path):
    lay(path, path, 64)
    with Tool() as tool:
        tool.learn(path)
        return tool.open("evict")


def cost(folder, count=64):
    """Nanoseconds to open each of `count` files once more, of those that were opened before."""
    for n in range(count):
        lay(f"{folder}/cost-{n}", f"cost-{n}", 1)
    with Tool() as tool:
        tool.learn(*(f"{folder}/cost-{n}" for n in range(count)))
        tool.open()
        files = tool.open()
    assert [file["status"] for file in files] == [0] * count
    for n in range(count):
        os.unlink(f"{folder}/cost-{n}")
    return sorted(file["nsec"] for file in files)


def cost_read(folder):
    with Tool() as tool:
        tool.learn(*(f"{folder}/{name}" for name in os.listdir(folder)))
        tool.open()
        return sorted(file["nsec"] for file in tool.open())


def refused(*paths):
    """What opening these files says; they are learned by looking at them, not by scan."""
    with Tool() as tool:
        tool.learn(*paths)
        return [(file["magic"], file["status"]) for file in tool.open()]


# ---------------------------------------------------------------------- file systems

def btrfs_volume(folder, name, source=None):
    parent = os.open(folder, os.O_RDONLY)
    fd = os.open(source, os.O_RDONLY) if source else 0
    fcntl.ioctl(parent, BTRFS_IOC_SNAP_CREATE if source else BTRFS_IOC_SUBVOL_CREATE,
                bytearray(struct.pack("=q4088s", fd, name.encode())))
    os.close(parent)
    if source:
        os.close(fd)


def btrfs_make(top):
    """Two subvolumes and a snapshot of the first, each with a file of the same inode number."""
    for name in ("a", "b"):
        btrfs_volume(top, name)
        lay(f"{top}/{name}/file", f"{top}/{name}/file")
    os.sync()
    btrfs_volume(top, "snap", f"{top}/a")
    with open(f"{top}/snap/file", "r+b") as file:
        file.write(MARK + f"{top}/snap/file\n".encode())
        os.fsync(file.fileno())
    return [os.stat(f"{top}/{name}/file").st_ino for name in ("a", "b", "snap")]


def many_volumes(top, count):
    """The last of them is beyond what is tried."""
    os.mkdir(f"{top}/many")
    for n in range(count):
        btrfs_volume(f"{top}/many", f"v{n}")
    lay(f"{top}/many/v{count - 1}/file", "last")
    lay(f"{top}/a/file", f"{top}/a/file")
    return sorted(scanned())


def overlay(lower, upper):
    """A file of the lower layer, and one of the upper, both read through the overlay."""
    for path in (f"{lower}/low", f"{upper}/dir/high", f"{upper}/work", "/mnt/over"):
        os.makedirs(os.path.dirname(path) if path.endswith("h") else path, exist_ok=True)
    lay(f"{lower}/low/below", "below")
    run("mount", "-t", "overlay", "-o", f"lowerdir={lower}/low,upperdir={upper}/dir,workdir={upper}/work", "overlay",
        "/mnt/over")
    try:
        read("/mnt/over/below")
        lay("/mnt/over/above", "above")
        real = {"below": read(f"{lower}/low/below"), "above": read(f"{upper}/dir/above")}
        with Tool() as tool:
            tool.learn()
            found = laid(tool.open())
            files = tool.open("evict")
        left = [[file["before"], file["after"]] for file in files if file.get("st_ino") == real["below"]["st_ino"]]
        return real, found, left
    finally:
        run("umount", "/mnt/over")


def loop(folder):
    """A file system in a file: its file's pages, and those of the file that it is in."""
    image = f"{folder}/image"
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    run("mkfs.ext4", "-q", image)
    mount(image, "/mnt/loop", "-o", "loop")
    try:
        expected, found = find("/mnt/loop/inside")
        return expected, found, os.major(os.stat("/mnt/loop").st_dev), refused(image)
    finally:
        run("umount", "/mnt/loop")


def dm(control, code, name, target=b""):
    room = 312 + len(target)
    head = struct.pack("=IIIIIIiIIIQ128s129s7x", 4, 0, 0, room, 312, 1 if target else 0, 0, 0, 0, 0, 0, name.encode(), b"")
    buffer = bytearray(head + target)
    fcntl.ioctl(control, code, buffer)


def device_mapper(device):
    """A linear map of a disk that has an ext4."""
    with open(f"/sys/class/block/{os.path.basename(device)}/size") as size:
        sectors = int(size.read())
    target = struct.pack("=QQiI16s", 0, sectors, 0, 0, b"linear") + f"{device} 0".encode().ljust(64, b"\0")
    with open("/dev/mapper/control", "r+b", 0) as control:
        dm(control, DM_DEV_CREATE, "pp")
        dm(control, DM_TABLE_LOAD, "pp", target)
        dm(control, DM_DEV_SUSPEND, "pp")  # without its flag: resume
        try:
            mount("/dev/dm-0", "/mnt/dm")
            expected, found = find("/mnt/dm/mapped")
            blocks = bdev("/dev/dm-0")
            run("umount", "/mnt/dm")
        finally:
            dm(control, DM_DEV_REMOVE, "pp")
    return expected, found, blocks


def bdev(device):
    """The pages of a block device that is mounted: as the scan finds them, and evicted."""
    with open(device, "rb") as node:
        node.read(256 * PAGE)
        rdev = os.fstat(node.fileno()).st_rdev
        with Tool() as tool:
            tool.learn()
            opened, evicted = tool.open(), tool.open("evict")
    number = os.major(rdev) << 20 | os.minor(rdev)
    return [file for files in (opened, evicted) for file in files
            if file["magic"] == 0x62646576 and file["inode"] == number]


# ---------------------------------------------------------------------- trouble

def reused(folder, old=None):
    """What the scan knew is deleted, and its inode number taken over by another file, which is cached, too."""
    if old is None:
        old = f"{folder}/old"
        lay(old, "old")
    number = read(old)["st_ino"]
    device = os.stat(old).st_dev
    made = []
    with Tool() as tool:
        tool.learn(old)
        os.unlink(old)
        while not made or os.stat(made[-1]).st_ino != number:
            made.append(f"{folder}/new-{len(made)}")
            assert len(made) < 4096, "the inode number is not used again"
            with open(made[-1], "w"):
                pass
        lay(made[-1], "new")
        files = tool.open()
        # And the new one is found as itself.
        tool.learn()
        found = laid(tool.open())
    for path in made:
        os.unlink(path)
    return files, found.get("new"), number, device


def deleted(folder):
    """Deleted while it is open elsewhere: its pages stay, and the scan finds them."""
    path = f"{folder}/deleted"
    lay(path, "deleted")
    with open(path, "rb") as holder, Tool() as tool:
        os.unlink(path)
        tool.learn()
        number = os.fstat(holder.fileno()).st_ino
        return [file["status"] for file in tool.open() if file["inode"] == number and file["magic"] == 0xEF53]


def leased(folder):
    path, heard = f"{folder}/leased", []
    lay(path, "leased")
    fd = os.open(path, os.O_RDONLY)
    signal.signal(signal.SIGIO, lambda *_: heard.append(1))
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    with Tool() as tool:
        tool.learn()
        number = os.fstat(fd).st_ino
        held = [file["status"] for file in tool.open() if file["inode"] == number and file["magic"] == 0xEF53]
        lease = fcntl.fcntl(fd, fcntl.F_GETLEASE)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        os.close(fd)
        after = laid(tool.open()).get("leased")
    return held, heard, lease == fcntl.F_WRLCK, after and after["status"]


def unmounted(device, where):
    """Unmounted while the tool that has just opened files there lives on."""
    mount(device, where)
    lay(f"{where}/file", "unmounted")
    number = kernel_device(where)
    with Tool() as tool:
        tool.learn()
        before = laid(tool.open()).get("unmounted")
        run("umount", where)
        gone = [file["status"] for file in tool.open() if file["device"] == number]
        # The same super block's number, and another kernel object.
        mount(device, where)
        again = [file["status"] for file in tool.open() if file["device"] == number]
        read(f"{where}/file")
        tool.learn()
        after = laid(tool.open()).get("unmounted")
        run("umount", where)
    return before, gone, again, after


@contextlib.contextmanager
def namespace(script):
    """A shell in a mount namespace of its own, which says "ready" when it has come so far."""
    child = subprocess.Popen(["unshare", "-m", "sh", "-ec", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"ready\n"
        yield child
    finally:
        child.kill()
        child.wait()


def elsewhere(device, as_root):
    """Mounted in another mount namespace only; there below the root directory, or below an overlay that is one."""
    mount(device, "/mnt/prepare")
    lay("/mnt/prepare/file", "elsewhere")
    number = kernel_device("/mnt/prepare")
    run("umount", "/mnt/prepare")
    script = f"""
        mount {device} /mnt/prepare
        cat /mnt/prepare/file >/dev/null
        echo ready
        exec sleep 1000"""
    if as_root:
        script = f"""
            mount -t tmpfs tmpfs /mnt/prepare
            cd /mnt/prepare
            mkdir up work merged
            mount -t overlay -o lowerdir=/,upperdir=up,workdir=work overlay merged
            mkdir merged/data
            mount {device} merged/data
            cat merged/data/file >/dev/null
            echo ready
            exec chroot merged sleep 1000"""
    with Tool() as tool:
        with namespace(script) as child:
            deadline = time.monotonic() + 20
            while run("cat", f"/proc/{child.pid}/comm").strip() != "sleep":
                assert time.monotonic() < deadline
            tool.learn()
            found = laid(tool.open()).get("elsewhere")
            again = laid(tool.open()).get("elsewhere")
        deadline = time.monotonic() + 20
        # The namespace, and with it the mount, ends a moment after its last process.
        while any(file["status"] == 0 for file in tool.open() if file["device"] == number):
            assert time.monotonic() < deadline, "the mount is held"
        return found, again


def fuse_serve(fd):
    """A FUSE daemon with one directory in its root directory, "d"; names are valid for no time."""
    def attributes(node):
        return struct.pack("=QQQQQQIIIIIIIIII", node, 0, 0, 0, 0, 0, 0, 0, 0, 0o40755, 2, 0, 0, 0, PAGE, 0)

    while True:
        try:
            request = os.read(fd, 1 << 20)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            continue
        opcode, unique, node = struct.unpack_from("=IQQ", request, 4)
        error, answer = 0, b""
        if opcode == 26:  # FUSE_INIT
            answer = struct.pack("=IIIIHHIIHHI7I", 7, 31, 0, 0, 8, 8, 1 << 16, 1, 16, 0, 0, *[0] * 7)
        elif opcode == 1 and request[40:].split(b"\0")[0] == b"d":  # FUSE_LOOKUP
            answer = struct.pack("=QQQQII", 2, 0, 0, 0, 0, 0) + attributes(2)
        elif opcode == 1:
            error = -errno.ENOENT
        elif opcode == 3:  # FUSE_GETATTR
            answer = struct.pack("=QII", 0, 0, 0) + attributes(node)
        elif opcode in (2, 36, 42):  # FUSE_FORGET, FUSE_INTERRUPT, FUSE_BATCH_FORGET
            continue
        elif opcode not in (27, 28, 29):  # FUSE_OPENDIR, FUSE_READDIR, FUSE_RELEASEDIR
            error = -errno.ENOSYS
        elif opcode == 27:
            answer = bytes(16)
        os.write(fd, struct.pack("=IiQ", 16 + len(answer), error, unique) + answer)


def below_fuse(device):
    """Mounted below a FUSE file system whose daemon has stopped; then elsewhere, too."""
    os.makedirs("/mnt/fuse", exist_ok=True)
    fd = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0"
    if libc.mount(b"pp", b"/mnt/fuse", b"fuse", 0, options.encode()):
        raise OSError(ctypes.get_errno(), "mount")
    daemon = os.fork()
    if daemon == 0:
        fuse_serve(fd)
        os._exit(0)
    os.close(fd)
    try:
        run("mount", device, "/mnt/fuse/d")
        lay("/mnt/fuse/d/file", "below-fuse")
        number = kernel_device("/mnt/fuse/d")
        os.kill(daemon, signal.SIGSTOP)
        with Tool() as tool:
            tool.learn()
            start = time.monotonic()
            alone = {file["status"] for file in tool.open() if file["device"] == number}
            seconds = time.monotonic() - start
            mount(device, "/mnt/beside")
            beside = laid(tool.open()).get("below-fuse")
            run("umount", "/mnt/beside")
        return sorted(alone), seconds, beside and beside["status"]
    finally:
        os.kill(daemon, signal.SIGKILL)
        os.waitpid(daemon, 0)
        run("umount", "-l", "/mnt/fuse")


def memory_of_tool():
    with Tool() as tool:
        tool.learn()
        tool.open()
        with open(f"/proc/{tool.child.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


print(json.dumps(globals()[ARGS["call"]](*ARGS["args"])))  # noqa: F821, the command server's

# SPDX-License-Identifier: Apache-2.0
"""One guest: QEMU on a stock Debian kernel, with a command channel into it.

    guest = Guest("alpha", directory)      # a qcow2 overlay over the shared root image
    guest.start()                          # returns at once; several guests boot side by side
    guest.wait_ready()
    guest.run("uname -r")
    guest.kill()
"""
import base64
import os
import platform
import re
import shutil
import subprocess
import time
from pathlib import Path

from lab import images, process
from lab.channel import Channel, CommandFailed
from lab.qmp import Qmp, QmpError

INSIDE = Path(__file__).parent / "inside"
AGENT_PORT = "org.pagepact.agent.0"
LAB_PORT = "org.pagepact.lab.0"
READY_SECONDS = 90

# What must never be in a guest's log, whatever was done to it.
TROUBLE = re.compile(r"Oops|BUG:|kernel BUG|general protection|Call Trace|soft lockup|hard LOCKUP|blocked for more than"
                     r"|rcu.*(stall|starved)|Kernel panic|Out of memory|Bad page state|EXT4-fs error|I/O error"
                     r"|XFS.*(corrupt|shutdown)")


def accel():
    """("kvm" or "tcg", why): a CPU without vmx or svm hangs under -accel kvm though /dev/kvm opens."""
    if platform.machine() != "x86_64":
        return "tcg", "not an x86-64 machine"
    with open("/proc/cpuinfo") as info:
        if not re.search(r"^flags.*\b(vmx|svm)\b", info.read(), re.M):
            return "tcg", "the CPU offers neither vmx nor svm"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg", "/dev/kvm cannot be opened"
    return "kvm", "vmx or svm, and /dev/kvm opens"


class GuestDied(ConnectionError):
    """QEMU has ended, or the guest with it; the end of what both of them wrote."""


class Guest:
    """Options: memory_mib; plugged_mib, more memory, by a virtio-mem device; kernel, "6.1" or "6.12"; disk_format, "qcow2" (an overlay) or "raw" (a full copy);
    extra_disks, paths of raw images that appear as vdb, vdc...; shared_disks, raw images that appear after these,
    read only and past the host's cache; agent, the path of pagepact-agent or None; agent_port, serial and balloon,
    whether these devices exist; modules, True for xfs and virtio-mem, "many" for all of images.MANY_MODULES, too; append, more words
    for the kernel's command line; files, {name under /run/lab: path on the host}; base, another raw root image; smp,
    virtual CPUs; parallel, whether these run at the same time under emulation, too; icount, time that counts instructions while the one CPU runs, which is emulated always; smbios,
    strings of type 11; numa, whether memory is in two nodes (two CPUs in one each);
    agent_conf, the text of /etc/pagepact/agent.conf; agent_arguments, the agent's words; agent_alone, whether it is started though there is no port;
    traced, whether the kernel's trace of its page cache is on, which measures.look() needs and which costs each page that comes or goes;
    balloon_options, more words for the balloon's device; inside, words before QEMU's command line (memory_group.py);
    incoming, whether it waits for a state to go on from (frozen.py); cached_disks, raw images that appear after all
    others, read only and by the host's cache; ram_folder, a tmpfs whose files are its memory, at multiples of 2 MiB, in place of
    memfds (which QEMU 7.2 maps at any page, so that no huge page fits); reboots, whether QEMU goes on when the machine is reset."""

    def __init__(self, name, directory, *, memory_mib=1024, plugged_mib=0, kernel="6.1", disk_format="qcow2", extra_disks=(),
                 agent=None, agent_port=True, balloon=True, modules=False, append="", files=None, base=None, smp=1,
                 parallel=False, icount=False, smbios=(), numa=False, agent_conf=None, agent_arguments="", agent_alone=False,
                 shared_disks=(), traced=True, balloon_options="", inside=(), incoming=False, cached_disks=(), ram_folder=None, reboots=False):
        if icount and smp != 1:
            raise ValueError("instructions are counted on one CPU only")
        self.name = name
        self.directory = Path(directory) / name
        self.memory_mib = memory_mib
        self.plugged_mib = plugged_mib
        self.kernel = kernel
        self.disk_format = disk_format
        self.extra_disks = [Path(p) for p in extra_disks]
        self.shared_disks = [Path(p) for p in shared_disks]
        self.agent = agent
        self.agent_port = agent_port
        self.balloon = balloon
        self.modules = modules
        self.append = append
        self.files = dict(files or {})
        self.base = Path(base or images.root_image())
        self.smp = smp
        self.parallel = parallel
        self.icount = icount
        self.smbios = list(smbios)
        self.numa = numa
        self.agent_conf = agent_conf
        self.agent_arguments = agent_arguments
        self.agent_alone = agent_alone
        self.traced = traced
        self.balloon_options = balloon_options
        self.cached_disks = [Path(p) for p in cached_disks]
        self.ram_folder = ram_folder
        self.reboots = reboots
        self.inside = list(inside)
        self.incoming = incoming
        self.disk = self.directory / f"disk.{disk_format}"
        self.console = self.directory / "console.log"
        self.qemu_log = self.directory / "qemu.log"
        self.qmp_path = self.directory / "qmp.sock"  # pagepactd's: a QMP socket serves one client
        self.lab_qmp_path = self.directory / "lab-qmp.sock"
        self.agent_path = self.directory / "agent.sock"
        self.lab_path = self.directory / "lab.sock"
        self.process = None
        self._channel = None
        self._qmp = None

    # ------------------------------------------------------------------ life

    def _make_disk(self):
        if self.disk.exists():
            return
        if self.disk_format == "raw":
            subprocess.run(["cp", "--sparse=always", "--reflink=auto", self.base, self.disk], check=True)
        else:
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", self.base, self.disk],
                           check=True)

    def _make_initrd(self):
        """The kernel's initramfs followed by an archive of what may change between two starts."""
        tree = self.directory / "initrd"
        shutil.rmtree(tree, ignore_errors=True)
        (tree / "lab").mkdir(parents=True)
        shutil.copy(INSIDE / "init", tree / "init")
        for name in ("stage2", "server.py"):
            shutil.copy(INSIDE / name, tree / "lab" / name)
        files = dict(self.files)
        if self.agent:
            files["pagepact-agent"] = self.agent
        for name, source in files.items():
            shutil.copy(source, tree / "lab" / name)
        if self.agent_conf is not None:
            (tree / "lab" / "agent.conf").write_text(self.agent_conf)
        if self.agent_arguments:
            (tree / "lab" / "agent-arguments").write_text(f"{self.agent_arguments}\n")
        if self.agent_alone:
            (tree / "lab" / "agent-alone").touch()
        more = self.directory / "more.cpio"
        images.archive(tree, more)
        initrd = self.directory / "initrd.cpio"
        initrd.write_bytes((images.kernel(self.kernel) / "initramfs.cpio").read_bytes() + more.read_bytes())
        shutil.rmtree(tree)
        more.unlink()
        return initrd

    def _device_arguments(self):
        argv = ["-blockdev", f"driver=file,node-name=disk0-file,filename={self.disk}",
                "-blockdev", f"driver={self.disk_format},node-name=disk0-node,file=disk0-file",
                "-device", "virtio-blk-pci,id=disk0,drive=disk0-node,serial=disk0"]
        shared, cached = "read-only=on,cache.direct=on,", "read-only=on,"
        kinds = (self.extra_disks, ""), (self.shared_disks, shared), (self.cached_disks, cached)
        disks = [(path, how) for paths, how in kinds for path in paths]
        for n, (path, how) in enumerate(disks, 1):
            argv += ["-blockdev", f"driver=file,{how}node-name=disk{n}-file,filename={path}",
                     "-blockdev", f"driver=raw,{how}node-name=disk{n}-node,file=disk{n}-file",
                     "-device", f"virtio-blk-pci,id=disk{n},drive=disk{n}-node,serial=disk{n}"]
        if self.balloon:
            argv += ["-device", ",".join(["virtio-balloon-pci,id=balloon0,free-page-reporting=on",
                                          *filter(None, [self.balloon_options])])]
        argv += ["-device", "virtio-serial-pci,id=serial0",
                 "-chardev", f"socket,id=lab,path={self.lab_path},server=on,wait=off",
                 "-device", f"virtserialport,bus=serial0.0,chardev=lab,name={LAB_PORT},id=lab-port"]
        if self.agent_port:
            argv += ["-chardev", f"socket,id=agent,path={self.agent_path},server=on,wait=off",
                     "-device", f"virtserialport,bus=serial0.0,chardev=agent,name={AGENT_PORT},id=agent-port"]
        return argv

    def _cpu_arguments(self):
        if self.icount:
            return ["-accel", "tcg,thread=single,tb-size=128", "-icount", "shift=3,sleep=on", "-rtc", "clock=vm",
                    "-cpu", "max", "-smp", "1"]
        # CPUs that share a cache are not in two nodes: the kernel complains.
        smp = f"{self.smp},sockets={self.smp}" if self.numa else str(self.smp)
        if accel()[0] == "kvm":
            return ["-accel", "kvm", "-cpu", "host", "-smp", smp]
        # Several CPUs take turns in one thread, unless a scenario is about their being parallel: up to QEMU 8.0 a CPU may
        # go on with what another one's kernel has just patched over, and that guest crashes (one in a hundred; mended
        # by QEMU's deba78709ae8). QEMU's default of 1 GiB for translated code would sit beside the figures.
        thread = "multi" if self.smp == 1 or self.parallel else "single"
        return ["-accel", f"tcg,thread={thread},tb-size=128", "-cpu", "max", "-smp", smp]

    def _backend(self, ident, size_mib):
        kind = "memory-backend-memfd"
        if self.ram_folder:
            kind = f"memory-backend-file,mem-path={self.ram_folder},align=2M"
        return f"{kind},id={ident},size={size_mib}M,share=on"

    def _memory_arguments(self):
        argv = ["-m", str(self.memory_mib)]
        if self.plugged_mib:
            # The region begins where the rest ends, at a multiple of the kernel's memory blocks.
            argv = ["-m", f"{self.memory_mib},maxmem={2 * (self.memory_mib + self.plugged_mib)}M",
                    "-object", self._backend("plugged", self.plugged_mib),
                    "-device", f"virtio-mem-pci,id=plug0,memdev=plugged,requested-size={self.plugged_mib}M"]
        if not self.numa:
            return argv + ["-object", self._backend("ram", self.memory_mib), "-machine", "pc,memory-backend=ram"]
        argv += ["-machine", "pc"]
        for node, size in enumerate((self.memory_mib - self.memory_mib // 2, self.memory_mib // 2)):
            argv += ["-object", self._backend(f"ram{node}", size), "-numa", f"node,nodeid={node},memdev=ram{node}" + (f",cpus={node}" if self.smp == 2 else "")]
        return argv

    def _arguments(self):
        # no_timer_check: on a busy host an emulated timer may be late, and the kernel then gives up at boot.
        # Where a CPU hangs that runs beside another is known by what the kernel tells on the way.
        words = ["console=ttyS0", f"loglevel={7 if self.parallel else 4}", "panic=-1", "oops=panic", "no_timer_check", "lab.root=vda1",
                 self.append]
        if not self.traced:
            words.append("lab.untraced")
        if self.modules or self.plugged_mib:
            words.append("lab.extra_modules")
        if self.plugged_mib:
            words.append("memhp_default_state=online_movable")
        if self.modules == "many":
            words.append("lab.many_modules")
        argv = [*self.inside, "qemu-system-x86_64", *self._cpu_arguments(), *self._memory_arguments(),
                "-name", self.name, "-nodefaults", "-no-user-config", "-display", "none",
                *([] if self.reboots else ["-no-reboot"]),
                "-kernel", images.kernel(self.kernel) / "vmlinuz", "-initrd", self._make_initrd(),
                "-append", " ".join(words).strip(),
                "-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console",
                "-qmp", f"unix:{self.qmp_path},server=on,wait=off",
                "-qmp", f"unix:{self.lab_qmp_path},server=on,wait=off"]
        for text in self.smbios:
            argv += ["-smbios", f"type=11,value={text.replace(',', ',,')}"]
        if self.incoming:
            argv += ["-incoming", "defer"]
        return argv + self._device_arguments()

    def start(self):
        """Start QEMU; the disk is kept from an earlier start. Call it from the thread that lives as long as the lab."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._make_disk()
        self.process = process.start(self._arguments(), self.qemu_log)
        self.started = time.monotonic()
        return self

    def _attempt_channel(self):
        if self.process.poll() is not None:
            raise self._died()
        if not self.lab_path.exists():
            return None
        self._channel = self._channel or Channel(self.lab_path)
        try:
            ident = self._channel.send("python", "print('ready')")
            return self._channel.wait(ident, 2)[1] == "ready\n"
        except (TimeoutError, ConnectionError, FileNotFoundError):
            return None

    def _died(self):
        process.wait_for(lambda: self.process.poll() is not None, 10, f"QEMU of {self.name}, which closed its sockets, ends")
        return GuestDied(f"QEMU of {self.name} ended with {self.process.returncode}:\n{process.tail(self.qemu_log)}"
                         f"{process.tail(self.console, 60)}")

    def wait_ready(self, seconds=READY_SECONDS):
        """Wait for the command server; the seconds from start() to there."""
        process.wait_for(self._attempt_channel, seconds, f"guest {self.name} boots")
        self.boot_seconds = time.monotonic() - self.started
        return self.boot_seconds

    def kill(self):
        """What pulling the plug does; the directory and the disk stay."""
        process.stop(self.process)
        for attached in (self._channel, self._qmp):
            if attached:
                attached.close()
        self._channel = self._qmp = None
        for path in (self.qmp_path, self.lab_qmp_path, self.agent_path, self.lab_path):
            path.unlink(missing_ok=True)

    def reset(self, seconds=10):
        """What the reset button does; wait_ready() waits for the boot. Only of a guest that `reboots`."""
        self.qmp.events.clear()
        self.qmp("system_reset")

        def is_reset():
            self.qmp("query_status")
            return any(event["event"] == "RESET" for event in self.qmp.events)
        process.wait_for(is_reset, seconds, f"guest {self.name} is reset")
        self.started = time.monotonic()

    @property
    def pid(self):
        return self.process.pid

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    # ------------------------------------------------------------------ inside the guest

    def begin(self, command, stdin=b""):
        """Start a shell command line; finish() waits for it."""
        return self._send("shell", command, stdin=base64.b64encode(stdin).decode())

    def begin_python(self, source, args=None):
        return self._send("python", source, args=args)

    def _send(self, kind, code, **request):
        try:
            return self._channel.send(kind, code, **request)
        except ConnectionError:
            raise self._died() from None

    def done(self, ident, seconds):
        """Whether finish() has nothing to wait for any more, within the time."""
        try:
            return self._channel.done(ident, seconds)
        except ConnectionError:
            raise self._died() from None

    def finish(self, ident, seconds=60):
        try:
            code, out, err = self._channel.wait(ident, seconds)
        except ConnectionError:
            raise self._died() from None
        if code:
            raise CommandFailed(code, out, err)
        return out

    def run(self, command, seconds=60, stdin=b""):
        """What a shell command line prints; CommandFailed when its exit code is not 0."""
        return self.finish(self.begin(command, stdin), seconds)

    def python(self, source, args=None, seconds=60):
        """What a Python program prints; it finds `args` as ARGS, and runs without a fresh interpreter."""
        return self.finish(self.begin_python(source, args), seconds)

    def push(self, content, path, mode="644"):
        self.run(f"cat >'{path}' && chmod {mode} '{path}'", stdin=content)

    def pull(self, path):
        return base64.b64decode(self.run(f"base64 -w0 '{path}'"))

    # ------------------------------------------------------------------ from outside

    @property
    def qmp(self):
        if self._qmp is None:
            self._qmp = Qmp(self.lab_qmp_path)
        return self._qmp

    def pause(self):
        self.qmp("stop")

    def cont(self):
        self.qmp("cont")

    def ram_files(self):
        """{inode: path} of the files that are the guest's memory: QEMU's memfds, or those of ram_folder."""
        names = ("/memfd:memory-backend-memfd", *([f"{self.ram_folder}/qemu_back_mem"] if self.ram_folder else []))
        found = {}
        for fd in Path(f"/proc/{self.pid}/fd").iterdir():
            if os.readlink(fd).startswith(names):
                found[os.stat(fd).st_ino] = fd
        if not found:
            raise RuntimeError("QEMU has no memfd")
        return found

    def ram_resident_bytes(self):
        """What the host holds of the guest's memory: blocks of QEMU's memfds."""
        return sum(os.stat(path).st_blocks * 512 for path in self.ram_files().values())

    def ram_mapped_bytes(self):
        """What of the guest's memory is in the host's memory, and not in its swap: what QEMU has mapped of its memfds."""
        total, ours = 0, False
        for line in Path(f"/proc/{self.pid}/smaps").read_text().splitlines():
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                ours = "/memfd:" in line
            elif ours and line.startswith("Rss:"):
                total += int(line.split()[1]) * 1024
        return total

    def storage_read_bytes(self):
        """What the kernel read from storage for this QEMU, read-ahead included."""
        text = Path(f"/proc/{self.pid}/io").read_text()
        return int(re.search(r"^read_bytes: (\d+)", text, re.M)[1])

    def whereabouts(self):
        """What is to be seen of a guest that does not answer: its CPUs' registers, and the console's end."""
        try:
            registers = self.qmp("human_monitor_command", command_line="info registers -a")
        except (OSError, QmpError) as error:
            registers = f"no registers: {error}\n"
        return registers + process.tail(self.console)

    def stuck_at(self):
        """Where its kernel says that a CPU was stuck, each time that it said so: "function+offset/size"."""
        with open(self.console, errors="replace") as log:
            return re.findall(r"soft lockup - CPU.*?RIP: 0010:(\S+)", log.read(), re.DOTALL)

    def virtual_disk_read_bytes(self):
        """What the guest asked its first disk for."""
        return self._block_statistics()["rd_bytes"]

    def virtual_disk_written_bytes(self):
        return self._block_statistics()["wr_bytes"]

    def _block_statistics(self):
        for device in self.qmp("query_blockstats"):
            if device.get("qdev", "").startswith("/machine/peripheral/disk0/"):
                return device["stats"]
        raise RuntimeError("no disk0")

    def check_kernel_log(self):
        """Lines of the console that tell of trouble; [] is the good answer."""
        with open(self.console, errors="replace") as log:
            found = [line.strip() for line in log if TROUBLE.search(line)]
        if self.alive:
            try:
                found += [line for line in self.run("dmesg").splitlines() if TROUBLE.search(line)]
            except (TimeoutError, ConnectionError, QmpError, CommandFailed) as error:
                found.append(f"dmesg could not be read: {error}")
        return found

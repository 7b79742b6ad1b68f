# SPDX-License-Identifier: Apache-2.0
"""A scenario's surroundings: a directory, guests, a pagepactd with its own configuration, and their end.

    with Lab() as lab:
        alpha = lab.guest("alpha")
        lab.wait_ready()
        lab.start_daemon()
        lab.pagepact("status")
"""
import copy
import fcntl
import functools
import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from lab import images, process, warm
from lab.guest import Guest

ROOT = Path(__file__).resolve().parent.parent
# Overlays have to lie on the disk's own file system: /tmp may be memory.
WORK = Path("/var/tmp")
PREFIX = "pagepact-lab-"


class PagepactFailed(Exception):
    def __init__(self, argv, code, err):
        super().__init__(f"pagepact {' '.join(argv)}: exit code {code}: {err.strip()}")
        self.code, self.err = code, err


def build_directory():
    return Path(os.environ.get("PAGEPACT_BUILD", ROOT / "build")).resolve()


def hidden_processes():
    """Names of processes that even root may not look at here (a sandbox's own): none of them opens the lab's images."""
    names = set()
    for process_directory in Path("/proc").glob("[0-9]*"):
        try:
            for fd in (process_directory / "fd").iterdir():
                os.readlink(fd)
        except PermissionError:
            names.add((process_directory / "comm").read_text().strip())
        except OSError:
            continue
    return sorted(names)


def _remove_stale():
    """Directories of labs that were killed: nobody holds their lock any more."""
    for old in WORK.glob(f"{PREFIX}*"):
        try:
            with open(old / "lock") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(old, ignore_errors=True)
        except OSError:
            continue


class Lab:
    """With private_image, guests share a copy of the root image that no other lab on this machine reads. quick asks
    scenarios that have one for their short form, seconds those that go on for some time for how long."""

    def __init__(self, private_image=False, quick=False, seconds=None):
        self.private_image = private_image
        self.quick = quick
        self.seconds = seconds
        self.build = build_directory()
        self.guests = {}
        self.daemon = None

    def __enter__(self):
        _remove_stale()
        self.directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=WORK))
        self._lock = open(self.directory / "lock", "w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        # The clean-up below has to run when the lab is asked to end, too.
        self._sigterm = signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(SystemExit(143)))
        return self

    def __exit__(self, *_):
        self.stop_daemon(signal.SIGKILL)
        for guest in self.guests.values():
            guest.kill()
        signal.signal(signal.SIGTERM, self._sigterm)
        shutil.rmtree(self.directory, ignore_errors=True)
        self._lock.close()

    # ------------------------------------------------------------------ guests

    @property
    def agent(self):
        return self.binary("pagepact-agent")

    def binary(self, name):
        """A program of the build, wherever its part of the tree puts it; None before it is built."""
        return next((p for p in (self.build / name, *self.build.glob(f"src/*/{name}")) if p.is_file()), None)

    @functools.cached_property
    def base(self):
        image = images.root_image()
        if not self.private_image:
            return image
        copy = self.directory / "base.raw"
        subprocess.run(["cp", "--sparse=always", image, copy], check=True)
        with open(copy, "r+b") as disk:
            os.fsync(disk.fileno())
            os.posix_fadvise(disk.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return copy

    def guest(self, name, **options):
        """Start a guest; wait_ready() waits for all of them."""
        options.setdefault("agent", self.agent)
        if "base" not in options:
            options["base"] = self.base
        guest = self.guests[name] = Guest(name, self.directory, **options)
        return guest.start()

    def wait_ready(self):
        for guest in self.guests.values():
            if guest.alive:
                guest.wait_ready()

    # ------------------------------------------------------------------ pagepact

    @property
    def config(self):
        return self.directory / "config"

    @property
    def runtime(self):
        return self.directory / "run"

    @property
    def daemon_log(self):
        return self.directory / "pagepactd.log"

    def write_config(self, act=True, domain=None, public=True, only=None, agents=True):
        """A configuration with all guests, or those named: the root image public, acting allowed unless act is False,
        and their agents unknown unless agents is True."""
        vms = self.config / "vms.d"
        shutil.rmtree(vms, ignore_errors=True)
        vms.mkdir(parents=True)
        images = {str(g.base) for g in self.guests.values()} if public else ()
        (self.config / "pagepact.conf").write_text(
            f"[pagepact]\npublic_images = {' '.join(sorted(images))}\n"
            f"trusted_processes = {' '.join(hidden_processes())}\n")
        for guest in self.guests.values():
            if only is not None and guest.name not in only:
                continue
            lines = ["[vm]", f"name = {guest.name}", f"qmp = {guest.qmp_path}", f"act = {'yes' if act else 'no'}"]
            if guest.agent_port and agents:
                lines.append(f"agent = serial:{guest.agent_path}")
            if domain:
                lines.append(f"domain = {domain}")
            (vms / f"{guest.name}.conf").write_text("\n".join(lines) + "\n")

    def lane(self, name):
        """The same guests, and another daemon beside this one's, with a configuration of its own."""
        lane = copy.copy(self)
        lane.directory, lane.daemon = self.directory / name, None
        lane.directory.mkdir()
        return lane

    def start_daemon(self, *options, write_config=True):
        """Start pagepactd and wait until its control socket answers."""
        if write_config:
            self.write_config()
        self.runtime.mkdir(exist_ok=True)
        argv = [self.binary("pagepactd"), "--config", self.config, "--runtime-dir", self.runtime,
                "--state-dir", self.directory / "state", *options]
        self.daemon = process.start(argv, self.daemon_log)
        process.wait_for(self._daemon_answers, 15, "pagepactd answers")

    def _daemon_answers(self):
        if self.daemon.poll() is not None:
            raise RuntimeError(f"pagepactd ended with {self.daemon.returncode}:\n{process.tail(self.daemon_log)}")
        try:
            return self.pagepact("version")
        except PagepactFailed:
            return None

    def stop_daemon(self, sig=signal.SIGTERM):
        process.stop(self.daemon, sig)
        self.daemon = None

    def stop_daemon_well(self, seconds):
        """The exit code of a daemon that is asked to end; it is not forced."""
        self.daemon.send_signal(signal.SIGTERM)
        code = self.daemon.wait(seconds)
        self.daemon = None
        return code

    def begin_pagepact(self, *argv):
        """Start the command line; finish_pagepact() waits for it."""
        argv = [str(a) for a in argv]
        full = [self.binary("pagepact"), "--socket", self.runtime / "control.sock", *argv, "--json"]
        child = subprocess.Popen([*map(str, full)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
        return argv, child

    def finish_pagepact(self, begun, seconds=60):
        argv, child = begun
        out, err = process.communicate(child, seconds)
        if child.returncode:
            raise PagepactFailed(argv, child.returncode, err)
        return json.loads(out)

    def pagepact(self, *argv, seconds=60):
        """What `pagepact ARGV --json` answers; PagepactFailed with its exit code."""
        return self.finish_pagepact(self.begin_pagepact(*argv), seconds)

    def wait_agents(self, seconds=40, only=None):
        """Wait until the daemon has a live agent in every guest that is alive, or those named."""
        alive = {g.name for g in self.guests.values() if g.alive} if only is None else set(only)

        def all_live():
            vms = self.pagepact("status")["vms"]
            return alive <= {vm["name"] for vm in vms if (vm.get("agent") or {}).get("state") == "live"}
        process.wait_for(all_live, seconds, "agents are live")

    def daemon_rss_bytes(self):
        with open(f"/proc/{self.daemon.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))

    def daemon_cpu_seconds(self):
        fields = Path(f"/proc/{self.daemon.pid}/stat").read_text().rpartition(")")[2].split()
        # proc(5): user and system time, its own and that of children that have ended.
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    # ------------------------------------------------------------------ the host's cache

    @property
    def images(self):
        """All image files that guests of this lab read."""
        return sorted({str(g.base) for g in self.guests.values()} | {str(g.disk) for g in self.guests.values()})

    def hold_host_cache(self):
        """A context in which the host keeps what it caches of the images; pagepact trims none of them meanwhile."""
        return warm.held(self.images)

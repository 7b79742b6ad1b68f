# SPDX-License-Identifier: Apache-2.0
"""Guests with a scripted balloon: QEMU answers for all else of the machine, and an agent says what it is told to."""
import contextlib
import ctypes
import itertools
import json
import os
import select
import socket
import struct
import threading
import time
from concurrent import futures
from pathlib import Path

import pytest

import daemon as d
from daemon import folder  # noqa: F401  (a fixture)
from lab import process, wire

MIB = 1 << 20
CAN = 127 | wire.CLEARS
_libc = ctypes.CDLL(None, use_errno=True)
# Each another for a while; 900 MiB is one step away from all of them, however many came before.
_sizes = itertools.cycle(range(1024, 1152, 2))


def punch(fd, offset, length):
    """FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE"""
    assert _libc.fallocate(fd, 3, ctypes.c_long(offset), ctypes.c_long(length)) == 0


class Balloon:
    """A QMP socket before a halted QEMU: it passes on what is asked, and plays the balloon itself.

    The guest follows its target by `rate` bytes a second, and the host sees it (a memfd of the guest's size is this
    process's, whose socket it is) if the guest is `honest`.
    """

    def __init__(self, directory, name, shared=True, balloon=True, deflate=False, image=None):
        self.memory = next(_sizes) * MIB
        self.real, self.path = Path(directory) / f"{name}.real", Path(directory) / f"{name}.qmp"
        argv = ["qemu-system-x86_64", "-accel", "tcg", "-nodefaults", "-display", "none", "-S", "-m",
                f"{self.memory // MIB}", "-object", f"memory-backend-memfd,id=m,size={self.memory},share=on",
                "-machine", "pc,memory-backend=m", "-qmp", f"unix:{self.real},server=on,wait=off"]
        if balloon:
            argv += ["-device", "virtio-balloon-pci,id=b,free-page-reporting=on" + ",deflate-on-oom=on" * deflate]
        if image:
            argv += ["-blockdev", f"driver=file,node-name=f,filename={image},locking=off", "-blockdev",
                     "driver=raw,node-name=n,file=f", "-device", "virtio-blk-pci,id=d,drive=n,serial=d"]
        self.qemu = process.start(argv, Path(directory) / f"{name}.qemu.log")
        process.wait_for(self._greets, 20, "QEMU greets")
        self.ram = os.memfd_create("ram") if shared else None
        self.held = 0
        if shared:
            os.ftruncate(self.ram, self.memory)
        self.has = balloon
        self.size = self.target = self.memory
        self.moved = time.monotonic()
        self.rate, self.honest, self.claim, self.lowest = 2048 * MIB, True, None, 0
        self.migration, self.running, self.mute, self.cut = {}, True, False, None
        self.cuts = "balloon"  # the command whose answer is
        self.targets, self.commands, self.interval, self.stats = [], [], 0, {}
        self.after = {}  # {command: what is done once, after its answer}
        self.delays = {}  # {command: seconds that its answer takes, once}
        self.client = None
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen(1)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _greets(self):
        with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            client.settimeout(10)
            client.connect(str(self.real))
            return client.recv(1)
        return None

    # ------------------------------------------------------------ the guest

    def hold(self, size):
        """The host holds so much of the guest's memory, from now on. Blocks of a memfd: one page stands for 4 KiB."""
        if size < self.held:
            punch(self.ram, size, self.held - size)
        elif size > self.held:
            os.posix_fallocate(self.ram, self.held, size - self.held)
        self.held = size

    def follow(self):
        now = time.monotonic()
        room, self.moved = int((now - self.moved) * self.rate) // 4096 * 4096, now
        goal = max(self.target, self.lowest)
        if self.size > goal:
            self.size = max(goal, self.size - room)
        else:
            self.size = min(goal, self.size + room)

    def _answer(self, name, arguments):
        """The scripted answer, or None: QEMU's own."""
        if name == "query-balloon" and self.has:
            self.follow()
            return {"return": {"actual": self.claim if self.claim is not None else self.size}}
        if name == "balloon" and self.has:
            self.follow()
            self.target = arguments["value"]
            self.targets.append(self.target)
            return {"return": {}}
        if name == "query-status":
            return {"return": {"running": self.running, "singlestep": False,
                               "status": "running" if self.running else "paused"}}
        if name == "query-migrate":
            return {"return": self.migration}
        if name == "qom-get" and arguments["property"] == "guest-stats":
            return {"return": {"stats": self.stats, "last-update": int(time.time() * 10) if self.stats else 0}}
        if arguments.get("property") == "guest-stats-polling-interval":
            if name == "qom-set":
                self.interval = arguments["value"]
                return {"return": {}}
            return {"return": self.interval}
        return None

    def reset(self):
        """The guest has all of its memory, and QEMU tells what the driver wrote before, until that has something to do."""
        self.claim, self.size = self.size, self.memory
        self.emit("RESET", guest=True, reason="guest-reset")

    # ------------------------------------------------------------ the socket

    def emit(self, event, **data):
        with self.lock:
            self.client.sendall(json.dumps({"event": event, "data": data, "timestamp": {
                "seconds": 0, "microseconds": 0}}).encode() + b"\r\n")

    def _send(self, client, data, scripted):
        if scripted and self.cut is not None:
            data, self.cut = data[:self.cut], None
            with self.lock:
                client.sendall(data)
            raise ConnectionAbortedError
        with self.lock:
            client.sendall(data)

    def _line(self, client, upstream, line):
        request = json.loads(line)
        name = request["execute"]
        self.commands.append(name)
        time.sleep(self.delays.pop(name, 0))
        answer = self._answer(name, request.get("arguments") or {})
        if answer is None:
            upstream.sendall(line + b"\n")
            return
        answer["id"] = request["id"]
        self._send(client, json.dumps(answer).encode() + b"\r\n", name == self.cuts)
        self.after.pop(name, lambda: None)()

    def _serve(self, client, upstream):
        buffer = b""
        while not self.ended.is_set():
            ready, _, _ = select.select([client, upstream], [], [], 0.05)
            if self.mute:
                time.sleep(0.05)
                continue
            if upstream in ready:
                data = upstream.recv(65536)
                if not data:
                    return
                with self.lock:
                    client.sendall(data)
            if client in ready:
                data = client.recv(65536)
                if not data:
                    return
                buffer += data
                while b"\n" in buffer:
                    line, _, buffer = buffer.partition(b"\n")
                    if line.strip():
                        self._line(client, upstream, line)

    def _run(self):
        self.listener.settimeout(0.1)
        while not self.ended.is_set():
            try:
                client, _ = self.listener.accept()
            except TimeoutError:
                continue
            with client, socket.socket(socket.AF_UNIX) as upstream:
                self.client = client
                with contextlib.suppress(OSError):
                    upstream.connect(str(self.real))
                    self._serve(client, upstream)

    def stop(self):
        self.ended.set()
        self.thread.join(5)
        self.listener.close()
        process.stop(self.qemu)
        if self.ram is not None:
            os.close(self.ram)


class Plugged(Balloon):
    """A part of its memory is plugged in by a virtio-mem device, vm0, of which the guest can empty `loose` bytes."""

    BLOCK = 2 * MIB

    def __init__(self, directory, name, plugged=512 * MIB, **options):
        self.plugged = self.requested = self.most = plugged
        self.loose, self.requests, self.gone, self.late = 1 << 40, [], False, False
        super().__init__(directory, name, **options)
        self.base = self.memory
        self.memory += plugged  # all that the guest has

    def follow(self):
        """`size` is what the balloon leaves of the base memory, as QEMU has it; what is plugged in comes on top."""
        room = int((time.monotonic() - self.moved) * self.rate) // self.BLOCK * self.BLOCK
        super().follow()
        goes = min(max(self.plugged - self.requested, 0), room, self.loose)
        self.loose -= goes
        self.plugged += (0 if self.late else min(max(self.requested - self.plugged, 0), room)) - goes

    def _answer(self, name, arguments):
        if name == "query-memory-size-summary":
            self.follow()
            return {"return": {"base-memory": self.base, "plugged-memory": self.plugged}}
        if name == "query-memory-devices":
            self.follow()
            if self.gone:
                return {"return": []}
            data = {"id": "vm0", "memdev": "/objects/m0", "node": 0, "memaddr": 1 << 32, "block-size": self.BLOCK,
                    "max-size": self.most, "requested-size": self.requested, "size": self.plugged}
            return {"return": [{"type": "virtio-mem", "data": data}]}
        if name == "qom-set" and arguments["property"] == "requested-size":
            assert arguments["path"] == "/machine/peripheral/vm0" and arguments["value"] % self.BLOCK == 0
            self.requested = arguments["value"]
            self.requests.append(self.requested)
            return {"return": {}}
        return super()._answer(name, arguments)

    def reset(self):
        """QEMU unplugs all, and the guest's driver plugs in what is requested, while the balloon's says nothing yet."""
        self.claim, self.size, self.plugged = self.size, self.base, 0
        self.emit("RESET", guest=True, reason="guest-reset")


class Agent:
    """What an agent says of the guest's memory, and how it frees: `free(bytes)` is the answer, None is silence."""

    def __init__(self, needed=200 * MIB):
        self.values = {"needed_bytes": needed, "free_bytes": 100 * MIB}
        self.free = lambda size: wire.freed(size, cold=size)
        self.frees, self.mute, self.boot, self.can = [], False, b"a" * 16, CAN

    def __call__(self, agent, connection):
        for kind, ident, payload in agent.messages(connection):
            if self.mute:
                continue
            if kind == wire.WELCOME:
                connection.sendall(d.frame(wire.HELLO, ident, d.hello(capabilities=self.can, boot=self.boot)))
            elif kind in (wire.ASK, wire.LIMIT):
                connection.sendall(d.frame(wire.REPORT, ident, wire.report(**self.values)))
            elif kind == wire.FREE:
                self.frees.append(struct.unpack("<QII", payload)[0])
                answer = self.free(self.frees[-1])
                if answer is not None:
                    connection.sendall(d.frame(wire.FREED, ident, answer))
            else:
                agent.answer(connection, kind, ident)


class Guest:
    """A scripted guest, attached to a daemon."""

    def __init__(self, daemon, stack, name, agent=None, act=True, attach=True, kind=Balloon, **options):
        self.daemon, self.name, self.said = daemon, name, agent
        self.balloon = kind(daemon.directory, name, **options)
        stack.callback(self.balloon.stop)
        self.agent = None
        if agent:
            self.agent = d.FakeAgent(daemon.directory / f"{name}.agent", agent)
            stack.callback(self.agent.stop)
        if attach:
            self.attach(act)

    def attach(self, act=True):
        more = {"agent": f"serial:{self.agent.path}"} if self.agent else {}
        reply = self.daemon.call("attach", name=self.name, qmp=str(self.balloon.path), act=act, **more)
        assert "error" not in reply, reply
        self.ready()

    def ready(self):
        self.daemon.wait_vm(self.name, lambda vm: vm["state"] == "running")
        if self.agent:
            self.daemon.wait_agent(self.name, "live")

    def detach(self):
        return self.daemon.call("detach", seconds=20, vm=self.name)

    def call(self, size, seconds=40, **more):
        return self.daemon.call("balloon", seconds, vm=self.name, size=str(size), **more)

    def resize(self, size, **more):
        reply = self.call(size, **more)
        assert "error" not in reply, f"{reply}\n{self.daemon.log()[-3000:]}"
        return reply["parameters"]

    def begin(self, size, **more):
        """A resize under way, of which the first target was set: (client, targets so far)."""
        client = d.Client(self.daemon.socket)
        before = len(self.balloon.targets)
        client.send("balloon", vm=self.name, size=str(size), **more)
        process.wait_for(lambda: len(self.balloon.targets) > before, 10, "a target is set")
        return client

    def refused(self, size, code, *words, **more):
        before = list(self.balloon.targets)
        reply = self.call(size, **more)
        assert reply.get("error") == code, reply
        message = reply["parameters"]["message"]
        for word in words:
            assert word in message, message
        assert self.balloon.targets == before, "nothing was set"

    def status(self):
        return self.daemon.vm(self.name)["balloon"]

    def entry(self):
        path = self.daemon.run / "journal.d" / self.name
        try:
            found = list(path.parent.glob(f"{self.name}*"))
            return found[0].read_text() if found else None
        except FileNotFoundError:  # removed meanwhile
            return None


NAMES = iter([f"g{n}" for n in range(200)])  # threads take them


@pytest.fixture(scope="module")
def host(folder):  # noqa: F811
    """One daemon for all that does not kill it."""
    place = folder / "host"
    place.mkdir()
    daemon = d.Daemon(place)
    daemon.start()
    yield daemon
    daemon.stop()


BODIES = {}


def beside(*values):
    """The body runs with those of all other such tests of its file, on one daemon: none waits for another's trouble.

    It is given guest(agent, ...), which makes a guest that is detached in the end, and each of `values` in turn.
    """
    def made(body):
        for value in values or (None,):
            BODIES[body.__module__, body.__name__, value] = body
        if values:
            @pytest.mark.parametrize("value", values)
            def test(crowd, value):
                crowd[body.__name__, value].result(120)
        else:
            def test(crowd):
                crowd[body.__name__, None].result(120)
        test.__name__, test.__doc__ = body.__name__, body.__doc__
        return test
    return made


def run(host, body, value):
    made = []
    with contextlib.ExitStack() as stack:
        def guest(agent=None, **options):
            made.append(Guest(host, stack, next(NAMES), agent, **options))
            return made[-1]
        body(guest, *([] if value is None else [value]))
        for one in made:
            one.balloon.mute, one.balloon.running, one.balloon.migration = False, True, {}
            reply = one.detach()
            assert "error" not in reply or "no guest named" in reply["parameters"]["message"], reply


@pytest.fixture(scope="module")
def crowd(host, request):
    module = request.module.__name__
    wanted = {item.originalname for item in request.session.items if item.module.__name__ == module}
    with futures.ThreadPoolExecutor(10) as pool:
        yield {(name, value): pool.submit(run, host, body, value) for (where, name, value), body in BODIES.items()
               if where == module and name in wanted}


@pytest.fixture
def place(folder):
    """place(): a daemon of its own, and one guest with a file."""
    with contextlib.ExitStack() as stack:
        def make(name, more="", agent=None, kind=Balloon, wrapper=()):
            path = Path(folder) / name
            path.mkdir()
            daemon = d.Daemon(path)
            made = Guest(daemon, stack, "a", agent or Agent(), attach=False, kind=kind)
            daemon.add("a", made.balloon.path, made.agent.path, act=True, more=more)
            stack.callback(lambda: process.stop(daemon.process))
            daemon.start(wrapper)
            made.ready()
            return made
        yield make

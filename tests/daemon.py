# SPDX-License-Identifier: Apache-2.0
"""The real pagepactd in folders of its own, and the peers that the tests of trouble give it."""
import json
import os
import socket
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path

import pytest

from lab import process, wire
from lab.wire import DISK, FILE, HELLO, PING, PONG, SCAN, SCAN_END, WELCOME  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]

BUILD = Path(os.environ.get("PAGEPACT_BUILD", ROOT / "build"))
PAGEPACTD = os.environ.get("PAGEPACTD", str(BUILD / "src/host/pagepactd"))
PAGEPACT = os.environ.get("PAGEPACT", str(BUILD / "src/ctl/pagepact"))



@pytest.fixture(scope="module")
def folder():
    """Short enough for the paths of sockets, and open to a daemon that is not root."""
    path = Path(tempfile.mkdtemp(prefix="pp-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


class Client:
    """One connection to the control socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(path))
        self.buffer = b""

    def send(self, method, **parameters):
        self.socket.sendall(json.dumps({"method": method, "parameters": parameters}).encode() + b"\n")

    def line(self, seconds=10):
        """The next object, None at the end of the stream."""
        self.socket.settimeout(seconds)
        while b"\n" not in self.buffer:
            data = self.socket.recv(1 << 20)
            if not data:
                return None
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return json.loads(line)

    def reply(self, seconds=30):
        """What follows the progress."""
        while True:
            line = self.line(seconds)
            if not line or "continues" not in line:
                return line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


class Daemon:
    def __init__(self, directory):
        self.directory = Path(directory)
        self.etc, self.run, self.state = (self.directory / n for n in ("etc", "run", "state"))
        (self.etc / "vms.d").mkdir(parents=True)
        self.log_path = self.directory / "pagepactd.log"
        self.socket = self.run / "control.sock"
        self.process = None
        self.program = PAGEPACTD
        self.arguments = []

    def add(self, name, qmp, agent=None, act=False, more=""):
        lines = ["[vm]", f"qmp = {qmp}", f"act = {'yes' if act else 'no'}"]
        if agent:
            lines.append(f"agent = serial:{agent}")
        (self.etc / f"vms.d/{name}.conf").write_text("\n".join(lines + [more, ""]))
        return self

    def spawn(self, wrapper=()):
        self.process = process.start([*wrapper, self.program, "--config", self.etc, "--runtime-dir", self.run,
                                      "--state-dir", self.state, *self.arguments],
                                     self.log_path)
        return self.process

    def start(self, wrapper=()):
        self.spawn(wrapper)

        def answers():
            assert self.process.poll() is None, self.log()
            try:
                return self.call("version")
            except (FileNotFoundError, ConnectionRefusedError):
                return None
        process.wait_for(answers, 10, "pagepactd answers")
        return self

    def stop(self):
        """It ends well, or the test does not."""
        process.stop(self.process, 15)
        assert self.process.returncode == 0, self.log()

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def says(self, text, seconds=10):
        """Waits for a line of the log; returns it."""
        def found():
            return next((line for line in self.log().splitlines() if text in line), None)
        try:
            return process.wait_for(found, seconds, f"the log says {text!r}")
        except process.Deadline as error:
            raise AssertionError(f"{error}:\n{self.log()}") from None

    def call(self, method, seconds=10, **parameters):
        with Client(self.socket) as client:
            client.send(method, **parameters)
            return client.reply(seconds)

    def vm(self, name):
        return next(vm for vm in self.call("status")["parameters"]["vms"] if vm["name"] == name)

    def wait_vm(self, name, condition, seconds=10):
        def holds():
            vm = self.vm(name)
            return vm if condition(vm) else None
        try:
            return process.wait_for(holds, seconds, f"{name} is as it should be")
        except process.Deadline as error:
            raise AssertionError(f"{error}: {self.vm(name)}\n{self.log()}") from None

    def wait_agent(self, name, state, seconds=10):
        return self.wait_vm(name, lambda vm: (vm["agent"] or {}).get("state") == state, seconds)["agent"]

    def ctl(self, *arguments, seconds=60):
        return subprocess.run([PAGEPACT, "--socket", self.socket, *arguments], capture_output=True, text=True,
                              timeout=seconds)


class Qemu:
    """A QEMU without a guest, and halted unless it `runs` its firmware: all of QMP, in a tenth of a second."""

    def __init__(self, directory, name, image=None, balloon=True, runs=False, locking="auto"):
        self.path = Path(directory) / f"{name}.qmp"
        argv = ["qemu-system-x86_64", "-accel", "tcg", "-nodefaults", "-display", "none", "-m", "32",
                "-qmp", f"unix:{self.path},server=on,wait=off"]
        if image:
            argv += ["-blockdev", f"driver=file,node-name=f,filename={image},locking={locking}", "-blockdev",
                     "driver=raw,node-name=n,file=f", "-device", "virtio-blk-pci,id=d,drive=n,serial=d"]
        if not runs:
            argv.append("-S")
        if balloon:
            argv += ["-device", "virtio-balloon-pci,free-page-reporting=on"]
        self.process = process.start(argv, Path(directory) / f"{name}.log")
        process.wait_for(self.path.exists, 10, "QEMU listens")

    def stop(self):
        process.stop(self.process)


def frame(kind, ident, payload=b"", version=wire.VERSION):
    head = struct.pack("<IHHQI", 0x01504750, kind, version, ident, len(payload))
    return head + struct.pack("<I", zlib.crc32(head + payload)) + payload


def hello(version=wire.VERSION, boot=b"a" * 16, capabilities=63, missing=b""):
    return struct.pack("<IIQII16s32s64s192s", version, capabilities, 8192, 4096, 10, boot, b"0.1.0", b"6.1.0-fake",
                       missing)


SPOILED = 7  # superpages
SCAN_NOTHING = struct.pack("<14Q10Q4Q", *[0] * 27, SPOILED)


class FakeAgent:
    """Listens as QEMU's character device does, one connection at a time, and plays serve(connection) on each."""

    def __init__(self, path, serve):
        self.path, self.serve, self.ended = Path(path), serve, threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.listener.settimeout(0.1)
        self.served = 0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.ended.is_set():
            try:
                connection, _ = self.listener.accept()
            except TimeoutError:
                continue
            self.served += 1
            self.connection = connection
            with connection:
                connection.settimeout(0.1)
                try:
                    self.serve(self, connection)
                except OSError:
                    pass

    def hold(self):
        """Nothing more, until the test ends."""
        self.ended.wait()

    def requests(self, connection):
        """(type, id) of each whole frame of the host's."""
        for kind, ident, _ in self.messages(connection):
            yield kind, ident

    def messages(self, connection):
        """(type, id, payload) of each whole frame of the host's."""
        buffer = b""
        while not self.ended.is_set():
            while len(buffer) >= 24 and len(buffer) >= 24 + struct.unpack_from("<I", buffer, 16)[0]:
                length = struct.unpack_from("<I", buffer, 16)[0]
                _, kind, _, ident = struct.unpack_from("<IHHQ", buffer)
                payload, buffer = buffer[24:24 + length], buffer[24 + length:]
                yield kind, ident, payload
            try:
                data = connection.recv(65536)
            except TimeoutError:
                continue
            if not data:
                return
            buffer += data

    def answer(self, connection, kind, ident):
        """What a healthy agent with nothing to tell says."""
        if kind == WELCOME:
            connection.sendall(frame(HELLO, ident, hello()))
        elif kind in (PING, wire.HOLDS):
            connection.sendall(frame(PONG, ident))
        elif kind == SCAN:
            connection.sendall(frame(SCAN_END, ident, SCAN_NOTHING))

    def stop(self):
        self.ended.set()
        self.thread.join(5)
        self.listener.close()
        self.path.unlink(missing_ok=True)


def healthy(agent, connection):
    for kind, ident in agent.requests(connection):
        agent.answer(connection, kind, ident)


def timed(function, *arguments, **options):
    start = time.monotonic()
    result = function(*arguments, **options)
    return result, time.monotonic() - start

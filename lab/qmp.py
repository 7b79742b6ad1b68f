# SPDX-License-Identifier: Apache-2.0
"""A small QMP client: the lab's own, so that what pagepactd does by QMP is not measured by itself."""
import json
import socket
import time


# Commands whose names have no hyphens.
LISTENS_SECONDS = 1
PLAIN = ("qmp_capabilities", "system_reset")


class QmpError(Exception):
    pass


class Qmp:
    def __init__(self, path, seconds=10):
        self.events = []
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(seconds)
        self._connect(str(path), time.monotonic() + LISTENS_SECONDS)
        greeting = self._read(time.monotonic() + seconds)
        if "QMP" not in greeting:
            raise QmpError(f"not QMP: {greeting}")
        self("qmp_capabilities")

    def _connect(self, path, end):
        """A socket is there before QEMU listens on it."""
        while True:
            try:
                return self._socket.connect(path)
            except ConnectionRefusedError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def _read(self, end):
        while b"\n" not in self._buffer:
            self._socket.settimeout(max(0.01, end - time.monotonic()))
            data = self._socket.recv(1 << 20)
            if not data:
                raise QmpError("QEMU closed the connection")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    def __call__(self, command, seconds=20, **arguments):
        """Run one command; what QEMU answers, or QmpError."""
        end = time.monotonic() + seconds
        message = {"execute": command if command in PLAIN else command.replace("_", "-")}
        if arguments:
            message["arguments"] = {k.replace("_", "-"): v for k, v in arguments.items()}
        self._socket.settimeout(seconds)
        self._socket.sendall(json.dumps(message).encode() + b"\n")
        while True:
            answer = self._read(end)
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise QmpError(f"{command}: {answer['error']['desc']}")
            else:
                return answer["return"]

    def close(self):
        self._socket.close()

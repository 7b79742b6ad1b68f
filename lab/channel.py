# SPDX-License-Identifier: Apache-2.0
"""The host's end of the command server in a guest (inside/server.py)."""
import base64
import itertools
import json
import socket
import time


class CommandFailed(Exception):
    def __init__(self, code, out, err):
        super().__init__(f"exit code {code}\n{out[-1000:]}\n{err[-3000:]}")
        self.code, self.out, self.err = code, out, err


class Channel:
    def __init__(self, path):
        self._path = str(path)
        self._socket = None
        self._buffer = b""
        self._ids = itertools.count(1)
        self._answers = {}
        self._forgotten = set()

    def _connect(self):
        if self._socket is None:
            connected = socket.socket(socket.AF_UNIX)
            connected.connect(self._path)
            self._socket = connected

    def send(self, kind, code, **request):
        """Start something in the guest; the id that wait() takes."""
        self._connect()
        ident = f"{id(self)}-{next(self._ids)}"
        line = json.dumps(dict(request, id=ident, kind=kind, code=code)).encode() + b"\n"
        self._socket.settimeout(60)
        self._socket.sendall(line)
        return ident

    def _receive(self, end):
        self._socket.settimeout(max(0.01, end - time.monotonic()))
        data = self._socket.recv(1 << 20)
        if not data:
            raise ConnectionError("the guest's QEMU closed the command channel")
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            try:
                answer = json.loads(line)
            except ValueError:
                continue  # cut by a server that died
            if answer.get("id") in self._forgotten:
                self._forgotten.discard(answer["id"])
            else:
                self._answers[answer.get("id")] = answer

    def done(self, ident, seconds):
        """Whether wait() would return at once, within the time; other requests may go on between two such questions."""
        end = time.monotonic() + seconds
        try:
            while ident not in self._answers:
                self._receive(end)
        except TimeoutError:
            return False
        return True

    def wait(self, ident, seconds):
        """(code, stdout, stderr) of a request; TimeoutError when it is not done in time."""
        end = time.monotonic() + seconds
        try:
            while ident not in self._answers:
                self._receive(end)
        except TimeoutError:
            self._forgotten.add(ident)
            raise TimeoutError(f"the guest did not answer within {seconds} s") from None
        answer = self._answers.pop(ident)
        return answer["code"], base64.b64decode(answer["out"]).decode(errors="replace"), \
            base64.b64decode(answer["err"]).decode(errors="replace")

    def close(self):
        if self._socket is not None:
            self._socket.close()
            self._socket = None

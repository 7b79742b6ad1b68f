# SPDX-License-Identifier: Apache-2.0
"""A control socket that says what it is told to say, and keeps what it was asked."""
import json
import os
import socket
import tempfile
import threading


def reply(**parameters):
    """A reply line, from its parameters."""
    return (json.dumps({"parameters": parameters}) + "\n").encode()


def progress(**parameters):
    """A progress line, from its parameters."""
    return (json.dumps({"continues": True, "parameters": parameters}) + "\n").encode()


def error(code, message):
    """An error line."""
    return (json.dumps({"error": code, "parameters": {"message": message}}) + "\n").encode()


class FakeDaemon:
    """Serves one connection: reads the request line, then calls or sends the script.

    script: bytes to send, or a function that gets the connection. Without `hold` the connection
    is closed after the script; with it, it stays open and silent until the test ends. Without
    `read` the request is not read at all.
    """

    def __init__(self, script, hold=False, read=True):
        self.script = script
        self.read = read
        self.hold = hold
        self.request = None
        self.directory = tempfile.TemporaryDirectory(prefix="pagepact-ctl-")
        self.path = os.path.join(self.directory.name, "control.sock")
        self.ended = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(4)
        self.listener.settimeout(30)
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(self.path)  # Wakes the thread if nobody came.
        self.thread.join(10)
        self.listener.close()
        self.directory.cleanup()

    def serve(self):
        """One connection."""
        try:
            connection, _ = self.listener.accept()
        except OSError:
            return
        with connection:
            try:
                if self.read:
                    self.request = json.loads(connection.makefile("rb").readline() or b"null")
                if callable(self.script):
                    self.script(connection)
                else:
                    connection.sendall(self.script)
            except OSError:
                pass  # The client gave up: that is what some tests are about.
            if self.hold:
                self.ended.wait(30)

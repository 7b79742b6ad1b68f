# SPDX-License-Identifier: Apache-2.0
"""The command server inside a lab guest.

One JSON object a line both ways over a virtio-serial port. Each request is served by a forked child, so several run at
once; Python requests run in that child itself, because starting an interpreter takes a second under emulation.
Answers carry the request's id: whoever reconnects can drop what was meant for its predecessor.
"""
import base64
import contextlib
import ctypes
import errno
import fcntl
import io
import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import time
import traceback

PORT = "/dev/virtio-ports/org.pagepact.lab.0"
# Imported by the parent so that no request pays for it.
PRELOADED = (ctypes, errno, fcntl, mmap, struct, time)


def run_shell(request):
    stdin = base64.b64decode(request.get("stdin", ""))
    done = subprocess.run(["/bin/sh", "-c", request["code"]], input=stdin, capture_output=True, cwd="/")
    return done.returncode, done.stdout, done.stderr


def run_python(request):
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            exec(compile(request["code"], "request", "exec"), {"__name__": "__main__", "ARGS": request.get("args")})
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
            code = 1
    return code, out.getvalue().encode(), err.getvalue().encode()


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]


def serve(request, port):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code, out, err = (run_python if request["kind"] == "python" else run_shell)(request)
    answer = {"id": request["id"], "code": code, "out": base64.b64encode(out).decode(),
              "err": base64.b64encode(err[-65536:]).decode()}
    with open("/run/lab/answer.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_all(port, json.dumps(answer).encode() + b"\n")


def accept(line, port):
    try:
        request = json.loads(line)
        request["id"], request["code"]
    except (ValueError, KeyError, TypeError):
        return  # the tail of a request whose sender died
    if os.fork() == 0:
        status = 1
        try:
            serve(request, port)
            status = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(status)


def main():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with open("/proc/self/oom_score_adj", "w") as adjust:
        adjust.write("-900")
    port = os.open(PORT, os.O_RDWR)
    pending = b""
    while True:
        data = os.read(port, 65536)
        if not data:  # nobody on the host's side
            time.sleep(0.05)
            pending = b""
            continue
        pending += data
        *lines, pending = pending.split(b"\n")
        for line in lines:
            accept(line, port)


sys.exit(main())

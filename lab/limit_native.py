# SPDX-License-Identifier: Apache-2.0
"""The limit on this machine itself, without emulation: over files of its own, and above what is cached here now.

Mapped shared memory counts as mapped files in the kernel's counters, and other guests' memory is that: a run during which it
changed much is done again.
"""
import json
import os
import re
import subprocess
import sys

from lab import process, workload
from lab.report import MIB, mib
from lab.say import step

ROOM_BYTES = 128 * MIB
SLACK_BYTES = 64 * MIB
FILE_BYTES = 128 * MIB
READ_BYTES = 2048 * MIB
SAMPLE_SECONDS = 0.002
DISTURBED_BYTES = 8 * MIB
ATTEMPTS = 5


def run_here(program, args):
    """Start lab/inside/PROGRAM on this machine."""
    source = f"ARGS = {args!r}\n{workload.source(program)}"
    return subprocess.Popen([sys.executable, "-I", "-B", "-c", source], stdout=subprocess.PIPE, text=True)


def finish(begun, seconds=300):
    out, _ = begun.communicate(timeout=seconds)
    if begun.returncode:
        raise RuntimeError(f"a program of lab/inside ended with {begun.returncode}")
    return json.loads(out)


def counters():
    with open("/proc/vmstat") as vmstat:
        return {name: int(value) for name, value in map(str.split, vmstat)}


def unmapped():
    found = counters()
    return (found["nr_inactive_file"] + found["nr_active_file"] - found["nr_mapped"]) * 4096


def _make_files(folder, size):
    folder.mkdir()
    piece = bytearray(os.urandom(MIB))
    paths = [str(folder / str(n)) for n in range(size // FILE_BYTES)]
    for path in paths:
        with open(path, "wb", 0) as out:
            for n in range(FILE_BYTES // MIB):
                piece[:8] = n.to_bytes(8, "little")
                out.write(piece)
            os.fsync(out.fileno())
    return paths


def _forget(paths):
    for path in paths:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _watching(agent, log):
    """1 when the agent watches the cache, -1 when it says that it cannot here."""
    if agent.poll() is not None or "Cannot hold a limit" in process.tail(log):
        return -1
    for fd in os.listdir(f"/proc/{agent.pid}/fd"):
        try:
            target = os.readlink(f"/proc/{agent.pid}/fd/{fd}")
        except FileNotFoundError:
            continue
        if re.search(r"bpf[-_](link|raw)", target):
            return 1
    return 0


def _attempt(lab, paths):
    """{"limit", "peak", "rate", "evicted", "disturbed"}, or None where the agent cannot watch this kernel."""
    limit = unmapped() + ROOM_BYTES
    if limit < ROOM_BYTES:
        raise RuntimeError("guests run here whose shared memory counts as mapped: this machine's page cache cannot be told from it")
    conf, log, stop = (lab.directory / f"native-{what}" for what in ("agent.conf", "agent.log", "stop"))
    conf.write_text(f"[agent]\ncache_limit = {limit}\n")
    log.unlink(missing_ok=True)
    stop.unlink(missing_ok=True)
    agent = process.start([lab.agent, "--config", conf, "--device", lab.directory / "no-port"], log)
    try:
        if process.wait_for(lambda: _watching(agent, log), 20, "the agent watches or says why not") < 0:
            return None
        before = counters()
        sampling = run_here("sample.py", {"interval": SAMPLE_SECONDS, "stop": str(stop)})
        read = finish(run_here("pieces.py", {"pieces": [[p, 0, FILE_BYTES] for p in paths]}))
        stop.touch()
        sampled, after = finish(sampling), counters()
    finally:
        process.stop(agent)
    grown = sum(after[n] - before[n] for n in ("nr_inactive_file", "nr_active_file")) * 4096
    return {"limit": limit, "peak": sampled["peak_bytes"], "rate": read["bytes"] / read["seconds"],
            "evicted": read["bytes"] - grown, "samples": sampled["samples"],
            "disturbed": abs(after["nr_mapped"] - before["nr_mapped"]) * 4096}


def native(lab, report):
    report.head("The same on this machine, without emulation")
    paths = _make_files(lab.directory / "native", READ_BYTES)
    for attempt in range(ATTEMPTS):
        _forget(paths)
        found = _attempt(lab, paths)
        if found is None or found["disturbed"] <= DISTURBED_BYTES:
            break
    _forget(paths)
    if found is None:
        report.say("  The agent cannot watch the page cache of this kernel: not measured.")
        return
    report.measure("native_attempts", attempt + 1)
    report.measure("native_disturbed_bytes", found["disturbed"])
    report.measure("unmapped_limit_native_bytes", found["limit"])
    report.measure("unmapped_peak_native_bytes", found["peak"])
    report.measure("native_read_bytes_per_second", found["rate"])
    report.check("native_evicted_bytes", report.measure("native_evicted_bytes", found["evicted"]), f">= {READ_BYTES - 256 * MIB}")
    report.check("unmapped_peak_native_bytes", found["peak"], f"<= {found['limit'] + SLACK_BYTES}")
    step(f"limit {mib(found['limit'])}, peak {mib(found['peak'])}, {mib(found['rate'])}/s, {found['samples']} samples")

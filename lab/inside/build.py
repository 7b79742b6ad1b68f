# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: builds ARGS["targets"] of the kernel in ARGS["tree"] with ARGS["jobs"] jobs in ARGS["environment"].

Prints JSON, counted as kernbench does: "seconds"; "user", "system", "switches" (involuntary), "sleeps" (voluntary) and
"major_faults" of all that the build ran; "vmstat", what /proc/vmstat counted meanwhile; "cpu_seconds", what ran on all
CPUs; "samples", MemFree, Cached and Buffers of /proc/meminfo in bytes, once a second: [seconds, free, cached, buffers].
"""
import json
import os
import signal
import subprocess
import time

SAMPLE_SECONDS = 1


def vmstat():
    with open("/proc/vmstat") as stat:
        return {name: int(value) for name, value in map(str.split, stat)}


def cpu_seconds():
    """What ran on all CPUs, in the scheduler's own count: exact, where /proc/stat counts ticks."""
    with open("/proc/schedstat") as stat:
        return sum(int(line.split()[7]) for line in stat if line.startswith("cpu")) / 1e9


def sample(start, fd):
    fields = dict(line.split(":") for line in os.pread(fd, 8192, 0).decode().splitlines())
    sizes = (int(fields[name].split()[0]) * 1024 for name in ("MemFree", "Cached", "Buffers"))
    return [round(time.monotonic() - start, 2), *sizes]


def ordinary():
    """The command server is the last that may be killed for memory, and its children inherit that."""
    with open("/proc/self/oom_score_adj", "w") as adjust:
        adjust.write("0")
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])


def run(argv, folder, environment):
    """(wait status, rusage, samples, seconds); that it ends is noticed at once."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    with open("/run/lab/build.log", "wb") as log:
        start, fd, samples = time.monotonic(), os.open("/proc/meminfo", os.O_RDONLY), []
        child = subprocess.Popen(argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                 preexec_fn=ordinary)
        while True:
            samples.append(sample(start, fd))
            pid, status, used = os.wait4(child.pid, os.WNOHANG)
            if pid:
                return status, used, samples, time.monotonic() - start
            signal.sigtimedwait([signal.SIGCHLD], SAMPLE_SECONDS)


def main(args):
    before, cpu = vmstat(), cpu_seconds()
    argv = ["make", "-s", f"-j{args['jobs']}", *args["targets"]]
    status, used, samples, seconds = run(argv, args["tree"], args["environment"])
    if status:
        with open("/run/lab/build.log", errors="replace") as log:
            raise SystemExit(f"make ended with {status}: {log.read()[-4000:]}")
    after = vmstat()
    print(json.dumps({"seconds": seconds, "user": used.ru_utime, "system": used.ru_stime, "switches": used.ru_nivcsw,
                      "sleeps": used.ru_nvcsw, "major_faults": used.ru_majflt, "cpu_seconds": cpu_seconds() - cpu,
                      "vmstat": {name: after[name] - before[name] for name in after}, "samples": samples}))


main(ARGS)  # noqa: F821, the command server's

# SPDX-License-Identifier: Apache-2.0
"""pagepact-restore, and what a daemon leaves for it."""
import json
import os
import subprocess
from pathlib import Path

import daemon as d

RESTORE = os.environ.get("PAGEPACT_RESTORE", str(d.BUILD / "src/host/pagepact-restore"))
MIB = 1 << 20
INTERVAL = "guest-stats-polling-interval"


def start_ticks(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def write_entry(run, name, qmp, pid, **changes):
    """What a daemon would have written before it changed the guest."""
    entry = {"version": 1, "vm": name, "qmp": str(qmp), "uuid": "", "pid": pid, "start_ticks": start_ticks(pid),
             "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(), "original_bytes": 32 * MIB,
             "target_bytes": 16 * MIB, "stats_path": "", "stats_seconds": 0} | changes
    path = run / "journal.d" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entry))
    return path


def restore(run, *arguments, seconds=60):
    return subprocess.run([RESTORE, "--runtime-dir", run, *arguments], capture_output=True, text=True, timeout=seconds)

# SPDX-License-Identifier: Apache-2.0
"""Memory that was given and given back, when the guest uses it anew: how long that takes, and whether huge pages of the host's
hold it, where the host's settings allow."""
import contextlib
import re
import statistics
import subprocess
import tempfile
from pathlib import Path

from lab import workload
from lab.report import MIB, mib, table
from lab.superpage_state import STEP

TIMES, QUICK_TIMES = 5, 1
TOUCH = STEP * 3 // 4


@contextlib.contextmanager
def huge_folder(parent):
    """A file system of its own whose files are held by huge pages, as far as there are some."""
    folder = Path(tempfile.mkdtemp(prefix="huge-", dir=parent))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "huge=always", "none", folder], check=True)
    try:
        yield folder
    finally:
        # QEMU may still be about to end.
        subprocess.run(["umount", "-l", folder], check=True)


def _huge_bytes(guest):
    """Of the guest's RAM, that the host maps by huge pages."""
    text = Path(f"/proc/{guest.pid}/smaps").read_text()
    return sum(int(kb) * 1024 for kb in re.findall(r"^ShmemPmdMapped: +(\d+) kB", text, re.M))


def _touched(plugged, gives, rows):
    """The rest of the guest's memory is full of cache: what it takes is what it was given back."""
    gives()
    before = _huge_bytes(plugged.guest)
    seconds = float(plugged.guest.python(workload.source("touch.py"), {"bytes": TOUCH}, 200))
    huge = _huge_bytes(plugged.guest) - before
    rows.append((gives.__name__, f"{seconds:.3f}", mib(huge)))
    return seconds, huge


def anew(lab, report, plugged):
    report.head(f"{TOUCH // MIB} MiB of anonymous memory, after 256 MiB were given and given back")
    rows, found = [], {"superpages": [], "pages": []}
    for _ in range(QUICK_TIMES if lab.quick else TIMES):
        found["superpages"].append(_touched(plugged, plugged.by_superpages, rows))
        found["pages"].append(_touched(plugged, plugged.by_pages, rows))
    for name, each in found.items():
        report.measure(f"anew_{name}_seconds", statistics.median(seconds for seconds, _ in each))
        report.measure(f"anew_{name}_host_huge_bytes", statistics.median(huge for _, huge in each))
    report.say(table(("after", "s", "more in huge pages of the host"), rows))

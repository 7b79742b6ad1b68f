# SPDX-License-Identifier: Apache-2.0
"""`pagepact balloon --by`: the whole way from the command to its answer, and a thousand times down and up."""
import re

from lab import pairs, process
from lab.report import MIB, table
from lab.superpage_state import STEP

PAIRS, MOST_PAIRS, QUICK_PAIRS = 10, 20, 1
TIMES, QUICK_TIMES = 1000, 5
WIDTH = 0.1
SETTLE_SECONDS = 60
DRIFT_BYTES = 8 * MIB


def _resize(lab, guest, *words):
    reply = lab.pagepact("balloon", guest.name, *words, seconds=300)
    if reply["state"] != "reached":
        raise RuntimeError(f"{words}: {reply}")
    return reply


def dial(lab, report, plugged):
    """From the command to its answer: the daemon looks first whether the size stands still, and after it how the guest is."""
    report.head("256 MiB by `pagepact balloon`, --by=superpages and --by=pages")
    lab.start_daemon()
    lab.wait_agents()
    rows = []

    def resized(*words):
        plugged.fill()
        before = plugged.held()
        reply = _resize(lab, plugged.guest, f"-{STEP}", *words)
        rows.append((" ".join(words), reply["steps"], f"{reply['usec'] / 1e6:.2f}", (before - plugged.held()) // MIB))
        _resize(lab, plugged.guest, "max")
        return reply["usec"] / 1e6
    least, most = (QUICK_PAIRS, QUICK_PAIRS) if lab.quick else (PAIRS, MOST_PAIRS)
    found = pairs.measure(lambda: resized("--by", "superpages"), lambda: resized("--by", "pages"), least, most, WIDTH)
    pairs.report(report, "dial_time_ratio", found)
    report.say(table(("", "steps", "s", "host MiB back"), rows))
    report.check("dial_returned_bytes", report.measure("dial_returned_bytes", min(row[-1] for row in rows) * MIB),
                 f">= {int(0.9 * STEP)}")


def _memory(guest):
    text = guest.run("cat /proc/meminfo")
    return {name: int(re.search(rf"^{name}: +(\d+)", text, re.M)[1]) * 1024 for name in ("MemTotal", "MemAvailable")}


def drift(lab, report, plugged):
    """Down and up again, many times: the guest has what it had, and its device what it was to have."""
    times = lab.seconds or (QUICK_TIMES if lab.quick else TIMES)
    report.head(f"{STEP // MIB} MiB taken and given back {times} times")
    before = _memory(plugged.guest)
    for _ in range(times):
        plugged.guest.qmp("qom-set", path="/machine/peripheral/plug0", property="requested-size", value=plugged.plugged - STEP)
        process.wait_for(lambda: plugged.device()["size"] == plugged.plugged - STEP, SETTLE_SECONDS, "it is given")
        plugged.guest.qmp("qom-set", path="/machine/peripheral/plug0", property="requested-size", value=plugged.plugged)
        process.wait_for(lambda: plugged.device()["size"] == plugged.plugged, SETTLE_SECONDS, "it is back")
    after = _memory(plugged.guest)
    for name in before:
        report.measure(f"drift_{name.lower()}_bytes", before[name] - after[name])
    report.measure("drift_times", times)
    report.check("drift_memtotal_bytes", abs(report.measures["drift_memtotal_bytes"]), "== 0")
    report.check("drift_memavailable_bytes", report.measures["drift_memavailable_bytes"], f"<= {DRIFT_BYTES}")

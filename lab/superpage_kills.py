# SPDX-License-Identifier: Apache-2.0
"""Daemons, agents and guests killed, and guests out of memory, while superpages are taken or held: all is given back."""
import json
import re

from lab import balloon_kills, balloon_turmoil, process, workload
from lab.balloon_state import Ballooned
from lab.report import MIB, table

EACH, QUICK_EACH = 100, 2
MOST_HELD_BYTES = 320 * MIB
AGENT_SECONDS = 30
OOM_SECONDS = 120
STALLS_MOST = 3
# What the kernel says of the one process that was to be killed: inside/oom.py's.
EXPECTED = re.compile(r"Out of memory: Killed process \d+ \(python3\)|Call Trace:")


def _hold(ballooned):
    """Some superpages are held; the size. A guest that is too slow for the daemon gets another chance, and counts."""
    for _ in range(STALLS_MOST):
        ballooned.wait_running()
        size = ballooned.memory - ballooned.draw.randrange(2 * MIB, MOST_HELD_BYTES)
        answer = ballooned.resize(size, "--by", "superpages")
        if answer["state"] != "stalled":
            break
        ballooned.report.say(f"  stalled: {answer['reason']}")
        ballooned.report.measure("killed_stalls", ballooned.report.measures.get("killed_stalls", 0) + 1)
        ballooned.renew()
    if answer["state"] != "reached" or ballooned.actual() != answer["actual_bytes"] != ballooned.memory:
        raise RuntimeError(f"not resized: {answer}")
    return answer["actual_bytes"]


def _pid(guest):
    return guest.run("pidof pagepact-agent || true").strip()


def agent(ballooned):
    """Killed in the guest, and started anew there: what is held stays so, and comes back when it is asked for."""
    held, guest = _hold(ballooned), ballooned.guest
    before = _pid(guest)
    guest.run(f"kill -9 {before}")
    process.wait_for(lambda: _pid(guest) not in ("", before), AGENT_SECONDS, "another agent")
    moved = ballooned.actual() != held
    ballooned.wait_known()
    return moved + ballooned.give_back()


def guest(ballooned):
    """Reset, or ended and started anew, while more is taken: it has all of its memory then."""
    _hold(ballooned)
    if ballooned.draw.random() < 0.5:
        return balloon_turmoil.reboot(ballooned)
    return balloon_turmoil.replace(ballooned)


def memory(ballooned):
    """A process wants more than there is: it alone is killed, and what is held is not touched."""
    held, agents, kills = _hold(ballooned), _pid(ballooned.guest), ballooned.counters()["oom_kill"]
    killed = json.loads(ballooned.guest.python(workload.source("oom.py"), {}, OOM_SECONDS))["killed"]
    others = _pid(ballooned.guest) != agents or ballooned.counters()["oom_kill"] != kills + 1
    return (not killed) + others + (ballooned.actual() != held) + ballooned.give_back()


KINDS = {"agent": agent, "guest": guest, "memory": memory}


def _troubles(ballooned):
    """Lines of the log; a warning of the kernel's would hide in the traces that belong to running out of memory."""
    found = [line for line in ballooned.guest.check_kernel_log() if not EXPECTED.search(line)]
    found += [line for line in ballooned.guest.console.read_text(errors="replace").splitlines() if "cut here" in line]
    for line in found:
        ballooned.report.say(f"  {ballooned.guest.name}: {line}")
    ballooned.lab.guests.pop(ballooned.guest.name).kill()
    return len(found)


def killed(lab, report, guest):
    report.head("Agents and guests killed, and guests out of memory, while superpages are held; daemons while they are taken")
    ballooned = Ballooned(lab, report, guest, lab.quick)
    count = lab.seconds or (QUICK_EACH if lab.quick else EACH)
    ballooned.start_daemon()
    ballooned.wait_known()
    order = list(KINDS) * count
    ballooned.draw.shuffle(order)
    left = dict.fromkeys(KINDS, 0)
    for kind in order:
        missing = KINDS[kind](ballooned)
        if missing:
            report.say(f"  {kind}: the guest, or something else, is not as it was ({missing})")
        left[kind] += missing != 0 or not ballooned.works()
    kills = balloon_kills.Kills(ballooned)
    kills.run(count)
    left["daemon"] = kills.squeezed + kills.unproven + (ballooned.give_back() != 0)
    lab.stop_daemon()
    report.say(table(("killed", "times", "not as before"), [(kind, count, n) for kind, n in left.items()]))
    report.measure("killed_times", len(order) + count)
    # Killed before the first change was written down, it has nothing to give back.
    report.check("killed_journaled", report.measure("killed_journaled", kills.originals), f">= {count // 3}")
    report.check("killed_left_held", report.measure("killed_left_held", sum(left.values())), "== 0")
    report.check("killed_log_troubles", report.measure("killed_log_troubles", _troubles(ballooned)), "== 0")

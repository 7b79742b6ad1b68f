# SPDX-License-Identifier: Apache-2.0
"""Resizes at random of guests whose processes want memory at random: nobody is killed for it, and all comes back."""
import collections
import concurrent.futures
import json
import time

from lab import process, workload
from lab.report import MIB, mib, table
from lab.say import step

RESIZES, QUICK_RESIZES = 1000, 30
STRESS_SHARE = 0.45  # of a guest's memory, at most, is wanted at any time
READ_BYTES = 512 * MIB
LEAST_MOVED_SHARE = 1 / 4
LIMIT_SECONDS = 5  # under pressure a resize would wait for a minute
# The guest wants that share of its memory all at once, when it has this much of it.
WANTED_SHARE, LITTLE_SHARE = 0.5, 0.35
WANT_SECONDS = 60
ANSWERS = {"reached", "floor", "cache_ended", "stalled", "pressure", "timeout", "refused", "invalid"}
MOVED = {"reached", "cache_ended", "stalled", "pressure", "timeout"}


class Stress:
    """From creation to end()."""

    def __init__(self, ballooned):
        self.guest = ballooned.guest
        self._stop = f"/run/lab/stop-stress-{time.monotonic_ns()}"
        self._kills = ballooned.counters()["oom_kill"]
        self._ballooned = ballooned
        self._ident = self.guest.begin_python(workload.source("stress.py"), {
            "bytes": int(ballooned.memory * STRESS_SHARE), "pieces": ballooned.files.take(READ_BYTES),
            "stop": self._stop})

    def end(self):
        """How many processes the kernel killed for want of memory."""
        self.guest.run(f"touch {self._stop}")
        json.loads(self.guest.finish(self._ident, 60))
        return self._ballooned.counters()["oom_kill"] - self._kills


def _size(ballooned, floor):
    draw, kind = ballooned.draw, ballooned.draw.random()
    if kind < 0.08:
        return floor - draw.randrange(1, floor // 2 // MIB) * MIB
    if kind < 0.2:
        return "max"
    if kind < 0.4:
        # Mostly down: what is above all of its memory is no size.
        return f"{draw.choice('+---')}{draw.randrange(1, 256)}M"
    return ballooned.some_size(floor)


def _is_held_against(ballooned):
    status = ballooned.status()
    return bool(status["quarantine_left_usec"]), bool(status["hands_off_left_usec"])


def _walk(ballooned, count):
    """Counts of what was answered."""
    found, floor = collections.Counter(), ballooned.memory // 2
    for _ in range(count):
        size = _size(ballooned, floor)
        how = ballooned.draw.choice(("first", "first", "first", "off", "only"))
        answer = ballooned.resize(size, "--cache", how, "--timeout", LIMIT_SECONDS)
        state = answer["state"]
        found[state] += 1
        found["moved"] += state in MOVED and answer["steps"] > 0
        if state not in ANSWERS:
            ballooned.report.say(f"  {ballooned.guest.name}: {size} --cache {how}: {state}: {answer['reason']}")
        floor = answer.get("floor_bytes") or floor
        bad, hands_off = _is_held_against(ballooned)
        found["quarantines"] += bad
        found["hands_off"] += hands_off
        if bad or hands_off:
            ballooned.renew()
    return found


def resizes(lab, report, squeezed, control):
    """The guests `squeezed` are resized, `control` is not; all are under the same stress."""
    report.head("Resizes at random under memory stress")
    lab.write_config(only=[b.guest.name for b in squeezed])
    lab.start_daemon(write_config=False)
    for ballooned in squeezed:
        ballooned.wait_known()
    step("stress")
    count = (QUICK_RESIZES if lab.quick else RESIZES) // len(squeezed)
    stress, without = [Stress(b) for b in squeezed], Stress(control)
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(len(squeezed)) as pool:
        found = sum(pool.map(lambda b: _walk(b, count), squeezed), collections.Counter())
    report.measure("resizes_seconds", time.monotonic() - start)
    step("the stress ends")
    kills, kills_without = sum(s.end() for s in stress), without.end()
    step("max")
    left = sum(b.give_back() for b in squeezed)
    lab.stop_daemon()
    report.say(table(("answer", "times"), sorted(found.items())))
    for name in sorted(ANSWERS | {"moved", "quarantines"}):
        report.measure(f"resizes_{name}", found[name])
    done = sum(found[name] for name in ANSWERS)
    report.check("resizes_done", report.measure("resizes_done", done), f"== {count * len(squeezed)}")
    report.check("resizes_moved", found["moved"], f">= {int(done * LEAST_MOVED_SHARE)}")
    # Nobody else moves these balloons.
    report.check("resizes_hands_off", report.measure("resizes_hands_off", found["hands_off"]), "== 0")
    report.measure("resize_oom_kills_without", kills_without)
    report.check("resize_oom_kills", report.measure("resize_oom_kills", kills), f"<= {kills_without}")
    report.check("left_squeezed_bytes", report.measure("left_squeezed_bytes", left), "== 0")
    seconds = report.measures["resizes_seconds"]
    report.say(f"  {done} resizes in {seconds:.0f} s, {found['moved']} of them moved the guest; {kills} processes killed, "
               f"{kills_without} without resizes; {mib(left)} not given back.")


def wants(lab, report, ballooned):
    """A guest that was made small wants much of its memory at once: it has it back, and nobody is killed."""
    report.head("A small guest that wants memory")
    guest = ballooned.guest
    ballooned.start_daemon()
    ballooned.wait_known()
    if ballooned.resize(int(ballooned.memory * LITTLE_SHARE) // MIB * MIB)["state"] != "reached":
        raise RuntimeError("the guest is not made small")
    kills, stop = ballooned.counters()["oom_kill"], f"/run/lab/stop-wants-{time.monotonic_ns()}"
    start = time.monotonic()
    ident = guest.begin_python(workload.source("hog.py"), {"bytes": int(ballooned.memory * WANTED_SHARE), "stop": stop})
    process.wait_for(lambda: guest.run(f"ls {stop}.warm 2>/dev/null || true", WANT_SECONDS), WANT_SECONDS,
                     "it has what it wants")
    report.check("want_seconds", report.measure("want_seconds", time.monotonic() - start), f"<= {WANT_SECONDS}")
    left = ballooned.left_squeezed()
    guest.run(f"touch {stop}")
    guest.finish(ident, 60)
    report.check("want_oom_kills", ballooned.counters()["oom_kill"] - kills, "== 0")
    # Nobody asked for it.
    report.check("want_left_squeezed_bytes", report.measure("want_left_squeezed_bytes", left), "== 0")
    lab.stop_daemon()

# SPDX-License-Identifier: Apache-2.0
"""A page cache limit of 128 MiB: how well it holds, what stays cached under it, what it costs and what it leaves alone."""
import re

from lab import limit_harm, limit_hot, limit_native, limit_peak, limit_speed, process, stream
from lab.limit_state import LIMIT_BYTES, Bounded

LOST_MOST = 6
SENSOR = re.compile(r"folio_mark_accessed\+0x0/")


def _boot(lab, report, kernel, name, **options):
    guest = lab.guest(name, kernel=kernel, shared_disks=[stream.image()], traced=False, **options)
    guest.wait_ready()
    return Bounded(lab, report, guest, lab.quick)


def _end(lab, bounded):
    guest = bounded.guest
    troubles = guest.check_kernel_log()
    for line in troubles:
        bounded.report.say(f"  {guest.name}: {line}")
    bounded.report.check(f"{guest.name}_kernel_log_troubles", len(troubles), "== 0")
    guest.kill()
    del lab.guests[guest.name]


def _answers(guest):
    try:
        return guest.run("echo", 20) == "\n"
    except (TimeoutError, ConnectionError):
        return False


def _alone(lab, report, part, kernel):
    """A part with guests of its own: what a broken one leaves behind is not in the next one's way."""
    report.part(part, lab, report, kernel)
    if lab.daemon:
        lab.stop_daemon()
    for name in list(lab.guests):
        lab.guests.pop(name).kill()


def _run_parts(bounded, parts):
    """All parts, or those before the guest stopped answering."""
    for part in parts:
        if not bounded.report.part(part, bounded) and not _answers(bounded.guest):
            bounded.report.say(bounded.guest.whereabouts())
            raise RuntimeError(f"guest {bounded.guest.name} does not answer any more")


def switched(lab, report, kernel):
    """A guest whose limit the host switches on and off."""
    bounded = _boot(lab, report, kernel, "alpha")
    lab.start_daemon()
    lab.wait_agents()
    # On CPUs that are parallel the peak is measured too, by the long form.
    peak, used = ([limit_peak.peak], []) if lab.quick else ([], [limit_peak.hold_used])
    _run_parts(bounded, [*peak, limit_hot.hot, limit_harm.harm, limit_harm.slab, limit_peak.hold, *used])
    _end(lab, bounded)


def peak(lab, report, kernel):
    """On CPUs that are parallel."""
    bounded = _boot(lab, report, kernel, "fast", smp=2, parallel=True)
    lab.start_daemon()
    lab.wait_agents()
    limit_peak.peak(bounded)
    _end(lab, bounded)


def throughput(lab, report, kernel):
    """On CPUs that are parallel, where QEMU may lose a guest (guest.py): what was measured until then stays, and it is
    said how often. Then a CPU takes the trap that was the first byte of the function where the agent's sensor is, over and
    over, while the sensor comes or goes: a guest that hangs anywhere else is a fault."""
    report.head("Reading under the limit against reading without it")
    found, lost, places = limit_speed.Throughput(), 0, []
    while True:
        bounded = _boot(lab, report, kernel, f"reader{lost}", smp=2, parallel=True)
        lab.start_daemon()
        lab.wait_agents()
        try:
            found.measure(bounded)
            break
        except (OSError, process.Deadline):
            if _answers(bounded.guest) or lost == LOST_MOST:
                raise
            places += bounded.guest.stuck_at() or ["somewhere"]
            report.say(f"  The guest is lost after {len(found.pairs)} pairs, at {places[-1]}:\n{bounded.guest.whereabouts()}")
            lost += 1
            lab.stop_daemon()
            lab.guests.pop(bounded.guest.name).kill()
    report.measure("throughput_guests_lost", lost)
    report.check("throughput_lost_elsewhere", len([p for p in places if not SENSOR.match(p)]), "== 0")
    found.report(report)
    _end(lab, bounded)


def mixed(lab, report, kernel):
    """Two guests, one with a limit, in turns: to switch a limit on evicts what the next piece of work reads again."""
    limited, unlimited = (_boot(lab, report, kernel, name, smp=2, agent_port=False, agent_alone=True, append=append)
                          for name, append in (("bounded", f"unmapped_page_control={LIMIT_BYTES}"), ("unbounded", "")))
    report.part(limit_speed.mixed, limited, unlimited)
    _end(lab, unlimited)
    _end(lab, limited)


def counted(lab, report, kernel):
    """Guests whose time counts instructions, without a host's word."""
    alone = {"icount": True, "agent_port": False, "agent_alone": True}
    limited = _boot(lab, report, kernel, "limited", append=f"unmapped_page_control={LIMIT_BYTES}", **alone)
    unlimited = _boot(lab, report, kernel, "unlimited", **alone)
    # First, because what mixed work reads again may make the agent rest for a while.
    report.part(limit_peak.peak_counted, limited)
    report.part(limit_speed.read_counted, limited, unlimited)
    report.part(limit_speed.counted, limited, unlimited)
    _end(lab, unlimited)
    _end(lab, limited)


def run(lab, report, kernel):
    for part in (switched, counted) if lab.quick else (peak, throughput, mixed, switched, counted):
        _alone(lab, report, part, kernel)
    if not lab.quick:
        report.part(limit_native.native, lab, report)
    report.print_measures()

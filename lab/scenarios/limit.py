# SPDX-License-Identifier: Apache-2.0
"""A page cache limit of 128 MiB: how well it holds, what stays cached under it, what it costs and what it leaves alone."""
from lab import limit_harm, limit_hot, limit_native, limit_peak, limit_speed, stream
from lab.limit_state import LIMIT_BYTES, Bounded


def _boot(lab, report, kernel, name, **options):
    guest = lab.guest(name, kernel=kernel, shared_disks=[stream.image()], **options)
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
    peak = [limit_peak.peak] if lab.quick else []
    _run_parts(bounded, [*peak, limit_hot.hot, limit_harm.harm, limit_harm.slab, limit_peak.hold])
    lab.stop_daemon()
    _end(lab, bounded)


def timed(lab, report, kernel):
    """What is measured in seconds, on CPUs that are parallel: the short form counts cost in instructions only."""
    bounded = _boot(lab, report, kernel, "fast", smp=2, parallel=True)
    lab.start_daemon()
    lab.wait_agents()
    _run_parts(bounded, [limit_peak.peak, limit_speed.throughput])
    lab.stop_daemon()
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
    if not lab.quick:
        report.part(timed, lab, report, kernel)
        report.part(mixed, lab, report, kernel)
    report.part(switched, lab, report, kernel)
    report.part(counted, lab, report, kernel)
    if not lab.quick:
        report.part(limit_native.native, lab, report)
    report.print_measures()

# SPDX-License-Identifier: Apache-2.0
"""A page cache limit of 128 MiB: how well it holds, what stays cached under it, what it costs and what it leaves alone."""
from lab import limit_harm, limit_hot, limit_native, limit_peak, limit_speed, stream
from lab.limit_state import Bounded


def _boot(lab, report, kernel, name, **options):
    guest = lab.guest(name, kernel=kernel, shared_disks=[stream.image()], **options)
    guest.wait_ready()
    lab.start_daemon()
    lab.wait_agents()
    return Bounded(lab, report, guest, lab.quick)


def _end(lab, bounded):
    bounded.report.check(f"{bounded.guest.name}_kernel_log_troubles", len(bounded.guest.check_kernel_log()), "== 0")
    lab.stop_daemon()
    bounded.guest.kill()
    del lab.guests[bounded.guest.name]
    (lab.config / "vms.d" / f"{bounded.guest.name}.conf").unlink(missing_ok=True)


def run(lab, report, kernel):
    bounded = _boot(lab, report, kernel, "alpha", smp=2)
    limit_peak.peak(bounded)
    limit_hot.hot(bounded)
    limit_harm.harm(bounded)
    limit_harm.slab(bounded)
    limit_speed.throughput(bounded)
    limit_speed.mixed(bounded)
    _end(lab, bounded)
    counted = _boot(lab, report, kernel, "counted", icount=True)
    limit_peak.peak_counted(counted)
    limit_speed.counted(counted)
    _end(lab, counted)
    limit_native.native(lab, report)
    report.print_measures()

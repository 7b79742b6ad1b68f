# SPDX-License-Identifier: Apache-2.0
"""Balloons that are moved under stress, disturbed, and given back: what guests have of it, and what is left of it.

The long form takes three quarters of an hour to one and a half: 1,000 resizes 20 to 25 minutes, 200 kills 10, 100
disturbances 10, and 3 for a clean stop, 2 for two squeezes, 2 to 12 for plain balloons. One CPU is enough. The short one
takes two and a half minutes.
"""
import concurrent.futures

from lab import balloon_kills, balloon_plain, balloon_resizes, balloon_squeeze, balloon_turmoil, cached_disk, stream
from lab.balloon_restores import Restores
from lab.balloon_state import OPTIONS, Ballooned
from lab.say import step

MEMORY_MIB = 768


def _boot(lab, report, kernel, name, **options):
    options = {"memory_mib": MEMORY_MIB, **OPTIONS, **options}
    guest = lab.guest(name, kernel=kernel, shared_disks=[stream.image()], **options)
    return Ballooned(lab, report, guest, lab.quick)


def _boot_large(lab, report, kernel, sizes):
    return _boot(lab, report, kernel, "large", memory_mib=sizes.memory, cached_disks=[cached_disk.image()])


def _boot_fast(lab, report, kernel, name="fast"):
    """CPUs that are parallel: the agent and the kernel need not wait for each other."""
    fast = _boot(lab, report, kernel, name, memory_mib=1024, smp=2, parallel=True)
    fast.guest.wait_ready()
    return fast


def _part(part, lab, report, *args):
    """What a broken one leaves behind is not in the next one's way."""
    step(part.__name__)
    report.part(part, lab, report, *args)
    if lab.daemon:
        lab.stop_daemon()
    for ballooned in args:
        if isinstance(ballooned, Ballooned) and ballooned.guest.alive:
            ballooned.guest.qmp("balloon", value=ballooned.memory)


def _disturbed(lab, report, alpha):
    _part(balloon_kills.kills, lab, report, alpha)
    _part(balloon_turmoil.turmoil, lab, report, alpha)


def _cached(lab, report, large):
    large.lab = lab
    _part(balloon_squeeze.squeeze, lab, report, large)
    _part(balloon_plain.plain, lab, report, large)


def _end(lab, report, which=""):
    troubles = 0
    for guest in lab.guests.values():
        found = guest.check_kernel_log()
        for line in found:
            report.say(f"  {guest.name}: {line}")
        troubles += len(found)
    name = f"{which}kernel_log_troubles"
    report.check(name, report.measure(name, troubles), "== 0")


def _quick(lab, report, kernel):
    """Nothing that is timed is checked: what needs no more than a daemon of its own goes on at the same time."""
    alpha, bravo = (_boot(lab, report, kernel, name) for name in ("alpha", "bravo"))
    large = _boot_large(lab, report, kernel, balloon_squeeze.QUICK)
    lab.wait_ready()
    restores = Restores(bravo)
    begun = report.part(restores.begin)
    with concurrent.futures.ThreadPoolExecutor(1) as beside:
        cached = beside.submit(_cached, lab.lane("beside"), report, large)
        # Here, because QEMUs that it starts end with their thread.
        _disturbed(lab, report, alpha)
        cached.result()
    large.lab = lab
    _part(balloon_resizes.resizes, lab, report, [alpha, large], bravo)
    _part(balloon_resizes.wants, lab, report, alpha)
    if begun:
        report.part(restores.end)


def _long(lab, report, kernel):
    alpha, bravo, charlie = (_boot(lab, report, kernel, name) for name in ("alpha", "bravo", "charlie"))
    lab.wait_ready()
    restores = Restores(bravo)
    if report.part(restores.begin):
        report.part(restores.end)
    _part(balloon_resizes.resizes, lab, report, [alpha, charlie], bravo)
    _part(balloon_resizes.wants, lab, report, alpha)
    _disturbed(lab, report, alpha)
    _end(lab, report, "first_")
    for guest in list(lab.guests.values()):
        guest.kill()
        del lab.guests[guest.name]
    large = _boot_large(lab, report, kernel, balloon_squeeze.LONG)
    lab.wait_ready()
    _part(balloon_squeeze.squeeze, lab, report, large)
    _part(balloon_plain.plain, lab, report, _boot_fast(lab, report, kernel),
          lambda name: _boot_fast(lab, report, kernel, name))


def run(lab, report, kernel):
    (_quick if lab.quick else _long)(lab, report, kernel)
    _end(lab, report)
    report.print_measures()

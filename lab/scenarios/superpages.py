# SPDX-License-Identifier: Apache-2.0
"""Superpages, by virtio-mem and by an agent, against pages by the balloon: how fast memory comes back to the host, and goes to the guest again;
whether all comes back when somebody dies; and how many superpages could be given.

The long form takes two and a half hours, the short one three and a half minutes: an hour of churn, and one of kills. `--seconds N`
is, with `--part`, how often the part `drift` goes down and up, how often each is killed, or how long the churn takes.
"""
from lab import stream, superpage_anew, superpage_dial, superpage_kills, superpage_list, superpage_native, \
    superpage_taken, superpage_times
from lab.balloon_state import OPTIONS
from lab.superpage_state import SIZES, Plugged


def _boot(lab, kernel, name, **options):
    guest = lab.guest(name, kernel=kernel, shared_disks=[stream.image()], **SIZES, **options)
    guest.wait_ready()
    return Plugged(lab, guest)


def _end(lab, report, name):
    guest = lab.guests.pop(name)
    found = guest.check_kernel_log()
    for line in found:
        report.say(f"  {name}: {line}")
    guest.kill()
    return len(found)


def _with_guest(lab, report, kernel, parts, **options):
    """A guest of its own for some parts, unless none of them is wanted."""
    names = [part.__name__ for part, *_ in parts]
    if report.only is not None and report.only not in names:
        report.parts += names
        return 0
    plugged = _boot(lab, kernel, f"{names[0]}{len(lab.guests)}", **options)
    for part, *args in parts:
        report.part(part, lab, report, plugged, *args)
    lab.stop_daemon()
    return _end(lab, report, plugged.guest.name)


def _killed(lab, report, kernel):
    """It alone needs a guest that is reset."""
    guest = lab.guest("killed", kernel=kernel, **{**SIZES, **OPTIONS})
    guest.wait_ready()
    superpage_kills.killed(lab, report, guest)


def run(lab, report, kernel):
    plain = {"agent": None, "append": "init_on_alloc=0"}
    troubles = _with_guest(lab, report, kernel, [(superpage_times.balloon, "")], agent=None)
    troubles += _with_guest(lab, report, kernel, [(superpage_times.balloon, "_noinit"), (superpage_times.reporting,),
                                                  (superpage_dial.drift,)], **plain)
    troubles += _with_guest(lab, report, kernel, [(superpage_dial.dial,)])
    with superpage_anew.huge_folder(lab.directory) as folder:
        troubles += _with_guest(lab, report, kernel, [(superpage_anew.anew,)], ram_folder=folder, **plain)
    report.part(superpage_taken.taken, lab, report, kernel)
    report.part(superpage_list.reclaimable, lab, report, kernel)
    troubles += sum(_end(lab, report, name) for name in list(lab.guests))
    report.part(_killed, lab, report, kernel)
    report.part(superpage_native.native, lab, report)
    report.check("kernel_log_troubles", report.measure("kernel_log_troubles", troubles), "== 0")
    report.print_measures()

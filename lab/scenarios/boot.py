# SPDX-License-Identifier: Apache-2.0
"""Boots two guests, reads the same files in both, and lets the oracle find the copies; needs no pagepact."""
from lab import oracle, workload
from lab.report import mib, table
from lab.say import step


def run(lab, report, kernel):
    guests = [lab.guest(name, kernel=kernel) for name in ("alpha", "bravo")]
    lab.wait_ready()
    for guest in guests:
        report.check(f"{guest.name}_boot_seconds", report.measure(f"{guest.name}_boot_seconds", guest.boot_seconds), "<= 60")
    step("both guests read the same files")
    files, _ = workload.choose(workload.list_files(guests[0]), 64 << 20, workload.KNOWN)
    read = workload.read({guest: files for guest in guests})
    machine = oracle.look(guests)
    rows = [("host", mib(oracle.size_bytes(machine.host)))]
    rows += [(name, mib(oracle.size_bytes(view.held))) for name, view in machine.guests.items()]
    report.say(table(("place", "cached"), rows))
    duplicate = report.measure("duplicate_true_bytes", oracle.size_bytes(machine.duplicate()))
    report.check("duplicate_true_ratio", duplicate / read[guests[0]]["bytes"], ">= 0.9")
    report.measure("copy_factor", machine.copy_factor())
    troubles = [line for guest in guests for line in guest.check_kernel_log()]
    report.check("kernel_log_troubles", len(troubles), "== 0")

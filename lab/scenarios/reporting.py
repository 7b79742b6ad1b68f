# SPDX-License-Identifier: Apache-2.0
"""How much of an eviction free page reporting gives back, by the smallest piece that the guest reports."""
import time

from lab import workload
from lab.report import MIB, mib, table
from lab.say import step

ORDERS = {"whole2mib": 9, "pieces": 5}
READ_BYTES = 250 * MIB
RETURN_SECONDS = 15


def _keep_islands(guest, paths):
    """Every eighth file stays: what is read twice more is hot, and lies between what goes."""
    for _ in range(2):
        workload.read({guest: paths[::8]})


def run(lab, report, kernel):
    guests = [lab.guest(name, kernel=kernel) for name in ORDERS]
    lab.wait_ready()
    lab.start_daemon()
    lab.wait_agents()
    for guest in guests:
        order = ORDERS[guest.name]
        guest.run(f"echo {order} >/sys/module/page_reporting/parameters/page_reporting_order")
    files = [f for f in workload.list_files(guests[0]) if f[1] < 4 * MIB]
    paths, _ = workload.choose(files, READ_BYTES)
    step(f"both guests read {mib(READ_BYTES)} of small files, an eighth of them three times")
    workload.read({guest: sorted(paths) for guest in guests})
    for guest in guests:
        _keep_islands(guest, sorted(paths))
    before = {g.name: g.ram_resident_bytes() for g in guests}
    reply = lab.pagepact("reclaim", seconds=120)
    time.sleep(RETURN_SECONDS)  # free page reporting has until then, whatever it has done
    rows = []
    for guest in guests:
        evicted = sum(o["done_bytes"] for o in reply["orders"] if o["vm"] == guest.name)
        returned = before[guest.name] - guest.ram_resident_bytes()
        name = f"order_{ORDERS[guest.name]}"
        ratio = report.measure(f"{name}_returned_ratio", returned / max(1, evicted))
        report.check(f"{name}_evicted_bytes", report.measure(f"{name}_evicted_bytes", evicted), f">= {100 * MIB}")
        rows.append((f"page_reporting_order {ORDERS[guest.name]}", mib(evicted), mib(returned), f"{ratio:.2f}"))
    report.say(table(("", "evicted", "returned", "ratio"), rows))
    gain = report.measures["order_5_returned_ratio"] / max(0.01, report.measures["order_9_returned_ratio"])
    report.check("gain_ratio", report.measure("gain_ratio", gain), "> 1")

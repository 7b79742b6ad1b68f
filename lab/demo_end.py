# SPDX-License-Identifier: Apache-2.0
"""The end of the demo: what pagepact costs while idle, and what a guest's and the daemon's death in mid-work hurt."""
import signal
import time

from lab import measures, process, workload
from lab.lab import PagepactFailed
from lab.report import MIB
from lab.say import step

IDLE_SECONDS = 60
PAGE = 4096


def idle(demo):
    report, bravo = demo.report, demo.bravo
    demo.hold.end()
    before = workload.process_cost(bravo, "pagepact-agent")["process"]
    start = time.monotonic()
    step(f"what pagepact costs while nobody asks it for anything: {IDLE_SECONDS} s")
    time.sleep(IDLE_SECONDS)
    after, taken = workload.process_cost(bravo, "pagepact-agent")["process"], time.monotonic() - start
    same = before and after and before["pid"] == after["pid"]
    report.measure("agent_rss_bytes", after and after["rss_bytes"])
    report.measure("agent_memlock_bytes", after and after["memlock_bytes"])
    limit = 12 * MIB + 2 * bravo.memory_mib * MIB // PAGE
    report.check("agent_rss_and_maps_bytes", after and after["rss_bytes"] + after["memlock_bytes"], f"<= {limit}")
    report.measure("agent_cpu_ratio", (after["cpu_seconds"] - before["cpu_seconds"]) / taken if same else None)
    report.check("agent_cpu_ratio", report.measures["agent_cpu_ratio"], "<= 0.01")
    report.check("daemon_rss_bytes", report.measure("daemon_rss_bytes", demo.lab.daemon_rss_bytes()), f"<= {16 * MIB}")
    report.measure("scan_cost_ratio", measures.scan_cost(bravo))


def _states(demo):
    return {vm["name"]: vm["state"] for vm in demo.lab.pagepact("status")["vms"]}


def kill_in_mid_work(demo):
    report, bravo = demo.report, demo.bravo
    report.head("One guest and the daemon die in mid-work")
    begun = demo.lab.begin_pagepact("reclaim")
    # In mid-work: evictions have begun, which a guest's falling cache shows.
    cached = workload.cached_bytes(bravo)
    try:
        process.wait_for(lambda: workload.cached_bytes(bravo) < cached - 8 * MIB, 20, "reclaim is at work in bravo")
        report.check("killed_in_mid_work", report.measure("killed_in_mid_work", 1), "== 1")
    except process.Deadline:
        report.check("killed_in_mid_work", report.measure("killed_in_mid_work", 0), "== 1")
    step("kill -9 of bravo's QEMU and of pagepactd")
    bravo.kill()
    demo.lab.stop_daemon(signal.SIGKILL)
    try:
        demo.lab.finish_pagepact(begun, 20)
        report.say("  The command ended normally.")
    except PagepactFailed as failed:
        report.say(f"  The command said: {failed.err.strip().splitlines()[-1] if failed.err.strip() else failed}")
    step("the daemon and bravo start again")
    bravo.start()
    demo.lab.start_daemon(write_config=False)
    bravo.wait_ready()
    demo.lab.wait_agents()
    states = _states(demo)
    report.check("guests_running_after_kill", sum(s == "running" for s in states.values()), "== 2")
    damaged = [path for guest in demo.guests
               for path, found in workload.checks(guest, list(demo.sums[guest.name])).items()
               if found != demo.sums[guest.name][path]]
    report.check("damaged_files", len(damaged), "== 0")
    troubles = [line for guest in demo.guests for line in guest.check_kernel_log()]
    for line in damaged + troubles:
        report.say(f"  {line}")
    report.check("kernel_log_troubles", len(troubles), "== 0")
    report.say(f"  After it: {', '.join(f'{n} is {s}' for n, s in sorted(states.items()))}; "
               f"{len(damaged)} files damaged, {len(troubles)} lines of trouble in the kernels' logs.")

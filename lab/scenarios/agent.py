# SPDX-License-Identifier: Apache-2.0
"""What the agent costs: a scan of this machine without emulation, CPU time and memory in guests, and what age is worth."""
from lab import agent_cost, agent_scan


def run(lab, report, kernel):
    if not lab.quick:
        report.part(agent_scan.native, lab, report)
        report.part(agent_cost.large, lab, report, kernel)
    report.part(agent_cost.minutes, lab, report, kernel)
    report.print_measures()

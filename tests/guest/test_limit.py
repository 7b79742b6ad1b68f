# SPDX-License-Identifier: Apache-2.0
"""The short forms of the scenarios `limit` and `agent`: what is promised of the page cache limit, and of the agent's cost."""
import shutil

import pytest

from lab import images
from lab.guest import accel
from lab.lab import Lab
from lab.report import Report
from lab.scenarios import agent, limit

GROUPS = {
    "holds": {"unmapped_peak_bytes", "limit_evicted_bytes", "kernel_reclaimed_pages", "unmapped_samples"},
    "counted": {"unmapped_peak_counted_bytes", "counted_limit_evicted_bytes"},
    "hot": {"hot_hit_ratio", "hot_file_evicted_pages", "hot_rival_room_bytes", "hot_asked_pages",
            "hot_stream_evicted_bytes"},
    "harm": {"lookups_seen", "live_dentries_dropped", "mapped_lost_pages", "dirty_lost_pages", "writeback_started_pages",
             "mapped_pages", "dirty_pages", "dirty_pages_by_kernel", "harm_evicted_bytes"},
    "slab": {"slab_growth_bytes", "slab_evicted_bytes", "slab_small_cached_bytes"},
    "full": {"limit_holds_seconds"},
    "cost": {"throughput_counted_ratio", "mixed_cpu_ratio", "counted_evicted_bytes"},
    "logs": {f"{name}_kernel_log_troubles" for name in ("alpha", "limited", "unlimited")},
}


def measured(scenario):
    """The report of a scenario's short form."""
    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("QEMU is not installed")
    with Lab(quick=True) as lab:
        report = Report(scenario.__name__, accel()[0], images.kernel_release())
        scenario.run(lab, report, "6.1")
    return report


def held(report, names):
    """Fail with what was measured about each check of these names that does not hold, and each that was not made."""
    found = {check["name"]: check for check in report.checks}
    failed = [name for name in sorted(names) if name not in found or not found[name]["ok"]]
    # A message of one's own is not shortened.
    assert not failed, "\n".join(f"{found.get(name, name)}: {_about(report, name)}" for name in failed)


def _about(report, name):
    return {key: value for key, value in report.measures.items() if key.split("_")[:2] == name.split("_")[:2]}


@pytest.fixture(scope="module")
def limit_report():
    return measured(limit)


@pytest.fixture(scope="module")
def agent_report():
    return measured(agent)


@pytest.mark.parametrize("group", GROUPS)
def test_limit(limit_report, group):
    held(limit_report, GROUPS[group])


def test_no_check_is_forgotten(limit_report):
    assert {check["name"] for check in limit_report.checks} <= set().union(*GROUPS.values())


def test_agent_costs_little(agent_report):
    """Over a minute: CPU time and memory of an idle and of a busy guest's agent."""
    held(agent_report, {check["name"] for check in agent_report.checks})
    assert {"agent_cpu_ratio_idle", "agent_cpu_ratio_busy", "busy_evicted_bytes"} <= {c["name"] for c in agent_report.checks}

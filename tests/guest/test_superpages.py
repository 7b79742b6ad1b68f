# SPDX-License-Identifier: Apache-2.0
"""The short form of the scenario `superpages`: what a virtio-mem device gives comes back to the host, nothing drifts, and the
superpages that could be given are those that the agent finds."""
import pytest

from lab import swap
from lab.scenarios import superpages
from test_limit import held, measured

GROUPS = {
    "returned": {"dial_returned_bytes", "native_left_bytes"},
    "found": {"reclaimable_found_ratio", "reclaimable_went_ratio"},
    "given_back": {"killed_journaled", "killed_left_held", "killed_log_troubles"},
    "no_drift": {"drift_memtotal_bytes", "drift_memavailable_bytes"},
    "harmless": {"kernel_log_troubles"},
    "taken": {"superpage_bytes_ratio", "taken_kept_share", "taken_drift_pool", "taken_drift_memtotal_bytes", "taken_drift_memavailable_bytes",
              "taken_log_troubles"},
}


@pytest.fixture(scope="module")
def superpages_report():
    return measured(superpages)


@pytest.mark.parametrize("group", GROUPS)
def test_superpages(superpages_report, group):
    if group == "taken" and not GROUPS[group] & {check["name"] for check in superpages_report.checks}:
        pytest.skip(f"{swap.NONE}: an agent's superpages were left out")
    held(superpages_report, GROUPS[group])


def test_no_check_of_the_superpages_is_forgotten(superpages_report):
    assert {check["name"] for check in superpages_report.checks} <= set().union(*GROUPS.values())

# SPDX-License-Identifier: Apache-2.0
"""The short form of the scenario `balloon`: resizes under stress, daemons that die, disturbed guests, clean stops."""
import pytest

from lab.scenarios import balloon
from test_limit import held, measured

GROUPS = {
    "resizes": {"resizes_done", "resizes_moved", "resizes_hands_off", "resize_oom_kills", "left_squeezed_bytes"},
    "kills": {"kills_done", "kills_journaled", "kill_adopted_seconds_max", "kill_restored_seconds_max",
              "kills_left_squeezed", "kills_unproven"},
    "turmoil": {"turmoil_done", "turmoil_left_squeezed", "turmoil_broken_guests"},
    "squeeze": {"squeeze_fill_disk_bytes", "squeeze_cached_bytes", "squeeze_reached", "squeeze_evicted_bytes",
                "squeeze_cached_after_bytes", "squeeze_host_taken_bytes", "reread_disk_bytes", "squeeze_left_bytes"},
    "halved": {"halved_reached", "halved_evicted_bytes", "halved_reread_disk_bytes", "halved_dropped_disk_bytes"},
    "plain": {"unhinted_kernel_stolen_bytes", "hint_kernel_stolen_bytes", "hint_mapped_lost_pages"},
    "restores": {"state_changed_lines", "state_difference",
                 *(f"restore_{code}_code_{how}" for code in ("stop", "check") for how in ("statistics", "agent"))},
    "wants": {"want_seconds", "want_oom_kills", "want_left_squeezed_bytes"},
    "logs": {"kernel_log_troubles"},
}


@pytest.fixture(scope="module")
def report():
    return measured(balloon)


@pytest.mark.parametrize("group", GROUPS)
def test_balloon(report, group):
    held(report, GROUPS[group])


def test_no_check_is_forgotten(report):
    assert {check["name"] for check in report.checks} <= set().union(*GROUPS.values())

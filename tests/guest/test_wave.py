# SPDX-License-Identifier: Apache-2.0
"""The short form of the scenario `wave`: a build while the balloon goes up and down, with the hint and without."""
import xml.etree.ElementTree as xml

import pytest

from lab import plot, wave_build
from lab.scenarios import wave
from test_limit import held, measured

GROUPS = {
    "waves": {"full_waves", "balloon_swing_ratio", "stock_stolen_bytes"},
    "hint": {"hint_held_ratio", "hint_ahead_bytes"},
    "harmless": {"oom_kills", "kernel_log_troubles", "builds_lost"},
}


@pytest.fixture(scope="module")
def wave_report():
    return measured(wave)


@pytest.mark.parametrize("group", GROUPS)
def test_wave(wave_report, group):
    held(wave_report, GROUPS[group])


def test_no_check_of_the_wave_is_forgotten(wave_report):
    assert {check["name"] for check in wave_report.checks} <= set().union(*GROUPS.values())


def test_the_wave_is_a_triangle():
    assert [wave_build.target(seconds, 8) for seconds in (0, 2, 4, 6, 8, 12)] == \
        [1_500_000_000, 1_000_000_000, 500_000_000, 1_000_000_000, 1_500_000_000, 500_000_000]


def test_a_picture_has_each_line_once_in_each_panel():
    lines = {"balloon <1>": [(0, 1.5e9), (10, 5e8)], "held": [(0, 2e9), (10, 1e9)]}
    drawn = xml.fromstring(plot.svg([("one", lines), ("two", lines)], "MB", 1e6))
    name = "{http://www.w3.org/2000/svg}"
    paths = [line.get("points") for line in drawn.iter(f"{name}polyline")]
    assert len(paths) == 4 and len(set(paths)) == 4
    # Down is less: the higher value is nearer to the top.
    (_, first), (_, last) = (tuple(map(float, point.split(","))) for point in paths[0].split())
    assert first < last
    assert [text.text for text in drawn.iter(f"{name}text")].count("balloon <1>") == 2

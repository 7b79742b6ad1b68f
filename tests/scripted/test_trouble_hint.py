# SPDX-License-Identifier: Apache-2.0
"""The cache-first hint of the host, with agents that forget, cannot, or are away: kept, sent and shown as the limit is."""
import json

import pytest

from daemon import folder  # noqa: F401  (a fixture)
from lab import process, wire
from test_trouble_limit import MISSING, Guest, done, place, refused  # noqa: F401  (a fixture)

CAN_LIMIT_NO_HINT = 63


def test_set_and_shown(place):  # noqa: F811
    made = place(Guest())
    made.guest.hinted("default")
    assert made.daemon.vm("a")["hint"] == {"text": None, "source": None}
    done(made.ctl("hint", "a", "cache"), "a: hint cache")
    made.guest.hinted("cache")
    report = made.reported(lambda r: r["hint"] == "cache")
    assert (report["hint_origin"], report["inflation_seen_by"], report["inflate_left_bytes"]) == ("host", "driver", None)
    assert (report["inflations"], report["evicted_ahead_bytes"]) == (2, 3 << 20)
    shown = done(made.ctl("hint", "a"), "a: hint cache")
    assert "hint cache, set by host; 3.0 MiB evicted ahead of 2 inflations, seen by driver" in shown
    rows = [line.split() for line in done(made.ctl("status")).splitlines()]
    assert "a cache cache host 0 B - 3.0 MiB driver".split() in rows
    done(made.ctl("hint", "a", "none"), "a: hint none")
    made.guest.hinted("none")
    assert made.daemon.vm("a")["hint"] == {"text": "none", "source": "command"}
    done(made.ctl("hint", "a", "default"), "a: hint default")
    made.guest.hinted("default")
    assert made.daemon.vm("a")["hint"] == {"text": None, "source": "command"}
    made.daemon.stop()


def test_it_and_the_limit_do_not_disturb_each_other(place):  # noqa: F811
    made = place(Guest())
    done(made.ctl("hint", "a", "cache"))
    done(made.ctl("cache-limit", "a", "16M"))
    made.guest.sent(wire.LIMIT_BYTES, 0, 16 << 20)
    assert made.guest.hints[-1] == "cache"
    done(made.ctl("hint", "a", "none"))
    made.guest.hinted("none")
    assert made.guest.limits[-1] == (wire.LIMIT_BYTES, 0, 16 << 20)
    made.daemon.stop()


def test_kept_over_agents_and_daemons(place):  # noqa: F811
    made = place(Guest())
    done(made.ctl("hint", "a", "cache"))
    made.guest.hinted("cache")
    made.new_agent(Guest())
    made.guest.hinted("cache")
    made.daemon.process.kill()
    made.daemon.process.wait()
    made.guest.hints.clear()
    made.start()
    made.guest.hinted("cache")
    assert made.daemon.vm("a")["hint"] == {"text": "cache", "source": "command"}
    made.daemon.stop()


def test_told_again_when_forgotten(place):  # noqa: F811
    made = place(Guest(report=lambda: wire.report(limit_origin=4)))
    done(made.ctl("hint", "a", "cache"))
    process.wait_for(lambda: made.guest.hints.count("cache") >= 2, 25, "it is told again")
    assert made.guest.hints.count("cache") <= made.guest.asked + 1
    made.daemon.stop()


def test_configuration_and_command(place):  # noqa: F811
    made = place(Guest(), more="reclaim_cache_first = yes")
    made.guest.hinted("cache")
    assert made.daemon.vm("a")["hint"] == {"text": "cache", "source": "configuration"}
    done(made.ctl("hint", "a", "none"))
    made.daemon.stop()
    made.guest.hints.clear()
    made.start()
    made.guest.hinted("none")
    assert made.daemon.vm("a")["hint"]["source"] == "command"
    made.daemon.stop()


def test_who_is_refused(place):  # noqa: F811
    made = place(Guest(), act=False, more="reclaim_cache_first = yes")
    made.daemon.says("reclaim_cache_first has no effect while the guest is only observed")
    refused(made.ctl("hint", "a", "cache"), 4, "only observed")
    refused(made.ctl("hint", "a", "cache", "--dry-run"), 4, "only observed")
    refused(made.ctl("hint", "b", "cache"), 1, "no guest named 'b'")
    done(made.ctl("hint", "a"))
    made.guest.hinted("default")
    assert set(made.guest.hints) == {"default"} and not (made.daemon.state / "hints.d/a").exists()
    assert made.daemon.vm("a")["warnings"] == ["hint: it is only observed: no effect until its file says act = yes, or it "
                                               "is attached with --act"]
    made.daemon.stop()


def test_agent_that_cannot(place):  # noqa: F811
    made = place(Guest(capabilities=CAN_LIMIT_NO_HINT, missing=MISSING), more="reclaim_cache_first = yes\ncache_limit = 2M")
    assert made.daemon.vm("a")["warnings"] == ["hint: no effect: its agent cannot hold it"]
    refused(made.ctl("hint", "a", "cache"), 4, "ahead of the balloon", MISSING.decode())
    assert set(made.guest.hints) <= {"default"} and not (made.daemon.state / "hints.d/a").exists()
    # One that was stored for another agent can be withdrawn.
    for hint in ("none", "default"):
        done(made.ctl("hint", "a", hint), f"a: hint {hint}")
        assert (made.daemon.state / "hints.d/a").read_text().strip() == hint
    made.daemon.stop()


def test_agent_that_is_away(place):  # noqa: F811
    made = place(Guest())
    made.agent.stop()
    made.daemon.wait_agent("a", "absent")
    done(made.ctl("hint", "a", "cache"), "it will hold once it does")
    assert "warning: a: hint: the agent does not answer now" in done(made.ctl("status"))
    made.daemon.stop()


def test_dry_run(place):  # noqa: F811
    made = place(Guest())
    done(made.ctl("hint", "a", "cache", "--dry-run"), "nothing was changed, the hint would be cache")
    assert json.loads(done(made.ctl("--json", "hint", "a", "none", "--dry-run")))["checked"] == {"text": "none"}
    assert set(made.guest.hints) <= {"default"}
    made.daemon.stop()


@pytest.mark.parametrize("value", ["", "Cache", "yes", "cache "])
def test_values(place, value):  # noqa: F811
    made = place(Guest())
    refused(made.ctl("hint", "a", value), 2, "is no hint")
    reply = made.daemon.call("hint", vm="a", hint=value)
    assert reply["error"] == "invalid" and "is no hint" in reply["parameters"]["message"]
    made.daemon.stop()


@pytest.mark.parametrize("damage", [b"", b"cache", b"cached\n", b"cache\n\0"])
def test_damaged_state(place, damage):  # noqa: F811
    made = place(Guest())
    done(made.ctl("hint", "a", "cache"))
    made.daemon.stop()
    kept = made.daemon.state / "hints.d/a"
    kept.write_bytes(damage)
    made.guest.hints.clear()
    made.start()
    made.guest.hinted("default")
    assert made.daemon.log().count("hints.d/a is damaged, ignored") == 1
    done(made.ctl("hint", "a", "cache"))
    assert kept.read_text() == "cache\n"
    made.daemon.stop()

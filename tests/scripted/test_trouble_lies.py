# SPDX-License-Identifier: Apache-2.0
"""An agent that lies about what it did: the lie moves no number that anybody else depends on."""
import os
import struct

import pytest

import daemon as d
from daemon import folder  # noqa: F401  (a fixture)
from lab import process, wire

MIB = 1 << 20
PAGES = MIB // 4096
IDENTITY = struct.pack("<IIQII", 1, 1, 5, 0, 0)


def told(runs=((0, PAGES, 60),)):
    """A scan: one file on all blocks of the guest's only disk; runs (index, count, age) of it are cached and clean."""
    yield wire.DISK, struct.pack("<IIQ16s32s", 0, 0, MIB, b"", b"d")
    yield wire.FILE, IDENTITY + struct.pack("<QIIII", MIB, 0, 0, 0, 0)
    yield wire.EXTENTS, struct.pack("<IIQQQ", 0, 1, 0, 0, PAGES)
    yield wire.PAGES, struct.pack("<II", len(runs), 0) + b"".join(
        struct.pack("<QIIIHBB", index, 0, count, 0, age, 0, 0) for index, count, age in runs)
    yield wire.SCAN_END, d.SCAN_NOTHING


def result(asked, status=0):
    return struct.pack("<10QiI", asked, asked, *[0] * 8, status, 0)


def agent_with(answer, *runs):
    """Plays told(), and answers every EVICT with the payload `answer`."""
    def serve(agent, connection):
        for kind, ident in agent.requests(connection):
            if kind == wire.SCAN:
                for what, payload in told(*runs):
                    connection.sendall(d.frame(what, ident, payload))
            elif kind == wire.EVICT:
                connection.sendall(d.frame(wire.RESULT, ident, answer))
            else:
                agent.answer(connection, kind, ident)
    return serve


def reclaim(directory, answer, *runs, **parameters):
    """The reply to one reclaim of a guest whose agent answers so, with all explanations in it."""
    directory.mkdir()
    image = directory / "image.raw"
    image.write_bytes(os.urandom(MIB))
    qemu = d.Qemu(directory, "a", image=image, runs=True)
    agent = d.FakeAgent(directory / "a.agent", agent_with(answer, *runs))
    made = d.Daemon(directory).add("a", qemu.path, agent.path, act=True)
    # This process has the image open: the host may not trim, so the guest is asked.
    with open(image, "rb") as held:
        held.read()
        try:
            made.start()
            made.wait_agent("a", "live")
            made.wait_vm("a", lambda vm: vm["state"] == "running")
            reply = made.call("reclaim", seconds=60, **parameters)["parameters"]
            reply["explained"] = [made.call("explain", order=o["id"])["parameters"] for o in reply["orders"]]
            made.stop()
            return reply
        finally:
            process.stop(made.process)
            agent.stop()
            qemu.stop()


def test_honest_answer_counts(folder):
    reply = reclaim(folder / "honest", result(PAGES))
    order = reply["orders"][0]
    assert (order["action"], order["done_bytes"], order["error"]) == ("evict", MIB, None)


@pytest.mark.parametrize("claimed", [PAGES + 1, PAGES - 1, 1 << 40])
def test_answer_for_other_pages(folder, claimed):
    reply = reclaim(folder / f"claims-{claimed}", result(claimed))
    order = reply["orders"][0]
    assert "the agent answered for other pages than it was asked for" in order["error"]
    assert order["done_bytes"] == 0 and reply["evicted_bytes"] == 0 and reply["host_returned_bytes"] == 0


def test_trouble_with_a_file_is_told(folder):
    answer = struct.pack("<10QiI", PAGES, *[0] * 7, PAGES, 0, 5, 0)
    order = reclaim(folder / "status", answer)["orders"][0]
    assert order["done_bytes"] == 0 and "Input/output error" in order["error"]
    assert order["kept"]["failed"] == MIB


def test_ages(folder):
    """Half a minute without use is cold; what is younger is not, nor what has no age."""
    runs = ((0, 100, 30), (100, 50, 29), (150, 40, 0), (190, 66, 65535))
    reply = reclaim(folder / "ages", result(PAGES), runs, dry_run=True)
    inputs = reply["explained"][0]["inputs"]
    assert inputs["evictable_bytes"] == MIB and inputs["cold_bytes"] == 100 * 4096
    assert not inputs["age_known"]

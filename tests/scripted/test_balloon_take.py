# SPDX-License-Identifier: Apache-2.0
"""What a daemon makes of agents that keep superpages out of use, or say so."""
import struct

import pytest

import daemon as d
from ballooned import CAN, MIB, Agent, place  # noqa: F401  (a fixture)
from daemon import folder  # noqa: F401  (a fixture)
from lab import wire
from lab.process import wait_for

SUPERPAGE = 2 * MIB


class Taker(Agent):
    """Takes what it is asked for, from superpage `first` on, and `more` of them."""

    def __init__(self, first=64, more=0):
        super().__init__()
        self.can = CAN | wire.CAN_TAKE
        self.first, self.more, self.takes, self.has = first, more, [], 0

    def told(self, untaken="none"):
        return wire.taken(self.has, [(self.first, self.has)] if self.has else [], untaken)

    def __call__(self, agent, connection):
        plain = agent.answer

        def answer(connection, kind, ident):
            if kind != wire.TAKE:
                return plain(connection, kind, ident)
            self.takes.append(struct.unpack("<Q", agent.payload)[0])
            self.has = self.takes[-1] + (self.more if self.takes[-1] else 0)
            return connection.sendall(d.frame(wire.TAKEN, ident, self.told()))
        agent.answer = answer
        messages = agent.messages

        def noted(connection):
            for kind, ident, payload in messages(connection):
                agent.payload = payload
                yield kind, ident, payload
                # After its greeting an agent tells what it has.
                if kind == wire.WELCOME:
                    connection.sendall(d.frame(wire.TAKEN, 0, self.told()))
        agent.messages = noted
        super().__call__(agent, connection)


SWAPS = "Filename\tType\tSize\tUsed\tPriority\n"


def sees(folder, name, swaps):  # noqa: F811
    """A daemon's wrapper: what it sees of the host's swap."""
    path = folder / f"swaps-{name}"
    path.write_text(SWAPS + swaps)
    return "unshare", "--mount", "sh", "-c", f'mount --bind {path} /proc/swaps && exec "$@"', "sh"


def test_without_swap(place, folder):  # noqa: F811
    """As this daemon sees it, whatever this machine has."""
    made = place("without", agent=Taker(), wrapper=sees(folder, "none", ""))
    made.refused("-100M", "refused", "no virtio-mem device", "no 256 MiB of free swap", "--by=pages", by="superpages")
    reply = made.resize("-100M")
    assert reply["state"] == "reached" and reply["taken_bytes"] == 0 and not made.said.takes, "by pages, then"
    assert made.daemon.vm("a")["set_up"] == "reporting"


def test_what_nobody_asked_for_is_given_back(place):  # noqa: F811
    """By a daemon before this one, whose journal is lost: it does not stay for ever."""
    said = Taker()
    said.has = 10  # of the 32 MiB that its greeting tells of
    made = place("unknown", agent=said)
    made.daemon.says("keeps 10 superpages out of use, and 0 are known to be asked for")
    wait_for(lambda: said.takes == [0], 10, "all is to be given back")
    wait_for(lambda: made.status()["taken_bytes"] == 0, 10, "the daemon knows")


def test_claims_that_cannot_be(place):  # noqa: F811
    """What contradicts itself is no message; who has more out of use than he has is no agent."""
    made = place("claims", agent=Taker())
    for payload in (wire.taken(1, [(5, 2)]), wire.taken(4, [(5, 2), (6, 1)]), wire.taken(5)):
        made.agent.connection.sendall(d.frame(wire.TAKEN, 0, payload))
    wait_for(lambda: made.status()["taken_bytes"] == 5 * SUPERPAGE, 10, "the last one is believed, and no other")
    made.agent.connection.sendall(d.frame(wire.TAKEN, 0, wire.taken(made.balloon.memory // SUPERPAGE)))
    made.daemon.wait_agent("a", "bad")
    assert made.status()["size_bytes"] > 0


@pytest.mark.parametrize("first", [64, 1 << 30], ids=["its-own", "beyond-its-memory"])
def test_what_the_host_does_not_page_out_is_given_back(place, folder, first, request):  # noqa: F811
    """Here QEMU's memory is not where QEMU says, for it is another process that answers for it: nothing is done to that, and
    the rest goes by pages."""
    said = Taker(first)
    swaps = sees(folder, request.node.callspec.id, "/dev/zram0 partition 1048576 0 100\n")
    made = place(f"kept-{request.node.callspec.id}", agent=said, wrapper=swaps)
    reply = made.resize("-100M")
    assert reply["state"] == "reached" and reply["taken_bytes"] == reply["paged_out_bytes"] == 0, reply
    assert said.takes[0] == 50 and set(said.takes[1:]) == {0} and made.balloon.target == made.balloon.memory - 100 * MIB
    assert any(note.startswith("superpages: ") for note in reply["notes"]), reply["notes"]
    reply = made.resize("-100M", by="superpages")
    assert reply["state"] == "superpages_ended" and reply["actual_bytes"] == made.balloon.memory - 100 * MIB


def test_more_than_it_was_asked_for(place, folder):  # noqa: F811
    """A host would fill its swap with what a guest says that it does not use: nothing of it is paged out."""
    said = Taker(more=1)
    made = place("more", agent=said, wrapper=sees(folder, "more", "/dev/zram0 partition 1048576 0 100\n"))
    reply = made.resize("-100M")
    assert reply["state"] == "reached" and reply["taken_bytes"] == reply["paged_out_bytes"] == 0, reply
    assert "superpages: the agent claims to have taken more than it was asked for" in reply["notes"], reply["notes"]
    assert said.takes[0] == 50 and set(said.takes[1:]) == {0} and made.balloon.target == made.balloon.memory - 100 * MIB

# SPDX-License-Identifier: Apache-2.0
"""pagepact-restore and a guest that has something to lose."""
from lab import process
from restoring import INTERVAL, MIB, restore, write_entry


def test_squeezed_guest(fresh_guest, tmp_path):
    """A guest that was squeezed has its memory back."""
    guest = fresh_guest("squeezed", memory_mib=512)

    def actual():
        return guest.qmp("query_balloon")["actual"]
    original = actual()
    guest.qmp("balloon", value=original - 192 * MIB)
    process.wait_for(lambda: actual() <= original - 192 * MIB, 60, "the balloon is inflated")
    uuid = guest.qmp("query_uuid")["UUID"]
    write_entry(tmp_path / "run", "squeezed", guest.qmp_path, guest.process.pid, original_bytes=original,
                target_bytes=original - 192 * MIB, uuid="" if set(uuid) <= set("0-") else uuid,
                stats_path="/machine/peripheral/balloon0", stats_seconds=0)
    guest.qmp("qom_set", path="/machine/peripheral/balloon0", property=INTERVAL, value=1)
    found = restore(tmp_path / "run", "--now")
    assert found.returncode == 0, found.stderr
    process.wait_for(lambda: actual() == original, 60, "the guest has its memory back")
    assert guest.qmp("qom_get", path="/machine/peripheral/balloon0", property=INTERVAL) == 0
    assert restore(tmp_path / "run", "--check").returncode == 0

# SPDX-License-Identifier: Apache-2.0
"""The demo from `pagepact reclaim` to what a rival costs."""
import time

from lab import oracle, workload
from lab.report import MIB, mib, table
from lab.say import step
from lab.witness import Witness

RETURN_SECONDS = 15
COST_BYTES = 100 * MIB


def _host_memory():
    with open("/proc/meminfo") as meminfo:
        found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in meminfo}
    return {name: found[name] for name in ("MemFree", "MemAvailable", "Cached")}


def _written(demo):
    """Bytes that the guests' kernels wrote back so far."""
    return sum(int(g.run("grep '^nr_written ' /proc/vmstat").split()[1]) * oracle.BLOCK for g in demo.guests)


def _wait_returned(demo, ram_before, wanted):
    """Free page reporting works through the free lists every two seconds; how much came back, and after how long."""
    start = time.monotonic()
    while True:
        returned = ram_before - sum(g.ram_resident_bytes() for g in demo.guests)
        taken = time.monotonic() - start
        if returned >= wanted or taken > RETURN_SECONDS:
            return returned, taken
        time.sleep(0.25)


def reclaim(demo):
    report = demo.report
    report.head("pagepact reclaim")
    demo.memory_before = _host_memory()
    demo.ram_before = {g.name: g.ram_resident_bytes() for g in demo.guests}
    written = _written(demo)
    asked = sum(g.virtual_disk_read_bytes() for g in demo.guests)
    # What the host lost before or after is not this command's doing.
    demo.witness = Witness(demo.lab.directory, demo.lab.images)
    demo.host_before = oracle.host_holding(demo.lab.images)
    step("pagepact reclaim")
    start = time.monotonic()
    reply = demo.orders = demo.lab.pagepact("reclaim", seconds=120)
    report.measure("reclaim_seconds", time.monotonic() - start)
    demo.host_after = oracle.host_holding(demo.lab.images)
    demo.witness.close()
    # Before anything is looked at: what was hot and went would be read again by its users.
    report.measure("hot_refault_bytes", sum(g.virtual_disk_read_bytes() for g in demo.guests) - asked)
    with demo.lab.hold_host_cache():
        returned, taken = _wait_returned(demo, sum(demo.ram_before.values()), 0.95 * reply["evicted_bytes"])
    report.measure("host_returned_bytes", returned)
    report.measure("host_returned_seconds", taken)
    report.check("writeback_started_bytes", report.measure("writeback_started_bytes", _written(demo) - written), "== 0")
    report.measure("evicted_claimed_bytes", reply["evicted_bytes"])
    report.measure("trimmed_claimed_bytes", reply["trimmed_bytes"])
    rows = [(o["id"], o["vm"] or "host", o["step"], o["action"], mib(o["asked_bytes"]), mib(o["done_bytes"]))
            for o in reply["orders"][:12]]
    report.say(table(("order", "where", "step", "action", "asked", "done"), rows))
    for refused in reply.get("refused", []):
        report.say(f"  refused: {refused.get('vm') or refused.get('image') or 'host'}: {refused['reason']}")


def _asked_trims(demo):
    """What pagepact says that it asked the host to trim, {image: blocks}."""
    asked = {}
    for order in demo.orders["orders"]:
        if order["action"] == "trim":
            runs = demo.lab.pagepact("explain", str(order["id"]))["runs"]
            asked = oracle.union(asked, {order["image"]: oracle.runs_bits(runs)})
    return asked


def _check_host_trim(demo):
    """Of what was to leave the host, how much went, and what else processes took out with it."""
    report, witness = demo.report, demo.witness
    asked = _asked_trims(demo)
    lost = oracle.without(demo.host_before, demo.host_after)
    gone, others = oracle.both(lost, asked), oracle.without(lost, asked)
    report.measure("host_trim_asked_bytes", oracle.size_bytes(asked))
    report.measure("host_trim_gone_bytes", oracle.size_bytes(gone))
    ratio = oracle.size_bytes(gone) / oracle.size_bytes(asked) if asked else None
    report.check("host_trim_exact_ratio", report.measure("host_trim_exact_ratio", ratio), ">= 0.95")
    # Only blocks that one guest held may be asked for; who held them then is known from before and from after.
    single = oracle.union(demo.before.held_by_one_guest(), demo.after.held_by_one_guest())
    report.measure("host_trim_not_single_bytes", oracle.size_bytes(oracle.without(asked, single)))
    neighbours = oracle.both(others, witness.by_processes)
    report.measure("host_trim_neighbours_lost_bytes", oracle.size_bytes(neighbours))
    report.check("host_trim_neighbours_lost_bytes", oracle.size_bytes(neighbours), "== 0")
    # The host's own threads let idle pages go meanwhile; the kernel's tracepoint tells which.
    report.measure("host_lost_by_itself_bytes", oracle.size_bytes(oracle.without(others, neighbours)))
    # What a trim took out with it stays out: reading it again is what reclaim costs.
    demo.host_taken = oracle.union(gone, neighbours)


def _check_evictions(demo):
    report, before, after = demo.report, demo.before, demo.after
    sole = evicted = hot = 0
    for guest in demo.guests:
        lost = oracle.without(before.guests[guest.name].held, after.guests[guest.name].held)
        evicted += oracle.size_bytes(lost)
        sole += oracle.size_bytes(oracle.both(lost, before.sole(guest.name)))
        if guest is demo.alpha:
            hot = oracle.size_bytes(oracle.both(lost, demo.hot_blocks))
    report.measure("evicted_bytes", evicted)
    report.check("evicted_bytes", evicted, f">= {200 * MIB}")
    report.check("sole_copy_evicted_bytes", report.measure("sole_copy_evicted_bytes", sole), "== 0")
    report.check("hot_evicted_bytes", report.measure("hot_evicted_bytes", hot), "== 0")
    returned = report.measures["host_returned_bytes"]
    report.check("host_returned_ratio", report.measure("host_returned_ratio", returned / max(1, evicted)), ">= 0.80 of evicted")


def _check_copies(demo):
    """Mapped, hot and metadata pages may not be evicted: the limit is for the rest, and theirs is reported."""
    report, after = demo.report, demo.after
    evictable = oracle.without(after.evictable(), demo.hot_blocks)
    report.check("copy_factor_after", report.measure("copy_factor_after", after.copy_factor(evictable)), "<= 1.10")
    report.measure("copy_factor_after_all", after.copy_factor())
    mapped = oracle.union(*(v.mapped for v in after.guests.values()))
    report.measure("copies_mapped_after_bytes", after.copies_bytes(mapped))
    report.measure("distinct_mapped_after_bytes", after.distinct_bytes(mapped))


def look_again(demo):
    report = demo.report
    with demo.lab.hold_host_cache():
        demo.after = oracle.look(demo.guests)
    report.head("What is cached where, after")
    demo.show_machine(demo.after)
    demo.show_known_file(demo.after)
    now = _host_memory()
    rows = [(f"host {name}", mib(demo.memory_before[name]), mib(now[name])) for name in now]
    rows += [(f"guest {g.name}'s memory held by the host", mib(demo.ram_before[g.name]), mib(g.ram_resident_bytes()))
             for g in demo.guests]
    report.say("\n" + table(("memory", "before", "after"), rows))
    report.measure("host_free_gained_bytes", now["MemFree"] - demo.memory_before["MemFree"])
    _check_evictions(demo)
    _check_host_trim(demo)
    _check_copies(demo)


def read_again(demo):
    # What the host's own threads let go, since then or now, is not what reclaim costs.
    kept = oracle.without(demo.host_before, demo.host_taken)
    for image, blocks in oracle.without(kept, oracle.host_holding(demo.lab.images)).items():
        oracle.read_on_host(image, blocks)
    step("both guests read everything again")
    report = demo.report
    with demo.lab.hold_host_cache():
        read, seconds, stored = demo.read_everything()
    report.measure("reread_bytes", read)
    report.measure("reread_seconds_after", seconds)
    report.measure("reread_disk_bytes", stored)
    report.check("reread_disk_ratio", report.measure("reread_disk_ratio", stored / read), "<= 0.005 of reread_bytes")
    # All of it is in the guests' caches now, as it was before reclaim; measured then, it would have made everything hot.
    report.measure("reread_seconds_before", demo.read_everything()[1])


def rival(demo):
    """The same state as before reclaim, then drop_caches in both guests: what has no copy elsewhere comes from storage."""
    report = demo.report
    demo.evict_alphas_own_from_host()
    for image, blocks in oracle.without(demo.host_before, oracle.host_holding(demo.lab.images)).items():
        oracle.read_on_host(image, blocks)
    ram = sum(g.ram_resident_bytes() for g in demo.guests)
    step("the rival: drop_caches in both guests, and everything is read again")
    cached = sum(map(workload.cached_bytes, demo.guests))
    for guest in demo.guests:
        workload.drop_caches(guest)
    with demo.lab.hold_host_cache():
        returned, _ = _wait_returned(demo, ram, 0.95 * (cached - sum(map(workload.cached_bytes, demo.guests))))
    report.measure("rival_returned_bytes", returned)
    _, seconds, stored = demo.read_everything()
    report.measure("rival_reread_seconds", seconds)
    report.check("rival_drop_caches_disk_bytes", report.measure("rival_drop_caches_disk_bytes", stored), "> 50e6")
    report.head("The same re-read, after pagepact and after drop_caches")
    m = report.measures
    rows = [("pagepact reclaim", mib(m["host_returned_bytes"]), mib(m["reread_disk_bytes"]), f"{m['reread_seconds_after']:.2f} s"),
            ("drop_caches", mib(returned), mib(stored), f"{seconds:.2f} s"),
            ("nothing", mib(0), mib(0), f"{m['reread_seconds_before']:.2f} s")]
    report.say(table(("after", "returned", "read from storage", "re-read"), rows))


def costs(demo):
    """Microseconds a page from each place, measured in bravo on files of the shared set."""
    report, bravo = demo.report, demo.bravo
    step("the cost of a page from each of three places")
    sizes = [f for f in workload.list_files(bravo) if f[0] in set(demo.shared) - set(demo.hot) - set(demo.hot_mapped)]
    paths, _ = workload.choose(sizes, COST_BYTES)
    look = oracle.guest_view(oracle.look_in_guest(bravo, paths), oracle.disk_map(bravo))
    blocks = oracle.blocks_of(look, paths)

    def cost():
        done = workload.read({bravo: paths})[bravo]
        return done["seconds"] * 1e6 / done["pages"]
    cost()
    report.measure("cost_guest_usec", cost())
    workload.drop(bravo, paths)
    report.measure("cost_host_usec", cost())
    workload.drop(bravo, paths)
    # Alpha keeps its copies: only the host's and bravo's go.
    for image, bits in blocks.items():
        oracle.evict_from_host(image, bits, flush=image != str(bravo.base))
    report.measure("cost_storage_usec", cost())
    kind = " (emulated CPU)" if report.accel == "tcg" else ""
    names = ("cost_guest_usec", "cost_host_usec", "cost_storage_usec")
    report.head(f"What a page costs to read again{kind}")
    report.say(table(("", "guest's cache", "host's cache", "storage"),
                     [("microseconds a page", *(f"{report.measures[n]:.1f}" for n in names))]))
    report.say("  What reclaim evicted lies in the second column: a copy through the virtual disk, and no read from storage.")

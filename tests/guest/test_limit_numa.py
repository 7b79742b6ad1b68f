# SPDX-License-Identifier: Apache-2.0
"""On a guest of two NUMA nodes the page cache limit holds on each of them, as the zones' did in 2010."""
import json

from lab import stream

MIB = 1 << 20
SHARE_BYTES = 64 * MIB
READ_BYTES = 320 * MIB
# Other users of this machine may take the CPU away from the agent, not from the reader: test_limit.py is exact.
SLACK_BYTES = 64 * MIB

READ = """
import json, os, re, threading, time

def unmapped(node):
    with open(f"/sys/devices/system/node/node{node}/vmstat") as text:
        v = dict(line.split() for line in text)
    return (int(v["nr_inactive_file"]) + int(v["nr_active_file"]) - int(v["nr_mapped"])) * 4096

peaks, done = [0, 0], threading.Event()

def sample():
    while not done.is_set():
        for node in (0, 1):
            peaks[node] = max(peaks[node], unmapped(node))
        time.sleep(0.01)

sampler = threading.Thread(target=sample)
sampler.start()
for node, path in enumerate(ARGS["paths"]):
    with open(f"/sys/devices/system/node/node{node}/cpulist") as cpus:
        os.sched_setaffinity(0, {int(cpus.read().split("-")[0].split(",")[0])})
    fd = os.open(path, os.O_RDONLY)
    buffer = bytearray(1 << 20)
    for at in range(0, ARGS["bytes"], len(buffer)):
        os.preadv(fd, [buffer], at)
    os.close(fd)
done.set()
sampler.join()
print(json.dumps(peaks))
"""


def test_the_limit_holds_on_each_node(fresh_guest):
    guest = fresh_guest("nodes", smp=2, numa=True, shared_disks=[stream.image()], agent_alone=True, agent_port=False,
                        append=f"unmapped_page_control={2 * SHARE_BYTES}")
    stream.Stream(guest)
    paths = [f"{stream.MOUNT}/s{n}" for n in (0, 1)]
    peaks = json.loads(guest.python(READ, {"paths": paths, "bytes": READ_BYTES}, seconds=120))
    # Each node had to do with a stream of its own: what came was far more than its share, and than both.
    assert all(SHARE_BYTES / 2 < peak < SHARE_BYTES + SLACK_BYTES for peak in peaks), [p / MIB for p in peaks]

# SPDX-License-Identifier: Apache-2.0
"""What a guest's kernel says of its slabs, dentries and inodes, and which of its functions were called meanwhile.

Runs in guests: ARGS = {"call": name, "args": [...]}; the answer is printed as JSON.
"""
import json
import os
import time

SLAB = "/sys/kernel/slab"
TRACING = "/sys/kernel/tracing"
TOP = "/root/slab"
# Half of these are deleted with their folders, so that slabs become empty; of the others every third.
FILES, FOLDERS = 4000, 20
WATCHED = ("dentry", "ext4_inode_cache")
# What drops dentries and inodes, and what a look-up costs that finds no dentry.
PROBES = {"scan": "super_cache_scan", "dentries": "prune_dcache_sb", "inodes": "prune_icache_sb",
          "evict": "ext4:ext4_evict_inode", "lookup": "ext4:ext4_lookup", "shrink": "kmem_cache_shrink"}


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def read(path):
    with open(path) as file:
        return file.read()


def wait_for(condition, what):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def names(kept):
    for n in range(FILES):
        if kept == (n >= FILES // 2 and n % 3 != 0):
            yield f"{TOP}/{n * FOLDERS // FILES}/{n}"


def watch():
    """Count calls by kprobes; the first run of everything leaves its own dentries behind now."""
    write(f"{TRACING}/kprobe_events", "".join(f"p:slab/{name} {function}\n" for name, function in PROBES.items()))
    write(f"{TRACING}/events/slab/enable", "1")
    run(["/run/lab/slab-tool", "shrink", "0", "10000000"])
    counters()
    calls()


def calls():
    found = {}
    for line in read(f"{TRACING}/kprobe_profile").splitlines():
        name, hits, missed = line.split()
        assert missed == "0"
        found[name] = int(hits)
    return {name: found[name] for name in PROBES}


def slabinfo():
    """{cache: bytes}"""
    lines = [line.split() for line in read("/proc/slabinfo").splitlines()[2:]]
    return {fields[0]: int(fields[14]) * int(fields[5]) * 4096 for fields in lines}


def objects(cache):
    """In use; those on lists of the CPUs, which count as such, are sent home by setting how many may be there."""
    path = f"{SLAB}/{cache}/cpu_partial"
    write(path, read(path))
    return int(read(f"{SLAB}/{cache}/objects").split()[0])


def dentries():
    """All, and those that nobody uses."""
    return [int(word) for word in read("/proc/sys/fs/dentry-state").split()[:2]]


def counters():
    # What was dropped leaves its slab after a grace period.
    wait_for(lambda: objects("dentry") == dentries()[0], "the cache holds just the dentries that there are")
    found = {"objects": {cache: objects(cache) for cache in WATCHED}, "caches": slabinfo()}
    found["dentries"], found["unused"] = dentries()
    found["inodes"] = int(read("/proc/sys/fs/inode-nr").split()[0])
    found["slab"] = next(int(line.split()[1]) * 1024 for line in read("/proc/meminfo").splitlines()
                         if line.startswith("Slab:"))
    return found


def keep_empty_slabs(keep):
    """Whether the kernel keeps all empty slabs, or 5 a node as it does by default for objects of these sizes."""
    for cache in WATCHED:
        write(f"{SLAB}/{cache}/min_partial", "100000" if keep else "5")


def fill():
    """Many files, of which more than half are deleted again: some slabs are empty then, some in part."""
    keep_empty_slabs(True)
    for n in range(FOLDERS):
        os.makedirs(f"{TOP}/{n}")
    for kept in (True, False):
        for name in names(kept):
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o644))
    os.sync()
    full = counters()
    deleted = list(names(False))
    for name in deleted:
        os.unlink(name)
    # The name of a deleted file stays cached, as one that is not there, until its folder goes.
    for n in range(FOLDERS // 2):
        os.rmdir(f"{TOP}/{n}")
    os.sync()
    # The kernel frees them after a grace period.
    wait_for(lambda: objects("dentry") <= full["objects"]["dentry"] - FILES // 2, "dentries are freed")
    wait_for(lambda: objects("ext4_inode_cache") <= full["objects"]["ext4_inode_cache"] - len(deleted), "inodes too")
    look()


def look():
    for name in names(True):
        os.stat(name)


def run(argv):
    """What a program prints; no pipe, whose dentry and inode would come and go."""
    fd = os.open("/run/slab.out", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    os.set_inheritable(fd, True)
    child = os.posix_spawn(argv[0], argv, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, fd, 1)])
    assert os.waitpid(child, 0)[1] & 0x7f == 0
    os.close(fd)
    return read("/run/slab.out")


def compare(argv):
    """What a program changes; some of the files are open meanwhile, all others just cached."""
    held = [os.open(name, os.O_RDONLY) for name in list(names(True))[:50]]
    look()
    before, called = counters(), calls()
    out = run(argv)
    after = counters()
    look()
    end = calls()
    for fd in held:
        os.close(fd)
    return {"out": out, "before": before, "after": after, "files": len(list(names(True))),
            "calls": {name: end[name] - called[name] for name in end}}


def growth(argv):
    """What a program and then slab-tool leave behind: dentries, inodes, bytes by cache."""
    before = counters()
    out = run(argv)
    between = counters()
    shrunk = json.loads(run(["/run/lab/slab-tool", "shrink", "4096", "1000000"]))
    after = counters()
    return {"before": before, "between": between, "after": after, "shrunk": shrunk, "out": out}


def main():
    print(json.dumps(globals()[ARGS["call"]](*ARGS["args"])))  # noqa: F821, the command server's


main()

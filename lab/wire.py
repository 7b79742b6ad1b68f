# SPDX-License-Identifier: Apache-2.0
"""The host's end of the protocol of src/wire/, for tests and scenarios that talk to an agent without a daemon."""
import errno
import itertools
import os
import select
import socket
import struct
import time
import zlib

MAGIC, VERSION, HEADER = 0x01504750, 3, struct.Struct("<IHHQII")
(WELCOME, HELLO, SCAN, DISK, FILE, EXTENTS, PAGES, SCAN_END, EVICT, RESULT, NAME, PATH, PING, PONG,
 ERROR, LIMIT, ASK, REPORT, FREE, FREED, HOLDS, TAKE, TAKEN) = range(1, 24)
CAN_SCAN, CAN_EVICT, CAN_NAME, CAN_LIMIT, CAN_HEAT, CAN_FREE, CAN_HINT, CLEARS, CLEARS_NOT, CAN_TAKE = (1 << n for n in range(10))
LIMIT_GUEST, LIMIT_OFF, LIMIT_BYTES, LIMIT_PERMILLE = range(4)
HINTS = ("default", "none", "cache")
NOTICES = ("none", "driver", "counter")
BLIND = (1 << 32) - 1
ORIGINS = ("none", "file", "smbios", "cmdline", "host")
STATES = ("off", "under", "over", "braked", "kept", "cannot")
BRAKES = ("none", "memory", "io", "refault", "quota")
HEATS = ("none", "accessed", "get_pages")
STEPS = ("free", "slab", "held", "superpage", "cold")
UNTAKEN = ("none", "scarce", "time", "hugetlb", "pressure", "silence", "failed")
STOPPED = ("done", "nothing_left", "time", "braked")
NO_LIMIT = (1 << 64) - 1
MAPPED, DIRTY, HOT, REFERENCED, HELD = (1 << n for n in range(5))
NO_DISK = (1 << 32) - 1
UNPLACED = ("placed", "file_system", "device", "gone", "encoded", "alignment", "leased", "write_error", "limit",
            "failed")
CENSUS = ("total", "free", "anonymous", "shmem", "mapped_file", "unmapped_clean", "unmapped_dirty", "slab", "other",
          "placed", "superpages", "superpages_free", "superpages_reclaimable", "files")
RESULTS = ("asked", "evicted", "mapped", "dirty", "hot", "gone", "partial", "moved", "failed", "usec", "status")


def frame(kind, payload=b"", ident=0):
    head = HEADER.pack(MAGIC, kind, VERSION, ident, len(payload), 0)[:20]
    return head + struct.pack("<I", zlib.crc32(payload, zlib.crc32(head))) + payload


def identity(found, kind=0):
    """A file as probe.identity() describes it."""
    return struct.pack("<IIQII", found["device"], found["generation"], found["inode"], kind, 0)


def evict(who, runs):
    """runs: [(index, block, count)]"""
    return identity(who) + struct.pack("<II", len(runs), 0) + b"".join(struct.pack("<QQII", *r, 0) for r in runs)


def limit(kind, permille=0, size=0, hint="default"):
    return struct.pack("<IIQII", kind, permille, size, HINTS.index(hint), 0)


REPORT_FORM = struct.Struct("<QQ4I8Q8Q8Q4I8Q")
REPORTS = ("limit_bytes", "unmapped_bytes", "limit_origin", "limit_state", "brake", "heat", "brake_left_usec", "brakes",
           "evicted_bytes", "refaulted_bytes", "slab_freed_bytes", "slab_pressed_bytes", "cpu_usec", "events_lost")
BALLOON_REPORTS = ("hint", "hint_origin", "notice", "pressure", "balloon_bytes", "inflate_bytes", "inflations",
                   "ahead_bytes", "free_bytes", "needed_bytes", "oom_kills", "alloc_stalls")


def report(**values):
    """The payload of a REPORT; what is not given is 0, the limit and the hint none, and the ages lists of eight."""
    values = {"limit_bytes": NO_LIMIT, "hint": HINTS.index("none"), **values}
    ages = [values.pop(name, [0] * 8) for name in ("evicted_by_age", "refaulted_by_age")]
    assert set(values) <= {*REPORTS, *BALLOON_REPORTS}
    return REPORT_FORM.pack(*(values.get(name, 0) for name in REPORTS), *ages[0], *ages[1],
                            *(values.get(name, 0) for name in BALLOON_REPORTS))


def unreport(payload):
    """A REPORT by its names, enumerations as words, the limit None where there is none."""
    numbers = REPORT_FORM.unpack(payload)
    found = dict(zip(REPORTS, numbers))
    found.update(zip(BALLOON_REPORTS, numbers[30:]))
    for name, words in (("limit_origin", ORIGINS), ("limit_state", STATES), ("brake", BRAKES), ("heat", HEATS),
                        ("hint", HINTS), ("hint_origin", ORIGINS), ("notice", NOTICES)):
        found[name] = words[found[name]]
    if found["limit_bytes"] == NO_LIMIT:
        found["limit_bytes"] = None
    return {**found, "evicted_by_age": list(numbers[14:22]), "refaulted_by_age": list(numbers[22:30])}


FREED_FORM = struct.Struct("<Q5QQII")


def freed(asked, usec=99, stopped="done", brake="none", **steps):
    assert set(steps) <= set(STEPS)
    return FREED_FORM.pack(asked, *(steps.get(name, 0) for name in STEPS), usec, STOPPED.index(stopped),
                           BRAKES.index(brake))


def holds(disk, runs, first=True):
    """runs: [(block, count)], ascending; disk: as Scan.disks has it."""
    return struct.pack("<16s32sII", disk["pci"].encode(), disk["serial"].encode(), int(first), len(runs)) + b"".join(
        struct.pack("<QQ", *run) for run in runs)


def taken(superpages, runs=(), untaken="none"):
    return struct.pack("<QII", superpages, UNTAKEN.index(untaken), len(runs)) + b"".join(struct.pack("<QQ", *run) for run in runs)


def untaken(payload):
    """A TAKEN: how many superpages are out of use, why fewer than wanted, and where: [(start, count)]."""
    superpages, why, count = struct.unpack_from("<QII", payload)
    runs = list(struct.iter_unpack("<QQ", payload[16:]))
    assert len(runs) == count
    return superpages, UNTAKEN[why], runs


class Scan:
    """One scan's answer: disks, files by (device, inode), pages and extents by file number, census, the times."""

    def __init__(self):
        self.disks, self.files, self.runs, self.extents = {}, {}, {}, {}
        self.unplaced = {}

    def take(self, kind, payload):
        if kind == DISK:
            number, _, size, pci, serial = struct.unpack("<IIQ16s32s", payload)
            self.disks[number] = {"size": size, "pci": pci.rstrip(b"\0").decode(),
                                  "serial": serial.rstrip(b"\0").decode()}
        elif kind == FILE:
            device, generation, inode, sort, _, size, number, disk, unplaced, _ = struct.unpack("<IIQIIQIIII", payload)
            self.files[device, inode] = {"number": number, "generation": generation, "kind": sort, "size": size,
                                         "disk": disk, "unplaced": UNPLACED[unplaced]}
        elif kind == EXTENTS:
            number, count = struct.unpack_from("<II", payload)
            items = list(struct.iter_unpack("<QQQ", payload[8:]))
            assert len(items) == count
            self.extents.setdefault(number, []).extend(items)
        elif kind == PAGES:
            for index, number, count, flags, age, order, _ in struct.iter_unpack("<QIIIHBB", payload[8:]):
                self.runs.setdefault(number, []).append((index, count, flags, age, order))
        elif kind == SCAN_END:
            numbers = struct.unpack("<28Q", payload)
            self.census = dict(zip(CENSUS, numbers))
            self.unplaced = dict(zip(UNPLACED, numbers[14:24]))
            self.elapsed_usec, self.cpu_usec, self.chunk_max_usec, self.spoiled = numbers[24:]

    def file(self, who):
        return self.files.get((who["device"], who["inode"]))

    def pages(self, who):
        """{index: (flags, age, order)} of one file."""
        file = self.file(who)
        if file is None:
            return {}
        return {index + n: rest for index, count, *rest in self.runs.get(file["number"], ()) for n in range(count)}

    def blocks(self, who):
        """{index: block of the disk} of one file."""
        file = self.file(who)
        return {index + n: block + n for index, block, count in self.extents.get(file["number"], ())
                for n in range(count)}


class AgentError(Exception):
    def __init__(self, code, text):
        super().__init__(f"{errno.errorcode.get(code, code)}: {text}")
        self.code = code


class Link:
    """A connection to an agent: a Unix socket's path, or a file descriptor."""

    def __init__(self, where, seconds=15):
        if isinstance(where, int):
            self._fd, self._socket = where, None
        else:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(str(where))
            self._fd = self._socket.fileno()
        os.set_blocking(self._fd, False)
        self._buffer = b""
        self._ids = itertools.count(int(time.monotonic() * 1e6))
        self.skipped = 0
        self.seconds = seconds

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self._socket:
            self._socket.close()

    def write(self, data, seconds=15):
        """Raw bytes; how many of them were taken in time."""
        view, end = memoryview(data), time.monotonic() + seconds
        while view and time.monotonic() < end:
            if select.select([], [self._fd], [], max(0, end - time.monotonic()))[1]:
                try:
                    view = view[os.write(self._fd, view):]
                except BlockingIOError:
                    pass
        return len(data) - len(view)

    def send(self, kind, payload=b""):
        ident = next(self._ids)
        assert self.write(frame(kind, payload, ident)) == HEADER.size + len(payload)
        return ident

    def _frame(self):
        magic = struct.pack("<I", MAGIC)
        while True:
            at = self._buffer.find(magic)
            if at < 0:
                at = max(0, len(self._buffer) - 3)
            self.skipped += at
            self._buffer = self._buffer[at:]
            if len(self._buffer) < HEADER.size:
                return None
            _, kind, _, ident, length, check = HEADER.unpack_from(self._buffer)
            if len(self._buffer) < HEADER.size + length and length <= 65536:
                return None
            payload = self._buffer[HEADER.size:HEADER.size + length]
            if zlib.crc32(payload, zlib.crc32(self._buffer[:20])) == check:
                self._buffer = self._buffer[HEADER.size + length:]
                return kind, ident, payload
            self.skipped += 1
            self._buffer = self._buffer[1:]

    def receive(self, seconds=None):
        """(type, id, payload); TimeoutError when none comes in time."""
        end = time.monotonic() + (seconds or self.seconds)
        while True:
            found = self._frame()
            if found:
                return found
            if not select.select([self._fd], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError("the agent says nothing")
            data = os.read(self._fd, 1 << 20)
            if not data:
                raise ConnectionError("closed")
            self._buffer += data

    def answers(self, ident, last, seconds=None):
        """Frames of one exchange, up to the first of type `last`; those of other exchanges are passed over."""
        end = time.monotonic() + (seconds or self.seconds)
        while True:
            kind, found, payload = self.receive(max(0.01, end - time.monotonic()))
            if found != ident:
                continue
            if kind == ERROR:
                code, _, text = struct.unpack("<II248s", payload)
                raise AgentError(code, text.rstrip(b"\0").decode())
            yield kind, payload
            if kind == last:
                return

    def ask(self, kind, payload, last, seconds=None):
        return list(self.answers(self.send(kind, payload), last, seconds))[-1][1]

    def ping(self, seconds=None):
        self.ask(PING, b"", PONG, seconds)

    def hello(self):
        version, can, pages, page_bytes, budget, boot, agent, kernel, missing = struct.unpack(
            "<IIQII16s32s64s192s", self.ask(WELCOME, struct.pack("<II", VERSION, 0), HELLO))
        # What it keeps out of use follows, and is not to be the next reader's.
        while can & CAN_TAKE and self.receive(self.seconds)[0] != TAKEN:
            pass
        return {"version": version, "capabilities": can, "ram_pages": pages, "page_bytes": page_bytes, "budget": budget,
                "boot_id": boot.hex(), "agent": agent.rstrip(b"\0").decode(), "kernel": kernel.rstrip(b"\0").decode(),
                "missing": missing.rstrip(b"\0").decode()}

    def scan(self, seconds=30):
        scan = Scan()
        for kind, payload in self.answers(self.send(SCAN), SCAN_END, seconds):
            scan.take(kind, payload)
        return scan

    def evict(self, who, runs, seconds=30):
        """What became of the pages, by the names in RESULTS; the counts sum up to what was asked."""
        numbers = struct.unpack("<10QiI", self.ask(EVICT, evict(who, runs), RESULT, seconds))
        result = dict(zip(RESULTS, numbers))
        assert sum(numbers[1:9]) == numbers[0] == sum(count for _, _, count in runs)
        return result

    def name(self, who):
        payload = self.ask(NAME, identity(who), PATH)
        length, status = struct.unpack_from("<Ii", payload)
        return payload[8:8 + length], status

    def report(self):
        return unreport(self.ask(ASK, b"", REPORT))

    def limit(self, kind, permille=0, size=0, hint="default"):
        """The REPORT with the new limit, and hint."""
        return unreport(self.ask(LIMIT, limit(kind, permille, size, hint), REPORT))

    def free(self, size, usec_max=2000000, more=False, whole=False, seconds=30):
        """Bytes by step, and "asked", "usec", "stopped", "brake"."""
        numbers = FREED_FORM.unpack(self.ask(FREE, struct.pack("<QII", size, usec_max, int(more) | int(whole) << 1), FREED, seconds))
        return {**dict(zip(STEPS, numbers[1:6])), "asked": numbers[0], "usec": numbers[6],
                "stopped": STOPPED[numbers[7]], "brake": BRAKES[numbers[8]]}

    def hold(self, disk, runs, first=True):
        self.ask(HOLDS, holds(disk, runs, first), PONG)

    def take(self, superpages, seconds=30):
        """How many are out of use, why no more, and where."""
        return untaken(self.ask(TAKE, struct.pack("<Q", superpages), TAKEN, seconds))

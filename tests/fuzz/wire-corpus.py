#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the corpus of fuzz-wire: what agents say, and what somebody might say who is not one.

    tests/fuzz/wire-corpus.py tests/fuzz/corpus/wire
"""
import pathlib
import struct
import sys
import zlib

ONE_BY_ONE, ODD_PIECES, AT_ONCE, SEALED = 0, 7, 127, 128
HELLO, DISK, FILE, EXTENTS, PAGES, SCAN_END, EVICT, RESULT, NAME, PATH, PONG, ERROR, LIMIT, ASK, REPORT, FREE, FREED, HELD, TAKE, TAKEN = (
    2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23)

IDENTITY = struct.pack("<IIQII", 0xFE01, 0, 12, 0, 0)


def frame(kind, payload=b"", number=1, length=None, crc=None):
    size = len(payload) if length is None else length
    head = struct.pack("<4sHHQI", b"PGP\x01", kind, 3, number, size)
    total = zlib.crc32(head + payload) if crc is None else crc
    return head + struct.pack("<I", total) + payload


def hello(text=b"0.1.0"):
    return struct.pack("<IIQII16s32s64s192s", 3, 127, 262144, 4096, 10, b"b" * 16, text,
                       b"6.1.0-28-amd64", b"")


def disk():
    return struct.pack("<IIQ16s32s", 0, 0, 8 << 30, b"0000:00:04.0", b"root")


def file(unplaced=0, disk_number=0):
    return IDENTITY + struct.pack("<QIIII", 1 << 20, 0, disk_number, unplaced, 0)


def extents(*items, count=None):
    return struct.pack("<II", 0, len(items) if count is None else count) + b"".join(
        struct.pack("<QQQ", *item) for item in items)


def pages(*items, count=None):
    return struct.pack("<II", len(items) if count is None else count, 0) + b"".join(
        struct.pack("<QIIIHBB", *item) for item in items)


def evict(*items, count=None):
    return IDENTITY + struct.pack("<II", len(items) if count is None else count, 0) + b"".join(
        struct.pack("<QQII", *item) for item in items)


def result(asked, *fates):
    return struct.pack("<10QiI", asked, *fates, *[0] * (8 - len(fates)), 99, 0, 0)


def taken(superpages, *items, count=None, untaken=0):
    return struct.pack("<QII", superpages, untaken, len(items) if count is None else count) + b"".join(
        struct.pack("<QQ", *item) for item in items)


def path(text, length=None):
    return struct.pack("<Ii", len(text) if length is None else length, 0) + text


def limit(kind, permille=0, size=0, hint=0):
    return struct.pack("<IIQII", kind, permille, size, hint, 0)


def report(**changes):
    """All that wire_report has, in its order; `changes` by place: n3=7."""
    numbers = [128 << 20, 120 << 20, 4, 1, 0, 1, 0, 2, 9 << 20, 1 << 20, 4096, 0, 5000, 0, *range(8), *[0] * 8,
               2, 4, 1, 150, 64 << 20, 32 << 20, 3, 16 << 20, 9 << 20, 300 << 20, 0, 7]
    for place, value in changes.items():
        numbers[int(place[1:])] = value
    return struct.pack("<QQIIII24Q4I8Q", *numbers)


def freed(*steps, stopped=0):
    return struct.pack("<QQQQQQQII", 8 << 20, *steps, *[0] * (5 - len(steps)), 99, stopped, 0)


def held(*items, count=None, flags=1):
    return struct.pack("<16s32sII", b"0000:00:04.0", b"root", flags,
                       len(items) if count is None else count) + b"".join(
        struct.pack("<QQ", *item) for item in items)


def sealed(*messages):
    return bytes([SEALED | ODD_PIECES]) + b"".join(
        struct.pack("<BH", kind, len(payload)) + payload for kind, payload in messages)


def stream(pieces, *parts):
    return bytes([pieces]) + b"".join(parts)


SCAN = (frame(HELLO, hello()) + frame(DISK, disk()) + frame(FILE, file())
        + frame(EXTENTS, extents((0, 100, 256)))
        + frame(PAGES, pages((0, 0, 64, 0, 65535, 0, 0), (64, 0, 1, 1, 3, 9, 0)))
        + frame(SCAN_END, bytes(224)))

CORPUS = {
    "scan": stream(ODD_PIECES, SCAN),
    "drip": stream(ONE_BY_ONE, SCAN),
    "every-message": sealed(
        (HELLO, hello()), (DISK, disk()), (FILE, file()), (FILE, file(3, 0xFFFFFFFF)),
        (EXTENTS, extents((0, 1, 2), (2, 9, 1))), (PAGES, pages((5, 0, 3, 4, 0, 0, 0))),
        (SCAN_END, bytes(224)), (EVICT, evict((5, 100, 3, 0))), (RESULT, result(3, 1, 2)),
        (NAME, IDENTITY), (PATH, path(b"/bin/sh")), (PONG, b""),
        (ERROR, struct.pack("<II248s", 5, 0, b"no such luck")), (LIMIT, limit(2, size=1 << 27)),
        (LIMIT, limit(3, 250, hint=2)), (ASK, b""), (REPORT, report()), (REPORT, report(n0=2**64 - 1)),
        (FREE, struct.pack("<QII", 8 << 20, 2000000, 0)), (FREED, freed(1, 2, 3, 4, 5)),
        (HELD, held((0, 1), (2, 9))), (HELD, held(flags=0)),
        (TAKE, struct.pack("<Q", 128)), (TAKEN, taken(128, (5, 100), (200, 28))), (TAKEN, taken(3, untaken=4))),
    "killed-in-frame": stream(ODD_PIECES, SCAN[:400], SCAN),
    "starts-in-frame": stream(ODD_PIECES, SCAN[30:]),
    "garbage-first": stream(ODD_PIECES, bytes(range(256)) * 2, SCAN),
    "magic-in-magic": stream(AT_ONCE, b"PGPGP\x01PGP\x01PPGP\x01" * 8, frame(PONG)),
    "magic-at-end": stream(ONE_BY_ONE, frame(PONG), b"PGP"),
    "frame-in-payload": stream(ODD_PIECES, frame(PATH, path(frame(PONG))), frame(PONG)[:20]),
    "false-crc": stream(ODD_PIECES, frame(PONG, crc=0), frame(PONG)),
    "length-max": stream(AT_ONCE, frame(PONG, bytes(65536)), frame(PONG)),
    "length-over-max": stream(AT_ONCE, frame(PONG, length=65537), frame(PONG)),
    "length-all-ones": stream(AT_ONCE, frame(PONG, length=0xFFFFFFFF), frame(PONG)),
    "overlapping-headers": stream(
        AT_ONCE, (b"PGP\x01" + bytes(12) + struct.pack("<I", 3000)) * 1000, frame(PONG)),
    "count-over-payload": sealed((PAGES, pages((0, 0, 1, 0, 0, 0, 0), count=2))),
    "count-wraps-in-32-bits": sealed((EXTENTS, extents((0, 0, 1), count=0x0AAAAAAB))),
    "run-wraps-in-64-bits": sealed((EXTENTS, extents((2**64 - 1, 0, 2), (0, 2**64 - 1, 2))),
                                   (EVICT, evict((2**50 - 1, 0, 2, 0)))),
    "run-of-none": sealed((PAGES, pages((0, 0, 0, 0, 0, 0, 0)))),
    "fates-wrap": sealed((RESULT, result(2, 2**63, 2**63, 2))),
    "census-huge": sealed((SCAN_END, b"\xff" * 224)),
    "text-unterminated": sealed((HELLO, hello(b"x" * 32)), (ERROR, b"\1" * 256)),
    "path-of-controls": sealed((PATH, path(b"/\x1b]0;owned\x07\n\xc2\x9b2J\xff\xc0\xaf\0"))),
    "path-length-lies": sealed((PATH, path(b"/etc", length=4096)), (PATH, path(b"/etc", length=3))),
    "limit-of-two-kinds": sealed((LIMIT, limit(3, 10, 10)), (LIMIT, limit(4)), (LIMIT, limit(3, 1001)),
                                 (LIMIT, limit(0, hint=3))),
    "report-huge": sealed(*((REPORT, report(**{f"n{n}": 2**32 - 1 if 2 <= n < 6 or 30 <= n < 34 else 2**64 - 1}))
                            for n in range(42))),
    "freed-wraps": sealed((FREED, freed(2**63, 2**63, 1)), (FREED, freed(1, stopped=4))),
    "held-goes-back": sealed((HELD, held((5, 3), (6, 1))), (HELD, held((0, 1), (1, 1))),
                             (HELD, held((2**50, 1))), (HELD, held((1, 1), count=2)),
                             (HELD, held((1, 1), flags=2))),
    "taken-goes-back": sealed((TAKEN, taken(8, (5, 3), (7, 1))), (TAKEN, taken(2, (5, 3))),
                              (TAKEN, taken(2**41 + 1)), (TAKEN, taken(2, (2**64 - 1, 2))),
                              (TAKEN, taken(2, (5, 0))), (TAKEN, taken(2, untaken=7)),
                              (TAKE, struct.pack("<Q", 2**41 + 1))),
    "unknown-types": sealed((0, b""), (24, b"?"), (255, bytes(100))),
}


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in CORPUS.items():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()

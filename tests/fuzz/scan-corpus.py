#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes corpus/scan: inputs of fuzz-scan.c that a fuzzer would take long to find."""
import struct
from pathlib import Path

DISK, FILE, EXTENTS, PAGES, END = 4, 5, 6, 7, 8
NO_DISK = 0xffffffff


def message(kind, payload):
    return struct.pack("<BH", kind, len(payload)) + payload


def disk(number):
    return message(DISK, struct.pack("<IIQ16s32s", number, 0, 1 << 30, b"0000:00:04.0", b"disk"))


def file(number, on=0):
    return message(FILE, struct.pack("<IIQII QIIII", 0xfe01, 1, 12 + number, 0, 0, 1 << 20, number, on,
                                     5 if on == NO_DISK else 0, 0))


def extents(of, *items):
    return message(EXTENTS, struct.pack("<II", of, len(items)) + b"".join(struct.pack("<QQQ", *i) for i in items))


def pages(*runs):
    return message(PAGES, struct.pack("<II", len(runs), 0) +
                   b"".join(struct.pack("<QIIIHBB", index, of, count, 0, 1, 0, 0) for of, index, count in runs))


END_OF_IT = message(END, struct.pack("<28Q", *range(28)))
PLAIN = disk(0) + file(0) + extents(0, (0, 100, 10), (20, 500, 5)) + pages((0, 5, 20)) + END_OF_IT

INPUTS = {
    "plain": b"\0" + PLAIN,
    "plain-in-bytes": b"\1" + PLAIN,
    "two-files": b"\x40" + disk(0) + disk(1) + file(0) + extents(0, (0, 7, 3)) + file(1, 1) +
                 extents(1, (2, 9, 9), (11, 1, 1)) + file(2, NO_DISK) + pages((0, 0, 3), (1, 0, 99), (2, 4, 4)) + END_OF_IT,
    "after-the-end": b"\0" + PLAIN + PLAIN,
    "unknown-file": b"\0" + disk(0) + pages((3, 0, 1)),
    "unknown-disk": b"\0" + file(0, 3),
    "disk-twice": b"\0" + disk(0) + disk(0),
    "extents-overlap": b"\0" + disk(0) + file(0) + extents(0, (0, 1, 5), (4, 9, 5)),
    "extents-of-another": b"\0" + disk(0) + file(0) + file(1) + extents(0, (0, 1, 5)),
    "extents-at-the-end": b"\0" + disk(0) + file(0) + extents(0, ((1 << 50) - 2, (1 << 50) - 2, 2)) +
                          pages((0, (1 << 50) - 2, 2)) + END_OF_IT,
    "more-than-ram": b"\0" + disk(0) + file(0) + extents(0, *[(i, i, 1) for i in range(1000)]) +
                     pages(*[(0, 0, 0xffffffff)] * 100),
    "often-the-same": b"\0" + disk(0) + file(0) + extents(0, *[(i, i, 1) for i in range(500)]) +
                      pages(*[(0, 0, 500)] * 200) + END_OF_IT,
}

folder = Path(__file__).parent / "corpus/scan"
folder.mkdir(parents=True, exist_ok=True)
for name, content in INPUTS.items():
    (folder / name).write_bytes(content)

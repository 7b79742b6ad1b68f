#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The units: systemd takes them, they stay as closed as they are, each capability is explained.

usage: test-units.py SOURCE-ROOT
"""
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(sys.argv.pop(1)) if len(sys.argv) > 1 else Path()
# Tenths of systemd-analyze's exposure, 0 to 100, as measured with systemd 252.
EXPOSURE_MAX = {"pagepactd": 27, "pagepact-agent": 25}


@unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
class Analyze(unittest.TestCase):
    def run_analyze(self, name, *arguments):
        with tempfile.TemporaryDirectory() as directory:
            unit = Path(directory) / f"{name}.service"
            text = (ROOT / "units" / f"{name}.service.in").read_text()
            unit.write_text(re.sub(r"@sbindir@/\S+", "/bin/true", text))
            return subprocess.run(["systemd-analyze", *arguments, unit], check=False, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def test_verify(self):
        for name in EXPOSURE_MAX:
            with self.subTest(unit=name):
                result = self.run_analyze(name, "verify", "--man=no")
                self.assertEqual((result.returncode, result.stdout), (0, ""))

    def test_exposure(self):
        for name, limit in EXPOSURE_MAX.items():
            with self.subTest(unit=name):
                result = self.run_analyze(name, "security", "--offline=yes", "--no-pager",
                                          f"--threshold={limit}")
                self.assertEqual(result.returncode, 0, result.stdout)


class Text(unittest.TestCase):
    def test_every_capability_is_explained(self):
        for name in EXPOSURE_MAX:
            text = (ROOT / "units" / f"{name}.service.in").read_text()
            kept = set(re.search(r"^CapabilityBoundingSet=(.*)$", text, re.M)[1].split())
            explained = set()
            for line in re.findall(r"^# CAP_.*$", text, re.M):
                explained |= set(re.findall(r"CAP_[A-Z_]+", line))
            self.assertEqual(kept, explained)


if __name__ == "__main__":
    unittest.main()

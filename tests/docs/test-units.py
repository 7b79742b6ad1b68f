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
EXPOSURE_MAX = {"pagepactd": 28, "pagepact-agent": 31}


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

    def test_the_daemon_dies_harmless(self):
        """Guests are restored after each of its ends, by a program that finds the journal and has the time it takes."""
        text = (ROOT / "units/pagepactd.service.in").read_text()
        self.assertRegex(text, r"(?m)^ExecStopPost=@sbindir@/pagepact-restore --now$")
        self.assertRegex(text, r"(?m)^RuntimeDirectoryPreserve=yes$")
        self.assertRegex(text, r"(?m)^Restart=on-failure$")
        seconds = int(re.search(r"define RESTORE_DEADLINE_USEC (\d+)", (ROOT / "src/host/restore.h").read_text())[1])
        self.assertGreater(int(re.search(r"(?m)^TimeoutStopSec=(\d+)$", text)[1]) * 1000000, seconds)

    def test_the_agent_needs_no_port(self):
        text = (ROOT / "units/pagepact-agent.service.in").read_text()
        self.assertNotRegex(text, r"(?m)^(BindsTo|Requires|Requisite|PartOf)=|\.device$")
        self.assertIn("\nWantedBy=multi-user.target\n", text)

    def test_the_agent_may_write_its_switches(self):
        """What it writes to in /sys, and reads of other mount namespaces, no setting takes away."""
        text = (ROOT / "units/pagepact-agent.service.in").read_text()
        for setting in ("ProtectKernelTunables", "ProtectControlGroups", "ProtectProc", "ProcSubset", "ReadOnlyPaths",
                        "InaccessiblePaths", "PrivateDevices", "PrivateTmp"):
            self.assertNotRegex(text, f"(?m)^{setting}=")

    def test_the_agent_reads_its_configuration_when_told(self):
        text = (ROOT / "units/pagepact-agent.service.in").read_text()
        self.assertRegex(text, r"(?m)^ExecReload=\S*/kill -HUP \$MAINPID$")


if __name__ == "__main__":
    unittest.main()

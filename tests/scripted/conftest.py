# SPDX-License-Identifier: Apache-2.0
"""The daemon and the programs around it, with scripted guests and halted QEMUs: nothing is booted here."""
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (1, 2)]

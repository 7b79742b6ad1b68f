# SPDX-License-Identifier: Apache-2.0
"""What a scenario found: measures and checks, printed as tables and bars, and written as JSON."""
import json
import operator
import os
import sys
import traceback
from pathlib import Path

MIB = 1 << 20
WIDTH = 40
COMPARE = {"<=": operator.le, ">=": operator.ge, "==": operator.eq, "<": operator.lt, ">": operator.gt}


def mib(count):
    return f"{count / MIB:,.1f} MiB"


def bar(parts, full, width=WIDTH):
    """A bar of several parts [(letter, value)], `full` being the whole width."""
    out, done = "", 0
    for letter, value in parts:
        done += value
        cells = round(done / full * width) if full else 0
        out += letter * max(0, min(width, cells) - len(out))
    return out.ljust(width, ".")


def table(header, rows):
    """Columns as wide as they need; the first left, the others right."""
    cells = [[str(c) for c in row] for row in [header, *rows]]
    widths = [max(len(row[n]) for row in cells) for n in range(len(header))]
    lines = []
    for row in cells:
        lines.append("  ".join(c.ljust(w) if n == 0 else c.rjust(w) for n, (c, w) in enumerate(zip(row, widths))).rstrip())
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join("  " + line for line in lines)


class Report:
    def __init__(self, scenario, accel, kernel, only=None):
        """only: the name of the one part to be run."""
        self.scenario, self.accel, self.kernel, self.only = scenario, accel, kernel, only
        self.parts, self._within = [], False
        self.measures, self.checks, self._files = {}, [], {}
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def say(self, text=""):
        print(text, flush=True)

    def head(self, text):
        self.say(f"\n\033[1m{text}\033[0m" if self._colour else f"\n{text}\n{'=' * len(text)}")

    def measure(self, name, value):
        self.measures[name] = value
        return value

    def check(self, name, measured, limit):
        """Check a number against a limit such as "<= 0.01"; what could not be measured fails."""
        sign, number = limit.split()[:2]
        good = measured is not None and COMPARE[sign](measured, float(number))
        self.checks.append({"name": name, "measured": measured, "limit": limit, "ok": good})
        return good

    def attach(self, suffix, text):
        """A file to be written beside the JSON, with the same name but for the suffix."""
        self._files[suffix] = text

    def part(self, function, *args):
        """Run a part of a scenario; one that breaks fails as a check, and the parts after it run all the same.
        Whether it came to its end. Of the outermost parts only one may be wanted."""
        outermost, name = not self._within, function.__name__.strip("_")
        if outermost:
            self.parts.append(name)
            if self.only not in (None, name):
                return True
        self._within = True
        try:
            function(*args)
            return True
        except Exception:
            traceback.print_exc()
            return self.check(f"{function.__module__.split('.')[-1]}_{function.__name__}_completed", 0, "== 1")
        finally:
            self._within = not outermost

    @property
    def ok(self):
        return bool(self.checks) and all(c["ok"] for c in self.checks)

    def _number(self, name, value):
        if value is None:
            return "not measured"
        if isinstance(value, str):
            return value
        if isinstance(value, list):
            return " ".join(self._number(name, v) for v in value)
        if name.endswith("_bytes"):
            return mib(value)
        return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"

    def print_checks(self):
        self.head("Checks")
        rows = [(c["name"], self._number(c["name"], c["measured"]), c["limit"], "ok" if c["ok"] else "FAILED")
                for c in self.checks]
        self.say(table(("check", "measured", "limit", ""), rows))
        failed = sum(not c["ok"] for c in self.checks)
        self.say(f"\n{len(self.checks) - failed} checks hold, {failed} do not.")

    def print_measures(self):
        self.head("All measures")
        self.say(table(("measure", "value"), [(n, self._number(n, v)) for n, v in sorted(self.measures.items())]))

    def write(self, path):
        with open(path, "w") as out:
            json.dump({"scenario": self.scenario, "accel": self.accel, "kernel": self.kernel,
                       "measures": self.measures, "checks": self.checks}, out, indent=1)
            out.write("\n")
        for suffix, text in self._files.items():
            Path(path).with_suffix(suffix).write_text(text)

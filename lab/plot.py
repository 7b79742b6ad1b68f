# SPDX-License-Identifier: Apache-2.0
"""Lines over time as SVG, written by hand: a picture is no reason for the lab to need a library.

    svg([("stock", {"balloon": [(0, 1.5e9), (1, 1.4e9)]})], "MB", 1e6)
"""
import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 900, 260, 60, 34, 30, 150
# Told apart in grey and by who sees colours less (Okabe and Ito's palette).
COLOURS = ["#0072b2", "#e69f00", "#000000", "#d55e00", "#009e73", "#cc79a7"]
DASHES = ["", "6 3", "2 2", "", "8 2 2 2", "4 4"]
TICKS = 5


def _ticks(most):
    """Round numbers from 0 to at least `most`, no more than TICKS steps."""
    steps = (digit * 10 ** power for power in range(12) for digit in (1, 2, 5))
    step = next(s for s in steps if most <= TICKS * s)
    return [n * step for n in range(math.ceil(most / step) + 1)]


def _text(x, y, text, anchor="start", size=12):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'


class _Panel:
    def __init__(self, top, seconds, values):
        self.top, self.seconds, self.values = top, seconds, values

    def x(self, seconds):
        return LEFT + seconds / self.seconds[-1] * (WIDTH - LEFT - RIGHT)

    def y(self, value):
        return self.top + (HEIGHT - BOTTOM) - value / self.values[-1] * (HEIGHT - TOP - BOTTOM)

    def axes(self, title, unit):
        out = [_text(LEFT, self.top + TOP - 12, title, size=14)]
        for value in self.values:
            y = self.y(value)
            out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
            out.append(_text(LEFT - 6, y + 4, f"{value:g}", "end"))
        out.append(_text(LEFT - 6, self.y(self.values[-1]) - 10, unit, "end"))
        for seconds in self.seconds:
            out.append(_text(self.x(seconds), self.top + HEIGHT - BOTTOM + 16, f"{seconds:g} s", "middle"))
        return out

    def line(self, number, name, points):
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        style = f'fill="none" stroke="{colour}" stroke-width="1.6" stroke-dasharray="{dash}"'
        path = " ".join(f"{self.x(t):.1f},{self.y(v):.1f}" for t, v in points)
        y = self.top + TOP + 16 * number
        return [f'<polyline points="{path}" {style}/>',
                f'<line x1="{WIDTH - RIGHT + 8}" y1="{y}" x2="{WIDTH - RIGHT + 34}" y2="{y}" {style}/>',
                _text(WIDTH - RIGHT + 40, y + 4, name)]


def svg(panels, unit, scale):
    """One panel above the other, [(title, {name: [(seconds, value)]})], on the same axes; values divided by `scale`."""
    points = [point for _, lines in panels for line in lines.values() for point in line]
    seconds, values = _ticks(max(t for t, _ in points)), _ticks(max(v for _, v in points) / scale)
    view = f"0 0 {WIDTH} {HEIGHT * len(panels)}"
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}" font-family="sans-serif">',
           '<rect width="100%" height="100%" fill="#fff"/>']
    for at, (title, lines) in enumerate(panels):
        panel = _Panel(at * HEIGHT, seconds, values)
        out += panel.axes(title, unit)
        for number, (name, line) in enumerate(lines.items()):
            out += panel.line(number, name, [(t, v / scale) for t, v in line])
    return "\n".join([*out, "</svg>"]) + "\n"

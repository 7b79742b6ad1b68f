# SPDX-License-Identifier: Apache-2.0
"""Two variants of the same work, measured in alternated pairs, and how sure their ratio is.

Times under emulation, on a machine with other users, vary by a sixth and more: a ratio of two of them says nothing. A pair is
measured one right after the other, every second pair in the other order; the ratio is the median of the pairs' ratios, its bounds
come from drawing the pairs again with replacement (bootstrap, percentiles; one-sided, 95 % each).
"""
import random
import statistics

DRAWS = 4000
SEED = 1


def bounds(ratios):
    """(median, lower bound, upper bound) of pairs' ratios."""
    draw = random.Random(SEED)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(DRAWS))
    return statistics.median(ratios), medians[int(0.05 * DRAWS)], medians[int(0.95 * DRAWS) - 1]


def measure(one, other, least, most, width, pairs=None):
    """[(one(), other())] of at least `least` pairs, and of more, at most `most`, until the ratio's bounds are no farther apart
    than `width`: how many depends on the noise, never on which variant is ahead. They are added to `pairs`, so that what was
    interrupted can be gone on with."""
    pairs = [] if pairs is None else pairs
    while not _enough(pairs, least, most, width):
        if len(pairs) % 2:
            second = other()
            pairs.append((one(), second))
        else:
            first = one()
            pairs.append((first, other()))
    return pairs


def _enough(pairs, least, most, width):
    if not least <= len(pairs) < most:
        return len(pairs) >= most
    _, lower, upper = bounds([a / b for a, b in pairs])
    return upper - lower <= width


def report(report, name, pairs):
    """Measures NAME, NAME_lower, NAME_upper and NAME_pairs of one/other; (lower, upper)."""
    middle, lower, upper = bounds([a / b for a, b in pairs])
    report.measure(name, middle)
    report.measure(f"{name}_lower", lower)
    report.measure(f"{name}_upper", upper)
    report.measure(f"{name}_pairs", len(pairs))
    return lower, upper

"""Bar charts as SVG, on a logarithmic scale where figures lie far apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

ROW, BAR, LEFT, WIDTH, RIGHT = 26, 16, 190, 420, 90
OURS, THEIRS = "#1f6f8b", "#b0b7bd"
STEPS_PER_DECADE = 10


@dataclass(frozen=True, slots=True)
class Bar:
    """A named value; ours stand out."""

    name: str
    value: float
    told: str
    is_ours: bool


def bar_chart(title: str, bars: Sequence[Bar]) -> str:
    """The chart as an SVG document; the shortest bar is a tenth of its decade."""
    lengths = _lengths([bar.value for bar in bars])
    height = 34 + ROW * len(bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + RIGHT}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="8" y="20" font-weight="bold">{escape(title)}</text>',
    ]
    for row, (bar, length) in enumerate(zip(bars, lengths, strict=True)):
        y = 34 + ROW * row
        parts += [
            f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(bar.name)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{OURS if bar.is_ours else THEIRS}"/>',
            f'<text x="{LEFT + length + 6:.1f}" y="{y + 13}">{escape(bar.told)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def is_logarithmic(values: Sequence[float]) -> bool:
    """Whether the largest is so far from the smallest that the small ones could not be told apart."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > STEPS_PER_DECADE


def _lengths(values: Sequence[float]) -> list[float]:
    if not values or max(values) <= 0:
        return [0.0 for _ in values]
    if not is_logarithmic(values):
        return [WIDTH * value / max(values) for value in values]
    low = math.log10(min(values)) - 0.3
    return [WIDTH * (math.log10(value) - low) / (math.log10(max(values)) - low) for value in values]

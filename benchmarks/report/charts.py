"""Bar charts as SVG, on a logarithmic scale where figures lie far apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

ROW, BAR, LEFT, WIDTH, RIGHT = 26, 16, 190, 420, 90
OURS, THEIRS = "#1f6f8b", "#b0b7bd"
MAX_LINEAR_RATIO = 10


@dataclass(frozen=True, slots=True)
class Bar:
    """A named value with the label at its end; Metroline's own bars have a colour of their own."""

    name: str
    value: float
    label: str
    is_ours: bool


def bar_chart(title: str, bars: Sequence[Bar]) -> str:
    """Return the chart as an SVG document; on a logarithmic scale, the shortest bar is 0.3 decades long."""
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
            f'<text x="{LEFT + length + 6:.1f}" y="{y + 13}">{escape(bar.label)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def is_logarithmic(values: Sequence[float]) -> bool:
    """Return True if the largest value is more than ten times the smallest, and small bars would look alike."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > MAX_LINEAR_RATIO


def _lengths(values: Sequence[float]) -> list[float]:
    if not values or max(values) <= 0:
        return [0.0 for _ in values]
    if not is_logarithmic(values):
        return [WIDTH * value / max(values) for value in values]
    low = math.log10(min(values)) - 0.3
    return [WIDTH * (math.log10(value) - low) / (math.log10(max(values)) - low) for value in values]

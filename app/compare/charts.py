"""Bar charts as SVG: one bar for each run, with its value at its end."""

from __future__ import annotations

from collections.abc import Sequence

from metroline.app.compare.comparison import Run
from metroline.app.compare.figures import NOT_MEASURED, Figure
from metroline.app.markup.html import Markup, tag

VALUES, BARS, ROW, BAR = 98, 118, 28, 16
"""Pixels: width of the values, length of the longest bar, distance between bars, and height of a bar."""
LEAST_NAMES, LETTER = 84, 7.2
"""Pixels: least width of the names, and width of a letter of a longer one."""
SHOWN_RATIO = 1.05
"""Ratio to the smallest value from which on it is written next to a value."""


def bars(figure: Figure, runs: Sequence[Run], beside: Sequence[Run] = ()) -> Markup:
    """Return a chart of one figure; next to each value stands its ratio to the smallest one.

    The axis is long enough for the runs `beside` these, too, so that their charts can be compared with this one.
    """
    values = [figure.of(run) for run in runs]
    measured = [value for value in values if value]
    least = min(measured, default=0.0)
    longest = max([*measured, *(figure.of(run) or 0.0 for run in beside)], default=0.0)
    names = max(LEAST_NAMES, *(LETTER * len(run.name) + 8 for run in (*runs, *beside)))
    rows = []
    for index, (run, value) in enumerate(zip(runs, values, strict=True)):
        length = BARS * (value or 0) / longest if longest else 0
        ratio = value / least if value else 0.0
        rows.append(_bar(index * ROW, names, length, run.name, figure.written(run), ratio))
    values_in_words = "; ".join(f"{run.name} {figure.written(run)}" for run in runs)
    return tag(
        "svg",
        tag("title", figure.chart),
        tag("desc", values_in_words if measured else NOT_MEASURED),
        rows,
        class_="bars",
        role="img",
        viewBox=f"0 0 {names + BARS + VALUES:.0f} {ROW * len(runs) - ROW + BAR + 4}",
    )


def _bar(y: int, names: float, length: float, name: str, value: str, ratio: float) -> Markup:
    times = tag("tspan", f"{ratio:.1f} \N{MULTIPLICATION SIGN}", dx=6, class_="times")
    return tag(
        "g",
        tag("text", name, x=0, y=y + 13, class_="name"),
        tag("rect", x=f"{names:.1f}", y=y, width=f"{max(length, 1):.1f}", height=BAR, rx=3),
        tag("text", value, times if ratio >= SHOWN_RATIO else None, x=f"{names + length + 7:.1f}", y=y + 13),
    )

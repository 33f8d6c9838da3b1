"""Bar charts as SVG: one bar a run, its value at its end."""

from __future__ import annotations

from collections.abc import Sequence

from metroline.app.compare.figures import NOT_MEASURED, Figure, Run
from metroline.app.markup.html import Markup, tag

WIDTH = 300
NAMES, BARS, ROW, BAR = 84, 118, 28, 16
"""Pixels: for the names, for the longest bar, from one bar to the next, and a bar's height."""


def bars(figure: Figure, runs: Sequence[Run]) -> Markup:
    """A bar for each run; next to the value how many times the smallest one it is."""
    values = [figure.of(run) for run in runs]
    measured = [value for value in values if value]
    longest, least = max(measured, default=0.0), min(measured, default=0.0)
    rows = []
    for index, (run, value) in enumerate(zip(runs, values, strict=True)):
        y = index * ROW
        length = BARS * (value or 0) / longest if longest else 0
        times = f"{value / least:.1f} \N{MULTIPLICATION SIGN}" if value and value / least >= 1.05 else ""
        rows.append(
            tag(
                "g",
                tag("text", run["strategy"], x=0, y=y + 13, class_="name"),
                tag("rect", x=NAMES, y=y, width=f"{max(length, 1):.1f}", height=BAR, rx=3),
                tag(
                    "text",
                    figure.written(run),
                    tag("tspan", times, dx=6, class_="times") if times else None,
                    x=f"{NAMES + length + 7:.1f}",
                    y=y + 13,
                ),
            )
        )
    told = "; ".join(f"{run['strategy']} {figure.written(run)}" for run in runs)
    return tag(
        "svg",
        tag("title", figure.chart),
        tag("desc", told if measured else NOT_MEASURED),
        rows,
        class_="bars",
        role="img",
        viewBox=f"0 0 {WIDTH} {ROW * len(runs) - ROW + BAR + 4}",
    )

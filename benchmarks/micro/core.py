"""Measures the routing core: `python -m benchmarks.micro.core` prints the cost of each step and of its baseline."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from benchmarks.micro.core_cases import LONG_HISTORY, MANY_CONDITIONS, MANY_MATCHES, cases
from benchmarks.micro.ratio import REPEATS, Figure, measure


@dataclass(frozen=True, slots=True)
class Target:
    """A limit for the core, and the worst figure measured over packs of all sizes."""

    name: str
    measured: float
    limit: float

    @property
    def is_met(self) -> bool:
        return self.measured <= self.limit

    def __str__(self) -> str:
        return f"{'met' if self.is_met else 'MISSED'}: {self.name}: {self.measured:.2f}, at most {self.limit:g}"


def targets(figures: Sequence[Figure]) -> list[Target]:
    """Return the targets of the core with what was measured."""
    matches, conditions, history = (
        [figure for figure in figures if figure.step == step] for step in (MANY_MATCHES, MANY_CONDITIONS, LONG_HISTORY)
    )
    return [
        Target("10,000 match rules against 10, ratio", max(figure.ratio for figure in matches), 1.5),
        Target("1,000 CEL rules, known values, µs per record", max(figure.microseconds for figure in conditions), 2),
        Target("64 stops behind a record against 16, ratio", history[-1].ratio, 1.3 * 64 / 16),
    ]


ROW = "{:32} {:>4} {:>9} {:>21} {:>8} {:>8} {:>6}"


def table(figures: Iterable[Figure]) -> str:
    """Return a line of text for each figure; `!` marks a ratio beyond its bound."""
    lines = [ROW.format("CPU time, µs per record", "pack", "µs", "baseline", "µs", "ratio", "bound")]
    for figure in figures:
        spent, baseline = f"{figure.microseconds:.3f}", f"{figure.baseline_microseconds:.3f}"
        ratio = f"{figure.ratio:.3f}{'!' if figure.is_out_of_bounds else ' '}"
        lines.append(ROW.format(figure.step, figure.pack, spent, figure.baseline, baseline, ratio, figure.bound))
    return "\n".join(lines)


def as_json(figures: Sequence[Figure]) -> dict[str, object]:
    """Return the figures and the targets in a form that JSON can hold."""
    return {
        "figures": [asdict(figure) | {"ratio": figure.ratio} for figure in figures],
        "targets": [asdict(target) | {"met": target.is_met} for target in targets(figures)],
    }


@click.command()
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Also write the figures to FILE.")
@click.option("--repeats", default=REPEATS, show_default=True, help="Number of repeats; the fastest ones count.")
def main(file: Path | None, repeats: int) -> None:
    """Measure the routing core. Exit with 1 if a step exceeds its bound or a target is missed.

    Example: python -m benchmarks.micro.core --json core.json
    """
    figures = measure(cases(), repeats)
    click.echo(table(figures))
    if file is not None:
        file.write_text(json.dumps(as_json(figures), indent=2) + "\n")
    reached, exceeded = targets(figures), [figure for figure in figures if figure.is_out_of_bounds]
    click.echo("\n".join(["", *map(str, reached), *map(str, exceeded)]))
    sys.exit(0 if all(target.is_met for target in reached) and not exceeded else 1)


if __name__ == "__main__":
    main()

"""Microbenchmarks of the routing core: `python -m benchmarks.core` prints what each step costs against a baseline."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from benchmarks.micro.core_cases import LONG_HISTORY, MANY_CONDITIONS, MANY_MATCHES, cases
from benchmarks.micro.ratio import REPEATS, Figure, losses, measure


@dataclass(frozen=True, slots=True)
class Target:
    """What the core shall keep to, measured over packs of all sizes."""

    what: str
    measured: float
    at_most: float

    @property
    def is_met(self) -> bool:
        return self.measured <= self.at_most

    def __str__(self) -> str:
        return f"{'met' if self.is_met else 'MISSED'}: {self.what}: {self.measured:.2f}, at most {self.at_most:g}"


def targets(figures: Iterable[Figure]) -> list[Target]:
    """The core's targets with the worst that was measured of each."""
    of = {what: [one for one in figures if one.what == what] for what in (MANY_MATCHES, MANY_CONDITIONS, LONG_HISTORY)}
    return [
        Target("10,000 match rules against 10, ratio", max(one.ratio for one in of[MANY_MATCHES]), 1.5),
        Target("1,000 CEL rules, known values, µs a record", max(one.microseconds for one in of[MANY_CONDITIONS]), 2),
        Target("64 stops behind a record against 16, ratio", of[LONG_HISTORY][-1].ratio, 1.3 * 64 / 16),
    ]


ROW = "{:32} {:>4} {:>9} {:>21} {:>8} {:>8} {:>6}"


def table(figures: Iterable[Figure]) -> str:
    """One line a figure; a ratio beyond its bound is marked."""
    lines = [ROW.format("CPU time, µs a record", "pack", "µs", "baseline", "µs", "ratio", "bound")]
    for one in figures:
        spent, baseline = f"{one.microseconds:.3f}", f"{one.baseline_microseconds:.3f}"
        ratio = f"{one.ratio:.3f}{'!' if one.is_lost else ' '}"
        lines.append(ROW.format(one.what, one.pack, spent, one.baseline, baseline, ratio, one.bound))
    return "\n".join(lines)


def as_data(figures: Iterable[Figure]) -> dict[str, object]:
    """The same for a program."""
    found = list(figures)
    return {
        "figures": [asdict(one) | {"ratio": one.ratio} for one in found],
        "targets": [asdict(one) | {"met": one.is_met} for one in targets(found)],
    }


@click.command()
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here, too.")
@click.option("--repeats", default=REPEATS, show_default=True, help="Runs of which the shortest counts.")
def main(file: Path | None, repeats: int) -> None:
    """Measures the routing core; exits 1 where a bound or a target is missed.

    Example: python -m benchmarks.core --json core.json
    """
    figures = [measure(case, repeats) for case in cases()]
    click.echo(table(figures))
    if file is not None:
        file.write_text(json.dumps(as_data(figures), indent=2) + "\n")
    aims, lost = targets(figures), losses(figures)
    click.echo("\n".join(["", *map(str, aims), *lost]))
    sys.exit(0 if all(aim.is_met for aim in aims) and not lost else 1)


if __name__ == "__main__":
    main()

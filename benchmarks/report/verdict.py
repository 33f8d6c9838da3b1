"""A target and the verdict on it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and its measured figure; `figure` and `is_met` are None where nothing was measured."""

    target: str
    limit: str
    broker: str
    figure: str | None
    is_met: bool | None


def at_most(target: str, limit: float, unit: str, broker: str, figure: float | None, decimals: int = 2) -> Verdict:
    """Return the verdict on a figure that must not exceed a limit; the figure is shown with `decimals` decimals."""
    is_met = None if figure is None else figure <= limit
    return Verdict(target, f"≤ {limit:g} {unit}".strip(), broker, _shown(figure, unit, decimals), is_met)


def at_least(target: str, limit: float, unit: str, broker: str, figure: float | None, decimals: int = 2) -> Verdict:
    """Return the verdict on a figure that must reach a limit."""
    is_met = None if figure is None else figure >= limit
    return Verdict(target, f"≥ {limit:,g} {unit}".strip(), broker, _shown(figure, unit, decimals), is_met)


def ratio(one: float | None, other: float | None) -> float | None:
    """Return `one` as a multiple of `other`, or None where one of them is missing or `other` is 0."""
    return None if one is None or not other else one / other


def _shown(figure: float | None, unit: str, decimals: int) -> str | None:
    return None if figure is None else f"{figure:,.{decimals}f} {unit}".strip()

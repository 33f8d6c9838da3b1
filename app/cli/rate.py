"""Values of options that are numbers, such as `--rate`: records per second, or `max`."""

from __future__ import annotations

import math

import click

HIGHEST = math.inf
"""The value of `--rate max`."""
LOWEST = 0.1


class FiniteRange(click.FloatRange):
    """A number within bounds, and not `nan`, `inf` or another text that stands for no number."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


class RateType(click.ParamType):
    """A rate in records per second, at least 0.1; `max` is read as infinity."""

    name = "rate"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "RATE|max"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if value == "max":
            return HIGHEST
        try:
            rate = float(str(value))
        except ValueError:
            self.fail(f"{value!r} is neither a number of records per second nor `max`", param, ctx)
        if not LOWEST <= rate < HIGHEST:
            self.fail(f"{value} is not a rate: at least {LOWEST:g} records per second, or `max`", param, ctx)
        return rate

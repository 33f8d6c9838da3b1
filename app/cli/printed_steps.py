"""Prints the way of a record, step by step, with nothing in it that a terminal would obey."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from metroline.app.cli.terminal import say
from metroline.routing.rules.explain import Explained

LINE_BREAK = re.compile(r"\s*\n\s*")
"""A line break in a condition, with the spaces around it."""


async def print_way(steps: AsyncIterator[Explained], title: str | None = None) -> None:
    """Print the steps of a record as they come, below a title."""
    if title is not None:
        say(title)
    async for step in steps:
        _print(step)


def _print(step: Explained) -> None:
    say(f"after {step.after}")
    for attempt in step.attempts:
        say(f"  {attempt}")
    if step.sets:
        say(f"  sets {', '.join(f'{name}={value}' for name, value in step.sets.items())}")
    if step.removes:
        say(f"  removes {', '.join(step.removes)}")
    for wait in step.waits:
        say(f"  {wait}")
    for trial in step.trials:
        read = ", ".join(f"{name}={value}" for name, value in trial.read.items())
        verdict = LINE_BREAK.sub(" ", trial.verdict)
        say(f"  {'✔' if trial.holds else '·'} {trial.rule}: {verdict}" + (f"  ({read})" if read else ""))
    say(f"  → {step.verdict}")

"""Prints the way of a record, step by step."""

from __future__ import annotations

from collections.abc import AsyncIterator

import click

from metroline.routing.rules.explain import Explained


async def print_way(steps: AsyncIterator[Explained], title: str | None = None) -> None:
    """Print the steps of a record as they come, below a title."""
    if title is not None:
        click.echo(title)
    async for step in steps:
        _print(step)


def _print(step: Explained) -> None:
    click.echo(f"after {step.after}")
    for attempt in step.attempts:
        click.echo(f"  {attempt}")
    if step.sets:
        click.echo(f"  sets {', '.join(f'{name}={value}' for name, value in step.sets.items())}")
    if step.removes:
        click.echo(f"  takes out {', '.join(step.removes)}")
    for trial in step.trials:
        read = ", ".join(f"{name}={value}" for name, value in trial.read.items())
        click.echo(f"  {'✔' if trial.holds else '·'} {trial.rule}: {trial.verdict}" + (f"  ({read})" if read else ""))
    click.echo(f"  → {step.verdict}")

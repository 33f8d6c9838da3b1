"""`metroline doctor`: examines this machine, a line, and its cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from metroline.app.cli.options import json_option, line_option, write_json
from metroline.app.cli.terminal import say
from metroline.app.diagnosis.examination import examine
from metroline.app.diagnosis.finding import Finding, Status
from metroline.app.markup.numbers import counted

WIDTH = 18
"""Characters of the column with the subjects."""


@click.command()
@line_option
@click.option(
    "--broker", metavar="URL", help="Kafka cluster, as kafka://host:port. Default: BROKER_URL in the environment."
)
@json_option("the findings")
def doctor(line: str | None, broker: str | None, json_file: Path | None) -> None:
    """Examine what a worker needs, and say what is wrong.

    It looks at Python and its packages, the settings in the environment, folders and ports, the line with its rules and
    lookups, and on the cluster at brokers, topics, rights, formats, rules, live workers and their clocks. Source and
    ends in other systems are asked, too. Nothing is changed. The exit code is 1 if a worker could not run.

    \b
    Example: metroline doctor --line orders --broker kafka://kafka:9092
    """
    found = asyncio.run(_examine(line, broker, is_silent=json_file is not None))
    errors = sum(finding.status is Status.ERROR for finding in found)
    warnings = sum(finding.status is Status.WARNING for finding in found)
    if json_file is not None:
        write_json({"can_run": not errors, "findings": [finding.as_json() for finding in found]}, json_file)
    else:
        say(f"{counted(errors, 'error')}, {counted(warnings, 'warning')}")
    if errors:
        click.get_current_context().exit(1)


async def _examine(line: str | None, broker: str | None, *, is_silent: bool) -> list[Finding]:
    """Return all findings, and print each when it is made."""
    found = []
    async for finding in examine(line, broker):
        found.append(finding)
        if not is_silent:
            _print(finding)
    return found


def _print(finding: Finding) -> None:
    say(f"{finding.status:<8} {finding.check:<{WIDTH}}{finding.text}")
    if finding.remedy:
        say(f"{'':<8} {'':<{WIDTH}}→ {finding.remedy}")

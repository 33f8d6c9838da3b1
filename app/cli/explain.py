"""`metroline explain`: the way of one record through a rules table and the services of its line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import orjson

from metroline.agents.lookups.errors import LookupDamaged, LookupMissing
from metroline.agents.services.line import Line
from metroline.agents.services.line_options import LineOptions
from metroline.agents.services.service import Service
from metroline.app.cli.options import FILE, RULES_FILE, UnreadableFile, json_option, read_text, write_json
from metroline.app.inputs.lookup_builds import prepare_possible_lookups
from metroline.routing.journeys.departures import Limits
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.meta import Meta
from metroline.routing.rules.explain import Explained, NoAnswer, NotCalled
from metroline.routing.rules.explain import explain as explain_way
from metroline.routing.rules.table import RulesTable

Handler = Callable[[dict[str, Any]], Any]

EXPLAINED_META = Meta(None, {}, None, "explained", 0, 0)
"""The metadata of an explained record, which comes from a file."""


@click.command()
@click.argument("file", type=RULES_FILE)
@click.argument("record", type=FILE)
@click.option(
    "--line",
    "line",
    metavar="LINE",
    help="Run the services of this line, a package or a folder, at the stops. Default: no service runs, and the record "
    "stays as it is.",
)
@json_option("the way")
def explain(file: Path, record: Path, line: str | None, json_file: Path | None) -> None:
    """Explain the way of one record, rule by rule.

    FILE is a rules table or the folder of its line, RECORD a file with one JSON object. For each stop, the output has
    the fields that the service set, the rules that were tried with the fields that they read, and the rule that held.
    Each service is called once, and is not tried again. Where a service cannot be called, since a lookup is missing,
    the output says so and ends. No broker is needed. The exit code is 0 however the way of the record ends.

    \b
    Example: metroline explain orders/routes.toml orders/one.json --line orders
    """
    loaded = None if line is None else Line.load(line)
    ends = LineOptions.read(file.resolve().parent, frozenset()).end_names if loaded is None else loaded.ends
    table = RulesTable.parse(read_text(file), file=str(file), ends=ends)
    read = _read_record(record)
    if loaded is not None:
        for problem in prepare_possible_lookups(loaded):
            click.echo(f"warning: {problem}", err=True)
    with _handlers({} if loaded is None else loaded.services) as handlers:
        steps = explain_way(table, read, handlers, Limits().max_hops)
        if json_file is not None:
            write_json([step.as_json() for step in steps], json_file)
            return
        for step in steps:
            _print(step)
    if loaded is None:
        click.echo("no service was called: name the line with --line to call its services", err=True)


def _read_record(file: Path) -> dict[str, Any]:
    try:
        record = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise UnreadableFile(f"{file} does not hold one JSON object: {error}") from error
    if not isinstance(record, dict):
        raise UnreadableFile(f"{file} does not hold a JSON object, as a record must be")
    return record


@contextmanager
def _handlers(services: Mapping[str, Service]) -> Iterator[dict[str, Handler]]:
    """Return the functions that call services once, async ones in one event loop, which is closed after the block."""
    with asyncio.Runner() as runner:
        yield {name: _handler(service, runner) for name, service in services.items()}


def _handler(service: Service, runner: asyncio.Runner) -> Handler:
    called = service.handler_of_whole("explained", EXPLAINED_META)
    seconds = service.retry_policy_over(RetryPolicy()).timeout

    async def answer(record: dict[str, Any]) -> Any:
        try:
            async with asyncio.timeout(seconds) as limit:
                return await called(record)
        except TimeoutError:
            if limit.expired():
                raise NoAnswer(seconds) from None
            raise

    def handle(record: dict[str, Any]) -> Any:
        try:
            return runner.run(answer(record)) if service.is_async else called(record)
        except (LookupMissing, LookupDamaged) as error:
            raise NotCalled(str(error)) from error

    return handle


def _print(step: Explained) -> None:
    click.echo(f"after {step.after}")
    if step.sets:
        click.echo(f"  sets {', '.join(f'{name}={value}' for name, value in step.sets.items())}")
    if step.removes:
        click.echo(f"  takes out {', '.join(step.removes)}")
    for trial in step.trials:
        read = ", ".join(f"{name}={value}" for name, value in trial.read.items())
        click.echo(f"  {'✔' if trial.holds else '·'} {trial.rule}: {trial.verdict}" + (f"  ({read})" if read else ""))
    click.echo(f"  → {step.verdict}")

"""`metroline explain`: the way of records through a rules table and the services of its line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import click

from metroline.agents.formats.names import JSON
from metroline.agents.services.line import Line
from metroline.agents.services.line_options import LineOptions
from metroline.app.cli.options import RULES_FILE, json_option, read_text, write_json
from metroline.app.cli.printed_steps import print_way
from metroline.app.cli.reading_options import reading_options
from metroline.app.cli.terminal import say
from metroline.app.inputs.lookup_builds import prepare_possible_lookups
from metroline.app.inputs.row_files import Reading, UnreadableRecords
from metroline.app.inputs.source_records import records_in
from metroline.app.operations.rehearsal import Rehearsal
from metroline.app.settings import Settings
from metroline.routing.errors import UsageError
from metroline.routing.journeys.departures import Limits
from metroline.routing.journeys.ends import End
from metroline.routing.messages.metadata import Metadata
from metroline.routing.rules.table import RulesTable

RECORDS = click.Path(exists=True, dir_okay=False, path_type=Path, allow_dash=True)


@click.command()
@click.argument("file", type=RULES_FILE)
@click.argument("records", type=RECORDS)
@click.option(
    "--line",
    "line",
    metavar="LINE",
    help="Run the services of this line, a package or a folder, at the stops. Default: no service runs, and the record "
    "stays as it is.",
)
@click.option("--key", help="Key of the source message. Default: none.")
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="Header of the source message.")
@reading_options
@json_option("the ways")
def explain(
    file: Path,
    records: Path,
    line: str | None,
    key: str | None,
    headers: Sequence[str],
    reading: Reading,
    json_file: Path | None,
) -> None:
    """Explain the way of each record, rule by rule.

    FILE is a rules table or the folder of its line. RECORDS is a file of JSON (one object, lines, or an array), CSV,
    TSV or Parquet, or - for the standard input. For each stop, the output has the failed attempts of the service, the
    fields that it set, the rules that were tried with the values that they read, and the rule that held.

    It is the code of a worker that runs, with its settings: MAX_HOPS, MAX_AGE, SERVICE_ATTEMPTS, SERVICE_TIMEOUT. There
    are no waits between attempts. Resources of the line are opened, as by a worker, and closed at the end. Where the
    way cannot be known, the output says so and ends. No broker is needed. The exit code is 0 however the way of a
    record ends.

    \b
    Example: metroline explain orders/routes.toml one.json --line orders
    """
    settings = Settings.read(line=line)
    loaded = None if line is None else Line.load(line)
    metadata = _metadata(key, headers)
    rehearsal = _rehearsal(settings, loaded, file)
    if loaded is not None:
        for problem in prepare_possible_lookups(loaded):
            say(f"warning: {problem}", err=True)
    asyncio.run(_explain(rehearsal, records_in(records, reading), metadata, json_file))
    if loaded is None:
        say("no service was called: name the line with --line to call its services", err=True)
    elif (source := settings.format_of_source(loaded)[0]) != JSON:
        say(f"the format of the source, {source}, was not used: the records were given as JSON", err=True)


def _rehearsal(settings: Settings, line: Line | None, file: Path) -> Rehearsal:
    if line is not None:
        return Rehearsal.of_line(settings, line, RulesTable.parse(read_text(file), file=str(file), ends=line.ends))
    options = LineOptions.read(file.resolve().parent, frozenset())
    table = RulesTable.parse(read_text(file), file=str(file), ends=options.end_names)
    limits, last = Limits(max_hops=settings.max_hops), frozenset(options.outside)
    ends = dict.fromkeys(options.end_names | last, End())
    return Rehearsal(table, None, limits, settings.retry_policy, settings.max_age, ends, last=last)


def _metadata(key: str | None, headers: Sequence[str]) -> Metadata:
    """Return the metadata of a source message that comes in now."""
    named = [header.partition("=") for header in headers]
    for header, (name, equals, _) in zip(headers, named, strict=True):
        if not name or not equals:
            raise UsageError(f"--header {header}: write NAME=VALUE")
    own = [(name, value.encode()) for name, _, value in named]
    return Metadata.of([None if key is None else key.encode()], [own], [int(time.time() * 1_000)])


async def _explain(
    rehearsal: Rehearsal, records: Iterator[tuple[int, bytes]], metadata: Metadata, json_file: Path | None
) -> None:
    """Print the way of each record, or write all of them to a file."""
    written: list[dict[str, Any]] = []
    first = list(islice(records, 2))
    async with rehearsal.resources:
        for count, (number, record) in enumerate(chain(first, records)):
            steps = rehearsal.explain(record, count, metadata)
            if json_file is not None:
                written.append({"line": number, "steps": [step.as_json() async for step in steps]})
            else:
                await print_way(steps, f"record {count + 1}, line {number}" if len(first) > 1 else None)
    if not first:
        raise UnreadableRecords("there are no records to explain: the file is empty")
    if json_file is not None:
        write_json(written, json_file)

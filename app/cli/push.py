"""`metroline push`: records for a line that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import click
from rich.progress import MofNCompleteColumn

from metroline.agents.formats.names import JSON
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.agents.services.line import Line
from metroline.app.cli.console import safe_console
from metroline.app.cli.options import (
    RecordsCommand,
    json_option,
    line_option,
    records_option,
    seed_option,
    write_json,
)
from metroline.app.cli.progress import progress_bars
from metroline.app.cli.rate import FiniteRange
from metroline.app.cli.reading_options import reading_options
from metroline.app.cli.terminal import say
from metroline.app.inputs.row_files import Reading
from metroline.app.inputs.source_loader import Sent, load
from metroline.app.inputs.source_records import (
    NoRecords,
    UnfitLines,
    check_records,
    is_number,
    readable_again,
    records_of,
)
from metroline.app.markup.numbers import counted
from metroline.app.settings import Settings
from metroline.routing.errors import MetrolineError


class NotRecords(MetrolineError):
    """Raised with `--strict` when a file has lines that are no records."""


@click.command(cls=RecordsCommand)
@line_option
@records_option(None)
@click.option("--rate", type=FiniteRange(min=0.1), help="Records per second. Default: as fast as possible.")
@seed_option
@reading_options
@click.option(
    "--strict", is_flag=True, help="Send nothing if a line of the file is no record. Default: send it, and warn of it."
)
@json_option("the number of records and their topic")
def push(
    line: str | None,
    records: str | None,
    rate: float | None,
    seed: int,
    reading: Reading,
    strict: bool,
    json_file: Path | None,
) -> None:
    """Write records to the source topic of a line.

    The topic is in the Kafka cluster at BROKER_URL. It is created if it does not exist. Each record is one message.
    Blank lines of a file are left out. A line that is not a JSON object is sent as it is and becomes a dead letter,
    unless the source of the line has another format than JSON. `--records -` reads the standard input.

    \b
    Example: metroline push --records orders.jsonl.gz --rate 100
    """
    settings = Settings.read(line=line)
    if records is None:
        raise NoRecords("nothing to send: write --records FILE, or - for the standard input, or 10 for sample records")
    loaded = Line.load(settings.line)
    looked = UnfitLines() if settings.format_of_source(loaded)[0] == JSON else None
    reading = replace(reading, takes_any_line=looked is None)
    check_records(records)
    with readable_again(records, reading) if strict else nullcontext((records, reading)) as (source, reading):
        if strict and looked is not None:
            _refuse_unfit(records, source, loaded, reading)
        found = records_of(source, loaded, seed, looked, reading)
        total = int(records) if is_number(records) else 0
        with progress_bars(safe_console(stderr=True), MofNCompleteColumn()) as report:
            sent = asyncio.run(_push(settings, loaded, found, rate, lambda done: report("sending", done, total)))
    topic = settings.topics(loaded).source
    if json_file is not None:
        unfit = 0 if looked is None else looked.unfit
        write_json({"records": sent.records, "topic": topic, "no_records": unfit}, json_file)
    else:
        say(f"{counted(sent.records, 'record')} {'was' if sent.records == 1 else 'were'} written to {topic}")
    if looked is not None and looked.unfit:
        say(f"warning: {records}: {looked.describe()}; expect dead letters, malformed_record", err=True)


def _refuse_unfit(records: str, source: str, line: Line, reading: Reading) -> None:
    """Raise `NotRecords` if a line of the file `source`, which `records` names, is no record."""
    looked = UnfitLines()
    if Path(source).is_file():
        for _ in records_of(source, line, looked=looked, reading=reading):
            pass
    if looked.unfit:
        raise NotRecords(f"{records}: {looked.describe()}; nothing was sent")


async def _push(
    settings: Settings, line: Line, records: Iterator[bytes], rate: float | None, report: Callable[[int], None]
) -> Sent:
    """Send the records, and report the number of those that are confirmed from time to time."""
    cluster, source = settings.cluster(), settings.topics(line).source
    found = await TopicAdmin(cluster).partitions([source])
    if source not in found:
        await TopicAdmin(cluster).create(
            [TopicPlan(source, settings.source_partitions)], settings.topic_replication_factor
        )
    partitions = found.get(source, settings.source_partitions)
    sent = Sent()
    async for so_far in load(cluster, source, records, partitions, rate):
        sent = so_far
        report(sent.records)
    return sent

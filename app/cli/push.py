"""`metroline push`: records for a line that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import click

from metroline.agents.formats.names import JSON
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.agents.services.line import Line
from metroline.app.cli.options import line_option, reading_options, records_option, seed_option
from metroline.app.cli.terminal import say
from metroline.app.inputs.row_files import STANDARD_INPUT, Format
from metroline.app.inputs.source_loader import Sent, load
from metroline.app.inputs.source_records import Reading, UnfitLines, records_of
from metroline.app.settings import Settings
from metroline.routing.errors import MetrolineError, UsageError


class NotRecords(MetrolineError):
    """Raised with `--strict` when a file has lines that are no records."""


@click.command()
@line_option
@records_option("100")
@click.option("--rate", type=click.FloatRange(min=0.1), help="Records per second. Default: as fast as possible.")
@seed_option
@reading_options
@click.option(
    "--strict", is_flag=True, help="Send nothing if a line of the file is no record. Default: send it, and warn of it."
)
def push(
    line: str | None,
    records: str,
    rate: float | None,
    seed: int,
    format: Format | None,
    text: bool,
    strict: bool,
) -> None:
    """Write records to the source topic of a line.

    The topic is in the Kafka cluster at BROKER_URL. It is created if it does not exist. Each record is one message.
    Blank lines of a file are left out. A line that is not a JSON object is sent as it is and becomes a dead letter,
    unless the source of the line has another format than JSON. `--records -` reads the standard input.

    \b
    Example: metroline push --records orders.jsonl.gz --rate 100
    """
    settings = Settings.read(line=line)
    loaded = Line.load(settings.line)
    looked = UnfitLines() if settings.format_of_source(loaded)[0] == JSON else None
    reading = Reading(format, text)
    if strict and looked is not None:
        _refuse_unfit(records, loaded, reading)
    sent = asyncio.run(_push(settings, loaded, records_of(records, loaded, seed, looked, reading), rate))
    say(f"{sent.records} records were written to {settings.topics(loaded).source}")
    if looked is not None and looked.unfit:
        say(f"warning: {records}: {looked.describe()}; expect dead letters, malformed_record", err=True)


def _refuse_unfit(records: str, line: Line, reading: Reading) -> None:
    """Raise `NotRecords` if a line of the file is no record."""
    if Path(records) == STANDARD_INPUT:
        raise UsageError("--strict reads the records twice: write them to a file, and name it with --records")
    looked = UnfitLines()
    if Path(records).is_file():
        for _ in records_of(records, line, looked=looked, reading=reading):
            pass
    if looked.unfit:
        raise NotRecords(f"{records}: {looked.describe()}; nothing was sent")


async def _push(settings: Settings, line: Line, records: Iterator[bytes], rate: float | None) -> Sent:
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
    return sent

"""`metroline push`: records for a line that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import click

from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.agents.services.line import Line
from metroline.app.cli.options import line_option, records_option, seed_option
from metroline.app.inputs.source_loader import Sent, load
from metroline.app.inputs.source_records import records_of
from metroline.app.settings import Settings


@click.command()
@line_option
@records_option("100")
@click.option("--rate", type=click.FloatRange(min=0.1), help="Records per second. Default: as fast as possible.")
@seed_option
def push(line: str | None, records: str, rate: float | None, seed: int) -> None:
    """Write records to the source topic of a line.

    The topic is in the Kafka cluster at BROKER_URL. It is created if it does not exist. Each record is one message.

    \b
    Example: metroline push --records orders.jsonl.gz --rate 100
    """
    settings = Settings.read(line=line)
    loaded = Line.load(settings.line)
    sent = asyncio.run(_push(settings, loaded, records_of(records, loaded, seed), rate))
    click.echo(f"{sent.records} records were written to {settings.topics(loaded).source}")


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

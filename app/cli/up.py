"""`metroline up`, `worker`, `broker`, `push` and `hand-over`: a line that lives."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from threading import Event

import click
from aiokafka.errors import KafkaError

from metroline.agents.kafka.cluster import Cluster, TopicPlan
from metroline.agents.membership.hand_over import hand_over as hand_over_offsets
from metroline.agents.membership.roles import Role
from metroline.agents.services.line import Line
from metroline.app.cli import cli
from metroline.app.cli.options import Reached, broker_option, line_option, reached_broker, records_option, seed_option
from metroline.app.inputs.lookup_builds import prepare_lookups
from metroline.app.inputs.source_records import Sent, load, records_of
from metroline.app.local.broker_probe import HOST, check_free
from metroline.app.local.embedded_broker import EmbeddedBroker
from metroline.app.local.worker_process import WorkerProcess, stop_all
from metroline.app.run_worker import run_worker
from metroline.app.settings import Settings
from metroline.routing.errors import MetrolineError


@cli.command()
def worker() -> None:
    """Runs one worker process, as it is deployed.

    It takes all of its settings from the environment; the README has a table of them. SIGTERM or Ctrl-C ends it.

    \b
    Example: BROKER_URL=kafka://kafka:9092 LINE=lines/orders ROLE=router metroline worker
    """
    run_worker(Settings.read())


@cli.command()
@click.option("--port", type=click.IntRange(1, 65_535), default=9092, show_default=True, help="Its port on 127.0.0.1.")
def broker(port: int) -> None:
    """Runs the embedded broker alone, until Ctrl-C.

    It keeps everything in memory: what was written is gone at the end.

    \b
    Example: metroline broker --port 19092
    """
    with EmbeddedBroker.start(port) as running:
        click.echo(f"broker: {running.url} (memory only; Ctrl-C ends it)")
        _until_stopped(running.check)


@cli.command()
@line_option
@records_option("100")
@click.option("--rate", type=click.FloatRange(min=0.1), help="Records a second. Default: as fast as possible.")
@seed_option
def push(line: str | None, records: str, rate: float | None, seed: int) -> None:
    """Writes records to the source topic of a line.

    The topic is on the Kafka at BROKER_URL. Each record is a message.

    \b
    Example: metroline push --records orders.jsonl.gz --rate 100
    """
    settings = _settings(line)
    loaded = Line.load(settings.line)
    sent = asyncio.run(_push(settings, loaded, records, rate, seed))
    click.echo(f"{sent.records} records were written to {settings.topics(loaded).source}")


async def _push(settings: Settings, line: Line, records: str, rate: float | None, seed: int) -> Sent:
    cluster, source = settings.cluster(), settings.topics(line).source
    found = await cluster.partitions([source])
    if source not in found:
        await cluster.create([TopicPlan(source, settings.source_partitions)], settings.topic_replication_factor)
    partitions = found.get(source, settings.source_partitions)
    sent = Sent()
    async for so_far in load(cluster, source, records_of(records, line, seed), partitions, rate):
        sent = so_far
    return sent


@cli.command()
@line_option
@broker_option
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    default=20.0,
    show_default=True,
    help="So many of the line's own records come in each second; 0 for none.",
)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Worker processes.")
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    default=6066,
    show_default=True,
    help="The port of the first worker's web pages.",
)
@seed_option
def up(line: str | None, broker: str | None, rate: float, workers: int, port: int, seed: int) -> None:
    """Runs a live line on this machine, until Ctrl-C.

    It starts the embedded broker, unless another one is named, and workers with their web pages; records come in.

    \b
    Example: ROUTING_STRATEGY=map_maker metroline up --line metroline.agents.lines.metrobus
    """
    settings = _settings(line)
    loaded = Line.load(settings.line)
    loaded.rules_table()
    prepare_lookups(loaded)
    if rate:
        next(loaded.records(1), None)  # a line without records of its own needs --rate 0
    check_free(HOST, port, "--port: the port")
    with reached_broker(broker) as reached, tempfile.TemporaryDirectory(prefix="metroline-") as folder:
        variables = reached.environment | {"BROKER_URL": reached.url, "LINE": settings.line, "LOG_LEVEL": "warning"}
        running: list[WorkerProcess] = []
        try:
            for number in range(workers):
                running.append(
                    WorkerProcess.start(variables, Path(folder) / f"{number}.log", port if not number else None)
                )
            for one in running:
                one.wait_until_ready()
            _tell(reached, settings, loaded, running)
            asyncio.run(_live(reached, settings, loaded, running, rate, seed))
        finally:
            stop_all(running)


def _tell(reached: Reached, settings: Settings, line: Line, running: list[WorkerProcess]) -> None:
    topics = settings.topics(line)
    click.echo(f"line {line.name} runs by {settings.routing_strategy} on {reached.url}; source topic: {topics.source}")
    for one in running:
        click.echo(f"worker {one.child.pid}: {one.url}/table/ (its warnings, until it ends: {one.child.log})")
    click.echo(f"publish other rules: BROKER_URL={reached.url} metroline rules publish {line.rules_file}")
    click.echo("Ctrl-C ends it")


async def _live(
    reached: Reached, settings: Settings, line: Line, running: list[WorkerProcess], rate: float, seed: int
) -> None:
    stopped = _stop_signal()
    pushing = asyncio.create_task(_push_forever(reached.cluster, settings, line, rate, seed)) if rate else None
    try:
        while not stopped.is_set():
            for one in running:
                one.check()
            reached.check()
            if pushing is not None and pushing.done():
                await pushing
            await asyncio.sleep(0.2)
    finally:
        if pushing is not None:
            pushing.cancel()
            with suppress(asyncio.CancelledError, KafkaError, MetrolineError):
                await pushing


async def _push_forever(cluster: Cluster, settings: Settings, line: Line, rate: float, seed: int) -> None:
    source = settings.topics(line).source
    partitions = (await cluster.partitions([source]))[source]
    messages = chain.from_iterable(records_of("1000", line, number) for number in count(seed))
    async for _ in load(cluster, source, messages, partitions, rate):
        pass


@cli.command("hand-over")
@line_option
@click.option(
    "--to",
    "roles",
    metavar="ROLE",
    multiple=True,
    required=True,
    help="The ROLE of a worker of the new cut; once for each. Together they are the whole line.",
)
def hand_over(line: str | None, roles: tuple[str, ...]) -> None:
    """Lets workers of other roles read on where others stopped.

    Each role has a consumer group of its own. When a line is cut into roles in another way, this gives the new groups
    the offsets up to which its topics were read. Stop the line before, and start the new workers after.

    \b
    Example: metroline hand-over --to on-ramp,router,arrivals --to service:price,service:ship
    """
    settings = _settings(line)
    loaded = Line.load(settings.line)
    cut = [Role.parse(role, loaded.stops) for role in roles]
    moved = asyncio.run(hand_over_offsets(settings.cluster(), settings.topics(loaded), cut, loaded.stops, time.time()))
    for group, offsets in moved.items():
        read, partitions = sum(offsets.values()), len(offsets)
        click.echo(
            f"{group}: reads on after the {read} messages (packs of records) that were read, in {partitions} partitions"
        )
    if not moved:
        click.echo("no messages were read yet: the new workers begin with the first ones")


def _settings(line: str | None) -> Settings:
    return Settings.read(line=line) if line else Settings.read()


def _stop_signal() -> Event:
    """Set on SIGTERM and Ctrl-C."""
    stopped = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    return stopped


def _until_stopped(check: Callable[[], None]) -> None:
    stopped = _stop_signal()
    while not stopped.wait(0.2):
        check()

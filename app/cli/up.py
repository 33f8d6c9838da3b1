"""`metroline up`: a live line on this machine."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import suppress
from itertools import chain, count
from pathlib import Path

import click
from aiokafka.errors import KafkaError

from metroline.agents.formats.names import JSON
from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.services.line import Line
from metroline.app.cli.lag_report import LagReport
from metroline.app.cli.options import broker_option, line_option, seed_option
from metroline.app.cli.target_broker import TargetBroker, target_broker
from metroline.app.cli.terminal import say
from metroline.app.inputs.lookup_builds import prepare_lookups
from metroline.app.inputs.source_loader import load
from metroline.app.inputs.source_records import records_of
from metroline.app.local.ports import HOST, check_free
from metroline.app.local.stop_signal import stop_signal
from metroline.app.local.worker_process import WorkerProcess, stop_all
from metroline.app.settings import Settings, misspelt
from metroline.routing.errors import MetrolineError

POLL_SECONDS = 0.2

LAG_SECONDS = 1.0
"""Time between two looks at how far the line is behind."""


@click.command()
@line_option
@broker_option
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    default=20.0,
    show_default=True,
    help="Number of the line's own records that arrive per second; 0 for none.",
)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Worker processes.")
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    default=6066,
    show_default=True,
    help="Port of the first worker's web pages.",
)
@seed_option
def up(line: str | None, broker: str | None, rate: float, workers: int, port: int, seed: int) -> None:
    """Run a live line on this machine until Ctrl-C.

    It starts the embedded broker, unless a Kafka cluster is named, and workers with their web pages. Records of the
    line keep arriving.

    \b
    Example: ROUTING_STRATEGY=map_maker metroline up --line metroline.agents.lines.metrobus
    """
    for warning in misspelt(os.environ):
        say(f"warning: {warning}", err=True)  # the workers warn of it in their logs, which nobody sees
    settings = Settings.read(line=line)
    loaded = Line.load(settings.line)
    loaded.rules_table()
    prepare_lookups(loaded)
    if rate:
        next(loaded.records(1), None)  # a line without records of its own needs --rate 0
    check_free(HOST, port, "--port: the port")
    with target_broker(broker) as target, tempfile.TemporaryDirectory(prefix="metroline-") as folder:
        variables = target.environment | {"BROKER_URL": target.url, "LINE": settings.line, "LOG_LEVEL": "warning"}
        if rate:
            variables["SOURCE_FORMAT"] = JSON  # that of the line's own records
        running: list[WorkerProcess] = []
        try:
            for number in range(workers):
                log, web_port = Path(folder) / f"{number}.log", port if number == 0 else None
                running.append(WorkerProcess.start(variables, log, web_port))
            for one in running:
                one.wait_until_ready()
            _introduce(target, settings, loaded, running)
            asyncio.run(_live(target, settings, loaded, running, rate, seed))
        finally:
            stop_all(running)


def _introduce(target: TargetBroker, settings: Settings, line: Line, running: list[WorkerProcess]) -> None:
    topics = settings.topics(line)
    say(f"line {line.name} runs by {settings.routing_strategy} on {target.url}; source topic: {topics.source}")
    for one in running:
        say(f"worker {one.child.pid}: {one.url}/table/ (its warnings, until it ends: {one.child.log})")
    where = Path(settings.line).resolve() if Path(settings.line).is_dir() else settings.line
    publish = f"BROKER_URL={target.url} metroline rules publish --line {where} {line.rules_file}"
    say(f"to publish other rules: {publish}")
    say("Ctrl-C ends it")


async def _live(
    target: TargetBroker, settings: Settings, line: Line, running: list[WorkerProcess], rate: float, seed: int
) -> None:
    stopped = stop_signal()
    pushing = asyncio.create_task(_push_forever(target.cluster, settings, line, rate, seed)) if rate else None
    telling = asyncio.create_task(_tell_lag(running))
    try:
        while not stopped.is_set():
            for one in running:
                one.check()
            target.check()
            if pushing is not None and pushing.done():
                await pushing
            await asyncio.sleep(POLL_SECONDS)
    finally:
        telling.cancel()
        if pushing is not None:
            pushing.cancel()
            with suppress(asyncio.CancelledError, KafkaError, MetrolineError):
                await pushing


async def _tell_lag(running: list[WorkerProcess]) -> None:
    """Say how far the line is behind, once a second while it is."""
    report = LagReport()
    while True:
        answers = await asyncio.gather(*(asyncio.to_thread(one.get, "/traffic/") for one in running))
        line = report.look([answer for answer in answers if answer is not None])
        if line is not None:
            say(line)
        await asyncio.sleep(LAG_SECONDS)


async def _push_forever(cluster: Cluster, settings: Settings, line: Line, rate: float, seed: int) -> None:
    source = settings.topics(line).source
    partitions = (await TopicAdmin(cluster).partitions([source]))[source]
    messages = chain.from_iterable(records_of("1000", line, number) for number in count(seed))
    async for _ in load(cluster, source, messages, partitions, rate):
        pass

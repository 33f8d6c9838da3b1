"""`metroline up`: a live line on this machine."""

from __future__ import annotations

import asyncio
import os
import secrets
from functools import partial
from pathlib import Path

import click

from metroline.agents.formats.names import JSON
from metroline.agents.services.line import Line
from metroline.app.cli.live.display import Display, displays
from metroline.app.cli.live.events import Ended
from metroline.app.cli.live.introduction import introduction
from metroline.app.cli.live.kept_logs import kept_logs
from metroline.app.cli.live.reload import Reload
from metroline.app.cli.live.session import Session, push_forever
from metroline.app.cli.options import broker_option, json_option, line_option, seed_option
from metroline.app.cli.rate import FiniteRange
from metroline.app.cli.target_broker import TargetBroker, target_broker
from metroline.app.cli.terminal import say
from metroline.app.inputs.lookup_builds import prepare_lookups
from metroline.app.local.crew import Crew
from metroline.app.local.ports import HOST, check_free
from metroline.app.local.stop_signal import stop_signal
from metroline.app.local.worker_process import EMBEDDED_PARTITIONS, gathering, own_age
from metroline.app.settings import Settings, misspelt
from metroline.routing.errors import MetrolineError

DELIVERED = "delivered"
"""The value of END_TOPICS with which a line tries itself out: it touches no other system."""

KEPT_IN_MEMORY = "the embedded broker would forget its records; END_TOPICS=named receives them all the same"

TOKEN_BYTES = 15
"""Random bytes of the token for the pages, which people copy from the terminal: 20 characters."""


@click.command()
@line_option
@broker_option
@click.option(
    "--rate",
    type=FiniteRange(min=0),
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
@click.option(
    "--reload",
    "reloads",
    is_flag=True,
    help="Let changed files of the line take effect: code and line.toml by other workers, routes.toml by publishing "
    "it. A file with an error has no effect, and a line says what is wrong.",
)
@json_option("each event of the line, as it happens,", "JSON Lines")
def up(
    line: str | None,
    broker: str | None,
    rate: float,
    workers: int,
    port: int,
    seed: int,
    reloads: bool,
    json_file: Path | None,
) -> None:
    """Run a live line on this machine until Ctrl-C.

    It starts the embedded broker, unless a Kafka cluster is named, and workers with their web pages. Records of the
    line keep arriving. It shows what services print and log, with the name of the stop, and how many records have which
    outcome.

    \b
    Example: ROUTING_STRATEGY=map_maker metroline up --line metroline.agents.lines.metrobus
             metroline up --line orders --reload
             metroline up --line orders --json - | jq 'select(.event == "output")'
    """
    age = own_age()
    for warning in misspelt(os.environ):
        say(f"warning: {warning}", err=True)
    settings = Settings.read(line=line)
    loaded = Line.load(settings.line)
    loaded.rules_table()
    loaded.check_settings()
    prepare_lookups(loaded)
    if rate:
        next(loaded.records(1), None)  # a line without records of its own needs --rate 0
    check_free(HOST, port, "--port: the port")
    with (
        displays(json_file) as display,
        kept_logs() as folder,
        target_broker(broker, folder / "broker.log") as target,
    ):
        own = {"BROKER_URL": target.url, "LINE": settings.line}
        if "log_level" not in settings.model_fields_set:
            own["LOG_LEVEL"] = "warning"
        if target.embedded is not None:
            own |= for_embedded(settings, loaded, rate)
            if (queue := loaded.options.queue) is not None and own.get("END_TOPICS") == DELIVERED:
                say(f"warning: nothing is received from the queue {queue.queue}: {KEPT_IN_MEMORY}", err=True)
        if rate:
            own["SOURCE_FORMAT"] = JSON  # that of the line's own records
        token = secrets.token_urlsafe(TOKEN_BYTES) if settings.metroline_token is None else None
        if token is not None:
            own["METROLINE_TOKEN"] = token
        begin = age if reloads and target.embedded is not None else None
        crew = Crew(target.environment | own, folder, workers, port, has_standby=reloads, begin_seconds=begin)
        _run(target, settings, loaded, crew, token, rate, seed, reloads, display)


def for_embedded(settings: Settings, line: Line, rate: float) -> dict[str, str]:
    """Return the variables that a line on the embedded broker needs besides those of every worker there.

    A message of a queue is deleted once the bus has its records, and this bus forgets them: so none is received, unless
    END_TOPICS says otherwise.
    """
    own = {}
    if "source_partitions" not in settings.model_fields_set:
        own["SOURCE_PARTITIONS"] = str(EMBEDDED_PARTITIONS)
    if gathering(rate):
        own["FETCH_WAIT"] = str(gathering(rate))
    if line.options.queue is not None and "end_topics" not in settings.model_fields_set:
        own["END_TOPICS"] = DELIVERED
    return own


def _run(
    target: TargetBroker,
    settings: Settings,
    line: Line,
    crew: Crew,
    token: str | None,
    rate: float,
    seed: int,
    reloads: bool,
    display: Display,
) -> None:
    """Start the workers, and run until Ctrl-C or an error."""
    reload = Reload(settings, target.cluster, line, crew, display.tell) if reloads else None
    linger = gathering(rate) if target.embedded is not None else 0.0
    push = partial(push_forever, target.cluster, settings, rate, seed, linger) if rate else None
    session = Session(target, crew, push, reload, line, display.tell)
    failure: str | None = None
    try:
        crew.replace()
        display.tell(introduction(settings, target.url, line, crew.running, token))
        asyncio.run(session.run(stop_signal()))
    except Exception as error:
        failure = str(error) if isinstance(error, MetrolineError) else f"{type(error).__name__}: {error}"
        raise
    finally:
        crew.stop()
        session.finish()
        display.tell(Ended(session.counts, failure))

"""Options that several commands have, and the broker behind `--broker`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from aiokafka.errors import KafkaError

from metroline.agents.kafka.cluster import Cluster
from metroline.app.local.embedded_broker import EmbeddedBroker
from metroline.app.local.worker_process import LOCAL
from metroline.app.settings import Settings
from metroline.routing.errors import MetrolineError

EMBEDDED = "embedded"

line_option = click.option(
    "--line",
    "line",
    metavar="LINE",
    help="The line: a package (agents.lines.flights) or a folder. Default: LINE in the environment, or the example "
    "line.",
)
broker_option = click.option(
    "--broker",
    "broker",
    metavar="URL",
    help="A Kafka, as kafka://host:port. Default: BROKER_URL in the environment, or the embedded broker.",
)
seed_option = click.option(
    "--seed", default=1, show_default=True, help="Another number makes other records, where they are the line's own."
)


def records_option(default: str) -> Callable[[Any], Any]:
    return click.option(
        "--records",
        metavar="N|FILE",
        default=default,
        show_default=True,
        help="So many of the line's own, or those in a file: JSON lines, or CSV with commas and a header; also .gz.",
    )


def json_option(what: str) -> Callable[[Any], Any]:
    return click.option(
        "--json",
        "json_file",
        type=click.Path(dir_okay=False, writable=True, path_type=Path),
        help=f"Writes {what} to this file as JSON; - is the standard output.",
    )


@dataclass(frozen=True, slots=True)
class Reached:
    """A broker to work with: where it is, what it is called, and what suits it."""

    url: str
    name: str
    cluster: Cluster
    environment: dict[str, str]
    embedded: EmbeddedBroker | None = None

    def check(self) -> None:
        """Raises `BrokerDied` if it is an embedded one that is gone."""
        if self.embedded is not None:
            self.embedded.check()


@contextmanager
def reached_broker(url: str | None) -> Iterator[Reached]:
    """The broker that `--broker` or BROKER_URL names, or the embedded one for as long as the block runs."""
    named = url or os.environ.get("BROKER_URL")
    if named:
        settings = Settings.read(broker_url=named)
        yield Reached(named, named, settings.cluster(), {})
        return
    with EmbeddedBroker.start() as broker:
        try:
            yield Reached(broker.url, EMBEDDED, Cluster.at(broker.url), LOCAL, broker)
        except (KafkaError, MetrolineError):
            broker.check()  # if it is gone, that is what happened
            raise


def write_json(data: Any, file: Path) -> None:
    """Writes what a program reads; `-` is the standard output."""
    text = json.dumps(data, indent=2) + "\n"
    if str(file) == "-":
        sys.stdout.write(text)
    else:
        file.write_text(text, "utf-8")

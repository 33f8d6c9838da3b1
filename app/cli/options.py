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

from agents.cluster import Cluster
from app.broker import EmbeddedBroker
from app.settings import Settings
from app.workers import LOCAL
from routing.errors import MetrolineError

EMBEDDED = "embedded"

line_option = click.option(
    "--line", "line", help="The line: a package (agents.lines.flights) or a folder. Default: LINE, or the example line."
)
broker_option = click.option(
    "--broker", "broker", help="A Kafka, as kafka://host:port. Default: BROKER_URL, or else the embedded broker."
)
seed_option = click.option("--seed", default=1, show_default=True, help="Which of the line's own records are made.")


def json_option(help: str) -> Callable[[Any], Any]:
    return click.option(
        "--json", "json_file", type=click.Path(dir_okay=False, writable=True, path_type=Path), help=help
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

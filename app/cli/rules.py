"""`metroline rules publish | show | diff`: the live table."""

from __future__ import annotations

import asyncio
import datetime
import difflib
import getpass
import re
import time
from pathlib import Path

import click

from metroline.agents.membership.heartbeat import live_workers
from metroline.agents.membership.worker import LiveWorkers
from metroline.agents.services.line import Line
from metroline.agents.tables.publication import Publication
from metroline.app.cli import cli
from metroline.app.cli.check import FILE, read_text
from metroline.app.cli.options import json_option, line_option, write_json
from metroline.app.operations.rules_topic import Published, read_published
from metroline.app.operations.rules_topic import publish as publish_rules
from metroline.app.settings import Settings
from metroline.routing.errors import MetrolineError
from metroline.routing.rules.network import Network
from metroline.routing.rules.table import RulesTable
from metroline.routing.strategies import STRATEGIES


class NotPublished(MetrolineError):
    """Raised when a table was not published, or when none was."""


SHOWN = re.compile(r"# version \d+, published by .*\n")
"""The line that `rules show` puts before a table."""


def read_table(file: Path) -> str:
    """The table in a file, also where it is what `rules show` printed."""
    text = read_text(file)
    shown = SHOWN.match(text)
    return text[shown.end() :] if shown else text


@cli.group()
def rules() -> None:
    """Shows, compares and publishes the live rules table.

    That is the table of a line which runs on the Kafka at BROKER_URL.

    \b
    Example: metroline rules show > routes.toml       # edit it
             metroline rules diff routes.toml
             metroline rules publish routes.toml
    """


@rules.command("publish")
@click.argument("file", type=FILE)
@line_option
@click.option(
    "--replaces",
    metavar="VERSION",
    type=int,
    help="The version that the table was made from. Default: whichever is current.",
)
def publish(file: Path, line: str | None, replaces: int | None) -> None:
    """Publishes the table in FILE: the records that follow go by it.

    No restart is needed. A table is refused if it does not validate, if it names a stop that no live worker serves, or
    if the version of --replaces is not the current one any more.

    \b
    Example: metroline rules publish routes.toml --replaces 3
    """
    book = RulesTable.parse(read_table(file), file=str(file))
    settings = Settings.read(line=line) if line else Settings.read()
    asyncio.run(_publish(settings, book, str(file), replaces))


async def _publish(settings: Settings, book: RulesTable, file: str, replaces: int | None) -> None:
    cluster, topics = settings.cluster(), settings.topics(Line.load(settings.line))
    workers = await live_workers(cluster, topics.workers)
    if not workers.alive(time.time()):
        raise NotPublished(f"no worker of the line {topics.prefix!r} is alive at {settings.broker_url}: start it first")
    Network.of(book).validate(workers.stops(time.time()), file)
    current = await read_published(cluster, topics)
    if current is None:
        raise NotPublished("there is no first version yet: a worker publishes the line's file when it starts")
    if replaces is not None and replaces != current.version:
        raise NotPublished(
            f"version {current.version} by {current.publication.by} is current, not {replaces}: look at "
            "`metroline rules diff`, then publish again"
        )
    made = Publication(book.text, current.version, getpass.getuser(), time.time())
    version = await publish_rules(cluster, topics, made)
    won = await read_published(cluster, topics)
    if won is None or won.version != version:
        raise NotPublished(
            "somebody else published at the same moment: look at `metroline rules diff`, then publish again"
        )
    click.echo(f"version {version} is published; it replaces {current.version}")
    await _follow(workers, version)


async def _follow(workers: LiveWorkers, version: int) -> None:
    """Says which workers do not go by published tables."""
    urls = sorted({worker.url for worker in workers.alive(time.time()) if not STRATEGIES[worker.strategy].needs_live})
    if urls:
        click.echo(
            f"journeys that begin at {', '.join(urls)} by hard_wired keep to their line's file: change it and restart",
            err=True,
        )


@rules.command("show")
@line_option
@json_option("the table with its version and who published it")
def show(line: str | None, json_file: Path | None) -> None:
    """Prints the current version of the live table.

    \b
    Example: metroline rules show > routes.toml
    """
    published = _current(line)
    if json_file is not None:
        write_json({"version": published.version} | published.publication.as_json(), json_file)
        return
    at = datetime.datetime.fromtimestamp(published.publication.at, datetime.UTC).isoformat(timespec="seconds")
    click.echo(f"# version {published.version}, published by {published.publication.by} at {at}")
    click.echo(published.publication.text, nl=False)


@rules.command("diff")
@click.argument("file", type=FILE)
@line_option
def diff(file: Path, line: str | None) -> None:
    """Shows what publishing FILE would change.

    It exits with 0, whether something would change or not.

    \b
    Example: metroline rules diff routes.toml
    """
    published = _current(line)
    name = f"version {published.version}"
    before, after = published.publication.text.splitlines(), read_table(file).splitlines()
    lines = list(difflib.unified_diff(before, after, name, str(file), lineterm=""))
    click.echo("\n".join(lines) if lines else f"{file} is {name}")


def _current(line: str | None) -> Published:
    settings = Settings.read(line=line) if line else Settings.read()
    topics = settings.topics(Line.load(settings.line))
    found = asyncio.run(read_published(settings.cluster(), topics))
    if found is None:
        raise NotPublished(f"the line {topics.prefix!r} has no published table at {settings.broker_url}")
    return found

"""`metroline rules publish | show | diff`: the live rules table."""

from __future__ import annotations

import asyncio
import datetime
import difflib
import getpass
import re
import time
from contextlib import suppress
from pathlib import Path

import click

from metroline.agents.kafka.topics import Topics
from metroline.agents.membership.heartbeat import live_workers
from metroline.agents.membership.worker import LiveWorkers
from metroline.agents.services.line import Line
from metroline.agents.tables.publication import Publication
from metroline.app.cli.options import RULES_FILE, json_option, line_option, read_text, write_json
from metroline.app.cli.terminal import say, write_out
from metroline.app.operations.rules_topic import PublishedRules, read_published
from metroline.app.operations.rules_topic import publish as publish_rules
from metroline.app.settings import Settings
from metroline.routing.errors import InvalidRules, MetrolineError
from metroline.routing.rules.coverage import warnings_of_change
from metroline.routing.rules.network import Network
from metroline.routing.rules.rule import label_of
from metroline.routing.rules.table import RulesTable
from metroline.routing.rules.toml_lines import line_of_rule
from metroline.routing.strategies import STRATEGIES


class NotPublished(MetrolineError):
    """Raised when a table could not be published, or when a line has no published table."""


SHOWN = re.compile(r"# version \d+, published by .*\n")
"""The line that `rules show` prints before a table."""


def read_table(file: Path) -> str:
    """Return the table in a file, without the first line that `rules show` adds."""
    text = read_text(file)
    shown = SHOWN.match(text)
    return text[shown.end() :] if shown else text


@click.group()
def rules() -> None:
    """Show, compare and publish the live rules table.

    The commands work on a running line in the Kafka cluster at BROKER_URL.

    \b
    Example: metroline rules show > routes.toml       # edit it
             metroline rules diff routes.toml
             metroline rules publish routes.toml
    """


@rules.command("publish")
@click.argument("file", type=RULES_FILE)
@line_option
@click.option(
    "--replaces",
    metavar="VERSION",
    type=int,
    help="Version that the table was made from. Default: the current version, whichever it is.",
)
def publish(file: Path, line: str | None, replaces: int | None) -> None:
    """Publish the table in FILE for the records that follow.

    No restart is needed. A table is refused if it is not valid, if it names a stop that no live worker serves or an end
    that a live worker does not know, or if the version of --replaces is no longer the current one.

    \b
    Example: metroline rules publish routes.toml --replaces 3
    """
    settings = Settings.read(line=line)
    loaded = Line.load(settings.line)
    table = RulesTable.parse(read_table(file), file=str(file), ends=loaded.ends)
    asyncio.run(_publish(settings, settings.topics(loaded), table, str(file), replaces))


async def _publish(settings: Settings, topics: Topics, table: RulesTable, file: str, replaces: int | None) -> None:
    cluster = settings.cluster()
    workers = await live_workers(cluster, topics.workers, settings.cluster_key)
    if not workers.alive(time.time()):
        raise NotPublished(f"no worker of the line {topics.prefix!r} is alive at {settings.broker_url}: start it first")
    Network.of(table).validate(workers.stops(time.time()), file)
    _refuse_unknown_ends(table, workers, file)
    current = await read_published(cluster, topics)
    if current is None:
        raise NotPublished("there is no first version yet: a worker publishes the line's file when it starts")
    if replaces is not None and replaces != current.version:
        raise NotPublished(
            f"version {current.version} by {current.publication.by} is current, not {replaces}: look at "
            "`metroline rules diff`, then publish again"
        )
    _warn_of_change(current, table)
    publication = Publication(table.text, current.version, getpass.getuser(), time.time())
    version = await publish_rules(cluster, topics, publication)
    won = await read_published(cluster, topics)
    if won is None or won.version != version:
        raise NotPublished(
            "somebody else published at the same moment: look at `metroline rules diff`, then publish again"
        )
    say(f"version {version} is published; it replaces {current.version}")
    _warn_of_fixed_rules(workers)


def _refuse_unknown_ends(table: RulesTable, workers: LiveWorkers, file: str) -> None:
    """Raise `InvalidRules` if a rule leads to an end that some live worker does not know."""
    problems = []
    for index, rule in enumerate(table.rules):
        if rule.to in table.ends and rule.to is not None and (urls := workers.without_end(rule.to, time.time())):
            at = f"{file}:{line_of_rule(table.text, index, 'to')}: {label_of(index, rule)}"
            problems.append(f"{at}: no end {rule.to!r} is known to {', '.join(urls)}: restart with the new line.toml")
    if problems:
        raise InvalidRules(tuple(problems))


def _warn_of_change(current: PublishedRules, table: RulesTable) -> None:
    """Name the stops after which the table makes dead letters of records that had somewhere to go."""
    for warning in warnings_of_change(current.publication.text, table):
        say(f"warning: {warning}", err=True)


def _warn_of_fixed_rules(workers: LiveWorkers) -> None:
    """Name the workers whose strategy does not use published tables."""
    urls = sorted({worker.url for worker in workers.alive(time.time()) if not STRATEGIES[worker.strategy].needs_live})
    if urls:
        say(
            f"journeys that begin at {', '.join(urls)} by hard_wired keep to their line's file: change it and restart",
            err=True,
        )


@rules.command("show")
@line_option
@json_option("the table with its version and who published it")
def show(line: str | None, json_file: Path | None) -> None:
    """Print the current version of the live table.

    \b
    Example: metroline rules show > routes.toml
    """
    current = _current(line)
    publication = current.publication
    if json_file is not None:
        write_json({"version": current.version} | publication.as_json(), json_file)
        return
    at = datetime.datetime.fromtimestamp(publication.at, datetime.UTC).isoformat(timespec="seconds")
    say(f"# version {current.version}, published by {publication.by} at {at}")
    write_out(publication.text)


@rules.command("diff")
@click.argument("file", type=RULES_FILE)
@line_option
def diff(file: Path, line: str | None) -> None:
    """Show the changes that publishing FILE would make.

    A warning says after which stops records that had somewhere to go would become dead letters. The exit code is 0
    with or without changes.

    \b
    Example: metroline rules diff routes.toml
    """
    loaded = Line.load(Settings.read(line=line).line)
    current = _current(line)
    name = f"version {current.version}"
    text = read_table(file)
    before, after = current.publication.text.splitlines(), text.splitlines()
    lines = list(difflib.unified_diff(before, after, name, str(file), lineterm=""))
    say(*(lines or [f"{file} is the same as {name}"]))
    with suppress(InvalidRules):  # a draft may have problems: `check` and `publish` tell them
        _warn_of_change(current, RulesTable.parse(text, ends=loaded.ends))


def _current(line: str | None) -> PublishedRules:
    settings = Settings.read(line=line)
    topics = settings.topics(Line.load(settings.line))
    found = asyncio.run(read_published(settings.cluster(), topics))
    if found is None:
        raise NotPublished(f"the line {topics.prefix!r} has no published table at {settings.broker_url}")
    return found

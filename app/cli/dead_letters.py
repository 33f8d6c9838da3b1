"""`metroline dead-letters list | show | replay | discard`: the failure desk."""

from __future__ import annotations

import asyncio
import datetime
import getpass
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from metroline.agents.membership.heartbeat import live_workers
from metroline.agents.services.line import Line
from metroline.app.cli import cli
from metroline.app.cli.check import FILE
from metroline.app.cli.options import json_option, line_option, write_json
from metroline.app.operations.dead_letters import (
    Desk,
    DeskError,
    Letter,
    Replays,
    chosen,
    discarded,
    forecast,
    grouped,
)
from metroline.app.operations.rules_topic import read_published
from metroline.app.settings import Settings
from metroline.routing.messages.envelope import Envelope
from metroline.routing.rules.table import RulesTable
from metroline.routing.strategies import RuleTables

MOST_SHOWN = 20

group_option = click.option("--group", "group", help="All letters of this group, as `dead-letters list` names it.")
rate_option = click.option(
    "--rate", default=100.0, show_default=True, type=click.FloatRange(min=0.1), help="Letters a second."
)


@cli.group("dead-letters")
def dead_letters() -> None:
    """Shows, replays and discards what could not go on.

    A dead letter is a record that could not go on, with its cause. Look at it, put it right, send it on its way again.

    \b
    Example: metroline dead-letters list
    """


def _desk(line: str | None) -> tuple[Desk, Settings]:
    settings = Settings.read(line=line) if line else Settings.read()
    return Desk(settings.cluster(), settings.topics(Line.load(settings.line))), settings


@dead_letters.command("list")
@line_option
@json_option("the groups")
def show_groups(line: str | None, json_file: Path | None) -> None:
    """Lists the dead letters in groups, by their cause.

    A cause is the stop, the kind and, where a service raised, the type of the error and its place in the code.

    \b
    Example: metroline dead-letters list --line metroline.agents.lines.flights
    """
    desk, _ = _desk(line)
    groups = grouped(asyncio.run(desk.letters()))
    if json_file is not None:
        write_json([group.as_json() for group in groups], json_file)
        return
    if not groups:
        click.echo("no dead letters")
        return
    table = Table("group", "count", "stop", "kind", "where", "first", "last", "an id", title="dead letters", box=None)
    for group in groups:
        told = group.as_json()
        times = [_time(told[key]) for key in ("first", "last")]
        table.add_row(
            group.id,
            str(told["count"]),
            told["stop"],
            told["kind"],
            told["where"] or told["reason"],
            *times,
            told["example"],
        )
    Console(width=None).print(table)


@dead_letters.command("show")
@click.argument("ids", nargs=-1, metavar="ID...")
@group_option
@line_option
@json_option("the letters")
def show(ids: tuple[str, ...], group: str | None, line: str | None, json_file: Path | None) -> None:
    """Shows everything that is known of letters.

    That is the record, its history, what was tried, and earlier replays. Name letters by their ids, or a --group.

    \b
    Example: metroline dead-letters show source-0-17
    """
    desk, _ = _desk(line)
    letters = _chosen(desk, ids, group)
    if json_file is not None:
        write_json([letter.as_json() for letter in letters], json_file)
        return
    for letter in letters[:MOST_SHOWN]:
        click.echo(orjson.dumps(letter.as_json(), option=orjson.OPT_INDENT_2).decode())
    if len(letters) > MOST_SHOWN:
        click.echo(f"and {len(letters) - MOST_SHOWN} more; --json has them all", err=True)


@dead_letters.command("replay")
@click.argument("ids", nargs=-1, metavar="ID...")
@group_option
@click.option(
    "--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Sets a field first; VALUE is JSON or text."
)
@click.option("--record", "record", type=FILE, help="A file with the JSON object that takes the place of the record.")
@click.option("--to", "stop", help="The stop to go to. Default: the source, where the rules decide.")
@click.option("--dry-run", is_flag=True, help="Says where each would go now and why, and sends nothing.")
@rate_option
@line_option
def replay(
    ids: tuple[str, ...],
    group: str | None,
    settings: tuple[str, ...],
    record: Path | None,
    stop: str | None,
    dry_run: bool,
    rate: float,
    line: str | None,
) -> None:
    """Sends letters on their way again.

    They go in the order in which they came, as if they were new: their age and their attempts do not count. It is safe
    to ask twice, from two terminals or after an interruption: each letter begins anew once.

    \b
    Example: metroline dead-letters replay source-0-17 --set amount=3 --dry-run
    """
    desk, told = _desk(line)
    letters = _chosen(desk, ids, group)
    raw = None if record is None else record.read_bytes()
    replays = Replays.of(letters, dict(map(_field, settings)), raw, stop, getpass.getuser())
    book = asyncio.run(_live_book(desk, told, stop))
    replays.check(RuleTables(book, book))
    if dry_run:
        for letter, anew in replays.lines:
            click.echo(f"{letter.id}: {forecast(book, anew, stop)}")
        return
    _send(desk, replays.requests, rate, "replayed")


@dead_letters.command("discard")
@click.argument("ids", nargs=-1, metavar="ID...")
@group_option
@click.option("--reason", required=True, help="Why; they are counted as dropped under it.")
@rate_option
@line_option
def discard(ids: tuple[str, ...], group: str | None, reason: str, rate: float, line: str | None) -> None:
    """Counts letters as dropped on purpose.

    That is for those about which nothing more can or need be done.

    \b
    Example: metroline dead-letters discard source-0-17 --reason "a test order"
    """
    desk, _ = _desk(line)
    letters = _chosen(desk, ids, group)
    _send(desk, [discarded(letter, reason, getpass.getuser()) for letter in letters], rate, "discarded")


def _chosen(desk: Desk, ids: Sequence[str], group: str | None) -> list[Letter]:
    if bool(ids) == bool(group):
        raise DeskError("name letters by their ids, or all of a cause by --group")
    return chosen(asyncio.run(desk.letters()), ids, group)


def _field(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise DeskError(f"--set {text}: write FIELD=VALUE")
    try:
        return name, orjson.loads(value)
    except orjson.JSONDecodeError:
        return name, value


async def _live_book(desk: Desk, settings: Settings, stop: str | None) -> RulesTable:
    """The rules that letters would go by now; a stop that is asked for must be served by a live worker."""
    workers = await live_workers(desk.cluster, desk.topics.workers)
    served = workers.stops(time.time())
    if not workers.alive(time.time()):
        raise DeskError(
            f"no worker of the line {desk.topics.prefix!r} is alive at {settings.broker_url}: start it first"
        )
    if stop is not None and stop not in served:
        raise DeskError(f"--to {stop}: no live worker serves that stop; there are {', '.join(sorted(served))}")
    published = await read_published(desk.cluster, desk.topics)
    if published is None:
        return Line.load(settings.line).rules_table()
    return RulesTable.parse(published.publication.text, published.version)


def _send(desk: Desk, requests: list[Envelope], rate: float, done: str) -> None:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())

    async def send(advance: Callable[[int], None]) -> None:
        async for number in desk.send(requests, rate):
            advance(number)

    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(done, total=len(requests))
        asyncio.run(send(lambda number: progress.update(task, completed=number)))
    click.echo(f"{len(requests)} letters are {done}: the arrivals take each of them once")


def _time(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")

"""`metroline dead-letters list | show | replay | discard --from TOPIC`: the dead letters of other systems."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.progress import MofNCompleteColumn

from metroline.agents.services.line import Line
from metroline.app.cli.console import print_rows, safe_console
from metroline.app.cli.options import write_json
from metroline.app.cli.progress import ReportProgress, progress_bars
from metroline.app.cli.terminal import say
from metroline.app.markup.numbers import counted
from metroline.app.markup.times import iso
from metroline.app.operations.foreign_letters import ForeignDesk, Found
from metroline.app.operations.permission import Permission
from metroline.app.settings import Settings

MAX_SHOWN = 20
"""Dead letters that `show` prints; --json writes all of them."""

HEADS = ("group", "count", "system", "topic", "stage", "error", "message", "first", "last", "example")

from_option = click.option(
    "--from",
    "topic",
    metavar="TOPIC",
    help="Topic with dead letters of Kafka Connect, Kafka Streams or Spring, in place of those of the line.",
)


def desk_of(settings: Settings, topic: str) -> ForeignDesk:
    line = Line.load(settings.line)
    return ForeignDesk(settings.cluster(), settings.topics(line), topic, line)


def list_foreign(desk: ForeignDesk, json_file: Path | None) -> None:
    """List the groups of dead letters."""
    groups = [group.as_json() for group in asyncio.run(desk.groups())]
    if json_file is not None:
        write_json(groups, json_file)
    elif not groups:
        say("no dead letters")
    else:
        rows = [group | {"first": iso(group["first"]), "last": iso(group["last"])} for group in groups]
        print_rows("dead letters", HEADS, [{head: str(row[head]) for head in HEADS} for row in rows])
    if desk.others:
        say(f"{counted(desk.others, 'message')} of {desk.topic} {_are(desk.others)} no dead letter", err=True)


def show_foreign(desk: ForeignDesk, ids: Sequence[str], group: str | None, json_file: Path | None) -> None:
    """Show everything that is known about dead letters."""

    async def read() -> tuple[list[Found], int]:
        places = await desk.chosen(ids, group)
        shown = places if json_file is not None else places[:MAX_SHOWN]
        return await desk.fetched(shown), len(places) - len(shown)

    letters, more = asyncio.run(read())
    if json_file is not None:
        write_json([letter.as_json() for letter in letters], json_file)
        return
    for place, letter in enumerate(letters):
        if place:
            say("")
        _print(letter)
    if more:
        say(f"and {more} more: --json writes all of them", err=True)


def _print(found: Found) -> None:
    told: dict[str, Any] = found.as_json()
    say(f"dead letter {found.id}, group {told['group']}", f"  {told['error']}: {told['message']}")
    place = "".join(f", {name} {told[name]}" for name in ("partition", "offset") if told[name] is not None)
    say("", ", ".join(filter(None, (told["system"], told["stage"]))))
    say(f"  topic {told['topic']}{place}")
    if told["key"] is not None:
        say(f"  key {told['key']}")
    say(*(f"  header {name}: {'' if value is None else value}" for name, value in told["headers"]))
    if told["stacktrace"]:
        say("", "stack trace", *(f"  {line}" for line in told["stacktrace"]))
    say("", "value", f"  {told['value']}")


def replay_foreign(
    desk: ForeignDesk, ids: Sequence[str], group: str | None, rate: float, json_file: Path | None, *, dry_run: bool
) -> None:
    """Send dead letters to the topics that they came from."""
    places = asyncio.run(desk.chosen(ids, group))
    if dry_run:
        ways = {found.id: found.letter.topic for found in asyncio.run(desk.fetched(places))}
        if json_file is not None:
            write_json({"would_go": ways}, json_file)
        else:
            say(*(f"{name}: {topic}" for name, topic in ways.items()))
        return

    async def send(report: ReportProgress) -> int:
        done = 0
        async for done in desk.replay(places, rate, Permission.of_command()):
            report("replayed", done, len(places))
        return done

    with progress_bars(safe_console(stderr=True), MofNCompleteColumn()) as report:
        count = asyncio.run(send(report))
    _tell(count, "replayed", json_file)


def discard_foreign(
    desk: ForeignDesk, ids: Sequence[str], group: str | None, reason: str, json_file: Path | None
) -> None:
    """Note that dead letters need nothing more."""

    async def note() -> int:
        places = await desk.chosen(ids, group)
        await desk.discard(places, reason, Permission.of_command())
        return len(places)

    _tell(asyncio.run(note()), "discarded", json_file)


def _tell(count: int, done: str, json_file: Path | None) -> None:
    if json_file is not None:
        write_json({done: count}, json_file)
    else:
        say(f"{counted(count, 'dead letter')} {_are(count)} {done}")


def _are(count: int) -> str:
    return "is" if count == 1 else "are"

"""`metroline trace`: the journey of a record as a timeline, or where the record is now."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import click
from msgspec import to_builtins

from metroline.agents.services.line import Line
from metroline.app.cli.options import json_option, line_option, write_json
from metroline.app.cli.printed_journey import print_journey
from metroline.app.cli.terminal import say
from metroline.app.markup.times import iso
from metroline.app.operations.journeys.archive import JourneyArchive, Wanted
from metroline.app.operations.journeys.telling import JourneyTeller, texts_of
from metroline.app.operations.journeys.whereabouts import Whereabouts, whereabouts
from metroline.app.operations.letter_journal import LetterEntry, entry_text, letter_journal
from metroline.app.operations.replay_jobs import JobBoard
from metroline.app.operations.rules_topic import published_versions
from metroline.app.settings import Settings
from metroline.routing.journeys.timeline import Timeline

MAX_SHOWN = 20
"""Journeys that are printed; --json writes all of them."""

SEPARATOR = 60 * "-"
"""The line between two journeys."""


@click.command()
@click.argument("id")
@line_option
@json_option("the journeys")
def trace(id: str, line: str | None, json_file: Path | None) -> None:
    """Tell the journey of a record, place by place.

    ID is the id of the record, such as source-0-17, or of a message with several records. For each stop, the output has
    the times at which the record came and left, how long it waited and was worked on, each failed attempt, and the rule
    that sent it on, by the table of that time, with the values that it read.

    Dead letters are always kept, and other journeys up to a rate (JOURNEYS_PER_SECOND). If a journey is not kept, the
    output says why and, for a record that is under way, where it is. The exit code is 1 then.

    \b
    Example: metroline trace source-0-17
    """
    settings = Settings.read(line=line)
    wanted = Wanted.of(id)
    found, where, done = asyncio.run(_trace(settings, Line.load(settings.line), wanted))
    if json_file is not None:
        write_json(_as_json(wanted, found, where, done), json_file)
    elif where is not None:
        say(f"{wanted.text}: {where.text}")
    for place, journey in enumerate([] if json_file is not None else found[:MAX_SHOWN]):
        if place:
            say("", SEPARATOR, "")
        print_journey(journey)
    if json_file is None and done:
        say("", "done to it as a dead letter", *(f"  {iso(one.at)}  {entry_text(one)}" for one in done))
    if json_file is None and len(found) > MAX_SHOWN:
        say(f"and {len(found) - MAX_SHOWN} more: --json writes all of them", err=True)
    if not found:
        click.get_current_context().exit(1)


async def _trace(
    settings: Settings, line: Line, wanted: Wanted
) -> tuple[list[Timeline], Whereabouts | None, list[LetterEntry]]:
    """Return the journeys of a record or, if there are none, where it is, and what was done to it as a dead letter."""
    cluster, topics = settings.cluster(), settings.topics(line)
    async with aclosing(JourneyArchive(cluster, topics)) as archive:
        found = await archive.find_on_topics(wanted.text)
    board = JobBoard(cluster, topics)
    try:
        done = letter_journal(await board.jobs(), wanted.text)
    finally:
        await board.close()
    if not found:
        schedules = line.options.schedules
        where = await whereabouts(cluster, topics, line.stops, wanted, settings.source_epoch, schedules)
        return [], where, done
    versions = {one.version: one.text async for one in published_versions(cluster, topics)}
    teller = JourneyTeller(cluster, topics, settings, line, texts_of(versions))
    return await teller.tell(found), None, done


def _as_json(
    wanted: Wanted, found: list[Timeline], where: Whereabouts | None, done: list[LetterEntry]
) -> dict[str, Any]:
    whereabouts = None if where is None else to_builtins(where)
    return {
        "id": wanted.text,
        "journeys": [to_builtins(one) for one in found],
        "whereabouts": whereabouts,
        "done": [to_builtins(one) for one in done],
    }

"""`metroline dead-letters list | show | replay | discard`, and the commands about replay jobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.progress import MofNCompleteColumn

from metroline.agents.membership.heartbeat import live_workers
from metroline.agents.services.line import Line
from metroline.agents.stops.open_resources import OpenResources
from metroline.app.cli.console import print_rows, safe_console
from metroline.app.cli.foreign_letters import (
    desk_of,
    discard_foreign,
    from_option,
    list_foreign,
    replay_foreign,
    show_foreign,
)
from metroline.app.cli.groups import CommandGroup
from metroline.app.cli.options import FILE, json_option, line_option, write_json
from metroline.app.cli.printed_letter import print_letter
from metroline.app.cli.printed_steps import print_way
from metroline.app.cli.progress import ReportProgress, progress_bars
from metroline.app.cli.rate import FiniteRange
from metroline.app.cli.replay_jobs import COMMANDS, RampType, ShareType, follow_job
from metroline.app.cli.terminal import say
from metroline.app.inputs.lookup_builds import prepare_possible_lookups
from metroline.app.inputs.row_files import Reading
from metroline.app.inputs.source_records import records_in
from metroline.app.markup.times import iso
from metroline.app.operations.dead_letters import send_requests
from metroline.app.operations.desk import Desk
from metroline.app.operations.edit_checks import check_edits
from metroline.app.operations.edits import parse_field
from metroline.app.operations.forecast import forecast, restarted, table_for
from metroline.app.operations.foreign_jobs import check_foreign
from metroline.app.operations.foreign_letters import ForeignDesk
from metroline.app.operations.letter import DeadLetterError, Group, Letter
from metroline.app.operations.permission import Permission
from metroline.app.operations.rehearsal import Rehearsal
from metroline.app.operations.replay_jobs import check_job, new_job, some_letters, start_job
from metroline.app.operations.replays import Replays
from metroline.app.operations.replays import discard as discard_request
from metroline.app.operations.rereading import Rereading, read_again
from metroline.app.operations.rules_topic import read_published
from metroline.app.settings import Settings
from metroline.routing.errors import UsageError
from metroline.routing.journeys.replay_job_messages import Start, StartDiscard, StartForeign
from metroline.routing.messages.envelope import Envelope
from metroline.routing.rules.table import RulesTable
from metroline.routing.spelling import suggestion
from metroline.routing.strategies import RuleTables, strategy_named

MAX_SHOWN = 20
"""Dead letters that `show` prints; --json writes all of them."""

SEPARATOR = 60 * "-"
"""The line between two dead letters that are shown."""

HEADS = ("group", "count", "stop", "kind", "where", "first", "last", "example")
"""The columns of the list."""

group_option = click.option(
    "--group", "group", help="All dead letters of this group; `metroline dead-letters list` lists the groups."
)
rate_option = click.option(
    "--rate", default=100.0, show_default=True, type=FiniteRange(min=0.1), help="Dead letters per second."
)


@click.group("dead-letters", cls=CommandGroup)
def dead_letters() -> None:
    """List, show, replay and discard dead letters.

    A dead letter is a record that could not go on. It keeps the cause, the history and every attempt.

    \b
    Example: metroline dead-letters list
    """


for command in COMMANDS:
    dead_letters.add_command(command)


def _desk(settings: Settings) -> Desk:
    return Desk(settings.cluster(), settings.topics(Line.load(settings.line)))


@dead_letters.command("list")
@from_option
@line_option
@json_option("the groups")
def show_groups(topic: str | None, line: str | None, json_file: Path | None) -> None:
    """List the dead letters in groups, by cause.

    A cause is the stop, the kind and, if a service raised, the type of the exception and its place in the code.

    \b
    Example: metroline dead-letters list --line metroline.agents.lines.flights
    """
    settings = Settings.read(line=line)
    if topic is not None:
        list_foreign(desk_of(settings, topic), json_file)
        return
    groups = asyncio.run(_desk(settings).groups())
    if json_file is not None:
        write_json([group.as_json() for group in groups], json_file)
    elif not groups:
        say("no dead letters")
    else:
        print_rows("dead letters", HEADS, list(map(_row, groups)))


def _row(group: Group) -> dict[str, str]:
    """Return a group as the list shows it."""
    told = group.as_json()
    shown = told | {
        "where": told["where"] or group.reason.removeprefix(f"{told['kind']}: "),
        "first": iso(group.first),
        "last": iso(group.last),
    }
    return {head: str(shown[head]) for head in HEADS}


@dead_letters.command("show")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@group_option
@from_option
@line_option
@json_option("the dead letters")
def show(ids: tuple[str, ...], group: str | None, topic: str | None, line: str | None, json_file: Path | None) -> None:
    """Show everything that is known about dead letters.

    The output has the cause, the way of the record with times, every attempt with the calls that led to its exception,
    earlier replays, and the record. Name dead letters by their ids, or all of a group with --group.

    \b
    Example: metroline dead-letters show source-0-17
    """
    settings = Settings.read(line=line)
    if topic is not None:
        _require_one(ids, group)
        show_foreign(desk_of(settings, topic), ids, group, json_file)
        return
    desk = _desk(settings)
    letters = _chosen(desk, ids, group)
    if json_file is not None:
        write_json([letter.as_json() for letter in letters], json_file)
        return
    for place, letter in enumerate(letters[:MAX_SHOWN]):
        if place:
            say("", SEPARATOR, "")
        print_letter(letter)
    if len(letters) > MAX_SHOWN:
        say(f"and {len(letters) - MAX_SHOWN} more: --json writes all of them", err=True)


@dead_letters.command("replay")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@group_option
@click.option(
    "--set",
    "fields",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Set a field of the record first; `a.b` is the field b in the object a. VALUE is JSON or, if it is not valid "
    "JSON, text, and the command says so.",
)
@click.option("--record", "record", type=FILE, help="File with a JSON object that replaces the record.")
@click.option(
    "--to", "stop", help="Stop at which the record starts again. Default: the source, where the rules decide."
)
@click.option("--dry-run", is_flag=True, help="Print where each record would go, and why; send nothing.")
@click.option(
    "--call-services",
    is_flag=True,
    help="With --dry-run: call the services of the line for real, and print each step to the end, as `explain` does.",
)
@rate_option
@click.option(
    "--ramp",
    type=RampType(),
    help="Replay as a job on the bus, in steps of so many dead letters: each waits for the outcomes of the one before. "
    "What is left goes in steps of the last size. Default of a job: 1,10,100,1000.",
)
@click.option(
    "--stop-at",
    "stop_at",
    type=ShareType(),
    help="Replay as a job that stops when more than this share of the replayed dead letters is dead again. Default of "
    "a job: 5%.",
)
@click.option("--reason", help="Replay as a job; the reason stands in its journal and on each of its dead letters.")
@click.option("--detach", is_flag=True, help="Replay as a job, and do not wait for its end.")
@from_option
@line_option
@json_option("the number of dead letters or, with --dry-run, their ways; for a job, its progress at the end")
def replay(
    ids: tuple[str, ...],
    group: str | None,
    fields: tuple[str, ...],
    record: Path | None,
    stop: str | None,
    dry_run: bool,
    call_services: bool,
    rate: float,
    ramp: tuple[int, ...] | None,
    stop_at: float | None,
    reason: str | None,
    detach: bool,
    topic: str | None,
    line: str | None,
    json_file: Path | None,
) -> None:
    """Send dead letters on their way again.

    Records are sent in the order in which they died, with age 0 and no attempts. A replay is safe to repeat, to
    interrupt and to run from two terminals: each record starts again once. A source message that could not be read is
    read again, with the schemas that are registered now. What still cannot be read stays dead, and the exit code is 1.

    With --ramp, --stop-at, --reason or --detach, the replay is a job: a worker of the line carries it out, and goes on
    when this command ends. `metroline dead-letters jobs` lists all jobs.

    \b
    Example: metroline dead-letters replay source-0-17 --set amount=3 --dry-run
             metroline dead-letters replay --group 4be3b2 --ramp 1,10,100 --stop-at 5% --reason "the scales are back"
    """
    is_job = detach or any(option is not None for option in (ramp, stop_at, reason))
    if is_job and record is not None:
        raise UsageError("--record replaces the record of one dead letter: replay it without the options of a job")
    if call_services and not dry_run:
        raise UsageError("--call-services is for --dry-run: a replay calls the services of the workers")
    if call_services and json_file is not None:
        raise UsageError("--call-services prints steps for people: leave out --json")
    settings, permission = Settings.read(line=line), Permission.of_command()
    order = {"ramp": ramp, "stop_at": stop_at, "reason": reason}
    chosen = {name: value for name, value in order.items() if value is not None}
    if topic is not None:
        if call_services or fields or record or stop:
            raise UsageError(
                "--from replays dead letters as they are: --set, --record, --to and --call-services do not fit"
            )
        _require_one(ids, group)
        foreign = desk_of(settings, topic)
        if is_job and not dry_run:
            begun = new_job(permission.by, StartForeign, topic=topic, group=group, ids=ids, rate=rate, **chosen)
            assert isinstance(begun, StartForeign)
            asyncio.run(_start_foreign(settings, foreign, begun, permission))
            follow_job(_desk(settings), begun, json_file, detach=detach)
            return
        replay_foreign(foreign, ids, group, rate, json_file, dry_run=dry_run)
        return
    desk = _desk(settings)
    values = _fields(fields)
    if is_job and not dry_run:
        _require_one(ids, group)
        start = new_job(permission.by, group=group, ids=ids, to=stop, fields=values, rate=rate, **chosen)
        asyncio.run(_start(settings, desk, start, permission))
        follow_job(desk, start, json_file, detach=detach)
        return
    letters = _chosen(desk, ids, group)
    raw = None if record is None else b"\n".join(line for _, line in records_in(record, Reading("json")))
    loaded = Line.load(settings.line)
    reread = Rereading() if raw is not None else asyncio.run(read_again(settings, loaded, letters))
    replays = Replays.of(letters, values, raw, stop, permission.by, reread)
    live = asyncio.run(_live_table(desk, settings, stop))
    needs_file = any(not strategy_named(letter.envelope.strategy).needs_live for letter, _ in replays.lines)
    tables = RuleTables(loaded.rules_table() if needs_file else live, live)
    replays.check(tables)
    check_edits(replays, loaded.services, tables, stop)
    if call_services:
        asyncio.run(_rehearse(settings, tables, replays, stop))
    elif dry_run:
        ways = {letter.id: forecast(tables, letter, anew, stop, loaded.last) for letter, anew in replays.lines}
        if json_file is not None:
            write_json({"would_go": ways, "still_dead": dict(replays.still_dead)}, json_file)
        else:
            say(*(f"{name}: {way}" for name, way in ways.items()))
    else:
        count = _send(desk, replays.requests, rate, permission, "replayed")
        if json_file is not None:
            write_json({"replayed": count, "still_dead": dict(replays.still_dead)}, json_file)
        else:
            _tell(count, "replayed")
    for name, problem in replays.still_dead.items():
        say(f"{name} stays a dead letter: {problem}", err=True)
    if replays.still_dead:
        click.get_current_context().exit(1)


@dead_letters.command("discard")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@group_option
@click.option("--reason", required=True, help="Reason under which the records count as dropped.")
@click.option("--detach", is_flag=True, help="Discard as a job, which a worker carries out; do not wait for its end.")
@rate_option
@from_option
@line_option
@json_option("the number of dead letters")
def discard(
    ids: tuple[str, ...],
    group: str | None,
    reason: str,
    detach: bool,
    rate: float,
    topic: str | None,
    line: str | None,
    json_file: Path | None,
) -> None:
    """Count dead letters as dropped on purpose.

    Discard a dead letter when nothing more can or need be done about it. With --detach, that is a job:
    `metroline dead-letters jobs` shows it.

    \b
    Example: metroline dead-letters discard source-0-17 --reason "a test order"
    """
    settings = Settings.read(line=line)
    if topic is not None:
        if detach:
            raise UsageError("--from discards at once: leave out --detach")
        _require_one(ids, group)
        discard_foreign(desk_of(settings, topic), ids, group, reason, json_file)
        return
    desk = _desk(settings)
    permission = Permission.of_command()
    if detach:
        _require_one(ids, group)
        start = new_job(permission.by, StartDiscard, group=group, ids=ids, rate=rate, reason=reason)
        asyncio.run(_start(settings, desk, start, permission))
        follow_job(desk, start, json_file, detach=True)
        return
    letters = _chosen(desk, ids, group)
    requests = [discard_request(letter, reason, permission.by) for letter in letters]
    count = _send(desk, requests, rate, permission, "discarded")
    if json_file is not None:
        write_json({"discarded": count}, json_file)
    else:
        _tell(count, "discarded")


def _chosen(desk: Desk, ids: Sequence[str], group: str | None) -> list[Letter]:
    _require_one(ids, group)

    async def read() -> list[Letter]:
        return [letter async for letters in desk.chosen(ids, group) for letter in letters]

    return asyncio.run(read())


def _require_one(ids: Sequence[str], group: str | None) -> None:
    if bool(ids) == bool(group):
        raise UsageError("name dead letters by their ids, or all of a group with --group")


async def _start(settings: Settings, desk: Desk, start: Start, permission: Permission) -> None:
    """Write the order to begin a job, if a worker can carry it out and at least one of its letters can be replayed."""
    line = Line.load(settings.line)
    letters = await some_letters(desk, start)
    live = await _live_table(desk, settings, start.to)
    reread = Rereading() if isinstance(start, StartDiscard) else await read_again(settings, line, letters)
    check_job(start, letters, reread, RuleTables(line.rules_table(), live), line.services)
    await start_job(desk.cluster, desk.topics, start, permission)


async def _start_foreign(settings: Settings, desk: ForeignDesk, start: StartForeign, permission: Permission) -> None:
    """Write the order to begin a job with letters of another system, if the line reads their topic."""
    line = Line.load(settings.line)
    if start.topic not in line.options.dead_letters.topics:
        raise UsageError(
            f"--from {start.topic}: the workers do not read it: name it in line.toml ([dead_letters] topics), and "
            "restart them; without the options of a job, this command replays"
        )
    await check_foreign(desk, start)
    await start_job(settings.cluster(), settings.topics(line), start, permission)


def _fields(texts: Sequence[str]) -> dict[str, Any]:
    """Return the fields that are to be set, and say which values are taken for text."""
    fields = {}
    for text in texts:
        name, value, said = parse_field(text)
        fields[name] = value
        if said is not None:
            say(said, err=True)
    return fields


async def _live_table(desk: Desk, settings: Settings, stop: str | None) -> RulesTable:
    """Return the current rules. Raise `DeadLetterError` if no worker is alive, or none that serves `stop`."""
    workers = await live_workers(desk.cluster, desk.topics.workers, settings.cluster_key)
    served = workers.stops(time.time())
    if not workers.alive(time.time()):
        raise DeadLetterError(
            f"no worker of the line {desk.topics.prefix!r} is alive at {settings.broker_url}: start it first"
        )
    if stop is not None and stop not in served:
        there = f"there are {', '.join(sorted(served))}{suggestion(stop, served)}"
        raise DeadLetterError(f"--to {stop}: no live worker serves that stop; {there}")
    published = await read_published(desk.cluster, desk.topics)
    line = Line.load(settings.line)
    if published is None:
        return line.rules_table()
    return RulesTable.parse(published.publication.text, published.version, ends=line.ends)


async def _rehearse(settings: Settings, tables: RuleTables, replays: Replays, stop: str | None) -> None:
    """Print the way of each record, with the services of the line in this process."""
    line = Line.load(settings.line)
    for problem in prepare_possible_lookups(line):
        say(f"warning: {problem}", err=True)
    async with OpenResources(line.resources) as resources:
        for (letter, _), request in zip(replays.lines, replays.requests, strict=True):
            rehearsal = Rehearsal.of_line(settings, line, table_for(tables, letter), resources)
            await print_way(rehearsal.follow(restarted(rehearsal, request), is_decided=stop is None), letter.id)


def _send(desk: Desk, requests: list[Envelope], rate: float, permission: Permission, done: str) -> int:
    """Send requests, and return their number."""

    async def portions() -> AsyncIterator[list[Envelope]]:
        yield requests

    async def send(report: ReportProgress) -> None:
        async for number in send_requests(desk.cluster, desk.topics, portions(), rate, permission):
            report(done, number, len(requests))

    with progress_bars(safe_console(stderr=True), MofNCompleteColumn()) as report:
        asyncio.run(send(report))
    return len(requests)


def _tell(count: int, done: str) -> None:
    say(f"{count} dead {'letter is' if count == 1 else 'letters are'} {done}")

"""`metroline rules show | history | diff | preview | publish | rollback`: the live rules table."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click
from aiokafka.errors import KafkaError
from msgspec import to_builtins

from metroline.agents.kafka.topics import Topics
from metroline.agents.services.line import Line
from metroline.agents.tables.forecast import Forecast
from metroline.agents.tables.publication import MAX_REASON
from metroline.app.cli.console import print_rows
from metroline.app.cli.groups import CommandGroup
from metroline.app.cli.options import RULES_FILE, json_option, line_option, read_table, write_json
from metroline.app.cli.printed_meaning import told_meaning
from metroline.app.cli.printed_preview import print_preview
from metroline.app.cli.terminal import say, write_out
from metroline.app.markup.times import iso
from metroline.app.operations.permission import Permission
from metroline.app.operations.publishing import Grounds, NotPublished, Published, publish_table
from metroline.app.operations.rules_history import PastVersion, history_of, text_difference
from metroline.app.operations.rules_topic import PublishedRules, published_versions, read_published
from metroline.app.preview import forecasts
from metroline.app.preview.preview import Preview
from metroline.app.preview.reading import MAX_JOURNEYS, NothingPublished, preview_of, read_remembered
from metroline.app.settings import Settings
from metroline.routing.errors import InvalidRules, MetrolineError, UsageError
from metroline.routing.rules.coverage import warnings_of_change
from metroline.routing.rules.meaning.difference import Meaning, difference
from metroline.routing.rules.table import RulesTable
from metroline.routing.spelling import suggestion

HEADS = ("version", "published at", "by", "rules", "changes", "reason", "")
"""The columns of the history."""


def _reason(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Return a reason; refuse one that is too long to be kept whole."""
    if value is not None and len(value) > MAX_REASON:
        raise click.BadParameter(f"it has {len(value):,} characters, the maximum is {MAX_REASON:,}")
    return None if value is None else value.strip()


reason_option = click.option(
    "--reason",
    metavar="TEXT",
    callback=_reason,
    help="The reason, which is kept with the version. Default: on a terminal, `publish` asks for it.",
)


forecast_option = click.option(
    "--forecast/--no-forecast",
    "has_forecast",
    default=True,
    help="Keep a forecast with the table: what it would have done with the latest journeys. Default: with one.",
)


@click.group(cls=CommandGroup)
def rules() -> None:
    """Show, compare, publish and roll back the live rules table.

    The commands work on a running line in the Kafka cluster at BROKER_URL.

    \b
    Example: metroline rules show > routes.toml       # edit it
             metroline rules diff routes.toml
             metroline rules preview routes.toml
             metroline rules publish routes.toml
             metroline rules rollback 3               # back to version 3
    """


@dataclass(frozen=True, slots=True)
class _Live:
    """The line that a command works on, with its published tables."""

    settings: Settings
    line: Line
    topics: Topics

    @classmethod
    def of(cls, line: str | None) -> _Live:
        settings = Settings.read(line=line)
        loaded = Line.load(settings.line)
        return cls(settings, loaded, settings.topics(loaded))

    def current(self) -> PublishedRules:
        found = asyncio.run(read_published(self.settings.cluster(), self.topics))
        if found is None:
            raise self._nothing()
        return found

    def versions(self) -> list[PublishedRules]:
        """Return the versions that were current, oldest first."""

        async def read() -> list[PublishedRules]:
            return [one async for one in published_versions(self.settings.cluster(), self.topics)]

        found = asyncio.run(read())
        if not found:
            raise self._nothing()
        return found

    def version(self, number: int) -> PublishedRules:
        """Return a version. Raise `UsageError` if there is none of this number."""
        found = {one.version: one for one in self.versions()}
        if number not in found:
            raise UsageError(
                f"there is no version {number}; there are {', '.join(map(str, found))}: see `metroline rules history`"
            )
        return found[number]

    def table(self, text: str, file: str) -> RulesTable:
        return RulesTable.parse(text, file=file, ends=self.line.ends)

    def current_number(self) -> int | None:
        """Return the number of the current version; None if no table was published yet."""
        found = asyncio.run(read_published(self.settings.cluster(), self.topics))
        return None if found is None else found.version

    def publish(
        self, table: RulesTable, file: str, reason: str, replaces: int | None, *, has_forecast: bool
    ) -> Published:
        grounds = Grounds(reason, self._forecast(table) if has_forecast else None)
        permission = Permission.of_command()
        return asyncio.run(publish_table(self.settings, self.line, table, file, permission, grounds, replaces))

    def _forecast(self, table: RulesTable) -> Forecast | None:
        """Return the forecast of a table. Without one, which a note says, it is published all the same."""
        try:
            return asyncio.run(asyncio.wait_for(self._forecast_of(table), forecasts.SECONDS))
        except NothingPublished:
            return None
        except TimeoutError:
            problem: object = f"it took longer than {forecasts.SECONDS:g} s"
        except (MetrolineError, KafkaError) as error:
            problem = error
        say(f"no forecast is kept with the table: {problem}", err=True)
        return None

    async def _forecast_of(self, table: RulesTable) -> Forecast | None:
        remembered = await read_remembered(self.settings, self.line, self.topics, forecasts.JOURNEYS)
        if table.text == remembered.current.text:
            return None
        return forecasts.forecast_of(await preview_of(self.settings, self.line, self.topics, table, remembered))

    def _nothing(self) -> NotPublished:
        return NotPublished(f"the line {self.topics.prefix!r} has no published table at {self.settings.broker_url}")


@rules.command("publish")
@click.argument("file", type=RULES_FILE)
@line_option
@click.option(
    "--replaces",
    metavar="VERSION",
    type=int,
    help="Version that the table was made from. Default: the version that is current when the command starts.",
)
@reason_option
@forecast_option
@json_option("the version and the warnings")
def publish(
    file: Path, line: str | None, replaces: int | None, reason: str | None, has_forecast: bool, json_file: Path | None
) -> None:
    """Publish the table in FILE for the records that follow.

    No restart is needed. A table is refused if it is not valid, if it names a stop that no live worker serves or an end
    that a live worker does not know, or if the version of --replaces is no longer the current one: somebody else
    published meanwhile. A table that is current already is not published again.

    \b
    Example: metroline rules publish routes.toml --replaces 3 --reason "large orders are reviewed from 100 on"
    """
    live = _Live.of(line)
    table = live.table(read_table(file), str(file))
    seen = live.current_number() if replaces is None else replaces  # before the reason and the forecast take their time
    why = _asked() if reason is None else reason
    _tell(live.publish(table, str(file), why, seen, has_forecast=has_forecast), json_file)


def _asked() -> str:
    """Ask for the reason, if somebody is there to answer."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return ""
    return str(click.prompt("reason (may be empty)", default="", show_default=False, err=True)).strip()


@rules.command("rollback")
@click.argument("version", type=click.IntRange(min=1))
@line_option
@reason_option
@forecast_option
@json_option("the version and the warnings")
def rollback(version: int, line: str | None, reason: str | None, has_forecast: bool, json_file: Path | None) -> None:
    """Publish an earlier VERSION again, as a new version.

    It is refused for the same reasons as a table that is published: the services of today must serve its stops.
    `metroline rules history` lists the versions, and `metroline rules diff VERSION` shows what would change.

    \b
    Example: metroline rules rollback 3 --reason "orders were lost"
    """
    live = _Live.of(line)
    why = f"back to version {version}" if reason is None else reason
    seen = live.current_number()
    file = f"version {version}"
    table = live.table(live.version(version).text, file)
    published = live.publish(table, file, why, seen, has_forecast=has_forecast)
    _tell(published, json_file, f" with the table of {version}")


def _tell(published: Published, json_file: Path | None, table: str = "") -> None:
    """Print the result of publishing a table, and its warnings, also beside JSON, as errors."""
    for warning in published.warnings:
        say(warning, err=True)
    if json_file is not None:
        write_json(published.as_json(), json_file)
    elif published.replaces is None:
        say(f"version {published.version} is this table already: nothing was published")
    else:
        say(f"version {published.version} is published{table}; it replaces {published.replaces}")


@rules.command("show")
@click.option(
    "--version", metavar="VERSION", type=click.IntRange(min=1), help="An earlier version. Default: the current one."
)
@line_option
@json_option("the table with its version and who published it")
def show(version: int | None, line: str | None, json_file: Path | None) -> None:
    """Print the current version of the live table, or an earlier one.

    \b
    Example: metroline rules show > routes.toml
    """
    live = _Live.of(line)
    shown = live.current() if version is None else live.version(version)
    publication = shown.publication
    if json_file is not None:
        write_json({"version": shown.version, "reason": "", "forecast": None} | publication.as_json(), json_file)
        return
    say(f"# version {shown.version}, published by {publication.by} at {_seconds(publication.at)}")
    write_out(publication.text)


@rules.command("history")
@line_option
@json_option("the versions, without their tables")
def history(line: str | None, json_file: Path | None) -> None:
    """List the versions of the live table, the current one first.

    For each version, it has the number of its rules, how many lines it added and removed, and the earliest version
    with the same table.

    \b
    Example: metroline rules history
    """
    live = _Live.of(line)
    listed = history_of((one.version, one.publication) for one in live.versions())
    if json_file is not None:
        write_json(to_builtins(listed), json_file)
    else:
        print_rows(f"rules of the line {live.line.name}", HEADS, list(map(_row, listed)), numbers=("version", "rules"))


def _row(told: PastVersion) -> dict[str, str]:
    """Return a version as the history shows it."""
    remarks = ["current"] if told.current else []
    if told.same_as is not None:
        remarks.append(f"same as {told.same_as}")
    return {
        "version": str(told.version),
        "published at": _seconds(told.at),
        "by": told.by,
        "rules": "?" if told.rules is None else str(told.rules),
        "changes": f"+{told.added} -{told.removed}",
        "reason": " ".join(told.reason.split()),
        "": ", ".join(remarks),
    }


UNREADABLE = "what they decide is not compared, since one of them has problems: see `metroline check`"


@rules.command("diff")
@click.argument("tables", nargs=-1, required=True, metavar="FROM [TO]")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if the tables differ. Default: with 0 in both cases.")
@line_option
@json_option("the difference and the warnings")
def diff(tables: tuple[str, ...], exit_code: bool, line: str | None, json_file: Path | None) -> None:
    """Show the changes from one table to another.

    Each is a version, as in `metroline rules history`, or a FILE. With one of them, the output has the changes that
    publishing it would make to the current version. What the two decide differently follows, each time with the
    smallest record that was found to show it, and the stops at which it is not proven that they decide alike. A warning
    says after which stops records that had somewhere to go would become dead letters.

    \b
    Example: metroline rules diff routes.toml
             metroline rules diff 3 5 --exit-code
    """
    if len(tables) > 2:
        raise UsageError("name one table, to compare the current version with it, or two")
    live = _Live.of(line)
    after = _named(live, tables[-1])
    before = _named(live, tables[0]) if len(tables) == 2 else _Named.of(live.current())
    lines = text_difference(before.text, after.text, before.name, after.name)
    warnings: list[str] = []
    meaning: Meaning | None = None
    with suppress(InvalidRules):  # a draft may have problems: `check` and `publish` tell them
        table = RulesTable.parse(after.text, ends=live.line.ends)
        warnings = list(warnings_of_change(before.text, table))
        meaning = difference(RulesTable.parse(before.text, ends=live.line.ends), table)
    for warning in warnings:
        say(f"warning: {warning}", err=True)
    if json_file is not None:
        told = {"from": before.name, "to": after.name, "same": not lines, "lines": lines, "warnings": warnings}
        write_json(told | {"meaning": to_builtins(meaning)}, json_file)
    elif not lines:
        say(f"{after.name} is the same as {before.name}")
    else:
        say(*lines, "", *(told_meaning(meaning, before.name, after.name) if meaning is not None else [UNREADABLE]))
    if exit_code and lines:
        click.get_current_context().exit(1)


FAIL_ON = ("changed", "dropped", "unroutable", "failing", "looping", "not_decided", "starved")
"""The kinds that `--fail-on` of a preview can name."""


def _kinds(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Return the kinds that an option names, separated by commas."""
    kinds = tuple(kind.strip() for kind in (value or "").split(",")) if value is not None else ()
    for kind in kinds:
        if kind not in FAIL_ON:
            raise click.BadParameter(f"{kind!r} is none of {', '.join(FAIL_ON)}{suggestion(kind, FAIL_ON)}")
    return kinds


@rules.command("preview")
@click.argument("file", type=RULES_FILE)
@click.option(
    "--limit",
    type=click.IntRange(1, MAX_JOURNEYS),
    default=MAX_JOURNEYS,
    show_default=True,
    help="Number of the latest journeys, and of the dead letters, to decide about.",
)
@click.option(
    "--fail-on",
    "fail_on",
    metavar="KIND,...",
    callback=_kinds,
    help=f"Exit with 1 if there is any record of these kinds: {', '.join(FAIL_ON)}.",
)
@line_option
@json_option("the preview")
def preview(file: Path, limit: int, fail_on: tuple[str, ...], line: str | None, json_file: Path | None) -> None:
    """Show what publishing the table in FILE would change.

    The latest journeys that the line remembers and its dead letters are decided about again. The output has those that
    would go another way, with examples, the records that would newly be dropped or become dead letters, the dead
    letters that would go through, and the load of each stop. No service is called, and nothing is written. Where a way
    depends on what services do, the output says that it is supposed. It names what was not seen.

    \b
    Example: metroline rules preview routes.toml --fail-on unroutable,looping
    """
    live = _Live.of(line)
    table = live.line.network(read_table(file), str(file)).table

    async def read() -> Preview:
        remembered = await read_remembered(live.settings, live.line, live.topics, limit)
        return await preview_of(live.settings, live.line, live.topics, table, remembered)

    found = asyncio.run(read())
    if json_file is not None:
        write_json(to_builtins(found), json_file)
    else:
        print_preview(found)
    numbers = to_builtins(found.journeys) | {"starved": len(found.starved)}
    if any(numbers[kind] for kind in fail_on):
        click.get_current_context().exit(1)


@dataclass(frozen=True, slots=True)
class _Named:
    """A table with the name by which messages call it."""

    name: str
    text: str

    @classmethod
    def of(cls, published: PublishedRules) -> _Named:
        return cls(f"version {published.version}", published.text)


def _named(live: _Live, table: str) -> _Named:
    """Return the table that an argument names: a version, or a file."""
    if table.isdigit():
        return _Named.of(live.version(int(table)))
    file = RULES_FILE.convert(table, None, click.get_current_context())
    return _Named(str(file), read_table(file))


def _seconds(at: float) -> str:
    """Return a time in ISO 8601, to the second."""
    told = iso(at)
    return "unknown time" if told is None else f"{told.partition('.')[0]}+00:00"

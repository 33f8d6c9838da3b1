"""`metroline rules show | history | diff | publish | rollback`: the live rules table."""

from __future__ import annotations

import asyncio
import difflib
import re
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from metroline.agents.kafka.topics import Topics
from metroline.agents.services.line import Line
from metroline.app.cli.console import print_rows
from metroline.app.cli.groups import CommandGroup
from metroline.app.cli.options import RULES_FILE, json_option, line_option, read_text, write_json
from metroline.app.cli.publishing import NotPublished, Published, publish_table
from metroline.app.cli.terminal import say, write_out
from metroline.app.markup.times import iso
from metroline.app.operations.permission import Permission
from metroline.app.operations.rules_topic import PublishedRules, published_versions, read_published
from metroline.app.settings import Settings
from metroline.routing.errors import InvalidRules, UsageError
from metroline.routing.rules.coverage import warnings_of_change
from metroline.routing.rules.table import RulesTable

SHOWN = re.compile(r"# version \d+, published by .*\n")
"""The line that `rules show` prints before a table."""

HEADS = ("version", "published at", "by", "rules", "changes", "")
"""The columns of the history."""


def read_table(file: Path) -> str:
    """Return the table in a file, without the first line that `rules show` adds."""
    text = read_text(file)
    shown = SHOWN.match(text)
    return text[shown.end() :] if shown else text


@click.group(cls=CommandGroup)
def rules() -> None:
    """Show, compare, publish and roll back the live rules table.

    The commands work on a running line in the Kafka cluster at BROKER_URL.

    \b
    Example: metroline rules show > routes.toml       # edit it
             metroline rules diff routes.toml
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

    def publish(self, text: str, file: str, replaces: int | None = None) -> Published:
        table = RulesTable.parse(text, file=file, ends=self.line.ends)
        return asyncio.run(publish_table(self.settings, self.topics, table, file, Permission.of_command(), replaces))

    def _nothing(self) -> NotPublished:
        return NotPublished(f"the line {self.topics.prefix!r} has no published table at {self.settings.broker_url}")


@rules.command("publish")
@click.argument("file", type=RULES_FILE)
@line_option
@click.option(
    "--replaces",
    metavar="VERSION",
    type=int,
    help="Version that the table was made from. Default: the current version, whichever it is.",
)
@json_option("the version and the warnings")
def publish(file: Path, line: str | None, replaces: int | None, json_file: Path | None) -> None:
    """Publish the table in FILE for the records that follow.

    No restart is needed. A table is refused if it is not valid, if it names a stop that no live worker serves or an end
    that a live worker does not know, or if the version of --replaces is no longer the current one. A table that is
    current already is not published again.

    \b
    Example: metroline rules publish routes.toml --replaces 3
    """
    _tell(_Live.of(line).publish(read_table(file), str(file), replaces), json_file)


@rules.command("rollback")
@click.argument("version", type=click.IntRange(min=1))
@line_option
@json_option("the version and the warnings")
def rollback(version: int, line: str | None, json_file: Path | None) -> None:
    """Publish an earlier VERSION again, as a new version.

    It is refused for the same reasons as a table that is published: the services of today must serve its stops.
    `metroline rules history` lists the versions, and `metroline rules diff VERSION` shows what would change.

    \b
    Example: metroline rules rollback 3
    """
    live = _Live.of(line)
    _tell(live.publish(live.version(version).text, f"version {version}"), json_file, f" with the table of {version}")


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
        write_json({"version": shown.version} | publication.as_json(), json_file)
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
    listed = history_of(live.versions())
    if json_file is not None:
        write_json(listed, json_file)
    else:
        print_rows(f"rules of the line {live.line.name}", HEADS, list(map(_row, listed)), numbers=("version", "rules"))


def history_of(versions: list[PublishedRules]) -> list[dict[str, Any]]:
    """Return what the history tells of each version, newest first."""
    first_with: dict[str, int] = {}
    listed: list[dict[str, Any]] = []
    before = ""
    for one in versions:
        first = first_with.setdefault(one.text, one.version)
        lines = [line[:1] for line in _difference(before, one.text, "before", "after")[2:]]
        listed.append(
            {
                "version": one.version,
                "replaces": one.publication.replaces,
                "by": one.publication.by,
                "at": one.publication.at,
                "rules": _count(one.text),
                "added": lines.count("+"),
                "removed": lines.count("-"),
                "same_as": None if first == one.version else first,
                "current": one is versions[-1],
            }
        )
        before = one.text
    return listed[::-1]


def _count(text: str) -> int | None:
    """Return the number of rules in a table; None if it is not TOML."""
    try:
        return len(tomllib.loads(text).get("rules", []))
    except tomllib.TOMLDecodeError:
        return None


def _row(told: dict[str, Any]) -> dict[str, str]:
    """Return a version as the history shows it."""
    remarks = ["current"] if told["current"] else []
    if told["same_as"] is not None:
        remarks.append(f"same as {told['same_as']}")
    return {
        "version": str(told["version"]),
        "published at": _seconds(told["at"]),
        "by": told["by"],
        "rules": "?" if told["rules"] is None else str(told["rules"]),
        "changes": f"+{told['added']} -{told['removed']}",
        "": ", ".join(remarks),
    }


@rules.command("diff")
@click.argument("tables", nargs=-1, required=True, metavar="FROM [TO]")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if the tables differ. Default: with 0 in both cases.")
@line_option
@json_option("the difference and the warnings")
def diff(tables: tuple[str, ...], exit_code: bool, line: str | None, json_file: Path | None) -> None:
    """Show the changes from one table to another.

    Each is a version, as in `metroline rules history`, or a FILE. With one of them, the output has the changes that
    publishing it would make to the current version. A warning says after which stops records that had somewhere to go
    would become dead letters.

    \b
    Example: metroline rules diff routes.toml
             metroline rules diff 3 5 --exit-code
    """
    if len(tables) > 2:
        raise UsageError("name one table, to compare the current version with it, or two")
    live = _Live.of(line)
    after = _named(live, tables[-1])
    before = _named(live, tables[0]) if len(tables) == 2 else _Named.of(live.current())
    lines = _difference(before.text, after.text, before.name, after.name)
    warnings: list[str] = []
    with suppress(InvalidRules):  # a draft may have problems: `check` and `publish` tell them
        warnings = list(warnings_of_change(before.text, RulesTable.parse(after.text, ends=live.line.ends)))
    for warning in warnings:
        say(f"warning: {warning}", err=True)
    if json_file is not None:
        told = {"from": before.name, "to": after.name, "same": not lines, "lines": lines, "warnings": warnings}
        write_json(told, json_file)
    else:
        say(*(lines or [f"{after.name} is the same as {before.name}"]))
    if exit_code and lines:
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


def _difference(before: str, after: str, name: str, other: str) -> list[str]:
    """Return the lines of a unified diff; none if the tables are the same."""
    return list(difflib.unified_diff(before.splitlines(), after.splitlines(), name, other, lineterm=""))


def _seconds(at: float) -> str:
    """Return a time in ISO 8601, to the second."""
    told = iso(at)
    return "unknown time" if told is None else f"{told.partition('.')[0]}+00:00"

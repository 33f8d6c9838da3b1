"""`metroline check`: a rules table, and the topics of its line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metroline.agents.services.line import Line
from metroline.agents.services.line_options import LineOptions
from metroline.app.cli.options import RULES_FILE, json_option, read_text, write_json
from metroline.app.cli.terminal import say, say_text
from metroline.app.line_map.text import text_map
from metroline.app.markup.numbers import counted
from metroline.app.operations.declared_fields import field_warnings
from metroline.routing.errors import UsageError
from metroline.routing.rules.coverage import warnings_of_change
from metroline.routing.rules.network import Network
from metroline.routing.rules.table import RulesTable

if TYPE_CHECKING:
    from metroline.agents.formats.format_check import FormatProblem
    from metroline.agents.kafka.topic_problems import TopicProblem
    from metroline.app.provisioning import Inspection


class UnknownLine(UsageError):
    """Raised when the topics of a line are to be checked and it is not said which line."""


@click.command()
@click.argument("file", type=RULES_FILE)
@click.option(
    "--line",
    "line",
    metavar="LINE",
    help="The line, a package or a folder, whose services must serve the stops of the table. Default: the folder of "
    "FILE, if it has a services.py.",
)
@click.option(
    "--broker",
    "has_broker",
    is_flag=True,
    help="Also check the topics of the line on the cluster at BROKER_URL, with all settings of a worker, and the "
    "schemas of its formats in the schema registry, and its source and ends in other systems: list what is missing or "
    "wrong, and which rights the user lacks. Nothing is changed.",
)
@json_option("the rules, the stops and the warnings")
def check(file: Path, line: str | None, has_broker: bool, json_file: Path | None) -> None:
    """Validate the rules table in FILE and draw its network.

    FILE may be the folder of the line. The line's line.toml is validated as well. A warning says where records that
    were delivered so far, by the line's own file or with --broker by the live table, would become dead letters. No
    broker is needed, unless with --broker. If the table is invalid, or a worker could not run on the topics or use a
    format, every problem is listed, and the exit code is 1.

    \b
    Example: metroline check agents/lines/metrobus/routes.toml
    """
    where = line or _line_around(file)
    inspection = _inspect(where, file) if has_broker else None
    formats = _check_formats(str(where)) if has_broker else None
    live = _live_rules(where) if where and inspection is not None and inspection.are_usable else None
    schedules = _schedules(where, file)
    network = _network(where, file)
    warnings = [*network.warnings, *_changes(network.table, where, live), *_declared(network.table, where)]
    if where is None:
        warnings.append(_unchecked(file))
    if json_file is not None:
        rules = [rule.model_dump(exclude_none=True) for rule in network.table.rules]
        topics = {} if inspection is None else _topics_as_json(inspection)
        found = topics if formats is None else topics | _formats_as_json(formats)
        told = {"rules": rules, "stops": network.stops, "warnings": warnings}
        write_json(told | ({"schedules": schedules} if schedules else {}) | found, json_file)
    else:
        say_text(text_map(network))
        for one in schedules:
            say(f"schedule {one['name']}: {one['cron']} ({one['timezone']}), next at {one['next']}")
        for warning in warnings:
            say(f"warning: {warning}")
        say(f"{file}: {counted(len(network.table.rules), 'rule')}, {counted(len(network.stops), 'stop')}: valid")
        if inspection is not None:
            _print_problems(inspection, formats or ())
    if inspection is not None and not (inspection.are_usable and _are_usable(formats or ())):
        click.get_current_context().exit(1)


def _network(line: str | None, file: Path) -> Network:
    """Return the network of a table for a line.

    If it is not known which line it is, its services are not known either, and the ends are those of a line.toml beside
    the table.
    """
    if line is None:
        options = LineOptions.read(file.resolve().parent, frozenset())
        return Network.read(read_text(file), None, str(file), options.end_names, frozenset(options.outside))
    return Line.load(line).network(read_text(file), str(file))


def _schedules(line: str | None, file: Path) -> list[dict[str, str]]:
    """Return the schedules of a line, each with the time at which it is due next."""
    options = LineOptions.read(file.resolve().parent, frozenset()) if line is None else Line.load(line).options
    now, told = int(time.time() // 60), []
    for schedule in options.made_schedules():
        chosen, crontab = options.schedules[schedule.name], schedule.crontab
        due = crontab.shown(crontab.next_after(now))
        told.append({"name": schedule.name, "cron": chosen.cron, "timezone": chosen.timezone, "next": due})
    return told


def _changes(table: RulesTable, line: str | None, live: str | None) -> Sequence[str]:
    """Return the warnings of a change from the live table, if it is known, or else from that of the line's file."""
    if live is None and line is None:
        return ()
    return warnings_of_change(live or Line.load(str(line)).rules_text, table)


def _declared(table: RulesTable, line: str | None) -> Iterator[str]:
    """Yield the warnings of rules that do not fit the types that the services of a line declare."""
    return iter(()) if line is None else field_warnings(table, Line.load(line).services)


def _live_rules(line: str) -> str | None:
    """Return the published table of a line; None if there is none."""
    from metroline.app.operations.rules_topic import read_published  # imports clients of Kafka
    from metroline.app.settings import Settings

    settings = Settings.read(line=line)
    published = asyncio.run(read_published(settings.cluster(), settings.topics(Line.load(line))))
    return None if published is None else published.publication.text


def _line_around(file: Path) -> str | None:
    """Return the folder of a table if it has services."""
    folder = file.resolve().parent
    return str(folder) if (folder / "services.py").is_file() else None


def _inspect(line: str | None, file: Path) -> Inspection:
    """Compare the topics on the cluster with what a worker of the line needs."""
    if line is None:
        raise UnknownLine(
            f"there is no services.py beside {file.name}: name the line whose topics to check with --line"
        )
    from metroline.app.provisioning import inspect  # imports clients of Kafka, of which the rules have no use
    from metroline.app.settings import Settings

    settings = Settings.read(line=line)
    return asyncio.run(inspect(settings, Line.load(line), is_trial=True))


def _topics_as_json(inspection: Inspection) -> dict[str, Any]:
    problems = [
        {"topic": one.topic, "problem": one.text, "remedy": one.remedy, "fatal": one.is_fatal}
        for one in inspection.problems
    ]
    return {"topics": {"usable": inspection.are_usable, "to_create": inspection.to_create, "problems": problems}}


def _check_formats(line: str) -> list[FormatProblem]:
    """Return what is wrong with the formats of the source and the ends of a line, as far as a worker uses them."""
    from metroline.app.operations.format_checks import check_line  # imports the settings of a worker
    from metroline.app.settings import Settings

    return asyncio.run(check_line(Settings.read(line=line), Line.load(line)))


def _are_usable(formats: Sequence[FormatProblem]) -> bool:
    return not any(problem.is_fatal for problem in formats)


def _formats_as_json(found: Sequence[FormatProblem]) -> dict[str, Any]:
    problems = [{"end": one.end, "setting": one.setting, "problem": one.text, "fatal": one.is_fatal} for one in found]
    return {"formats": {"usable": _are_usable(found), "problems": problems}}


def _print_problems(inspection: Inspection, formats: Sequence[FormatProblem]) -> None:
    """Print the problems of topics and formats in one list, the fatal ones first."""
    problems: list[TopicProblem | FormatProblem] = [*inspection.problems, *formats]
    for problem in sorted(problems, key=lambda one: not one.is_fatal):
        say(f"{'error' if problem.is_fatal else 'warning'}: {problem}")
    if inspection.to_create:
        say(f"a worker will create the topics {', '.join(inspection.to_create)}")
    say(f"formats: {'usable' if _are_usable(formats) else 'not all of them can be used'}")
    say(f"topics: {'usable' if inspection.are_usable else 'a worker cannot start'}")


def _unchecked(file: Path) -> str:
    return (
        f"there is no services.py beside {file.name}, so its stops were not checked against any services: name the "
        "line that has them with --line"
    )

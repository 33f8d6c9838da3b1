"""`metroline check` and `metroline explain`: what a rules table says, without a broker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import orjson

from metroline.agents.services.line import Line
from metroline.app.cli import cli
from metroline.app.cli.options import json_option, write_json
from metroline.app.inputs.lookup_builds import prepare_lookups
from metroline.app.line_map.svg import text_map
from metroline.routing.errors import MetrolineError
from metroline.routing.rules.explain import Explained
from metroline.routing.rules.explain import explain as explain_way
from metroline.routing.rules.network import Network
from metroline.routing.rules.table import RulesTable

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class UnreadableFile(MetrolineError):
    """Raised when a file on the command line cannot be read."""


def read_text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableFile(f"{file} cannot be read: {error}") from error


@cli.command()
@click.argument("file", type=FILE)
@click.option(
    "--line",
    "line",
    metavar="LINE",
    help="The line, a package or a folder, whose services must serve the table's stops. Default: the folder of FILE, "
    "if there is a services.py in it.",
)
@json_option("the rules, the stops and the warnings")
def check(file: Path, line: str | None, json_file: Path | None) -> None:
    """Validates the rules table in FILE and draws its network.

    It needs no broker. A table with problems is not drawn: each problem is told with its line, and it exits with 1.

    \b
    Example: metroline check agents/lines/metrobus/routes.toml
    """
    where = line or _line_around(file)
    network = Network.read(read_text(file), Line.load(where).stops if where else None, str(file))
    warnings = network.warnings if where else (*network.warnings, _unchecked(file))
    if json_file is not None:
        rules = [rule.model_dump(exclude_none=True) for rule in network.table.rules]
        write_json({"rules": rules, "stops": network.stops, "warnings": warnings}, json_file)
        return
    click.echo(text_map(network))
    for warning in warnings:
        click.echo(f"warning: {warning}")
    click.echo(f"{file}: {len(network.table.rules)} rules, {len(network.stops)} stops: valid")


def _line_around(file: Path) -> str | None:
    """The folder of a table, if services are in it."""
    folder = file.resolve().parent
    return str(folder) if (folder / "services.py").is_file() else None


def _unchecked(file: Path) -> str:
    return (
        f"there is no services.py beside {file.name}, so its stops were not checked against any services: name the "
        "line that has them with --line"
    )


@cli.command()
@click.argument("file", type=FILE)
@click.argument("record", type=FILE)
@click.option(
    "--line",
    "line",
    metavar="LINE",
    help="Runs the services of this line, a package or a folder, at the stops. Without it none runs: the record stays "
    "as it is.",
)
@json_option("the way")
def explain(file: Path, record: Path, line: str | None, json_file: Path | None) -> None:
    """Shows the way of one record, rule by rule.

    FILE is a rules table, RECORD a file with one JSON object. After each stop it shows what the service set, the rules
    that were tried, what they read, and which one held. It needs no broker, and ends with 0 wherever the record ends.

    \b
    Example: metroline explain orders/routes.toml orders/one.json --line orders
    """
    book = RulesTable.parse(read_text(file), file=str(file))
    try:
        value = orjson.loads(record.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise UnreadableFile(f"{record} holds no JSON: {error}") from error
    if not isinstance(value, dict):
        raise UnreadableFile(f"{record} holds no JSON object: a record is one")
    steps = explain_way(book, value, _handlers(line))
    if json_file is not None:
        write_json([step.as_json() for step in steps], json_file)
        return
    for step in steps:
        _print(step)


def _handlers(line: str | None) -> dict[str, Any]:
    if line is None:
        return {}
    loaded = Line.load(line)
    prepare_lookups(loaded)
    return {name: service.handler_of_whole("explained") for name, service in loaded.services.items()}


def _print(step: Explained) -> None:
    click.echo(f"after {step.after}")
    if step.sets:
        click.echo(f"  sets {', '.join(f'{name}={value}' for name, value in step.sets.items())}")
    if step.removes:
        click.echo(f"  takes out {', '.join(step.removes)}")
    for trial in step.trials:
        read = ", ".join(f"{name}={value}" for name, value in trial.read.items())
        click.echo(f"  {'✔' if trial.holds else '·'} {trial.rule}: {trial.verdict}" + (f"  ({read})" if read else ""))
    click.echo(f"  → {step.verdict}")

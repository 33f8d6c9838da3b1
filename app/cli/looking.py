"""`metroline check` and `metroline explain`: what a rules table says, without a broker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import orjson

from agents.line import Line
from app.cli import cli
from app.cli.options import json_option, write_json
from app.compare.linemap import text_map
from routing.errors import MetrolineError
from routing.explain import Explained
from routing.explain import explain as explain_way
from routing.network import Network
from routing.rules import RuleBook

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
    "--line", "line", help="The line whose services must serve its stops; the folder of the file if it is one."
)
@json_option("Writes the rules and the warnings there; - is the standard output.")
def check(file: Path, line: str | None, json_file: Path | None) -> None:
    """Validates a rules table and prints the network that it draws.

    \b
    Example: metroline check agents/lines/metrobus/routes.toml
    """
    where = line or _line_around(file)
    network = Network.read(read_text(file), Line.load(where).stops if where else None, str(file))
    warnings = network.warnings if where else (*network.warnings, _unchecked(file))
    if json_file is not None:
        rules = [rule.model_dump(exclude_none=True) for rule in network.book.rules]
        write_json({"rules": rules, "stops": network.stops, "warnings": warnings}, json_file)
        return
    click.echo(text_map(network))
    for warning in warnings:
        click.echo(f"warning: {warning}")
    click.echo(f"{file}: {len(network.book.rules)} rules, {len(network.stops)} stops: valid")


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
@click.option("--line", "line", help="Runs this line's services at the stops; without it the record stays as it is.")
@json_option("Writes the way there; - is the standard output.")
def explain(file: Path, record: Path, line: str | None, json_file: Path | None) -> None:
    """The way of one record: each rule that was tried, what it read, and which one held.

    \b
    Example: metroline explain agents/lines/metrobus/routes.toml record.json
    """
    book = RuleBook.parse(read_text(file), file=str(file))
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
    return {} if line is None else {name: service.handler for name, service in Line.load(line).services.items()}


def _print(step: Explained) -> None:
    click.echo(f"after {step.after}")
    for trial in step.trials:
        read = ", ".join(f"{name}={value}" for name, value in trial.read.items())
        click.echo(f"  {'✔' if trial.holds else '·'} {trial.rule}: {trial.verdict}" + (f"  ({read})" if read else ""))
    click.echo(f"  → {step.verdict}")

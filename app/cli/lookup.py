"""`metroline lookup build | get | list`: what services look things up in."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console
from rich.markup import escape
from rich.progress import TaskProgressColumn
from rich.table import Table

from metroline.agents.lookups import lookup
from metroline.agents.lookups.errors import LookupDamaged
from metroline.agents.lookups.footer import Footer
from metroline.agents.lookups.paths import file_of, folder, names_in
from metroline.agents.services.line import Line
from metroline.app.cli import cli
from metroline.app.cli.check import FILE
from metroline.app.cli.options import json_option, write_json
from metroline.app.cli.progress import progress_bars
from metroline.app.inputs.lookup_builds import build_from_file, build_of_line
from metroline.app.settings import Settings
from metroline.routing.errors import MetrolineError

WIDTH = 140
"""Of a table that does not go to a terminal."""


class KeyMissing(MetrolineError):
    """Raised when a key is asked for that is not in a lookup."""


@cli.group("lookup")
def lookups() -> None:
    """Builds and reads the tables that services look things up in.

    They are files in the folder LOOKUP_DIR, which all workers of a machine read from one copy in memory.

    \b
    Example: metroline lookup build accounts accounts.csv --key account_number
    """
    Settings.read()  # says what is wrong with LOOKUP_DIR


@lookups.command("build")
@click.argument("name", required=False)
@click.argument("file", required=False, type=FILE)
@click.option(
    "--key", metavar="COLUMN", help="The column that it is looked up by; no two rows may have the same there."
)
@click.option(
    "--value", metavar="COLUMN", help="The column whose value is given for a key. Default: all others, as a dict."
)
@click.option("--text", is_flag=True, help="Keeps the fields of a CSV as text. Default: numbers are read as numbers.")
@click.option(
    "--allow-empty", is_flag=True, help="Takes a FILE without rows. Default: the version that is there stays."
)
@click.option(
    "--line", metavar="LINE", help="Builds what this line, a package or a folder, makes itself in lookups.py."
)
def build(
    name: str | None,
    file: Path | None,
    key: str | None,
    value: str | None,
    text: bool,
    allow_empty: bool,
    line: str | None,
) -> None:
    """Builds the lookup NAME of the rows of FILE.

    FILE holds JSON lines, or CSV with commas and a header; also .gz. The lookup is written beside the version that is
    there, and takes its place at once when it is whole; workers read it about a second later. Where something is wrong
    with a row, or the disk is full, the version that is there stays.

    \b
    Example: metroline lookup build accounts accounts.csv.gz --key account_number --value email
    """
    console = Console(stderr=True)
    with progress_bars(console, TaskProgressColumn()) as told:
        if line is not None:
            if name or file or key or value or text or allow_empty:
                raise click.UsageError(
                    "--line builds what the line makes itself: it takes no NAME, FILE or other option"
                )
            built = list(build_of_line(Line.load(line), told))
        elif name is None or file is None or key is None:
            raise click.UsageError("NAME, FILE and --key are needed, or --line")
        else:
            label = build_from_file(name, file, key, value, as_text=text, allow_empty=allow_empty, told=told)
            built = [(name, label)]
    for made, label in built:
        click.echo(f"{made}: {label.entries} entries, {label.size} bytes: {file_of(made, folder())}")
    if not built:
        click.echo("this line makes no lookups itself")


@lookups.command("get")
@click.argument("name")
@click.argument("key")
def get(name: str, key: str) -> None:
    """Prints what the lookup NAME has for KEY, as JSON. It exits with 1 if there is no such key.

    \b
    Example: metroline lookup get accounts 40000001
    """
    table = lookup(name)
    if key not in table:
        raise KeyMissing(f"lookup {name} has no key {key!r}")
    click.echo(orjson.dumps(table.get(key)).decode())


@lookups.command("list")
@json_option("them")
def show_list(json_file: Path | None) -> None:
    """Lists the lookups that are there.

    \b
    Example: metroline lookup list --json -
    """
    where = folder()
    found = {name: _label(file_of(name, where)) for name in names_in(where)}
    if json_file is not None:
        write_json([_told(name, file_of(name, where), label) for name, label in found.items()], json_file)
        return
    if not found:
        click.echo(f"there are no lookups in {where}")
        return
    table = Table(title=f"lookups in {where}", box=None)
    for head in ("name", "entries", "bytes", "built at"):
        table.add_column(head, no_wrap=True, justify="right" if head in ("entries", "bytes") else "left")
    for head in ("key", "value", "source"):
        table.add_column(head, overflow="fold")
    for name, label in found.items():
        if isinstance(label, Footer):
            figures = f"{label.entries:,}", f"{label.size:,}"
            table.add_row(
                name, *figures, label.built_at, escape(label.key), escape(label.value or "(all)"), escape(label.source)
            )
        else:
            table.add_row(name, "", "", "", "", "", escape(f"damaged: {label}"))
    console = Console()
    (console if console.is_terminal else Console(width=WIDTH)).print(table)


def _label(file: Path) -> Footer | str:
    """What a file says of itself, or why it says nothing."""
    try:
        with file.open("rb") as opened:
            return Footer.read(opened)
    except (OSError, LookupDamaged) as error:
        return str(error)


def _told(name: str, file: Path, label: Footer | str) -> dict[str, Any]:
    if isinstance(label, str):
        return {"name": name, "file": str(file), "problem": label}
    return {"name": name, "file": str(file), **asdict(label)}

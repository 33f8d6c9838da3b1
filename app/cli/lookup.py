"""`metroline lookup build | get | list`: the tables that services look things up in."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from rich.progress import TaskProgressColumn

from metroline.agents.lookups import lookup as open_lookup
from metroline.agents.lookups.errors import LookupDamaged
from metroline.agents.lookups.footer import Footer
from metroline.agents.lookups.paths import file_of, folder, names_in
from metroline.agents.services.line import Line
from metroline.app.cli.console import print_rows, safe_console
from metroline.app.cli.groups import CommandGroup
from metroline.app.cli.options import json_option, write_json
from metroline.app.cli.progress import progress_bars
from metroline.app.cli.reading_options import reading_options
from metroline.app.cli.terminal import say, say_json
from metroline.app.inputs.lookup_builds import build_from_file, build_of_line
from metroline.app.inputs.row_files import DEFAULT_READING, Reading, no_note
from metroline.app.settings import Settings
from metroline.routing.errors import MetrolineError

ROWS = click.Path(exists=True, dir_okay=False, path_type=Path, allow_dash=True)

HEADS = ("name", "entries", "bytes", "built at", "key", "value", "source")
"""The columns of the list."""


class KeyMissing(MetrolineError):
    """Raised when a key is asked for that is not in a lookup."""


@click.group(cls=CommandGroup)
def lookup() -> None:
    """Build and read the tables that services look things up in.

    Lookups are files in the folder LOOKUP_DIR. All workers of a machine share one copy in memory.

    \b
    Example: metroline lookup build accounts accounts.csv --key account_number
    """
    Settings.read()  # reports a LOOKUP_DIR that cannot be used


@lookup.command("build")
@click.argument("name", required=False)
@click.argument("file", required=False, type=ROWS)
@click.option("--key", metavar="COLUMN", help="Column to look up by. Its values must be unique.")
@click.option("--value", metavar="COLUMN", help="Column that a lookup returns. Default: all other columns, as a dict.")
@reading_options
@click.option(
    "--allow-empty", is_flag=True, help="Accept a FILE without rows. Default: refuse it and keep the current version."
)
@click.option(
    "--line", metavar="LINE", help="Build the lookups that this line, a package or a folder, declares in lookups.py."
)
@json_option("the lookups that were built")
def build(
    name: str | None,
    file: Path | None,
    key: str | None,
    value: str | None,
    reading: Reading,
    allow_empty: bool,
    line: str | None,
    json_file: Path | None,
) -> None:
    """Build the lookup NAME from the rows of FILE.

    FILE holds JSON (lines, an array, or objects over several lines), CSV or TSV with a header, or Parquet; it can be
    compressed (.gz, .zst), and - is the standard input. The new version replaces the current one in one step when it is
    complete, and workers read it about a second later. If a row is invalid or the disk is full, the current version
    stays.

    \b
    Example: metroline lookup build accounts accounts.csv.gz --key account_number --value email
    """
    with progress_bars(safe_console(stderr=True), TaskProgressColumn()) as report:
        if line is not None:
            if name or file or key or value or allow_empty or replace(reading, note=no_note) != DEFAULT_READING:
                raise click.UsageError("--line builds the line's own lookups: it takes no NAME, FILE or other option")
            built = list(build_of_line(Line.load(line), report))
        elif name is None or file is None or key is None:
            raise click.UsageError("NAME, FILE and --key are needed, or --line")
        else:
            label = build_from_file(name, file, key, value, reading=reading, allow_empty=allow_empty, report=report)
            built = [(name, label)]
    if json_file is not None:
        write_json([_as_json(made, file_of(made, folder()), label) for made, label in built], json_file)
        return
    for made, label in built:
        say(f"{made}: {label.entries} entries, {label.size} bytes: {file_of(made, folder())}")
    if not built:
        say("this line declares no lookups of its own")


@lookup.command("get")
@click.argument("name")
@click.argument("key")
@json_option("the value with its lookup and key")
def get(name: str, key: str, json_file: Path | None) -> None:
    """Print the value of KEY in the lookup NAME, as JSON. The exit code is 1 if there is no such key.

    \b
    Example: metroline lookup get accounts 40000001
    """
    table = open_lookup(name)
    if key not in table:
        raise KeyMissing(f"lookup {name} has no key {key!r}")
    if json_file is not None:
        write_json({"lookup": name, "key": key, "value": table.get(key)}, json_file)
    else:
        say_json(table.get(key), is_indented=False)


@lookup.command("list")
@json_option("the list")
def show_list(json_file: Path | None) -> None:
    """List the lookups of this machine.

    \b
    Example: metroline lookup list --json -
    """
    where = folder()
    found = {name: _label(file_of(name, where)) for name in names_in(where)}
    if json_file is not None:
        write_json([_as_json(name, file_of(name, where), label) for name, label in found.items()], json_file)
    elif not found:
        say(f"there are no lookups in {where}")
    else:
        rows = [_row(name, label) for name, label in found.items()]
        print_rows(f"lookups in {where}", HEADS, rows, numbers=("entries", "bytes"))


def _row(name: str, label: Footer | str) -> dict[str, str]:
    """Return a lookup as the list shows it; `label` is a text if its file is damaged."""
    row = dict.fromkeys(HEADS, "") | {"name": name}
    if isinstance(label, str):
        return row | {"source": f"damaged: {label}"}
    figures = {"entries": f"{label.entries:,}", "bytes": f"{label.size:,}", "built at": label.built_at}
    return row | figures | {"key": label.key, "value": label.value or "(all)", "source": label.source}


def _label(file: Path) -> Footer | str:
    """Return the label of a lookup's file, or the reason why it cannot be read."""
    try:
        with file.open("rb") as opened:
            return Footer.read(opened)
    except (OSError, LookupDamaged) as error:
        return str(error)


def _as_json(name: str, file: Path, label: Footer | str) -> dict[str, Any]:
    if isinstance(label, str):
        return {"name": name, "file": str(file), "problem": label}
    return {"name": name, "file": str(file), **asdict(label)}

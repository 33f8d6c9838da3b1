"""Options and files that several commands share."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from metroline.routing.errors import MetrolineError

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class _RulesFile(click.Path):
    """The file of a rules table, or the folder of a line, which stands for the `routes.toml` in it."""

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Path:
        path = Path(value)
        found = super().convert(path / "routes.toml" if path.is_dir() else path, param, context)
        assert isinstance(found, Path)
        return found


RULES_FILE = _RulesFile(exists=True, dir_okay=False, path_type=Path)
NEW_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


def completes(kind: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Return a function by which a shell completes the value of an option: `kind` is `file` or `dir`."""
    return lambda context, parameter, incomplete: [CompletionItem(incomplete, type=kind)]


line_option = click.option(
    "--line",
    "line",
    metavar="LINE",
    shell_complete=completes("dir"),
    help="The line: a package (metroline.agents.lines.flights) or a folder. Default: LINE in the environment, or the "
    "example line.",
)
broker_option = click.option(
    "--broker",
    "broker",
    metavar="URL",
    help="Kafka cluster, as kafka://host:port. Default: BROKER_URL in the environment, or the embedded broker.",
)
seed_option = click.option(
    "--seed", default=1, show_default=True, help="Seed of the line's own records. Another seed makes other records."
)


def records_option(default: str) -> Callable[[Any], Any]:
    return click.option(
        "--records",
        metavar="N|FILE",
        shell_complete=completes("file"),
        default=default,
        show_default=True,
        help="Number of the line's own records, or a file: JSON (lines, an array, or objects over several lines), "
        "CSV or TSV with a header, or Parquet. It can be compressed (.gz, .zst); - is the standard input.",
    )


def json_option(what: str, form: str = "JSON") -> Callable[[Any], Any]:
    return click.option(
        "--json", "json_file", type=NEW_FILE, help=f"Write {what} to this file as {form}; - is the standard output."
    )


class UnreadableFile(MetrolineError):
    """Raised when a file named on the command line cannot be read."""


class UnwritableFile(MetrolineError):
    """Raised when a file named on the command line cannot be written."""


def read_text(file: Path) -> str:
    """Return the UTF-8 text of a file. Raise `UnreadableFile` if it cannot be read."""
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableFile(f"{file} cannot be read: {error}") from error


def write_json(data: Any, file: Path) -> None:
    """Write JSON for a program to read; `-` is the standard output. Raise `UnwritableFile` if that fails."""
    text = json.dumps(data, indent=2) + "\n"
    if str(file) == "-":
        sys.stdout.write(text)
        sys.stdout.flush()  # a command may go on running
    else:
        try:
            file.write_text(text, "utf-8")
        except OSError as error:
            raise UnwritableFile(f"--json: {file} cannot be written: {error.strerror}") from error

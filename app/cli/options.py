"""Options and files that several commands share."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from metroline.routing.errors import MetrolineError, UsageError

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class _RulesFile(click.Path):
    """The file of a rules table, or the folder of a line, which stands for the `routes.toml` in it."""

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Path:
        path = Path(value)
        found = super().convert(path / "routes.toml" if path.is_dir() else path, param, context)
        assert isinstance(found, Path)
        return found


class _NewFile(click.Path):
    """A file that is written when the work is done: that it cannot be is said before the work begins."""

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Path:
        found = super().convert(value, param, context)
        assert isinstance(found, Path)
        if not found.parent.is_dir():
            self.fail(f"there is no folder {str(found.parent)!r}", param, context)
        if not found.exists() and not os.access(found.parent, os.W_OK):
            self.fail(f"the folder {str(found.parent)!r} is not writable", param, context)
        return found


SHOWN = re.compile(r"# version \d+, published by .*\n")
"""The line that `rules show` prints before a table."""

RULES_FILE = _RulesFile(exists=True, dir_okay=False, path_type=Path)
NEW_FILE = _NewFile(dir_okay=False, writable=True, path_type=Path)


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


class RecordsCommand(click.Command):
    """A command that takes `--records`: a file without the option is answered with how to write it."""

    allow_extra_args = True

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Read the arguments, and refuse one that belongs to no option."""
        rest = super().parse_args(context, args)
        if context.args and not context.resilient_parsing:
            context.fail(f"Got unexpected argument {context.args[0]!r}; a file of records is named by --records FILE")
        return rest


def records_option(default: str | None) -> Callable[[Any], Any]:
    """Return the option `--records`; without a default, the command has to ask for it."""
    return click.option(
        "--records",
        metavar="N|FILE",
        shell_complete=completes("file"),
        default=default,
        show_default=default is not None,
        help="Number of the line's own records, or a file: JSON (lines, an array, or objects over several lines), "
        "CSV or TSV with a header, or Parquet. It can be compressed (.gz, .zst); - is the standard input.",
    )


def json_option(what: str, form: str = "JSON") -> Callable[[Any], Any]:
    return click.option(
        "--json",
        "json_file",
        type=NEW_FILE,
        callback=_json_alone,
        help=f"Write {what} to this file as {form}; - is the standard output.",
    )


JSON_OUTPUT = "metroline.json_output"
"""The key under which a command keeps its standard output for JSON."""


def _json_alone(context: click.Context, _: click.Parameter, file: Path | None) -> Path | None:
    """Keep the standard output for JSON if that goes there: what services print goes to the standard error."""
    if str(file) == "-" and JSON_OUTPUT not in context.meta:
        context.meta[JSON_OUTPUT] = sys.stdout
        context.with_resource(redirect_stdout(sys.stderr))
    return file


class UnreadableFile(MetrolineError):
    """Raised when a file named on the command line cannot be read."""


class UnwritableFile(UsageError):
    """Raised when a file named on the command line cannot be written."""


def read_text(file: Path) -> str:
    """Return the UTF-8 text of a file, without its byte order mark. Raise `UnreadableFile` if it cannot be read."""
    try:
        return file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableFile(f"{file} cannot be read: {error}") from error


def read_table(file: Path) -> str:
    """Return the table in a file, without the first line that `rules show` adds."""
    text = read_text(file)
    shown = SHOWN.match(text)
    return text[shown.end() :] if shown else text


def write_json(data: Any, file: Path) -> None:
    """Write JSON for a program to read; `-` is the standard output. Raise `UnwritableFile` if that fails."""
    text = json.dumps(data, indent=2) + "\n"
    if str(file) == "-":
        context = click.get_current_context(silent=True)
        kept = None if context is None else context.meta.get(JSON_OUTPUT)
        output = kept or sys.stdout
        output.write(text)
        output.flush()  # a command may go on running
    else:
        write_text(text, file)


def write_text(text: str, file: Path) -> None:
    """Write a text to a file. Raise `UnwritableFile` if that is not possible."""
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        raise UnwritableFile(f"{file} cannot be written: {error.strerror}") from error


def replace_text(text: str, file: Path) -> None:
    """Write a text in place of that of a file, as a whole or, with `UnwritableFile`, not at all. Links stay links."""
    target = file.resolve()
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="", dir=target.parent, delete=False) as new:
            try:
                new.write(text)
                new.close()
                shutil.copymode(target, new.name)
                os.replace(new.name, target)
            except BaseException:
                os.unlink(new.name)
                raise
    except OSError as error:
        raise UnwritableFile(f"{file} cannot be written: {error.strerror}") from error

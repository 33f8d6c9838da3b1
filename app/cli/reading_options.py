"""The options that say how a file of records is read, the same for every command that reads one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, get_args

import click

from metroline.app.cli.terminal import say
from metroline.app.inputs.row_files import SUFFIXES, Format, Reading

NAMED = {"tab": "\t", "\\t": "\t"}
"""Delimiters that nobody can write on a command line, by their names."""

UNUSABLE = '"\r\n'
"""Characters that already have a meaning in a CSV."""


class Delimiter(click.ParamType):
    """A single character, or `tab`."""

    name = "delimiter"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "CHARACTER"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        character = NAMED.get(str(value), str(value))
        if len(character) != 1 or character in UNUSABLE:
            self.fail(f"{value!r} is no delimiter: write a single character, or `tab`", param, ctx)
        return character


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how a file is read; the command takes them as `reading`."""

    @wraps(command)
    def read(
        *arguments: Any, format: Format | None, text: bool, delimiter: str | None, numbers: tuple[str, ...], **more: Any
    ) -> Any:
        return command(*arguments, reading=Reading(format, text, delimiter, numbers, note=cache(_note)), **more)

    for option in reversed(OPTIONS):
        option(read)
    return read


def _note(note: str) -> None:
    """Print a note; the function is cached where it is passed on, since a comparison reads its file several times."""
    say(f"note: {note}", err=True)


OPTIONS = (
    click.option(
        "--format",
        "format",
        type=click.Choice(get_args(Format)),
        help=f"Format of the file. Default: by the ending of its name ({', '.join(SUFFIXES)}, also with .gz or .zst), "
        "or else by its content.",
    ),
    click.option(
        "--delimiter",
        type=Delimiter(),
        help="Character between two columns of a CSV or TSV, or `tab`. Default: found in the header of a CSV.",
    ),
    click.option(
        "--numbers",
        metavar="COLUMN",
        multiple=True,
        help="Column of a CSV or TSV to read as numbers, however they are written; repeat it for others. Default: the "
        "columns in which every field is a number that stays as it is written.",
    ),
    click.option(
        "--text", is_flag=True, help="Keep the fields of a CSV or TSV as text. Default: numbers are read as numbers."
    ),
)

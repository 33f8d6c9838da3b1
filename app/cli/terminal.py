"""The terminal: everything that a command prints goes through here, so that no text from elsewhere gives it orders.

Text from records, rules and people may hold control characters, line breaks that look like lines of ours, or the markup
of rich. Here, and in `console.py` for what rich prints, all of it becomes text. Nothing is cut: a program may read it,
and people copy it.
"""

from __future__ import annotations

import sys
from typing import Any

import click
import orjson

from metroline.app.markup.text import escaped, escaped_json, escaped_lines, shorten

BACK = "\r\x1b[2K"
"""Makes a terminal clear the line that it is at, and go to its beginning."""


def say(*lines: str, err: bool = False) -> None:
    """Print lines. A line break within one is escaped."""
    for line in lines:
        click.echo(escaped(line), err=err)


def say_text(text: str, *, err: bool = False) -> None:
    """Print a text of several lines, such as an error that shows the place in a file."""
    click.echo(escaped_lines(text), err=err)


def say_json(data: Any, *, is_indented: bool = True) -> None:
    """Print data as JSON, over several lines if it is to be indented."""
    click.echo(escaped_json(orjson.dumps(data, option=orjson.OPT_INDENT_2 if is_indented else None).decode()))


def write_out(text: str) -> None:
    """Write a text as it is, for a file or another program; a terminal gets it escaped."""
    click.echo(escaped_lines(text) if sys.stdout.isatty() else text, nl=False)


def overwrite(text: str, width: int = 80) -> None:
    """Write a text over the last line of a terminal, in at most `width` columns, and stay in that line."""
    click.echo(f"{BACK}{shorten(escaped(text), max(width, 1))}", nl=False, color=True)

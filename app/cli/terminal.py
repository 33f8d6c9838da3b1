"""The terminal: everything that a command prints goes through here, so that no text from elsewhere gives it orders.

Text from records, rules and people may hold control characters, line breaks that look like lines of ours, or the markup
of rich. Here all of it becomes text. Nothing is cut: a program may read it, and people copy it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
import orjson
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from metroline.app.markup.text import escaped, escaped_json, escaped_lines

UNLIMITED = 1_000_000
"""A width that no table has, in columns."""


class SafeConsole(Console):
    """A console of rich that takes strings for text: without markup, emoji codes and control characters."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a string as text to be shown. All strings come here, those in the cells of a table as well."""
        return super().render_str(escaped_lines(text), **options)


def safe_console(*, stderr: bool = False, width: int | None = None) -> SafeConsole:
    """Return the console of the standard output or of the errors. `width`, in columns, is that of no terminal."""
    made = SafeConsole(stderr=stderr, markup=False, emoji=False, highlight=False)
    if width is not None and not made.is_terminal:
        made.width = width
    return made


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


def print_rows(
    title: str, heads: Sequence[str], rows: Sequence[Mapping[str, str]], numbers: Sequence[str] = ()
) -> None:
    """Print rows as a table with these columns, of which `numbers` are aligned to the right.

    Where it is not written to a terminal, each row is one line. On a terminal that is too narrow for that, each value
    has a line of its own, which the terminal wraps and which can be copied whole.
    """
    target, table = safe_console(), Table(title=title, box=None)
    for head in heads:
        table.add_column(head, no_wrap=True, justify="right" if head in numbers else "left")
    for row in rows:
        table.add_row(*(escaped(row[head]) for head in heads))
    unlimited = target.options.update(max_width=UNLIMITED)
    width = max(Measurement.get(target, unlimited, table).maximum, cell_len(escaped(title)))
    if not target.is_terminal:
        target.width = width
    if width <= target.width:
        target.print(table)
        return
    indent = max(map(len, heads)) + 2
    say(title)
    for row in rows:
        say("", *(f"{head:<{indent}}{row[head]}" for head in heads))

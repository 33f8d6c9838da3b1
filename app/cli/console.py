"""The console of rich, which takes long to import, for tables and progress: it shows strings as `terminal.py` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from metroline.app.cli.terminal import say
from metroline.app.markup.text import escaped, escaped_lines

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

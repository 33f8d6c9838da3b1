"""HTML that cannot forget to escape: text becomes markup only by being escaped."""

from __future__ import annotations

from collections.abc import Iterable

from metroline.app.markup.escaping import escape
from metroline.app.markup.numbers import count

VOID_ELEMENTS = frozenset({"meta", "link", "input"})

SCROLLING_ELEMENTS = frozenset({"pre"})
"""Elements that scroll by themselves where they are too wide or too long, so that the keyboard must reach them."""


class Markup(str):
    """HTML that needs no escaping."""

    __slots__ = ()


def markup(part: object) -> Markup:
    """Return anything as HTML: text is escaped, the parts of an iterable are joined, and None is empty."""
    if isinstance(part, Markup):
        return part
    if part is None:
        return Markup()
    if isinstance(part, Iterable) and not isinstance(part, str):
        return Markup("".join(map(markup, part)))
    return Markup(escape(part))


def tag(name: str, *parts: object, **attributes: object) -> Markup:
    """Return an element.

    In the name of an attribute, `_` stands for `-`, and one at the end is dropped: `class_`, `data_label`. An attribute
    whose value is None is left out.
    """
    if name in SCROLLING_ELEMENTS:
        attributes = {"tabindex": "0", **attributes}
    named = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    written = "".join(f' {key}="{escape(value)}"' for key, value in named.items())
    return Markup(f"<{name}{written}>" + ("" if name in VOID_ELEMENTS else f"{markup(parts)}</{name}>"))


def grid(heads: Iterable[str], rows: Iterable[Iterable[object]], **attributes: object) -> Markup:
    """Return a table that scrolls sideways where it is too wide. The head of a column of numbers ends in `#`.

    A row may be one of `table_row`, which has attributes of its own.
    """
    body = [row if isinstance(row, Markup) else table_row(row) for row in rows]
    head = tag("thead", tag("tr", map(_head, heads)))
    table = tag("table", head, tag("tbody", body), **attributes)
    return tag("div", table, class_="wide", tabindex="0", role="group", aria_label="Table")


def table_row(cells: Iterable[object], **attributes: object) -> Markup:
    """Return a row of a table."""
    return tag("tr", map(_cell, cells), **attributes)


def moment(at: str | None, *, is_precise: bool = False) -> Markup:
    """Return a `time` element for a time in ISO 8601 and UTC; people read it to the second unless `is_precise`."""
    if at is None:
        return markup("unknown time")
    shown = at.removesuffix("Z") if is_precise else at[: len("2026-03-01T09:30:00")]
    return tag("time", f"{shown.replace('T', ' ')} UTC", datetime=at)


def number(value: int | str | None) -> Markup:
    """Return a right-aligned cell with a number, or with text in its place; None leaves the cell empty."""
    return tag("td", count(value) if isinstance(value, int) else value, class_="number")


def _head(head: str) -> Markup:
    return tag("th", head.rstrip("#"), scope="col", class_="number" if head.endswith("#") else None)


def _cell(cell: object) -> Markup:
    return cell if isinstance(cell, Markup) and cell.startswith("<td") else tag("td", cell)


def head(title: str, style: Markup) -> Markup:
    """Return the head of a page that loads nothing: its style stands in it, for light and dark."""
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name_="color-scheme", content="light dark"),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        tag("style", style),
    )

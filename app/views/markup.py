"""HTML that cannot forget to escape: text becomes markup only by being escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable

VOID = frozenset({"meta", "link"})


class Markup(str):
    """HTML that is safe as it stands."""

    __slots__ = ()


def markup(part: object) -> Markup:
    """Anything as HTML: text is escaped, of several things each is, None is nothing."""
    if isinstance(part, Markup):
        return part
    if part is None:
        return Markup()
    if isinstance(part, Iterable) and not isinstance(part, str):
        return Markup("".join(map(markup, part)))
    return Markup(html.escape(str(part)))


def tag(name: str, *parts: object, **attributes: object) -> Markup:
    """An element; an attribute that Python reserves ends in `_`, and one that is None is left out."""
    given = "".join(
        f' {key.rstrip("_")}="{html.escape(str(value))}"' for key, value in attributes.items() if value is not None
    )
    return Markup(f"<{name}{given}>" + ("" if name in VOID else f"{markup(parts)}</{name}>"))


def table(heads: Iterable[object], rows: Iterable[Iterable[object]], **attributes: object) -> Markup:
    """A table, which scrolls sideways where it is too wide; a cell that is no `<td>` yet becomes one."""
    body = [tag("tr", [_cell(cell) for cell in row]) for row in rows]
    head = tag("thead", tag("tr", [tag("th", one, scope="col") for one in heads]))
    return tag("div", tag("table", head, tag("tbody", body), **attributes), class_="wide")


def _cell(cell: object) -> Markup:
    return cell if isinstance(cell, Markup) and cell.startswith("<td") else tag("td", cell)


def number(count: object) -> Markup:
    """A cell with a number."""
    return tag("td", f"{count:,}" if isinstance(count, int) else "–" if count is None else count, class_="number")

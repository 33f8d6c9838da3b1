"""HTML that cannot forget to escape: text becomes markup only by being escaped."""

from __future__ import annotations

from collections.abc import Iterable

from metroline.app.markup.numbers import text

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
    return Markup(text(part))


def tag(name: str, *parts: object, **attributes: object) -> Markup:
    """An element; `_` is `-` in an attribute, nothing at its end, and one that is None is left out."""
    named = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    given = "".join(f' {key}="{text(value)}"' for key, value in named.items())
    return Markup(f"<{name}{given}>" + ("" if name in VOID else f"{markup(parts)}</{name}>"))


def grid(heads: Iterable[str], rows: Iterable[Iterable[object]], **attributes: object) -> Markup:
    """A table, which scrolls sideways where it is too wide. The head of a column of numbers ends in `#`."""
    body = [tag("tr", [_cell(cell) for cell in row]) for row in rows]
    head = tag("thead", tag("tr", map(_head, heads)))
    return tag("div", tag("table", head, tag("tbody", body), **attributes), class_="wide")


def _head(head: str) -> Markup:
    return tag("th", head.rstrip("#"), scope="col", class_="number" if head.endswith("#") else None)


def _cell(cell: object) -> Markup:
    return cell if isinstance(cell, Markup) and cell.startswith("<td") else tag("td", cell)


def moment(at: str | None) -> Markup:
    """A time in ISO 8601 and UTC, as a person reads it."""
    if at is None:
        return markup("at no time")
    return tag("time", at.replace("T", " ").replace("Z", " UTC"), datetime=at)


def number(count: object) -> Markup:
    """A cell with a number, or with what stands for one; empty for None."""
    return tag("td", f"{count:,}" if isinstance(count, int) else count, class_="number")

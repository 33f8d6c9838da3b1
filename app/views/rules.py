"""The table `rules` as data: the version that this worker decides by, earlier ones, and those that it refused."""

from __future__ import annotations

from typing import Any

from agents.books import LiveBooks, Publication
from app.views.times import iso
from routing.strategies import Strategy
from routing.table_file import Rule


def read(books: LiveBooks, strategy: Strategy) -> dict[str, Any]:
    """The page's data. Every worker holds the whole table, so none asks another."""
    current = books.current
    version = current.live.version if current is not None else 0
    publications, refused = books.publications(), books.refused()
    page: dict[str, Any] = {
        "version": version,
        "current": None,
        "earlier": [publication(v, one) for v, one in publications.items() if v < version and v not in refused],
        "refused": [publication(v, one) | {"reason": refused[v]} for v, one in publications.items() if v in refused],
        "note": None,
    }
    if current is not None:
        page["current"] = publication(version, publications[version]) | {"rules": [row(one) for one in current.live.rules]}
        if not strategy.needs_live and current.live.text != current.filed.text:
            page["note"] = f"journeys that begin here go by the line's file, which differs: the strategy is {strategy.name}"
    return page


def entry(books: LiveBooks, key: str) -> dict[str, Any] | None:
    """One version, or None."""
    found = books.publications().get(int(key)) if key.isdecimal() else None
    return None if found is None else publication(int(key), found) | {"refused": books.refused().get(int(key))}


def publication(version: int, published: Publication) -> dict[str, Any]:
    """What was published, by whom and when."""
    return {
        "version": version,
        "by": published.by,
        "at": iso(published.at),
        "replaces": published.replaces,
        "text": published.text,
    }


def row(rule: Rule) -> dict[str, Any]:
    """A rule as it is tried."""
    return rule.model_dump()

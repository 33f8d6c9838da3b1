"""The published versions of a rules table as people look back at them: who, when, why, and the lines that changed."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable

from msgspec import Struct

from metroline.agents.tables.publication import Publication


class PastVersion(Struct, frozen=True):
    """A version with its difference from the version before it."""

    version: int
    replaces: int
    by: str
    at: float
    """Seconds since the epoch."""
    reason: str
    rules: int | None
    """The number of its rules; None if it is not TOML."""
    added: int
    """Lines that it has, and the version before it has not."""
    removed: int
    same_as: int | None
    """The earliest version with the same table; None if there is none."""
    current: bool


def history_of(versions: Iterable[tuple[int, Publication]]) -> list[PastVersion]:
    """Return the history of versions that are given oldest first, newest first."""
    first_with: dict[str, int] = {}
    listed: list[PastVersion] = []
    known = list(versions)
    before = ""
    for version, one in known:
        first = first_with.setdefault(one.text, version)
        signs = [line[:1] for line in text_difference(before, one.text, "before", "after")[2:]]
        listed.append(
            PastVersion(
                version,
                one.replaces,
                one.by,
                one.at,
                one.reason,
                _count(one.text),
                signs.count("+"),
                signs.count("-"),
                None if first == version else first,
                version == known[-1][0],
            )
        )
        before = one.text
    return listed[::-1]


def text_difference(before: str, after: str, name: str, other: str) -> list[str]:
    """Return the lines of a unified diff; none if the tables are the same."""
    return list(difflib.unified_diff(before.splitlines(), after.splitlines(), name, other, lineterm=""))


def _count(text: str) -> int | None:
    try:
        return len(tomllib.loads(text).get("rules", []))
    except tomllib.TOMLDecodeError:
        return None

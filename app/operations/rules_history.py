"""The published versions of a rules table as people look back at them: who, when, why, and the lines that changed."""

from __future__ import annotations

import difflib
import re
import threading
import tomllib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from hashlib import sha256
from typing import TypeVar

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


CONTEXT = 3
"""Number of lines around those that differ."""

MAX_COMPARED = 150_000_000
"""Greatest product of the numbers of differing lines of two tables that are compared line by line: 12,000 in each take
a processor for about two seconds."""

HUNK = re.compile(r"@@ -(\d+)((?:,\d+)?) \+(\d+)((?:,\d+)?) @@")
"""The head of a hunk of a unified diff."""

Value = TypeVar("Value")


class LineCounts:
    """Counts rules, and the lines by which two tables differ, and remembers the latest results by the tables' hashes.

    Versions never change, and a page lists the same ones again and again.
    """

    def __init__(self, most: int = 512) -> None:
        """Remember up to `most` results."""
        self._most = most
        self._known: dict[tuple[bytes, ...], object] = {}
        self._lock = threading.Lock()

    def rules(self, text: str) -> int | None:
        """Return the number of the rules of a table; None if it is not TOML."""
        return self._remembered(_count, text)

    def changes(self, before: str, after: str) -> tuple[int, int]:
        """Return the number of lines that were added and that were removed."""
        return self._remembered(_changes, before, after)

    def _remembered(self, count: Callable[..., Value], *texts: str) -> Value:
        key = tuple([sha256(text.encode(errors="replace")).digest() for text in texts])
        with self._lock:
            if key in self._known:
                self._known[key] = found = self._known.pop(key)  # it is the latest one now
                return found  # type: ignore[return-value]  # by the number of texts it is this count's
        made = count(*texts)
        with self._lock:
            self._known[key] = made
            while len(self._known) > self._most:
                del self._known[next(iter(self._known))]
        return made


def history_of(versions: Iterable[tuple[int, Publication]], counts: LineCounts | None = None) -> list[PastVersion]:
    """Return the history of versions that are given oldest first, newest first.

    `counts` remembers how versions differ, for the next look.
    """
    counts = LineCounts() if counts is None else counts
    first_with: dict[str, int] = {}
    listed: list[PastVersion] = []
    known = list(versions)
    before = ""
    for version, one in known:
        first = first_with.setdefault(one.text, version)
        added, removed = counts.changes(before, one.text)
        listed.append(
            PastVersion(
                version,
                one.replaces,
                one.by,
                one.at,
                one.reason,
                counts.rules(one.text),
                added,
                removed,
                None if first == version else first,
                version == known[-1][0],
            )
        )
        before = one.text
    return listed[::-1]


def text_difference(before: str, after: str, name: str, other: str) -> list[str]:
    """Return the lines of a unified diff; none if the tables are the same.

    Where very many lines differ, they are all removed and added: to find those that are alike would take minutes.
    """
    old, new = before.splitlines(), after.splitlines()
    if old == new:
        return []
    first = _alike(old, new)
    last = _alike(old[first:][::-1], new[first:][::-1])
    begin, ends = max(0, first - CONTEXT), (len(old) - last + CONTEXT, len(new) - last + CONTEXT)
    shown_old, shown_new = old[begin : ends[0]], new[begin : ends[1]]
    if len(shown_old) * len(shown_new) > MAX_COMPARED:
        return [f"--- {name}", f"+++ {other}", *_replaced(shown_old, shown_new, first - begin, begin)]
    lines = difflib.unified_diff(shown_old, shown_new, name, other, n=CONTEXT, lineterm="")
    return [HUNK.sub(partial(_moved, begin), line) if line.startswith("@@ ") else line for line in lines]


def _alike(old: list[str], new: list[str]) -> int:
    """Return the number of lines that are alike at the beginning."""
    pairs = enumerate(zip(old, new, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(old), len(new)))


def _replaced(old: list[str], new: list[str], before: int, begin: int) -> Iterator[str]:
    """Yield the hunk in which all lines are replaced, but for `before` lines at the beginning and those at the end."""
    behind = _alike(old[before:][::-1], new[before:][::-1])
    yield f"@@ -{begin + bool(old)},{len(old)} +{begin + bool(new)},{len(new)} @@"
    yield from (f" {line}" for line in old[:before])
    yield from (f"-{line}" for line in old[before : len(old) - behind])
    yield from (f"+{line}" for line in new[before : len(new) - behind])
    yield from (f" {line}" for line in old[len(old) - behind :])


def _moved(by: int, hunk: re.Match[str]) -> str:
    """Return the head of a hunk of lines that begin later in their tables."""
    return f"@@ -{int(hunk[1]) + by}{hunk[2]} +{int(hunk[3]) + by}{hunk[4]} @@"


def _changes(before: str, after: str) -> tuple[int, int]:
    signs = [line[:1] for line in text_difference(before, after, "before", "after")[2:]]
    return signs.count("+"), signs.count("-")


def _count(text: str) -> int | None:
    try:
        return len(tomllib.loads(text).get("rules", []))
    except tomllib.TOMLDecodeError:
        return None

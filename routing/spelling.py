"""Suggests the name that a misspelt one may stand for."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

SIMILAR = 0.6
"""Similarity from which on a known name is suggested (`difflib.SequenceMatcher.ratio`)."""


def nearest(name: str, known: Iterable[str], similar: float = SIMILAR) -> str | None:
    """Return the known name that is most similar to `name`; None if none is similar enough, from 0 to 1."""
    found = get_close_matches(name, sorted(known), 1, similar)
    return found[0] if found else None


def suggestion(name: str, known: Iterable[str], similar: float = SIMILAR) -> str:
    """Return `; did you mean 'NAME'?` for the end of an error message, or an empty text if no known name is similar."""
    found = nearest(name, known, similar)
    return "" if found is None else f"; did you mean {found!r}?"


def unknown_key(name: str, known: Iterable[str]) -> str:
    """Return the problem of a key that a table does not have, with the keys that it has and the most similar one."""
    keys = list(known)
    return f"unknown key; there are {', '.join(keys)}{suggestion(name, keys)}"

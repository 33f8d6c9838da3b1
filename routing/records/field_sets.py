"""Sets of top-level fields, the part of a record on which a decision depends."""

from __future__ import annotations

from collections.abc import Iterable

FieldSet = frozenset[str] | None
"""The fields on which a decision depends; None for the whole record."""


def union(reads: Iterable[FieldSet]) -> FieldSet:
    """Return the fields on which any of several decisions depends."""
    fields: set[str] = set()
    for one in reads:
        if one is None:
            return None
        fields |= one
    return frozenset(fields)


NOTHING: FieldSet = frozenset()

"""Sets of top-level fields, the part of a record on which a decision depends."""

from __future__ import annotations

from collections.abc import Iterable

FieldSet = frozenset[str] | None
"""The fields on which a decision depends; None for the whole record."""


def union(reads: Iterable[FieldSet]) -> FieldSet:
    """Return the fields on which any of several decisions depends."""
    fields: frozenset[str] = frozenset()
    for one in reads:
        if one is None:
            return None
        fields = fields | one if fields else one
    return fields


NOTHING: FieldSet = frozenset()

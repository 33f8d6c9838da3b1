"""Sets of top-level fields: the part of a record that a decision depends on."""

from __future__ import annotations

from collections.abc import Iterable

FieldSet = frozenset[str] | None
"""The fields that a decision looked at; None stands for the whole record."""


def union(reads: Iterable[FieldSet]) -> FieldSet:
    """All that several decisions looked at."""
    fields: frozenset[str] = frozenset()
    for one in reads:
        if one is None:
            return None
        fields = fields | one if fields else one
    return fields


NOTHING: FieldSet = frozenset()

"""Stops that a table names and no service serves."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence, Set
from functools import lru_cache
from typing import Any

from metroline.routing.rules.rule import Rule, label_of, label_of_data

Way = tuple[str, str | None, str | None]
"""A rule's label, its `after` and its `to`, where it has them."""


def unserved(ways: Sequence[Way], served: Set[str]) -> Iterator[tuple[int, str, str]]:
    """The stops that no service serves: the index of the rule that names one, the key, and what to say of it.

    A stop that some rule leads to is told of there, and not again for each rule after it.
    """
    services = frozenset(served)
    known = services | {"source"}
    led_to = known | {to for _, _, to in ways}
    for index, (label, after, to) in enumerate(ways):
        if to is not None and to not in known:
            yield index, "to", f"{label}: {_describe(to, services)}"
        if after is not None and after not in led_to:
            yield index, "after", f"{label}: {_describe(after, services, 'source')}"


def way_of(index: int, rule: Rule) -> Way:
    return label_of(index, rule), rule.after, rule.to


def way_of_data(index: int, table: Any) -> Way:
    """The same of what may be no rule."""
    after, to = (table.get(key) if isinstance(table, dict) else None for key in ("after", "to"))
    return label_of_data(index, table), after if _is_name(after) else None, to if _is_name(to) else None


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""


@lru_cache(maxsize=1_024)
def _describe(stop: str, served: frozenset[str], *more: str) -> str:
    meant = difflib.get_close_matches(stop, [*sorted(served), *more], 1)
    hint = f"; is {meant[0]!r} meant?" if meant else ""
    return f"no service serves the stop {stop!r} (served: {', '.join(sorted(served)) or 'none'}){hint}"

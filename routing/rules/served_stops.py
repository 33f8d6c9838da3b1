"""Finds the stops that a rules table names but no service serves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from functools import lru_cache
from typing import Any

from metroline.routing.addresses import ONLY_END
from metroline.routing.rules.rule import Rule, label_of, label_of_data
from metroline.routing.spelling import suggestion

Way = tuple[str, str | None, str | None]
"""The label of a rule, its `after` and its `to`; None for a key that it does not have."""


def unserved(ways: Sequence[Way], served: Set[str], ends: frozenset[str]) -> Iterator[tuple[int, str, str]]:
    """Yield for each stop that no service serves the index of a rule that names it, the key, and the problem.

    `ends` are the names of the line's ends, to which rules may lead as well. A stop to which a rule leads is reported
    for that rule only, not for the rules after the stop.
    """
    services = frozenset(served)
    known = services | {"source"}
    led_to = known | {to for _, _, to in ways}
    for index, (label, after, to) in enumerate(ways):
        if to is not None and to not in known and to not in ends:
            yield index, "to", f"{label}: {_describe(to, services, ends, *sorted(ends))}"
        if after is not None and after not in led_to and after not in ends:
            yield index, "after", f"{label}: {_describe(after, services, ONLY_END, 'source')}"


def way_of(index: int, rule: Rule) -> Way:
    """Return the label and the stops of a rule."""
    return label_of(index, rule), rule.after, rule.to


def way_of_data(index: int, table: Any) -> Way:
    """Return the label and the stops of a rule that may not be valid, from its decoded TOML."""
    after, to = (table.get(key) if isinstance(table, dict) else None for key in ("after", "to"))
    return label_of_data(index, table), after if _is_name(after) else None, to if _is_name(to) else None


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""


@lru_cache(maxsize=1_024)
def _describe(stop: str, served: frozenset[str], ends: frozenset[str], *more: str) -> str:
    hint = suggestion(stop, {*served, *more})
    named = f"; ends: {', '.join(sorted(ends))}" if ends > ONLY_END else ""
    return f"no service serves the stop {stop!r} (served: {', '.join(sorted(served)) or 'none'}{named}){hint}"

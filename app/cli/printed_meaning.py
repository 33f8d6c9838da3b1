"""Prints what two rules tables decide differently, each difference with the smallest record that shows it."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from metroline.routing.rules.meaning.difference import Difference, Meaning

MAX_SHOWN = 20
"""Number of differences that are printed; --json writes all of them."""


def told_meaning(meaning: Meaning, before: str, after: str) -> Iterator[str]:
    """Yield lines about the difference in meaning between two tables with these names."""
    if meaning.is_none:
        yield "every record is decided alike: this is proven"
        return
    if meaning.differences:
        yield "decided differently:"
    for one in meaning.differences[:MAX_SHOWN]:
        yield from _told(one, before, after)
    if (more := len(meaning.differences) - MAX_SHOWN) > 0:
        yield f"  and {more} more differences: --json writes all of them"
    for stop in meaning.not_proven:
        yield f"not proven to be alike: the rules after {stop} differ, and no record was found for which that matters"
    for name, stops in ((before, meaning.only_before), (after, meaning.only_after)):
        if stops:
            yield f"reached by {name} alone: {', '.join(stops)}"


def _told(one: Difference, before: str, after: str) -> Iterator[str]:
    meta = f" with meta {orjson.dumps(one.meta).decode()}" if one.meta else ""
    yield f"  after {one.after}, {orjson.dumps(one.record).decode()}{meta}"
    yield f"    {before}: {_by(one.before, one.rule_before)}"
    yield f"    {after}: {_by(one.to, one.rule)}"


def _by(to: str, rule: str | None) -> str:
    return to if rule is None else f"{to} ({rule})"

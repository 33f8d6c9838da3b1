"""The tables `journeys` and `dead_letters` as data: the latest journeys, newest first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from metroline.agents.tables.line_table import LineTable
from metroline.app.markup.html import Markup, moment, tag
from metroline.app.markup.times import iso
from metroline.app.views.tables.cooperative import spread

LISTED = 100
"""Journeys on a page."""


async def read(table: LineTable, partitions: frozenset[int]) -> dict[str, Any]:
    """The latest journeys in the entries of these partitions."""
    latest: list[dict[str, Any]] = []
    async for _, value in spread(table.entries(partitions)):
        latest = sorted([*latest, *value["entries"]], key=lambda one: float(one["settled"]), reverse=True)[:LISTED]
    return {"journeys": [shown(journey) for journey in latest]}


def merge(pages: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The latest journeys of several pages; one that two pages tell of stands once."""
    journeys = {(one["id"], one["settled"]): one for page in pages for one in page["journeys"]}
    return {"journeys": sorted(journeys.values(), key=_settled_and_id, reverse=True)[:LISTED]}


def explain(key: str, value: dict[str, Any]) -> dict[str, Any]:
    """What a single entry says, beside the entry itself: the journeys that one message brought."""
    return {"journeys": [shown(journey) for journey in value["entries"]]}


def shown(journey: dict[str, Any]) -> dict[str, Any]:
    """A journey with times that a person reads, and how many seconds it took."""
    took = journey["settled"] - journey["entered"]
    return {
        **{name: journey[name] for name in ("id", "outcome", "reason", "rule")},
        "entered": iso(journey["entered"]),
        "settled": iso(journey["settled"]),
        "seconds": round(took, 6),
        "hops": journey["hops"],
        "stops": [visit | {"at": iso(visit["at"])} for visit in journey["stops"]],
        "record": journey["record"],
    }


def show(page: dict[str, Any]) -> Markup:
    """As HTML: a row a journey."""
    return tag("ol", map(_row, page["journeys"]), class_="journeys") if page["journeys"] else tag("p", "None so far.")


def _settled_and_id(journey: dict[str, Any]) -> tuple[str, str]:
    """The same order on every worker, whosever part came first."""
    return journey["settled"] or "", journey["id"]


def _row(journey: dict[str, Any]) -> Markup:
    ending = journey["outcome"]
    hops = "1 hop" if journey["hops"] == 1 else f"{journey['hops']} hops"
    facts = [hops, f"{journey['seconds']:,.3f} s", moment(journey["settled"])]
    end = tag("b", ending, class_=f"ending {ending}", title=_by_rule(journey["rule"]))
    return tag(
        "li",
        tag("div", _chain(journey), end, tag("span", journey["reason"], class_="reason"), class_="way"),
        tag("div", [tag("span", fact) for fact in facts], class_="facts"),
        tag("details", tag("summary", "record ", tag("code", journey["id"])), tag("pre", _record(journey["record"]))),
    )


def _chain(journey: dict[str, Any]) -> Markup:
    """The stops with arrows between them; a stop's title says which rule led there, by whose decision and when."""
    stops = [tag("span", "source", class_="stop", title=f"came in {journey['entered']}")]
    for visit in journey["stops"]:
        title = f"{_by_rule(visit['rule'])}\ndecided by {visit['by']}, version {visit['version']}\nleft {visit['at']}"
        stops += [Markup(" → "), tag("span", visit["stop"], class_="stop", title=title)]
    return tag("span", stops, Markup(" → "), class_="chain")


def _by_rule(rule: str | None) -> str:
    return f"rule: {rule}" if rule else "no rule"


def _record(record: str) -> str:
    try:
        return orjson.dumps(orjson.loads(record), option=orjson.OPT_INDENT_2).decode()
    except ValueError:  # it is no JSON, or it was cut
        return record

"""The pages of the tables `journeys` and `dead_letters`: the latest journeys, newest first."""

from __future__ import annotations

from collections.abc import Iterable

import orjson
from msgspec import Struct

from metroline.agents.tables.line_table import LineTable
from metroline.app.markup.html import Markup, moment, tag
from metroline.app.markup.numbers import counted
from metroline.app.markup.times import iso
from metroline.app.views.tables.cooperative import entries_of
from metroline.routing.journeys.summary import StoredJourney

LISTED = 100
"""Journeys on a page."""


class StoredEntry(Struct, frozen=True):
    """An entry of either table: the journeys that one message brought."""

    entries: list[StoredJourney]


class Visit(Struct, frozen=True):
    """A stop of a journey: when the record left it, and the rule, decider and version that chose it."""

    stop: str
    at: str | None
    rule: str | None
    by: str
    version: int


class Waits(Struct, frozen=True):
    """The waits at one stop that its service asked for: when the first one began, and how many there were."""

    stop: str
    since: str | None
    times: int
    progress: str = ""


class Journey(Struct, frozen=True):
    """A journey as pages show it, with times in ISO 8601."""

    id: str
    outcome: str | None
    reason: str | None
    rule: str | None
    entered: str | None
    settled: str | None
    seconds: float
    bus_hops: int
    """Number of times that the record was written to the bus. It visited as many stops as `stops` has."""
    stops: list[Visit]
    record: str
    waited: list[Waits] = []

    @classmethod
    def of(cls, stored: StoredJourney) -> Journey:
        return cls(
            stored.id,
            stored.outcome,
            stored.reason,
            stored.rule,
            iso(stored.entered),
            iso(stored.settled),
            round(stored.settled - stored.entered, 6),
            stored.hops,
            [Visit(visit.stop, iso(visit.at), visit.rule, visit.by, visit.version) for visit in stored.stops],
            stored.record,
            [Waits(waits.stop, iso(waits.since), waits.times, waits.progress) for waits in stored.waited],
        )


class JourneysContent(Struct, frozen=True):
    """The content of a page, of one worker or merged from several."""

    journeys: list[Journey]


async def read(table: LineTable, partitions: frozenset[int]) -> JourneysContent:
    """Return the latest journeys in the entries of these partitions."""
    latest: list[StoredJourney] = []
    async for _, entry in entries_of(table, partitions, StoredEntry):
        journeys = [*latest, *entry.entries]
        latest = sorted(journeys, key=lambda journey: journey.settled, reverse=True)[:LISTED]
    return JourneysContent(list(map(Journey.of, latest)))


def merge(parts: Iterable[JourneysContent]) -> JourneysContent:
    """Return the latest journeys of several workers, each of them once."""
    journeys = {(journey.id, journey.settled): journey for part in parts for journey in part.journeys}
    return JourneysContent(sorted(journeys.values(), key=_settled_and_id, reverse=True)[:LISTED])


def explain(_key: str, entry: StoredEntry) -> JourneysContent:
    """Return the journeys of a single entry."""
    return JourneysContent(list(map(Journey.of, entry.entries)))


def show(content: JourneysContent) -> Markup:
    """Return a list of journeys as HTML."""
    if not content.journeys:
        return tag("p", "Nothing so far.")
    return tag("ol", map(_row, content.journeys), class_="journeys")


def _settled_and_id(journey: Journey) -> tuple[str, str]:
    """Return a key that gives journeys the same order on every worker."""
    return journey.settled or "", journey.id


def _row(journey: Journey) -> Markup:
    visited, hops = counted(len(journey.stops), "stop"), counted(journey.bus_hops, "hop")
    facts = [visited, f"{hops} on the bus", f"{journey.seconds:,.3f} s", moment(journey.settled)]
    facts += [f"{counted(one.times, 'wait')} at {one.stop} since {one.since}" for one in journey.waited]
    end = tag("b", journey.outcome, class_=f"ending {journey.outcome}", title=_by_rule(journey.rule))
    return tag(
        "li",
        tag("div", _chain(journey), end, tag("span", journey.reason, class_="reason"), class_="way"),
        tag("div", [tag("span", fact) for fact in facts], class_="facts"),
        tag("details", tag("summary", "record ", tag("code", journey.id)), tag("pre", _indented(journey.record))),
    )


def _chain(journey: Journey) -> Markup:
    """Return the stops with arrows between them; the title of a stop names the rule and the decider that chose it."""
    stops = [tag("span", "source", class_="stop", title=f"entered {journey.entered}")]
    for visit in journey.stops:
        title = f"{_by_rule(visit.rule)}\ndecided by {visit.by}, version {visit.version}\nleft {visit.at}"
        stops += [Markup(" → "), tag("span", visit.stop, class_="stop", title=title)]
    return tag("span", stops, Markup(" → "), class_="chain")


def _by_rule(rule: str | None) -> str:
    return f"rule: {rule}" if rule else "no rule"


def _indented(record: str) -> str:
    """Return a record as indented JSON; one that is no JSON, or was cut, stays as it is."""
    try:
        return orjson.dumps(orjson.loads(record), option=orjson.OPT_INDENT_2).decode()
    except ValueError:
        return record

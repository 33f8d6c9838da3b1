"""A summary of the journey of one record, for display."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from metroline.routing.messages.record_ids import Origin, id_text
from metroline.routing.messages.segment import Segment
from metroline.routing.records.fingerprints import EXACT

SHOWN_BYTES = 2_000
"""Maximum number of bytes of a record that are shown."""


NATURAL = Meta(ge=0, lt=EXACT)


class StoredVisit(Struct, frozen=True):
    """A stop of a stored journey; `at` is in seconds since the epoch."""

    stop: Annotated[str, Meta(max_length=300)]
    at: float
    rule: str | None
    by: str
    version: Annotated[int, NATURAL]
    worked: float | None = None
    """As in `Visit`."""


class StoredWaits(Struct, frozen=True):
    """The waits of a stored journey at one stop; `since` is when the first one began, in seconds since the epoch."""

    stop: Annotated[str, Meta(max_length=300)]
    since: float
    times: Annotated[int, NATURAL]
    progress: str = ""


class StoredJourney(Struct, frozen=True):
    """A journey as `summary` returns it and the arrivals store it; times are in seconds since the epoch."""

    id: str
    outcome: str | None
    reason: str | None
    rule: str | None
    entered: float
    settled: float
    hops: Annotated[int, NATURAL]
    stops: list[StoredVisit]
    record: str
    waited: list[StoredWaits] = []


def summary(origin: Origin, segment: Segment, place: int, settled_at: float) -> dict[str, object]:
    """Return the journey of the record at an index of a segment as JSON data; times are in seconds since the epoch."""
    outcome = segment.outcome
    waited = segment.waited if segment.waits is None else (*segment.waited, segment.waits)
    journey: dict[str, object] = {
        "id": id_text(origin, segment.ids[place]),
        "outcome": outcome and outcome.ending.value,
        "reason": outcome and outcome.reason,
        "rule": outcome and outcome.rule,
        "entered": segment.entered,
        "settled": settled_at,
        "hops": segment.hops,
        "stops": [visit._asdict() for visit in segment.history],
        "record": segment.lines[place][:SHOWN_BYTES].decode(errors="replace"),
    }
    return journey | {"waited": [waits._asdict() for waits in waited]} if waited else journey

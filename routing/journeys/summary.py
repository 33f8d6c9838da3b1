"""One record's journey as a person reads it."""

from __future__ import annotations

from metroline.routing.messages.record_ids import Origin, id_text
from metroline.routing.messages.segment import Segment


def journey(origin: Origin, segment: Segment, place: int, at: float) -> dict[str, object]:
    """One record's journey as a person reads it."""
    outcome = segment.outcome
    record = segment.lines[place]
    return {
        "id": id_text(origin, segment.ids[place]),
        "outcome": outcome and outcome.ending.value,
        "reason": outcome and outcome.reason,
        "rule": outcome and outcome.rule,
        "entered": segment.entered,
        "settled": at,
        "hops": segment.hops,
        "stops": [visit._asdict() for visit in segment.history],
        "record": record[:2_000].decode(errors="replace"),
    }
